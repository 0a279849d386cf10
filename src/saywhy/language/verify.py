"""What experiments measured, and in which interval another way of hiding would fall. Nothing here calls a model.

A quantity (a change, a loss) has one value for each way of hiding, the mean of the picture and its mirror; what is said
is their mean, and the 90 % prediction interval for a way that was not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from saywhy.explanation import Effect, Run, Unit
from saywhy.language.claims import MOST_FACTOR
from saywhy.precision import log_odds

Reals = NDArray[np.float64]
Way = tuple[str, int]  # fill and seed: runs of the same way can be compared one by one

LEVEL = 0.9  # of the prediction intervals


@dataclass(frozen=True)
class Thresholds:
    """Losses: from which mean of the leading fills a region is tried and what it must lose under each of them; from
    which mean of all fills it is said and what it must lose under all but one; what a join must add; the least spread
    between fills that is believed; the gain in every fill from which a region counts against;
    what is enough far beyond the null."""

    proposes: float
    each: float
    says: float
    second: float
    join: float
    spread: float
    hinders: float
    enough: float


THRESHOLDS: dict[Unit, Thresholds] = {
    "probability": Thresholds(0.03, 0.012, 0.05, 0.01, 0.05, 0.03, 0.03, 0.02),
    "log-odds": Thresholds(0.5, 0.2, 0.5, 0.15, 0.5, 0.3, 0.5, 0.4),
}


@dataclass(frozen=True)
class Confirming:
    """A confirming run, the class that won in it, by how much it led the next one and the target, and the passes that
    it cost; one of the mirrored picture also knows what the whole mirror gave, the target and versus (`whole`)."""

    run: Run
    winner: int
    lead: float = 1.0
    over: float = 1.0
    passes: int = 1
    whole: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class Measured:
    """The values of a quantity over confirming runs, the way each was run, and the unit they are in."""

    values: tuple[float, ...]
    ways: tuple[Way, ...]
    passes: int
    unit: Unit = "probability"
    most: float = math.inf

    @property
    def value(self) -> float:
        """The mean over the runs."""
        return float(np.mean(self.values))

    @property
    def low(self) -> float:
        """The lower end of the interval, not below 0 where every run lost: as far as runs go the sign is sure."""
        low = interval(self.values, self.unit)[0]
        return max(0.0, low) if min(self.values) > 0 else low

    @property
    def high(self) -> float:
        """The upper end of the interval, at most `most`: more than all of it cannot be lost; not above 0 where every
        run gained."""
        high = min(self.most, interval(self.values, self.unit)[1])
        return min(0.0, high) if max(self.values) < 0 else high

    def times(self, factor: float) -> Measured:
        """Every value multiplied, for instance by -1 to speak of a loss as a positive number."""
        return replace(self, values=tuple(factor * v for v in self.values), most=math.inf)

    def effect(self) -> Effect:
        """The change (after minus before) of which these values are the loss."""
        return Effect(
            change=-self.value,
            low=-self.high,
            high=-self.low,
            runs=len(self.values),
            passes=self.passes,
            fill=", ".join(sorted({fill for fill, _ in self.ways})),
            unit=self.unit,
            level=LEVEL,
            disagree=self.disagree,
        )

    @property
    def disagree(self) -> tuple[str, ...]:
        """The fills whose value has another sign than the mean."""
        sign = math.copysign(1, self.value)
        return tuple(fill for (fill, _), v in zip(self.ways, self.values, strict=True) if v * sign < 0)


def interval(values: Sequence[float], unit: Unit = "probability") -> tuple[float, float]:
    """The 90 % prediction interval (Student) for the value under a fill that was not used, from those that were."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    spread = max(float(np.std(values, ddof=1)), THRESHOLDS[unit].spread)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * spread * (1 + 1 / n) ** 0.5
    middle = float(np.mean(values))
    return middle - half, middle + half


def in_unit(p: float, unit: Unit) -> float:
    """A probability as it is, or as log-odds."""
    return p if unit == "probability" else float(log_odds(p))


def points(x: float) -> int:
    """A probability or a change of one in whole points."""
    return round(100 * x)


def tenths(loss: float) -> int:
    """A loss in log-odds as the factor by which the evidence falls, in tenths; from 10 on two digits count, and
    MOST_FACTOR is the most."""
    factor = min(math.exp(min(max(loss, -20.0), 20.0)), MOST_FACTOR)
    if factor < 9.95:
        return round(10 * factor)
    digits = max(1, int(10 ** (math.floor(math.log10(factor)) - 1)))
    return 10 * round(factor / digits) * digits


# --------------------------------------------------------------------------------------------------
# Runs by what was done.


def runs_of(runs: Iterable[Confirming], act: str, regions: Iterable[str]) -> list[Confirming]:
    """The runs in which exactly these regions were hidden (or kept alone), whatever their order."""
    wanted = frozenset(regions)
    return [c for c in runs if c.run.act == act and frozenset(c.run.regions) == wanted]


def scores(runs: Sequence[Confirming]) -> Measured | None:
    """The probability of the target in these runs; None without runs."""
    return _measured([(c.run.score, c) for c in runs], "probability", 1.0)


def losses(
    runs: Sequence[Confirming], full: float, unit: Unit = "probability", *, both: bool = False
) -> Measured | None:
    """Before minus after, of the target's probability or log-odds; None without runs.

    Of the picture as it is, or (`both`) the mean of it and its mirror, where that was asked.
    """
    runs = _asked(runs, both)
    most = full if unit == "probability" else math.inf
    return _measured([(in_unit(_before(c, full), unit) - in_unit(c.run.score, unit), c) for c in runs], unit, most)


def _asked(runs: Sequence[Confirming], both: bool) -> Sequence[Confirming]:
    return [c for c in runs if both or not c.run.mirrored]


def _before(c: Confirming, full: float) -> float:
    """The target's probability in the picture of which something was hidden."""
    return full if c.whole is None else c.whole[0]


def contrast_losses(
    runs: Sequence[Confirming], full: float, other: float, unit: Unit = "probability", *, both: bool = False
) -> Measured | None:
    """Before minus after, of target minus versus, as `losses`; None without runs that measured it."""

    def difference(target: float, versus: float) -> float:
        return in_unit(target, unit) - in_unit(versus, unit)

    rows = []
    for c in _asked(runs, both):
        rival = other if c.whole is None else c.whole[1]
        if c.run.contrast is not None and rival is not None:
            after = difference(c.run.score, c.run.score - c.run.contrast)
            rows.append((difference(_before(c, full), rival) - after, c))
    return _measured(rows, unit, math.inf)


def joint(
    runs: Sequence[Confirming],
    one: str,
    other: str,
    full: float,
    unit: Unit = "probability",
    rival: float | None = None,
) -> Measured | None:
    """What two regions add together beyond one by one, with all others seen; None without runs to compare.

    full - (one hidden) - (other hidden) + (both hidden), each time in runs with the same fill and seed: the
    interaction at the full picture (positive: they need each other, negative: one stands in for the other). Of the
    target, or of target minus versus where the probability of this `rival` in the full picture is given.
    """
    runs = _asked(runs, False)

    def value(c: Confirming) -> float:
        own = in_unit(c.run.score, unit)
        return own if rival is None or c.run.contrast is None else own - in_unit(c.run.score - c.run.contrast, unit)

    sets = ((one,), (other,), (one, other))
    by_way = [{_way(c): c for c in runs_of(runs, "hide", regions)} for regions in sets]
    shared = [way for way in by_way[2] if way in by_way[0] and way in by_way[1]]
    rows = [[ways[way] for ways in by_way] for way in shared]
    start = in_unit(full, unit) - (0.0 if rival is None else in_unit(rival, unit))
    values = tuple(start - value(a) - value(b) + value(both) for a, b, both in rows)
    return Measured(values, tuple(shared), sum(c.passes for row in rows for c in row), unit) if rows else None


def _way(c: Confirming) -> Way:
    return (c.run.fill, c.run.seed)


def _measured(rows: Sequence[tuple[float, Confirming]], unit: Unit, most: float) -> Measured | None:
    """One value for each way: the mean of the picture's and its mirror's, where both were asked."""
    if not rows:
        return None
    by_way: dict[Way, list[float]] = {}
    for value, c in rows:
        by_way.setdefault(_way(c), []).append(value)
    values = tuple(float(np.mean(each)) for each in by_way.values())
    return Measured(values, tuple(by_way), sum(c.passes for _, c in rows), unit, most)


# --------------------------------------------------------------------------------------------------
# Decisions.


def all_but_one(values: Iterable[float]) -> float:
    """The second smallest: what all runs but one reach, so that no single fill decides."""
    return sorted(values)[1]


def settled(more: Measured, less: Measured) -> bool:
    """Whether one quantity exceeds another, in whole points or tenths, in every run of the same way."""
    other = dict(zip(less.ways, less.values, strict=True))
    told = points if more.unit == "probability" else tenths
    pairs = [(v, other[way]) for way, v in zip(more.ways, more.values, strict=True) if way in other]
    return bool(pairs) and len(pairs) == len(more.values) and all(told(a) > told(b) for a, b in pairs)


def alike(parts: Sequence[Measured]) -> bool:
    """Whether the value of each lies in the interval of every other."""
    return all(a.low <= b.value <= a.high for a in parts for b in parts)


def winner(runs: Sequence[Confirming]) -> int | None:
    """The class that won in every run, None where they differ."""
    won = {c.winner for c in runs}
    return won.pop() if len(won) == 1 else None
