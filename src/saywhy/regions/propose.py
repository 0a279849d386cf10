"""What a coalition game proposes to say about an image, and the experiments that would settle it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saywhy.errors import UsageError
from saywhy.explanation import Beside, ClassScore
from saywhy.language.appearance import Appearance
from saywhy.language.verify import Confirming, points

Reals = NDArray[np.floating]
Act = tuple[Literal["hide", "keep"], tuple[int, ...]]

PROPOSES = 2  # points: a Shapley value or an interaction from here on is worth an experiment


@dataclass(frozen=True)
class RegionWords:
    """A region's id, how it looks and its place word; `beside` as in `claims.Region`."""

    id: str
    appearance: Appearance
    place: str
    beside: Beside | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about one image: k regions, a game under F fills, and the confirming runs.

    `shapley` (F, k), `interactions` (F, k, k) and `empty` (F,), the target's probability with every region hidden,
    come from the game in probability; `contrast_*` are the same of target minus versus. `names` gives the name of a
    class index. `runs` are others than the game's, `contrast` in them is target minus versus.
    """

    predicted: ClassScore
    target: ClassScore
    versus: ClassScore | None
    names: Sequence[str] | Mapping[int, str]
    regions: tuple[RegionWords, ...] = ()
    shapley: Reals = field(default_factory=lambda: np.zeros((1, 0)))
    contrast_shapley: Reals | None = None
    interactions: Reals = field(default_factory=lambda: np.zeros((1, 0, 0)))
    empty: Reals = field(default_factory=lambda: np.zeros(0))
    runs: tuple[Confirming, ...] = ()

    def __post_init__(self) -> None:
        k = len(self.regions)
        shapes = [("shapley", self.shapley, (k,)), ("interactions", self.interactions, (k, k))]
        shapes += [("contrast_shapley", self.contrast_shapley, (k,))] if self.contrast_shapley is not None else []
        for name, values, shape in shapes:
            if values.shape[1:] != shape:
                raise UsageError(f"{name} of {k} regions must be (F, {', '.join(map(str, shape))}), not {values.shape}")


def wanted(e: Evidence) -> list[Act]:
    """The acts that would settle what the game proposes, as indices into `e.regions`; at most k + 6, no doubles.

    Each region hidden, all hidden, the two strongest kept alone, the strongest pairs either way hidden, and the two
    that hold the target above the other class.
    """
    k = len(e.regions)
    if not k:
        return []
    acts: list[Act] = [("hide", (i,)) for i in range(k)] + [("hide", tuple(range(k)))]
    acts += [("keep", (i,)) for i in strongest(e)]
    acts += [("hide", pair) for pair in (*pairs_of(e).values(), *filter(None, [holding_pair(e)]))]
    return list(dict.fromkeys(acts))


def mean_of(values: Reals | None, k: int) -> Reals:
    """The mean over the fills of values (F, k); zeros where there are none."""
    return np.zeros(k) if values is None else values.mean(axis=0)


def strongest(e: Evidence) -> list[int]:
    """The two regions with the largest Shapley values, if they are worth an experiment."""
    phi = mean_of(e.shapley, len(e.regions))
    return [int(i) for i in np.argsort(-phi, kind="stable")[:2] if points(phi[i]) >= PROPOSES]


def pairs_of(e: Evidence) -> dict[str, tuple[int, int]]:
    """The strongest pair that needs each other and the strongest that stands in for each other, if any.

    Only regions that do not count against the target are paired: two that hinder it neither need nor replace
    each other in the sense of the words.
    """
    phi, interaction = mean_of(e.shapley, len(e.regions)), e.interactions.mean(axis=0)
    helpful = [i for i in range(len(e.regions)) if points(phi[i]) >= 0]
    pairs = sorted(combinations(helpful, 2), key=lambda p: float(interaction[p]))
    out: dict[str, tuple[int, int]] = {}
    if pairs and points(interaction[pairs[-1]]) >= PROPOSES:
        out["needs"] = pairs[-1]
    if pairs and points(interaction[pairs[0]]) <= -PROPOSES:
        out["stands_in"] = pairs[0]
    return out


def holding(e: Evidence) -> list[int]:
    """The regions that hold the target above versus, strongest first."""
    phi = mean_of(e.contrast_shapley, len(e.regions))
    return [int(i) for i in np.argsort(-phi, kind="stable") if points(phi[i]) >= PROPOSES]


def holding_pair(e: Evidence) -> tuple[int, int] | None:
    """The two regions that hold the target above versus the most."""
    pair = holding(e)[:2]
    return (min(pair), max(pair)) if len(pair) == 2 else None
