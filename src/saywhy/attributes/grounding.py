"""Where an attribute is in a picture: rows of GROUNDINGS, each a function of the filters' maps and weights.

K filters, maps (K, h, w), weights (K,) of one attribute, grids (h, w).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

HALF = 0.5  # of the way from the mean of a map to its most, from which a cell is of the attribute


def published(maps: Reals, weights: Reals) -> Reals:
    """The sum of the filters' maps by p(t | filter). Source: Guo et al., Eq. 9."""
    return np.asarray(np.tensordot(weights, maps, axes=1))


GROUNDINGS: dict[str, Callable[[Reals, Reals], Reals]] = {"published": published}


def cells(grid: Reals) -> Bools:
    """The cells (h, w) of an attribute: those that are nearer to the most than to the mean; none of a flat map."""
    mean, most = float(grid.mean()), float(grid.max())
    return grid > mean + HALF * (most - mean) if most > mean else np.zeros(grid.shape, dtype=bool)


def elsewhere(grid: Reals, of: Bools) -> Bools:
    """As many cells (h, w) where the attribute is least, beside its own: what its region is compared with."""
    order = np.argsort(np.where(of, np.inf, grid).ravel(), kind="stable")[: int(of.sum())]
    out = np.zeros(grid.size, dtype=bool)
    out[order] = True
    return out.reshape(grid.shape) & ~of
