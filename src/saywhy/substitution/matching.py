"""Which piece of a donor's picture lies where a piece of this one does: both are laid over each other.

An instance is one connected piece of a concept; masks (H, W) of one view each. Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SMALLEST = 0.002  # of the view: smaller pieces are no instance
MOST = 16  # instances of a view, the largest
LARGEST = 0.12  # larger ones are ground, not things
STRETCH = 2.0  # by how much a donor is scaled at most
LEAST = 1.2  # agreement
FAR = 1.0  # how far, in sides of the piece, a partner lies at most; a factor e in area is as far as one side

Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Instance:
    """One piece of a concept (by its number in the bank): its mask (H, W), and the middle (x, y)."""

    concept: int
    mask: Tensor
    middle: Place
    area: int


@dataclass(frozen=True)
class Laid:
    """How a donor's view lies over this one: (x, y) there is `scale * (mirror * x, y) + shift` here; `agrees` is how
    many instances lie on their like, each by how near it does."""

    mirror: int
    scale: float
    shift: Place
    agrees: float = 0.0

    def here(self, place: Place) -> Place:
        """Where a place of the donor's lies here."""
        return self.scale * self.mirror * place[0] + self.shift[0], self.scale * place[1] + self.shift[1]


def instances_of(labels: Tensor) -> list[Instance]:
    """The pieces of all concepts of a view, by the concept (H, W) of each pixel (-1: none); the largest first."""
    known, out = labels.numpy(), list[Instance]()
    for j in sorted(int(j) for j in np.unique(known) if j >= 0):
        parts, count = ndimage.label(known == j)
        out += [_instance(j, parts == n + 1) for n in range(count)]
    kept = [s for s in out if SMALLEST * labels.numel() <= s.area <= LARGEST * labels.numel()]
    return sorted(kept, key=lambda s: -s.area)[:MOST]


def _instance(j: int, mask: np.ndarray) -> Instance:
    ys, xs = np.nonzero(mask)
    return Instance(j, torch.from_numpy(mask), (float(xs.mean()), float(ys.mean())), len(xs))


def laid(own: Sequence[Instance], other: Sequence[Instance]) -> Laid | None:
    """A donor's view over this one, by instances of the same concept: of all ways in which two of them lie on two,
    mirrored or not, the one in which most instances here lie on one of their own concept; None where few do."""
    alike = [(i, k) for i, a in enumerate(own) for k, b in enumerate(other) if a.concept == b.concept]
    ways = [
        way
        for (i, k), (j, m) in combinations(alike, 2)
        if i != j and k != m
        for mirror in (1, -1)
        if (way := _through(own[i].middle, own[j].middle, other[k].middle, other[m].middle, mirror)) is not None
    ]
    best = max(
        ((_agreement(own, other, alike, way), n) for n, way in enumerate(ways)),
        default=(0.0, -1),
        key=lambda row: (row[0], -row[1]),
    )
    return None if best[1] < 0 or best[0] < LEAST else replace(ways[best[1]], agrees=best[0])


def _through(a: Place, b: Place, c: Place, d: Place, mirror: int) -> Laid | None:
    """The way that takes c and d there to about a and b here, without turning."""
    u, v = (b[0] - a[0], b[1] - a[1]), (mirror * (d[0] - c[0]), d[1] - c[1])
    far = v[0] ** 2 + v[1] ** 2
    scale = (u[0] * v[0] + u[1] * v[1]) / max(far, 1e-9)
    if not 1 / STRETCH <= scale <= STRETCH:
        return None
    middle = (mirror * (c[0] + d[0]) / 2, (c[1] + d[1]) / 2)
    return Laid(mirror, scale, ((a[0] + b[0]) / 2 - scale * middle[0], (a[1] + b[1]) / 2 - scale * middle[1]))


def _agreement(
    own: Sequence[Instance], other: Sequence[Instance], alike: Sequence[tuple[int, int]], way: Laid
) -> float:
    """How many instances here lie on one there, each by how near it does."""
    best: dict[int, float] = {}
    for i, k in alike:
        best[i] = max(best.get(i, 0.0), 1 - apart(own[i], other[k], way) / FAR)
    return sum(best.values())


def apart(instance: Instance, other: Instance, how: Laid) -> float:
    """How far a donor's instance lies from this one, and how unlike they are in size, in sides of this one."""
    x, y = how.here(other.middle)
    side = math.sqrt(instance.area)
    size = math.log(other.area * how.scale**2 / instance.area)
    return math.hypot((x - instance.middle[0]) / side, (y - instance.middle[1]) / side, size)
