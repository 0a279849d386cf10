"""The concepts of one picture as nodes of a graph, and what becomes of them when the picture is edited.

k concepts of a bank, picture (3, H, W), D channels of all its layers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import layers_of
from saywhy.intervene import hide
from saywhy.tap import Tap

PUT_IN = "inpaint"  # what stands where a concept was


@dataclass(frozen=True, eq=False)
class Nodes:
    """What a student sees of a picture.

    `features` (k + 1, D) what the layers hold on average where each concept is, the last row where none is; `places`
    (k, 3) the middle of each, x and y in shares of the picture, and its own share of it; `left` (k,) how much of each
    is still to be seen: 0 of what is absent or hidden.
    """

    features: Tensor
    places: Tensor
    left: Tensor

    @property
    def here(self) -> list[int]:
        """The concepts of which something is to be seen."""
        return torch.nonzero(self.left > 0)[:, 0].tolist()

    def without(self, which: Sequence[int]) -> Nodes:
        """The same with some concepts hidden."""
        left = self.left.clone()
        left[list(which)] = 0
        return replace(self, left=left)


def nodes_of(bank: ConceptBank, tap: Tap, labels: Tensor) -> Nodes:
    """The nodes of the one image of a tap, by the concept (H, W) of each pixel, -1 for none."""
    masks = torch.stack([labels == j for j in [*range(len(bank)), -1]]).float()
    features = torch.cat([mean_in(masks, tap.maps(name)[0].cpu()) for name in layers_of(bank)], dim=1)
    places = torch.stack([place(mask) for mask in masks[:-1].bool()])
    return Nodes(features, places, (places[:, 2] > 0).float())


def mean_in(masks: Tensor, maps: Tensor) -> Tensor:
    """The mean of maps (D, h, w) within each mask (m, H, W): (m, D)."""
    weights = F.adaptive_avg_pool2d(masks[None], (int(maps.shape[1]), int(maps.shape[2])))[0].flatten(1)
    return weights @ maps.flatten(1).T / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)


def place(mask: Tensor) -> Tensor:
    """The middle of a mask (H, W), x and y in shares of the picture, and its share of it (3,); zeros of none."""
    ys, xs = torch.nonzero(mask, as_tuple=True)
    if not len(ys):
        return torch.zeros(3)
    H, W = mask.shape
    middle = ((xs.double().mean() + 0.5) / W, (ys.double().mean() + 0.5) / H, torch.tensor(len(ys) / (H * W)))
    return torch.stack([torch.as_tensor(v) for v in middle]).float()


# --------------------------------------------------------------------------------------------------
# Edits: the picture as the classifier sees it, and the nodes as the student does.


@dataclass(frozen=True, eq=False)
class Mapped:
    """A picture (3, H, W), the concept (H, W) of each pixel, and its nodes."""

    picture: Tensor
    labels: Tensor
    nodes: Nodes

    def mask(self, j: int) -> Tensor:
        """The pixels (H, W) of a concept."""
        return self.labels == j


@dataclass(frozen=True, eq=False)
class Edited:
    """An edited picture (3, H, W) and its nodes; `kind` says what was done."""

    kind: str
    picture: Tensor
    nodes: Nodes


def unchanged(known: Mapped) -> Edited:
    """The picture itself."""
    return Edited("image", known.picture, known.nodes)


def hidden(known: Mapped, which: Sequence[int], kind: str = "hidden") -> Edited:
    """The picture with some concepts in-painted."""
    keep = ~torch.isin(known.labels, torch.tensor(list(which)))
    return Edited(kind, _painted(known.picture, keep), known.nodes.without(which))


def displaced(known: Mapped, j: int, rows: int, columns: int) -> Edited:
    """The picture with a concept cut out and put down so many rows lower and columns to the right; what leaves the
    picture is lost, and what it comes to lie on is hidden."""
    there = torch.nonzero(known.mask(j)) + torch.tensor([rows, columns])
    return _put(known, j, j, known.picture[:, known.mask(j)], there, known.nodes.features[j], "displaced")


def exchanged(known: Mapped, j: int, other: Mapped, i: int) -> Edited:
    """The picture with a concept cut out and another one (of another picture) put down around its middle."""
    own, new = (torch.nonzero(one.mask(n)) for one, n in ((known, j), (other, i)))
    shift = (own.double().mean(0) - new.double().mean(0)).round().long()
    return _put(known, j, i, other.picture[:, other.mask(i)], new + shift, other.nodes.features[i], "exchanged")


def _put(known: Mapped, out: int, i: int, pixels: Tensor, there: Tensor, feature: Tensor, kind: str) -> Edited:
    """Concept `out` in-painted, and pixels (3, n) of concept i put down at places (n, 2)."""
    H, W = known.labels.shape
    inside = ((there >= 0) & (there < torch.tensor([H, W]))).all(dim=1)
    ys, xs = there[inside].T
    cover = torch.zeros(H, W, dtype=torch.bool)
    cover[ys, xs] = True
    picture = _painted(known.picture, ~known.mask(out))
    picture[:, ys, xs] = pixels[:, inside]
    sizes = torch.bincount(known.labels[known.labels >= 0], minlength=len(known.nodes.left))
    covered = torch.bincount(known.labels[cover & (known.labels >= 0)], minlength=len(sizes)) / sizes.clamp_min(1)
    left, places, features = known.nodes.left * (1 - covered), known.nodes.places.clone(), known.nodes.features.clone()
    left[out] = 0
    left[i] = inside.float().mean()
    places[i], features[i] = place(cover), feature
    return Edited(kind, picture, Nodes(features, places, left))


def _painted(picture: Tensor, keep: Tensor) -> Tensor:
    """The picture with what is not kept (H, W) in-painted."""
    return hide(picture, keep[None], PUT_IN)[0]
