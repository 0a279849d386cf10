"""The vocabulary of the captions: what can be said of a part, and in which words.

An attribute is named by its plain words ("curved beak", "crest above the band", "water background"); each
table gives the plain word first and then its synonyms.
"""

from __future__ import annotations

from saywhy.aviary.birds import Bird, Part
from saywhy.aviary.species import DOMAINS, RELATIONS
from saywhy.aviary.world import relation

NOUNS: dict[str, tuple[str, ...]] = {
    "beak": ("beak", "bill"),
    "crown": ("crown", "cap"),
    "crest": ("crest", "tuft", "plume"),
    "band": ("eye band", "eye stripe", "band"),
    "eye": ("eye", "iris"),
    "throat": ("throat", "bib"),
    "breast": ("breast", "chest"),
    "wing": ("wing",),
    "bar": ("wing bar", "bar"),
    "patch": ("wing patch", "wing spot", "patch"),
    "tail": ("tail",),
    "legs": ("legs", "feet"),
    "body": ("body", "plumage"),
}
PLURAL = ("legs",)

ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "length": {"long": ("long", "lengthy"), "short": ("short", "stubby")},
    "pattern": {
        "plain": ("plain", "unmarked"),
        "spotted": ("spotted", "speckled", "dotted"),
        "striped": ("striped", "streaked"),
    },
    "shape": {
        "curved": ("curved", "sickle-shaped"),
        "conical": ("conical", "cone-shaped"),
        "straight": ("straight", "dagger-like"),
        "hooked": ("hooked", "hook-tipped"),
        "forked": ("forked", "swallow-like"),
        "fan": ("fan-shaped", "fanned"),
        "pointed": ("pointed", "tapering"),
    },
    "colour": {
        "red": ("red", "scarlet"),
        "orange": ("orange", "tangerine"),
        "yellow": ("yellow", "golden"),
        "green": ("green", "leaf-green"),
        "blue": ("blue", "azure"),
        "violet": ("violet", "purple"),
        "pink": ("pink", "rosy"),
        "turquoise": ("turquoise", "cyan"),
        "black": ("black", "jet-black"),
        "white": ("white", "chalk-white"),
        "grey": ("grey", "gray"),
        "brown": ("brown", "chestnut"),
        "sand": ("sandy", "sand-coloured"),
        "slate": ("slate", "slate-coloured"),
    },
}
KEYS = tuple(ADJECTIVES)  # also the order of adjectives before a noun

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "above": ("above", "higher than"),
    "below": ("below", "beneath"),
    "in front of": ("in front of", "ahead of"),
    "behind": ("behind", "further back than"),
}
CONVERSE = {"above": "below", "below": "above", "in front of": "behind", "behind": "in front of"}

# Attribute of the whole picture -> ways to say it. The words after "|" are its noun phrase.
SETTINGS: dict[str, tuple[str, ...]] = {
    "plain background": ("against |a plain backdrop", "on |a plain background"),
    "foliage background": ("among |green leaves", "surrounded by |foliage"),
    "water background": ("by |the water", "near |rippling water"),
    "sky background": ("against |the sky", "under |a cloudy sky"),
    "snow background": ("in |the snow", "before |a snowy hill"),
    "on a branch": ("on |a branch", "perched on |a twig"),
    "facing left": ("facing left", "looking to the left"),
    "facing right": ("facing right", "looking to the right"),
}


def length_word(part: Part) -> str | None:
    """ "long" or "short" for a beak, None for all other parts."""
    if part.name != "beak":
        return None
    return "long" if part.size > 1 else "short"


def attributes(part: Part) -> dict[str, str]:
    """The plain word for each attribute of a part that can be said of it, in the order of adjectives."""
    said: dict[str, str | None] = {"length": length_word(part)}
    for key in KEYS[1:]:
        said[key] = str(getattr(part, key)) if (part.name, key) in DOMAINS else None
    return {k: v for k, v in said.items() if v is not None}


def name_of(part: str, value: str) -> str:
    """The plain name of an attribute: "curved beak"; "fan tail" is a tail of the shape "fan"."""
    return f"{value} {part}"


def relation_name(part: str, answer: str, other: str) -> str:
    """The plain name of a relation: "crest above the band"."""
    return f"{part} {answer} the {other}"


def describe(part: Part) -> str:
    """The full noun phrase of a part in plain words: "long curved orange beak"."""
    words = [ADJECTIVES[k][v][0] for k, v in attributes(part).items() if v != "plain"]
    return " ".join([*words, NOUNS[part.name][0]])


def said_of(bird: Bird, shown: tuple[str, ...]) -> list[str]:
    """Plain names of all attributes of the shown parts, and of the relations between them."""
    out = [name_of(p.name, v) for p in bird.parts if p.name in shown for v in attributes(p).values()]
    for part, other in RELATIONS:
        answer = relation(bird, part, other)
        if part in shown and other in shown and answer is not None:
            out.append(relation_name(part, answer, other))
    return out
