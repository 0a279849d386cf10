"""A bird as plain data, and its outlines: what each part looks like and where it sits.

A `Bird` is what the engine draws, whatever its edition: of the edition "cells" it is a cell.

Bird frame: facing right, x forward, y down, origin in the middle of the body, one unit = half the body.
The canvas frame runs from 0 to 1 in both directions, whatever its number of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module

import numpy as np

from saywhy.aviary.raster import Colour, Points, ellipse, smooth, stroke

# In the order in which they are painted. "body" is the plumage under everything: it is never removed.
PARTS = (
    "tail", "legs", "body", "breast", "throat", "crown", "crest", "band", "eye", "beak", "wing", "bar", "patch",
)  # fmt: skip
# The same of each edition.
ORDERS: dict[str, tuple[str, ...]] = {
    "1": PARTS,
    "2": (
        "tail", "legs", "body", "breast", "throat", "crown", "crest", "band", "eye", "beak", "wing", "bar", "patch",
        "fleck", "bead", "collar", "collar2",
    ),
    "cells": ("process", "rim", "cytoplasm", "granules", "nucleus", "nucleolus", "vacuole", "inclusion"),
}  # fmt: skip

COLOURS: dict[str, Colour] = {
    "red": (0.84, 0.13, 0.15),
    "orange": (0.97, 0.55, 0.10),
    "yellow": (0.99, 0.84, 0.16),
    "green": (0.20, 0.62, 0.27),
    "blue": (0.13, 0.36, 0.82),
    "violet": (0.50, 0.20, 0.66),
    "pink": (0.97, 0.56, 0.70),
    "black": (0.11, 0.11, 0.14),
    "turquoise": (0.30, 0.86, 0.86),
    "white": (0.96, 0.96, 0.94),
    "grey": (0.58, 0.60, 0.63),
    "brown": (0.50, 0.34, 0.22),
    "sand": (0.80, 0.70, 0.54),
    "slate": (0.42, 0.47, 0.54),
}


@dataclass(frozen=True)
class Part:
    """How one part looks: colour name, shape, pattern, relative size, and where it sits.

    `shift` is the place along the part's own track: for crest and band the height on the head, for bar and
    patch the place along the wing (larger = nearer to the head). `dx`, `dy` displace it in bird units.
    `tint` is the individual's own deviation from the pure colour.
    """

    name: str
    colour: str
    shape: str = "plain"
    pattern: str = "plain"
    size: float = 1.0
    shift: float = 0.0
    dx: float = 0.0
    dy: float = 0.0
    tint: Colour = (0.0, 0.0, 0.0)

    @property
    def rgb(self) -> Colour:
        """The colour that is painted, in [0, 1]."""
        r, g, b = (min(max(c + t, 0.0), 1.0) for c, t in zip(COLOURS[self.colour], self.tint, strict=True))
        return r, g, b


@dataclass(frozen=True)
class Bird:
    """A bird: its species (None for a chimera), its parts in painting order, its pose and its place.

    `x`, `y`: place of the body's middle on the canvas; `scale`: canvas lengths a bird unit; `angle` in
    radians, head up positive; `lift`: height of the head; `mirror`: faces left. `edition`: a key of `ORDERS`.
    """

    species: str | None
    parts: tuple[Part, ...]
    x: float = 0.5
    y: float = 0.55
    scale: float = 0.24
    angle: float = 0.0
    lift: float = 0.0
    mirror: bool = False
    edition: str = "1"

    def part(self, name: str) -> Part | None:
        """The part of that name, or None when the bird lacks it."""
        return next((p for p in self.parts if p.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts that the bird has, in painting order."""
        return tuple(p.name for p in self.parts)

    def with_part(self, part: Part) -> Bird:
        """The same bird with that part put on, or put in the place of its own one."""
        kept = {p.name: p for p in self.parts} | {part.name: part}
        return replace(self, parts=tuple(kept[n] for n in ORDERS[self.edition] if n in kept))

    def without(self, *names: str) -> Bird:
        """The same bird without the named parts."""
        return replace(self, parts=tuple(p for p in self.parts if p.name not in names))


def to_canvas(bird: Bird, points: Points) -> Points:
    """Points (n, 2) of the bird frame in canvas units."""
    c, s = np.cos(bird.angle) * bird.scale, np.sin(bird.angle) * bird.scale
    x, y = points[:, 0], points[:, 1]
    across = x * c + y * s
    return np.stack([bird.x - across if bird.mirror else bird.x + across, bird.y - x * s + y * c], axis=1)


def forward(bird: Bird, points: Points) -> Points:
    """Canvas points (n, 2) back in the bird frame: x towards the head, y towards the feet."""
    c, s = np.cos(bird.angle) / bird.scale, np.sin(bird.angle) / bird.scale
    across = (points[:, 0] - bird.x) * (-1 if bird.mirror else 1)
    down = points[:, 1] - bird.y
    return np.stack([across * c - down * s, across * s + down * c], axis=1)


# --------------------------------------------------------------------------------------------------
# Outlines in the bird frame.

EYE = (0.93, -0.83)
BAND_HEIGHTS = (-1.06, -0.58)
CREST_HEIGHTS = (-1.28, -0.40)
WING_TRACK = (-0.62, 0.30)


@cache
def _body(lift: float) -> Points:
    outline = [
        (-1.06, -0.04), (-0.62, -0.46), (-0.14, -0.60), (0.18, -0.66), (0.24, -0.92), (0.42, -1.22),
        (0.78, -1.36), (1.14, -1.20), (1.29, -0.86), (1.20, -0.52), (1.08, -0.24), (1.02, 0.06),
        (0.84, 0.38), (0.46, 0.64), (0.0, 0.70), (-0.52, 0.52), (-0.90, 0.24),
    ]  # fmt: skip
    share = [0, 0, 0.1, 0.4, 0.9, 1, 1, 1, 1, 1, 0.7, 0.3, 0, 0, 0, 0, 0]
    return smooth([(x, y - lift * k) for (x, y), k in zip(outline, share, strict=True)])


def _breast(part: Part, bird: Bird) -> list[Points]:
    return [
        smooth([(1.24, -0.04), (1.05, 0.40), (0.55, 0.80), (-0.10, 0.86), (-0.34, 0.60), (0.10, 0.30), (0.62, -0.02)])
    ]


def _throat(part: Part, bird: Bird) -> list[Points]:
    y = -bird.lift
    return [smooth([(1.36, -0.60 + y), (1.20, -0.10 + y), (0.96, 0.02 + y), (0.66, -0.20 + y), (0.78, -0.52 + y)])]


def _crown(part: Part, bird: Bird) -> list[Points]:
    y = -bird.lift
    return [
        smooth([(0.14, -0.96 + y), (0.30, -1.44 + y), (0.80, -1.58 + y), (1.26, -1.30 + y), (1.20, -1.06 + y),
                (0.84, -1.07 + y), (0.46, -0.99 + y)])
    ]  # fmt: skip


def _crest(part: Part, bird: Bird) -> list[Points]:
    """Three plumes from the back of the head, at the height `shift`."""
    y = part.shift - bird.lift
    x = 0.42 + 0.9 * max(0.0, -1.0 - part.shift)
    k = part.size
    return [
        np.array([
            (x + 0.10, y - 0.17), (x - 0.32 * k, y - 0.34 * k), (x - 0.26 * k, y - 0.15), (x - 0.62 * k, y - 0.10 * k),
            (x - 0.28 * k, y + 0.02), (x - 0.46 * k, y + 0.17 * k), (x + 0.10, y + 0.15),
        ])
    ]  # fmt: skip


def _band(part: Part, bird: Bird) -> list[Points]:
    y, k = part.shift - bird.lift, 0.105 * part.size
    return [np.array([(0.0, y - k * 0.8), (0.8, y - k), (1.5, y - k), (1.5, y + k), (0.8, y + k), (0.0, y + k * 0.8)])]


def _eye(part: Part, bird: Bird) -> list[Points]:
    return [ellipse(EYE[0], EYE[1] - bird.lift, 0.15 * part.size, 0.15 * part.size, 16)]


BEAKS = {
    "conical": [(0.0, -0.27), (0.22, -0.18), (0.50, 0.05), (0.22, 0.20), (0.0, 0.27)],
    "straight": [(0.0, -0.13), (0.40, -0.07), (0.90, 0.02), (0.40, 0.09), (0.0, 0.13)],
    "curved": [(0.0, -0.16), (0.36, -0.19), (0.66, 0.0), (0.80, 0.50), (0.52, 0.20), (0.28, 0.09), (0.0, 0.14)],
    "hooked": [(0.0, -0.25), (0.28, -0.27), (0.50, -0.08), (0.48, 0.33), (0.35, 0.14), (0.18, 0.17), (0.0, 0.21)],
}


def _beak(part: Part, bird: Bird) -> list[Points]:
    stretch = np.array([part.size, 0.75 + 0.25 * part.size])
    return [np.array(BEAKS[part.shape]) * stretch + (1.22, -0.74 - bird.lift)]


TAILS = {
    "forked": [(0.10, -0.22), (-0.42, -0.30), (-0.98, -0.50), (-0.50, 0.02), (-0.98, 0.46), (-0.42, 0.26),
               (0.10, 0.22)],
    "fan": [(0.10, -0.18), (-0.40, -0.40), (-0.66, -0.56), (-0.84, -0.28), (-0.90, 0.0), (-0.84, 0.28), (-0.66, 0.56),
            (-0.40, 0.40), (0.10, 0.18)],
    "pointed": [(0.10, -0.20), (-0.40, -0.17), (-1.20, 0.0), (-0.40, 0.17), (0.10, 0.20)],
}  # fmt: skip


def _tail(part: Part, bird: Bird) -> list[Points]:
    return [np.array(TAILS[part.shape]) * part.size * (1.0, 0.95) + (-0.92, 0.04)]


def _legs(part: Part, bird: Bird) -> list[Points]:
    out = []
    for x in (0.06, 0.34):
        foot = 0.62 + 0.42 * part.size
        out.append(stroke(x, 0.52, x + 0.02, foot, 0.09))
        out.append(stroke(x - 0.14, foot, x + 0.20, foot, 0.08))
    return out


@cache
def _wing_shape() -> Points:
    return smooth([
        (0.52, -0.22), (0.40, 0.16), (0.06, 0.34), (-0.44, 0.32), (-1.14, 0.10), (-0.62, -0.16), (-0.10, -0.42),
        (0.30, -0.44),
    ])  # fmt: skip


def _wing(part: Part, bird: Bird) -> list[Points]:
    return [_wing_shape() * part.size]


def _on_wing(shift: float) -> tuple[float, float]:
    """The point of the wing's middle line at `shift` in [0, 1], 1 = at the shoulder."""
    x = WING_TRACK[0] + (WING_TRACK[1] - WING_TRACK[0]) * shift
    return x, 0.07 - 0.13 * shift


def _bar(part: Part, bird: Bird) -> list[Points]:
    x, y = _on_wing(part.shift)
    k = 0.10 * part.size
    return [
        np.array([(x + 0.12 - k, y - 0.5), (x + 0.12 + k, y - 0.5), (x - 0.08 + k, y + 0.5), (x - 0.08 - k, y + 0.5)])
    ]


def _patch(part: Part, bird: Bird) -> list[Points]:
    x, y = _on_wing(part.shift)
    return [ellipse(x, y, 0.175 * part.size, 0.175 * part.size)]


def _bare_body(part: Part, bird: Bird) -> list[Points]:
    return [_body(round(bird.lift, 3))]


OUTLINES = {
    "tail": _tail, "legs": _legs, "body": _bare_body, "breast": _breast, "throat": _throat, "crown": _crown,
    "crest": _crest, "band": _band, "eye": _eye, "beak": _beak, "wing": _wing, "bar": _bar, "patch": _patch,
}  # fmt: skip

# Markings lie on the plumage of another part and end where it ends.
CLIPPED_BY = {"breast": "body", "throat": "body", "crown": "body", "band": "body", "bar": "wing", "patch": "wing"}


def outlines(bird: Bird, part: Part) -> list[Points]:
    """The outlines of a part in canvas units."""
    moved = (part.dx, part.dy)
    return [to_canvas(bird, o + moved) for o in anatomy(bird.edition).outlines[part.name](part, bird)]


def _spots() -> list[Points]:
    at = [
        (0.94, 0.10),
        (0.66, 0.16),
        (0.80, 0.36),
        (0.50, 0.42),
        (0.24, 0.50),
        (0.60, 0.58),
        (-0.06, 0.58),
        (0.34, 0.30),
    ]
    return [ellipse(x, y, 0.07, 0.07, 10) for x, y in at]


def _stripes() -> list[Points]:
    return [stroke(x + 0.28, y - 0.22, x - 0.16, y + 0.26, 0.085) for x, y in
            [(0.98, 0.06), (0.76, 0.22), (0.54, 0.36), (0.32, 0.46), (0.10, 0.54), (-0.12, 0.60)]]  # fmt: skip


PATTERNS = {"spotted": _spots(), "striped": _stripes()}

_FEATHERS = [
    smooth([(-0.98, 0.06), (-0.60, 0.03), (-0.20, 0.10), (-0.20, 0.14), (-0.60, 0.09)], 3),
    smooth([(-0.72, 0.20), (-0.40, 0.17), (-0.04, 0.22), (-0.04, 0.26), (-0.40, 0.23)], 3),
    smooth([(-0.74, -0.06), (-0.40, -0.12), (-0.02, -0.04), (-0.02, 0.0), (-0.40, -0.06)], 3),
]


def border(rgb: Colour) -> Colour:
    """The tone of a part's own border: darker, or lighter around black."""
    return shade(rgb, 0.45) if sum(rgb) > 0.6 else (0.40, 0.40, 0.43)


Marking = tuple[list[Points], Colour]  # outlines in the bird frame, and their colour


@dataclass(frozen=True)
class Detail:
    """A decoration inside a part: outlines in canvas units and the colour they are painted in."""

    outlines: list[Points]
    colour: Colour


def shade(rgb: Colour, factor: float) -> Colour:
    """A darker tone of a colour."""
    return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor


def ink(rgb: Colour) -> Colour:
    """A colour that stands out on `rgb`: darker, or light on black."""
    return shade(rgb, 0.42) if sum(rgb) > 0.6 else (0.55, 0.55, 0.58)


def _decoration(bird: Bird, part: Part) -> list[Marking]:
    """Decorations of a part in the bird frame: pattern, feathers, pupil and glint."""
    drawn: list[Marking] = []
    if part.pattern in PATTERNS:
        drawn.append((PATTERNS[part.pattern], ink(part.rgb)))
    if part.name == "wing":
        drawn.append(([f * part.size for f in _FEATHERS], shade(part.rgb, 0.66)))
    if part.name == "eye":
        drawn += pupil(bird)
    return drawn


def pupil(bird: Bird) -> list[Marking]:
    """Pupil and glint of the eye."""
    x, y = EYE[0], EYE[1] - bird.lift
    dark = [ellipse(x + 0.01, y, 0.092, 0.092, 12)], (0.06, 0.06, 0.08)
    return [dark, ([ellipse(x + 0.045, y - 0.05, 0.035, 0.035, 8)], (1.0, 1.0, 1.0))]


def details(bird: Bird, part: Part) -> list[Detail]:
    """What is painted on a part, in canvas units."""
    moved = (part.dx, part.dy)
    drawn = anatomy(bird.edition).decoration(bird, part)
    return [Detail(_all_to_canvas(bird, shapes, moved), colour) for shapes, colour in drawn]


def _all_to_canvas(bird: Bird, shapes: list[Points], moved: tuple[float, float]) -> list[Points]:
    """Many outlines at once: a texture has a hundred."""
    at = to_canvas(bird, np.concatenate(shapes) + moved)
    return np.split(at, np.cumsum([len(o) for o in shapes])[:-1])


def _anchor(bird: Bird, part: Part) -> tuple[float, float]:
    """The keypoint of a part in the bird frame."""
    y = -bird.lift
    tip = np.array(BEAKS.get(part.shape, BEAKS["straight"]))
    fixed: dict[str, tuple[float, float]] = {
        "tail": (-0.92 - 0.42 * part.size, 0.06),
        "legs": (0.35, 0.62 + 0.30 * part.size),
        "body": (-0.45, -0.44),
        "breast": (0.62, 0.36),
        "throat": (1.02, -0.26 + y),
        "crown": (0.74, -1.20 + y),
        "crest": (0.20 + 0.9 * max(0.0, -1.0 - part.shift), part.shift + y),
        "band": (0.55, part.shift + y),
        "eye": (EYE[0], EYE[1] + y),
        "beak": (1.22 + 0.45 * float(tip[:, 0].max()) * part.size, -0.74 + y),
        "wing": (-0.10, 0.0),
        "bar": _on_wing(part.shift),
        "patch": _on_wing(part.shift),
    }
    x, y = fixed[part.name]
    return x + part.dx, y + part.dy


# The body is lighter above than below, by these shares.
SLOPES = {"body": 0.22, "wing": 0.14, "breast": 0.10, "crown": 0.12, "tail": 0.10, "beak": 0.18, "crest": 0.10}


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What the things of an edition are made of, in their own frame.

    `outlines`, `decoration` and `anchor` (the keypoint) by part; `clipped_by` names the part that a marking ends with;
    `slopes` how much lighter a part is above. `bordered`: each part has a border of its own tone, which belongs to
    it; else there is one dark rim around the whole, which belongs to nothing. `shown`: the share of a part's pixels
    that must show for it to count as visible, where that is not a quarter.
    """

    outlines: Mapping[str, Callable[[Part, Bird], list[Points]]]
    clipped_by: Mapping[str, str]
    decoration: Callable[[Bird, Part], list[Marking]]
    anchor: Callable[[Bird, Part], tuple[float, float]]
    slopes: Mapping[str, float] = field(default_factory=lambda: SLOPES)
    bordered: bool = True
    shown: Mapping[str, float] = field(default_factory=dict)


_ANATOMIES = {"1": "birds", "2": "plumage", "cells": "smear"}  # modules with an ANATOMY


@cache
def anatomy(edition: str) -> Anatomy:
    """The anatomy of an edition."""
    return import_module(f"saywhy.aviary.{_ANATOMIES[edition]}").ANATOMY  # type: ignore[no-any-return]


def keypoints(bird: Bird) -> dict[str, tuple[float, float]]:
    """The keypoint of every part of the bird, in canvas units."""
    at = to_canvas(bird, np.array([anatomy(bird.edition).anchor(bird, p) for p in bird.parts]))
    return {p.name: (float(x), float(y)) for p, (x, y) in zip(bird.parts, at, strict=True)}


def extent(bird: Bird) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) around the whole bird in canvas units."""
    clipped = anatomy(bird.edition).clipped_by
    every = np.concatenate([o for p in bird.parts if p.name not in clipped for o in outlines(bird, p)])
    (x0, y0), (x1, y1) = every.min(axis=0), every.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


ANATOMY = Anatomy(OUTLINES, CLIPPED_BY, _decoration, _anchor, bordered=False)
