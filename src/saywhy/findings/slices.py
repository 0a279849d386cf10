"""Slices: what pictures have or lack that goes with errors, over all classes and within each.

Nothing is changed in a picture, so a slice is where errors lie and not yet why.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from saywhy.findings.labelled import Bools, Labelled
from saywhy.findings.shares import difference
from saywhy.findings.suspicion import Suspicion
from saywhy.findings.traits import Trait, traits
from saywhy.metrics.statistics import Interval

LEAST = 0.1  # more errors with it than without, as a share of the pictures
ERRORS = 4  # with it, at least
FEWEST = 8  # pictures of a class with a trait, and without it
SHOWN = 24


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Every trait over all pictures, and within every class that has enough of them."""
    found = traits(given)
    overall = [s for t in found for s in _tested(given, t, None)]
    return overall + [s for t in found for c in _classes(given, t) for s in _tested(given, t, c)]


def _classes(given: Labelled, trait: Trait) -> list[int]:
    counts = [
        np.bincount(given.label[trait.known & side], minlength=len(given.classes)) for side in (trait.has, ~trait.has)
    ]
    return [int(c) for c in np.flatnonzero((counts[0] >= FEWEST) & (counts[1] >= FEWEST))]


def _tested(given: Labelled, trait: Trait, of: int | None) -> Iterator[Suspicion]:
    among = trait.known if of is None else trait.known & (given.label == of)
    sides = (trait.has & among, ~trait.has & among)
    hits, counts = [int((given.wrong & s).sum()) for s in sides], [int(s.sum()) for s in sides]
    if not min(counts) or not sum(hits):
        return
    worse = 0 if hits[0] * counts[1] >= hits[1] * counts[0] else 1
    p = stats.fisher_exact([[hits[0], counts[0] - hits[0]], [hits[1], counts[1] - hits[1]]]).pvalue
    effect = difference(hits[worse], counts[worse], hits[1 - worse], counts[1 - worse])
    yield _suspicion(given, trait, of, worse, effect, float(p), sides[worse])


def _suspicion(
    given: Labelled, trait: Trait, of: int | None, worse: int, effect: Interval, p: float, side: Bools
) -> Suspicion:
    cause = (trait.present, trait.absent)[worse]
    errors = given.n[side & given.wrong]
    who = "pictures" if of is None else given.classes[of]
    surest = given.n[side & given.wrong][
        np.argsort(-(given.p_answer - given.p_label)[side & given.wrong], kind="stable")
    ]
    return Suspicion(
        name=f"{who}: errors go with {cause}", effect=effect, p=p,
        errors=tuple(errors.tolist()), pictures=tuple(surest[:SHOWN].tolist()),
        large=effect.mean >= LEAST and len(errors) >= ERRORS,
        class_index=of, cause=cause, concept=trait.concept,
    )  # fmt: skip
