"""How the phrases of a picture are shown, from the record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.pages import Drawing, templates

Row = dict[str, Any]
OWN = "a text space that is made of the classifier's own features, and so no witness beside it"


def text(explanation: Explanation) -> str:
    """What counts for the target and how much, where each is; then what is there and counts for nothing, or absent."""
    found: Row | None = explanation.parts.get("branch")
    if not found:
        return ""
    name = wording.clean(explanation.target.class_name)
    there = [row for row in found["phrases"] if row["present"]]
    counting = [f"{called(r)} {points(r['target'])}" for r in ranked(found) if r["present"] and r["target"]["counts"]]
    idle = [called(r) for r in there if not r["target"]["counts"]]
    absent = [wording.clean(r["phrase"]) for r in found["phrases"] if not r["present"]]
    said = ["; ".join(counting) or "none of them counts"]
    said += [f"Seen, but it counts for nothing here: {', '.join(idle)}"] if idle else []
    said += [f"Not seen: {', '.join(absent)}"] if absent else []
    return f"Phrases ({source(found)}), and what each contributes to {name}: {'. '.join(said)}."


def source(found: Row) -> str:
    """Whose words they are."""
    return OWN if found["own_features"] else f"text space {wording.clean(found['space'])}"


def ranked(found: Row) -> list[Row]:
    """The phrases, those that contribute most first."""
    return sorted(found["phrases"], key=lambda r: (-abs(r["target"]["contribution"]), -r["probability"]))


def called(row: Row) -> str:
    """A phrase and where it is: "red breast (centre)"."""
    phrase = wording.clean(row["phrase"])
    return f"{phrase} ({row['place']})" if row["place"] else phrase


def points(effect: Row | None) -> str:
    """A contribution in points; of what does not count, 0."""
    return "" if effect is None else wording.points(effect["contribution"], "probability")


def page(drawing: Drawing) -> dict[Column, Markup]:
    """A table: each phrase, how sure it is, where, and what it contributes to both classes."""
    e = drawing.explanation
    found: Row | None = e.parts.get("branch")
    if not found:
        return {}
    content = {
        "name": wording.clean(e.target.class_name),
        "versus": None if e.versus is None else wording.clean(e.versus.class_name),
        "source": source(found),
        "rows": [
            {
                "phrase": wording.clean(r["phrase"]),
                "place": r["place"] or "",
                "sure": wording.percent(r["probability"]),
                "target": points(r["target"]),
                "versus": points(r["versus"]),
                "hidden": wording.points(r["target"]["hidden"], "probability"),
                "removed": wording.points(r["target"]["removed"], "probability"),
                "channels": wording.points(r["target"]["channels"], "probability"),
                "layer": wording.clean(r["layer"]),
                "counts": r["target"]["counts"],
            }
            for r in ranked(found)
        ],
    }
    env = templates("explanation.css", Path(__file__).parent / "templates")
    return {"below": Markup(env.get_template("phrases.html").render(content))}


SECTIONS = Sections(text=text, page=page)
