"""Variation that training did not show: a class that is recognised in the split "train" and missed in others, where the
other classes are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from saywhy.findings.groups import SHOWN
from saywhy.findings.labelled import Bools, Labelled
from saywhy.findings.shares import difference, likelier
from saywhy.findings.suspicion import Suspicion

TRAINED = "train"
FEWEST = 4  # pictures of a class in each of both
LEAST = 0.25


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Every class that is in the split "train", in each other split that it is in."""
    inside = np.asarray(given.split == TRAINED, dtype=bool)
    others = sorted({s for s in given.split if s not in (None, TRAINED)})
    left = ~np.isin(given.n, list(explained))
    return [
        one
        for c in np.unique(given.label).tolist()
        for split in others
        for one in _tested(given, c, split, left & (given.label == c), inside)
    ]


def _tested(given: Labelled, of: int, split: str, own: Bools, inside: Bools) -> Iterator[Suspicion]:
    sides = (own & np.asarray(given.split == split, dtype=bool), own & inside)
    (hits, other), (count, all_) = ([int((s & given.wrong).sum()) for s in sides], [int(s.sum()) for s in sides])
    if min(count, all_) < FEWEST:
        return
    errors = given.n[sides[0] & given.wrong]
    effect = difference(hits, count, other, all_)
    yield Suspicion(
        name=f"{given.classes[of]}: what the split {split} shows and train does not", effect=effect,
        p=likelier(hits, count, other, all_), errors=tuple(errors.tolist()), pictures=tuple(errors[:SHOWN].tolist()),
        large=effect.mean >= LEAST and hits >= FEWEST, class_index=of, cause=f"not in train, in {split}",
    )  # fmt: skip
