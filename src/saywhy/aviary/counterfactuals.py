"""Counterfactual scenes: the same picture with one thing changed, to be rendered again.

All functions take a scene and give a scene; `bird` says which bird is meant. The changed bird's `species` is
what the rules now say it is: None where no rule is seen to hold any more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from saywhy.aviary.birds import COLOURS, ORDERS, Bird, Part, forward
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import Background, Degradation
from saywhy.aviary.world import Atom, holds, identify, species, world
from saywhy.errors import UsageError, unknown


def _put(scene: Scene, changed: Bird, bird: int) -> Scene:
    return scene.with_bird(replace(changed, species=identify(changed)), bird)


def _own(scene: Scene, name: str, bird: int) -> Part:
    if name not in ORDERS[scene.edition]:
        raise unknown("part", name, ORDERS[scene.edition])
    part = scene.birds[bird].part(name)
    if part is None:
        raise UsageError(f"this bird has no {name}; it has {', '.join(scene.birds[bird].names)}")
    return part


def remove(scene: Scene, *parts: str, bird: int = 0) -> Scene:
    """The scene with parts of a bird gone; what lies behind them shows. The body (of a cell: the cytoplasm) stays."""
    for name in parts:
        _own(scene, name, bird)
    own = world(scene.edition)
    if own.carrier in parts:
        raise UsageError(
            f"the {own.carrier} carries all other parts and cannot be removed; remove the {own.noun} instead"
        )
    return _put(scene, scene.birds[bird].without(*parts), bird)


def keep_only(scene: Scene, parts: Collection[str], *, bird: int = 0) -> Scene:
    """The scene with all parts of a bird removed but those named (and the body, of a cell: the cytoplasm)."""
    gone = [n for n in scene.birds[bird].names if n not in parts and n != world(scene.edition).carrier]
    return remove(scene, *gone, bird=bird)


def remove_bird(scene: Scene, bird: int = 0) -> Scene:
    """The scene without that bird."""
    return replace(scene, birds=tuple(b for i, b in enumerate(scene.birds) if i != bird))


def replace_part(scene: Scene, part: Part, *, bird: int = 0) -> Scene:
    """The scene with a bird's part of that name exchanged for the given one, or given one if it had none."""
    if part.name not in ORDERS[scene.edition]:
        raise unknown("part", part.name, ORDERS[scene.edition])
    return _put(scene, scene.birds[bird].with_part(part), bird)


def recolour(scene: Scene, part: str, colour: str, *, bird: int = 0) -> Scene:
    """The scene with one part in another colour, all else about the part as it was."""
    if colour not in COLOURS:
        raise unknown("colour", colour, COLOURS)
    return replace_part(scene, replace(_own(scene, part, bird), colour=colour), bird=bird)


def displace(scene: Scene, part: str, dx: float, dy: float, *, bird: int = 0) -> Scene:
    """The scene with a part moved by bird units: `dx` towards the head, `dy` towards the feet."""
    own = _own(scene, part, bird)
    return replace_part(scene, replace(own, dx=own.dx + dx, dy=own.dy + dy), bird=bird)


def shift(scene: Scene, parts: Collection[str], down: float, right: float, *, bird: int = 0) -> Scene:
    """The scene with parts moved by pixels of the picture, whichever way the bird is turned."""
    own = scene.birds[bird]
    start = np.array([[own.x, own.y]])
    ((dx, dy),) = forward(own, start + np.array([right, down]) / scene.size) - forward(own, start)
    for part in parts:
        scene = displace(scene, part, float(dx), float(dy), bird=bird)
    return scene


def swap_background(scene: Scene, kind: str, *, seed: int | None = None) -> Scene:
    """The scene before another background; birds and objects stay as they are."""
    known = world(scene.edition).backgrounds
    if kind not in known:
        raise unknown("background", kind, known)
    return replace(scene, background=Background(kind, scene.background.seed if seed is None else seed))


def degrade(scene: Scene, how: Degradation) -> Scene:
    """The scene as a worse camera sees it."""
    return replace(scene, degradation=how)


def set_relation(scene: Scene, part: str, other: str, answer: str, *, bird: int = 0) -> Scene:
    """The scene with `part` put where the relation to `other` is `answer`; bar and patch change places.

    Raises:
        UsageError: no such relation, or one of the two parts is missing.
    """
    own = world(scene.edition)
    row = own.relation(part, other, answer)
    if row is None:
        known = [f"{r.part} {a} {r.other}" for r in own.relations for a in r.answers]
        raise unknown("relation", f"{part} {answer} {other}", known)
    mine, fixed = _own(scene, part, bird), _own(scene, other, bird)
    if row.answer(scene.birds[bird]) == answer:
        return scene
    mine, fixed = row.turned(mine, fixed)
    return _put(scene, scene.birds[bird].with_part(mine).with_part(fixed), bird)


def transplant(scene: Scene, part: str, donor: str, *, bird: int = 0, seed: int = 0) -> Scene:
    """The scene with a part as the rule of the species `donor` wants it; what that rule leaves free stays.

    A part that the bird lacks is drawn with `seed`. If the rule asks for a relation, the part moves.

    Raises:
        UsageError: the donor's rule does not name the part.
    """
    named = [a for a in species(donor).rule if part in a.parts]
    # Of atoms of which one must hold, those of this part are made to, unless one of another part does.
    either = [c for c in species(donor).either if any(part in a.parts for a in c)]
    named += [next(a for a in c if part in a.parts) for c in either if not _met(scene.birds[bird], c, part)]
    if not named and not either:
        raise UsageError(f"the rule of {donor!r} does not name the {part}; it names {', '.join(species(donor).parts)}")
    fixed = {a.key: a.value for a in named if a.other is None}
    own = scene.birds[bird].part(part) or world(scene.edition).new_part(part, seed)
    wanted = replace(
        own,
        colour=fixed.get("colour", own.colour),
        shape=fixed.get("shape", own.shape),
        pattern=fixed.get("pattern", own.pattern),
    )
    changed = replace_part(scene, wanted, bird=bird)
    for atom in named:
        if atom.other is None:
            continue
        for missing in atom.parts:
            if changed.birds[bird].part(missing) is None:
                changed = replace_part(changed, world(scene.edition).new_part(missing, seed), bird=bird)
        changed = set_relation(changed, atom.part, atom.other, atom.value, bird=bird)
    return changed


def _met(bird: Bird, clause: tuple[Atom, ...], part: str) -> bool:
    return any(holds(bird, a) for a in clause if part not in a.parts)


def become(scene: Scene, donor: str, *, bird: int = 0, seed: int = 0) -> Scene:
    """The scene with every part that the donor's rule names as that rule wants it: now a bird of that species."""
    for part in species(donor).parts:
        scene = transplant(scene, part, donor, bird=bird, seed=seed)
    return scene
