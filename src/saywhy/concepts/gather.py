"""Reads pictures one by one and keeps a bounded sample of their activations; an interrupted reading goes on.

N pictures, n vectors (n, K) of all of them. Memory holds the sample and one picture: a million vectors would not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.extraction import EXTRACTION
from saywhy.concepts.looking import looked_at
from saywhy.errors import InputError, UsageError
from saywhy.intervene import content_seed
from saywhy.train import checkpoint as checkpoints
from saywhy.train.distributed import rank

PICTURES = 5000  # at most; of more a part is drawn
VECTORS = 40_000  # at most, and no more than
BYTES = 128 << 20
SAVED = 100  # pictures between two checkpoints

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
    clf: Classifier, items: Sequence[Item], extraction: str, *, seed: int, checkpoint: Path | None = None,
    tell: Tell = lambda step: None,
) -> Gathered:  # fmt: skip
    """A sample of activation vectors from where each picture's predicted class is seen, as many of each picture.

    Raises:
        InputError: none of the pictures can be read.
        UsageError: a checkpoint of another run.
    """
    chosen = _some(items, seed)
    reading = Reading(_identity(clf, chosen, extraction, seed))
    if checkpoint is not None and checkpoint.exists():
        reading.load(checkpoint)
    for n in range(reading.done, len(chosen)):
        tell(f"looking at pictures: {n + 1} of {len(chosen)}")
        _read(reading, clf, chosen, n, extraction, seed)
        due = reading.done % SAVED == 0 or reading.done == len(chosen)
        if checkpoint is not None and due and rank() == 0:
            reading.save(checkpoint)
    if not reading.rows:
        first = reading.failures[0][1] if reading.failures else "-"
        raise InputError(f"none of {len(chosen)} pictures can be read; the first: {first}")
    owners = torch.repeat_interleave(torch.arange(len(reading.rows)), torch.tensor([len(X) for X in reading.vectors]))
    return Gathered(
        torch.cat(reading.vectors), owners, tuple(chosen[r] for r in reading.rows), tuple(reading.predicted),
        tuple(reading.attended), tuple((path, why) for path, why in reading.failures), reading.offered,
    )  # fmt: skip


def _read(reading: Reading, clf: Classifier, items: Sequence[Item], n: int, extraction: str, seed: int) -> None:
    """Adds the next picture to a reading."""
    reading.done = n + 1
    try:
        found = looked_at(clf, items[n], seed)
    except InputError as e:
        reading.failures.append((str(items[n].path), str(e)))
        return
    X = EXTRACTION[extraction].vectors(found.picture, found.maps, found.mask)
    reading.vectors.append(_sampled(X, found.picture, len(items), seed))
    reading.rows.append(n)
    reading.predicted.append(found.predicted)
    reading.attended.append(float(found.mask.float().mean()))
    reading.offered += len(X)


def _some(items: Sequence[Item], seed: int) -> list[Item]:
    """At most `PICTURES` of the items, in their order."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))[:PICTURES]
    return [items[i] for i in sorted(order.tolist())]


def _sampled(X: Tensor, picture: Tensor, pictures: int, seed: int) -> Tensor:
    """A picture's share of the sample of so many: some of its vectors, drawn by its own pixels and the seed."""
    room = max(1, min(VECTORS, BYTES // (4 * X.shape[1])) // pictures)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(content_seed(picture, seed)))
    return X[order[:room]]


def _identity(clf: Classifier, items: Sequence[Item], extraction: str, seed: int) -> dict[str, Any]:
    paths = hashlib.sha256("\n".join(str(i.path) for i in items).encode()).hexdigest()[:16]
    return {"classifier": clf.fingerprint, "pictures": paths, "extraction": extraction, "seed": seed}


TOLD = ("done", "offered", "rows", "predicted", "attended", "failures")  # of a reading, in its checkpoint as JSON


@dataclass
class Reading:
    """How far the reading has come, and of which run it is."""

    identity: dict[str, Any]
    done: int = 0
    offered: int = 0
    rows: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    attended: list[float] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)

    def save(self, file: Path) -> None:
        """Writes what was read so far."""
        sample = {"vectors": torch.cat(self.vectors)} if self.vectors else {}
        sizes, state = [len(X) for X in self.vectors], {name: getattr(self, name) for name in TOLD}
        checkpoints.write(file, {"sample": sample}, {"run": self.identity, "sizes": sizes, "state": state})

    def load(self, file: Path) -> None:
        """Takes up what another process has read."""
        groups, header = checkpoints.read(file)
        try:
            was, sizes, state = header["run"], header["sizes"], header["state"]
            found = list(torch.split(groups["sample"]["vectors"], sizes)) if sizes else []
        except KeyError as e:
            raise checkpoints.unreadable(file, e) from e
        differ = [f"{k} {was.get(k)} (now {now})" for k, now in self.identity.items() if was.get(k) != now]
        if differ:
            raise UsageError(f"{file}: a checkpoint of another run: {', '.join(differ)}; delete it or use its settings")
        self.vectors = found
        for name in TOLD:
            setattr(self, name, state[name])
