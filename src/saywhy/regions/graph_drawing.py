"""The interactions as a graph whose nodes stand where the regions stand, so that it needs no legend."""

from __future__ import annotations

from dataclasses import replace
from math import hypot
from typing import Any

from saywhy.explanation import EdgeRecord, Explanation, GraphRecord
from saywhy.render import wording
from saywhy.render.layout import Layout, Shape
from saywhy.render.outline import svg_path

Row = dict[str, Any]

SIDE = 400
ALONG = (0.5, 0.42, 0.58, 0.34, 0.66, 0.28, 0.72)


def graph_rows(e: Explanation, layout: Layout, names: dict[str, str]) -> Row | None:
    """What the template draws: box, edges (strongest last), nodes; None where there are not two regions to join."""
    # The graph shows the crop alone, scaled to one size, so that its numbers stay legible on any photo.
    k = SIDE / max(layout.crop[2] - layout.crop[0], layout.crop[3] - layout.crop[1])
    shapes = [replace(s, rings=[r * k for r in s.rings], at=(s.at[0] * k, s.at[1] * k)) for s in layout.shapes]
    at = {s.concept.id: s for s in shapes}
    if e.graph is None:
        return None
    unit = wording.unit_of(e)
    edges = [edge for edge in e.graph.edges if edge.source in at and edge.target in at]
    if not edges:  # one region plays by itself
        return None
    # Under half a point an edge is no more than the noise of the fills; the list below the picture has them all.
    least = 0.005 * wording.BAR_ENDS[unit]
    order = sorted(edges, key=lambda edge: -abs(edge.contribution))
    drawn = [_edge(edge, at, names, unit) for edge in order if abs(edge.contribution) >= least]
    _place_values(drawn[:3], [s.at for s in shapes])
    return {
        "edges": drawn[::-1],
        "small": len(edges) - len(drawn),
        "all": [_edge(edge, at, names, unit) for edge in order],
        "box": _graph_box(layout, k),
        "photo": {"w": round(layout.view[0] * k, 1), "h": round(layout.view[1] * k, 1)},
        "nodes": [_node(s, names, unit) for s in shapes],
        "fidelity": _fidelity(e.graph),
    }


def _graph_box(layout: Layout, k: float) -> str:
    """The part of the photo that the graph shows: the crop, where the regions are."""
    x0, y0, x1, y1 = (v * k for v in layout.crop)
    return f"{x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}"


def _edge(edge: EdgeRecord, at: dict[str, Shape], names: dict[str, str], unit: str) -> Row:
    (x1, y1), (x2, y2) = at[edge.source].at, at[edge.target].at
    return {
        "a": edge.source,
        "b": edge.target,
        "lights": f"{names[edge.source]} {names[edge.target]}",
        "side": ("for" if edge.contribution >= 0 else "against") + ("" if edge.confirmed else " unsure"),
        "note": "" if edge.confirmed else " (not confirmed)",
        "x1": round(x1, 1),
        "y1": round(y1, 1),
        "x2": round(x2, 1),
        "y2": round(y2, 1),
        "x": None,
        "y": None,
        "thick": f"{2 + 8 * min(1.0, abs(edge.contribution) / wording.BAR_ENDS[unit]):.1f}",
        "relation": wording.clean(edge.relation),
        "number": wording.points(edge.contribution, unit),
        "contrast": "" if edge.contrast is None else wording.points(edge.contrast, unit),
    }


def _place_values(edges: list[Row], taken: list[tuple[float, float]]) -> None:
    """Puts the value of each edge on the point of it that is farthest from all other numbers."""
    taken = list(taken)
    for edge in edges:
        ways = [(edge["x1"] + t * (edge["x2"] - edge["x1"]), edge["y1"] + t * (edge["y2"] - edge["y1"])) for t in ALONG]
        best = max(ways, key=lambda at: min(hypot(at[0] - x, at[1] - y) for x, y in taken))
        taken.append(best)
        edge["x"], edge["y"] = round(best[0], 1), round(best[1], 1)


def _node(s: Shape, names: dict[str, str], unit: str) -> Row:
    value = s.concept.contribution
    return {
        "id": s.concept.id,
        "light": names[s.concept.id],
        "x": round(s.at[0], 1),
        "y": round(s.at[1], 1),
        "r": f"{13 + 14 * min(1.0, abs(value) / wording.BAR_ENDS[unit]) ** 0.5:.1f}",
        "side": ("for" if value >= 0 else "against") + ("" if s.concept.confirmed else " unsure"),
        "path": svg_path(s.rings),
        "label": f"Region {s.concept.id}, {wording.points(value, unit)}",
    }


def _fidelity(graph: GraphRecord) -> str:
    return ", ".join(f"{wording.clean(key)} {value:.2f}" for key, value in graph.fidelity.items())
