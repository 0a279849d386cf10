"""How the concepts of a picture are shown, from the record alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.canvas import LONGEST_LINE, MARGIN, SOFT, WIDTH, paragraph, short
from saywhy.render.pages import Drawing, elsewhere, exemplars, templates

Row = dict[str, Any]

# On the panel: cards beside each other, cards at most, their width and that of an exemplar.
ACROSS, DRAWN = 4, 8
CARD, TILE = (WIDTH - 2 * MARGIN) // ACROSS, 88


def text(explanation: Explanation) -> str:
    """What of the target is there, where, and what taking it out costs; then what is absent."""
    found = explanation.parts.get("concepts")
    if not found or not found["hypotheses"]:
        return ""
    return "\n".join(_line(one, explanation) for one in found["hypotheses"][:2])


def _line(one: Row, e: Explanation) -> str:
    there = [f"{_where(c, e)} {wording.points(c['lost'], 'probability')}" for c in _ranked(one) if c["present"]]
    absent = [named(c) for c in one["concepts"] if not c["present"]]
    said = ["; ".join(there) or "none of them is here", *([f"absent: {', '.join(absent)}"] if absent else [])]
    return f"Concepts of {wording.clean(one['class_name'])}, and what taking each out costs: {'. '.join(said)}."


def _where(c: Row, e: Explanation) -> str:
    """A concept, where it is, and the regions that are of it: "headlight 3 (bottom right; region 1)"."""
    own = [region.id for region in e.concepts if region.concept == c["id"]]
    regions = [f"region{'s' if len(own) > 1 else ''} {wording.listed(own)}"] if own else []
    places = "; ".join([*([c["place"]] if c["place"] else []), *regions])
    return f"{named(c)} ({places})" if places else named(c)


def _ranked(one: Row) -> list[Row]:
    return sorted(one["concepts"], key=lambda c: -c["lost"])


def named(c: Row) -> str:
    """A concept by name and number: "headlight 3", or "unnamed pattern 3"."""
    return f"{wording.clean(c['name'] or 'unnamed pattern')} {c['id']}"


def below(canvas: Image.Image, e: Explanation, y: int) -> int:
    """The concepts of the target under the panel's columns, the most costly first: what each is called, what it costs,
    and what it looks like elsewhere."""
    found: Row | None = e.parts.get("concepts")
    if not found or not found["hypotheses"]:
        return y
    one = found["hypotheses"][0]
    name, there = short(one["class_name"]), [c for c in _ranked(one) if c["present"]]
    said = ", and what each looks like in other pictures" if any(exemplars(e, c["id"]) for c in there) else ""
    y = paragraph(canvas, (MARGIN, y + 28), f"Concepts of {name} in this picture{said}", 17, WIDTH - 2 * MARGIN, SOFT)
    for some in (there[i : i + ACROSS] for i in range(0, min(len(there), DRAWN), ACROSS)):
        y = max(_card(canvas, c, e, (MARGIN + n * CARD, y + 10)) for n, c in enumerate(some))
    return paragraph(canvas, (MARGIN, y + 8), _under(one, name, len(there)), 15, WIDTH - 2 * MARGIN, SOFT)


def _card(canvas: Image.Image, c: Row, e: Explanation, at: tuple[int, int]) -> int:
    x, y = at
    pictures = exemplars(e, c["id"])
    for n, jpeg in enumerate(pictures):
        tile = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
        canvas.paste(tile, (x + n * (TILE + 6), y))
    y = paragraph(canvas, (x, y + (TILE + 4 if pictures else 0)), short(_where(c, e), LONGEST_LINE), 15, CARD - 24)
    lost, usual = (wording.points(c[k], "probability") for k in ("lost", "usual"))
    return paragraph(canvas, (x, y), f"{lost} here, usually {usual}", 15, CARD - 24, SOFT)


def _under(one: Row, name: str, there: int) -> str:
    """What stands under the concepts: what the numbers are, what is not drawn, and what is absent."""
    if not there:
        said = "None of them is here."
    else:
        said = f"Points that {name} loses when the concept is taken out of the activations."
    more = f" {there - DRAWN} more are here." if there > DRAWN else ""
    absent = wording.listed([named(c) for c in one["concepts"] if not c["present"]])
    return f"{said}{more}{f' Absent here: {absent}.' if absent else ''}"


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The concepts of the target, with what each looks like elsewhere."""
    e = drawing.explanation
    found: Row | None = e.parts.get("concepts")
    if not found or not found["hypotheses"]:
        return {}
    one = found["hypotheses"][0]
    env = templates("explanation.css", Path(__file__).parent / "templates")
    content = {
        "name": wording.clean(one["class_name"]),
        "there": [
            {
                "called": _where(c, e),
                "lost": wording.points(c["lost"], "probability"),
                "usual": wording.points(c["usual"], "probability"),
                "pictures": elsewhere(e, c["id"]),
            }
            for c in _ranked(one)
            if c["present"]
        ],
        "absent": wording.listed([named(c) for c in one["concepts"] if not c["present"]]),
    }
    return {"below": Markup(env.get_template("concepts.html").render(content))}


SECTIONS = Sections(text=text, below=below, page=page)
