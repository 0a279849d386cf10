"""What may be said: the record of a claim, and the table of the sentences that say it.

A row of `CLAIMS` is the sentence itself with slots in it; `saywhy.language.sentences` writes and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from saywhy.explanation import Beside


@dataclass(frozen=True)
class Region:
    """A region as a sentence names it; all but the id is empty where an earlier sentence introduced it.

    `beside` (above region 1) tells it from another of the same look and place.
    """

    id: str
    look: str = ""
    place: str = ""
    beside: Beside | None = None


@dataclass(frozen=True)
class Claim:
    """What a sentence says. Numbers are whole points or per cents, None where the sentence has no such number.

    `classes` are class names and `percents` their probabilities, in the order of the sentence; `value` lies between
    `low` and `high`, which were measured in `runs` runs.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    classes: tuple[str, ...] = ()
    percents: tuple[int, ...] = ()
    value: int | None = None
    low: int | None = None
    high: int | None = None
    runs: int | None = None


CLAIMS: dict[str, tuple[str, ...]] = {
    "prediction": (
        "The model says {class0} ({percent0}).",
        "The model says {class0} ({percent0}), {ahead} {class1} ({percent1}).",
    ),
    "asked": (
        "You asked about {class0} ({percent0}); the model itself says {class1} ({percent1}).",
        "You asked about {class0} ({percent0}) against {class1} ({percent1}); "
        "the model itself says {class2} ({percent2}).",
    ),
    "nothing": (
        "No region counts noticeably by itself: hiding any one changes the probability of {class0} by {limit}.",
    ),
    "unconfirmed": ("No claim about a single region was confirmed.",),
    "counted_most": (
        "{region} counted most for {class0}: hiding it lowers the probability by {points}.",
        "{regions} counted most for {class0}: hiding {any} lowers the probability by {reach}.",
    ),
    "came_next": (
        "{region} came next: hiding it costs {points}.",
        "{regions} came next: hiding {any} costs {reach}.",
    ),
    "counted": (
        "{region} counted for {class0}: hiding it costs {points}.",
        "{regions} counted for {class0}: hiding {any} costs {reach}.",
    ),
    "against": ("{region} counted against {class0}: hiding it raises the probability by {points}.",),
    "alone": ("With everything else hidden, {region} alone still gives {class0} {share}.",),
    "contrast": (
        "{region} speaks for {class0} rather than {class1}: "
        "hiding it moves the difference by {points} towards {class1}.",
    ),
    "flip": (
        "Without {region,} the model would say {class0} ({runs}).",
        "Without {both,} the model would say {class0} ({runs}).",
    ),
    "no_longer": (
        "Without {region,} the model would no longer say {class0} ({runs}).",
        "Without {both,} the model would no longer say {class0} ({runs}).",
    ),
    "needs": ("{both} need each other: seen together they add {points} more than one by one.",),
    "stands_in": (
        "{both} stand in for each other: hiding both costs {points} more than hiding each by itself, added up.",
    ),
    "context_suffices": (
        "With every region hidden, {class0} still gets {share}: the rest of the picture alone suffices.",
    ),
    "context_part": (
        "With every region hidden, {class0} still gets {share}: the rest of the picture gives part of it.",
    ),
    "context_little": ("With every region hidden, {class0} falls to {share}: it is the regions that count.",),
}
