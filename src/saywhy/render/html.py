"""The explanation as one self-contained page, and as a fragment for notebooks.

The page loads nothing and runs no script: sentences and regions light each other up by CSS alone, so that it works
from a file, in a notebook that strips scripts, and under the strictest content security policy.
All names come from outside and are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Effect, Explanation, Run, Span, Statement
from saywhy.render import palette, wording
from saywhy.render.graph_drawing import graph_rows
from saywhy.render.layout import LONG_SIDE, Layout, Shape, hidden, kept_alone, layout_of
from saywhy.render.outline import svg_path
from saywhy.render.pages import templates

Row = dict[str, Any]

HEAT_SIDE, BACKDROP_SIDE, CARD_SIDE = 96, 280, 260


def html(explanation: Explanation) -> bytes:
    """A whole page in UTF-8: no network, no script, readable on a phone, in the dark and on paper."""
    return templates("explanation.css").get_template("page.html").render(_content(explanation)).encode()


def fragment(explanation: Explanation) -> str:
    """The same content without the page around it, its style scoped to itself; for `_repr_html_`."""
    return templates("explanation.css").get_template("explanation.html").render(_content(explanation))


def _content(e: Explanation) -> Row:
    layout = layout_of(e)
    names = {c.id: f"r{i}" for i, c in enumerate(e.concepts, start=1)}
    title, rest = wording.title(e)
    unit = wording.unit_of(e)
    return {
        "uid": "sw" + hashlib.sha256(e.model_dump_json().encode()).hexdigest()[:8],
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
        "plain": [wording.clean(line) for line in e.text.splitlines()],
        "table": _table(e, names),
        "graph": graph_rows(e, layout, names),
        "cards": [_card(e, layout, shape, names, unit) for shape in layout.shapes],
        "unsaid": wording.not_said(e),
        "steps": wording.next_steps(e),
        "runs": [_run(r, names, unit) for r in e.runs],
        "cost": wording.cost_line(e),
        "fills": wording.listed(sorted({wording.clean(r.fill) for r in e.runs})),
        "layer": wording.layer_line(e.model),
    }


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
        "photo": _jpeg(layout.photo, LONG_SIDE) if layout.photo else None,
        "backdrop": _jpeg(layout.photo.convert("L"), BACKDROP_SIDE) if layout.photo else None,
        "crop": {"x": x0, "y": y0, "w": round(x1 - x0, 1), "h": round(y1 - y0, 1)},
        "cropped": layout.seen is not None,
        "veil": f"M0 0H{w}V{h}H0ZM{x0} {y0}H{x1}V{y1}H{x0}Z",
        "heat": _png(palette.heat(e.saliency, (HEAT_SIDE, HEAT_SIDE))) if drawn and e.saliency else None,
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
        "checked": _checked(s.effect) if s.verified else "not confirmed by a run",
        "measured": s.effect is not None and bool(e.runs),
    }


def _checked(effect: Effect | None) -> str:
    if effect is None:
        return "read from the model's output"
    runs = "1 run" if effect.runs == 1 else f"{effect.runs} runs"
    return f"{runs} with {wording.clean(effect.fill)}"


def _reached(effect: Effect, unit: str) -> str:
    low, high = wording.points(effect.low, unit), wording.points(effect.high, unit)
    name = "points" if unit == "probability" else unit
    return f"{low if low == high else f'{low} to {high}'} {name}, {_checked(effect)}"


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


def _table(e: Explanation, names: dict[str, str]) -> Row:
    unit = wording.unit_of(e)
    ranges = {c.id: (-c.effect.high, -c.effect.low) for c in e.concepts}
    low, high = wording.bar_limits(e)

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    def bar(value: float, span: tuple[float, float] | None) -> Row:
        a, b = sorted((place(0), place(value)))
        return {
            "side": "for" if value >= 0 else "against",
            "left": f"{a:.2f}",
            "width": f"{b - a:.2f}",
            "number": wording.points(value, unit),
            "range": span and {"left": f"{place(span[0]):.2f}", "width": f"{place(span[1]) - place(span[0]):.2f}"},
        }

    return {
        "unit": wording.unit_name(unit),
        "zero": f"{place(0):.2f}",
        "versus": wording.clean(e.versus.class_name) if e.versus else None,
        "how": wording.bars_are(len(e.concepts)),
        "sum": wording.game_sum(e),
        "rows": [
            {
                "id": c.id,
                "light": names[c.id],
                "label": wording.label_of(c),
                "bar": bar(c.contribution, ranges[c.id]),
                "contrast": None if c.contrast is None else bar(c.contrast, None),
                "range": wording.listed([wording.points(v, unit) for v in ranges[c.id]]).replace(" and ", " to "),
                "runs": c.effect.runs,
            }
            for c in e.concepts
        ],
    }


def _card(e: Explanation, layout: Layout, shape: Shape, names: dict[str, str], unit: str) -> Row:
    c = shape.concept
    own = [r for r in e.runs if r.regions == (c.id,)]
    acts = (("keep", "alone", kept_alone), ("hide", "hidden", hidden))
    shown = []
    for act, what, draw in acts:
        picture = draw(layout, shape, CARD_SIDE)
        mean = wording.mean_score([r for r in own if r.act == act])
        shown.append(
            {
                "what": what,
                "src": _jpeg(picture, CARD_SIDE) if picture else None,
                "score": None if mean is None else wording.score(mean, unit),
            }
        )
    return {
        "id": c.id,
        "light": names[c.id],
        "label": wording.label_of(c),
        "acts": shown,
        "effect": _reached(c.effect, unit),
        "look": ", ".join(wording.clean(word) for word in c.appearance),
        "runs": [_run(r, names, unit) for r in own],
    }


def _run(r: Run, names: dict[str, str], unit: str) -> Row:
    return {
        "id": r.id,
        "act": {"hide": "hidden", "keep": "kept alone"}[r.act],
        "regions": wording.listed(r.regions) or "none",
        "lights": " ".join(names[i] for i in r.regions if i in names),
        "fill": wording.clean(r.fill),
        "seed": r.seed,
        "score": f"{100 * r.score:.1f}\u00a0%" if unit == "probability" else f"{r.score:.2f}",
        "contrast": "" if r.contrast is None else wording.points(r.contrast, unit),
    }


def _jpeg(image: Image.Image, side: int) -> str:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _data(small, "JPEG", "image/jpeg", quality=86, optimize=True)


def _png(image: Image.Image) -> str:
    return _data(image, "PNG", "image/png", optimize=True)


def _data(image: Image.Image, kind: str, media_type: str, **how: Any) -> str:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return f"data:{media_type};base64,{base64.b64encode(out.getvalue()).decode()}"
