"""The words of captions of all editions but the first: for every plain word its synonyms, the plain word first.

No word of one lexicon stands for two values, so that whatever is said can be read back. Where a table's rows are whole
phrases, "|" stands before the noun phrase that belongs to a mask. The tables here are of the birds, but for those that
every lexicon shares: colours, light, numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

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
# The other answer; and what is said from the other side, which of a distance is the same.
OPPOSITE = {"above": "below", "in front of": "behind", "longer than": "shorter than", "larger than": "smaller than",
            "close to": "far from"}  # fmt: skip
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}
CONVERSE = OPPOSITE | {"close to": "close to", "far from": "far from"}
# One word for the answer to "above or below?".
ANSWERS = {"above": "above", "below": "below", "in front of": "in front", "behind": "behind",
           "longer than": "longer", "shorter than": "shorter", "larger than": "larger", "smaller than": "smaller",
           "close to": "close", "far from": "far"}  # fmt: skip

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
}  # fmt: skip
LIGHT: dict[str, tuple[str, ...]] = {
    "dim light": ("in dim light", "in the dark", "at dusk", "in a dark picture", "underexposed"),
    "warm light": ("in warm light", "with a warm tint", "in reddish light", "in a warm cast"),
    "cold light": ("in cold light", "with a cold tint", "in bluish light", "in a cold cast"),
    "blurred picture": ("out of focus", "blurred", "in a soft picture", "not sharp"),
    "noisy picture": ("in a noisy picture", "with grain", "grainy", "with much noise"),
}  # fmt: skip

OBJECTS: dict[str, tuple[tuple[str, str], ...]] = {
    "leaf": (("leaf", "leaves"), ("fallen leaf", "fallen leaves")),
    "stone": (("stone", "stones"), ("pebble", "pebbles"), ("rock", "rocks")),
    "flower": (("flower", "flowers"), ("blossom", "blossoms"), ("bloom", "blooms")),
    "star": (("star", "stars"), ("grey star", "grey stars")),
    "berry": (("berry", "berries"), ("small fruit", "small fruits")),
    "post": (("post", "posts"), ("pole", "poles")),
}
NUMBERS = ("no", "one", "two", "three", "four")

BIRD = ("bird", "songbird", "feathered visitor", "avian", "winged creature")
# One bird compared with the other.
BIRD_RELATIONS: dict[str, tuple[str, ...]] = {
    "larger": ("bigger than", "of greater size than", "bulkier than", "outsizing"),
    "smaller": ("tinier than", "of lesser size than", "slighter than", "dwarfed by"),
    "higher": ("further up than", "placed above the level of", "nearer to the upper edge than"),
    "lower": ("further below than", "placed under the level of", "nearer to the lower edge than"),
}


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of one edition: names of a thing (`own`, the plain one first), nouns of parts and which are plurals,
    adjectives by key and value, relations by answer, what is said of two parts together (`twins`), settings, things
    that lie about (singular, plural)."""

    edition: str
    own: tuple[str, ...]
    nouns: Mapping[str, tuple[str, ...]]
    plurals: frozenset[str]
    adjectives: Mapping[str, Mapping[str, tuple[str, ...]]]
    relations: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, tuple[str, ...]]
    objects: Mapping[str, tuple[tuple[str, str], ...]]
    twins: Mapping[str, tuple[str, ...]]

    @property
    def noun(self) -> str:
        """What a thing is called."""
        return self.own[0]

    @cached_property
    def sides(self) -> dict[str, tuple[str, ...]]:
        """Words for each of two things by where it is."""
        n = self.noun
        return {f"{s} {n}": (f"{s} {n}", f"{n} on the {s}", f"{s}-hand {n}", f"{n} to the {s}")
                for s in ("left", "right")}  # fmt: skip

    def is_plural(self, noun: str) -> bool:
        """Whether a verb after the noun is a plural."""
        return noun in self.plurals

    @cached_property
    def words(self) -> dict[str, tuple[str, str, str]]:
        """Everything that has a meaning: words -> (kind, value, detail); several words are one entry."""
        out: dict[str, tuple[str, str, str]] = dict.fromkeys(self.own, ("bird", self.noun, ""))
        out |= {w: ("side", side, "") for side, synonyms in self.sides.items() for w in synonyms}
        both = (f"both {self.noun}s", f"the two {self.noun}s", f"either {self.noun}")
        out |= dict.fromkeys(both, ("side", "both", ""))
        out |= {w: ("noun", part, "") for part, nouns in self.nouns.items() for w in nouns}
        for key, values in self.adjectives.items():
            out |= {w: ("adjective", value, key) for value, synonyms in values.items() for w in synonyms}
        out |= {w: ("relation", answer, "") for answer, synonyms in self.relations.items() for w in synonyms}
        out |= {ANSWERS[a]: ("answer", a, "") for a in self.relations if ANSWERS[a] not in out}
        out |= {w: ("collars", name, "") for name, synonyms in self.twins.items() for w in synonyms}
        out |= {t.replace("|", ""): ("setting", name, t) for name, texts in self.settings.items() for t in texts}
        out |= {w: ("compared", name, "") for name, synonyms in BIRD_RELATIONS.items() for w in synonyms}
        for kind, pairs in self.objects.items():
            out |= {w: ("thing", kind, "") for pair in pairs for w in pair}
        return out


BIRDS = Lexicon(
    edition="2",
    own=BIRD,
    nouns=NOUNS,
    plurals=frozenset(_PLURALS),
    adjectives=ADJECTIVES,
    relations=RELATION_WORDS,
    settings=SETTINGS | LIGHT,
    objects=OBJECTS,
    twins=COLLAR_WORDS,
)
