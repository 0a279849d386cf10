"""Does the map lie where a person marked the thing? EPG, NRA, hit rate, pointing game, PCK, IoU.

Display maps (N, H, W) in [0, 1]; masks (N, H, W) bool (boxes: `maps.box_masks`); keypoints (N, 2) as (x, y) in
pixels; values (N,) float64. These compare with people, not with the model: a faithful map of a model that
looks at the background scores low here. Report them beside faithfulness, never instead.

An empty mask, a missing keypoint (NaN) and a map that is not finite have no value (NaN). A flat map scores what
chance scores: tied pixels count by their share, in no order, so the top of the picture is not favoured.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError, unknown
from saywhy.metrics.maps import check_maps, grains, map_status
from saywhy.metrics.statistics import mean_in_groups, rows, tie_groups

Chance = Literal["exact", "published"]


def epg(maps: Tensor, masks: Tensor, *, normalise: Literal["minmax", "none"] = "minmax") -> Tensor:
    """Energy-based pointing game in [0, 1]: the share of the map's sum that lies inside the mask.

    An all-zero map scores 0, a flat one the mask's share of the picture. "minmax" subtracts each map's minimum
    first, as published, which moves energy; "none" takes the display map as it is.
    Source: Wang et al., Score-CAM, arXiv 1910.01279.
    """
    energy, inside = _pair(maps, masks)
    if normalise == "minmax":
        low, high = energy.amin(1, keepdim=True), energy.amax(1, keepdim=True)
        shaped = torch.tensor([s == "ok" for s in map_status(maps)], dtype=torch.bool, device=energy.device)
        energy = torch.where(shaped[:, None], (energy - low) / (high - low), energy)
    elif normalise != "none":
        raise unknown("normalisation", normalise, ("minmax", "none"))
    total = energy.sum(1)
    share = torch.where(total > 0, (energy * inside).sum(1) / total, 0.0)
    return share.masked_fill(_undefined(energy, inside), torch.nan)


def nra(maps: Tensor, masks: Tensor, *, chance: Chance = "exact") -> Tensor:
    """Normalised region accuracy: area under IoU(top k pixels, mask), rescaled by chance 0 and ideal 1.

    (A - A_low) / (A_high - A_low), A the mean of IoU(k) over k = 1..P. A_high is the ideal order's: IoU = k/|m|,
    then |m|/k. "exact" takes A_low from a random order, IoU = a m / (a + m - a m) with shares a = k/P and
    m = |m|/P: a random map scores 0, below chance is negative. "published" takes A_low = |m| / 2P and clips
    at 0, as the source's code does; there a random map scores .09 to .17, so never compare the two.
    A mask over the whole picture leaves nothing to find and has no value.
    Source: CE-FAM (normalised region accuracy).
    """
    if chance not in ("exact", "published"):
        raise unknown("chance level", chance, ("exact", "published"))
    values, inside = _pair(maps, masks)
    order, group = tie_groups(-grains(values))
    found = mean_in_groups(inside.gather(1, order), group).cumsum(1)
    pixels, size = values.shape[1], inside.sum(1, keepdim=True)
    count = torch.arange(1, pixels + 1, dtype=torch.float64, device=values.device)
    reached = (found / (count + size - found)).mean(1)
    high = (torch.minimum(count, size) / torch.maximum(count, size)).mean(1)
    if chance == "exact":
        expected = count * size / pixels
        low = (expected / (count + size - expected)).mean(1)
    else:
        low = size[:, 0] / (2 * pixels)
    score = (reached - low) / (high - low)
    if chance == "published":
        score = score.clamp_min(0)
    undefined = _undefined(values, inside) | (size[:, 0] == pixels)
    return score.masked_fill(undefined, torch.nan)


def hit_rate(maps: Tensor, masks: Tensor, *, chance: Chance = "exact", above: float = 0.5) -> Tensor:
    """1 where NRA exceeds `above`, else 0; undefined wherever NRA is, so both have one denominator."""
    score = nra(maps, masks, chance=chance)
    return (score > above).to(torch.float64).masked_fill(score.isnan(), torch.nan)


def pointing(maps: Tensor, masks: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Pointing game in [0, 1]: does the highest pixel lie inside the mask, or within `tolerance` pixels of it?

    Several highest pixels count by the share of them that hit. Source: Zhang et al., arXiv 1608.00507, who
    allow 15 pixels.

    Raises:
        UsageError: `tolerance` is negative.
    """
    if tolerance < 0:
        raise UsageError(f"the pointing game's tolerance is a distance in pixels, got {tolerance}")
    values, inside = _pair(maps, masks)
    widened = _widen(masks.to(maps.device).bool(), tolerance).flatten(1).to(torch.float64)
    return _share_of_highest(values, widened).masked_fill(_undefined(values, inside), torch.nan)


def pck(maps: Tensor, keypoints: Tensor, sizes: Tensor, *, alpha: float = 0.1) -> Tensor:
    """PCK@alpha in [0, 1]: does the highest pixel lie within `alpha` times the object's size of the keypoint?

    `keypoints` (N, 2) as (x, y) in pixels, the pixel (i, j) having its centre at (j + .5, i + .5); `sizes` (N,)
    in pixels (`object_sizes`). Several highest pixels count by the share of them that hit.
    Source: Guo et al., table 1; Yang and Ramanan 2013.

    Raises:
        UsageError: shapes that do not fit, or `alpha` not above 0.
    """
    maps = check_maps(maps)
    if tuple(keypoints.shape) != (len(maps), 2) or tuple(sizes.shape) != (len(maps),) or alpha <= 0:
        raise UsageError(
            f"PCK takes keypoints (N, 2), sizes (N,) and alpha > 0 for maps {tuple(maps.shape)}, "
            f"got {tuple(keypoints.shape)}, {tuple(sizes.shape)} and {alpha}"
        )
    points, reach = keypoints.to(maps.device, torch.float64), alpha * sizes.to(maps.device, torch.float64)
    near = _distances(points, (maps.shape[1], maps.shape[2])) <= reach[:, None]
    values = rows(maps)
    missing = ~points.isfinite().all(1) | ~(reach > 0) | ~values.isfinite().all(1)
    return _share_of_highest(values, near.to(torch.float64)).masked_fill(missing, torch.nan)


def pck_random(keypoints: Tensor, boxes: Tensor, size: tuple[int, int], *, alpha: float = 0.1) -> Tensor:
    """What PCK@alpha a point drawn evenly from the object's box would reach, exactly; (N,) in [0, 1].

    The "random" baseline of Guo et al. (about pi alpha^2). Boxes (N, 4) as (x0, y0, x1, y1); size = (H, W).
    For the "constant" baseline give `controls.feature_sum_maps` to `pck`.
    """
    x0, y0, x1, y1 = (edge[:, None].to(torch.float64) for edge in boxes.unbind(1))
    lines = torch.arange(size[0], dtype=torch.float64, device=boxes.device) + 0.5
    columns = torch.arange(size[1], dtype=torch.float64, device=boxes.device) + 0.5
    down, across = (lines >= y0) & (lines < y1), (columns >= x0) & (columns < x1)
    inside = (down[:, :, None] & across[:, None, :]).flatten(1)
    near = _distances(keypoints.to(torch.float64), size) <= alpha * object_sizes(boxes)[:, None]
    hits = (near & inside).sum(1) / inside.sum(1)
    return hits.masked_fill(~keypoints.isfinite().all(1), torch.nan).to(torch.float64)


def object_sizes(boxes: Tensor) -> Tensor:
    """The longer side (N,) float64 of boxes (N, 4) as (x0, y0, x1, y1), in pixels."""
    corners = boxes.to(torch.float64)
    return torch.maximum(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])


def iou(maps: Tensor, masks: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Intersection over union in [0, 1] of the mask and the pixels at or above `threshold` times the maximum.

    An all-zero map marks nothing and scores 0; a flat one marks the whole picture.

    Raises:
        UsageError: `threshold` is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"the IoU threshold is a share of the map's maximum in (0, 1], got {threshold}")
    values, inside = _pair(maps, masks)
    marked = ((values >= threshold * values.amax(1, keepdim=True)) & (values > 0)).to(torch.float64)
    both = (marked * inside).sum(1)
    score = both / (marked.sum(1) + inside.sum(1) - both)
    return score.masked_fill(_undefined(values, inside), torch.nan)


def _pair(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    maps = check_maps(maps, truth=masks)
    return rows(maps), rows(masks.to(maps.device).bool())


def _undefined(values: Tensor, inside: Tensor) -> Tensor:
    return ~values.isfinite().all(1) | (inside.sum(1) == 0)


def _share_of_highest(values: Tensor, hit: Tensor) -> Tensor:
    steps = grains(values)
    highest = (steps == steps.amax(1, keepdim=True)).to(torch.float64)
    return (highest * hit).sum(1) / highest.sum(1).clamp_min(1)


def _distances(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Distance in pixels (N, P) of every pixel's centre to the points (N, 2) as (x, y)."""
    lines = torch.arange(size[0], dtype=torch.float64, device=points.device) + 0.5
    columns = torch.arange(size[1], dtype=torch.float64, device=points.device) + 0.5
    down, across = lines - points[:, 1:], columns - points[:, :1]
    return torch.hypot(down[:, :, None], across[:, None, :]).flatten(1)


def _widen(masks: Tensor, tolerance: float) -> Tensor:
    """Grows masks (N, H, W) by a disc of that radius, row by row: the disc is as many shifted spans."""
    reach = math.floor(tolerance)
    if not reach:
        return masks
    height = masks.shape[1]
    grown = torch.zeros_like(masks)
    for shift in range(-min(reach, height - 1), min(reach, height - 1) + 1):
        half = math.floor(math.sqrt(tolerance**2 - shift**2))
        spans = F.max_pool1d(masks.to(torch.float32), 2 * half + 1, stride=1, padding=half) > 0
        start, stop = max(0, shift), height + min(0, shift)
        grown[:, start:stop] |= spans[:, start - shift : stop - shift]
    return grown
