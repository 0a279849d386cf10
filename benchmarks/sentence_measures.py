"""What is measured of sentences about photos, whose truth nobody can render: foreign fills, moved patches, stability.

x (3, H, W) is a photo in the classifier's view, masks (m, H, W) are True where a region lies; k regions; C classes.
Definitions: docs/sentence-truth.md.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import saywhy
from saywhy import Classifier, Explanation
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.claims_of import DISTURBANCES, claims_of, masks_of, said_again
from saywhy.evaluate.scene_truth import SLACK, Told
from saywhy.explanation import Unit
from saywhy.image import Bools, Picture
from saywhy.intervene import CONFIRMING, gaussian_blur, hide
from saywhy.language.verify import in_unit
from saywhy.regions.part import UNITS, Chosen, find_in, losses_of
from saywhy.regions.verdict import holds, multiples, rule, signed, tried

APART = 0.10  # of a moved patch's area that may touch what it must not touch
TRIES, PATCHES = 60, 3
Reals = np.ndarray[Any, np.dtype[np.float64]]
ASKED_AGAIN = 3  # times that the plain picture is asked, for the noise of the output


@dataclass
class Tally:
    """Hits and misses by name, and values by name, over all photos."""

    hits: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        rates = {name: {"hits": int(sum(h)), "of": len(h)} for name, h in self.hits.items()}
        return {"rates": rates, "values": {n: [round(float(v), 4) for v in vs] for n, vs in self.values.items()}}


def machine() -> dict[str, Any]:
    """Where a figure comes from."""
    return {
        "machine": platform.machine(), "processors": os.cpu_count(), "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "saywhy": saywhy.__version__,
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Fills that the tool does not use. None sees a pixel that it hides.

Foreign = Callable[[Tensor, Tensor, Tensor], Tensor]  # x, keep (m, H, W), another photo in the same view


def _mixed(x: Tensor, keep: Tensor, other: Tensor) -> Tensor:
    """A blur of the kept pixels, mixed with noise."""
    soft = _kept_mean(x, keep, lambda v: gaussian_blur(v, min(x.shape[1:]) / 8))
    return 0.6 * soft + 0.4 * torch.rand(x.shape, generator=torch.Generator().manual_seed(11))


def _pixelated(x: Tensor, keep: Tensor, other: Tensor) -> Tensor:
    """Squares of an eighth of the picture, each the mean of its kept pixels (of wider squares where it has none)."""

    def squares(v: Tensor) -> Tensor:
        size = max(2, x.shape[1] // 8)
        small = F.avg_pool2d(v, size, size, ceil_mode=True)
        return F.interpolate(small, scale_factor=float(size), mode="nearest")[..., : x.shape[1], : x.shape[2]]

    return _kept_mean(x, keep, squares)


def _kept_mean(x: Tensor, keep: Tensor, average: Callable[[Tensor], Tensor]) -> Tensor:
    weight = keep[:, None]
    mean = (x * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1)
    near = average(weight)
    return torch.where(near > 0.02, average(x * weight) / near.clamp_min(1e-6), mean.expand(-1, -1, *x.shape[1:]))


def _harmonic(x: Tensor, keep: Tensor, other: Tensor) -> Tensor:
    """The solution of Laplace's equation in the hole, its rim given: 200 steps of Jacobi from the plain in-painting."""
    weight = keep[:, None]
    kernel = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=x.dtype).div(4).expand(3, 1, 3, 3)
    out = hide(x, keep, "inpaint")
    for _ in range(200):
        out = torch.lerp(F.conv2d(F.pad(out, (1, 1, 1, 1), mode="replicate"), kernel, groups=3), x[None], weight)
    return out


FOREIGN: dict[str, Foreign] = {
    "noise and blur": _mixed,
    "another photo": lambda x, keep, other: other[None].expand(len(keep), -1, -1, -1),
    "pixelation": _pixelated,
    "Laplace's equation": _harmonic,
}


def filled(x: Tensor, masks: Bools, fill: str, other: Tensor) -> Tensor:
    """The photo with each mask filled (m, 3, H, W)."""
    keep = torch.from_numpy(~masks).float()
    return torch.lerp(FOREIGN[fill](x, keep, other), x[None].expand(len(keep), -1, -1, -1), keep[:, None]).clamp(0, 1)


# --------------------------------------------------------------------------------------------------
# Claims under a foreign fill.


@dataclass(frozen=True, eq=False)
class Answers:
    """The probabilities of the photo (C,), and of it with some sets of regions hidden."""

    whole: Reals
    hidden: dict[tuple[int, ...], Reals]
    target: int
    versus: int | None

    def lost(self, regions: Sequence[int], unit: Unit, *, rather: bool = False) -> float:
        """The loss of the target, or of target minus versus."""
        before, after = (_in(p, unit) for p in (self.whole, self.hidden[tuple(regions)]))
        lost = before[self.target] - after[self.target]
        if rather and self.versus is not None:
            lost -= before[self.versus] - after[self.versus]
        return float(lost)


def _in(p: Any, unit: Unit) -> Any:
    return np.array([in_unit(v, unit) for v in p])


def _together(a: Answers, told: Told, sign: int) -> bool:
    single = sum(a.lost([i], told.unit) for i in told.regions)
    return sign * (single - a.lost(told.regions, told.unit)) > 0


# Does the claim hold where something else stands in for what is hidden?
STANDS: dict[str, Callable[[Answers, Told], bool]] = {
    "counts": lambda a, told: a.lost(told.regions, told.unit) > 0,
    "against": lambda a, told: a.lost(told.regions, told.unit) < 0,
    "rather": lambda a, told: a.lost(told.regions, told.unit, rather=True) > 0,
    "rather-other": lambda a, told: a.lost(told.regions, told.unit, rather=True) < 0,
    "flip": lambda a, told: int(a.hidden[told.regions].argmax()) == told.winner,
    "no-longer": lambda a, told: int(a.hidden[told.regions].argmax()) != a.target,
    "needs": lambda a, told: _together(a, told, 1),
    "stands-in": lambda a, told: _together(a, told, -1),
}


def in_view(clf: Classifier, e: Explanation) -> Bools:
    """The regions (k, H, W) as the classifier sees them."""
    H, W = clf.preprocess.size
    masks = [framed_mask(m, clf.preprocess).numpy() > 0.5 for m in masks_of(e)]
    return np.array(masks, dtype=bool).reshape(-1, H, W)


def under_foreign_fills(clf: Classifier, x: Tensor, e: Explanation, other: Tensor, tally: Tally) -> None:
    """Every claim under every foreign fill: does it stand, does its interval hold, does the first stay the first?"""
    told, masks = [t for t in claims_of(e) if t.kind in STANDS], in_view(clf, e)
    sets = list(dict.fromkeys([t.regions for t in told] + [(i,) for t in told for i in t.regions]))
    if not sets:
        return
    unions = np.array([masks[list(s)].any(0) for s in sets])
    whole = clf.fine_probabilities(clf.logits(x[None]))[0].numpy()
    for fill in FOREIGN:
        answers = clf.fine_probabilities(clf.logits(filled(x, unions, fill, other))).numpy()
        a = Answers(whole, dict(zip(sets, answers, strict=True)), e.target.class_index,
                    None if e.versus is None else e.versus.class_index)  # fmt: skip
        _held_against(a, told, fill, tally)


def _held_against(a: Answers, told: Sequence[Told], fill: str, tally: Tally) -> None:
    for t in told:
        stands = STANDS[t.kind](a, t)
        tally.hits[f"stands: {t.kind}"].append(stands)
        tally.hits[f"stands: {t.kind} ({fill})"].append(stands)
        if t.kind == "counts" and t.low is not None and t.high is not None:
            slack = SLACK if t.unit == "probability" else 10 * SLACK
            inside = t.low - slack <= a.lost(t.regions, t.unit) <= t.high + slack
            tally.hits["covered"].append(inside)
            tally.hits[f"covered ({fill})"].append(inside)
    counted = [t for t in told if t.kind == "counts"]
    if len(counted) > 1:
        tally.hits["first stays first"].append(
            a.lost(counted[0].regions, counted[0].unit) >= max(a.lost(t.regions, t.unit) for t in counted[1:])
        )


# --------------------------------------------------------------------------------------------------
# Moved patches: the tool's own test, asked of places that were not chosen.


def moved(masks: Bools, away: Sequence[Bools], seed: int) -> Bools:
    """Each mask moved, perhaps mirrored, to where less than a tenth of it touches its `away`, if there is a place."""
    rng, out = np.random.default_rng(seed), []
    for mask, busy in zip(masks, away, strict=True):
        for _ in range(TRIES):
            shape = mask[:, ::-1] if rng.random() < 0.5 else mask
            ys, xs = np.nonzero(shape)
            dy = rng.integers(-ys.min(), mask.shape[0] - ys.max())
            dx = rng.integers(-xs.min(), mask.shape[1] - xs.max())
            there = np.zeros_like(mask)
            there[ys + dy, xs + dx] = True
            if (there & busy).sum() < APART * there.sum():
                out.append(there)
                break
    return np.array(out, dtype=bool).reshape(-1, *masks.shape[1:])


def counts(of: Chosen, masks: Bools, seed: int = 0) -> list[bool]:
    """Whether each mask (m, H, W) would be said to count by the test that regions pass."""
    if not len(masks):
        return []
    hidden, areas, how, unit = of.hidden, masks.mean((1, 2)), rule(of.hidden.tree.fine), of.unit
    first = {fill: side.ask(masks, fill) for fill, side in hidden.sides.items()}
    leading = {u: np.array([hidden.sides[f].lost(r, hidden.target, u) for f, r in first.items()]) for u in UNITS}
    own, turned = (losses_of(side, masks, hidden.target, seed) for side in hidden.sides.values())
    out = []
    for n, area in enumerate(areas):
        beyond = multiples(dict(zip(first, leading["log-odds"][:, n], strict=True)), hidden.nulls, float(area))
        worth = tried(leading[unit][:, [n]], np.array(beyond)[:, None], unit, how)[0]
        mean = {u: (own[u][:, n] + turned[u][:, n]) / 2 for u in UNITS}
        fills = [fill for fill, _ in CONFIRMING]
        times = multiples(dict(zip(fills, mean["log-odds"], strict=True)), hidden.nulls, float(area))
        alike = signed(own[unit][:, n].tolist())
        out.append(bool(worth and alike and holds(mean[unit].tolist(), times, unit, how=how)))
    return out


def moved_patches(clf: Classifier, x: Tensor, e: Explanation, seed: int, tally: Tally, *, fast: bool = False) -> None:
    """The first regions' masks moved to the background, and anywhere but to themselves; and the regions themselves."""
    masks = in_view(clf, e)
    if not len(masks):
        return
    of = find_in(clf, x, clf.probabilities(x[None])[0], e.target.class_index, seed=0, fast=fast)
    first = masks[[i for i in range(min(PATCHES, len(masks))) if masks[i].any()]]
    busy = masks.any(0)
    for name, there in (
        ("moved to the background", moved(first, [busy] * len(first), seed)),
        ("moved elsewhere", moved(first, list(first), seed)),
    ):
        tally.hits[f"passes: {name}"] += counts(of, there)
    said = sorted({t.regions[0] for t in claims_of(e) if t.kind == "counts"})
    tally.hits["passes: in place, said to count"] += counts(of, masks[said])


# --------------------------------------------------------------------------------------------------
# One photo.


def measure(
    clf: Classifier, picture: Picture, other: Picture, seed: int, tally: Tally, *, again: bool, fast: bool = False
) -> Explanation:
    """Everything that is measured of one photo; `again` explains it once more after each disturbance."""
    e = saywhy.explain(clf, picture, fast=fast)
    x, another = clf.prepare([picture, other])[0]
    told = claims_of(e)
    tally.values["claims"].append(len(told))
    tally.values["passes"].append(e.cost.forward_passes)
    tally.values["seconds"].append(e.cost.seconds)
    tally.hits["no claim about a region"].append(not any(t.regions for t in told))
    tally.hits["three claims or more"].append(len(told) >= 3)
    for t in told:
        tally.hits[f"said in log-odds: {t.kind}"].append(t.unit == "log-odds")
        if t.kind == "counts" and t.low is not None and t.high is not None and t.unit == "probability":
            tally.values["width"].append(100 * (t.high - t.low))
    plain = clf.probabilities(x[None].expand(ASKED_AGAIN, -1, -1, -1))[:, e.target.class_index]
    tally.values["output noise"].append(float(plain.std()))
    under_foreign_fills(clf, x, e, another, tally)
    moved_patches(clf, x, e, seed, tally, fast=fast)
    for name, how in DISTURBANCES.items() if again else ():
        after = saywhy.explain(clf, how.changed(picture.pixels), seed=int(name == "seed"), fast=fast)
        tally.hits[f"kept: {name}"] += said_again(e, after, how)
        tally.hits[f"first stays first: {name}"].append(_same_first(e, after, how))
    return e


def _same_first(e: Explanation, after: Explanation, how: Any) -> bool:
    a, b = masks_of(e), how.back(masks_of(after))
    return not (len(a) and len(b)) or bool((a[0] & b[0]).sum() >= 0.5 * (a[0] | b[0]).sum())
