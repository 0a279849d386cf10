"""The layers that a branch shares with its classifier, and what they say of a picture.

N pictures, K channels of one layer, Z of all layers together; maps (N, K, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier, in_colours
from saywhy.errors import UsageError, no_inside
from saywhy.layers import Point
from saywhy.tap import Tap

MOST = 4  # layers


@dataclass(frozen=True, eq=False)
class Level:
    """One of the layers: its path, whether it gives tokens, and some of its cells over many pictures (n, K).

    Tokens are read after a layer norm, as what follows them reads them; the class token is no cell.
    """

    path: str
    tokens: bool
    cells: Tensor

    @property
    def width(self) -> int:
        """K."""
        return int(self.cells.shape[1])

    @property
    def mean(self) -> Tensor:
        """Of every channel (K,), over cells."""
        return self.cells.mean(dim=0)

    def spread(self, direction: Tensor) -> Tensor:
        """The covariance of the cells times directions (T, K): (T, K)."""
        centred = self.cells - self.mean
        return (direction @ centred.T) @ centred / len(centred)

    def read(self, maps: Tensor) -> Tensor:
        """What the branch reads of raw maps (N, K, h, w)."""
        return normed(maps)[0] if self.tokens else maps

    def unread(self, changed: Tensor, maps: Tensor) -> Tensor:
        """Raw maps (M, K, h, w) of which the branch would read `changed`, each cell with the mean and the spread that
        it has in `maps` (1, K, h, w). Of a layer that gives nothing below zero nothing falls below."""
        if self.tokens:
            _, mean, spread = normed(maps)
            return changed * spread + mean
        return changed.clamp_min(0) if bool((self.cells >= 0).all()) else changed


def normed(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maps with every cell at mean 0 and variance 1 over channels, and the mean and spread (N, 1, h, w) of before."""
    mean = maps.mean(dim=1, keepdim=True)
    spread = (maps.var(dim=1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return (maps - mean) / spread, mean, spread


def shared_points(clf: Classifier) -> tuple[Point, ...]:
    """The classifier's layer and finer ones before it, one for each size of grid; the finest first.

    Raises:
        UsageError: a black box, or one of other bands than colours.
    """
    if not clf.white_box:
        raise no_inside("activations that a branch could share")
    in_colours(clf, "a branch learns what a text space says")
    points = [clf.point]
    while len(points) < MOST:
        finer = clf.fine_point(at_least=min(points[-1].size) + 1)
        # A module that is called twice is one name: what is kept goes by names.
        if finer is None or min(finer.size) <= min(points[-1].size) or finer.path in {p.path for p in points}:
            break
        points.append(finer)
    return tuple(reversed(points))


def tapped_for(clf: Classifier, images: Tensor, levels: Sequence[Level]) -> Tap:
    """One pass of images (N, 3, H, W), tapped at these layers.

    Raises:
        UsageError: the classifier is looked into at other layers now.
    """
    points = {p.path: p for p in shared_points(clf)}
    if missing := [level.path for level in levels if level.path not in points]:
        raise UsageError(
            f"the branch shares the layer {missing[0]}, and the classifier is looked into at {', '.join(points)}; ask "
            "for the layer that it was taught with, or teach it again: saywhy fit IMAGES --parts branch"
        )
    return clf.tap(images, [points[level.path] for level in levels])


def readings(tap: Tap, levels: Sequence[Level]) -> list[Tensor]:
    """What is read of each layer (N, K, h, w), on the CPU."""
    return [level.read(tap.maps(level.path).cpu()) for level in levels]


def pooled(read: Sequence[Tensor]) -> Tensor:
    """The mean over cells of every channel of all layers, (N, Z)."""
    return torch.cat([maps.mean(dim=(2, 3)) for maps in read], dim=1)


def fine(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, T, h, w) at another size."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
