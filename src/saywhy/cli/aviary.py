"""`saywhy aviary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from saywhy.cli.output import notes
from saywhy.errors import UsageError


def aviary(
    out: Annotated[
        Path | None, typer.Argument(help="Folder for the pictures; an interrupted run goes on where it ended.")
    ] = None,
    images: Annotated[int, typer.Option(help="Number of pictures.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed: same seed, same pictures on any machine.")] = 0,
    fault: Annotated[str | None, typer.Option(help="A planted fault, or FAULT-control for its clean twin.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 128,
    edition: Annotated[
        str,
        typer.Option(help="1: the birds of all measured pages; 2: relations, textures, more language; cells: a smear."),
    ] = "1",
    audit: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Write nothing; test whether anything but the rule tells the class, in 4800 pictures."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Write a data set of rendered birds or cells for which the right explanation is known; or audit one for leaks."""
    if (out is None) == (audit is None):
        raise UsageError("give a folder for the pictures, or --audit SEED: one of the two")
    with Progress(console=notes, disable=quiet or not notes.is_terminal, transient=True) as bar:
        task = bar.add_task("rendering", total=images)
        if audit is not None:
            _audit(audit, edition, lambda done, of: bar.update(task, completed=done, total=of))
            return
        from saywhy.aviary.dataset import write

        assert out is not None
        listing = write(
            out, images=images, seed=seed, fault=fault, size=size, edition=edition,
            progress=lambda done, _: bar.update(task, completed=done),
        )  # fmt: skip
    if not quiet:
        notes.print(f"{images} pictures, listed in {listing}", markup=False, highlight=False, soft_wrap=True)


def _audit(seed: int, edition: str, progress: object) -> None:
    """Prints the audit as lines; ends with 1 where something but the rule tells the class."""
    from saywhy.aviary.leaks import audit, lines

    found = audit(seed, edition=edition, progress=progress)  # type: ignore[arg-type]
    typer.echo("\n".join(lines(found)))
    if found.found:
        raise typer.Exit(1)
