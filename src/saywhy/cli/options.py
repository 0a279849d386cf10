"""The options that say which model; every verb that takes a model gets them all."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywhy.errors import InputError, UsageError

if TYPE_CHECKING:
    from saywhy.classifier import Classifier
    from saywhy.explainer import Explainer

MODEL_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "model": (str, "efficientnet-lite0", "efficientnet-lite0, aviary:NAME, timm:NAME, torchvision:NAME, "
              "hf:ID-or-folder, onnx:FILE, torchscript:FILE, http(s)://..., python.module:factory, or a model.toml."),
    "weights": (Path | None, None, "A weights file: safetensors, or torch with weights_only; 'random' for none."),
    "classes": (Path | None, None, "Class names: .txt, .csv, .json in any common form, or a folder of class folders."),
    "size": (str | None, None, "The model's input in pixels: 224, or HEIGHTxWIDTH as 224x384."),
    "resize": (int | None, None, "Short side before the centre crop; 0 scales the whole photo."),
    "mean": (str | None, None, "Mean of the normalisation: one number or one a band, of values in [0, 1]."),
    "std": (str | None, None, "Standard deviation of the normalisation, likewise."),
    "layer": (str | None, None, "The layer to look into; found by a dry run if not given."),
    "device": (str | None, None, "Where to compute: cpu, cuda, cuda:1, mps."),
    "batch_size": (int | None, None, "Images at once; changes the speed and nothing else."),
    "activation": (str | None, None, "What makes probabilities of the scores: softmax, sigmoid or none."),
    "average": (int | None, None, "Take the mean of so many answers of a model that does not repeat itself."),
    "range": (tuple[float, float] | None, None, "LOW HIGH: values of the file that become black and white."),
    "bands": (str | None, None, "The bands of a file that the model takes, from 1; 4,3,2 are red, green and blue."),
    "shown": (str | None, None, "Of other bands, those that people see as red, green and blue, or one as grey: 4,3,2."),
    "exif": (str | None, None, "upright, or stored: pixels as they lie in the file."),
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
        verb(load=partial(_load, options), **given)  # other processes can be given it

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*kept, *extra]]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def as_said(ctx: typer.Context, but: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """The options that stand on the command line, each with its words, but those of these names.

    An option that somebody adds is among them by itself: a command that is told with one missing asks something else.
    """
    said = [
        p for p in ctx.command.params
        if p.param_type_name == "option" and p.name not in but and _is_said(ctx, str(p.name))
    ]  # fmt: skip
    return {p.opts[0]: _words(ctx.params[str(p.name)]) for p in said}


def _is_said(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _words(value: object) -> tuple[str, ...]:
    if value is True:
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


def _load(options: dict[str, Any]) -> Classifier:
    from saywhy.zoo import load_classifier

    given = {k: v for k, v in options.items() if v is not None}
    if "size" in given:
        given["size"] = _sides(given["size"])
    for key in ("mean", "std"):
        if key in given:
            given[key] = _numbers(key, given[key])
    for key in ("bands", "shown"):
        if key in given:
            given[key] = [int(v) if v.isdigit() else v for v in given[key].replace(",", " ").split()]
    # A model's own code may print while it is made; standard output is for the answer alone.
    with redirect_stdout(sys.stderr):
        return load_classifier(given.pop("model"), **given)


def _sides(text: str) -> int | tuple[int, int]:
    sides = [int(side) if side.isdigit() else 0 for side in text.lower().split("x")]
    if len(sides) > 2 or not all(sides):
        raise UsageError(f"--size takes one number or HEIGHTxWIDTH, such as 224 or 224x384; got {text!r}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _numbers(name: str, text: str) -> list[float]:
    try:
        values = [float(v) for v in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if not values:
        raise UsageError(f"--{name} takes one number or one for each band, such as 0.485,0.456,0.406; got {text!r}")
    return values


def fitted_parts(folder: Path | None, clf: Classifier) -> Explainer:
    """The explainer in a folder; an empty one where none is given."""
    from saywhy.explainer import Explainer

    return Explainer(clf) if folder is None else Explainer.load(folder, clf)


def read_phrases(given: str | None) -> tuple[str, ...]:
    """Phrases with commas between them, or those of a file, one a line; none where none are given."""
    if given is None:
        return ()
    file = Path(given)
    if "," not in given and file.is_file():
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"--phrases {file}: cannot be read as lines of text ({e})") from e
    else:
        lines = given.split(",")
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise UsageError(f"--phrases {given}: there is no phrase in it")
    return found


def check_out(out: Path) -> None:
    """Raises UsageError where a folder for files cannot be: told before a model is loaded, not after hours."""
    there = next(p for p in (out, *out.resolve().parents) if p.exists())
    if not there.is_dir():
        raise UsageError(f"-o {out}: {there} is a file, a folder was expected")
    if not os.access(there, os.W_OK):
        raise UsageError(f"-o {out}: {there} cannot be written into")


def check_folders(**folders: Path | None) -> None:
    """Raises InputError where what is given to an option of this name is no folder."""
    for option, folder in folders.items():
        if folder is not None and not folder.is_dir():
            what = "is one file, a folder was expected" if folder.exists() else "no such folder"
            raise InputError(f"--{option} {folder}: {what}")
