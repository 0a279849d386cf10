"""Why a classifier errs, in people's words: for every error what marks the predicted class and the true one, which of
it was seen in the picture, a typical picture of both, and which of three patterns it is.

N pictures, L attributes, C classes.
Source: Guo et al., Neural Network Interpretation via Fine-Grained Textual Summarization, Network Debugging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.phrases import Attribute

Reals = NDArray[np.float64]
Labels = NDArray[np.int64]
Pattern = Literal["label in doubt", "no mark tells", "not robust"]

PATTERNS: dict[Pattern, str] = {
    "label in doubt": "what people say fits the predicted class, not the true one: the label may be wrong",
    "no mark tells": "people saw as much of what marks either class: nothing that is spoken of tells them apart here",
    "not robust": "people saw the marks of the true class, and the classifier did not",
}
DOUBT = 3.0  # nats by which what people say must fit the predicted class better than the true one
OFTEN, ADDED = (
    0.2,
    0.05,
)  # share of a class's pictures that a mark must have; added to both shares before they are compared
MARKS = 5  # of a class, at most
LIMIT = 0.02  # no attribute is surer than this in a class, nor surer not to be


@dataclass(frozen=True)
class Telltale:
    """What tells a class from another, and whether it is said of the picture."""

    attribute: Attribute
    seen: bool


@dataclass(frozen=True)
class Mistake:
    """A picture (its number) with its predicted and its true class, the pattern, by how many nats what is said of it
    fits the predicted class better, the marks of both classes, and the numbers of a typical picture of both (None:
    there is none)."""

    picture: int
    predicted: int
    true: int
    pattern: Pattern
    fit: float
    of_predicted: tuple[Telltale, ...]
    of_true: tuple[Telltale, ...]
    typical: tuple[int | None, int | None]


def diagnosed(
    attributes: Sequence[Attribute], said: Reals, predicted: Labels, true: Labels, sure: Reals, classes: int
) -> list[Mistake]:
    """Every error among pictures of which it is said which attributes they have (N, L) (0 or 1), with the classes that
    they were given and that they are of (N,), and how sure the classifier was (N,), in order of the pictures.

    What is usual in a class is told from the pictures that are of it, without the one that is looked at.
    """
    having = np.array([said[true == c].sum(axis=0) for c in range(classes)])
    counts = np.bincount(true, minlength=classes)
    typical = [_typical(c, predicted, true, sure) for c in range(classes)]
    out = []
    for i in np.flatnonzero(predicted != true):
        ours, theirs = int(predicted[i]), int(true[i])
        own = np.arange(classes) == theirs
        usual = (having - np.outer(own, said[i])) / np.maximum(counts - own, 1)[:, None]
        fit = _fit(usual[ours], said[i]) - _fit(usual[theirs], said[i])
        mine, other = marks(usual[ours], usual[theirs]), marks(usual[theirs], usual[ours])
        seen = [float(said[i, rows].mean()) if len(rows) else 0.0 for rows in (mine, other)]
        told = [tuple(Telltale(attributes[j], bool(said[i, j])) for j in rows) for rows in (mine, other)]
        pair = typical[ours], typical[theirs]
        out.append(Mistake(int(i), ours, theirs, pattern(fit, *seen), fit, told[0], told[1], pair))
    return out


def marks(first: Reals, second: Reals) -> list[int]:
    """What tells one class from another by how many of their pictures have each attribute (L,): what is common in the
    first and commoner than in the second, by how much it is."""
    commoner = np.where((first > OFTEN) & (first > second), np.log((first + ADDED) / (second + ADDED)), 0.0)
    return [int(j) for j in np.argsort(-commoner, kind="stable")[:MARKS] if commoner[j] > 0]


def pattern(fit: float, ours: float, theirs: float) -> Pattern:
    """Which pattern an error is of: by how many nats what people say fits the predicted class better, and the shares of
    the marks of the predicted and of the true class that they say."""
    if fit > DOUBT:
        return "label in doubt"
    return "no mark tells" if ours >= theirs else "not robust"


def _fit(usual: Reals, said: Reals) -> float:
    """How likely what is said is in a class (nats), attributes apart from each other."""
    p = np.clip(usual, LIMIT, 1 - LIMIT)
    return float((said * np.log(p) + (1 - said) * np.log(1 - p)).sum())


def _typical(c: int, predicted: Labels, true: Labels, sure: Reals) -> int | None:
    """The picture of a class that the classifier is surest of, of those that it names rightly."""
    right = (predicted == c) & (true == c)
    return int(np.argmax(np.where(right, sure, -1.0))) if right.any() else None


def summed_up(patterns: Sequence[Pattern]) -> str:
    """How many errors are of which pattern, in a few words."""
    counts = Counter(patterns)
    each = ", ".join(f"{counts[p]}: {p}" for p in PATTERNS if counts[p])
    return f"{len(patterns)} pictures are named wrongly ({each})"
