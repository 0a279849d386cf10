"""What a map by an L-CAM head costs beside the forward pass that the classifier makes anyway.

    python benchmarks/lcam_speed.py [--turns 40]

EfficientNet-lite0, one thread, CPU time, cases in an order that changes, median of the ratios within a turn. "head" is
the head's own work on the layers of one pass; "call" is all of `saliency(..., method="l-cam")`, with its checks and the
map scaled up to the photo. Heads are untrained: the numbers in them do not change the work.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from measure import facts
from saywhy.classifier import Classifier
from saywhy.lcam.heads import LCam, start
from saywhy.saliency import saliency
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_speed.json"
FORMS = {"shared, one layer": ("shared", False), "shared, two layers": ("shared", True), "refined": ("refined", True)}
GOAL = 1.03


def case(clf: Classifier, head: LCam, images: torch.Tensor) -> dict[str, Callable[[], object]]:
    tap = clf.tap(images, head.points(clf))
    features, classes = [tap.maps(path) for path in head.layers], tap.logits.argmax(dim=1)[:, None]
    return {
        "head": torch.no_grad()(lambda: head.head(features, classes, tap.logits)),
        "call": lambda: saliency(clf, images, classes[:, 0].tolist(), method="l-cam", head=head),
    }


def timed(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def measured(clf: Classifier, count: int, turns: int) -> list[dict[str, object]]:
    images = torch.rand(count, 3, *clf.preprocess.size)
    runs: dict[str, Callable[[], object]] = {"plain": lambda: clf.logits(images)}
    for name, (form, fine) in FORMS.items():
        points = [clf.fine_point(), clf.point] if fine else [clf.point]
        head = start(clf.tap(images, [p for p in points if p]), form, fine=fine)
        runs |= {f"{name}: {what}": run for what, run in case(clf, head, images).items()}
    for run in [*runs.values()] * 2:
        run()
    took: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        for name in random.Random(turn).sample(list(runs), len(runs)):
            took[name].append(timed(runs[name]))
    ratio = {n: statistics.median(t / p for t, p in zip(took[n], took["plain"], strict=True)) for n in runs}
    return [
        {
            "form": name, "batch": count, "plain_ms": round(1000 * statistics.median(took["plain"]), 2),
            "head_ms": round(1000 * statistics.median(took[f"{name}: head"]), 2),
            "plain_and_head": round(1 + ratio[f"{name}: head"], 3), "call": round(ratio[f"{name}: call"], 3),
            "goal": GOAL,
        }
        for name in FORMS
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clf = load_classifier("efficientnet-lite0")
    rows = [row for count in (1, 8) for row in measured(clf, count, given.turns)]
    RESULT.write_text(json.dumps({"machine": facts(), "turns": given.turns, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
