"""What can truly be said of a picture of the second edition: facts, from which captions are made and tests check them.

A fact has a plain name ("curved beak", "fleck above the bead", "no crest", "two leaves", "left bird: red crown") and a
mask that it is seen in. Colours are said as they appear: under a tint or in the dark "crown appearing dark sand".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from saywhy.aviary.birds import COLOURS, Bird, Part
from saywhy.aviary.lexicon import NUMBERS
from saywhy.aviary.lexicons import lexicon
from saywhy.aviary.scene import Rendered
from saywhy.aviary.scenery import Degradation
from saywhy.aviary.world import Relation, world

TWINS = ("collar", "collar2")
DIM = 0.6  # light below which colours look dark
NEARER = 1.15  # factor of size from which one bird is called larger
APART = 0.06  # of the picture, from which one bird is called higher


@dataclass(frozen=True)
class Fact:
    """One thing that is true: its kind ("look", "appears", "lacks", "not", "relation", "collars", "setting", "things",
    "birds"), the part (or thing, or setting), the attribute's key, the value, and the bird that it is of in a picture
    of two."""

    kind: str
    part: str
    key: str = ""
    value: str = ""
    owner: str = ""
    other: str = ""

    @property
    def name(self) -> str:
        """The plain name, as `parse` gives it back."""
        return f"{self.owner}: {self._own}" if self.owner else self._own

    @property
    def _own(self) -> str:
        plain = {
            "look": f"{self.value} {self.part}",
            "appears": f"{self.part} appearing {self.value}",
            "lacks": f"no {self.part}",
            "not": f"{self.part} not {self.value}",
            "relation": f"{self.part} {self.value} the {self.other}",
            "birds": f"left {self.part} {self.value} than the right {self.part}",
            "things": f"{self.value} {self.key}",
        }
        return plain.get(self.kind, self.value)


def appearance(part: Part, how: Degradation) -> str:
    """The colour that a part seems to have: the nearest name under the tint, "dark" before it in the dark."""
    if how.cast == (1.0, 1.0, 1.0):
        seen = part.colour
    else:
        rgb = [c * k for c, k in zip(COLOURS[part.colour], how.cast, strict=True)]
        seen = min(COLOURS, key=lambda n: sum((a - b) ** 2 for a, b in zip(COLOURS[n], rgb, strict=True)))
    return f"dark {seen}" if how.light < DIM else seen


def _looks(bird: Bird, part: Part, how: Degradation, owner: str, said_as: str) -> list[Fact]:
    out = []
    for name, key in world(bird.edition).domains:
        if name != part.name:
            continue
        value = str(getattr(part, key))
        seen = appearance(part, how) if key == "colour" else value
        out.append(Fact("look" if seen == value else "appears", said_as, key, seen, owner))
    return out


def _related(bird: Bird, row: Relation, owner: str) -> Fact | None:
    answer = row.answer(bird)
    if answer is None:
        return None
    if row.said is not None:
        return Fact("collars", "collars", value=row.name(answer), owner=owner)
    return Fact("relation", row.part, row.key, answer, owner, row.other)


def of_bird(rendered: Rendered, index: int, owner: str = "") -> list[Fact]:
    """What is true of one bird: looks of its shown parts, relations between them, optional parts that it lacks."""
    bird, shown, how = rendered.scene.birds[index], rendered.shown(index), rendered.scene.degradation
    both = set(TWINS) <= set(shown)
    out: list[Fact] = []
    for part in bird.parts:
        if part.name not in shown or (both and part.name == TWINS[1]):
            continue
        named = "collars" if both and part.name == TWINS[0] else TWINS[0] if part.name == TWINS[1] else part.name
        base = part if part.name != TWINS[1] else Part(TWINS[0], part.colour)
        out += _looks(bird, base, how, owner, named)
    known = world(bird.edition)
    rows = (r for r in known.relations if {r.part, r.other} <= set(shown))
    out += [f for r in rows if (f := _related(bird, r, owner)) is not None]
    lacks = [p for p in known.presence if p not in bird.names and p not in TWINS]
    if TWINS[0] in known.presence and not set(TWINS) & set(bird.names):
        lacks.append(TWINS[0])
    return out + [Fact("lacks", p, owner=owner) for p in lacks]


def of_setting(rendered: Rendered) -> list[Fact]:
    """What is true of the picture around the birds: background, light, branch, direction, things that lie about."""
    scene, how = rendered.scene, rendered.scene.degradation
    names = [f"{scene.background.kind} background"]
    if len(scene.birds) == 1:
        names.append("facing left" if scene.birds[0].mirror else "facing right")
    counts = Counter(
        o.kind for k, o in enumerate(scene.objects) if rendered.object_mask(k).sum() >= _enough(scene.size)
    )
    names += ["on a branch"] if counts["branch"] else []
    names += ["dim light"] if how.light < DIM else []
    names += ["warm light" if how.cast[0] > how.cast[2] else "cold light"] if how.cast != (1.0, 1.0, 1.0) else []
    names += ["blurred picture"] if how.blur else []
    names += ["noisy picture"] if how.noise >= 10 else []
    out = [Fact("setting", n, value=n) for n in names]
    words = lexicon(scene.edition).objects
    for kind, n in counts.items():
        if kind in words and n < len(NUMBERS):
            out.append(Fact("things", kind, words[kind][0][n > 1], NUMBERS[n]))
    return out


def _enough(size: int) -> float:
    return 6 * (size / 128) ** 2


def order(rendered: Rendered) -> tuple[int, ...]:
    """The birds from left to right."""
    return tuple(sorted(range(len(rendered.scene.birds)), key=lambda k: rendered.scene.birds[k].x))


def of_pair(rendered: Rendered) -> list[Fact]:
    """How the left bird compares with the right one."""
    left, right = (rendered.scene.birds[k] for k in order(rendered))
    out = []
    if max(left.scale, right.scale) > NEARER * min(left.scale, right.scale):
        out.append("larger" if left.scale > right.scale else "smaller")
    if abs(left.y - right.y) > APART:
        out.append("higher" if left.y < right.y else "lower")
    return [Fact("birds", world(left.edition).noun, value=v) for v in out]


def side_names(edition: str) -> tuple[str, str]:
    """How the two things of a picture are told apart."""
    noun = world(edition).noun
    return f"left {noun}", f"right {noun}"


def facts(rendered: Rendered) -> list[Fact]:
    """Everything that captions may say of a picture, but for what a part is not."""
    if len(rendered.scene.birds) != 2:
        return of_bird(rendered, 0) + of_setting(rendered)
    sides = zip(order(rendered), side_names(rendered.scene.edition), strict=True)
    birds = [f for k, side in sides for f in of_bird(rendered, k, side)]
    return birds + of_pair(rendered) + of_setting(rendered)
