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
DAMPED = 0.02  # of the mean variance of filters, added to each


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
    """A linear answer to "how likely is it that the picture has the attribute": `weights` (K, L) and what is told of a
    picture of average activation `mean` (K,), the `share` (L,) of pictures that have it."""

    weights: Reals
    mean: Reals
    share: Reals

    def __call__(self, lifted: Reals) -> Reals:
        """How much of each attribute is in pictures (N, L), by their lifted activations (N, K), in [0, 1]."""
        return np.clip(self.share + (lifted - self.mean) @ self.weights, 0.0, 1.0)


def probe(sums: Sums) -> Probe:
    """The probe of ridge regression, by which filters vote together: one alone may mean several things."""
    n = max(sums.pictures, 1)
    share = sums.having / n
    cov = sums.aa / n - np.outer(sums.mean, sums.mean)
    to_each = sums.at / n - np.outer(sums.mean, share)
    damped = cov + DAMPED * max(float(np.diag(cov).mean()), 1e-12) * np.eye(len(cov))
    return Probe(np.asarray(np.linalg.solve(damped, to_each)), sums.mean, share)
