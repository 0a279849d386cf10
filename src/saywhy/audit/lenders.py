"""Recognised pictures of a scan: donors of surroundings and patches, and what pictures usually measure."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from saywhy.audit.cutout import Cutout, object_mask
from saywhy.audit.inventory import listed
from saywhy.audit.sources import giving
from saywhy.audit.store import open_store
from saywhy.classifier import Classifier
from saywhy.errors import InputError

OF_A_CLASS = 32  # recognised pictures that lend something
REFERENCE = 64  # recognised pictures that say what is usual
KEPT = 96  # cutouts in memory


def warmth(image: Tensor) -> float:
    """How much redder than blue an image (3, H, W) is."""
    return float((image[0] - image[2]).mean())


def light(image: Tensor) -> float:
    """How bright an image (3, H, W) is."""
    return float(image.mean())


def grain(image: Tensor) -> float:
    """How much of an image (3, H, W) is finer than two pixels: much in noise, little in blur."""
    smooth = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return float((image - smooth).abs().mean().log())


MEASURES: dict[str, Callable[[Tensor], float]] = {"warmth": warmth, "light": light, "grain": grain}


class Lenders:
    """The recognised pictures of a scan whose predictions are done, drawn by their numbers and the seed."""

    def __init__(self, folder: Path, clf: Classifier, seed: int) -> None:
        self.folder, self.clf, self.seed = folder, clf, seed
        self._kept: OrderedDict[int, Cutout | None] = OrderedDict()

    @cached_property
    def numbers(self) -> Mapping[int, Sequence[int]]:
        """Some recognised pictures of each class; which, depends on nothing but seed and number."""
        with open_store(self.folder) as store:
            rows = store.execute(
                "SELECT label, list(n ORDER BY n) FROM pictures WHERE correct GROUP BY label"
            ).fetchall()
        return {label: self._drawn(numbers) for label, numbers in rows}

    def _drawn(self, numbers: Sequence[int]) -> list[int]:
        return sorted(numbers, key=lambda n: sha256(f"{self.seed} {n}".encode()).digest())[:OF_A_CLASS]

    def of(self, classes: Sequence[int], count: int, but: int, dice: random.Random) -> list[tuple[int, Cutout]]:
        """Up to `count` of them with these classes, other than picture `but`; what cannot be read is left out."""
        pool = [n for c in classes for n in self.numbers.get(c, ()) if n != but]
        drawn = dice.sample(pool, min(count, len(pool)))
        return [(n, cutout) for n in drawn if (cutout := self[n]) is not None]

    def others(self, classes: Sequence[int]) -> list[int]:
        """All classes that have some, but these."""
        return sorted(c for c in self.numbers if c not in classes)

    def __getitem__(self, n: int) -> Cutout | None:
        """The picture with that number, and its object; None where it cannot be read any more."""
        if n not in self._kept:
            self._kept[n] = self._read(n)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(n)
        return self._kept[n]

    def _read(self, n: int) -> Cutout | None:
        with giving() as give:
            ((_, entry),) = listed(self.folder, [n])
            try:
                image = self.clf.prepare([self.clf.read(give(entry))])[0][0]
            except InputError:
                return None
        return Cutout(image, object_mask(image))

    @cached_property
    def reference(self) -> list[Tensor]:
        """Recognised pictures of all classes (3, H, W), as many of each as there are."""
        rows = sorted((i, c, n) for c, numbers in self.numbers.items() for i, n in enumerate(numbers))
        found = (self[n] for _, _, n in rows[:REFERENCE])
        return [cutout.image for cutout in found if cutout is not None]

    @cached_property
    def usual(self) -> Mapping[str, tuple[float, float]]:
        """Of each measure the median and the distance of the 5 % that are furthest from it, over the reference."""
        out = {}
        for name, measure in MEASURES.items():
            values = np.asarray([measure(image) for image in self.reference] or [0.0])
            middle = float(np.median(values))
            out[name] = middle, max(float(np.quantile(np.abs(values - middle), 0.95)), 1e-6)
        return out
