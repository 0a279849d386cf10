"""Class names in every common form of file, and the study that notices a wrong order."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from saywhy.audit import audit
from saywhy.audit.labels import labels_of, order_note
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.errors import UsageError
from saywhy.image import Preprocess
from saywhy.zoo import load_classifier
from saywhy.zoo.class_names import read_classes

NAMES = [
    "tench",
    "great white shark",
    "hen, the bird",
    "red kite",
    "zebra",
    "ant",
]  # by index: not the alphabet's order
IDS = [f"n0144{i:04d}" for i in range(6)]


def by_index(start: int = 0) -> dict[str, str]:
    return {str(i + start): n for i, n in reversed(list(enumerate(NAMES)))}


def by_name(start: int = 0) -> dict[str, int]:
    return {n: i + start for i, n in sorted(enumerate(NAMES), key=lambda row: row[1])}


def lines(*parts: str) -> str:
    return "\n".join(parts) + "\n"


FORMS: dict[str, tuple[str, str]] = {
    "one a line": ("c.txt", lines(*NAMES)),
    "windows line ends, a mark first": ("c.txt", "\ufeff" + "\r\n".join(NAMES) + "\r\n"),
    "index and name": ("c.txt", lines(*(f"{i} {n}" for i, n in enumerate(NAMES)))),
    "index, colon, name, any order": ("c.txt", lines(*(f"{i}: {n}" for i, n in reversed(list(enumerate(NAMES)))))),
    "from 1, tabs": ("c.txt", lines(*(f"{i + 1}\t{n}" for i, n in enumerate(NAMES)))),
    "name and index": ("c.txt", lines(*(f"{n} {i}" for n, i in by_name().items()))),
    "WordNet id and name": ("c.txt", lines(*(f"{w} {n}" for w, n in zip(IDS, NAMES, strict=True)))),
    "a Python dict": ("c.txt", repr(dict(enumerate(NAMES)))),
    "a table": ("c.csv", lines("index,name", *(f'{i},"{n}"' for i, n in enumerate(NAMES)))),
    "a table by name": ("c.csv", lines("class_name,class_id", *(f'"{n}",{i}' for n, i in by_name().items()))),
    "a list": ("c.json", json.dumps(NAMES)),
    "index -> name": ("c.json", json.dumps(by_index())),
    "index -> name from 1": ("c.json", json.dumps(by_index(1))),
    "class_to_idx": ("c.json", json.dumps(by_name())),
    "class_to_idx from 1": ("c.json", json.dumps(by_name(1))),
    "class_to_idx as texts": ("c.json", json.dumps({n: str(i) for n, i in by_name().items()})),
    "imagenet_class_index": (
        "c.json",
        json.dumps({str(i): [w, n] for i, (w, n) in enumerate(zip(IDS, NAMES, strict=True))}),
    ),
    "rows of ids": ("c.json", json.dumps([[w, n] for w, n in zip(IDS, NAMES, strict=True)])),
    "id2label of a config": ("config.json", json.dumps({"id2label": by_index(), "model_type": "vit"})),
    "label2id": ("c.json", json.dumps({"label2id": by_name()})),
    "COCO": (
        "c.json",
        json.dumps({"categories": [{"id": i + 1, "name": n} for i, n in reversed(list(enumerate(NAMES)))]}),
    ),
    "rows": ("c.json", json.dumps([{"index": i, "label": n} for n, i in by_name().items()])),
    "names inside": ("c.json", json.dumps({"nc": 6, "names": NAMES})),
    "index -> row": ("c.json", json.dumps({str(i): {"name": n} for i, n in enumerate(NAMES)})),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_names_in_the_models_order_and_says_how_it_was_read(tmp_path: Path, form: str) -> None:
    name, text = FORMS[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_classes(tmp_path / name)
    assert list(found) == NAMES
    assert f"6 class names from {name}" in found.how and "0 tench, 1 great white shark, 2 hen, the bird" in found.how
    clf = load_classifier(lambda x: x.mean((2, 3)).repeat(1, 2) * 9, size=16, classes=tmp_path / name)
    assert found.how in clf.notes


WITH_IDS = {
    "lines": ("c.txt", lines(*(f"{w} {n}" for w, n in zip(IDS, NAMES, strict=True)))),
    "index -> [id, name]": ("c.json", json.dumps({str(i): [w, NAMES[i]] for i, w in reversed(list(enumerate(IDS)))})),
    "index -> [name, id] from 1": ("c.json", json.dumps({str(i + 1): [NAMES[i], w] for i, w in enumerate(IDS)})),
    "pairs": ("c.json", json.dumps([[w, n] for w, n in zip(IDS, NAMES, strict=True)])),
    "rows": ("c.json", json.dumps([{"name": n, "wnid": w} for w, n in zip(IDS, NAMES, strict=True)])),
    "index -> row": ("c.json", json.dumps({str(i): {"id": w, "name": NAMES[i]} for i, w in enumerate(IDS)})),
    "a table": ("c.csv", lines("wnid,name", *(f'{w},"{n}"' for w, n in zip(IDS, NAMES, strict=True)))),
    "a table by index": ("c.csv", lines("index,name,wnid", *(f'{i},"{NAMES[i]}",{w}' for i, w in enumerate(IDS)))),
}


@pytest.mark.parametrize("form", WITH_IDS)
def test_classes_of_a_file_with_wordnet_ids_are_found_by_them(tmp_path: Path, form: str) -> None:
    name, text = WITH_IDS[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    clf = load_classifier(lambda x: x.mean((2, 3)).repeat(1, 2) * 9, size=16, classes=tmp_path / name)
    assert list(clf.class_names) == NAMES
    assert [clf.class_index(w) for w in IDS] == list(range(6))
    assert clf.class_index(IDS[3].upper()) == 3


def test_a_file_without_wordnet_ids_has_none(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(lines(*NAMES))
    assert read_classes(tmp_path / "c.txt").ids == ()


DIGITS = {"0": 0, "1": 1, "10": 2, "11": 3, **{str(i): i + 2 for i in range(2, 10)}}  # as ImageFolder numbers 0 to 11


def test_folders_that_are_numbers_have_the_order_of_the_alphabet(tmp_path: Path) -> None:
    for name in [*DIGITS, ".ipynb_checkpoints"]:
        (tmp_path / "train" / name).mkdir(parents=True)
    assert list(read_classes(tmp_path / "train")) == list(DIGITS)
    (tmp_path / "c.json").write_text(json.dumps(DIGITS))
    assert list(read_classes(tmp_path / "c.json")) == list(DIGITS)


@pytest.mark.parametrize("text", ["0 tench\n0 shark\n1 hen\n", "tench\n\nshark\n", ""])
def test_lines_that_are_no_numbered_list_are_names_as_they_stand_or_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.txt").write_text(text)
    if text.startswith("0"):
        assert list(read_classes(tmp_path / "c.txt")) == ["0 tench", "0 shark", "1 hen"]
    else:
        with pytest.raises(UsageError):
            read_classes(tmp_path / "c.txt")


# -- the order, noticed --------------------------------------------------------------------------------


def grey_levels(x: Tensor) -> Tensor:
    """Twelve logits: which of twelve grey levels the picture has."""
    levels = torch.linspace(0, 1, 12)
    return -400 * (x.mean((1, 2, 3))[:, None] - levels) ** 2


def photos(root: Path, of: dict[str, int]) -> Path:
    for name, level in of.items():
        (root / name).mkdir(parents=True)
        for n in range(2):
            noise = np.random.default_rng(n).integers(-3, 4, (24, 24, 3))
            pixels = np.clip(np.full((24, 24, 3), round(255 * level / 11)) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{n}.png")
    return root


def levels(**given: object) -> Classifier:
    how = Preprocess((16, 16), None)
    return Classifier(grey_levels, preprocess=how, name="levels", **given)  # type: ignore[arg-type]


def test_an_audit_of_a_perfect_network_in_the_wrong_order_says_so(tmp_path: Path) -> None:
    names = [f"grey {chr(97 + i)}" for i in range(12)]
    items = find_images(photos(tmp_path / "p", {n: i for i, n in enumerate(names)}))
    right = audit(levels(classes=names), items, tmp_path / "right", method="occlusion")
    assert right.correct == 24 and right.notes == ()
    turned = names[3:] + names[:3]
    wrong = audit(levels(classes=turned), items, tmp_path / "wrong", method="occlusion")
    assert wrong.correct == 0
    assert "wrong order" in wrong.notes[0] and "24 of 24 pictures would be right instead of 0" in wrong.notes[0]
    assert "wrong order" in (tmp_path / "wrong" / "failures.html").read_text()


def test_folders_that_are_numbers_in_another_order_than_the_alphabets_are_asked_about(tmp_path: Path) -> None:
    items = find_images(photos(tmp_path / "p", DIGITS))
    with pytest.raises(UsageError, match=r"ImageFolder.*--classes"):
        audit(levels(), items, tmp_path / "out", method="occlusion")
    clf = levels(classes=read_classes(tmp_path / "p"))
    assert audit(clf, items, tmp_path / "out", method="occlusion").correct == 24


def test_a_network_that_errs_by_chance_has_no_better_order() -> None:
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(10)]
    for accuracy in (0.1, 0.5, 0.9):
        labels = rng.integers(0, 10, 300)
        answers = np.where(rng.random(300) < accuracy, labels, rng.integers(0, 10, 300))
        assert order_note(Counter(zip(labels.tolist(), answers.tolist(), strict=True)), names) is None
    assert order_note({(0, 1): 1, (1, 0): 1}, names) is None, "a picture a class: any model has such an order"
    assert order_note({(0, 1): 2, (1, 0): 2}, names) is not None


def exchanged(right: int, turned: int, wrong: int) -> list[tuple[int, int]]:
    """Pairs of three classes: so many right, so many where 0 and 1 are exchanged, so many that no order makes right."""
    return [(2, 2)] * right + [(i % 2, 1 - i % 2) for i in range(turned)] + [(2, i % 2) for i in range(wrong)]


@pytest.mark.parametrize(
    ("pairs", "noted"),
    [
        (exchanged(10, 10, 0), True),
        (exchanged(14, 6, 0), True),  # three in ten more
        (exchanged(15, 5, 0), False),
        (exchanged(9, 9, 2), True),  # nine in ten right under other names
        (exchanged(9, 8, 3), False),
        ([(0, 1), (0, 1), (1, 0), (1, 0)], True),  # two pictures of each of two classes
        ([(0, 1), (1, 0), (1, 0)], False),
        ([(0, 1)] * 9, False),  # one class says nothing of an order
        ([(0, 0), (1, 1)] * 9, False),
    ],
)
def test_a_wrong_order_is_noted_where_another_makes_nearly_all_right_and_many_more(
    pairs: list[tuple[int, int]], noted: bool
) -> None:
    note = order_note(Counter(pairs), ["ant", "bee", "cat"])
    assert (note is not None) == noted
    if note is not None:
        right = sum(a == b for a, b in pairs)
        assert f"with 2 of them exchanged, {len(pairs) - pairs.count((2, 0)) - pairs.count((2, 1))} of" in note
        assert f"instead of {right} (" in note and "'ant' is 'bee'" in note and "'bee' is 'ant'" in note


@pytest.mark.parametrize(
    ("folders", "indices", "refused"),
    [
        (("0", "1", "10", "2"), (0, 1, 2, 3), True),  # the alphabet's order, not that of the numbers
        (("0", "1", "2", "3"), (0, 1, 2, 3), False),
        (("0", "1", "10"), (0, 1, 2), False),  # not all of the model's classes
        (("0", "1", "10", "x"), (0, 1, 2, 3), False),
    ],
)
def test_folders_that_are_numbers_are_refused_only_where_two_orders_are_possible(
    folders: tuple[str, ...], indices: tuple[int, ...], refused: bool
) -> None:
    items = [Item(Path(f"{f}.png"), class_name=f, class_index=i) for f, i in zip(folders, indices, strict=True)]

    def numbers(classes: tuple[str, ...] | None) -> Classifier:
        return Classifier(lambda x: torch.zeros(len(x), 4), classes=classes, preprocess=Preprocess((8, 8)), name="n")

    def is_refused(clf: Classifier) -> bool:
        try:
            labels_of(clf, items)
        except UsageError as e:
            return "the folders are numbers" in str(e)
        return False

    assert is_refused(numbers(None)) == refused
    assert not is_refused(numbers(("0", "1", "10", "2"))), "where the classes are named there is one order"


@pytest.mark.parametrize(
    "given",
    [
        {1: "egret", 0: "heron"},
        {"1": "heron", "2": "egret"},
        {"egret": 1, "heron": 0},
        {"id2label": {"0": "heron", "1": "egret"}},
    ],
)
def test_a_dict_of_names_is_read_as_its_file_would_be(given: dict) -> None:
    clf = load_classifier(lambda x: x.mean((2, 3))[:, :2] * 9, size=16, classes=given)
    assert clf.class_names == ("heron", "egret")
    assert any("0 heron, 1 egret" in note for note in clf.notes)


@pytest.mark.parametrize("wrong", [7, [], {}, {3: "heron", 4: "egret"}, {"heron": "egret"}])
def test_what_holds_no_names_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"classes|the given dict"):
        load_classifier(lambda x: x.mean((2, 3))[:, :2] * 9, size=16, classes=wrong)
