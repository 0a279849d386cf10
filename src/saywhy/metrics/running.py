"""What a metric keeps between batches: per-sample `Values`, or a `Mean` where samples are too many to keep.

Both are frozen: `update` and `merge` return a new one, and merging parts equals measuring all at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.metrics.statistics import Interval, bootstrap


@dataclass(frozen=True)
class Mean:
    """Running mean and squared deviation of the defined samples; NaN samples are counted as undefined."""

    count: int = 0
    undefined: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared deviations from the mean

    def update(self, values: Tensor) -> Mean:
        """Takes in a batch of per-sample values (n,)."""
        numbers = _vector(values)
        defined = numbers[~np.isnan(numbers)]
        if not len(defined):
            return self.merge(Mean(0, len(numbers)))
        centre = float(defined.mean())
        spread = float(((defined - centre) ** 2).sum())
        return self.merge(Mean(len(defined), len(numbers) - len(defined), centre, spread))

    def merge(self, other: Mean) -> Mean:
        """Joins two parts, in any order (Chan, Golub and LeVeque 1979)."""
        count, undefined = self.count + other.count, self.undefined + other.undefined
        if not count:
            return Mean(0, undefined)
        gap = other.mean - self.mean
        mean = self.mean + gap * other.count / count
        squares = self.squares + other.squares + gap * gap * self.count * other.count / count
        return Mean(count, undefined, mean, squares)

    def value(self) -> float:
        """The mean over the defined samples; NaN where there is none."""
        return self.mean if self.count else math.nan

    def error(self) -> float:
        """The standard error of the mean; NaN below two samples."""
        return math.sqrt(self.squares / (self.count - 1) / self.count) if self.count > 1 else math.nan


@dataclass(frozen=True)
class Values:
    """All per-sample values (N,) float64 in the order they came; NaN marks an undefined sample."""

    samples: tuple[float, ...] = field(default=())

    def update(self, values: Tensor) -> Values:
        """Takes in a batch of per-sample values (n,)."""
        return Values(self.samples + tuple(float(v) for v in _vector(values)))

    def merge(self, other: Values) -> Values:
        """Joins two parts: this one's samples, then the other's."""
        return Values(self.samples + other.samples)

    @property
    def undefined(self) -> int:
        """How many samples have no value."""
        return sum(math.isnan(sample) for sample in self.samples)

    def value(self) -> float:
        """The mean over the defined samples; NaN where there is none."""
        defined = [sample for sample in self.samples if not math.isnan(sample)]
        return math.fsum(defined) / len(defined) if defined else math.nan

    def tensor(self) -> Tensor:
        """The samples as (N,) float64."""
        return torch.tensor(self.samples, dtype=torch.float64)

    def interval(self, *, level: float = 0.95, draws: int = 1000, seed: int = 0) -> Interval:
        """The seeded bootstrap interval of the mean; it depends on the samples' order, not on the batches."""
        return bootstrap(self.tensor(), level=level, draws=draws, seed=seed)


def _vector(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if values.ndim != 1:
        raise UsageError(f"a running metric takes one value per sample (n,), got shape {tuple(values.shape)}")
    return values.detach().cpu().to(torch.float64).numpy()
