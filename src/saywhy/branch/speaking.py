"""Which phrases a branch says of one picture, with where each is and what it counts.

T phrases, L layers; masks (T, H, W) of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saywhy.branch.effects import Causes, effects
from saywhy.branch.hearing import masks_of, patches_of
from saywhy.branch.learning import TRUE, Branch
from saywhy.branch.levels import readings, tapped_for
from saywhy.errors import UsageError
from saywhy.explanation import place_word
from saywhy.image import mask_box
from saywhy.seen import Seen
from saywhy.spaces import text_space

SHOWN = 8  # phrases at most, where none is asked for


@dataclass(frozen=True, eq=False)
class Speech:
    """What is said of a picture: phrases, how sure each is (T,), the layer of each, its mask, and its effects on the
    target and, where there is one, on the class that it is compared with."""

    branch: Branch
    phrases: tuple[str, ...]
    sure: Tensor
    layers: tuple[int, ...]
    masks: Tensor
    effects: Causes


def speak(branch: Branch, seen: Seen, asked: Sequence[str] = (), seed: int = 0) -> Speech | None:
    """What a branch says of a picture: of the phrases that are asked for, or of those it knows that it finds true, the
    surest first. None where there is nothing to say.

    Raises:
        UsageError: a phrase that the text space does not know, or another space of that name than the branch learned.
    """
    phrases, texts = vocabulary(branch, asked, seen)
    tap = tapped_for(seen.tap.clf, seen.image[None], branch.levels)
    everything = branch.hear([maps[0] for maps in readings(tap, branch.levels)], texts)
    sure = everything.odds.sigmoid()
    rows = list(range(len(phrases))) if asked else _surest(sure)
    if not rows:
        return None
    heard = everything.some(rows)
    layers = heard.drops().argmax(dim=1).tolist()
    patches = patches_of(seen.image)
    masks = masks_of(heard.fused(branch.shares, patches), patches)
    classes = [seen.target, *([] if seen.versus is None else [seen.versus])]
    measured = effects(tap, seen, heard, layers, int(branch.shares.argmax()), masks, classes, seed)
    return Speech(branch, tuple(phrases[t] for t in rows), sure[rows], tuple(layers), masks, measured)


def vocabulary(branch: Branch, asked: Sequence[str], seen: Seen) -> tuple[tuple[str, ...], Tensor]:
    """The phrases that are looked for, and their vectors (T, d)."""
    if not asked:
        return branch.phrases, branch.texts
    known = dict(zip(branch.phrases, branch.texts, strict=True))
    if all(phrase in known for phrase in asked):
        return tuple(asked), torch.stack([known[phrase] for phrase in asked])
    space = text_space(branch.space, seen.tap.clf)
    if space.fingerprint != branch.space_fingerprint:
        raise UsageError(
            f"the branch learned from the text space {branch.space} {branch.space_fingerprint}, and the one here is "
            f"{space.fingerprint}: only its own {len(branch.phrases)} phrases can be looked for; or fit it again: "
            "saywhy fit IMAGES --parts branch"
        )
    return tuple(asked), space.encode_texts(asked)


def _surest(sure: Tensor) -> list[int]:
    order = sure.argsort(descending=True, stable=True)[:SHOWN].tolist()
    return [t for t in order if float(sure[t]) >= TRUE]


# --------------------------------------------------------------------------------------------------
# The record.


def told(found: Speech, seen: Seen) -> list[dict[str, Any]]:
    """A row of JSON for each phrase."""
    return [_row(found, seen, t) for t in range(len(found.phrases))]


def _row(found: Speech, seen: Seen, t: int) -> dict[str, Any]:
    on_photo = seen.on_photo(found.masks[t])
    visible = bool(on_photo.any())
    sure = float(found.sure[t])
    return {
        "phrase": found.phrases[t],
        "probability": sure,
        "present": sure >= TRUE,
        "layer": found.branch.levels[found.layers[t]].path,
        "place": place_word(on_photo) if visible else None,
        "box": list(mask_box(on_photo)) if visible else None,
        "share": float(found.masks[t].float().mean()),
        "target": _effect(found.effects, t, 0),
        "versus": None if seen.versus is None else _effect(found.effects, t, 1),
    }


def _effect(found: Causes, t: int, c: int) -> dict[str, Any]:
    hidden = found.hidden[t, :, c]
    return {
        "contribution": float(found.contributions[t, c]),
        "counts": bool(found.counts[t, c]),
        "channels": float(found.channels[t, c]),
        "removed": float(found.removed[t, c]),
        "removed_elsewhere": float(found.control[t, :, c].abs().max()),
        "hidden": float(hidden.mean()),
        "hidden_low": float(hidden.min()),
        "hidden_high": float(hidden.max()),
    }
