"""Which activation vectors of a picture concepts are looked for in: rows of EXTRACTION.

Only where the classifier sees the picture's class: VRX's top-down attention (Ge et al. 2021). Picture (3, H, W), maps
(K, h, w) of the layer, attention (h, w) on its grid; n vectors (n, K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.segmentation import slic
from torch import Tensor

SCALES = (15, 50, 80)  # superpixels of a picture; Ge et al. 2021
COMPACTNESS, SMOOTHED = 20.0, 1.0
LEAST = 0.001  # of the picture: smaller superpixels are left out
ALIKE = 0.5  # intersection by union: superpixels that overlap more are one
INSIDE = 0.5  # of a superpixel's pixels, that must lie where the class is seen


def attended(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells (h, w) of a grid of that size where a class's map (h', w') is positive and not below its median.

    Everything where nothing is positive: then the class is seen nowhere by itself, and no cell is better than another.
    """
    seen = F.interpolate(raw[None, None].clamp_min(0).float(), size, mode="bilinear", align_corners=False)[0, 0]
    mask = (seen >= seen.median()) & (seen > 0)
    return mask if mask.any() else torch.ones_like(mask)


@dataclass(frozen=True)
class Extraction:
    """A row: `vectors(picture, maps, mask)` gives (n, K) of a picture; `mask` (h, w) says where the class is seen."""

    summary: str
    vectors: Callable[[Tensor, Tensor, Tensor], Tensor]


def dense(picture: Tensor, maps: Tensor, mask: Tensor) -> Tensor:
    """The vector of every cell that is attended."""
    return maps[:, mask].T


def superpixels(picture: Tensor, maps: Tensor, mask: Tensor) -> Tensor:
    """The mean vector of every superpixel that is attended, at several scales.

    They are not cut out and shown alone, as Ge et al. and ACE do: what a network makes of a patch on grey is another
    thing than what it makes of it in its place.
    """
    H, W = picture.shape[1:]
    pixels = F.interpolate(mask[None, None].float(), (H, W), mode="nearest")[0, 0].numpy() > 0
    chosen = segments(picture.permute(1, 2, 0).double().numpy(), pixels)
    if not len(chosen):
        return dense(picture, maps, mask)
    h, w = maps.shape[1:]
    weights = F.adaptive_avg_pool2d(torch.from_numpy(chosen).float()[None], (h, w))[0].flatten(1)
    return (weights / weights.sum(1, keepdim=True)) @ maps.flatten(1).T


def segments(pixels: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Superpixels (m, H, W) of a picture (H, W, 3) in [0, 1] that lie in a mask (H, W), no two of them alike."""
    kept: list[NDArray[np.bool_]] = []
    for scale in SCALES:
        labels = slic(pixels, n_segments=scale, compactness=COMPACTNESS, sigma=SMOOTHED, start_label=0)
        for one in range(int(labels.max()) + 1):
            own = labels == one
            large = own.mean() >= LEAST and mask[own].mean() >= INSIDE
            if large and all((own & other).sum() <= ALIKE * (own | other).sum() for other in kept):
                kept.append(own)
    return np.array(kept, dtype=bool).reshape(-1, *mask.shape)


EXTRACTION: dict[str, Extraction] = {
    "dense": Extraction("the activations of every cell of the layer where the class is seen", dense),
    "superpixels": Extraction(
        "the mean activations of superpixels at three scales where the class is seen", superpixels
    ),
}
