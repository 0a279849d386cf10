"""How relations are shown, from the record alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.relations.kinds import KINDS, WORDS
from saywhy.render import wording
from saywhy.render.canvas import MARGIN, SLOT, SOFT, paragraph
from saywhy.render.pages import Drawing, templates

TITLE = "Relations"
ACTS = {"one": "moved {turned}", "both": "both moved as far", "elsewhere": "moved elsewhere"}


def text(explanation: Explanation) -> str:
    """What was tried, and of each relation what ending it and keeping it leaves of the class."""
    found = explanation.parts.get("relations")
    if not found:
        return ""
    if found["why"]:
        return f"{TITLE}: not tried, {wording.clean(found['why'])}."
    return "\n".join([f"{TITLE}: {asked(found)}", *(f"  {_line(explanation, row)}" for row in found["tried"])])


def asked(found: dict[str, Any]) -> str:
    """How much was looked at, and what it cost."""
    return (
        f"{found['looked_at']} pieces were looked at, {found['screened']} moves tried, {len(found['tried'])} relations "
        f"in five ways: {found['passes']} passes."
    )


def _line(explanation: Explanation, row: dict[str, Any]) -> str:
    words = WORDS[row["relation"]]
    told = wording.listed([f"{act['what']} {act['left']}" for act in _acts(explanation, row)])
    verdict = "confirmed" if row["confirmed"] else "not confirmed"
    return f"{row['moved']} {words.lies} {row['kept']}: {told} is left ({verdict})"


def _acts(explanation: Explanation, row: dict[str, Any]) -> list[dict[str, str]]:
    turned, p = WORDS[row["relation"]].turned, explanation.target.probability
    return [
        {"what": what.format(turned=turned), "left": wording.percent(min(1.0, max(0.0, p - row["lost"][name])))}
        for name, what in ACTS.items()
    ]


def panel(canvas: Image.Image, explanation: Explanation, y: int) -> int:
    """What was confirmed, below y; nothing where nothing was."""
    found = explanation.parts.get("relations") or {"tried": []}
    for row in found["tried"]:
        if row["confirmed"]:
            y = paragraph(canvas, (MARGIN, y + 10), f"Relation: {_line(explanation, row)}", 15, SLOT, SOFT)
    return y


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The relations that were tried; of those that hold the pictures with it ended and with both pieces moved."""
    e = drawing.explanation
    found: dict[str, Any] | None = e.parts.get("relations")
    if not found or not found["tried"]:
        return {}
    pictures = iter(f"data:image/jpeg;base64,{base64.b64encode(p).decode()}" for p in e.pictures.get("relations", ()))
    rows = []
    for row in found["tried"]:
        acts: list[dict[str, Any]] = [{**act, "src": None, "alt": ""} for act in _acts(e, row)]
        if row["confirmed"]:
            for act in acts[:2]:
                act |= {"src": next(pictures, None), "alt": f"{row['moved']} and {row['kept']}: {act['what']}"}
        rows.append({**row, "lies": WORDS[row["relation"]].lies, "acts": acts})
    env = templates("explanation.css", Path(__file__).parent / "templates")
    content = {"title": TITLE, "rows": rows, "asked": asked(found), "name": wording.clean(e.target.class_name)}
    return {"below": Markup(env.get_template("relations.html").render(content))}


SECTIONS = Sections(text=text, panel=panel, page=page, kinds=KINDS)
