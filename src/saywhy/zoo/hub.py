"""Networks of timm and torchvision, with their preprocessing and class names.

Pretrained weights come from the libraries' own caches and are downloaded on first use; code in a downloaded file is
never run (safetensors, or torch files read with weights_only).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from saywhy.errors import ExtraMissing, SaywhyError, UsageError, unknown
from saywhy.framing import RESAMPLE
from saywhy.image import Preprocess
from saywhy.locking import seeded
from saywhy.zoo.class_names import Names
from saywhy.zoo.config import Found, Options, head_size, imagenet_classes, load_state, read_weights, said_of

NO_CLASSIFIER = (
    "Give weights=FILE and classes of a fine-tuned one, or a callable images (N, 3, H, W) in [0, 1] -> scores (N, C), "
    "for example how like its features are to those of C texts"
)
CLASS_COUNTS = (1000, 11821, 21841, 21842, 21843)  # ImageNet's several sets
# These two turn ImageNet's normalisation into their own, in the pretrained variants alone.
_TRANSFORM_INPUT = ("inception_v3", "googlenet")


def _interpolation(name: object) -> Any:
    return name if name in RESAMPLE else "bilinear"


def likes_channels_last(net: nn.Module) -> bool:
    """Whether it is faster with its channels last."""
    # 1.2 to 1.7 times faster where there are batch norms; slightly slower for transformers.
    return any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def _names(count: int) -> Names | None:
    if count != 1000:
        return None
    names = imagenet_classes()
    names.how = "class names are ImageNet's, as the network has 1000 scores (--classes)"
    return names


def import_failed(name: str, error: BaseException) -> UsageError:
    """What is said of a library that is there and does not load."""
    while error.__cause__ is not None:  # transformers says at the top only that something went wrong below
        error = error.__cause__
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
        raise import_failed("timm", e) from e
    if not name.startswith("hf-hub:") and not timm.is_model(name):
        raise unknown("timm network", name, timm.list_models())

    def make(**kwargs: Any) -> nn.Module:
        planes = replace(Preprocess(), bands=options.bands).planes
        kwargs |= {} if planes == 3 else {"in_chans": planes}
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
    if what := _no_classifier(net, count, options):
        raise UsageError(f"timm:{name} has no classifier: {what}. {NO_CLASSIFIER}")
    return Found(
        net.eval(),
        f"timm:{name}",
        _timm_names(net, count),
        _timm_preprocess(data),
        "sigmoid" if count == 1 else "softmax",
        channels_last=likes_channels_last(net),
        vouched=True,
    )


def _no_classifier(net: nn.Module, count: int, options: Options) -> str | None:
    """What the pretrained network gives instead of classes, in words; None where it gives classes."""
    if count == 0:
        return "it ends in features"
    told = getattr(net, "pretrained_cfg", None) or {}
    towers = ("clip", "siglip", "openai", "tulip", "eva02_clip")
    names = " ".join(str(told.get(key, "")) for key in ("architecture", "tag", "hf_hub_id", "notes")).lower()
    trained = told.get("label_names") or count in CLASS_COUNTS
    if not trained and any(tower in names for tower in towers) and options.classes is None:
        return f"its {count} outputs are an embedding that is compared with one of text"
    return None


def _timm_preprocess(data: Mapping[str, Any]) -> Preprocess:
    _, H, W = data["input_size"]
    crop = float(data.get("crop_pct") or 1.0)
    mode, scaled = str(data.get("crop_mode") or "center"), (math.floor(H / crop), math.floor(W / crop))
    square, bars = mode == "center" and scaled[0] == scaled[1], crop > 1
    return Preprocess(
        size=(H, W),
        resize=None if mode == "squash" and scaled == (H, W) else scaled[0] if square else scaled,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=_interpolation(data.get("interpolation")),
        rule={"border": "fit"}.get(
            mode, "fill" if mode == "center" and not square else "torchvision" if bars else "cover"
        ),
    )


def _timm_names(net: nn.Module, count: int) -> Sequence[str] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = None if count == 1000 else infer_imagenet_subset(net)
    if not subset:
        return _names(count)
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
        raise import_failed("torchvision", e) from e
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
        _torchvision_names(net, categories),
        _torchvision_preprocess(trained.transforms()) if trained is not None else Preprocess(),
        None if options.weights is not None else "softmax",
        channels_last=likes_channels_last(net),
        vouched=options.weights is None,
        framed=trained is not None,
    )


def _torchvision_names(net: nn.Module, categories: Sequence[str] | None) -> Sequence[str] | None:
    if categories is None:
        return None
    heads = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    counts = {int(m.weight.shape[0]) for m in heads[-3:]}
    if len(categories) not in counts:
        return None
    return _names(len(categories)) or categories


def _torchvision_preprocess(how: Any) -> Preprocess:
    crop, resize = getattr(how, "crop_size", None), getattr(how, "resize_size", None)
    crop, resize = (v[0] if isinstance(v, (list, tuple)) and v else v or None for v in (crop, resize))
    side = crop or resize or 224
    return Preprocess(
        size=(side, side),
        resize=resize if crop and resize else None,
        mean=tuple(getattr(how, "mean", Preprocess().mean)),
        std=tuple(getattr(how, "std", Preprocess().std)),
        interpolation=_interpolation(getattr(getattr(how, "interpolation", None), "value", None)),
        rule="torchvision" if crop and resize and resize < crop else "cover",
    )
