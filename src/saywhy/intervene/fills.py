"""Fills: what stands in the place of hidden pixels, and how it is put there.

A row of FILLS is one function `(images, keep, seed) -> pictures`: images (N, 3, H, W) in [0, 1]; keep (M, 1, H, W) in
[0, 1], 1 keeps a pixel; N is M, or 1 where all masks are of one image; the pictures have any shape that broadcasts to
(M, 3, H, W). An image's picture depends on that image, its mask and the seed alone, never on its neighbours.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError, unknown

Need = Literal["kept", "seed"]


@dataclass(frozen=True)
class Fill:
    """A fill: `make(images, keep, seed)`, what it is in words, and what it `needs` beside the images.

    "kept": it changes with what is kept; "seed": it is drawn. One that does not need what is kept is `still`: it is
    made once for all masks of an image.
    """

    make: Callable[[Tensor, Tensor, int], Tensor]
    summary: str
    needs: tuple[Need, ...] = ()

    @property
    def still(self) -> bool:
        """Whether one picture serves every mask."""
        return "kept" not in self.needs


Choice = (
    str | Tensor | Fill
)  # a row's name; a colour (3,), picture (3, H, W) or pictures (N, 3, H, W); a row of one's own
Filler = Callable[[Tensor, Tensor], Tensor]  # which images (m,), keep (m, H, W) -> what shows behind, as a row gives it


# --------------------------------------------------------------------------------------------------
# The rows.


def _black(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    return images.new_zeros(1, 1, 1, 1)


def _image_mean(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    return images.mean((2, 3), keepdim=True)


def _mean(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """Where nothing is kept: the whole image's."""
    weight = keep + 1e-6
    return (images * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)


def _noise(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """Coarse and fine noise, with half the picture's own spread."""
    spread = 0.5 * images.std(dim=(2, 3), keepdim=True)
    return (_mean(images, keep, seed) + spread * _grain(seed, *images.shape[1:]).to(images)).clamp(0, 1)


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor outlives its maker's mode
def _grain(seed: int, C: int, H: int, W: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, C, max(2, H // 16), max(2, W // 16), generator=generator)
    fine = torch.randn(1, C, H, W, generator=generator)
    return F.interpolate(coarse, (H, W), mode="bilinear") + 0.3 * fine


def _blur(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """Sigma: a twelfth of the short side, so that only colours are left."""
    return gaussian_blur(images, min(images.shape[2:]) / 12)


def _inpaint(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """A pyramid of what is kept: pull-push, Gortler et al. 1996."""
    levels: list[tuple[Tensor, Tensor]] = [(images * keep, keep)]
    while min(levels[-1][0].shape[2:]) > 1:
        colour, weight = levels[-1]
        levels.append((F.avg_pool2d(colour, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)))
    colour, weight = levels[-1]
    filled = colour / weight.clamp_min(1e-6)
    for colour, weight in reversed(levels[:-1]):
        coarse = F.interpolate(filled, colour.shape[2:], mode="bilinear", align_corners=False)
        filled = colour + (1 - weight) * coarse
    return filled.clamp(0, 1)


FILLS: dict[str, Fill] = {
    "black": Fill(_black, "black pixels (0 before normalisation)"),
    "mean": Fill(_mean, "the mean colour of what stays visible", ("kept",)),
    "image-mean": Fill(_image_mean, "the mean colour of the whole picture, what is hidden included"),
    "noise": Fill(_noise, "seeded noise around the mean colour of what stays visible", ("kept", "seed")),
    "blur": Fill(_blur, "the picture itself, blurred away"),
    "inpaint": Fill(_inpaint, "colours of what stays visible, carried into the hole", ("kept",)),
}


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with reflected borders, separable, images (N, C, H, W)."""
    radius = max(1, min(math.ceil(3 * sigma), min(images.shape[2:]) - 1))
    x = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    C = images.shape[1]
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(C, 1, 1, -1), groups=C)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(C, 1, -1, 1), groups=C)


def content_seed(image: Tensor, seed: int) -> int:
    """A seed from the image's own pixels, so that its masks are the same alone and in any batch."""
    return (zlib.crc32((image * 255).round().to(torch.uint8).cpu().numpy().tobytes()) ^ (seed * 2654435761)) % 2**31


# --------------------------------------------------------------------------------------------------
# Hiding.


def hide(images: Tensor, keep: Tensor, fill: Choice = "black", seed: int = 0) -> Tensor:
    """Images under masks `keep` (M, H, W): kept where 1, filled where 0; (M, 3, H, W), with gradients to the masks.

    `images` are one image (3, H, W) for all masks, or one for each (M, 3, H, W). `fill` is a row of FILLS, or of one's
    own, or a colour (3,) or pictures ([N,] 3, H, W) in [0, 1]. Feature maps (M, K, h, w) can be hidden likewise.

    Raises:
        UsageError: a fill that is not in FILLS, or does not fit.
    """
    images = images[None] if images.dim() == 3 else images
    everyone = torch.arange(len(images), device=images.device)
    keep = keep.to(images.dtype)
    return blend(images, keep, filler(images, fill, seed)(everyone, keep))


def blend(images: Tensor, keep: Tensor, behind: Tensor) -> Tensor:
    """Images (1 or M, 3, H, W) where masks (M, H, W) are 1, what is behind (of any fitting shape) where they are 0."""
    weight = keep[:, None]
    return (images * weight).add_(behind * (1 - weight))  # in place: one more copy of a batch costs as much as both


def filler(images: Tensor, fill: Choice, seed: int = 0) -> Filler:
    """What shows where pixels of these images (N, 3, H, W) are hidden; made once where it does not depend on the mask.

    Raises:
        UsageError: an unknown fill, a tensor that does not fit.
    """
    if isinstance(fill, Tensor):
        row = Fill(lambda images, keep, seed: fill.detach(), "given")
    else:
        row = fill if isinstance(fill, Fill) else named(fill)
    if row.still:
        pictures = _fit(row.make(images, images.new_ones(1, 1, 1, 1), seed), images, len(images))
        return lambda rows, keep: of(pictures, rows)
    return lambda rows, keep: _fit(row.make(of(images, rows), keep[:, None], seed), images, len(keep))


def named(fill: str) -> Fill:
    """The row of that name.

    Raises:
        UsageError: there is none; the nearest names are told.
    """
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    return FILLS[fill]


def of(images: Tensor, rows: Tensor) -> Tensor:
    """The images of these numbers (m,); a single one stands for all."""
    return images if len(images) == 1 else images[rows]


def _fit(made: Tensor, images: Tensor, count: int) -> Tensor:
    shown = made.to(images.device, images.dtype)
    shown = shown[:, None, None] if shown.ndim == 1 else shown
    shown = shown[None] if shown.ndim == 3 else shown
    try:
        shown.expand(count, *images.shape[1:])
        return shown  # as small as it is: black is one number, not a batch of pictures
    except RuntimeError as error:
        raise UsageError(
            f"a fill of shape {tuple(made.shape)} does not fit images {tuple(images.shape)}; "
            "give a colour (3,) or pictures (N, 3, H, W)"
        ) from error
