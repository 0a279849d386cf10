"""What L-CAM is trained by: the named losses of a mask, its cut to the top values, the image or maps seen through it.

N images, S masks (N, h, w) or (N, m, h, w) in (0, 1): the sigmoid of the raw map. In `own` mode an image has the mask
of its own class (m = 1), in `cross` mode those of every class in the batch (m = N), as the authors' code has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError, unknown
from saywhy.intervene import hide
from saywhy.tap import Tap

Mode = Literal["own", "cross"]
Variation = Literal["sum", "mean"]
MODES: tuple[Mode, ...] = ("own", "cross")
MAP_FILLS = ("black", "image-mean")  # of l-cam-fm, which masks feature maps
NUS = (100.0, 50.0, 15.0)  # top percent that is kept, drawn for each image of a thresholded step


@dataclass(frozen=True)
class Coefficients:
    """Weights of the losses, as in the published code; `ce` alone is the paper's ablation "*".

    `power` and `eps`: AV = mean (S + eps)^power. `border` weighs the mean of the mask's outermost cells. `variation`:
    TV is the "sum" over cells as printed in the paper, or that divided by 2 N as in the code ("mean"),
    which in `cross` mode still grows with the batch.
    """

    ce: float = 1.5
    av: float = 2.0
    tv: float = 0.01
    power: float = 0.3
    eps: float = 5e-4
    border: float = 0.0
    variation: Variation = "mean"

    def __post_init__(self) -> None:
        if self.variation not in ("sum", "mean"):
            raise unknown("variation", self.variation, ("sum", "mean"))


CE_ONLY = Coefficients(av=0.0, tv=0.0)


def area(S: Tensor, coefficients: Coefficients) -> Tensor:
    """AV: the mean of (S + eps)^power. Source: L-CAM, equation 7."""
    return (S + coefficients.eps).pow(coefficients.power).mean()


def variation(S: Tensor, coefficients: Coefficients) -> Tensor:
    """TV: squared differences of neighbours, summed over cells. Source: L-CAM, equation 8."""
    down, across = S[..., 1:, :] - S[..., :-1, :], S[..., :, 1:] - S[..., :, :-1]
    total = down.square().sum() + across.square().sum()
    return total / (2 * len(S) if coefficients.variation == "mean" else 1)


def border(S: Tensor) -> Tensor:
    """The mean of the outermost cells."""
    edge = torch.ones_like(S[..., :, :], dtype=torch.bool)
    edge[..., 1:-1, 1:-1] = False
    return S[edge].mean()


def losses(scores: Tensor, labels: Tensor, S: Tensor, coefficients: Coefficients) -> dict[str, Tensor]:
    """The named losses and their weighted sum "loss", of scores (N, C) of what is seen through the masks.

    Source: L-CAM, equation 6.
    """
    c = coefficients
    named = {"ce": F.cross_entropy(scores.float(), labels), "av": area(S, c), "tv": variation(S, c)}
    total = c.ce * named["ce"] + c.av * named["av"] + c.tv * named["tv"]
    if c.border:
        named["border"] = border(S)
        total = total + c.border * named["border"]
    return {"loss": total, **named}


def keep_top(S: Tensor, percent: Sequence[float]) -> Tensor:
    """Masks (N, h, w) with all but the top `percent` (one each) of cells at 0; the gradient passes as if uncut."""
    flat = S.flatten(1)
    counts = [max(1, math.ceil(p / 100 * flat.shape[1] - 1e-9)) for p in percent]
    ranked = flat.detach().sort(dim=1, descending=True).values
    least = ranked[torch.arange(len(flat)), torch.tensor(counts) - 1]
    cut = torch.where(flat >= least[:, None], flat, 0).reshape(S.shape)
    return S + (cut - S).detach()


def seen_image(images: Tensor, S: Tensor, fill: str = "black") -> Tensor:
    """L-CAM-Img: images in [0, 1] under masks (N, h, w) scaled up bilinearly, before normalisation (equation 5)."""
    kept = F.interpolate(S[:, None], images.shape[2:], mode="bilinear", align_corners=False)
    return hide(images, kept[:, 0], fill)


def seen_maps(A: Tensor, S: Tensor, fill: str = "black") -> Tensor:
    """L-CAM-Fm: maps (N, K, h, w) under masks (N, h, w) (equation 4); "image-mean" is each channel's own."""
    if fill not in MAP_FILLS:
        raise UsageError(f"feature maps are filled with {' or '.join(map(repr, MAP_FILLS))}, not {fill!r}")
    return hide(A, S, fill)


def scores_through(clf: Classifier, tap: Tap, layer: str, S: Tensor, *, kind: str, fill: str) -> Tensor:
    """Scores (N, C) of the classifier that sees its image ("img") or its maps ("fm") through masks (N, h, w)."""
    if kind == "img":
        return clf.forward(seen_image(tap.images, S, fill))
    A = tap.maps(layer)
    if S.shape[1:] != A.shape[2:]:
        raise UsageError("l-cam-fm masks the layer's own maps: fit it without the finer layer (fine=False)")
    return tap.replay(seen_maps(A, S, fill), layer)
