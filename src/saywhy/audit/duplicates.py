"""Pictures that are nearly the same: saved again, scaled, made lighter, or mirrored; told by how they look in small.

N looks of LOOK x LOOK pixels. Of 400 photos no two different ones were more alike than .82, and JPEG at quality 40 and
six tenths of the size left all above .99, a quarter more light the middle one at .99, a rim of 3 % cut away at .97.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saywhy.audit.depths import LOOK

ALIKE = 0.97  # correlation of two looks
ALL = 50_000  # pictures up to which every two are compared; of more, those with one answer
MOST = 1_000_000  # pictures; among more they are not looked for
AXES = 24  # numbers of each look by which nearly all pairs are ruled out
SOME = 5000  # looks from which the axes are taken
FLAT = 2.0  # of 255: a look that differs less from its mean says nothing
BLOCK = 512  # rows that are compared at once

Units = NDArray[np.float32]


@dataclass(frozen=True)
class Twins:
    """Two pictures by their numbers, the smaller first, and the correlation of their looks."""

    first: int
    second: int
    alike: float
    mirrored: bool


def near_duplicates(store: Any) -> list[Twins]:
    """Every two pictures of a store that are nearly the same, most alike first; flat ones are like nothing.

    Of more than ALL pictures only those are compared to which the classifier gives one answer, of more than MOST none.
    """
    ((count,),) = store.execute("SELECT count(*) FROM pictures").fetchall()
    if count > MOST:
        return []
    answers = (
        [None] if count <= ALL else [a for (a,) in store.execute("SELECT DISTINCT answer FROM pictures").fetchall()]
    )
    found = []
    for answer in answers:
        where = "" if answer is None else f"WHERE answer = {int(answer)}"
        rows = store.execute(f"SELECT n, look FROM pictures {where} ORDER BY n").fetchall()
        found += [] if not rows else list(_pairs([n for n, _ in rows], [look for _, look in rows]))
    return sorted(found, key=lambda p: (-p.alike, p.first, p.second))


def _pairs(numbers: Sequence[int], looks: Sequence[bytes]) -> Iterator[Twins]:
    """Every pair: ruled out on a few axes, which bring looks nearer and never apart, and then compared as a whole."""
    values = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(len(looks), 3, LOOK, LOOK).astype(np.float32)
    every = _units(values)
    kept = np.flatnonzero(every.any(axis=1))
    units, turned = every[kept], _units(values[kept][..., ::-1])
    axes = _axes(units)
    own, sides = _ready(units @ axes), (("same", units), ("mirrored", turned))
    for start in range(0, len(kept), BLOCK):
        best: dict[tuple[int, int], tuple[float, bool]] = {}
        for kind, others in sides:
            near = own[start : start + BLOCK] @ _ready(others[start:] @ axes, second=True).T >= ALIKE - 1 - 1e-4
            near[:, : len(near)] = np.triu(near[:, : len(near)], 1)
            i, j = np.nonzero(near)
            alike = np.einsum("nd,nd->n", units[start + i], others[start + j])
            for a, b, c in zip((start + i).tolist(), (start + j).tolist(), alike.tolist(), strict=True):
                if c >= ALIKE and c > best.get((a, b), (0.0, False))[0]:
                    best[a, b] = (c, kind == "mirrored")
        for (a, b), (c, mirrored) in best.items():
            yield Twins(numbers[kept[a]], numbers[kept[b]], round(min(c, 1.0), 4), mirrored)


def _axes(units: Units) -> Units:
    """The directions (D, AXES) in which looks differ most."""
    some = units[:: max(1, len(units) // SOME)]
    return np.asarray(np.linalg.eigh(some.T @ some)[1][:, -AXES:], dtype=np.float32)


def _ready(points: Units, second: bool = False) -> Units:
    """Points (N, k) with two numbers more, so that the product of a first and a second is minus half their distance
    squared: of two looks that correlate by c it is c - 1 at least."""
    half, ones = -0.5 * (points**2).sum(axis=1, keepdims=True), np.ones((len(points), 1), dtype=np.float32)
    return np.concatenate([points, *((ones, half) if second else (half, ones))], axis=1)


def _units(values: NDArray[np.float32]) -> Units:
    """What differs within each look and colour (N, D), of length 1; zeros where hardly anything does."""
    flat = (values - values.mean(axis=(2, 3), keepdims=True)).reshape(len(values), 3 * LOOK * LOOK)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    least = FLAT * flat.shape[1] ** 0.5
    units: Units = flat * (length >= least) / np.maximum(length, least)
    return units
