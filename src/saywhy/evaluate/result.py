"""What an evaluation found: one frozen row a method, one cell a metric, and the tables made of them.

N pictures; M methods; the values of a cell are per picture (N,), NaN where a picture has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from saywhy.errors import UsageError, unknown
from saywhy.metrics.running import Values

SCHEMA = 1
DEGENERATE = ("flat", "all_negative", "not_finite")
Form = Literal["markdown", "latex", "json"]


@dataclass(frozen=True)
class Column:
    """A metric as a column: its unit, which end is better (None: neither), and what it is in words."""

    name: str
    unit: str
    higher_is_better: bool | None
    summary: str
    conventions: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """The name with the better direction: "epg ↑"."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return self.name + arrow


@dataclass(frozen=True)
class Cell:
    """The mean of a metric over the pictures where it is defined, with its bootstrap interval (95 %)."""

    mean: float
    low: float
    high: float
    samples: int
    undefined: int
    values: tuple[float, ...] = field(default=(), repr=False)

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """JSON values; None where there is no number."""
        out: dict[str, Any] = {"mean": _number(self.mean), "low": _number(self.low), "high": _number(self.high)}
        out |= {"samples": self.samples, "undefined": self.undefined}
        return out | ({"values": [_number(v) for v in self.values]} if values else {})


def cell(values: Values, *, seed: int = 0) -> Cell:
    """The cell of per-picture values."""
    found = values.interval(seed=seed)
    return Cell(found.mean, found.low, found.high, found.count, values.undefined, values.samples)


@dataclass(frozen=True)
class Row:
    """A method (or a control) with its cells by metric and what its maps cost, a picture.

    `pictures` names those that were measured, in order; `degenerate` counts its maps that are no map.
    """

    method: str
    control: bool
    pictures: tuple[str, ...]
    cells: Mapping[str, Cell]
    degenerate: Mapping[str, int]
    forward_passes: float
    tail_passes: float
    milliseconds: float

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """JSON values."""
        return {
            "method": self.method,
            "control": self.control,
            "pictures": len(self.pictures),
            "degenerate": dict(self.degenerate),
            "forward_passes": round(self.forward_passes, 2),
            "tail_passes": round(self.tail_passes, 2),
            "milliseconds": round(self.milliseconds, 2),
            "metrics": {name: c.to_dict(values=values) for name, c in self.cells.items()},
            **({"files": list(self.pictures)} if values else {}),
        }


@dataclass(frozen=True)
class Evaluation:
    """Methods times metrics of one classifier. `failures` are (picture, why) of those that could not be measured."""

    model: str
    fingerprint: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    conventions: Mapping[str, str | float]
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0

    def row(self, method: str) -> Row:
        """The row of that method.

        Raises:
            UsageError: it was not measured.
        """
        found = next((r for r in self.rows if r.method == method), None)
        if found is None:
            raise unknown("row", method, [r.method for r in self.rows])
        return found

    def column(self, name: str) -> Column:
        """The column of that metric.

        Raises:
            UsageError: it was not measured.
        """
        found = next((c for c in self.columns if c.name == name), None)
        if found is None:
            raise unknown("measured metric", name, [c.name for c in self.columns])
        return found

    def table(self, form: Form = "markdown") -> str:
        """The table with its conventions as text: "markdown", "latex" (booktabs) or "json".

        Raises:
            UsageError: another form.
        """
        from saywhy.evaluate.tables import FORMS

        if form not in FORMS:
            raise unknown("table form", form, FORMS)
        return FORMS[form](self)

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """JSON values; `values` adds every picture's own."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "conventions": dict(self.conventions),
            "columns": [
                {"name": c.name, "unit": c.unit, "higher_is_better": c.higher_is_better, "summary": c.summary,
                 "conventions": dict(c.conventions)}
                for c in self.columns
            ],
            "rows": [r.to_dict(values=values) for r in self.rows],
            "failures": [{"image": image, "error": error} for image, error in self.failures],
            "notes": list(self.notes),
        }  # fmt: skip

    def worse_than(self, limits: Mapping[str, float]) -> list[str]:
        """One sentence for each method (controls apart) whose mean is worse than a limit, or has no mean.

        Worse is below the limit where higher is better, above it where lower is better.

        Raises:
            UsageError: a metric that was not measured, or of which neither end is better.
        """
        directions = {name: direction(self.column(name)) for name in limits}
        found = []
        for name, limit in limits.items():
            for row in (r for r in self.rows if not r.control):
                mean = row.cells[name].mean
                if math.isnan(mean):
                    found.append(f"{row.method}: {name} has no value on any picture, {limit:g} was asked")
                elif (mean < limit) if directions[name] else (mean > limit):
                    word = "at least" if directions[name] else "at most"
                    found.append(f"{row.method}: {name} is {mean:.4g}, {word} {limit:g} was asked")
        return found


def direction(column: Column) -> bool:
    """Whether higher is better.

    Raises:
        UsageError: neither end is.
    """
    if column.higher_is_better is None:
        raise UsageError(f"neither a high nor a low {column.name} is good in itself; limit another metric")
    return column.higher_is_better


def from_dict(values: Mapping[str, Any]) -> Evaluation:
    """The evaluation that `to_dict(values=True)` wrote, so that parts measured apart can be joined."""
    columns = tuple(Column(**c) for c in values["columns"])
    rows = tuple(_row(r) for r in values["rows"])
    failures = tuple((f["image"], f["error"]) for f in values["failures"])
    return Evaluation(
        values["model"], values["fingerprint"], columns, rows, values["conventions"], failures,
        tuple(values["notes"]), values["seed"],
    )  # fmt: skip


def _row(values: Mapping[str, Any]) -> Row:
    cells = {
        name: Cell(
            _real(c["mean"]), _real(c["low"]), _real(c["high"]), c["samples"], c["undefined"],
            tuple(_real(v) for v in c["values"]),
        )
        for name, c in values["metrics"].items()
    }  # fmt: skip
    costs = (float(values[k]) for k in ("forward_passes", "tail_passes", "milliseconds"))
    return Row(values["method"], values["control"], tuple(values["files"]), cells, values["degenerate"], *costs)


def on_pictures(row: Row, pictures: Sequence[str], *, seed: int = 0) -> Row:
    """The row on some of its pictures, from its values; of degenerate maps as many as can be among them."""
    wanted = set(pictures)
    kept = [i for i, p in enumerate(row.pictures) if p in wanted]
    cells = {n: cell(Values(tuple(c.values[i] for i in kept)), seed=seed) for n, c in row.cells.items()}
    return Row(
        row.method, row.control, tuple(row.pictures[i] for i in kept), cells,
        {status: min(count, len(kept)) for status, count in row.degenerate.items()},
        row.forward_passes, row.tail_passes, row.milliseconds,
    )  # fmt: skip


def json_text(values: Mapping[str, Any]) -> str:
    """JSON with an end of line."""
    return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _real(value: float | None) -> float:
    return math.nan if value is None else float(value)
