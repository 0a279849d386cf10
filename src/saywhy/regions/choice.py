"""Which nodes of the tree may count: each hidden once under the leading fills, and disjoint ones chosen.

n nodes, the k leaves first; C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.explanation import Unit
from saywhy.intervene import CONFIRMING, Masked, masked_probabilities
from saywhy.language.verify import THRESHOLDS
from saywhy.players import Bools, Reals, Tree
from saywhy.precision import log_odds
from saywhy.regions.narrow import narrowed
from saywhy.regions.noise import Noise
from saywhy.regions.verdict import may, null, rule, tried

LEADING = ("inpaint", "mean")
SAME = 0.5  # of the target's probability, that the mirror must keep to be looked at in the picture's stead
NARROWED = 3  # regions that are narrowed, the strongest
ADDED = 3.0  # multiples of the null of the area that a join adds


@dataclass(frozen=True, eq=False)
class Side:
    """A picture (3, H, W), or its mirror, with what the classifier says of the whole of it (C,)."""

    clf: Classifier
    image: Tensor
    whole: Reals
    mirrored: bool = False

    def ask(self, masks: Bools, fill: str, seed: int = 0) -> Reals:
        """Probabilities (m, C) with each mask (m, H, W) of the picture hidden, in the mirror where it lies there."""
        there = np.ascontiguousarray(masks[..., ::-1]) if self.mirrored else masks
        return ask(self.clf, self.image, there, fill, seed)

    def lost(self, answers: Reals, target: int, unit: Unit = "probability") -> Reals:
        """The target's loss (m,) in these answers (m, C)."""
        return fallen(self.whole, answers, target, unit)


def sides(clf: Classifier, image: Tensor, whole: Reals, target: int) -> tuple[Side, Side]:
    """The picture, of which the answer is known, and its mirror; or the picture twice where the mirror is another thing
    to the classifier: one that looks at certain places (digits, scans, fixed cameras) has nothing to say of it."""
    picture, turned = Side(clf, image, whole), image.flip(-1)
    nothing = np.zeros((1, *image.shape[1:]), dtype=bool)
    mirror = Side(clf, turned, ask(clf, turned, nothing, CONFIRMING[0][0])[0], mirrored=True)
    return picture, mirror if mirror.whole[target] >= SAME * whole[target] else picture


@dataclass(frozen=True, eq=False)
class Hidden:
    """What hiding did: the probabilities (n, C) with each node hidden, fill by fill, on the side that it was asked of;
    NaN where a node was not asked about; and the noise of the answers."""

    tree: Tree
    sides: Mapping[str, Side]
    answers: Mapping[str, Reals]
    target: int
    noise: Noise = Noise()

    def lost(self, fill: str, unit: Unit = "probability") -> Reals:
        """The target's loss (n,)."""
        return self.sides[fill].lost(self.answers[fill], self.target, unit)

    @property
    def nulls(self) -> dict[str, float]:
        """The null of each fill under which every leaf was hidden."""
        k = self.tree.nodes.shape[1]
        return {f: null(self.lost(f, "log-odds")[:k], self.tree.areas[:k], rule(self.tree.fine)) for f in self.answers}


def fallen(whole: Reals, answers: Reals, target: int, unit: Unit = "probability") -> Reals:
    """The target's loss (m,) from the probabilities of the whole picture (C,) to others (m, C)."""
    before, after = whole[target], answers[:, target]
    return np.asarray(before - after if unit == "probability" else log_odds(before) - log_odds(after))


def ask(clf: Classifier, image: Tensor, masks: Bools, fill: str, seed: int = 0) -> Reals:
    """Probabilities (m, C) with each mask (m, H, W) hidden."""
    if not len(masks):
        return np.zeros((0, 0))
    keep = torch.from_numpy(~masks)
    part = Masked(image[None], len(masks), lambda start, stop: keep[start:stop], fill, seed)
    return np.asarray(masked_probabilities(clf, [part]).numpy())


def hide_each(both: tuple[Side, Side], tree: Tree, target: int, units: Sequence[Unit]) -> Hidden:
    """Every node hidden under the first leading fill; under the second every leaf, for its null, and those joins that
    may count in one of the units: no other could be chosen.

    Where averages decide, the second is asked of the mirror, for the same passes: of ten claims on photos one more is
    then made again of the mirrored photo. Where single fills decide, both would have to agree on both sides.
    """
    n, k = tree.nodes.shape
    how, (first, second) = rule(tree.fine), LEADING
    picture, mirror = both
    of = {first: picture, second: mirror if how.means else picture}
    hidden = Hidden(tree, of, {first: of[first].ask(tree.masks(range(n)), first)}, target)
    beyond = np.abs(hidden.lost(first, "log-odds")) / hidden.nulls[first] / tree.areas
    some = np.any([may(np.abs(hidden.lost(first, u)), beyond, u, how) for u in units], axis=0)
    asked = [i for i in range(n) if i < k or some[i]]
    rows = np.full_like(hidden.answers[first], np.nan)
    rows[asked] = of[second].ask(tree.masks(asked), second)
    return Hidden(tree, of, {**hidden.answers, second: rows}, target)


def chosen(hidden: Hidden, unit: Unit = "probability", sign: int = 1) -> list[int]:
    """Disjoint nodes that lose (gain for `sign` -1) enough under the leading fills, the largest loss first.

    A join replaces the one node that it joins and that may count if what it adds exceeds what its added area costs.
    """
    area, least, nulls = hidden.tree.areas, THRESHOLDS[unit], hidden.nulls
    losses = np.array([sign * hidden.lost(f, unit) for f in LEADING])
    how = rule(hidden.tree.fine)
    average = np.mean if how.means else np.min
    loss = average(losses, axis=0)
    evidence = np.array([sign * hidden.lost(f, "log-odds") / nulls[f] for f in LEADING])
    fine = tried(losses, evidence / area, unit, how)
    best: list[list[int]] = [[] for _ in area]
    for i, (a, b) in enumerate(hidden.tree.joined.tolist()):
        below = best[a] + best[b] if a >= 0 else []
        more = not below
        if fine[i] and len(below) == 1:
            j = below[0]
            added = average((evidence[:, i] - evidence[:, j]) / (area[i] - area[j]))
            more = bool(loss[i] >= loss[j] + least.join and added >= ADDED)
        best[i] = [i] if fine[i] and more else below
    tops = set(range(len(area))) - set(hidden.tree.joined.ravel().tolist())
    found = [i for top in sorted(tops) for i in best[top]]
    return sorted(found, key=lambda i: -loss[i])


def narrow(hidden: Hidden, which: Sequence[int], unit: Unit = "probability") -> Bools:
    """The pixels (m, H, W) of these nodes; of the first few the part of each that takes most of its loss."""
    tree, cells = hidden.tree, hidden.tree.on_grid(which)

    def lost(fill: str, masks: Bools) -> Reals:
        side = hidden.sides[fill]
        return side.lost(side.ask(tree.shown(masks), fill), hidden.target, unit)

    ways = [partial(lost, fill) for fill in LEADING]
    for n, i in enumerate(which[:NARROWED]):
        loss = float(min(hidden.lost(fill, unit)[i] for fill in LEADING))
        cells[n] = narrowed(ways, tree.lab, cells[n], loss)
    return tree.shown(cells)
