"""The study of errors: families found where they were planted, biased classes, bad pictures and labels, resuming."""

import json
import random
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from saywhy.audit import Report, audit, bias, default_method, families, json_schema, pipeline, study
from saywhy.audit.cutout import emptied, object_mask, placed
from saywhy.audit.families import Case, effect_of_surroundings, family_of, misled, sentence
from saywhy.audit.journal import Journal
from saywhy.audit.nearness import Together, packed
from saywhy.audit.pipeline import similarity
from saywhy.audit.report import Closer, Experiments, Nearness, PairAnswer, Placed
from saywhy.aviary import CLASSES, render, sample
from saywhy.aviary.sampling import label
from saywhy.cli import app
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
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


def evidence(*, own=0.1, against=0.1, other=0.1, closer=(), rank=9, truth_rank=9, whole=(0.8, 0.05), stays=0.8):
    def side(true):
        return answers("placed", "true" if true > 0.5 else "predicted", stays if true < 0.5 else 0.1, true)

    alone = PairAnswer(predicted=0.5, true=0.05, says="predicted")
    windows = [Closer(predicted=0.7, true=0.05, says="predicted", box=WHOLE), *closer]
    found = Experiments(
        hidden={"true_alone": alone}, closer=tuple(windows),
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


def test_no_errors_at_all_is_said(clf, tmp_path):
    items = written(tmp_path, [sample(SEED, i) for i in range(4)])
    found = audit(clf, items, tmp_path / "run")
    assert found.failures == () and found.correct == 4
    assert "No errors at all" in (tmp_path / "run" / "failures.html").read_text()
