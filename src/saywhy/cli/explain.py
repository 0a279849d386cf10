"""`saywhy explain`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import saywhy
from saywhy import files
from saywhy.cli.options import as_said, check_folders, check_out, fitted_parts, takes_model
from saywhy.cli.output import notes, progress, tell_skipped
from saywhy.errors import InputError, SaywhyError, UsageError, unknown
from saywhy.render.index_page import Row, index_page

if TYPE_CHECKING:
    from saywhy.classifier import Classifier
    from saywhy.collection import Item
    from saywhy.explanation import Explanation, Unit


INDEX = "index"
WRITTEN = ("format", "out", "quiet", "skip_existing")  # options that say how an answer is written, and change none


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
    format: Annotated[
        str | None, typer.Option(help="One or several of text,json,png,html; or jsonl: a record a line, as they come.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the files.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="At most 60 passes for the regions; nothing of how they work together.")
    ] = False,
    surroundings: Annotated[
        Path | None, typer.Option(help="A folder of pictures before which the object is shown; default: plain ones.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out photos whose files are all in -o DIR already.")
    ] = False,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Leave out the seconds: equal runs write equal files, byte for byte.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Explain why the model gives a photo its class: regions, what each counted, and checked sentences."""
    from saywhy.collection import find_images, stems
    from saywhy.saliency import METHODS

    formats = _formats(format, out)
    if skip_existing and out is None:
        raise UsageError("--skip-existing looks for files: say where with -o DIR")
    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    items = find_images(images)
    check_folders(explainer=explainer, surroundings=surroundings)
    tell_skipped(images, quiet)
    # Of one photo alone there is no index, and its name is its own.
    names = stems([*([Path(INDEX)] if len(items) > 1 else []), *(item.path for item in items)])[-len(items) :]
    writer = _Writer(out, formats, names, [item.class_name for item in items])
    waiting = [n for n in range(len(items)) if not (skip_existing and writer.is_there(n))]
    if not quiet and len(waiting) < len(items):
        notes.print(f"skipped: {len(items) - len(waiting)} photos whose files are there")
    missing = [n for n in waiting if not items[n].path.exists()]
    if len(missing) == len(waiting):  # then there is nothing to load a model for
        for n in missing:
            writer.failed(n, items[n].path, InputError(f"{items[n].path}: no such file"))
        _end(writer, quiet)
        return
    clf = load()
    fitted = fitted_parts(explainer, clf)
    if surroundings is not None:
        fitted = fitted.given(seed, surroundings=surroundings)
    for name in (target, versus):
        if name not in (None, "predicted"):
            clf.class_index(name)
    asked = as_said(ctx, WRITTEN)
    try:
        with progress(quiet, len(items)) as tell:
            for n in waiting:
                item = items[n]
                try:
                    with redirect_stdout(sys.stderr):  # a model's own code may print while it is asked
                        other = versus if target or versus else _true_class(clf, item)
                        found = saywhy.explain(
                            clf, item.path, target, other, method=method, regions=regions, unit=cast("Unit", unit),
                            explainer=fitted, fast=fast, seed=seed,
                            progress=lambda step, n=n, item=item: tell(n, f"{item.path.name}: {step}"),  # type: ignore[misc]
                        )  # fmt: skip
                    writer.write(n, (found.untimed() if reproducible else found).asked_by(asked))
                except UsageError:
                    raise
                except SaywhyError as e:
                    writer.failed(n, item.path, e)
    except KeyboardInterrupt:
        notes.print("interrupted: what was done is kept", style="red")
        writer.close(quiet)
        raise typer.Exit(130) from None
    _end(writer, quiet)


def _end(writer: _Writer, quiet: bool) -> None:
    writer.close(quiet)
    if writer.failures:
        raise typer.Exit(1)


def _true_class(clf: Classifier, item: Item) -> int | None:
    """The label of a photo to which the classifier gives another class: then the question is why not this one."""
    if item.class_name is None or not clf.exclusive:
        return None
    try:
        label = clf.class_index(item.class_name)
    except UsageError:
        return None
    answer = int(clf.logits(clf.prepare([clf.read(item.path)])[0])[0].argmax())
    return None if answer == label else label


def _formats(given: str | None, out: Path | None) -> list[str]:
    from saywhy.render import RENDERERS

    formats = [f.strip() for f in (given or ("text" if out is None else "text,json,png,html")).split(",") if f.strip()]
    if formats == ["jsonl"]:
        if out is not None:
            raise UsageError("jsonl is printed as it comes; -o DIR writes a file for each photo (--format json)")
        return formats
    for name in formats:
        if name not in RENDERERS:
            raise unknown("format", name, [*RENDERERS, "jsonl"])
    if out is None and set(formats) - {"text", "json"}:
        raise UsageError("png and html are files: say where with -o DIR")
    if out is None and len(formats) != 1:
        raise UsageError("without -o DIR only one format can be printed: --format text or --format json")
    if out is not None:
        check_out(out)
    return formats


class _Writer:
    """Writes or prints explanations as they come; a file is there whole or not at all."""

    def __init__(self, out: Path | None, formats: list[str], names: list[str], labels: list[str | None]) -> None:
        self.out, self.formats, self.names, self.labels = out, formats, names, labels
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.files: list[Path] = []
        self.printed = 0

    def write(self, number: int, found: Explanation) -> None:
        from saywhy.render import RENDERERS

        self._listed(number, found)
        if self.out is None and self.formats != ["text"]:
            self._told(found.to_dict())
            return
        text = RENDERERS["text"].function(found).decode()
        if self.out is not None:
            for name in self.formats:
                row = RENDERERS[name]
                self.files.append(files.write(self.out / (self.names[number] + row.suffix), row.function(found)))
        print(("\n" if self.printed else "") + text.rstrip("\n"), flush=True)
        self.printed += 1

    def failed(self, number: int, path: Path, error: SaywhyError) -> None:
        message = str(error)
        self.failures.append(message if str(path) in message else f"{path}: {message}")
        self.rows.append(Row(str(path), label=self.labels[number], failed=message))
        self._told({"image": str(path), "error": message})

    def is_there(self, number: int) -> bool:
        """Whether all files of a photo are there; then it is listed as its record says, if that can be read."""
        assert self.out is not None
        files = [self.out / (self.names[number] + self._suffix(name)) for name in self.formats]
        if not all(file.is_file() for file in files):
            return False
        record = self.out / f"{self.names[number]}.json"
        if record in files:
            from saywhy.explanation import Explanation

            try:
                self._listed(number, Explanation.from_dict(json.loads(record.read_text(encoding="utf-8"))))
            except ValueError:  # half a record, or one of another version: it is made again
                return False
        return True

    def _suffix(self, name: str) -> str:
        from saywhy.render import RENDERERS

        return RENDERERS[name].suffix

    def _listed(self, number: int, found: Explanation) -> None:
        page = f"{self.names[number]}.html" if "html" in self.formats else ""
        path, answer = found.image.path or self.names[number], found.prediction
        self.rows.append(Row(path, page, self.labels[number], answer.class_name, answer.probability))

    def _told(self, record: dict[str, Any]) -> None:
        """One record, or one failure: a line at once, or kept for the list."""
        if self.formats == ["jsonl"]:
            print(json.dumps(record, ensure_ascii=False, allow_nan=False), flush=True)
        else:
            self.records.append(record)

    def close(self, quiet: bool) -> None:
        from saywhy.explanation import json_document

        if self.out is None and self.formats == ["json"]:
            sys.stdout.write(json_document(self.records))
        if self.out is not None and len(self.names) > 1 and "html" in self.formats:
            self.files.insert(0, files.write(self.out / f"{INDEX}.html", index_page(self.rows)))
        for message in self.failures:
            notes.print(f"failed: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        if self.files and not quiet:
            page = next((f for f in self.files if f.suffix == ".html"), self.files[0])
            also = f" and {len(self.files) - 1} more files" if len(self.files) > 1 else ""
            notes.print(f"look at {page}{also}", markup=False, highlight=False, soft_wrap=True)
