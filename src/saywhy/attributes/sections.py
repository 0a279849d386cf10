"""How the attributes of a picture are shown, from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.attributes.phrases import Attribute
from saywhy.attributes.sentencing import listed, sentence
from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.canvas import MARGIN, SLOT, SOFT, paragraph
from saywhy.render.pages import Drawing, templates

Row = dict[str, Any]
TITLE = "Attributes"


def text(explanation: Explanation) -> str:
    """The sentence, what was measured for each attribute, what is there and not used, and the card."""
    found: Row | None = explanation.parts.get("attributes")
    if not found:
        return ""
    lines = [f"{TITLE}: {said(explanation, found)}"]
    lines += [f"  {_line(row)}" for row in found["attributes"] if row["used"]]
    idle = [_attribute(row) for row in found["attributes"] if not row["used"]]
    lines += [f"  There, but not shown to be used here: {wording.clean(listed(idle))}."] if idle else []
    return "\n".join([*lines, *(f"  {line}" for line in card(explanation, found))])


def said(e: Explanation, found: Row) -> str:
    """The sentence of those that are used: of this picture, against the class, and known of the class alone."""
    used = [row for row in found["attributes"] if row["used"]]
    fors = [row for row in used if row["effect"] > 0]
    parts = [
        [row for row in fors if row["level"] == "image"],
        [row for row in used if row["effect"] < 0],
        [row for row in fors if row["level"] == "class"],
    ]
    said_of, against, usual = ([_attribute(row) for row in rows] for rows in parts)
    return wording.clean(sentence(e.target.class_name, said_of, against, usual))


def _attribute(row: Row) -> Attribute:
    return Attribute(row["noun"], row["adjective"])


def _line(row: Row) -> str:
    place = f", {row['place']}" if row["place"] else ""
    costs = wording.measured(-row["hidden"], row["unit"])
    return (
        f"{wording.clean(str(_attribute(row)))}{place}: hiding it {costs} (as much elsewhere "
        f"{wording.points(-row['elsewhere'], row['unit'])}), silencing its filters "
        f"{wording.points(-row['silenced'], row['unit'])} (others {wording.points(-row['others'], row['unit'])})"
    )


def card(e: Explanation, found: Row) -> list[str]:
    """How to tell the target from what it is compared with; nothing where nothing does."""
    apart: dict[str, Sequence[Sequence[str]]] | None = found["told_apart"]
    if apart is None or e.versus is None:
        return []
    words = {name: listed([Attribute(noun, adjective) for adjective, noun in rows]) for name, rows in apart.items()}
    names = {"target": e.target.class_name, "versus": e.versus.class_name}
    has = [f"{wording.clean(names[k])} has {wording.clean(words[k])}" for k in names if words[k]]
    if not has:
        return []
    both = f" Both have {wording.clean(words['shared'])}." if words["shared"] else ""
    first, second = (wording.clean(name) for name in names.values())
    return [f"How to tell {first} from {second}: {'; '.join(has)}.{both}"]


def panel(canvas: Image.Image, explanation: Explanation, y: int) -> int:
    """The sentence, below y; nothing where no attribute is said."""
    found: Row | None = explanation.parts.get("attributes")
    if not found or not any(row["used"] for row in found["attributes"]):
        return y
    return paragraph(canvas, (MARGIN, y + 10), f"{TITLE}: {said(explanation, found)}", 15, SLOT, SOFT)


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The sentence, a table of what was measured, and the card."""
    e = drawing.explanation
    found: Row | None = e.parts.get("attributes")
    if not found:
        return {}
    rows = [
        {
            "name": wording.clean(str(_attribute(row))),
            "place": row["place"] or "",
            "of": "this picture" if row["level"] == "image" else "its class",
            "sure": wording.percent(row["presence"]),
            "used": row["used"],
            **{k: wording.points(-row[k], row["unit"]) for k in ("hidden", "elsewhere", "silenced", "others")},
        }
        for row in found["attributes"]
    ]
    env = templates("explanation.css", Path(__file__).parent / "templates")
    content = {"title": TITLE, "sentence": said(e, found), "rows": rows, "card": card(e, found)}
    return {"below": Markup(env.get_template("attributes.html").render(content))}


SECTIONS = Sections(text=text, panel=panel, page=page)
