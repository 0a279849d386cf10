"""Where the attributes of a picture are, by the places of nouns (`places`), on the layers of one pass.

N pictures, S = h * w cells of the finest layer, K filters of all layers together, P colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from saywhy.attributes.frequencies import Said
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.places import (
    FINE,
    Places,
    Squeeze,
    coloured,
    learn_places,
    of_colour,
    palette,
    smooth,
    spoken,
    squeeze,
)
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.image import Box
from saywhy.tap import Tap

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEARNED_FROM = 300  # pictures at most: places were chosen and measured on so many
AGREES = 0.25  # of the most that a colour is likely anywhere: so likely it must be where the noun is
SOFT = 0.5  # power of a noun's share where its colour is elsewhere: of several things that one is meant
TELLS = 0.15  # nats by which colours at a noun's place must tell its adjectives better than its usual ones do
MOST = 16  # cells on a side
MASS = 0.5  # of a place's share: the fewest cells that hold it are its region


@dataclass(frozen=True, eq=False)
class View:
    """One picture as places are learned from it: its grid (h, w), cells of each layer (S, K_i), the picture small
    (3, H, W), in [0, 1], and which cells are of the photo (S,)."""

    grid: tuple[int, int]
    layers: tuple[Tensor, ...]
    small: Tensor
    inside: Tensor


@dataclass(frozen=True, eq=False)
class Atlas:
    """Places of nouns (M) on the cells of some layers, and how these are seen: squeezed, in a palette's colours (P, 3).

    `gains` (M,) are by how many nats the colours there tell what captions call a noun, beyond what it is usually
    called.
    """

    layers: tuple[str, ...]
    squeeze: Squeeze
    palette: Reals
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    places: Places
    gains: Reals

    @property
    def known(self) -> tuple[str, ...]:
        """The nouns whose place is known: what is there tells their adjectives."""
        return tuple(noun for noun, gain in zip(self.nouns, self.gains, strict=True) if gain >= TELLS)

    def place(self, view: View, attribute: Attribute) -> Reals | None:
        """How much of an attribute is in each cell (h, w) of a picture, adding up to 1: of its noun, and of its colour
        where it is one; None of a noun whose place is not known."""
        if attribute.noun not in self.known:
            return None
        cells = self.squeeze(torch.cat([layer.float() for layer in view.layers], -1))[None]
        share = self.places.shares(cells, view.inside[None])[:, self.nouns.index(attribute.noun)]
        if attribute.adjective in self.adjectives:
            seen = coloured(view.small[None], self.palette, view.grid)
            share = _where_coloured(share, seen, self.places, self.adjectives.index(attribute.adjective))
        found = smooth(share, view.grid)[0].reshape(view.grid).double().numpy()
        return np.asarray(found / max(float(found.sum()), 1e-12))


def layers_of(clf: Classifier) -> tuple[str, ...]:
    """The layers that places are seen on: a fine one, where the network has one, and that of the classifier."""
    fine = clf.fine_point()
    return (clf.point.path,) if fine is None else (fine.path, clf.point.path)


def view_of(tap: Tap, layers: Sequence[str], box: Box, size: tuple[int, int]) -> View:
    """What is seen of a tap's one image, of which `box` is in a photo of so many columns and rows."""
    maps = [tap.maps(name).detach().float().cpu() for name in layers]
    grid = (min(MOST, max(m.shape[2] for m in maps)), min(MOST, max(m.shape[3] for m in maps)))
    fine = [_on(m, grid) for m in maps]
    small = F.interpolate(tap.images[:1].float().cpu(), (grid[0] * FINE, grid[1] * FINE), mode="area")[0]
    cells = tuple(m[0].flatten(1).T.half() for m in fine)
    return View(grid, cells, small, torch.from_numpy(_inside(box, size, grid).ravel()))


def _on(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps (1, K, h', w') on a grid (h, w): finer ones are averaged, coarser ones interpolated."""
    if maps.shape[2] >= grid[0] and maps.shape[3] >= grid[1]:
        return F.adaptive_avg_pool2d(maps, grid)
    return F.interpolate(maps, grid, mode="bilinear", align_corners=False)


def _inside(box: Box, size: tuple[int, int], grid: tuple[int, int]) -> Bools:
    """Which cells' middles are in the photo: the view may reach beyond it."""
    x0, y0, x1, y1 = box
    x, y = (a + (np.arange(n) + 0.5) / n * (b - a) for a, b, n in ((x0, x1, grid[1]), (y0, y1, grid[0])))
    return np.asarray(((y >= 0) & (y < size[1]))[:, None] & ((x >= 0) & (x < size[0]))[None])


def learn_atlas(
    clf: Classifier, views: Sequence[View], said: Sequence[Said], seed: int = 0
) -> tuple[Atlas | None, str]:
    """Places of the nouns that captions of these pictures give colours; or none, and why."""
    if clf.preprocess.planes != 3:
        return None, "places are learned from colours, and this classifier sees none"
    try:
        told = spoken([one.counts for one in said])
    except UsageError as e:
        return None, str(e)
    grid = views[0].grid
    if any(v.grid != grid for v in views):
        return None, "places are learned from pictures of one size, and this classifier is shown several"
    inside = torch.stack([v.inside for v in views])
    seen = squeeze([torch.stack([v.layers[i] for v in views]).float() for i in range(len(views[0].layers))], inside)
    cells = torch.stack([seen(torch.cat([layer.float() for layer in v.layers], -1)) for v in views])
    small = torch.stack([v.small for v in views])
    colours = palette(small)
    shown = torch.cat([coloured(one[None], colours, grid) for one in small])
    places = learn_places(cells, shown, inside, told.counts, grid, seed=seed)
    told_there = gains(places.named(places.shares(cells, inside), shown), told.counts)
    return Atlas(layers_of(clf), seen, colours, told.nouns, told.adjectives, places, told_there), ""


def gains(named: Tensor, counts: Tensor) -> Reals:
    """By how many nats each noun's adjectives (N, M, A) are likelier by log-probabilities (N, M, A) than by how often
    the noun has each (M,)."""
    often = counts.sum(0)
    usual = often / often.sum(1, keepdim=True).clamp_min(1)
    better = (counts * (named - usual.clamp_min(1e-9).log())).sum((0, 2))
    return (better / often.sum(1).clamp_min(1)).double().numpy()


def _where_coloured(share: Tensor, seen: Tensor, places: Places, adjective: int) -> Tensor:
    """Where a noun's share (1, S) has the colour; where it has not, the thing of the noun that has it is looked for."""
    likely = seen @ places.naming.softmax(0)[adjective]
    agrees = float((share * likely).sum()) >= AGREES * float(likely.max())
    return of_colour(share if agrees else share**SOFT, seen, places, adjective)


def region(place: Reals) -> Bools:
    """The fewest cells (h, w) that hold `MASS` of a place, of those that hang together with its middle."""
    order = np.argsort(-place, axis=None, kind="stable")
    few = int(np.searchsorted(np.cumsum(place.ravel()[order]), MASS * place.sum())) + 1
    out = np.zeros(place.size, dtype=bool)
    out[order[:few]] = True
    parts, _ = ndimage.label(out.reshape(place.shape))
    return np.asarray(parts == parts.flat[order[0]])


# --------------------------------------------------------------------------------------------------
# On disk.


def as_tensors(view: View) -> dict[str, Tensor]:
    """A view as tensors by name."""
    layers = {f"layer{i}": layer for i, layer in enumerate(view.layers)}
    return {**layers, "grid": torch.tensor(view.grid), "small": view.small, "inside": view.inside}


def as_view(tensors: Mapping[str, Tensor]) -> View:
    """The view of such tensors."""
    layers = tuple(tensors[f"layer{i}"] for i in range(sum(k.startswith("layer") for k in tensors)))
    h, w = tensors["grid"].tolist()
    return View((h, w), layers, tensors["small"], tensors["inside"])


_PLACES = ("weights", "naming", "usual")


def tensors_of(atlas: Atlas | None) -> dict[str, NDArray[Any]]:
    """The tables of an atlas by name, none of none."""
    if atlas is None:
        return {}
    tables = {f"places.{k}": getattr(atlas.places, k) for k in _PLACES}
    tables |= {"squeeze.mean": atlas.squeeze.mean, "squeeze.turn": atlas.squeeze.turn}
    return {k: v.numpy() for k, v in tables.items()} | {"palette": atlas.palette, "gains": atlas.gains}


def words_of(atlas: Atlas | None) -> dict[str, Any] | None:
    """What is no table in an atlas, for JSON."""
    if atlas is None:
        return None
    names = ("layers", "nouns", "adjectives")
    return {name: list(getattr(atlas, name)) for name in names}


def atlas_of(tensors: Mapping[str, NDArray[Any]], row: Mapping[str, Any] | None) -> Atlas | None:
    """An atlas from its tables and words.

    Raises:
        ValueError, KeyError: they do not belong together.
    """
    if row is None:
        return None
    tables = {k: torch.from_numpy(np.array(tensors[k])) for k in ("squeeze.mean", "squeeze.turn")}
    places = Places(*(torch.from_numpy(np.array(tensors[f"places.{k}"])) for k in _PLACES))
    nouns, adjectives = (tuple(map(str, row[k])) for k in ("nouns", "adjectives"))
    if places.usual.shape != (len(nouns), len(adjectives)):
        raise ValueError("the places are not of these words")
    squeezed = Squeeze(tables["squeeze.mean"], tables["squeeze.turn"])
    return Atlas(
        tuple(map(str, row["layers"])),
        squeezed,
        np.array(tensors["palette"]),
        nouns,
        adjectives,
        places,
        np.array(tensors["gains"]),
    )
