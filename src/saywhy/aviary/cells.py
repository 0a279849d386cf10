"""A second family from the same engine: cells of a smear, 12 kinds whose names are invented and no diagnosis.

Rules, relations, games, captions, faults and counterfactuals are those of the birds' second edition with other parts
and words, so that what is found on birds can be asked again of other things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from saywhy.aviary.birds import Bird, Part
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
    swap_sizes,
)
from saywhy.aviary.scenery import SMEARS, Rng
from saywhy.aviary.smear import RADII
from saywhy.aviary.world import Atom, Relation, Species, clan

DOMAINS: dict[tuple[str, str], tuple[str, ...]] = {
    ("nucleus", "colour"): ("violet", "blue", "brown"),
    ("nucleus", "shape"): ("round", "kidney", "lobed"),
    ("nucleus", "pattern"): ("plain", "speckled", "scaled"),
    ("granules", "colour"): ("pink", "yellow", "green"),
    ("granules", "pattern"): ("speckled", "spotted", "streaked"),
    ("process", "shape"): ("pointed", "blunt", "forked"),
    ("process", "colour"): ("orange", "turquoise", "slate"),
    ("vacuole", "colour"): ("white", "turquoise"),
    ("inclusion", "shape"): ("single", "double", "triple"),
    ("inclusion", "colour"): ("black", "red"),
    ("nucleolus", "colour"): ("white", "yellow", "orange"),
    ("rim", "colour"): ("grey", "brown", "red"),
    ("cytoplasm", "colour"): ("grey", "sand", "white"),
    ("cytoplasm", "pattern"): ("plain", "streaked"),
}
NULL_PARTS = ("rim", "cytoplasm", "nucleolus")


def _share(part: Part) -> float:
    """The radius of nucleus or vacuole as a number in [0, 1]."""
    return (part.size - RADII[0]) / (RADII[1] - RADII[0])


def _radius(number: float) -> float:
    return RADII[0] + (RADII[1] - RADII[0]) * number


def _sized(part: Part, to: float) -> Part:
    return replace(part, size=round(_radius(to), 4))


RELATIONS = (
    Relation("nucleus", "vacuole", "size", ("larger than", "smaller than"), larger, swap_sizes,
             number=_share, put=_sized),
    Relation("inclusion", "process", "gap", ("close to", "far from"), near, other_distance, across=other_gap),
)  # fmt: skip

_CLANS = (
    ("rotule", "arbel / corvin", "nucleus colour violet", "granules colour pink",
     "nucleus shape round / nucleus shape kidney"),
    ("lunule", "delmar / evrin", "nucleus colour violet", "granules colour yellow",
     "nucleus larger than vacuole / nucleus smaller than vacuole"),
    ("comule", "fenwick / galt", "nucleus colour blue", "granules colour pink",
     "granules pattern speckled / granules pattern spotted", "process shape blunt or inclusion colour black"),
    ("pallule", "halden / ister", "nucleus colour blue", "granules colour green",
     "inclusion close to process / inclusion far from process"),
    ("stellule", "jarrow / kestel", "nucleus colour brown", "granules colour yellow",
     "process shape forked / process shape pointed"),
    ("vespule", "lorn / mirel", "nucleus colour brown", "granules colour green",
     "inclusion shape single / inclusion shape triple", "process colour orange"),
)  # fmt: skip
_RELATED = [Atom(r.part, r.key, answer, r.other) for r in RELATIONS for answer in r.answers]
SPECIES: dict[str, Species] = {s.name: s for row in _CLANS for s in clan(*row, related=_RELATED, edition="cells")}


def _numbers(rng: Rng, demanded: Mapping[str, bool]) -> Numbers:
    """(shift, size) of every part that a relation is about."""
    coins, sizes = rng.random(2), 0.94 + 0.12 * rng.random(2)
    wanted = {r.key: demanded.get(r.key, bool(u < 0.5)) for r, u in zip(RELATIONS, coins, strict=True)}
    nucleus, vacuole = apart(rng, wanted["size"])
    inclusion = float(rng.random())
    return {
        "nucleus": (0.0, _radius(nucleus)), "vacuole": (0.0, _radius(vacuole)),
        "inclusion": (inclusion, sizes[0]), "process": (partner(inclusion, NEAR if wanted["gap"] else FAR), sizes[1]),
    }  # fmt: skip


@cache
def _largest() -> Bird:
    """A cell as large as any, with processes wherever there can be one."""
    ends = tuple(Part("process", "grey", "forked", size=1.06, shift=k / 8) for k in range(9))
    return Bird(None, (*ends, Part("rim", "grey")), edition="cells")


SKETCH = Sketch(
    edition="cells",
    species=SPECIES,
    domains=DOMAINS,
    optional={"vacuole": 0.5, "inclusion": 0.5},
    relations=RELATIONS,
    null_parts=NULL_PARTS,
    numbers=_numbers,
    largest=_largest,
    backgrounds=tuple(SMEARS),
    scales=(0.17, 0.30),
    tilt=0.8,
    rigid=("rim", "cytoplasm", "granules"),
    lying=(("platelet", "violet"), ("thread", "slate"), ("grain", "brown"), ("platelet", "pink")),
    noun="cell",
    carrier="cytoplasm",
)
CELLS = SKETCH.world()
