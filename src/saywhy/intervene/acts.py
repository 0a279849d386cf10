"""Single experiments, to confirm by other means what a game has found.

k regions (k, H, W) of one image (3, H, W); C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene.engine import Masked, masked_probabilities

Act = Literal["hide", "keep"]
CONFIRMING: tuple[tuple[str, int], ...] = (("mean", 1), ("mean", 2), ("noise", 3), ("noise", 4))


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
    """Carries out each act in each (fill, seed) way; the seed also moves and widens the mask by a few pixels.

    "keep" hides everything outside the given regions, the surroundings included.
    """
    if not acts or not ways:
        return []
    parts = [_way(image, regions, acts, fill, s + 1000 * seed) for fill, s in ways]
    answers = torch.split(masked_probabilities(clf, parts), len(acts))
    return [
        Experiment(act, which, fill, s, answers[w][a])
        for a, (act, which) in enumerate(acts)
        for w, (fill, s) in enumerate(ways)
    ]


def _way(image: Tensor, regions: Tensor, acts: Sequence[tuple[Act, tuple[int, ...]]], fill: str, seed: int) -> Masked:
    def make(start: int, stop: int) -> Tensor:
        return torch.stack([_kept(regions, act, which, seed) for act, which in acts[start:stop]])

    return Masked(image[None], len(acts), make, fill, seed)


def _kept(regions: Tensor, act: str, which: tuple[int, ...], seed: int) -> Tensor:
    """What an act leaves to be seen (H, W)."""
    area = regions[list(which)].any(dim=0) if which else torch.zeros_like(regions[0], dtype=torch.bool)
    area = _jitter(area, seed)
    return area if act == "keep" else ~area


def _jitter(mask: Tensor, seed: int) -> Tensor:
    """The mask moved by up to 1 % of the image and widened or narrowed by up to 1 %: what a finding must survive."""
    g = torch.Generator().manual_seed(seed)
    H, W = mask.shape
    reach = max(1, min(H, W) // 100)
    dy, dx, grow = (int(v) for v in torch.randint(-reach, reach + 1, (3,), generator=g))
    moved = F.pad(mask[None, None].float(), (reach + dx, reach - dx, reach + dy, reach - dy))[
        ..., reach : reach + H, reach : reach + W
    ]
    if grow > 0:
        moved = F.max_pool2d(moved, 2 * grow + 1, 1, grow)
    elif grow < 0:
        moved = -F.max_pool2d(-moved, 2 * -grow + 1, 1, -grow)
    return moved[0, 0] > 0.5
