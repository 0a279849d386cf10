"""`saywhy explain`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import saywhy
from saywhy import files
from saywhy.cli.options import as_said, fitted_parts, takes_model
from saywhy.cli.output import notes, progress, tell_skipped
from saywhy.errors import SaywhyError, UsageError, unknown

if TYPE_CHECKING:
    from saywhy.explanation import Explanation, Unit


WRITTEN = ("format", "out", "quiet")  # options that say how an answer is written, and change none


@takes_model
def explain(
    ctx: typer.Context,
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos: files, globs, folders, or an images.jsonl.")],
    target: Annotated[
        str | None, typer.Option(help="The class to explain: index or name; default: the predicted.")
    ] = None,
    versus: Annotated[str | None, typer.Option(help="The class to compare it with; default: the runner-up.")] = None,
    method: Annotated[str | None, typer.Option(help="The saliency method of the map.")] = None,
    explainer: Annotated[Path | None, typer.Option(help="A folder of fitted parts, made by `saywhy fit`.")] = None,
    regions: Annotated[int | None, typer.Option(help="Number of regions at most, 1 to 8; default: 8.")] = None,
    unit: Annotated[str, typer.Option(help="Unit of contributions: probability or log-odds.")] = "probability",
    format: Annotated[str | None, typer.Option(help="One or several of text,json,png,html.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the files.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="At most 60 passes for the regions; nothing of how they work together.")
    ] = False,
    surroundings: Annotated[
        Path | None, typer.Option(help="A folder of pictures before which the object is shown; default: plain ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Leave out the seconds: equal runs write equal files, byte for byte.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Explain why the model gives a photo its class: regions, what each counted, and checked sentences."""
    from saywhy.collection import find_images, stems
    from saywhy.saliency import METHODS

    formats = _formats(format, out)
    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    items = find_images(images)
    clf = load()
    fitted = fitted_parts(explainer, clf)
    if surroundings is not None:
        fitted = fitted.given(seed, surroundings=surroundings)
    for name in (target, versus):
        if name not in (None, "predicted"):
            clf.class_index(name)
    tell_skipped(images, quiet)
    asked = as_said(ctx, WRITTEN)
    writer = _Writer(out, formats, stems([item.path for item in items]))
    with progress(quiet, len(items)) as tell:
        for n, item in enumerate(items):
            try:
                found = saywhy.explain(
                    clf, item.path, target, versus, method=method, regions=regions, unit=cast("Unit", unit),
                    explainer=fitted, fast=fast, seed=seed,
                    progress=lambda step, n=n, item=item: tell(n, f"{item.path.name}: {step}"),  # type: ignore[misc]
                )  # fmt: skip
                writer.write(n, (found.untimed() if reproducible else found).asked_by(asked))
            except UsageError:
                raise
            except SaywhyError as e:
                writer.failed(item.path, e)
    writer.close(quiet)
    if writer.failures:
        raise typer.Exit(1)


def _formats(given: str | None, out: Path | None) -> list[str]:
    from saywhy.render import RENDERERS

    formats = [f.strip() for f in (given or ("text" if out is None else "text,json,png,html")).split(",") if f.strip()]
    for name in formats:
        if name not in RENDERERS:
            raise unknown("format", name, RENDERERS)
    if out is None and set(formats) - {"text", "json"}:
        raise UsageError("png and html are files: say where with -o DIR")
    if out is None and len(formats) != 1:
        raise UsageError("without -o DIR only one format can be printed: --format text or --format json")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file, a folder was expected")
    return formats


class _Writer:
    """Writes or prints explanations as they come; a file is there whole or not at all."""

    def __init__(self, out: Path | None, formats: list[str], names: list[str]) -> None:
        self.out, self.formats, self.names = out, formats, names
        self.failures: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.files: list[Path] = []
        self.printed = 0

    def write(self, number: int, found: Explanation) -> None:
        from saywhy.render import RENDERERS

        if self.out is None and self.formats == ["json"]:
            self.records.append(found.to_dict())
            return
        text = RENDERERS["text"].function(found).decode()
        if self.out is not None:
            for name in self.formats:
                row = RENDERERS[name]
                self.files.append(files.write(self.out / (self.names[number] + row.suffix), row.function(found)))
        print(("\n" if self.printed else "") + text.rstrip("\n"), flush=True)
        self.printed += 1

    def failed(self, path: Path, error: SaywhyError) -> None:
        message = str(error)
        self.failures.append(message if str(path) in message else f"{path}: {message}")
        self.records.append({"image": str(path), "error": message})

    def close(self, quiet: bool) -> None:
        from saywhy.explanation import json_document

        if self.out is None and self.formats == ["json"]:
            sys.stdout.write(json_document(self.records))
        for message in self.failures:
            notes.print(f"failed: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        if self.files and not quiet:
            page = next((f for f in self.files if f.suffix == ".html"), self.files[0])
            also = f" and {len(self.files) - 1} more files" if len(self.files) > 1 else ""
            notes.print(f"look at {page}{also}", markup=False, highlight=False, soft_wrap=True)
