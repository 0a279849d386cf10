"""The explanation as one self-contained page, and as a fragment for notebooks.

The page loads nothing and runs no script: sentences and regions light each other up by CSS alone, so that it works
from a file, in a notebook that strips scripts, and under the strictest content security policy.
All names come from outside and are escaped by the template engine.
"""

from __future__ import annotations

import hashlib
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Explanation, Span, Statement
from saywhy.parts import PARTS
from saywhy.render import palette, wording
from saywhy.render.layout import LONG_SIDE, Layout, layout_of
from saywhy.render.outline import svg_path
from saywhy.render.pages import Drawing, checked, jpeg, png, run_row, templates

Row = dict[str, Any]

HEAT_SIDE = 96


def html(explanation: Explanation) -> bytes:
    """A whole page in UTF-8: no network, no script, readable on a phone, in the dark and on paper."""
    content = _content(explanation) | {"compact": False}
    return templates("explanation.css").get_template("page.html").render(content).encode()


def fragment(explanation: Explanation) -> str:
    """The same content without the page around it, its style scoped to itself; for `_repr_html_`.

    Photo and sentences are open, the rest is folded: a cell of a notebook is no page.
    """
    content = _content(explanation) | {"compact": True}
    return templates("explanation.css").get_template("explanation.html").render(content)


def _content(e: Explanation) -> Row:
    layout = layout_of(e)
    names = {c.id: f"r{i}" for i, c in enumerate(e.concepts, start=1)}
    title, rest = wording.title(e)
    uid = "sw" + hashlib.sha256(e.model_dump_json().encode()).hexdigest()[:8]
    return {
        "uid": uid,
        "e": e,
        "title": title,
        "probability": wording.percent(e.target.probability),
        "rest": rest,
        "file": wording.file_name(e),
        "model": wording.clean(e.model.name),
        "top": _top(e),
        "lights": list(names.values()),
        "picture": _picture(e, layout, names),
        "statements": [_statement(s, e, names) for s in e.statements],
        "plain": wording.told(e) if wording.rewritten(e) or not e.statements else [],
        "blocks": _blocks(Drawing(e, layout, names, uid)),
        "unsaid": wording.not_said(e),
        "steps": wording.next_steps(e),
        "runs": [run_row(r) for r in e.runs],
        "cost": wording.cost_line(e),
        "layer": wording.layer_line(e.model),
        "read_as": wording.read_as(e),
    }


def _blocks(drawing: Drawing) -> dict[str, Markup]:
    """What the parts show, by column, in the order of the table."""
    blocks = {"photo": Markup(), "words": Markup(), "below": Markup()}
    for part in PARTS.values():
        page = part.sections().page
        for column, block in page(drawing).items() if page else ():
            blocks[column] += block
    return blocks


def _top(e: Explanation) -> list[Row]:
    chosen = {e.target.class_index} | ({e.versus.class_index} if e.versus else set())
    return [
        {
            "name": wording.clean(row.class_name),
            "percent": wording.percent(row.probability),
            "width": f"{100 * min(1.0, max(0.0, row.probability)):.1f}",
            "chosen": row.class_index in chosen,
        }
        for row in e.prediction.top[:5]
    ]


def _picture(e: Explanation, layout: Layout, names: dict[str, str]) -> Row:
    w, h = layout.view
    x0, y0, x1, y1 = (round(v, 1) for v in layout.crop)
    unit = wording.unit_of(e)
    drawn = palette.is_drawn(e.saliency)
    return {
        "w": w,
        "h": h,
        "photo": jpeg(layout.photo, LONG_SIDE) if layout.photo else None,
        "crop": {"x": x0, "y": y0, "w": round(x1 - x0, 1), "h": round(y1 - y0, 1)},
        "cropped": layout.seen is not None,
        "veil": f"M0 0H{w}V{h}H0ZM{x0} {y0}H{x1}V{y1}H{x0}Z",
        "heat": png(palette.heat(e.saliency, (HEAT_SIDE, HEAT_SIDE))) if drawn and e.saliency else None,
        "method": wording.clean(e.saliency.method) if e.saliency else "",
        "shapes": [
            {
                "id": s.concept.id,
                "light": names[s.concept.id],
                "path": svg_path(s.rings),
                "x": round(s.at[0], 1),
                "y": round(s.at[1], 1),
                "label": f"Region {s.concept.id}, {wording.label_of(s.concept)}, "
                + wording.points(s.concept.contribution, unit),
            }
            for s in layout.shapes
        ],
    }


def _statement(s: Statement, e: Explanation, names: dict[str, str]) -> Row:
    return {
        "text": _marked(s, e),
        "lights": " ".join(names[i] for i in wording.regions_of(s.evidence, e)),
        "verified": s.verified,
        "checked": checked(s.effect) if s.verified else "not confirmed by a run",
        "measured": s.effect is not None and bool(e.runs),
    }


def _marked(s: Statement, e: Explanation) -> Markup:
    """The sentence, word for word, with the numbers of regions as badges and the two classes in bold."""
    text, at, parts = wording.letters(s.text), 0, []
    for span in s.spans:
        # Every piece is escaped by itself: a name from outside stays text, in a badge and between them.
        parts += [Markup.escape(text[at : span.start]), _tag(span, e).format(text[span.start : span.end])]
        at = span.end
    return Markup("").join([*parts, Markup.escape(text[at:])])


def _tag(span: Span, e: Explanation) -> Markup:
    if span.region is not None:
        return Markup('<span class="badge">{}</span>')
    chosen = [c.class_index for c in (e.target, e.versus) if c is not None]
    return Markup("<strong>{}</strong>") if span.class_index in chosen else Markup("{}")
