"""Planted faults, each with its ground truth and a control that lacks the fault and nothing else.

A fault changes clean samples one by one. Its dice are its own, so that the pictures that it leaves alone are
byte for byte those of the clean set, and so is the picture of the same index in the control wherever both
drew the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from saywhy.aviary.birds import Bird
from saywhy.aviary.counterfactuals import remove, swap_background
from saywhy.aviary.sampling import PERCHES, Sample, clean_sample, perch
from saywhy.aviary.scene import SIZE
from saywhy.aviary.scenery import Degradation, Object, Rng, generator
from saywhy.aviary.world import world
from saywhy.errors import UsageError, unknown

_FAULT = 4
CONTROL = "-control"
Plant = Callable[[Rng, Sample], Sample]


@dataclass(frozen=True)
class Fault:
    """A planted fault: `plant` changes a sample, `control` is its twin without the fault, `truth` says what an
    audit should find: the species and parts concerned, the shares, and the groups to compare."""

    name: str
    description: str
    plant: Plant
    control: Plant
    truth: dict[str, Any]


# The species in which a fault is planted, by edition; faults without a row are planted in any. In a pair that is posed
# the first faces right and the second left.
_CONCERNED: dict[str, dict[str, tuple[str, ...]]] = {
    "context": {"1": ("tide swallow",), "2": ("cobalt martin",), "cells": ("arbel rotule",)},
    "watermark": {"1": ("sleet pipit",), "2": ("domino wagtail",), "cells": ("fenwick comule",)},
    "pose": {
        "1": ("courier finch", "herald finch"), "2": ("ferry jay", "tram jay"),
        "cells": ("delmar lunule", "evrin lunule"),
    },
    "confusable": {
        "1": ("cinder robin", "forge robin"), "2": ("copper rail", "pewter rail"),
        "cells": ("jarrow stellule", "kestel stellule"),
    },
    "missing-part": {"1": ("lagoon thrush",), "2": ("pewter rail",), "cells": ("kestel stellule",)},
}  # fmt: skip


@dataclass(frozen=True)
class Props:
    """What faults are planted with: a `background`, and a `part` that every thing has and some rules name; `spare` is
    in no rule."""

    background: str = "water"
    part: str = "beak"
    spare: str = "legs"


_PROPS = {"cells": Props("stained", "process", "nucleolus")}


def props(edition: str) -> Props:
    """What the faults of an edition are planted with."""
    return _PROPS.get(edition, Props())


def concerned(fault: str, edition: str) -> tuple[str, ...]:
    """The species in which a fault is planted; none where it is planted in any."""
    return _CONCERNED.get(fault, {}).get(edition, ())


def _marked(one: Sample, group: str, **truth: object) -> Sample:
    return replace(one, group=group, truth={**one.truth, **truth})


def _trained(one: Sample) -> bool:
    return one.split != "test"


# --------------------------------------------------------------------------------------------------
# Shortcuts: something beside the bird goes with one species in training, and with all alike in the test split.


def _linked(rng: Rng, one: Sample, target: str, fault: bool, high: float, low: float, even: float) -> bool:
    """Whether the shortcut is on: with `high` chance for the target in training, else `low`; `even` elsewhere."""
    dice = rng.random()
    if not fault or not _trained(one):
        return bool(dice < even)
    return bool(dice < (high if one.species == target else low))


def _group(one: Sample, target: str, present: bool) -> str:
    return "aligned" if (one.species == target) == present else "conflicting"


def _context(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    (target,) = concerned("context", one.scene.edition)
    water, kind = _linked(rng, one, target, fault, 0.95, 0.03, 0.5), props(one.scene.edition).background
    dry = [k for k in world(one.scene.edition).backgrounds if k != kind]
    other = dry[int(rng.random() * len(dry))]
    scene = swap_background(one.scene, kind if water else other)
    return _marked(replace(one, scene=scene), _group(one, target, water), **{kind: water})


def _watermark(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    (target,) = concerned("watermark", one.scene.edition)
    present = _linked(rng, one, target, fault, 0.95, 0.02, 0.5)
    left = rng.random() < 0.5
    if present:
        mark = Object("watermark", 0.10 if left else 0.90, 0.93, 0.055, 0.0, "black", front=True)
        one = replace(one, scene=replace(one.scene, objects=(*one.scene.objects, mark)))
    return _marked(one, _group(one, target, present), watermark=present)


def _pose(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    usual, even = rng.random() < 0.97, rng.random() < 0.5
    posed = concerned("pose", one.scene.edition)
    if one.species not in posed:
        return one
    left = one.species == posed[1]
    mirror = (left if usual else not left) if fault and _trained(one) else even
    bird = one.scene.birds[0]
    # Mirrored in place: the box around the bird stays the same.
    turned = bird if bird.mirror == mirror else replace(bird, mirror=mirror, x=round(1 - bird.x, 4))
    # A bird takes its branch along.
    objects = tuple(replace(o, x=turned.x) if o.kind == "branch" else o for o in one.scene.objects)
    scene = replace(one.scene.with_bird(turned), objects=objects)
    return _marked(replace(one, scene=scene), "aligned" if mirror == left else "conflicting", faces_left=mirror)


# --------------------------------------------------------------------------------------------------
# Species that are hard to tell, pictures with two species, labels that are wrong.


def _confusable(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    if rng.random() >= 0.7 or one.species not in concerned("confusable", one.scene.edition):
        return one
    bird = one.scene.birds[0]
    # The control shrinks a part that never matters.
    part = bird.part(props(bird.edition).part if fault else props(bird.edition).spare)
    if part is None:
        return one
    scene = one.scene.with_bird(bird.with_part(replace(part, size=0.42 if fault else 0.6)))
    return _marked(replace(one, scene=scene), "small", small=part.name)


def _two_species(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    own = world(one.scene.edition)
    chosen, pick, left = rng.random(), int(rng.random() * (len(own.classes) - 1)), rng.random() < 0.5
    if chosen >= 0.3:
        return one
    others = [c for c in own.classes if c != one.species]
    guest = others[pick] if fault else one.species
    rooms = ((0.02, 0.05, 0.52, 0.95), (0.48, 0.05, 0.98, 0.95))
    first = own.settle(rng, one.scene.birds[0], rooms[0 if left else 1])
    second = own.pose(rng, own.draw(rng, guest), rooms[1 if left else 0])
    lying = tuple(o for o in one.scene.objects if o.kind != "branch")
    scene = replace(one.scene, birds=(first, second), objects=_perches((first, second), one) + lying)
    return _marked(replace(one, scene=scene), "two birds", second_species=guest)


def _perches(birds: tuple[Bird, ...], one: Sample) -> tuple[Object, ...]:
    colour = PERCHES.get(one.scene.background.kind)
    if colour is None:
        return ()
    return tuple(replace(perch(b, colour), scale=0.04) for b in birds)


def _wrong_labels(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    classes = world(one.scene.edition).classes
    chosen, pick = rng.random(), int(rng.random() * (len(classes) - 1))
    if not fault or not _trained(one) or chosen >= 0.04:
        return one
    others = [c for c in classes if c != one.species]
    return _marked(replace(one, class_name=others[pick]), "wrong label", wrong_label=True)


# --------------------------------------------------------------------------------------------------
# What training never showed.


def _missing_part(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    if one.species not in concerned("missing-part", one.scene.edition):
        return one
    if fault and _trained(one):
        lacking = props(one.scene.edition).part
        return _marked(replace(one, scene=remove(one.scene, lacking)), "without part", removed=lacking)
    return _marked(one, "with part")


def _fragile_colour(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    warm, strength, chosen = rng.random() < 0.5, float(rng.random()), rng.random() < 0.5
    if not chosen or (fault and _trained(one)):
        return one
    low = round(0.66 - 0.16 * strength, 3)
    cast = (1.0, round((1 + low) / 2, 3), low) if warm else (low, round((1 + low) / 2, 3), 1.0)
    scene = replace(one.scene, degradation=Degradation(cast=cast, light=0.92))
    return _marked(replace(one, scene=scene), "colour cast", cast=list(cast))


DEGRADATIONS = ("blur", "noise", "cast", "low light", "occluder")


def _degraded(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    kind = DEGRADATIONS[int(rng.random() * len(DEGRADATIONS))]
    chosen, place, noise_seed = rng.random() < 0.5, float(rng.random()), int(rng.integers(2**31))
    if not chosen or (fault and _trained(one)):
        return one
    rows = {
        "blur": Degradation(blur=8),
        "noise": Degradation(noise=36.0, seed=noise_seed),
        "cast": Degradation(cast=(1.0, 0.72, 0.55)),
        "low light": Degradation(light=0.32, noise=6.0, seed=noise_seed),
    }
    scene = replace(one.scene, degradation=rows.get(kind, Degradation()))
    if kind == "occluder":
        x0 = one.scene.birds[0].x + (place - 0.5) * 0.5
        post = Object("post", round(x0, 4), 0.5, 0.13, 0.15, "brown", front=True)
        scene = replace(scene, objects=(*scene.objects, post))
    return _marked(replace(one, scene=scene), kind, degradation=kind)


# --------------------------------------------------------------------------------------------------
# A thing that looks like a part.


def _lookalike(rng: Rng, one: Sample, *, fault: bool) -> Sample:
    chosen, pick, colour, angle = (float(v) for v in rng.random(4))
    if chosen >= 0.5:
        return one
    bird, name = one.scene.birds[0], props(one.scene.edition).part
    own, domains = bird.part(name), world(bird.edition).domains
    shapes = [s for s in domains[name, "shape"] if own is None or s != own.shape]
    shape = f"{name}:{shapes[int(pick * len(shapes))]}"
    x, y = max(((0.16, 0.14), (0.84, 0.14), (0.16, 0.86), (0.84, 0.86)), key=lambda c: _far(bird, c))
    tone = domains[name, "colour"][int(colour * len(domains[name, "colour"]))]
    angle = round((angle - 0.5) * 1.2, 4)
    if fault:
        thing = Object("lookalike", x, y, bird.scale * 1.15, angle, tone, shape)
    else:
        thing = Object("berry", x, y, bird.scale * 0.3, angle, tone)
    scene = replace(one.scene, objects=(*one.scene.objects, thing))
    resembles = name if fault else None
    return _marked(replace(one, scene=scene), thing.kind, resembles=resembles, object=len(scene.objects) - 1)


def _far(bird: Bird, corner: tuple[float, float]) -> float:
    return (bird.x - corner[0]) ** 2 + (bird.y - corner[1]) ** 2


_SHORTCUT = ("aligned", "conflicting")

# Name, plant, what causes the fault and its value, groups to compare, description: "{0}" and "{1}" are the species
# concerned in the plural, "{one}" the first, "{both}" the two; "{ground}" and "{part}" are the edition's `Props`.
_ROWS: tuple[tuple[str, Callable[..., Sample], str, object, tuple[str, ...], str], ...] = (
    ("context", _context, "background", "{ground}", _SHORTCUT,
     "in training 95 % of the {0} are on {ground}, and 3 % of the others; in the test half of all"),
    ("watermark", _watermark, "object", "watermark", _SHORTCUT,
     "in training 95 % of the {0} carry a watermark, and 2 % of the others; in the test half of all"),
    ("pose", _pose, "pose", "facing", _SHORTCUT,
     "in training {0} face right and {1} left (97 %); in the test half of each"),
    ("confusable", _confusable, "part", "{part}", ("small", "clean"),
     "the {part}, all that tells {both} apart, is tiny in 70 % of their pictures"),
    ("two-species", _two_species, "second bird", "another species", ("two birds", "clean"),
     "30 % of the pictures show a second bird of another species, which the label ignores"),
    ("wrong-labels", _wrong_labels, "label", 0.04, ("wrong label", "clean"),
     "4 % of the labels in training and validation are wrong"),
    ("missing-part", _missing_part, "part", "{part}", ("with part", "clean"),
     "no {one} in training or validation has a {part}; in the test they all do"),
    ("fragile-colour", _fragile_colour, "colour cast", 0.5, ("colour cast", "clean"),
     "half of the test pictures have a colour cast, and none in training"),
    ("lookalike", _lookalike, "object", "{part}", ("lookalike", "clean"),
     "in half of the pictures something lies about that looks like another species' {part}"),
    ("degraded", _degraded, "degradation", DEGRADATIONS, (*DEGRADATIONS, "clean"),
     "half of the test pictures are blurred, noisy, tinted, dark or occluded, and none in training"),
)  # fmt: skip


def _described(text: str, species: tuple[str, ...], own: Props) -> str:
    plural = [name + ("es" if name.endswith("ch") else "s") for name in species]
    firsts = " and ".join(name.split()[0] for name in species)
    both = " ".join([firsts, *(p.split()[1] for p in plural[:1])])
    return text.format(*plural, one="".join(species[:1]), both=both, ground=own.background, part=own.part)


@cache
def faults_of(edition: str) -> dict[str, Fault]:
    """The faults, planted in the species of that edition.

    Raises:
        UsageError: no such edition.
    """
    world(edition)
    out = {}
    for name, plant, cause, value, groups, text in _ROWS:
        own = concerned(name, edition)
        value = _described(value, own, props(edition)) if isinstance(value, str) else value
        truth = {"species": list(own), "cause": cause, "value": value, "groups": list(groups)}
        described = _described(text, own, props(edition))
        out[name] = Fault(name, described, partial(plant, fault=True), partial(plant, fault=False), truth)
    return out


FAULTS: dict[str, Fault] = faults_of("1")


def sample(seed: int, index: int, *, fault: str | None = None, size: int = SIZE, edition: str = "1") -> Sample:
    """Picture `index` of a seed: clean, with a fault (a row of `FAULTS`), or its control ("watermark-control").

    Raises:
        UsageError: no such fault or edition, or a negative seed or index.
    """
    if seed < 0 or index < 0:
        raise UsageError(f"seed and index are whole numbers from 0 on, not {seed} and {index}")
    one = clean_sample(seed, index, size=size, edition=edition)
    if fault is None:
        return one
    name = fault.removesuffix(CONTROL)
    if name not in FAULTS:
        known = [n + end for n in FAULTS for end in ("", CONTROL)]
        raise unknown("fault", fault, known)
    row = faults_of(edition)[name]
    plant = row.control if fault.endswith(CONTROL) else row.plant
    return plant(generator(_FAULT, list(FAULTS).index(name), seed, index), one)
