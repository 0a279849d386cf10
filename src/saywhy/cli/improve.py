"""`saywhy improve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from saywhy.cli.options import check_folders, check_out, takes_model
from saywhy.cli.output import notes, progress

HOWS = "augment, penalise, reweight or ablate"


@takes_model
def improve(
    load: Callable[[], Any],
    run: Annotated[Path, typer.Argument(help="Folder of a scan: saywhy audit IMAGES -o RUN --depth prediction.")],
    finding: Annotated[str, typer.Option(help="Id of a finding of the run, or a .json file with one of your own.")],
    how: Annotated[str, typer.Option(help=f"The remedy: {HOWS}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new weights, model.toml and the report.")],
    cue: Annotated[
        str | None,
        typer.Option(
            help="Which pictures have the culprit: a mask or box, an attribute, or KEY=VALUE of images.jsonl; with "
            "'surroundings:' before it, it is what is behind the object. Default: the finding's cause."
        ),
    ] = None,
    listing: Annotated[
        Path | None, typer.Option(help="An images.jsonl that says more of the pictures; default: the one beside them.")
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option("--object", help="Names of the masks or boxes that are the object: a,b; else estimated."),
    ] = None,
    loop: Annotated[
        str | None, typer.Option(help="python.module:function that trains, instead of saywhy's own loop.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs at most.")] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better one.")] = None,
    enough: Annotated[float | None, typer.Option(help="Stop once the held-out loss is below it.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    explained: Annotated[int, typer.Option(min=0, help="Pictures that are explained before and after.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """From a finding to a better model: mend a copy of it, and compare before and after.

    The model's own weights file is never touched; an interrupted run goes on.
    """
    from saywhy.improve import improved_page
    from saywhy.improve.blamed import blamed
    from saywhy.improve.mending import PAGE, improve
    from saywhy.improve.workshop import Stopping, fit_loop
    from saywhy.zoo.own import function_of

    check_folders(run=run)
    check_out(out)
    found = blamed(run, finding)
    trains = fit_loop if loop is None else function_of(loop)
    spec: dict[str, Any] = getattr(load, "args", ({},))[0]
    with progress(quiet, 1) as tell:
        made = improve(
            load(), run, found, how, out, cue=cue, listing=listing,
            objects=[n.strip() for n in (objects or "").split(",") if n.strip()], spec=spec,
            stopping=Stopping(epochs, patience, enough, lr), loop=trains, explained=explained, seed=seed,
            progress=lambda text: tell(0, text),
        )  # fmt: skip
    print(improved_page.text(made))
    if not quiet:
        told = f"look at {out / PAGE}; use it: saywhy explain IMAGE --model {out / 'model.toml'}"
        notes.print(told, markup=False, highlight=False, soft_wrap=True)
