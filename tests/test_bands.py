"""Networks of one, two, four, six and thirteen bands, from a file to what people read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import saywhy
from saywhy import cli
from saywhy.bands import for_people
from saywhy.errors import InputError, UsageError
from saywhy.image import Picture, Preprocess, frame, read
from saywhy.tiff import cube
from saywhy.zoo import load_classifier

SIDE = 48
SPOT = (slice(8, 26), slice(26, 44))  # rows and columns
COUNTS = [1, 2, 4, 6, 13]


class Wet(nn.Module):
    """Says "wet" where the last band is higher than the first one; its other bands count for nothing."""

    def __init__(self, bands: int, side: int | None = None) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(bands, 2, 3, padding=1, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0, 0] += 0.1 if bands > 1 else 0.0
            self.conv.weight[1, -1] += 1.0
        self.pool = nn.AvgPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        assert self.side in (None, x.shape[-1])
        maps = self.pool(self.conv(x).relu())
        return torch.stack([0.5 + maps[:, 0].mean((1, 2)), maps[:, 1].mean((1, 2))], dim=1) * 4


def field(bands: int, top: int = 3000) -> NDArray[np.uint16]:
    """A picture (SIDE, SIDE, bands) of 12 bits: a spot in the last band, something else in the first ones."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 60, (SIDE, SIDE, bands)).astype(np.uint16) + 200
    values[30:, :20, 0] = 900
    values[SPOT[0], SPOT[1], -1] = top
    return values


def tiff(path: Path, values: NDArray[np.generic], **how: object) -> Path:
    tifffile.imwrite(path, values, **how)  # type: ignore[arg-type]
    return path


WRITTEN = {
    "bands beside each other": lambda p, v: tiff(p / "f.tif", v, photometric="minisblack", planarconfig="contig"),
    "bands one after another": lambda p, v: tiff(
        p / "f.tif", np.moveaxis(v, -1, 0), photometric="minisblack", planarconfig="separate"
    ),
    "a page a band": lambda p, v: tiff(p / "f.tiff", np.moveaxis(v, -1, 0), photometric="minisblack", metadata=None),
    "a page a row of bands": lambda p, v: tiff(p / "f.tif", v, photometric="minisblack"),
    "an array (H, W, C)": lambda p, v: (np.save(p / "f.npy", v), p / "f.npy")[1],
    "an array (C, H, W)": lambda p, v: (np.save(p / "f.npy", np.moveaxis(v, -1, 0)), p / "f.npy")[1],
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("bands", [4, 6, 13])
def test_every_form_of_file_gives_the_same_bands(tmp_path: Path, form: str, bands: int) -> None:
    values = field(bands)
    taken = (bands, 1, *range(3, bands))
    how = Preprocess(size=(SIDE, SIDE), resize=None, bands=taken, mean=(0,) * len(taken), std=(1,) * len(taken))
    if how.planes == 3:
        how = replace(how, bands=(*taken, 2))
    picture = read(WRITTEN[form](tmp_path, values), how)
    found, box = frame(picture, how)
    assert how.bands is not None
    expected = np.stack([values[..., b - 1] for b in how.bands]) / 4095
    assert np.abs(found - expected).max() < 1e-6 and box == (0, 0, SIDE, SIDE)
    assert "values 0 to 4095 scaled to [0, 1]" in " ".join(picture.notes), "they are not rounded to 8 bits"


@pytest.mark.parametrize("bands", COUNTS)
def test_a_network_of_any_number_of_bands_is_explained_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bands: int
) -> None:
    tiff(tmp_path / "field.tif", field(bands).squeeze(), photometric="minisblack")
    (tmp_path / "wet_fields.py").write_text(f"from test_bands import Wet\ndef made():\n    return Wet({bands})\n")
    (tmp_path / "names.txt").write_text("dry\nwet\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "wet_fields", raising=False)
    words = [
        "explain",
        "field.tif",
        "--model",
        "wet_fields:made",
        "--classes",
        "names.txt",
        "--size",
        str(SIDE),
        "-o",
        "out",
    ]
    done = CliRunner().invoke(cli.app, [*words, "--range", "0", "3000", "-q"])
    assert done.exit_code == 0, (done.output, done.exception)
    record = saywhy.Explanation.from_dict(json.loads((tmp_path / "out" / "field.json").read_text()))
    assert record.target.class_name == "wet" and record.concepts[0].confirmed
    mask, spot = record.concepts[0].mask.array(), np.zeros((SIDE, SIDE), dtype=bool)
    spot[SPOT] = True
    assert (mask & spot).sum() / (mask | spot).sum() > 0.6
    told = done.stdout + " ".join(record.image.notes) + " ".join(record.model.notes)
    if bands > 1:
        assert f"takes {bands} channels" in told and "people are shown band" in told and "left in [0, 1]" in told
        page = (tmp_path / "out" / "field.html").read_text()
        assert "How photo and model were read" in page and f"takes {bands} channels" in page
    assert (tmp_path / "out" / "field.png").stat().st_size > 3000


def test_what_is_said_of_bands_is_done() -> None:
    clf = load_classifier(Wet(4), size=SIDE, bands=[6, 1, 2, 3], shown=[3, 2, 1], mean=0.1, std=[0.5, 1, 1, 1])
    values = field(6)
    picture = clf.read(values)
    images, _ = clf.prepare([picture])
    seen = clf.inputs(images)[0].numpy()
    assert np.allclose(seen[0], (values[..., 5] / 4095 - 0.1) / 0.5, atol=1e-5)
    assert np.allclose(seen[1], values[..., 0] / 4095 - 0.1, atol=1e-5)
    assert picture.notes[:2] == (
        "bands 6, 1, 2, 3 of the 6 of this file",
        "people are shown bands 3, 2, 1 as red, green and blue (--shown)",
    )
    assert np.array_equal(picture.pixels, for_people(values[..., [2, 1, 0]]))
    assert not any("takes 4 channels" in note for note in clf.notes)


@pytest.mark.parametrize("bands", [2, 13])
def test_tensors_arrays_photos_and_maps_agree(bands: int) -> None:
    clf = load_classifier(Wet(bands), size=SIDE, classes=["dry", "wet"], range=(0, 4095))
    values = field(bands)
    image = clf.prepare([clf.read(values)])[0]
    assert image.shape == (1, bands, SIDE, SIDE)
    for given in (image[0], image):
        again = clf.prepare([clf.read(given)])[0]
        assert torch.equal(again, image)
    maps = saywhy.saliency(clf, image, "wet", method="hires-cam")
    peak = np.unravel_index(int(maps.display[0].argmax()), (SIDE, SIDE))
    assert SPOT[0].start - 4 <= peak[0] < SPOT[0].stop + 4 and SPOT[1].start - 4 <= peak[1] < SPOT[1].stop + 4
    assert maps.overlay(values).size == (SIDE, SIDE) and maps.overlay(image[0]).size == (SIDE, SIDE)


def test_bands_are_no_rounding_and_seeds_no_matter() -> None:
    clf = load_classifier(Wet(6), size=SIDE, classes=["dry", "wet"])
    fine = field(6).astype(np.float32) / 5000
    image, _ = clf.prepare([clf.read(fine)])
    assert len(torch.unique(image[0, -1])) == len(np.unique(fine[..., -1]))
    one, two = (saywhy.explain(clf, fine, seed=seed) for seed in (0, 0))
    assert one.untimed() == two.untimed()
    assert saywhy.explain(clf, fine, surroundings=None, fast=True).target.class_name == "wet"


def test_own_surroundings_are_shown_and_plain_ones_are_not(tmp_path: Path) -> None:
    clf = load_classifier(Wet(6), size=SIDE, classes=["dry", "wet"], range=(0, 4095))
    for n in range(4):
        np.save(tmp_path / f"{n}.npy", field(6, top=260) + n)
    plain = saywhy.explain(clf, field(6)).parts["surroundings"]
    assert "6 bands" in plain["why"] and plain["kept"] == []
    own = saywhy.explain(clf, field(6), surroundings=tmp_path)
    assert own.parts["surroundings"]["why"] != plain["why"] and len(own.pictures["surroundings"]) == 4


def test_an_onnx_file_of_bands_is_a_black_box_like_any_other(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    for name, shape in (("first", ["N", 6, SIDE, SIDE]), ("last", ["N", SIDE, SIDE, 6])):
        axes = [2, 3] if name == "first" else [1, 2]
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=axes, keepdims=0),
            helper.make_node("Softmax", ["m"], ["y"]),
        ]
        ends = [helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", kind, ["N", 6])]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
            tmp_path / f"{name}.onnx",
        )
        clf = load_classifier(f"onnx:{tmp_path / name}.onnx", range=(0, 4095))
        p = clf.probabilities(clf.prepare([clf.read(field(6))])[0])[0]
        expected = torch.from_numpy(field(6).mean((0, 1)) / 4095).softmax(0)
        assert torch.allclose(p, expected.float(), atol=1e-4) and any("takes 6 channels" in n for n in clf.notes)
        with pytest.raises(UsageError, match="takes 6 channels, and bands names 4"):
            load_classifier(f"onnx:{tmp_path / name}.onnx", bands=[1, 2, 3, 4])


def test_a_network_of_timm_is_built_for_the_bands_that_are_named() -> None:
    pytest.importorskip("timm")
    clf = load_classifier("timm:test_resnet", weights="random", bands=[1, 2, 3, 4], size=SIDE)
    assert clf.prepare([clf.read(field(6))])[0].shape == (1, 4, SIDE, SIDE)
    assert clf.probabilities(clf.prepare([clf.read(field(6))])[0]).shape == (1, 1000)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"bands": [1, 2]}, "takes 6 channels, and bands names 2"),
        ({"bands": [0, 1]}, "counted from 1"),
        ({"bands": []}, "counted from 1"),
        ({"shown": [1, 2]}, "shown takes"),
        ({"mean": [0.1, 0.2]}, "mean has 2 values"),
        ({"std": [1, 1, 1]}, "std has 3 values"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_loaded(given: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_classifier(Wet(6), size=SIDE, **given)  # type: ignore[arg-type]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    clf = load_classifier(Wet(6), size=SIDE)
    few = WRITTEN["an array (H, W, C)"](tmp_path, field(4))
    with pytest.raises(InputError, match="has 4 bands, and band 6 was asked for"):
        clf.read(few)
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="has 3 bands"):
        clf.read(tmp_path / "photo.png")
    np.save(tmp_path / "code.npy", np.array([print]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read as an array"):
        clf.read(tmp_path / "code.npy")
    holes = field(6).astype(np.float32)
    holes[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        clf.read(holes)
    with pytest.raises(UsageError, match="takes 6 bands, and a picture of 3"):
        clf.prepare([read(tmp_path / "photo.png")])
    with pytest.raises(UsageError, match=r"\(N, 6, H, W\)"):
        clf.logits(torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(UsageError, match="6 bands"):
        saywhy.Explainer.fit(clf, [tmp_path / "photo.png"])
    with pytest.raises(UsageError, match="6 bands"):
        saywhy.audit.audit(clf, [], tmp_path / "out")


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_tag_turns_bands_as_it_turns_colours(tmp_path: Path, turned: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (20, 28, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(rgb).save(tmp_path / "p.png", exif=exif)
    for way in ("upright", "stored"):
        colours = read(tmp_path / "p.png", Preprocess(exif=way))  # type: ignore[arg-type]
        bands = read(tmp_path / "p.png", Preprocess(exif=way, bands=(1, 2)))  # type: ignore[arg-type]
        assert bands.bands is not None
        assert np.allclose(bands.bands * 255, colours.pixels[..., :2], atol=1e-3)
        assert any("EXIF" in n for n in bands.notes) == (turned > 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((9, 7), (9, 7, 1)), ((6, 40, 50), (40, 50, 6)), ((40, 50, 6), (40, 50, 6)), ((40, 50, 200), (40, 50, 200)),
     ((13, 64, 64), (64, 64, 13)), ((20, 30, 64), (20, 30, 64))],
)  # fmt: skip
def test_bands_stand_last_unless_the_first_axis_is_the_shortest_by_half(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert cube(np.zeros(shape)).shape == expected


def test_people_see_most_of_the_values_of_a_dark_picture() -> None:
    shown = for_people(field(13)[..., [3, 2, 1]])
    assert shown.min() == 0 and shown.max() == 255 and 60 < shown.mean() < 190
    plain = np.full((9, 9, 3), 7, dtype=np.uint8)
    assert np.array_equal(for_people(plain), plain)
    assert for_people(np.full((9, 9, 1), 7.5)).max() == 0


def test_a_picture_in_colours_and_its_fingerprint_are_what_they_were() -> None:
    clf = load_classifier(Wet(6), size=SIDE)
    assert clf.fingerprint == load_classifier(Wet(6), size=SIDE, shown=[6, 5, 4]).fingerprint
    assert clf.fingerprint != load_classifier(Wet(6), size=SIDE, bands=[6, 5, 4, 3, 2, 1]).fingerprint
    assert Picture(np.zeros((9, 9, 3), np.uint8), None, "").bands is None
