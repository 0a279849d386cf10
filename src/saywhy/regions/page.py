"""The regions on the page: which need each other, what each counts, each one hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from saywhy.explanation import Effect, Explanation
from saywhy.parts import Column
from saywhy.regions.graph_drawing import graph_rows
from saywhy.render import wording
from saywhy.render.layout import Layout, Shape, hidden
from saywhy.render.pages import Drawing, checked, elsewhere, jpeg, run_row, templates

Row = dict[str, Any]

BACKDROP_SIDE, CARD_SIDE = 280, 260


def page(drawing: Drawing) -> dict[Column, Markup]:
    """The graph below the photo, the bars below the sentences, the cards below both."""
    e, layout, names = drawing.explanation, drawing.layout, dict(drawing.lights)
    graph, table = graph_rows(e, layout, names), _table(e, names)
    cards = [_card(e, layout, shape, names) for shape in layout.shapes]
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


def _reached(effect: Effect) -> str:
    low, high = (wording.points(v, effect.unit) for v in (effect.low, effect.high))
    unlike = (
        f"; another sign with {wording.listed([wording.clean(f) for f in effect.disagree])}" if effect.disagree else ""
    )
    return f"{wording.measured(effect.change, effect.unit)} (between {low} and {high}), {checked(effect)}{unlike}"


def _table(e: Explanation, names: dict[str, str]) -> Row:
    unit = wording.unit_of(e)
    ranges = {c.id: (-c.effect.high, -c.effect.low) for c in e.concepts}
    limits = wording.bar_limits(e)

    def place(value: float) -> float:
        return 100 * wording.on_axis(value, limits)

    def bar(value: float, span: tuple[float, float] | None, known: bool) -> Row:
        a, b = sorted((place(0), place(value)))
        return {
            "side": ("for" if value >= 0 else "against") + ("" if known else " unsure"),
            "left": f"{a:.2f}",
            "width": f"{b - a:.2f}",
            "number": wording.points(value, unit),
            "range": span and {"left": f"{place(span[0]):.2f}", "width": f"{place(span[1]) - place(span[0]):.2f}"},
        }

    return {
        "unit": wording.unit_name(unit),
        "zero": f"{place(0):.2f}",
        "versus": wording.clean(e.versus.class_name) if e.versus else None,
        "how": wording.bars_are(e),
        "sum": wording.together(e),
        "rows": [
            {
                "id": c.id,
                "light": names[c.id],
                "confirmed": c.confirmed,
                "label": wording.label_of(c),
                "bar": bar(c.contribution, ranges[c.id], c.confirmed),
                "contrast": None if c.contrast is None else bar(c.contrast, None, c.confirmed),
                "range": wording.listed([wording.points(v, unit) for v in ranges[c.id]]).replace(" and ", " to "),
                "runs": c.effect.runs,
            }
            for c in e.concepts
        ],
    }


def _card(e: Explanation, layout: Layout, shape: Shape, names: dict[str, str]) -> Row:
    c = shape.concept
    own = [r for r in e.runs if r.regions == (c.id,)]
    picture, mean = hidden(layout, shape, CARD_SIDE), wording.mean_score([r for r in own if r.act == "hide"])
    return {
        "id": c.id,
        "light": names[c.id],
        "label": wording.label_of(c),
        "src": jpeg(picture, CARD_SIDE) if picture else None,
        "score": None if mean is None else wording.percent(mean),
        "confirmed": c.confirmed,
        "effect": _reached(c.effect),
        "look": ", ".join(wording.clean(word) for word in c.appearance),
        "named": wording.name_sure(c),
        "concept": None if c.concept is None else {"id": c.concept, "pictures": elsewhere(e, c.concept)},
        "runs": [run_row(r) for r in own],
    }
