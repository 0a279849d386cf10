"""Names learned from a handful of regions that a person showed: boxes, masks or keypoints with names.

A multinomial logistic regression on what the network's layers hold inside a region (`closeup`), with one more class for
whatever was not shown: patches of the same pictures that do not fit what was. Its certainty is calibrated on pictures
that were held out, and so is how certain it must be before a name is said. n names, D features, m regions.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.image import Bools, Floats, framed_mask
from saywhy.names.closeup import closeup
from saywhy.players import players
from saywhy.seen import tapped

Reals = NDArray[np.float64]

OTHER = ""  # what was not shown
C = 30.0  # inverse of the regression's penalty
STEPS = 400
FOLDS = 5
FITS, INSIDE = 0.4, 0.6  # IoU from which a patch is what was shown, share inside it from which it is a piece of it
EACH = 12  # patches of a picture at most that are called something, and as many that are not
RIGHT = 0.9  # of the names that are said, on held-out pictures
SURE = 0.9  # how sure it must be where no picture could be held out


@dataclass(frozen=True, eq=False)
class KnownNames:
    """`names` (n,); `weights` (n + 1, D) and `bias` (n + 1,), the last of them of what was not shown, for features less
    `mean` (D,); logits are divided by `temperature`, and a name is said from the certainty `least` on.

    `layers` are those whose maps were looked at, `card` says how it was made.
    """

    names: tuple[str, ...]
    weights: Tensor
    bias: Tensor
    mean: Tensor
    temperature: float
    least: float
    layers: tuple[str, ...]
    card: Mapping[str, Any] = field(default_factory=dict)

    def told(self, features: Tensor) -> list[tuple[str, float] | None]:
        """The name of each region by its features (m, D), and how sure it is; None where it is not sure enough."""
        logits = (features - self.mean) @ self.weights.T + self.bias
        sure, best = (logits / self.temperature).softmax(dim=1).max(dim=1)
        return [
            (self.names[b], s) if b < len(self.names) and s >= self.least else None
            for b, s in zip(best.tolist(), sure.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class ShownRegions:
    """Features (m, D) of regions, the name of each (or OTHER), the number of its picture; the layers; what could not be
    read; how many regions were shown by name."""

    features: Reals
    names: NDArray[np.str_]
    pictures: NDArray[np.int64]
    layers: tuple[str, ...]
    shown: Mapping[str, int]
    failures: tuple[tuple[str, str], ...] = ()


def fit(
    clf: Classifier, items: Sequence[Item], tell: Callable[[str], None] = lambda step: None
) -> tuple[KnownNames, ShownRegions]:
    """Learns the names of the regions that the pictures' truth shows.

    Raises:
        UsageError: nothing is shown, only one name is, or the classifier is known by its scores alone.
        InputError: no picture can be read.
    """
    some = examples(clf, items, tell)
    known = sorted(some.shown)
    order = [*known, OTHER]
    target = np.array([order.index(n) for n in some.names])
    folds = min(FOLDS, len(set(some.pictures.tolist())))
    tell(f"learning {len(known)} names from {sum(some.shown.values())} regions")
    held = _held_out(some, target, len(order), folds) if folds > 1 else None
    temperature = 1.0 if held is None else _temperature(held, target)
    least, right = (SURE, None) if held is None else _least(held / temperature, target, len(known))
    mean, weights, bias = _regression(some.features, target, len(order))
    card = {
        "names": dict(some.shown), "pictures": len(set(some.pictures.tolist())), "calibrated": held is not None,
        "held_out": right, "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
    }  # fmt: skip
    made = [torch.from_numpy(a).float() for a in (weights, bias, mean)]
    return KnownNames(tuple(known), made[0], made[1], made[2], temperature, least, some.layers, card), some


# --------------------------------------------------------------------------------------------------
# What is shown.


def examples(clf: Classifier, items: Sequence[Item], tell: Callable[[str], None] = lambda step: None) -> ShownRegions:
    """What was shown, and patches of the same pictures as explanations find them, called by what they fit or lie in."""
    showing = [item for item in items if item.shows]
    if not showing:
        raise UsageError(
            "names are learned from regions that are shown: give a folder with an images.jsonl whose rows have masks, "
            'boxes or keypoints with names: {"file": "a.jpg", "boxes": [{"name": "wheel", "xywh": [10, 20, 30, 30]}]}'
        )
    features, names, pictures, failures = [], [], [], []
    shown: Counter[str] = Counter()
    layers: tuple[str, ...] = ()
    for n, item in enumerate(showing):
        tell(f"looking at what is shown: picture {n + 1} of {len(showing)}")
        try:
            masks, called, own, layers = _of(clf, item)
        except InputError as e:
            failures.append((str(item.path), str(e)))
            continue
        features.append(masks)
        names += called
        pictures += [n] * len(called)
        shown.update(own)
    if not features:
        raise InputError(
            f"no picture that shows something could be read: {failures[0][1]}" if failures else "no picture"
        )
    if len(shown) < 2:
        raise UsageError(
            f"two names or more are needed to tell them apart; shown: {', '.join(shown) or 'nothing in view'}"
        )
    every = torch.cat(features).double().numpy()
    return ShownRegions(every, np.array(names), np.array(pictures), layers, dict(shown), tuple(failures))


def _of(clf: Classifier, item: Item) -> tuple[Tensor, list[str], list[str], tuple[str, ...]]:
    """The features of one picture's examples, their names, the names of what was shown in view, and the layers."""
    picture = clf.read(item.path)
    images, boxes = clf.prepare([picture])
    tap = tapped(clf, images)
    seeing = closeup(tap, picture, boxes[0])
    parts = {n: framed_mask(m, clf.preprocess) for n, m in item.regions((picture.height, picture.width)).items()}
    parts = {n: m for n, m in parts.items() if m.max() >= 0.5}
    tree = players(images[0])
    patches = tree.masks(range(len(tree.nodes)))
    called = [_called(patch, parts) for patch in patches]
    some = [*_spread([n for n, c in enumerate(called) if c]), *_spread([n for n, c in enumerate(called) if not c])]
    masks = [*parts.values(), *(patches[n] for n in some)]
    if not masks:
        return torch.zeros(0, seeing.of(torch.ones(1, *images.shape[2:])).shape[1]), [], [], tuple(tap.points)
    looked = seeing.of(torch.from_numpy(np.stack(masks).astype(np.float32)))
    return looked, [*parts, *(called[n] for n in some)], list(parts), tuple(tap.points)


def _called(patch: Bools, parts: Mapping[str, Floats]) -> str:
    """What a patch (H, W) should be called: as the shown region that it fits or lies in, else OTHER."""
    joint = {name: float(mask[patch].sum()) for name, mask in parts.items()}
    name = max(joint, key=lambda n: joint[n], default=OTHER)
    if not name:
        return OTHER
    size, whole = float(patch.sum()), float(parts[name].sum())
    fits = joint[name] >= FITS * (size + whole - joint[name]) or joint[name] >= INSIDE * size
    return name if fits else OTHER


def _spread(numbers: Sequence[int]) -> list[int]:
    """At most `EACH` of them, evenly spread."""
    places = np.linspace(0, len(numbers) - 1, min(EACH, len(numbers))).round().astype(int)
    return [numbers[p] for p in places]


# --------------------------------------------------------------------------------------------------
# The regression, and how sure it may be.


def _regression(features: Reals, target: NDArray[np.int64], count: int) -> tuple[Reals, Reals, Reals]:
    """The mean (D,), weights (count, D) and bias (count,) of the regression; a class without an example is never it."""
    mean = features.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stops after so many steps
        model = LogisticRegression(C=C, max_iter=STEPS, class_weight="balanced").fit(features - mean, target)
    weights, bias = np.zeros((count, features.shape[1])), np.full(count, -1e9)
    two = len(model.classes_) == 2
    weights[model.classes_] = np.concatenate([-model.coef_ / 2, model.coef_ / 2]) if two else model.coef_
    bias[model.classes_] = np.concatenate([-model.intercept_ / 2, model.intercept_ / 2]) if two else model.intercept_
    return mean, weights, bias


def _held_out(some: ShownRegions, target: NDArray[np.int64], count: int, folds: int) -> Reals:
    """Logits (m, count) of every example by a regression on other pictures."""
    out = np.zeros((len(target), count))
    for train, test in GroupKFold(folds).split(some.features, target, some.pictures):
        if len(set(target[train].tolist())) < 2:
            out[test] = 0.0
            continue
        mean, weights, bias = _regression(some.features[train], target[train], count)
        out[test] = (some.features[test] - mean) @ weights.T + bias
    return out


def _temperature(logits: Reals, target: NDArray[np.int64]) -> float:
    """What logits are divided by so that the held-out examples are most likely (Guo et al. 2017)."""

    def unlikely(log: float) -> float:
        return -float(log_softmax(logits / np.exp(log), axis=1)[np.arange(len(target)), target].mean())

    return float(np.exp(minimize_scalar(unlikely, bounds=(-3, 3), method="bounded").x))


def _least(logits: Reals, target: NDArray[np.int64], other: int) -> tuple[float, dict[str, float]]:
    """The least certainty from which `RIGHT` of the held-out names are right (above 1 if none is), and what is named
    from it on: the share of what was shown, and how many of the names are right."""
    p = np.exp(log_softmax(logits, axis=1))
    best, sure = p.argmax(1), p.max(1)
    named = np.flatnonzero(best != other)
    order = named[np.argsort(-sure[named], kind="stable")]
    right = np.cumsum(best[order] == target[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= RIGHT)
    if not len(enough):
        return 1.01, {"named": 0.0, "right": 0.0}
    last = int(enough[-1])
    found = np.isin(np.arange(len(target)), order[: last + 1]) & (target != other)
    return float(sure[order[last]]), {
        "named": float(found.sum() / (target != other).sum()),
        "right": float(right[last]),
    }
