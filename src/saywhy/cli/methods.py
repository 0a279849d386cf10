"""`saywhy methods`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from saywhy.evaluate import Column


def methods(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List every table: models, saliency methods, metrics, those of birds, concepts, text spaces, fills, renderers."""
    tables = _tables()
    if as_json:
        print(json.dumps(tables, ensure_ascii=False, indent=1))
        return
    console = Console()
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(row["name"], row["summary"])
        console.print(table)
        console.print()


def _tables() -> dict[str, list[dict[str, Any]]]:
    from saywhy.concepts.discovery import DISCOVERY
    from saywhy.concepts.extraction import EXTRACTION
    from saywhy.evaluate import BIRD_COLUMNS, SENTENCE_COLUMNS
    from saywhy.intervene import FILLS
    from saywhy.metrics import METRICS
    from saywhy.render import RENDERERS
    from saywhy.saliency import METHODS
    from saywhy.spaces import TEXT_SPACES
    from saywhy.writing import STYLES, WRITERS
    from saywhy.zoo import LOADERS

    saliency = [
        {"name": n, "summary": m.summary, "source": m.source, "needs": m.needs, "passes": m.passes,
         "cost": m.cost, "approximate": m.approximate, "options": {k: repr(v) for k, v in m.options.items()}}
        for n, m in METHODS.items()
    ]  # fmt: skip
    metrics = [
        {"name": n, "summary": m.summary, "source": m.source, "kind": m.kind, "higher_is_better": m.higher_is_better,
         "passes": m.passes,
         "conventions": dict(m.conventions)}
        for n, m in METRICS.items()
    ]  # fmt: skip
    return {
        "models": [{"name": row.form, "summary": row.what, "extra": getattr(row, "extra", "")} for row in LOADERS],
        "saliency": saliency,
        "metrics": metrics,
        "metrics of maps on birds": _columns(BIRD_COLUMNS),
        "metrics of sentences on birds": _columns(SENTENCE_COLUMNS),
        "where concepts are looked for": [{"name": n, "summary": row.summary} for n, row in EXTRACTION.items()],
        "how concepts are found": [{"name": n, "summary": row.summary} for n, row in DISCOVERY.items()],
        "text spaces": [{"name": n, "summary": row.summary} for n, row in TEXT_SPACES.items()],
        "writers": [{"name": n, "summary": row.summary} for n, row in WRITERS.items()],
        "styles of texts": [{"name": n, "summary": row.summary} for n, row in STYLES.items()],
        "fills": [{"name": n, "summary": f.summary} for n, f in FILLS.items()],
        "renderers": [{"name": n, "summary": r.summary, "suffix": r.suffix} for n, r in RENDERERS.items()],
    }


def _columns(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    return [
        {"name": c.name, "summary": c.summary, "unit": c.unit, "higher_is_better": c.higher_is_better}
        for c in columns.values()
    ]
