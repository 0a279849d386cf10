"""Pictures like this one: exact search by the cosine of what the classifier's layer holds of them.

N stored vectors of d numbers; they are read file by file, so memory holds a shard of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saywhy.audit.depths import vectors_of
from saywhy.audit.inventory import read_run
from saywhy.audit.store import open_store, tables_of
from saywhy.audit.tables import parquet
from saywhy.classifier import Classifier
from saywhy.errors import UsageError, whole
from saywhy.image import Source

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Near:
    """A stored picture and the cosine of its vector with that which was asked for."""

    n: int
    path: str
    cosine: float


def nearest(run: str | Path, to: int | Sequence[float] | Vector, count: int = 20) -> list[Near]:
    """The stored pictures most like one of them (its number `n`, itself left out) or like a vector (`vector_of`).

    Every vector is compared; of equal ones the smaller number comes first. That takes seconds for a million pictures.

    Raises:
        UsageError: no such picture has a vector, the scan has none (a black box), or a vector of another length.
    """
    folder, count = Path(run), whole("count", count, 1)
    files = tables_of(folder)["embeddings"]
    if not files:
        raise UsageError(f"{folder}: the scan has no vectors: its classifier is a black box, or nothing is done yet")
    asked = _stored(files, to, folder) if isinstance(to, int) else np.asarray(to, dtype=np.float32)
    best: list[tuple[float, int]] = []
    for file in files:
        numbers, vectors = _read(file)
        if asked.shape != vectors.shape[1:]:
            raise UsageError(f"a vector of this scan has {vectors.shape[1]} numbers, not {asked.shape}")
        cosines = vectors @ asked / np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked), 1e-12)
        order = np.lexsort((numbers, -cosines))[: count + 1]
        best = sorted([*best, *((-float(cosines[i]), int(numbers[i])) for i in order)])[: count + 1]
    kept = [(n, -c) for c, n in best if not isinstance(to, int) or n != to][:count]
    return _named(folder, kept)


def vector_of(run: str | Path, clf: Classifier, photo: Source) -> Vector:
    """What `nearest` compares of a photo that need not be in the scan.

    Raises:
        UsageError: the scan is of another classifier.
        InputError: the photo cannot be read.
    """
    of = read_run(Path(run)).model.fingerprint
    if clf.fingerprint != of:
        raise UsageError(f"{run}: is of the classifier {of}, not of {clf.name or 'this one'} ({clf.fingerprint})")
    return np.asarray(vectors_of(clf.tap(clf.prepare([clf.read(photo)])[0]))[0], dtype=np.float32)


def _read(file: str) -> tuple[NDArray[np.int64], Vector]:
    """The numbers (N,) and vectors (N, d) of a file."""
    table = parquet().read_table(file).combine_chunks()
    numbers, lists = table["n"].to_numpy(), table["vector"].combine_chunks()
    values: Vector = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(numbers), -1).astype(np.float32)
    return numbers, values


def _stored(files: Sequence[str], n: int, folder: Path) -> Vector:
    for file in files:
        numbers, vectors = _read(file)
        if len(at := np.flatnonzero(numbers == n)):
            found: Vector = vectors[at[0]]
            return found
    raise UsageError(f"{folder}: no picture with the number {n} has a vector")


def _named(folder: Path, found: Sequence[tuple[int, float]]) -> list[Near]:
    with open_store(folder) as store:
        rows = store.execute(
            "SELECT n, path FROM pictures WHERE n IN (SELECT unnest(?))", [[n for n, _ in found]]
        ).fetchall()  # fmt: skip
    paths = dict(rows)
    return [Near(n, paths[n], cosine) for n, cosine in found]
