"""`saywhy explain`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import saywhy
from saywhy.cli.options import as_said, check_folders, check_out, fitted_parts, read_phrases, takes_model
from saywhy.cli.output import notes, progress, tell_skipped
from saywhy.cli.writer import Query, Writer, queries
from saywhy.errors import InputError, SaywhyError, UsageError, unknown

if TYPE_CHECKING:
    from saywhy.classifier import Classifier
    from saywhy.collection import Item
    from saywhy.explanation import Explanation

WRITTEN = ("format", "out", "quiet", "skip_existing")  # options that say how an answer is written, and change none


@takes_model
def explain(
    ctx: typer.Context,
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos: files, globs, folders, or an images.jsonl.")],
    target: Annotated[
        list[str] | None,
        typer.Option(help="The class to explain: index or name; default: the predicted. May be given several times."),
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
    phrases: Annotated[
        str | None, typer.Option(help="What the explainer's branch looks for: phrases with commas, or a file of lines.")
    ] = None,
    relations: Annotated[
        bool, typer.Option("--relations", help="Move pieces of what counts: does how they lie to each other count?")
    ] = False,
    substitute: Annotated[
        bool, typer.Option("--substitute", help="Put a good piece of --versus where the worst one is: is it said then?")
    ] = False,
    writer: Annotated[
        str, typer.Option(help="Who puts it in words: template, own, or hf:ID-or-folder; each text is read back.")
    ] = "template",
    style: Annotated[str, typer.Option(help="How it is told: full, short, layman or report.")] = "full",
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
    from saywhy.collection import find_images
    from saywhy.explainer import check_classes
    from saywhy.saliency import METHODS
    from saywhy.writing import check_writer

    check_writer(writer, style)
    formats = _formats(format, out)
    if skip_existing and out is None:
        raise UsageError("--skip-existing looks for files: say where with -o DIR")
    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    said = read_phrases(phrases)
    items = find_images(images)
    check_folders(explainer=explainer, surroundings=surroundings)
    tell_skipped(images, quiet)
    alone = len(target or [None]) == 1 and [Path(name) for name in images] == [item.path for item in items[:1]]
    answers = Writer(out, formats, queries(items, target or [None], index=not alone), index=not alone)
    waiting = [q for q in answers.queries if not (skip_existing and answers.is_there(q))]
    if not quiet and len(waiting) < len(answers.queries):
        notes.print(f"skipped, as their files are there: {len(answers.queries) - len(waiting)}")
    missing = [q for q in waiting if not q.item.path.exists()]
    if len(missing) == len(waiting):  # then there is nothing to load a model for
        for q in missing:
            answers.failed(q, InputError(f"{q.item.path}: no such file"))
    else:
        clf = load()
        fitted = fitted_parts(explainer, clf)
        if surroundings is not None:
            fitted = fitted.given(seed, surroundings=surroundings)
        check_classes(clf, target or [], versus)
        how = {
            "method": method,
            "regions": regions,
            "unit": unit,
            "explainer": fitted,
            "fast": fast,
            "seed": seed,
            "phrases": said,
            "relations": relations,
            "substitute": substitute,
            "writer": writer,
            "style": style,
        }
        _answer_all(clf, waiting, answers, versus, how, as_said(ctx, WRITTEN), reproducible=reproducible, quiet=quiet)
    answers.close(quiet)
    if answers.failures:
        raise typer.Exit(1)


def _answer_all(
    clf: Classifier,
    waiting: list[Query],
    writer: Writer,
    versus: str | None,
    how: dict[str, Any],
    asked: dict[str, tuple[str, ...]],
    *,
    reproducible: bool,
    quiet: bool,
) -> None:
    """Explains one question after the other and writes each at once; those about one photo share what was asked."""
    from saywhy.intervene import remembering

    done = count()
    try:
        with progress(quiet, len(waiting)) as tell:
            for _, same in groupby(waiting, key=lambda q: q.item.path):
                with remembering():
                    for q in same:
                        step = partial(_told, tell, next(done), q)
                        try:
                            found = _answered(clf, q, versus, how | {"progress": step})
                            own = asked if q.target is None else {**asked, "--target": (q.target,)}
                            writer.write(q, (found.untimed() if reproducible else found).asked_by(own))
                        except UsageError:
                            raise
                        except SaywhyError as e:
                            writer.failed(q, e)
    except KeyboardInterrupt:
        notes.print("interrupted: what was done is kept", style="red")
        writer.close(quiet)
        raise typer.Exit(130) from None


def _told(tell: Callable[[int, str], None], done: int, q: Query, step: str) -> None:
    about = q.item.path.name if q.target is None else f"{q.item.path.name}, {q.target}"
    tell(done, f"{about}: {step}")


def _answered(clf: Classifier, q: Query, versus: str | None, how: dict[str, Any]) -> Explanation:
    with redirect_stdout(sys.stderr):  # a model's own code may print while it is asked
        other = versus if q.target or versus else _true_class(clf, q.item)
        return saywhy.explain(clf, q.item.path, q.target, other, **how)


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
