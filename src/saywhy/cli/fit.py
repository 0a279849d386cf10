"""`saywhy fit`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywhy.cli.options import check_folders, check_out, fitted_parts, read_phrases, takes_model
from saywhy.cli.output import notes, progress, tell_skipped
from saywhy.errors import unknown
from saywhy.parts import PARTS

if TYPE_CHECKING:
    from saywhy.explainer import Explainer

LEARN = {name: row for name, row in PARTS.items() if row.presets}
PARTS_HELP = "What to fit: " + "; ".join(
    f"{name} ({row.summary}{'; needs ' + row.needs if row.needs else ''})" for name, row in LEARN.items()
) + "."  # fmt: skip
PRESET_HELP = "The recipe, for all parts that know it or as PART=RECIPE,...; the first by default. " + "; ".join(
    f"{name}: {', '.join(row.presets)}" for name, row in LEARN.items()
)


@takes_model
def fit(
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos, as for explain; labels are not needed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the explainer.")],
    parts: Annotated[str, typer.Option(help=PARTS_HELP)] = ",".join(
        name for name, row in LEARN.items() if not row.needs
    ),
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    init: Annotated[Path | None, typer.Option(help="An explainer to start from.")] = None,
    space: Annotated[str, typer.Option(help="The text space that a branch imitates: see saywhy methods.")] = "own",
    phrases: Annotated[
        str | None,
        typer.Option(help="What is said in it: phrases with commas, or a file with one a line; default: its own."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(help="What people say of the photos: JSON lines, CSV or COCO, beside what images.jsonl has."),
    ] = None,
    tagger: Annotated[str, typer.Option(help="What tells adjectives and nouns: lexicon, textblob, spacy.")] = "lexicon",
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="bfloat16; by default on CUDA, where a preset asks the model.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Fit parts of an explainer to a model with a few hundred photos; an interrupted run goes on.

    Several processes: torchrun --nproc-per-node 2 -m saywhy fit ...
    """
    from saywhy.collection import find_images
    from saywhy.explainer import Explainer, fittable
    from saywhy.train.distributed import launched, rank

    names = fittable([p.strip() for p in parts.split(",")])
    presets = _presets(preset, names)
    check_out(out)
    check_folders(init=init)
    said = read_phrases(phrases)
    items = find_images(images)
    tell_skipped(images, quiet)
    with launched():
        first = rank() == 0
        clf = load()
        with progress(quiet or not first, 1) as tell:
            made = Explainer.fit(
                clf, items, names, presets=presets, init=fitted_parts(init, clf), amp=amp, folder=out, seed=seed,
                progress=lambda step: tell(0, step), space=space, phrases=said, captions=captions, tagger=tagger,
            )  # fmt: skip
        if first:
            _save(made, out, quiet)
    if any(m.failures or m.broke_off for m in made.made.values()):
        raise typer.Exit(1)


def _presets(text: str | None, parts: list[str]) -> dict[str, str]:
    """The preset of each part that one was given for; one name alone is for those of them that know it."""
    given: dict[str, str] = {}
    for item in text.split(",") if text else ():
        name, _, one = item.strip().rpartition("=")
        knowing = [part for part in parts if one in PARTS[part].presets]
        if name and name not in parts:
            raise unknown("part to fit", name, parts)
        if not knowing or (name and name not in knowing):
            of = [name] if name else parts
            raise unknown(f"preset of {', '.join(of)}", one, [p for part in of for p in PARTS[part].presets])
        given |= {name: one} if name else dict.fromkeys(knowing, one)
    return given


def _save(made: Explainer, out: Path, quiet: bool) -> None:
    """Writes the explainer, and says what came of it."""
    made.save(out)
    for path, error in dict.fromkeys(f for m in made.made.values() for f in m.failures):
        text = error if path in error else f"{path}: {error}"
        notes.print(f"failed: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    for part in made.made.values():
        if part.broke_off:
            notes.print(f"training broke off at {part.broke_off}", style="red", markup=False, soft_wrap=True)
    if not quiet:
        told = "; ".join(part.summary for part in made.made.values())
        text = f"{out}: {told}. Use it: saywhy explain IMAGE --explainer {out}"
        notes.print(text, markup=False, highlight=False, soft_wrap=True)
