"""Does a region count? Decided on what hiding it did in five ways, against what hiding does here by its size alone.

F fills, n nodes of the tree, k leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saywhy.explanation import Unit
from saywhy.language.verify import THRESHOLDS, all_but_one

Reals = NDArray[np.float64]

BEYOND, LEAST = 1.0, 0.5  # multiples of the null from which a node is tried: on average, and in each leading fill
TIMES = 1.5  # ... and from which it is said, on average
CLEARLY = 2.0  # ... and from which a region counts against
USUAL = 3.5  # log-odds for the whole picture: what hiding costs by itself in a usual photo
FEWEST = 0.1  # the least null that is believed: a network that looks at one spot only has none


def null(lost: Reals, areas: Reals) -> float:
    """Log-odds that hiding costs *here* for each share of the picture that is hidden.

    The median over the leaves (k,) of |loss in log-odds| over area: most leaves of a picture are no cause, so this is
    what hiding something of a size does by itself. It costs no pass. A median of few leaves is itself uncertain by half:
    it is drawn half-way (geometric mean) to the usual one.
    """
    return float(max(FEWEST, np.median(np.abs(lost) / areas)) * USUAL) ** 0.5


def tried(lost: Reals, beyond: Reals, unit: Unit = "probability") -> NDArray[np.bool_]:
    """Which nodes (n,) may count: losses (F, n) and multiples of the null (F, n) under the leading fills reach enough on
    average, and something under each."""
    least = THRESHOLDS[unit]
    enough = (lost.mean(0) >= least.proposes) & (lost.min(0) >= least.each)
    return np.asarray(enough & (beyond.mean(0) >= BEYOND) & (beyond.min(0) >= LEAST))


def holds(lost: Sequence[float], beyond: Sequence[float], unit: Unit = "probability", sign: int = 1) -> bool:
    """Whether a node counts: on average it loses enough and clearly more than its size alone would.

    `lost` (F,) in the unit and `beyond` (F,), its loss in log-odds as multiples of the null of its size, are positive
    for what speaks for a claim: the loss for `sign` 1, the gain for -1. It counts in all fills but one, so that no
    single fill decides; one that counts against must gain in every fill.
    """
    least = THRESHOLDS[unit]
    if sign == -1 and (min(lost) < least.hinders or all_but_one(beyond) < CLEARLY):
        return False
    enough = float(np.mean(lost)) >= least.says and all_but_one(lost) >= least.second
    return enough and float(np.mean(beyond)) >= TIMES


def multiples(evidence: Mapping[str, float], nulls: Mapping[str, float], area: float) -> list[float]:
    """Losses in log-odds by fill as multiples of the null of a region of this area.

    Fills that were asked of the chosen regions alone have no null of their own: the last one that has lends its own.
    """
    last = list(nulls.values())[-1]
    return [v / (nulls.get(fill, last) * area) for fill, v in evidence.items()]
