"""The true class of each picture, or why it has none that the model knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError

SHOWN = 5
NEARLY, GAIN = 0.9, 0.3  # shares of pictures that are right under other names, and that only they make right


def labels_of(clf: Classifier, items: Sequence[Item]) -> tuple[list[int | None], dict[int, str]]:
    """Class indices of the items (None: no usable label), and by number why an item has none.

    Raises:
        UsageError: no picture has a label, or none has a label that is a class of the model.
    """
    _check_numbers(clf, items)
    labels: list[int | None] = []
    reasons: dict[int, str] = {}
    for n, item in enumerate(items):
        try:
            labels.append(_label(clf, item))
        except UsageError as e:
            labels.append(None)
            reasons[n] = str(e)
    if len(reasons) < len(items):
        return labels, reasons
    if all(i.class_name is None and i.class_index is None for i in items):
        raise UsageError(
            "the pictures have no labels, and an audit compares answers with labels: give a folder with a subfolder a "
            "class, or an images.jsonl with class_name in its lines"
        )
    names = sorted({str(i.class_name) for i in items if i.class_name is not None})
    raise UsageError(
        f"no label is a class of {clf.name or 'the model'}: the labels are {_listed(names)}; the model's "
        f"{len(clf.class_names)} classes are {_listed(clf.class_names)}. Rename the folders, name the model that "
        "knows these classes (--model), or name its classes (--classes)"
    )


def _check_numbers(clf: Classifier, items: Sequence[Item]) -> None:
    """Raises UsageError where folders are numbers and it is not known whether these are the model's indices."""
    folders = {i.class_name: i.class_index for i in items if i.class_name is not None}
    unsure = (
        clf.classes is None
        and len(folders) == len(clf.class_names)
        and all(name.isdigit() for name in folders)
        and any(index is not None and index != int(name) for name, index in folders.items())
    )
    if unsure:
        order = sorted(folders)
        raise UsageError(
            f"the folders are numbers, and their order by the alphabet, which torchvision's ImageFolder takes "
            f"({', '.join(order[:SHOWN])}, ...), is not that of the numbers. Say which one the model was trained with: "
            f"--classes FOLDER (the folder of these class folders) for ImageFolder's, or a file with one number a line"
        )


def order_note(counts: Mapping[tuple[int, int], int], names: Sequence[str]) -> str | None:
    """A note where giving the model's answers other names would make it nearly perfect: the class order is wrong.

    `counts` are of the pictures with each label and answer. The best one-to-one renaming is searched (Hungarian
    method); with less than two pictures a class every model has one.
    """
    labels, answers = (sorted({pair[i] for pair in counts}) for i in (0, 1))
    pictures = sum(counts.values())
    if pictures < 2 * len(labels) or len(labels) < 2:
        return None
    table = np.zeros((len(labels), len(answers)), dtype=int)
    for (label, answer), count in counts.items():
        table[labels.index(label), answers.index(answer)] = count
    rows, columns = linear_sum_assignment(table, maximize=True)
    renamed, right = int(table[rows, columns].sum()), sum(n for (a, b), n in counts.items() if a == b)
    if renamed < NEARLY * pictures or renamed - right < GAIN * pictures:
        return None
    moved = [(answers[c], labels[r]) for r, c in zip(rows, columns, strict=True) if answers[c] != labels[r]]
    shown = "; ".join(f"{names[a]!r} is {names[b]!r}" for a, b in moved[:SHOWN]) + (
        "; ..." if len(moved) > SHOWN else ""
    )
    return (
        f"the class names seem to be in a wrong order: with {len(moved)} of them exchanged, {renamed} of {pictures} "
        f"pictures would be right instead of {right} ({shown}). Give the order of the training with --classes"
    )


def _label(clf: Classifier, item: Item) -> int:
    if item.class_name is not None:
        known, index = clf.class_names, item.class_index
        if index is not None and 0 <= index < len(known) and known[index] == item.class_name:
            return index  # also where two classes have one name: the crane that is a bird, the one that lifts
        try:
            return clf.class_index(item.class_name)
        except UsageError as e:
            raise UsageError(f"its label is no class of the model: {e}") from e
    if item.class_index is None:
        raise UsageError("it has no label")
    return clf.class_index(item.class_index)


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(repr(n) for n in names[:SHOWN]) + more
