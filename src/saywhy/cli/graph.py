"""`saywhy graph`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from saywhy.cli.options import check_folders, check_out, fitted_parts, takes_model
from saywhy.cli.output import notes, progress, tell_skipped


@takes_model
def graph(
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos: files, globs, folders, or an images.jsonl.")],
    explainer: Annotated[Path, typer.Option(help="A folder with graphs: saywhy fit IMAGES --parts concepts,graph.")],
    target: Annotated[str, typer.Option(help="The class whose reasoning is told: index or name.")],
    versus: Annotated[str | None, typer.Option(help="The class to compare it with.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for graph.json, .graphml and .html.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Tell how a class is decided over many photos: the mean graph of its concepts, with its spread."""
    from saywhy import files
    from saywhy.collection import find_images
    from saywhy.reasoning import classwide_page
    from saywhy.reasoning.classwide import class_graph
    from saywhy.reasoning.interchange import to_graphml

    check_folders(explainer=explainer)
    if out is not None:
        check_out(out)
    items = find_images(images)
    tell_skipped(images, quiet)
    fitted = fitted_parts(explainer, load())
    with progress(quiet, 1) as tell:
        found = class_graph(fitted, items, target, versus, tell=lambda step: tell(0, step))
    if out is not None:  # first, so that all is there whoever stops reading what is printed
        bank = fitted.parts["concepts"]
        out.mkdir(parents=True, exist_ok=True)
        files.write(out / "graph.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        files.write(out / "graph.graphml", to_graphml(found))
        files.write(out / "graph.html", classwide_page.page(found, {id: bank.looks(id) for id in bank.ids}))
    print(classwide_page.text(found))
    if out is not None and not quiet:
        notes.print(f"look at {out / 'graph.html'}", markup=False, highlight=False, soft_wrap=True)
    for path, why in found["unreadable"]:
        notes.print(f"{path}: {why}", markup=False, highlight=False, soft_wrap=True)
    if found["unreadable"]:
        raise typer.Exit(1)
