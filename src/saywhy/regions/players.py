"""The players: a tree of patches of one picture, from its colours alone (no network is asked, nothing is random).

The picture's finest flat patches (Felzenszwalb and Huttenlocher 2004) are joined by Ward's criterion (1963) in colour
and place down to k leaves; the joins above them, up to a share of the picture, are players too. H x W picture, h x w
grid, k leaves, n nodes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb
from torch import Tensor

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]

GRID = 64  # rows of the grid that is partitioned
LEAVES, MOST = 24, 0.20  # leaves of the partition; the largest join, of the picture
ATOM_SCALE, ATOM_CELLS = 5.0, 3
PLACE = 30.0  # Lab units that the whole height or width of the picture is worth


@dataclass(frozen=True, eq=False)
class Tree:
    """`leaves` (H, W) labels; `nodes` (n, k) which leaves each holds, the leaves first; `joined` (n, 2), or -1."""

    leaves: Labels
    nodes: Bools
    joined: Labels

    def masks(self, which: Sequence[int]) -> Bools:
        """The nodes' pixels (m, H, W)."""
        return self.nodes[list(which)][:, self.leaves]

    @property
    def areas(self) -> Reals:
        """The nodes' shares of the picture (n,)."""
        sizes = np.bincount(self.leaves.ravel(), minlength=self.nodes.shape[1]) / self.leaves.size
        return np.asarray(self.nodes @ sizes, dtype=np.float64)


def players(image: Tensor, *, leaves: int = LEAVES, most: float = MOST) -> Tree:
    """The tree of players of one picture (3, H, W) in [0, 1]; a mirrored picture gives the mirrored tree."""
    H, W = image.shape[1:]
    h, w = min(GRID, H), min(max(8, round(GRID * W / H)), W)
    x = F.interpolate(image[None].float(), (h, w), mode="area")[0].cpu().double().numpy().transpose(1, 2, 0)
    atoms = felzenszwalb(x, scale=ATOM_SCALE, sigma=0, min_size=ATOM_CELLS)
    labels = ward(*_described(x, atoms), touching(atoms), leaves)[0][atoms]
    _, nodes, joined = ward(*_described(x, labels), touching(labels), 1, most * h * w)
    # The cell that a pixel's middle lies in, so that a mirrored picture has mirrored cells.
    rows, columns = ((2 * np.arange(H) + 1) * h // (2 * H))[:, None], (2 * np.arange(W) + 1) * w // (2 * W)
    return Tree(labels[rows, columns], nodes, joined)


def _described(x: Reals, labels: Labels) -> tuple[Reals, Reals]:
    """Each label's mean colour (Lab) and place, and its size in cells."""
    h, w = labels.shape
    ys, xs = np.mgrid[:h, :w]
    every = np.dstack([rgb2lab(x), PLACE * ys / h, PLACE * xs / w]).reshape(-1, 5)
    sizes = np.bincount(labels.ravel()).astype(float)
    return np.stack([np.bincount(labels.ravel(), c) / sizes for c in every.T], 1), sizes


def touching(labels: Labels) -> Labels:
    """Pairs (m, 2) of labels that share an edge."""
    beside = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1)
    below = np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1)
    both = np.sort(np.concatenate([beside, below]), 1)
    return np.unique(both[both[:, 0] != both[:, 1]], axis=0)


def ward(means: Reals, sizes: Reals, edges: Labels, until: int, most: float = np.inf) -> tuple[Labels, Bools, Labels]:
    """Joins the two neighbours whose union adds least variance until so many are left, or no union is small enough.

    Labels (a,) of the atoms, which atoms each node holds (n, a), the atoms first, and what each joins (n, 2).
    """
    count = len(means)
    mean, size = list(means), [float(s) for s in sizes]
    near: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges.tolist():
        near[a].add(b)
        near[b].add(a)

    def cost(a: int, b: int) -> float:
        return float(size[a] * size[b] / (size[a] + size[b]) * ((mean[a] - mean[b]) ** 2).sum())

    heap = [(cost(a, b), a, b) for a, b in edges.tolist()]
    heapq.heapify(heap)
    joined, hold, gone = [(-1, -1)] * count, [frozenset([i]) for i in range(count)], set[int]()
    while len(joined) - len(gone) > until and heap:
        _, a, b = heapq.heappop(heap)
        if a in gone or b in gone or size[a] + size[b] > most:
            continue
        c = len(mean)
        size.append(size[a] + size[b])
        mean.append((size[a] * mean[a] + size[b] * mean[b]) / size[c])
        joined.append((a, b))
        hold.append(hold[a] | hold[b])
        near.append((near[a] | near[b]) - {a, b})
        gone |= {a, b}
        for other in near[c]:
            near[other] = (near[other] - {a, b}) | {c}
            heapq.heappush(heap, (cost(other, c), other, c))
    nodes = np.zeros((len(hold), count), dtype=bool)
    for i, held in enumerate(hold):
        nodes[i, list(held)] = True
    roots = [i for i in range(len(hold)) if i not in gone]
    return nodes[roots].argmax(0), nodes, np.array(joined)
