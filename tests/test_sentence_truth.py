"""Sentences about birds are judged by rendering the scene again: against plain oracles, and on claims made up here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import oracles
from saywhy import cli, explain, load_classifier
from saywhy.aviary import Rendered, render, sample
from saywhy.aviary.sampling import label
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.evaluate import SENTENCE_COLUMNS, evaluate_sentences
from saywhy.evaluate.claims_of import CLAIMED, DISTURBANCES, claims_of, masks_of, said_again
from saywhy.evaluate.part_effects import spoiled_birds, view
from saywhy.evaluate.scene_truth import JUDGES, Case, Change, Told, causes, judge, rank, truth_of_scene, wanted
from saywhy.evaluate.sentence_table import judged, names_shortcut, shortcut_decides
from saywhy.explanation import Explanation, Mask
from saywhy.language.claims import kinds
from saywhy.metrics import wilson

SEED = 5


@pytest.fixture(scope="module")
def clf() -> Classifier:
    return load_classifier("aviary:cnn")


@pytest.fixture(scope="module")
def birds() -> list[Rendered]:
    test = (i for i in range(1000) if label(SEED, i)[1] == "test")
    return [render(sample(SEED, next(test)).scene) for _ in range(3)]


@pytest.fixture(scope="module")
def explained(clf: Classifier, birds: list[Rendered]) -> list[Explanation]:
    return [explain(clf, r.pixels) for r in birds]


def case_of(clf: Classifier, rendered: Rendered, told: tuple[Told, ...], regions: Any = None) -> Case:
    """A case whose regions are by default the largest part, four tenths of the next one, and the top of the picture."""
    p = clf.probabilities(view(clf, [rendered]))[0].argsort(descending=True).tolist()
    if regions is None:
        parts = sorted((n for n in rendered.shown() if n != "body"), key=lambda n: -int(rendered.visible(n).sum()))
        top = np.zeros(rendered.owner.shape, dtype=bool)
        top[:3] = True
        some = rendered.visible(parts[1])
        some &= np.cumsum(some).reshape(some.shape) <= 0.4 * some.sum()
        regions = np.array([rendered.visible(parts[0]), some, top & (rendered.owner <= 0)])
    return Case(rendered, p[0], p[1], regions, told, np.array([1.0, 0.5, 0.0])[: len(regions)], regions)


RELATED = tuple(Told("relation", pieces=pair, by=by) for pair in ((0, 1), (1, 0)) for by in ((9.0, 0.0), (0.0, -6.4)))
EVERY_KIND = RELATED + tuple(
    Told(kind, regions if kind not in ("suffices", "part", "little", "decides", "does-not-decide") else (), winner=3)
    for kind in JUDGES
    if kind != "relation"
    for regions in ((((0, 1)),) if kind in ("needs", "stands-in") else ((0,), (1,), (2,)))
)


def test_every_kind_of_claim_is_judged_as_the_plain_oracle_judges_it(clf: Classifier, birds: list[Rendered]) -> None:
    for rendered in birds:
        t = truth_of_scene(clf, case_of(clf, rendered, EVERY_KIND))
        for told in EVERY_KIND:
            assert judge(t, told).strict == oracles.sentence_strict(clf, t.case, told), told


def test_what_is_said_of_birds_is_judged_as_the_plain_oracle_judges_it(
    clf: Classifier, birds: list[Rendered], explained: list[Explanation]
) -> None:
    for rendered, e in zip(birds, explained, strict=True):
        found = judged(clf, rendered, e)
        assert found.verdicts
        for v in found.verdicts:
            strict = oracles.sentence_strict(clf, found.truth.case, v.told)
            assert (v.false, v.strict) == (all(strict.values()), strict)


def test_missed_causes_are_those_that_the_plain_oracle_misses(
    clf: Classifier, birds: list[Rendered], explained: list[Explanation]
) -> None:
    for rendered, e in zip(birds, explained, strict=True):
        t = judged(clf, rendered, e).truth
        for said in ([], [0], list(range(len(e.concepts)))):
            found = {c.name: c.said for c in causes(t, said)}
            plain = oracles.sentence_causes(clf, t.case, said)
            assert list(found) == list(plain)
            assert np.allclose(list(found.values()), list(plain.values()))


def test_an_interval_covers_where_the_effect_of_ideal_hiding_lies_in_it(clf: Classifier, birds: list[Rendered]) -> None:
    for unit, slack in (("probability", 0.005), ("log-odds", 0.05)):
        t = truth_of_scene(clf, case_of(clf, birds[0], (Told("counts", (0,), -1.0, 1.0),)))
        effect = oracles.sentence_effect(clf, t.case, [0], unit)
        for low, high, covers in (
            (effect - 0.1, effect + 0.1, True),
            (effect + 0.9 * slack, effect + 0.1, True),
            (effect + 1.1 * slack, effect + 0.1, False),
            (effect - 0.1, effect - 1.1 * slack, False),
        ):
            assert judge(t, Told("counts", (0,), low, high, unit)).covers is covers  # type: ignore[arg-type]
        assert judge(t, Told("counts", (0,))).covers is None


def test_the_bare_body_is_no_part_but_told_beside(clf: Classifier, birds: list[Rendered]) -> None:
    seen = []
    for rendered in birds:
        told = Told("counts", (0,))
        v = judge(truth_of_scene(clf, case_of(clf, rendered, (told,), rendered.visible("body")[None])), told)
        seen.append((v.false, v.bare))
        assert v.false or not v.bare
    assert any(bare for _, bare in seen)


def test_a_pair_with_the_bare_body_is_told_beside_by_the_same_three_changes(
    clf: Classifier, birds: list[Rendered]
) -> None:
    told, seen = Told("needs", (0, 1)), []
    for rendered in birds:
        largest = max((n for n in rendered.shown() if n != "body"), key=lambda n: int(rendered.visible(n).sum()))
        regions = np.array([rendered.visible("body"), rendered.visible(largest)])
        t = truth_of_scene(clf, case_of(clf, rendered, (told,), regions))
        both, *single = (t.lost(Change("empty", within=w)) for w in ((0, 1), (0,), (1,)))
        v = judge(t, told)
        assert v.bare == (v.false and sum(single) - both > 0.02)
        seen.append(v.bare)
    assert any(seen)


def test_each_change_of_a_scene_is_rendered_and_asked_once(
    clf: Classifier, birds: list[Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, drawn, asked = case_of(clf, birds[0], EVERY_KIND), [], []
    monkeypatch.setattr("saywhy.evaluate.scene_truth.render", lambda scene: drawn.append(scene) or render(scene))
    ask = Classifier.probabilities
    monkeypatch.setattr(Classifier, "probabilities", lambda self, x: asked.append(len(x)) or ask(self, x))
    truth_of_scene(clf, case)
    assert len(drawn) == len({json.dumps(s.to_dict(), sort_keys=True) for s in drawn})
    assert asked == [len(set(wanted(case)))]


def test_parts_are_ranked_by_contributions_shared_out_by_overlap(clf: Classifier, birds: list[Rendered]) -> None:
    for rendered in birds:
        masks = {n: rendered.visible(n) for n in rendered.shown() if n != "body"}
        case = case_of(clf, rendered, (), np.array(list(masks.values())))
        t = truth_of_scene(clf, case)
        effects = oracles.sentence_effects(clf, case)
        assert rank(truth_like(t, [effects[n] for n in masks])) == pytest.approx(1)
        assert rank(truth_like(t, [-effects[n] for n in masks])) == pytest.approx(-1)


def truth_like(t: Any, contributions: list[float]) -> Any:
    return replace(t, case=replace(t.case, contributions=np.array(contributions)))


def test_every_kind_of_sentence_has_a_judge_or_says_that_it_needs_none() -> None:
    assert set(kinds()) <= set(CLAIMED)
    assert {row for row in CLAIMED.values() if row} <= set(JUDGES)


def test_claims_are_read_from_the_record_alone(explained: list[Explanation]) -> None:
    for e in explained:
        again = Explanation.from_dict(json.loads(json.dumps(e.to_dict())))
        assert claims_of(again) == claims_of(e)
        counted = [t for t in claims_of(e) if t.kind == "counts"]
        named = {i for s in e.statements if CLAIMED[s.kind] == "counts" for i in s.evidence}
        assert {e.concepts[t.regions[0]].id for t in counted} == named & {c.id for c in e.concepts}
        assert all(t.low <= t.high for t in counted)  # type: ignore[operator]


def test_a_claim_is_said_again_with_its_kind_its_class_and_its_place(explained: list[Explanation]) -> None:
    same, flip = DISTURBANCES["seed"], DISTURBANCES["flip"]
    for e in explained:
        n = len(claims_of(e))
        assert said_again(e, e, same) == [True] * n
        mirrored = moved_masks(e, lambda m: m[:, ::-1])
        assert said_again(e, mirrored, flip) == [True] * n
        away = moved_masks(e, lambda m: np.roll(m, 64, 0))
        assert not any(a for a, t in zip(said_again(e, away, same), claims_of(e), strict=True) if t.regions)
        other = e.model_copy(update={"target": e.target.model_copy(update={"class_index": 99})})
        assert not any(said_again(e, other, same))
        silent = e.model_copy(update={"statements": ()})
        assert said_again(e, silent, same) == [False] * n


def moved_masks(e: Explanation, how: Any) -> Explanation:
    moved = [c.model_copy(update={"mask": Mask.of(how(m))}) for c, m in zip(e.concepts, masks_of(e), strict=True)]
    return e.model_copy(update={"concepts": tuple(moved)})


@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_a_disturbance_does_to_masks_undoes_what_it_does_to_the_picture(name: str) -> None:
    how, dot = DISTURBANCES[name], np.zeros((16, 16), dtype=bool)
    dot[4:8, 4:8] = True
    pixels = np.repeat(dot[..., None], 3, 2).astype(np.uint8) * 200
    assert (how.back(how.changed(pixels)[..., 0] > 100) == dot).all()


def test_the_shortcut_decides_for_the_faulty_classifiers_and_not_for_the_clean_one(clf: Classifier) -> None:
    for fault in ("watermark", "context"):
        faulty = load_classifier(f"aviary:cnn-{fault}")
        cases = [spoiled_birds(c, fault, 4, 3) for c in (faulty, clf)]
        assert sum(shortcut_decides(faulty, s) for s in cases[0]) >= 3
        assert not any(shortcut_decides(clf, s) for s in cases[1])


def test_a_text_names_the_watermark_where_a_region_that_counts_is_one(clf: Classifier) -> None:
    case = spoiled_birds(clf, "watermark", 1, 3)[0]
    e = explain(clf, case.bird.rendered.pixels)
    spot = next(case.bird.rendered.object_mask(k) for k, o in enumerate(case.bird.rendered.scene.objects)
                if o.kind == "watermark")  # fmt: skip
    there, elsewhere = (moved_masks(e, lambda m, s=s: s) for s in (spot, np.roll(spot, 64, 1)))
    assert any(t.kind == "counts" for t in claims_of(e))
    assert names_shortcut(case, there)
    assert not names_shortcut(case, elsewhere)


# --------------------------------------------------------------------------------------------------
# The table.


@pytest.fixture(scope="module")
def found(clf: Classifier) -> Any:
    return evaluate_sentences(clf, limit=3, disturbed=1, spoiled=2, seed=SEED)


def test_the_table_counts_the_claims_of_all_birds(
    found: Any, clf: Classifier, birds: list[Rendered], explained: list[Explanation]
) -> None:
    every = [judged(clf, r, explain(clf, r.pixels, seed=SEED)) for r in birds]
    verdicts = [v for j in every for v in j.verdicts]
    cells = found.row("explain").cells
    assert set(cells) == set(SENTENCE_COLUMNS)
    assert cells["false"].samples == len(verdicts)
    assert cells["false"].mean == pytest.approx(100 * np.mean([v.false for v in verdicts]))
    parts = [c for j in every for c in j.causes]
    assert cells["missed"].mean == pytest.approx(100 * np.mean([c.said[0] < 0.5 for c in parts]))
    stated = [v.covers for v in verdicts if v.told.kind == "counts" and v.covers is not None]
    assert cells["covered"].mean == pytest.approx(100 * np.mean(stated))
    low, high = (100 * v for v in (wilson(sum(stated), len(stated)).low, wilson(sum(stated), len(stated)).high))
    assert (cells["covered"].low, cells["covered"].high) == pytest.approx((low, high))
    assert cells["shortcut-named"].samples + cells["shortcut-blamed"].samples == 4


def test_the_table_says_of_what_each_share_is_and_is_the_same_again_from_json(found: Any) -> None:
    from saywhy.evaluate.result import from_dict

    text = found.table("markdown")
    assert "(% of causes)" in text and "Wilson" in text
    assert from_dict(found.to_dict(values=True)).table("markdown") == text


def test_limits_hold_for_sentences(found: Any) -> None:
    missed = found.row("explain").cells["false"].mean
    assert found.worse_than({"false": missed + 1, "covered": 0.0}) == []
    assert len(found.worse_than({"false": missed - 1})) == 1


def test_only_what_is_asked_is_measured(clf: Classifier) -> None:
    some = evaluate_sentences(clf, metrics=("false", "width"), limit=1, seed=SEED)
    assert list(some.row("explain").cells) == ["false", "width"]
    with pytest.raises(UsageError, match="metric of sentences"):
        evaluate_sentences(clf, metrics=("epg",))
    with pytest.raises(UsageError, match="way to explain"):
        evaluate_sentences(clf, ways=("explains",))


def test_eval_judges_sentences_and_fails_below_a_limit() -> None:
    words = ["eval", "--aviary", "--preset", "sentences", "--model", "aviary:cnn", "--limit", "1", "--quiet"]
    words += ["--metrics", "false,missed,claims", "--json"]
    fine = CliRunner().invoke(cli.app, [*words, "--fail-below", "false=100"])
    assert fine.exit_code == 0
    row = json.loads(fine.stdout)["rows"][0]
    assert (row["method"], list(row["metrics"])) == ("explain", ["false", "missed", "claims"])
    assert CliRunner().invoke(cli.app, [*words, "--fail-below", "false=-1"]).exit_code == 1


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0)]
)
def test_wilson_intervals_are_those_of_the_formula(hits: int, count: int, low: float, high: float) -> None:
    found = wilson(hits, count)
    assert (found.mean, found.low, found.high) == pytest.approx((hits / count, low, high), abs=1e-4)
