"""A head that says which concept each cell is of, or none: by what several layers hold there.

It learns from cells that were matched to the nearest concept, and sees more than they do: the finer layer knows the
place, the deeper one what is around it. D channels of all its layers together, k concepts, grid h x w of the finest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from saywhy.intervene import content_seed
from saywhy.tap import Tap
from saywhy.train.loop import Config, fit

CELLS, BYTES = 40_000, 128 << 20  # it learns from at most so many cells, which take at most so much
SHARPNESS = 10.0  # features are of unit length in each layer
HELD_OUT = 5  # every so-manieth picture tells how well it agrees
LEARNING = Config(lr=1e-2, weight_decay=1e-5, batch_size=512, epochs=15)


@dataclass(frozen=True, eq=False)
class CellHead:
    """A linear classifier of cells: `weights` (k + 1, D) and `bias` (k + 1,), the last row for none of the concepts."""

    layers: tuple[str, ...]
    weights: Tensor
    bias: Tensor

    def shares(self, tap: Tap) -> Tensor:
        """How likely each cell of the one image of a tap is of each concept, and of none (k + 1, h, w)."""
        x = described([tap.maps(name)[0].cpu() for name in self.layers])
        scores = torch.einsum("kd,dhw->khw", self.weights, x) + self.bias[:, None, None]
        return scores.softmax(dim=0)

    def ordered(self, order: Sequence[int]) -> CellHead:
        """The same concepts in another order (k,)."""
        rows = [*order, len(self.bias) - 1]
        return replace(self, weights=self.weights[rows], bias=self.bias[rows])


def described(maps: Sequence[Tensor]) -> Tensor:
    """What layers hold at each cell of the first (D, h, w): their maps (K, ., .) there, each at unit length."""
    size = maps[0].shape[1:]
    fine = (F.interpolate(m[None], size, mode="bilinear", align_corners=False)[0] for m in maps)
    return torch.cat([F.normalize(m, dim=0) for m in fine])


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of one picture: what layers hold there (n, D), and the concept of each (n,), -1 for none."""

    features: Tensor
    labels: Tensor


def some_cells(picture: Tensor, maps: Sequence[Tensor], labels: Tensor, pictures: int, seed: int) -> Cells:
    """A picture's share of the cells to learn from, of so many pictures: drawn by its own pixels and the seed."""
    x = described(maps).flatten(1).T
    room = max(1, min(CELLS, BYTES // (4 * x.shape[1])) // pictures)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(content_seed(picture, seed)))[:room]
    return Cells(x[order], labels.flatten()[order])


def learned(layers: Sequence[str], cells: Sequence[Cells], k: int, seed: int) -> tuple[CellHead, float | None]:
    """A head that was taught by the cells of most pictures, and how often it agrees with the others; of a few by all,
    and nobody knows.

    Source: US 2025/0259436 A1, [0020]: a network learns the features of concepts and classifies pixels by them.
    """
    few = len(cells) < HELD_OUT
    X, labels = _together([c for i, c in enumerate(cells) if few or i % HELD_OUT], k)
    head = nn.Linear(X.shape[1], k + 1)
    for values in head.parameters():
        nn.init.zeros_(values)  # the loss has one minimum
    config = replace(LEARNING, seed=seed, batch_size=max(1, min(LEARNING.batch_size, len(X) // 8)))
    fit(head, lambda x: {"loss": F.cross_entropy(SHARPNESS * head(x[0]), x[1])}, TensorDataset(X, labels), config)
    found = CellHead(tuple(layers), SHARPNESS * head.weight.detach(), SHARPNESS * head.bias.detach())
    if few:
        return found, None
    X, labels = _together(cells[::HELD_OUT], k)
    return found, float(((X @ found.weights.T + found.bias).argmax(dim=1) == labels).float().mean())


def _together(cells: Sequence[Cells], k: int) -> tuple[Tensor, Tensor]:
    """The features and labels of cells of several pictures; none of the concepts is the last label."""
    labels = torch.cat([c.labels for c in cells])
    return torch.cat([c.features for c in cells]), torch.where(labels < 0, k, labels)
