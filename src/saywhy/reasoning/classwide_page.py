"""The mean graph of a class for people: as text, and as a page with a drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from saywhy.reasoning.sections import LEAST, named, points, related
from saywhy.render import wording
from saywhy.render.pages import as_data, templates

Row = dict[str, Any]
NODES, EDGES = 12, 12  # that are drawn and told, at most
SIDE, RING = 460, 165  # pixels: of the drawing, and from its middle to its nodes


def text(graph: Row) -> str:
    """A line a concept and relation, what counts most first, with its spread."""
    lines = [f"Graph of {wording.clean(graph['class_name'])}: {basis(graph)}"]
    rows = [(by(n), named(n), n) for n in _nodes(graph)] + [(by(e), line(e, graph), e) for e in _edges(graph)]
    for who, own in groupby(rows, key=lambda row: row[0]):
        lines += [f" {who}:", *(f"  {label}: {_counted(row, graph)}" for _, label, row in own)]
    return "\n".join(lines)


def _counted(row: Row, graph: Row) -> str:
    against = f"; {told(row['contrast'])} rather than {wording.clean(graph['versus'])}" if row["contrast"] else ""
    return f"{told(row['contribution'])}{against}; in {row['present']} of {graph['faithful']}"


def by(row: Row) -> str:
    """Who says what a concept or relation contributes: it was measured where the classifier was asked every time."""
    measured = row.get("measured")
    return "measured" if measured and measured["of"] == row["present"] else "by the student"


def basis(graph: Row) -> str:
    """Of how many pictures it is the mean, and which were left out."""
    left = [f"{graph['other_classes']} are given another class"] if graph["other_classes"] else []
    left += [f"{len(graph['unreadable'])} cannot be read"] if graph["unreadable"] else []
    out = f" ({wording.listed(left)})" if left else ""
    if not graph["faithful"]:
        return f"the student is faithful on none of {graph['pictures']} pictures, and there is nothing to tell{out}."
    return (
        f"the mean of {graph['faithful']} of {graph['pictures']} pictures, those on which the student is faithful{out}."
    )


def told(value: Row) -> str:
    """A mean and its standard deviation: "+30 ± 5"."""
    spread = "(one picture)" if value["sd"] is None else f"± {points(value['sd']).removeprefix('+')}"
    return f"{points(value['mean'])} {spread}"


def line(edge: Row, graph: Row) -> str:
    """An edge in words: how the two lie in most of the pictures that have both, "and" where no way is in most."""
    words: dict[str, int] = edge["relations"]
    word = max(words, key=words.__getitem__)
    times = words[word]
    most, always = 2 * times > edge["present"], times == edge["present"]
    return related({**edge, "relation": word if always else f"mostly {word}" if most else "and"}, graph)


def _nodes(graph: Row) -> list[Row]:
    return [n for n in graph["nodes"] if n["present"]][:NODES]


def _edges(graph: Row) -> list[Row]:
    return [e for e in graph["edges"] if abs(e["contribution"]["mean"]) >= LEAST][:EDGES]


def page(graph: Row, looks: Mapping[str, Sequence[bytes]] | None = None) -> str:
    """The page, self-contained: no network, no script. `looks` are JPEGs of a concept in other pictures."""
    shown = _nodes(graph)
    at = {n["concept"]: _place(i, len(shown)) for i, n in enumerate(shown)}
    env = templates("failures.css", Path(__file__).parent / "templates")
    return env.get_template("class_graph.html").render(
        title=f"How {wording.clean(graph['class_name'])} is decided",
        basis=basis(graph),
        versus=graph["versus"] and wording.clean(graph["versus"]),
        side=SIDE,
        nodes=[_dot(n, graph, at[n["concept"]], (looks or {}).get(n["concept"], ())) for n in shown],
        looks=bool(looks),
        edges=[_stroke(e, graph, at) for e in _edges(graph)],
    )


def _place(i: int, count: int) -> tuple[float, float]:
    """On a ring, what counts most at the top."""
    angle = 2 * math.pi * i / max(1, count) - math.pi / 2
    return SIDE / 2 + RING * math.cos(angle), SIDE / 2 + RING * math.sin(angle)


def _common(row: Row, graph: Row) -> Row:
    value = row["contribution"]
    return {
        "number": told(value),
        "contrast": told(row["contrast"]) if row["contrast"] else "",
        "by": by(row).removeprefix("by "),
        "present": f"{row['present']} of {graph['faithful']}",
        "side": "for" if value["mean"] >= 0 else "against",
        "faint": value["sd"] is None or value["sd"] > abs(value["mean"]),
    }


def _dot(n: Row, graph: Row, at: tuple[float, float], looks: Sequence[bytes]) -> Row:
    r = 14 + 16 * min(1.0, abs(n["contribution"]["mean"])) ** 0.5
    return _common(n, graph) | {
        "id": n["concept"],
        "label": named(n),
        "x": f"{at[0]:.1f}",
        "y": f"{at[1]:.1f}",
        "r": f"{r:.1f}",
        "looks": as_data(looks),
    }


def _stroke(e: Row, graph: Row, at: dict[str, tuple[float, float]]) -> Row:
    one, other = at.get(e["source"]), at.get(e["target"])
    drawn = {}
    if one is not None and other is not None:
        thick = 1.5 + 9 * min(1.0, abs(e["contribution"]["mean"])) ** 0.5
        ends = dict(zip(("x1", "y1", "x2", "y2"), (*one, *other), strict=True))
        drawn = {name: f"{v:.1f}" for name, v in {**ends, "thick": thick}.items()}
    return _common(e, graph) | {"label": line(e, graph), "drawn": drawn}
