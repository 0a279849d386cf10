"""Why a classifier errs on labelled pictures: the maps of the predicted and the true class, and experiments on them.

For every error (section 4.4.2 of the L-CAM paper sorts them by eye; here by measurement): `similarity`, the correlation
of the two maps, and what the classifier says once the region that speaks for the predicted class alone is hidden, or
the predicted class's region is all that is left.

    related classes   both classes are read off the same place: the maps agree, and hiding what differs changes nothing
    several objects   the maps lie apart, and the predicted class's region alone still means that class
    context           hiding that region brings the truth back, though the region alone does not make the class: it is
                      something beside the object that tips the scale
    unclear           none of these

N errors, maps (N, H, W) in [0, 1].
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.image import read
from saywhy.intervene import hide
from saywhy.saliency import saliency

Category = Literal["related classes", "several objects", "context", "unclear"]
AGREE = 0.5  # correlation of two maps that point to the same place
SHARE = 0.25  # of the picture: a class's region is this much of its map's highest pixels
FILL = "inpaint"
BATCH = 16


@dataclass(frozen=True)
class Experiments:
    """Probabilities (predicted, true) of the picture, without the predicted class's own region, with its region alone,
    and with the true class's region alone."""

    whole: tuple[float, float]
    without: tuple[float, float]
    predicted_alone: tuple[float, float]
    true_alone: tuple[float, float]


@dataclass(frozen=True)
class Failure:
    """One error: which picture, what was said for what, how alike the maps are, and the family that it falls into."""

    path: str
    truth: str
    predicted: str
    similarity: float
    overlap: float
    category: Category
    experiments: Experiments


@dataclass(frozen=True)
class Study:
    """All errors on a set of pictures; `unreadable` files with the reason; `pictures` that were asked."""

    failures: tuple[Failure, ...]
    pictures: int
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return 1 - len(self.failures) / self.pictures

    @property
    def families(self) -> dict[tuple[str, str, str], int]:
        """How often each (truth, predicted, category) occurs, the most frequent first."""
        return dict(Counter((f.truth, f.predicted, f.category) for f in self.failures).most_common())

    @property
    def biased(self) -> dict[str, float]:
        """Predicted classes by the share of context among the errors that end in them, of two errors or more."""
        ended: dict[str, list[bool]] = defaultdict(list)
        for f in self.failures:
            ended[f.predicted].append(f.category == "context")
        shares = {name: sum(found) / len(found) for name, found in ended.items() if len(found) > 1 and any(found)}
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "pictures": self.pictures,
            "accuracy": self.accuracy,
            "categories": dict(Counter(f.category for f in self.failures).most_common()),
            "failures": [asdict(f) for f in self.failures],
            "unreadable": [list(pair) for pair in self.unreadable],
        }


def study(
    clf: Classifier,
    items: Sequence[Item],
    *,
    method: str = "grad-cam",
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Studies every error of the classifier on labelled pictures; memory holds one batch of them.

    `method` and its `options` make the maps (an explainer's "l-cam" with its head costs no gradient). Five passes an
    error, one a picture.

    Raises:
        UsageError: a picture without a label, or with one that is no class of the classifier.
        InputError: none of the pictures can be read.
    """
    labels = [_label(clf, item) for item in items]
    failures: list[Failure] = []
    unreadable: list[tuple[str, str]] = []
    asked = 0
    for start in range(0, len(items), BATCH):
        kept, pictures = [], []
        for n in range(start, min(start + BATCH, len(items))):
            try:
                pictures.append(read(items[n].path))
                kept.append(n)
            except InputError as e:
                unreadable.append((str(items[n].path), str(e)))
        if kept:
            images = clf.prepare(pictures)[0]
            truth = torch.tensor([labels[n] for n in kept])
            names = [str(items[n].path) for n in kept]
            failures += failures_of(clf, images, truth, names, method=method, options=options)
            asked += len(kept)
        if progress is not None:
            progress(min(start + BATCH, len(items)), len(items))
    if not asked:
        raise InputError(f"none of {len(items)} pictures can be read")
    return Study(tuple(failures), asked, tuple(unreadable))


def failures_of(
    clf: Classifier,
    images: Tensor,
    truth: Tensor,
    names: Sequence[str],
    *,
    method: str = "grad-cam",
    options: Mapping[str, Any] | None = None,
) -> list[Failure]:
    """The errors among images (N, 3, H, W) with true classes (N,)."""
    probabilities = clf.probabilities(images)
    said = probabilities.argmax(dim=1)
    wrong = (said != truth).nonzero()[:, 0]
    if not len(wrong):
        return []
    shown = [
        saliency(clf, images[wrong], c[wrong].tolist(), method=method, **dict(options or {})).display
        for c in (said, truth)
    ]
    out = []
    for row, mine, other in zip(wrong.tolist(), *shown, strict=True):
        pair = (int(said[row]), int(truth[row]))
        alike, overlap = similarity(mine, other)
        found = _experiments(clf, images[row], mine, other, probabilities[row], pair)
        p, t = (clf.class_names[c] for c in pair)
        out.append(Failure(names[row], t, p, alike, overlap, categorise(alike, found), found))
    return out


def similarity(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Pearson correlation of two maps (H, W), and the intersection over union of their regions; 0 for flat maps."""
    a, b = first.flatten() - first.mean(), second.flatten() - second.mean()
    size = float(a.norm() * b.norm())
    p, q = _region(first), _region(second)
    return float(a @ b) / size if size > 0 else 0.0, float((p & q).sum()) / max(float((p | q).sum()), 1.0)


def categorise(alike: float, found: Experiments) -> Category:
    """The family of an error, from the likeness of its maps and the experiments."""
    means_itself = found.predicted_alone[0] > found.predicted_alone[1]
    brought_back = found.without[1] > found.without[0]
    if alike >= AGREE and not brought_back:
        return "related classes"
    if brought_back and not means_itself:
        return "context"
    if alike < AGREE and means_itself:
        return "several objects"
    return "unclear"


def _experiments(
    clf: Classifier, image: Tensor, mine: Tensor, other: Tensor, before: Tensor, pair: tuple[int, int]
) -> Experiments:
    p, t = _region(mine), _region(other)
    kept = torch.stack([~(p & ~t), p, t]).to(image.dtype)
    rows = torch.cat([before[None], clf.probabilities(hide(image, kept, FILL))])
    return Experiments(*((float(r[pair[0]]), float(r[pair[1]])) for r in rows))


def _region(shown: Tensor) -> Tensor:
    """A class's region (H, W): the quarter of the picture where its map is highest, never where the map is 0."""
    count = max(1, round(SHARE * shown.numel()))
    return (shown >= shown.flatten().topk(count).values[-1]) & (shown > 0)


def _label(clf: Classifier, item: Item) -> int:
    if item.class_name is not None and item.class_name in clf.class_names:
        return clf.class_index(item.class_name)
    if item.class_name is None and item.class_index is not None and item.class_index < len(clf.class_names):
        return item.class_index
    if item.class_name is None:
        raise UsageError(f"{item.path}: no label; the study of errors needs a folder a class, or an images.jsonl")
    raise UsageError(f"{item.path}: {item.class_name!r} is no class of {clf.name or 'the model'}")
