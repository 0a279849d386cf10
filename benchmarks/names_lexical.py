"""Names by ordinary words, without anything fitted: how often they are right on real photos.

    SAYWHY_DATA=/path/to/data python benchmarks/names_lexical.py [--photos 100] [--cars 70] [--sheet FILE.png]

1. Photos of imagenet300 with their own class taken out of what the classifier knows: where that class's name comes
   among the 300 by the text space `lexical`; and how well kinds and parts sort the photos.
2. Regions that `explain` finds in photos of imagenet300 and carparts250: which get a name from which certainty on, and
   whether it is right. A name of a photo's region is right if the photo's class is of that kind: also asked with the
   class taken out. A name of a car's region is right if it is a vehicle's and at least six tenths of the region lie on
   the car (the convex hull of its marked parts). The first half of the photos gives the least certainty from which nine
   of ten are right, the other half is reported. `--sheet` draws named regions of both, for a person to judge.

Regions are kept in `SAYWHY_CACHE`. Writes results/names_lexical.json and a table of docs/names.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from skimage.morphology import convex_hull_image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from lcam_rows import photos_folder
from page import table
from saywhy import Classifier, load_classifier
from saywhy.collection import Item, find_images
from saywhy.image import framed_mask
from saywhy.intervene import plain_probabilities, remembering
from saywhy.lexical.part import LEAST, alone, narrowest
from saywhy.metrics import wilson
from saywhy.regions.part import find_in
from saywhy.seen import look
from saywhy.spaces.wordbook import load_words
from saywhy.train.pictures import cache_folder
from sentence_measures import machine

HERE = Path(__file__).parent
MARK = "<!-- lexical -->"
VEHICLES = ("vehicle", "car", "truck", "bus")
RIGHT, ON_CAR, FEWEST = 0.9, 0.6, 5
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


# --------------------------------------------------------------------------------------------------
# Photos whose class is not known.


def of_space(probabilities: torch.Tensor, classes: torch.Tensor) -> dict[str, Any]:
    """How the text space places photos: probabilities (N, C) and their classes (N,)."""
    words, n = load_words(), torch.arange(len(classes))
    without = probabilities.clone()
    without[n, classes] = 0
    own = F.normalize(words.mixed(without), dim=1) @ words.vectors[classes].T
    rank = 1 + (own > own.diagonal()[:, None]).sum(1)
    seen, first = F.normalize(words.mixed(probabilities), dim=1), n % 2 == 0
    kinds = [i for i, role in enumerate(words.roles) if role.startswith("kind")]
    parts = [i for i, role in enumerate(words.roles) if role == "part"]
    cosines, truth = seen @ words.vectors[kinds].T, _truth(kinds, classes)
    fit = LogisticRegression(C=1e6).fit(cosines[first].reshape(-1, 1), truth[first.numpy()].ravel())
    held = F.normalize(words.mixed(without), dim=1) @ words.vectors[kinds].T
    return {
        "photos": len(classes), "rank_5": int((rank <= 5).sum()), "rank_1": int((rank == 1).sum()),
        "scale": float(fit.coef_[0, 0]), "bias": float(fit.intercept_[0]),
        "kinds": _sorted(cosines[~first], truth[~first.numpy()]),
        "kinds_without_the_class": _sorted(held[~first], truth[~first.numpy()]),
        "parts": _sorted(seen @ words.vectors[parts].T, _truth(parts, classes)),
    }  # fmt: skip


def _truth(phrases: Sequence[int], classes: torch.Tensor) -> np.ndarray:
    of = [set(load_words().true_of[i]) for i in phrases]
    return np.array([[c in some for some in of] for c in classes.tolist()])


def _sorted(cosines: torch.Tensor, truth: np.ndarray) -> dict[str, float]:
    judged = [j for j in range(truth.shape[1]) if truth[:, j].sum() >= FEWEST]
    found = [average_precision_score(truth[:, j], cosines[:, j].numpy()) for j in judged]
    return {"phrases": len(judged), "precision": float(np.mean(found)), "chance": float(truth[:, judged].mean())}


# --------------------------------------------------------------------------------------------------
# Regions of explanations.


@dataclass
class Region:
    """One region of a photo: what the classifier says of it alone and of the whole (C,), the photo's class or how much
    of the region lies on the car."""

    photo: str
    number: int
    alone: torch.Tensor
    whole: torch.Tensor
    mask: np.ndarray
    image: torch.Tensor
    label: int | None = None
    on_car: float = 0.0

    def name(self, held_out: bool = False) -> tuple[int, float]:
        """The kind that it would be called by, and how sure that is."""
        member = load_words().kinds[1]
        some = [p.clone() for p in (self.alone, self.whole)]
        for p in some if held_out else ():
            p[self.label] = 0
            p /= p.sum().clamp_min(1e-9)
        sure = torch.minimum(*(p @ member for p in some))
        best = narrowest(sure, member)
        return best, float(sure[best])

    def right(self, kind: int) -> bool:
        """Whether that name is right."""
        names, member = load_words().kinds
        if self.label is not None:
            return bool(member[self.label, kind])
        return names[kind] in VEHICLES and self.on_car >= ON_CAR


def regions_of(clf: Classifier, items: Sequence[Item]) -> Iterator[Region]:
    """The regions that `explain` finds in photos, as it finds them."""
    for item in items:
        picture = clf.read(item.path)
        seen = look(clf, picture)
        file = cache_folder() / "names-lexical" / f"{item.path.stem}.npz"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with remembering():
                found = find_in(clf, seen.image, seen.probabilities, seen.target)
            np.savez_compressed(file, regions=found.regions.numpy())
        masks = np.load(file)["regions"].astype(bool)
        parts = [framed_mask(m, clf.preprocess) for m in item.regions((picture.height, picture.width)).values()]
        car = convex_hull_image(np.max(parts, axis=0) > 0.5) if parts else None
        shown = plain_probabilities(clf, alone(seen.image, torch.from_numpy(masks))) if len(masks) else []
        for n, (mask, p) in enumerate(zip(masks, shown, strict=True)):
            on_car = 0.0 if car is None else float(car[mask].mean())
            whole = seen.probabilities.cpu().double()
            yield Region(str(item.path), n, p, whole, mask, seen.image, item.class_index, on_car)


def tally(regions: Sequence[Region], least: float, held_out: bool = False) -> dict[str, int]:
    """How many regions get a name from that certainty on, and how many of the names are right."""
    named = [r.right(kind) for r in regions for kind, sure in [r.name(held_out)] if sure >= least]
    return {"regions": len(regions), "named": len(named), "right": sum(named)}


def least_of(told: Sequence[tuple[bool, float]]) -> float:
    """The least certainty from which nine of ten names are right."""
    order = sorted(told, key=lambda t: -t[1])
    right = np.cumsum([one for one, _ in order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= RIGHT)
    return order[enough[-1]][1] if len(enough) else 1.01


def of_regions(photos: Sequence[Region], cars: Sequence[Region]) -> dict[str, Any]:
    """The least certainty of the first halves, and what is named in the others."""
    (first, second), (some, others) = _halves(photos), _halves(cars)
    held, on_cars = ([(r.right(k), s) for r in part for k, s in [r.name(out)]] for part, out in
                     ((first, True), (some, False)))  # fmt: skip
    return {
        "least": {"class taken out": least_of(held), "cars": least_of(on_cars)}, "used": LEAST,
        "on_car": {"regions": len(others), "right": sum(r.on_car >= ON_CAR for r in others)},
        "rows": {
            "photos": tally(second, LEAST), "photos, class taken out": tally(second, LEAST, held_out=True),
            "cars": tally(others, LEAST),
        },
        "levels": {
            str(at): {"photos": tally(photos, at), "class taken out": tally(photos, at, True), "cars": tally(cars, at)}
            for at in LEVELS
        },
    }  # fmt: skip


def _halves(regions: Sequence[Region]) -> tuple[list[Region], list[Region]]:
    names = sorted({r.photo for r in regions})
    return tuple([r for r in regions if names.index(r.photo) % 2 == half] for half in (0, 1))  # type: ignore[return-value]


def sheet(regions: Sequence[Region], file: Path, columns: int = 6) -> None:
    """Draws the named regions, bright in their dark photos, with their names."""
    named = [(r, *r.name()) for r in regions if r.name()[1] >= LEAST]
    page = Image.new("RGB", (columns * 232, -(-len(named) // columns) * 248), "white")
    for n, (r, kind, sure) in enumerate(named):
        shade = torch.from_numpy(np.where(r.mask, 1.0, 0.35)).float()
        cell = Image.fromarray((r.image * shade * 255).byte().permute(1, 2, 0).numpy())
        at = (n % columns * 232, n // columns * 248)
        page.paste(cell, at)
        ImageDraw.Draw(page).text((at[0] + 2, at[1] + 228), f"{n}: {load_words().kinds[0][kind]} {sure:.2f}", "black")
    page.save(file)


def page_of(result: dict[str, Any]) -> str:
    """The table of docs/names.md."""
    told = {
        "photos of 300 classes": "photos", "the same, their class taken out": "photos, class taken out",
        "photos of cars, on the car": "cars",
    }  # fmt: skip
    rows = [result["regions"]["rows"][key] for key in told.values()]
    lines = [
        (what, _share(r["named"], r["regions"]), _share(r["right"], r["named"]))
        for what, r in zip(told, rows, strict=True)
    ]
    return table(("regions of explanations", "get a name", "of these, right"), lines)


def _share(hits: int, of: int) -> str:
    share = wilson(hits, of)
    return f"{share.mean:.0%} of {of} [{share.low:.0%}–{share.high:.0%}]" if of else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--cars", type=int, default=70)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clf, data = load_classifier("efficientnet-lite0"), photos_folder()
    items, cars = find_images(data / "imagenet300"), find_images(data / "carparts250")
    views = [clf.probabilities(clf.prepare([clf.read(i.path)])[0])[0] for i in items]
    space = of_space(torch.stack(views), torch.tensor([i.class_index or 0 for i in items]))
    print(json.dumps(space, indent=1))
    found = [
        list(regions_of(clf, some[:: max(1, len(some) // count)][:count]))
        for some, count in ((items, asked.photos), (cars, asked.cars))
    ]
    result = {**machine(), "model": clf.name, "space": space, "regions": of_regions(*found)}
    print(json.dumps(result["regions"], indent=1))
    (HERE / "results" / "names_lexical.json").write_text(json.dumps(result, indent=1) + "\n")
    docs = HERE.parent / "docs" / "names.md"
    before, _, after = docs.read_text(encoding="utf-8").split(MARK)
    docs.write_text(f"{before}{MARK}\n\n{page_of(result)}\n\n{MARK}{after}", encoding="utf-8")
    if asked.sheet:
        sheet([r for some in found for r in some], asked.sheet)


if __name__ == "__main__":
    main()
