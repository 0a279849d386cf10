"""What a user says about a model: the same keys as options, in a `model.toml`, and for every loader."""

from __future__ import annotations

import pickle
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from saywhy.classifier import Activation
from saywhy.errors import UsageError, unknown
from saywhy.framing import COLOURS, RESAMPLE
from saywhy.image import Preprocess
from saywhy.zoo.class_names import Names, names_of, read_classes

CONFIG = "model.toml"
INTERPOLATIONS = tuple(RESAMPLE)
STATE_KEYS = ("state_dict", "model_state_dict", "model", "state_dict_ema")


@dataclass(frozen=True)
class Options:
    """What the user said; None means: as the loader knows it."""

    weights: str | None = None
    classes: Sequence[str] | None = None
    size: tuple[int, int] | None = None
    resize: int | None = None
    interpolation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layer: str | nn.Module | None = None
    device: str | None = None
    batch_size: int | None = None
    activation: Activation | None = None
    grid: tuple[int, int] | None = None
    prefix_tokens: int | None = None
    suffix_tokens: int | None = None
    timeout: float = 30.0
    retries: int = 2
    name: str | None = None
    average: int | None = None
    range: tuple[float, float] | None = None
    exif: Literal["upright", "stored"] | None = None
    bands: tuple[int, ...] | None = None
    shown: tuple[int, ...] | None = None
    scores_from: str | int | None = None


@dataclass(frozen=True)
class Found:
    """What a loader found: the network or callable, and what it knows about it (None: it does not know).

    `last` is what its last operator makes of scores (`meaning.LAST`), `notes` what had to be guessed;
    `vouched` where the loader knows what scores mean and that the model repeats itself, so that it need not be asked;
    `framed` where it knows what input the network takes.
    """

    net: nn.Module | Callable[[Tensor], Tensor]
    name: str = ""
    classes: Sequence[str] | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    activation: Activation | None = None
    layer: str | None = None
    batch_size: int | None = None
    channels_last: bool = False
    fingerprint: str | None = ""
    last: str | None = None
    notes: tuple[str, ...] = ()
    vouched: bool = False
    framed: bool = False


# --------------------------------------------------------------------------------------------------
# Options from keywords and files.


def make_options(given: Mapping[str, Any], folder: Path | None = None) -> Options:
    """Options from keywords or the keys of a model.toml, checked; relative paths in it start at `folder`.

    Raises:
        UsageError: an unknown key, or a value that does not fit its key.
    """
    known = [f.name for f in fields(Options)]
    said = {k.replace("-", "_"): v for k, v in given.items() if v is not None}
    for key in said:
        if key not in known:
            raise unknown("model option", key, known)
    return Options(**{k: _READ.get(k, _as_is)(k, v, folder) for k, v in said.items()})


def read_toml(path: Path) -> tuple[str | None, dict[str, Any]]:
    """The `model` spec (or None) and the other keys of a model.toml.

    Raises:
        UsageError: the file is missing or no TOML.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"{path}: cannot be read as TOML ({e})") from e
    spec = values.pop("model", None)
    if spec is not None and not isinstance(spec, str):
        raise UsageError(f'{path}: `model` must be a text such as "timm:resnet50", not {spec!r}')
    return spec, values


def said_of(error: Exception) -> str:
    """The kind and first line of an error, for a message of ours."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _as_is(key: str, value: Any, folder: Path | None) -> Any:
    return value


def _path(key: str, value: Any, folder: Path | None) -> Any:
    if not isinstance(value, (str, Path)):
        raise UsageError(f"{key} must be a file path, not {value!r}")
    return str(value) if str(value) == "random" or folder is None else str(folder / value)


def _classes(key: str, value: Any, folder: Path | None) -> Sequence[str]:
    if isinstance(value, (str, Path)):
        return read_classes(Path(value) if folder is None else folder / value)
    if isinstance(value, Mapping):
        return names_of(value)
    if not isinstance(value, Iterable) or not (names := [str(v) for v in value]):
        raise UsageError(f"classes must be a file, a list of names or a dict of indices, and not empty; got {value!r}")
    return names


def _pair(key: str, value: Any, folder: Path | None) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(pair) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in pair):
        raise UsageError(
            f"{key} must be one whole number or height and width, such as 224 or [224, 320]; got {value!r}"
        )
    return pair


def _window(key: str, value: Any, folder: Path | None) -> tuple[float, float]:
    ends = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(ends) != 2 or not all(isinstance(v, (int, float)) for v in ends) or not ends[0] < ends[1]:
        raise UsageError(
            f"range takes the file's values that become black and white, such as [-1000, 400]; got {value!r}"
        )
    return float(ends[0]), float(ends[1])


def _bands(key: str, value: Any, folder: Path | None) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not numbers or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in numbers):
        raise UsageError(
            f"{key} takes the numbers of bands of a file, counted from 1, such as [4, 3, 2]; got {value!r}"
        )
    if key == "shown" and len(numbers) not in COLOURS:
        raise UsageError(f"shown takes the bands that people see as red, green and blue, or as grey; got {value!r}")
    return numbers


def _per_plane(key: str, value: Any, folder: Path | None) -> tuple[float, ...]:
    """One number (for all planes), or one for each of red, green and blue, or of other bands."""
    values = (value,) if isinstance(value, (int, float)) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not values or not all(isinstance(v, (int, float)) for v in values):
        raise UsageError(f"{key} must be one number or one for each of R, G, B (or of other bands); got {value!r}")
    if key == "std" and not all(v > 0 for v in values):
        raise UsageError(f"std must be above 0; got {value!r}")
    if key == "mean" and max(abs(v) for v in values) > 10:
        raise UsageError(f"mean and std are of pixel values in [0, 1]; got {value!r}: divide both by 255")
    return tuple(float(v) for v in values)


def _number(low: float) -> Callable[[str, Any, Path | None], Any]:
    def check(key: str, value: Any, folder: Path | None) -> Any:
        whole = key != "timeout"
        fits = isinstance(value, int) if whole else isinstance(value, (int, float))
        if isinstance(value, bool) or not fits or not value >= low:
            raise UsageError(f"{key} must be a {'whole ' if whole else ''}number of at least {low:g}; got {value!r}")
        return value

    return check


def _one_of(names: Sequence[str]) -> Callable[[str, Any, Path | None], Any]:
    def check(key: str, value: Any, folder: Path | None) -> Any:
        if value not in names:
            raise unknown(key, value, names)
        return value

    return check


def _device(key: str, value: Any, folder: Path | None) -> str:
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as e:
        raise UsageError(f'device {value!r} cannot be used here ({said_of(e)}); use "cpu"') from e
    return str(device)


def _key(key: str, value: Any, folder: Path | None) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"{key} names one of the network's outputs: a key, a field's name or a number; got {value!r}")
    return value


_READ: dict[str, Callable[[str, Any, Path | None], Any]] = {
    "weights": _path,
    "classes": _classes,
    "size": _pair,
    "resize": _number(0),
    "interpolation": _one_of(INTERPOLATIONS),
    "mean": _per_plane,
    "std": _per_plane,
    "device": _device,
    "batch_size": _number(1),
    "activation": _one_of(get_args(Activation)),
    "grid": _pair,
    "prefix_tokens": _number(0),
    "suffix_tokens": _number(0),
    "scores_from": _key,
    "timeout": _number(0.001),
    "retries": _number(0),
    "average": _number(2),
    "range": _window,
    "exif": _one_of(("upright", "stored")),
    "bands": _bands,
    "shown": _bands,
}


# --------------------------------------------------------------------------------------------------
# Class names.


def imagenet_classes() -> Names:
    """The 1000 English names of ImageNet-1k in their usual order, with their WordNet ids."""
    text = (resources.files("saywhy") / "data" / "imagenet_classes.txt").read_text(encoding="utf-8")
    ids = (resources.files("saywhy") / "data" / "imagenet_wnids.txt").read_text(encoding="utf-8")
    names = Names(text.splitlines())
    names.ids = tuple(ids.splitlines())
    return names


# --------------------------------------------------------------------------------------------------
# Preprocessing.


def resized(found: Preprocess, options: Options) -> Preprocess:
    """The loader's preprocessing with what the user said instead. resize=0 scales the whole photo to the size.

    Another size without a resize keeps the loader's proportion of the two.
    """
    size, resize, rule = found.size, found.resize, found.rule
    if options.size is not None:
        scale = min(options.size) / min(size)
        if isinstance(resize, tuple):
            resize = (round(resize[0] * scale), round(resize[1] * scale))
        elif resize is not None:
            resize = round(resize * scale)
        rule = "cover" if rule == "torchvision" else rule  # no bars that nobody asked for
        size = options.size
    if options.resize is not None:
        resize = options.resize or None
        if resize is not None and resize < min(size):
            H, W = size
            raise UsageError(f"resize {resize} is smaller than the input size {H} x {W} cut out of it (--size)")
    bands = options.bands or found.bands
    planes = replace(found, bands=bands).planes
    left = planes != 3  # of other bands nobody knows a usual mean
    return replace(
        found,
        size=size,
        resize=resize,
        rule=rule,
        mean=for_planes("mean", options.mean or ((0.0,) if left else found.mean), planes),
        std=for_planes("std", options.std or ((1.0,) if left else found.std), planes),
        interpolation=options.interpolation or found.interpolation,  # type: ignore[arg-type]
        window=options.range or found.window,
        exif=options.exif or found.exif,
        bands=bands,
        shown=options.shown or found.shown,
    )


def for_planes(key: str, values: tuple[float, ...], planes: int) -> tuple[float, ...]:
    """A value for each plane of the classifier's images; one alone is for all of them.

    Raises:
        UsageError: another number of them.
    """
    if len(values) not in (1, planes):
        what = "R, G and B" if planes == 3 else f"the {planes} bands"
        raise UsageError(f"{key} has {len(values)} values; give one for all, or one for each of {what}")
    return values if len(values) == planes else values * planes


# --------------------------------------------------------------------------------------------------
# Weights.


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors file, or from a torch file without running code of it.

    Raises:
        UsageError: missing, unreadable, a whole pickled model, or no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        why = "no file of torch that holds tensors alone" if isinstance(e, pickle.UnpicklingError) else said_of(e)
        raise UsageError(
            f"{path}: cannot be read as weights ({why}). Files that run code "
            "when opened are refused; save the weights alone: torch.save(net.state_dict(), path), or as safetensors"
        ) from e
    for key in STATE_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"{path}: holds no state dict of tensors; save it with torch.save(net.state_dict(), path)")
    return {str(k).removeprefix("module."): v for k, v in state.items()}


def head_size(net: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """The number of classes of a state dict that differs from the network in its head alone; None otherwise."""
    own, state = net.state_dict(), unwrapped(net, state, "the weights")
    if own.keys() != state.keys():
        return None
    other = [k for k in own if own[k].shape != state[k].shape]
    sizes = {state[k].shape[0] for k in other if state[k].dim() and own[k].shape[1:] == state[k].shape[1:]}
    return sizes.pop() if len(sizes) == 1 and len(other) <= 4 else None


def unwrapped(net: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> Mapping[str, Tensor]:
    """What stands under the prefix that a training framework put before the network's own names (Lightning: `model.`);
    what stands beside it (a loss, a metric) is not the network's. Unchanged where no prefix fits.

    Raises:
        UsageError: several prefixes fit, such as a copy of averaged weights.
    """
    own = net.state_dict().keys()
    first = next(iter(own), "")
    if not own or own <= state.keys():
        return state
    prefixes = [k.removesuffix(first) for k in state if k.endswith(f".{first}")]
    fitting = [p for p in prefixes if all(p + name in state for name in own)]
    if len(fitting) > 1:
        raise UsageError(f"{path}: holds this network {len(fitting)} times, under {', '.join(fitting)}; save one alone")
    return {k.removeprefix(p): v for p in fitting for k, v in state.items() if k.startswith(p)} or state


def load_state(net: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Loads a state dict, all of it; its names may have a common prefix.

    Raises:
        UsageError: names or shapes do not match the network's.
    """
    try:
        net.load_state_dict(unwrapped(net, state, path))
    except RuntimeError as e:
        first = "; ".join(line.strip() for line in str(e).splitlines()[1:3])[:400]
        raise UsageError(f"{path}: these weights are not of this network ({first})") from e
