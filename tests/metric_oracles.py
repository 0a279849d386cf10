"""The metrics again, slow and plain, one sample and one pixel at a time, as their papers say them.

Nothing here is taken from `saywhy.metrics`. Maps and masks are nested NumPy arrays (H, W); a scorer takes one
image (3, H, W) and gives one probability.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np


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
