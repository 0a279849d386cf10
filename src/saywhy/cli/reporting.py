"""`saywhy report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from saywhy.cli.output import notes

TOLD = 10  # findings


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a scan: what `saywhy audit --depth` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, FILE.html; its values are written to FILE.json.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes.")] = False,
) -> None:
    """Say what goes wrong on a set that was scanned, and why: a page with findings, pictures and what to do next.

    It reads the store and asks no classifier: causes are as sure as the depth that was looked at.
    """
    from saywhy.findings.overview import write_report
    from saywhy.render.wording import clean

    found = write_report(run, out)
    console = Console(file=sys.stdout)
    for f in found.findings[:TOLD]:
        line = f"{f.rank}. {f.kind}: {f.name} ({f.errors} errors, {f.id})"
        console.print(clean(line), markup=False, highlight=False, soft_wrap=True)
    if not found.findings:
        console.print("no test of a cause holds", markup=False, highlight=False)
    if not quiet:
        notes.print(f"look at {out}", markup=False, highlight=False, soft_wrap=True)
