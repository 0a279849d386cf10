"""The coalition game: every combination of regions hidden or shown, and what each region contributes.

k regions (k, H, W) of one image (3, H, W); F fills; C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.intervene.engine import Masked, masked_probabilities
from saywhy.precision import DOUBLE


@dataclass(frozen=True, eq=False)
class Game:
    """Probabilities (F, 2^k, C) of every class with every combination of k regions kept, under F fills.

    Combination s keeps region i where bit i of s is set; everything outside the regions always stays.
    """

    k: int
    fills: tuple[str, ...]
    probabilities: Tensor

    def values(self, target: int, versus: int | None = None, unit: str = "probability") -> Tensor:
        """The asked score (F, 2^k): of the target, or target minus versus; in probability or log-odds."""
        p = self.probabilities
        if unit == "log-odds":
            p = torch.logit(p.clamp(DOUBLE, 1 - DOUBLE))
        return p[..., target] if versus is None else p[..., target] - p[..., versus]


def play(
    clf: Classifier,
    image: Tensor,
    regions: Tensor,
    *,
    fills: Sequence[str] = ("inpaint", "image-blur"),
    seed: int = 0,
) -> Game:
    """Measures all 2^k keep/hide combinations of k <= 6 regions (k, H, W) of one image (3, H, W), once for each fill.

    Raises:
        UsageError: no region, or more than 6 (64 passes a fill at most).
    """
    k = len(regions)
    if not 1 <= k <= 6:
        raise UsageError(f"the coalition game takes 1 to 6 regions, not {k}")
    hidden = regions.to(image.dtype)
    bits = torch.tensor([[(s >> i) & 1 for i in range(k)] for s in range(2**k)], dtype=image.dtype)

    def make(start: int, stop: int) -> Tensor:
        gone = torch.einsum("mk,khw->mhw", 1 - bits[start:stop], hidden)
        return (1 - gone).clamp(0, 1)

    found = masked_probabilities(clf, [Masked(image[None], 2**k, make, fill, seed) for fill in fills])
    return Game(k, tuple(fills), found.reshape(len(fills), 2**k, *found.shape[1:]))


def shapley_values(values: Tensor) -> Tensor:
    """Shapley values (..., k) of a game's values (..., 2^k); they add up to full minus empty (Shapley 1953)."""
    return values @ _shapley_weights(_players(values)).to(values).T


def interaction_indices(values: Tensor) -> Tensor:
    """Shapley interaction indices (..., k, k) of each pair, zero on the diagonal (Grabisch and Roubens 1999).

    Positive: the two count more together than one by one; negative: one stands in for the other.
    """
    k = _players(values)
    out = values.new_zeros(*values.shape[:-1], k, k)
    for i, j in combinations(range(k), 2):
        out[..., i, j] = out[..., j, i] = values @ _interaction_weights(k, i, j).to(values)
    return out


def _players(values: Tensor) -> int:
    k = int(values.shape[-1]).bit_length() - 1
    if values.shape[-1] != 2**k:
        raise UsageError(f"a game of k players has 2^k values; got {values.shape[-1]}")
    return k


@cache
@torch.inference_mode(False)  # a cached tensor outlives its maker's mode
def _shapley_weights(k: int) -> Tensor:
    weights = torch.zeros(k, 2**k, dtype=torch.float64)
    for i in range(k):
        for s in range(2**k):
            if not s >> i & 1:
                n = s.bit_count()
                w = math.factorial(n) * math.factorial(k - n - 1) / math.factorial(k)
                weights[i, s | 1 << i] += w
                weights[i, s] -= w
    return weights


@cache
@torch.inference_mode(False)  # a cached tensor outlives its maker's mode
def _interaction_weights(k: int, i: int, j: int) -> Tensor:
    weights = torch.zeros(2**k, dtype=torch.float64)
    for s in range(2**k):
        if not s >> i & 1 and not s >> j & 1:
            n = s.bit_count()
            w = math.factorial(n) * math.factorial(k - n - 2) / math.factorial(k - 1)
            weights[s | 1 << i | 1 << j] += w
            weights[s | 1 << i] -= w
            weights[s | 1 << j] -= w
            weights[s] += w
    return weights
