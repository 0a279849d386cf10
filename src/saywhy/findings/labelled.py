"""What is known of a run, as arrays: N pictures with a label, C classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saywhy.audit.store import open_store
from saywhy.findings.outcomes import Outcomes, outcomes

Bools = NDArray[np.bool_]
Whole = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled pictures of a run in the order of their numbers `n`, each array (N,)."""

    folder: Path
    classes: tuple[str, ...]
    n: Whole
    label: Whole
    answer: Whole
    second: Whole
    p_answer: Doubles
    p_label: Doubles
    split: NDArray[np.object_]

    @cached_property
    def tried(self) -> Mapping[int, Outcomes]:
        """What came of the trials, of the pictures that were tried."""
        return outcomes(self.folder)

    @cached_property
    def wrong(self) -> Bools:
        """Where the answer is not the label."""
        return np.asarray(self.label != self.answer)

    @cached_property
    def errors(self) -> Whole:
        """The numbers of the errors."""
        return self.n[self.wrong]

    def place(self, numbers: Whole) -> Whole:
        """Where pictures with these numbers stand in the arrays."""
        return np.searchsorted(self.n, numbers)


TYPES: dict[str, Any] = dict.fromkeys(("n", "label", "answer", "second"), np.int64) | dict.fromkeys(
    ("p_answer", "p_label"), np.float64
)
COLUMNS = "n, label, answer, coalesce(top[2], answer) AS second, p_answer, p_label, split"


def labelled(run: str | Path) -> Labelled:
    """Reads what is known of a run.

    Raises:
        InputError: no scan there.
    """
    folder = Path(run)
    with open_store(folder) as store:
        rows = store.execute(f"SELECT {COLUMNS} FROM pictures WHERE label IS NOT NULL ORDER BY n").fetchnumpy()
        classes = tuple(name for (name,) in store.execute("SELECT name FROM classes ORDER BY index").fetchall())
    whole: dict[str, Any] = {
        name: np.asarray(rows[name], dtype=np.int64) for name in ("n", "label", "answer", "second")
    }
    p: dict[str, Any] = {name: np.asarray(rows[name], dtype=np.float64) for name in ("p_answer", "p_label")}
    return Labelled(folder, classes, **whole, **p, split=_words(rows["split"]))


def _words(values: Any) -> NDArray[np.object_]:
    """Text of the store (N,), None where there is none."""
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=object), None), dtype=object)


def columns(run: Path, table: str, names: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Columns of a table, each an SQL expression by its name, in the order of the pictures' numbers."""
    asked = ", ".join(f"{sql} AS {name}" for name, sql in names.items())
    with open_store(run) as store:
        found: dict[str, Any] = store.execute(f"SELECT n, {asked} FROM {table} ORDER BY n").fetchnumpy()
    return {
        name: np.ma.filled(values, np.nan) if values.dtype.kind == "f" else values for name, values in found.items()
    }
