"""How the other backgrounds are shown, from the record alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.canvas import MARGIN, SLOT, SOFT, paragraph
from saywhy.render.pages import Drawing, templates
from saywhy.surroundings.kinds import KINDS

TITLE = "Before other backgrounds"


def text(explanation: Explanation) -> str:
    """One line: what the class gets before each background, and why nothing is said where nothing is."""
    found = explanation.parts.get("surroundings")
    if not found:
        return ""
    if not found["kept"]:
        return f"{TITLE}: not tried, {wording.clean(found['why'])}."
    numbers = wording.listed([f"{row['name']} {row['before']}" for row in rows(explanation)])
    own = wording.percent(found["own"] * explanation.target.probability)
    line = f"{TITLE}, {wording.clean(explanation.target.class_name)} gets: {numbers}; before its own, blurred, {own}."
    return f"{line} Nothing is said: {wording.clean(found['why'])}." if found["why"] else line


def rows(explanation: Explanation) -> list[dict[str, str]]:
    """What each background gives the class, by itself and behind the object."""
    found, full = explanation.parts["surroundings"], explanation.target.probability
    return [
        {"name": wording.clean(name), "before": wording.percent(kept * full), "alone": wording.percent(alone)}
        for name, kept, alone in zip(found["names"], found["kept"], found["alone"], strict=True)
    ]


def panel(canvas: Image.Image, explanation: Explanation, y: int) -> int:
    """The line, below y."""
    line = text(explanation)
    return paragraph(canvas, (MARGIN, y + 10), line, 15, SLOT, SOFT) if line else y


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The pictures that the classifier was shown, and what it said of each."""
    e = drawing.explanation
    found: dict[str, Any] | None = e.parts.get("surroundings")
    if not found or not found["kept"]:
        return {}
    pictures = [f"data:image/jpeg;base64,{base64.b64encode(p).decode()}" for p in e.pictures.get("surroundings", ())]
    shown = rows(e)
    env = templates("explanation.css", Path(__file__).parent / "templates")
    content = {
        "title": TITLE,
        "name": wording.clean(e.target.class_name),
        "rows": [{**row, "src": pictures[i] if pictures else None} for i, row in enumerate(shown)],
        "exchanged": wording.percent(found["exchanged"]),
        "own": wording.percent(found["own"] * e.target.probability),
        "why": found["why"] and wording.clean(found["why"]),
    }
    return {"below": Markup(env.get_template("surroundings.html").render(content))}


SECTIONS = Sections(text=text, panel=panel, page=page, kinds=KINDS)
