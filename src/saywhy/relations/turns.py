"""How two pieces lie to each other, and the moves of one of them that change it.

Each relation is a row. A piece moved so that the relation ends is compared with both moved by as much, and with the
piece moved as far elsewhere, which leave the relation as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saywhy.image import Bools
from saywhy.intervene import fits, shifted

LEAST = 0.015  # of the short side, that two pieces lie apart for an order to be told

Vector = NDArray[np.float64]
Shift = tuple[int, int]


@dataclass(frozen=True)
class Ending:
    """A relation of a piece to another one, from the way (dy, dx) to it: shifts of the piece by which it `ends` (none
    where it does not lie so) and by which it is kept, `elsewhere`; the first that has room is used."""

    ends: Callable[[Vector, float], tuple[Vector, ...]]
    elsewhere: Callable[[Vector], tuple[Vector, ...]]


def _across(axis: int, sign: int) -> Callable[[Vector, float], tuple[Vector, ...]]:
    """To the other side of the other piece, as far from it or half as far."""

    def ends(way: Vector, least: float) -> tuple[Vector, ...]:
        there = way * np.eye(2)[axis]
        return (2 * there, 1.5 * there) if sign * way[axis] >= least else ()

    return ends


def _around(way: Vector) -> tuple[Vector, ...]:
    """As near to the other piece, a quarter of a turn around it."""
    y, x = way
    return np.array([y - x, x + y]), np.array([y + x, x - y])


def _aside(axis: int) -> Callable[[Vector], tuple[Vector, ...]]:
    """Further away, or to one side or the other, so that the order stays."""

    def shifts(way: Vector) -> tuple[Vector, ...]:
        far, beside = 2 * way * np.eye(2)[axis], 2 * way[axis] * np.eye(2)[1 - axis]
        return -far, beside, -beside

    return shifts


RELATIONS: dict[str, Ending] = {
    "above": Ending(_across(0, 1), _aside(0)),
    "below": Ending(_across(0, -1), _aside(0)),
    "left": Ending(_across(1, 1), _aside(1)),
    "right": Ending(_across(1, -1), _aside(1)),
    "near": Ending(lambda way, least: (-way,), _around),
    "far": Ending(lambda way, least: (way / 2,), lambda way: (-way / 2,)),
}


@dataclass(frozen=True)
class Turn:
    """A relation of piece `moved` to piece `kept`, the shift (dy, dx) of the moved one that ends it, and one that
    does not."""

    relation: str
    moved: int
    kept: int
    shift: Shift
    elsewhere: Shift

    @property
    def pair(self) -> tuple[int, int]:
        """The two pieces, whichever is moved."""
        return min(self.moved, self.kept), max(self.moved, self.kept)


def turns(pieces: Tensor, moved: int, kept: int) -> Iterator[Turn]:
    """The relations of a piece to another one, of (m, H, W), that moving it can end, and moving both or it elsewhere
    can keep: all stays whole inside the picture, and it does not come to lie on the other one."""
    one, other = pieces[moved], pieces[kept]
    way = centre(other.cpu().numpy()) - centre(one.cpu().numpy())
    for name, row in RELATIONS.items():
        ends = row.ends(way, max(2.0, LEAST * min(pieces.shape[1:])))
        ended = next((s for s in map(_whole, ends) if _free(one, other, s) and fits(other, *s)), None)
        free = next((s for s in map(_whole, row.elsewhere(way)) if _free(one, other, s)), None)
        if ended is not None and free is not None:
            yield Turn(name, moved, kept, ended, free)


def _whole(way: Vector) -> Shift:
    return round(float(way[0])), round(float(way[1]))


def _free(one: Tensor, other: Tensor, shift: Shift) -> bool:
    """Whether there is room for a piece (H, W) there, in the picture and beside the other piece: what it covered of
    that would be hidden, which is no relation."""
    return shift != (0, 0) and fits(one, *shift) and not bool((shifted(one, *shift) & other).any())


def centre(mask: Bools) -> Vector:
    """The middle (y, x) of a mask's pixels."""
    return np.array([axis.mean() for axis in np.nonzero(mask)])
