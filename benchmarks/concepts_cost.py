"""What a bank of concepts costs: to make one from 500 photos, and to explain with it.

    SAYWHY_DATA=DIR python benchmarks/concepts_cost.py [--presets kmeans] [--pictures 500] [--photos 20]

EfficientNet-lite0 and photos of cub10. Making is a process of its own, one thread: its processor time, its time and its
most memory, by steps. Explained are photos that the bank was not made of, with it and without: passes and processor
time, and what a pass through the rest of the network takes as a share of a whole one. Writes results/bank_cost.json, a
row as soon as it is measured, and a table in docs/concepts.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lcam_rows import photos_folder
from page import between, table
from saywhy import Classifier, Explainer, load_classifier
from saywhy.collection import Item, find_images
from saywhy.seen import look
from sentence_measures import machine

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "bank_cost.json", HERE.parent / "docs" / "concepts.md"
START, STOP = "<!-- cost -->", "<!-- end of cost -->"
TURNS, ROWS = 5, 8  # timings of a pass, images in it


def photos(count: int, asked: int) -> tuple[list[Item], list[Item]]:
    """Photos to make a bank of, evenly drawn of all, and others to explain."""
    every = find_images(photos_folder() / "cub10")
    chosen = sorted({round(n) for n in np.linspace(0, len(every) - 1, count)})
    rest = [item for n, item in enumerate(every) if n not in set(chosen)]
    return [every[n] for n in chosen], [rest[n * len(rest) // asked] for n in range(asked)]


def make(preset: str, count: int, folder: Path) -> None:
    """In a process of its own: makes and saves a bank, and prints what it took."""
    torch.set_num_threads(1)
    clf, (items, _) = load_classifier("efficientnet-lite0"), photos(count, 1)
    marks: list[tuple[str, float]] = []

    def tell(step: str) -> None:
        marks.append((step.split(":")[0].split(" in ")[0], time.process_time()))

    tell("starting")
    wall = time.perf_counter()
    made = Explainer.fit(clf, items, ["concepts"], presets={"concepts": preset}, folder=folder, progress=tell)
    made.save(folder)
    tell("end")
    steps: dict[str, float] = defaultdict(float)
    for (name, start), (_, stop) in pairwise(marks):
        steps[name] += stop - start
    print(json.dumps({
        "preset": preset, "pictures": len(items), "concepts": len(made.parts["concepts"]),
        "studied": sum(r.pictures for r in made.parts["concepts"].relevance if r.concept == 0),
        "processor_s": round(marks[-1][1] - marks[0][1], 1), "wall_s": round(time.perf_counter() - wall, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "steps": {name: round(value, 1) for name, value in steps.items()},
    }))  # fmt: skip


def explained(ex: Explainer, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Passes and processor seconds of each explanation."""
    rows = []
    for item in items:
        began = time.process_time()
        cost = ex.explain(item.path).cost
        rows.append({"forward": cost.forward_passes, "tail": cost.tail_passes, "s": time.process_time() - began})
    return rows


def tail_share(clf: Classifier, layer: str, item: Item) -> float:
    """What a pass through what comes after a layer takes, as a share of one through the whole network."""
    seen = look(clf, clf.read(item.path))
    maps, images = seen.tap.maps(layer).repeat(ROWS, 1, 1, 1), seen.tap.images.repeat(ROWS, 1, 1, 1)
    rows, took = torch.zeros(ROWS, dtype=torch.long), dict[str, list[float]](tail=[], whole=[])
    for _ in range(TURNS):
        for name, run in (
            ("tail", lambda: seen.tap.replay(maps, layer, rows)),
            ("whole", lambda: clf.probabilities(images)),
        ):
            began = time.process_time()
            with torch.no_grad():
                run()
            took[name].append(time.process_time() - began)
    return float(np.median(took["tail"]) / np.median(took["whole"]))


def measure(preset: str, pictures: int, asked: int, folder: Path) -> dict[str, Any]:
    """Makes a bank in a process of its own, and explains with it and without."""
    own = folder / preset
    if own.exists():
        sys.exit(f"{own} is there: a run that goes on looks cheaper than it is")
    call = [sys.executable, __file__, "--make", preset, "--pictures", str(pictures), "--folder", str(own)]
    made = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    clf, (_, others) = load_classifier("efficientnet-lite0"), photos(pictures, asked)
    ex = Explainer.load(own, clf)
    plain, banked = explained(Explainer(clf, {}), others), explained(ex, others)
    more = {f"more_{name}": [b[name] - p[name] for p, b in zip(plain, banked, strict=True)] for name in plain[0]}
    share = tail_share(clf, ex.parts["concepts"].layer, others[0])
    return made | {"explained": len(others), "plain": plain, "banked": banked, "tail_share": round(share, 3), **more}


def write_page(rows: Sequence[dict[str, Any]]) -> None:
    def middle(values: Sequence[float]) -> str:
        low, half, high = np.quantile(values, (0.1, 0.5, 0.9))
        return f"{half:.0f} ({low:.0f} to {high:.0f})"

    head = ("preset", "photos, concepts", "processor s (waited)", "of these, taking out", "peak memory",
            "forward passes more", "tail passes more", "together, in whole passes")  # fmt: skip
    told = [
        (r["preset"], f"{r['pictures']}, {r['concepts']}", f"{r['processor_s']:.0f} ({r['wall_s']:.0f})",
         f"{r['steps']['taking concepts out of pictures']:.0f}", f"{r['peak_mb']} MB", middle(r["more_forward"]),
         middle(r["more_tail"]),
         middle([f + r["tail_share"] * t for f, t in zip(r["more_forward"], r["more_tail"], strict=True)]))
        for r in rows
    ]  # fmt: skip
    between(PAGE, table(head, told), START, STOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["kmeans"])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("concepts-cost"), help="where the banks go")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.make, given.pictures, given.folder)
        return
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for preset in given.presets:
        row = measure(preset, given.pictures, given.photos, given.folder)
        rows = [r for r in rows if r["preset"] != preset] + [row]
        RESULT.write_text(json.dumps({**machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    write_page(rows)


if __name__ == "__main__":
    main()
