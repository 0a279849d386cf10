"""p(attribute | filter), in four ways: rows of POSTERIORS, each made of a `Sums`.

K filters, L attributes. A posterior is a table (K, L) of numbers that are not negative; a row adds up to 1, or is all 0
where the filter speaks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.sums import NEARLY, Sums, resampled

Reals = NDArray[np.float64]

SHRUNK = 4.0  # pictures of average activation that are added to those that have an attribute
SPARSE = 0.02  # of the largest correlation that an attribute of a filter must have, beside all others
SWEEPS, STILL = 60, 1e-4
FREQUENCY = 0.9  # how much of log p(t) is taken off, in soft-wpmi
REPLICATES = 20


def published(sums: Sums, prior: Reals) -> Reals:
    """The source's: the prior times the activation of the pictures that have the attribute, as shares of all.

    Source: Guo et al., Eq. 1 to 4; the normalisation, left open there, makes a filter's activations add up to 1.
    """
    share = sums.at / np.maximum(sums.a.sum(axis=0), 1e-12)[:, None]
    return rows(prior * share)


def lift(sums: Sums, prior: Reals) -> Reals:
    """By how much a filter is stronger where the attribute is than on average, as a logarithm that is not negative.

    p(x | t) is 1 / N of the pictures that have t, not 1, so a frequent attribute is no likelier for being frequent;
    `SHRUNK` pictures of average activation stand beside each attribute's own, so a rare one isn't either.
    """
    mean = sums.mean[:, None]
    with_it = (sums.at + SHRUNK * mean) / (sums.having + SHRUNK)
    return rows(np.maximum(np.log(np.maximum(with_it, 1e-12) / np.maximum(mean, 1e-12)), 0.0))


def soft_wpmi(sums: Sums, prior: Reals) -> Reals:
    """The weighted pointwise mutual information of the attribute and the pictures that the filter is on for, a picture.

    p(t | x) is 1 where a caption says it, else next to 0, and log p(t) is what it is on average over all filters.
    Source: Oikarinen and Weng, CLIP-Dissect, 2023.
    """
    missing = sums.log_on[:, None] - sums.log_on_t  # the sum of log(1 - p) over pictures without it
    told = np.log(1 - NEARLY) * missing / np.minimum(sums.log_on, -1e-12)[:, None]
    return rows(np.maximum(told - FREQUENCY * told.mean(axis=0), 0.0))


def nnls(sums: Sums, prior: Reals) -> Reals:
    """What each attribute adds to a filter while all others are held: explained away, sparse, never negative."""
    return rows(dictionary(sums) / np.sqrt(sums.variance)[:, None])


def dictionary(sums: Sums) -> Reals:
    """D (K, L) >= 0 of least squares with a lasso: activations are a mean and D times attributes, both centred.

    By coordinate descent from sums alone; so of two attributes that go together the one that explains more stays.
    """
    n = max(sums.pictures, 1)
    share = sums.having / n
    gram = sums.tt / n - np.outer(share, share)
    to_each = (sums.at / n - np.outer(sums.mean, share)).T  # (L, K)
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    penalty = SPARSE * np.maximum((to_each / scale[:, None]).max(axis=0), 0.0)  # (K,)
    return _descend(gram, to_each, scale[:, None] * penalty).T


def _descend(gram: Reals, to_each: Reals, penalty: Reals) -> Reals:
    """The x (L, K) >= 0 that makes x·gram·x / 2 - x·to_each + penalty·x least, for each of K columns."""
    x = np.zeros_like(to_each)
    for _ in range(SWEEPS):
        moved = 0.0
        for j in np.flatnonzero(np.diag(gram) > 1e-9):
            new = np.maximum(x[j] + (to_each[j] - penalty[j] - gram[j] @ x) / gram[j, j], 0.0)
            moved = max(moved, float(np.abs(new - x[j]).max()))
            x[j] = new
        if moved <= STILL * max(float(x.max()), 1e-12):
            break
    return x


def rows(table: Reals) -> Reals:
    """The table with rows that add up to 1, but for those of nothing."""
    total = table.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(table, total, out=np.zeros_like(table), where=total > 1e-12))


@dataclass(frozen=True)
class Posterior:
    """A way to make p(t | f) (K, L) of a sums and the prior (L,), and what it is in a line."""

    make: Callable[[Sums, Reals], Reals]
    summary: str


POSTERIORS: dict[str, Posterior] = {
    "nnls": Posterior(nnls, "sparse regression of activations on attributes: what each adds while others are held"),
    "lift": Posterior(lift, "how much stronger a filter is where the attribute is; frequent ones gain nothing"),
    "published": Posterior(published, "the source's: prior times the activation of pictures that have the attribute"),
    "soft-wpmi": Posterior(soft_wpmi, "mutual information of an attribute and the pictures that a filter is on for"),
}


def uncertainty(groups: Sequence[Sums], prior: Reals, method: str, seed: int = 0) -> Reals:
    """The standard deviation (K, L) of a posterior over replicates of a bootstrap over groups of pictures."""
    tables = [POSTERIORS[method].make(resampled(groups, seed + 1 + i), prior) for i in range(REPLICATES)]
    return np.asarray(np.std(tables, axis=0))
