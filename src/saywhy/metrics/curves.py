"""Insertion and deletion: the score while pixels appear or vanish in the map's order.

N images of P pixels, S steps. Convention: after step s of S the round(s P / S) highest pixels (ties broken by
one fixed random map, see `maps.order`) are shown (insertion) or hidden (deletion): whole pixels, replaced by
the fill. The curve has S + 1 points, both ends included; its area is taken by the trapezoid rule over the share
of pixels, in float64, of the raw probability. A flat map has no order, so it has no value (NaN).
Source: Petsiuk et al., RISE, arXiv 1806.07421.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.metrics.maps import check_maps, order, usable
from saywhy.metrics.masking import (
    Fill,
    Hiding,
    Probabilities,
    Reference,
    masked_scores,
    reference,
)


def insertion(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    steps: int = 32,
    known: Reference | None = None,
    curve: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Insertion area (N,) in [0, 1], higher is better: pixels appear on the fill, most important first.

    `steps` passes an image; the fill is "image-blur" unless asked otherwise; options as in
    `faithfulness.average_drop`. `curve` is the curve, where it is measured already.
    """
    if curve is None:
        whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
        curve = insertion_curve(probabilities, images, maps, whole, steps=steps, **hiding)
    return area(curve, pixels=_pixels(maps))


def deletion(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    steps: int = 32,
    known: Reference | None = None,
    curve: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Deletion area (N,) in [0, 1], lower is better: pixels turn into the fill, most important first.

    `steps` passes an image; the fill is "black" unless asked otherwise; options as in
    `faithfulness.average_drop`. `curve` is the curve, where it is measured already.
    """
    if curve is None:
        whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
        curve = deletion_curve(probabilities, images, maps, whole, steps=steps, **hiding)
    return area(curve, pixels=_pixels(maps))


def insertion_minus_deletion(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    steps: int = 32,
    insertion_fill: Fill = "image-blur",
    known: Reference | None = None,
    inserted: Tensor | None = None,
    deleted: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Insertion minus deletion area (N,) in [-1, 1], higher is better; neither end alone can win it.

    `fill` is the deletion's; `inserted` and `deleted` are the two curves, where they are measured already. Options as
    in `insertion` and `deletion`.
    """
    if known is None and (inserted is None or deleted is None):
        known = reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
    inserting: Hiding = {**hiding, "fill": insertion_fill}
    gained = insertion(probabilities, images, maps, steps=steps, known=known, curve=inserted, **inserting)
    return gained - deletion(probabilities, images, maps, steps=steps, known=known, curve=deleted, **hiding)


def insertion_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    known: Reference,
    *,
    steps: int = 32,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Scores (N, S + 1) float64 from the bare fill to the whole image; NaN rows for maps without an order."""
    hiding.setdefault("fill", "image-blur")
    inner = _walk(probabilities, images, maps, known, step_counts(steps, _pixels(maps))[:-1], hiding, shows=True)
    whole = known.scores.to(inner.device)[:, None].where(inner[:, :1].isfinite(), torch.nan)
    return torch.cat([inner, whole], dim=1)


def deletion_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    known: Reference,
    *,
    steps: int = 32,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Scores (N, S + 1) float64 from the whole image to the bare fill; NaN rows for maps without an order."""
    inner = _walk(probabilities, images, maps, known, step_counts(steps, _pixels(maps))[1:], hiding, shows=False)
    whole = known.scores.to(inner.device)[:, None].where(inner[:, :1].isfinite(), torch.nan)
    return torch.cat([whole, inner], dim=1)


def area(curve: Tensor, *, pixels: int) -> Tensor:
    """Trapezoid area (N,) under curves (N, S + 1), over the exact share of the `pixels` at each step."""
    shares = step_counts(curve.shape[1] - 1, pixels).to(curve.device, torch.float64) / pixels
    return torch.trapezoid(curve.to(torch.float64), shares.expand_as(curve), dim=1)


def step_counts(steps: int, pixels: int) -> Tensor:
    """How many pixels have changed after steps 0..S, (S + 1,) int64: s P / S rounded, halves up.

    Raises:
        UsageError: `steps` is not in 1..pixels.
    """
    if not 1 <= steps <= pixels:
        raise UsageError(f"steps must lie in 1..{pixels} (the number of pixels), got {steps}")
    return (torch.arange(steps + 1) * pixels * 2 + steps) // (2 * steps)


def _walk(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    known: Reference,
    counts: Tensor,
    hiding: Hiding,
    *,
    shows: bool,
) -> Tensor:
    """Scores (N, len(counts)) with that many pixels, highest first, shown on the fill or hidden by it."""
    maps = check_maps(maps, images=images)
    good = usable(maps, flat=False).nonzero()[:, 0]
    places = order(maps[good]).argsort(dim=1).reshape(-1, *maps.shape[1:])
    owners, wanted = good.repeat_interleave(len(counts)), counts.to(maps.device)

    def make(start: int, stop: int) -> Tensor:
        rows = torch.arange(start, stop, device=maps.device)
        return (places[rows // len(counts)] < wanted[rows % len(counts)][:, None, None]) == shows

    scores = torch.full((len(maps), len(counts)), torch.nan, dtype=torch.float64, device=maps.device)
    answers = masked_scores(probabilities, images, owners, make, known.targets, hiding)
    scores[good] = answers.to(scores.device).reshape(len(good), len(counts))
    return scores


def _pixels(maps: Tensor) -> int:
    return int(maps.shape[-2] * maps.shape[-1])
