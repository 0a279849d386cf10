"""How the things of a later edition are drawn: looks, numbers of relations, pose, scene, none of which tells the class
but by the rule.

A relation is one of two numbers in [0, 1], a number a part. `apart` draws two that differ by about a seventh of the
track, wherever on it they lie, so that one alone gives the answer in 59 %; `partner` puts the second near to the first
or far from it so that each is uniform and one alone gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from saywhy.aviary.birds import ORDERS, Bird, Part, extent
from saywhy.aviary.sampling import LYING, clutter, perch
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import Background, Rng, generator
from saywhy.aviary.world import WHOLE, Pair, Relation, Room, Species, World

Numbers = dict[str, tuple[float, float]]  # part -> (shift, size)

STEP = (0.135, 0.16)  # between two numbers of a relation
NEAR, FAR = 0.25, 0.5


def apart(rng: Rng, larger: bool) -> tuple[float, float]:
    """Two numbers in [0, 1], the first larger or smaller by `STEP`."""
    step, at = rng.random(2)
    step = STEP[0] + (STEP[1] - STEP[0]) * step
    low = (1 - step) * at
    return (low + step, low) if larger else (low, low + step)


def partner(at: float, distance: float) -> float:
    """The other of two places that lie near to each other or far apart; the partner's partner is the place itself."""
    return at + distance if int(at / distance) % 2 == 0 else at - distance


# --------------------------------------------------------------------------------------------------
# What relations of later editions share.


def near(one: Part, two: Part) -> bool:
    """Whether two parts on one track are close to each other."""
    return abs(one.shift + one.dy - two.shift - two.dy) < (NEAR + FAR) / 2


def larger(one: Part, two: Part) -> bool:
    """Whether the first part is the larger one."""
    return one.size > two.size


def other_gap(number: float, other: float) -> tuple[float, ...]:
    """The numbers far from the other one if this one is near, and near if it is far."""
    wanted = FAR if abs(number - other) < (NEAR + FAR) / 2 else NEAR
    return other - wanted, other + wanted


def swap_places(a: Part, b: Part) -> Pair:
    """Each where the other one was."""
    return replace(a, shift=b.shift, dx=0.0, dy=0.0), replace(b, shift=a.shift, dx=0.0, dy=0.0)


def swap_sizes(a: Part, b: Part) -> Pair:
    """Each as large as the other one was."""
    return replace(a, size=b.size), replace(b, size=a.size)


def other_distance(one: Part, two: Part) -> Pair:
    """The second part near where it was far, on whichever side of the first one it stays."""
    wanted = FAR if near(one, two) else NEAR
    sign = 1 if two.shift > one.shift else -1
    at = one.shift + sign * wanted
    if not 0 <= at <= 1:  # no room there: both slide along
        slid = min(max(at, 0.0), 1.0)
        return replace(one, shift=round(slid - sign * wanted, 4), dy=0.0), replace(two, shift=slid, dy=0.0)
    return one, replace(two, shift=round(at, 4), dy=0.0)


# --------------------------------------------------------------------------------------------------
# A thing and its picture.


@dataclass(frozen=True, eq=False)
class Sketch:
    """Of what the things of an edition are drawn.

    `numbers(rng, wanted)` gives (shift, size) of the parts that relations are about, `wanted` by the kind of relation
    whether its first answer is. `rigid` parts are all of one size; `twins` look like another part. `largest()` is as
    large as any: what it needs is what every thing gets, `scales`, `tilt` and `lift` are what pose varies by.
    `lying` things have a kind and a colour; `perches` are the colours of a branch by background.
    """

    edition: str
    species: Mapping[str, Species]
    domains: Mapping[tuple[str, str], tuple[str, ...]]
    optional: Mapping[str, float]
    relations: tuple[Relation, ...]
    null_parts: tuple[str, ...]
    numbers: Callable[[Rng, Mapping[str, bool]], Numbers]
    largest: Callable[[], Bird]
    backgrounds: tuple[str, ...]
    scales: tuple[float, float]
    tilt: float
    lift: float = 0.0
    rigid: tuple[str, ...] = ()
    twins: Mapping[str, str] = field(default_factory=dict)
    lying: tuple[tuple[str, str], ...] = LYING
    perches: Mapping[str, str] = field(default_factory=dict)
    noun: str = "bird"
    carrier: str = "body"

    def world(self) -> World:
        """The world of these things."""
        return World(
            edition=self.edition,
            domains=self.domains,
            relations=self.relations,
            species=self.species,
            null_parts=self.null_parts,
            draw=partial(_draw, self),
            new_part=partial(_new_part, self),
            pose=partial(_pose, self),
            settle=partial(_pose, self),
            scene=partial(_scene, self),
            presence=self.optional,
            noun=self.noun,
            carrier=self.carrier,
            backgrounds=self.backgrounds,
            objects=tuple(dict.fromkeys(kind for kind, _ in self.lying)),
        )


def wanted_by(sketch: Sketch, name: str) -> dict[str, bool]:
    """For each kind of relation that the rule names whether its first answer is wanted."""
    rows = {(r.part, r.other, r.key): r.answers[0] for r in sketch.relations}
    rule = sketch.species[name].rule
    return {a.key: a.value == rows[a.part, a.other, a.key] for a in rule if a.other is not None}


def _looks(sketch: Sketch, rng: Rng, name: str) -> dict[tuple[str, str], str]:
    """All attributes: those of the rule as it says, the others uniform; drawn again where no atom of a group holds."""
    fixed, groups = sketch.species[name].fixed, sketch.species[name].either
    while True:
        picks = rng.random(len(sketch.domains))
        out = {k: fixed.get(k, d[int(u * len(d))]) for (k, d), u in zip(sketch.domains.items(), picks, strict=True)}
        if all(any(out[a.part, a.key] == a.value for a in group) for group in groups):
            return out


def _part(
    sketch: Sketch, name: str, looks: Mapping[tuple[str, str], str], at: tuple[float, float], tint: NDArray[np.float64]
) -> Part:
    like = sketch.twins.get(name, name)
    r, g, b = (round(float(t), 4) for t in tint)
    return Part(
        name, looks[like, "colour"], looks.get((name, "shape"), "plain"), looks.get((name, "pattern"), "plain"),
        size=round(float(at[1]), 4), shift=round(float(at[0]), 4), tint=(r, g, b),
    )  # fmt: skip


def _draw(sketch: Sketch, rng: Rng, name: str) -> Bird:
    """An individual of a species: rule parts as the rule says, all others at random; pose and place default."""
    parts = ORDERS[sketch.edition]
    looks, numbers = _looks(sketch, rng, name), sketch.numbers(rng, wanted_by(sketch, name))
    sizes, there = 0.94 + 0.12 * rng.random(len(parts)), rng.random(len(parts))
    tints = (rng.random((len(parts), 3)) * 2 - 1) * 0.035
    for twin, like in sketch.twins.items():
        tints[parts.index(twin)] = tints[parts.index(like)]
    needed = set(sketch.species[name].parts)
    kept = []
    for part, size, chance, tint in zip(parts, sizes, there, tints, strict=True):
        if part in needed or chance < sketch.optional.get(part, 1.0):
            at = numbers.get(part, (0.0, 1.0 if part in sketch.rigid else float(size)))
            kept.append(_part(sketch, part, looks, at, tint))
    return Bird(name, tuple(kept), edition=sketch.edition)


def _new_part(sketch: Sketch, name: str, seed: int) -> Part:
    """A part for a thing that lacks it."""
    rng = generator(seed, ORDERS[sketch.edition].index(name))
    looks, numbers = _looks(sketch, rng, next(iter(sketch.species))), sketch.numbers(rng, {})
    return _part(sketch, name, looks, numbers.get(name, (0.0, 1.0)), np.zeros(3))


def _like(bird: Bird, other: Bird) -> Bird:
    """The thing in the pose and place of another one."""
    return replace(
        bird, x=other.x, y=other.y, scale=other.scale, angle=other.angle, lift=other.lift, mirror=other.mirror
    )


def _pose(sketch: Sketch, rng: Rng, bird: Bird, room: Room = WHOLE) -> Bird:
    """The thing in a random pose, scale and place inside `room`, none of which depends on the thing."""
    u, angle, lift, side, x, y = cast(list[float], rng.random(6).tolist())
    wide, high = room[2] - room[0], room[3] - room[1]
    low, top = sketch.scales
    scale = (low + (top - low) * u) * min(wide, high) / (WHOLE[2] - WHOLE[0])
    largest = replace(
        sketch.largest(), x=0.0, y=0.0, scale=round(scale, 4), angle=round((angle - 0.5) * sketch.tilt, 4),
        lift=round((lift - 0.4) * sketch.lift, 3) if sketch.lift else 0.0, mirror=side < 0.5,
    )  # fmt: skip
    x0, y0, x1, y1 = extent(largest)
    placed = replace(
        largest,
        x=round(room[0] - x0 + (wide - (x1 - x0)) * x, 4),
        y=round(room[1] - y0 + (high - (y1 - y0)) * y, 4),
    )
    return _like(bird, placed)


def _scene(sketch: Sketch, rng: Rng, name: str, size: int) -> Scene:
    """A clean scene: background, pose and objects are drawn before the thing is."""
    kind = sketch.backgrounds[int(rng.random() * len(sketch.backgrounds))]
    background, things = Background(kind, int(rng.integers(2**31))), clutter(rng, sketch.lying)
    largest = _pose(sketch, rng, sketch.largest())
    # The branch lies under the longest legs: where it is says nothing of the bird.
    branch = (perch(largest, sketch.perches[kind]),) if kind in sketch.perches else ()
    return Scene(background, (_like(_draw(sketch, rng, name), largest),), (*branch, *things), size=size)
