"""The aviary: rendered birds for which the right explanation is known.

A `Scene` is plain data, `render` paints it with its masks, the functions of `counterfactuals` change it, `truth`
solves the game of its rule, `captions` describe it, `FAULTS` spoil it on purpose, `write` and `stream` make sets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saywhy.aviary.birds import COLOURS, PARTS, Bird, Part, forward
from saywhy.aviary.captions import Caption, caption
from saywhy.aviary.counterfactuals import (
    become,
    degrade,
    displace,
    keep_only,
    recolour,
    remove,
    remove_bird,
    replace_part,
    set_relation,
    shift,
    swap_background,
    transplant,
)
from saywhy.aviary.dataset import digest, stream, write
from saywhy.aviary.faults import FAULTS, Fault, sample
from saywhy.aviary.listing import captions_of, label_map, mask_names, mask_of, parse, truth_record
from saywhy.aviary.parsing import Parsed, Phrase
from saywhy.aviary.sampling import Sample, clean_scene
from saywhy.aviary.scene import Rendered, Scene, render, scene_from_dict
from saywhy.aviary.scenery import BACKGROUNDS, OBJECTS, Background, Degradation, Object
from saywhy.aviary.species import (
    CLASSES,
    DOMAINS,
    NULL_PARTS,
    RELATIONS,
    SPECIES,
)
from saywhy.aviary.truth import (
    PartTruth,
    TrueGame,
    bayes_game,
    contributions,
    interactions,
    observer_game,
    other_backgrounds,
    other_looks,
    part_relations,
    part_truths,
    removals,
    replaced_looks,
    replacements,
    rule_game,
    shapley,
    taylor,
)
from saywhy.aviary.world import (
    EDITIONS,
    Atom,
    Relation,
    Species,
    World,
    consistent,
    holds,
    identify,
    relation,
    species,
    world,
)

if TYPE_CHECKING:
    from saywhy.aviary.corrupt import Corruption, corrupt_unit
    from saywhy.aviary.torchset import AviaryDataset

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "COLOURS",
    "DOMAINS",
    "EDITIONS",
    "FAULTS",
    "NULL_PARTS",
    "OBJECTS",
    "PARTS",
    "RELATIONS",
    "SPECIES",
    "Atom",
    "AviaryDataset",
    "Background",
    "Bird",
    "Caption",
    "Corruption",
    "Degradation",
    "Fault",
    "Object",
    "Parsed",
    "Part",
    "PartTruth",
    "Phrase",
    "Relation",
    "Rendered",
    "Sample",
    "Scene",
    "Species",
    "TrueGame",
    "World",
    "bayes_game",
    "become",
    "caption",
    "captions_of",
    "clean_scene",
    "consistent",
    "contributions",
    "corrupt_unit",
    "degrade",
    "digest",
    "displace",
    "forward",
    "holds",
    "identify",
    "interactions",
    "keep_only",
    "label_map",
    "mask_names",
    "mask_of",
    "observer_game",
    "other_backgrounds",
    "other_looks",
    "parse",
    "part_relations",
    "part_truths",
    "recolour",
    "relation",
    "removals",
    "remove",
    "remove_bird",
    "render",
    "replace_part",
    "replaced_looks",
    "replacements",
    "rule_game",
    "sample",
    "scene_from_dict",
    "set_relation",
    "shapley",
    "shift",
    "species",
    "stream",
    "swap_background",
    "taylor",
    "transplant",
    "truth_record",
    "world",
    "write",
]

# These need torch, which takes a second to import; nothing else here does.
_LAZY = {"AviaryDataset": "torchset", "Corruption": "corrupt", "corrupt_unit": "corrupt"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"saywhy.aviary.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
