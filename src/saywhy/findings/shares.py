"""Differences of shares with their intervals and p-values, and the correction for many tests.

A test of a finding is one-sided: only a cause that makes errors likelier, or a change that mends more, is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from saywhy.metrics.statistics import Interval, wilson


def difference(hits: int, count: int, other_hits: int, other_count: int) -> Interval:
    """The share of `hits` in `count` minus the other one, with an interval of 95 %.

    Source: Newcombe 1998, method 10.
    """
    if not count or not other_count:
        return Interval(math.nan, math.nan, math.nan, count)
    a, b = wilson(hits, count), wilson(other_hits, other_count)
    mean = a.mean - b.mean
    low = mean - math.hypot(a.mean - a.low, b.high - b.mean)
    high = mean + math.hypot(a.high - a.mean, b.mean - b.low)
    return Interval(mean, low, high, count)


def likelier(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """The chance of so many hits among `count`, or more, if those of both groups were mixed (Fisher's exact test)."""
    both = hits + other_hits
    return float(stats.hypergeom.sf(hits - 1, count + other_count, both, count))


def more_than(share: float, hits: int, count: int) -> float:
    """The chance of so many hits or more where each comes with that share (binomial test)."""
    return float(stats.binom.sf(hits - 1, count, share))


def paired(gains: Sequence[float]) -> tuple[Interval, float]:
    """The mean of differences that were measured one by one, each with its own control, its interval of 95 % (t), and
    the chance of as much if each could have come out the other way round (signs exchanged; Fisher 1935)."""
    values = np.asarray(gains, dtype=np.float64)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else math.nan, math.nan, math.nan, n), 1.0
    reach = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    mean = float(values.mean())
    return Interval(mean, max(-1.0, mean - reach), min(1.0, mean + reach), n), exchanged(values)


EXACT, DRAWS, BLOCK = 14, 20_000, 1_000  # differences of which all signs are tried; drawn ones; those held at once


def exchanged(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The share of all ways to exchange signs in which the sum is as large; of many differences, of drawn ways."""
    size = np.abs(values[values != 0])
    if not len(size):
        return 1.0
    seen = float(values.sum()) - 1e-9
    if len(size) <= EXACT:
        ways = np.arange(2 ** len(size))[:, None] >> np.arange(len(size)) & 1
        return float(((2 * ways - 1) @ size >= seen).mean())
    drawn = np.random.default_rng(0).integers(0, 2, (DRAWS, len(size)), dtype=np.int8)
    return float((1 + ((2 * drawn - 1) @ size >= seen).sum()) / (1 + DRAWS))


def exchanged_best(values: np.ndarray[tuple[int, int], np.dtype[np.float64]], picked: int) -> float:
    """Of differences (n, K) of which a column was picked: the share of ways to exchange the signs of rows in which the
    sum of any column is as large as its own. Source: Westfall and Young 1993."""
    n = len(values)
    seen = float(values[:, picked].sum()) - 1e-9
    if n <= EXACT:
        signs = 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        blocks = np.array_split(signs, -(-len(signs) // BLOCK))
        return float(np.concatenate([(some @ values).max(axis=1) >= seen for some in blocks]).mean())
    dice, above = np.random.default_rng(0), 0
    for _ in range(DRAWS // BLOCK):
        above += int((((2 * dice.integers(0, 2, (BLOCK, n), dtype=np.int8) - 1) @ values).max(axis=1) >= seen).sum())
    return (1 + above) / (1 + DRAWS)


def corrected(p: Sequence[float]) -> list[float]:
    """The false discovery rate at which each test would be kept. Source: Benjamini and Hochberg 1995."""
    values = np.asarray(p, dtype=np.float64)
    if not len(values):
        return []
    order = np.argsort(-values, kind="stable")
    rates = np.minimum.accumulate(values[order] * len(values) / np.arange(len(values), 0, -1))
    out = np.empty_like(values)
    out[order] = np.minimum(rates, 1.0)
    return [float(v) for v in out]
