"""Puts the tables of results/lcam_birds_*.json into docs/lcam-aviary.md, between its marks.

python benchmarks/lcam_birds_page.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lcam_page import markdown

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "lcam-aviary.md"
MODELS = ("cnn", "vit")
PUBLISHED = ("ad100", "ad50", "ad15", "ic100", "ic50", "ic15", "mean-value")
PLACES = (
    "ad50-ranked", "ad15-ranked", "ad50-blur-ranked", "ad15-blur-ranked", "insertion", "deletion",
    "insertion-deletion", "epg", "nra", "effect-rank",
)  # fmt: skip
DECIDING = ("ad100", "ad50", "ad50-blur-ranked", "ad15-blur-ranked", "insertion-deletion", "epg", "effect-rank")
DIFFERENCES = (
    ("img", "img, CE only"), ("fm", "fm, CE only"), ("img", "fm"), ("img, CE only", "fm, CE only"),
    ("img", "img, cross"), ("fm", "fm, cross"), ("img", "img, shared"),
    ("img", "l-cam before training"), ("fm", "l-cam before training"),
    ("img", "grad-cam"), ("fm", "grad-cam"), ("img, shared", "grad-cam"), ("img", "grad-cam++"), ("img", "score-cam"),
    ("img", "rise"), ("img", "cam^0.5"), ("img", "sigmoid(cam)"),
    ("refined", "grad-cam"), ("refined", "sigmoid(cam)"), ("refined", "img"), ("refined", "rise"),
)  # fmt: skip
ORDER = (
    "constant", "centre", "cam^0.5", "sigmoid(cam)", "l-cam before training", "grad-cam", "grad-cam++", "score-cam",
    "rise",
)  # fmt: skip
Rows = dict[str, Any]
Found = dict[str, Any]


def load(model: str) -> Found | None:
    file = HERE / "results" / f"lcam_birds_{model}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def column(row: Any, metric: str) -> np.ndarray:
    """Values bird by bird, NaN where there is none."""
    return np.array([np.nan if v is None else v for v in row["values"][metric]], dtype=float)


def spread(values: np.ndarray) -> tuple[float, float, int]:
    """Mean, its standard error, and how many values there are."""
    kept = values[~np.isnan(values)]
    if len(kept) < 2:
        return float("nan"), float("nan"), len(kept)
    return float(kept.mean()), float(kept.std(ddof=1) / len(kept) ** 0.5), len(kept)


def digits(metric: str) -> int:
    return 1 if metric[:2] in ("ad", "ic") else 3


def shown(metric: str, values: np.ndarray) -> str:
    mean, error, count = spread(values)
    return "-" if count < 2 else f"{mean:.{digits(metric)}f} ± {error:.{digits(metric)}f}"


def difference(metric: str, values: np.ndarray) -> str:
    """Mean difference with its standard error, bold where it is more than two of these."""
    mean, error, count = spread(values)
    if count < 2:
        return "-"
    text = f"{mean:+.{digits(metric)}f} ± {error:.{digits(metric)}f}"
    return f"**{text}**" if abs(mean) > 2 * error else text


def names(rows: Rows) -> list[str]:
    return [n for n in ORDER if n in rows] + [n for n in rows if n not in ORDER]


# --------------------------------------------------------------------------------------------------
# Tables of one model.


def fits(found: Found) -> str:
    lines = []
    for name, row in found["rows"].items():
        if "history" in row:
            history = row["history"]
            best = history[row["best_epoch"]]
            terms = [f"{best[k]:.2f}" if k in best else "-" for k in ("ce", "av", "tv")]
            first = f"{history[0]['held_out']:.2f}, {best['held_out']:.2f}, {history[-1]['held_out']:.2f}"
            where = f"{row['best_epoch'] + 1} of {len(history)}"
            lines.append((name, f"{row['parameters']:,}", f"{row['fit_seconds']:.0f}", first, where, *terms))
    head = ("head", "numbers trained", "seconds", "held-out loss: first epoch, best, last", "best epoch", "CE there",
            "AV", "TV")  # fmt: skip
    return markdown(head, lines)


def table(found: Found, metrics: Sequence[str], *, passes: bool = False) -> str:
    rows = found["rows"]
    lines = []
    for name in names(rows):
        cells = [shown(m, column(rows[name], m)) for m in metrics]
        lines.append((name, *cells, *([f"{rows[name]['passes']:g}"] if passes else [])))
    return markdown(("", *metrics, *(["passes"] if passes else [])), lines)


def differences(found: Found) -> str:
    rows = found["rows"]
    lines = [
        (f"{a} minus {b}", *(difference(m, column(rows[a], m) - column(rows[b], m)) for m in DECIDING))
        for a, b in DIFFERENCES
        if a in rows and b in rows
    ]
    return markdown(("", *DECIDING), lines)


def two_birds(found: Found) -> str:
    """Shares of (picture, class) whose map is higher on the class's own bird, over all and where the classifier has
    both species among its first two answers."""
    ranks = np.array(found["two_birds"]["ranks"])
    both = np.repeat(ranks.max(axis=1) < 2, 2)
    lost = np.array(found["two_birds"]["lost"]).reshape(-1, 2, 2)
    truth = np.stack([[one[0, 0], one[0, 1]] for one in lost] + [[one[1, 1], one[1, 0]] for one in lost])
    truth = truth.reshape(2, -1, 2).transpose(1, 0, 2).reshape(-1, 2)
    lines = [("*what each bird really is worth*", *preferred(truth, both), "-", "-")]
    for name in names(found["rows"]):
        row = found["rows"][name]
        if "two_birds" in row:
            levels = np.array(row["two_birds"])
            own = levels[:, 0].sum() / levels.sum()
            lines.append((name, *preferred(levels, both), f"{own:.2f}", share(np.array(row["two_birds_contrast"]))))
    head = (
        "",
        f"all {len(both)}",
        f"both among the first two answers ({int(both.sum())})",
        "share of value on own bird",
    )
    return markdown(head, lines)


def preferred(levels: np.ndarray, both: np.ndarray) -> tuple[str, str]:
    own = levels[:, 0] > levels[:, 1]
    return share(own), share(own[both])


def share(hits: np.ndarray) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    n, p, z = len(hits), float(hits.mean()), 1.96
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n)
    half *= (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return f"{100 * p:.0f} % [{100 * (middle - half):.0f} - {100 * (middle + half):.0f}]"


def sanity(found: Found) -> str:
    """Rank correlations with their 95 % intervals (1.96 standard errors)."""
    kinds = list(dict.fromkeys(k for rows in found["sanity"].values() for k in rows))
    lines = []
    for head, rows in found["sanity"].items():
        cells = []
        for kind in kinds:
            mean, error, _ = spread(column({"values": {"r": rows[kind]["values"]}}, "r"))
            cells.append(f"{mean:.2f} [{mean - 1.96 * error:.2f} - {mean + 1.96 * error:.2f}]")
        named = [str(rows[k]["classes_predicted"]) for k in kinds if "classes_predicted" in rows[k]]
        lines.append((head, *cells, ", ".join(named)))
    return markdown(("head", *kinds, "species that these classifiers name"), lines)


TABLES: dict[str, Callable[[Found], str]] = {
    "fits": fits,
    "published": lambda found: table(found, PUBLISHED),
    "places": lambda found: table(found, PLACES, passes=True),
    "differences": differences,
    "two-birds": two_birds,
    "sanity": sanity,
}


def machine(found: Found) -> str:
    m, v, s = found["machine"], found["versions"], found["settings"]
    return (
        f"{m['processor']}, {m['cores']} cores of which one thread is used; saywhy {v['saywhy']}, torch {v['torch']}, "
        f"Python {v['python']}. Heads fitted on {s['fit']} birds (seed {s['seeds'][0]}), measured on "
        f"{found['test_birds']} of {s['test']} test birds (seed {s['seeds'][1]}) that `{found['model']}` names "
        f"rightly, and on {s['pairs']} pictures with two birds (seed {s['seeds'][2]})."
    )


def write_page() -> None:
    """Fills every mark `<!-- table: NAME MODEL -->` of the page; the words around them stay."""
    if not PAGE.exists():
        return
    page = PAGE.read_text(encoding="utf-8")
    for model in MODELS:
        found = load(model)
        for name, make in {**TABLES, "machine": machine}.items():
            mark, end = f"<!-- table: {name} {model} -->\n", "\n<!-- end -->"
            if found is None or mark not in page:
                continue
            before, rest = page.split(mark)
            page = before + mark + make(found) + end + rest.split(end, 1)[1]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write_page()
