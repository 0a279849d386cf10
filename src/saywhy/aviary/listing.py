"""The ground truth of one picture as one JSON record: a line of `images.jsonl`."""

from __future__ import annotations

from typing import Any

import numpy as np

from saywhy.aviary import captions, facts, parsing, reading, talk
from saywhy.aviary.birds import ORDERS, Bird
from saywhy.aviary.captions import Caption
from saywhy.aviary.parsing import Parsed, Phrase
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import STRIDE, Rendered, Scene
from saywhy.aviary.truth import (
    TrueGame,
    bayes_game,
    interactions,
    observer_game,
    part_relations,
    replaced_looks,
    rule_game,
    shapley,
)
from saywhy.aviary.vocabulary import describe, said_of
from saywhy.aviary.world import Atom, species, world
from saywhy.errors import unknown
from saywhy.image import Bools, Box, encode_mask

RECORD = 1  # goes up by one with every change of the keys below


def mask_of(rendered: Rendered, name: str) -> Bools:
    """The mask (H, W) of that name: a part of the first bird, "bird" (the first), "bird 1" (the second), ...,
    "background" (all that is no bird), or a kind of object ("branch": all branches). In the second edition also
    "collars" (one or both), and in a picture of two "left bird" and "left bird: crown". A cell is a "cell"."""
    side, mark, part = name.partition(": ")
    sides = _sides(rendered)
    if side in sides:
        return _part_mask(rendered, part, sides[side]) if mark else rendered.bird_mask(sides[side])
    if name == "collars" or (rendered.scene.birds and name in ORDERS[rendered.scene.edition]):
        return _part_mask(rendered, name, 0)
    if name == "background":
        return rendered.background_mask
    noun = world(rendered.scene.edition).noun
    if name == noun or name.startswith(f"{noun} "):
        return rendered.bird_mask(int(name[len(noun) + 1 :] or 0))
    found = [rendered.object_mask(k) for k, o in enumerate(rendered.scene.objects) if o.kind == name]
    if not found:
        raise unknown("mask", name, mask_names(rendered))
    return np.asarray(np.logical_or.reduce(found))


def _part_mask(rendered: Rendered, part: str, bird: int) -> Bools:
    if part == "collars":
        own = [n for n in rendered.scene.birds[bird].names if n in facts.TWINS]
        return np.asarray(np.logical_or.reduce([rendered.visible(n, bird) for n in own]))
    return rendered.visible(part, bird)


def _sides(rendered: Rendered) -> dict[str, int]:
    """The two birds of a picture of the second edition by where they are."""
    two = rendered.scene.edition != "1" and len(rendered.scene.birds) == 2
    return dict(zip(facts.side_names(rendered.scene.edition), facts.order(rendered), strict=True)) if two else {}


def _part_names(rendered: Rendered, bird: int) -> list[str]:
    """The shown parts of a bird, and "collars" for one or two of them: captions do not tell the two apart."""
    shown = list(rendered.shown(bird))
    return [*shown, "collars"] if set(facts.TWINS) & set(shown) else shown


def mask_names(rendered: Rendered) -> list[str]:
    """Names of all masks of a picture that have a pixel: the first bird, its shown parts, other birds, objects."""
    scene = rendered.scene
    shown = {o.kind for k, o in enumerate(scene.objects) if rendered.object_mask(k).any()}
    noun = world(scene.edition).noun
    others = [f"{noun} {b}" for b in range(1, len(scene.birds)) if rendered.bird_mask(b).any()]
    sided = [
        n for side, b in _sides(rendered).items() for n in (side, *(f"{side}: {p}" for p in _part_names(rendered, b)))
    ]
    return [noun, *_part_names(rendered, 0), *others, *sided, *sorted(shown), "background"]


def captions_of(
    rendered: Rendered, *, seed: int = 0, index: int = 0, count: int = captions.COUNT
) -> tuple[Caption, ...]:
    """`count` captions of a picture in the language of its edition; the same for the same picture, seed and index.

    Those of the first edition are all different, those of later ones together say every fact of the picture.
    """
    spoken = captions.captions_of if rendered.scene.edition == "1" else talk.captions_of
    return spoken(rendered, seed=seed, index=index, count=count)


def parse(text: str, *, edition: str = "1") -> Parsed:
    """What a caption of that edition's language says.

    Raises:
        InputError: a word is not in the vocabulary, or is said of nothing.
        UsageError: no such edition.
    """
    return parsing.parse(text) if world(edition).edition == "1" else reading.parse(text, edition)


def said_in(rendered: Rendered, *, seed: int = 0, index: int = 0) -> tuple[tuple[Caption, ...], tuple[Parsed, ...]]:
    """The captions of a picture and what they say."""
    said = captions_of(rendered, seed=seed, index=index)
    return said, tuple(parse(c.text, edition=rendered.scene.edition) for c in said)


def _xywh(box: Box) -> list[int]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _code(mask: Bools) -> dict[str, Any]:
    size, counts = encode_mask(mask)
    return {"size": list(size), "counts": counts}


def _phrase(one: Phrase) -> dict[str, Any]:
    return {"start": one.start, "end": one.end, "mask": one.mask, "attributes": list(one.attributes)}


def _digits(value: float) -> float:
    # Ten digits: the games' values are fractions with fewer, and sums in another order differ behind them.
    return round(value, 10) + 0.0


def _solved(game: TrueGame) -> dict[str, Any]:
    """A game's Shapley values, its interactions that are not zero, and what each player is worth last and alone."""
    pairs = {pair: _digits(v) for pair, v in interactions(game).items()}
    full, empty = float(game.values[-1]), float(game.values[0])
    return {
        "full": _digits(full),
        "empty": _digits(empty),
        "shapley": {p: _digits(v) for p, v in shapley(game).items()},
        "interactions": [[a, b, v] for (a, b), v in pairs.items() if v],
        "necessity": {p: _digits(full - game.value(set(game.players) - {p})) for p in game.players},
        "sufficiency": {p: _digits(game.value([p]) - empty) for p in game.players},
    }


def _relations(rendered: Rendered, shown: tuple[str, ...]) -> list[list[str]]:
    """The relations [part, relation, other part] that rules speak of, in the bird's frame."""
    bird = rendered.scene.birds[0]
    answers = ((r.part, r.answer(bird), r.other) for r in world(bird.edition).relations)
    return [[a, r, b] for a, r, b in answers if r is not None and a in shown and b in shown]


def rule_of(name: str) -> dict[str, Any]:
    """The rule of a species as JSON values: `rule`, and `either` where of some atoms one must hold."""
    own = species(name)
    said = {"rule": [_atom(a) for a in own.rule], "either": [[_atom(a) for a in c] for c in own.either]}
    return said if own.either else {"rule": said["rule"]}


def _atom(atom: Atom) -> dict[str, str | None]:
    return {"part": atom.part, "key": atom.key, "value": atom.value, "other": atom.other}


def _games(bird: Bird, name: str, shown: tuple[str, ...]) -> dict[str, Any]:
    """The games of a picture, solved: of the first edition with the observer who counts, of others with the one who
    weighs, and with the rule's own parts as the only players of its game."""
    if bird.edition == "1":
        games = {"rule": rule_game(bird, name, parts=shown), "observer": observer_game(bird, name, parts=shown)}
    else:
        named = [p for p in species(name).parts if p in shown]
        games = {"rule": rule_game(bird, name, parts=named), "bayes": bayes_game(bird, name, parts=shown)}
    return {k: _solved(game) for k, game in games.items()}


def _seen(rendered: Rendered, shown: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Keypoints of the shown parts that lie on the picture."""
    size = rendered.scene.size
    return {n: p for n, p in rendered.keypoints().items() if n in shown and 0 <= p[0] < size and 0 <= p[1] < size}


def truth_record(one: Sample, rendered: Rendered) -> dict[str, Any]:
    """Everything that is known of a picture, as JSON values.

    Keys `class_name, class_index, split, captions, attributes, boxes, keypoints` as in every `images.jsonl`. Of the
    aviary's own: `species` (what the bird is, whatever the label says), `rule`, `games` (both solved), `relations`
    (those that rules speak of, in the bird's frame), `picture_relations`, `mentions` and `phrases` (one list a
    caption), `descriptions`, `shares` (visible share of each part), `whole` (run-length codes of the parts as if
    nothing lay over them), `group`, `fault_truth`, `scene`. The writer adds `file` and `masks`. Later editions name
    `edition`, have facts for attributes, the Bayes game instead of the observer's, and `replaced`: for each shown part
    and kind of change the share of its other looks with which the bird is not what it was.
    """
    shown = rendered.shown()
    bird = one.scene.birds[0]
    said, parsed = said_in(rendered, seed=one.seed, index=one.index)
    first = bird.edition == "1"
    record = {
        "class_name": one.class_name,
        "class_index": one.class_index,
        "split": one.split,
        "captions": [c.text for c in said],
        "attributes": said_of(bird, shown) if first else [f.name for f in facts.facts(rendered)],
        "boxes": [{"name": n, "xywh": _xywh(b)} for n, b in rendered.boxes().items()],
        "keypoints": {n: list(p) for n, p in _seen(rendered, shown).items()},
        "species": one.species,
        **rule_of(one.species),
        "games": _games(bird, one.species, shown),
        "relations": _relations(rendered, shown),
        "picture_relations": [list(r) for r in part_relations(rendered)],
        "mentions": [list(c.mentions) for c in said],
        "phrases": [[_phrase(p) for p in q.phrases] for q in parsed],
        "descriptions": {n: describe(p) for n in shown if (p := bird.part(n)) is not None} if first else {},
        "shares": {n: round(rendered.shares[0, n], 4) for n in bird.names},
        "whole": {n: _code(rendered.whole(n)) for n in ORDERS[bird.edition] if n in bird.names},
        "group": one.group,
        "fault_truth": dict(one.truth),
        "scene": one.scene.to_dict(),
        "record": RECORD,
    }
    return record if first else record | {"edition": bird.edition, "replaced": _replaced(one.scene, shown)}


def _replaced(scene: Scene, shown: tuple[str, ...]) -> dict[str, dict[str, float]]:
    found = replaced_looks(scene)
    return {n: {k: _digits(v) for k, v in found[n].items()} for n in shown}


def label_map(rendered: Rendered) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture (H, W) as part numbers for a segmenter: 0 = no bird, 1 + i = part i of `PARTS`, of any bird."""
    owner = np.maximum(rendered.owner.astype(np.int64), 0)
    return np.where(owner > 0, (owner - 1) % STRIDE + 1, 0).astype(np.uint8)
