"""Loads a classifier from a short text: the default network, model hubs, ONNX files, servers, the user's own code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saywhy.classifier import Activation, Classifier
from saywhy.errors import UsageError
from saywhy.image import SUFFIXES
from saywhy.wrappers import SINGLY, OneByOne, is_dynamic, original
from saywhy.zoo.bound import bind, check_one_input
from saywhy.zoo.class_names import Names, twice
from saywhy.zoo.config import CONFIG, Found, Options, imagenet_classes, make_options, read_toml, resized
from saywhy.zoo.hf import load_hf
from saywhy.zoo.hub import NO_CLASSIFIER, load_timm, load_torchvision
from saywhy.zoo.inputs import fitted
from saywhy.zoo.lite0 import load_lite0
from saywhy.zoo.meaning import asked, averaged, check_said, last_of_module, meaning_of
from saywhy.zoo.onnx_file import load_onnx
from saywhy.zoo.own import load_aviary, load_factory, load_script
from saywhy.zoo.remote import load_http

__all__ = ["DEFAULT", "LOADERS", "Loader", "Model", "bind", "classifier_of", "imagenet_classes", "load_classifier"]

# Whatever may be given in the place of a classifier.
Model = Classifier | nn.Module | Callable[[Tensor], Tensor] | str | Path

DEFAULT = "efficientnet-lite0"
IN_NOTES = ("size", "resize", "interpolation", "mean", "std", "bands", "activation", "classes")


@dataclass(frozen=True)
class Loader:
    """One kind of spec: `pattern` recognises it, `load` gets what the pattern's group caught."""

    form: str
    pattern: str
    load: Callable[[str, Options], Found | Classifier]
    what: str
    weights: bool = True


LOADERS: tuple[Loader, ...] = (
    Loader(DEFAULT, r"(efficientnet-lite0)", load_lite0, "EfficientNet-lite0, ImageNet-1k; weights come with saywhy"),
    Loader("aviary:NAME", r"aviary:(.*)", load_aviary, "a small network trained on the synthetic birds"),
    Loader("timm:NAME", r"timm:(.*)", load_timm, "a network of timm; pretrained, or with --weights"),
    Loader("torchvision:NAME", r"torchvision:(.*)", load_torchvision, "a network of torchvision, likewise"),
    Loader("hf:ID-or-folder", r"hf:(.*)", load_hf, "an image classifier of Hugging Face transformers", False),
    Loader("onnx:FILE", r"onnx:(.*)", load_onnx, "an ONNX file, as a black box", False),
    Loader(
        "torchscript:FILE", r"torchscript:(.*)", load_script, "a program of TorchScript, by its scores alone", False
    ),
    Loader("http(s)://...", r"(https?://.*)", load_http, "a model server, as a black box", False),
    Loader("python.module:factory", r"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)", load_factory, "a function of your own"),
)


def load_classifier(
    spec: str | Path | nn.Module | Callable[[Tensor], Tensor] | Classifier = DEFAULT,
    *,
    weights: str | Path | None = None,
    classes: str | Path | Sequence[str] | Mapping[Any, Any] | None = None,
    size: int | tuple[int, int] | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    layer: str | nn.Module | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    activation: Activation | None = None,
    grid: tuple[int, int] | None = None,
    prefix_tokens: int | None = None,
    suffix_tokens: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    name: str | None = None,
    average: int | None = None,
    range: tuple[float, float] | None = None,
    exif: Literal["upright", "stored"] | None = None,
    bands: int | Sequence[int] | None = None,
    shown: int | Sequence[int] | None = None,
    scores_from: str | int | None = None,
    config: str | Path | None = None,
) -> Classifier:
    """Loads the classifier that `spec` names: a row of LOADERS, a model.toml, an nn.Module or any callable.

    What is not given is taken from `config`, else from a model.toml beside the weights, the ONNX file or in the
    Hugging Face folder, else from what the loader knows. `size` is (H, W) in pixels, `mean` and `std` are of values
    in [0, 1], `resize` is the short side before the centre crop (0: the whole photo is scaled to `size`), `timeout`
    is in seconds, `weights="random"` builds the network with seeded random weights. `name` is the model's name in
    records; a plain callable needs one to be known again by another process (an audit that goes on).
    `average` takes the mean of so many answers of a model that does not repeat itself as the model; `range` are the
    values of a picture file that become black and white (`depth.window_of` finds them otherwise); `exif="stored"` takes
    pixels as they lie in the file; `bands` says which bands of a file are red, green and blue, counted from 1, or which
    ones a network of other bands takes, of which people see `shown` as red, green and blue. What is
    guessed about the model stands in the classifier's `notes`.

    Raises:
        UsageError: a spec, option or file that does not exist or does not fit; a hub that cannot be reached.
        ModelError: a model that fails on its first image, or a server that does not answer.
    """
    given = {k: v for k, v in locals().items() if k not in ("spec", "config") and v is not None}
    file = Path(config) if config is not None else None
    if isinstance(spec, (str, Path)) and str(spec).endswith(".toml"):
        file, spec = Path(spec), ""
    named, said = _with_file(spec, given, file)
    options = make_options(said)
    return _assemble(_found(named, options), options)


def classifier_of(model: object) -> Classifier:
    """What was given in the place of a classifier: one as it is, else what `load_classifier` makes of it.

    Raises:
        UsageError, ModelError: as `load_classifier`.
    """
    return model if isinstance(model, Classifier) else load_classifier(model)  # type: ignore[arg-type]


def _with_file(spec: object, given: dict[str, object], file: Path | None) -> tuple[object, dict[str, object]]:
    """The spec, and the given options on top of those of the model.toml that belongs to it."""
    file = file or _beside(spec, given.get("weights"))
    if file is None:
        return spec, given
    named, values = read_toml(file)
    from_file = make_options(values, file.parent)
    written = {k: v for k, v in vars(from_file).items() if k in {key.replace("-", "_") for key in values}}
    if not spec and not named:
        raise UsageError(f'{file}: needs a line such as model = "timm:resnet50"')
    if named and (not spec or spec == DEFAULT):  # the default is what is asked for where nobody names a model
        spec = named
    return spec, {**written, **given}


def _beside(spec: object, weights: object) -> Path | None:
    places = []
    if isinstance(weights, (str, Path)) and str(weights) != "random":
        places.append(Path(weights).parent)
    if isinstance(spec, str) and spec.startswith("onnx:"):
        places.append(Path(spec[5:]).parent)
    if isinstance(spec, str) and spec.startswith("hf:") and Path(spec[3:]).is_dir():
        places.append(Path(spec[3:]))
    return next((p / CONFIG for p in places if (p / CONFIG).is_file()), None)


def _found(spec: object, options: Options) -> Found | Classifier:
    if isinstance(spec, Classifier) or callable(spec):
        if options.weights is not None:
            raise UsageError("weights are for models named by a text; load them into your own network yourself")
        if getattr(spec, "num_classes", None) == 0:  # timm's way to say so
            raise UsageError(f"{_name_of(spec)} has no classifier: it ends in features. {NO_CLASSIFIER}")
        check_one_input(spec)
        return spec if isinstance(spec, Classifier) else Found(spec, _name_of(spec), fingerprint=options.name)
    if not isinstance(spec, (str, Path)):
        raise UsageError(f"a model is named by a text, or is an nn.Module or a callable; got {type(spec).__name__}")
    for loader in LOADERS:
        match = re.fullmatch(loader.pattern, str(spec))
        if match and not match[1]:
            raise UsageError(f"{str(spec)!r} names no model; the form is {loader.form}")
        if match and options.weights is not None and not loader.weights:
            raise UsageError(f"{loader.form} takes no separate weights; leave `weights` out")
        if match:
            return loader.load(match[1], options)
    hint = _meant(str(spec))
    forms = ", ".join(row.form for row in LOADERS)
    raise UsageError(f"unknown model {str(spec)!r}; {hint}Known forms: {forms}, FILE.toml")


def _meant(spec: str) -> str:
    """What somebody may have meant by a text that names no model: a file or folder that is there, or a hub's name."""
    path = Path(spec)
    if (path / "config.json").is_file():
        return f"the folder is there: did you mean hf:{spec}? "
    if path.is_dir():
        return f"the folder holds no config.json, which a model of Hugging Face has (hf:{spec}). "
    if path.suffix.lower() == ".onnx":
        return f"did you mean onnx:{spec}? "
    if path.suffix.lower() in SUFFIXES:
        return "it is named like a picture: the classifier comes first, then the picture. "
    if path.is_file():
        way = f"--weights {spec} with --model timm:NAME or module:factory"
        return f"the file is there: weights go into a network that you name ({way}). "
    return f"did you mean timm:{spec} or torchvision:{spec}? " if re.fullmatch(r"[\w.-]+", spec) else ""


def _name_of(net: object) -> str:
    return type(net).__name__ if isinstance(net, nn.Module) else getattr(net, "__name__", type(net).__name__)


def _assemble(found: Found | Classifier, options: Options) -> Classifier:
    """The Classifier of what was found and what the user said; the user wins."""
    if isinstance(found, Classifier):
        return _adjusted(found, options)
    net, device = original(found.net), options.device or "cpu"
    if is_dynamic(net):
        net, found = OneByOne(net), replace(found, notes=(*found.notes, SINGLY))
    if isinstance(net, nn.Module):
        tensors = [*net.parameters(), *net.buffers()]
        device = options.device or (str(tensors[0].device) if tensors else "cpu")
        net = net.to(device)
        if found.channels_last:
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classes = options.classes if options.classes is not None else found.classes
    clf = Classifier(
        net,
        layer=options.layer if options.layer is not None else found.layer,
        classes=classes,
        preprocess=resized(found.preprocess, options),
        activation=options.activation or found.activation or "softmax",
        name=options.name or found.name,
        device=device,
        batch_size=options.batch_size or found.batch_size,
        grid=options.grid,
        prefix_tokens=options.prefix_tokens,
        suffix_tokens=options.suffix_tokens,
        channels_last=found.channels_last,
        black_box_fingerprint=found.fingerprint,
        notes=(*found.notes, *_named(classes)),
        scores_from=options.scores_from,
    )
    clf = _understood(clf, found, options)
    if clf.classes is not None:
        names = clf.class_names  # a wrong number of names is told now, not at the first sentence
        clf = replace(clf, notes=(*clf.notes, shared), _points={}) if (shared := twice(names)) else clf
    return averaged(clf, options.average) if options.average else clf


def _named(classes: Sequence[str] | None) -> tuple[str, ...]:
    """Where class names come from, unless the user listed them."""
    return (classes.how,) if isinstance(classes, Names) and classes.how else ()


def _adjusted(clf: Classifier, options: Options) -> Classifier:
    """A ready Classifier with what the user said instead."""
    names = (
        "layer",
        "classes",
        "device",
        "batch_size",
        "activation",
        "name",
        *("grid", "prefix_tokens", "suffix_tokens", "scores_from"),
    )
    said = {name: value for name in names if (value := getattr(options, name)) is not None}
    if isinstance(clf.net, nn.Module) and options.device is not None:
        clf.net.to(options.device)
    later = [key for key in IN_NOTES if getattr(options, key) is not None]
    told = [f"{', '.join(later)}: as said later, whatever is told of it above"] if later and clf.notes else []
    notes = (*clf.notes, *told, *_named(options.classes))
    clf = replace(clf, **said, preprocess=resized(clf.preprocess, options), notes=notes, _points={})
    return averaged(clf, options.average) if options.average else clf


def _understood(clf: Classifier, found: Found, options: Options) -> Classifier:
    """The same with what makes probabilities of its scores: as a hub or the user says, or as a few images show."""
    if found.vouched:
        return (
            clf
            if options.activation is None
            else replace(clf, notes=(*clf.notes, f"activation {clf.activation}, as said"))
        )
    clf = clf if found.framed else fitted(clf, options)
    names = None if clf.classes is not None and len(clf.classes) == 2 else clf.classes  # one logit stays one
    plain = replace(clf, activation="softmax", classes=names, _points={})
    scores = asked(plain, clf.name or "the model", once=bool(options.average))
    scores = scores.movedim(1, -1).flatten(0, -2)
    last = last_of_module(plain) if clf.white_box else found.last
    if said := options.activation or found.activation:
        return replace(clf, activation=said, notes=(*clf.notes, check_said(said, scores, last)))
    meaning = meaning_of(scores, last)
    return replace(clf, activation=meaning.activation, notes=(*clf.notes, meaning.note), _points={})
