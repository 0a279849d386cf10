"""Names of regions: what they are learned from against an oracle, how sure they must be, and that they are said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import oracles
import saywhy
import tiny
from saywhy import Classifier, Explainer
from saywhy.collection import Item, find_images
from saywhy.errors import InputError, UsageError
from saywhy.explainer import fittable
from saywhy.image import Preprocess, read
from saywhy.language import parse_all
from saywhy.names.closeup import closeup, quarters
from saywhy.names.shown import OTHER, KnownNames, _least, _temperature, examples
from saywhy.seen import tapped

SIDE = 64
COLOURS = {"sun": (250, 210, 30), "leaf": (30, 160, 60), "brick": (200, 40, 30)}
Pixels = NDArray[np.uint8]


class Colours(nn.Module):
    """Scores of the amount of red-and-green, green and red, from maps of smoothed colours."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, padding=2, stride=2)
        self.second = nn.Conv2d(6, 6, 1, stride=4)
        with torch.no_grad():
            self.first.weight.zero_()
            for k in range(6):
                self.first.weight[k, k % 3] = (1 if k < 3 else -1) / 25
            self.first.bias.copy_(torch.tensor([0, 0, 0, 1.0, 1.0, 1.0]))
            self.second.weight.copy_(torch.eye(6)[:, :, None, None])
            self.second.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.relu(self.second(torch.relu(self.first(x)))).mean(dim=(2, 3))
        return 30 * pooled[:, :3]


@pytest.fixture(scope="module")
def clf() -> Classifier:
    how = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(Colours().eval(), preprocess=how, classes=["red", "green", "blue"], name="colours")


def drawn(seed: int) -> tuple[Pixels, dict[str, list[int]]]:
    """A grey picture with one box of each colour at places of their own, and the boxes (x, y, w, h)."""
    g = np.random.default_rng(seed)
    pixels = np.full((2 * SIDE, 2 * SIDE, 3), 110, np.uint8)
    places = g.permutation(4)
    boxes = {}
    for n, (name, colour) in enumerate(COLOURS.items()):
        x, y = (int(v) for v in (places[n] % 2 * 64 + g.integers(4, 24), places[n] // 2 * 64 + g.integers(4, 24)))
        boxes[name] = [x, y, 32, 32]
        pixels[y : y + 32, x : x + 32] = colour
    return pixels, boxes


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    lines = []
    for n in range(6):
        pixels, boxes = drawn(n)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        told = [{"name": name, "xywh": xywh} for name, xywh in boxes.items()]
        lines.append(json.dumps({"file": f"{n}.png", "boxes": told}))
    (folder / "images.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def fitted(clf: Classifier, shown: Path) -> Explainer:
    return Explainer.fit(clf, shown, ["names"])


# --------------------------------------------------------------------------------------------------
# What names are learned from.


@pytest.mark.parametrize("model", ["cnn", "vit"])
def test_a_region_s_features_are_the_mean_inside_it_of_the_whole_and_of_what_is_seen_closer(model: str) -> None:
    clf = tiny.classifier(tiny.build(model))
    photo = read((tiny.images(1, seed=5, side=48)[0] * 255).byte().permute(1, 2, 0).numpy())
    images, boxes = clf.prepare([photo])
    tap = tapped(clf, images)
    g = torch.Generator().manual_seed(0)
    regions = torch.rand(3, *images.shape[2:], generator=g) > torch.tensor([0.2, 0.7, 0.95])[:, None, None]
    closer = clf.tap(quarters(photo, boxes[0], tap), list(tap.points.values()))
    maps = [(tap.maps(name)[0], closer.maps(name)) for name in tap.points]
    want = torch.stack([oracles.region_features(maps, region) for region in regions])
    assert torch.allclose(closeup(tap, photo, boxes[0]).of(regions), want, atol=1e-5)


def test_the_quarters_are_the_photo_s_own_pixels_and_black_where_the_model_adds_bars() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    how = Preprocess(size=(SIDE // 2, SIDE // 2), resize=None)
    clf = Classifier(Colours().eval(), preprocess=how)
    photo = read(pixels)
    tap = tapped(clf, clf.prepare([photo])[0])
    found = quarters(photo, (0, 0, SIDE, SIDE), tap)
    whole = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    joined = torch.cat([torch.cat(list(found[:2]), 2), torch.cat(list(found[2:]), 2)], 1)
    assert torch.allclose(joined, whole, atol=1e-6)
    beyond = quarters(photo, (-SIDE, 0, SIDE, SIDE), tap)
    assert (beyond[[0, 2]] == 0).all() and (beyond[[1, 3]] > 0).any()


def test_patches_are_called_by_what_they_fit_or_lie_in_and_all_others_are_something_else(
    clf: Classifier, shown: Path
) -> None:
    some = examples(clf, find_images(shown))
    assert some.shown == dict.fromkeys(COLOURS, 6) and set(some.names) == {*COLOURS, OTHER}
    assert len(set(some.pictures.tolist())) == 6 and len(some.features) == len(some.names) == len(some.pictures)
    assert (some.names == OTHER).sum() >= 6


# --------------------------------------------------------------------------------------------------
# How sure they must be.


def test_the_least_certainty_is_the_lowest_from_which_nine_of_ten_names_are_right() -> None:
    g = np.random.default_rng(1)
    logits, target = g.normal(size=(300, 4)), g.integers(0, 4, 300)
    logits[np.arange(300), target] += 1.5
    least, told = _least(logits, target, other=3)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    best, sure = p.argmax(1), p.max(1)

    def right(at: float) -> float:
        said = (best != 3) & (sure >= at)
        return float((best[said] == target[said]).mean())

    assert right(least) >= 0.9 and told["right"] == pytest.approx(right(least))
    assert all(right(at) < 0.9 for at in sure[(best != 3) & (sure < least)])
    nothing, none = _least(g.normal(size=(50, 4)), g.integers(0, 4, 50), other=3)
    assert nothing > 1 or none["right"] >= 0.9


def test_certainty_is_scaled_until_held_out_examples_are_most_likely() -> None:
    g = np.random.default_rng(2)
    target = g.integers(0, 3, 400)
    logits = g.normal(size=(400, 3))
    logits[np.arange(400), target] += 1

    def unlikely(t: float) -> float:
        z = logits / t
        return -float((z - np.log(np.exp(z).sum(1, keepdims=True)))[np.arange(400), target].mean())

    found = _temperature(10 * logits, target) / 10
    assert unlikely(found) <= min(unlikely(t) for t in np.linspace(0.1, 2, 200)) + 1e-4


def test_what_is_most_like_nothing_shown_or_not_sure_enough_has_no_name() -> None:
    known = KnownNames(
        ("a", "b"), torch.tensor([[4.0, 0], [0, 4.0], [0, 0]]), torch.tensor([0.0, 0, 1]), torch.zeros(2), 1.0, 0.9, ()
    )
    told = known.told(torch.tensor([[1.0, 0], [0, 1], [0, 0], [0.6, 0.5]]))
    assert told[0] is not None and told[0][0] == "a" and told[0][1] == pytest.approx(np.exp(4) / (np.exp(4) + 1 + np.e))
    assert told[1] is not None and told[1][0] == "b" and told[2] is None and told[3] is None


# --------------------------------------------------------------------------------------------------
# Fitted, saved, said.


def test_regions_of_other_pictures_are_called_as_they_were_shown(
    clf: Classifier, fitted: Explainer, tmp_path: Path
) -> None:
    again = Explainer.load(fitted.save(tmp_path / "mine"), clf)
    named = 0
    for seed in range(20, 24):
        pixels, boxes = drawn(seed)
        e = again.explain(pixels)
        assert e.to_dict() | {"cost": None} == fitted.explain(pixels).to_dict() | {"cost": None}
        assert e.parts["names"]["route"] == "shown" and set(e.parts["names"]["names"]) == set(COLOURS)
        assert parse_all(e.text)
        for c in e.concepts:
            if c.name is None:
                assert c.name_confidence is None
                continue
            named += 1
            x, y, w, h = boxes[c.name]
            assert c.mask.array()[y : y + h, x : x + w].sum() >= 0.6 * c.mask.array().sum(), "it is that thing"
            assert c.name_confidence is not None and c.name_confidence >= again.parts["names"].least
            assert c.name_route == "shown"
            assert "certainty, as shown" in saywhy.RENDERERS["html"].function(e).decode()
            assert f"the {c.name}" in e.text or c.name in saywhy.RENDERERS["html"].function(e).decode()
    assert named >= 4
    assert (
        "90 % of the names are right" in fitted.made["names"].summary
        or fitted.parts["names"].card["held_out"]["right"] >= 0.9
    )


def test_the_same_pictures_teach_the_same_names_whatever_the_seed(
    clf: Classifier, shown: Path, fitted: Explainer
) -> None:
    other = Explainer.fit(clf, shown, ["names"], seed=5).parts["names"]
    assert torch.equal(other.weights, fitted.parts["names"].weights) and other.least == fitted.parts["names"].least


def test_names_are_fitted_only_where_they_are_asked_for() -> None:
    assert "names" not in fittable() and fittable(["names"]) == ["names"]


@pytest.mark.parametrize(
    ("truth", "error", "said"),
    [
        ({}, UsageError, "images.jsonl"),
        ({"boxes": [{"name": "sun", "xywh": [4, 4, 30, 30]}]}, UsageError, "two names or more"),
        ({"boxes": [{"name": "sun"}], "keypoints": {"leaf": [1, 2]}}, InputError, "xywh"),
        ({"keypoints": {"leaf": ["left", 2]}}, InputError, "keypoints"),
    ],
)
def test_what_cannot_be_learned_from_is_told(
    clf: Classifier, shown: Path, truth: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Explainer.fit(clf, [Item(shown / "0.png", truth=truth)], ["names"])


def test_a_black_box_has_nothing_that_names_could_be_learned_from(clf: Classifier, shown: Path) -> None:
    box = Classifier(lambda x: x.mean(dim=(2, 3)), preprocess=clf.preprocess, name="box")
    with pytest.raises(UsageError, match="scores"):
        Explainer.fit(box, shown, ["names"])


def test_one_picture_alone_teaches_names_that_are_not_calibrated(clf: Classifier, shown: Path) -> None:
    made = Explainer.fit(clf, find_images(shown)[:1], ["names"])
    assert "not calibrated" in made.made["names"].summary and made.parts["names"].card["held_out"] is None


def test_names_of_other_layers_are_refused(clf: Classifier, fitted: Explainer) -> None:
    other = Classifier(clf.net, layer="first", preprocess=clf.preprocess, classes=clf.class_names)
    known = replace(fitted.parts["names"], layers=("elsewhere",))
    with pytest.raises(UsageError, match="elsewhere"):
        Explainer(other, {"names": known}).explain(drawn(20)[0])


@pytest.mark.parametrize("broken", ["file", "row"])
def test_broken_files_are_refused(clf: Classifier, fitted: Explainer, tmp_path: Path, broken: str) -> None:
    folder = fitted.save(tmp_path / "mine")
    if broken == "file":
        (folder / "names.safetensors").write_bytes(b"no")
    else:
        listing = json.loads((folder / "explainer.json").read_text())
        listing["parts"]["names"]["names"].append("more")
        (folder / "explainer.json").write_text(json.dumps(listing))
    with pytest.raises(InputError, match=r"names\.safetensors"):
        Explainer.load(folder, clf)


def test_named_masks_boxes_and_keypoints_are_regions_and_the_background_is_none(tmp_path: Path) -> None:
    truth = {
        "masks": [{"name": name, "polygons": [[0, 0, 9, 0, 9, 9, 0, 9]]} for name in ("a", "background")],
        "boxes": [{"name": "b", "xywh": [10, 20, 5, 4]}],
        "keypoints": {"c": [30.5, 30.5], "out": [900, 900]},
    }  # fmt: skip
    found = Item(tmp_path / "x.png", truth=truth).regions((60, 80))
    assert set(found) == {"a", "b", "c"} and found["b"].sum() == 20 and found["b"][20:24, 10:15].all()
    assert found["c"][30, 30] and found["c"].sum() == pytest.approx(np.pi * 9, rel=0.2)
