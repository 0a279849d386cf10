"""Smooth outlines of masks: shrink, soften, trace the half-way line, round the corners. NumPy and Pillow only.

Points are (x, y) in units of the view, the photo scaled to a long side of 640; a ring is an array (n, 2), closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from saywhy.image import Bools, Floats

Points = NDArray[np.float64]

FIELD_SIDE = 384
STEP = 5.0  # between two points of a ring, in units of the view

# Marching squares (Lorensen and Cline 1987, in the plane). Corners are the bits 8 top left, 4 top right,
# 2 bottom right, 1 bottom left; sides are 0 top, 1 right, 2 bottom, 3 left. Each segment keeps the inside
# on its left, so that every crossed side ends one segment and begins one. Saddles (5, 10) stay apart.
SEGMENTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((2, 3),),
    2: ((1, 2),),
    3: ((1, 3),),
    4: ((0, 1),),
    5: ((0, 1), (2, 3)),
    6: ((0, 2),),
    7: ((0, 3),),
    8: ((3, 0),),
    9: ((2, 0),),
    10: ((3, 0), (1, 2)),
    11: ((1, 0),),
    12: ((3, 1),),
    13: ((2, 1),),
    14: ((3, 2),),
}


def soften(mask: Bools, size: tuple[int, int], *, blur: float) -> Floats:
    """The mask shrunk to `size` (width, height) and blurred, in [0, 1]."""
    # Photos of 12 megapixels: every n-th pixel first, so that the exact shrinking works on a small mask.
    stride = max(1, min(mask.shape[0] // (3 * size[1]), mask.shape[1] // (3 * size[0])))
    small = np.ascontiguousarray(mask[::stride, ::stride]).astype(np.uint8) * 255
    image = Image.fromarray(small).resize(size, Image.Resampling.BOX)
    blurred: Floats = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32) / np.float32(255)
    return blurred


def rings_of(mask: Bools, view: tuple[float, float]) -> list[Points]:
    """The outlines of a mask (H, W) as smooth closed rings, scaled to a view (width, height), largest first.

    Specks under 0.05 % of the photo are left out, but never the largest ring; an empty mask has none.
    """
    w, h = (max(2, round(side * FIELD_SIDE / max(view))) for side in view)
    found: list[Points] = []
    # A thin region may fall below one half when blurred; then it is traced with less blur.
    for blur in (2.0, 0.7, 0.0):
        field = soften(mask, (w, h), blur=blur)
        found = trace(field if blur else np.where(field > 0, 1.0, 0.0).astype(np.float32))
        if found:
            break
    scale = np.array([view[0] / w, view[1] / h])
    rings = sorted((ring * scale for ring in found), key=lambda ring: -abs(area(ring)))
    least = 0.0005 * view[0] * view[1]
    return [resample(ring) for i, ring in enumerate(rings) if i == 0 or abs(area(ring)) >= least]


def trace(field: Floats, level: float = 0.5) -> list[Points]:
    """Closed rings along `level` in a field (H, W), in pixels of the field; the inside lies on the left."""
    padded = np.pad(np.asarray(field, dtype=np.float64), 1)
    W = padded.shape[1]
    inside = padded >= level
    codes = 8 * inside[:-1, :-1] + 4 * inside[:-1, 1:] + 2 * inside[1:, 1:] + 1 * inside[1:, :-1]
    follow: dict[int, int] = {}
    for y, x in zip(*np.nonzero((codes > 0) & (codes < 15)), strict=True):
        cell = int(y) * W + int(x)
        # A side is named by its first corner, doubled; odd names are those that run down.
        sides = (2 * cell, 2 * (cell + 1) + 1, 2 * (cell + W), 2 * cell + 1)
        for start, end in SEGMENTS[int(codes[y, x])]:
            follow[sides[start]] = sides[end]
    rings = []
    while follow:
        first, side = follow.popitem()
        names = [first]
        while side != first:
            names.append(side)
            side = follow.pop(side)
        rings.append(_crossings(np.array(names), padded, level))
    return rings


def _crossings(names: NDArray[np.int_], padded: Points, level: float) -> Points:
    corner, down = names // 2, names % 2
    y, x = corner // padded.shape[1], corner % padded.shape[1]
    a, b = padded[y, x], padded[y + down, x + 1 - down]
    t = (level - a) / (b - a)
    # The centre of the field's first pixel is at 0.5, and the padding moved everything by one.
    return np.stack([x + t * (1 - down) - 0.5, y + t * down - 0.5], axis=1)


def area(ring: Points) -> float:
    """The signed area of a ring (shoelace formula)."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def resample(ring: Points) -> Points:
    """The ring with points at even distances, at least 8 of them."""
    closed = np.concatenate([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    n = max(8, round(along[-1] / STEP))
    at = np.linspace(0, along[-1], n, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, 0]), np.interp(at, along, closed[:, 1])], axis=1)


def chaikin(ring: Points, times: int = 2) -> Points:
    """The ring with its corners cut `times` times (Chaikin 1974)."""
    for _ in range(times):
        after = np.roll(ring, -1, axis=0)
        ring = np.stack([0.75 * ring + 0.25 * after, 0.25 * ring + 0.75 * after], axis=1).reshape(-1, 2)
    return ring


def svg_path(rings: list[Points]) -> str:
    """An SVG path of quadratic curves: the limit of Chaikin's corner cutting, in a fraction of the points."""
    parts = []
    for ring in rings:
        middle = (ring + np.roll(ring, -1, axis=0)) / 2
        curves = "".join(
            f"Q{_short(cx)} {_short(cy)} {_short(x)} {_short(y)}"
            for (cx, cy), (x, y) in zip(np.roll(ring, -1, axis=0), np.roll(middle, -1, axis=0), strict=True)
        )
        parts.append(f"M{_short(middle[0, 0])} {_short(middle[0, 1])}{curves}Z")
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def deepest_point(mask: Bools, view: tuple[float, float]) -> tuple[float, float] | None:
    """The point of a mask that lies deepest inside it, in units of the view; None when the mask is empty."""
    w, h = (max(1, round(side * 96 / max(view))) for side in view)
    left = soften(mask, (w, h), blur=0) >= 0.5
    if not left.any():
        ys, xs = np.nonzero(mask)
        if not len(ys):
            return None
        H, W = mask.shape
        return float((xs.mean() + 0.5) * view[0] / W), float((ys.mean() + 0.5) * view[1] / H)
    while True:
        p = np.pad(left, 1)
        smaller = left & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:]
        if not smaller.any():
            break
        left = smaller
    ys, xs = np.nonzero(left)
    # Of several deepest pixels, the one nearest to their middle.
    best = int(np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2))
    return float((xs[best] + 0.5) * view[0] / w), float((ys[best] + 0.5) * view[1] / h)
