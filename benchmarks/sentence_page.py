"""Writes the tables of docs/sentence-truth.md from results/sentence_truth_*.json.

    python benchmarks/sentence_page.py

Run after `sentence_birds.py`, `sentence_photos.py` and `sentence_planted.py`; a figure that was not measured is a dash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saywhy.evaluate import SENTENCE_COLUMNS
from saywhy.evaluate.scene_truth import JUDGES
from saywhy.evaluate.sentence_table import WAYS
from saywhy.metrics import wilson

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "sentence-truth.md"
START, STOP = "<!-- tables -->", "<!-- end of tables -->"
BIRDS = ("cnn", "vit")
FAULTY = ("cnn-watermark", "cnn-context", "vit-watermark", "vit-context")
PHOTOS = {
    "photos": "EfficientNet-lite0",
    "photos-fast": "EfficientNet-lite0, fast",
    "few3": "3 species",
    "few10": "10 species",
}
LIMITS = {  # what was asked for; (share, whether at most)
    "false": (1, True), "false-pictures": (3, True), "missed": (10, True), "covered": (85, False),
    "kept-seed": (90, False), "kept-jpeg": (80, False), "kept-shift": (80, False), "kept-flip": (75, False),
    "shortcut-named": (80, False), "shortcut-blamed": (5, True), "passes: moved to the background": (5, True),
    "kept: seed": (90, False), "kept: jpeg": (80, False), "kept: shift": (80, False), "kept: flip": (75, False),
    "no claim about a region": (10, True), "named first": (95, False), "region 1 half inside": (80, False),
    "colour right": (80, False),
    **{f"false-{kind}": (2, True) for kind in JUDGES},
}  # fmt: skip


def results(name: str) -> dict[str, Any]:
    """A result file; empty where it was not measured."""
    file = HERE / "results" / f"sentence_truth_{name}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def share(hits: int, of: int) -> str:
    """A rate with its count and Wilson interval."""
    if not of:
        return "–"
    found = wilson(hits, of)
    return f"{100 * found.mean:.1f} % of {of} [{100 * found.low:.1f}–{100 * found.high:.1f}]"


def limit(name: str) -> str:
    """What was asked for."""
    if name not in LIMITS:
        return ""
    value, at_most = LIMITS[name]
    return f"{'≤' if at_most else '≥'} {value} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows)]) + "\n"


# --------------------------------------------------------------------------------------------------
# Birds: both seeds together.


def pooled(found: Mapping[str, Any], name: str, way: str = "explain") -> str:
    """A column of all seeds together: shares by their counts, others seed by seed."""
    if not found:
        return "–"
    cells = [r["metrics"].get(name) for e in found["evaluations"] for r in e["rows"] if r["method"] == way]
    cells = [c for c in cells if c and c["mean"] is not None]
    if not cells:
        return "–"
    if SENTENCE_COLUMNS[name].unit == "%":
        hits = sum(round(c["mean"] * c["samples"] / 100) for c in cells)
        return share(hits, sum(c["samples"] for c in cells))
    return " / ".join(f"{c['mean']:.2f}" if abs(c["mean"]) < 1 else f"{c['mean']:.0f}" for c in cells)


def birds() -> list[str]:
    """The tables of the birds."""
    clean = {name: results(f"birds_{name}") for name in BIRDS}
    faulty = {name: results(f"birds_{name}") for name in FAULTY}
    told = {n: [pooled(clean[m], n, way) for way in WAYS for m in BIRDS] for n in SENTENCE_COLUMNS}
    rows = [
        [f"`{n}`", SENTENCE_COLUMNS[n].summary, limit(n), *cells] for n, cells in told.items() if set(cells) != {"–"}
    ]
    kinds = [r for r in rows if r[0].startswith(("`false", "`counts"))]
    others = [r for r in rows if r not in kinds and "shortcut" not in r[0]]
    both = {**clean, **faulty}
    spoiled = [[m, *(pooled(both[m], n) for n in ("shortcut-named", "shortcut-blamed"))] for m in both if both[m]]
    head = [
        "",
        "what it is",
        "asked for",
        *(f"aviary:{m}{'' if way == 'explain' else ', ' + way}" for way in WAYS for m in BIRDS),
    ]
    return [
        "## Birds: what is false\n", about(clean), table(head, kinds),
        "## Birds: what is missed, how wide, how stable\n", table(head, others),
        "## Birds: planted shortcuts\n",
        table(["aviary:", f"named where it decides ({limit('shortcut-named')})",
               f"named where it does not ({limit('shortcut-blamed')})"], spoiled),
    ]  # fmt: skip


def about(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Of what, and where it was measured."""
    rows = [
        f"{name}: seeds {', '.join(str(e['seed']) for e in r['evaluations'])}, "
        f"{sum(e['rows'][0]['pictures'] for e in r['evaluations'])} birds, {r['minutes']:g} minutes on {r['machine']}, "
        f"{r['processors']} processors, {r['threads']} thread."
        for name, r in found.items()
        if r
    ]
    return " ".join(rows) + "\n"


# --------------------------------------------------------------------------------------------------
# Photos, planted causes, nulls.


def rated(found: Mapping[str, Any], name: str) -> str:
    rate = found.get("rates", {}).get(name)
    return share(rate["hits"], rate["of"]) if rate else "–"


def middle(found: Mapping[str, Any], name: str) -> str:
    values = found.get("values", {}).get(name)
    return f"{np.median(values):.3g} (most {max(values):.3g})" if values else "–"


def every(found: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The names that any of the results has, in order."""
    return list(dict.fromkeys(name for f in found for name in f.get(key, {})))


def photos() -> list[str]:
    """The tables of the photos."""
    found = {name: results(name) for name in PHOTOS}
    names = every(list(found.values()), "rates")
    rows = [[n, limit(n), *(rated(f, n) for f in found.values())] for n in names]
    values = [
        [f"{n}, median", "", *(middle(f, n) for f in found.values())] for n in every(list(found.values()), "values")
    ]
    said = " ".join(f"{PHOTOS[n]}: {f['count']} of {f['photos']}." for n, f in found.items() if f)
    return ["## Photos\n", said + "\n", table(["", "asked for", *PHOTOS.values()], [*rows, *values])]


def planted() -> list[str]:
    """The tables of models whose causes are known."""
    out = []
    for name, title in (("marks", "Planted marks"), ("stamp", "The stamp"), ("nulls", "Models without a cause")):
        found = results(name)
        if found:
            rows = [[n, limit(n), rated(found, n)] for n in found["rates"]]
            rows += [[f"{n}, median", "", middle(found, n)] for n in found["values"]]
            out += [f"## {title}\n", found["photos"] + ".\n", table(["", "asked for", "measured"], rows)]
    return out


def main() -> None:
    text = "\n".join([*birds(), *photos(), *planted()])
    old = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(f"{old.split(START)[0]}{START}\n\n{text}\n{STOP}{old.split(STOP)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
