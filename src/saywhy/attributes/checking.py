"""Whether an attribute that would be said is used: its region is hidden, and its filters are silenced.

R attributes, K filters, maps (K, h, w), image (3, H, W), C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.attributes.atlas import region, view_of
from saywhy.attributes.describing import Reason
from saywhy.attributes.grounding import Bools, cells, elsewhere, published
from saywhy.attributes.meanings import Meanings, Reals
from saywhy.explanation import Unit
from saywhy.intervene import CONFIRMING, content_seed, experiment, seeded
from saywhy.language.verify import Measured
from saywhy.precision import log_odds
from saywhy.seen import Seen
from saywhy.tap import Tap

FILTERS = 0.05  # of all filters: those that speak most for an attribute are its own
DRAWS = 3  # of as many other filters, that they are compared with
POINTS, ODDS = 0.02, 0.3  # what hiding must cost on average; log-odds where the probability hardly moves
SATURATED = 0.97

Grounds = Literal["place", "filters"]


@dataclass(frozen=True, eq=False)
class Checked:
    """A reason with the region (H, W) of the view where its attribute is, what that was found by, what hiding it costs
    the class in five ways, and as much elsewhere on average; its `filters`, and what silencing them costs, and others.

    All losses are in points of probability, or in log-odds where `unit` says so; of what speaks against a class they
    are negative.
    """

    reason: Reason
    region: Tensor
    by: Grounds
    hidden: Measured
    elsewhere: float
    filters: tuple[int, ...]
    silenced: float
    others: float

    @property
    def used(self) -> bool:
        """Whether it counts here: hiding it costs in each way, more than elsewhere; so does silencing its filters."""
        sign = 1 if self.reason.effect > 0 else -1
        least = POINTS if self.hidden.unit == "probability" else ODDS
        lost = [sign * v for v in self.hidden.values]
        holds = bool(lost) and min(lost) > 0 and float(np.mean(lost)) >= max(least, sign * self.elsewhere)
        return holds and sign * self.silenced > max(0.0, sign * self.others)


def check(meaning: Meanings, seen: Seen, tap: Tap, found: Sequence[Reason], seed: int) -> list[Checked]:
    """Each reason checked: ten passes and four tail passes for one."""
    if not found:
        return []
    maps = tap.maps(meaning.layer)[0].cpu().double().numpy()
    where = [located(meaning, seen, tap, maps, r.attribute) for r in found]
    regions = in_view([*(w.own for w in where), *(w.other for w in where)], seen)
    unit: Unit = "log-odds" if float(seen.probabilities[seen.target]) > SATURATED else "probability"
    lost = _hidden(seen, regions, unit == "log-odds", seed)
    ways, n = seeded(CONFIRMING, seed), len(found)
    out = []
    for i, reason in enumerate(found):
        filters = strongest(meaning, reason.attribute)
        silent = _silenced(meaning, seen, tap, maps, reason.attribute, filters, unit == "log-odds", seed)
        hidden = Measured(tuple(lost[i].tolist()), tuple(ways), len(ways), unit)
        elsewhere_lost = float(lost[n + i].mean()) if where[i].other.any() else 0.0
        out.append(Checked(reason, regions[i], where[i].by, hidden, elsewhere_lost, tuple(filters), *silent))
    return out


@dataclass(frozen=True, eq=False)
class Located:
    """The cells (h, w) of an attribute, as many where its filters speak least for it, and what they were found by."""

    own: Bools
    other: Bools
    by: Grounds


def located(meaning: Meanings, seen: Seen, tap: Tap, maps: Reals, attribute: int) -> Located:
    """Where an attribute is: at the place of its noun where that was learned, else where its filters are."""
    grid = published(maps, meaning.posterior[:, attribute])
    place = None
    if meaning.atlas is not None:
        size = (seen.picture.width, seen.picture.height)
        place = meaning.atlas.place(view_of(tap, meaning.atlas.layers, seen.box, size), meaning.attributes[attribute])
    if place is None:
        own = cells(grid)
        return Located(own, elsewhere(grid, own), "filters")
    own = region(place)
    fine = F.interpolate(torch.from_numpy(grid)[None, None], own.shape, mode="bilinear", align_corners=False)
    return Located(own, elsewhere(fine[0, 0].numpy(), own), "place")


def in_view(grids: Sequence[Bools], seen: Seen) -> Tensor:
    """Cells (h, w) of grids as regions (R, H, W) of the view."""
    size = seen.image.shape[1:]
    fine = [F.interpolate(torch.from_numpy(grid)[None, None].float(), size, mode="nearest") for grid in grids]
    return torch.cat(fine)[:, 0] > 0.5


def _hidden(seen: Seen, regions: Tensor, odds: bool, seed: int) -> Reals:
    """What hiding each region costs the target (m, ways)."""
    acts = [("hide", (i,)) for i in range(len(regions))]
    runs = experiment(seen.tap.clf, seen.image, regions, acts, seed=seed)  # type: ignore[arg-type]
    after = np.array([float(r.probabilities[seen.target]) for r in runs]).reshape(len(regions), -1)
    return _lost(float(seen.probabilities[seen.target]), after, odds)


def _lost(before: float, after: Reals, odds: bool) -> Reals:
    return np.asarray(log_odds(before) - log_odds(after) if odds else before - after)


def strongest(meaning: Meanings, attribute: int) -> list[int]:
    """The filters that speak most for an attribute, the first first: a twentieth of all, none that does not."""
    weights = meaning.posterior[:, attribute]
    most = max(1, round(FILTERS * len(weights)))
    return [int(k) for k in np.argsort(-weights, kind="stable")[:most] if weights[k] > 0]


def _silenced(
    meaning: Meanings, seen: Seen, tap: Tap, maps: Reals, attribute: int, filters: Sequence[int], odds: bool, seed: int
) -> tuple[float, float]:
    """What it costs when filters are as strong as in pictures without the attribute, and when others are."""
    rest = np.setdiff1d(np.arange(len(maps)), filters)
    drawn = np.random.default_rng(content_seed(seen.image, seed) + attribute)
    sets = [list(filters), *(drawn.permutation(rest)[: len(filters)].tolist() for _ in range(DRAWS))]
    changed = np.stack([weakened(maps, some, meaning.without[:, attribute] + meaning.activity.floor) for some in sets])
    with torch.no_grad():
        scores = tap.replay(torch.from_numpy(changed).to(tap.logits), meaning.layer, torch.zeros(len(sets)).long())
    after = tap.clf.fine_probabilities(scores)[:, seen.target].cpu().double().numpy()
    lost = _lost(float(seen.probabilities[seen.target]), after, odds)
    return float(lost[0]), float(lost[1:].mean())


def weakened(maps: Reals, filters: Sequence[int], usual: Reals) -> Reals:
    """Maps (K, h, w) in which these filters are, on average over the cells, no stronger than usual (K,)."""
    out = maps.copy()
    for k in filters:
        mean = float(maps[k].mean())
        if mean > usual[k]:
            out[k] = maps[k] * max(usual[k], 0.0) / mean if mean > 0 else maps[k] - (mean - usual[k])
    return out
