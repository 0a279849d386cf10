"""An evaluation as Markdown, LaTeX or JSON, with everything that is needed to read its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from saywhy.evaluate.controls import DERIVED
from saywhy.evaluate.result import Cell, Column, Evaluation, Form, Row, json_text, on_pictures

COSTS = ("n", "degenerate", "forward", "tail", "ms")
WIDTH = 7  # metrics that stand beside each other; more are continued in another table


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
        "–" if row.control else f"{row.milliseconds:.3g}",
    ]  # fmt: skip


def _interval(cell: Cell, column: Column, between: str = "–") -> str:
    if math.isnan(cell.low):
        return ""
    return f"{number(cell.low, column)}{between}{number(cell.high, column)}"


def _uneven(cell: Cell, row: Row) -> str:
    """How many pictures the mean is of, where it is not all of them."""
    return f" (n={cell.samples})" if cell.samples and cell.samples != len(row.pictures) else ""


def shared(found: Evaluation) -> Evaluation | None:
    """Every row on the pictures that all were measured on; None where these are all pictures, or none."""
    every = set.intersection(*(set(r.pictures) for r in found.rows))
    if not every or all(len(r.pictures) == len(every) for r in found.rows):
        return None
    return replace(found, rows=tuple(on_pictures(r, sorted(every), seed=found.seed) for r in found.rows))


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
    return "\n".join([*(_markdown_block(found, b) for b in blocks(found)), *legend(found)]) + "\n"


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


def legend(found: Evaluation) -> list[str]:
    """What is needed to read the numbers, as Markdown lines."""
    lines = [f"Model: {found.model} ({found.fingerprint}). Seed {found.seed}. {_controls(found)}"]
    lines.append(
        "Mean and 95 % bootstrap interval over the pictures where the metric is defined (n= where these are fewer); "
        "n: pictures; degenerate: maps that are flat, all negative or not finite; forward (#FW) and tail: passes of "
        "the method itself a picture; ms: its time a picture."
    )
    lines.append("Conventions: " + ", ".join(f"{k} {v}" for k, v in found.conventions.items()) + ".")
    lines += [f"- `{c.name}` ({c.unit}): {c.summary}." for c in found.columns]
    lines += list(found.notes)
    lines += [f"Not measured: {image}: {error}" for image, error in found.failures]
    return lines


def _controls(found: Evaluation) -> str:
    """What the controls in this table are."""
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
