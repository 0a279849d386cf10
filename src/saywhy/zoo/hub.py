"""Networks of timm, torchvision and Hugging Face transformers, with their preprocessing and class names.

Pretrained weights come from the libraries' own caches and are downloaded on first use; code in a downloaded file is
never run (safetensors, or torch files read with weights_only).
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from saywhy.errors import ExtraMissing, SaywhyError, UsageError, unknown
from saywhy.image import Preprocess
from saywhy.locking import seeded
from saywhy.zoo.config import Found, Options, head_size, imagenet_classes, load_state, read_weights, said_of

_RESAMPLE = {0: "nearest", 1: "bicubic", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers; 1 is Lanczos
# These two turn ImageNet's normalisation into their own, in the pretrained variants alone.
_TRANSFORM_INPUT = ("inception_v3", "googlenet")


def _interpolation(name: object) -> Any:
    return name if name in ("nearest", "bilinear", "bicubic") else "bicubic" if name == "lanczos" else "bilinear"


def _likes_channels_last(net: nn.Module) -> bool:
    # 1.2 to 1.7 times faster where there are batch norms; slightly slower for transformers.
    return any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def _names(count: int | None, options: Options) -> tuple[str, ...] | None:
    return imagenet_classes() if count == 1000 and options.classes is None else None


def _import_failed(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"{name} is installed but cannot be imported ({error}); torchvision and torch must be of matching builds, see "
        "https://pytorch.org/get-started/locally"
    )


@contextmanager
def _hub(name: str) -> Iterator[None]:
    """Says what can be done where a hub cannot be reached."""
    try:
        yield
    except SaywhyError:
        raise
    except Exception as e:
        raise UsageError(
            f"{name}: its pretrained weights could not be had ({said_of(e)}). "
            'They are downloaded on first use: connect once, or give weights=FILE, or weights="random" for tests'
        ) from e


def _build(make: Callable[..., nn.Module], weights: str, options: Options) -> nn.Module:
    """A network with seeded random weights or those of a file; its head fits the classes or the file."""
    said = {} if options.classes is None else {"num_classes": len(options.classes)}
    with seeded(0):
        net = make(**said)
        if weights == "random":
            return net
        state = read_weights(weights)
        if not said and (count := head_size(net, state)):
            net = make(num_classes=count)
    load_state(net, state, weights)
    return net


# --------------------------------------------------------------------------------------------------


def load_timm(name: str, options: Options) -> Found:
    """A timm network by name, with its own data configuration.

    Raises:
        ExtraMissing: timm is not installed.
        UsageError: no such network, or weights that cannot be had.
    """
    try:
        import timm
    except ModuleNotFoundError as e:
        raise ExtraMissing(str(e.name), "timm", f"timm:{name}") from e
    except RuntimeError as e:
        raise _import_failed("timm", e) from e
    if not name.startswith("hf-hub:") and not timm.is_model(name):
        raise unknown("timm network", name, timm.list_models())

    def make(**kwargs: Any) -> nn.Module:
        sized = {} if options.size is None else {"img_size": options.size}
        try:
            return timm.create_model(name, **kwargs, **sized)  # type: ignore[no-any-return]
        except TypeError:  # convolutional networks take any size and no such argument
            return timm.create_model(name, **kwargs)  # type: ignore[no-any-return]

    if options.weights is None:
        with _hub(f"timm:{name}"):
            net = make(pretrained=True)
    else:
        net = _build(make, options.weights, options)
    data = timm.data.resolve_model_data_config(net)
    count = int(getattr(net, "num_classes", 0))
    return Found(
        net.eval(),
        f"timm:{name}",
        _timm_names(net, count, options),
        _timm_preprocess(data),
        "sigmoid" if count == 1 else "softmax",
        channels_last=_likes_channels_last(net),
    )


def _timm_preprocess(data: Mapping[str, Any]) -> Preprocess:
    _, H, W = data["input_size"]
    crop = float(data.get("crop_pct") or 1.0)
    squash = data.get("crop_mode") == "squash"
    return Preprocess(
        size=(H, W),
        resize=None if squash else math.floor(min(H, W) / crop),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=_interpolation(data.get("interpolation")),
    )


def _timm_names(net: nn.Module, count: int, options: Options) -> Sequence[str] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = None if count == 1000 or options.classes is not None else infer_imagenet_subset(net)
    if not subset:
        return _names(count, options)
    info = ImageNetInfo(subset)
    return [info.index_to_description(i) for i in range(info.num_classes())]


# --------------------------------------------------------------------------------------------------


def load_torchvision(name: str, options: Options) -> Found:
    """A torchvision network by name, with the preprocessing and class names of its default weights.

    Raises:
        UsageError: torchvision is missing or does not fit torch, no such network, weights that cannot be had.
    """
    try:
        from torchvision import models
    except ModuleNotFoundError as e:
        raise UsageError(f"torchvision:{name} needs the package {e.name!r}: pip install torchvision") from e
    except RuntimeError as e:
        raise _import_failed("torchvision", e) from e
    if name not in models.list_models():
        raise unknown("torchvision network", name, models.list_models())
    parameters = inspect.signature(models.get_model_builder(name)).parameters
    trained = getattr(models.get_model_weights(name), "DEFAULT", None)
    default: dict[str, Any] = {"weights": None}
    if "weights_backbone" in parameters:
        default["weights_backbone"] = None
    if name in _TRANSFORM_INPUT:
        default |= {"init_weights": False, "transform_input": options.weights is None}
    if options.weights is not None and options.size is not None and name.startswith("vit_"):
        default["image_size"] = options.size[0]

    def make(**kwargs: Any) -> nn.Module:
        return models.get_model(name, **default, **kwargs)  # type: ignore[no-any-return]

    if options.weights is None:
        net = make()
        with _hub(f"torchvision:{name}"):
            if trained is None:
                raise UsageError(f"torchvision:{name} has no pretrained weights; give weights=FILE")
            net.load_state_dict(trained.get_state_dict(progress=False, check_hash=True, weights_only=True))
    else:
        net = _build(make, options.weights, options)
    categories = trained.meta.get("categories") if trained is not None else None
    return Found(
        net.eval(),
        f"torchvision:{name}",
        _torchvision_names(net, categories, options),
        _torchvision_preprocess(trained.transforms()) if trained is not None else Preprocess(),
        None if options.weights is not None else "softmax",
        channels_last=_likes_channels_last(net),
    )


def _torchvision_names(net: nn.Module, categories: Sequence[str] | None, options: Options) -> Sequence[str] | None:
    if options.classes is not None or categories is None:
        return None
    heads = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    counts = {int(m.weight.shape[0]) for m in heads[-3:]}
    if len(categories) not in counts:
        return None
    return imagenet_classes() if len(categories) == 1000 else categories


def _torchvision_preprocess(how: Any) -> Preprocess:
    crop, resize = getattr(how, "crop_size", None), getattr(how, "resize_size", None)
    crop, resize = (v[0] if isinstance(v, (list, tuple)) and v else v or None for v in (crop, resize))
    side = crop or resize or 224
    return Preprocess(
        size=(side, side),
        resize=max(resize, side) if crop and resize else None,
        mean=tuple(getattr(how, "mean", Preprocess().mean)),
        std=tuple(getattr(how, "std", Preprocess().std)),
        interpolation=_interpolation(getattr(getattr(how, "interpolation", None), "value", None)),
    )


# --------------------------------------------------------------------------------------------------


def load_hf(name: str, options: Options) -> Found:
    """An image classifier of transformers, from a folder or a hub id; weights from safetensors alone.

    Raises:
        ExtraMissing: transformers is not installed.
        UsageError: no such folder or id, no image classifier, no safetensors, no preprocessing configuration.
    """
    try:
        from transformers import AutoModelForImageClassification
        from transformers.utils import cached_file
    except ModuleNotFoundError as e:
        raise ExtraMissing(str(e.name), "hf", f"hf:{name}") from e
    except RuntimeError as e:
        raise _import_failed("transformers", e) from e
    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1 or not name):
        raise UsageError(f"hf:{name}: no such folder")
    try:
        with _quiet():
            net = AutoModelForImageClassification.from_pretrained(
                name, local_files_only=local, use_safetensors=True, trust_remote_code=False
            )
        file = cached_file(
            name, "preprocessor_config.json", local_files_only=local, _raise_exceptions_for_missing_entries=False
        )
    except Exception as e:
        way = (
            "the folder must hold config.json and model.safetensors of an image classifier"
            if local
            else "it is downloaded on first use: connect once, or give a folder"
        )
        raise UsageError(f"hf:{name} cannot be loaded ({said_of(e)}); {way}") from e
    config = net.config
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    multi = getattr(config, "problem_type", None) == "multi_label_classification" or config.num_labels == 1
    return Found(
        net.eval(),
        f"hf:{Path(name).name if local else name}",
        None if options.classes is not None or names == [f"LABEL_{i}" for i in range(len(names))] else names,
        _hf_preprocess(name, None if file is None else Path(file), options),
        "sigmoid" if multi else "softmax",
        channels_last=_likes_channels_last(net),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    # Loading draws a progress bar and a report that are not ours.
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _hf_preprocess(name: str, file: Path | None, options: Options) -> Preprocess:
    if file is None:
        if options.size is None or options.mean is None or options.std is None:
            raise UsageError(f"hf:{name} has no preprocessor_config.json; say size, mean and std")
        return Preprocess(size=options.size, resize=None)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UsageError(f"{file}: cannot be read as JSON ({e})") from e
    size, resize = _hf_sizes(said)
    mean, std = said.get("image_mean", 0.5), said.get("image_std", 0.5)
    mean, std = ((v,) * 3 if isinstance(v, (int, float)) else tuple(v) for v in (mean, std))
    if said.get("do_normalize") is False:
        mean, std = (0.0,) * 3, (1.0,) * 3
    # Their values are pixels * factor, ours are pixels / 255.
    scale = 255 * (float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0)
    offset = 1.0 if said.get("rescale_offset") and said.get("do_rescale", True) else 0.0
    mean = tuple((m + offset) / scale for m in mean)
    std = tuple(s / scale for s in std)
    return Preprocess(size, resize, mean, std, _interpolation(_RESAMPLE.get(said.get("resample", 2))))


def _hf_sizes(said: Mapping[str, Any]) -> tuple[tuple[int, int], int | None]:
    """Input size and the short side before the crop, of the several ways in which these files say it."""
    size, crop = _hf_size(said.get("size", 224)), _hf_size(said.get("crop_size"))
    if said.get("do_center_crop") and crop is not None:
        return crop, max(min(size), min(crop)) if size is not None and said.get("do_resize", True) else min(crop)
    assert size is not None
    if said.get("crop_pct") and min(size) < 384:  # ConvNeXt's way: a crop at small sizes, none at large ones
        return size, int(min(size) / said["crop_pct"])
    only_side = isinstance(said.get("size"), Mapping) and "shortest_edge" in said["size"]
    return size, min(size) if only_side and not said.get("crop_pct") else None


def _hf_size(value: Any) -> tuple[int, int] | None:
    if isinstance(value, Mapping):
        if "height" in value and "width" in value:
            return int(value["height"]), int(value["width"])
        value = value.get("shortest_edge")
    return None if value is None else (int(value), int(value))
