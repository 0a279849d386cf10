"""Birds to judge explanations on: what each part of a picture really does to *this* classifier, measured by removal.

A part's true effect is the probability of the asked species that is lost when the scene is rendered again without the
part; nothing is painted over. k <= 6 players: the visible parts that the species' rule names, at least one part that
no rule names, and others drawn by a seed; the picture (3, H, W) and the masks (k, H, W) are in the classifier's view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count, islice

import numpy as np
import torch
from torch import Tensor

from saywhy.aviary import (
    EDITIONS,
    Rendered,
    Sample,
    Scene,
    other_backgrounds,
    remove,
    render,
    sample,
    world,
)
from saywhy.aviary.faults import concerned, props
from saywhy.aviary.sampling import label
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.evaluate.annotations import framed_mask
from saywhy.image import Bools, read

PLAYERS = 6
SPARE = 2  # players that the rule does not name, at least
TINY = 1e-6  # probability below which no odds are told apart


@dataclass(frozen=True, eq=False)
class Bird:
    """One picture, and the truth about the species that the classifier names in it.

    `masks` (k, H, W) in [0, 1] are the players' visible pixels in the classifier's view; `effects` (k,) the probability
    of the asked class that is lost without each. `differing` are the parts that tell `target` from its `sibling`, the
    species whose rule differs in one atom; `pair` the two of a relation, if it is one. `against` (k,) is what
    log(p target / p sibling) loses without each, `together` (k, k) what it loses without two beyond the losses without
    either (zero where there is no `pair`).
    """

    name: str
    rendered: Rendered
    image: Tensor
    players: tuple[str, ...]
    masks: Tensor
    effects: Tensor
    against: Tensor
    together: Tensor
    rule: Tensor
    target: int
    sibling: int
    differing: tuple[str, ...]
    pair: tuple[str, str] | None


@dataclass(frozen=True, eq=False)
class Spoiled:
    """A bird with a planted shortcut in its picture, which lies at `spot` (H, W) in [0, 1] of the classifier's view.

    `counts` says whether the shortcut really is the strongest evidence for this classifier: taking it away loses more
    of the asked class, and more than .05, than removing any one player does.
    """

    bird: Bird
    fault: str
    spot: Tensor
    counts: bool


def edition_told(clf: Classifier) -> str:
    """The edition of the aviary whose species are all among the classifier's classes.

    Raises:
        UsageError: there is none.
    """
    missing = {e: [name for name in world(e).classes if name not in clf.class_names] for e in EDITIONS}
    edition = min(EDITIONS, key=lambda e: len(missing[e]) / len(world(e).classes))
    if missing[edition]:
        raise UsageError(
            f"the aviary's protocol is for classifiers of the {len(world(edition).classes)} species of one of its "
            f"editions (aviary:cnn, aviary:vit, ...); {clf.name or 'this model'} has no class {missing[edition][0]!r}"
        )
    return edition


def test_birds(clf: Classifier, wanted: int, seed: int) -> tuple[list[Bird], int]:
    """The birds among the first `wanted` test pictures of a seed that the classifier names, and how many it was asked.

    Raises:
        UsageError: it names none.
    """
    birds, asked, edition = [], 0, edition_told(clf)
    for index in count():
        if label(seed, index, edition=edition)[1] != "test":
            continue
        if asked == wanted:
            break
        asked += 1
        one = sample(seed, index, edition=edition)
        bird = _bird(clf, one)
        birds += [bird] if bird is not None and clf.class_names[bird.target] == one.species else []
    if not birds:
        raise UsageError(f"{clf.name or 'the model'} names none of {asked} birds; there is nothing to explain")
    return birds, asked


def _bird(clf: Classifier, one: Sample) -> Bird | None:
    """The truth about a sample for the species that the classifier names; None where none of its parts can be seen."""
    rendered = render(one.scene)
    image = view(clf, [rendered])[0]
    probabilities = clf.probabilities(image[None])[0]
    target = int(probabilities.argmax())
    known = world(one.scene.edition)
    own = known.species.get(clf.class_names[target])
    if own is None:
        return None
    players = _players(rendered, own.parts, (one.seed, one.index))
    named = [p for p in own.parts if p in rendered.shown()]
    if not named or len(players) < 2:
        return None
    how = clf.preprocess
    rule = np.logical_or.reduce([rendered.visible(p) for p in named])
    sibling = next(s for s in known.species.values() if s.clan == own.clan and s.name != own.name)
    differ = [a for a in own.rule if a not in sibling.rule]
    pair = next(((a.parts[0], a.parts[1]) for a in differ if a.other is not None), None)
    rival = clf.class_names.index(sibling.name)
    effects, against, together = _effects(clf, one.scene, players, target, rival, probabilities, pairs=pair is not None)
    return Bird(
        name=f"seed {one.seed} picture {one.index}",
        rendered=rendered,
        image=image,
        players=players,
        masks=torch.stack([framed_mask(rendered.visible(p), how) for p in players]),
        effects=effects,
        against=against,
        together=together,
        rule=framed_mask(rule, how) > 0.5,
        target=target,
        sibling=rival,
        differing=tuple(p for a in differ for p in a.parts),
        pair=pair,
    )


def _effects(
    clf: Classifier,
    scene: Scene,
    players: Sequence[str],
    target: int,
    rival: int,
    whole: Tensor,
    *,
    pairs: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """What is lost when the scene is rendered without each part, and without each two of them if `pairs`."""
    k = len(players)
    gone = [(i,) for i in range(k)] + (list(combinations(range(k), 2)) if pairs else [])
    shown = [render(remove(scene, *(players[i] for i in which))) for which in gone]
    p = torch.cat([whole[None], clf.probabilities(view(clf, shown))]).double()
    ratio = p[:, target].clamp_min(TINY).log() - p[:, rival].clamp_min(TINY).log()
    lost = ratio[0] - ratio[1:]
    together = torch.zeros(k, k, dtype=torch.float64)
    for n, which in enumerate(gone[k:], start=k):
        i, j = which[0], which[-1]
        together[i, j] = lost[n] - lost[i] - lost[j]
    return p[0, target] - p[1 : k + 1, target], lost[:k], together


def _players(rendered: Rendered, named: Sequence[str], seed: tuple[int, int]) -> tuple[str, ...]:
    """Visible parts of the rule, one null part, and others; in the order of the bird's parts."""
    known = world(rendered.scene.edition)
    shown = [p for p in rendered.shown() if p != known.carrier]  # it cannot be removed
    chosen = [p for p in shown if p in named][: PLAYERS - SPARE]
    rest = [str(p) for p in np.random.default_rng((*seed, 3)).permutation([p for p in shown if p not in chosen])]
    rest.sort(key=lambda p: p not in known.null_parts)
    first, others = rest[:1], rest[1:]
    others.sort(key=lambda p: p in known.null_parts)
    chosen += [*first, *others][: PLAYERS - len(chosen)]
    return tuple(p for p in shown if p in chosen)


def view(clf: Classifier, rendered: Sequence[Rendered]) -> Tensor:
    """Rendered scenes as the classifier sees them (N, 3, H, W)."""
    return clf.prepare([read(r.pixels) for r in rendered])[0]


# --------------------------------------------------------------------------------------------------
# Planted shortcuts.


def spoiled_birds(clf: Classifier, fault: str, wanted: int, seed: int) -> list[Spoiled]:
    """`wanted` pictures with the shortcut in them, half of the species that it goes with, half of its sibling.

    What the classifier names is explained: where it has the fault, that is the fault's species for both.
    """
    known = world(edition_told(clf))
    species = known.species[concerned(fault, known.edition)[0]]
    sibling = next(s for s in known.species.values() if s.clan == species.clan and s is not species)
    kinds = ((species.name, wanted - wanted // 2), (sibling.name, wanted // 2))
    planted = (islice(_planted(fault, name, seed, known.edition), number) for name, number in kinds)
    birds = [_bird(clf, one) for samples in planted for one in samples]
    return [_spoiled(clf, bird, fault) for bird in birds if bird is not None]


def _planted(fault: str, species: str, seed: int, edition: str) -> Iterator[Sample]:
    """Test pictures of that species that carry the shortcut."""
    key = {"watermark": "watermark", "context": props(edition).background}[fault]
    for index in count():
        if label(seed, index, edition=edition) == (species, "test"):
            one = sample(seed, index, fault=fault, edition=edition)
            if one.truth.get(key):
                yield one


def _spoiled(clf: Classifier, bird: Bird, fault: str) -> Spoiled:
    scene = bird.rendered.scene
    place = marked(bird.rendered) if fault == "watermark" else bird.rendered.background_mask
    gone = clf.probabilities(view(clf, [render(s) for s in without_shortcut(scene, fault)]))[:, bird.target]
    lost = float(clf.probabilities(bird.image[None])[0, bird.target] - gone.mean())
    spot = framed_mask(place, clf.preprocess)
    return Spoiled(bird, fault, spot, lost > max(0.05, float(bird.effects.max())))


def marked(rendered: Rendered) -> Bools:
    """The pixels (H, W) of the watermarks."""
    marks = [rendered.object_mask(k) for k, o in enumerate(rendered.scene.objects) if o.kind == "watermark"]
    return np.asarray(np.logical_or.reduce(marks))


def without_shortcut(scene: Scene, fault: str) -> list[Scene]:
    """The scene without the watermark, or before each other background."""
    if fault == "watermark":
        return [replace(scene, objects=tuple(o for o in scene.objects if o.kind != "watermark"))]
    return [changed for _, changed in other_backgrounds(scene)]
