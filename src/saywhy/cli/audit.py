"""`saywhy audit`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from saywhy.cli.options import check_folders, check_out, fitted_parts, takes_model
from saywhy.cli.output import notes, progress, tell_failed, tell_skipped
from saywhy.cli.scanning import scan_set
from saywhy.errors import UsageError, unknown

if TYPE_CHECKING:
    from saywhy.audit.report import Report

DOUBTED = 5  # labels that are named


@takes_model
def audit(
    load: Callable[[], Any],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Labelled photos: a subfolder a class, or an images.jsonl; with --depth also .tar, .parquet, s3://..."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the audit; the same call goes on in it.")],
    depth: Annotated[
        str | None,
        typer.Option(help="Store every picture, so deep: prediction, saliency, attributes, concepts, text or trials."),
    ] = None,
    explainer: Annotated[Path | None, typer.Option(help="A folder of fitted parts, made by `saywhy fit`.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="The saliency method; default: l-cam with an explainer, else grad-cam or occlusion."),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option("--object", help="Names of the masks or boxes that are the object: a,b; else estimated."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="With --depth: what looks after the first may cost, in passes or time: 5000, 30m, 2h."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="With --depth: processes of this machine.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="With --depth: the address of a Ray cluster that does it, or auto.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Leave out the seconds: equal runs write equal files, byte for byte.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Study the errors on labelled photos: what they have in common, and which classes lean on their surroundings.

    With --depth, look at every photo of a set of any size, and store what is found.
    """
    from saywhy.saliency import METHODS

    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    check_out(out)
    check_folders(explainer=explainer)
    if depth is not None:
        if objects is not None:
            raise UsageError("--object is for the study of errors: leave it out, or leave out --depth")
        scan_set(
            load, images, out, depth=depth, budget=budget, method=method, explainer=explainer, seed=seed,
            workers=workers, ray=ray, reproducible=reproducible, quiet=quiet,
        )  # fmt: skip
        return
    if (budget, workers, ray) != (None, 1, None):
        raise UsageError("--budget, --workers and --ray need --depth: the study of errors is one process")
    _study(load, images, out, explainer, method, objects, seed, reproducible, quiet)


def _study(
    load: Callable[[], Any], images: list[str], out: Path, explainer: Path | None, method: str | None,
    objects: str | None, seed: int, reproducible: bool, quiet: bool,
) -> None:  # fmt: skip
    """The study of errors."""
    from saywhy.audit.folder import PAGE
    from saywhy.audit.folder import audit as study
    from saywhy.collection import find_images

    items = find_images(images)
    tell_skipped(images, quiet)
    clf = load()
    fitted = fitted_parts(explainer, clf)
    with progress(quiet, 1) as tell:
        report = study(
            clf, items, out, method=method or fitted.method, options=fitted.options, seed=seed,
            reproducible=reproducible, objects=[n.strip() for n in (objects or "").split(",") if n.strip()],
            progress=lambda done, total, what: tell(0, f"{what}: {done + 1} of {total}"),
        )  # fmt: skip
    _show(report)
    unused = [*report.unreadable, *report.skipped]
    tell_failed([(one.path, one.error) for one in unused], len(unused), "failures.json")
    if not quiet:
        notes.print(f"look at {out / PAGE}", markup=False, highlight=False, soft_wrap=True)
    if unused:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    """A short summary: errors by family, the pairs that are confused most, flagged classes."""
    from saywhy.render.wording import clean, percent

    console, wrong = Console(file=sys.stdout), len(report.failures)
    right = f"{report.correct} of {report.pictures} pictures right ({percent(report.accuracy)})"
    if not wrong:
        end = "no errors at all." if report.correct == report.pictures else "no error could be studied."
        console.print(f"{right}: {end}", markup=False, highlight=False)
    else:
        console.print(f"{right}; {wrong} errors:", markup=False, highlight=False)
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for family, count in report.families.items():
            pairs = [p for p in report.pairs if family in p.families]
            shown = "; ".join(f"{clean(p.predicted)} for {clean(p.truth)}" for p in pairs[:2])
            table.add_row(family, str(count), escape(shown))
        console.print(table)
    if wrong:
        first = "; ".join(f"{clean(Path(f.path).name)} ({percent(f.margin)})" for f in report.failures[:DOUBTED])
        told = f"labels to look at first (margin of the answer over the label): {first}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    for note in (*report.notes, *(f"read as: {note}" for note in report.model.notes)):
        console.print(f"- {clean(note)}", markup=False, highlight=False, soft_wrap=True)
    for c in report.flagged:
        console.print(f"- {clean(c.hypothesis or '')}", markup=False, highlight=False, soft_wrap=True)
