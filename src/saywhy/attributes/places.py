"""Where the things are that captions speak of, learned from the captions alone: no place is ever told.

A noun's *place* is a share of attention over the cells of a picture, the softmax of a weighted sum of the classifier's
filters there (Guo et al., Eq. 9, with weights that are learned for it). Which weights are right the adjectives say: of
the colours at the place of "beak" it must be told whether captions say "orange beak" or "black beak", by one
dictionary of colours that all nouns share. A place is compact, and it begins at a cluster of cells that look alike.

N pictures, S = h * w cells, K filters (of all layers together), D numbers that stand for them, P colours of a palette,
M nouns, A adjectives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.attributes.phrases import Attribute
from saywhy.attributes.wordlists import COLOURS
from saywhy.errors import UsageError

Reals = NDArray[np.float64]

FEWEST = 15  # pictures in which a noun has a colour, and in which a colour is said
SHADE = 8.0  # CIELAB units: the softness with which a pixel is of the colours of the palette
FINE = 8  # pixels of a cell, on a side, that colours are read from
CELLS = 20000  # cells or pixels that are clustered, at most


@dataclass(frozen=True)
class Recipe:
    """How places are learned; chosen on folds of 300 photos of birds, by captions and keypoints of those left out."""

    dims: int = 32
    colours: int = 20
    clusters: int = 24
    sharp: float = 3.0  # length of a cluster's direction: how narrow attention on it is
    first: int = 180  # steps in which each noun chooses among clusters
    steps: int = 150
    rate: float = 0.03
    decay: float = 0.1
    compact: float = 10.0  # weight of the variance of a place, in squares of the picture's side


RECIPE = Recipe()


# --------------------------------------------------------------------------------------------------
# What is seen: filters as few numbers, pixels as colours of a palette.


@dataclass(frozen=True, eq=False)
class Squeeze:
    """Filters (K,) as few numbers (D,): each layer's standardised, rotated, and whitened over the cells inside."""

    mean: Tensor
    turn: Tensor

    def __call__(self, cells: Tensor) -> Tensor:
        """Cells (..., K) as (..., D)."""
        return (cells - self.mean) @ self.turn


def squeeze(layers: Sequence[Tensor], inside: Tensor, dims: int = RECIPE.dims) -> Squeeze:
    """The squeeze of layers (N, S, K_i), from the cells that are inside of the photo (N, S)."""
    rows = [layer[inside] for layer in layers]
    turns = [_whitening(x, dims) / len(rows) ** 0.5 for x in rows]
    turn: Tensor = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    return Squeeze(torch.cat([x.mean(0) for x in rows]), turn)


def _whitening(x: Tensor, dims: int) -> Tensor:
    """What makes cells (n, K) less their mean uncorrelated and of length 1 in their first directions (K, D)."""
    scale = x.std(0).clamp_min(1e-6)
    x = (x - x.mean(0)) / scale
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    kept = min(dims, int((values > 1e-6 * values[-1]).sum()))
    values, vectors = values[-kept:].flip(0), vectors[:, -kept:].flip(1)
    turn: Tensor = vectors / values.sqrt() / scale[:, None]
    return turn


def palette(images: Tensor, colours: int = RECIPE.colours, seed: int = 0) -> Reals:
    """The colours (P, 3) that images (N, 3, H, W) in [0, 1] are of, in CIELAB."""
    from sklearn.cluster import KMeans

    pixels = _lab(_some(images.permute(0, 2, 3, 1).reshape(-1, 3).numpy(), seed))
    found = KMeans(min(colours, len(np.unique(pixels, axis=0))), n_init=3, random_state=seed).fit(pixels)
    return np.asarray(found.cluster_centers_, dtype=float)


def coloured(images: Tensor, colours: Reals, grid: tuple[int, int]) -> Tensor:
    """How much of each cell of images (N, 3, H, W) is of each colour (P, 3): (N, S, P), each cell adding up to 1."""
    h, w = grid
    small = F.interpolate(images, (h * FINE, w * FINE), mode="area")
    lab = _lab(small.permute(0, 2, 3, 1).numpy())
    far = ((lab[..., None, :] - colours) ** 2).sum(-1)
    near = np.exp(-(far - far.min(-1, keepdims=True)) / (2 * SHADE**2))
    share = torch.from_numpy(near / near.sum(-1, keepdims=True)).float()
    return share.reshape(len(images), h, FINE, w, FINE, len(colours)).mean((2, 4)).flatten(1, 2)


def _lab(pixels: NDArray[np.floating]) -> Reals:
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(pixels))


def _some(rows: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    """Rows, or so many of them as are clustered, drawn by a seed."""
    drawn = np.random.default_rng(seed).choice(len(rows), min(len(rows), CELLS), replace=False)
    return rows[drawn]


# --------------------------------------------------------------------------------------------------
# What is said: colours of nouns.


@dataclass(frozen=True, eq=False)
class Tellings:
    """How often the captions of each picture give each noun each adjective: counts (N, M, A)."""

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    counts: Tensor


def spoken(
    said: Sequence[Mapping[Attribute, int]], same: Mapping[str, str] | None = None, fewest: int = FEWEST
) -> Tellings:
    """The colours that captions give to nouns in at least `fewest` pictures; `same` maps a noun to another for it.

    Raises:
        UsageError: fewer than two nouns or two colours are said often enough.
    """
    same = same or {}
    rows = [Counter[tuple[str, str]]() for _ in said]
    for row, counts in zip(rows, said, strict=True):
        for a, n in counts.items():
            if a.adjective in COLOURS:
                row[same.get(a.noun, a.noun), a.adjective] += n
    nouns, adjectives = (_often([{pair[k] for pair in row} for row in rows], fewest) for k in (0, 1))
    if len(nouns) < 2 or len(adjectives) < 2:
        raise UsageError(
            f"places are learned from colours of things, and {len(nouns)} things and {len(adjectives)} colours are "
            f"said of {fewest} pictures or more; at least 2 of each are needed: give more pictures with captions"
        )
    table = torch.tensor([[[float(row[n, a]) for a in adjectives] for n in nouns] for row in rows])
    return Tellings(nouns, adjectives, table)


def _often(sets: Sequence[set[str]], fewest: int) -> tuple[str, ...]:
    counts = Counter(word for words in sets for word in words)
    return tuple(sorted(word for word, n in counts.items() if n >= fewest))


# --------------------------------------------------------------------------------------------------
# Places.


@dataclass(frozen=True, eq=False)
class Places:
    """Where each noun is: its weights (M, D); and how colours are named: logits (A, P), and of each noun (M, A)."""

    weights: Tensor
    naming: Tensor
    usual: Tensor

    def shares(self, cells: Tensor, inside: Tensor) -> Tensor:
        """The place of each noun (N, M, S) in cells (N, S, D): shares that add up to 1 over those inside (N, S)."""
        return _attention(cells, self.weights, inside)

    def named(self, shares: Tensor, colours: Tensor) -> Tensor:
        """log p(adjective | noun, picture) (N, M, A), of the colours (N, S, P) at the nouns' places."""
        return _named(shares @ colours, self.naming, self.usual)

    def surprise(self, cells: Tensor, colours: Tensor, inside: Tensor, counts: Tensor) -> float:
        """How badly the adjectives are told from the places: minus the mean of their log-likelihoods, in nats."""
        return float(_surprise(self.named(self.shares(cells, inside), colours), counts))


def learn_places(
    cells: Tensor,
    colours: Tensor,
    inside: Tensor,
    counts: Tensor,
    grid: tuple[int, int],
    recipe: Recipe = RECIPE,
    seed: int = 0,
) -> Places:
    """Places from cells (N, S, D) and their colours (N, S, P), of which some are inside (N, S), and counts (N, M, A).

    Same seed, same places.

    Raises:
        UsageError: no caption gives a noun an adjective.
    """
    if not counts.sum():
        raise UsageError("no caption gives a noun an adjective, so nothing says where a noun is")
    corner = _corner(grid)
    start, naming, usual = _beginning(cells, colours, inside, counts, recipe, seed)
    weights = start.clone().requires_grad_()
    steps = [
        {"params": [weights, usual], "lr": recipe.rate},
        {"params": [naming], "lr": 5 * recipe.rate},
    ]
    adam = torch.optim.Adam(steps)
    for _ in range(recipe.steps):
        shares = _attention(cells, weights, inside)
        loss = _surprise(_named(shares @ colours, naming, usual), counts) + _plain(naming, usual)
        loss = loss + recipe.decay * (weights**2).sum(1).mean() + recipe.compact * _spread(shares, corner)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return Places(weights.detach(), naming.detach(), usual.detach())


def _beginning(
    cells: Tensor, colours: Tensor, inside: Tensor, counts: Tensor, recipe: Recipe, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each noun begins (M, D): at clusters of cells whose colours tell its adjectives best; and the naming."""
    found = _clusters(cells[inside], recipe.clusters, seed)
    directions = recipe.sharp * F.normalize(found, dim=1)
    at = _attention(cells, directions, inside) @ colours
    all_over = (inside.float()[:, None] / inside.sum(1)[:, None, None].clamp_min(1)) @ colours
    choices = torch.cat([at, all_over], dim=1)  # (N, clusters + 1, P)
    mixture = torch.zeros(counts.shape[1], choices.shape[1], requires_grad=True)
    naming = torch.zeros(counts.shape[2], colours.shape[2], requires_grad=True)
    usual = torch.zeros(counts.shape[1:], requires_grad=True)
    steps = [
        {"params": [naming], "lr": 5 * recipe.rate},
        {"params": [usual], "lr": recipe.rate},
        {"params": [mixture], "lr": 0.1},
    ]
    adam = torch.optim.Adam(steps)
    for _ in range(recipe.first):
        loss = _surprise(_named(mixture.softmax(1) @ choices, naming, usual), counts) + _plain(naming, usual)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return mixture.detach()[:, :-1].softmax(1) @ directions, naming, usual


def _clusters(cells: Tensor, count: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans

    rows = _some(cells.numpy(), seed)
    return torch.from_numpy(
        KMeans(min(count, len(np.unique(rows, axis=0))), n_init=1, random_state=seed).fit(rows).cluster_centers_
    ).float()


def _attention(cells: Tensor, weights: Tensor, inside: Tensor) -> Tensor:
    scores = (cells @ weights.T).transpose(1, 2)
    return scores.masked_fill(~inside[:, None], -1e4).softmax(-1)


def _named(seen: Tensor, naming: Tensor, usual: Tensor) -> Tensor:
    return (seen @ naming.T + usual).log_softmax(-1)


def _surprise(named: Tensor, counts: Tensor) -> Tensor:
    return -(counts * named).sum() / counts.sum()


def _plain(naming: Tensor, usual: Tensor) -> Tensor:
    return 1e-4 * (naming**2).sum() + 1e-2 * (usual**2).mean()


def _spread(shares: Tensor, corner: Tensor) -> Tensor:
    """The mean variance of places (N, M, S) about their middle, in squares of the picture's side."""
    middle = shares @ corner
    return (shares @ corner**2 - middle**2).sum(-1).mean()


def _corner(grid: tuple[int, int]) -> Tensor:
    """Where each cell is (S, 2): x and y in [0, 1)."""
    h, w = grid
    y, x = torch.meshgrid(torch.arange(h) / h, torch.arange(w) / w, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


# --------------------------------------------------------------------------------------------------
# Of an attribute.


def smooth(shares: Tensor, grid: tuple[int, int], cells: float = 1.0) -> Tensor:
    """Places (..., S) blurred by a Gaussian of so many cells: its most is in its middle then."""
    h, w = grid
    reach = max(1, round(3 * cells))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * cells**2))
    kernel = kernel / kernel.sum()
    maps = shares.reshape(-1, 1, h, w)
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1), padding=(0, reach))
    maps = F.conv2d(maps, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    return maps.reshape(shares.shape)


def of_colour(shares: Tensor, colours: Tensor, places: Places, adjective: int) -> Tensor:
    """The place of an attribute (N, S): its noun's (N, S), where colours (N, S, P) are likely to be named so."""
    likely = colours @ places.naming.softmax(0)[adjective]
    both = shares * likely
    return both / both.sum(-1, keepdim=True).clamp_min(1e-12)
