"""What a cell of a smear looks like: outlines of its parts.

Frame: the cytoplasm has radius 1; x towards the side of the nucleus, y down. The vacuole lies opposite of the nucleus,
the granules below both; process and inclusion slide along the upper rim, one outside of it and one inside.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from saywhy.aviary.birds import Anatomy, Bird, Marking, Part, ink, shade
from saywhy.aviary.plumage import TEXTURES
from saywhy.aviary.raster import Points, ellipse, smooth

ARC = (0.81, 0.19)  # of the upper rim: half turns from x, from the vacuole's side to that of the nucleus
INSIDE, OUTSIDE = 0.78, 1.0  # radius of the inclusion, and where a process begins
MIDDLE = 0.44  # of the nucleus, and of the vacuole on the other side
RADII = (0.22, 0.48)  # of both


@cache
def _blob(radius: float) -> Points:
    """A circle that is not quite one."""
    k = np.arange(12)
    angle = k * (np.pi / 6)
    r = radius * np.array([1.0, 0.97, 1.02, 0.98, 1.01, 0.98, 1.0, 1.02, 0.97, 1.0, 1.02, 0.98])
    return smooth(np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1))


def _at_rim(points: Points, shift: float, radius: float) -> Points:
    """Points (n, 2), outwards and along the rim, where `shift` in [0, 1] of the arc is."""
    angle = np.pi * (ARC[0] + (ARC[1] - ARC[0]) * shift)
    c, s = np.cos(angle), -np.sin(angle)
    u, v = points[:, 0] + radius, points[:, 1]
    return np.stack([u * c + v * s, u * s - v * c], axis=1)


PROCESSES = {
    "pointed": [(0.0, -0.18), (1.0, 0.0), (0.0, 0.18)],
    "blunt": [(0.0, -0.16), (0.80, -0.16), (0.96, -0.08), (0.96, 0.08), (0.80, 0.16), (0.0, 0.16)],
    "forked": [(0.0, -0.13), (0.48, -0.12), (1.0, -0.30), (0.66, 0.0), (1.0, 0.30), (0.48, 0.12), (0.0, 0.13)],
}


def _process(part: Part, bird: Bird) -> list[Points]:
    """What reaches over the rim, `size` long beyond it."""
    out = np.array(PROCESSES.get(part.shape, PROCESSES["pointed"])) * (0.10 + 0.38 * part.size, 1.0)
    return [_at_rim(out, part.shift, OUTSIDE)]


def _rim(part: Part, bird: Bird) -> list[Points]:
    return [_blob(1.12)]


def _cytoplasm(part: Part, bird: Bird) -> list[Points]:
    return [_blob(1.0)]


def _granules(part: Part, bird: Bird) -> list[Points]:
    return [np.array([(-1.1, 0.52), (-0.4, 0.56), (0.4, 0.56), (1.1, 0.52), (1.1, 1.2), (-1.1, 1.2)])]


_KIDNEY = smooth([(0.98, 0.0), (0.70, 0.70), (0.0, 1.0), (-0.62, 0.86), (-0.72, 0.48), (-0.22, 0.0), (-0.72, -0.48),
                  (-0.62, -0.86), (0.0, -1.0), (0.70, -0.70)])  # fmt: skip


def _nucleus(part: Part, bird: Bird) -> list[Points]:
    r = part.size
    if part.shape == "kidney":
        return [_KIDNEY * r + (MIDDLE, 0.0)]
    if part.shape == "lobed":
        return [
            ellipse(MIDDLE + x * r, y * r, 0.56 * r, 0.56 * r) for x, y in ((-0.44, 0.0), (0.24, -0.44), (0.24, 0.44))
        ]
    return [ellipse(MIDDLE, 0.0, r, r, 24)]


def _nucleolus(part: Part, bird: Bird) -> list[Points]:
    return [ellipse(MIDDLE + 0.02, 0.0, 0.10 * part.size, 0.10 * part.size, 14)]


def _vacuole(part: Part, bird: Bird) -> list[Points]:
    return [ellipse(-MIDDLE, 0.0, part.size, part.size, 24)]


# Where the drops of an inclusion lie along the rim, and their radius.
_DROPS = {"single": ((0.0,), 0.12), "double": ((-0.12, 0.12), 0.09), "triple": ((-0.19, 0.0, 0.19), 0.075)}


def _inclusion(part: Part, bird: Bird) -> list[Points]:
    places, r = _DROPS.get(part.shape, _DROPS["single"])
    return [_at_rim(ellipse(0.0, v, r * part.size, r * part.size, 14), part.shift, INSIDE) for v in places]


@cache
def _stacked(texture: str) -> Points:
    """The shapes (k, n, 2) of a texture."""
    return np.stack(TEXTURES[texture])


def _decoration(bird: Bird, part: Part) -> list[Marking]:
    if part.pattern not in TEXTURES:
        return []
    every = np.concatenate(ANATOMY.outlines[part.name](part, bird))
    low, high = every.min(axis=0), every.max(axis=0)
    shapes = _stacked(part.pattern)
    touch = ((shapes.max(axis=1) > low) & (shapes.min(axis=1) < high)).all(axis=1)
    tone = shade(part.rgb, 0.82) if part.name == "cytoplasm" else ink(part.rgb)
    return [(list(shapes[touch]), tone)] if touch.any() else []


def _anchor(bird: Bird, part: Part) -> tuple[float, float]:
    if part.name == "granules":
        return part.dx, 0.76 + part.dy
    if part.name == "rim":
        return -1.06 + part.dx, part.dy
    if part.name == "cytoplasm":
        return part.dx, 0.40 + part.dy
    shapes = ANATOMY.outlines[part.name](part, bird)
    x, y = np.mean([o.mean(axis=0) for o in shapes], axis=0)
    return float(x) + part.dx, float(y) + part.dy


ANATOMY = Anatomy(
    outlines={
        "process": _process, "rim": _rim, "cytoplasm": _cytoplasm, "granules": _granules, "nucleus": _nucleus,
        "nucleolus": _nucleolus, "vacuole": _vacuole, "inclusion": _inclusion,
    },
    clipped_by={"granules": "cytoplasm"},
    decoration=_decoration,
    anchor=_anchor,
    slopes={"cytoplasm": 0.06, "nucleus": 0.10, "process": 0.08},
    # Of the rim a ring is left, of a nucleus what the nucleolus leaves.
    shown={"rim": 0.05},
)  # fmt: skip
