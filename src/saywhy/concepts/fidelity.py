"""How much of the classifier's answers survives when a layer's activations are told by concepts alone.

N pictures, maps (K, h, w) of the layer, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saywhy.collection import Item
from saywhy.concepts.discovery import Basis
from saywhy.concepts.looking import Glimpse

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Fidelity:
    """Squared differences of probabilities, summed over classes (N,): `lost` with concepts in the place of attended
    activations, `blank` with their mean. `value` is 1 where nothing is lost, 0 where the mean does as well, None where
    even that changes nothing."""

    lost: Reals
    blank: Reals

    @property
    def value(self) -> float | None:
        """One minus the share of the mean's loss."""
        return None if self.blank.sum() <= 0 else float(1 - self.lost.sum() / self.blank.sum())


def fidelities(
    bases: Mapping[int, Basis], items: Sequence[Item], mean: Tensor, look: Callable[[Item], Glimpse]
) -> dict[int, Fidelity]:
    """The fidelity of each basis on pictures that it was not made of; one look a picture, one tail pass a basis."""
    lost: dict[int, list[float]] = {k: [] for k in bases}
    blank: list[float] = []
    for item in items:
        found = look(item)
        X = found.maps[:, found.mask].T
        told = [basis.told(basis.encode(X)[0]) for basis in bases.values()]
        replaced = torch.stack([_with(found, vectors) for vectors in [mean.expand_as(X), *told]])
        first, *apart = ((found.answers(replaced) - found.probabilities) ** 2).sum(dim=1).tolist()
        blank.append(first)
        for k, value in zip(bases, apart, strict=True):
            lost[k].append(value)
    return {k: Fidelity(np.array(values), np.array(blank)) for k, values in lost.items()}


def _with(found: Glimpse, vectors: Tensor) -> Tensor:
    """The picture's maps with these vectors (n, K) at its attended cells."""
    out = found.maps.clone()
    out[:, found.mask] = vectors.T
    return out


def fewest(found: Mapping[int, Fidelity]) -> int:
    """The smallest number of concepts whose loss is within one standard error of the least loss.

    Source: Breiman et al. 1984, the one-standard-error rule.
    """
    best = min(found, key=lambda k: (found[k].lost.mean(), k))
    lost = found[best].lost
    error = lost.std(ddof=1) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
    return min(k for k in found if found[k].lost.mean() <= lost.mean() + error)
