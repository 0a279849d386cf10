"""The command line: thin verbs over the library.

Exit codes: 0 all went well, 1 some inputs failed (named; the rest is done), 2 wrong usage. What a program reads goes
to standard output, everything else to standard error.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import saywhy
from saywhy.errors import InputError, SaywhyError, UsageError, unknown

if TYPE_CHECKING:
    from saywhy.bundle import Bundle
    from saywhy.classifier import Classifier
    from saywhy.evaluate import Evaluation
    from saywhy.explanation import Explanation
    from saywhy.train.lcam import Outcome

app = typer.Typer(
    name="saywhy",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Explains the decisions of image classifiers, and checks every sentence before it says it.",
)
notes = Console(stderr=True)


# --------------------------------------------------------------------------------------------------
# The options that say which model; every verb that takes a model gets them all.

MODEL_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "model": (str, "efficientnet-lite0", "efficientnet-lite0, aviary:NAME, timm:NAME, torchvision:NAME, "
              "hf:ID-or-folder, onnx:FILE, http(s)://..., python.module:factory, or a model.toml."),
    "weights": (Path | None, None, "A weights file: safetensors, or torch with weights_only; 'random' for none."),
    "classes": (Path | None, None, "Class names, one a line, or a JSON list."),
    "size": (int | None, None, "Side of the model's input in pixels."),
    "resize": (int | None, None, "Short side before the centre crop; 0 scales the whole photo."),
    "mean": (str | None, None, "Mean of the normalisation: one number or three, of values in [0, 1]."),
    "std": (str | None, None, "Standard deviation of the normalisation, likewise."),
    "layer": (str | None, None, "The layer to look into; found by a dry run if not given."),
    "device": (str | None, None, "Where to compute: cpu, cuda, cuda:1, mps."),
    "batch_size": (int | None, None, "Images at once; changes the speed and nothing else."),
    "activation": (str | None, None, "What makes probabilities of the scores: softmax, sigmoid or none."),
}  # fmt: skip


def takes_model(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb the model options; it receives `load`, which loads the classifier that they name."""
    own = inspect.signature(verb, eval_str=True)
    extra = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typer.Option(help=help)]
        )
        for name, (kind, default, help) in MODEL_OPTIONS.items()
    ]
    kept = [p for name, p in own.parameters.items() if name != "load"]

    @wraps(verb)
    def wrapper(**given: Any) -> None:
        options = {name: given.pop(name) for name in MODEL_OPTIONS}
        verb(load=lambda: _load(options), **given)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*kept, *extra]]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _load(options: dict[str, Any]) -> Classifier:
    from saywhy.zoo import load_classifier

    given = {k: v for k, v in options.items() if v is not None}
    for key in ("mean", "std"):
        if key in given:
            given[key] = _numbers(key, given[key])
    return load_classifier(given.pop("model"), **given)


def _numbers(name: str, text: str) -> list[float]:
    try:
        values = [float(v) for v in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise UsageError(f"--{name} takes one number or three, such as 0.485,0.456,0.406; got {text!r}")
    return values * 3 if len(values) == 1 else values


# --------------------------------------------------------------------------------------------------
# explain


@app.command()
@takes_model
def explain(
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos: files, globs, folders, or an images.jsonl.")],
    target: Annotated[
        str | None, typer.Option(help="The class to explain: index or name; default: the predicted.")
    ] = None,
    versus: Annotated[str | None, typer.Option(help="The class to compare it with; default: the runner-up.")] = None,
    method: Annotated[str | None, typer.Option(help="The saliency method that leads attention.")] = None,
    explainer: Annotated[Path | None, typer.Option(help="A folder of fitted parts, made by `saywhy fit`.")] = None,
    regions: Annotated[
        int | None, typer.Option(help="Number of regions, 1 to 6; default: 3 to 5, by coherence.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Unit of contributions: probability or log-odds.")] = "probability",
    format: Annotated[str | None, typer.Option(help="One or several of text,json,png,html.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Explain why the model gives a photo its class: regions, what each counted, and checked sentences."""
    from saywhy.collection import find_images
    from saywhy.saliency import METHODS

    formats = _formats(format, out)
    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    items = find_images(images)
    clf = load()
    fitted = _fitted(explainer, clf)
    for name in (target, versus):
        if name not in (None, "predicted"):
            clf.class_index(name)
    writer = _Writer(out, formats)
    with _progress(quiet, len(items)) as tell:
        for n, item in enumerate(items):
            try:
                found = saywhy.explain(
                    clf, item.path, target, versus, method=method, regions=regions, unit=unit,
                    explainer=fitted, seed=seed,
                    progress=lambda step, n=n, item=item: tell(n, f"{item.path.name}: {step}"),  # type: ignore[misc]
                )  # fmt: skip
                writer.write(item.path, found)
            except UsageError:
                raise
            except SaywhyError as e:
                writer.failed(item.path, e)
    writer.close(quiet)
    if writer.failures:
        raise typer.Exit(1)


def _fitted(folder: Path | None, clf: Classifier) -> Bundle:
    """The explainer in a folder; an empty one where none is given."""
    from saywhy import bundle

    return bundle.Bundle() if folder is None else bundle.load(folder, clf)


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

    def __init__(self, out: Path | None, formats: list[str]) -> None:
        self.out, self.formats = out, formats
        self.failures: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.files: list[Path] = []
        self.stems: dict[str, int] = {}
        self.printed = 0

    def write(self, path: Path, found: Explanation) -> None:
        from saywhy.render import RENDERERS

        if self.out is None and self.formats == ["json"]:
            self.records.append(found.to_dict())
            return
        text = RENDERERS["text"].function(found).decode()
        if self.out is not None:
            stem = self._stem(path)
            for name in self.formats:
                row = RENDERERS[name]
                self.files.append(write_whole(self.out / (stem + row.suffix), row.function(found)))
        print(("\n" if self.printed else "") + text.rstrip("\n"), flush=True)
        self.printed += 1

    def _stem(self, path: Path) -> str:
        n = self.stems[path.stem] = self.stems.get(path.stem, 0) + 1
        return path.stem if n == 1 else f"{path.stem}-{n}"

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


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file under a temporary name and renames it, so that it is there whole or not at all.

    Raises:
        InputError: the folder cannot be made or written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from e
    return path


@contextmanager
def _progress(quiet: bool, total: int) -> Iterator[Callable[[int, str], None]]:
    """Tells the current step on standard error, when somebody watches and --quiet is not given."""
    if quiet or not notes.is_terminal:
        yield lambda done, text: None
        return
    with notes.status("loading") as status:
        yield lambda done, text: status.update(f"[{done + 1}/{total}] {text}" if total > 1 else text)


# --------------------------------------------------------------------------------------------------
# eval


@app.command("eval")
@takes_model
def evaluate(
    load: Callable[[], Any],
    images: Annotated[list[str] | None, typer.Argument(help="Photos, as for explain.")] = None,
    aviary: Annotated[bool, typer.Option(help="Rendered birds instead, for which the truth is known.")] = False,
    methods: Annotated[str | None, typer.Option(help="Saliency methods: a,b, or 'all', or 'cheap'.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics: x,y; see `saywhy methods`.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="quick (default), faithfulness, l-cam-table, localisation or sanity.")
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
    fill: Annotated[
        str, typer.Option(help="What stands in for hidden pixels: black, mean, blur or inpaint.")
    ] = "black",
    masking: Annotated[str, typer.Option(help="Pixels are hidden before or after normalisation.")] = "before",
    drop: Annotated[str, typer.Option(help="The average drop is relative or absolute.")] = "relative",
    steps: Annotated[int, typer.Option(min=1, help="Steps of insertion and deletion.")] = 32,
    fail_below: Annotated[
        list[str] | None, typer.Option(help="METRIC=VALUE: exit code 1 where a method is worse than that.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .md, .tex or .json file, or a folder for all three.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Compare saliency methods by metrics, over photos or over birds whose right explanation is known."""
    from saywhy import evaluate as table

    limits = table.limits_of(fail_below or [])
    asked = table.Asked.of(methods, metrics, preset, aviary=aviary)
    table.check_limits(limits, asked.metrics)
    how = table.conventions(fill, masking, drop, steps)
    if aviary == bool(images):
        raise UsageError("give photos, or --aviary: one of the two")
    with _progress(quiet, 1) as tell:

        def told(done: int, total: int, text: str) -> None:
            tell(0, f"{text} ({done + 1} of {total})")

        clf = load()
        fitted = _fitted(explainer, clf)
        names = tuple(dict.fromkeys([*asked.methods, *fitted.options]))
        if aviary:
            found = table.evaluate_aviary(
                clf, names, asked.metrics, options=fitted.options, limit=limit or table.PICTURES,
                perturbation_limit=perturbation_limit, seed=seed, progress=told,
            )  # fmt: skip
        else:
            from saywhy.collection import find_images

            found = table.evaluate(
                clf, find_images(images or []), names, asked.metrics, options=fitted.options, target=target,
                truth=[n.strip() for n in (truth or "").split(",") if n.strip()], limit=limit,
                perturbation_limit=perturbation_limit, conventions=how, seed=seed, progress=told,
            )  # fmt: skip
    _show_table(found, as_json, out, quiet)
    worse = found.worse_than(limits)
    for text in [*(f"failed: {image}: {error}" for image, error in found.failures), *worse]:
        notes.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if found.failures or worse:
        raise typer.Exit(1)


def _show_table(found: Evaluation, as_json: bool, out: Path | None, quiet: bool) -> None:
    """Prints an evaluation (a table on a screen, Markdown into a pipe) and writes it where -o says."""
    from saywhy.evaluate.result import json_text
    from saywhy.evaluate.tables import FORMS, SUFFIXES, grid, legend

    if out is not None:
        texts = {form: make(found) for form, make in FORMS.items()} | {"json": json_text(found.to_dict(values=True))}
        single = next((form for form, suffix in SUFFIXES.items() if suffix == out.suffix), None)
        chosen = {single: out} if single else {form: out / f"eval{suffix}" for form, suffix in SUFFIXES.items()}
        for form, path in chosen.items():
            write_whole(path, texts[form].encode())
        if not quiet:
            where = ", ".join(str(p) for p in chosen.values())
            notes.print(f"written: {where}", markup=False, highlight=False, soft_wrap=True)
    console = Console()
    if as_json:
        sys.stdout.write(found.table("json"))
    elif console.is_terminal:
        head, rows = grid(found)
        table = Table(*head, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print("\n".join(legend(found)), markup=False, highlight=False)
    else:
        sys.stdout.write(found.table("markdown"))


# --------------------------------------------------------------------------------------------------
# fit

PARTS = ("lcam",)


@app.command()
@takes_model
def fit(
    load: Callable[[], Any],
    images: Annotated[list[str], typer.Argument(help="Photos, as for explain; labels are not needed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the explainer.")],
    parts: Annotated[str, typer.Option(help="What to fit: lcam (a saliency head).")] = "lcam",
    preset: Annotated[str, typer.Option(help="The recipe: fast, or paper (as published).")] = "fast",
    init: Annotated[Path | None, typer.Option(help="An explainer to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Fit parts of an explainer to a model with a few hundred photos; an interrupted run goes on."""
    from saywhy import bundle
    from saywhy.collection import find_images
    from saywhy.train.lcam import RECIPES, fit_lcam

    for name in [p.strip() for p in parts.split(",")]:
        if name not in PARTS:
            raise unknown("part", name, PARTS)
    if preset not in RECIPES:
        raise unknown("preset", preset, RECIPES)
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out}: is a file, a folder was expected")
    items = find_images(images)
    clf = load()
    unfinished = out / "lcam.checkpoint.safetensors"
    with _progress(quiet, 1) as tell:
        tell(0, f"reading {len(items)} pictures")
        made = fit_lcam(
            clf, items, preset, init=_fitted(init, clf).lcam, checkpoint=unfinished, seed=seed,
            told=lambda n, row: tell(0, f"epoch {n + 1}: " + " ".join(f"{k} {v:.3f}" for k, v in row.items())),
        )  # fmt: skip
    bundle.Bundle(made.lcam).save(out)
    unfinished.unlink(missing_ok=True)
    for path, error in made.failures:
        text = error if path in error else f"{path}: {error}"
        notes.print(f"failed: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    if made.broke_off:
        notes.print(f"training broke off at {made.fitted.stopped}", style="red", markup=False, soft_wrap=True)
    if not quiet:
        notes.print(_told(made, out), markup=False, highlight=False, soft_wrap=True)
    if made.failures or made.broke_off:
        raise typer.Exit(1)


def _told(made: Outcome, out: Path) -> str:
    card = made.lcam.card
    few = card["classes_with_few_pictures"]
    return (
        f"{out}: {made.lcam.card['kind']} head from {card['pictures']} pictures of {card['classes_seen']} classes "
        f"({few['count']} classes with fewer than {few['fewer_than']}: see explainer.json), {made.fitted.steps} steps, "
        f"ended by {made.fitted.stopped}. Use it: saywhy explain IMAGE --explainer {out}"
    )


# --------------------------------------------------------------------------------------------------
# methods


@app.command()
def methods(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List every table: models, saliency methods, metrics, fills, renderers."""
    tables = _tables()
    if as_json:
        print(json.dumps(tables, ensure_ascii=False, indent=1))
        return
    console = Console()
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(row["name"], row["summary"])
        console.print(table)
        console.print()


def _tables() -> dict[str, list[dict[str, Any]]]:
    from saywhy.intervene import FILLS
    from saywhy.metrics import METRICS
    from saywhy.render import RENDERERS
    from saywhy.saliency import METHODS
    from saywhy.zoo import LOADERS

    saliency = [
        {"name": n, "summary": m.summary, "source": m.source, "needs": m.needs, "passes": m.passes,
         "approximate": m.approximate, "options": {k: repr(v) for k, v in m.options.items()}}
        for n, m in METHODS.items()
    ]  # fmt: skip
    metrics = [
        {"name": n, "summary": m.summary, "source": m.source, "kind": m.kind, "higher_is_better": m.higher_is_better,
         "conventions": dict(m.conventions)}
        for n, m in METRICS.items()
    ]  # fmt: skip
    return {
        "models": [{"name": row.form, "summary": row.what, "extra": getattr(row, "extra", "")} for row in LOADERS],
        "saliency": saliency,
        "metrics": metrics,
        "fills": [{"name": n, "summary": f.summary} for n, f in FILLS.items()],
        "renderers": [{"name": n, "summary": r.summary, "suffix": r.suffix} for n, r in RENDERERS.items()],
    }


# --------------------------------------------------------------------------------------------------
# aviary


@app.command()
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


# --------------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False) -> None:
    if version:
        print(saywhy.__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; errors raised on purpose become one line and an exit code."""
    try:
        app()
    except SaywhyError as e:
        stop_with(e)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing to report, and nothing more to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def stop_with(error: SaywhyError) -> None:
    """Says the error in one line and ends: 2 for wrong usage, 1 for inputs and models that fail."""
    notes.print(f"saywhy: {error}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2 if isinstance(error, UsageError) else 1)
