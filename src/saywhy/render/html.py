"""The explanation as one self-contained page, and as a fragment for notebooks.

The page loads nothing and runs no script: sentences and regions light each other up by CSS alone, so that it works
from a file, in a notebook that strips scripts, and under the strictest content security policy.
All names come from outside and are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Effect, Explanation, Run, Statement
from saywhy.render import colours, words
from saywhy.render.graph import graph_rows
from saywhy.render.outline import svg_path
from saywhy.render.pages import templates
from saywhy.render.scene import LONG_SIDE, Scene, Shape, hidden, kept_alone, scene_of

Row = dict[str, Any]

HEAT_SIDE, BACKDROP_SIDE, CARD_SIDE = 96, 280, 260
MENTION = r"\b(?:[Rr]egion|[Cc]oncept|[Pp]attern)s?\s+\w+(?:(?:,\s*(?:and\s+)?|\s+and\s+|\s+or\s+)\d+)*"


def html(explanation: Explanation) -> bytes:
    """A whole page in UTF-8: no network, no script, readable on a phone, in the dark and on paper."""
    return templates("explanation.css").get_template("page.html").render(_content(explanation)).encode()


def fragment(explanation: Explanation) -> str:
    """The same content without the page around it, its style scoped to itself; for `_repr_html_`."""
    return templates("explanation.css").get_template("explanation.html").render(_content(explanation))


def _content(e: Explanation) -> Row:
    scene = scene_of(e)
    names = {c.id: f"r{i}" for i, c in enumerate(e.concepts, start=1)}
    title, rest = words.title(e)
    unit = words.unit_of(e)
    return {
        "uid": "sw" + hashlib.sha256(e.model_dump_json().encode()).hexdigest()[:8],
        "e": e,
        "title": title,
        "probability": words.percent(e.target.probability),
        "rest": rest,
        "file": words.file_name(e),
        "model": words.clean(e.model.name),
        "top": _top(e),
        "lights": list(names.values()),
        "scene": _picture(e, scene, names),
        "statements": [_statement(s, e, names) for s in e.statements],
        "plain": [words.clean(line) for line in e.text.splitlines()],
        "table": _table(e, names),
        "graph": graph_rows(e, scene, names),
        "cards": [_card(e, scene, shape, names, unit) for shape in scene.shapes],
        "unsaid": words.not_said(e),
        "steps": words.next_steps(e),
        "runs": [_run(r, names, unit) for r in e.runs],
        "cost": words.cost_line(e),
        "fills": words.listed(sorted({words.clean(r.fill) for r in e.runs})),
        "layer": words.layer_line(e.model),
    }


def _top(e: Explanation) -> list[Row]:
    chosen = {e.target.class_index} | ({e.versus.class_index} if e.versus else set())
    return [
        {
            "name": words.clean(row.class_name),
            "percent": words.percent(row.probability),
            "width": f"{100 * min(1.0, max(0.0, row.probability)):.1f}",
            "chosen": row.class_index in chosen,
        }
        for row in e.prediction.top[:5]
    ]


def _picture(e: Explanation, scene: Scene, names: dict[str, str]) -> Row:
    w, h = scene.view
    x0, y0, x1, y1 = (round(v, 1) for v in scene.crop)
    unit = words.unit_of(e)
    drawn = colours.is_drawn(e.saliency)
    return {
        "w": w,
        "h": h,
        "photo": _jpeg(scene.photo, LONG_SIDE) if scene.photo else None,
        "backdrop": _jpeg(scene.photo.convert("L"), BACKDROP_SIDE) if scene.photo else None,
        "crop": {"x": x0, "y": y0, "w": round(x1 - x0, 1), "h": round(y1 - y0, 1)},
        "cropped": scene.seen is not None,
        "veil": f"M0 0H{w}V{h}H0ZM{x0} {y0}H{x1}V{y1}H{x0}Z",
        "heat": _png(colours.heat(e.saliency, (HEAT_SIDE, HEAT_SIDE))) if drawn and e.saliency else None,
        "method": words.clean(e.saliency.method) if e.saliency else "",
        "shapes": [
            {
                "id": s.concept.id,
                "light": names[s.concept.id],
                "path": svg_path(s.rings),
                "x": round(s.at[0], 1),
                "y": round(s.at[1], 1),
                "label": f"Region {s.concept.id}, {words.label_of(s.concept, e)}, "
                + words.points(s.concept.contribution, unit),
            }
            for s in scene.shapes
        ],
    }


def _statement(s: Statement, e: Explanation, names: dict[str, str]) -> Row:
    lit = words.evidence_ids(s.evidence, list(names))
    return {
        "text": _marked(words.clean(s.text), e, list(names)),
        "lights": " ".join(names[i] for i in lit),
        "verified": s.verified,
        "checked": _checked(s.effect) if s.verified else "not confirmed by a run",
        "measured": s.effect is not None and bool(e.runs),
    }


def _checked(effect: Effect | None) -> str:
    if effect is None:
        return "read from the model's output"
    runs = "1 run" if effect.runs == 1 else f"{effect.runs} runs"
    return f"{runs} with {words.clean(effect.fill)}"


def _reached(effect: Effect, unit: str) -> str:
    low, high = words.points(effect.low, unit), words.points(effect.high, unit)
    name = "points" if unit == "probability" else unit
    return f"{low if low == high else f'{low} to {high}'} {name}, {_checked(effect)}"


def _marked(text: str, e: Explanation, ids: Sequence[str]) -> Markup:
    """The sentence, word for word, with the numbers of regions as badges and the two classes in bold."""
    classes = [words.clean(c.class_name) for c in (e.target, e.versus) if c is not None]
    bold = "|".join(rf"(?<!\w){re.escape(c)}(?!\w)" for c in sorted(classes, key=len, reverse=True) if len(c) > 2)
    parts, at = [], 0
    for match in re.finditer(f"(?P<region>{MENTION})" + (f"|(?P<name>{bold})" if bold else ""), text):
        parts.append(Markup.escape(text[at : match.start()]))
        at = match.end()
        if match["region"]:
            parts.append(_badged(match[0], ids))
        else:
            parts.append(Markup("<strong>{}</strong>").format(match[0]))
    return Markup("").join([*parts, Markup.escape(text[at:])])


def _badged(mention: str, ids: Sequence[str]) -> Markup:
    pieces = re.split(r"(\w+)", mention)
    return Markup("").join(
        Markup('<span class="badge">{}</span>').format(p) if p in ids else Markup.escape(p) for p in pieces
    )


def _table(e: Explanation, names: dict[str, str]) -> Row:
    unit = words.unit_of(e)
    ranges = {c.id: (-c.effect.high, -c.effect.low) for c in e.concepts}
    low, high = words.bar_limits(e)

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    def bar(value: float, span: tuple[float, float] | None) -> Row:
        a, b = sorted((place(0), place(value)))
        return {
            "side": "for" if value >= 0 else "against",
            "left": f"{a:.2f}",
            "width": f"{b - a:.2f}",
            "number": words.points(value, unit),
            "range": span and {"left": f"{place(span[0]):.2f}", "width": f"{place(span[1]) - place(span[0]):.2f}"},
        }

    return {
        "unit": words.unit_name(unit),
        "zero": f"{place(0):.2f}",
        "versus": words.clean(e.versus.class_name) if e.versus else None,
        "how": words.bars_are(len(e.concepts)),
        "sum": words.game_sum(e),
        "rows": [
            {
                "id": c.id,
                "light": names[c.id],
                "label": words.label_of(c, e),
                "bar": bar(c.contribution, ranges[c.id]),
                "contrast": None if c.contrast is None else bar(c.contrast, None),
                "range": words.listed([words.points(v, unit) for v in ranges[c.id]]).replace(" and ", " to "),
                "runs": c.effect.runs,
            }
            for c in e.concepts
        ],
    }


def _card(e: Explanation, scene: Scene, shape: Shape, names: dict[str, str], unit: str) -> Row:
    c = shape.concept
    own = [r for r in e.runs if r.regions == (c.id,)]
    acts = (("keep", "alone", kept_alone), ("hide", "hidden", hidden))
    shown = []
    for act, what, draw in acts:
        picture = draw(scene, shape, CARD_SIDE)
        mean = words.mean_score([r for r in own if r.act == act])
        shown.append(
            {
                "what": what,
                "src": _jpeg(picture, CARD_SIDE) if picture else None,
                "score": None if mean is None else words.score(mean, unit),
            }
        )
    return {
        "id": c.id,
        "light": names[c.id],
        "label": words.label_of(c, e),
        "acts": shown,
        "effect": _reached(c.effect, unit),
        "look": ", ".join(words.clean(word) for word in c.appearance),
        "runs": [_run(r, names, unit) for r in own],
    }


def _run(r: Run, names: dict[str, str], unit: str) -> Row:
    return {
        "id": r.id,
        "act": {"hide": "hidden", "keep": "kept alone"}[r.act],
        "regions": words.listed(r.regions) or "none",
        "lights": " ".join(names[i] for i in r.regions if i in names),
        "fill": words.clean(r.fill),
        "seed": r.seed,
        "score": f"{100 * r.score:.1f}\u00a0%" if unit == "probability" else f"{r.score:.2f}",
        "contrast": "" if r.contrast is None else words.points(r.contrast, unit),
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
