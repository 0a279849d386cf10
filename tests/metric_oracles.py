"""The metrics again, slow and plain, one sample and one pixel at a time, as their papers say them.

Nothing here is taken from `saywhy.metrics`. Maps and masks are nested NumPy arrays (H, W); a scorer takes one
image (3, H, W) and gives one probability. `@oracle(name)` says which rows of METRICS a function is the oracle of;
test_oracles compares them all, and a row without one fails there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Sample:
    """What a metric's oracle is asked: one image (3, H, W), its map (H, W), and all the rest that is known of it.

    `score` gives an image's probability of the asked class `target`; `explain(image, class)` a map, `explain_with(net)`
    the map of this image by another network.
    """

    image: Array
    heat: Array
    score: Callable[[Array], float]
    mask: Array
    keypoint: tuple[float, float]
    size: float
    target: int
    classes: int
    explain: Callable[[Array, int], Array]
    explain_with: Callable[[torch.nn.Module], Array]
    net: torch.nn.Module


@dataclass(frozen=True)
class Oracle:
    """The value of a sample, and how near the row has to come."""

    function: Callable[[Sample], float]
    tolerance: float = 1e-4


ORACLES: dict[str, Oracle] = {}


def oracle(name: str, function: Callable[[Sample], float], tolerance: float = 1e-4) -> None:
    """Registers the oracle of a row of METRICS."""
    assert name not in ORACLES, f"{name} has an oracle"
    ORACLES[name] = Oracle(function, tolerance)


def keep_top(heat, nu):
    flat = sorted((float(v) for v in heat.ravel()), reverse=True)
    count = max(1, math.ceil(nu * len(flat) / 100 - 1e-9))
    threshold = flat[count - 1]
    kept = np.zeros_like(heat)
    for i in range(heat.shape[0]):
        for j in range(heat.shape[1]):
            if heat[i, j] >= threshold:
                kept[i, j] = heat[i, j]
    return kept


def masked(image, heat, fill):
    shown = np.empty_like(image)
    for c in range(image.shape[0]):
        shown[c] = image[c] * heat + fill[c] * (1 - heat)
    return shown


def average_drop(score, image, heat, nu, fill):
    p, q = score(image), score(masked(image, keep_top(heat, nu), fill))
    return 100 * max(0.0, p - q) / p


def increase(score, image, heat, nu, fill):
    p, q = score(image), score(masked(image, keep_top(heat, nu), fill))
    return 100.0 if q > p and (q - p) / p >= 1e-4 else 0.0


def average_gain(score, image, heat, nu, fill):
    p, q = score(image), score(masked(image, keep_top(heat, nu), fill))
    return 100 * max(0.0, q - p) / (1 - p)


def adcc(score, image, heat, again, fill):
    """`again` is the map of the masked image."""
    complexity = float(np.abs(heat).sum()) / heat.size
    dropped = average_drop(score, image, heat, 100, fill) / 100
    coherent = (pearson(heat.ravel(), again.ravel()) + 1) / 2
    if min(coherent, 1 - complexity, 1 - dropped) <= 0:
        return 0.0
    return 3 / (1 / coherent + 1 / (1 - complexity) + 1 / (1 - dropped))


def curve(score, image, heat, fill, steps, inserting):
    """(share of pixels changed, score) after each step; the map must have no ties."""
    order = sorted(((heat[i, j], i, j) for i in range(heat.shape[0]) for j in range(heat.shape[1])), reverse=True)
    points = []
    for step in range(steps + 1):
        count = math.floor(step * len(order) / steps + 0.5)
        shown = (fill if inserting else image).copy()
        for _, i, j in order[:count]:
            shown[:, i, j] = (image if inserting else fill)[:, i, j]
        points.append((count / len(order), score(shown)))
    return points


def area(points):
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


def epg(heat, mask):
    low, high = float(heat.min()), float(heat.max())
    energy = (heat - low) / (high - low) if high > low else heat
    total = float(energy.sum())
    return float(energy[mask].sum()) / total if total > 0 else 0.0


def mean_iou(order, mask):
    inside, found, total = mask.ravel(), 0, 0.0
    size = int(inside.sum())
    for count, pixel in enumerate(order, start=1):
        found += int(inside[pixel])
        total += found / (count + size - found)
    return total / len(order)


def nra(heat, mask, published, rng=None, shuffles=200):
    """The chance level is measured by shuffling, not by a formula; the map must have no ties."""
    pixels, size = heat.size, int(mask.sum())
    got = mean_iou(sorted(range(pixels), key=lambda p: -heat.ravel()[p]), mask)
    ideal = mean_iou(sorted(range(pixels), key=lambda p: -int(mask.ravel()[p])), mask)
    if published:
        chance = size / (2 * pixels)
        return max(0.0, (got - chance) / (ideal - chance))
    chance = float(np.mean([mean_iou(rng.permutation(pixels), mask) for _ in range(shuffles)]))
    return (got - chance) / (ideal - chance)


def pointing(heat, mask, tolerance):
    best, hits, ties = heat.max(), 0, 0
    for i in range(heat.shape[0]):
        for j in range(heat.shape[1]):
            if heat[i, j] != best:
                continue
            ties += 1
            marked = np.argwhere(mask)
            hits += any(math.hypot(i - y, j - x) <= tolerance for y, x in marked)
    return hits / ties


def pck(heat, point, size, alpha):
    i, j = divmod(int(heat.argmax()), heat.shape[1])
    return float(math.hypot(j + 0.5 - point[0], i + 0.5 - point[1]) <= alpha * size)


def iou(heat, mask, threshold):
    marked = (heat >= threshold * heat.max()) & (heat > 0)
    return float((marked & mask).sum()) / float((marked | mask).sum())


def entropy(heat):
    shares = heat.ravel() / heat.sum()
    return -sum(s * math.log(s) for s in shares if s > 0) / math.log(heat.size)


def gini(heat):
    values = heat.ravel()
    return sum(abs(a - b) for a in values for b in values) / (2 * len(values) ** 2 * float(values.mean()))


def average_ranks(values):
    """Rank of a value = how many are smaller, plus half of how many others are equal."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]


def pearson(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    top = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    bottom = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return top / bottom


def spearman(a, b):
    return pearson(average_ranks(list(a)), average_ranks(list(b)))


def mean_value(heat):
    return sum(float(v) for v in heat.ravel()) / heat.size


def ramp(heat):
    """The map with (r + 0.5) / P in the place of its value of rank r; the map must have no ties."""
    out = np.empty(heat.size)
    for rank, place in enumerate(sorted(range(heat.size), key=lambda p: heat.ravel()[p])):
        out[place] = (rank + 0.5) / heat.size
    return out.reshape(heat.shape)


def blurred(image):
    """A Gaussian of a twelfth of the shorter side, cut at three deviations, the borders mirrored."""
    sigma = min(image.shape[1:]) / 12
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        taken = [np.take(padded, range(i, i + image.shape[axis]), axis=axis) for i in range(2 * reach + 1)]
        image = sum(w * t for w, t in zip(weights, taken, strict=True))
    return image


def weight_randomisation(s):
    """Every weight permuted in place, the last layer first."""
    random, done = copy.deepcopy(s.net), []
    draw = torch.Generator().manual_seed(0)
    for part in reversed([m for m in random.modules() if list(m.parameters(recurse=False))]):
        for weight in part.parameters():
            if not any(weight is d for d in done):
                order = torch.randperm(weight.numel(), generator=draw)
                weight.data = weight.data.flatten()[order].reshape(weight.shape)
                done.append(weight)
    return spearman(s.explain_with(s.net).ravel(), s.explain_with(random).ravel())


def label_randomisation(s):
    jump = int(np.random.default_rng((0, 0, s.target)).integers(1, s.classes))
    other = s.explain(s.image, (s.target + jump) % s.classes)
    return spearman(s.explain(s.image, s.target).ravel(), other.ravel())


def noise_stability(s):
    found = []
    for draw in range(4):
        noise = np.random.default_rng((0, draw)).standard_normal(s.image.shape, dtype=np.float32)
        noisy = np.clip(s.image + 0.05 * noise, 0, 1)
        found.append(spearman(s.explain(s.image, s.target).ravel(), s.explain(noisy, s.target).ravel()))
    return sum(found) / 4


# --------------------------------------------------------------------------------------------------
# The rows.


def black(image):
    return np.zeros_like(image)


def kept(plain, nu, ranked):
    return lambda s: plain(s.score, s.image, ramp(s.heat) if ranked else s.heat, nu, black(s.image))


def walked(s, inserting):
    fill = blurred(s.image) if inserting else black(s.image)
    return area(curve(s.score, s.image, s.heat, fill, 32, inserting))


for _nu in (100, 50, 15):
    for _suffix, _ranked in (("", False), ("-ranked", True)):
        for _kind, _plain in (("ad", average_drop), ("ic", increase), ("ag", average_gain)):
            oracle(f"{_kind}{_nu}{_suffix}", kept(_plain, _nu, _ranked), 1e-2)

oracle("adcc", lambda s: adcc(
    s.score, s.image, s.heat, s.explain(masked(s.image, s.heat, black(s.image)), s.target), black(s.image)
))  # fmt: skip
oracle("insertion", lambda s: walked(s, True))
oracle("deletion", lambda s: walked(s, False))
oracle("insertion-deletion", lambda s: walked(s, True) - walked(s, False))
oracle("mean-value", lambda s: mean_value(s.heat))
oracle("entropy", lambda s: entropy(s.heat))
oracle("gini", lambda s: gini(s.heat))
oracle("epg", lambda s: epg(s.heat, s.mask))
oracle("nra", lambda s: nra(s.heat, s.mask, False, np.random.default_rng(0)), 0.02)
oracle("nra-published", lambda s: nra(s.heat, s.mask, True))
oracle("hit-rate", lambda s: float(nra(s.heat, s.mask, False, np.random.default_rng(0)) > 0.5))
oracle("hit-rate-published", lambda s: float(nra(s.heat, s.mask, True) > 0.5))
oracle("pointing", lambda s: pointing(s.heat, s.mask, 0))
for _alpha in (0.1, 0.2, 0.3):
    oracle(f"pck@{_alpha:g}", lambda s, alpha=_alpha: pck(s.heat, s.keypoint, s.size, alpha))
oracle("iou", lambda s: iou(s.heat, s.mask, 0.5))
oracle("weight-randomisation", weight_randomisation)
oracle("label-randomisation", label_randomisation)
oracle("noise-stability", noise_stability)
