"""How the attributes of a picture are shown, from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image, ImageDraw

from saywhy.attributes.phrases import Attribute
from saywhy.attributes.sentencing import listed, quoted, sentence
from saywhy.explanation import Explanation
from saywhy.parts import Column, Sections
from saywhy.render import wording
from saywhy.render.canvas import INK, MARGIN, PAPER, SLOT, SOFT, paragraph
from saywhy.render.layout import layout_of
from saywhy.render.pages import Drawing, jpeg, templates

Row = dict[str, Any]
TITLE = "Attributes"
IDLE = {"image": "There", "class": "Usual for the class"}  # how the attributes of a level are told that do not count
OF = {"image": "this picture", "class": "its class"}
BASIS = {"effect": "what it does in many pictures", "mark": "commoner in this class than in others"}
SHOWN, LEAST = 104, 0.3  # the side of a picture of a place, in pixels; how much of the photo it is of at least


def text(explanation: Explanation) -> str:
    """The sentence, what was measured for each attribute, what is there and not used, and the card."""
    found: Row | None = explanation.parts.get("attributes")
    if not found:
        return ""
    lines = [f"{TITLE}: {said(explanation, found)}"]
    lines += [f"  {_line(row)}" for row in found["attributes"] if row["used"]]
    for level, begins in IDLE.items():
        idle = [_attribute(r) for r in found["attributes"] if not r["used"] and r["level"] == level]
        lines += [f"  {begins}, but not shown to be used here: {wording.clean(listed(idle))}."] if idle else []
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
    if found["attributes"] and not (said_of or usual):
        return wording.clean(f"No attribute was shown to be a reason for {quoted(e.target.class_name)} here.")
    return wording.clean(sentence(e.target.class_name, said_of, against, usual))


def _attribute(row: Row) -> Attribute:
    return Attribute(row["noun"], row["adjective"])


def _line(row: Row) -> str:
    place = f", {row['place']}" if row["place"] else ""
    costs = wording.measured(-row["hidden"], row["unit"])
    return (
        f"{wording.clean(str(_attribute(row)))}{place} (told of {OF[row['level']]}, {wording.percent(row['presence'])} "
        f"sure): hiding it {costs} (as much elsewhere "
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
    """The sentence, below y, and where its attributes are; nothing where no attribute is said."""
    found: Row | None = explanation.parts.get("attributes")
    used = [row for row in found["attributes"] if row["used"]] if found else []
    if not found or not used:
        return y
    y = paragraph(canvas, (MARGIN, y + 10), f"{TITLE}: {said(explanation, found)}", 15, SLOT, SOFT) + 8
    below = y
    for n, row in enumerate(used):
        left = MARGIN + n * (SHOWN + 14)
        if (place := place_of(explanation, row)) is not None and left + SHOWN <= MARGIN + SLOT:
            canvas.paste(place, (left, y))
            name = wording.clean(str(_attribute(row)))
            below = max(below, paragraph(canvas, (left, y + place.height + 4), name, 13, SHOWN + 8, SOFT))
    return below


def place_of(e: Explanation, row: Row) -> Image.Image | None:
    """The place of an attribute in the photo, framed, with what is around it; None where it has none or the record no
    photo."""
    photo = layout_of(e).photo
    if photo is None or row["box"] is None:
        return None
    scale = photo.width / e.image.width
    x0, y0, x1, y1 = (v * scale for v in row["box"])
    reach = max(x1 - x0, y1 - y0, LEAST * max(photo.size)) * 0.75
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = round(max(x - reach, 0)), round(max(y - reach, 0))
    cut = photo.crop((left, top, round(min(x + reach, photo.width)), round(min(y + reach, photo.height))))
    larger = SHOWN / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * larger)), max(1, round(cut.height * larger))), Image.Resampling.LANCZOS)
    frame = ((x0 - left) * larger, (y0 - top) * larger, (x1 - left) * larger, (y1 - top) * larger)
    draw = ImageDraw.Draw(cut)
    draw.rectangle(frame, outline=INK, width=4)
    draw.rectangle(frame, outline=PAPER, width=2)
    return cut


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The sentence, a table of what was measured with where each attribute is, and the card."""
    e = drawing.explanation
    found: Row | None = e.parts.get("attributes")
    if not found:
        return {}
    rows = [_page_row(e, row) for row in found["attributes"]]
    env = templates("explanation.css", Path(__file__).parent / "templates")
    content = {"title": TITLE, "sentence": said(e, found), "rows": rows, "card": card(e, found)}
    return {"below": Markup(env.get_template("attributes.html").render(content))}


def _page_row(e: Explanation, row: Row) -> Row:
    place = place_of(e, row)
    return {
        "name": wording.clean(str(_attribute(row))),
        "src": "" if place is None else jpeg(place, SHOWN),
        "place": row["place"] or "",
        "of": OF[row["level"]],
        "basis": BASIS[row["basis"]],
        "sure": wording.percent(row["presence"]),
        "borne": "{} to {}".format(*(wording.percent(v) for v in row["borne_out"][1:])),
        "used": row["used"],
        **{k: wording.points(-row[k], row["unit"]) for k in ("hidden", "elsewhere", "silenced", "others")},
    }


SECTIONS = Sections(text=text, panel=panel, page=page)
