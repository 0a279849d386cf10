"""Grids: how a layer's output stands for places in the image. N images, K channels, h x w the grid, T tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MAX_PREFIX = 16  # class, distillation and register tokens before the grid


@dataclass(frozen=True)
class Grid:
    """How (N, K, h, w) lies in a layer's output: channels first, channels last, or tokens after `prefix` others."""

    kind: Literal["nchw", "nhwc", "tokens"]
    prefix: int = 0
    shape: tuple[int, int] | None = None  # given by the user; otherwise from the image's proportions

    def to_maps(self, raw: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The output as (N, K, h, w)."""
        if self.kind == "nchw":
            return raw
        if self.kind == "nhwc":
            return raw.permute(0, 3, 1, 2)
        h, w = self.shape or _factor(raw.shape[1] - self.prefix, image_size)
        return raw[:, self.prefix :].transpose(1, 2).reshape(len(raw), -1, h, w)

    def from_maps(self, maps: Tensor, raw: Tensor, rows: Tensor) -> Tensor:
        """Maps (M, K, h, w) in the output's own layout; rows (M,) of `raw` (N, ...) lend the tokens before the grid."""
        if self.kind == "nchw":
            return maps
        if self.kind == "nhwc":
            return maps.permute(0, 2, 3, 1).contiguous()
        return torch.cat([raw[rows, : self.prefix], maps.flatten(2).transpose(1, 2)], dim=1)


def _factor(tokens: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """The h x w = tokens whose proportions are nearest to the image's."""
    H, W = image_size
    pairs = [(h, tokens // h) for h in range(1, tokens + 1) if tokens % h == 0]
    return min(pairs, key=lambda p: abs((p[0] * W) / (p[1] * H) - 1) + abs((p[1] * H) / (p[0] * W) - 1))


def _fits(h: int, w: int, image_size: tuple[int, int]) -> bool:
    H, W = image_size
    return h >= 2 and w >= 2 and 0.8 <= (h * W) / (w * H) <= 1.25


def find_grid(raw: Tensor, image_size: tuple[int, int], patch_grids: Sequence[tuple[int, int]] = ()) -> Grid | None:
    """The grid of a layer's output, or None where it has none.

    `patch_grids` are the convolutions' output sizes seen in the same pass: a token sequence that is as long as one
    of them (plus class and register tokens) is that grid.
    """
    if raw.dim() == 4:
        _, a, b, c = raw.shape
        first, last = _fits(b, c, image_size), _fits(a, b, image_size)
        if first and last:  # both readings have the right proportions: channels outnumber rows nearly always
            return Grid("nchw") if a >= c else Grid("nhwc")
        return Grid("nchw") if first else Grid("nhwc") if last else None
    if raw.dim() == 3 and raw.shape[2] > 1:  # (N, K, 1) is a pooled vector
        return _token_grid(raw.shape[1], image_size, patch_grids)
    return None


def _token_grid(T: int, image_size: tuple[int, int], patch_grids: Sequence[tuple[int, int]]) -> Grid | None:
    """The grid of T tokens: one of the convolutions' or a halving of it (merged patches), fewest other tokens."""
    sizes = {size for grid in patch_grids for size in _halvings(grid) if 0 <= T - size[0] * size[1] <= MAX_PREFIX}
    if sizes:
        h, w = max(sizes, key=lambda size: size[0] * size[1])
        return Grid("tokens", prefix=T - h * w, shape=None if _factor(h * w, image_size) == (h, w) else (h, w))
    for prefix in range(0 if patch_grids else MAX_PREFIX + 1):
        if T - prefix >= 4 and _fits(*_factor(T - prefix, image_size), image_size):
            return Grid("tokens", prefix=prefix)
    return None


def _halvings(grid: tuple[int, int]) -> Iterator[tuple[int, int]]:
    h, w = grid
    while h * w >= 4:
        yield h, w
        h, w = (h + 1) // 2, (w + 1) // 2
