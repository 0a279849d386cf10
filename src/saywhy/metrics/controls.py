"""Maps that know nothing of the model: a metric that they win measures something else than explanation.

Each gives display maps (N, H, W) float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError


def constant_maps(count: int, size: tuple[int, int], *, value: float = 1.0) -> Tensor:
    """The same value everywhere; at 1 it hides nothing, so it scores average drop 0 ("fake CAM").

    Source: Poppi et al., arXiv 2104.10252.
    """
    _check(count, size)
    return torch.full((count, *size), float(value))


def random_maps(count: int, size: tuple[int, int], *, seed: int = 0, first: int = 0, grid: int = 7) -> Tensor:
    """Smooth random blobs: uniform noise on a `grid` x `grid` net, bilinear to (H, W), min-max normalised.

    As coarse as the maps of a CNN's last layer, so that smoothness is no advantage of theirs. Map i is drawn
    from (seed, first + i): the same whatever the batch, if `first` is the index of the batch's first image.
    """
    _check(count, size)
    draws = [np.random.default_rng((seed, first + i)).random((grid, grid)) for i in range(count)]
    coarse = torch.from_numpy(np.stack(draws)) if draws else torch.zeros(0, grid, grid, dtype=torch.float64)
    fine = F.interpolate(coarse[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    low, high = fine.amin((1, 2), keepdim=True), fine.amax((1, 2), keepdim=True)
    return ((fine - low) / (high - low).clamp_min(1e-12)).float()


def centre_maps(count: int, size: tuple[int, int], *, sigma: float = 0.25) -> Tensor:
    """A Gaussian at the centre, standard deviation `sigma` times the side: photographers centre their subject."""
    _check(count, size)
    down, across = (((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) / sigma for n in size)
    bump = torch.exp(-0.5 * (down[:, None] ** 2 + across[None, :] ** 2))
    return (bump / bump.max()).float().expand(count, *size).clone()


def feature_sum_maps(features: Tensor, size: tuple[int, int]) -> Tensor:
    """The sum of a layer's feature maps (N, K, h, w), min-max normalised: the "constant pdf" baseline.

    It is attribute grounding with p(attribute | feature) equal for all features, so it knows where the object
    is and nothing of the attribute; in the source it reaches 28.1 % PCK@0.2. Source: Guo et al., Eq. 9, table 1.
    """
    total = features.detach().sum(1, keepdim=True)
    fine = F.interpolate(total, size=size, mode="bilinear", align_corners=False)[:, 0].float()
    low, high = fine.amin((1, 2), keepdim=True), fine.amax((1, 2), keepdim=True)
    return (fine - low) / (high - low).clamp_min(1e-12)


CONTROLS: dict[str, Callable[..., Tensor]] = {
    "constant": constant_maps,
    "random": random_maps,
    "centre": centre_maps,
}


def _check(count: int, size: tuple[int, int]) -> None:
    if count < 0 or min(size) < 1:
        raise UsageError(f"control maps need a count and a size (H, W) of at least 1, got {count} and {size}")
