"""A region that is larger than what counts in it: cut in two by colour, as long as one half does it all.

h x w grid of the tree; masks (h, w) on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from saywhy.players import Bools, Reals

SHARE, TIMES = 0.8, 3  # of the loss, that one half must take; cuts at most
Losses = Callable[[Bools], Reals]  # masks (m, h, w) -> what hiding each costs (m,)

PLACE, ROUNDS = 20.0, 10  # Lab units that the whole height or width is worth; rounds of the two means at most
LEAST, CELLS = 0.005, 12  # the smallest half: of the picture, and in cells


def narrowed(ways: Sequence[Losses], lab: Reals, mask: Bools, loss: float) -> Bools:
    """The mask, or the half of it (or of that half) that takes most of its `loss` in each of the ways of hiding."""
    for _ in range(TIMES):
        both = halves(lab, mask)
        if not both:
            break
        lost = _least(ways, np.stack(both), SHARE * loss)
        best = int(lost.argmax())
        if lost[best] < SHARE * loss:
            break
        mask, loss = both[best], float(lost[best])
    return mask


def _least(ways: Sequence[Losses], masks: Bools, enough: float) -> Reals:
    """The least loss (m,) over the ways; what is not enough in one is not asked about in the next."""
    least = np.full(len(masks), np.inf)
    for losses in ways:
        still = np.flatnonzero(least >= enough)
        if len(still):
            least[still] = np.minimum(least[still], losses(masks[still]))
    return least


def halves(lab: Reals, mask: Bools) -> list[Bools]:
    """The largest connected pieces of a mask's two means in colour and a little in place, if large enough."""
    h, w = mask.shape
    ys, xs = np.nonzero(mask)
    each = np.column_stack([lab[ys, xs], PLACE * (ys + 0.5) / h, PLACE * (xs + 0.5) / w])
    off = each - each.mean(0)
    side = off @ np.linalg.eigh(off.T @ off)[1][:, -1] > 0
    for _ in range(ROUNDS):
        if side.all() or not side.any():
            return []
        means = [each[side].mean(0), each[~side].mean(0)]
        near = np.stack([((each - m) ** 2).sum(1) for m in means])
        last, side = side, near[0] < near[1]
        if (side == last).all():
            break
    pieces = [_largest(ys[s], xs[s], (h, w)) for s in (side, ~side) if s.any()]
    return [p for p in pieces if p.sum() >= max(CELLS, LEAST * h * w)]


def _largest(ys: Reals, xs: Reals, shape: tuple[int, int]) -> Bools:
    piece = np.zeros(shape, dtype=bool)
    piece[ys, xs] = True
    labels, _ = ndimage.label(piece)
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())
