"""`saywhy aviary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from saywhy.cli.output import notes


def aviary(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures; an interrupted run goes on where it ended.")],
    images: Annotated[int, typer.Option(help="Number of pictures.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed: same seed, same pictures on any machine.")] = 0,
    fault: Annotated[str | None, typer.Option(help="A planted fault, or FAULT-control for its clean twin.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 128,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Write a data set of rendered birds for which the right explanation is known."""
    from saywhy.aviary.dataset import write

    with Progress(console=notes, disable=quiet or not notes.is_terminal, transient=True) as bar:
        task = bar.add_task("rendering", total=images)
        listing = write(
            out, images=images, seed=seed, fault=fault, size=size,
            progress=lambda done, _: bar.update(task, completed=done),
        )  # fmt: skip
    if not quiet:
        notes.print(f"{images} pictures, listed in {listing}", markup=False, highlight=False, soft_wrap=True)
