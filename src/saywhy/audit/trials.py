"""What the classifier says when something in a picture is changed: surroundings, a patch, the side that it faces,
light, colour and sharpness, one unit of the layer. N pictures of a batch; a pair is what was said and what it is
compared with: the label of an error, the runner-up of a right answer.

Every change that may mend an error has one beside it that should not: findings are differences of the two.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.audit.cutout import Cutout, emptied, object_mask, placed
from saywhy.audit.experiments import closer, window
from saywhy.audit.lenders import MEASURES, Lenders
from saywhy.classifier import in_colours
from saywhy.intervene import hide
from saywhy.tap import Tap

if TYPE_CHECKING:
    from saywhy.audit.depths import Brief, Lot, Rows

Box = tuple[float, float, float, float]

DONORS = 4  # of surroundings, of each side
WINDOWS = ((0.5, 3), (0.75, 2))  # side of a window, and how many along each side; halves do not overlap
PATCHES, PATCH = 5, 0.25  # along each side, and the side of one
PLANTED = 6  # recognised pictures into which a patch is put
SHIFTS = ((0.04, 0.04), (-0.04, 0.04), (0.04, -0.04), (-0.04, -0.04))
UNITS = 64  # that are silenced at once
MOST_UNITS = 2048


@dataclass(frozen=True, eq=False)
class Changed:
    """An image (3, H, W) after an act; `of` says whose surroundings, `donor` which picture lent something, `box` where,
    `value` a number that the act's row in ACTS explains."""

    act: str
    image: Tensor
    of: str | None = None
    donor: int | None = None
    box: Box | None = None
    value: float | None = None


ACTS: dict[str, str] = {
    "placed": "the object before the surroundings of a donor: `of` the class that was said (answer), the one that it "
    "is compared with (versus), or others",
    "own": "the object before its own surroundings, painted over where it was",
    "closer": "a window of the picture, scaled up",
    "painted": "a patch painted over with what is around it; `value` is the share of it that lies on the object",
    "planted": "the patch that, painted over, brings the other class, put into a recognised picture of that class; the "
    "probabilities are those of the recognised picture",
    "patched": "the same place of another recognised picture put there instead",
    "mirrored": "left and right exchanged",
    "shifted": "moved by a twenty-fifth",
    "warmer": "red raised, green half as much; `value` is how far from usual the picture is in the direction that this "
    "undoes, 1 for the twentieth that is furthest",
    "cooler": "blue raised, green half as much; `value` likewise",
    "lighter": "brighter; `value` likewise",
    "darker": "darker; `value` likewise",
    "smoothed": "fine grain taken out; `value` likewise",
    "sharpened": "fine grain made stronger; `value` likewise",
}


def look(asked: Brief, batch: Lot) -> Rows:
    """Rows of `trials` and `units` of a batch; errors are tried in all ways, right answers in some."""
    in_colours(asked.clf, "objects are cut out")
    rows: Rows = {"trials": [], "units": []}
    for one in batch.singles:
        pair, wrong = _pair(asked, one)
        image, n = one.tap.images[0], one.numbers[0]
        cutout = Cutout(image, object_mask(image))
        dice = random.Random(f"{asked.seed} {n}")
        changes = list(_changes(asked.lenders, cutout, n, pair, wrong, dice))
        own = _answered(asked, changes, n, pair)
        rows["trials"] += own
        if wrong:
            rows["trials"] += _answered(asked, list(_planted(asked.lenders, own, cutout, n, pair, dice)), n, pair)
        rows["units"] += _units(one.tap, n, pair)
    return rows


def _pair(asked: Brief, one: Lot) -> tuple[tuple[int, int], bool]:
    """What was said and what it is compared with, and whether the first is wrong."""
    scores, entry = one.tap.logits[0], one.entries[0]
    first, second = (int(c) for c in scores.topk(2).indices)
    label = asked.labels.get((entry.class_name, entry.class_index))
    wrong = label is not None and label != first
    return (first, label if wrong and label is not None else second), wrong


def _answered(asked: Brief, changes: Sequence[Changed], n: int, pair: tuple[int, int]) -> list[dict[str, Any]]:
    if not changes:
        return []
    p = asked.clf.probabilities(torch.stack([c.image for c in changes])).cpu()
    return [
        {
            "n": n, "act": c.act, "of": c.of, "donor": c.donor, "box": None if c.box is None else list(c.box),
            "value": c.value, "answer": pair[0], "versus": pair[1], "p_answer": float(q[pair[0]]),
            "p_versus": float(q[pair[1]]), "said": int(q.argmax()), "p_said": float(q.max()),
        }
        for c, q in zip(changes, p, strict=True)
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Changes.


def _changes(
    lenders: Lenders, cutout: Cutout, n: int, pair: tuple[int, int], wrong: bool, dice: random.Random
) -> Iterator[Changed]:
    yield from _before(lenders, cutout, n, pair, dice)
    yield from _closer(cutout.image)
    if wrong:
        yield from _painted(cutout)
    yield Changed("mirrored", cutout.image.flip(2))
    yield from (Changed("shifted", _moved(cutout.image, dx, dy)) for dx, dy in SHIFTS)
    yield from _toned(lenders, cutout.image)


def _before(lenders: Lenders, cutout: Cutout, n: int, pair: tuple[int, int], dice: random.Random) -> Iterator[Changed]:
    """The object before other surroundings, and before its own."""
    sides = {"answer": [pair[0]], "versus": [pair[1]], "other": lenders.others(pair)}
    for side, classes in sides.items():
        for donor, lent in lenders.of(classes, DONORS, n, dice):
            yield Changed("placed", placed(cutout.image, cutout.mask, lent.surroundings), side, donor)
    yield Changed("own", placed(cutout.image, cutout.mask, emptied(cutout.image, cutout.mask)))


def _closer(image: Tensor) -> Iterator[Changed]:
    boxes = [window(side, k, i, j) for side, k in WINDOWS for i in range(k) for j in range(k)]
    return (Changed("closer", closer(image, box), box=box) for box in boxes)


def _painted(cutout: Cutout) -> Iterator[Changed]:
    """Each patch painted over."""
    H, W = cutout.mask.shape
    boxes = [window(PATCH, PATCHES, i, j) for i in range(PATCHES) for j in range(PATCHES)]
    inside = torch.stack([_inside(box, H, W) for box in boxes])
    images = hide(cutout.image, (~inside).to(cutout.image.dtype), "inpaint")
    for box, where, image in zip(boxes, inside, images, strict=True):
        yield Changed("painted", image, box=box, value=float((where & cutout.mask).sum() / where.sum()))


def _inside(box: Box, H: int, W: int) -> Tensor:
    where = torch.zeros(H, W, dtype=torch.bool)
    where[round(box[1] * H) : round(box[3] * H), round(box[0] * W) : round(box[2] * W)] = True
    return where


def _moved(image: Tensor, dx: float, dy: float) -> Tensor:
    """An image moved by shares of its sides; what comes in is the rim, repeated."""
    H, W = image.shape[1:]
    ys = (torch.arange(H) + round(dy * H)).clamp(0, H - 1)
    xs = (torch.arange(W) + round(dx * W)).clamp(0, W - 1)
    return image[:, ys][:, :, xs]


def _scaled(red: float, green: float, blue: float) -> Callable[[Tensor], Tensor]:
    def change(image: Tensor) -> Tensor:
        return (image * torch.tensor([red, green, blue])[:, None, None].to(image)).clamp(0, 1)

    return change


def _smooth(width: int) -> Callable[[Tensor], Tensor]:
    def change(image: Tensor) -> Tensor:
        padded = F.pad(image[None], (width,) * 4, mode="replicate")
        return padded.unfold(2, 2 * width + 1, 1).unfold(3, 2 * width + 1, 1).flatten(4).median(dim=4).values[0]

    return change


def _sharp(strength: float) -> Callable[[Tensor], Tensor]:
    def change(image: Tensor) -> Tensor:
        soft = F.avg_pool2d(F.pad(image[None], (2,) * 4, mode="replicate"), 5, 1)[0]
        return (image + strength * (image - soft)).clamp(0, 1)

    return change


# What a picture is measured by, the act that undoes too much of it, and the one that undoes too little; two strengths.
TONES: dict[str, dict[str, tuple[Callable[[Tensor], Tensor], ...]]] = {
    "warmth": {
        "cooler": (_scaled(1.05, 1.25, 1.5), _scaled(1.1, 1.35, 1.8)),
        "warmer": (_scaled(1.5, 1.25, 1.05), _scaled(1.8, 1.35, 1.1)),
    },
    "light": {
        "darker": (_scaled(0.7, 0.7, 0.7), _scaled(0.45, 0.45, 0.45)),
        "lighter": (_scaled(1.5, 1.5, 1.5), _scaled(2.8, 2.8, 2.8)),
    },
    "grain": {"smoothed": (_smooth(1), _smooth(2)), "sharpened": (_sharp(1.0), _sharp(2.5))},
}


def _toned(lenders: Lenders, image: Tensor) -> Iterator[Changed]:
    """Light, colour and grain, both ways."""
    for name, ways in TONES.items():
        middle, spread = lenders.usual[name]
        far = (MEASURES[name](image) - middle) / spread
        for sign, (act, changes) in zip((1, -1), ways.items(), strict=True):
            yield from (Changed(act, change(image), value=sign * far) for change in changes)


def _planted(
    lenders: Lenders, own: Sequence[dict[str, Any]], cutout: Cutout, n: int, pair: tuple[int, int], dice: random.Random
) -> Iterator[Changed]:
    """The patch that mends the error best, put into recognised pictures of the label's class; and other patches."""
    mending = [row for row in own if row["act"] == "painted" and row["said"] == pair[1]]
    if not mending:
        return
    best = max(mending, key=lambda row: float(row["p_versus"]))
    box, (H, W) = tuple(best["box"]), cutout.mask.shape
    where = _inside(box, H, W)
    hosts = lenders.of([pair[1]], PLANTED, n, dice)
    for i, (donor, host) in enumerate(hosts):
        other = hosts[(i + 1) % len(hosts)][1]
        for act, lent in (("planted", cutout.image), ("patched", other.image)):
            yield Changed(act, torch.where(where, lent, host.image), donor=donor, box=box, value=best["value"])


# --------------------------------------------------------------------------------------------------
# Units.


def _units(tap: Tap, n: int, pair: tuple[int, int]) -> list[dict[str, Any]]:
    """By how much the other class gains on what was said, in the unit of scores, with each unit switched off.

    Off is 0, not the unit's mean: a broken unit that is always on would be missed.
    """
    if not tap.points or (count := tap.maps().shape[1]) > MOST_UNITS:
        return []
    maps, before = tap.maps().detach(), float(tap.logits[0, pair[1]] - tap.logits[0, pair[0]])
    change: list[float] = []
    for some in torch.split(torch.arange(count), UNITS):
        silenced = maps.expand(len(some), -1, -1, -1).clone()
        silenced[torch.arange(len(some)), some] = 0
        scores = tap.replay(silenced, rows=torch.zeros(len(some), dtype=torch.long)).detach()
        change += (scores[:, pair[1]] - scores[:, pair[0]] - before).tolist()
    return [{"n": n, "answer": pair[0], "versus": pair[1], "lead": -before, "change": change}]
