"""How a substitution is shown, from the record alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.pages import Drawing, templates

Row = dict[str, Any]
TITLE = "Substitution"
# What was done, where {worst} is the worst piece and {wanted} the class that is asked about.
ACTS = {
    "exchanged": "{worst} replaced by what pictures of {wanted} have there",
    "deleted": "{worst} painted over",
    "random": "a random patch of the same size in its place",
    "elsewhere": "a random patch of the same size painted over instead",
    "good": "another piece, which speaks for {wanted}, replaced instead",
}
ERRORS = {
    "confused": "confused: that piece is like those of other classes, and with {wanted}'s own in its place the "
    "classifier says {wanted}",
    "false alarm": "false alarm: hardly any picture of either class has something there, and without that piece "
    "the classifier says {wanted}",
    "unseen": "unseen: that piece is like none in the pictures that were given, and with {wanted}'s own in its place "
    "the classifier says {wanted}",
}
# What can do it too, where a correction does it: then it need not be what was put there.
CONTROLS = {
    "deleted": "painting it over",
    "random": "a random patch in its place",
    "elsewhere": "painting over something else",
    "good": "exchanging another piece",
}
UNCLEAR = "not clear: no correction of one piece that fits a kind makes the classifier say {wanted}"


def text(explanation: Explanation) -> str:
    """What each trial gave, and what kind of error it is."""
    found: Row | None = explanation.parts.get("substitution")
    if not found:
        return ""
    if found["why"]:
        return f"{TITLE} for {_wanted(found)}: not tried, {found['why']}."
    lines = [f"{TITLE} for {_wanted(found)}: {headline(found)}", *(f"  {line(found, t)}" for t in found["trials"])]
    return "\n".join([*lines, f"  kind of error, if {_wanted(found)} is right: {kind(found)}"])


def _wanted(found: Row) -> str:
    return wording.clean(found["wanted"]["class_name"])


def worst(found: Row) -> str:
    """The worst piece: "beak 3 (top left)"."""
    own = found["worst"]
    place = f" ({own['place']})" if own["place"] else ""
    return f"{wording.clean(own['name'] or 'unnamed pattern')} {own['concept']}{place}"


def headline(found: Row) -> str:
    """Which piece is the worst, and how it was found."""
    return (
        f"of {found['looked_at']} pieces of concepts, correcting {worst(found)} raised {_wanted(found)} most; "
        f"{found['passes']} passes"
    )


def line(found: Row, t: Row) -> str:
    """One trial: what was done, how often the class was then said, and the probabilities before and after."""
    return f"{act(found, t)}: {outcome(found, t)}"


def act(found: Row, t: Row) -> str:
    """What was done."""
    same = " (by the pictures that led to it, there are no others)" if found["same_donors"] else ""
    return ACTS[t["what"]].format(worst=worst(found), wanted=_wanted(found)) + (
        same if t["what"] == "exchanged" else ""
    )


def outcome(found: Row, t: Row) -> str:
    """What the classifier then says: "says B in 3 of 3 ways (B 1 % to 87 %, A 95 % to 8 %)"."""
    times = sum(name == found["wanted"]["class_name"] for name in t["named"])
    moved = ", ".join(
        f"{wording.clean(found[c]['class_name'])} {wording.percent(found[c]['probability'])} to {wording.percent(t[c])}"
        for c in ("wanted", "said")
    )
    return f"{_wanted(found)} in {times} of {len(t['named'])} ways ({moved})"


def kind(found: Row) -> str:
    """What kind of error it is, with its reason, and which controls do the same."""
    if not found["error"]:
        return UNCLEAR.format(wanted=_wanted(found))
    own = "deleted" if found["error"] == "false alarm" else found["correction"]
    others = [CONTROLS[t["what"]] for t in found["trials"] if t["flips"] and t["what"] in CONTROLS and t["what"] != own]
    also = f"; {wording.listed(others)} {'make' if len(others) > 1 else 'makes'} it say so too" if others else ""
    return ERRORS[found["error"]].format(wanted=_wanted(found)) + also


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The picture as it is and with each thing done to it, and what the classifier said of it."""
    e = drawing.explanation
    found: Row | None = e.parts.get("substitution")
    if not found:
        return {}
    sources = [f"data:image/jpeg;base64,{base64.b64encode(p).decode()}" for p in e.pictures.get("substitution", ())]
    shown = iter(sources[1:])
    content = {
        "title": TITLE,
        "wanted": _wanted(found),
        "why": found["why"],
        "headline": "" if found["why"] else headline(found),
        "before": next(iter(sources), None),
        "said": wording.clean(found["said"]["class_name"]),
        "trials": [
            {"src": next(shown, None), "act": act(found, t), "outcome": outcome(found, t), "flips": t["flips"]}
            for t in found["trials"]
        ],
        "kind": "" if found["why"] else kind(found),
    }
    env = templates("explanation.css", Path(__file__).parent / "templates")
    return {"below": Markup(env.get_template("substitution.html").render(content))}


SECTIONS = Sections(text=text, page=page)
