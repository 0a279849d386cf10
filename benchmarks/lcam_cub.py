"""Published one-row-a-class L-CAM heads on birds: many photos of the classes that the classifier predicts.

    SAYWHY_DATA=/path/to/data python benchmarks/lcam_cub.py [--heads ...] [--again ...] [--onnx]

SAYWHY_DATA names a folder with `cub10/images.jsonl`. Heads are fitted on its `train` photos with the classifier's own
predictions as labels, and measured on `test` photos whose predicted class had FEW or more photos in training: the rows
of other classes were trained too little to judge them. Rows that are in the results are not measured again.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcam_photos import PLAIN
from lcam_rows import OF_THE_ORDER, Seen, Table, column, kept_sigmoid, photos_folder, raw_map, with_onnx
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.evaluate.annotations import truth_of
from saywhy.image import Box, read
from saywhy.lcam.fitting import FEW, RECIPES, Recipe, fit_lcam, untrained
from saywhy.lcam.heads import LCam, Rows
from saywhy.lcam.losses import Coefficients
from saywhy.lcam.photos import read_photos
from saywhy.metrics.localisation import epg, pointing
from saywhy.train.loop import Config
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_cub.json"
SIZE = 30  # photos at once while measuring
NEAR = 0.1  # of the bird's longer side: how far around a marked part its disc reaches
PAPER = RECIPES["paper"]
CONVERGES = Config(epochs=6, batch_size=16, lr=2e-4, schedule="one-cycle", weight_decay=0.01)
RECIPES_OF = {"paper's recipe": PAPER, "AdamW": replace(PAPER, config=CONVERGES, bias_rate=1.0)}
CE = Coefficients(av=0.0, tv=0.0, border=0.0)
HEADS: dict[str, Recipe] = {
    f"l-cam-{kind}{', CE only' if ce else ''} ({name})": replace(
        recipe, kind=kind, coefficients=CE if ce else recipe.coefficients
    )
    for name, recipe in reversed(RECIPES_OF.items())
    for kind in ("img", "fm")
    for ce in (False, True)
}
ROWS = ("grad-cam", "cam^0.5", "sigmoid(cam)", "grad-cam++", "cam x centre", "centre")
ABOUT = {"question": __doc__.split("\n")[0], "data": "cub10: ten species, train and test photos", "few": FEW}


class Birds:
    """Photos to fit on, photos to measure on, and what people marked on these."""

    def __init__(self, folder: Path, onnx: bool, limit: int) -> None:
        self.clf = load_classifier("efficientnet-lite0")
        self.quick: Classifier = with_onnx(self.clf) if onnx else self.clf
        items = find_images(folder)
        self.train = [i for i in items if i.split == "train"]
        self.test = [i for i in items if i.split == "test"]
        counts = Counter(read_photos(self.clf, self.train, crop=False)[0].predicted)
        predicted = read_photos(self.clf, self.test, crop=False)[0].predicted
        enough = [n for n, c in enumerate(predicted) if counts[c] >= FEW]
        order = torch.randperm(len(enough), generator=torch.Generator().manual_seed(0))[:limit]
        self.where = sorted(enough[int(k)] for k in order)
        self.facts = {
            "train": len(self.train), "test": len(self.test), "of_classes_with_enough": len(enough),
            "classes_with_enough": {self.clf.class_names[c]: n for c, n in counts.most_common() if n >= FEW},
            "classes_with_fewer": sum(n < FEW for n in counts.values()),
        }  # fmt: skip

    def parts(self, where: Sequence[int]) -> list[tuple[list[int], Seen, dict[str, Tensor]]]:
        """Photos some at a time, as seen, with the masks of the bird's box and of discs around its marked parts."""
        out = []
        for some in (list(where[k : k + SIZE]) for k in range(0, len(where), SIZE)):
            items, pictures = [self.test[n] for n in some], [read(self.test[n].path) for n in some]
            images, boxes = self.clf.prepare(pictures)
            truth = truth_of(items, pictures, boxes, self.clf.preprocess, ("bird",))
            parts = [self._discs(i, b, float(s)) for i, b, s in zip(items, boxes, truth.sizes, strict=True)]
            out.append((some, Seen(self.quick, images), {"box": truth.masks, "parts": torch.stack(parts)}))
        return out

    def _discs(self, item: Item, seen: Box, size: float) -> Tensor:
        (x0, y0, x1, y1), (H, W) = seen, self.clf.preprocess.size
        rows, columns = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
        mask = torch.zeros(H, W, dtype=torch.bool)
        for x, y in item.truth.get("keypoints", {}).values():
            u, v = (x - x0) / (x1 - x0) * W, (y - y0) / (y1 - y0) * H
            mask |= torch.hypot(columns - u, rows - v) <= NEAR * size
        return mask


def located(maps: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Energy in the bird's box, the highest place in it, energy near its marked parts; the box's share of the view."""
    return {
        "epg-box": epg(maps, masks["box"]),
        "pointing-box": pointing(maps, masks["box"]),
        "epg-parts": epg(maps, masks["parts"]),
        "box-share": masks["box"].double().mean(dim=(1, 2)),
    }


def moved(clf: Classifier, birds: Birds, head: LCam, recipe: Recipe) -> float:
    """How far training moved the rows of the classes that were seen, relative to their length before."""
    photos, _ = read_photos(clf, birds.train, crop=recipe.crop)
    before = untrained(clf, photos, recipe).head
    assert isinstance(before, Rows) and isinstance(head.head, Rows)
    seen = sorted(set(photos.predicted))
    change = (head.head.weight[seen] - before.weight[seen]).norm(dim=1) / before.weight[seen].norm(dim=1)
    return float(change.detach().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", nargs="*", default=list(HEADS), metavar="HEAD", help=f"of {'; '.join(HEADS)}")
    parser.add_argument("--again", nargs="*", default=[], metavar="ROW", help="measure these anew")
    parser.add_argument("--photos", type=int, default=1000, help="at most so many, drawn by a fixed seed")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    data = photos_folder()
    torch.set_num_threads(1)
    birds = Birds(data / "cub10", given.onnx, given.photos)
    print(birds.facts, flush=True)
    again = [row for name in given.again for row in (name, f"{name}, sigmoid kept")]
    table = Table.opened(given.out, [i.path.name for i in birds.test], {**ABOUT, **birds.facts}, again)
    parts = birds.parts(birds.where)

    def enter(name: str, make: Any, order_of: str = "", **facts: Any) -> None:
        for some, seen, masks in parts:
            if table.lacks(name, some):
                order = {}
                if order_of:
                    order = {k: torch.tensor(column(table.rows, order_of, k)[some]) for k in OF_THE_ORDER}
                maps = make(seen.images)
                values = seen.measured(maps, order_of=order if order_of else None)
                table.put(name, some, {**values, **located(maps, masks)}, **facts)
        print(time.strftime("%H:%M:%S"), name, flush=True)

    for name in ROWS:
        row = PLAIN[name]
        enter(name, lambda images, row=row: row.maps(birds.clf, images), row.order_of, passes=row.passes)
    for name in given.heads:
        both = (name, f"{name}, sigmoid kept")
        if not any(table.lacks(n, birds.where) for n in both):
            continue
        began = time.process_time()
        out = fit_lcam(birds.clf, birds.train, HEADS[name])
        facts = {
            "fit_seconds": round(time.process_time() - began, 1),
            "moved": round(moved(birds.clf, birds, out.lcam, HEADS[name]), 5),
            "training": out.lcam.card["training"],
        }
        print(name, facts["fit_seconds"], facts["moved"], flush=True)
        enter(both[0], lambda images, h=out.lcam: raw_map(h, birds.clf, images), passes=1, **facts)
        enter(both[1], lambda images, h=out.lcam: kept_sigmoid(h, birds.clf, images), passes=1)


if __name__ == "__main__":
    main()
