"""`saywhy concepts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from saywhy.cli.output import notes
from saywhy.errors import UsageError

if TYPE_CHECKING:
    from saywhy.concepts.bank import ConceptBank

CLASSES = 3  # that are told of a concept


def concepts(
    explainer: Annotated[Path, typer.Argument(help="A folder with concepts: saywhy fit IMAGES --parts concepts.")],
    name: Annotated[
        list[str] | None, typer.Option(help='ID=TEXT: what a concept is called, 3="headlight"; ID= takes it away.')
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The gallery: an HTML file.")] = None,
) -> None:
    """Show the concepts of an explainer as a table and as a gallery, and give them names that are kept."""
    from saywhy import files, storage
    from saywhy.concepts import bank as banks
    from saywhy.concepts.gallery import gallery

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {out}: a file that ends in .html was expected")
    given = dict(_name(text) for text in name or ())
    listed = storage.listing(explainer)
    if "concepts" not in listed.parts:
        raise UsageError(f"{explainer}: has no concepts; find some: saywhy fit IMAGES --parts concepts -o {explainer}")
    bank = banks.load(explainer, listed.fingerprint).named(given)
    if given:
        banks.write_names(explainer, bank.names)
    Console().print(_table(bank))
    if out is not None:
        files.write(out, gallery(bank))
        notes.print(f"look at {out}", markup=False, highlight=False, soft_wrap=True)


def _name(text: str) -> tuple[str, str]:
    id, sign, name = text.partition("=")
    if not sign:
        raise UsageError(f'--name {text}: ID=TEXT was expected, such as 3="headlight"')
    return id.strip(), name.strip()


def _table(bank: ConceptBank) -> Table:
    """A row a concept: its name, and the classes that it counts for, with the points that taking it out costs."""
    from saywhy.concepts.gallery import called, points
    from saywhy.render.wording import clean

    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("concept", "name", "points that taking it out costs a class"):
        table.add_column(head)
    for j, id in enumerate(bank.ids):
        rows = sorted((r for r in bank.relevance if r.concept == j and r.counts), key=lambda r: -abs(r.lost))
        told = [f"{clean(bank.classes[r.class_index])} {points(r)}" for r in rows[:CLASSES]]
        more = [f"{len(rows) - CLASSES} more"] if len(rows) > CLASSES else []
        table.add_row(id, escape(called(bank, id)), escape("; ".join([*told, *more]) or "none beyond chance"))
    return table
