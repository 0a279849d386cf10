"""The reasoning of a class over many pictures: the mean graph of those that are given it, with its spread.

A graph is a row of `parts["graph"]["hypotheses"]` of a record; pictures on which the student is not faithful are only
counted.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import find_concepts
from saywhy.errors import InputError, UsageError
from saywhy.parts import Request
from saywhy.reasoning import part
from saywhy.reasoning.reasoner import Reasoner
from saywhy.seen import look
from saywhy.targets import Class

Row = dict[str, Any]
Tell = Callable[[str], None]
OF_NODES, OF_EDGES = (
    ("contribution", "contrast", "share", "importance", "measured"),
    ("contribution", "contrast", "together", "distance"),
)


class WithParts(Protocol):
    """A classifier with fitted parts by name, such as an `Explainer`."""

    @property
    def clf(self) -> Classifier:
        """The classifier."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """Its parts."""


def class_graph(
    explainer: WithParts,
    images: str | Path | Sequence[str | Path | Item],
    target: Class,
    versus: Class | None = None,
    *,
    tell: Tell = lambda step: None,
) -> Row:
    """The mean graph of a class over those of some pictures that the classifier gives it; contrasts are with `versus`.

    About a dozen forward passes a picture: it is looked at, and the student is compared with the classifier.

    Raises:
        UsageError: the explainer has no graphs or does not know a class, or target and versus are the same class.
        InputError: no picture can be read.
    """
    clf, reasoner, bank = explainer.clf, explainer.parts.get("graph"), explainer.parts.get(part.CONCEPTS)
    if reasoner is None or bank is None:
        raise UsageError(
            "this explainer has no graphs of concepts; fit some: saywhy fit IMAGES --parts concepts,graph -o FOLDER"
        )
    c, *_ = [_known(clf, reasoner, one) for one in (target, versus) if one is not None]
    known: Sequence[Any] = [images] if isinstance(images, (str, Path)) else images
    items = list(known) if all(isinstance(i, Item) for i in known) else find_images(known)
    records, failures, others = _records(clf, bank, reasoner, items, c, versus, tell)
    return mean_graph(records, c, contrast=versus is not None) | {
        "class_index": c,
        "class_name": clf.class_names[c],
        "versus": None if versus is None else clf.class_names[clf.class_index(versus)],
        "other_classes": others,
        "unreadable": failures,
    }


def _known(clf: Classifier, reasoner: Reasoner, asked: Class) -> int:
    c = clf.class_index(asked)
    if c not in reasoner.classes:
        some = ", ".join(clf.class_names[k] for k in reasoner.classes[:5])
        raise UsageError(
            f"the student of graphs does not know {clf.class_names[c]!r}, but {some}, ...; fit it with pictures of "
            "that class"
        )
    return c


def _records(
    clf: Classifier,
    bank: ConceptBank,
    reasoner: Reasoner,
    items: Sequence[Item],
    c: int,
    versus: Class | None,
    tell: Tell,
) -> tuple[list[Row], list[list[str]], int]:
    """The graphs of pictures that are given the class, those that cannot be read, and how many are given another."""
    records, failures, others = list[Row](), list[list[str]](), 0
    for n, item in enumerate(items):
        tell(f"reading graphs of pictures: {n + 1} of {len(items)}")
        try:
            seen = look(clf, clf.read(item.path), c, versus)
        except InputError as e:
            failures.append([str(item.path), str(e)])
            continue
        found = (
            part.find(reasoner, seen, {part.CONCEPTS: find_concepts(bank, seen, ())}, Request()) if seen.said else None
        )
        others += found is None
        records += [] if found is None else [part.confirm(found, seen, ()).record]
    if len(failures) == len(items):
        raise InputError(f"none of {len(items)} pictures can be read; the first: {failures[0][1] if failures else '-'}")
    return records, failures, others


def mean_graph(records: Iterable[Row], class_index: int, *, contrast: bool = True) -> Row:
    """The mean graph of a class by the records of `parts["graph"]` in which it has one: nodes and edges, what counts
    most first, each with how often it is `present` and mean and standard deviation over those pictures. Without
    `contrast` there is none: where pictures have runners-up of their own, contrasts are of different classes."""
    rows = list(records)
    graphs = [h for r in rows if r["faithful"] for h in r["hypotheses"] if h["class_index"] == class_index]
    contrasts = {} if contrast else {"contrast": None}
    nodes, edges = _gathered(graphs, "nodes", ("concept",)), _gathered(graphs, "edges", ("source", "target"))
    return {
        "pictures": len(rows),
        "faithful": len(graphs),
        "nodes": _ranked([_node(id, own) | contrasts for (id,), own in nodes.items()]),
        "edges": _ranked([_edge(ends, own) | contrasts for ends, own in edges.items()]),
    }


def _gathered(graphs: Sequence[Row], what: str, keys: tuple[str, ...]) -> dict[tuple[str, ...], list[Row]]:
    """The rows of all graphs by what they are of; edges in either direction are one, told as the first is."""
    out: dict[tuple[str, ...], list[Row]] = {}
    for graph in graphs:
        for row in graph[what]:
            ends = tuple(row[k] for k in keys)
            out.setdefault(ends if ends in out or ends[::-1] not in out else ends[::-1], []).append(row)
    return out


def _node(id: str, rows: Sequence[Row]) -> Row:
    there = [r for r in rows if r["present"]]
    return {
        "concept": id,
        "name": rows[0]["name"],
        "present": len(there),
        "places": dict(Counter(r["place"] for r in there if r["place"])),
    } | {name: spread([r[name] for r in there]) for name in OF_NODES}


def _edge(ends: tuple[str, ...], rows: Sequence[Row]) -> Row:
    words = Counter(r["relation"] for r in rows if (r["source"], r["target"]) == ends)
    return {"source": ends[0], "target": ends[1], "present": len(rows), "relations": dict(words)} | {
        name: spread([r[name] for r in rows]) for name in OF_EDGES
    }


def spread(values: Sequence[float | None]) -> Row | None:
    """Mean and standard deviation (None of a single one) of what is known; None where nothing is."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    return {
        "mean": statistics.fmean(known),
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "of": len(known),
    }


def _ranked(rows: list[Row]) -> list[Row]:
    def counted(row: Row) -> float:
        return abs(row["contribution"]["mean"]) * row["present"] if row["contribution"] else 0.0

    return sorted(rows, key=counted, reverse=True)
