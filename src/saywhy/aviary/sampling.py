"""From (seed, index) to a scene: which species, which split, which individual, where.

Picture i of a seed never depends on how many pictures are drawn, or in which order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saywhy.aviary.birds import Bird, extent
from saywhy.aviary.scene import SIZE, Scene
from saywhy.aviary.scenery import BACKGROUNDS, Background, Object, Rng, generator
from saywhy.aviary.species import draw_bird
from saywhy.aviary.world import EDITIONS, WHOLE, Room, world

SPLITS = ("train", "train", "val", "train", "test", "train", "train", "train", "train", "train")
_ORDER, _SCENE = 1, 2  # one stream of random numbers for each purpose


@dataclass(frozen=True)
class Sample:
    """A scene with its labels: `species` is what it is, `class_name` what the data set says it is.

    `group` tells apart the pictures that a planted fault treats differently; `truth` is what was planted here.
    """

    index: int
    seed: int
    scene: Scene
    species: str
    class_name: str
    split: str
    group: str = "clean"
    truth: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_index(self) -> int:
        """Index of the label among the classes of its edition."""
        return world(self.scene.edition).classes.index(self.class_name)


def label(seed: int, index: int, *, edition: str = "1") -> tuple[str, str]:
    """Species and split of a picture: each block of pictures holds every species once, one split a block."""
    classes = world(edition).classes
    block, place = divmod(index, len(classes))
    order = generator(_ORDER, seed, block, *_stream(edition)).permutation(len(classes))
    return classes[int(order[place])], SPLITS[block % len(SPLITS)]


def _stream(edition: str) -> tuple[int, ...]:
    """What tells the random numbers of an edition from those of the first."""
    return () if edition == "1" else (EDITIONS.index(edition),)


def pose(rng: Rng, bird: Bird, *, low: float = 0.24, high: float = 0.30, room: Room = WHOLE) -> Bird:
    """The bird in a random pose, scale and place, whole inside the box `room` of the canvas."""
    scale, angle, lift, side, x, y = (float(v) for v in rng.random(6))
    posed = replace(
        bird,
        scale=round(low + (high - low) * scale, 4),
        angle=round((angle - 0.4) * 0.42, 4),
        lift=round((lift - 0.4) * 0.16, 3),
        mirror=side < 0.5,
    )
    return fit(posed, room, x, y)


def fit(bird: Bird, room: Room, x: float = 0.5, y: float = 0.5) -> Bird:
    """The bird inside the box `room`, smaller if it must be; `x`, `y` in [0, 1] share out the spare space."""
    x0, y0, x1, y1 = extent(replace(bird, x=0.0, y=0.0))
    wide, high = room[2] - room[0], room[3] - room[1]
    shrink = min(1.0, wide / (x1 - x0), high / (y1 - y0))
    x0, y0, x1, y1 = (v * shrink for v in (x0, y0, x1, y1))
    return replace(
        bird,
        scale=round(bird.scale * shrink, 4),
        x=round(room[0] - x0 + (wide - (x1 - x0)) * x, 4),
        y=round(room[1] - y0 + (high - (y1 - y0)) * y, 4),
    )


PERCHES = {"plain": "grey", "foliage": "brown", "water": "slate", "sky": "brown", "snow": "brown"}


def perch(bird: Bird, colour: str) -> Object:
    """A branch under the bird's feet."""
    x, y = bird.x, extent(bird)[3]
    return Object("branch", round(x, 4), round(y + 0.012, 4), 0.11, round(-bird.angle * 0.3, 4), colour)


LYING = (("leaf", "green"), ("stone", "slate"), ("flower", "orange"), ("leaf", "sand"), ("star", "grey"))


def clutter(rng: Rng, kinds: Sequence[tuple[str, str]] = LYING) -> tuple[Object, ...]:
    """None, one or two small objects of these kinds and colours somewhere behind the bird."""
    count = int(rng.random() * 2.2)
    rows = rng.random((2, 5))
    out = []
    for kind, x, y, scale, angle in rows[:count]:
        name, colour = kinds[int(kind * len(kinds))]
        where = round(0.06 + 0.88 * float(x), 4), round(0.06 + 0.88 * float(y), 4)
        out.append(Object(name, *where, round(0.03 + 0.03 * float(scale), 4), round(6.283 * float(angle), 4), colour))
    return tuple(out)


def clean_scene(rng: Rng, name: str, *, size: int = SIZE) -> Scene:
    """A scene with one bird of the species, no degradation, and nothing that depends on the species but its rule."""
    kind = tuple(BACKGROUNDS)[int(rng.random() * len(BACKGROUNDS))]
    background = Background(kind, int(rng.integers(2**31)))
    things = clutter(rng)
    bird = pose(rng, draw_bird(rng, name))
    return Scene(background, (bird,), (perch(bird, PERCHES[kind]), *things), size=size)


def clean_sample(seed: int, index: int, *, size: int = SIZE, edition: str = "1") -> Sample:
    """Picture `index` of the clean set of a seed."""
    name, split = label(seed, index, edition=edition)
    scene = world(edition).scene(generator(_SCENE, seed, index, *_stream(edition)), name, size)
    return Sample(index, seed, scene, name, name, split)
