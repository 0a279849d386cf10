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
from functools import lru_cache, partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError, unknown

Need = Literal["kept", "seed"]

REACHED = 0.02  # of a blur's weight on kept pixels: with less, what it carries is no more than their last trace
DONOR_ROWS = 32  # of the grid on which donors are compared


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


def _image_blur(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """Sigma: a twelfth of the short side, so that only colours are left."""
    return gaussian_blur(images, min(images.shape[2:]) / 12)


def _blur(images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """As above with a picture of what is kept alone (normalised convolution, Knutsson and Westin 1993).

    Where the blur reaches next to nothing that is kept, the colours carried into the hole take over.
    """
    sigma = min(images.shape[2:]) / 12
    weight = gaussian_blur(keep, sigma).clamp(0, 1)
    near = gaussian_blur(images * keep, sigma) / weight.clamp_min(1e-6)
    reached = (weight / REACHED).clamp(0, 1)
    return torch.lerp(_inpaint(images, keep, seed), near, reached).clamp(0, 1)


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


def _donor(images: Tensor, keep: Tensor, seed: int, rank: int = 0) -> Tensor:
    """The place of the picture whose surroundings match the hole's best, copied in (He and Sun 2012).

    The ring of two cells around the hole is compared with the same ring elsewhere on a grid of `DONOR_ROWS` rows;
    `rank` 1 takes the second best, at least an eighth of the picture away from the first. Pixels whose donor is hidden
    too, or outside, are in-painted.
    """
    H, W = images.shape[2:]
    offsets, order = _donors(images, keep, (DONOR_ROWS, max(8, round(DONOR_ROWS * W / H))))
    behind, out = _inpaint(images, keep, seed), []
    for m, ranked in enumerate(order.tolist()):
        dy, dx = _apart([offsets[i] for i in ranked], rank, DONOR_ROWS // 8)
        dy, dx = round(dy * H / DONOR_ROWS), round(dx * H / DONOR_ROWS)
        image = images[m if len(images) > 1 else 0]
        there = shifted(keep[m].round(), -dy, -dx)
        out.append(shifted(image, -dy, -dx) * there + behind[m] * (1 - there))
    return torch.stack(out)


def _donors(images: Tensor, keep: Tensor, size: tuple[int, int]) -> tuple[list[tuple[int, int]], Tensor]:
    """Every offset of the grid (dy, dx), and for each mask their order (M, O), the best match first."""
    small = F.interpolate(images, size, mode="area")
    seen = (F.interpolate(keep, size, mode="area") > 0.5).to(images.dtype)
    hole = 1 - seen
    ring = F.max_pool2d(hole, 5, 1, 2) * seen
    unlike = (_shifts(small) - small[:, :, None, None]).square().sum(1).flatten(3)
    there = _shifts(seen)[:, 0].flatten(3)
    both = ring.flatten(2)[:, :, None] * there
    matched, wanted = both.sum(3), ring.sum((1, 2, 3)).clamp_min(1)[:, None, None]
    bad = (hole.flatten(2)[:, :, None] * (1 - there)).sum(3) / hole.sum((1, 2, 3)).clamp_min(1)[:, None, None]
    costs = (both * unlike).sum(3) / matched.clamp_min(1e-6)
    costs = costs + 10 * (matched < 0.5 * wanted) + 10 * bad * (bad > 0.02)
    rows, columns = (range(-n // 2, n - n // 2 + 1, 2) for n in size)
    offsets = [(y, x) for y in rows for x in columns]
    kept = [i for i, offset in enumerate(offsets) if offset != (0, 0)]
    return [offsets[i] for i in kept], costs.flatten(1)[:, kept].argsort(stable=True, dim=1)


def _shifts(x: Tensor) -> Tensor:
    """x (B, C, h, w) moved by every second offset up to half its size: (B, C, rows, columns, h, w), 0 outside."""
    h, w = x.shape[2:]
    padded = F.pad(x, (-(-w // 2), w - w // 2, -(-h // 2), h - h // 2))
    return padded.unfold(2, h, 2).unfold(3, w, 2)


def shifted(x: Tensor, dy: int, dx: int) -> Tensor:
    """x (..., H, W) moved down by dy and to the right by dx, 0 where nothing comes from."""
    H, W = x.shape[-2:]
    out = torch.zeros_like(x)
    if abs(dy) < H and abs(dx) < W:
        to = (..., slice(max(0, dy), H + min(0, dy)), slice(max(0, dx), W + min(0, dx)))
        out[to] = x[..., max(0, -dy) : H + min(0, -dy), max(0, -dx) : W + min(0, -dx)]
    return out


def _apart(offsets: list[tuple[int, int]], rank: int, least: int) -> tuple[int, int]:
    """The offset of this rank among those that lie more than `least` apart from all better ones."""
    picks: list[tuple[int, int]] = []
    for y, x in offsets:
        if all(abs(y - a) + abs(x - b) > least for a, b in picks):
            picks.append((y, x))
        if len(picks) > rank:
            break
    return picks[-1]


FILLS: dict[str, Fill] = {
    "black": Fill(_black, "black pixels (0 before normalisation)"),
    "mean": Fill(_mean, "the mean colour of what stays visible", ("kept",)),
    "image-mean": Fill(_image_mean, "the mean colour of the whole picture, what is hidden included"),
    "noise": Fill(_noise, "seeded noise around the mean colour of what stays visible", ("kept", "seed")),
    "image-blur": Fill(_image_blur, "the picture itself, blurred away, what is hidden included"),
    "blur": Fill(_blur, "what stays visible, blurred into the hole", ("kept",)),
    "inpaint": Fill(_inpaint, "colours of what stays visible, carried into the hole", ("kept",)),
    "donor": Fill(_donor, "the place of the picture whose surroundings match the hole's best, copied in", ("kept",)),
    "donor2": Fill(
        partial(_donor, rank=1), "the second best such place, an eighth of the picture or more from it", ("kept",)
    ),
}


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with reflected borders, separable, images (N, C, H, W)."""
    radius = max(1, min(math.ceil(3 * sigma), min(images.shape[2:]) - 1))
    x = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
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
    keep = keep.to(images.device).to(images.dtype)
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
