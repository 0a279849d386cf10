"""The first edition of the birds as a world: its table of species, how one is drawn, posed and put into a scene."""

from __future__ import annotations

from dataclasses import replace

from saywhy.aviary.birds import PARTS, Bird, Part
from saywhy.aviary.sampling import clean_scene, fit, pose
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import Rng, generator
from saywhy.aviary.species import DOMAINS, JUDGES, NULL_PARTS, RELATIONS, SPECIES, draw_bird, draw_part
from saywhy.aviary.world import Relation, Room, World

_MIDDLES = {"crest": -0.95, "band": -0.80, "bar": 0.75, "patch": 0.30}


def _new_part(name: str, seed: int) -> Part:
    """A part for a bird that lacks it."""
    drawn = draw_part(generator(seed, PARTS.index(name)), name, {})
    return replace(drawn, shift=_MIDDLES.get(name, 0.0))


def _pose(rng: Rng, bird: Bird, room: Room) -> Bird:
    return pose(rng, bird, room=room)


def _settle(rng: Rng, bird: Bird, room: Room) -> Bird:
    return fit(bird, room, 0.5, float(rng.random()))


def _scene(rng: Rng, name: str, size: int) -> Scene:
    return clean_scene(rng, name, size=size)


FIRST = World(
    edition="1",
    domains=DOMAINS,
    relations=tuple(Relation(*pair, "place", RELATIONS[pair], *JUDGES[pair]) for pair in RELATIONS),
    species=SPECIES,
    null_parts=NULL_PARTS,
    draw=draw_bird,
    new_part=_new_part,
    pose=_pose,
    settle=_settle,
    scene=_scene,
)
