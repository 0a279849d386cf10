"""How many pictures a second does one core draw? `python benchmarks/aviary_speed.py` writes results/aviary_speed.json.

Each row draws the same pictures of the clean set and adds more of the ground truth. Counted in processor seconds
of one process with one thread, the median of several rounds, so that other programs on the machine do not count.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import PIL

from saywhy import aviary

ROUNDS, PICTURES = 7, 60
SCRATCH = tempfile.TemporaryDirectory()
RESULT = Path(__file__).parent / "results" / "aviary_speed.json"


def rendered(first: int, size: int, edition: str = "1") -> None:
    for i in range(first, first + PICTURES):
        aviary.render(aviary.sample(0, i, size=size, edition=edition).scene)


def with_truth(first: int, size: int, edition: str = "1") -> None:
    for i in range(first, first + PICTURES):
        one = aviary.sample(0, i, size=size, edition=edition)
        picture = aviary.render(one.scene)
        aviary.truth_record(one, picture)
        for name in aviary.mask_names(picture):
            aviary.mask_of(picture, name)


def written(first: int, size: int) -> None:
    aviary.write(Path(tempfile.mkdtemp(dir=SCRATCH.name)) / "set", images=PICTURES, seed=first, size=size)


ROWS: dict[str, tuple[Callable[[int, int], None], int]] = {
    "pictures and part masks, 64 px": (rendered, 64),
    "pictures and part masks, 128 px": (rendered, 128),
    "with all ground truth, 128 px": (with_truth, 128),
    "with all ground truth, written to disk, 128 px": (written, 128),
    "pictures and part masks, 256 px": (rendered, 256),
    "second edition: pictures and part masks, 128 px": (partial(rendered, edition="2"), 128),
    "second edition: with all ground truth, 128 px": (partial(with_truth, edition="2"), 128),
    "second edition: pictures and part masks, 224 px": (partial(rendered, edition="2"), 224),
    "cells: pictures and part masks, 128 px": (partial(rendered, edition="cells"), 128),
    "cells: with all ground truth, 128 px": (partial(with_truth, edition="cells"), 128),
}


def speed(work: Callable[[int, int], None], size: int) -> dict[str, float]:
    """Pictures a processor second: median, slowest and fastest round."""
    work(0, size)  # the first round also fills the caches of outlines
    rates = []
    for k in range(ROUNDS):
        start = time.process_time()
        work(PICTURES * k, size)
        rates.append(PICTURES / (time.process_time() - start))
    return {"median": round(statistics.median(rates), 1), "low": round(min(rates), 1), "high": round(max(rates), 1)}


def main() -> None:
    rows = {}
    for name, (work, size) in ROWS.items():
        rows[name] = speed(work, size)
        print(f"{name:50s} {rows[name]['median']:7.1f} a second ({rows[name]['low']} to {rows[name]['high']})")
    result = {
        "question": "pictures a second and core",
        "unit": "pictures per processor second, one process, one thread",
        "rounds": ROUNDS,
        "pictures_a_round": PICTURES,
        "rows": rows,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,  # type: ignore[attr-defined]
        },
    }
    SCRATCH.cleanup()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
