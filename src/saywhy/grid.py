"""Grids: how a layer's output stands for places in the image. N images, K channels, h x w the grid, T tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saywhy.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """What each axis of a layer's output is: n images, c channels, h rows, w columns, t tokens.

    Of the tokens, `prefix` come before those of the grid and `suffix` after them; `shape` is the grid's h x w.
    """

    axes: str
    shape: tuple[int, int]
    prefix: int = 0
    suffix: int = 0

    @property
    def kind(self) -> str:
        """Its name in words: nchw, nhwc and the like, or tokens."""
        return "tokens" if "t" in self.axes else self.axes

    @property
    def batch(self) -> int:
        """The axis of the images."""
        return self.axes.index("n")

    def to_maps(self, raw: Tensor) -> Tensor:
        """The output as (N, K, h, w).

        Raises:
            UsageError: another number of tokens than the grid has, as of images of another size.
        """
        if "t" not in self.axes:
            return raw.permute(*map(self.axes.index, "nchw"))
        tokens = raw.permute(*map(self.axes.index, "nct"))
        h, w = self.shape
        if tokens.shape[2] != self.prefix + h * w + self.suffix:
            raise UsageError(
                f"the layer gives {tokens.shape[2]} tokens where its grid of {h} x {w} has "
                f"{self.prefix + h * w + self.suffix}; give images of the size that the classifier was loaded with"
            )
        return tokens[:, :, self.prefix : self.prefix + h * w].reshape(*tokens.shape[:2], h, w)

    def from_maps(self, maps: Tensor, raw: Tensor, rows: Tensor) -> Tensor:
        """Maps (M, K, h, w) in the output's own layout; rows (M,) of `raw` (N, ...) lend the tokens around the grid."""
        if "t" not in self.axes:
            return maps.permute(*map("nchw".index, self.axes)).contiguous() if self.axes != "nchw" else maps
        around = raw.permute(*map(self.axes.index, "nct"))[rows]
        after = around.shape[2] - self.suffix
        tokens = torch.cat([around[:, :, : self.prefix], maps.flatten(2), around[:, :, after:]], dim=2)
        return tokens.permute(*map("nct".index, self.axes)).contiguous()
