"""Variation that training did not show: a class that is recognised in the split "train" and missed in others, where the
other classes are not.
"""

from __future__ import annotations

import numpy as np

from saywhy.findings.groups import SHOWN
from saywhy.findings.labelled import Labelled
from saywhy.findings.shares import difference, likelier
from saywhy.findings.suspicion import Suspicion

TRAINED = "train"
FEWEST = 4  # pictures of a class in each of both
LEAST = 0.25


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Every class that is in the split "train" and outside it."""
    inside = np.asarray(given.split == TRAINED, dtype=bool)
    known = np.asarray([s is not None for s in given.split], dtype=bool)
    left = ~np.isin(given.n, list(explained))
    found = []
    for c in np.unique(given.label).tolist():
        own = known & left & (given.label == c)
        sides = (own & ~inside, own & inside)
        (hits, other), (count, all_) = ([int((s & given.wrong).sum()) for s in sides], [int(s.sum()) for s in sides])
        if min(count, all_) < FEWEST:
            continue
        errors = given.n[sides[0] & given.wrong]
        effect = difference(hits, count, other, all_)
        found.append(
            Suspicion(
                name=f"{given.classes[c]}: what other splits show and train does not", effect=effect,
                p=likelier(hits, count, other, all_), errors=tuple(errors.tolist()),
                pictures=tuple(errors[:SHOWN].tolist()), large=effect.mean >= LEAST and hits >= FEWEST,
                class_index=c, cause="not in train",
            )
        )  # fmt: skip
    return found
