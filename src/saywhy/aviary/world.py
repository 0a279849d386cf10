"""A world: which attributes its things have, which relations count, which species there are and how one is drawn.

The engine (painting, counterfactuals, games, captions, data sets) asks the world of a thing's edition and knows
no species itself. `world("1")` is the first edition of the birds, "2" the second, "cells" one of blood smears: there
a `Bird` is a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING

from saywhy.aviary.birds import ORDERS, Bird, Part
from saywhy.errors import unknown

if TYPE_CHECKING:
    from saywhy.aviary.scene import Scene
    from saywhy.aviary.scenery import Rng

Room = tuple[float, float, float, float]
WHOLE: Room = (0.025, 0.025, 0.975, 0.975)


@dataclass(frozen=True)
class Atom:
    """One condition of a rule: the attribute `key` of `part` is `value`; or, with `other`, the relation
    `value` holds between `part` and `other` ("above", "below", "in front of" = nearer to the head, "behind")."""

    part: str
    key: str
    value: str
    other: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that must be seen to judge the atom."""
        return (self.part,) if self.other is None else (self.part, self.other)

    def __str__(self) -> str:
        if self.other is not None:
            return f"{self.part} {self.value} the {self.other}"
        return f"{self.value} {self.part}"


@dataclass(frozen=True)
class Species:
    """A species: its name, its clan (species with the same common atoms), the atoms of its rule, which must all hold,
    and groups of atoms of which one must hold (`either`); `edition` is the world that it is of."""

    name: str
    clan: str
    rule: tuple[Atom, ...]
    either: tuple[tuple[Atom, ...], ...] = ()
    edition: str = "1"

    @property
    def clauses(self) -> tuple[tuple[Atom, ...], ...]:
        """All that must hold: of each clause at least one atom."""
        return (*((a,) for a in self.rule), *self.either)

    @cached_property
    def fixed(self) -> Mapping[tuple[str, str], str]:
        """The looks that the rule demands."""
        return {(a.part, a.key): a.value for a in self.rule if a.other is None}

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the rule names, in painting order."""
        named = {p for clause in self.clauses for a in clause for p in a.parts}
        return tuple(p for p in ORDERS[self.edition] if p in named)


def clan(name: str, members: str, *clauses: str, related: Iterable[Atom], edition: str) -> tuple[Species, ...]:
    """The species of a clan from a row of a table: "copper / pewter" are two, and of a clause like "beak shape curved /
    beak shape conical" the first is the first one's and so on; any other clause is of all.

    A clause is "beak shape curved", one of the `related` as it reads ("crest above band"), or some with "or" between
    them, of which one must hold.
    """
    known = {f"{a.part} {a.value} {a.other}": a for a in related}

    def atom(text: str) -> Atom:
        return known.get(text) or Atom(*text.split())

    def one(first: str, number: int) -> Species:
        own = [ways[number % len(ways)].split(" or ") for ways in (c.split(" / ") for c in clauses)]
        rule = tuple(atom(texts[0]) for texts in own if len(texts) == 1)
        either = tuple(tuple(map(atom, texts)) for texts in own if len(texts) > 1)
        return Species(f"{first} {name}", name, rule, either, edition)

    return tuple(one(first, k) for k, first in enumerate(members.split(" / ")))


Pair = tuple[Part, Part]


def place(part: Part) -> float:
    """Where a part is on its track."""
    return part.shift


def moved(part: Part, to: float) -> Part:
    """The part at another place of its track."""
    return replace(part, shift=round(to, 4))


def beyond(number: float, other: float) -> tuple[float, ...]:
    """As far on the other side of the other number."""
    return (2 * other - number,)


@dataclass(frozen=True)
class Relation:
    """A relation of two parts with two answers.

    `first(part, other)`: whether the first answer is the right one. `turned(part, other)`: both parts as little
    changed as gives the other answer. `said`: plain names of the answers, where they do not name both parts.
    The answer is that of two numbers in [0, 1], one of each part: `number(part)` is a part's own, `put(part, to)` the
    part with another, and `across(number, other)` are the numbers that change the answer while the other one stays.
    """

    part: str
    other: str
    key: str
    answers: tuple[str, str]
    first: Callable[[Part, Part], bool]
    turned: Callable[[Part, Part], Pair]
    said: tuple[str, str] | None = None
    number: Callable[[Part], float] = place
    put: Callable[[Part, float], Part] = moved
    across: Callable[[float, float], tuple[float, ...]] = beyond

    def name(self, answer: str) -> str:
        """The plain name of an answer: "crest above the band"."""
        if self.said is not None:
            return self.said[self.answers.index(answer)]
        return f"{self.part} {answer} the {self.other}"

    def answer(self, bird: Bird) -> str | None:
        """What the bird shows, None when one of the two parts is missing."""
        a, b = bird.part(self.part), bird.part(self.other)
        return None if a is None or b is None else self.answers[0 if self.first(a, b) else 1]


@dataclass(frozen=True, eq=False)
class World:
    """One edition: a value that the engine reads.

    `domains` is what a free attribute is drawn from, uniformly; `presence` the chance that an optional part is there
    (parts that are not in it always are, as far as the games count); `null_parts` are in no rule. `draw(rng, name)`
    gives an individual of a species, `pose(rng, thing, room)` its pose, size and place, `settle` the same for a
    thing that has a pose already, `scene(rng, name, size)` a clean scene. `noun` is what its things are called,
    `carrier` the part that all others sit on and that cannot be removed, `objects` what may lie about.
    """

    edition: str
    domains: Mapping[tuple[str, str], tuple[str, ...]]
    relations: tuple[Relation, ...]
    species: Mapping[str, Species]
    null_parts: tuple[str, ...]
    draw: Callable[[Rng, str], Bird]
    new_part: Callable[[str, int], Part]
    pose: Callable[[Rng, Bird, Room], Bird]
    settle: Callable[[Rng, Bird, Room], Bird]
    scene: Callable[[Rng, str, int], Scene]
    presence: Mapping[str, float] = field(default_factory=dict)
    noun: str = "bird"
    carrier: str = "body"
    backgrounds: tuple[str, ...] = ("plain", "foliage", "water", "sky", "snow")
    objects: tuple[str, ...] = ("leaf", "stone", "flower", "star")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, in painting order."""
        return ORDERS[self.edition]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the species, in the order of a classifier's classes."""
        return tuple(self.species)

    def relation(self, part: str, other: str, answer: str) -> Relation | None:
        """The relation of the two parts that has this answer."""
        wanted = (r for r in self.relations if (r.part, r.other) == (part, other) and answer in r.answers)
        return next(wanted, None)

    def chance(self, atom: Atom, seen: Iterable[str] = ()) -> float:
        """How likely an atom is to hold when of its parts only `seen` are known to be there."""
        looks = 2 if atom.other is not None else len(self.domains[atom.part, atom.key])
        out = 1 / looks
        for part in atom.parts:
            out *= 1.0 if part in seen else self.presence.get(part, 1.0)
        return out

    def rejected(self, clause: Iterable[Atom]) -> Iterable[dict[tuple[str, str], str]]:
        """The looks of a clause's attributes under which none of its atoms holds."""
        atoms = tuple(clause)
        keys = [(a.part, a.key) for a in atoms]
        for looks in product(*(self.domains[k] for k in keys)):
            if not any(v == a.value for v, a in zip(looks, atoms, strict=True)):
                yield dict(zip(keys, looks, strict=True))


_WHERE = {"1": ("first", "FIRST"), "2": ("second", "SECOND"), "cells": ("cells", "CELLS")}
EDITIONS = tuple(_WHERE)


@cache
def world(edition: str) -> World:
    """The world of that edition.

    Raises:
        UsageError: no such edition.
    """
    if edition not in _WHERE:
        raise unknown("edition of the aviary", edition, EDITIONS)
    module, name = _WHERE[edition]
    return getattr(import_module(f"saywhy.aviary.{module}"), name)  # type: ignore[no-any-return]


@cache
def _everyone() -> dict[str, Species]:
    return {s.name: s for e in EDITIONS for s in world(e).species.values()}


def species(name: str) -> Species:
    """The species of that name, of whatever edition: no two share a name.

    Raises:
        UsageError: no such species.
    """
    first = world("1").species
    found = first.get(name) or _everyone().get(name)
    if found is None:
        raise unknown("species", name, first)
    return found


def relation(bird: Bird, part: str, other: str, key: str = "place") -> str | None:
    """The relation of that kind between two parts of a bird, None when one of them is missing."""
    row = next(r for r in world(bird.edition).relations if (r.part, r.other, r.key) == (part, other, key))
    return row.answer(bird)


def look(bird: Bird, atom: Atom) -> str | None:
    """What the bird shows where the atom asks, None when the part is missing."""
    if atom.other is not None:
        return relation(bird, atom.part, atom.other, atom.key)
    part = bird.part(atom.part)
    return None if part is None else str(getattr(part, atom.key))


def holds(bird: Bird, atom: Atom) -> bool | None:
    """Whether the atom is true of the bird; None when it cannot be judged because a part is missing."""
    seen = look(bird, atom)
    return None if seen is None else seen == atom.value


def _clause(bird: Bird, clause: tuple[Atom, ...], seen: set[str]) -> bool | None:
    """Whether one of a clause's atoms holds in the seen parts; None while that is open."""
    known = [holds(bird, a) if set(a.parts) <= seen else None for a in clause]
    return True if True in known else None if None in known else False


def consistent(bird: Bird, parts: Iterable[str] | None = None) -> tuple[str, ...]:
    """The species that nothing contradicts in the given parts of a bird (all of them when None)."""
    seen = set(bird.names if parts is None else parts)
    everyone = world(bird.edition).species.values()
    return tuple(s.name for s in everyone if not any(_clause(bird, c, seen) is False for c in s.clauses))


def identify(bird: Bird, parts: Iterable[str] | None = None) -> str | None:
    """The species whose whole rule is seen to hold in the given parts, None when there is none."""
    seen = set(bird.names if parts is None else parts)
    for s in world(bird.edition).species.values():
        if all(_clause(bird, c, seen) is True for c in s.clauses):
            return s.name
    return None
