"""How much of each attribute is in a picture, and what each does to a class, by linear regression from sums alone.

K filters, L attributes, C classes, N pictures. Both directions of one table of sums: `loadings` tell activations from
attributes (what an attribute adds, all others held), `probe` tells attributes from activations (whether it is there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.sums import Sums

Reals = NDArray[np.float64]

RIDGE = 0.03  # added to the variance of each attribute, which is at most 1/4
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)  # of a probe: chosen by pictures that it has not seen


def loadings(sums: Sums) -> Reals:
    """B (K, L): what having an attribute adds to each lifted activation while all other attributes are held.

    Signed: an attribute that silences a filter explains it too. Ridge regression with an intercept.
    """
    n = max(sums.pictures, 1)
    share = sums.having / n
    gram = sums.tt / n - np.outer(share, share)
    to_each = sums.at / n - np.outer(sums.mean, share)
    return np.asarray(np.linalg.solve(gram + RIDGE * np.eye(len(gram)), to_each.T).T)


def effects(sums: Sums) -> Reals:
    """E (C, L): what having an attribute adds to a class's score beyond what it adds to all scores on average."""
    weights = sums.class_weights
    return np.asarray((weights - weights.mean(axis=0)) @ loadings(sums))


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear answer to "how likely is it that the picture has the attribute", by its filters and its class together:
    `weights` (K + C, L) and what is told of the `mean` (K + C,) of pictures, the `share` (L,) that has it."""

    weights: Reals
    mean: Reals
    share: Reals

    def __call__(self, lifted: Reals, predicted: NDArray[np.int64]) -> Reals:
        """How much of each attribute is in pictures (N, L), by their lifted activations (N, K) and the classes they
        are given (N,), in [0, 1]."""
        K = lifted.shape[1]
        own = self.weights[K:] - self.mean[K:] @ self.weights[K:]
        return np.clip(self.share + (lifted - self.mean[:K]) @ self.weights[:K] + own[predicted], 0.0, 1.0)


def probe(sums: Sums, strength: float) -> Probe:
    """The probe of ridge regression, by which filters vote together: one alone may mean several things.

    All filters together count as much as having a class or not: their variances are made to add up to 1, and
    `strength` is added to each.
    """
    n = max(sums.pictures, 1)
    share, of = sums.having / n, sums.n / n
    scale = np.sqrt(max(float(sums.variance.sum()), 1e-18))
    between = (sums.a.T / n - np.outer(sums.mean, of)) / scale
    filters = (sums.aa / n - np.outer(sums.mean, sums.mean)) / scale**2
    cov = np.block([[filters, between], [between.T, np.diag(of) - np.outer(of, of)]])
    to_each = np.concatenate(
        [(sums.at / n - np.outer(sums.mean, share)) / scale, sums.t / n - np.outer(of, share)], axis=0
    )
    weights = np.linalg.solve(cov + strength * np.eye(len(cov)), to_each)
    weights[: len(filters)] /= scale
    return Probe(weights, np.concatenate([sums.mean, of]), share)
