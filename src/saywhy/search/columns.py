"""Numbers that a scan stored of every picture, so that some of them are read fast: a column each, whatever their count.

N pictures, L numbers of each. Up to MEMORY pictures are read as they are; of more, a file is made beside the store
once, with the numbers of a kind one after the other.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saywhy import files
from saywhy.audit.inventory import STORE
from saywhy.audit.store import manifests, tables_of
from saywhy.audit.tables import parquet
from saywhy.errors import InputError

MEMORY = 20_000
FOLDER = "search"

Ints = NDArray[np.int64]
Halves = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Columns:
    """The pictures' numbers (N,) and what is stored of them (L, N), a row for each of L."""

    numbers: Ints
    values: Halves

    def of(self, n: int) -> NDArray[np.float64] | None:
        """What is stored (L,) of the picture with that number; None if it has nothing."""
        at = np.flatnonzero(self.numbers == n)
        return self.values[:, at[0]].astype(np.float64) if len(at) else None


def columns_of(run: Path, table: str, column: str) -> Columns | None:
    """The lists of a table's column, all of one length; None where nothing is stored.

    Raises:
        InputError: no scan there, or a file that cannot be read.
    """
    listed = tables_of(run)[table]
    if not listed:
        return None
    if _rows_of(run, table) <= MEMORY:
        numbers, order = _numbers(listed)
        return Columns(numbers[order], np.concatenate(list(_blocks(listed, column))).T[:, order])
    file = run / STORE / FOLDER / f"{table}-{_mark(listed)}.npy"
    if not file.exists():
        numbers, order = _numbers(listed)
        _save(_beside(file), numbers[order])  # first: by the other file it is known that both are there
        _write(file, listed, column, order)
    return Columns(np.load(_beside(file)), np.load(file, mmap_mode="r"))


def _rows_of(run: Path, table: str) -> int:
    return sum(int(m["tables"].get(table, {}).get("rows", 0)) for m in manifests(run))


def _beside(file: Path) -> Path:
    return file.with_suffix(".numbers.npy")


def _numbers(listed: list[str]) -> tuple[Ints, Ints]:
    """The pictures' numbers (N,) as they are stored, and their order."""
    numbers = np.concatenate([parquet().read_table(f, columns=["n"])["n"].to_numpy() for f in listed])
    return numbers, np.argsort(numbers, kind="stable")


def _save(file: Path, values: Ints) -> None:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    files.write(file, out.getvalue(), sync=False)


def _blocks(listed: list[str], column: str) -> Iterator[Halves]:
    """The values (n, L) of each file."""
    for file in listed:
        lists = parquet().read_table(file, columns=[column])[column].combine_chunks()
        flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float16)
        yield flat.reshape(len(lists), -1)


def _mark(listed: list[str]) -> str:
    """What changes when the files do."""
    told = [f"{Path(f).name} {Path(f).stat().st_size}" for f in listed]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _write(file: Path, listed: list[str], column: str, order: Ints) -> None:
    place = np.argsort(order, kind="stable")  # of each row as it is stored
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.drafted(file, sync=False) as draft:
        out, start = None, 0
        for block in _blocks(listed, column):
            if out is None:
                shape = (block.shape[1], len(order))
                out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.float16, shape=shape)
            out[:, place[start : start + len(block)]] = block.T
            start += len(block)
        if out is None:
            raise InputError(f"{file}: there is nothing to write")
        out.flush()
        del out
