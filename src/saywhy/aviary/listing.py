"""The ground truth of one picture as one JSON record: a line of `images.jsonl`."""

from __future__ import annotations

from typing import Any

import numpy as np

from saywhy.aviary.birds import PARTS
from saywhy.aviary.captions import captions_of
from saywhy.aviary.parsing import Phrase, parse
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import STRIDE, Rendered
from saywhy.aviary.species import RELATIONS, relation, species
from saywhy.aviary.truth import TrueGame, interactions, observer_game, part_relations, rule_game, shapley
from saywhy.aviary.vocabulary import describe, said_of
from saywhy.errors import unknown
from saywhy.image import Bools, Box, encode_mask

RECORD = 1  # goes up by one with every change of the keys below


def mask_of(rendered: Rendered, name: str) -> Bools:
    """The mask (H, W) of that name: a part of the first bird, "bird" (the first), "bird 1" (the second), ...,
    "background" (all that is no bird), or a kind of object ("branch": all branches)."""
    if name in PARTS:
        return rendered.visible(name)
    if name == "background":
        return rendered.background_mask
    if name == "bird" or name.startswith("bird "):
        return rendered.bird_mask(int(name[5:] or 0))
    found = [rendered.object_mask(k) for k, o in enumerate(rendered.scene.objects) if o.kind == name]
    if not found:
        raise unknown("mask", name, mask_names(rendered))
    return np.asarray(np.logical_or.reduce(found))


def mask_names(rendered: Rendered) -> list[str]:
    """Names of all masks of a picture that have a pixel: the first bird, its shown parts, other birds, objects."""
    scene = rendered.scene
    shown = {o.kind for k, o in enumerate(scene.objects) if rendered.object_mask(k).any()}
    others = [f"bird {b}" for b in range(1, len(scene.birds)) if rendered.bird_mask(b).any()]
    return ["bird", *rendered.shown(), *others, *sorted(shown), "background"]


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
    answers = ((part, relation(bird, part, other), other) for part, other in RELATIONS)
    return [[a, r, b] for a, r, b in answers if r is not None and a in shown and b in shown]


def _rule(name: str) -> list[dict[str, str | None]]:
    return [{"part": a.part, "key": a.key, "value": a.value, "other": a.other} for a in species(name).rule]


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
    nothing lay over them), `group`, `fault_truth`, `scene`. The writer adds `file` and `masks`.
    """
    shown = rendered.shown()
    bird = one.scene.birds[0]
    said = captions_of(rendered, seed=one.seed, index=one.index)
    parsed = [parse(c.text) for c in said]
    return {
        "class_name": one.class_name,
        "class_index": one.class_index,
        "split": one.split,
        "captions": [c.text for c in said],
        "attributes": said_of(bird, shown),
        "boxes": [{"name": n, "xywh": _xywh(b)} for n, b in rendered.boxes().items()],
        "keypoints": {n: list(p) for n, p in _seen(rendered, shown).items()},
        "species": one.species,
        "rule": _rule(one.species),
        "games": {
            "rule": _solved(rule_game(bird, one.species, parts=shown)),
            "observer": _solved(observer_game(bird, one.species, parts=shown)),
        },
        "relations": _relations(rendered, shown),
        "picture_relations": [list(r) for r in part_relations(rendered)],
        "mentions": [list(c.mentions) for c in said],
        "phrases": [[_phrase(p) for p in q.phrases] for q in parsed],
        "descriptions": {n: describe(p) for n in shown if (p := bird.part(n)) is not None},
        "shares": {n: round(rendered.shares[0, n], 4) for n in bird.names},
        "whole": {n: _code(rendered.whole(n)) for n in PARTS if n in bird.names},
        "group": one.group,
        "fault_truth": dict(one.truth),
        "scene": one.scene.to_dict(),
        "record": RECORD,
    }


def label_map(rendered: Rendered) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture (H, W) as part numbers for a segmenter: 0 = no bird, 1 + i = part i of `PARTS`, of any bird."""
    owner = np.maximum(rendered.owner.astype(np.int64), 0)
    return np.where(owner > 0, (owner - 1) % STRIDE + 1, 0).astype(np.uint8)
