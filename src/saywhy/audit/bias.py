"""Whether a class is recognised by its surroundings: what its own bring, and what those of other classes take.

Each recognised picture of a class lends its object to the surroundings of other recognised pictures, of its own class
and of others: the cut is the same, so what differs is the surroundings' doing. A class is flagged where that difference
is beyond its interval, which is wide enough for all classes that were examined (Bonferroni).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from saywhy.audit.cutout import Cutout, placed
from saywhy.audit.report import ClassRecord, ColourCount, Failure, Range
from saywhy.classifier import Classifier
from saywhy.intervene import hide
from saywhy.render.wording import measured, points

FEWEST = 4  # pictures of a class, recognised or missed, from which an interval is worth its name
LEVEL = 0.05  # chance that any class at all is flagged without reason
LEAST = 0.1  # share of recognition: a smaller effect is not told, however sure
TELLING = 0.3  # difference of recognition that a colour of the surroundings must make
ASKED = 3  # times that a colour, and all others, must have been asked


@dataclass(frozen=True)
class Swaps:
    """One recognised picture of a class before other surroundings: rows (colour, recognised) by whose they were."""

    own: tuple[tuple[str, bool], ...]
    other: tuple[tuple[str, bool], ...]
    whole: float
    alone: float

    @property
    def effect(self) -> float:
        """Share of recognition that is lost with the surroundings of the class."""
        return _share(self.own) - _share(self.other)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Swaps:
        """From JSON values."""
        own, other = (tuple((str(c), bool(r)) for c, r in row[side]) for side in ("own", "other"))
        return cls(own, other, float(row["whole"]), float(row["alone"]))


def ask(clf: Classifier, cutout: Cutout, index: int, own: Sequence[Cutout], other: Sequence[Cutout]) -> Swaps:
    """Puts the object of a recognised picture of class `index` before other surroundings."""
    alone = hide(cutout.image, cutout.mask[None].to(cutout.image.dtype), "image-blur")
    moved = [placed(cutout.image, cutout.mask, donor.surroundings) for donor in (*own, *other)]
    p: Tensor = clf.probabilities(torch.stack([cutout.image, alone[0], *moved]))
    rows = [(d.colour, bool(q.argmax() == index)) for d, q in zip((*own, *other), p[2:], strict=True)]
    return Swaps(tuple(rows[: len(own)]), tuple(rows[len(own) :]), float(p[0, index]), float(p[1, index]))


@dataclass(frozen=True)
class Tally:
    """What is known of one class."""

    index: int
    name: str
    pictures: int
    recognised: int
    seen: Sequence[Swaps]
    failures: Sequence[Failure]


def records(tallies: Sequence[Tally]) -> tuple[ClassRecord, ...]:
    """One record a class; the intervals are wide enough for all effects that are judged."""
    effects = [(_effects(t), _missed(t)) for t in tallies]
    judged = sum(len(e) >= FEWEST for pair in effects for e in pair)
    return tuple(_record(t, *pair, judged) for t, pair in zip(tallies, effects, strict=True))


def _effects(tally: Tally) -> list[float]:
    return [s.effect for s in tally.seen if s.own and s.other]


def _missed(tally: Tally) -> list[float]:
    """For missed pictures: share recognised before the class's surroundings, minus before those of the one said."""
    sides = [(f.experiments.surroundings["true"], f.experiments.surroundings["predicted"]) for f in tally.failures]
    return [
        sum(a.says == "true" for a in own) / len(own) - sum(a.says == "true" for a in against) / len(against)
        for own, against in sides
        if own and against
    ]


def interval(effects: Sequence[float], judged: int) -> Range | None:
    """The mean of effects with its t interval at a level of LEVEL over all `judged`; None for fewer than FEWEST."""
    n = len(effects)
    if n < FEWEST:
        return None
    values = np.asarray(effects, dtype=np.float64)
    reach = float(stats.t.ppf(1 - LEVEL / 2 / max(judged, 1), n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    mean = float(values.mean())
    return Range(mean=mean, low=mean - reach, high=mean + reach, count=n)


def _record(tally: Tally, recognised: Sequence[float], missed: Sequence[float], judged: int) -> ClassRecord:
    effects = interval(recognised, judged), interval(missed, judged)
    flagged = any(e is not None and e.low > 0 and e.mean >= LEAST for e in effects)
    colours = _colours(tally)
    families: dict[str, int] = defaultdict(int)
    for f in tally.failures:
        families[f.family] += 1
    return ClassRecord(
        class_index=tally.index,
        class_name=tally.name,
        pictures=tally.pictures,
        recognised=tally.recognised,
        families=dict(families),
        recognised_effect=effects[0],
        missed_effect=effects[1],
        whole=_mean(s.whole for s in tally.seen),
        alone=_mean(s.alone for s in tally.seen),
        colours=colours,
        flagged=flagged,
        hypothesis=_hypothesis(tally.name, colours, effects) if flagged else None,
    )


def _colours(tally: Tally) -> tuple[ColourCount, ...]:
    """How often the class was recognised before surroundings of each colour, the most asked first."""
    asked: dict[str, list[bool]] = defaultdict(list)
    for s in tally.seen:
        for colour, known in (*s.own, *s.other):
            asked[colour].append(known)
    for f in tally.failures:
        for a in (a for side in f.experiments.surroundings.values() for a in side):
            asked[a.colour].append(a.says == "true")
    rows = sorted(asked.items(), key=lambda row: (-len(row[1]), row[0]))
    return tuple(ColourCount(colour=c, asked=len(known), recognised=sum(known)) for c, known in rows)


def _hypothesis(name: str, colours: Sequence[ColourCount], effects: tuple[Range | None, Range | None]) -> str:
    """When the class fails, as a guess from the colours of surroundings, and what was measured."""
    measured = []
    if effects[0] is not None:
        measured.append(
            f"{effects[0].count} recognised pictures lose {_points(effects[0])} of recognition before the surroundings "
            "of other classes, against those of its own"
        )
    if effects[1] is not None:
        measured.append(
            f"{effects[1].count} missed ones win {_points(effects[1])} before the surroundings of recognised ones, "
            "against those of the class that was said"
        )
    return f"{name} is recognised by its surroundings{_when(colours)}: {'; '.join(measured)}."


def _when(colours: Sequence[ColourCount]) -> str:
    """Which colour of surroundings tells best whether the class is recognised; empty where none does."""
    asked, known = sum(c.asked for c in colours), sum(c.recognised for c in colours)
    best: tuple[float, ColourCount, float] | None = None
    for c in colours:
        rest = asked - c.asked
        if min(c.asked, rest) < ASKED:
            continue
        apart = c.recognised / c.asked - (known - c.recognised) / rest
        weight = abs(apart) * math.sqrt(c.asked * rest) / asked  # a colour seen often tells more
        if abs(apart) >= TELLING and (best is None or weight > best[0]):
            best = (weight, c, apart)
    if best is None:
        return ", by no colour that stands out"
    _, c, apart = best
    sides = f"{c.recognised} of {c.asked}", f"{known - c.recognised} of {asked - c.asked}"
    when = f"not {c.colour}" if apart > 0 else c.colour
    return f", probably missed when they are {when} (recognised in {sides[0]} {c.colour} ones, {sides[1]} others)"


def _points(effect: Range) -> str:
    low, high = points(max(effect.low, -1)), points(min(effect.high, 1))
    return f"{measured(effect.mean)} ({low} to {high})".replace("+", "")


def _share(rows: Sequence[tuple[str, bool]]) -> float:
    return sum(known for _, known in rows) / max(len(rows), 1)


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None
