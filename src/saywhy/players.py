"""The players: a tree of patches of one picture, from its colours alone (no network is asked, nothing is random).

Leaves, and the joins above them by Ward's criterion (1963) in colour and place, up to a share of the picture. How the
leaves are found depends on how finely the grid sees the picture. Where a cell is one pixel or little more, its finest
flat patches (Felzenszwalb and Huttenlocher 2004) are joined by the same criterion: small parts of small pictures need
sharp rims. Where a cell is wider, they are clusters in colour and place, grown from a fixed lattice of seeds: the same
ones for a copy of the photo that is saved again, moved by a pixel or mirrored, which joins from the bottom are not.
H x W picture, h x w grid, k leaves, n nodes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb
from torch import Tensor

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]

GRID = 64  # rows of the grid that is partitioned
COARSE = 2.0  # pixels a cell: from here on leaves grow from the lattice
ATOM_SCALE, ATOM_CELLS = 5.0, 3
SEEDS, ROUNDS, SMOOTHED = 4, 15, 2.0  # rows of the lattice, rounds at most, cells over which colours are smoothed
KIND = 10.0  # Lab units between two kinds of things
PIECE, PIECE_CELLS = 0.3, 12  # a piece apart from its cluster's largest is a leaf from this share of it on


@dataclass(frozen=True)
class Grain:
    """How a picture is cut: its leaves at most, the largest join (of the picture), and the Lab units that the whole
    height or width of the picture is worth."""

    leaves: int
    most: float
    place: float


FINE, LATTICE = Grain(24, 0.20, 30.0), Grain(16, 0.40, 80.0)


@dataclass(frozen=True, eq=False)
class Tree:
    """`cells` (h, w) leaf labels on the grid, whose `lab` colours (h, w, 3) are known, and which row and column of it
    each pixel lies in (H,), (W,); `nodes` (n, k) which leaves each holds, the leaves first; `joined` (n, 2), or -1;
    `fine` where a cell is a pixel or little more."""

    cells: Labels
    lab: Reals
    rows: Labels
    columns: Labels
    nodes: Bools
    joined: Labels
    fine: bool

    @property
    def leaves(self) -> Labels:
        """The leaf (H, W) of each pixel."""
        return self.cells[self.rows[:, None], self.columns]

    def masks(self, which: Sequence[int]) -> Bools:
        """The nodes' pixels (m, H, W)."""
        return self.shown(self.on_grid(which))

    def on_grid(self, which: Sequence[int]) -> Bools:
        """The nodes' cells (m, h, w)."""
        return self.nodes[list(which)][:, self.cells]

    def shown(self, cells: Bools) -> Bools:
        """The pixels (m, H, W) of cells (m, h, w)."""
        return cells[:, self.rows[:, None], self.columns]

    @property
    def areas(self) -> Reals:
        """The nodes' shares of the picture (n,)."""
        sizes = np.bincount(self.leaves.ravel(), minlength=self.nodes.shape[1]) / self.leaves.size
        return np.asarray(self.nodes @ sizes, dtype=np.float64)


def players(image: Tensor, *, leaves: int | None = None, kinds: Tensor | None = None) -> Tree:
    """The tree of players of one picture (3, H, W) in [0, 1], or of other bands (`in_three`); a mirrored picture gives
    the mirrored tree.

    `leaves` is their number at most, where the grain of the picture (`FINE` or `LATTICE`) would allow for more. `kinds`
    (H, W) says of what kind each pixel is, where that is known: patches of two kinds are as far apart as two colours.
    """
    x, rows, columns = _on_grid(image)
    h, w = x.shape[:2]
    grain = LATTICE if COARSE * h <= len(rows) else FINE
    few = grain.leaves if leaves is None else min(leaves, grain.leaves)
    lab, shares = rgb2lab(x), _shares(rows[:, None] * w + columns, kinds)
    every = np.hstack([_features(lab, grain.place), KIND * shares])
    if grain is LATTICE:
        smooth = ndimage.gaussian_filter(lab, (SMOOTHED, SMOOTHED, 0))
        labels = lattice(np.hstack([_features(smooth, grain.place), KIND * shares]), (h, w))
    else:
        labels = _atoms(x)
    if kinds is not None:
        both = _of_both(labels, shares.argmax(1).reshape(h, w))
        labels = _connected(both, PIECE_CELLS if grain is LATTICE else ATOM_CELLS, np.ones((3, 3), dtype=bool))
    labels = ward(*_described(every, labels), touching(labels), few)[0][labels]
    _, nodes, joined = ward(*_described(every, labels), touching(labels), 1, grain.most * h * w)
    return Tree(labels, lab, rows, columns, nodes, joined, grain is FINE)


def patches(image: Tensor, count: int) -> Labels:
    """The patch (H, W) of each pixel of one picture, at most so many: its finest flat ones, joined as leaves are."""
    x, rows, columns = _on_grid(image)
    labels, every = _atoms(x), _features(rgb2lab(x), FINE.place)
    labels = ward(*_described(every, labels), touching(labels), count)[0][labels]
    return np.asarray(labels[rows[:, None], columns])


def _on_grid(image: Tensor) -> tuple[Reals, Labels, Labels]:
    """The picture on the grid (h, w, 3), and the row (H,) and column (W,) of it that the middle of each pixel lies in,
    so that a mirrored picture has mirrored cells."""
    H, W = image.shape[1:]
    h, w = min(GRID, H), min(max(8, round(GRID * W / H)), W)
    x = F.interpolate(in_three(image)[None].float(), (h, w), mode="area")[0].cpu().double().numpy().transpose(1, 2, 0)
    rows, columns = ((2 * np.arange(n) + 1) * k // (2 * n) for n, k in ((H, h), (W, w)))
    return x, rows, columns


def _atoms(x: Reals) -> Labels:
    """The finest flat patches (h, w) of a picture (h, w, 3)."""
    return np.asarray(felzenszwalb(x, scale=ATOM_SCALE, sigma=0, min_size=ATOM_CELLS))


def in_three(image: Tensor) -> Tensor:
    """An image of any bands (B, H, W) as three (3, H, W) in [0, 1] by which it is cut: colours as they are, else the
    three principal components of its bands.

    People are shown three bands; a part that shows in another one has to be cut out all the same.
    """
    if len(image) == 3:
        return image
    x = image.flatten(1).double().cpu()
    x = x - x.mean(1, keepdim=True)
    vectors = torch.linalg.eigh(x @ x.T / x.shape[1]).eigenvectors.flip(1)[:, :3]
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    found = F.pad(vectors.T @ x, (0, 0, 0, 3 - vectors.shape[1]))
    low, high = found.quantile(0.02, dim=1, keepdim=True), found.quantile(0.98, dim=1, keepdim=True)
    scaled = (found - low) / (high - low).max().clamp_min(1e-6)  # the first varies most, and counts most
    return scaled.clamp(0, 1).view(3, *image.shape[1:]).to(image)


def _shares(cells: Labels, kinds: Tensor | None) -> Reals:
    """How much of each cell is of each kind (h * w, m), from the cell and the kind of each pixel (H, W)."""
    names, kind = np.unique(np.zeros_like(cells) if kinds is None else kinds.cpu().numpy(), return_inverse=True)
    table = np.zeros((int(cells.max()) + 1, len(names)))
    np.add.at(table, (cells.ravel(), kind.ravel()), 1)
    return np.asarray(table / table.sum(1, keepdims=True))


def _of_both(labels: Labels, kinds: Labels) -> Labels:
    """Labels (h, w) of what is of one label and of one kind."""
    return np.asarray(np.unique(labels * (1 + kinds.max()) + kinds, return_inverse=True)[1]).reshape(labels.shape)


def _features(lab: Reals, place: float) -> Reals:
    """Colour and place of every cell of (h, w, 3): (h * w, 5). Places are those of the cells' middles about the
    picture's, so that the mirrored picture's differ in sign alone."""
    h, w = lab.shape[:2]
    ys, xs = np.mgrid[:h, :w]
    return np.dstack([lab, place * ((ys + 0.5) / h - 0.5), place * ((xs + 0.5) / w - 0.5)]).reshape(-1, 5)


def _described(every: Reals, labels: Labels) -> tuple[Reals, Reals]:
    """Each label's mean of what is known of its cells (h * w, f), and its size in cells."""
    sizes = np.bincount(labels.ravel()).astype(float)
    return np.stack([np.bincount(labels.ravel(), c) / sizes for c in every.T], 1), sizes


def lattice(every: Reals, size: tuple[int, int]) -> Labels:
    """Clusters (h, w) of cells (h * w, f) by k-means from a lattice of cells of the picture, kept connected."""
    h, w = size
    across = max(1, round(SEEDS * w / h))
    rows, columns = ((2 * np.arange(n) + 1) * k // (2 * n) for n, k in ((h, SEEDS), (w, across)))
    labels: Labels = (rows[:, None] * across + columns).ravel()
    for _ in range(ROUNDS):
        sizes = np.bincount(labels, minlength=SEEDS * across).astype(float)
        means = np.stack([np.bincount(labels, c, len(sizes)) for c in every.T], 1) / np.maximum(sizes, 1)[:, None]
        apart = (means**2).sum(1) - 2 * every @ means.T
        apart[:, sizes == 0] = np.inf
        last, labels = labels, apart.argmin(1)
        if (labels == last).all():
            break
    return _connected(labels.reshape(h, w))


def _connected(labels: Labels, least: int = PIECE_CELLS, beside: Bools | None = None) -> Labels:
    """Labels of connected leaves: small pieces that lie apart from the rest of their cluster go to the leaf beside.
    `beside`: which neighbours touch; by default those that share an edge."""
    out = np.full(labels.shape, -1)
    for one in np.unique(labels):
        pieces, _ = ndimage.label(labels == one, beside)
        sizes = np.bincount(pieces.ravel())[1:]
        for piece in np.flatnonzero(sizes >= max(least, PIECE * sizes.max())):
            out[pieces == piece + 1] = out.max() + 1
    if (out < 0).all():
        return np.zeros_like(out)
    nearest = ndimage.distance_transform_edt(out < 0, return_distances=False, return_indices=True)
    return np.asarray(out[tuple(nearest)])


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
