"""What an evaluation found: one frozen row a method, one cell a metric; and it as Markdown, LaTeX or JSON.

N pictures; M methods; the values of a cell are per picture (N,), NaN where a picture has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from saywhy.errors import UsageError, unknown
from saywhy.evaluate.derived import DERIVED
from saywhy.metrics.running import Values

SCHEMA = 1
DEGENERATE = ("flat", "all_negative", "not_finite")
Form = Literal["markdown", "latex", "json"]
COSTS = ("n", "degenerate", "forward", "tail", "ms")
WIDTH = 7  # metrics that stand beside each other; more are continued in another table


@dataclass(frozen=True)
class Column:
    """A metric as a column: its unit, which end is better (None: neither), and what it is in words; `apart` where it is
    measured on pictures of its own, and not on those that its row names."""

    name: str
    unit: str
    higher_is_better: bool | None
    summary: str
    conventions: Mapping[str, str | float] = field(default_factory=dict)
    apart: bool = False

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

    `pictures` names those that were measured, in order; `degenerate` counts its maps that are no map; `milliseconds` is
    None where the table is to be reproducible.
    """

    method: str
    control: bool
    pictures: tuple[str, ...]
    cells: Mapping[str, Cell]
    degenerate: Mapping[str, int]
    forward_passes: float
    tail_passes: float
    milliseconds: float | None

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """JSON values."""
        return {
            "method": self.method,
            "control": self.control,
            "pictures": len(self.pictures),
            "degenerate": dict(self.degenerate),
            "forward_passes": round(self.forward_passes, 2),
            "tail_passes": round(self.tail_passes, 2),
            "milliseconds": None if self.milliseconds is None else round(self.milliseconds, 2),
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

    def untimed(self) -> Evaluation:
        """The same without the milliseconds, by which alone two equal runs differ."""
        return replace(self, rows=tuple(replace(row, milliseconds=None) for row in self.rows))

    def table(self, form: Form = "markdown") -> str:
        """The table with its conventions as text: "markdown", "latex" (booktabs) or "json".

        Raises:
            UsageError: another form.
        """
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
    return Row(
        values["method"], values["control"], tuple(values["files"]), cells, values["degenerate"],
        values["forward_passes"], values["tail_passes"], values["milliseconds"],
    )  # fmt: skip


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


# --------------------------------------------------------------------------------------------------
# Tables.


@dataclass(frozen=True)
class Block:
    """What stands beside each other: some of the columns, and how many of the costs (all in the first block)."""

    columns: tuple[Column, ...]
    costs: int

    @property
    def head(self) -> list[str]:
        """The headings."""
        return ["method", *(c.heading for c in self.columns), *COSTS[: self.costs]]


def blocks(found: Evaluation) -> list[Block]:
    """The columns in blocks of seven."""
    starts = range(0, len(found.columns), WIDTH)
    return [Block(found.columns[i : i + WIDTH], 1 if i else len(COSTS)) for i in starts]


def number(value: float, column: Column) -> str:
    """A number in the digits that its unit bears; a dash for none."""
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if column.unit == "%" else f"{value:.3f}"


def _cost(row: Row) -> list[str]:
    bad = sum(row.degenerate.values())
    return [
        str(len(row.pictures)), str(bad), f"{row.forward_passes:.4g}", f"{row.tail_passes:.4g}",
        "–" if row.control or row.milliseconds is None else f"{row.milliseconds:.3g}",
    ]  # fmt: skip


def _interval(cell: Cell, column: Column, between: str = "–") -> str:
    if math.isnan(cell.low):
        return ""
    return f"{number(cell.low, column)}{between}{number(cell.high, column)}"


def _uneven(cell: Cell, row: Row) -> str:
    """How many pictures the mean is of, where it is not all of them."""
    return f" (n={cell.samples})" if cell.samples and cell.samples != len(row.pictures) else ""


def shared(found: Evaluation) -> Evaluation | None:
    """Every row on the pictures that all were measured on, without columns of other pictures; None where these are all
    pictures, or none."""
    every = set.intersection(*(set(r.pictures) for r in found.rows))
    columns = tuple(c for c in found.columns if not c.apart)
    if not every or not columns or all(len(r.pictures) == len(every) for r in found.rows):
        return None
    rows = (replace(r, cells={c.name: r.cells[c.name] for c in columns}) for r in found.rows)
    return replace(found, columns=columns, rows=tuple(on_pictures(r, sorted(every), seed=found.seed) for r in rows))


def report(found: Evaluation, form: Form) -> str:
    """The table as text and, where its rows saw different pictures, those that they share once more for all of them."""
    text, same = FORMS[form](found), shared(found)
    if same is None or form == "json":
        return text
    title = f"The {len(same.rows[0].pictures)} pictures that every row was measured on"
    if form == "latex":
        return text + _latex_floats(same, f"{found.model}. {title}.")
    return f"{text}\n**{title}**\n\n" + "\n".join(_markdown_block(same, b) for b in blocks(same))


def markdown(found: Evaluation) -> str:
    """Markdown: one line a method, means with their 95 % intervals, costs a picture, conventions below."""
    if by_question(found):
        return "\n".join([_markdown_questions(found), *legend(found)]) + "\n"
    return "\n".join([*(_markdown_block(found, b) for b in blocks(found)), *legend(found)]) + "\n"


def by_question(found: Evaluation) -> bool:
    """Whether a table has more to ask than to compare: its columns, shares of claims, are then told one a line."""
    return any("share of" in c.conventions for c in found.columns)


def _markdown_questions(found: Evaluation) -> str:
    lines = ["| " + " | ".join(["", *(r.method for r in found.rows), "what it is"]) + " |"]
    lines.append("| --- |" + " ---: |" * len(found.rows) + " --- |")
    for c in found.columns:
        cells = [
            f"`{c.name}`{c.heading.removeprefix(c.name)}",
            *(_markdown_cell(r, c) for r in found.rows),
            _meaning(c),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    costs = [dict(zip(COSTS, _cost(r), strict=True)) for r in found.rows]
    lines += ["| " + " | ".join([k, *(cost[k] for cost in costs), ""]) + " |" for k in ("n", "forward", "tail", "ms")]
    return "\n".join(lines) + "\n"


def _meaning(column: Column) -> str:
    """The summary, and for a share its unit and what it is of."""
    of = column.conventions.get("share of")
    return f"{column.summary} ({column.unit} of {of})" if of else f"{column.summary} ({column.unit})"


def _markdown_block(found: Evaluation, block: Block) -> str:
    lines = ["| " + " | ".join(block.head) + " |", "| --- |" + " ---: |" * (len(block.head) - 1)]
    for row in found.rows:
        name = f"*{row.method}*" if row.control else row.method
        cells = [name, *(_markdown_cell(row, c) for c in block.columns), *_cost(row)[: block.costs]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _markdown_cell(row: Row, column: Column) -> str:
    cell = row.cells.get(column.name)
    if cell is None or math.isnan(cell.mean):
        return "–"
    interval = _interval(cell, column)
    return number(cell.mean, column) + (f" [{interval}]" if interval else "") + _uneven(cell, row)


_MEANS = (
    "Mean and 95 % bootstrap interval over the pictures where the metric is defined (n= where these are fewer); "
    "n: pictures; degenerate: maps that are flat, all negative or not finite; forward (#FW) and tail: passes of "
    "the method itself a picture; ms: its time a picture."
)
_QUESTIONS = (
    "Shares with their 95 % Wilson interval and n=, how many claims, causes or pictures they are of, where these are "
    "not the pictures; medians with that of their order statistics, means with their bootstrap interval. n: pictures; "
    "forward and tail: passes a picture; ms: median time a picture."
)


def legend(found: Evaluation) -> list[str]:
    """What is needed to read the numbers, as Markdown lines."""
    lines = [f"Model: {found.model} ({found.fingerprint}). Seed {found.seed}. {_controls(found)}".rstrip()]
    lines.append(_QUESTIONS if by_question(found) else _MEANS)
    lines.append("Conventions: " + ", ".join(f"{k} {v}" for k, v in found.conventions.items()) + ".")
    lines += [] if by_question(found) else [f"- `{c.name}` ({c.unit}): {c.summary}." for c in found.columns]
    lines += list(found.notes)
    lines += [f"Not measured: {image}: {error}" for image, error in found.failures]
    return lines


def _controls(found: Evaluation) -> str:
    """What the controls in this table are; nothing where there are none."""
    if not any(r.control for r in found.rows):
        return ""
    made = [f"{r.method}: {DERIVED[r.method].summary}" for r in found.rows if r.method in DERIVED]
    return "Controls in italics know nothing of it" + (
        f", or no training made them ({'; '.join(made)})." if made else "."
    )


_ESCAPES = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "^": r"\^{}", "–": "--"}
_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}


def _tex(text: str) -> str:
    for sign, escaped in {**_ESCAPES, **_ARROWS}.items():
        text = text.replace(sign, escaped)
    return text


def latex(found: Evaluation) -> str:
    """LaTeX for the packages booktabs and graphicx, a float for each block; intervals small below the means,
    conventions and notes in the first caption."""
    told = ", ".join(f"{k} {v}" for k, v in found.conventions.items())
    whole = f"{found.model}. Mean and 95 % bootstrap interval; controls in italics. Conventions: {told}."
    return "% \\usepackage{booktabs, graphicx}\n" + _latex_floats(found, " ".join([whole, *found.notes]))


def _latex_floats(found: Evaluation, caption: str) -> str:
    first, *rest = blocks(found)
    return "\n".join(
        [_latex_float(found, first, caption), *(_latex_float(found, b, f"{found.model}, continued.") for b in rest)]
    )


def _latex_float(found: Evaluation, block: Block, caption: str) -> str:
    lines = [r"\begin{table*}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"]
    lines.append(r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")  # no wider than the page
    lines += [r"\begin{tabular}{l" + "r" * (len(block.head) - 1) + "}", r"\toprule"]
    lines += [" & ".join(_tex(h) for h in block.head) + r" \\", r"\midrule"]
    controls = [r for r in found.rows if r.control]
    for group in (controls, [r for r in found.rows if not r.control]):
        lines += [_latex_row(row, block) for row in group]
        lines += [r"\midrule"] if group is controls and group else []
    lines += [r"\bottomrule", r"\end{tabular}}", rf"\caption{{{_tex(caption)}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _latex_row(row: Row, block: Block) -> str:
    name = rf"\emph{{{_tex(row.method)}}}" if row.control else _tex(row.method)
    cells = [_latex_cell(row, column) for column in block.columns]
    return " & ".join([name, *cells, *(_tex(c) for c in _cost(row)[: block.costs])]) + r" \\"


def _latex_cell(row: Row, column: Column) -> str:
    cell = row.cells.get(column.name)
    if cell is None or math.isnan(cell.mean):
        return "--"
    mean, interval = number(cell.mean, column) + _uneven(cell, row), _interval(cell, column, "--")
    return rf"\shortstack[r]{{{mean}\\{{\tiny [{interval}]}}}}" if interval else mean


def grids(found: Evaluation) -> list[tuple[list[str], list[list[str]]]]:
    """The tables for a screen: headings, and rows of cells with the interval below the mean."""
    if by_question(found):
        head = ["", *(r.method for r in found.rows), "what it is"]
        rows = [[c.heading, *(_grid_row(r, Block((c,), 0))[1] for r in found.rows), _meaning(c)] for c in found.columns]
        return [(head, rows)]
    return [(block.head, [_grid_row(row, block) for row in found.rows]) for block in blocks(found)]


def _grid_row(row: Row, block: Block) -> list[str]:
    cells = [row.method + (" (control)" if row.control else "")]
    for column in block.columns:
        cell = row.cells[column.name]
        cells.append(f"{number(cell.mean, column)}{_uneven(cell, row)}\n{_interval(cell, column)}".rstrip())
    return [*cells, *_cost(row)[: block.costs]]


FORMS: dict[Form, Callable[[Evaluation], str]] = {
    "markdown": markdown,
    "latex": latex,
    "json": lambda found: json_text(found.to_dict()),
}
SUFFIXES: dict[Form, str] = {"markdown": ".md", "latex": ".tex", "json": ".json"}
