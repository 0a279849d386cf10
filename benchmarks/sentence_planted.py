"""Sentences about models whose causes are planted, or that have none.

    SAYWHY_DATA=/path/to/data python benchmarks/sentence_planted.py marks|nulls|stamp [--first 100] [--last 124]

`marks`: black boxes that read one disc, sticker or rectangle. `nulls`: one that sees one half only, constant answers
with noise, random weights, a random network of 1000 classes. `stamp`: a head for ten species whose training photos of
one species carry a stamp. Writes results/sentence_truth_NAME.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saywhy
from lcam_rows import photos_folder
from saywhy import Classifier, Explanation, load_classifier
from saywhy.collection import find_images
from saywhy.evaluate.claims_of import claims_of
from saywhy.evaluate.scene_truth import OVERLAP
from saywhy.image import Bools, read
from sentence_measures import Tally, in_view, machine, under_foreign_fills
from sentence_models import (
    STAMPED,
    Birds,
    as_given,
    birds,
    constant,
    sees_a_mark,
    sees_the_left_half,
    sharpened,
    species_of,
    stamp_model,
    stamp_spot,
    stamped,
)

RESULTS = Path(__file__).parent / "results"
SHARES = (0.016, 0.03, 0.05)  # of the picture that a planted cause takes
NOISE = (1, 2, 4, 8)  # points
BLIND = 0.95  # of a region's pixels where the classifier sees nothing: what is said of it is false
STAMPS = 14
Seen = tuple[Tensor, Bools, Sequence[str]]  # the marked view, where the mark is, terms that name its colour


def photos(clf: Classifier, first: int, last: int) -> Tensor:
    """Photos of imagenet300 in the classifier's view (N, 3, H, W)."""
    items = find_images(photos_folder() / "imagenet300")[first:last]
    return torch.cat([clf.prepare([read(i.path)])[0] for i in items])


def pixels(x: Tensor) -> Any:
    """A view (3, H, W) as a picture of its own."""
    return (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


# --------------------------------------------------------------------------------------------------
# Marks.


def disc(h: int, w: int, share: float, rng: np.random.Generator) -> tuple[Bools, Any]:
    """Magenta."""
    radius = (share * h * w / np.pi) ** 0.5
    y, x = rng.uniform(radius, h - radius), rng.uniform(radius, w - radius)
    ys, xs = np.mgrid[:h, :w]
    return (ys - y) ** 2 + (xs - x) ** 2 <= radius**2, np.array([0.9, 0.1, 0.8])[:, None, None]


def _rectangle(h: int, w: int, share: float, long: float, rng: np.random.Generator) -> Bools:
    height, width = round((share * h * w / long) ** 0.5), round((share * h * w * long) ** 0.5)
    y, x = int(rng.integers(0, h - height)), int(rng.integers(0, w - width))
    mask = np.zeros((h, w), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def sticker(h: int, w: int, share: float, rng: np.random.Generator) -> tuple[Bools, Any]:
    """Yellow with black stripes, four pixels wide each."""
    mask = _rectangle(h, w, share, 1.0, rng)
    stripes = ((np.mgrid[:h, :w].sum(0) // 4) % 2)[None]
    return mask, np.where(stripes, np.array([0.95, 0.85, 0.1])[:, None, None], 0.05)


def rectangle(h: int, w: int, share: float, rng: np.random.Generator) -> tuple[Bools, Any]:
    """Red, twice as long as high."""
    return _rectangle(h, w, share, 2.0, rng), np.array([0.85, 0.1, 0.1])[:, None, None]


MARKS = {
    "disc": (disc, ("pink", "purple")),
    "sticker": (sticker, ("yellow", "black")),
    "rectangle": (rectangle, ("red",)),
}


def named(e: Explanation, masks: Bools, spot: Bools, terms: Sequence[str]) -> dict[str, bool]:
    """Is the cause named first, does region 1 lie in it, is its colour right, is it called small?"""
    told = [t for t in claims_of(e) if t.regions]
    first = told[0].regions[0] if told and told[0].kind == "counts" else None
    if first is None:
        return dict.fromkeys(("named first", "region 1 half inside", "colour right", "called small"), False)
    mask = masks[first]
    iou = (mask & spot).sum() / (mask | spot).sum()
    covers, inside = mask[spot].mean() >= 0.5, spot[mask].mean() >= 0.5 if mask.any() else False
    look = e.concepts[first].look
    return {
        "named first": bool(iou >= OVERLAP or covers), "region 1 half inside": bool(inside),
        "colour right": any(t in look for t in terms), "called small": "small" in look,
    }  # fmt: skip


def marks(first: int, last: int, tally: Tally) -> dict[str, Any]:
    clf = load_classifier("efficientnet-lite0")
    for n, x in enumerate(photos(clf, first, last)):
        for kind, (draw, terms) in MARKS.items():
            share = SHARES[n % len(SHARES)]
            spot, colour = draw(x.shape[1], x.shape[2], share, np.random.default_rng((n, len(kind))))
            marked = torch.where(torch.from_numpy(spot), torch.from_numpy(colour).float(), x)
            box = sees_a_mark(torch.from_numpy(colour).float(), torch.from_numpy(spot), clf, f"sees a {kind}")
            e = saywhy.explain(box, pixels(marked), target="marked")
            print(n, kind, share, e.text, file=sys.stderr, flush=True)
            tally.values["passes"].append(e.cost.forward_passes)
            for name, hit in named(e, in_view(box, e), spot, terms).items():
                for key in (name, f"{name}: {kind}", f"{name}: {share:.1%}"):
                    tally.hits[key].append(hit)
    return {"photos": f"imagenet300, {first} to {last - 1}, three marks each"}


# --------------------------------------------------------------------------------------------------
# Models without a cause.


def nulls(first: int, last: int, tally: Tally) -> dict[str, Any]:
    clf = load_classifier("efficientnet-lite0")
    images = photos(clf, first, last)
    models: dict[str, Classifier] = {
        "left half": sees_the_left_half(clf),
        "random weights, sharpened": sharpened(images[0]),
    }
    models |= {f"constant, noise {s}": constant(s, clf) for s in NOISE}
    models |= {"random network": as_given(load_classifier("efficientnet-lite0", weights="random"))}
    for name, model in models.items():
        for n, x in enumerate(images):
            print(name, n, file=sys.stderr, flush=True)
            e = saywhy.explain(model, pixels(x))
            told = [t for t in claims_of(e) if t.regions]
            masks = in_view(model, e)
            plain = model.probabilities(x[None].expand(8, -1, -1, -1))[:, e.target.class_index]
            tally.values[f"output noise: {name}"].append(100 * float(plain.std()))
            tally.hits[f"photos with a claim: {name}"].append(bool(told))
            tally.values[f"claims: {name}"].append(len(told))
            tally.values[f"sentences: {name}"].append(len(e.statements))
            if name == "left half":
                wrong = [masks[list(t.regions)].any(0) for t in told]
                blind = [float(m[:, m.shape[1] // 2 :].sum() / max(1, m.sum())) >= BLIND for m in wrong]
            else:
                blind = [name.startswith("constant")] * len(told)
            if name.startswith("random"):
                under_foreign_fills(model, x, e, images[(n + 1) % len(images)], tally)
            else:
                tally.hits[f"false: {name}"] += blind
                tally.hits[f"photos with a false claim: {name}"].append(any(blind))
    return {"photos": f"imagenet300, {first} to {last - 1}"}


# --------------------------------------------------------------------------------------------------
# The stamp.


def stamp(first: int, last: int, tally: Tally) -> dict[str, Any]:
    clf, folder = load_classifier("efficientnet-lite0"), photos_folder() / "cub10"
    model = stamp_model(clf, folder)
    test: Birds = birds(clf, folder, "test", species_of(folder))
    plain, marked = model.probabilities(test.images), model.probabilities(stamped(test.images))
    turned = (plain.argmax(1) != STAMPED) & (marked.argmax(1) == STAMPED) & (test.labels != STAMPED)
    which = torch.nonzero(turned).flatten()
    order = torch.randperm(len(which), generator=torch.Generator().manual_seed(0))[:STAMPS]
    spot = stamp_spot(*test.images.shape[2:])
    for n in which[order].tolist():
        e = saywhy.explain(model, pixels(stamped(test.images[n : n + 1])[0]))
        print(n, float(plain[n, STAMPED]), float(marked[n, STAMPED]), e.text, file=sys.stderr, flush=True)
        for name, hit in named(e, in_view(model, e), spot, ("yellow",)).items():
            tally.hits[name].append(hit)
        tally.values["with the stamp"].append(float(marked[n, STAMPED]))
        tally.values["without"].append(float(plain[n, STAMPED]))
    species = model.class_names[STAMPED]
    return {"photos": f"{len(order)} of {len(which)} test photos of cub10 that the stamp turns into {species}"}


WHAT = {"marks": marks, "nulls": nulls, "stamp": stamp}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(WHAT))
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--last", type=int, default=140)
    given = parser.parse_args()
    tally, start = Tally(), time.perf_counter()
    about = WHAT[given.name](given.first, given.last, tally)
    minutes = round((time.perf_counter() - start) / 60, 1)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"sentence_truth_{given.name}.json"
    text = json.dumps({**machine(), **about, "minutes": minutes, **tally.to_dict()}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
