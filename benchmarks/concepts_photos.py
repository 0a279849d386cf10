"""Concepts against the parts of cars and the keypoints of birds, on real photos.

    SAYWHY_DATA=DIR python benchmarks/concepts_photos.py [--presets kmeans topk-sae] [--photos 80]

EfficientNet-lite0, which has never seen a part's name. A bank is made of one half of carparts250 (of the train photos
of cub10). Of the other half, the first photos say which part each concept is on most, and the others whether it is
there again. The control lays each concept's pixels on the parts of the next photo: what is known from where things
usually are. Writes results/photo_concepts.json and the table in docs/concepts.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lcam_rows import photos_folder
from names_shown import merged
from page import table
from saywhy import Classifier, load_classifier
from saywhy.collection import Item, find_images
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import find_concepts
from saywhy.concepts.making import make_bank
from saywhy.image import Bools, framed_mask
from saywhy.metrics import wilson
from saywhy.seen import look
from sentence_measures import machine

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "concepts.md"
START, STOP = "<!-- photos -->", "<!-- end of photos -->"
OFTEN = 5  # photos of either part that a concept must be in to be judged
ON = 0.5  # of its pixels that must lie on its part; of the disc about a keypoint that must be of it

Marks = dict[str, Bools]
Labels = np.ndarray[Any, Any]


def marks(clf: Classifier, item: Item) -> Marks:
    """Parts of the view (H, W) by name: as they were marked, or discs about keypoints."""
    picture = clf.read(item.path)
    regions = item.regions((picture.height, picture.width))
    found = {name: framed_mask(m, clf.preprocess) > 0.5 for name, m in regions.items()}
    return {name: m for name, m in found.items() if m.any()}


def shares(label: Labels, j: int, parts: Marks, points: bool) -> dict[str, float]:
    """How much of a concept lies on each part; how much of the disc about each keypoint is of the concept."""
    own = label == j
    return {name: float(own[m].mean() if points else m[own].mean()) for name, m in parts.items()}


def judged(labels: Sequence[Labels], parts: Sequence[Marks], points: bool) -> dict[str, Any]:
    """What the photos say of a bank: the first half names, the second checks, on its own and the next photo's parts."""
    half = len(labels) // 2
    sums: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for label, own in zip(labels[:half], parts[:half], strict=True):
        for j in np.unique(label[label >= 0]).tolist():
            for name, share in shares(label, j, own, points).items():
                sums[j][name].append(share)
    best = {j: max(rows, key=lambda n: sum(rows[n])) for j, rows in sums.items() if rows}
    often = {j: max(map(len, sums[j].values())) for j in best}
    there: dict[int, list[float]] = defaultdict(list)
    moved: dict[int, list[float]] = defaultdict(list)
    rest = list(range(half, len(labels)))
    for n, i in enumerate(rest):
        following = parts[rest[(n + 1) % len(rest)]]
        for j in np.unique(labels[i][labels[i] >= 0]).tolist():
            name = best.get(j)
            for kept, marked in ((there, parts[i]), (moved, following)):
                if name in marked:
                    kept[j].append(shares(labels[i], j, marked, points)[name])
    told = [j for j in best if often[j] >= OFTEN and len(there[j]) >= OFTEN and len(moved[j]) >= OFTEN]
    hit = [float(np.mean(there[j])) for j in told]
    control = [float(np.mean(moved[j])) for j in told]
    beyond = [float(np.mean(there[j]) > 2 * np.mean(moved[j])) for j in told]
    return {
        "concepts": len(told), "on_one": sum(v >= ON for v in hit), "control_on_one": sum(v >= ON for v in control),
        "twice_the_control": int(sum(beyond)), "share": round(float(np.mean(hit)), 3) if hit else None,
        "control_share": round(float(np.mean(control)), 3) if control else None,
        "parts": sorted({best[j] for j in told if float(np.mean(there[j])) >= ON}), "points": points,
    }  # fmt: skip


def found_in(clf: Classifier, bank: ConceptBank, item: Item) -> Labels:
    """The concept (H, W) of each pixel of the view."""
    return find_concepts(bank, look(clf, clf.read(item.path)), ()).labels.numpy()


def measure(clf: Classifier, teach: Sequence[Item], ask: Sequence[Item], preset: str, points: bool) -> dict[str, Any]:
    start = time.perf_counter()
    bank, _ = make_bank(clf, teach, preset, tell=lambda step: print(step, file=sys.stderr, flush=True))
    seconds = round(time.perf_counter() - start)
    parts = [marks(clf, item) for item in ask]
    labels = [found_in(clf, bank, item) for item in ask]
    return {
        "preset": preset, "bank": len(bank), "pictures": len(teach), "seconds": seconds, "asked": len(ask),
        **judged(labels, parts, points),
    }  # fmt: skip


def write_page(rows: dict[str, list[dict[str, Any]]]) -> None:
    def rate(hits: int, of: int) -> str:
        w = wilson(hits, of)
        return f"{w.mean:.0%} [{w.low:.0%}–{w.high:.0%}]"

    head = ["photos", "preset", "made of, in s", "concepts judged", "half or more on one part (control)",
            "mean share on its part (control)", "twice the control or more"]  # fmt: skip
    told = [
        [what, r["preset"], f"{r['pictures']}, {r['seconds']}", f"{r['concepts']} of {r['bank']}",
         f"{rate(r['on_one'], r['concepts'])} ({r['control_on_one']})", f"{r['share']} ({r['control_share']})",
         rate(r["twice_the_control"], r["concepts"])]
        for what, some in rows.items() for r in some if r["concepts"]
    ]  # fmt: skip
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(STOP)[1]
    PAGE.write_text(
        f"{before}{START}\n\n{table(tuple(head), [tuple(r) for r in told])}\n{STOP}{after}", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["kmeans", "topk-sae"])
    parser.add_argument("--photos", type=int, default=80)
    given = parser.parse_args()
    clf, data = load_classifier("efficientnet-lite0"), photos_folder()
    cars = [merged(i) for i in find_images(data / "carparts250")]
    birds = [merged(i) for i in find_images(data / "cub10")]
    sets = {
        "car parts": (cars[::2], cars[1::2][: given.photos], False),
        "bird keypoints": (
            [i for i in birds if i.split == "train"][::2][:150],
            [i for i in birds if i.split == "test"][::3][: given.photos],
            True,
        ),
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for what, (teach, ask, points) in sets.items():
        rows[what] = [measure(clf, teach, ask, preset, points) for preset in given.presets]
        (HERE / "results" / "photo_concepts.json").write_text(
            json.dumps({**machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
    write_page(rows)


if __name__ == "__main__":
    main()
