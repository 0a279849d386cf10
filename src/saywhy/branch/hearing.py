"""What a branch says of one picture: how surely each phrase is true, and where it is.

T phrases, L layers, K channels of one of them, Z of all, P patches; maps (K, h, w), regions (T, h, w). Source of the
regions and of the layer by channel replacement: CE-FAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.branch.imitation import Imitator, slopes
from saywhy.branch.levels import Level, pooled
from saywhy.players import players

CHANNELS = 20  # that are replaced at most
NEARLY = 0.7  # of the most
ROWS = 4096  # inputs of the branch's network at once


@dataclass(frozen=True, eq=False)
class Heard:
    """One picture and T phrases: their log-odds (T,), what is read of each layer (K, h, w), and how the log-odds change
    with every channel's mean there, a (T, K) for each layer."""

    net: Imitator
    levels: Sequence[Level]
    read: Sequence[Tensor]
    texts: Tensor
    scale: float
    bias: float

    @cached_property
    def z(self) -> Tensor:
        """The mean of every channel (Z,)."""
        return pooled([maps[None] for maps in self.read])[0]

    @cached_property
    def odds(self) -> Tensor:
        """(T,)"""
        return self.scale * self.texts @ F.normalize(self.net(self.z[None]), dim=1)[0] + self.bias

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """The gradients (T, K) of each layer, all phrases at once."""
        widths = [level.width for level in self.levels]
        return torch.split(slopes(self.net, self.z, self.texts, self.scale), widths, dim=1)

    @cached_property
    def regions(self) -> list[Tensor]:
        """The region (T, h, w) of every phrase in each layer: where what is more than usual speaks for it."""
        return [
            torch.einsum("tk,khw->thw", w, maps - level.mean[:, None, None]).clamp_min(0)
            for w, maps, level in zip(self.weights, self.read, self.levels, strict=True)
        ]

    def on_patches(self, patches: Tensor) -> Tensor:
        """How much of each layer's regions lies on each patch (P, H, W) of the picture, for its size: (L, T, P).

        Cells are coarser than a beak, and patches have its rims.
        """
        return torch.stack([whole(region).flatten(1) @ _cells_of(patches, region).T for region in self.regions])

    def fused(self, shares: Tensor, patches: Tensor) -> Tensor:
        """The same of all layers in one, with the share of each layer (L,): (T, P)."""
        return torch.einsum("l,ltp->tp", shares, self.on_patches(patches))

    def some(self, rows: Sequence[int]) -> Heard:
        """The same of some phrases."""
        return Heard(self.net, self.levels, self.read, self.texts[list(rows)], self.scale, self.bias)

    def leading(self, level: int, most: int = CHANNELS) -> Tensor:
        """The channels (T, n) of a layer that speak for each phrase, the strongest first."""
        means = self.read[level].mean(dim=(1, 2))
        return (self.weights[level] * means).argsort(dim=1, descending=True)[:, :most]

    def drops(self) -> Tensor:
        """How much of each phrase's probability goes, on average, when the 1, 2, ... leading channels of a layer are
        replaced by their usual mean: (T, L)."""
        before = self.odds.sigmoid()[:, None]
        out, start = [], 0
        for n, level in enumerate(self.levels):
            changed = self._replaced(self.leading(n) + start)
            out.append(((before - self._odds(changed).sigmoid()) / before).mean(dim=1))
            start += level.width
        return torch.stack(out, dim=1)

    def _replaced(self, channels: Tensor) -> Tensor:
        """Inputs (T, n, Z) in which the first 1, 2, ... n of these channels (T, n) have their usual mean."""
        usual = torch.cat([level.mean for level in self.levels])
        T, n = channels.shape
        gone = torch.zeros(T, n, len(self.z)).scatter(2, channels[:, :, None], 1.0).cumsum(dim=1) > 0
        return torch.where(gone, usual, self.z)

    def _odds(self, inputs: Tensor) -> Tensor:
        """The log-odds (T, n) of each phrase for inputs (T, n, Z) of its own."""
        units = torch.cat([F.normalize(self.net(rows), dim=1) for rows in torch.split(inputs.flatten(0, 1), ROWS)])
        return self.scale * (units.reshape(*inputs.shape[:2], -1) * self.texts[:, None]).sum(dim=2) + self.bias


def whole(regions: Tensor) -> Tensor:
    """Regions (T, h, w) of mean 1; one that is nowhere stays so."""
    mean = regions.mean(dim=(1, 2), keepdim=True)
    return regions / torch.where(mean > 0, mean, torch.ones_like(mean))


def _cells_of(patches: Tensor, region: Tensor) -> Tensor:
    """What share of each patch (P, H, W) lies in each cell (P, h w) of a region's grid."""
    inside = F.adaptive_avg_pool2d(patches[None].float(), (region.shape[1], region.shape[2]))[0].flatten(1)
    return inside / inside.sum(dim=1, keepdim=True)


def patches_of(image: Tensor) -> Tensor:
    """The patches (P, H, W) of an image (3, H, W), those that explanations find regions of."""
    leaves = torch.from_numpy(players(image.cpu()).leaves)
    return leaves == torch.arange(int(leaves.max()) + 1)[:, None, None]


def masks_of(values: Tensor, patches: Tensor) -> Tensor:
    """Masks (T, H, W) of regions by what is on each patch (T, P): where most is, or nearly as much."""
    inside = (values >= NEARLY * values.amax(dim=1, keepdim=True)) & (values > 0)
    return torch.einsum("tp,phw->thw", inside.float(), patches.float()) > 0
