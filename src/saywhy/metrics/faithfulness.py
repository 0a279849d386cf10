"""Average drop, increase in confidence, average gain and ADCC: how much of the score a map's part keeps.

N images (N, 3, H, W) in [0, 1]; display maps (N, H, W) in [0, 1]; all values (N,) float64, percent but for ADCC.
p is the probability of the asked class on the whole image, q on the image times the map's kept part.
The asked class is the predicted one unless `targets` says otherwise (the model-truth label).

All of them reward area: a constant map of ones has drop 0. Read them beside the mean map value, the controls,
and the same metric on maps equalised by rank (`equalised=True`), where every map has the same values.
A map that is all zero or not finite has no value (NaN); an image with p = 0 has no relative one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Unpack

import torch
from torch import Tensor

from saywhy.errors import unknown
from saywhy.intervene import hide
from saywhy.metrics.maps import check_maps, equalise, keep_top, usable
from saywhy.metrics.masking import (
    Hiding,
    Probabilities,
    Reference,
    how,
    masked_scores,
    reference,
)
from saywhy.metrics.statistics import pearson, rows

Explain = Callable[[Tensor, Tensor | None], Tensor]  # images (N, 3, H, W), targets (N,) -> maps (N, H, W)
Drop = Literal["relative", "absolute"]
RISE = 1e-4  # relative; float noise between two batches is about 1e-6


def loss(p: Tensor, q: Tensor, *, drop: Drop = "relative") -> Tensor:
    """100 max(0, p - q) / p, or without the division if "absolute"; percent (L-CAM, Eq. 10)."""
    lost = 100 * (p - q).clamp_min(0)
    if drop == "absolute":
        return lost
    if drop != "relative":
        raise unknown("drop", drop, ("relative", "absolute"))
    return torch.where(p > 0, lost / p, torch.nan).masked_fill(q.isnan(), torch.nan)


def increase(p: Tensor, q: Tensor, *, rise: float = RISE) -> Tensor:
    """100 where q exceeds p by the share `rise` of p or more, else 0; percent (L-CAM, Eq. 11)."""
    more = (q - p >= rise * p) & (q > p)
    return torch.where(more, 100.0, 0.0).to(torch.float64).masked_fill(q.isnan(), torch.nan)


def gain(p: Tensor, q: Tensor) -> Tensor:
    """100 max(0, q - p) / (1 - p), percent; 0 where p is 1 and nothing can be gained.

    Source: Zhang et al., Opti-CAM, arXiv 2301.07002.
    """
    room = 1 - p
    more = 100 * (q - p).clamp_min(0)
    return torch.where(room > 0, (more / room).clamp_max(100), 0.0).masked_fill(q.isnan(), torch.nan)


def kept_scores(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    known: Reference,
    *,
    nu: float = 100,
    equalised: bool = False,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """q (N,): the score of the image times the map's top `nu` percent of values; one pass an image.

    Unusable maps cost no pass and score NaN. Options as in `average_drop`.
    """
    maps = check_maps(maps, images=images)
    good = usable(maps, flat=True).nonzero()[:, 0]
    masks = keep_top(equalise(maps[good]) if equalised else maps[good], nu)
    scores = torch.full((len(maps),), torch.nan, dtype=torch.float64, device=known.scores.device)
    answers = masked_scores(probabilities, images, good, lambda i, j: masks[i:j], known.targets, hiding)
    scores[good] = answers.to(scores.device)
    return scores


def average_drop(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    nu: float = 100,
    drop: Drop = "relative",
    equalised: bool = False,
    known: Reference | None = None,
    kept: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Average drop AD(nu), percent, lower is better: what is lost when only the map's top pixels are shown.

    Args:
        probabilities: images -> (M, C) or (M,) probabilities.
        images: (N, 3, H, W) in [0, 1].
        maps: display maps (N, H, W) in [0, 1].
        targets: asked classes (N,); the predicted ones if None.
        nu: percentage of pixels whose values are kept, soft; zero elsewhere.
        drop: "relative" to p, or "absolute".
        equalised: replace the map's values by the fixed linear ramp of their ranks first.
        known: the `reference` of the whole images, where it is measured already.
        kept: the `kept_scores` of this `nu`, where they are measured already.
        **hiding: `fill` (a row of `intervene.FILLS`, a tensor or a callable), `seed`, `masking`, `mean`, `batch_size`.

    Source: Chattopadhay et al. 2018; L-CAM section 4.3, Eq. 10.
    """
    whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
    q = kept
    if q is None:
        q = kept_scores(probabilities, images, maps, whole, nu=nu, equalised=equalised, **hiding)
    return loss(whole.scores, q, drop=drop)


def increase_in_confidence(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    nu: float = 100,
    rise: float = RISE,
    equalised: bool = False,
    known: Reference | None = None,
    kept: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Increase in confidence IC(nu), 0 or 100 an image: the map's top pixels alone score higher.

    A relative rise below `rise` is float noise and does not count. Options as in `average_drop`.
    Source: Chattopadhay et al. 2018; L-CAM section 4.3, Eq. 11.
    """
    whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
    q = kept
    if q is None:
        q = kept_scores(probabilities, images, maps, whole, nu=nu, equalised=equalised, **hiding)
    return increase(whole.scores, q, rise=rise)


def average_gain(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    nu: float = 100,
    equalised: bool = False,
    known: Reference | None = None,
    kept: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """Average gain AG(nu), percent, higher is better: the share of 1 - p that the map's top pixels win.

    Options as in `average_drop`. Source: Zhang et al., Opti-CAM, arXiv 2301.07002.
    """
    whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
    q = kept
    if q is None:
        q = kept_scores(probabilities, images, maps, whole, nu=nu, equalised=equalised, **hiding)
    return gain(whole.scores, q)


def mean_value(maps: Tensor) -> Tensor:
    """The mean of the display map, in [0, 1]: the area that AD and IC reward, and the complexity in ADCC."""
    means = rows(check_maps(maps)).mean(1)
    return means.masked_fill(~means.isfinite(), torch.nan)


def coherency(maps: Tensor, again: Tensor) -> Tensor:
    """(r + 1) / 2 of the Pearson correlation r of a map with the map of the masked image; NaN if one is flat."""
    return (pearson(maps, again) + 1) / 2


def harmonic(coherent: Tensor, complexity: Tensor, dropped: Tensor) -> Tensor:
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)), all in [0, 1]; 0 where one of the three is 0."""
    parts = torch.stack([coherent, 1 - complexity, 1 - dropped]).clamp_min(0)
    score = 3 / (1 / parts).sum(0)  # 1 / 0 is infinite, and 3 / infinity the 0 that is meant
    return score.masked_fill(parts.isnan().any(0), torch.nan)


def adcc(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    explain: Explain,
    known: Reference | None = None,
    kept: Tensor | None = None,
    **hiding: Unpack[Hiding],
) -> Tensor:
    """ADCC in [0, 1], higher is better: harmonic mean of coherency, 1 - complexity and 1 - average drop.

    `explain(images, targets)` gives the display maps of the masked images. `kept` are the scores at nu = 100,
    where they are measured already. A constant map has no coherency, so its ADCC is undefined.
    Other options as in `average_drop`. Source: Poppi et al., arXiv 2104.10252, with r rescaled to [0, 1].
    """
    maps = check_maps(maps, images=images)
    whole = known or reference(probabilities, images, targets, batch_size=hiding.get("batch_size", 16))
    if kept is None:
        kept = kept_scores(probabilities, images, maps, whole, **hiding)
    masked = hide(images, maps.nan_to_num(0), *how(hiding))
    again = check_maps(explain(masked, whole.targets), images=images).to(maps.device)
    lost = (loss(whole.scores, kept) / 100).to(maps.device)
    return harmonic(coherency(maps, again), mean_value(maps), lost)
