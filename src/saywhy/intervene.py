"""Interventions: hide parts of an image, ask the classifier again, and say what that did.

One engine (`masked_scores`) serves every perturbation method, the metrics and the coalition game: masks are made a
chunk at a time and never kept, every answer is counted, and no result depends on the batch size.

N images (N, 3, H, W) in [0, 1]; M masks (M, H, W) in [0, 1], 1 keeps a pixel; k regions (k, H, W); F fills.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError, unknown

Progress = Callable[[int, int], None]
Score = Callable[[Tensor], Tensor]
MaskMaker = Callable[[int, int], Tensor]


# --------------------------------------------------------------------------------------------------
# Fills: what stands in the place of hidden pixels.


def _black(image: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """Zero in [0, 1], before normalisation."""
    return torch.zeros_like(image).expand(len(keep), -1, -1, -1)


def _mean(image: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """The mean colour of the kept pixels."""
    weight = keep + 1e-6
    return ((image * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)).expand(
        -1, -1, *image.shape[2:]
    )


def _noise(image: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """Coarse and fine noise around the kept pixels' mean colour, with half the picture's own spread."""
    spread = 0.5 * image.std(dim=(2, 3), keepdim=True)
    H, W = image.shape[2:]
    coarse = torch.randn(1, 3, max(2, H // 16), max(2, W // 16), generator=generator)
    fine = torch.randn(1, 3, H, W, generator=generator)
    noise = F.interpolate(coarse, (H, W), mode="bilinear") + 0.3 * fine
    return (_mean(image, keep, generator) + spread * noise).clamp(0, 1)


def _blur(image: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """The picture itself, blurred until only its colours are left (sigma: a twelfth of the short side)."""
    return gaussian_blur(image, min(image.shape[2:]) / 12).expand(len(keep), -1, -1, -1)


def _inpaint(image: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """Colours of the kept pixels, carried into the hole by a pyramid (pull-push, Gortler et al. 1996)."""
    levels: list[tuple[Tensor, Tensor]] = [(image * keep, keep)]
    while min(levels[-1][0].shape[2:]) > 1:
        colour, weight = levels[-1]
        levels.append((F.avg_pool2d(colour, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)))
    colour, weight = levels[-1]
    filled = colour / weight.clamp_min(1e-6)
    for colour, weight in reversed(levels[:-1]):
        coarse = F.interpolate(filled, colour.shape[2:], mode="bilinear", align_corners=False)
        filled = colour + (1 - weight) * coarse
    return filled.clamp(0, 1)


@dataclass(frozen=True)
class Fill:
    """A fill: (image (1, 3, H, W), keep (M, 1, H, W), generator) -> (M, 3, H, W), and what it is in words.

    `still`: neither what is kept nor chance changes it, so that it is made once for all masks.
    """

    fill: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    summary: str
    still: bool = False


FILLS: dict[str, Fill] = {
    "black": Fill(_black, "black pixels (0 before normalisation)"),
    "mean": Fill(_mean, "the mean colour of what stays visible"),
    "noise": Fill(_noise, "seeded noise around that mean colour"),
    "blur": Fill(_blur, "the picture itself, blurred away", still=True),
    "inpaint": Fill(_inpaint, "colours of what stays visible, carried into the hole"),
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


def hide(image: Tensor, keep: Tensor, fill: str | Tensor = "black", seed: int = 0) -> Tensor:
    """The image (3, H, W) under masks `keep` (M, H, W): kept where 1, filled where 0; (M, 3, H, W).

    `fill` is a row of FILLS, or a colour (3,) or picture (3, H, W) in [0, 1].

    Raises:
        UsageError: a fill that is not in FILLS.
    """
    if isinstance(fill, Tensor):
        shown = fill.to(image).reshape(1, 3, *(fill.shape[1:] or (1, 1)))
        return torch.lerp(shown.expand_as(image[None]), image[None], keep[:, None])
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    weight = keep[:, None]
    if fill == "black":
        return image * weight
    filled = FILLS[fill].fill(image[None], weight, torch.Generator().manual_seed(seed))
    return torch.lerp(filled, image[None].expand_as(filled), weight)


def content_seed(image: Tensor, seed: int) -> int:
    """A seed from the image's own pixels, so that its masks are the same alone and in any batch."""
    return (zlib.crc32((image * 255).round().to(torch.uint8).cpu().numpy().tobytes()) ^ (seed * 2654435761)) % 2**31


# --------------------------------------------------------------------------------------------------
# The engine.


def masked_scores(
    clf: Classifier,
    image: Tensor,
    count: int,
    make: MaskMaker,
    score: Score,
    *,
    fill: str | Tensor = "black",
    seed: int = 0,
    batch_size: int | None = None,
    each: Callable[[int, Tensor, Tensor], None] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Scores (M,) of one image (3, H, W) under `count` masks that `make(start, stop)` gives in chunks (m, H, W).

    `score` turns the classifier's scores (m, C) into (m,). `each(start, masks, scores)` sees every chunk before it is
    dropped. The batch size changes the speed and nothing else.
    """
    size = batch_size or clf.rows
    if isinstance(fill, str) and fill in FILLS and FILLS[fill].still:
        fill = FILLS[fill].fill(image[None], image.new_ones(1, 1, 1, 1), torch.Generator())[0]
    parts: list[Tensor] = []
    for start in range(0, count, size):
        masks = make(start, min(start + size, count))
        scores = score(clf.logits(hide(image, masks, fill, seed), batch_size=size))
        if each is not None:
            each(start, masks, scores)
        parts.append(scores)
        if progress is not None:
            progress(min(start + size, count), count)
    return torch.cat(parts)


# --------------------------------------------------------------------------------------------------
# The coalition game.


@dataclass(frozen=True, eq=False)
class Game:
    """Probabilities (F, 2^k, C) of every class with every combination of k regions kept, under F fills.

    Combination s keeps region i where bit i of s is set; everything outside the regions always stays.
    """

    k: int
    fills: tuple[str, ...]
    probabilities: Tensor

    def values(self, target: int, versus: int | None = None, unit: str = "probability") -> Tensor:
        """The asked score (F, 2^k): of the target, or target minus versus; in probability or log-odds."""
        p = self.probabilities.double()
        if unit == "log-odds":
            p = torch.logit(p.clamp(1e-6, 1 - 1e-6))
        return p[..., target] if versus is None else p[..., target] - p[..., versus]


def play(
    clf: Classifier,
    image: Tensor,
    regions: Tensor,
    *,
    fills: Sequence[str] = ("inpaint", "blur"),
    seed: int = 0,
) -> Game:
    """Measures all 2^k keep/hide combinations of k <= 6 regions (k, H, W) of one image (3, H, W), once for each fill.

    Raises:
        UsageError: no region, or more than 6 (64 passes a fill at most).
    """
    k = len(regions)
    if not 1 <= k <= 6:
        raise UsageError(f"the coalition game takes 1 to 6 regions, not {k}")
    hidden = regions.to(image.dtype)
    bits = torch.tensor([[(s >> i) & 1 for i in range(k)] for s in range(2**k)], dtype=image.dtype)

    def make(start: int, stop: int) -> Tensor:
        gone = torch.einsum("mk,khw->mhw", 1 - bits[start:stop], hidden)
        return (1 - gone).clamp(0, 1)

    tables = []
    for fill in fills:
        rows: list[Tensor] = []

        def keep_all(logits: Tensor, rows: list[Tensor] = rows) -> Tensor:
            rows.append(clf.to_probabilities(logits))
            return rows[-1][:, 0]

        masked_scores(clf, image, 2**k, make, keep_all, fill=fill, seed=seed)
        tables.append(torch.cat(rows))
    return Game(k, tuple(fills), torch.stack(tables))


def shapley_values(values: Tensor) -> Tensor:
    """Shapley values (..., k) of a game's values (..., 2^k); they add up to full minus empty (Shapley 1953)."""
    return values @ _shapley_weights(_players(values)).to(values).T


def interaction_indices(values: Tensor) -> Tensor:
    """Shapley interaction indices (..., k, k) of each pair, zero on the diagonal (Grabisch and Roubens 1999).

    Positive: the two count more together than one by one; negative: one stands in for the other.
    """
    k = _players(values)
    out = values.new_zeros(*values.shape[:-1], k, k)
    for i, j in combinations(range(k), 2):
        out[..., i, j] = out[..., j, i] = values @ _interaction_weights(k, i, j).to(values)
    return out


def _players(values: Tensor) -> int:
    k = int(values.shape[-1]).bit_length() - 1
    if values.shape[-1] != 2**k:
        raise UsageError(f"a game of k players has 2^k values; got {values.shape[-1]}")
    return k


@cache
@torch.inference_mode(False)  # a cached tensor outlives its maker's mode
def _shapley_weights(k: int) -> Tensor:
    weights = torch.zeros(k, 2**k, dtype=torch.float64)
    for i in range(k):
        for s in range(2**k):
            if not s >> i & 1:
                n = s.bit_count()
                w = math.factorial(n) * math.factorial(k - n - 1) / math.factorial(k)
                weights[i, s | 1 << i] += w
                weights[i, s] -= w
    return weights


@cache
@torch.inference_mode(False)  # a cached tensor outlives its maker's mode
def _interaction_weights(k: int, i: int, j: int) -> Tensor:
    weights = torch.zeros(2**k, dtype=torch.float64)
    for s in range(2**k):
        if not s >> i & 1 and not s >> j & 1:
            n = s.bit_count()
            w = math.factorial(n) * math.factorial(k - n - 2) / math.factorial(k - 1)
            weights[s | 1 << i | 1 << j] += w
            weights[s | 1 << i] -= w
            weights[s | 1 << j] -= w
            weights[s] += w
    return weights


# --------------------------------------------------------------------------------------------------
# Single experiments, to confirm by other means what a game has found.

CONFIRMING: tuple[tuple[str, int], ...] = (("mean", 1), ("mean", 2), ("noise", 3), ("noise", 4))


@dataclass(frozen=True)
class Experiment:
    """One act: these regions hidden, or kept alone, with a fill and a seed; the probabilities (C,) it gave."""

    act: Literal["hide", "keep"]
    regions: tuple[int, ...]
    fill: str
    seed: int
    probabilities: Tensor


def experiment(
    clf: Classifier,
    image: Tensor,
    regions: Tensor,
    acts: Sequence[tuple[Literal["hide", "keep"], tuple[int, ...]]],
    *,
    ways: Sequence[tuple[str, int]] = CONFIRMING,
    seed: int = 0,
) -> list[Experiment]:
    """Carries out each act in each (fill, seed) way; the seed also moves and widens the mask by a few pixels.

    "keep" hides everything outside the given regions, the surroundings included.
    """
    plans = [(act, which, fill, s) for act, which in acts for fill, s in ways]
    if not plans:
        return []
    rows = image.new_empty(len(plans), *image.shape)
    for w, (fill, s) in enumerate(ways):  # a way's fill is made once for all acts
        own = s + 1000 * seed
        keep = torch.stack([_kept(regions, act, which, own) for act, which in acts])
        rows[w :: len(ways)] = hide(image, keep.to(image.dtype), fill, own)
    answers = clf.probabilities(rows)
    return [Experiment(a, w, f, s, p) for (a, w, f, s), p in zip(plans, answers, strict=True)]


def _kept(regions: Tensor, act: str, which: tuple[int, ...], seed: int) -> Tensor:
    """What an act leaves to be seen (H, W)."""
    area = regions[list(which)].any(dim=0) if which else torch.zeros_like(regions[0], dtype=torch.bool)
    area = _jitter(area, seed)
    return area if act == "keep" else ~area


def _jitter(mask: Tensor, seed: int) -> Tensor:
    """The mask moved by up to 1 % of the image and widened or narrowed by up to 1 %: what a finding must survive."""
    g = torch.Generator().manual_seed(seed)
    H, W = mask.shape
    reach = max(1, min(H, W) // 100)
    dy, dx, grow = (int(v) for v in torch.randint(-reach, reach + 1, (3,), generator=g))
    moved = F.pad(mask[None, None].float(), (reach + dx, reach - dx, reach + dy, reach - dy))[
        ..., reach : reach + H, reach : reach + W
    ]
    if grow > 0:
        moved = F.max_pool2d(moved, 2 * grow + 1, 1, grow)
    elif grow < 0:
        moved = -F.max_pool2d(-moved, 2 * -grow + 1, 1, -grow)
    return moved[0, 0] > 0.5
