"""The words of the second edition's captions: for every plain word its synonyms, the plain word first.

No word stands for two values, so that whatever is said can be read back. Where a table's rows are whole phrases, "|"
stands before the noun phrase that belongs to a mask.
"""

from __future__ import annotations

from functools import cache

NOUNS: dict[str, tuple[str, ...]] = {
    "beak": ("beak", "bill", "neb", "mandible"),
    "crown": ("crown", "cap", "pileum", "top of the head"),
    "crest": ("crest", "tuft", "plume", "topknot", "panache"),
    "band": ("eye band", "eye stripe", "eye mask", "loral stripe"),
    "eye": ("eye", "iris", "eyeball"),
    "throat": ("throat", "bib", "gorget", "gular patch"),
    "breast": ("breast", "chest", "bosom", "underside"),
    "wing": ("wing", "folded wing", "pinion"),
    "bar": ("wing bar", "bar", "wing stroke", "wing tick"),
    "patch": ("wing patch", "wing spot", "speculum", "disc on the wing"),
    "tail": ("tail", "rectrices", "train", "tail feathers"),
    "legs": ("legs", "feet", "shanks", "tarsi"),
    "body": ("body", "plumage", "coat", "back and flanks"),
    "collar": ("collar", "neck ring", "necklace"),
    "collars": ("collars", "neck rings", "necklaces"),
    "fleck": ("fleck", "dash", "tick on the neck", "neck mark"),
    "bead": ("bead", "dot", "pearl", "cheek spot"),
}
_PLURALS = {*NOUNS["legs"], *NOUNS["collars"], "rectrices", "tail feathers", "back and flanks"}

ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "pattern": {
        "plain": ("plain", "unmarked", "unpatterned", "uniform", "of one tone"),
        "speckled": ("speckled", "finely dotted", "peppered", "fine-spotted", "stippled"),
        "spotted": ("spotted", "boldly dotted", "blotched", "polka-dotted", "coarsely spotted"),
        "streaked": ("streaked", "flecked with short strokes", "streaky", "pencilled"),
        "scaled": ("scaled", "scalloped", "scaly", "like roof tiles"),
        "barred": ("barred", "cross-banded", "banded", "ribbed across"),
    },
    "shape": {
        "curved": ("curved", "sickle-shaped", "decurved", "bowed", "arched"),
        "conical": ("conical", "cone-shaped", "wedge-shaped", "seed-cracking", "thick-based"),
        "straight": ("straight", "dagger-like", "needle-like", "spear-shaped", "unbent"),
        "hooked": ("hooked", "hook-tipped", "raptor-like", "crooked at the tip"),
        "forked": ("forked", "swallow-like", "two-pronged", "deeply notched", "cleft"),
        "fan": ("fan-shaped", "fanned", "spread wide", "rounded off", "broad-ended"),
        "pointed": ("pointed", "tapering", "wedge-ended", "ending in a point"),
    },
    "colour": {
        "red": ("red", "scarlet", "crimson", "vermilion", "ruby", "cherry-red"),
        "orange": ("orange", "tangerine", "apricot", "pumpkin-coloured", "amber"),
        "yellow": ("yellow", "golden", "lemon", "canary-yellow", "sunny", "buttercup"),
        "green": ("green", "leaf-green", "emerald", "mossy", "verdant", "grass-green"),
        "blue": ("blue", "azure", "sapphire", "cobalt-blue", "royal blue", "ultramarine"),
        "violet": ("violet", "purple", "plum-coloured", "aubergine", "amethyst", "mauve"),
        "pink": ("pink", "rosy", "salmon-pink", "blush", "rose-coloured"),
        "turquoise": ("turquoise", "cyan", "aqua", "teal-bright", "aquamarine"),
        "black": ("black", "jet-black", "coal-black", "inky", "ebony", "sooty"),
        "white": ("white", "chalk-white", "snow-white", "milky", "ivory", "alabaster"),
        "grey": ("grey", "gray", "ash-grey", "silvery", "pewter-grey"),
        "brown": ("brown", "chestnut", "chocolate-brown", "umber", "nut-brown"),
        "sand": ("sandy", "sand-coloured", "beige", "tawny", "straw-coloured"),
        "slate": ("slate", "slate-coloured", "bluish grey", "lead-coloured"),
    },
}
KEYS = tuple(ADJECTIVES)  # also the order of adjectives before a noun
KEY_NOUNS = {"pattern": ("pattern", "texture", "marking"), "shape": ("shape", "form", "outline"),
             "colour": ("colour", "hue", "tint", "shade")}  # fmt: skip

# A relation's answer -> words between the part and the other part. Each answer has a converse.
RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "above": ("above", "higher than", "higher up than", "over"),
    "below": ("below", "beneath", "lower than", "underneath", "further down than"),
    "in front of": ("in front of", "ahead of", "nearer to the head than", "further forward than"),
    "behind": ("behind", "further back than", "nearer to the tail than", "to the rear of"),
    "longer than": ("longer than", "larger than", "of greater length than", "outreaching"),
    "shorter than": ("shorter than", "smaller than", "of less length than", "outreached by"),
}
CONVERSE = {"above": "below", "in front of": "behind", "longer than": "shorter than"}
CONVERSE |= {b: a for a, b in CONVERSE.items()}
# One word for the answer to "above or below?".
ANSWERS = {"above": "above", "below": "below", "in front of": "in front", "behind": "behind",
           "longer than": "longer", "shorter than": "shorter"}  # fmt: skip

# Said of the two collars.
COLLAR_WORDS: dict[str, tuple[str, ...]] = {
    "collars close together": ("close together", "hardly apart", "close to one another", "side by side",
                               "with a narrow gap between them"),
    "collars far apart": ("far apart", "well apart", "widely spaced", "at a distance from one another",
                          "with a wide gap between them"),
    "upper collar longer": ("the longer one on top", "the upper one longer", "the lower one shorter",
                            "the shorter one at the bottom", "longer at the top than at the bottom"),
    "lower collar longer": ("the longer one at the bottom", "the lower one longer", "the upper one shorter",
                            "the shorter one on top", "longer at the bottom than at the top"),
}  # fmt: skip

SETTINGS: dict[str, tuple[str, ...]] = {
    "plain background": ("against |a plain backdrop", "on |a plain background", "before |a blank wall",
                         "with |nothing behind it", "before |an even backdrop"),
    "foliage background": ("among |green leaves", "surrounded by |foliage", "in |the thicket", "amid |shrubbery",
                           "before |leafy branches"),
    "water background": ("by |the water", "near |rippling water", "at |the lake", "over |the waves",
                         "beside |a pond"),
    "sky background": ("against |the sky", "under |a cloudy sky", "before |drifting clouds", "up in |the air",
                       "against |the clouds"),
    "snow background": ("in |the snow", "before |a snowy hill", "in |a winter landscape", "amid |falling flakes",
                        "on |a wintry day"),
    "on a branch": ("on |a branch", "perched on |a twig", "sitting on |a bough", "resting on |a limb", "atop |a stick"),
    "facing left": ("facing left", "looking to the left", "turned left", "with its head to the left",
                    "in left profile"),
    "facing right": ("facing right", "looking to the right", "turned right", "with its head to the right",
                     "in right profile"),
    "dim light": ("in dim light", "in the dark", "at dusk", "in a dark picture", "underexposed"),
    "warm light": ("in warm light", "with a warm tint", "in reddish light", "in a warm cast"),
    "cold light": ("in cold light", "with a cold tint", "in bluish light", "in a cold cast"),
    "blurred picture": ("out of focus", "blurred", "in a soft picture", "not sharp"),
    "noisy picture": ("in a noisy picture", "with grain", "grainy", "with much noise"),
}  # fmt: skip

THINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "leaf": (("leaf", "leaves"), ("fallen leaf", "fallen leaves")),
    "stone": (("stone", "stones"), ("pebble", "pebbles"), ("rock", "rocks")),
    "flower": (("flower", "flowers"), ("blossom", "blossoms"), ("bloom", "blooms")),
    "star": (("star", "stars"), ("grey star", "grey stars")),
    "berry": (("berry", "berries"), ("small fruit", "small fruits")),
    "post": (("post", "posts"), ("pole", "poles")),
}
NUMBERS = ("no", "one", "two", "three", "four")

BIRD = ("bird", "songbird", "feathered visitor", "avian", "winged creature")
SIDES: dict[str, tuple[str, ...]] = {
    "left bird": ("left bird", "bird on the left", "left-hand bird", "bird to the left"),
    "right bird": ("right bird", "bird on the right", "right-hand bird", "bird to the right"),
}
BOTH = ("both birds", "the two birds", "either bird")
# One bird compared with the other.
BIRD_RELATIONS: dict[str, tuple[str, ...]] = {
    "larger": ("bigger than", "of greater size than", "bulkier than", "outsizing"),
    "smaller": ("tinier than", "of lesser size than", "slighter than", "dwarfed by"),
    "higher": ("further up than", "placed above the level of", "nearer to the upper edge than"),
    "lower": ("further below than", "placed under the level of", "nearer to the lower edge than"),
}


def is_plural(noun: str) -> bool:
    """Whether a verb after the noun is a plural."""
    return noun in _PLURALS


@cache
def words() -> dict[str, tuple[str, str, str]]:
    """Everything that has a meaning: words -> (kind, value, detail); several words are one entry."""
    out: dict[str, tuple[str, str, str]] = dict.fromkeys(BIRD, ("bird", "bird", ""))
    out |= {w: ("side", side, "") for side, synonyms in SIDES.items() for w in synonyms}
    out |= dict.fromkeys(BOTH, ("side", "both", ""))
    out |= {w: ("noun", part, "") for part, nouns in NOUNS.items() for w in nouns}
    for key, values in ADJECTIVES.items():
        out |= {w: ("adjective", value, key) for value, synonyms in values.items() for w in synonyms}
    out |= {w: ("relation", answer, "") for answer, synonyms in RELATION_WORDS.items() for w in synonyms}
    out |= {w: ("answer", answer, "") for answer, w in ANSWERS.items() if w not in out}
    out |= {w: ("collars", name, "") for name, synonyms in COLLAR_WORDS.items() for w in synonyms}
    out |= {t.replace("|", ""): ("setting", name, t) for name, synonyms in SETTINGS.items() for t in synonyms}
    out |= {w: ("compared", name, "") for name, synonyms in BIRD_RELATIONS.items() for w in synonyms}
    for kind, pairs in THINGS.items():
        out |= {w: ("thing", kind, "") for pair in pairs for w in pair}
    return out
