"""The aviary: rendered birds for which the right explanation is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saywhy.aviary.birds import PARTS, Bird, Part
from saywhy.aviary.faults import sample
from saywhy.aviary.sample import Sample, clean_scene
from saywhy.aviary.scene import Rendered, Scene, render, scene_from_dict
from saywhy.aviary.scenery import BACKGROUNDS, Background, Degradation, Object
from saywhy.aviary.species import CLASSES, NULL_PARTS, SPECIES, Atom, Species, consistent, identify

if TYPE_CHECKING:
    from saywhy.aviary.torchset import AviaryDataset

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "NULL_PARTS",
    "PARTS",
    "SPECIES",
    "Atom",
    "AviaryDataset",
    "Background",
    "Bird",
    "Degradation",
    "Object",
    "Part",
    "Rendered",
    "Sample",
    "Scene",
    "Species",
    "clean_scene",
    "consistent",
    "identify",
    "render",
    "sample",
    "scene_from_dict",
]


def __getattr__(name: str) -> Any:
    # torch takes a second to import, and only the torch data set needs it.
    if name == "AviaryDataset":
        from saywhy.aviary.torchset import AviaryDataset

        return AviaryDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
