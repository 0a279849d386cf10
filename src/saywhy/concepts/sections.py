"""How the concepts of a picture are shown, from the record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.pages import Drawing, elsewhere, templates

Row = dict[str, Any]


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


SECTIONS = Sections(text=text, page=page)
