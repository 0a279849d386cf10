"""Does a relation speak for a class? Decided on what ending it cost in five ways, against moving both pieces as far.

F ways of filling, of the picture or the mean of it and its mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.language.verify import all_but_one

Reals = NDArray[np.float64]

KEPT = 0.5  # of what ending it costs, that keeping it may cost at most
BEYOND = 1.0  # log-odds that the two pieces lose by not moving together, beyond what each loses by itself


@dataclass(frozen=True, eq=False)
class Lost:
    """What was lost (F,) with one piece moved so that the relation ends, the other one moved as far, both, and the one
    moved elsewhere, so that the relation stays."""

    one: Reals
    other: Reals
    both: Reals
    elsewhere: Reals

    @property
    def together(self) -> Reals:
        """What the two lose by not moving together (F,): none where each counts by its own place or presence."""
        return self.one + self.other - self.both

    def mean(self) -> Lost:
        """The means over the ways (1,)."""
        return Lost(*(v.mean(keepdims=True) for v in (self.one, self.other, self.both, self.elsewhere)))


def may(points: Lost, odds: Lost, least: float) -> bool:
    """Whether it may hold by each way, in probability and log-odds: ending it costs `least` and more, keeping it
    clearly less."""
    enough = (points.one >= least) & (odds.one >= BEYOND) & (odds.together >= BEYOND)
    kept = [x <= KEPT * lost.one for lost in (points, odds) for x in (lost.both, lost.elsewhere)]
    return bool(np.all([enough, *kept]))


def holds(points: Lost, odds: Lost, least: float) -> bool:
    """Whether it holds in five ways: on average as `may` says, so that no single way decides in all but one of them
    moving both costs clearly less than ending it, and in every way less."""
    if not may(points.mean(), odds.mean(), least) or not signed(odds):
        return False
    clearly = all_but_one((KEPT * odds.one - odds.both).tolist()) >= 0
    return clearly and all_but_one(odds.together.tolist()) >= BEYOND / 2


def signed(lost: Lost) -> bool:
    """Whether ending it costs something in every way, and more than moving both."""
    return bool((lost.one > 0).all() and (lost.one > lost.both).all())
