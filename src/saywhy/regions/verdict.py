"""Does a region count? Decided on what hiding it did in five ways, against what hiding does here by its size alone.

F fills, n nodes of the tree, k leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saywhy.explanation import Unit
from saywhy.language.verify import THRESHOLDS, all_but_one, interval

Reals = NDArray[np.float64]

BEYOND, TIMES = 1.0, 3.0  # multiples of the null from which a node is tried, and from which it is said by them alone
CLEARLY = 2.0  # ... and from which a region counts against
LEAST = 1e-6  # log-odds for the whole picture: the null of a network that looks at one spot only


def null(lost: Reals, areas: Reals) -> float:
    """Log-odds that hiding costs *here* for each share of the picture that is hidden.

    The median over the leaves (k,) of |loss in log-odds| over area: most leaves of a picture are no cause, so this is
    what hiding something of a size does by itself. It costs no pass.
    """
    return max(LEAST, float(np.median(np.abs(lost) / areas)))


def holds(lost: Sequence[float], beyond: Sequence[float], unit: Unit = "probability", sign: int = 1) -> bool:
    """Whether a node counts: its interval leaves out 0 and it exceeds the null, or it exceeds the null three times.

    `lost` (F,) in the unit and `beyond` (F,), its loss in log-odds as multiples of the null of its size, are positive
    for what speaks for a claim: the loss for `sign` 1, the gain for -1. Both count in all fills but one, so that no
    single fill decides; one that counts against must gain in every fill.
    """
    least = THRESHOLDS[unit]
    loss, times = all_but_one(lost), all_but_one(beyond)
    if sign == -1 and (min(lost) < least.hinders or times < CLEARLY):
        return False
    apart = interval(lost, unit)[0] > 0 and times >= BEYOND
    return apart or (times >= TIMES and loss >= least.says)


def multiples(evidence: Mapping[str, float], nulls: Mapping[str, float], area: float) -> list[float]:
    """Losses in log-odds by fill as multiples of the null of a region of this area.

    Fills that were asked of the chosen regions alone have no null of their own: the last one that has lends its own.
    """
    last = list(nulls.values())[-1]
    return [v / (nulls.get(fill, last) * area) for fill, v in evidence.items()]
