"""Reads pictures one by one and keeps a bounded sample of their activations; an interrupted reading goes on.

N pictures, n vectors (n, K) of all of them. Memory holds the sample and one picture: a million vectors would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.extraction import EXTRACTION
from saywhy.concepts.looking import looked_at
from saywhy.errors import InputError
from saywhy.intervene import content_seed
from saywhy.train.steps import Kept, Steps, drawn

PICTURES = 5000  # at most; of more a part is drawn
VECTORS = 40_000  # at most, and no more than
BYTES = 128 << 20
SAVED = 100  # pictures a step

Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Gathered:
    """The sample: `vectors` (n, K), the picture that each is of (n,); of each picture its item, its predicted class and
    the share of its cells where that is seen; what could not be read; how many vectors there were in all."""

    vectors: Tensor
    owners: Tensor
    items: tuple[Item, ...]
    predicted: tuple[int, ...]
    attended: tuple[float, ...]
    failures: tuple[tuple[str, str], ...]
    offered: int


def gather(
    clf: Classifier, items: Sequence[Item], extraction: str, *, seed: int, steps: Steps | None = None,
    tell: Tell = lambda step: None,
) -> Gathered:  # fmt: skip
    """A sample of activation vectors from where each picture's predicted class is seen, as many of each picture.

    Raises:
        InputError: none of the pictures can be read.
        UsageError: steps of another run.
    """
    chosen, steps = drawn(items, PICTURES, seed), steps or Steps()
    read = partial(_read, clf, chosen, extraction, seed, tell)
    found = steps.each("looking", len(chosen), SAVED, read)
    pictures = [row for _, told in found for row in told["pictures"]]
    failures = tuple((path, why) for _, told in found for path, why in told["failures"])
    if not pictures:
        raise InputError(
            f"none of {len(chosen)} pictures can be read; the first: {failures[0][1] if failures else '-'}"
        )
    owners = torch.repeat_interleave(torch.arange(len(pictures)), torch.tensor([row["kept"] for row in pictures]))
    return Gathered(
        torch.cat([tensors["vectors"] for tensors, _ in found if tensors]), owners,
        tuple(chosen[row["row"]] for row in pictures), tuple(row["predicted"] for row in pictures),
        tuple(row["attended"] for row in pictures), failures, sum(row["offered"] for row in pictures),
    )  # fmt: skip


def _read(clf: Classifier, items: Sequence[Item], extraction: str, seed: int, tell: Tell, rows: range) -> Kept:
    """The sample of some pictures: vectors (n, K), and what is known of each picture that could be read."""
    vectors: list[Tensor] = []
    pictures: list[dict[str, Any]] = []
    failures: list[list[str]] = []
    for n in rows:
        tell(f"looking at pictures: {n + 1} of {len(items)}")
        try:
            found = looked_at(clf, items[n], seed)
        except InputError as e:
            failures.append([str(items[n].path), str(e)])
            continue
        X = EXTRACTION[extraction].vectors(found.picture, found.maps, found.mask)
        vectors.append(_sampled(X, found.picture, len(items), seed))
        attended = float(found.mask.float().mean())
        pictures.append(
            {"row": n, "predicted": found.predicted, "attended": attended, "kept": len(vectors[-1]), "offered": len(X)}
        )
    return {"vectors": torch.cat(vectors)} if vectors else {}, {"pictures": pictures, "failures": failures}


def _sampled(X: Tensor, picture: Tensor, pictures: int, seed: int) -> Tensor:
    """A picture's share of the sample of so many: some of its vectors, drawn by its own pixels and the seed."""
    room = max(1, min(VECTORS, BYTES // (4 * X.shape[1])) // pictures)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(content_seed(picture, seed)))
    return X[order[:room]]
