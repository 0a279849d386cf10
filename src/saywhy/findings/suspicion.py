"""What is tested: a cause that may be behind some errors, before the tests are corrected for their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from saywhy.findings.labelled import Labelled
from saywhy.metrics.statistics import Interval


@dataclass(frozen=True)
class Suspicion:
    """One test: what would be said, how large the effect is, and how likely by chance alone.

    `errors` are the numbers of the errors that it explains, `pictures` those that show it best. `large`: whether the
    effect is worth telling, however sure it is. `group` with `cause` tells it from other tests of its kind.
    """

    name: str
    effect: Interval
    p: float
    errors: tuple[int, ...]
    pictures: tuple[int, ...]
    large: bool
    class_index: int | None = None
    versus: int | None = None
    cause: str | None = None
    concept: str | None = None
    unit: int | None = None
    box: tuple[float, float, float, float] | None = None


TIERS = ("something is changed in pictures", "counted, against chance", "counted: where errors lie, not why")


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding.

    `what`: what it says; `compared`: what its effect is the difference of; `next`: what to do about it; `tier`:
    a row of TIERS, by which findings are sorted first; `look`: all of its tests on a run, given the errors that kinds
    before it explain.
    """

    what: str
    compared: str
    next: str
    tier: int
    look: Callable[[Labelled, frozenset[int]], list[Suspicion]]
