"""Does a region count? Decided on what hiding it did in five ways, against what hiding does here by its size alone.

F fills, n nodes of the tree, k leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.explanation import Unit
from saywhy.language.verify import THRESHOLDS, all_but_one, interval

Reals = NDArray[np.float64]

CLEARLY = 4.0  # multiples of the null from which a region counts against
ALIKE = 0.5  # of its largest gain, that its least gain must reach
APART = 2.0  # multiples of the null from which a loss counts whose interval lies above zero
USUAL = 3.5  # log-odds for the whole picture: what hiding costs by itself in a usual photo
FEWEST = 0.1  # the least null that is believed: a network that looks at one spot only has none


@dataclass(frozen=True)
class Rule:
    """A test, in multiples of the null: `beyond` from which a node is tried, `times` from which it counts.

    `means`: averages over fills decide, each fill has to reach a little only (`each` of `beyond`); else what all fills
    but one reach decides. Measured (docs/sentence-truth.md): with the small leaves of small pictures averages let three
    times as many false claims pass; with the large ones of photos single fills are too weak and what holds in one copy
    of a photo does not in the next.
    """

    means: bool
    beyond: float
    times: float
    each: float = 1.0


STRICT, AVERAGE = Rule(False, 1.0, 3.0), Rule(True, 1.0, 2.0, 0.5)


def rule(fine: bool) -> Rule:
    """The rule for leaves of fine pictures, or of those that the lattice cuts."""
    return STRICT if fine else AVERAGE


def null(lost: Reals, areas: Reals, how: Rule = STRICT) -> float:
    """Log-odds that hiding costs *here* for each share of the picture that is hidden.

    The median over the leaves (k,) of |loss in log-odds| over area: most leaves of a picture are no cause, so this is
    what hiding something of a size does by itself. It costs no pass. Where leaves are few the median is itself
    uncertain by half: it is drawn half-way (geometric mean) to the usual one.
    """
    middle = float(max(FEWEST, np.median(np.abs(lost) / areas)))
    return (middle * USUAL) ** 0.5 if how.means else middle


def tried(lost: Reals, beyond: Reals, unit: Unit = "probability", how: Rule = STRICT) -> NDArray[np.bool_]:
    """Which nodes (n,) may count, by losses (F, n) and multiples of the null (F, n) under the leading fills."""
    each = np.all([may(*one, unit, how) for one in zip(lost, beyond, strict=True)], axis=0)
    return np.asarray(each & (lost.mean(0) >= THRESHOLDS[unit].proposes) & (beyond.mean(0) >= how.beyond))


def may(lost: Reals, beyond: Reals, unit: Unit = "probability", how: Rule = STRICT) -> NDArray[np.bool_]:
    """Which nodes (n,) may still be tried, by what they lose under one leading fill: what `tried` asks of each."""
    least = THRESHOLDS[unit]
    return np.asarray((lost >= (least.each if how.means else least.proposes)) & (beyond >= how.each * how.beyond))


def signed(lost: Sequence[float], sign: int = 1) -> bool:
    """Whether what was lost in the picture itself (F,), of which numbers are told, has the sign in every way.

    What raises a score must raise it about alike: hiding anything can, by chance and then unevenly.
    """
    least, most = min(sign * v for v in lost), max(sign * v for v in lost)
    return least > 0 and (sign == 1 or least >= ALIKE * most)


def holds(
    lost: Sequence[float], beyond: Sequence[float], unit: Unit = "probability", sign: int = 1, how: Rule = STRICT
) -> bool:
    """Whether a node counts: it loses enough, and more than its size alone would.

    `lost` (F,) in the unit and `beyond` (F,), its loss in log-odds as multiples of the null of its size, are positive
    for what speaks for a claim: the loss for `sign` 1, the gain for -1. It has that sign in every fill and counts in
    all but one, so that no single fill decides.
    """
    least = THRESHOLDS[unit]
    loss, times = all_but_one(lost), all_but_one(beyond)
    if min(lost) <= 0 or (sign == -1 and (min(lost) < least.hinders or times < CLEARLY)):
        return False
    if how.means:
        return float(np.mean(lost)) >= least.says and loss >= least.second and float(np.mean(beyond)) >= how.times
    apart = interval(lost, unit)[0] > 0 and times >= APART
    return apart or (times >= how.times and loss >= least.enough)


def multiples(evidence: Mapping[str, float], nulls: Mapping[str, float], area: float) -> list[float]:
    """Losses in log-odds by fill as multiples of the null of a region of this area.

    Fills that were asked of the chosen regions alone have no null of their own: the last one that has lends its own.
    """
    last = list(nulls.values())[-1]
    return [v / (nulls.get(fill, last) * area) for fill, v in evidence.items()]
