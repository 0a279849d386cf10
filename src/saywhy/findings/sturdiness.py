"""Fragile features: errors of pictures that are tinted, dark, noisy or blurred beyond what is usual, and that are
mended where this is undone, more often than where it is made worse.
"""

from __future__ import annotations

from functools import partial

from saywhy.audit.trials import TONES
from saywhy.findings.groups import FEWEST, ErrorGroup, suspected, tried_errors
from saywhy.findings.labelled import Labelled
from saywhy.findings.outcomes import Outcomes
from saywhy.findings.suspicion import Suspicion

UNUSUAL = 0.3  # of the way to the 5 % of recognised pictures that are furthest from the middle
LEAST = 0.2

UNDOES = {
    "cooler": "a yellowish cast", "warmer": "a bluish cast", "darker": "too much light", "lighter": "too little light",
    "smoothed": "noise", "sharpened": "blur",
}  # fmt: skip


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Every way in which a picture can be unusual."""
    found = []
    for ways in TONES.values():
        for act, other in (tuple(ways), tuple(ways)[::-1]):
            errors = tuple(e for e in tried_errors(given, explained) if _far(e, act) >= UNUSUAL)
            if len(errors) >= FEWEST:
                gain, name = partial(mended, act=act, other=other), f"answers do not survive {UNDOES[act]}"
                found.append(suspected(ErrorGroup(None, None, errors), gain, LEAST, name, cause=UNDOES[act]))
    return found


def _far(e: Outcomes, act: str) -> float:
    return next((r.value or 0.0 for r in e.rows.get(act, ())), 0.0)


def mended(e: Outcomes, act: str, other: str) -> float:
    """1 where the act mends in one of its strengths, minus 1 where its opposite does."""
    return float(e.ever(act, e.versus)) - float(e.ever(other, e.versus))
