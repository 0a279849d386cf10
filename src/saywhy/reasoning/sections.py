"""How the graphs of a picture are shown, from the record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.pages import Drawing, jpeg, templates

Row = dict[str, Any]
SIDE, LEAST = 360, 0.005  # pixels of a drawing; half a point: less is not told


def text(explanation: Explanation) -> str:
    """What each concept and relation of the target's graph contributes to the student, and how faithful that is."""
    found: Row | None = explanation.parts.get("graph")
    if not found:
        return ""
    one = found["hypotheses"][0]
    name = wording.clean(one["class_name"])
    if not found["faithful"]:
        return f"Graph of {name}: {_trust(found)}."
    nodes = [f"{called(n)} {points(n['contribution'])}" for n in ranked(one["nodes"])]
    edges = [f"{related(e, one)} {points(e['contribution'])}" for e in ranked(one["edges"])[:3]]
    absent = [named(n) for n in one["nodes"] if not n["present"]]
    said = [f"measured, {'; '.join(nodes)}" if nodes else "nothing in it counts"]
    said += [f"Relations, by the student: {'; '.join(edges)}"] if edges else []
    said += [f"Absent: {', '.join(absent)}"] if absent else []
    return f"Graph of {name}, by {_trust(found)}: {'. '.join(said)}."


def _trust(found: Row) -> str:
    if found["error"] is None:
        return "too few of its concepts are here to try the student by, and its graph is not told"
    off = f"{_some(100 * found['error'], 'point')} off in {_some(found['judged_by'], 'edit')} that it was not told of"
    if found["faithful"]:
        return f"a student that decides as the classifier does here ({off})"
    return f"the student is not faithful here ({off}) and its graph is not told; the classifier itself was measured"


def _some(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if f'{count:.0f}' == '1' else 's'}"


def named(node: Row) -> str:
    """A concept by name and number: "headlight 3", or "unnamed pattern 3"."""
    return f"{wording.clean(node['name'] or 'unnamed pattern')} {node['concept']}"


def called(node: Row) -> str:
    """A concept and where it is."""
    return f"{named(node)} ({node['place']})" if node["place"] else named(node)


def related(edge: Row, one: Row) -> str:
    """A relation in words: "crest 3 above eye 5"."""
    of = {n["concept"]: n for n in one["nodes"]}
    return f"{named(of[edge['source']])} {wording.clean(edge['relation'])} {named(of[edge['target']])}"


def points(value: float) -> str:
    """A contribution in points."""
    return wording.points(value, "probability")


def ranked(rows: list[Row]) -> list[Row]:
    """What contributes half a point or more, most first."""
    return sorted((r for r in rows if abs(r["contribution"]) >= LEAST), key=lambda r: -abs(r["contribution"]))


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The graphs of the target and of the class that it is compared with, on the photo, side by side."""
    e = drawing.explanation
    found: Row | None = e.parts.get("graph")
    if not found:
        return {}
    shown = found["hypotheses"] if found["faithful"] else []
    asked = [e.target.class_index, *([] if e.versus is None else [e.versus.class_index])]
    photo = drawing.layout.photo
    content = {
        "uid": drawing.uid,
        "trust": _trust(found),
        "held_out": found["held_out"],
        "backdrop": jpeg(photo.convert("L"), SIDE) if photo else None,
        "graphs": [_graph(one, e) for one in shown if one["class_index"] in asked],
    }
    env = templates("explanation.css", Path(__file__).parent / "templates")
    return {"below": Markup(env.get_template("concept_graph.html").render(content))}


def _graph(one: Row, e: Explanation) -> Row:
    k = SIDE / max(e.image.width, e.image.height)
    at = {n["concept"]: _middle(n["box"], k) for n in one["nodes"] if n["box"]}
    lines = [x for x in ranked(one["edges"]) if x["source"] in at and x["target"] in at]
    return {
        "name": wording.clean(one["class_name"]),
        "said": wording.percent(one["probability"]),
        "width": round(e.image.width * k, 1),
        "height": round(e.image.height * k, 1),
        "edges": [_line(x, one, at) for x in lines][::-1],
        "nodes": [_dot(n, at[n["concept"]]) for n in one["nodes"] if n["concept"] in at],
        "absent": wording.listed([named(n) for n in one["nodes"] if not n["present"]]),
    }


def _middle(box: list[int], k: float) -> tuple[float, float]:
    return (box[0] + box[2]) / 2 * k, (box[1] + box[3]) / 2 * k


def _dot(n: Row, at: tuple[float, float]) -> Row:
    return {
        "id": n["concept"],
        "x": f"{at[0]:.1f}",
        "y": f"{at[1]:.1f}",
        "r": f"{15 + 10 * min(1.0, abs(n['contribution'])) ** 0.5:.1f}",
        "side": _side(n["contribution"]),
        "label": called(n),
        "number": points(n["contribution"]),
        "contrast": "" if n["contrast"] is None else points(n["contrast"]),
        "by": "the student" if n["measured"] is None else "measured",
        "importance": "" if n["importance"] is None else f"{n['importance']:.2f}",
    }


def _line(x: Row, one: Row, at: dict[str, tuple[float, float]]) -> Row:
    (x1, y1), (x2, y2) = at[x["source"]], at[x["target"]]
    return {
        "x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}",
        "thick": f"{1.5 + 9 * min(1.0, abs(x['contribution'])) ** 0.5:.1f}",
        "side": _side(x["contribution"]),
        "label": related(x, one),
        "number": points(x["contribution"]),
        "contrast": "" if x["contrast"] is None else points(x["contrast"]),
    }  # fmt: skip


def _side(value: float) -> str:
    return "for" if value >= 0 else "against"


SECTIONS = Sections(text=text, page=page)
