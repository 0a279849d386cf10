"""The words of captions of cells, as `lexicon` has those of birds."""

from __future__ import annotations

from saywhy.aviary.lexicon import ADJECTIVES, LIGHT, Lexicon

NOUNS: dict[str, tuple[str, ...]] = {
    "process": ("process", "outgrowth", "protrusion", "spur"),
    "rim": ("rim", "membrane", "outer border", "envelope"),
    "cytoplasm": ("cytoplasm", "cell body", "plasma", "cytosol"),
    "granules": ("granules", "granulation", "granular zone", "stippled zone"),
    "nucleus": ("nucleus", "karyon", "kernel", "nuclear body"),
    "nucleolus": ("nucleolus", "nuclear dot", "inner spot", "core of the nucleus"),
    "vacuole": ("vacuole", "bubble", "cavity", "clear space"),
    "inclusion": ("inclusion", "inclusion body", "enclosed drop", "deposit"),
}
SHAPES: dict[str, tuple[str, ...]] = {
    "round": ("round", "circular", "spherical", "disc-shaped"),
    "kidney": ("kidney-shaped", "bean-shaped", "indented", "reniform"),
    "lobed": ("lobed", "three-lobed", "segmented", "clover-shaped"),
    "pointed": ("pointed", "tapering", "spiky", "ending in a point"),
    "blunt": ("blunt", "stubby", "rounded off", "club-like"),
    "forked": ("forked", "two-pronged", "cleft", "split at the tip"),
    "single": ("single", "solitary", "undivided", "in one piece"),
    "double": ("double", "paired", "twofold", "in two pieces"),
    "triple": ("triple", "threefold", "in three pieces", "three-part"),
}
PATTERNS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "unmarked", "uniform", "homogeneous"),
    "speckled": ("speckled", "finely dotted", "dust-like", "fine-grained"),
    "spotted": ("spotted", "coarse", "boldly dotted", "coarse-grained"),
    "streaked": ("streaked", "with fine rods", "rod-like", "flecked with short strokes"),
    "scaled": ("scaled", "netted", "reticulate", "scalloped"),
}
RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "larger than": ("larger than", "of greater width than", "wider than", "exceeding"),
    "smaller than": ("smaller than", "of less width than", "narrower than", "exceeded by"),
    "close to": ("close to", "next to", "hard by", "not a quarter of the arc away from"),
    "far from": ("far from", "remote from", "well away from", "at a distance from"),
}
SETTINGS: dict[str, tuple[str, ...]] = {
    "pale background": ("on |a pale smear", "in |a thin film", "against |a pale field", "in |a bright field"),
    "crowded background": ("among |many red cells", "in |a crowded smear", "surrounded by |red cells",
                           "amid |a throng of discs"),
    "stained background": ("on |a stained ground", "in |a violet-stained smear", "against |a lilac field",
                           "in |a deeply stained film"),
    "greenish background": ("on |a greenish smear", "in |a green-tinged field", "against |a greenish ground",
                            "in |an olive film"),
    "facing left": ("with its nucleus on the left", "turned left", "facing left", "nucleus to the left"),
    "facing right": ("with its nucleus on the right", "turned right", "facing right", "nucleus to the right"),
}  # fmt: skip
OBJECTS: dict[str, tuple[tuple[str, str], ...]] = {
    "platelet": (("platelet", "platelets"), ("thrombocyte", "thrombocytes")),
    "thread": (("thread", "threads"), ("fibre", "fibres")),
    "grain": (("grain of dye", "grains of dye"), ("speck of dirt", "specks of dirt")),
    "berry": (("stray drop", "stray drops"),),
    "post": (("bar across the field", "bars across the field"),),
}

CELLS = Lexicon(
    edition="cells",
    own=("cell", "blood cell", "corpuscle", "cyte"),
    nouns=NOUNS,
    plurals=frozenset({"granules"}),
    adjectives={"pattern": PATTERNS, "shape": SHAPES, "colour": ADJECTIVES["colour"]},
    relations=RELATION_WORDS,
    settings=SETTINGS | LIGHT,
    objects=OBJECTS,
    twins={},
)
