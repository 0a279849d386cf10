"""Does an experiment confirm a claim? Pure decisions on measured runs; nothing here calls a model.

The runs are others than those that produced the claim: another fill, another seed. Every decision is taken on whole
points (per cents), the numbers that are printed, so that no sentence rests on digits that the reader cannot see.
An interval is the range of all confirming runs, from the smallest to the largest: nothing is trimmed or modelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from saywhy.explanation import Effect, Run

Way = tuple[str, int]  # fill and seed: runs of the same way can be compared one by one

COUNTS = 2  # points: the median change from which a region is said to count
AT_LEAST = 1  # point: what every single run must show, in the claimed direction
NOTICEABLE = 5  # points: below this in every run, a change is not noticeable
ENOUGH = 0.5  # of the full probability: what remains still suffices
LITTLE = 0.2  # of the full probability: below this in every run, little remains


@dataclass(frozen=True)
class Confirming:
    """A confirming run, the class that won in it, and the forward passes it cost."""

    run: Run
    winner: int
    passes: int = 1


@dataclass(frozen=True)
class Measured:
    """The values of a quantity (a change or a probability) over confirming runs, and the way each was run."""

    values: tuple[float, ...]
    ways: tuple[Way, ...]
    passes: int

    @property
    def value(self) -> float:
        """The median over the runs."""
        return float(median(self.values))

    @property
    def low(self) -> float:
        """The smallest value of any run."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value of any run."""
        return max(self.values)

    def times(self, factor: float) -> Measured:
        """Every value multiplied, for instance by -1 to speak of a loss as a positive number."""
        return Measured(tuple(factor * v for v in self.values), self.ways, self.passes)

    def effect(self, offset: float = 0.0) -> Effect:
        """As an Effect; `offset` is subtracted from each value (a probability becomes a change)."""
        change, low, high = (v - offset for v in (self.value, self.low, self.high))
        fill = ", ".join(sorted({fill for fill, _ in self.ways}))
        return Effect(change=change, low=low, high=high, runs=len(self.values), passes=self.passes, fill=fill)


def points(x: float) -> int:
    """A probability or a change of one in whole points."""
    return round(100 * x)


# --------------------------------------------------------------------------------------------------
# Runs by what was done.


def runs_of(runs: Iterable[Confirming], act: str, regions: Iterable[str]) -> list[Confirming]:
    """The runs in which exactly these regions were hidden (or kept alone), whatever their order."""
    wanted = frozenset(regions)
    return [c for c in runs if c.run.act == act and frozenset(c.run.regions) == wanted]


def scores(runs: Sequence[Confirming]) -> Measured | None:
    """The probability of the target in these runs; None without runs."""
    return _measured([(c.run.score, c) for c in runs])


def changes(runs: Sequence[Confirming], full: float) -> Measured | None:
    """After minus before, of the target's probability; None without runs."""
    return _measured([(c.run.score - full, c) for c in runs])


def contrast_changes(runs: Sequence[Confirming], full: float) -> Measured | None:
    """After minus before, of target minus versus; None without runs that measured it."""
    return _measured([(c.run.contrast - full, c) for c in runs if c.run.contrast is not None])


def joint(runs: Sequence[Confirming], one: str, other: str, full: float) -> Measured | None:
    """What two regions add together beyond one by one, with all others seen; None without runs to compare.

    full - (one hidden) - (other hidden) + (both hidden), each time in runs with the same fill and seed: the
    interaction at the full picture (positive: they need each other, negative: one stands in for the other).
    """
    sets = ((one,), (other,), (one, other))
    by_way = [{_way(c): c for c in runs_of(runs, "hide", regions)} for regions in sets]
    shared = [way for way in by_way[2] if way in by_way[0] and way in by_way[1]]
    rows = [[ways[way] for ways in by_way] for way in shared]
    values = tuple(full - a.run.score - b.run.score + both.run.score for a, b, both in rows)
    return Measured(values, tuple(shared), sum(c.passes for row in rows for c in row)) if rows else None


def together(parts: Sequence[Measured]) -> Measured:
    """Several measurements as one, with the values of all."""
    return Measured(
        tuple(v for m in parts for v in m.values),
        tuple(w for m in parts for w in m.ways),
        sum(m.passes for m in parts),
    )


def _way(c: Confirming) -> Way:
    return (c.run.fill, c.run.seed)


def _measured(rows: Sequence[tuple[float, Confirming]]) -> Measured | None:
    if not rows:
        return None
    return Measured(tuple(v for v, _ in rows), tuple(_way(c) for _, c in rows), sum(c.passes for _, c in rows))


# --------------------------------------------------------------------------------------------------
# Decisions.


def holds(m: Measured | None) -> bool:
    """A positive quantity is confirmed: at least `AT_LEAST` points in every run and `COUNTS` in the median."""
    return m is not None and points(m.low) >= AT_LEAST and points(m.value) >= COUNTS


def unnoticeable(m: Measured | None) -> bool:
    """No run changed the probability by `NOTICEABLE` points or more, in either direction."""
    return m is not None and max(abs(points(m.low)), abs(points(m.high))) < NOTICEABLE


def ranks(measured: Mapping[str, Measured]) -> list[list[str]]:
    """Ids by median, largest first, in groups; those of one group are a tie.

    A tie is everything whose interval overlaps that of the group's first, and whatever the runs have not settled
    against a member of it. So between groups the intervals of the first are apart, and the order holds in every run.
    """
    left = sorted(measured, key=lambda id: (-measured[id].value, id))
    groups: list[list[str]] = []
    while left:
        first, group = measured[left[0]], left[:1]
        group += [id for id in left[1:] if points(measured[id].high) >= points(first.low)]
        while more := [
            id for id in left if id not in group and not all(settled(measured[g], measured[id]) for g in group)
        ]:
            group += more
        groups.append([id for id in left if id in group])
        left = [id for id in left if id not in group]
    return groups


def settled(more: Measured, less: Measured) -> bool:
    """Whether one quantity exceeds another in every run: by intervals apart, or run by run of the same way."""
    if points(more.low) > points(less.high):
        return True
    other = dict(zip(less.ways, less.values, strict=True))
    pairs = [(v, other[way]) for way, v in zip(more.ways, more.values, strict=True) if way in other]
    return len(pairs) == len(more.values) and all(points(a) > points(b) for a, b in pairs)


def level(share: float) -> str:
    """How much of the full probability remains: 'suffices', 'part' or 'little'."""
    return "suffices" if share >= ENOUGH else "little" if share < LITTLE else "part"


def one_level(m: Measured | None, full: float) -> str | None:
    """The level that every run agrees on, None where they differ."""
    levels = {level(v / full) for v in m.values} if m is not None and full > 0 else set()
    return levels.pop() if len(levels) == 1 else None


def winner(runs: Sequence[Confirming]) -> int | None:
    """The class that won in every run, None where they differ."""
    won = {c.winner for c in runs}
    return won.pop() if len(won) == 1 else None
