"""The second edition of the birds: 24 species whose relations cannot be told from one part, and how one is drawn.

Nothing but the rule depends on the species: scale, pose and place are drawn before anything is known of the bird and
within what the largest bird needs. Numbers of a relation (a height, a place along the wing, a length) are in [0, 1]
of their track. `apart` draws two that differ by about a seventh of it, wherever on the track they lie, so that one
alone gives the answer in 59 %; `paired` draws two near or far each of which is uniform, so that one alone gives
nothing; and which of the two collars lies above is a coin's fall.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from saywhy.aviary import species
from saywhy.aviary.birds import ORDERS, Bird, Part, extent
from saywhy.aviary.plumage import COLLARS, HEIGHTS, LONGEST, along
from saywhy.aviary.sampling import PERCHES, clutter, perch
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import BACKGROUNDS, Background, Rng, generator
from saywhy.aviary.world import WHOLE, Atom, Pair, Relation, Room, Species, World, clan

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
DOMAINS = dict(sorted((species.DOMAINS | _NEW).items(), key=lambda row: _DRAWN.index(row[0][0])))
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
STEP = (0.135, 0.16)  # between two numbers of a relation
NEAR, FAR = 0.25, 0.5
CLEAR = 0.05  # between the middles of a collar and of what it must not hide
LENGTHS = (0.18, 0.56)  # of the shorter collar
LONGER = 0.20  # by which the other one is longer
SCALES = (0.115, 0.205)


def apart(rng: Rng, larger: bool) -> tuple[float, float]:
    """Two numbers in [0, 1], the first larger or smaller by `STEP`."""
    step, place = rng.random(2)
    step = STEP[0] + (STEP[1] - STEP[0]) * step
    low = (1 - step) * place
    return (low + step, low) if larger else (low, low + step)


def partner(place: float, distance: float) -> float:
    """The other of two places that lie near to each other or far apart; the partner's partner is the place itself."""
    return place + distance if int(place / distance) % 2 == 0 else place - distance


def length(number: float) -> float:
    """Length of a beak or crest."""
    return float(SHORTEST * np.power(LONGEST / SHORTEST, number))


# --------------------------------------------------------------------------------------------------
# Relations.


def _above(fleck: Part, bead: Part) -> bool:
    return fleck.shift + fleck.dy < bead.shift + bead.dy


def _ahead(bar: Part, patch: Part) -> bool:
    return bar.shift + bar.dx > patch.shift + patch.dx


def _longer(beak: Part, crest: Part) -> bool:
    return beak.size > crest.size


def _near(one: Part, two: Part) -> bool:
    return abs(one.shift + one.dy - two.shift - two.dy) < (NEAR + FAR) / 2


def _longer_above(one: Part, two: Part) -> bool:
    return (one.size > two.size) == (one.shift + one.dy < two.shift + two.dy)


def _swap_places(a: Part, b: Part) -> Pair:
    return replace(a, shift=b.shift, dx=0.0, dy=0.0), replace(b, shift=a.shift, dx=0.0, dy=0.0)


def _swap_sizes(a: Part, b: Part) -> Pair:
    return replace(a, size=b.size), replace(b, size=a.size)


def _other_distance(one: Part, two: Part) -> Pair:
    """The second collar near where it was far, on whichever side it stays above or below."""
    wanted = FAR if _near(one, two) else NEAR
    sign = 1 if two.shift > one.shift else -1
    place = one.shift + sign * wanted
    if not 0 <= place <= 1:  # no room there: both slide along
        moved = min(max(place, 0.0), 1.0)
        return replace(one, shift=round(moved - sign * wanted, 4), dy=0.0), replace(two, shift=moved, dy=0.0)
    return one, replace(two, shift=round(place, 4), dy=0.0)


RELATIONS = (
    Relation("fleck", "bead", "height", ("above", "below"), _above, _swap_places),
    Relation("bar", "patch", "side", ("in front of", "behind"), _ahead, _swap_places),
    Relation("beak", "crest", "size", ("longer than", "shorter than"), _longer, _swap_sizes),
    Relation("collar", "collar2", "gap", ("close to", "far from"), _near, _other_distance,
             ("collars close together", "collars far apart")),
    Relation("collar", "collar2", "order", ("longer above", "longer below"), _longer_above, _swap_sizes,
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


@cache
def _demanded(name: str) -> dict[str, bool]:
    """For each kind of relation that the rule names whether its first answer is wanted."""
    rows = {(r.part, r.other, r.key): r.answers[0] for r in RELATIONS}
    return {a.key: a.value == rows[a.part, a.other, a.key] for a in SPECIES[name].rule if a.other is not None}


def _looks(rng: Rng, name: str) -> dict[tuple[str, str], str]:
    """All attributes: those of the rule as it says, the others uniform; drawn again where no atom of a group holds."""
    fixed, groups = SPECIES[name].fixed, SPECIES[name].either
    while True:
        picks = rng.random(len(DOMAINS))
        out = {k: fixed.get(k, d[int(u * len(d))]) for (k, d), u in zip(DOMAINS.items(), picks, strict=True)}
        if all(any(out[a.part, a.key] == a.value for a in group) for group in groups):
            return out


def _numbers(rng: Rng, demanded: dict[str, bool]) -> dict[str, tuple[float, float]]:
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


def _part(name: str, looks: dict[tuple[str, str], str], at: tuple[float, float], tint: np.ndarray) -> Part:
    colour = looks["collar" if name == "collar2" else name, "colour"]
    r, g, b = (round(float(t), 4) for t in tint)
    return Part(
        name, colour, looks.get((name, "shape"), "plain"), looks.get((name, "pattern"), "plain"),
        size=round(float(at[1]), 4), shift=round(float(at[0]), 4), tint=(r, g, b),
    )  # fmt: skip


_RIGID = ("wing", "body", "breast", "throat", "crown")


def draw(rng: Rng, name: str) -> Bird:
    """An individual of a species: rule parts as the rule says, all others at random; pose and place default."""
    looks, numbers = _looks(rng, name), _numbers(rng, _demanded(name))
    sizes, there = 0.94 + 0.12 * rng.random(len(PARTS)), rng.random(len(PARTS))
    tints = (rng.random((len(PARTS), 3)) * 2 - 1) * 0.035
    tints[PARTS.index("collar2")] = tints[PARTS.index("collar")]
    needed = set(SPECIES[name].parts)
    kept = []
    for part, size, chance, tint in zip(PARTS, sizes, there, tints, strict=True):
        if part in needed or chance < OPTIONAL.get(part, 1.0):
            at = numbers.get(part, (0.0, 1.0 if part in _RIGID else float(size)))
            kept.append(_part(part, looks, at, tint))
    return Bird(name, tuple(kept), edition="2")


def _new_part(name: str, seed: int) -> Part:
    """A part for a bird that lacks it."""
    rng = generator(seed, PARTS.index(name))
    return _part(name, _looks(rng, next(iter(SPECIES))), _numbers(rng, {}).get(name, (0.0, 1.0)), np.zeros(3))


@cache
def _largest() -> Bird:
    """A bird as large as any: what it needs is what every bird gets."""
    parts = [Part(n, "grey", size=1.06) for n in PARTS if n not in ("beak", "crest", "tail", "collar", "collar2")]
    long = [Part("beak", "grey", "straight", size=LONGEST), Part("crest", "grey", size=LONGEST)]
    return Bird(None, (*parts, *long, Part("tail", "grey", "pointed", size=1.06)), edition="2")


def _like(bird: Bird, other: Bird) -> Bird:
    """The bird in the pose and place of another one."""
    return replace(
        bird, x=other.x, y=other.y, scale=other.scale, angle=other.angle, lift=other.lift, mirror=other.mirror
    )


def pose(rng: Rng, bird: Bird, room: Room = WHOLE) -> Bird:
    """The bird in a random pose, scale and place inside `room`, none of which depends on the bird."""
    u, angle, lift, side, x, y = (float(v) for v in rng.random(6))
    wide, high = room[2] - room[0], room[3] - room[1]
    scale = (SCALES[0] + (SCALES[1] - SCALES[0]) * u) * min(wide, high) / (WHOLE[2] - WHOLE[0])
    largest = replace(
        _largest(), x=0.0, y=0.0, scale=round(scale, 4), angle=round((angle - 0.5) * 0.28, 4),
        lift=round((lift - 0.4) * 0.14, 3), mirror=side < 0.5,
    )  # fmt: skip
    x0, y0, x1, y1 = extent(largest)
    placed = replace(
        largest,
        x=round(room[0] - x0 + (wide - (x1 - x0)) * x, 4),
        y=round(room[1] - y0 + (high - (y1 - y0)) * y, 4),
    )
    return _like(bird, placed)


def scene(rng: Rng, name: str, size: int) -> Scene:
    """A clean scene: background, pose and objects are drawn before the bird is."""
    kind = tuple(BACKGROUNDS)[int(rng.random() * len(BACKGROUNDS))]
    background, things = Background(kind, int(rng.integers(2**31))), clutter(rng)
    largest = pose(rng, _largest())
    # The branch lies under the longest legs: where it is says nothing of the bird.
    return Scene(background, (_like(draw(rng, name), largest),), (perch(largest, PERCHES[kind]), *things), size=size)


SECOND = World(
    edition="2",
    domains=DOMAINS,
    relations=RELATIONS,
    species=SPECIES,
    null_parts=NULL_PARTS,
    draw=draw,
    new_part=_new_part,
    pose=pose,
    settle=pose,
    scene=scene,
    presence=OPTIONAL,
)
