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
ALL = 10_000  # pictures up to which every two are compared; of more, those with one answer
FLAT = 2.0  # of 255: a look that differs less from its mean says nothing
BLOCK = 2048  # rows that are compared at once

Units = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two pictures by their numbers, the smaller first, and the correlation of their looks."""

    first: int
    second: int
    alike: float
    mirrored: bool


def near_duplicates(store: Any) -> list[Pair]:
    """Every two pictures of a store that are nearly the same, most alike first; flat ones are like nothing.

    Of more than ALL pictures only those are compared to which the classifier gives one answer.
    """
    ((count,),) = store.execute("SELECT count(*) FROM pictures").fetchall()
    answers = (
        [None] if count <= ALL else [a for (a,) in store.execute("SELECT DISTINCT answer FROM pictures").fetchall()]
    )
    found = []
    for answer in answers:
        where = "" if answer is None else f"WHERE answer = {int(answer)}"
        rows = store.execute(f"SELECT n, look FROM pictures {where} ORDER BY n").fetchall()
        found += [] if not rows else list(_pairs([n for n, _ in rows], [look for _, look in rows]))
    return sorted(found, key=lambda p: (-p.alike, p.first, p.second))


def _pairs(numbers: Sequence[int], looks: Sequence[bytes]) -> Iterator[Pair]:
    values = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(-1, 3, LOOK, LOOK).astype(np.float32)
    units, turned = _units(values), _units(values[..., ::-1])
    for start in range(0, len(units), BLOCK):
        own = units[start : start + BLOCK]
        same, mirror = own @ units[start:].T, own @ turned[start:].T
        best = np.maximum(same, mirror)
        for i, j in zip(*np.nonzero(np.triu(best, 1) >= ALIKE), strict=True):
            pair = numbers[start + i], numbers[start + j]
            yield Pair(*pair, round(min(float(best[i, j]), 1.0), 4), bool(mirror[i, j] > same[i, j]))


def _units(values: NDArray[np.float32]) -> Units:
    """What differs within each look and colour (N, D), of length 1; zeros where hardly anything does."""
    flat = (values - values.mean(axis=(2, 3), keepdims=True)).reshape(len(values), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    least = FLAT * flat.shape[1] ** 0.5
    units: Units = flat * (length >= least) / np.maximum(length, least)
    return units
