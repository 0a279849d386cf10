"""What the metrics do to display maps before they measure: check, sort by status, cut, equalise.

N images, (H, W) pixels, P = H * W. Display maps are (N, H, W) in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.metrics.controls import random_maps
from saywhy.metrics.statistics import rows

STATUSES = ("ok", "flat", "empty", "not_finite")
_GRAIN = 1e-7  # display values closer than this are ties: float32 noise near 1 is no order
_FLAT = 1e-6  # nor is a range below this a picture: enlarging a constant map leaves some 1e-7


def check_maps(maps: Tensor, *, images: Tensor | None = None, truth: Tensor | None = None) -> Tensor:
    """Returns the display maps, detached, after checking that they are (N, H, W) in [0, 1].

    NaN maps pass: they are reported per sample as undefined.

    Raises:
        UsageError: the shape is not (N, H, W), does not fit the images or the truth, or values leave [0, 1].
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise UsageError(f"a metric takes display maps (N, H, W), got shape {tuple(maps.shape)}")
    if images is not None and (images.ndim != 4 or (len(images), *images.shape[-2:]) != tuple(maps.shape)):
        raise UsageError(
            f"maps {tuple(maps.shape)} do not fit images {tuple(images.shape)}; "
            "resize the maps to the images' (N, H, W) first (the `display` maps are)"
        )
    if truth is not None and tuple(truth.shape) != tuple(maps.shape):
        raise UsageError(f"masks {tuple(truth.shape)} do not fit maps {tuple(maps.shape)}; both are (N, H, W)")
    maps = maps.detach()
    numbers = maps[maps.isfinite()]
    if numbers.numel() and (numbers.min() < -1e-6 or numbers.max() > 1 + 1e-6):
        raise UsageError("a metric takes display maps in [0, 1], not raw signed maps; use the `display` maps")
    return maps


def map_status(maps: Tensor) -> list[str]:
    """Says of each map (N, H, W) whether it is "ok", "flat" (range below 1e-6), "empty" (all zero) or "not_finite"."""
    values = rows(maps)
    high, low = values.amax(1), values.amin(1)
    code = torch.where(high - low <= _FLAT, torch.where(high == 0, 2, 1), 0)
    code = torch.where(values.isfinite().all(1), code, 3)
    return [STATUSES[int(c)] for c in code]


def usable(maps: Tensor, *, flat: bool) -> Tensor:
    """(N,) bool: the maps that can be measured; NaN and all-zero maps can not, flat ones if `flat` allows."""
    allowed = {"ok", "flat"} if flat else {"ok"}
    return torch.tensor([status in allowed for status in map_status(maps)], dtype=torch.bool, device=maps.device)


def grains(maps: Tensor) -> Tensor:
    """The values of (N, ...) as (N, P) whole multiples of 1e-7, float64, so that ties are exact."""
    return (rows(maps) / _GRAIN).round()


def keep_top(maps: Tensor, nu: float) -> Tensor:
    """Keeps the values of the top `nu` percent of pixels, zero elsewhere (soft: the values stay as they are).

    The threshold is the value of the ceil(nu / 100 * P)-th highest pixel; pixels that tie with it are kept
    too, so that a constant map is kept whole at every nu. Source: L-CAM, section 4.3, the function phi_nu.

    Raises:
        UsageError: `nu` is not in (0, 100].
    """
    if not 0 < nu <= 100:
        raise UsageError(f"nu is the percentage of pixels kept, in (0, 100], got {nu}")
    flat = maps.flatten(1)
    count = min(flat.shape[1], max(1, math.ceil(nu / 100 * flat.shape[1] - 1e-9)))
    threshold = flat.kthvalue(flat.shape[1] - count + 1, dim=1, keepdim=True).values
    return torch.where(flat >= threshold, flat, 0).reshape(maps.shape)


def order(maps: Tensor, *, seed: int = 0) -> Tensor:
    """Orders the pixels of each map from most to least important; positions (N, P) int64.

    Ties (values within 1e-7) are broken by one smooth random map, the random control of this seed, the same
    for every image: raster order would favour the top of the picture.
    """
    size = (int(maps.shape[1]), int(maps.shape[2]))
    first = random_maps(1, size, seed=seed).flatten().argsort(descending=True, stable=True).to(maps.device)
    whole = grains(maps)[:, first].nan_to_num(0).to(torch.int32)  # integers sort twice as fast
    return first[whole.neg().argsort(dim=1, stable=True)]


def equalise(maps: Tensor, *, seed: int = 0) -> Tensor:
    """Gives every map the same distribution of values, the linear ramp (r + 0.5) / P of its ranks r.

    Mean 0.5 whatever the map: what is left is the order, so that area alone no longer moves a metric. Ties are
    broken as in `order`, so a constant map becomes the random control of the same seed. NaN maps stay NaN.
    """
    descending = order(maps, seed=seed)
    pixels = descending.shape[1]
    ramp = (torch.arange(pixels, 0, -1, dtype=torch.float64, device=maps.device) - 0.5) / pixels
    ramps = ramp.expand_as(descending)
    equal = torch.empty_like(ramps).scatter_(1, descending, ramps).to(maps.dtype)
    broken = ~maps.flatten(1).isfinite().all(1, keepdim=True)
    return equal.masked_fill(broken, torch.nan).reshape(maps.shape)


def box_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (N, H, W) bool of boxes (N, 4) as (x0, y0, x1, y1) in pixels, x1 and y1 outside; size = (H, W).

    Raises:
        UsageError: the shape is not (N, 4).
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UsageError(f"boxes are (N, 4) as (x0, y0, x1, y1), got shape {tuple(boxes.shape)}")
    x0, y0, x1, y1 = (edge[:, None] for edge in boxes.unbind(1))
    columns = torch.arange(size[1], device=boxes.device)[None]
    lines = torch.arange(size[0], device=boxes.device)[None]
    across, down = (columns >= x0) & (columns < x1), (lines >= y0) & (lines < y1)
    return down[:, :, None] & across[:, None, :]
