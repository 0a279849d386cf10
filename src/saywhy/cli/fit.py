"""`saywhy fit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywhy.cli.options import fitted_parts, takes_model
from saywhy.cli.output import notes, progress
from saywhy.errors import UsageError, unknown

if TYPE_CHECKING:
    from saywhy.collection import Item
    from saywhy.train.lcam import Outcome

PARTS = ("lcam",)
UNFINISHED = "lcam.checkpoint.safetensors"


@takes_model
def fit(
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos, as for explain; labels are not needed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the explainer.")],
    parts: Annotated[str, typer.Option(help="What to fit: lcam (a saliency head).")] = "lcam",
    preset: Annotated[str, typer.Option(help="The recipe: refined, fast (low rank) or paper.")] = "refined",
    init: Annotated[Path | None, typer.Option(help="An explainer to start from.")] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="bfloat16; by default on CUDA, where a preset asks the model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Fit parts of an explainer to a model with a few hundred photos; an interrupted run goes on.

    Several processes: torchrun --nproc-per-node 2 -m saywhy fit ...
    """
    from saywhy.collection import find_images
    from saywhy.train.lcam import RECIPES
    from saywhy.train.together import launched, rank

    for name in [p.strip() for p in parts.split(",")]:
        if name not in PARTS:
            raise unknown("part", name, PARTS)
    if preset not in RECIPES:
        raise unknown("preset", preset, RECIPES)
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file, a folder was expected")
    items = find_images(images)
    with launched():
        first = rank() == 0
        made = _fitted(load, items, out, preset, init, amp, seed, quiet or not first)
        if first:
            _save(made, out, quiet)
    if made.failures or made.broke_off:
        raise typer.Exit(1)


def _fitted(
    load: Callable[[], Any],
    items: list[Item],
    out: Path,
    preset: str,
    init: Path | None,
    amp: bool | None,
    seed: int,
    quiet: bool,
) -> Outcome:
    from saywhy.train.lcam import RECIPES, fit_lcam

    clf = load()
    recipe = RECIPES[preset]
    # Small networks whose losses are differences of small numbers: halves are used where they are asked for.
    half = clf.device.startswith("cuda") and recipe.kind != "answers" if amp is None else amp
    then = None if recipe.then is None else replace(recipe.then, amp=half)
    recipe = replace(recipe, config=replace(recipe.config, amp=half), then=then)
    with progress(quiet, 1) as tell:
        tell(0, f"reading {len(items)} pictures")
        return fit_lcam(
            clf, items, recipe, init=fitted_parts(init, clf).lcam, checkpoint=out / UNFINISHED, seed=seed,
            asked=lambda n, total: tell(0, f"asking the classifier about hidden parts: photo {n} of {total}"),
            told=lambda n, row: tell(0, f"epoch {n + 1}: " + " ".join(f"{k} {v:.3f}" for k, v in row.items())),
        )  # fmt: skip


def _save(made: Outcome, out: Path, quiet: bool) -> None:
    """Writes the explainer, and says what came of it."""
    from saywhy import bundle
    from saywhy.train.lcam import unfinished

    bundle.Bundle(made.lcam).save(out)
    for file in unfinished(out / UNFINISHED):
        file.unlink()
    for path, error in made.failures:
        text = error if path in error else f"{path}: {error}"
        notes.print(f"failed: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    if made.broke_off:
        notes.print(f"training broke off at {made.fitted.stopped}", style="red", markup=False, soft_wrap=True)
    if not quiet:
        notes.print(_told(made, out), markup=False, highlight=False, soft_wrap=True)


def _told(made: Outcome, out: Path) -> str:
    card = made.lcam.card
    few = card["classes_with_few_pictures"]
    return (
        f"{out}: {made.lcam.card['kind']} head from {card['pictures']} pictures of {card['classes_seen']} classes "
        f"({few['count']} classes with fewer than {few['fewer_than']}: see explainer.json), {made.fitted.steps} steps, "
        f"ended by {made.fitted.stopped}. Use it: saywhy explain IMAGE --explainer {out}"
    )
