"""Correlations per sample and intervals of means and shares. N samples, P values each; float64 throughout.

What is undefined (a flat row has no correlation, an empty sample no mean) is NaN, never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saywhy.errors import UsageError

_CHUNK = 2_000_000  # resampled values held at once


@dataclass(frozen=True)
class Interval:
    """A mean and its interval over `count` defined samples; NaN where there is none."""

    mean: float
    low: float
    high: float
    count: int


def rows(values: Tensor) -> Tensor:
    """Flattens (N, ...) to (N, P) float64, detached."""
    return values.detach().flatten(1).to(torch.float64)


def tie_groups(values: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts each row upwards and numbers its runs of equal values: (order, group), both (N, P) int64.

    `order[n]` lists the positions from lowest to highest, `group[n, j]` is the run that the j-th belongs to.
    """
    ordered, order = torch.sort(values, dim=1, stable=True)
    starts = torch.ones_like(order)
    starts[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).to(order.dtype)
    return order, starts.cumsum(1) - 1


def mean_in_groups(values: Tensor, group: Tensor) -> Tensor:
    """Replaces each value (N, P) by the mean over its run, as numbered by `tie_groups`."""
    total = torch.zeros_like(values).scatter_add_(1, group, values)
    count = torch.zeros_like(values).scatter_add_(1, group, torch.ones_like(values))
    return (total / count.clamp_min(1)).gather(1, group)


def ranks(values: Tensor) -> Tensor:
    """Ranks 0 .. P-1 of each row of (N, ...), ties sharing their average rank; (N, P) float64."""
    flat = rows(values)
    order, group = tie_groups(flat)
    places = torch.arange(flat.shape[1], dtype=torch.float64, device=flat.device).expand_as(flat)
    return torch.empty_like(flat).scatter_(1, order, mean_in_groups(places.contiguous(), group))


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of each pair of rows of two (N, ...) tensors; (N,) float64 in [-1, 1].

    NaN where either row is flat or not finite.

    Raises:
        UsageError: the shapes differ.
    """
    if first.shape != second.shape:
        raise UsageError(f"correlation needs two equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    a, b = rows(first), rows(second)
    flat = (a == a[:, :1]).all(1) | (b == b[:, :1]).all(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    product: Tensor = (a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1)).sqrt()
    return product.clamp(-1, 1).masked_fill(flat, torch.nan)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Spearman rank correlation of each pair of rows, average ranks for ties; (N,) float64 in [-1, 1].

    NaN where either row is flat or not finite.

    Raises:
        UsageError: the shapes differ.
    """
    if first.shape != second.shape:
        raise UsageError(f"correlation needs two equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    finite = rows(first).isfinite().all(1) & rows(second).isfinite().all(1)
    return pearson(ranks(first), ranks(second)).masked_fill(~finite, torch.nan)


def bootstrap(
    values: Tensor | NDArray[np.float64], *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of per-sample values (N,); NaN samples are left out.

    With fewer than two defined samples the interval is NaN: one sample says nothing about spread.
    Source: Efron 1979; percentile method.

    Raises:
        UsageError: `level` is not inside (0, 1) or `draws` is below 1.
    """
    if not 0 < level < 1 or draws < 1:
        raise UsageError(f"bootstrap needs 0 < level < 1 and draws >= 1, got level {level}, draws {draws}")
    numbers = np.asarray(values, dtype=np.float64).ravel()
    numbers = numbers[~np.isnan(numbers)]
    count = len(numbers)
    if count < 2:
        return Interval(float(numbers[0]) if count else float("nan"), float("nan"), float("nan"), count)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // count)
    means = [
        numbers[generator.integers(count, size=(min(step, draws - start), count))].mean(1)
        for start in range(0, draws, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(numbers.mean()), float(low), float(high), count)


def wilson(hits: int, count: int, *, level: float = 0.95) -> Interval:
    """The share of `hits` in `count` with its score interval; NaN where nothing was counted. Source: Wilson 1927."""
    if not count:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    z, share = NormalDist().inv_cdf(0.5 + level / 2), hits / count
    middle = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    whole = 1 + z * z / count
    return Interval(share, max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole), count)


def paired_shares(first: NDArray[np.bool_], second: NDArray[np.bool_], *, level: float = 0.95) -> Interval:
    """The share of hits in `first` (N,) minus that in `second` (N,), of the same samples, with its interval.

    Samples that are all alike have an interval too, which drawing them again would not give.
    Source: Newcombe 1998 (paired proportions), method 10.
    """
    n = len(first)
    if not n:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    one, other = wilson(int(first.sum()), n, level=level), wilson(int(second.sum()), n, level=level)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    margins = float(first.sum() * (~first).sum() * second.sum() * (~second).sum())
    together = both * neither - int((first & ~second).sum()) * int((~first & second).sum())
    alike = 0.0 if not margins else (max(together - n / 2, 0.0) if together > 0 else together) / margins**0.5
    (a, b), (c, d) = ((i.mean - i.low, i.high - i.mean) for i in (one, other))
    mean = one.mean - other.mean
    low, high = ((u * u - 2 * alike * u * v + v * v) ** 0.5 for u, v in ((a, d), (b, c)))
    return Interval(mean, max(-1.0, mean - low), min(1.0, mean + high), n)


def bootstrap_difference(
    first: Tensor | NDArray[np.float64],
    second: Tensor | NDArray[np.float64],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the mean of `first - second`, paired by sample; pairs with a NaN are left out.

    Two methods measured on the same photos are compared with this, not by whether two intervals overlap.

    Raises:
        UsageError: the lengths differ.
    """
    a, b = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    if len(a) != len(b):
        raise UsageError(f"a paired difference needs the same samples twice, got {len(a)} and {len(b)} values")
    return bootstrap(a - b, level=level, draws=draws, seed=seed)
