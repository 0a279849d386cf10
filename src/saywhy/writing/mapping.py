"""What a region is like: its picture feature, the nearest text features of the joint space, and the phrase that may be
said. Each step is a value that can be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.aviary.classifiers import card as card_of
from saywhy.aviary.classifiers import edition_of, names
from saywhy.explanation import Explanation
from saywhy.image import Picture
from saywhy.spaces.joint import Joint, close_ups, load_joint

NEAREST = 5
# Log-odds from which a phrase is said: four in five are then true, of a third of regions (docs/language.md).
SURE = 3.0


@dataclass(frozen=True, eq=False)
class Likeness:
    """A thing's number, its feature (d,), the nearest phrases with their log-odds, the phrase that may be said, if any,
    and the nearest text feature (d,)."""

    id: str
    feature: Tensor
    nearest: tuple[tuple[str, float], ...]
    like: str
    text: Tensor


def knows(explanation: Explanation) -> str:
    """Why the joint space has nothing to say of such pictures, "" where it has."""
    _, card = load_joint()
    kind, _, name = explanation.model.name.partition(":")
    if kind == "aviary" and name in names() and edition_of(card_of(name)) == card["edition"]:
        return ""
    return f"the joint space speaks of {card['speaks_of']} alone"


@torch.no_grad()
def likenesses(explanation: Explanation, picture: Picture, ids: Sequence[str]) -> tuple[Tensor, dict[str, Likeness]]:
    """The picture's feature (d,), and what each of these concepts is like."""
    space, card = load_joint()
    pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].float() / 255
    whole = F.normalize(space.images(pixels), dim=1)[0]
    concepts = {c.id: c for c in explanation.concepts}
    masks = [torch.from_numpy(concepts[id].mask.array()) for id in ids]
    phrases, said = told_phrases(space, card)
    found = {}
    for id, mask in zip(ids, masks, strict=True):
        feature = F.normalize(space.images(close_ups(pixels, mask[None])), dim=1)[0]
        found[id] = nearest(space, id, feature, phrases, said)
    return whole, found


def told_phrases(space: Joint, card: Mapping[str, Sequence[str]]) -> tuple[list[str], Tensor]:
    """The phrases of the space and their text features (T, d)."""
    phrases = list(card["phrases"])
    with torch.no_grad():
        said = torch.cat([space.texts(phrases[i : i + 64]) for i in range(0, len(phrases), 64)])
    return phrases, F.normalize(said, dim=1)


def nearest(space: Joint, id: str, feature: Tensor, phrases: Sequence[str], said: Tensor) -> Likeness:
    """A feature (d,) mapped to the text features (T, d) of phrases."""
    odds = space.scale.exp() * (said @ feature) + space.bias
    order = odds.argsort(descending=True)[:NEAREST].tolist()
    rows = tuple((phrases[i], round(float(odds[i]), 3)) for i in order)
    return Likeness(id, feature, rows, rows[0][0] if rows[0][1] >= SURE else "", said[order[0]])
