"""What other backgrounds come to: arithmetic only, no classifier is asked.

m backgrounds, four as a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

ENOUGH = 0.5  # of the probability: with less, a class is not kept
MOST = 3  # of four backgrounds that must agree
REACHING = 0.05  # of the view: with so much of the border left in place, it is not the object alone that is kept


@dataclass(frozen=True)
class Tried:
    """What was measured of one photo and its class: the probability `full`, that `before` each of the m backgrounds and
    whether the class `wins` there, what each background `alone` gives it and whether it wins on that, and that before
    the picture's `own` surroundings, blurred. `reaching` is the share of the view that lies at its border and counts:
    it stays, and may be object or background."""

    full: float
    before: tuple[float, ...]
    wins: tuple[bool, ...]
    alone: tuple[float, ...]
    wins_alone: tuple[bool, ...]
    own: float
    reaching: float = 0.0


def decided(tried: Tried) -> tuple[bool | None, str | None]:
    """Whether the surroundings decide (True), the object is enough (False), or nothing can be said (None) and why.

    They decide where the class loses before other backgrounds and not before its own, blurred: there the object is cut
    as it is before the others, so that what is lost is lost by the background and not by the cut. The object is enough
    where the class still wins, before backgrounds that do not give it by themselves, and nothing that counts reaches
    the border.
    """
    kept = median(tried.before) / tried.full
    lost = sum(not w for w in tried.wins)
    if kept < ENOUGH and lost >= MOST:
        if tried.own < ENOUGH * tried.full:
            return None, "its own surroundings, blurred, do not keep the class either: the object may reach into them"
        return True, None
    if kept < ENOUGH or len(tried.wins) - lost < MOST:
        return None, "the answers before the four backgrounds differ"
    if tried.reaching >= REACHING:
        return None, "a part at the border counts and stays in place: it may be object or background"
    telling = [
        w and not gives and alone < ENOUGH * tried.full
        for w, gives, alone in zip(tried.wins, tried.wins_alone, tried.alone, strict=True)
    ]
    if sum(telling) < MOST:
        return None, "the other backgrounds alone give the class too"
    return False, None


def agreeing(tried: Tried, decide: bool) -> list[int]:
    """The backgrounds before which the class loses, or wins."""
    return [i for i, wins in enumerate(tried.wins) if wins != decide]
