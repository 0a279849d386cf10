"""Shows a classifier masked images and reads the asked class's probability, in batches.

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
Fill = str | Tensor | FillRule
Filler = Callable[[Tensor, Tensor], Tensor]  # indices (m,) of the images, kept (m, H, W) -> (m, 3, H, W)
Masking = Literal["before", "after"]
MASKING: tuple[Masking, ...] = ("before", "after")


class Hiding(TypedDict, total=False):
    """How pixels are hidden: the keywords that every faithfulness metric takes.

    `fill`, `masking` and `mean` as in `filler`; `batch_size` images are shown at once (16; it does not
    change the answer).
    """

    fill: Fill
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
    parts = [_answer(probabilities, images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    answers = torch.cat(parts)
    if answers.ndim == 1:
        return Reference(None, answers)
    chosen = answers.argmax(1) if targets is None else targets.to(answers.device, torch.int64)
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < answers.shape[1]:
        raise UsageError(f"targets must lie in 0..{answers.shape[1] - 1}, got {chosen.tolist()}")
    return Reference(chosen, answers.gather(1, chosen[:, None])[:, 0])


def scored(
    probabilities: Probabilities,
    make: Callable[[Tensor], Tensor],
    owners: Tensor,
    targets: Tensor | None,
    *,
    batch_size: int = 16,
) -> Tensor:
    """Probabilities (M,) float64 of the M images that `make(rows) -> (m, 3, H, W)` builds, batch by batch.

    `owners` (M,) says which of the N images each of them was made of, and so which target is asked.
    """
    answers = []
    for start in range(0, len(owners), batch_size):
        index = torch.arange(start, min(start + batch_size, len(owners)), device=owners.device)
        answer = _answer(probabilities, make(index))
        if answer.ndim == 2:
            if targets is None:
                raise UsageError("a classifier of several classes needs `targets`: measure a `reference` first")
            answer = answer.gather(1, targets[owners[index]].to(answer.device)[:, None])[:, 0]
        answers.append(answer)
    return torch.cat(answers) if answers else torch.zeros(0, dtype=torch.float64)


def blend(images: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Keeps the image where the mask (N, H, W) is 1 and shows the fill where it is 0."""
    weight = masks[:, None].to(images.dtype)
    return images * weight + fill.expand_as(images) * (1 - weight)


def filler(images: Tensor, hiding: Hiding, *, default: str = "black") -> Filler:
    """What shows where pixels of these images are hidden; made once where it does not depend on the mask.

    `fill` is "black"; "mean", the image's own mean colour; "blur", the image blurred away (sigma = shorter side
    / 12); "inpaint", colours carried in from the kept pixels; a tensor: a colour (3,), or pictures
    (N, 3, H, W); or a callable (images, kept) -> pictures. Masking "after" normalisation sets hidden pixels to
    zero there, which is the preprocessing's `mean` colour in [0, 1]; it changes nothing for any fill but
    black, since normalisation is affine.

    Raises:
        UsageError: an unknown fill or masking, a tensor that does not fit, "after" without `mean`.
    """
    fill, masking, mean = hiding.get("fill", default), hiding.get("masking", "before"), hiding.get("mean")
    if masking not in MASKING:
        raise unknown("masking", masking, MASKING)
    if isinstance(fill, str) and fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    if masking == "after" and fill == "black":
        if mean is None:
            raise UsageError("masking after normalisation needs the preprocessing's `mean` colour in [0, 1]")
        fill = torch.as_tensor(tuple(mean))
    made = FILLS[fill](images) if isinstance(fill, str) else fill
    if isinstance(made, Tensor):
        pictures = _fit(images, made)
        return lambda index, kept: pictures[index]
    rule = made
    return lambda index, kept: _fit(images[index], rule(images[index], kept))


def _inpainted(images: Tensor, kept: Tensor) -> Tensor:
    nothing_random = torch.Generator()
    return intervene.FILLS["inpaint"].fill(images, kept[:, None].to(images.dtype), nothing_random)


FILLS: dict[str, Callable[[Tensor], Tensor | FillRule]] = {
    "black": lambda images: torch.zeros_like(images[:1]),
    "mean": lambda images: images.mean((2, 3), keepdim=True),
    "blur": lambda images: intervene.gaussian_blur(images, min(images.shape[2:]) / 12),
    "inpaint": lambda images: _inpainted,
}


def _fit(images: Tensor, fill: Tensor) -> Tensor:
    shown = fill.detach().to(images.device, images.dtype)
    if shown.ndim == 1:
        shown = shown[:, None, None]
    try:
        return shown.expand_as(images)
    except RuntimeError as error:
        raise UsageError(
            f"a fill of shape {tuple(fill.shape)} does not fit images {tuple(images.shape)}; "
            "give a colour (3,) or pictures (N, 3, H, W)"
        ) from error


def _check_images(images: Tensor, targets: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
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
