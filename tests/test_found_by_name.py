"""Names as people write them: classes, WordNet ids, models that lie in a file, weights under a prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import saywhy
from saywhy.errors import ExtraMissing, unknown
from saywhy.targets import class_index
from saywhy.zoo import imagenet_classes
from tiny import CLASSES, SIDE, Cnn

CLASSES_1000 = imagenet_classes()


@pytest.mark.parametrize(
    ("asked", "index"),
    [("tiger_cat", 282), ("Tiger-Cat", 282), (" tiger  cat ", 282), ("n02123159", 282), ("N02123159", 282),
     ("n01440764", 0), ("cardigan", 474), ("Cardigan", 264), ("282", 282), ("crane (bird)", 134)],
)  # fmt: skip
def test_a_class_is_found_however_it_is_written(asked: str, index: int) -> None:
    assert class_index(asked, CLASSES_1000, 1000) == index


def test_every_wordnet_id_finds_its_class() -> None:
    assert len(set(CLASSES_1000.ids)) == 1000
    some = list(range(0, 1000, 37))
    assert [class_index(CLASSES_1000.ids[i], CLASSES_1000, 1000) for i in some] == some


@pytest.mark.parametrize(
    ("asked", "first", "never"),
    [
        ("crane", {"crane (bird)", "crane (machine)"}, "crate"),
        ("cat", {"tiger cat", "Egyptian cat", "Persian cat"}, "castle"),
        ("maillot", {"maillot (swimsuit)", "maillot (tank suit)"}, "mailbag"),
        ("egyptian", {"Egyptian cat"}, "x"),
        ("tigre cat", {"tiger cat"}, "x"),
    ],
)
def test_an_unknown_class_offers_what_holds_the_word_and_then_what_looks_like_it(
    asked: str, first: set[str], never: str
) -> None:
    with pytest.raises(saywhy.UsageError) as error:
        class_index(asked, CLASSES_1000, 1000)
    offered = str(error.value).split("did you mean ")[1]
    assert all(f"'{name}'" in offered for name in first) and never not in offered


def test_separators_do_not_count_in_any_table() -> None:
    assert "'grad-cam'" in str(unknown("method", "grad_cam", saywhy.METHODS))


def test_names_that_come_twice_are_told() -> None:
    torch.manual_seed(0)
    names = ["a", "b", "a", "c", "b", "d"]
    assert len(names) == CLASSES
    clf = saywhy.load_classifier(Cnn().eval(), size=SIDE, classes=names)
    (note,) = [n for n in clf.notes if "one name" in n]
    assert "'a' (0, 2)" in note and "'b' (1, 4)" in note and "'c'" not in note
    other = saywhy.load_classifier(Cnn().eval(), size=SIDE, classes=list("abcdef"))
    assert not any("one name" in n for n in other.notes)


@pytest.mark.parametrize(
    ("make", "spec", "says"),
    [
        ("file", "x.onnx", "onnx:x.onnx"),
        ("none", "gone.onnx", "onnx:gone.onnx"),
        ("folder", "hub", "hf:hub"),
        ("empty", "bare", "no config.json"),
        ("file", "w.safetensors", "--weights w.safetensors"),
        ("file", "cat.jpg", "the classifier comes first"),
        ("none", "resnet50", "timm:resnet50"),
    ],
)
def test_a_model_that_lies_in_a_file_is_offered_by_its_form(
    make: str, spec: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if make == "file":
        Path(spec).write_bytes(b"x")
    elif make != "none":
        Path(spec).mkdir()
        if make == "folder":
            (Path(spec) / "config.json").write_text("{}")
    with pytest.raises(saywhy.UsageError, match=says):
        saywhy.load_classifier(spec)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.backbone.", "_orig_mod."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_are_loaded_from_under_a_common_prefix(prefix: str, wrapped: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained = Cnn().eval()
    state = {prefix + k: v for k, v in trained.state_dict().items()}
    if prefix not in ("", "module."):
        state["loss.weight"] = torch.ones(2)
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "last.ckpt")
    clf = saywhy.load_classifier("tiny:Cnn", weights=tmp_path / "last.ckpt", size=SIDE)
    x = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(clf.logits(x), saywhy.load_classifier(trained, size=SIDE).logits(x))


def test_weights_that_come_twice_or_too_many_are_refused(tmp_path: Path) -> None:
    own = Cnn().state_dict()
    cases = {
        "2 times": {p + k: v for p in ("model.", "ema.") for k, v in own.items()},
        "not of this network": {f"model.{k}": v for k, v in own.items()} | {"model.more.weight": torch.ones(1)},
    }
    for says, state in cases.items():
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(saywhy.UsageError, match=says):
            saywhy.load_classifier("tiny:Cnn", weights=tmp_path / "w.pt", size=SIDE)


@pytest.mark.parametrize(("module", "name"), [("timm", "timm"), ("pillow_heif", "pillow-heif"), ("onnx.shape", "onnx")])
def test_what_is_missing_is_named_so_that_pip_finds_it_without_an_index_of_ours(module: str, name: str) -> None:
    text = str(ExtraMissing(module, "extra", "this"))
    assert f"pip install {name} " in text and "saywhy[" not in text
