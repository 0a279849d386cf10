"""What is counted over pictures, one after the other: all posteriors are made of it, so a million pictures fit.

K filters, L attributes, C classes, N pictures. Tallies add up; a few groups of pictures are kept apart, so that what is
made of them can be made again with other pictures (`resampled`), or with some held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

TOP = 0.1  # of the pictures, that a filter is said to be on for


@dataclass(frozen=True, eq=False)
class Activity:
    """What a filter's pooled activations (K,) are like, from the first pictures: the least (0 or below: what is counted
    is never negative), and where and how sharply a filter is on: the mean and the width of a soft step."""

    floor: Reals
    step: Reals
    width: Reals

    def lifted(self, pooled: Reals) -> Reals:
        """Pooled activations (N, K) as they are counted: none below zero."""
        return np.maximum(pooled - self.floor, 0.0)

    def on(self, pooled: Reals) -> Reals:
        """How much each picture is of those that a filter is on for (N, K), in [0, 1]."""
        return np.asarray(0.5 * (1 + np.tanh((pooled - self.step) / (2 * self.width))))


def activity_of(pooled: Reals) -> Activity:
    """The scale of pooled activations (N, K)."""
    step = np.quantile(pooled, 1 - TOP, axis=0)
    width = np.maximum(pooled.std(axis=0) / 4, 1e-9)
    return Activity(np.minimum(pooled.min(axis=0), 0.0), step, width)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over pictures x with lifted activations a (K,), attributes t (L,) of 0 and 1, predicted class c, and p (K,),
    how much each filter is on.

    By class: `n` (C,), `a` (C, K), `t` (C, L), and the class's `weights` (C, K), the gradient of its score by each
    filter. Over all: `aa` (K, K) of a aᵀ, `at` (K, L), `tt` (L, L), `log_on` (K,) and `log_on_t` (K, L) of log(1 - p).
    """

    n: Reals
    a: Reals
    t: Reals
    weights: Reals
    aa: Reals
    at: Reals
    tt: Reals
    log_on: Reals
    log_on_t: Reals

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, weight: float) -> Sums:
        """The same with each picture counted so often."""
        return Sums(*(getattr(self, f.name) * weight for f in fields(self)))

    @property
    def pictures(self) -> float:
        """N."""
        return float(self.n.sum())

    @property
    def mean(self) -> Reals:
        """The mean lifted activation (K,)."""
        return np.asarray(self.a.sum(axis=0) / max(self.pictures, 1))

    @property
    def variance(self) -> Reals:
        """The variance of each filter (K,)."""
        return np.maximum(np.diag(self.aa) / max(self.pictures, 1) - self.mean**2, 1e-18)

    @property
    def having(self) -> Reals:
        """The pictures that have each attribute (L,)."""
        return np.asarray(self.t.sum(axis=0))

    @property
    def class_weights(self) -> Reals:
        """The mean gradient of each class's score by each filter (C, K), over pictures that are given the class."""
        return np.asarray(self.weights / np.maximum(self.n, 1)[:, None])


NEARLY = 0.99  # of a picture that lacks an attribute: how certain it is that it does. Captions leave things out.


def sums_of(
    pooled: Reals, attributes: Reals, predicted: NDArray[np.int64], weights: Reals, classes: int, activity: Activity
) -> Sums:
    """The sums over pictures with pooled activations (N, K), attributes (N, L), predicted classes (N,) and the
    gradients (N, K) of these classes' scores."""
    a, t = activity.lifted(pooled), attributes
    of = np.eye(classes)[predicted]
    log_on = np.log1p(-NEARLY * activity.on(pooled))
    return Sums(
        n=of.sum(axis=0), a=of.T @ a, t=of.T @ t, weights=of.T @ weights, aa=a.T @ a, at=a.T @ t,
        tt=t.T @ t, log_on=log_on.sum(axis=0), log_on_t=log_on.T @ t,
    )  # fmt: skip


def together(groups: Sequence[Sums]) -> Sums:
    """All groups as one."""
    return reduce(Sums.__add__, groups)


def resampled(groups: Sequence[Sums], seed: int) -> Sums:
    """As many groups, drawn with replacement: one replicate of a bootstrap over groups of pictures."""
    drawn = np.random.default_rng(seed).multinomial(len(groups), np.full(len(groups), 1 / len(groups)))
    return together([g.times(float(m)) for g, m in zip(groups, drawn, strict=True) if m])
