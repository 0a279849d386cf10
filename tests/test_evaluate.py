"""Evaluations of photos: values against direct calls, truth in the model's view, failures, limits, tables."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from saywhy import Explainer, cli, metrics
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.errors import InputError, UsageError
from saywhy.evaluate import DERIVED, PRESETS, Conventions, Evaluation, Row, evaluate
from saywhy.evaluate.annotations import truth_of
from saywhy.evaluate.derived import squashed
from saywhy.evaluate.presets import WORDS, methods_for, metrics_named
from saywhy.evaluate.result import from_dict, json_text, on_pictures, report, shared
from saywhy.image import Preprocess, read
from saywhy.lcam.heads import FORMS, start
from saywhy.metrics import CONTROLS, METRICS, reference
from saywhy.metrics.curves import deletion_curve, insertion_curve
from saywhy.metrics.faithfulness import kept_scores
from saywhy.saliency import METHODS, saliency
from saywhy.zoo import load_classifier
from tiny import build, classifier, images


class Paint(nn.Module):
    """Scores red, green and blue by how much of the colour there is, seen through one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1), nn.AvgPool2d(4)
        with torch.no_grad():
            self.conv.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])
            assert self.conv.bias is not None
            self.conv.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.conv(x).relu())
        return 40 * pooled.mean((2, 3))


PLAIN = Preprocess((32, 32), 40, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def paint(**settings: object) -> Classifier:
    return Classifier(Paint().eval(), classes=("red", "green", "blue"), preprocess=PLAIN, **settings)  # type: ignore[arg-type]


def photos(folder: Path, count: int = 5, size: tuple[int, int] = (60, 80)) -> list[Item]:
    """Grey photos, each with one red rectangle that is marked as mask, box and keypoint."""
    rows = []
    for n in range(count):
        y, x = 12 + 4 * n, 20 + 5 * n
        pixels = np.full((*size, 3), 128, dtype=np.uint8)
        pixels[y : y + 14, x : x + 16] = (240, 20, 20)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        corners = [x, y, x + 15, y, x + 15, y + 13, x, y + 13]
        rows.append(
            {
                "file": f"{n}.png", "class_name": "red",
                "masks": [{"name": "patch", "polygons": [corners]},
                          {"name": "background", "polygons": [[0, 0, 9, 9, 9, 0]]}],
                "boxes": [{"name": "patch", "xywh": [x, y, 16, 14]}],
                "keypoints": {"middle": [x + 8, y + 7]},
            }
        )  # fmt: skip
    (folder / "images.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    return find_images(folder)


def smooth(folder: Path, count: int) -> list[Item]:
    """Photos of smooth colours, with nothing marked on them."""
    for n, x in enumerate(images(count, side=40)):
        Image.fromarray((x.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(folder / f"{n}.png")
    return find_images(folder)


def values(found: Evaluation, method: str, metric: str) -> list[float]:
    return list(found.row(method).cells[metric].values)


# --------------------------------------------------------------------------------------------------
# Values.


def test_values_are_those_of_the_metric_called_directly(tmp_path: Path) -> None:
    items, clf = photos(tmp_path), paint(batch_size=2)
    names = ["ad50", "ic100", "ag15-ranked", "insertion", "deletion", "mean-value", "entropy", "epg", "pck@0.2"]
    found = evaluate(clf, items, ["grad-cam"], names, conventions=Conventions(steps=6))
    pictures = [read(i.path) for i in items]
    x, seen = clf.prepare(pictures)
    shown = saliency(clf, x, None, method="grad-cam").display
    truth = truth_of(items, pictures, seen, clf.preprocess)
    given = {"probabilities": clf.probabilities, "images": x, "maps": shown, "targets": None, **vars(truth)}
    for name in names:
        row = METRICS[name]
        steps = {"steps": 6} if "steps" in row.conventions else {}
        direct = row.function(**{k: given[k] for k in row.inputs}, **steps)
        assert values(found, "grad-cam", name) == pytest.approx(direct.tolist(), abs=1e-6, nan_ok=True), name


def test_the_batch_size_changes_no_value(tmp_path: Path) -> None:
    items = photos(tmp_path)
    one, many = (
        evaluate(
            paint(batch_size=b), items, ["layer-cam", "rise"], ["ad50", "deletion"], options={"rise": {"masks": 20}}
        )
        for b in (1, 4)
    )
    for a, b in zip(one.rows, many.rows, strict=True):
        for name in a.cells:
            assert a.cells[name].values == pytest.approx(b.cells[name].values, abs=1e-4, nan_ok=True)


def test_controls_stand_beside_the_methods_and_their_degenerate_maps_are_counted(tmp_path: Path) -> None:
    found = evaluate(paint(), photos(tmp_path), ["grad-cam"], ["ad100", "deletion"])
    assert [(r.method, r.control) for r in found.rows] == [
        ("constant", True), ("random", True), ("centre", True), ("grad-cam", False)
    ]  # fmt: skip
    constant = found.row("constant")
    assert constant.degenerate == {"flat": 5}
    assert constant.cells["ad100"].mean == 0  # area alone
    assert (constant.cells["deletion"].samples, constant.cells["deletion"].undefined) == (0, 5)
    assert (found.row("grad-cam").forward_passes, found.row("grad-cam").tail_passes) == (1, 0)


def test_one_curve_alone_is_the_same_as_with_the_other(tmp_path: Path) -> None:
    items, how = photos(tmp_path, 3), Conventions(steps=5, fill="mean")
    both = evaluate(paint(), items, ["grad-cam"], ["insertion", "deletion"], conventions=how)
    for name in ("insertion", "deletion"):
        alone = evaluate(paint(), items, ["grad-cam"], [name], conventions=how)
        assert values(alone, "grad-cam", name) == pytest.approx(values(both, "grad-cam", name))
        assert alone.column(name).conventions["fill"] == {"insertion": "image-blur", "deletion": "mean"}[name]


def test_targets_are_the_label_or_one_class(tmp_path: Path) -> None:
    items = photos(tmp_path, 2)
    label = evaluate(paint(), items, ["grad-cam"], ["mean-value"], target="label")
    red = evaluate(paint(), items, ["grad-cam"], ["mean-value"], target="red")
    blue = evaluate(paint(), items, ["grad-cam"], ["mean-value"], target="blue")
    assert values(label, "grad-cam", "mean-value") == values(red, "grad-cam", "mean-value")
    assert blue.row("grad-cam").degenerate  # there is no blue in them
    with pytest.raises(UsageError, match="unknown class"):
        evaluate(paint(), items, ["grad-cam"], ["mean-value"], target="purple")


def test_a_picture_without_a_label_fails_alone_when_labels_are_asked(tmp_path: Path) -> None:
    items = photos(tmp_path, 3)
    items[1] = replace(items[1], class_name="cow")
    found = evaluate(paint(), items, ["grad-cam"], ["mean-value"], target="label")
    assert [Path(p).name for p, _ in found.failures] == ["1.png"]
    assert len(found.row("grad-cam").pictures) == 2


def test_class_blind_methods_keep_their_map_for_another_label(tmp_path: Path) -> None:
    names = ["label-randomisation", "noise-stability", "weight-randomisation"]
    found = evaluate(classifier(build("cnn")), smooth(tmp_path, 2), ["eigen-cam", "grad-cam"], names)
    assert found.row("eigen-cam").cells["label-randomisation"].mean == pytest.approx(1)
    assert found.row("grad-cam").cells["label-randomisation"].mean < 1
    assert found.row("random").cells["weight-randomisation"].mean == 1
    assert math.isnan(found.row("constant").cells["noise-stability"].mean)
    assert found.row("grad-cam").cells["weight-randomisation"].mean < 1


def test_the_judge_is_asked_by_metrics_and_by_methods_that_need_scores_alone(tmp_path: Path) -> None:
    clf, asked = paint(), []

    def counted(x: Tensor) -> Tensor:
        asked.append(len(x))
        return clf.logits(x)

    judge = Classifier(counted, classes=clf.class_names, preprocess=PLAIN)
    items = photos(tmp_path, 2)
    plain = evaluate(clf, items, ["grad-cam", "occlusion"], ["ad50"])
    assert evaluate(clf, items, ["grad-cam", "occlusion"], ["ad50"], judge=judge).row("occlusion").cells[
        "ad50"
    ].values == (pytest.approx(plain.row("occlusion").cells["ad50"].values))
    assert sum(asked) > 2 * plain.row("occlusion").forward_passes


# --------------------------------------------------------------------------------------------------
# A metric of one's own is one row, whatever it reads.


def toy(function: Callable[..., Tensor], kind: str, needs: str, inputs: tuple[str, ...], **more: Any) -> metrics.Row:
    return metrics.Row(function, kind, True, needs, inputs, {}, "a toy", "this test", "0", **more)  # type: ignore[arg-type]


def asks_itself(*, probabilities: Any, images: Tensor, targets: Tensor, fill: str, drop: str) -> Tensor:
    """Probability of the asked class on the darkened image, where the conventions arrive."""
    assert (fill, drop) == ("mean", "absolute")
    return probabilities(images / 2).gather(1, targets[:, None])[:, 0].double()


def brightness(case: metrics.Case) -> Tensor:
    """A measurement of one's own."""
    SHOWN.append("brightness")
    return case.inputs["images"].mean((1, 2, 3)).double()


SHOWN: list[str] = []
TOYS = {
    "on a curve": toy(
        lambda curve: curve[:, 1], "faithfulness", "model", (), shares={"curve": metrics.deletion_scores}
    ),
    "on another curve": toy(
        lambda curve: curve[:, 1], "faithfulness", "model", (), shares={"curve": metrics.insertion_scores}
    ),
    "on masked scores": toy(
        lambda known, kept: kept - known.scores, "faithfulness", "model", (),
        shares={"known": metrics.whole, "kept": metrics.Kept(30.0)},
    ),
    "asks itself": toy(asks_itself, "faithfulness", "model", ("probabilities", "images", "targets")),
    "explains again": toy(
        lambda explain, images, targets: explain(images, targets).mean((1, 2)).double(),
        "faithfulness", "model", ("explain", "images", "targets"),
    ),
    "own measurement": toy(lambda light: light, "complexity", "model", (), shares={"light": brightness}),
    "its double": toy(lambda light: 2 * light, "complexity", "model", (), shares={"light": brightness}),
    "complexity": toy(lambda maps: maps.amax((1, 2)).double(), "complexity", "map", ("maps",)),
    "localisation": toy(
        lambda maps, masks: (maps * masks).amax((1, 2)).double(), "localisation", "truth", ("maps", "masks")
    ),
    "keypoints": toy(lambda keypoints: keypoints[:, 0], "localisation", "truth", ("keypoints",)),
    "sanity": toy(
        lambda explain, images, targets, *, seed: explain(images, (targets + 1) % 3).mean((1, 2)).double() + seed,
        "sanity", "model", ("explain", "images", "targets"),
    ),
    "sanity of weights": toy(
        lambda net, explain_with: explain_with(copy.deepcopy(net)).mean((1, 2)).double(),
        "sanity", "model", ("net", "explain_with"),
    ),
}  # fmt: skip


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, row in TOYS.items():
        monkeypatch.setitem(METRICS, name, row)
    SHOWN.clear()
    return list(TOYS)


def test_a_metric_of_any_kind_needs_its_row_and_nothing_else(tmp_path: Path, toys: list[str]) -> None:
    items, clf = photos(tmp_path, 3), paint()
    how = Conventions(steps=6, fill="mean", drop="absolute")
    found = evaluate(clf, items, ["grad-cam"], [*toys, "deletion", "ad50"], conventions=how, seed=4)
    assert [c.name for c in found.columns] == [*toys, "deletion", "ad50"]
    got = {name: torch.tensor(values(found, "grad-cam", name), dtype=torch.float64) for name in toys}
    pictures = [read(i.path) for i in items]
    x, seen = clf.prepare(pictures)
    maps, truth = saliency(clf, x), truth_of(items, pictures, seen, clf.preprocess)
    known = reference(clf.probabilities, x)
    assert known.targets is not None
    asked = (clf.probabilities, x, maps.display, known)
    other = saliency(clf, x, ((known.targets + 1) % 3).tolist()).raw.mean((1, 2)).double()
    expected = {
        "on a curve": deletion_curve(*asked, steps=6, fill="mean")[:, 1],
        "on another curve": insertion_curve(*asked, steps=6, fill="image-blur")[:, 1],
        "on masked scores": kept_scores(*asked, nu=30, fill="mean") - known.scores,
        "asks itself": clf.probabilities(x / 2).gather(1, known.targets[:, None])[:, 0].double(),
        "explains again": maps.display.mean((1, 2)).double(),
        "own measurement": x.mean((1, 2, 3)).double(),
        "its double": 2 * x.mean((1, 2, 3)).double(),
        "complexity": torch.ones(3, dtype=torch.float64),
        "localisation": (maps.display * truth.masks).amax((1, 2)).double(),
        "keypoints": truth.keypoints[:, 0],
        "sanity": other + 4,
        "sanity of weights": maps.raw.mean((1, 2)).double(),
    }
    assert list(expected) == toys
    for name in toys:
        torch.testing.assert_close(got[name], expected[name], atol=1e-5, rtol=1e-4, msg=name)


def test_what_several_metrics_read_is_measured_once_for_each_method(tmp_path: Path, toys: list[str]) -> None:
    clf, asked = paint(), []

    def counted(x: Tensor) -> Tensor:
        asked.append(len(x))
        return clf.logits(x)

    judge, items = Classifier(counted, classes=clf.class_names, preprocess=PLAIN), photos(tmp_path, 2)
    names = ["own measurement", "its double", "on a curve", "deletion", "insertion-deletion", "on another curve"]
    evaluate(clf, items, ["grad-cam"], names, controls=["random"], conventions=Conventions(steps=5), judge=judge)
    assert SHOWN == ["brightness"] * 2  # once for the control, once for the method
    assert sum(asked) == 2 * (1 + 2 * 2 * 5)  # the whole, and for each of two rows two curves of five steps


def test_a_metric_with_an_input_that_no_evaluation_has_is_told_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "odd", toy(lambda captions: captions, "complexity", "map", ("captions",)))
    with pytest.raises(UsageError, match=r"odd lists the input 'captions'; what can be had here is probabilities, im"):
        evaluate(paint(), photos(tmp_path, 1), ["grad-cam"], ["odd"])


# --------------------------------------------------------------------------------------------------
# Controls made of another map, and heads.


def test_a_derived_control_moves_area_and_keeps_the_order(tmp_path: Path) -> None:
    names = ["mean-value", "ad50", "ad50-ranked", "deletion", "weight-randomisation"]
    found = evaluate(paint(), photos(tmp_path), ["grad-cam"], names, controls=list(DERIVED))
    assert [(r.method, r.control) for r in found.rows][:3] == [(name, True) for name in DERIVED]
    for name in ("ad50-ranked", "deletion", "weight-randomisation"):
        assert values(found, "cam^0.5", name) == pytest.approx(values(found, "grad-cam", name), nan_ok=True)
    areas = [values(found, name, "mean-value") for name in ("cam^0.5", "grad-cam")]
    assert all(root > own for root, own in zip(*areas, strict=True))
    assert found.row("cam^0.5").forward_passes == 1
    assert values(found, "fake-cam", "mean-value") == pytest.approx([1 - 1 / 32**2] * 5)
    assert found.row("fake-cam").degenerate == {}
    assert "sigmoid(2 z + 0.5)" in found.table("markdown")


def test_the_sigmoid_of_a_map_does_not_know_the_maps_scale() -> None:
    raw = torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(0))
    raw[1] = 3.0
    raw[1, 0, 0] += 1e-6
    shown, status = squashed(raw, (28, 28))
    assert status == ("ok", "flat")
    assert not shown[1].any()
    again, _ = squashed(40 * raw + 7, (28, 28))
    assert torch.allclose(shown, again, atol=1e-4)
    z = (raw[0] - raw[0].mean()) / raw[0].std(correction=0)
    plain, _ = squashed(raw[:1], (7, 7))
    low, high = torch.sigmoid(2 * z + 0.5).aminmax()
    assert torch.allclose(plain[0], (torch.sigmoid(2 * z + 0.5) - low) / (high - low), atol=1e-5)


def test_an_unknown_control_is_an_error_and_a_black_box_has_no_cam(tmp_path: Path) -> None:
    items = photos(tmp_path, 2)
    with pytest.raises(UsageError, match="unknown control 'cam'"):
        evaluate(paint(), items, ["grad-cam"], ["ad50"], controls=["cam"])
    black_box = Classifier(lambda x: Paint()(x).detach(), classes=("red", "green", "blue"), preprocess=PLAIN)
    found = evaluate(
        black_box, items, ["occlusion"], ["ad50", "weight-randomisation"],
        controls=["centre", *DERIVED], where_possible=["weight-randomisation"],
    )  # fmt: skip
    assert [r.method for r in found.rows] == ["centre", "fake-cam", "occlusion"]
    assert [c.name for c in found.columns] == ["ad50"]
    assert [note.split(":")[0] for note in found.notes] == ["cam^0.5, sigmoid(cam)", "weight-randomisation"]


@pytest.mark.parametrize("form", FORMS)
def test_a_head_reads_the_features_of_random_weights_in_the_sanity_check(tmp_path: Path, form: str) -> None:
    clf = classifier(build("cnn"))
    head = start(clf.tap(images(4)), form, fine=form != "rows")
    names = ["weight-randomisation", "label-randomisation", "noise-stability", "adcc"]
    found = evaluate(clf, smooth(tmp_path, 3), ["l-cam"], names, options={"l-cam": {"head": head}})
    cell = found.row("l-cam").cells["weight-randomisation"]
    assert cell.samples == 3
    assert -1 <= cell.mean < 0.99
    assert found.row("l-cam").cells["noise-stability"].mean > cell.mean
    assert found.conventions["l-cam head"] == str(head).removeprefix("l-cam head ")


# --------------------------------------------------------------------------------------------------
# Subsets and failures.


def test_sanity_has_a_seeded_subset_of_its_own_and_methods_that_ask_often_a_tenth_of_it(tmp_path: Path) -> None:
    items, names = smooth(tmp_path, 5), ["weight-randomisation", "mean-value"]
    clf = classifier(build("cnn"), batch_size=2)
    whole = evaluate(clf, items, ["grad-cam", "occlusion"], names)
    few = evaluate(clf, items, ["grad-cam", "occlusion"], names, sanity_limit=3)
    known = {m: [not math.isnan(v) for v in values(few, m, names[0])] for m in ("grad-cam", "occlusion", "random")}
    assert sum(known["random"]) == 3
    assert known["grad-cam"] == known["random"]
    assert sum(known["occlusion"]) == 2
    for method in ("grad-cam", "occlusion"):
        wanted = [v if k else math.nan for v, k in zip(values(whole, method, names[0]), known[method], strict=True)]
        assert values(few, method, names[0]) == pytest.approx(wanted, nan_ok=True)
        assert few.row(method).cells["mean-value"].samples == 5
    assert [n for n in few.notes if "weight-randomisation of occlusion: on a seeded subset of 2 of the 5" in n]
    assert not whole.notes


def test_methods_that_ask_often_see_a_seeded_subset_that_grows_with_its_size(tmp_path: Path) -> None:
    items = photos(tmp_path)

    def seen(limit: int, seed: int = 0) -> set[str]:
        found = evaluate(paint(), items, ["occlusion", "grad-cam"], ["ad50"], perturbation_limit=limit, seed=seed)
        assert len(found.row("grad-cam").pictures) == 5
        assert any("occlusion" in note for note in found.notes)
        return set(found.row("occlusion").pictures)

    assert len(seen(2)) == 2
    assert seen(2) == seen(2) < seen(3)
    assert len({frozenset(seen(2, seed)) for seed in range(6)}) > 1


def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    items = photos(tmp_path, 3)
    items[1].path.write_bytes(b"no picture")
    found = evaluate(paint(), items, ["grad-cam"], ["ad50"])
    assert [p for p, _ in found.failures] == [str(items[1].path)]
    assert all(len(r.pictures) == 2 for r in found.rows)
    for item in items:
        item.path.write_bytes(b"")
    with pytest.raises(InputError, match="no picture could be measured"):
        evaluate(paint(), items, ["grad-cam"], ["ad50"])


def test_a_picture_that_the_model_fails_on_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    items = photos(tmp_path, 4)
    Image.new("RGB", (40, 40), (0, 0, 255)).save(items[2].path)

    def scores(x: Tensor) -> Tensor:
        out = Paint()(x).detach()
        out[(x[:, 2].mean((1, 2)) > 0.9) & (x[:, 0].mean((1, 2)) < 0.1)] = float("nan")
        return out

    clf = Classifier(scores, classes=("red", "green", "blue"), preprocess=PLAIN)
    found = evaluate(clf, items, ["occlusion"], ["ad50", "mean-value"])
    assert [p for p, _ in found.failures] == [str(items[2].path)]
    assert "NaN" in found.failures[0][1]
    assert [Path(p).name for p in found.row("occlusion").pictures] == ["0.png", "1.png", "3.png"]


def test_wrong_questions_are_errors_before_anything_is_measured(tmp_path: Path) -> None:
    items, clf = photos(tmp_path, 2), paint()
    bare = [replace(i, truth={}) for i in items]
    two = [replace(i, truth={**i.truth, "keypoints": {"a": [1, 2], "b": [3, 4]}}) for i in items]
    black_box = Classifier(lambda x: Paint()(x).detach(), classes=clf.class_names, preprocess=PLAIN)
    for wrong, says in (
        ((clf, items, ["grad-kam"], ["ad50"]), "unknown saliency method 'grad-kam'"),
        ((clf, items, ["grad-cam"], ["ad51"]), "unknown metric 'ad51'"),
        ((clf, items, ["grad-cam"], []), "at least one metric"),
        ((clf, [], ["grad-cam"], ["ad50"]), "at least one picture"),
        ((clf, bare, ["grad-cam"], ["epg"]), "need masks"),
        ((clf, two, ["grad-cam"], ["pck@0.1"]), "name it with --truth"),
        ((black_box, items, ["occlusion"], ["weight-randomisation"]), "no weights"),
    ):
        with pytest.raises(UsageError, match=says):
            evaluate(*wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="they have: background, patch"):
        evaluate(clf, items, ["grad-cam"], ["epg"], truth=["beak"])


# --------------------------------------------------------------------------------------------------
# Truth.


@pytest.mark.parametrize("size", [(60, 80), (90, 50), (64, 64)])
@pytest.mark.parametrize("resize", [40, None])
def test_truth_is_cropped_and_scaled_as_the_photo_is(tmp_path: Path, size: tuple[int, int], resize: int | None) -> None:
    how = replace(PLAIN, resize=resize)
    items = photos(tmp_path, 2, size)
    clf = replace(paint(), preprocess=how)
    pictures = [read(i.path) for i in items]
    x, seen = clf.prepare(pictures)
    truth = truth_of(items, pictures, seen, how)
    red = x[:, 0] - x[:, 1] > 0.43
    assert (truth.masks != red).float().mean() < 0.02
    boxes = truth_of([replace(i, truth={"boxes": i.truth["boxes"]}) for i in items], pictures, seen, how)
    assert (boxes.masks != red).float().mean() < 0.02
    for n in range(2):
        if red[n].any() and torch.isfinite(truth.keypoints[n]).all():
            ys, xs = red[n].nonzero().unbind(1)
            u, v = truth.keypoints[n].tolist()
            assert xs.min() - 1 <= u <= xs.max() + 2
            assert ys.min() - 1 <= v <= ys.max() + 2
    scale = 32 / (seen[0][2] - seen[0][0])
    assert float(truth.sizes[0]) == pytest.approx(max(16 * scale, 14 * 32 / (seen[0][3] - seen[0][1])))


def test_a_map_of_the_marked_thing_scores_well_and_names_choose_the_truth(tmp_path: Path) -> None:
    items = photos(tmp_path, 3)
    found = evaluate(paint(), items, ["grad-cam"], ["epg", "pointing"])
    assert found.row("grad-cam").cells["epg"].mean > 0.5 > 3 * found.row("random").cells["epg"].mean
    assert found.row("grad-cam").cells["pointing"].mean == 1
    other = evaluate(paint(), items, ["grad-cam"], ["epg"], truth=["background"])
    assert not other.row("grad-cam").cells["epg"].mean > 0.1  # the corner, or cropped away


# --------------------------------------------------------------------------------------------------
# Presets and names.


def test_presets_name_what_there_is() -> None:
    for preset in PRESETS.values():
        assert set(preset.methods) <= {*METHODS, *WORDS}
        assert metrics_named(preset.metrics) == list(preset.metrics)
        assert set(preset.where_possible) <= set(preset.metrics)
        assert set(preset.controls) <= {*CONTROLS, *DERIVED}


def test_all_means_what_the_classifier_can_serve() -> None:
    cnn = methods_for(classifier(build("cnn")), ["all"])
    assert {"grad-cam", "rise", "score-cam", "eigen-cam"} <= set(cnn)
    assert not {"attention-rollout", "legrad", "lrp"} & set(cnn)
    cheap = methods_for(classifier(build("vit")), ["cheap", "rise"])
    assert {"attention-rollout", "rise"} <= set(cheap)
    assert "occlusion" not in cheap
    black_box = Classifier(lambda x: Paint()(x).detach(), preprocess=PLAIN)
    assert methods_for(black_box, ["all"]) == ["rise", "occlusion"]


# --------------------------------------------------------------------------------------------------
# Tables and limits.


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    items = photos(tmp_path_factory.mktemp("photos"), 4)
    return evaluate(paint(), items, ["grad-cam", "layer-cam"], ["ad50", "deletion", "epg", "mean-value"])


def test_the_markdown_table_has_a_line_a_method_and_its_conventions(table: Evaluation) -> None:
    lines = table.table("markdown").splitlines()
    head, _, *rows = lines[: 2 + len(table.rows)]
    assert head.startswith("| method | ad50 ↓ | deletion ↓ | epg ↑ | mean-value | n |")
    assert [r.split("|")[1].strip() for r in rows] == ["*constant*", "*random*", "*centre*", "grad-cam", "layer-cam"]
    assert {len(r.split("|")) for r in [head, *rows]} == {len(head.split("|"))}
    assert any("fill black" in line for line in lines)
    assert "nan" not in table.table("markdown")


def test_many_metrics_are_continued_in_another_table(tmp_path: Path) -> None:
    names = PRESETS["l-cam-table"].metrics
    found = evaluate(paint(), photos(tmp_path, 2), ["grad-cam"], names, conventions=Conventions(steps=3))
    heads = [line for line in found.table("markdown").splitlines() if line.startswith("| method |")]
    assert [len(h.split("|")) - 3 for h in heads] == [7 + 5, 7 + 1, 5 + 1]
    assert [name for h in heads for name in h.replace("↑", "").replace("↓", "").split(" | ") if name.strip() in names]
    text = found.table("latex")
    assert text.count(r"\begin{table*}") == text.count(r"\end{tabular}}") == text.count(r"\caption{") == 3
    assert "continued" in text
    assert "0.0001 of the score" in found.conventions["rise that counts"]


def test_rows_on_different_pictures_are_shown_once_more_on_those_that_they_share(tmp_path: Path) -> None:
    found = evaluate(paint(), photos(tmp_path), ["grad-cam", "occlusion"], ["ad50"], perturbation_limit=2)
    same = shared(found)
    assert same is not None
    assert {len(r.pictures) for r in same.rows} == {2}
    few = found.row("occlusion").pictures
    kept = [
        v for v, p in zip(values(found, "grad-cam", "ad50"), found.row("grad-cam").pictures, strict=True) if p in few
    ]
    assert same.row("grad-cam").cells["ad50"].values == tuple(kept)
    assert report(found, "markdown").startswith(found.table("markdown"))
    assert "**The 2 pictures that every row was measured on**" in report(found, "markdown")
    assert report(found, "latex").count(r"\begin{table*}") == 2
    assert report(found, "json") == found.table("json")
    assert shared(same) is None
    assert report(same, "markdown") == same.table("markdown")


def test_the_latex_table_is_well_formed(table: Evaluation) -> None:
    text = table.table("latex")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(table.rows)
    assert {row.count(" & ") for row in rows} == {4 + 5}
    assert text.count("{") == text.count("}")
    assert "insertion\\_fill" in text
    assert "95 \\% bootstrap" in text


def test_the_json_holds_no_nan_and_reads_back(table: Evaluation) -> None:
    shown = json.loads(table.table("json"), parse_constant=lambda word: pytest.fail(word))
    assert [r["method"] for r in shown["rows"]][-1] == "layer-cam"
    assert shown["rows"][0]["metrics"]["deletion"] == {
        "mean": None, "low": None, "high": None, "samples": 0, "undefined": 4
    }  # fmt: skip
    again = from_dict(json.loads(json_text(table.to_dict(values=True))))
    assert again.to_dict(values=True) == table.to_dict(values=True)
    with pytest.raises(UsageError, match="unknown table form"):
        table.table("excel")  # type: ignore[arg-type]


def test_a_row_on_some_of_its_pictures_keeps_their_values(table: Evaluation) -> None:
    row = table.row("grad-cam")
    some: Row = on_pictures(row, row.pictures[1:3])
    assert some.pictures == row.pictures[1:3]
    assert some.cells["ad50"].values == row.cells["ad50"].values[1:3]
    assert some.cells["ad50"].mean == pytest.approx(np.mean(row.cells["ad50"].values[1:3]))


def test_a_limit_knows_which_end_is_better_and_spares_controls(table: Evaluation) -> None:
    drop, energy = table.row("grad-cam").cells["ad50"].mean, table.row("grad-cam").cells["epg"].mean
    assert table.worse_than({"ad50": 100, "epg": 0}) == []
    assert all("ad50" in text for text in table.worse_than({"ad50": drop - 0.01, "epg": 0}))
    assert [t for t in table.worse_than({"epg": energy + 0.01}) if t.startswith("grad-cam: epg is")]
    assert not [t for t in table.worse_than({"epg": 1}) if t.startswith("random")]
    with pytest.raises(UsageError, match="neither"):
        table.worse_than({"mean-value": 0.5})
    with pytest.raises(UsageError, match="unknown measured metric"):
        table.worse_than({"nra": 0.5})


def test_a_limit_is_not_met_by_a_metric_without_a_value(tmp_path: Path) -> None:
    found = evaluate(paint(), photos(tmp_path, 2), ["grad-cam"], ["deletion"], target="blue")
    assert found.worse_than({"deletion": 1}) == ["grad-cam: deletion has no value on any picture, 1 was asked"]


# --------------------------------------------------------------------------------------------------
# The command line.

FACTORY = "from test_evaluate import Paint\n\ndef paint():\n    return Paint().eval()\n"
MODEL = ["--model", "paints_to_measure:paint", "--size", "32", "--resize", "40", "--mean", "0", "--std", "1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "paints_to_measure.py").write_text(FACTORY)
    (tmp_path / "photos").mkdir()
    photos(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_eval_prints_markdown_into_a_pipe_and_writes_three_files(place: Path) -> None:
    done = CliRunner().invoke(cli.app, ["eval", "photos", *MODEL, "-o", "out", "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.stdout == (place / "out" / "eval.md").read_text()
    assert "| grad-cam |" in done.stdout
    assert (place / "out" / "eval.tex").read_text().startswith("% \\usepackage")
    rows = json.loads((place / "out" / "eval.json").read_text())["rows"]
    assert len(rows[-1]["metrics"]["ad50"]["values"]) == 2


def test_equal_runs_of_eval_write_equal_files_if_asked_to(place: Path) -> None:
    words = ["eval", "photos", *MODEL, "--methods", "grad-cam,rise", "--metrics", "epg", "--quiet"]
    runs = [CliRunner().invoke(cli.app, [*words, "--reproducible", "-o", out]) for out in ("one", "two")]
    written = [{f.name: f.read_bytes() for f in (place / out).iterdir()} for out in ("one", "two")]
    assert written[0] == written[1] and len(written[0]) == 3 and runs[0].stdout == runs[1].stdout
    assert all(row["milliseconds"] is None for row in json.loads(written[0]["eval.json"])["rows"])
    assert from_dict(json.loads(written[0]["eval.json"])).table() == runs[0].stdout
    timed = json.loads(CliRunner().invoke(cli.app, [*words, "--json"]).stdout)
    assert all(row["milliseconds"] is not None for row in timed["rows"])


def test_eval_measures_a_metric_of_ones_own_by_its_row_alone(place: Path, toys: list[str]) -> None:
    words = ["eval", "photos", *MODEL, "--methods", "grad-cam", "--metrics", "on masked scores,localisation", "--json"]
    run = CliRunner().invoke(cli.app, words)
    assert run.exit_code == 0, run.output
    assert set(json.loads(run.stdout)["rows"][-1]["metrics"]) == {"on masked scores", "localisation"}


def test_eval_prints_one_json_document_and_writes_the_one_file_that_is_named(place: Path) -> None:
    words = ["--methods", "grad-cam", "--metrics", "epg,ad100", "--truth", "patch", "--json", "-o", "mine.tex"]
    done = CliRunner().invoke(cli.app, ["eval", "photos", *MODEL, *words])
    assert [c["name"] for c in json.loads(done.stdout)["columns"]] == ["epg", "ad100"]
    assert (place / "mine.tex").exists()
    assert not (place / "eval.md").exists()


def test_the_papers_protocol_is_one_command_that_takes_a_head_and_leaves_out_what_is_not_there(place: Path) -> None:
    clf = load_classifier("paints_to_measure:paint", size=32, resize=40, mean=[0.0] * 3, std=[1.0] * 3)
    head = start(clf.tap(clf.prepare([read(place / "photos" / "0.png")])[0]), "rows")
    Explainer(clf, {"lcam": head}).save(place / "explainer")
    words = ["eval", "photos", *MODEL, "--preset", "l-cam-table", "--explainer", "explainer", "--json", "--quiet"]
    whole = CliRunner().invoke(cli.app, [*words, "--perturbation-limit", "1", "--sanity-limit", "1"])
    assert whole.exit_code == 0, whole.output
    found = json.loads(whole.stdout)
    methods = ["grad-cam", "grad-cam++", "score-cam", "rise", "l-cam"]
    assert [r["method"] for r in found["rows"]] == [*CONTROLS, *DERIVED, *methods]
    assert [c["name"] for c in found["columns"]] == list(PRESETS["l-cam-table"].metrics)
    assert found["conventions"]["steps"] == 8
    assert {r["method"]: r["pictures"] for r in found["rows"]}["rise"] == 1
    assert any(n.startswith("score-cam, rise: on a seeded subset of 1 of the 2") for n in found["notes"])

    (place / "photos" / "images.jsonl").unlink()
    bare = CliRunner().invoke(cli.app, [*words, "--methods", "grad-cam", "--steps", "2"])
    assert bare.exit_code == 0, bare.output
    found = json.loads(bare.stdout)
    assert [r["method"] for r in found["rows"]][-2:] == ["grad-cam", "l-cam"]
    assert "epg" not in [c["name"] for c in found["columns"]]
    assert "epg: left out, the pictures carry no masks or boxes." in found["notes"]
    assert found["conventions"]["steps"] == 2
    for asked in (["--metrics", "epg"], ["--fail-below", "epg=0.1"]):
        done = CliRunner().invoke(cli.app, [*words, *asked])
        assert isinstance(done.exception, UsageError)
        assert "need masks" in str(done.exception)


def test_eval_ends_with_1_below_a_limit_and_for_a_broken_picture(place: Path) -> None:
    words = ["eval", "photos", *MODEL, "--methods", "grad-cam", "--metrics", "epg"]
    assert CliRunner().invoke(cli.app, [*words, "--fail-below", "epg=0.3"]).exit_code == 0
    below = CliRunner().invoke(cli.app, [*words, "--fail-below", "epg=0.999"])
    assert below.exit_code == 1
    assert "at least 0.999 was asked" in below.output
    (place / "photos" / "1.png").write_bytes(b"broken")
    broken = CliRunner().invoke(cli.app, words)
    assert broken.exit_code == 1
    assert "1.png" in broken.stderr
    assert "| grad-cam |" in broken.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photos", "--preset", "quik"], "did you mean 'quick'"),
        (["photos", "--metrics", "epgg"], "unknown metric"),
        (["photos", "--methods", "gradcam"], "did you mean 'grad-cam'"),
        (["photos", "--fail-below", "ad50"], "METRIC=VALUE"),
        (["photos", "--fail-below", "epg=0.5"], "unknown measured metric"),
        (["photos", "--fail-below", "mean-value=0.5"], "neither"),
        (["photos", "--fill", "pink"], "unknown fill"),
        (["photos", "--masking", "never"], "unknown masking"),
        (["photos", "--aviary"], "one of the two"),
        ([], "one of the two"),
        (["--aviary", "--preset", "quick"], "unknown preset of the aviary"),
        (["--aviary", "--metrics", "ad50"], "unknown metric of the aviary"),
        (["--aviary"], "protocol is for classifiers"),
        (["--aviary", "--preset", "sentences"], "protocol is for classifiers"),
        (["--aviary", "--preset", "sentences", "--metrics", "epg"], "unknown metric of sentences"),
        (["--aviary", "--preset", "sentences", "--fail-below", "width=3"], "neither"),
    ],
)
def test_wrong_usage_of_eval_says_why(place: Path, words: list[str], says: str) -> None:
    done = CliRunner().invoke(cli.app, ["eval", *words, *MODEL])
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
