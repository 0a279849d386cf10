"""Why is this region a wing? Saliency of the part segmenter's decisions, against the region itself.

    python benchmarks/segmentation.py

For birds of the aviary and each part that covers enough pixels, `RegionScores` turns the decision over the part's true
region into a classification. EPG says how much of a map lies on the part; deletion removes pixels *inside the region
alone*, highest first, and follows the region's probability of the part. Writes results/segmentation.json.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import saywhy
from saywhy import aviary
from saywhy.classifier import Classifier
from saywhy.image import read
from saywhy.metrics import CONTROLS, METRICS, Values
from saywhy.saliency import saliency
from saywhy.targets import RegionScores

METHODS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam", "ablation-cam")
# 16 x 16, behind the bottleneck; at the head itself a map of the region is the region, by construction.
LAYER = "net.up3"
PARTS = ("wing", "breast", "tail", "crown")
BIRDS, FIRST, STEPS, SMALLEST = 16, 900_000, 8, 60  # pictures no network has seen; a region has at least so many pixels


def region(bird: aviary.Rendered, part: str, size: tuple[int, int]) -> Tensor:
    """The part's visible mask (H, W) as the model sees it."""
    mask = torch.from_numpy(bird.visible(part)).float()[None, None]
    return torch.nn.functional.interpolate(mask, size, mode="area")[0, 0] > 0.5


def deletion_inside(ask: Callable[[Tensor], Tensor], image: Tensor, shown: Tensor, mask: Tensor) -> float:
    """Mean probability of the part while its region's pixels turn grey, highest first, in equal steps."""
    where = mask.flatten().nonzero()[:, 0]
    order = where[shown.flatten()[where].argsort(descending=True, stable=True)]
    frames = []
    for step in range(STEPS + 1):
        frame = image.clone().flatten(1)
        frame[:, order[: len(order) * step // STEPS]] = 0.5
        frames.append(frame.view_as(image))
    return float(torch.trapezoid(ask(torch.stack(frames)).double(), dx=1 / STEPS))


def rows_of(seg: Classifier, index: int, found: dict[str, dict[str, Values]]) -> None:
    """Measures every part of one bird."""
    bird = aviary.render(aviary.sample(0, FIRST + index).scene)
    (image,), _ = seg.prepare([read(bird.pixels)])
    for part in PARTS:
        mask = region(bird, part, seg.preprocess.size)
        if int(mask.sum()) < SMALLEST:
            continue
        clf = replace(seg, net=RegionScores(seg.net, mask), _points={})
        asked = clf.class_index(part)
        maps = {m: saliency(clf, image[None], asked, method=m, layer=LAYER).display for m in METHODS}
        maps |= {name: make(1, seg.preprocess.size) for name, make in CONTROLS.items()}
        maps["random"] = CONTROLS["random"](1, seg.preprocess.size, seed=index)

        def ask(images: Tensor, clf: Classifier = clf, asked: int = asked) -> Tensor:
            return clf.probabilities(images)[:, asked]

        for name, shown in maps.items():
            cells = found.setdefault(name, {"epg": Values(), "deletion-inside": Values()})
            inside = torch.tensor([deletion_inside(ask, image, shown[0], mask)]).double()
            cells["epg"] = cells["epg"].update(METRICS["epg"].function(maps=shown, masks=mask[None]))
            cells["deletion-inside"] = cells["deletion-inside"].update(inside)


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    seg = saywhy.load_classifier("aviary:seg")
    found: dict[str, dict[str, Values]] = {}
    for index in range(BIRDS):
        rows_of(seg, index, found)
    rows = {}
    for name, cells in found.items():
        rows[name] = {}
        for metric, values in cells.items():
            interval = values.interval(seed=0)
            n = len(values.samples)
            rows[name][metric] = {"mean": values.value(), "low": interval.low, "high": interval.high, "n": n}
    record = {
        "question": "segmentation", "birds": BIRDS, "layer": LAYER, "parts": PARTS, "steps": STEPS,
        "machine": platform.machine(), "torch": torch.__version__, "saywhy": saywhy.__version__, "rows": rows,
    }  # fmt: skip
    Path(__file__).with_name("results").joinpath("segmentation.json").write_text(json.dumps(record, indent=1) + "\n")
    for name, cells in rows.items():
        print(name, {m: round(c["mean"], 3) for m, c in cells.items()})


if __name__ == "__main__":
    main()
