"""Shows a classifier masked images and reads the asked class's probability, all through the engine in `intervene`.

N images (N, 3, H, W) in [0, 1], C classes. The classifier comes as `probabilities(images) -> (M, C)`, or
`-> (M,)` where it already answers for one asked class; it normalises by itself. Masks are soft, (N, H, W):
1 keeps the pixel, 0 puts the fill there, so the mask multiplies the [0, 1] image before normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor

from saywhy import intervene
from saywhy.errors import ModelError, UsageError, unknown

Probabilities = Callable[[Tensor], Tensor]
FillRule = Callable[[Tensor, Tensor], Tensor]  # images (m, 3, H, W), kept (m, H, W) -> pictures (m, 3, H, W)
Fill = intervene.Choice | FillRule
Masking = Literal["before", "after"]
MASKING: tuple[Masking, ...] = ("before", "after")


class Hiding(TypedDict, total=False):
    """How pixels are hidden: the keywords that every faithfulness metric takes.

    `fill` is a row of `intervene.FILLS`; a tensor: a colour (3,), or pictures (N, 3, H, W); or a callable (images,
    kept) -> pictures. `seed` is for fills that are drawn, `masking` and `mean` as in `how`; `batch_size` images are
    shown at once (16; it does not change the answer).
    """

    fill: Fill
    seed: int
    masking: Masking
    mean: Sequence[float] | None
    batch_size: int


@dataclass(frozen=True)
class Reference:
    """What a classifier says of the whole images: measured once, shared by all metrics and methods.

    `targets` (N,) int64 are the asked classes, None where the classifier answers for one class alone;
    `scores` (N,) float64 are their probabilities.
    """

    targets: Tensor | None
    scores: Tensor


def reference(
    probabilities: Probabilities, images: Tensor, targets: Tensor | None = None, *, batch_size: int = 16
) -> Reference:
    """Measures the whole images; without `targets` the predicted class is asked (the model's own truth).

    Raises:
        UsageError: the targets do not fit the images or the classes, or the answers are no probabilities.
        ModelError: an answer is NaN or of a wrong shape.
    """
    _check_images(images, targets)
    if not len(images):
        return Reference(targets, torch.zeros(0, dtype=torch.float64))
    answers = intervene.in_batches(lambda i, j: _answer(probabilities, images[i:j]), len(images), batch_size)
    if answers.ndim == 1:
        return Reference(None, answers)
    chosen = answers.argmax(1) if targets is None else targets.to(answers.device, torch.int64)
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < answers.shape[1]:
        raise UsageError(f"targets must lie in 0..{answers.shape[1] - 1}, got {chosen.tolist()}")
    return Reference(chosen, answers.gather(1, chosen[:, None])[:, 0])


def masked_scores(
    probabilities: Probabilities,
    images: Tensor,
    owners: Tensor,
    make: intervene.MaskMaker,
    targets: Tensor | None,
    hiding: Hiding,
) -> Tensor:
    """Probabilities (M,) float64 of the images under the M masks that `make(start, stop)` gives, in batches.

    `owners` (M,) says which of the images (N, 3, H, W) each mask is laid on, and so which target is asked.
    """
    if not len(owners):
        return torch.zeros(0, dtype=torch.float64)
    fill, seed = how(hiding)

    def read(answers: Tensor, numbers: Tensor) -> Tensor:
        if answers.ndim == 1:
            return answers
        if targets is None:
            raise UsageError("a classifier of several classes needs `targets`: measure a `reference` first")
        return answers.gather(1, targets[owners[numbers]].to(answers.device)[:, None])[:, 0]

    return intervene.masked_answers(
        [intervene.Masked(images, len(owners), make, fill, seed, owners)],
        lambda pictures: _answer(probabilities, pictures),
        read=read,
        size=hiding.get("batch_size", 16),
    )


def how(hiding: Hiding) -> tuple[intervene.Choice, int]:
    """The fill and the seed that the keywords ask for, "black" and 0 where they say nothing.

    Masking "after" normalisation sets hidden pixels to zero there, which is the preprocessing's `mean` colour in
    [0, 1]; it changes nothing for any fill but black, since normalisation is affine.

    Raises:
        UsageError: an unknown fill or masking, "after" without `mean`.
    """
    fill, masking, mean = hiding.get("fill", "black"), hiding.get("masking", "before"), hiding.get("mean")
    if masking not in MASKING:
        raise unknown("masking", masking, MASKING)
    if isinstance(fill, str):
        intervene.named(fill)
    if masking == "after" and fill == "black":
        if mean is None:
            raise UsageError("masking after normalisation needs the preprocessing's `mean` colour in [0, 1]")
        fill = torch.as_tensor(tuple(mean))
    return (fill if isinstance(fill, str | Tensor | intervene.Fill) else _own(fill)), hiding.get("seed", 0)


def _own(rule: FillRule) -> intervene.Fill:
    def make(images: Tensor, keep: Tensor, seed: int) -> Tensor:
        return rule(images.expand(len(keep), -1, -1, -1), keep[:, 0])

    return intervene.Fill(make, "given", needs=("kept",))


def _check_images(images: Tensor, targets: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1] > min(images.shape[2:]):  # rows first, or no pictures
        raise UsageError(f"images are (N, 3, H, W) in [0, 1], got shape {tuple(images.shape)}")
    if targets is not None and tuple(targets.shape) != (len(images),):
        raise UsageError(f"{len(images)} images need {len(images)} targets (N,), got {tuple(targets.shape)}")


@torch.no_grad()
def _answer(probabilities: Probabilities, images: Tensor) -> Tensor:
    answer = probabilities(images).detach().to(torch.float64)
    if answer.ndim not in (1, 2) or len(answer) != len(images):
        raise ModelError(
            f"the classifier must answer {len(images)} images with probabilities ({len(images)}, classes) "
            f"or ({len(images)},), got shape {tuple(answer.shape)}"
        )
    if not bool(answer.isfinite().all()):
        raise ModelError("the classifier answered a masked image with NaN or infinity; no metric can be read")
    if len(answer) and (answer.min() < -1e-6 or answer.max() > 1 + 1e-5):
        raise UsageError(
            "metrics need probabilities in [0, 1], got values from "
            f"{float(answer.min()):.3g} to {float(answer.max()):.3g}; apply softmax or sigmoid to the logits first"
        )
    return answer
