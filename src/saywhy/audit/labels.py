"""The true class of each picture, or why it has none that the model knows."""

from __future__ import annotations

from collections.abc import Sequence

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError

SHOWN = 5


def labels_of(clf: Classifier, items: Sequence[Item]) -> tuple[list[int | None], dict[int, str]]:
    """Class indices of the items (None: no usable label), and by number why an item has none.

    Raises:
        UsageError: no picture has a label, or none has a label that is a class of the model.
    """
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
