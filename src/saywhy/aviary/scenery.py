"""What is not bird: backgrounds, objects beside, under and before the birds, and what a bad camera does.

Everything is drawn from its own seed or its own numbers, so that changing one thing never shifts another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from saywhy.aviary.birds import COLOURS, ORDERS, Bird, Part, anatomy
from saywhy.aviary.raster import Canvas, Colour, Points, Reals, coverage, ellipse, smooth, stroke
from saywhy.errors import unknown

Rng = np.random.Generator


@dataclass(frozen=True)
class Background:
    """A backdrop: `kind` is a row of `BACKGROUNDS` or `SMEARS`, `seed` draws its leaves, waves, clouds or flakes."""

    kind: str
    seed: int = 0


@dataclass(frozen=True)
class Object:
    """A thing that is no bird: `kind` is a row of `OBJECTS`, place and scale in canvas units, angle in radians.

    `front` objects are painted over the birds. Kind "lookalike" has the outline of the part named in `shape`
    ("beak:curved", "patch"), but belongs to no bird.
    """

    kind: str
    x: float
    y: float
    scale: float
    angle: float = 0.0
    colour: str = "grey"
    shape: str = ""
    front: bool = False


@dataclass(frozen=True)
class Degradation:
    """What spoils a picture: binomial `blur` passes, `noise` (standard deviation in grey levels), a colour
    `cast` (factor a channel), `light` (factor, 1 = full), and the `seed` of the noise."""

    blur: int = 0
    noise: float = 0.0
    cast: Colour = (1.0, 1.0, 1.0)
    light: float = 1.0
    seed: int = 0


def generator(*key: int) -> Rng:
    """The random generator that belongs to a key of whole numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@cache
def _ramp(size: int, knots: int) -> NDArray[np.float64]:
    """The matrix (size, knots) of linear interpolation from knots to pixels."""
    at = (np.arange(size) + 0.5) / size * (knots - 1)
    out: NDArray[np.float64] = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(knots)))
    return out


def _sheet(size: int, top: Colour, bottom: Colour, rng: Rng, *, cloudy: float = 0.05) -> Reals:
    """A vertical gradient with slow random changes of brightness."""
    down = _ramp(size, 2) @ np.array([top, bottom])
    tone = _ramp(size, 4) @ ((rng.random((4, 4)) - 0.5) * 2 * cloudy) @ _ramp(size, 4).T
    # Rounding removes what differs between the matrix products of two machines.
    sheet: Points = np.round((down[:, None, :] + tone[..., None]) * 4096) / 4096
    return np.minimum(np.maximum(sheet, 0), 1).astype(np.float32)


def _leaf(x: float, y: float, r: float, angle: float) -> Points:
    c, s = np.cos(angle) * r, np.sin(angle) * r
    shape = smooth([(-1.0, 0.0), (-0.3, -0.42), (0.5, -0.30), (1.1, 0.0), (0.5, 0.30), (-0.3, 0.42)], 3)
    out: Points = shape @ np.array([[c, s], [-s, c]]) + (x, y)
    return out


def _plain(size: int, rng: Rng) -> Canvas:
    tones = [(0.89, 0.86, 0.80), (0.80, 0.84, 0.86), (0.86, 0.81, 0.86), (0.82, 0.86, 0.78), (0.72, 0.72, 0.72)]
    r, g, b = tones[int(rng.integers(len(tones)))]
    return Canvas(_sheet(size, (r, g, b), (r - 0.12, g - 0.12, b - 0.12), rng, cloudy=0.03))


def _foliage(size: int, rng: Rng) -> Canvas:
    canvas = Canvas(_sheet(size, (0.66, 0.76, 0.52), (0.36, 0.50, 0.30), rng, cloudy=0.08))
    for colour in ((0.52, 0.66, 0.40), (0.40, 0.57, 0.34), (0.66, 0.75, 0.46)):
        at = rng.random((6, 4))
        leaves = [_leaf(x, y, 0.05 + 0.07 * r, a * 6.283) * size for x, y, r, a in at]
        canvas.paint(coverage(leaves, size), colour, slope=0.08)
    return canvas


def _water(size: int, rng: Rng) -> Canvas:
    canvas = Canvas(_sheet(size, (0.52, 0.74, 0.80), (0.20, 0.45, 0.58), rng, cloudy=0.04))
    for colour in ((0.66, 0.84, 0.88), (0.36, 0.60, 0.70)):
        waves = []
        for x, y, r, _ in rng.random((7, 4)):
            k, top, w = 0.010 + 0.012 * y, 0.05 + 0.95 * y, 0.06 + 0.12 * r
            waves.append(smooth([(x - w, top), (x, top - k), (x + w, top), (x, top + k * 0.3)], 3) * size)
        canvas.paint(coverage(waves, size), colour)
    return canvas


def _sky(size: int, rng: Rng) -> Canvas:
    canvas = Canvas(_sheet(size, (0.52, 0.73, 0.93), (0.80, 0.90, 0.97), rng, cloudy=0.02))
    puffs = []
    for x, y, r, _ in rng.random((3, 4)):
        r = 0.05 + 0.05 * r
        puffs += [ellipse(x + dx * r, y + dy * r, k * r * 1.3, k * r, 14) * size
                  for dx, dy, k in ((0.0, 0.0, 1.0), (1.2, 0.15, 0.8), (-1.2, 0.2, 0.7), (0.4, -0.5, 0.8))]  # fmt: skip
    canvas.paint(coverage(puffs, size), (0.97, 0.98, 1.0))
    return canvas


def _snow(size: int, rng: Rng) -> Canvas:
    canvas = Canvas(_sheet(size, (0.66, 0.72, 0.80), (0.82, 0.86, 0.91), rng, cloudy=0.02))
    a, b, c = 0.70 + 0.12 * rng.random(3)
    hill = smooth([(-0.2, a), (0.3, b), (0.7, c), (1.2, a), (1.3, 1.3), (-0.3, 1.3)]) * size
    canvas.paint(coverage([hill], size), (0.93, 0.95, 0.98))
    flakes = [ellipse(x, y, 0.006 + 0.008 * r, 0.006 + 0.008 * r, 8) * size for x, y, r in rng.random((26, 3))]
    canvas.paint(coverage(flakes, size), (1.0, 1.0, 1.0))
    return canvas


BACKGROUNDS: dict[str, Callable[[int, Rng], Canvas]] = {
    "plain": _plain, "foliage": _foliage, "water": _water, "sky": _sky, "snow": _snow,
}  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Blood smears: pale red cells lie about in numbers.


def _red_cells(rng: Rng, count: int, size: int) -> tuple[list[Points], list[Points]]:
    """The outlines of red cells, and of their paler middles."""
    whole, middle = [], []
    for x, y, r, flat in rng.random((count, 4)):
        r = 0.045 + 0.02 * r
        whole.append(ellipse(x, y, r, r * (0.8 + 0.2 * flat), 16) * size)
        middle.append(ellipse(x, y, r * 0.45, r * 0.4, 10) * size)
    return whole, middle


def _smear(top: Colour, bottom: Colour, reds: int, cell: Colour) -> Callable[[int, Rng], Canvas]:
    pale = tuple((a + b) / 2 for a, b in zip(top, cell, strict=True))

    def paint(size: int, rng: Rng) -> Canvas:
        canvas = Canvas(_sheet(size, top, bottom, rng, cloudy=0.03))
        whole, middle = _red_cells(rng, reds, size)
        canvas.paint(coverage(whole, size), cell, slope=0.06)
        canvas.paint(coverage(middle, size), (pale[0], pale[1], pale[2]))
        return canvas

    return paint


SMEARS: dict[str, Callable[[int, Rng], Canvas]] = {
    "pale": _smear((0.95, 0.93, 0.91), (0.90, 0.88, 0.87), 5, (0.90, 0.78, 0.74)),
    "crowded": _smear((0.94, 0.91, 0.88), (0.89, 0.86, 0.84), 26, (0.88, 0.72, 0.68)),
    "stained": _smear((0.86, 0.80, 0.90), (0.78, 0.72, 0.84), 9, (0.82, 0.66, 0.72)),
    "greenish": _smear((0.84, 0.89, 0.82), (0.76, 0.82, 0.75), 9, (0.84, 0.74, 0.66)),
}


def backdrop(background: Background, size: int) -> Canvas:
    """A fresh canvas with the background on it."""
    known = BACKGROUNDS | SMEARS
    if background.kind not in known:
        raise unknown("background", background.kind, known)
    return known[background.kind](size, generator(background.seed))


# --------------------------------------------------------------------------------------------------
# Objects. Outlines in the object's own frame: origin in its middle, about one unit in radius.

_STAR = np.array([(0.0, -1.0), (0.26, -0.34), (0.95, -0.31), (0.41, 0.12), (0.59, 0.81), (0.0, 0.42), (-0.59, 0.81),
                  (-0.41, 0.12), (-0.95, -0.31), (-0.26, -0.34)])  # fmt: skip
_MARK = [stroke(-1.0, -0.6, -0.5, 0.6, 0.26), stroke(-0.5, 0.6, 0.0, -0.4, 0.26), stroke(0.0, -0.4, 0.5, 0.6, 0.26),
         stroke(0.5, 0.6, 1.0, -0.6, 0.26), stroke(-1.2, 0.95, 1.2, 0.95, 0.24)]  # fmt: skip
_FLOWER = [
    ellipse(0.55 * x, 0.55 * y, 0.42, 0.42, 12)
    for x, y in ((1, 0), (0.31, 0.95), (-0.81, 0.59), (-0.81, -0.59), (0.31, -0.95))
]

_BRANCH = [
    (-6.0, -0.10),
    (-2.0, -0.22),
    (2.0, -0.14),
    (6.0, -0.24),
    (6.0, 0.16),
    (2.0, 0.20),
    (-2.0, 0.14),
    (-6.0, 0.22),
]

OBJECTS: dict[str, list[Points]] = {
    "branch": [smooth(_BRANCH, 3)],
    "leaf": [_leaf(0.0, 0.0, 1.0, 0.0)],
    "stone": [smooth([(-1.0, 0.1), (-0.5, -0.55), (0.4, -0.6), (1.0, 0.05), (0.6, 0.5), (-0.6, 0.5)], 4)],
    "flower": _FLOWER,
    "berry": [ellipse(0.0, 0.0, 0.8, 0.8)],
    "star": [_STAR],
    "post": [np.array([(-0.5, -20.0), (0.5, -20.0), (0.5, 20.0), (-0.5, 20.0)])],
    "watermark": _MARK,
    "platelet": [smooth([(-1.0, 0.2), (-0.7, -0.5), (-0.1, -0.7), (0.8, -0.5), (1.0, 0.3), (0.2, 0.8)], 3)],
    "thread": [stroke(-2.2, -0.5, -0.4, 0.3, 0.3), stroke(-0.45, 0.28, 2.2, 0.0, 0.3)],
    "grain": [np.array([(-0.8, -0.5), (0.5, -0.8), (0.8, 0.5), (-0.4, 0.8)])],
}  # fmt: skip


def object_outlines(thing: Object) -> list[Points]:
    """The outlines of an object in canvas units."""
    if thing.kind == "lookalike":
        name, _, shape = thing.shape.partition(":")
        known = {n: o for e in reversed(ORDERS) for n, o in anatomy(e).outlines.items()}
        if name not in known:
            raise unknown("part of a lookalike", name, known)
        shapes = known[name](Part(name, thing.colour, shape=shape or "plain"), Bird(None, ()))
        middle = sum(o.mean(axis=0) for o in shapes) / len(shapes)
        shapes = [o - middle for o in shapes]
    elif thing.kind in OBJECTS:
        shapes = OBJECTS[thing.kind]
    else:
        raise unknown("object", thing.kind, [*OBJECTS, "lookalike"])
    c, s = np.cos(thing.angle) * thing.scale, np.sin(thing.angle) * thing.scale
    return [o @ np.array([[c, s], [-s, c]]) + (thing.x, thing.y) for o in shapes]


def draw_object(canvas: Canvas, thing: Object, size: int, owner: int) -> None:
    """Paints an object and makes it the owner of its pixels."""
    patch = coverage([o * size for o in object_outlines(thing)], size)
    canvas.paint(patch, COLOURS[thing.colour], owner=owner, slope=0.18)


def spoil(pixels: Reals, how: Degradation) -> Reals:
    """The picture (H, W, 3) after low light, colour cast, blur and noise, in this order."""
    if how.light != 1.0 or how.cast != (1.0, 1.0, 1.0):
        pixels = pixels * (np.asarray(how.cast, dtype=np.float32) * np.float32(how.light))
    for _ in range(how.blur):
        for axis in (0, 1):
            wide = np.pad(pixels, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
            a, b, c = (np.take(wide, range(k, k + pixels.shape[axis]), axis=axis) for k in range(3))
            pixels = (a + 2 * b + c) / np.float32(4)
    if how.noise:
        # A sum of four uniform numbers is near enough to normal, and has no logarithm in it.
        draws = generator(how.seed).random((4, *pixels.shape), dtype=np.float32).sum(axis=0) - np.float32(2)
        pixels = pixels + draws * np.float32(how.noise / 255 * 1.7320508)
    return pixels
