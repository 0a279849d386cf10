"""What attributes alone can tell: a class that was never trained, and what changed between two versions of a picture.

N pictures, K filters, L attributes, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

LIMIT = 0.05  # nothing is surer than this, nor surer not to be


def recognised(presence: Reals, table: Reals) -> NDArray[np.int64]:
    """Which class of a table (C, L) of how usual each attribute is pictures (N,) are of, by how sure each attribute is
    in them (N, L): no picture of the classes is needed.

    Source: Lampert et al., Learning to Detect Unseen Object Classes by Between-Class Attribute Transfer, 2009, with
    what is usual in a class in the place of yes and no.
    """
    p, a = np.clip(table, LIMIT, 1 - LIMIT), np.clip(presence, 0.0, 1.0)
    return np.asarray((a @ np.log(p).T + (1 - a) @ np.log(1 - p).T).argmax(axis=1))


def moved(before: Reals, after: Reals, most: int = 5) -> list[tuple[int, float]]:
    """The attributes (their numbers) that are surer or less sure (L,) in another version of a picture, as an attack
    makes one, and by how much; the most moved first, none that did not move."""
    change = after - before
    order = np.argsort(-np.abs(change), kind="stable")[:most]
    return [(int(j), float(change[j])) for j in order if change[j] != 0]
