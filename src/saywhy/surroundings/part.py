"""The part `surroundings`: the object before four other backgrounds.

The surroundings are the leaves of the regions' tree that touch the border and lie in no region that counts; what is
kept is all the rest. H x W is the model's view, m backgrounds, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.explanation import Effect
from saywhy.image import Bools, Preprocess
from saywhy.intervene import Masked, masked_probabilities, plain_probabilities
from saywhy.intervene.fills import gaussian_blur
from saywhy.language import Claim, Confirming, Found
from saywhy.language.verify import points
from saywhy.parts import Confirmed, Face, Request
from saywhy.seen import Seen, as_jpeg
from saywhy.surroundings.decision import Tried, agreeing, decided
from saywhy.surroundings.grounds import COUNT, Grounds, of_user, plain
from saywhy.surroundings.kinds import kind_of

LEAST = 0.05  # of the view: less is neither surroundings nor an object
BLUR = 1 / 12  # of the short side: only the colours of the surroundings are left
SIDE = 160


@dataclass(frozen=True, eq=False)
class Before:
    """The backgrounds, the share of the view that they replace, what was asked, and the pictures (m, 3, H, W) that were
    shown; or `why` nothing was."""

    grounds: Grounds
    exchanged: float
    tried: Tried | None = None
    shown: Tensor | None = None
    why: str | None = None


def take(clf: Classifier, given: str | Path | Sequence[str | Path], seed: int) -> Grounds:
    """Backgrounds from pictures of the user's."""
    return of_user(clf, given, seed)


def find(part: Grounds | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Before | None:
    """The photo before other backgrounds; None where no regions were looked for."""
    if "regions" not in earlier:
        return None
    H, W = seen.image.shape[1:]
    grounds = (part or plain((H, W))).for_photo(seen.picture.sha256)
    around = surroundings(earlier["regions"])
    exchanged = float(around.mean())
    if why := "the fast way leaves this out" if asked.fast else _unfit(seen, exchanged, grounds):
        return Before(grounds, exchanged, why=why)
    asked.tell(f"showing the object before {COUNT} other backgrounds")
    clf, keep = seen.tap.clf, torch.from_numpy(~around).to(seen.image.device)
    backgrounds = grounds.pictures.to(seen.image)
    blurred = gaussian_blur(seen.image[None], BLUR * min(H, W))
    pictures = torch.cat([backgrounds, blurred])
    answers = before(clf, seen.image, keep, pictures)
    shown = as_seen(torch.where(keep, seen.image, backgrounds), clf.preprocess)
    reaching = float((border(earlier["regions"]) & ~around).mean())
    return Before(grounds, exchanged, _tried(seen, answers, alone(clf, backgrounds), reaching), shown)


def as_seen(images: Tensor, how: Preprocess) -> Tensor:
    """Images (m, B, H, W) as people see them (m, 3, H, W): of other bands than colours those that are shown, or the
    first ones, from the darkest to the brightest value."""
    if how.planes == 3:
        return images
    which = how.of_planes().shown or (1, 2, 3)[: 3 if how.planes > 3 else 1]
    x = images[:, [band - 1 for band in which]]
    low, high = (v[..., None, None] for v in x.flatten(2).aminmax(dim=2))
    return ((x - low) / (high - low).clamp_min(1e-6)).expand(-1, 3, -1, -1)


def surroundings(regions: Any) -> Bools:
    """What is exchanged (H, W): leaves of the regions' tree at the border that lie in no region that counts."""
    counting = regions.regions[list(regions.fors)].any(dim=0).cpu().numpy()
    return np.asarray(border(regions) & ~counting)


def border(regions: Any) -> Bools:
    """The leaves at the border (H, W)."""
    leaves = regions.tree.leaves
    return np.isin(leaves, np.concatenate([leaves[0], leaves[-1], leaves[:, 0], leaves[:, -1]]))


def before(clf: Classifier, image: Tensor, keep: Tensor, pictures: Tensor) -> Tensor:
    """Probabilities (m, C) of an image (3, H, W), seen where `keep` (H, W) says so, before each of the pictures."""
    parts = [Masked(image[None], 1, lambda start, stop: keep[None], picture) for picture in pictures]
    return masked_probabilities(clf, parts)


def alone(clf: Classifier, pictures: Tensor) -> Tensor:
    """Probabilities (m, C) of the backgrounds themselves; asked for each photo, so that a record says what it cost."""
    return plain_probabilities(clf, pictures)


def _unfit(seen: Seen, exchanged: float, grounds: Grounds) -> str | None:
    count = len(grounds.names)
    if grounds.pictures.shape[1] != len(seen.image):
        return f"plain backgrounds have colours, and the model takes {len(seen.image)} bands: give pictures of yours"
    if not seen.said:
        return "the model does not say this class"
    if exchanged < LEAST:
        return "there are no surroundings: all that touches the border of the view counts"
    if exchanged > 1 - LEAST:
        return "there is no object: nothing lies inside"
    if count < COUNT:
        return f"without the photo itself there are {count} other backgrounds, and {COUNT} are needed"
    return None


def _tried(seen: Seen, answers: Tensor, by_themselves: Tensor, reaching: float) -> Tried:
    t, m = seen.target, len(by_themselves)
    return Tried(
        full=float(seen.probabilities[t]),
        before=tuple(answers[:m, t].tolist()),
        wins=tuple((seen.says(answers[:m]) == t).tolist()),
        alone=tuple(by_themselves[:, t].tolist()),
        wins_alone=tuple((seen.says(by_themselves) == t).tolist()),
        own=float(answers[m, t]),
        reaching=reaching,
    )


def confirm(found: Before, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """Says that the surroundings decide, that the object is enough, or nothing."""
    tried = found.tried
    row: dict[str, Any] = {"kind": found.grounds.kind, "names": list(found.grounds.names), "exchanged": found.exchanged}
    if tried is None or found.shown is None:
        return Confirmed(record={**row, "kept": [], "alone": [], "own": None, "decide": None, "why": found.why})
    decide, why = decided(tried)
    row |= {
        "kept": [p / tried.full for p in tried.before],
        "alone": list(tried.alone),
        "own": tried.own / tried.full,
        "decide": decide,
        "why": why,
    }
    said = [] if decide is None else [_said(found.grounds, tried, decide, seen)]
    pictures = tuple(as_jpeg(picture, SIDE) for picture in found.shown)
    return Confirmed(said, record=row, pictures=pictures, made=(f"surroundings:{row['kind']}",))


def _said(grounds: Grounds, tried: Tried, decide: bool, seen: Seen) -> Found:
    which = agreeing(tried, decide)
    values = [tried.before[i] for i in which]
    numbers = (median(values), max(values), tried.own) if decide else (median(values), min(values))
    kind = kind_of(decide, yours=grounds.kind == "folder", every=len(which) == len(tried.wins))
    claim = Claim(kind, classes=(seen.score(seen.target).class_name,), percents=tuple(points(p) for p in numbers))
    effect = Effect(
        change=numbers[0] - tried.full,
        low=min(values) - tried.full,
        high=max(values) - tried.full,
        runs=len(which),
        passes=len(which),
        fill=", ".join(grounds.names[i] for i in which),
        level=1.0,
    )
    return Found(claim, ("surroundings",), effect, (seen.target,))


FACE = Face(take=take, find=find, confirm=confirm)
