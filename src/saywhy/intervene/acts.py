"""Single experiments: regions hidden, or kept alone, in ways that differ in nature.

k regions (k, H, W) of one image (3, H, W); C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene.engine import Masked, masked_probabilities
from saywhy.intervene.fills import named

Act = Literal["hide", "keep"]
# Five fills of three natures: colours of what is seen, noise, and other places of the picture.
CONFIRMING: tuple[tuple[str, int], ...] = (("inpaint", 0), ("mean", 0), ("noise", 3), ("donor", 0), ("donor2", 0))


@dataclass(frozen=True)
class Experiment:
    """One act: these regions hidden, or kept alone, with a fill and a seed; the probabilities (C,) it gave."""

    act: Act
    regions: tuple[int, ...]
    fill: str
    seed: int
    probabilities: Tensor


def experiment(
    clf: Classifier,
    image: Tensor,
    regions: Tensor,
    acts: Sequence[tuple[Act, tuple[int, ...]]],
    *,
    ways: Sequence[tuple[str, int]] = CONFIRMING,
    seed: int = 0,
) -> list[Experiment]:
    """Carries out each act in each (fill, seed) way; `seed` changes what is drawn, the noise alone.

    "keep" hides everything outside the given regions, the surroundings included.
    """
    if not acts or not ways:
        return []
    parts = [_way(image, regions, acts, fill, s) for fill, s in seeded(ways, seed)]
    answers = torch.split(masked_probabilities(clf, parts), len(acts))
    return [
        Experiment(act, which, fill, s, answers[w][a])
        for a, (act, which) in enumerate(acts)
        for w, (fill, s) in enumerate(seeded(ways, seed))
    ]


def seeded(ways: Sequence[tuple[str, int]], seed: int) -> list[tuple[str, int]]:
    """The ways with their seeds moved on where the fill is drawn."""
    return [(fill, s + 1000 * seed if "seed" in named(fill).needs else s) for fill, s in ways]


def _way(image: Tensor, regions: Tensor, acts: Sequence[tuple[Act, tuple[int, ...]]], fill: str, seed: int) -> Masked:
    def make(start: int, stop: int) -> Tensor:
        return torch.stack([_kept(regions, act, which) for act, which in acts[start:stop]])

    return Masked(image[None], len(acts), make, fill, seed)


def _kept(regions: Tensor, act: str, which: tuple[int, ...]) -> Tensor:
    """What an act leaves to be seen (H, W)."""
    area = regions[list(which)].any(dim=0)
    return area if act == "keep" else ~area
