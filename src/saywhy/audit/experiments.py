"""The experiments on one error: regions hidden, windows seen from closer, the object before other surroundings.

One error costs about thirty forward passes, in one batch. H x W image, D donors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.audit.cutout import Cutout, placed
from saywhy.audit.report import Closer, Experiments, PairAnswer, Placed, Says
from saywhy.classifier import Classifier
from saywhy.intervene import hide

Side = Literal["true", "predicted", "other"]
SIDES: tuple[Side, ...] = ("true", "predicted", "other")
SHARE = 0.25  # of the picture: a class's region is this much of its map's highest pixels
WINDOWS = ((0.55, 3), (0.75, 2))  # side of a window, and how many along each side
FILL = "image-blur"  # the gentlest: with others small networks see nothing at all in what is left
PAINTED = "inpaint"  # leaves nothing of a stamp's colour, which a blur spreads

ACTS = {
    "without_predicted": "the predicted class's region hidden, where it is not the true class's too",
    "predicted_alone": "all but the predicted class's region hidden",
    "true_alone": "all but the true class's region hidden",
    "object_alone": "all but the object hidden",
    "surroundings_alone": "the object hidden",
    "predicted_painted_over": "the predicted class's region painted over with what is around it",
}


def region(shown: Tensor) -> Tensor:
    """A class's region (H, W): the quarter of the picture where its map is highest, never where the map is 0."""
    count = max(1, round(SHARE * shown.numel()))
    return (shown >= shown.flatten().topk(count).values[-1]) & (shown > 0)


def try_all(
    clf: Classifier,
    cutout: Cutout,
    shown: tuple[Tensor, Tensor],
    pair: tuple[int, int],
    donors: Mapping[Side, Sequence[tuple[str, Cutout]]],
) -> Experiments:
    """All experiments on one picture; `shown` are the display maps (H, W) of the `pair` (predicted, true)."""
    windows = [window(side, n, i, j) for side, n in WINDOWS for i in range(n) for j in range(n)]
    behind = [(side, path, donor) for side in SIDES for path, donor in donors.get(side, ())]
    asked = [*_hidden(cutout, *shown)]
    asked += [closer(cutout.image, box) for box in windows]
    asked += [placed(cutout.image, cutout.mask, donor.surroundings) for _, _, donor in behind]
    answers = [answer(p, pair) for p in clf.probabilities(torch.stack(asked))]
    acts, rest = answers[: len(ACTS)], answers[len(ACTS) :]
    looks, swaps = rest[: len(windows)], rest[len(windows) :]
    return Experiments(
        hidden=dict(zip(ACTS, acts, strict=True)),
        closer=tuple(Closer(**dict(a), box=box) for a, box in zip(looks, windows, strict=True)),
        surroundings={
            side: tuple(
                Placed(**dict(a), donor=path, colour=donor.colour)
                for a, (of, path, donor) in zip(swaps, behind, strict=True)
                if of == side
            )
            for side in SIDES
        },
    )


def answer(probabilities: Tensor, pair: tuple[int, int]) -> PairAnswer:
    """What probabilities (C,) say about the `pair` (predicted, true)."""
    first = int(probabilities.argmax())
    says: Says = "predicted" if first == pair[0] else "true" if first == pair[1] else "other"
    return PairAnswer(predicted=float(probabilities[pair[0]]), true=float(probabilities[pair[1]]), says=says)


def closer(image: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """The window `box` of an image (3, H, W), scaled up to the whole."""
    H, W = image.shape[1:]
    x0, y0, x1, y1 = round(box[0] * W), round(box[1] * H), round(box[2] * W), round(box[3] * H)
    return F.interpolate(image[None, :, y0:y1, x0:x1], (H, W), mode="bilinear", align_corners=False)[0].clamp(0, 1)


def window(side: float, n: int, i: int, j: int) -> tuple[float, float, float, float]:
    """The window of that side in row i and column j of n by n, as shares."""
    x, y = ((1 - side) * k / (n - 1) for k in (j, i))
    return (round(x, 4), round(y, 4), round(x + side, 4), round(y + side, 4))


def _hidden(cutout: Cutout, predicted: Tensor, true: Tensor) -> Tensor:
    """The picture after each of ACTS, in their order (6, 3, H, W)."""
    p, t = region(predicted), region(true)
    kept = torch.stack([~(p & ~t), p, t, cutout.mask, ~cutout.mask])
    over = hide(cutout.image, (~p)[None].to(cutout.image.dtype), PAINTED)
    return torch.cat([hide(cutout.image, kept.to(cutout.image.dtype), FILL), over])
