"""How much a map leaves for the eye to read: entropy and Gini index. They say nothing of truth.

Display maps (N, H, W) in [0, 1], P pixels; values (N,) float64 in [0, 1]. A map that is all zero or not finite
has no value (NaN); a flat one is the most complex there is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saywhy.metrics.maps import check_maps
from saywhy.metrics.statistics import rows


def entropy(maps: Tensor) -> Tensor:
    """Shannon entropy of the map taken as a distribution, divided by log P: 1 is flat, 0 one single pixel.

    Source: Bhatt et al., arXiv 2005.00631 ("complexity"), normalised.
    """
    values = rows(check_maps(maps))
    total = values.sum(1, keepdim=True)
    shares = values / total
    bits: Tensor = -torch.special.xlogy(shares, shares).sum(1) / max(math.log(values.shape[1]), 1e-12)
    return bits.masked_fill(_undefined(total), torch.nan).clamp(0, 1)


def gini(maps: Tensor) -> Tensor:
    """Gini index of the map's values: 0 is flat, (P - 1) / P one single pixel.

    Source: Chalasani et al., arXiv 1810.06583 ("sparseness").
    """
    values = rows(check_maps(maps)).sort(dim=1).values
    total, pixels = values.sum(1, keepdim=True), values.shape[1]
    place = torch.arange(1, pixels + 1, dtype=torch.float64, device=values.device)
    index = ((2 * place - pixels - 1) * values).sum(1) / (pixels * total[:, 0])
    return index.masked_fill(_undefined(total), torch.nan).clamp(0, 1)


def _undefined(total: Tensor) -> Tensor:
    return ~(total[:, 0].isfinite() & (total[:, 0] > 0))
