"""The part `baseline`: three blank pictures. They are asked about anew each time: a record says what it cost.

A class that wins on them is the model's default: it needs nothing in the picture to be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene import plain_probabilities
from saywhy.language import Claim, Confirming, Found
from saywhy.language.verify import points
from saywhy.parts import Confirmed, Face, Request
from saywhy.seen import Seen

BLANKS = ("grey", "mean colour", "noise")
SEED = 7
SPEAKABLE = 5  # points: with less, a class that wins on nothing is no answer


@dataclass(frozen=True, eq=False)
class Baseline:
    """Probabilities (3, C) of the blank pictures, in the order of `BLANKS`, and what the classifier says of each (3,);
    -1 is no class."""

    probabilities: Tensor
    says: Tensor

    def of(self, index: int) -> float:
        """The probability of a class: the mean over the blank pictures."""
        return float(self.probabilities[:, index].mean())

    @property
    def default(self) -> int | None:
        """The class that is said of two of them or more, None if there is none."""
        index, times = Counter(self.says.tolist()).most_common(1)[0]
        return int(index) if times >= 2 and index >= 0 else None


def blanks(clf: Classifier, size: tuple[int, ...]) -> Tensor:
    """Three blank pictures (3, planes, H, W): grey, the mean colour of the preprocessing, and noise."""
    noise = torch.rand(size, generator=torch.Generator().manual_seed(SEED))
    mean = torch.tensor(clf.preprocess.mean).view(-1, 1, 1).expand(size)
    return torch.stack([torch.full(size, 0.5), mean, noise])


def find(part: None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Baseline:
    """What the classifier says of nothing."""
    clf = seen.tap.clf
    p = plain_probabilities(clf, blanks(clf, tuple(seen.image.shape)))
    return Baseline(p, seen.says(p))


def confirm(found: Baseline, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """Says that the target is the model's default, if it is, and what each blank picture gave it."""
    p = found.probabilities[:, seen.target].tolist()
    record = {"target": dict(zip(BLANKS, p, strict=True)), "default": found.default}
    percent = points(found.of(seen.target))
    if found.default != seen.target or not seen.said or percent < SPEAKABLE:  # "too": it is said of the photo
        return Confirmed(record=record)
    claim = Claim("default", classes=(seen.score(seen.target).class_name,), percents=(percent,))
    return Confirmed([Found(claim, ("baseline",), None, (seen.target,))], record=record, made=("baseline",))


FACE = Face(find=find, confirm=confirm)
