"""The unit of the tapped layer that is behind most errors: switched off, errors become right, and right answers
stay. K units, E errors that were tried, R right answers that were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saywhy.audit.store import open_store
from saywhy.findings.groups import SHOWN
from saywhy.findings.labelled import Doubles, Labelled, Whole
from saywhy.findings.shares import exchanged_best, paired
from saywhy.findings.suspicion import Suspicion

FEWEST = 6  # errors that were tried
LEAST = 0.25


@dataclass(frozen=True, eq=False)
class Silenced:
    """What each unit does: `mends` (E, K) 1 where the label is said of an error without it, `harms` (R, K) 1 where a
    right answer is lost; `gains` (K,) how much the label gains over errors minus over right answers, in scores."""

    errors: Whole
    mends: Doubles
    harms: Doubles
    gains: Doubles

    @property
    def order(self) -> Whole:
        """The units, the first culprit first: those that mend most and harm least; ties by what is gained."""
        worth = self.mends.mean(axis=0) - self.harms.mean(axis=0)
        return np.lexsort((-self.gains, -worth))


def silenced(given: Labelled) -> Silenced | None:
    """What silencing each unit did; None where too few errors were tried."""
    with open_store(given.folder) as store:
        rows = store.execute("SELECT n, lead, change FROM units ORDER BY n").fetchall()
    wrong = set(given.errors.tolist())
    sides = [[r for r in rows if (r[0] in wrong) == side] for side in (True, False)]
    if len(sides[0]) < FEWEST or not sides[1]:
        return None
    flips, means = [], []
    for side in sides:
        change = np.asarray([c for _, _, c in side], dtype=np.float64)
        lead = np.asarray([v for _, v, _ in side], dtype=np.float64)
        flips.append((change >= lead[:, None]).astype(np.float64))
        means.append(change.mean(axis=0))
    return Silenced(np.asarray([n for n, _, _ in sides[0]]), flips[0], flips[1], means[0] - means[1])


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """The first culprit: does it mend more than units do on average? Its p is that of the best of all units."""
    found = silenced(given)
    if found is None:
        return []
    unit = int(found.order[0])
    gains = found.mends - found.mends.mean(axis=1, keepdims=True)
    effect, _ = paired(gains[:, unit].tolist())
    mended = found.errors[found.mends[:, unit] > 0]
    harm = float(found.harms[:, unit].mean())
    return [
        Suspicion(
            name=f"unit {unit} of the layer is behind errors of several pictures", effect=effect,
            p=exchanged_best(gains, unit), errors=tuple(mended.tolist()), pictures=tuple(mended[:SHOWN].tolist()),
            large=effect.mean - harm >= LEAST, unit=unit, cause=f"unit {unit}",
        )
    ]  # fmt: skip
