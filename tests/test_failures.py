"""The study of errors: families found where they were planted, biased classes, bad pictures and labels, resuming."""

import json
import random
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from saywhy.audit import Report, audit, bias, default_method, families, json_schema, pipeline, study
from saywhy.audit.cutout import Cutout, emptied, object_mask, placed
from saywhy.audit.families import Case, effect_of_surroundings, family_of, misled, sentence
from saywhy.audit.journal import Journal
from saywhy.audit.labels import labels_of
from saywhy.audit.nearness import Together, packed
from saywhy.audit.pipeline import similarity
from saywhy.audit.report import Closer, ColourCount, Experiments, Nearness, PairAnswer, Placed
from saywhy.aviary import CLASSES, render, sample
from saywhy.aviary.sampling import label
from saywhy.classifier import Classifier
from saywhy.cli import app
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.image import Preprocess
from saywhy.render.failure_page import failures_page
from saywhy.zoo import load_classifier

SEED = 77
LEFT, RIGHT, WHOLE = (0.0, 0.2, 0.5, 0.8), (0.5, 0.2, 1.0, 0.8), (0.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def clf():
    return load_classifier("aviary:cnn")


def written(folder, samples):
    """Samples as items of pictures in a folder."""
    folder.mkdir(exist_ok=True)
    items = []
    for s in samples:
        path = folder / f"{s.seed}-{s.index}-{s.group.replace(' ', '')}.png"
        Image.fromarray(render(s.scene).pixels).save(path)
        items.append(Item(path, class_name=s.class_name))
    return items


def of_group(fault, group, count):
    found, index = [], 0
    while len(found) < count:
        one = sample(SEED, index, fault=fault)
        found += [one] if one.group == group else []
        index += 1
    return found


def answers(kind, says, predicted, true, count=4):
    rows = [{"predicted": predicted, "true": true, "says": says}] * count
    return tuple(Placed(**r, donor="d", colour="blue") for r in rows) if kind == "placed" else rows


def evidence(
    *, own=0.1, against=0.1, other=0.1, closer=(), rank=9, truth_rank=9, whole=(0.8, 0.05), stays=0.8, hiding=0.1
):
    def side(true):
        return answers("placed", "true" if true > 0.5 else "predicted", stays if true < 0.5 else 0.1, true)

    alone = PairAnswer(predicted=0.5, true=0.05, says="predicted")
    without = PairAnswer(predicted=0.4, true=hiding, says="true" if hiding > 0.4 else "predicted")
    windows = [Closer(predicted=0.7, true=0.05, says="predicted", box=WHOLE), *closer]
    found = Experiments(
        hidden={"true_alone": alone, "predicted_painted_over": without}, closer=tuple(windows),
        surroundings={"true": side(own), "predicted": side(against), "other": side(other)},
    )  # fmt: skip
    return Case("hawk", "dove", whole, truth_rank, 0.8, Nearness(correlation=0.3, rank=rank, of=23), found)


TWO_PLACES = (
    Closer(predicted=0.9, true=0.0, says="predicted", box=LEFT),
    Closer(predicted=0.0, true=0.8, says="true", box=RIGHT),
)


@pytest.mark.parametrize(
    ("given", "family", "said"),
    [
        ({"own": 0.9, "against": 0.05}, "context", "dove in 4 of 4 (mean 90"),
        ({"own": 0.9, "against": 0.9, "other": 0.9}, "context", "dove in 12 of 12 (mean 90"),
        ({"closer": TWO_PLACES}, "several objects", "in the centre left"),
        ({"closer": TWO_PLACES, "rank": 1, "truth_rank": 2}, "related classes", "comes 2nd here with 5"),
        ({"rank": 1, "truth_rank": 2}, "related classes", "the nearest of 23 classes"),
        ({"hiding": 0.65}, "shortcut", "with the quarter painted over where hawk is seen, the answer is dove (65"),
        ({"hiding": 0.55, "stays": 0.2}, "unclear", "No experiment"),
        ({"hiding": 0.3}, "unclear", "No experiment"),
        ({"closer": TWO_PLACES, "hiding": 0.9}, "several objects", "in the centre left"),
        ({}, "wrong label?", "stays hawk before 8 other surroundings (mean 80"),
        ({"stays": 0.2}, "unclear", "the object alone does not make hawk either (mean 20"),
        ({"whole": (0.5, 0.4)}, "unclear", "seen from closer it gets 5"),
    ],
)
def test_families_follow_from_the_experiments_and_the_sentence_says_the_numbers(given, family, said):
    e = evidence(**given)
    assert family_of(e) == family
    text = sentence(family, e).replace("at the centre left", "in the centre left")
    assert said in text and "point to the same place (correlation 0.80)" in text


def test_too_few_donors_show_nothing_about_surroundings():
    e = evidence(own=0.9, against=0.05)
    few = e.experiments.model_copy(update={"surroundings": {"true": answers("placed", "true", 0, 0.9, 1)}})
    assert effect_of_surroundings(few) is None and not misled(few)


def test_maps_that_agree_correlate_and_overlap_and_flat_ones_are_not_compared():
    a = torch.zeros(8, 8)
    a[:4, :4] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    assert similarity(a, a) == pytest.approx((1.0, 1.0), abs=1e-6)
    assert similarity(a, a.flip(1))[0] < 0 and similarity(a, a.flip(1))[1] == 0
    assert similarity(a, torch.ones(8, 8))[0] is None


def test_object_is_found_moved_and_taken_away(clf):
    one = render(sample(SEED, 3).scene)
    image = torch.from_numpy(one.pixels.copy()).permute(2, 0, 1).float() / 255
    mask, bird = object_mask(image), torch.from_numpy(one.bird_mask(0))
    assert float((mask & bird).sum()) / float((mask | bird).sum()) > 0.5
    behind = torch.full_like(image, 0.5)
    moved = placed(image, mask, behind)
    core = bird & mask
    assert torch.allclose(moved[:, core], image[:, core], atol=0.3) and (moved[:, 0, 0] == 0.5).all()
    assert float((emptied(image, mask) - image)[:, ~mask].abs().mean()) < 0.05


def test_classes_that_rise_and_fall_together_are_near():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 6, generator=g)
    logits[:, 1] = logits[:, 0] + 0.2 * torch.randn(60, generator=g)
    texts = [packed(p) for p in logits.softmax(1)]
    near, far = (Together(texts).nearness(0, c, texts[0]) for c in (1, 3))
    assert near.rank == 1 and near.correlation > 0.8 and far.rank > 1 and near.of == 5
    assert Together(texts[:5]).nearness(0, 1) is None


def test_a_class_is_flagged_only_beyond_its_interval():
    def tally(own, other, n=8):
        seen = [bias.Swaps((("blue", own),) * 3, (("green", other), ("white", other)) * 3, 0.9, 0.5) for _ in range(n)]
        return bias.Tally(0, "dove", n, n, seen, ())

    (held,) = bias.records([tally(True, False)])
    assert held.flagged and "not blue" in held.hypothesis and "24 of 24" in held.hypothesis
    assert held.recognised_effect.mean == 1 and "8 recognised pictures lose 100 points" in held.hypothesis
    assert not bias.records([tally(True, True)])[0].flagged
    assert bias.records([tally(True, False, 3)])[0].recognised_effect is None
    wide = bias.interval([1.0, 0.0, 1.0, -1.0, 0.5], 10)
    assert wide.low < 0 < wide.mean < wide.high


def test_the_interval_is_wide_enough_for_all_classes_that_were_examined():
    effects = [1.0, 1 / 3, 2 / 3, 1.0]
    spread = float(np.std(effects, ddof=1)) / 2
    for judged in (1, 2, 40):
        found = bias.interval(effects, judged)
        reach = float(stats.t.ppf(1 - 0.05 / (2 * judged), 3)) * spread
        assert (found.low, found.high) == pytest.approx((0.75 - reach, 0.75 + reach)) and found.count == 4

    def tally(index):
        seen = [
            bias.Swaps((("blue", True),) * 3, (("green", True),) * k + (("green", False),) * (3 - k), 0.9, 0.5)
            for k in (0, 2, 1, 0)
        ]
        return bias.Tally(index, f"class {index}", 4, 4, seen, ())

    assert bias.records([tally(0)])[0].flagged, "alone the effect is beyond its interval"
    assert not any(r.flagged for r in bias.records([tally(i) for i in range(40)])), "among forty classes it is not"


def test_a_picture_never_lends_its_surroundings_to_itself(clf, tmp_path):
    rows = [pipeline.Looked(n, f"{n}.png", f"{n % 3}", 0, ((0, 0.9),), (1, 0.9), None) for n in range(6)]
    for count in range(1, 7):
        drawn = pipeline._drawn(random.Random(count), rows, count, rows[0])
        assert {r.sha256 for r in drawn} <= {"1", "2"} and len(drawn) == min(count, 4)
    one, other = (sample(SEED, i) for i in (0, 1))
    (right,), (wrong,) = written(tmp_path / "a", [one]), written(tmp_path / "b", [one])
    found = study(clf, [right, replace(wrong, class_name=other.class_name), *written(tmp_path / "c", [other])])
    (failure,) = found.failures
    assert failure.path == str(wrong.path)
    donors = {a.donor for side in failure.experiments.surroundings.values() for a in side}
    assert donors and not donors & {str(right.path), str(wrong.path)}, "not even under another name"


@pytest.fixture(scope="module")
def planted(clf, tmp_path_factory):
    """One study of clean birds, pictures with two birds, and look-alikes."""
    folder = tmp_path_factory.mktemp("planted")
    two, alike = of_group("two-species", "two birds", 24), of_group("confusable", "small", 8)
    clean = [sample(SEED, i) for i in range(48)]
    items = written(folder, [*clean, *two, *alike])
    return items, {str(i.path): s for i, s in zip(items, [*clean, *two, *alike], strict=True)}, study(clf, items)


def test_planted_families_are_found(planted):
    _, samples, found = planted
    assert found.pictures == 80 and found.correct + len(found.failures) == 80
    second = [f for f in found.failures if samples[f.path].truth.get("second_species") == f.predicted.class_name]
    alike = [f for f in found.failures if samples[f.path].group == "small"]
    assert len(second) >= 4 and len(alike) >= 3
    assert Counter(f.family for f in second)["several objects"] >= 0.75 * len(second)
    assert Counter(f.family for f in alike)["related classes"] >= 0.75 * len(alike)
    assert found.flagged == () and sum(found.families.values()) == len(found.failures)
    assert all(len(f.maps.predicted) == f.maps.grid[0] and f.sentence for f in found.failures)


def test_planted_context_is_found_in_its_two_species_and_nowhere_else(tmp_path):
    biased = load_classifier("aviary:cnn-context")
    pair = ("tide swallow", "dusk swallow")
    more = [i for i in range(48, 600) if label(SEED, i)[0] in pair][:24]
    samples = [sample(SEED, i, fault="context-control") for i in [*range(48), *more]]
    found = study(biased, written(tmp_path / "p", samples))
    assert {c.class_name for c in found.flagged} <= set(pair) and found.flagged
    assert all(c.hypothesis for c in found.flagged)
    errors = [f for f in found.failures if {f.truth.class_name, f.predicted.class_name} == set(pair)]
    assert len(errors) >= 8 and all(f.family == "context" for f in errors)


def test_the_record_keeps_its_schema_and_reads_back(planted):
    record = json.loads(json.dumps(planted[2].to_dict()))
    assert Report.model_validate(record) == planted[2]
    assert {"failures", "families", "pairs", "classes", "unreadable"} <= set(json_schema()["required"])


def test_page_is_whole_and_counts_the_errors_that_it_does_not_show(planted):
    record = planted[2].to_dict()
    f = record["failures"][0]
    page = failures_page(record, {f["path"]: np.full((3, 64, 64), 0.5, dtype=np.float32)}, families.meanings())
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert page.count("data:image/jpeg") >= 1 and f"{len(record['failures']) - 1} more errors" in page


HOSTILE = {
    "model": lambda r, text: r["model"].update(name=text),
    "method": lambda r, text: r.update(method=text),
    "family": lambda r, text: r.update(families={text: 1}),
    "truth": lambda r, text: r["failures"][0]["truth"].update(class_name=text),
    "predicted": lambda r, text: r["failures"][0]["predicted"].update(class_name=text),
    "family of an error": lambda r, text: r["failures"][0].update(family=text),
    "sentence": lambda r, text: r["failures"][0].update(sentence=text),
    "pair's truth": lambda r, text: r["pairs"][0].update(truth=text),
    "pair's answer": lambda r, text: r["pairs"][0].update(predicted=text),
    "pair's family": lambda r, text: r["pairs"][0].update(families={text: 1}),
    "hypothesis": lambda r, text: r["classes"][0].update(flagged=True, hypothesis=text),
    "unreadable file": lambda r, text: r.update(unreadable=[{"path": text, "error": "broken"}]),
    "error of a file": lambda r, text: r.update(skipped=[{"path": "x", "error": text}]),
    "file": lambda r, text: r["failures"][0].update(path=text),
    "meaning": lambda r, text: None,
}


@pytest.mark.parametrize("place", HOSTILE)
def test_page_escapes_all_that_comes_from_outside(planted, place):
    hostile = "<b onload='x' id=\"y\">&"
    record = json.loads(json.dumps(planted[2].to_dict()))
    HOSTILE[place](record, hostile)
    meanings = {**families.meanings(), hostile: hostile}
    if place == "meaning":
        meanings = dict.fromkeys(families.meanings(), hostile)
    path = record["failures"][0]["path"]
    page = failures_page(record, {path: np.full((3, 64, 64), 0.5, dtype=np.float32)}, meanings)
    assert "<b on" not in page and "&lt;b onload=&#39;x&#39; id=&#34;y&#34;&gt;&amp;" in page


def test_a_family_is_one_row_and_is_then_in_record_page_text_and_reference(clf, tmp_path, monkeypatch):
    sure = families.Family(
        lambda case: case.whole[0] > 0, lambda case: f"It says {case.predicted}.", "toys decide", "anything at all"
    )
    monkeypatch.setattr(families, "FAMILIES", {"toy": sure, **families.FAMILIES})
    monkeypatch.setattr("saywhy.audit.FAMILIES", families.FAMILIES)
    one, other = (sample(SEED, i) for i in (0, 1))
    for s, name in ((one, other.class_name), (other, other.class_name)):
        (tmp_path / "birds" / name).mkdir(parents=True, exist_ok=True)
        written(tmp_path / "birds" / name, [s])
    run = CliRunner().invoke(
        app, ["audit", str(tmp_path / "birds"), "-o", str(tmp_path / "run"), "--model", "aviary:cnn"]
    )
    record = json.loads((tmp_path / "run" / "failures.json").read_text())
    assert [f["family"] for f in record["failures"]] == ["toy"] and record["families"]["toy"] == 1
    assert record["failures"][0]["sentence"].startswith(f"It says {one.class_name}.")
    page = (tmp_path / "run" / "failures.html").read_text()
    assert "toy" in page and "toys decide" in page and f"It says {one.class_name}." in page
    assert run.exit_code == 0 and "toy" in run.output
    reference = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "make_reference.py"))["page"]()
    assert "| `toy` | toys decide | anything at all |" in reference


def test_a_folder_that_was_cut_off_goes_on_and_refuses_others(clf, planted, tmp_path):
    items, _, _ = planted
    some = items[:28] + items[48:56]
    first = audit(clf, some, tmp_path / "run")
    lines = (tmp_path / "run" / "pictures.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "pictures.jsonl").write_text("".join(lines[:10]) + lines[10][:30])
    second = audit(clf, some, tmp_path / "run")
    third = audit(clf, some, tmp_path / "run")
    strip = {"cost", "provenance"}
    assert first.model_dump(exclude=strip) == second.model_dump(exclude=strip) == third.model_dump(exclude=strip)
    assert third.cost.forward_passes == 0 < second.cost.forward_passes < first.cost.forward_passes
    assert json.loads((tmp_path / "run" / "failures.json").read_text())["schema"] == 1
    assert (tmp_path / "run" / "failures.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError, match="another seed"):
        audit(clf, some, tmp_path / "run", seed=1)
    with pytest.raises(UsageError, match="another model"):
        audit(load_classifier("aviary:cnn-unit"), some, tmp_path / "run")


def test_a_file_that_no_audit_wrote_is_refused(tmp_path):
    (tmp_path / "pictures.jsonl").write_text("not json\n")
    with pytest.raises(InputError, match="not what an audit wrote"):
        Journal(tmp_path / "pictures.jsonl", {})


def test_broken_pictures_and_strange_labels_are_named_and_the_rest_is_done(clf, tmp_path):
    items = written(tmp_path, [sample(SEED, i) for i in range(3)])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = study(clf, [*items, Item(tmp_path / "broken.png", class_name=CLASSES[0]), Item(items[0].path), Item(
        items[1].path, class_name="penguin")])  # fmt: skip
    assert found.pictures == 3 and [u.path.endswith("broken.png") for u in found.unreadable] == [True]
    assert len(found.skipped) == 2 and "no label" in found.skipped[0].error and "penguin" in found.skipped[1].error
    with pytest.raises(InputError, match="none of 1"):
        study(clf, [Item(tmp_path / "broken.png", class_name=CLASSES[0])])


def test_labels_are_needed_and_must_be_classes(clf, tmp_path):
    with pytest.raises(UsageError, match="subfolder a class"):
        study(clf, [Item(tmp_path / "a.png")])
    with pytest.raises(UsageError, match=r"'penguin'.*--model"):
        study(clf, [Item(tmp_path / "a.png", class_name="penguin")])


def test_method_that_tells_classes_apart_is_the_default(clf):
    assert default_method(clf) == "grad-cam"
    assert default_method(load_classifier("aviary:vit")) == "occlusion"


def test_the_verb_writes_its_folder_and_says_what_it_found(planted, tmp_path):
    folder = tmp_path / "birds"
    samples = [planted[1][str(i.path)] for i in planted[0]]
    for s in [*samples[:4], *samples[48:56]]:
        written(folder / s.class_name, [s]) if folder.exists() else (
            folder.mkdir(),
            written(folder / s.class_name, [s]),
        )
    run = CliRunner().invoke(app, ["audit", str(folder), "-o", str(tmp_path / "run"), "--model", "aviary:cnn"])
    assert run.exit_code == 0, run.output
    assert "pictures right" in run.output and "errors:" in run.output and "several objects" in run.output
    (folder / samples[0].class_name / "broken.png").write_bytes(b"no picture")
    again = CliRunner().invoke(app, ["audit", str(folder), "-o", str(tmp_path / "run"), "--model", "aviary:cnn"])
    assert again.exit_code == 1 and "broken.png" in again.output


def test_equal_audits_write_equal_files_if_asked_to(tmp_path):
    one, other = (sample(SEED, i) for i in (0, 1))
    (tmp_path / "birds" / other.class_name).mkdir(parents=True)
    written(tmp_path / "birds" / other.class_name, [one, other])
    words = ["audit", str(tmp_path / "birds"), "--model", "aviary:cnn", "-q"]
    for name in ("first", "second"):
        run = CliRunner().invoke(app, [*words, "--reproducible", "-o", str(tmp_path / name)])
        assert run.exit_code == 0, run.output
    first, second = ({f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert first == second and len(first) == 4
    record = json.loads(first["failures.json"])
    assert record["cost"]["seconds"] is None and len(record["failures"]) == 1
    CliRunner().invoke(app, [*words, "-o", str(tmp_path / "timed")])
    assert json.loads((tmp_path / "timed" / "failures.json").read_text())["cost"]["seconds"] >= 0


def test_no_errors_at_all_is_said(clf, tmp_path):
    items = written(tmp_path, [sample(SEED, i) for i in range(4)])
    found = audit(clf, items, tmp_path / "run")
    assert found.failures == () and found.correct == 4
    assert "No errors at all" in (tmp_path / "run" / "failures.html").read_text()


# --------------------------------------------------------------------------------------------------
# Where the line is drawn: on both sides of every threshold.


def window(predicted=0.0, true=0.0, says="predicted", box=LEFT):
    return Closer(predicted=predicted, true=true, says=says, box=box)


def with_surroundings(case, **sides):
    return replace(case, experiments=case.experiments.model_copy(update={"surroundings": sides}))


@pytest.mark.parametrize(
    ("given", "family"),
    [
        # the true class's surroundings bring 40 points
        ({"own": 0.45, "against": 0.05, "whole": (0.5, 0.4)}, "context"),
        ({"own": 0.44, "against": 0.05, "whole": (0.5, 0.4)}, "unclear"),
        # each class is found with 60 % in a window of its own
        ({"closer": (window(0.6), window(0, 0.6, "true", RIGHT))}, "several objects"),
        ({"closer": (window(0.9), window(0, 0.59, "true", RIGHT))}, "unclear"),
        ({"closer": (window(0.9), window(0, 0.9, "predicted", RIGHT))}, "unclear"),
        # near, and among the first five
        ({"rank": 1, "truth_rank": 5}, "related classes"),
        ({"rank": 1, "truth_rank": 6, "whole": (0.5, 0.4)}, "unclear"),
        ({"rank": 2, "truth_rank": 2, "whole": (0.5, 0.4)}, "unclear"),
        # nowhere 25 %, and the predicted class stays with 50 %
        ({"whole": (0.8, 0.24)}, "wrong label?"),
        ({"whole": (0.8, 0.25)}, "unclear"),
        ({"closer": (window(0.5, 0.24),)}, "wrong label?"),
        ({"closer": (window(0.5, 0.26),)}, "unclear"),
        ({"stays": 0.5}, "wrong label?"),
        ({"stays": 0.49}, "unclear"),
    ],
)
def test_each_threshold_lies_where_the_rule_says(given, family):
    assert family_of(evidence(**given)) == family


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(("share", "apart"), [(0.0, True), (0.29, True), (0.31, False), (1.0, False)])
def test_windows_show_two_places_up_to_an_overlap_of_thirty_percent(share, apart, flipped):
    both = 2 * share / (1 + share)
    boxes = (0.0, 0.1, 0.5, 0.3), (0.5 * (1 - both), 0.1, 1 - 0.5 * both, 0.3)
    if flipped:
        boxes = tuple((b, a, d, c) for a, b, c, d in boxes)
    found = families.two_places([window(0.9, box=boxes[0]), window(0, 0.8, "true", boxes[1])])
    assert (found is not None) == apart


def test_of_many_windows_the_pair_is_shown_in_which_the_weaker_class_is_surest():
    left = [window(p, box=LEFT) for p in (0.7, 0.9, 0.8)]
    right = [window(0, t, "true", RIGHT) for t in (0.65, 0.85, 0.75)]
    found = families.two_places([*left, *right])
    assert (found[0].predicted, found[1].true) == (0.9, 0.85)
    assert families.two_places(left) is None and families.two_places([]) is None
    assert families.best([*left, *right], "true") is right[1] and families.best(left, "predicted") is left[1]


def test_in_many_classes_the_nearest_one_and_a_half_percent_are_near():
    for rank, of, near in (
        (1, 10, True),
        (2, 10, False),
        (2, 133, True),
        (3, 133, False),
        (15, 999, True),
        (16, 999, False),
    ):
        assert families.near(Nearness(correlation=0.1, rank=rank, of=of)) is near
    assert not families.near(None)


def test_other_surroundings_mislead_nothing_unless_nearly_all_bring_the_truth():
    def case(true, said, of):
        rows = [Placed(predicted=0.1, true=true, says="true" if i < said else "predicted", donor="d", colour="blue")
                for i in range(of)]  # fmt: skip
        return with_surroundings(evidence(), true=tuple(rows[: of // 2]), predicted=tuple(rows[of // 2 :])).experiments

    assert misled(case(0.6, 3, 4)) and not misled(case(0.59, 4, 4))
    assert not misled(case(0.9, 2, 4)) and not misled(case(0.9, 3, 3))
    assert misled(case(0.9, 8, 8)) and not misled(case(0.9, 5, 8)) and misled(case(0.9, 6, 8))


def test_two_donors_a_side_are_enough_and_one_is_not():
    for own, against, effect in ((2, 2, 0.6), (1, 2, None), (2, 1, None), (0, 0, None)):
        found = with_surroundings(
            evidence(),
            true=answers("placed", "true", 0, 0.8, own),
            predicted=answers("placed", "true", 0, 0.2, against),
        )
        assert effect_of_surroundings(found.experiments) == (None if effect is None else pytest.approx(effect))
    stays = with_surroundings(evidence(), other=answers("placed", "predicted", 0.9, 0.0, 2))
    assert family_of(stays) == "wrong label?"
    assert family_of(with_surroundings(evidence(), other=answers("placed", "predicted", 0.9, 0.0, 1))) == "unclear"
    assert family_of(with_surroundings(evidence(), true=answers("placed", "predicted", 0.9, 0.0, 4))) == "unclear"


def test_the_sentence_of_a_wrong_label_names_the_highest_that_the_truth_got_in_any_part():
    for closer, alone, told in ((0.21, 0.05, "21"), (0.03, 0.19, "19")):
        case = evidence(closer=(window(0.5, closer),))
        hidden = {**case.experiments.hidden, "true_alone": PairAnswer(predicted=0.5, true=alone, says="predicted")}
        case = replace(case, experiments=case.experiments.model_copy(update={"hidden": hidden}))
        assert f"does dove pass {told}\u00a0%." in sentence("wrong label?", case)


@pytest.mark.parametrize(
    ("similarity", "said"),
    [(None, "One of the two maps is flat"), (0.5, "point to the same place (correlation 0.50)"),
     (0.49, "The maps of the two classes differ (correlation 0.49)"), (-0.2, "differ (correlation -0.20)")],
)  # fmt: skip
def test_the_sentence_says_whether_the_maps_agree(similarity, said):
    assert said in sentence("unclear", replace(evidence(), similarity=similarity))


@pytest.mark.parametrize(
    ("rank", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"),
                       (20, "20th"),
                       (21, "21st"), (111, "111th"), (122, "122nd")]
)  # fmt: skip
def test_ranks_are_told_in_english(rank, said):
    case = evidence(rank=rank, truth_rank=rank)
    told = sentence("unclear", case)
    assert f"the truth comes {said}" in told
    assert f"({'the nearest' if rank == 1 else said} of 23)" in told
    assert ("the classes are near for" in told) == (rank == 1)


def test_an_unclear_error_says_what_each_experiment_did_not_show():
    told = sentence("unclear", evidence(own=0.3, against=0.1, closer=(window(0.2, 0.4),), stays=0.45))
    assert "other surroundings bring +20 points for dove; seen from closer it gets 40\u00a0% at most; " in told
    assert "the object alone does not make hawk either (mean 45\u00a0%)" in told
    kept = sentence("unclear", evidence(stays=0.5))
    assert "does not make" not in kept
    none = with_surroundings(replace(evidence(), nearness=None))
    assert "too few recognised pictures" in sentence("unclear", none) and "the classes are" not in sentence(
        "unclear", none
    )


def test_the_surroundings_that_are_compared_are_counted_in_the_sentence():
    case = evidence(own=0.9, against=0.2)
    assert (
        "be dove in 4 of 4 (mean 90\u00a0%), before those of pictures recognised as hawk in 0 of 4 (mean 20\u00a0%)"
        in (sentence("context", case))
    )


def tally_of(index, name, own=(), other=(), failures=(), n=4):
    seen = [bias.Swaps(tuple(own), tuple(other), 0.9, 0.3 + 0.1 * i) for i in range(n)]
    return bias.Tally(index, name, 9, n, seen, failures)


def missed(own, against, family="context"):
    sides = {"true": tuple(Placed(predicted=0, true=0, says="true" if k else "predicted", donor="d", colour="red")
                           for k in own),
             "predicted": tuple(Placed(predicted=0, true=0, says="true" if k else "other", donor="d", colour="grey")
                                for k in against)}  # fmt: skip
    return SimpleNamespace(family=family, experiments=SimpleNamespace(surroundings=sides))


def test_only_effects_with_enough_pictures_widen_the_intervals():
    swaps = ((("blue", True),) * 3, (("green", False),) * 2 + (("green", True),))
    uneven = [bias.Swaps(swaps[0], (("green", k > 1),) * 3, 0.9, 0.5) for k in range(4)]
    one = bias.Tally(0, "a", 4, 4, uneven, ())
    few = [tally_of(i, f"c{i}", *swaps, n=3) for i in range(1, 9)]
    alone, beside = bias.records([one])[0].recognised_effect, bias.records([one, *few])[0].recognised_effect
    assert alone == beside, "what is not judged costs nothing"
    many = bias.records([one, *(tally_of(i, f"c{i}", *swaps) for i in range(1, 9))])[0].recognised_effect
    assert many.high - many.low > beside.high - beside.low
    both = bias.Tally(0, "a", 4, 4, uneven, [missed((1, 1), (0, 0))] * 4)
    two = bias.records([both])[0]
    assert two.recognised_effect == bias.interval([s.effect for s in uneven], 2)


def test_a_class_counts_its_families_its_colours_and_its_means():
    failures = [
        missed((1, 0), (0, 0)),
        missed((1, 1), (0, 1)),
        missed((1,), (0,), "unclear"),
        missed((), (1,), "unclear"),
    ]
    (found,) = bias.records([tally_of(3, "dove", (("blue", True),) * 2, (("green", False), ("blue", True)), failures)])
    assert found.families == {"context": 2, "unclear": 2} and (found.class_index, found.class_name) == (3, "dove")
    assert (found.pictures, found.recognised) == (9, 4)
    assert found.whole == pytest.approx(0.9) and found.alone == pytest.approx(0.45)
    assert found.missed_effect is None, "three have both sides"
    assert [(c.colour, c.asked, c.recognised) for c in found.colours] == [
        ("blue", 12, 12), ("grey", 6, 2), ("red", 5, 4), ("green", 4, 0)
    ]  # fmt: skip
    more = bias.records([tally_of(3, "dove", failures=[*failures, missed((1, 1), (0, 0))], n=0)])[0]
    assert more.missed_effect.mean == pytest.approx((0.5 + 0.5 + 1 + 1) / 4) and more.missed_effect.count == 4
    assert more.whole is None and more.alone is None and more.recognised_effect is None


def test_a_class_is_flagged_from_ten_points_on():
    for lost, flagged in ((0, False), (1, True)):
        other = (("green", True),) * (8 - lost) + (("green", False),) * lost
        rows = [bias.Swaps((("blue", True),) * 8, other, 1, 1)] * 8
        assert bias.records([bias.Tally(0, "a", 8, 8, rows, ())])[0].flagged is flagged
    small = [bias.Swaps((("blue", True),) * 20, (("green", True),) * 19 + (("green", False),), 1, 1)] * 8
    assert not bias.records([bias.Tally(0, "a", 8, 8, small, ())])[0].flagged, "sure, but too small to be told"
    gained = [bias.Swaps((("blue", False),) * 4, (("green", True),) * 4, 1, 1)] * 8
    assert not bias.records([bias.Tally(0, "a", 8, 8, gained, ())])[0].flagged, "others' surroundings help"


def test_the_hypothesis_names_the_colour_that_tells_and_what_was_measured():
    def swaps(own, other):
        return [bias.Swaps(own, other, 1, 1)] * 8

    told = bias.records([bias.Tally(0, "dove", 8, 8, swaps((("blue", True),) * 3, (("red", False),) * 3), ())])[
        0
    ].hypothesis
    assert "dove is recognised by its surroundings, probably missed when they are not blue" in told
    assert "(recognised in 24 of 24 blue ones, 0 of 24 others)" in told
    assert told.endswith("against those of its own.") and "8 recognised pictures lose 100 points (100 to 100)" in told
    plain = swaps((("blue", True),) * 3, (("blue", False),) * 3)
    assert "by no colour that stands out" in bias.records([bias.Tally(0, "dove", 8, 8, plain, ())])[0].hypothesis
    worse = swaps((("blue", True), ("grey", True), ("red", True)), (("blue", False), ("grey", True), ("red", True)))
    assert "when they are blue (recognised in 8 of 16 blue ones, 32 of 32 others)" in (
        bias.records([bias.Tally(0, "dove", 8, 8, worse, ())])[0].hypothesis
    )
    both = bias.records([bias.Tally(0, "dove", 8, 8, [], [missed((1, 1), (0, 0))] * 5)])[0].hypothesis
    assert "5 missed ones win 100 points (100 to 100) before the surroundings of recognised ones" in both
    assert "recognised pictures lose" not in both


def test_a_swap_is_read_back_and_its_effect_is_the_share_that_is_lost():
    row = {"own": [["blue", True], ["red", False]], "other": [["green", False]], "whole": 0.9, "alone": 0.2}
    found = bias.Swaps.of(row)
    assert found == bias.Swaps((("blue", True), ("red", False)), (("green", False),), 0.9, 0.2)
    assert found.effect == 0.5 and bias.Swaps((), (), 0, 0).effect == 0


# --------------------------------------------------------------------------------------------------
# Labels.


def labelled(*labels):
    def key(label):
        return "class_name" if isinstance(label, str) else "class_index"

    return [Item(Path(f"{i}.png"), **{key(label): label}) for i, label in enumerate(labels)]


def test_labels_are_names_or_numbers_and_every_one_that_is_neither_has_its_reason(clf):
    got, reasons = labels_of(clf, labelled(CLASSES[0], 0, CLASSES[3], None, "penguin", 10**6))
    assert got == [0, 0, 3, None, None, None] and sorted(reasons) == [3, 4, 5]
    assert reasons[3] == "it has no label" and "its label is no class of the model" in reasons[4]


def test_of_two_classes_of_one_name_the_number_decides():
    twins = Classifier(
        lambda x: torch.zeros(len(x), 3), classes=("crane", "dove", "crane"), preprocess=Preprocess((8, 8))
    )
    items = [Item(Path("a"), class_name="crane", class_index=i) for i in (0, 2)]
    assert labels_of(twins, items)[0] == [0, 2]
    other = [Item(Path("a"), class_name="dove", class_index=i) for i in (0, 1, 3, -1)]
    assert labels_of(twins, other)[0] == [1, 1, 1, 1], "a number that says another class does not"


@pytest.mark.parametrize(
    ("labels", "said"),
    [(("b", "a", None, "b"), "the labels are 'a', 'b'; "),
     (tuple("fedcba"), "'a', 'b', 'c', 'd', 'e', ... (6 in all); "),
     (tuple("edcba"), "'a', 'b', 'c', 'd', 'e'; ")],
)  # fmt: skip
def test_labels_that_are_no_classes_are_listed_once_each_and_only_the_first_few(clf, labels, said):
    with pytest.raises(UsageError) as caught:
        labels_of(clf, labelled(*labels))
    assert said in str(caught.value) and f"{len(CLASSES)} classes are" in str(caught.value)
    with pytest.raises(UsageError, match="no label is a class"):
        labels_of(clf, labelled(None, 10**6))


def test_of_two_colours_that_tell_the_one_is_named_that_tells_more_however_often_it_was_asked():
    # Red: 78 points apart, asked 10 times of 100; blue: 40 points, asked 50 times. Times the root of how often, red.
    counts = (("blue", 50, 45), ("green", 40, 25), ("red", 10, 0))
    told = bias._when([ColourCount(colour=c, asked=n, recognised=k) for c, n, k in counts])
    assert "when they are red (recognised in 0 of 10 red ones, 70 of 90 others)" in told
    # Seen three times, red tells less than blue does.
    few = (("blue", 50, 45), ("green", 40, 18), ("red", 3, 0))
    told = bias._when([ColourCount(colour=c, asked=n, recognised=k) for c, n, k in few])
    assert "when they are not blue (recognised in 45 of 50 blue ones, 18 of 43 others)" in told
    assert "no colour" in bias._when([ColourCount(colour="red", asked=9, recognised=2)])


def test_an_interval_is_told_no_further_than_all():
    effects = [(3, 0), (3, 0), (3, 0), (3, 2), (3, 0), (3, 1)]
    rows = [bias.Swaps((("blue", True),) * a, tuple(("red", i < b) for i in range(3)), 1, 1) for a, b in effects]
    found = bias.records([bias.Tally(0, "dove", 6, 6, rows, ())])[0]
    assert found.flagged and found.recognised_effect.high > 1
    assert f"83 points ({round(100 * found.recognised_effect.low)} to 100) of recognition" in found.hypothesis


def test_the_object_of_a_recognised_picture_is_put_before_others_and_recognised_or_not():
    def red(images):  # class 0: a red left half, class 1: the rest
        shown = images[:, 0, :, :4].mean((1, 2)) - images[:, 2, :, 4:].mean((1, 2))
        return torch.stack([shown, -shown], 1)

    def cutout(object_, around):
        image, mask = around[:, None, None].expand(3, 8, 8).clone(), torch.zeros(8, 8, dtype=torch.bool)
        mask[2:6, 1:4] = True
        image[:, mask] = object_[:, None]
        return Cutout(image, mask)

    clf = Classifier(red, classes=("red", "other"), preprocess=Preprocess((8, 8)))
    is_red, is_blue, is_black = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]), torch.zeros(3)
    mine, blue = cutout(is_red, is_black), cutout(is_red, is_blue)
    found = bias.ask(clf, mine, 0, [cutout(is_red, is_black)], [blue] * 2)
    assert found.own == (("black", True),) and found.other == (("blue", False),) * 2
    assert found.whole == pytest.approx(float(clf.probabilities(mine.image[None])[0, 0])) and 0 < found.alone < 1
    turned = bias.ask(clf, mine, 1, [], [blue, mine])
    assert turned.own == () and turned.other == (("blue", True), ("black", False))
    assert turned.whole == pytest.approx(1 - found.whole)
