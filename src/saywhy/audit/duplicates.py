"""Pictures that are nearly the same: saved again, scaled, made lighter, or mirrored; told by how they look in small.

N looks of LOOK x LOOK pixels. Of 400 photos no two different ones were more alike than .82, and JPEG at quality 40 and
six tenths of the size left all above .99, a quarter more light the middle one at .99, a rim of 3 % cut away at .97.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
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
BLOCK, WIDE = 256, 2048  # rows, and others, that are compared at once
PIECE = 20_000  # pairs that are compared as a whole at once
PAIRS = 100_000  # that are found at most: many times one picture are more pairs than anybody can hold

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
    After PAIRS of them it looks no further.
    """
    ((count,),) = store.execute("SELECT count(*) FROM pictures").fetchall()
    if count > MOST:
        return []
    answers = (
        [None] if count <= ALL else [a for (a,) in store.execute("SELECT DISTINCT answer FROM pictures").fetchall()]
    )
    found: list[Twins] = []
    for answer in answers:
        where = "" if answer is None else f"WHERE answer = {int(answer)}"
        rows = store.execute(f"SELECT n, look FROM pictures {where} ORDER BY n").fetchall()
        pairs = _pairs([n for n, _ in rows], [look for _, look in rows]) if rows else iter(())
        found += islice(pairs, PAIRS - len(found))
    return sorted(found, key=lambda p: (-p.alike, p.first, p.second))


def _pairs(numbers: Sequence[int], looks: Sequence[bytes]) -> Iterator[Twins]:
    """Every pair: ruled out on a few axes, which bring looks nearer and never apart, and then compared as a whole."""
    values = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(len(looks), 3, LOOK, LOOK).astype(np.float32)
    every = _units(values)
    kept = np.flatnonzero(every.any(axis=1))
    units, turned = every[kept], _units(values[kept][..., ::-1])
    axes = _axes(units)
    first = _ready(units @ axes)
    sides = [(others, _ready(others @ axes, second=True)) for others in (units, turned)]
    for i in range(0, len(kept), BLOCK):
        for j in range(i - i % WIDE, len(kept), WIDE):
            best: dict[tuple[int, int], tuple[float, bool]] = {}
            for mirrored, (others, second) in enumerate(sides):
                near = first[i : i + BLOCK] @ second[j : j + WIDE].T >= ALIKE - 1 - 1e-4
                pairs = np.argwhere(np.triu(near, i - j + 1)) + np.array([i, j])
                for a, b, c in _alike(units, others, pairs):
                    if c > best.get((a, b), (0.0, False))[0]:
                        best[a, b] = (c, bool(mirrored))
            for (a, b), (c, mirror) in best.items():
                yield Twins(numbers[kept[a]], numbers[kept[b]], round(min(c, 1.0), 4), mirror)


def _alike(units: Units, others: Units, pairs: NDArray[np.int64]) -> Iterator[tuple[int, int, float]]:
    """The pairs (n, 2), of which few are compared at once, that correlate by ALIKE at least, and by how much."""
    for some in (pairs[k : k + PIECE] for k in range(0, len(pairs), PIECE)):
        alike = np.einsum("nd,nd->n", units[some[:, 0]], others[some[:, 1]])
        kept = alike >= ALIKE
        yield from zip(*some[kept].T.tolist(), alike[kept].tolist(), strict=True)


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
