"""The regions on the page: which need each other, what each counts, each one alone and hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Effect, Explanation
from saywhy.parts import Column
from saywhy.regions.graph_drawing import graph_rows
from saywhy.render import wording
from saywhy.render.layout import Layout, Shape, hidden, kept_alone
from saywhy.render.pages import Drawing, checked, jpeg, run_row, templates

Row = dict[str, Any]

BACKDROP_SIDE, CARD_SIDE = 280, 260


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The graph below the photo, the bars below the sentences, the cards below both."""
    e, layout, names = drawing.explanation, drawing.layout, dict(drawing.lights)
    unit = wording.unit_of(e)
    graph, table = graph_rows(e, layout, names), _table(e, names)
    cards = [_card(e, layout, shape, names, unit) for shape in layout.shapes]
    shared = {"uid": drawing.uid, "title": wording.title(e)[0], "table": table, "runs": e.runs, "photo": layout.photo}
    backdrop = jpeg(layout.photo.convert("L"), BACKDROP_SIDE) if layout.photo else None
    fills = wording.listed(sorted({wording.clean(r.fill) for r in e.runs}))
    blocks: dict[Column, Markup] = {}
    if graph:
        blocks["photo"] = _filled("region_graph.html", graph=graph, backdrop=backdrop, **shared)
    if table["rows"]:
        blocks["words"] = _filled("region_numbers.html", **shared)
    if cards:
        blocks["below"] = _filled("region_cards.html", cards=cards, fills=fills, **shared)
    return blocks


def _filled(template: str, **content: Any) -> Markup:
    env = templates("explanation.css", Path(__file__).parent / "templates")
    return Markup(env.get_template(template).render(content))


def _reached(effect: Effect, unit: str) -> str:
    low, high = wording.points(effect.low, unit), wording.points(effect.high, unit)
    name = "points" if unit == "probability" else unit
    return f"{low if low == high else f'{low} to {high}'} {name}, {checked(effect)}"


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
                "src": jpeg(picture, CARD_SIDE) if picture else None,
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
        "runs": [run_row(r, names, unit) for r in own],
    }
