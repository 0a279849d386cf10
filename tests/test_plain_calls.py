"""What somebody types who has not read the documents: a network, a spec, a tensor, a number of NumPy, a suffix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import saywhy
from records import record
from saywhy.heat import laid_on
from tiny import CLASSES, SIDE, Cnn

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
PICTURE = torch.from_numpy(RNG.random((3, SIDE, SIDE), dtype=np.float32))


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return Cnn().eval()


def loaded() -> saywhy.Classifier:
    return saywhy.load_classifier(net(), size=SIDE)


@pytest.fixture(scope="module", name="factory")
def _factory(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    torch.save(net().state_dict(), folder / "weights.pt")
    (folder / "m.toml").write_text(f'model = "tiny:Cnn"\nweights = "weights.pt"\nsize = {SIDE}\n')
    return str(folder / "m.toml")


def models(factory: str) -> dict[str, Any]:
    plain = net()
    return {
        "a network": plain,
        "a callable": lambda images: plain(images),
        "a text": factory,
        "a path": Path(factory),
        "a Classifier": loaded(),
    }


@pytest.mark.parametrize("kind", ["a network", "a callable", "a text", "a path", "a Classifier"])
def test_what_can_be_loaded_may_stand_for_a_classifier_everywhere(kind: str, factory: str) -> None:
    model = models(factory)[kind]
    method = "occlusion" if kind == "a callable" else "grad-cam"
    e = saywhy.explain(model, PHOTO, fast=True, method=method)
    assert len(e.prediction.top) == 5
    assert saywhy.saliency(model, PHOTO, method=method).raw.shape[0] == 1
    assert isinstance(saywhy.Explainer(model).clf, saywhy.Classifier)


@pytest.mark.parametrize("model", [None, 7, [net()], {"a": 1}])
def test_what_cannot_be_loaded_is_wrong_usage(model: Any) -> None:
    for call in (saywhy.explain, saywhy.saliency):
        with pytest.raises(saywhy.UsageError, match="a model is named by a text"):
            call(model, PHOTO)


def test_a_tensor_of_floats_is_the_input_as_it_is_and_of_bytes_a_photo() -> None:
    clf = loaded()
    clf = saywhy.load_classifier(clf, resize=SIDE + 8)  # whose photos lose their borders
    seen = clf.read(PICTURE)
    assert torch.allclose(clf.prepare([seen])[0][0], PICTURE, atol=0.5 / 255 + 1e-6)
    assert clf.read(PICTURE[None]).pixels.tobytes() == seen.pixels.tobytes()
    e = saywhy.explain(clf, PICTURE, fast=True)
    expected = clf.probabilities(PICTURE[None])[0].max()
    assert e.prediction.probability == pytest.approx(float(expected), abs=2e-3)
    assert e.image.seen == (0, 0, SIDE, SIDE)
    assert any("neither scaled nor cut" in note for note in e.image.notes)
    photo = clf.read(torch.from_numpy(PHOTO).permute(2, 0, 1))
    assert (photo.pixels == PHOTO).all() and not photo.framed


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([PHOTO, PHOTO], "one after the other"),
        (None, "not NoneType"),
        (3, "not int"),
        (torch.zeros(2, 3, SIDE, SIDE), "one picture as a tensor"),
        (torch.zeros(4, SIDE, SIDE), "one picture as a tensor"),
        (torch.zeros(3, SIDE + 1, SIDE), "the classifier's input"),
        (torch.full((3, SIDE, SIDE), 2.0), r"in \[0, 1\]"),
        (torch.full((3, SIDE, SIDE), float("nan")), r"in \[0, 1\]"),
        (torch.zeros(3, SIDE, SIDE, dtype=torch.long), "must be floats"),
    ],
)
def test_what_is_no_picture_is_wrong_usage(source: Any, says: str) -> None:
    with pytest.raises(saywhy.UsageError, match=says):
        saywhy.explain(loaded(), source)


def test_a_list_of_tensors_is_a_batch_of_images() -> None:
    clf = loaded()
    batch = torch.stack([PICTURE, PICTURE.flip(2)])
    assert torch.equal(saywhy.saliency(clf, list(batch)).raw, saywhy.saliency(clf, batch).raw)
    with pytest.raises(saywhy.UsageError, match="one shape"):
        saywhy.saliency(clf, [PICTURE, PICTURE[:, 1:]])


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.array, torch.tensor, str])
def test_a_class_is_a_whole_number_of_any_kind(kind: Any) -> None:
    clf = loaded()
    assert clf.class_index(kind(2)) == 2
    assert saywhy.explain(clf, PHOTO, kind(2), kind(1), fast=True).target.class_index == 2


@pytest.mark.parametrize("name", [True, 2.0, np.float32(1), None, [1], torch.tensor([1, 2]), b"1", CLASSES, -1])
def test_no_class_is_wrong_usage(name: Any) -> None:
    with pytest.raises(saywhy.UsageError, match=r"a class is an index or a name|out of range"):
        loaded().class_index(name)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True, 2**63])
def test_a_seed_that_is_none_is_wrong_usage_before_anything_is_asked(seed: Any) -> None:
    for call in (saywhy.explain, saywhy.saliency):
        with pytest.raises(saywhy.UsageError, match="seed is a whole number"):
            call(loaded(), PHOTO, seed=seed)


@pytest.mark.parametrize("row", list(saywhy.RENDERERS.values()), ids=list(saywhy.RENDERERS))
def test_an_explanation_is_saved_as_its_suffix_says(row: Any, tmp_path: Path) -> None:
    e = record()
    for suffix in (row.suffix, row.suffix.upper()):
        path = e.save(tmp_path / "new" / f"x{suffix}")
        assert path.read_bytes() == row.function(e)


@pytest.mark.parametrize("name", ["x", "x.pdf", "x.htm"])
def test_an_unknown_suffix_is_wrong_usage_and_writes_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(saywhy.UsageError, match="suffix"):
        record().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_is_printed_at_a_prompt_is_one_short_line() -> None:
    clf = loaded()
    e = record()
    things: list[tuple[object, list[str]]] = [
        (e, ["chelsea.png", "tiger cat", "4 regions"]),
        (clf, ["Cnn", f"{SIDE} x {SIDE}", "softmax"]),
        (saywhy.Explainer(clf), ["Cnn", "no fitted parts"]),
        (saywhy.saliency(clf, [PHOTO, PHOTO]), ["grad-cam", f"(2, {SIDE}, {SIDE})", "ok"]),
    ]
    for thing, words in things:
        shown = repr(thing)
        assert "\n" not in shown and len(shown) < 200
        assert [w for w in words if w not in shown] == [], shown


def test_the_text_has_a_line_for_each_sentence() -> None:
    e = saywhy.explain(loaded(), PHOTO, fast=True)
    assert e.text.split("\n") == [s.text for s in e.statements]
    assert str(e) == e.text


def test_an_overlay_lies_where_the_classifier_sees_and_nowhere_else(tmp_path: Path) -> None:
    clf = saywhy.load_classifier(net(), size=SIDE, resize=SIDE)
    maps = saywhy.saliency(clf, [PHOTO, PHOTO[:, ::-1].copy()])
    shown = np.asarray(maps.overlay(PHOTO, 0))
    changed = (shown != PHOTO).any(axis=2)
    assert shown.shape == PHOTO.shape
    assert not changed[:, :10].any() and not changed[:, 50:].any(), "a 40 x 60 photo is cut to its middle 40 x 40"
    assert changed[:, 10:50].mean() > 0.5
    hot = np.zeros((4, 4), dtype=np.float32)
    hot[0, 3] = 1
    moved = np.abs(np.asarray(laid_on(PHOTO, hot, (10, 0, 50, 40))).astype(int) - PHOTO).mean(axis=2)
    assert moved[:8, 42:50].mean() > 50 and moved[20:, :30].mean() < 2
    second = np.asarray(maps.overlay(PHOTO, 1))
    assert (second != shown).any()
    file = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(file)
    assert (np.asarray(maps.overlay(file)) == shown).all()


def test_an_overlay_of_a_tensor_is_of_the_whole_image() -> None:
    maps = saywhy.saliency(loaded(), PICTURE[None])
    assert maps.overlay(PICTURE).size == (SIDE, SIDE)
    for bad in (-1, 1, "0"):
        with pytest.raises(saywhy.UsageError, match="number"):
            maps.overlay(PICTURE, bad)  # type: ignore[arg-type]


def test_a_map_that_says_nothing_colours_nothing() -> None:
    flat = saywhy.saliency(loaded(), torch.full((1, 3, SIDE, SIDE), 0.5), targets=lambda s: 0 * s[:, 0])
    assert flat.status != ("ok",)
    grey = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    assert (np.asarray(flat.overlay(grey)) == grey).all()


def test_the_record_keeps_its_lines_in_json() -> None:
    e = record()
    assert json.loads(saywhy.RENDERERS["json"].function(e))["text"] == e.text
