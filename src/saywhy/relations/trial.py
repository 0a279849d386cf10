"""The experiments: which pieces may matter, which relations of them may speak, what ending those costs in five ways.

C classes; P pieces (P, H, W) of the model's view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.explanation import Unit
from saywhy.intervene import (
    CONFIRMING,
    Masked,
    Move,
    displaced_probabilities,
    masked_probabilities,
    plain_probabilities,
    seeded,
)
from saywhy.language.verify import THRESHOLDS
from saywhy.precision import log_odds
from saywhy.relations.holding import Lost, Reals, holds, may, signed
from saywhy.relations.turns import Turn, turns

SCREEN = CONFIRMING[0]  # the way in which all is tried first
LEADING, PARTNERS = 3, 8  # pieces whose relations are tried, to that many pieces, by what hiding each changes
CONFIRMED = 3  # pairs at most that are tried in all ways
LEAST = THRESHOLDS["probability"].says  # that ending a relation must cost
UNITS: tuple[Unit, ...] = ("probability", "log-odds")


@dataclass(frozen=True, eq=False)
class Movable:
    """An image (3, H, W) with its pieces, or its mirror, and the target's probability in it."""

    clf: Classifier
    image: Tensor
    pieces: Tensor
    target: int
    whole: float
    sign: int = 1

    def mirrored(self) -> Movable:
        """The mirror, asked once."""
        image = self.image.flip(-1)
        whole = float(plain_probabilities(self.clf, image[None])[0, self.target])
        return Movable(self.clf, image, self.pieces.flip(-1), self.target, whole, -1)

    def moved(self, moves: Sequence[Move], ways: Sequence[tuple[str, int]]) -> Reals:
        """The target's probability (ways, moves) after each move."""
        if not moves:
            return np.zeros((len(ways), 0))
        turned = [tuple((i, dy, self.sign * dx) for i, dy, dx in move) for move in moves]
        found = displaced_probabilities(self.clf, self.image, self.pieces, turned, ways=ways)
        return np.asarray(found[..., self.target].numpy())

    def hidden(self) -> Reals:
        """The target's probability (P,) with each piece hidden."""
        part = Masked(self.image[None], len(self.pieces), lambda a, b: ~self.pieces[a:b], *SCREEN)
        return np.asarray(masked_probabilities(self.clf, [part])[:, self.target].numpy())

    def lost(self, p: Reals, unit: Unit) -> Reals:
        """What is lost where so much is left."""
        return self.whole - p if unit == "probability" else log_odds(self.whole) - log_odds(p)


@dataclass(frozen=True, eq=False)
class Settled:
    """A turn, what is left of the target (F, 4) after its four moves, in the picture and in its mirror (None: not
    asked), what was `lost` in each unit, on average over both, and `here`, and whether the relation holds."""

    turn: Turn
    picture: Reals
    mirror: Reals | None
    lost: dict[Unit, Lost]
    here: dict[Unit, Lost]
    holds: bool


@dataclass(frozen=True, eq=False)
class Search:
    """The pieces that were looked at (P, H, W), what hiding each took from the target in log-odds (P,), how many turns
    were tried at first sight, and those that were tried in all ways."""

    pieces: Tensor
    lost: Reals
    screened: int = 0
    tried: list[Settled] = field(default_factory=list)


def search(side: Movable, *, mirror: bool, least: float = 0.0, seed: int = 0) -> Search:
    """Finds the relations of pieces that may speak for the target, and tries each in five ways. `least` is what ending
    one must cost where the model does not repeat itself."""
    least = max(LEAST, least)
    if len(side.pieces) < 2:
        return Search(side.pieces, np.zeros(len(side.pieces)))
    lost = side.lost(side.hidden(), "log-odds")
    ranked = np.argsort(-np.abs(lost), kind="stable")[:PARTNERS].tolist()
    pairs = [pair for pair in combinations(ranked, 2) if set(pair) & set(ranked[:LEADING])]
    every = [t for a, b in pairs for one, other in ((a, b), (b, a)) for t in turns(side.pieces, one, other)]
    chosen = promising(side, every, least)
    other = side.mirrored() if mirror and chosen else None
    return Search(side.pieces, lost, len(every), [confirmed(side, other, t, least, seed) for t in chosen])


def promising(side: Movable, every: Sequence[Turn], least: float = LEAST) -> list[Turn]:
    """Of all turns that may hold by one way those that cost most beyond keeping the relation, each piece in one: what
    lies on or beside a piece that decides seems to stand in a relation too."""
    ended = side.moved([moves_of(t)[0] for t in every], [SCREEN])
    costly = [t for t, lost in zip(every, side.lost(ended, "probability")[0], strict=True) if lost >= least]
    found = [(t, losses(side, asked(side, t, [SCREEN]))) for t in costly]
    able = [(t, x["log-odds"]) for t, x in found if may(x["probability"], x["log-odds"], least)]
    able.sort(key=lambda row: -beyond(row[1]))
    out, taken = list[Turn](), torch.zeros_like(side.pieces[0])
    for turn, _ in able:
        both = side.pieces[list(turn.pair)]
        if not bool((both & taken).any()):
            out.append(turn)
            taken = taken | both.any(dim=0)
    return out[:CONFIRMED]


def beyond(lost: Lost) -> float:
    """By how much ending a relation costs more than keeping it, by the first way."""
    kept = max(lost.both[0], lost.elsewhere[0])
    return float(min(lost.one[0] - kept, lost.together[0]))


def confirmed(side: Movable, mirror: Movable | None, turn: Turn, least: float = LEAST, seed: int = 0) -> Settled:
    """A turn in all ways, in the picture and, where there is one, in its mirror; means over both decide."""
    ways = seeded(CONFIRMING, seed)
    picture = asked(side, turn, ways)
    here = mean = losses(side, picture)
    turned = None if mirror is None else asked(mirror, turn, ways)
    if mirror is not None and turned is not None:
        there = losses(mirror, turned)
        mean = {u: _mean(here[u], there[u]) for u in UNITS}
    stands = signed(here["log-odds"]) and holds(mean["probability"], mean["log-odds"], least)
    return Settled(turn, picture, turned, mean, here, stands)


def _mean(a: Lost, b: Lost) -> Lost:
    return Lost(*((getattr(a, f.name) + getattr(b, f.name)) / 2 for f in fields(Lost)))


def asked(side: Movable, turn: Turn, ways: Sequence[tuple[str, int]]) -> Reals:
    """The target's probability (ways, 4) after the moves of a turn."""
    return side.moved(moves_of(turn), ways)


def moves_of(turn: Turn) -> list[Move]:
    """The one piece moved, the other one as far, both, and the one elsewhere."""
    one, other = (turn.moved, *turn.shift), (turn.kept, *turn.shift)
    return [(one,), (other,), (other, one), ((turn.moved, *turn.elsewhere),)]


def losses(side: Movable, p: Reals) -> dict[Unit, Lost]:
    """What is lost in each unit, from probabilities (F, 4)."""
    return {u: Lost(*np.moveaxis(side.lost(p, u), 1, 0)) for u in UNITS}
