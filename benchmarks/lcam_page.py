"""Puts the tables of results/lcam_photos.json and lcam_cub.json into docs/lcam-photos.md, between its marks.

python benchmarks/lcam_page.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lcam_rows import column, mean, paired

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "lcam-photos.md"
MAIN = (
    "ad100", "ad50", "ad15", "ic100", "ic50", "ic15", "mean-value", "ad50-ranked", "ad15-ranked",
    "ic50-ranked", "ic15-ranked", "insertion", "deletion", "insertion-deletion",
)  # fmt: skip
DECIDING = ("ad50-ranked", "ad15-ranked", "insertion-deletion")
CONTROLS = ("grad-cam", "sigmoid(cam)")  # cam^0.5 has the order of grad-cam, so the same differences
BIRDS = (*MAIN[:9], "insertion-deletion", "epg-box", "pointing-box", "epg-parts")
UNTRAINED = ("constant", "centre", "cam x centre", "grad-cam", "grad-cam++", "cam^0.5", "sigmoid(cam)")
SLOW = ("score-cam", "rise")
FINE = ", 14 x 14"
# A quick study on 200 other photos: AD 100/50/15, IC 100/50/15, mean value in percent.
STUDY = {
    "grad-cam": (21.2, 39.6, 87.1, 27.5, 19, 1.5, 33),
    "cam^0.5": (11.4, 33.3, 86.3, 37, 24.5, 1.5, 52),
    "sigmoid(cam)": (16.2, 34.6, 83.3, 32.5, 22.5, 2.5, 46),
    "l-cam-img": (21.0, 39.5, 87.1, None, None, None, None),
    "l-cam-img, sigmoid kept": (15.4, 33.7, 83.1, 36.5, 24, 2.5, 47),
    "score-cam": (27.9, 47.7, 85.6, None, None, None, None),
    "rise": (16.1, 57.6, 88.9, None, None, None, None),
}
Rows = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    file = HERE / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else {"rows": {}}


def percent(metric: str) -> bool:
    return metric[:2] in ("ad", "ic")


def shown(metric: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if percent(metric) else f"{value:.3f}"


def difference(metric: str, found: tuple[float, float, int]) -> str:
    d, error, _ = found
    if math.isnan(d):
        return "-"
    digits = 1 if percent(metric) else 3
    text = f"{d:+.{digits}f} ± {error:.{digits}f}"
    return f"**{text}**" if abs(d) > 2 * error else text


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rows = ["| " + " | ".join(str(v) for v in line) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows])


def table(rows: Rows, names: Sequence[str], metrics: Sequence[str] = MAIN) -> str:
    lines = []
    for name in (n for n in names if n in rows):
        cells = [shown(m, mean(column(rows, name, m))[0]) for m in metrics]
        lines.append((name, len(rows[name]["measured"]), *cells, rows[name].get("passes", "-")))
    return markdown(("row", "photos", *metrics, "passes"), lines)


def differences(rows: Rows, names: Sequence[str], against: Sequence[str], metrics: Sequence[str] = DECIDING) -> str:
    lines = []
    for name in (n for n in names if n in rows):
        for other in (o for o in against if o in rows and o != name):
            found = [paired(rows, name, other, m) for m in metrics]
            lines.append((f"{name} minus {other}", found[0][2], *map(difference, metrics, found)))
    return markdown(("", "photos", *metrics), lines)


def heads_of(rows: Rows) -> list[str]:
    known = {*UNTRAINED, *SLOW}
    return [n for n in rows if n not in known]


def finer(rows: Rows) -> str:
    """Heads on the 14 x 14 layer minus the same on the 7 x 7 layer."""
    metrics = ("ad100", "ad50", "ad15", *DECIDING)
    lines = []
    for name in (n for n in rows if FINE in n):
        found = [paired(rows, name, name.replace(FINE, ""), m) for m in metrics]
        lines.append((f"{name} minus 7 x 7", found[0][2], *map(difference, metrics, found)))
    return markdown(("", "photos", *metrics), lines)


def subset(rows: Rows) -> str:
    """All rows on the photos that the slow methods were measured on."""
    slow = [set(rows[n]["measured"]) for n in SLOW if n in rows]
    where = sorted(set.intersection(*slow)) if slow else []
    lines = []
    for name in [*SLOW, *UNTRAINED, *heads_of(rows)]:
        if name in rows and set(where) <= set(rows[name]["measured"]) and where:
            values = [(m, column(rows, name, m)) for m in MAIN]
            cells = [shown(m, mean(v[where])[0]) if len(v) else "-" for m, v in values]
            lines.append((name, len(where), *cells, rows[name].get("passes", "-")))
    return markdown(("row", "photos", *MAIN, "passes"), lines)


def study(rows: Rows) -> str:
    metrics = MAIN[:7]
    lines = []
    for name, theirs in STUDY.items():
        if name in rows:
            own = [mean(column(rows, name, m))[0] * (1 if percent(m) else 100) for m in metrics]
            pairs = [f"{a:.1f} ({'-' if b is None else f'{b:g}'})" for a, b in zip(own, theirs, strict=True)]
            lines.append((name, *pairs))
    return markdown(("here (there)", *metrics), lines)


def fits(rows: Rows) -> str:
    lines = []
    for name, row in rows.items():
        if "fit_seconds" in row:
            seconds = list(row["fit_seconds"].values())
            lines.append((name, len(seconds), f"{sum(seconds) / len(seconds):.0f}"))
    return markdown(("head", "folds", "seconds of one core a fold"), lines)


def bird_fits(rows: Rows) -> str:
    lines = []
    for name, row in rows.items():
        if "training" in row:
            history, best = row["training"]["history"], row["training"]["best_epoch"]
            said = f"{history[0]['held_out']:.2f}, {min(h['held_out'] for h in history):.2f} (epoch {best + 1})"
            lines.append((name, f"{row['fit_seconds']:.0f}", row["training"]["steps"], said, f"{row['moved']:.2%}"))
    head = ("head", "seconds", "steps", "held-out loss: after the first epoch, lowest", "rows moved by")
    return markdown(head, lines)


def blocks() -> dict[str, str]:
    rows, birds = load("lcam_photos")["rows"], load("lcam_cub")
    heads, bird_heads = heads_of(rows), heads_of(birds["rows"])
    return {
        "photos": table(rows, [*UNTRAINED, *heads]),
        "against": differences(rows, ["sigmoid(cam)", "grad-cam++", *heads], CONTROLS),
        "finer": finer(rows),
        "subset": subset(rows),
        "subset-against": differences(rows, SLOW, ("grad-cam", "sigmoid(cam)", *heads[:2], "refined")),
        "study": study(rows),
        "fits": fits(rows),
        "birds": table(birds["rows"], [*UNTRAINED, *bird_heads], BIRDS),
        "birds-against": differences(
            birds["rows"], bird_heads, CONTROLS, (*DECIDING, "epg-box", "epg-parts")
        ),
        "bird-fits": bird_fits(birds["rows"]),
    }  # fmt: skip


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, text in blocks().items():
        mark, end = f"<!-- table: {name} -->\n", "\n<!-- end -->"
        before, rest = page.split(mark)
        page = before + mark + text + end + rest.split("<!-- end -->", 1)[1]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
