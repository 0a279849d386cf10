"""The birds of the second edition: a wing further back, small marks with long tracks, and textures of several kinds.

Frame and units as in `birds`. A track is where a mark's `shift` in [0, 1] can put it; two marks of a relation slide
along parallel tracks, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from saywhy.aviary import birds
from saywhy.aviary.birds import EYE, OUTLINES, Anatomy, Bird, Marking, Part, ink, pupil, shade
from saywhy.aviary.raster import Points, ellipse, smooth, stroke

HEIGHTS = (-1.12, 0.42)  # of fleck and bead, on head, neck and breast
WING_TRACK = (-1.02, 0.14)  # of bar and patch, along the wing
COLLARS = (-0.36, 0.46)  # heights of the two collars
FRONT = ((-0.6, -0.3, 0.0, 0.2, 0.36, 0.5), (1.22, 1.12, 1.03, 0.95, 0.86, 0.70))  # the breast's edge: y, x
LONGEST = 1.2  # of beaks and crests


def along(track: tuple[float, float], shift: float) -> float:
    """The point of a track, in bird units."""
    return track[0] + (track[1] - track[0]) * shift


def _height(part: Part, bird: Bird) -> float:
    """Height of fleck or bead: what lies on the head moves with it."""
    y = along(HEIGHTS, part.shift)
    return y - bird.lift * min(max(0.1 - y, 0.0), 1.0)


def _fleck(part: Part, bird: Bird) -> list[Points]:
    y, k = _height(part, bird), 0.075 * part.size
    return [np.array([(0.31, y - k), (0.56, y - k), (0.56, y + k), (0.31, y + k)])]


def _bead(part: Part, bird: Bird) -> list[Points]:
    return [ellipse(0.69, _height(part, bird), 0.10 * part.size, 0.10 * part.size, 14)]


def _collar(part: Part, bird: Bird) -> list[Points]:
    """A stripe from the breast's edge backwards; `size` is its length."""
    y = along(COLLARS, part.shift)
    front = float(np.interp(y, FRONT[0], FRONT[1]))
    return [np.array([(front + 0.3, y - 0.05), (front - part.size, y - 0.05), (front - part.size, y + 0.05),
                      (front + 0.3, y + 0.05)])]  # fmt: skip


def _band(part: Part, bird: Bird) -> list[Points]:
    """A mask through the eye."""
    y, k = EYE[1] - bird.lift, 0.125 * part.size
    wide = 1.5 * k
    above = [(0.80, y - wide), (1.05, y - wide), (1.40, y - k)]
    below = [(1.40, y + k), (1.05, y + wide), (0.80, y + wide)]
    return [smooth([(0.56, y), *above, *below], 3)]


@cache
def _wing_shape() -> Points:
    return smooth([
        (0.27, -0.30), (0.24, 0.14), (-0.08, 0.42), (-0.66, 0.46), (-1.22, 0.30), (-1.46, 0.04), (-1.05, -0.26),
        (-0.45, -0.48), (0.02, -0.50),
    ])  # fmt: skip


def _wing(part: Part, bird: Bird) -> list[Points]:
    return [_wing_shape()]


def _bar(part: Part, bird: Bird) -> list[Points]:
    x, k = along(WING_TRACK, part.shift), 0.06 * part.size
    return [np.array([(x - k, -0.56), (x + k, -0.56), (x + k, -0.06), (x - k, -0.06)])]


def _patch(part: Part, bird: Bird) -> list[Points]:
    return [ellipse(along(WING_TRACK, part.shift), 0.12, 0.115 * part.size, 0.115 * part.size, 16)]


_UNIT = {name: np.array(p) / (max(x for x, _ in p), 1.0) for name, p in birds.BEAKS.items()}


def _beak(part: Part, bird: Bird) -> list[Points]:
    """A beak as long as its `size`; one that bends down does so the less the shorter it is."""
    tall = 0.35 + 0.65 * part.size if part.shape in ("curved", "hooked") else 0.72 + 0.32 * part.size
    return [_UNIT[part.shape] * (part.size, tall) + (1.20, -0.74 - bird.lift)]


_PLUMES = np.array([(0.16, -0.19), (-0.56, -0.46), (-0.42, -0.20), (-1.0, -0.20), (-0.44, 0.02), (-0.66, 0.22),
                    (0.14, 0.17)])  # fmt: skip


def _crest(part: Part, bird: Bird) -> list[Points]:
    """Three plumes at the back of the head, `size` long."""
    return [_PLUMES * (part.size, 0.55 + 0.45 * part.size) + (0.36, -1.04 - bird.lift)]


_TAILS = {
    "forked": [(0.16, -0.22), (-0.36, -0.26), (-0.98, -0.46), (-0.50, 0.02), (-0.98, 0.46), (-0.36, 0.26),
               (0.16, 0.22)],
    "fan": [(0.16, -0.18), (-0.40, -0.40), (-0.70, -0.54), (-0.86, -0.28), (-0.92, 0.0), (-0.86, 0.28), (-0.70, 0.54),
            (-0.40, 0.40), (0.16, 0.18)],
    "pointed": [(0.16, -0.20), (-0.40, -0.16), (-1.06, 0.0), (-0.40, 0.16), (0.16, 0.20)],
}  # fmt: skip


def _tail(part: Part, bird: Bird) -> list[Points]:
    return [np.array(_TAILS[part.shape]) * part.size + (-1.04, 0.06)]


# --------------------------------------------------------------------------------------------------
# Textures: shapes on a lattice that covers the bird, cut to the part that wears them.


def _lattice(step: float) -> list[tuple[float, float]]:
    """Points of a brick pattern over the body."""
    rows = np.arange(-0.7, 1.0, step * 0.87)
    return [(float(x), float(y)) for k, y in enumerate(rows) for x in np.arange(-1.5 + k % 2 * step / 2, 1.35, step)]


def _scales(step: float) -> list[Points]:
    r = step * 0.52
    outer = [(-1.0, 0.0), (-0.7, 0.66), (0.0, 1.0), (0.7, 0.66), (1.0, 0.0)]
    arc = np.array([*outer, (0.62, 0.36), (0.0, 0.6), (-0.62, 0.36)]) * r
    return [arc + at for at in _lattice(step)]


TEXTURES: dict[str, list[Points]] = {
    "speckled": [ellipse(x, y, 0.046, 0.046, 6) for x, y in _lattice(0.17)],
    "spotted": [ellipse(x, y, 0.105, 0.105, 10) for x, y in _lattice(0.34)],
    "streaked": [stroke(x, y - 0.10, x - 0.04, y + 0.10, 0.06) for x, y in _lattice(0.20)],
    "scaled": _scales(0.25),
    "barred": [stroke(-1.6, y, 1.4, y + 0.10, 0.085) for y in np.arange(-0.72, 0.95, 0.215)],
}


@cache
def _woven(texture: str, part: str) -> list[Points]:
    """The shapes of a texture that can touch a part."""
    host = {"wing": _wing_shape(), "breast": birds.OUTLINES["breast"](Part("breast", "grey"), Bird(None, ()))[0]}.get(
        part
    )
    if host is None:
        return TEXTURES[texture]
    (x0, y0), (x1, y1) = host.min(axis=0), host.max(axis=0)
    near = [o for o in TEXTURES[texture] if o[:, 0].max() > x0 and o[:, 0].min() < x1]
    return [o for o in near if o[:, 1].max() > y0 and o[:, 1].min() < y1]


def _decoration(bird: Bird, part: Part) -> list[Marking]:
    if part.name == "eye":
        return pupil(bird)
    if part.pattern not in TEXTURES:
        return []
    tone = shade(part.rgb, 0.72) if part.name == "body" else ink(part.rgb)
    return [(_woven(part.pattern, part.name), tone)]


def _anchor(bird: Bird, part: Part) -> tuple[float, float]:
    return _middle(part, ANATOMY.outlines[part.name](part, bird))


def _middle(part: Part, shapes: Sequence[Points]) -> tuple[float, float]:
    """The keypoint of a part: the middle of its outlines, moved with it; of a collar, where it ends."""
    if part.name in ("collar", "collar2"):
        x, y = float(shapes[0][:, 0].min()) + 0.1, float(shapes[0][:, 1].mean())
    else:
        x, y = (float(v) for v in np.mean([o.mean(axis=0) for o in shapes], axis=0))
    return x + part.dx, y + part.dy


ANATOMY = Anatomy(
    outlines={
        **OUTLINES, "crest": _crest, "tail": _tail, "beak": _beak, "wing": _wing, "band": _band, "bar": _bar,
        "patch": _patch, "fleck": _fleck, "bead": _bead, "collar": _collar, "collar2": _collar,
    },
    clipped_by={
        "breast": "body", "throat": "body", "crown": "body", "band": "body", "collar": "body", "collar2": "body",
        "fleck": "body", "bead": "body", "bar": "wing", "patch": "wing",
    },
    decoration=_decoration,
    anchor=_anchor,
    # Wing and breast leave little of the body; a collar may lie over the small ones, which are still in view.
    shown={"body": 0.08, "bead": 0.15, "fleck": 0.15, "throat": 0.15},
)  # fmt: skip
