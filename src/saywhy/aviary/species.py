"""The species, each defined by a rule over a few parts, and the drawing of an individual.

A rule is a set of atoms that must all hold. Any two species disagree on an atom that both of them fix, so a
bird that fulfils one rule fulfils no other. What a rule does not name is drawn at random, the same way for
every species. No rule speaks of the absence of a part: hiding a part removes evidence and never adds any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from saywhy.aviary.birds import BAND_HEIGHTS, CREST_HEIGHTS, PARTS, Bird, Part
from saywhy.aviary.scenery import Rng
from saywhy.aviary.world import Atom, Pair, Species, clan, species

# What a free attribute is drawn from, uniformly.
DOMAINS: dict[tuple[str, str], tuple[str, ...]] = {
    ("breast", "colour"): ("red", "yellow", "blue", "white"),
    ("breast", "pattern"): ("plain", "spotted", "striped"),
    ("crown", "colour"): ("black", "white", "red", "blue"),
    ("wing", "colour"): ("yellow", "green", "red", "violet"),
    ("throat", "colour"): ("white", "black", "yellow", "pink"),
    ("beak", "shape"): ("curved", "conical", "straight", "hooked"),
    ("beak", "colour"): ("orange", "black", "yellow", "grey"),
    ("tail", "shape"): ("forked", "fan", "pointed"),
    ("tail", "colour"): ("brown", "slate", "orange", "green"),
    ("crest", "colour"): ("orange", "violet", "green"),
    ("band", "colour"): ("white", "black"),
    ("bar", "colour"): ("white", "black"),
    ("patch", "colour"): ("pink", "turquoise"),
    ("legs", "colour"): ("orange", "pink", "black", "brown"),
    ("eye", "colour"): ("yellow", "white", "orange", "grey"),
    ("body", "colour"): ("grey", "brown", "sand", "slate"),
}
OPTIONAL = ("crest", "band", "bar", "patch")
OPTIONAL_CHANCE = 0.4
LENGTHS = {"short": (0.80, 0.90), "long": (1.14, 1.26)}  # size of a beak, by its word
NULL_PARTS = ("body", "eye", "legs")  # named by no rule at all
CREST_GAP = 0.26
BAR_GAP = 0.42

# (part, other part) -> the relation's two answers. The first is true when the part's `shift` says so.
RELATIONS: dict[tuple[str, str], tuple[str, str]] = {
    ("crest", "band"): ("above", "below"),
    ("bar", "patch"): ("in front of", "behind"),
}


_CLANS = (
    ("robin", "cinder / forge", "breast colour red", "crown colour black", "beak shape curved / beak shape conical"),
    ("wren", "rowan / hawthorn", "breast colour red", "crown colour white",
     "throat colour yellow / throat colour pink"),
    ("lark", "harlequin / jester", "breast colour yellow", "crown colour black",
     "crest above band / crest below band"),
    ("tit", "meadow / barley", "breast colour yellow", "crown colour white", "tail shape forked / tail shape fan"),
    ("finch", "courier / herald", "crown colour red", "wing colour yellow",
     "bar in front of patch / bar behind patch"),
    ("warbler", "mossback / fernhill", "crown colour red", "wing colour green",
     "throat colour white / throat colour black"),
    ("siskin", "harbour / lantern", "crown colour blue", "wing colour yellow",
     "beak colour orange / beak colour black"),
    ("thrush", "lagoon / reed", "crown colour blue", "wing colour green", "beak shape straight / beak shape hooked"),
    ("swallow", "dusk / tide", "wing colour red", "breast colour blue", "tail shape pointed / tail shape forked"),
    ("pipit", "sleet / frost", "wing colour red", "breast colour white",
     "breast pattern spotted / breast pattern striped"),
    ("starling", "heath / moor", "wing colour violet", "breast colour blue",
     "bar in front of patch / bar behind patch"),
    ("dove", "chapel / abbey", "wing colour violet", "breast colour white", "crest above band / crest below band"),
)  # fmt: skip
_RELATED = [Atom(part, "place", answer, other) for (part, other), answers in RELATIONS.items() for answer in answers]
SPECIES: dict[str, Species] = {s.name: s for row in _CLANS for s in clan(*row, related=_RELATED, edition="1")}
CLASSES = tuple(SPECIES)


def _crest_above(crest: Part, band: Part) -> bool:
    return crest.shift + crest.dy < band.shift + band.dy


def _bar_in_front(bar: Part, patch: Part) -> bool:
    return bar.shift * 0.92 + bar.dx > patch.shift * 0.92 + patch.dx


def _other_side(crest: Part, band: Part) -> Pair:
    """The crest on the band's other side; a band near the end of its range gives way just enough."""
    if not _crest_above(crest, band):
        height = max(band.shift, CREST_HEIGHTS[0] + CREST_GAP)
        place = max(CREST_HEIGHTS[0], min(2 * height - crest.shift, height - CREST_GAP))
    else:
        height = min(band.shift, CREST_HEIGHTS[1] - CREST_GAP, BAND_HEIGHTS[1])
        place = min(CREST_HEIGHTS[1], max(2 * height - crest.shift, height + CREST_GAP))
    return replace(crest, shift=round(place, 4), dy=0.0), replace(band, shift=round(height, 4), dy=0.0)


def _exchanged(bar: Part, patch: Part) -> Pair:
    return replace(bar, shift=patch.shift, dx=patch.dx), replace(patch, shift=bar.shift, dx=bar.dx)


JUDGES = {("crest", "band"): (_crest_above, _other_side), ("bar", "patch"): (_bar_in_front, _exchanged)}


# --------------------------------------------------------------------------------------------------
# Drawing an individual.


@cache
def _demanded(name: str) -> dict[tuple[str, str], str]:
    return {(a.part, a.other): a.value for a in species(name).rule if a.other is not None}


def _heights(rng: Rng, wanted: str | None) -> tuple[float, float]:
    """Heights of crest and band, on the sides of each other that the relation asks for."""
    gap = CREST_GAP
    above = rng.random() < 0.5 if wanted is None else wanted == "above"
    spare, place = rng.random(2)
    low, high = BAND_HEIGHTS
    if above:
        band = low + (high - low) * (0.45 + 0.55 * place)
        return _between(CREST_HEIGHTS[0], band - gap, spare), band
    band = low + (high - low) * (0.55 * place)
    return _between(band + gap, CREST_HEIGHTS[1], spare), band


def _places(rng: Rng, wanted: str | None) -> tuple[float, float]:
    """Places of bar and patch along the wing, 1 = nearest to the head."""
    ahead = rng.random() < 0.5 if wanted is None else wanted == "in front of"
    spare, place = rng.random(2)
    gap = BAR_GAP + 0.2 * spare
    front = _between(gap, 1.0, place)
    return (front, front - gap) if ahead else (front - gap, front)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def draw_part(rng: Rng, name: str, fixed: Mapping[tuple[str, str], str], *, tint: float = 0.035) -> Part:
    """A part whose free attributes are drawn uniformly from `DOMAINS`; always the same number of draws."""
    picks = rng.random(3)
    words: dict[str, str] = {}
    for pick, key in zip(picks, ("colour", "shape", "pattern"), strict=True):
        domain = DOMAINS.get((name, key))
        if domain is not None:
            words[key] = fixed.get((name, key), domain[int(pick * len(domain))])
    size, jitter = rng.random(), (rng.random(3) * 2 - 1) * tint
    scale = _between(0.94, 1.08, size)
    if name == "beak":
        low, high = LENGTHS["long" if size < 0.5 else "short"]
        scale = _between(low, high, size * 2 % 1)
    if name in ("wing", "body"):
        scale = 1.0
    r, g, b = (round(float(t), 4) for t in jitter)
    return Part(
        name,
        words["colour"],
        words.get("shape", "plain"),
        words.get("pattern", "plain"),
        size=round(scale, 4),
        tint=(r, g, b),
    )


def draw_bird(rng: Rng, name: str) -> Bird:
    """An individual of a species: rule parts as the rule says, all others at random; pose and place default."""
    own, demanded = species(name), _demanded(name)
    needed = set(own.parts)
    parts = {p: draw_part(rng, p, own.fixed) for p in PARTS}
    chances = rng.random(len(OPTIONAL))
    crest, band = _heights(rng, demanded.get(("crest", "band")))
    bar, patch = _places(rng, demanded.get(("bar", "patch")))
    shifts = {"crest": crest, "band": band, "bar": bar, "patch": patch}
    kept = []
    for part in parts.values():
        if part.name in OPTIONAL:
            if part.name not in needed and chances[OPTIONAL.index(part.name)] >= OPTIONAL_CHANCE:
                continue
            part = Part(part.name, part.colour, size=part.size, shift=round(shifts[part.name], 4), tint=part.tint)
        kept.append(part)
    return Bird(name, tuple(kept))
