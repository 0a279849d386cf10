"""What a network's layers hold inside a region, seen with the whole and from closer: what names are learned from.

The view (3, H, W) is a picture as the classifier sees it; its quarters are shown to the network once more, each as
large as the view, in the detail of the photo. K channels, grids h x w; m regions (m, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.image import Box, Picture, frame
from saywhy.tap import Tap


@dataclass(frozen=True, eq=False)
class Closeup:
    """The maps (K, h, w) of a view and (K, 2h, 2w) of its quarters, at each layer."""

    maps: tuple[Tensor, ...]

    def of(self, regions: Tensor) -> Tensor:
        """The features (m, D) of regions (m, H, W) in [0, 1]: the mean activation inside each, by layer and at unit
        length, and its place and size."""
        shares = regions[:, None].float().cpu()
        means = []
        for A in self.maps:
            inside = F.interpolate(shares, A.shape[1:], mode="area")[:, 0]
            mean = torch.einsum("khw,mhw->mk", A, inside)
            means.append(F.normalize(mean, dim=1))
        return torch.cat([*means, _place(shares[:, 0])], dim=1)


def _place(regions: Tensor) -> Tensor:
    """Middle (y, x), height, width and the root of the share of the view (m, 5), in lengths of the view."""
    H, W = regions.shape[1:]
    solid = regions > 0.5
    solid = torch.where(solid.flatten(1).any(dim=1)[:, None, None], solid, regions > 0)
    ys, xs = solid.any(dim=2).float(), solid.any(dim=1).float()
    tall, wide = ys.sum(dim=1).clamp_min(1), xs.sum(dim=1).clamp_min(1)
    y, x = (ys @ torch.arange(H).float()) / tall / H, (xs @ torch.arange(W).float()) / wide / W
    return torch.stack([y, x, tall / H, wide / W, regions.mean(dim=(1, 2)).sqrt()], dim=1)


def closeup(tap: Tap, picture: Picture, box: Box) -> Closeup:
    """The closeup of the one image of a tap, at the layers that it tapped: `box` is the part of the picture that it is.

    It costs four forward passes.

    Raises:
        UsageError: nothing of the classifier is known but its scores.
    """
    if not tap.points:
        raise tap.clf.lacks("layers")
    closer = tap.clf.tap(quarters(picture, box, tap), list(tap.points.values()))
    return Closeup(tuple(m for name in tap.points for m in (tap.maps(name)[0].cpu(), _joined(closer.maps(name).cpu()))))


def quarters(picture: Picture, box: Box, tap: Tap) -> Tensor:
    """The quarters (4, 3, H, W) of a view, row by row, each scaled to the view's size from the photo's own pixels."""
    (x0, y0, x1, y1), how = box, replace(tap.clf.preprocess, size=tap.image_size, resize=None, rule="cover")
    pixels = np.pad(
        picture.pixels,
        ((max(0, -y0), max(0, y1 - picture.height)), (max(0, -x0), max(0, x1 - picture.width)), (0, 0)),
    )  # where the model adds bars, the view reaches beyond the photo
    top, left = max(0, -y0), max(0, -x0)
    cut = (
        replace(picture, pixels=pixels[a + top : b + top, c + left : d + left])
        for a, b in _halves(y0, y1)
        for c, d in _halves(x0, x1)
    )
    return torch.from_numpy(np.stack([frame(part, how)[0] for part in cut]))


def _halves(low: int, high: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Both halves of an interval."""
    middle = (low + high) // 2
    return (low, middle), (middle, high)


def _joined(quarters: Tensor) -> Tensor:
    """The maps (4, K, h, w) of four quarters as one (K, 2h, 2w)."""
    a, b, c, d = quarters
    return torch.cat([torch.cat([a, b], dim=2), torch.cat([c, d], dim=2)], dim=1)
