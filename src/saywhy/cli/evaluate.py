"""`saywhy eval`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from saywhy import files
from saywhy.cli.options import check_folders, check_out, fitted_parts, takes_model
from saywhy.cli.output import notes, progress, tell_skipped
from saywhy.errors import UsageError

if TYPE_CHECKING:
    from saywhy.evaluate import Evaluation


@takes_model
def evaluate(
    load: Callable[[], Any],
    images: Annotated[list[str] | None, typer.Argument(help="Photos, as for explain.")] = None,
    aviary: Annotated[bool, typer.Option(help="Rendered birds instead, for which the truth is known.")] = False,
    methods: Annotated[str | None, typer.Option(help="Saliency methods: a,b, or 'all', or 'cheap'.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics: x,y; see `saywhy methods`.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="quick (default), faithfulness, l-cam-table, localisation or sanity; with --aviary maps (default) or "
            "sentences."
        ),
    ] = None,
    explainer: Annotated[Path | None, typer.Option(help="A folder of fitted parts: adds its methods.")] = None,
    target: Annotated[str, typer.Option(help="'predicted', 'label' (the picture's own), or one class.")] = "predicted",
    truth: Annotated[
        str | None, typer.Option(help="Names of the masks, boxes or keypoint that are meant: a,b.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="A seeded subset of the pictures.")] = None,
    perturbation_limit: Annotated[
        int | None, typer.Option(min=1, help="The same, for methods that ask the model hundreds of times a picture.")
    ] = None,
    sanity_limit: Annotated[
        int | None, typer.Option(min=1, help="The same, for metrics such as weight-randomisation.")
    ] = None,
    fill: Annotated[str, typer.Option(help="What stands in for hidden pixels: a fill of `saywhy methods`.")] = "black",
    masking: Annotated[str, typer.Option(help="Pixels are hidden before or after normalisation.")] = "before",
    drop: Annotated[str, typer.Option(help="The average drop is relative or absolute.")] = "relative",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of insertion and deletion (32, in l-cam-table 8).")
    ] = None,
    fail_below: Annotated[
        list[str] | None, typer.Option(help="METRIC=VALUE: exit code 1 where a method is worse than that.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .md, .tex or .json file, or a folder for all three.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    reproducible: Annotated[
        bool,
        typer.Option("--reproducible", help="Leave out the milliseconds: equal runs write equal files, byte for byte."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Compare saliency methods by metrics, over photos or over birds whose right explanation is known; or judge the
    sentences on such birds."""
    from saywhy.cli import eval_request as request
    from saywhy.collection import find_images

    limits = request.limits_of(fail_below or [])
    asked = request.Asked.of(methods, metrics, preset, aviary=aviary)
    request.check_limits(limits, asked.metrics)
    how = request.conventions(fill, masking, drop, steps or asked.preset.steps)
    if aviary == bool(images):
        raise UsageError("give photos, or --aviary: one of the two")
    check_folders(explainer=explainer)
    _check_table(out)
    items = find_images(images or [])
    tell_skipped(images or [], quiet)
    few = request.Few(limit, perturbation_limit, sanity_limit)
    with progress(quiet, 1) as tell:
        fitted = fitted_parts(explainer, load())
        run = request.Measuring(fitted, few, seed, lambda done, total, text: tell(0, f"{text} ({done + 1} of {total})"))
        found = run.birds(asked) if aviary else run.photos(asked, items, target, request.names(truth), how, limits)
    found = found.untimed() if reproducible else found
    _show_table(found, as_json, out, quiet)
    _end(found, found.worse_than(limits))


def _check_table(out: Path | None) -> None:
    """Raises UsageError where the file or the folder of a table cannot be."""
    from saywhy.evaluate.result import SUFFIXES

    if out is None:
        return
    single = out.suffix in SUFFIXES.values()
    if single and out.is_dir():
        raise UsageError(f"-o {out}: is a folder, and its name is that of a file")
    check_out(out.parent if single else out)


def _end(found: Evaluation, worse: list[str]) -> None:
    """Says what could not be measured and what is worse than asked, and ends with 1 if anything is."""
    for text in [*(f"failed: {image}: {error}" for image, error in found.failures), *worse]:
        notes.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if found.failures or worse:
        raise typer.Exit(1)


def _show_table(found: Evaluation, as_json: bool, out: Path | None, quiet: bool) -> None:
    """Prints an evaluation (a table on a screen, Markdown into a pipe) and writes it where -o says."""
    from saywhy.evaluate.result import FORMS, SUFFIXES, grids, json_text, legend, report, shared

    if out is not None:
        texts = {form: report(found, form) for form in FORMS} | {"json": json_text(found.to_dict(values=True))}
        single = next((form for form, suffix in SUFFIXES.items() if suffix == out.suffix), None)
        chosen = {single: out} if single else {form: out / f"eval{suffix}" for form, suffix in SUFFIXES.items()}
        for form, path in chosen.items():
            files.write(path, texts[form])
        if not quiet:
            where = ", ".join(str(p) for p in chosen.values())
            notes.print(f"written: {where}", markup=False, highlight=False, soft_wrap=True)
    console = Console()
    if as_json:
        sys.stdout.write(found.table("json"))
    elif console.is_terminal:
        for part in filter(None, (found, shared(found))):
            for head, rows in grids(part):
                table = Table(*head, box=None, padding=(0, 2, 0, 0))
                for row in rows:
                    table.add_row(*row)
                console.print(table)
                console.print()
        console.print("\n".join(legend(found)), markup=False, highlight=False)
    else:
        sys.stdout.write(report(found, "markdown"))
