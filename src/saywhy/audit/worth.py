"""Which pictures are worth a deeper look: errors, answers that were nearly others, and a random sample, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from saywhy.audit.store import open_store


def worth(folder: Path, seed: int) -> list[int]:
    """The numbers of all pictures of a scan, those that tell most first.

    In turn the error with the largest margin, the answer with the smallest lead, and one drawn by the seed, each
    picture once; the order does not depend on the shards.
    """
    with open_store(folder) as store:
        errors = _numbers(store.execute("SELECT n FROM pictures WHERE NOT correct ORDER BY margin DESC, n").fetchall())
        unsure = _numbers(store.execute("SELECT n FROM pictures ORDER BY lead, n").fetchall())
    drawn = np.random.default_rng(seed).permutation(np.sort(unsure))
    return list(dict.fromkeys(chain.from_iterable(_in_turn(errors.tolist(), unsure.tolist(), drawn.tolist()))))


def _numbers(rows: Sequence[tuple[int]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray([n for (n,) in rows], dtype=np.int64)


def _in_turn(errors: Sequence[int], *others: Sequence[int]) -> list[tuple[int, ...]]:
    """One of each at a time; errors are the shorter list."""
    few = list(zip(errors, *others, strict=False))
    return few + list(zip(*(rows[len(few) :] for rows in others), strict=True))
