"""A picture and a change of words as one query: rows of FUSIONS.

N pictures. `likely` (N,) how well the words alone fit each picture, `cosine` (N,) how like the picture each is,
`edited` (N,) how like the picture were it changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Fusion:
    """One way to rank by a picture and words together; `vectors`: it compares what the layer holds of pictures."""

    what: str
    score: Callable[[Reals, Reals, Reals], Reals]
    vectors: bool = False


def _even(values: Reals) -> Reals:
    """Values with mean 0 and variance 1."""
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))


FUSIONS: dict[str, Fusion] = {
    "all": Fusion(
        "how well the words fit, how like the picture it is, and how like the picture were it changed, made as "
        "wide and added",
        lambda likely, cosine, edited: _even(likely) + _even(cosine) + _even(edited),
        True,
    ),
    "edited": Fusion(
        "how like the picture, were it changed as the words say, in the space that the words are of",
        lambda likely, cosine, edited: edited,
    ),
    "sum": Fusion(
        "how well the words fit and how like the picture it is, made as wide and added",
        lambda likely, cosine, edited: _even(likely) + _even(cosine),
        True,
    ),
    "product": Fusion(
        "how well the words fit, times how like the picture it is",
        lambda likely, cosine, edited: likely * np.maximum(cosine, 0.0),
        True,
    ),
}
