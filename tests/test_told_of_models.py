"""What a loader takes for granted about a model is told wherever an explanation is; what somebody said is not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import saywhy
import test_black_box
from saywhy.errors import UsageError
from saywhy.framing import RULES, Preprocess, place
from saywhy.zoo import load_classifier
from saywhy.zoo.inputs import taken
from test_black_box import colour_scores, net, served, write_grey_onnx, write_onnx

serve = test_black_box.serve  # a fixture
OPEN = re.compile(r"\((--size|--resize)(, --resize)?\)$")
SAID = {"size": 32, "resize": 40}
NAMES = ["heron", "egret", "stork"]


def framing(clf: saywhy.Classifier) -> list[str]:
    return [note for note in clf.notes if OPEN.search(note)]


# -- how much of a photo is taken ------------------------------------------------------------------

# What each kind of model says of itself, as what nobody has to guess.
SERVERS: dict[str, dict[str, Any]] = {
    "a silent server": {},
    "a server with a size": {"size": [32, 32]},
    "a server with a resize": {"resize": 240},
    "a server with both": {"size": [32, 32], "resize": 36},
    "a server that squeezes": {"size": [32, 32], "resize": None},
}
FILES = {"an ONNX file of one size": 32, "an ONNX file of any size": None}
CODE = {"a network": net, "a callable": lambda: colour_scores}


def named(kind: str, folder: Path, serve: Any) -> tuple[Any, set[str]]:
    """A model of this kind, and which of size and resize it says."""
    if kind in SERVERS:
        return serve(served(SERVERS[kind])), {*SERVERS[kind]}
    if kind in FILES:
        pytest.importorskip("onnxruntime")
        write_onnx(folder / "net.onnx", batch=None, size=FILES[kind])
        return f"onnx:{folder / 'net.onnx'}", {"size"} if FILES[kind] else set()
    return CODE[kind](), set()


@pytest.mark.parametrize("kind", [*SERVERS, *FILES, *CODE])
@pytest.mark.parametrize("said", [c for n in range(3) for c in itertools.combinations(SAID, n)])
def test_what_nobody_said_of_the_framing_is_told_and_nothing_else(
    kind: str, said: tuple, tmp_path: Path, serve
) -> None:
    model, known = named(kind, tmp_path, serve)
    options = {k: SAID[k] for k in said}
    if "size" not in said and "size" not in known and "resize" in said:
        options["resize"] = 256  # of the usual size
    clf = load_classifier(model, **options)
    left = [k for k in SAID if k not in said and k not in known]
    told = framing(clf)
    assert len(told) == bool(left)
    if left:
        assert told[0].endswith(f", as nobody said otherwise ({', '.join(f'--{k}' for k in left)})")
        assert told[0].startswith(taken(clf.preprocess))


def test_a_servers_resize_counts_without_a_size(serve) -> None:
    assert load_classifier(serve(served({"resize": 240}))).preprocess.resize == 240


WAYS = [
    (Preprocess((30, 40), None), "whole photos are squeezed into 30 x 40 (bilinear)"),
    (Preprocess((30, 40), 48), "photos are scaled to a short side of 48 (bilinear) and the middle 30 x 40 is cut out"),
    (
        Preprocess((30, 40), (48, 64), interpolation="bicubic"),
        "photos are squeezed into 48 x 64 (bicubic) and the middle 30 x 40 is cut out",
    ),
    (
        Preprocess((30, 40), (48, 64), rule="fill"),
        "photos are scaled to fill 48 x 64 (bilinear) and the middle 30 x 40 is cut out",
    ),
    (
        Preprocess((30, 40), None, rule="fit"),
        "whole photos are fitted into 30 x 40 (bilinear), with bars beside them",
    ),
    (
        Preprocess((30, 40), (48, 64), rule="fit"),
        "whole photos are fitted into 48 x 64 (bilinear), with bars beside them and the middle 30 x 40 cut out",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("how", "words"), WAYS)
def test_a_framing_is_told_in_these_words(how: Preprocess, words: str) -> None:
    assert taken(how) == words


RULED = [
    *((rule, side) for rule in RULES if rule not in ("fill", "fit") for side in (44, 36)),
    *((rule, pair) for rule in ("cover", "torchvision", "transformers", "fit") for pair in ((44, 48), (36, 36))),
    ("fill", (44, 48)), ("cover", None), ("fit", None),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "resize"), RULED)
def test_the_words_for_a_framing_are_what_is_done(rule: str, resize: Any) -> None:
    how = Preprocess((40, 40), resize, rule=rule)
    places = [place(w, h, how) for w, h in ((400, 100), (100, 400), (200, 200), (120, 100))]
    cuts = [np.subtract(at.cut[2:], at.cut[:2]) for at in places]
    squeezed = any(
        not np.isclose(cut[0] / cut[1], at.scaled[0] / at.scaled[1], rtol=0.1)
        for at, cut in zip(places, cuts, strict=True)
    )
    assert squeezed == ("squeezed" in taken(how))
    assert any(min(at.corner) < 0 for at in places) == ("bars" in taken(how))


# -- folders of Hugging Face -----------------------------------------------------------------------

PROCESSORS = {
    "ViTImageProcessor": ({"size": 32, "resample": 3}, "whole photos are squeezed into 32 x 32 (bicubic)", ""),
    "CLIPImageProcessor": (
        {"size": {"shortest_edge": 40}, "crop_size": 32},
        "photos are scaled to a short side of 40 (bicubic) and the middle 32 x 32 is cut out",
        "",
    ),
    "BeitImageProcessor": (
        {"size": {"height": 40, "width": 44}, "do_center_crop": True, "crop_size": 32},
        "photos are squeezed into 40 x 44 (bicubic) and the middle 32 x 32 is cut out",
        "",
    ),
    "MobileViTImageProcessor": (
        {"size": {"shortest_edge": 40}, "crop_size": 32},
        "photos are scaled to a short side of 40 (bicubic) and the middle 32 x 32 is cut out",
        "colours as blue, green, red",
    ),
}  # fmt: skip


def folder(where: Path, labels: Mapping[Any, str] | None, processor: str | None, **config: Any) -> str:
    t = pytest.importorskip("transformers")
    said = t.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=3, **config)
    t.ResNetForImageClassification(said).save_pretrained(where)
    if labels is not None:
        stored = json.loads((where / "config.json").read_text())
        stored |= {"id2label": {str(k): v for k, v in labels.items()}, "label2id": {v: k for k, v in labels.items()}}
        (where / "config.json").write_text(json.dumps(stored))
    if processor is not None:
        fields = {"image_processor_type": processor, **PROCESSORS[processor][0]}
        (where / "preprocessor_config.json").write_text(json.dumps(fields))
    return f"hf:{where}"


@pytest.mark.parametrize("processor", PROCESSORS)
def test_what_an_image_processor_was_seen_to_do_is_told(processor: str, tmp_path: Path) -> None:
    clf = load_classifier(folder(tmp_path, None, processor))
    (told,) = [note for note in clf.notes if f"seen by watching its {processor}" in note]
    _, words, order = PROCESSORS[processor]
    assert told.startswith(words) and told.startswith(taken(clf.preprocess)) and order in told
    assert ("colours as" in told) == bool(order)
    mean, std = re.search(r"mean ([\d. ]+), std ([\d. ]+)", told).groups()
    assert np.allclose([*map(float, mean.split())], clf.preprocess.mean, atol=1e-3)
    assert np.allclose([*map(float, std.split())], clf.preprocess.std, atol=1e-3)
    assert " as said" not in told and not framing(clf)
    other = load_classifier(folder(tmp_path, None, processor), mean=0.25, size=64)
    (told,) = [note for note in other.notes if "seen by watching" in note]
    assert told.endswith("; but size, mean as said") and "64 x 64" in told and "mean 0.25 0.25 0.25" in told


@pytest.mark.parametrize(
    ("processor", "left", "framed"),
    [
        (None, (), True),
        (None, ("resize",), False),
        ("MobileViTImageProcessor", ("resize", "interpolation"), False),
    ],
)
def test_a_folder_whose_processor_is_not_used_says_so(processor, left, framed, tmp_path: Path) -> None:
    said = {"size": 32, "mean": 0.5, "std": 0.5} | {k: {"resize": 40, "interpolation": "bicubic"}[k] for k in left}
    clf = load_classifier(folder(tmp_path, None, processor), **said)
    assert any("colours go in as red, green, blue" in note for note in clf.notes)
    assert not any("seen by watching" in note for note in clf.notes)
    assert bool(framing(clf)) == framed


LABELS = {
    "from 0": ({0: "heron", 1: "egret", 2: "stork"}, NAMES),
    "from 1": ({1: "heron", 2: "egret", 3: "stork"}, NAMES),
    "of no order": ({2: "stork", 0: "heron", 1: "egret"}, NAMES),
    "numbers alone": (None, None),
}


@pytest.mark.parametrize("kind", LABELS)
def test_the_names_of_a_folder_stand_in_the_order_of_the_scores_and_are_told(kind: str, tmp_path: Path) -> None:
    labels, expected = LABELS[kind]
    spec = folder(tmp_path, labels, "ViTImageProcessor")
    clf = load_classifier(spec)
    told = [note for note in clf.notes if "class names from" in note]
    assert clf.classes is None if expected is None else [*clf.class_names] == expected
    assert len(told) == bool(expected) and all(note.endswith("0 heron, 1 egret, 2 stork") for note in told)
    assert not any("class names from" in note for note in load_classifier(spec, classes=["a", "b", "c"]).notes)


@pytest.mark.parametrize("labels", [{0: "heron", 1: "egret", 3: "stork"}, {2: "heron", 3: "egret", 4: "stork"}])
def test_labels_with_gaps_are_refused(labels: dict[int, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config: read as index -> name, and its indices must be 0 to 2"):
        load_classifier(folder(tmp_path, labels, "ViTImageProcessor"))


@pytest.mark.parametrize(
    ("problem", "words"),
    [("multi_label_classification", "each label for itself"), ("single_label_classification", "one class an image")],
)
def test_how_a_folder_says_its_scores_are_read_is_told(problem: str, words: str, tmp_path: Path) -> None:
    spec = folder(tmp_path, None, "ViTImageProcessor", problem_type=problem)
    assert any(words in n and f"as its config says ({problem})" in n for n in load_classifier(spec).notes)
    assert any("its config does not say" in n for n in load_classifier(folder(tmp_path, None, None), size=32, mean=0.5,
               std=0.5).notes)  # fmt: skip


# -- names of servers and hubs ---------------------------------------------------------------------


def test_names_that_a_server_gives_are_told_unless_somebody_says_others(serve) -> None:
    url = serve(served({"classes": NAMES, "activation": "softmax"}))
    assert any("from the server (classes, a list): 0 heron, 1 egret, 2 stork" in n for n in load_classifier(url).notes)
    assert not any("from the server" in note for note in load_classifier(url, classes=["a", "b", "c"]).notes)


@pytest.mark.parametrize("spec", ["timm:resnet10t", "torchvision:resnet18"])
def test_names_taken_for_imagenets_are_told_unless_somebody_says_others(spec: str) -> None:
    pytest.importorskip(spec.partition(":")[0])
    words = "class names are ImageNet's, as the network has 1000 scores"
    assert any(words in note for note in load_classifier(spec, weights="random").notes)
    others = load_classifier(spec, weights="random", classes=NAMES)
    assert not any("ImageNet's, as" in note for note in others.notes) and others.class_names == tuple(NAMES)


# -- ONNX ------------------------------------------------------------------------------------------


def test_an_onnx_file_of_bytes_or_of_no_form_is_told_what_goes_in(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_onnx(tmp_path / "floats.onnx", batch=None, size=16)
    write_onnx(tmp_path / "bytes.onnx", batch=None, size=16, last=True, kind="UINT8")
    floats, whole = (load_classifier(f"onnx:{tmp_path / f}.onnx").notes for f in ("floats", "bytes"))
    assert any("ImageNet's mean and std, as nobody said otherwise" in n for n in floats)
    assert not any("ImageNet" in n for n in whole) and any("takes bytes" in n for n in whole)
    said = load_classifier(f"onnx:{tmp_path / 'floats.onnx'}", mean=0.5, std=0.5).notes
    assert not any("ImageNet" in n for n in said)
    write_grey_onnx(tmp_path / "grey.onnx", last=False, kind="FLOAT")
    grey = load_classifier(f"onnx:{tmp_path / 'grey.onnx'}").notes
    assert any("one channel" in n for n in grey) and any("left in [0, 1], as nobody said" in n for n in grey)


@pytest.mark.parametrize(("channels", "told"), [("C", True), (3, False)])
def test_an_onnx_file_that_does_not_say_where_its_colours_are_is_told(
    channels: Any, told: bool, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["scores"])]
    graph = helper.make_graph(
        nodes, "any", [helper.make_tensor_value_info("x", types.FLOAT, ["N", channels, "H", "W"])],
        [helper.make_tensor_value_info("scores", types.FLOAT, ["N", "K"])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(tmp_path / "any.onnx"))
    clf = load_classifier(f"onnx:{tmp_path / 'any.onnx'}", size=16)
    assert any("where its colours are" in note for note in clf.notes) == told


# -- what normalises by itself, and what is said later ---------------------------------------------


@pytest.mark.parametrize("kind", ["a callable", "a server", "an ONNX file of bytes"])
@pytest.mark.parametrize("said", [{"mean": 0.5}, {"std": 0.5}])
def test_a_mean_that_nothing_would_see_is_refused(kind: str, said: dict, tmp_path: Path, serve) -> None:
    model: Any = colour_scores if kind == "a callable" else serve(served({}))
    if kind == "an ONNX file of bytes":
        pytest.importorskip("onnxruntime")
        write_onnx(tmp_path / "net.onnx", batch=None, size=16, last=True, kind="UINT8")
        model = f"onnx:{tmp_path / 'net.onnx'}"
    with pytest.raises(UsageError, match="normalises by itself; leave mean and std out"):
        load_classifier(model, **said)


def test_what_is_said_of_a_ready_classifier_overrules_its_notes_in_words() -> None:
    first = load_classifier(net())
    assert framing(first)
    later = load_classifier(first, size=64, mean=0.5, std=0.5)
    assert later.notes[-1] == "size, mean, std: as said later, whatever is told of it above"
    assert later.preprocess.size == (64, 64)
    assert load_classifier(first, batch_size=2).notes == first.notes


# -- heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no labels", "another number of labels"])
def test_a_config_that_does_not_fit_its_weights_is_refused_with_the_way_out(kind: str, tmp_path: Path) -> None:
    labels = {} if kind == "no labels" else dict(enumerate(["a", "b", "c", "d", "e"]))
    with pytest.raises(UsageError, match=r"hf:.*(has no classifier|cannot be loaded)"):
        load_classifier(folder(tmp_path, labels, "ViTImageProcessor"))


# -- where it is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a Hugging Face folder", "an ONNX file of any size", "a silent server", "a callable"])
def test_every_note_stands_in_the_text_the_page_and_the_record(kind: str, tmp_path: Path, serve) -> None:
    model = (
        folder(tmp_path, LABELS["from 0"][0], "CLIPImageProcessor")
        if kind == "a Hugging Face folder"
        else named(kind, tmp_path, serve)[0]
    )
    size = {} if kind == "a Hugging Face folder" else {"size": 32}
    clf = load_classifier(model, **size)
    dice = torch.Generator().manual_seed(0)
    photo = torch.randint(0, 256, (40, 60, 3), generator=dice).numpy().astype(np.uint8)
    found = saywhy.explain(clf, photo, fast=True)
    text, page, record = (saywhy.RENDERERS[row].function(found).decode() for row in ("text", "html", "json"))
    assert len(clf.notes) >= 2 and found.model.notes == clf.notes
    for note in clf.notes:
        assert f"Read as: {note}." in text
        assert note in json.loads(record)["model"]["notes"]
        assert note.replace("&", "&amp;").replace("'", "&#39;").replace(">", "&gt;") in page


PHOTOS = {
    "wide": (Image.new("RGB", (900, 60), (200, 60, 40)), {}, "the model sees"),
    "turned by a tag": (Image.new("RGB", (60, 40), (200, 60, 40)), {0x0112: 6}, "--exif stored"),
    "of 16 bits": (Image.fromarray(np.linspace(0, 4095, 2400).reshape(40, 60).astype(np.uint16)), {}, "--range"),
    "transparent": (Image.new("RGBA", (60, 40), (200, 60, 40, 90)), {}, "laid on white"),
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_every_note_about_a_photo_stands_in_the_text_the_page_and_the_record(kind: str, tmp_path: Path) -> None:
    image, tags, words = PHOTOS[kind]
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    image.save(tmp_path / "photo.png", exif=exif)
    found = saywhy.explain(load_classifier(colour_scores, size=32), tmp_path / "photo.png", fast=True)
    (note,) = [n for n in found.image.notes if words in n]
    text, page, record = (saywhy.RENDERERS[row].function(found).decode() for row in ("text", "html", "json"))
    assert f"Read as: {note}." in text and note in page and note in json.loads(record)["image"]["notes"]
