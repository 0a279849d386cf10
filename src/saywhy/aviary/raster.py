"""Anti-aliased polygons in NumPy: outlines in, coverage out, and a canvas that remembers who owns each pixel.

E: edges of an outline; h, w: the box that an outline touches; H, W: the canvas. Only additions, products,
divisions and floors touch the pixels, on coordinates rounded to 1/256 pixel, so that machines agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Reals = NDArray[np.float32]
Colour = tuple[float, float, float]

MANY = 8  # outlines of one length that are worth an array
ROWS = 4  # sub-scanlines a pixel; along x the coverage is exact


@dataclass(frozen=True)
class Patch:
    """Coverage `alpha` (h, w) in [0, 1] of an outline, its top left corner at (`y`, `x`) of the canvas."""

    y: int
    x: int
    alpha: Reals

    @property
    def where(self) -> tuple[slice, slice]:
        """The patch's rows and columns on the canvas."""
        h, w = self.alpha.shape
        return slice(self.y, self.y + h), slice(self.x, self.x + w)


@cache
def _spline(points: int, steps: int) -> Points:
    """The matrix (points*steps, points) that samples a closed Catmull-Rom curve."""
    t = np.arange(steps) / steps
    weights = np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1)
    out = np.zeros((points, steps, points))
    for i in range(points):
        for j in range(4):
            out[i, :, (i + j - 1) % points] += weights[:, j] / 2
    return out.reshape(points * steps, points)


def smooth(points: Sequence[tuple[float, float]] | Points, steps: int = 4) -> Points:
    """A closed smooth outline (len*steps, 2) through the points (Catmull-Rom)."""
    control = np.asarray(points, dtype=np.float64)
    return _spline(len(control), steps) @ control


@cache
def _circle(n: int) -> Points:
    angle = np.arange(n) * (2 * np.pi / n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(x: float, y: float, rx: float, ry: float, n: int = 20) -> Points:
    """The outline (n, 2) of an ellipse."""
    return _circle(n) * (rx, ry) + (x, y)


def stroke(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """The outline (4, 2) of a straight stroke."""
    dx, dy = x1 - x0, y1 - y0
    k = width / 2 / max(float(np.sqrt(dx * dx + dy * dy)), 1e-9)
    nx, ny = -dy * k, dx * k
    return np.array([(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)])


def _edges(outlines: Sequence[Points]) -> tuple[Points, Points]:
    """Start and end points (E, 2) of all edges, every outline turned the same way round."""
    if len(outlines) > MANY and len({len(o) for o in outlines}) == 1:
        return _many_edges(np.stack(outlines))
    starts, ends = [], []
    for outline in outlines:
        p = np.round(outline * 256) / 256
        q = np.concatenate([p[1:], p[:1]])
        if float((p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]).sum()) < 0:
            p, q = q, p
        starts.append(p)
        ends.append(q)
    return np.concatenate(starts), np.concatenate(ends)


def _many_edges(outlines: Points) -> tuple[Points, Points]:
    """The same for outlines (k, n, 2) of equally many points."""
    p = np.round(outlines * 256) / 256
    q = np.roll(p, -1, axis=1)
    turned = ((p[..., 0] * q[..., 1] - q[..., 0] * p[..., 1]).sum(axis=1) < 0)[:, None, None]
    return np.where(turned, q, p).reshape(-1, 2), np.where(turned, p, q).reshape(-1, 2)


def coverage(outlines: Sequence[Points], size: int) -> Patch | None:
    """The share of every pixel inside the union of outlines given in pixels; None when off the canvas.

    Crossings of each sub-scanline with the edges are summed as signed steps and integrated along x.
    """
    p, q = _edges(outlines)
    x0, y0 = max(int(np.floor(p[:, 0].min())), 0), max(int(np.floor(p[:, 1].min())), 0)
    x1, y1 = min(int(np.ceil(p[:, 0].max())), size), min(int(np.ceil(p[:, 1].max())), size)
    h, w = y1 - y0, x1 - x0
    if h <= 0 or w <= 0:
        return None
    ys = y0 + (np.arange(h * ROWS) + 0.5) / ROWS
    ya, yb = p[:, 1], q[:, 1]
    row, edge = np.nonzero((ya <= ys[:, None]) != (yb <= ys[:, None]))
    rise = yb - ya
    slope = (q[:, 0] - p[:, 0]) / np.where(rise == 0, 1, rise)
    x = np.minimum(np.maximum(p[edge, 0] + (ys[row] - ya[edge]) * slope[edge] - x0, 0), w)
    column = x.astype(np.int64)
    part = x - column
    sign = np.where(rise > 0, -1.0, 1.0)[edge]
    cell = row // ROWS * (w + 2) + column
    total = np.bincount(cell, sign * (1 - part), h * (w + 2)) + np.bincount(cell + 1, sign * part, h * (w + 2))
    alpha = np.abs(np.cumsum(total.reshape(h, w + 2), axis=1)[:, :w]) / ROWS
    return Patch(y0, x0, np.minimum(alpha, 1).astype(np.float32))


def clipped(patch: Patch | None, by: Patch | None) -> Patch | None:
    """A patch cut to the inside of another one."""
    if patch is None or by is None:
        return None
    y0, x0 = max(patch.y, by.y), max(patch.x, by.x)
    y1 = min(patch.y + patch.alpha.shape[0], by.y + by.alpha.shape[0])
    x1 = min(patch.x + patch.alpha.shape[1], by.x + by.alpha.shape[1])
    if y1 <= y0 or x1 <= x0:
        return None
    mine = patch.alpha[y0 - patch.y : y1 - patch.y, x0 - patch.x : x1 - patch.x]
    other = by.alpha[y0 - by.y : y1 - by.y, x0 - by.x : x1 - by.x]
    return Patch(y0, x0, mine * other)


class Canvas:
    """Pixels (H, W, 3) float32 in [0, 1], and for every pixel the `owner` with the largest visible share.

    Owner 0 is the background. A later coat dims all earlier ones alike, so the winner among them stays the
    winner: remembering its share alone gives the exact arg max.
    """

    def __init__(self, pixels: Reals) -> None:
        self.pixels = pixels
        self.owner = np.zeros(pixels.shape[:2], dtype=np.int16)
        self._share = np.ones(pixels.shape[:2], dtype=np.float32)

    def paint(self, patch: Patch | None, colour: Colour, *, owner: int | None = None, slope: float = 0.0) -> None:
        """Lays a coat of `colour` on the patch, lighter above by `slope` and darker below by as much."""
        if patch is None:
            return
        where, alpha = patch.where, patch.alpha
        rgb: Reals = np.asarray(colour, dtype=np.float32)
        if slope:
            h = alpha.shape[0]
            ramp = np.float32(1 + slope) - (np.arange(h, dtype=np.float32) + 0.5) * np.float32(2 * slope / h)
            rgb = np.minimum(ramp[:, None, None] * rgb, 1)
        below = self.pixels[where]
        below += alpha[..., None] * (rgb - below)
        if owner is not None:
            share = self._share[where]
            share *= 1 - alpha
            won = alpha > share
            share[won] = alpha[won]
            self.owner[where][won] = owner
