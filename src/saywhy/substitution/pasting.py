"""A piece of one view put down in another: scaled and turned to the place and size of what it stands for.

Pictures (3, H, W) in [0, 1], masks (H, W).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.intervene import gaussian_blur, hide

PUT_IN = "inpaint"  # what stands where the piece was and the new one does not reach
RIM = 1 / 100  # of the short side: over which borders are blended


def pasted(
    picture: Tensor,
    bad: Tensor,
    donor: Tensor,
    good: Tensor,
    mirror: int = 1,
    middle: tuple[float, float] | None = None,
) -> Tensor:
    """The picture with what `bad` covers painted over, and the donor's piece `good` put down on its middle (or on
    `middle`, x and y) with as many pixels, mirrored where `mirror` is -1; borders are blended."""
    holed = hide(picture, ~bad[None], PUT_IN)[0]
    scale = math.sqrt(float(bad.sum()) / max(1.0, float(good.sum())))
    grid = _grid(
        _middle(bad) if middle is None else middle,
        _middle(good),
        scale,
        mirror,
        tuple(picture.shape[1:]),
        tuple(donor.shape[1:]),
    )
    moved = F.grid_sample(
        torch.cat([donor, good[None].to(donor)])[None], grid, align_corners=False, padding_mode="border"
    )
    inside = (grid.abs() <= 1).all(dim=-1)
    alpha = gaussian_blur((moved[:, -1:] * inside).clamp(0, 1), RIM * min(picture.shape[1:]))[0]
    return (alpha * moved[0, :-1] + (1 - alpha) * holed).clamp(0, 1)


def _middle(mask: Tensor) -> tuple[float, float]:
    ys, xs = torch.nonzero(mask, as_tuple=True)
    return float(xs.double().mean()), float(ys.double().mean())


def _grid(
    here: tuple[float, float],
    there: tuple[float, float],
    scale: float,
    mirror: int,
    own: tuple[int, ...],
    other: tuple[int, ...],
) -> Tensor:
    """Where in the donor (1, H, W, 2) each pixel comes from, in [-1, 1]."""
    H, W = own
    ys, xs = torch.meshgrid(torch.arange(H).float(), torch.arange(W).float(), indexing="ij")
    x = (xs - here[0]) * mirror / scale + there[0]
    y = (ys - here[1]) / scale + there[1]
    return torch.stack([(2 * x + 1) / other[1] - 1, (2 * y + 1) / other[0] - 1], dim=-1)[None]
