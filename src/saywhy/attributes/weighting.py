"""p(attribute | filter) where it is known where parts are: an attribute gets what filters say at its own part.

N pictures, K filters, L attributes, M nouns. Maps (K, h, w), masks (h, w). Source: Guo et al., Conclusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.phrases import Attribute
from saywhy.attributes.sums import Sums

Reals = NDArray[np.float64]


def around(keypoint: tuple[float, float], size: tuple[int, int], reach: float = 0.1) -> Reals:
    """A soft mask (h, w) about a keypoint (x, y), in sides of the picture: half of the most at `reach`."""
    h, w = size
    y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
    far = (x - keypoint[0]) ** 2 + (y - keypoint[1]) ** 2
    return np.asarray(0.5 ** (far / reach**2))


def at_parts(maps: Reals, masks: Mapping[str, Reals], nouns: Sequence[str]) -> Reals:
    """The mean activation (K, M) at each noun's mask, and over the whole picture of a noun without one."""
    flat = maps.reshape(len(maps), -1)
    weights = [np.ravel(masks[n]) if n in masks else np.ones(flat.shape[1]) for n in nouns]
    return np.stack([flat @ w / max(float(w.sum()), 1e-12) for w in weights], axis=1)


def weighted(
    sums: Sums, at: Sequence[Reals], has: Reals, attributes: Sequence[Attribute], nouns: Sequence[str]
) -> Sums:
    """The same sums, with what filters say of each attribute taken at its own part: activations (K, M) of each picture,
    and whether it has each attribute (N, L). Rows of `POSTERIORS` but soft-wpmi are made of it as of any other."""
    number = {noun: m for m, noun in enumerate(nouns)}
    own = np.array([number.get(a.noun, -1) for a in attributes])
    out = sums.at.copy()
    known = np.flatnonzero(own >= 0)
    out[:, known] = sum(np.maximum(x[:, own[known]], 0.0) * t[known] for x, t in zip(at, has, strict=True))
    return replace(sums, at=out)
