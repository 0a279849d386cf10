"""The second edition of the birds: their rules and how one is drawn.

No part tells the class by its own size or place where a relation does (`drawing`). Which of the two collars lies above
is a coin's fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from saywhy.aviary.birds import ORDERS, Bird, Part
from saywhy.aviary.drawing import (
    FAR,
    NEAR,
    Numbers,
    Sketch,
    apart,
    larger,
    near,
    other_distance,
    other_gap,
    partner,
    swap_places,
    swap_sizes,
)
from saywhy.aviary.plumage import COLLARS, HEIGHTS, LONGEST, along
from saywhy.aviary.sampling import PERCHES
from saywhy.aviary.scenery import BACKGROUNDS, Rng
from saywhy.aviary.species import DOMAINS as FIRST_DOMAINS
from saywhy.aviary.world import Atom, Relation, Species, clan

PARTS = ORDERS["2"]
_NEW: dict[tuple[str, str], tuple[str, ...]] = {
    ("breast", "pattern"): ("plain", "speckled", "spotted", "streaked", "scaled", "barred"),
    ("wing", "pattern"): ("plain", "spotted", "streaked", "scaled"),
    ("body", "pattern"): ("plain", "streaked", "scaled"),
    ("collar", "colour"): ("white", "black"),
    ("fleck", "colour"): ("black", "orange"),
    ("bead", "colour"): ("turquoise", "white"),
}
# In this order they are drawn.
_DRAWN = (
    "breast", "crown", "wing", "throat", "beak", "tail", "crest", "collar", "band", "bar", "patch", "fleck", "bead",
    "legs", "eye", "body",
)  # fmt: skip
DOMAINS = dict(sorted((FIRST_DOMAINS | _NEW).items(), key=lambda row: _DRAWN.index(row[0][0])))
OPTIONAL = {
    "crest": 0.5,
    "collar": 0.5,
    "collar2": 0.5,
    "band": 0.5,
    "bar": 0.5,
    "patch": 0.5,
    "fleck": 0.5,
    "bead": 0.5,
}
NULL_PARTS = ("body", "eye", "legs", "band")

SHORTEST = 0.24  # of beaks and crests; a number in [0, 1] is the share of the way to LONGEST, in logarithms
CLEAR = 0.05  # between the middles of a collar and of what it must not hide
LENGTHS = (0.18, 0.56)  # of the shorter collar
LONGER = 0.20  # by which the other one is longer


def length(number: float) -> float:
    """Length of a beak or crest."""
    return float(SHORTEST * np.power(LONGEST / SHORTEST, number))


# --------------------------------------------------------------------------------------------------
# Relations.


def _above(fleck: Part, bead: Part) -> bool:
    return fleck.shift + fleck.dy < bead.shift + bead.dy


def _ahead(bar: Part, patch: Part) -> bool:
    return bar.shift + bar.dx > patch.shift + patch.dx


def _longer_above(one: Part, two: Part) -> bool:
    return (one.size > two.size) == (one.shift + one.dy < two.shift + two.dy)


def _reach(part: Part) -> float:
    """The length as a number in [0, 1]."""
    return float(np.log(part.size / SHORTEST) / np.log(LONGEST / SHORTEST))


def _stretched(part: Part, to: float) -> Part:
    return replace(part, size=round(length(to), 4))


RELATIONS = (
    Relation("fleck", "bead", "height", ("above", "below"), _above, swap_places),
    Relation("bar", "patch", "side", ("in front of", "behind"), _ahead, swap_places),
    Relation("beak", "crest", "size", ("longer than", "shorter than"), larger, swap_sizes,
             number=_reach, put=_stretched),
    Relation("collar", "collar2", "gap", ("close to", "far from"), near, other_distance,
             ("collars close together", "collars far apart"), across=other_gap),
    Relation("collar", "collar2", "order", ("longer above", "longer below"), _longer_above, swap_sizes,
             ("upper collar longer", "lower collar longer")),
)  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Species.


_CLANS = (
    ("rail", "copper / pewter", "breast colour red", "crown colour black", "beak shape curved / beak shape conical"),
    ("plover", "castle / abacus", "breast colour red", "crown colour white",
     "collar longer above collar2 / collar longer below collar2"),
    ("bunting", "minuet / gavotte", "breast colour yellow", "crown colour black",
     "fleck above bead / fleck below bead"),
    ("chat", "thimble / bobbin", "breast colour yellow", "crown colour white",
     "beak longer than crest / beak shorter than crest"),
    ("jay", "ferry / tram", "crown colour red", "wing colour yellow", "bar in front of patch / bar behind patch"),
    ("shrike", "almond / walnut", "crown colour red", "wing colour green", "throat colour white / throat colour pink",
     "tail shape fan", "beak colour black"),
    ("linnet", "orchard / hamlet", "crown colour blue", "wing colour yellow",
     "collar close to collar2 / collar far from collar2"),
    ("dipper", "velvet / damask", "crown colour blue", "wing colour green",
     "wing pattern scaled / wing pattern streaked", "beak shape straight or tail shape pointed"),
    ("martin", "ember / cobalt", "wing colour red", "breast colour blue", "tail shape pointed / tail shape forked",
     "throat colour black or beak colour orange"),
    ("wagtail", "domino / pepper", "wing colour red", "breast colour white",
     "breast pattern spotted / breast pattern speckled"),
    ("oriole", "quarry / cellar", "wing colour violet", "breast colour blue",
     "breast pattern scaled / breast pattern barred", "beak shape hooked"),
    ("turtle", "saffron / lilac", "wing colour violet", "breast colour white", "throat colour yellow",
     "crest colour green / crest colour violet", "tail shape fan"),
)  # fmt: skip
_RELATED = [Atom(r.part, r.key, answer, r.other) for r in RELATIONS for answer in r.answers]
SPECIES: dict[str, Species] = {s.name: s for row in _CLANS for s in clan(*row, related=_RELATED, edition="2")}


# --------------------------------------------------------------------------------------------------
# Drawing an individual.


def _numbers(rng: Rng, demanded: Mapping[str, bool]) -> Numbers:
    """(shift, size) of every part that a relation is about."""
    coins = rng.random(6)
    wanted = {r.key: demanded.get(r.key, bool(u < 0.5)) for r, u in zip(RELATIONS, coins, strict=False)}
    fleck, bead = apart(rng, not wanted["height"])
    bar, patch = apart(rng, wanted["side"])
    beak, crest = apart(rng, wanted["size"])
    place, other = _collars(rng, NEAR if wanted["gap"] else FAR, (fleck, bead))
    short, sizes = rng.random(), 0.92 + 0.16 * rng.random(4)
    short = LENGTHS[0] + (LENGTHS[1] - LENGTHS[0]) * short
    # The first collar is the longer one where it lies above and the longer is to lie above, or neither.
    lengths = (short + LONGER, short) if (place < other) == wanted["order"] else (short, short + LONGER)
    return {
        "fleck": (fleck, sizes[0]), "bead": (bead, sizes[1]), "bar": (bar, sizes[2]), "patch": (patch, sizes[3]),
        "beak": (0.0, length(beak)), "crest": (0.0, length(crest)),
        "collar": (place, lengths[0]), "collar2": (other, lengths[1]),
    }  # fmt: skip


def _collars(rng: Rng, distance: float, others: tuple[float, float]) -> tuple[float, float]:
    """Places of the two collars where they leave fleck and bead in view.

    All four places that any two collars near or far can have with this one must do so: then what is left is as likely
    for collars that are near as for those that are far.
    """
    heights = [along(HEIGHTS, o) for o in others]
    while True:
        place = float(rng.random())
        four = [(place + k * NEAR) % 1 for k in range(4)]
        if all(abs(along(COLLARS, p) - h) > CLEAR for p in four for h in heights):
            return place, partner(place, distance)


@cache
def _largest() -> Bird:
    """A bird as large as any: what it needs is what every bird gets."""
    parts = [Part(n, "grey", size=1.06) for n in PARTS if n not in ("beak", "crest", "tail", "collar", "collar2")]
    long = [Part("beak", "grey", "straight", size=LONGEST), Part("crest", "grey", size=LONGEST)]
    return Bird(None, (*parts, *long, Part("tail", "grey", "pointed", size=1.06)), edition="2")


SKETCH = Sketch(
    edition="2",
    species=SPECIES,
    domains=DOMAINS,
    optional=OPTIONAL,
    relations=RELATIONS,
    null_parts=NULL_PARTS,
    numbers=_numbers,
    largest=_largest,
    backgrounds=tuple(BACKGROUNDS),
    scales=(0.115, 0.205),
    tilt=0.28,
    lift=0.14,
    rigid=("wing", "body", "breast", "throat", "crown"),
    twins={"collar2": "collar"},
    perches=PERCHES,
)
SECOND = SKETCH.world()
