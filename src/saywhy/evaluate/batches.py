"""The pictures of an evaluation, a batch at a time, and what is asked of them.

n pictures of a batch (n, 3, H, W) in [0, 1]; numbers count the pictures of the whole evaluation from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, ModelError
from saywhy.evaluate.annotations import Truth, truth_of
from saywhy.metrics import Reference, reference
from saywhy.metrics.faithfulness import Drop
from saywhy.metrics.masking import Masking


@dataclass(frozen=True)
class Conventions:
    """How faithfulness is measured: what stands in for hidden pixels, whether they are hidden "before" or "after"
    normalisation, a "relative" or "absolute" drop, and the steps of the curves."""

    fill: str = "black"
    insertion_fill: str = "image-blur"
    masking: Masking = "before"
    drop: Drop = "relative"
    steps: int = 32


USUAL = Conventions()


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked for, resolved; for each row of the table `seen` has the numbers of the pictures that it is measured
    on, and `sane` of those that its sanity metrics are measured on."""

    clf: Classifier
    judge: Classifier
    metrics: tuple[str, ...]
    how: Conventions
    options: Mapping[str, Mapping[str, Any]]
    names: tuple[str, ...]
    target: int | str
    seed: int
    seen: Mapping[str, frozenset[int]]
    sane: Mapping[str, frozenset[int]]

    @property
    def settings(self) -> dict[str, Any]:
        """The conventions by the names that metrics take."""
        own = {"mean": self.clf.preprocess.mean, "batch_size": self.judge.rows, "seed": self.seed}
        return asdict(self.how) | own


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures (n, 3, H, W) with their numbers among all, what the classifier says of them, and their truth."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    images: Tensor
    known: Reference
    truth: Truth | None

    def part(self, kept: Sequence[int]) -> Batch:
        """The pictures at these places."""
        if len(kept) == len(self.numbers):
            return self
        at = torch.tensor(kept, dtype=torch.long)
        targets = None if self.known.targets is None else self.known.targets[at]
        truth = self.truth and Truth(self.truth.masks[at], self.truth.keypoints[at], self.truth.sizes[at])
        return Batch(
            tuple(self.numbers[i] for i in kept), tuple(self.names[i] for i in kept), self.images[at],
            Reference(targets, self.known.scores[at]), truth,
        )  # fmt: skip

    @property
    def targets(self) -> list[int] | None:
        """The asked classes."""
        return None if self.known.targets is None else self.known.targets.tolist()


def load(plan: Plan, items: Sequence[Item], start: int) -> tuple[Batch | None, list[tuple[str, str]]]:
    """The pictures of a batch that can be read, and why the others cannot."""
    loaded, failed = [], []
    for number, item in enumerate(items, start=start):
        try:
            loaded.append((number, item, *_one(plan, item)))
        except InputError as e:
            failed.append((str(item.path), str(e)))
    if not loaded:
        return None, failed
    images = plan.judge.at_home(torch.cat([row[2] for row in loaded]))
    truths = [row[3] for row in loaded]
    truth = Truth(*(torch.cat([getattr(t, k) for t in truths]) for k in ("masks", "keypoints", "sizes")))
    labels = [row[4] for row in loaded]
    targets = None if plan.target == "predicted" else torch.tensor(labels)
    numbers, names = tuple(row[0] for row in loaded), tuple(str(row[1].path) for row in loaded)
    try:
        known = reference(plan.judge.probabilities, images, targets, batch_size=plan.judge.rows)
    except ModelError as e:
        if len(items) == 1:
            return None, [*failed, (names[0], str(e))]
        parts = [load(plan, [item], start + i) for i, item in enumerate(items)]
        batches = [b for b, _ in parts if b is not None]
        return (_joined(batches) if batches else None), [f for _, fs in parts for f in fs]
    return Batch(numbers, names, images, known, truth), failed


def _one(plan: Plan, item: Item) -> tuple[Tensor, Truth, int]:
    """A picture as the classifier sees it (1, 3, H, W), its truth and the class that is asked."""
    picture = plan.clf.read(item.path)
    images, seen = plan.clf.prepare([picture])
    truth = truth_of([item], [picture], seen, plan.clf.preprocess, plan.names)
    if plan.target != "label":
        return images, truth, -1 if isinstance(plan.target, str) else plan.target
    if item.class_name in plan.clf.class_names:
        return images, truth, plan.clf.class_names.index(str(item.class_name))
    if item.class_index is None or not 0 <= item.class_index < len(plan.clf.class_names):
        raise InputError(f"{item.path}: has no label among the model's classes (class_name {item.class_name!r})")
    return images, truth, item.class_index


def _joined(batches: Sequence[Batch]) -> Batch:
    targets = [b.known.targets for b in batches]
    whole = None if targets[0] is None else torch.cat([t for t in targets if t is not None])
    truths = [b.truth for b in batches if b.truth is not None]
    return Batch(
        tuple(n for b in batches for n in b.numbers),
        tuple(n for b in batches for n in b.names),
        torch.cat([b.images for b in batches]),
        Reference(whole, torch.cat([b.known.scores for b in batches])),
        Truth(*(torch.cat([getattr(t, k) for t in truths]) for k in ("masks", "keypoints", "sizes"))),
    )
