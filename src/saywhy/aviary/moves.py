"""Things whose relation is kept or changed by moving its parts: what tells a relation from one part's own place.

Moved are the numbers of the two parts (`Relation.number`): a height, a place along the wing, a length's logarithm.
"together": both by as much, so that the relation stays. "one": one of the two so that the answer changes. "first" and
"second": each alone by what "together" moves it. A move for which the track has no room is left out.
"""

from __future__ import annotations

from saywhy.aviary.birds import Bird, Part
from saywhy.aviary.counterfactuals import replace_part
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import Rng
from saywhy.aviary.world import Relation

LEAST = 0.08  # of a track, that "together" moves


def moved_apart(scene: Scene, row: Relation, rng: Rng) -> dict[str, Scene]:
    """The moves of a relation's two parts that have room: name -> scene."""
    bird = scene.birds[0]
    a, b = (_own(bird, name) for name in (row.part, row.other))
    x, y = row.number(a), row.number(b)
    out: dict[str, Scene] = {}

    def scene_with(first: float, second: float) -> Scene:
        changed = replace_part(scene, row.put(a, first))
        return replace_part(changed, row.put(b, second))

    low, high = -min(x, y), 1 - max(x, y)
    room = [(low, -LEAST)] * (low < -LEAST) + [(LEAST, high)] * (high > LEAST)
    if room:
        least, most = room[int(rng.random() * len(room))]
        by = least + (most - least) * float(rng.random())
        out["together"] = scene_with(x + by, y + by)
        out["first"], out["second"] = scene_with(x + by, y), scene_with(x, y + by)
    ways = [scene_with(to, y) for to in row.across(x, y) if 0 <= to <= 1]
    ways += [scene_with(x, to) for to in row.across(y, x) if 0 <= to <= 1]
    ways = [w for w in ways if row.answer(w.birds[0]) != row.answer(bird)]
    if ways:
        out["one"] = ways[int(rng.random() * len(ways))]
    return out


def _own(bird: Bird, name: str) -> Part:
    part = bird.part(name)
    if part is None:
        raise ValueError(f"the bird has no {name}")
    return part
