"""Image classifiers of Hugging Face transformers; weights from safetensors alone, no code of a repository is run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saywhy.errors import ExtraMissing, UsageError
from saywhy.image import Preprocess
from saywhy.zoo.class_names import Names, names_of
from saywhy.zoo.config import Found, Options, resized, said_of
from saywhy.zoo.hub import NO_CLASSIFIER, import_failed, likes_channels_last
from saywhy.zoo.inputs import assumed_framing, taken
from saywhy.zoo.watched import Process, preprocess_of

COUNTERS = "num_batches_tracked"  # of batch norms: no weight
UNWATCHED = "its image processor is not looked at, as all else is said: colours go in as red, green, blue"
NO_PROCESSOR = "it has no image processor that can be used: colours go in as red, green, blue"


def load_hf(name: str, options: Options) -> Found:
    """An image classifier of transformers, from a folder or a hub id; weights from safetensors alone.

    Raises:
        ExtraMissing: transformers is not installed.
        UsageError: no such folder or id, no image classifier, weights that lack a part of it, no safetensors, or a
            preprocessing that is missing or cannot be followed.
    """
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ModuleNotFoundError as e:
        raise (ExtraMissing(e.name, "hf", f"hf:{name}") if e.name else import_failed("transformers", e)) from e
    except RuntimeError as e:
        raise import_failed("transformers", e) from e
    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1 or not name):
        raise UsageError(f"hf:{name}: no such folder")
    try:
        with _quiet():
            net, told = AutoModelForImageClassification.from_pretrained(
                name, local_files_only=local, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as e:
        way = (
            "the folder must hold config.json and model.safetensors of an image classifier"
            if local
            else "it is downloaded on first use: connect once, or give a folder"
        )
        raise UsageError(f"hf:{name} cannot be loaded ({said_of(e)}); {way}") from e
    _check_whole(name, net, [k for k in told["missing_keys"] if not k.endswith(COUNTERS)])
    config = net.config
    preprocess, seen = _preprocess(name, AutoImageProcessor, local, options)
    multi = getattr(config, "problem_type", None) == "multi_label_classification" or config.num_labels == 1
    return Found(
        net.eval(),
        f"hf:{Path(name).name if local else name}",
        _names(name, config),
        preprocess,
        "sigmoid" if multi else "softmax",
        channels_last=likes_channels_last(net),
        vouched=True,
        notes=(*seen, _scores_told(config, multi)),
    )


def _names(name: str, config: Any) -> Names | None:
    """The names of its config; None where they are but numbers."""
    found = names_of({"id2label": dict(config.id2label)}, f"hf:{name}'s config")
    return None if found == tuple(f"LABEL_{i}" for i in range(len(found))) else found


def _scores_told(config: Any, multi: bool) -> str:
    kind = getattr(config, "problem_type", None)
    how = "each label for itself (a sigmoid)" if multi else "one class an image (a softmax)"
    why = (
        f"as its config says ({kind})"
        if kind
        else "its config does not say, and a model of labels has to: --activation"
    )
    return f"scores are read as {how}: {why}"


def _check_whole(name: str, net: Any, missing: Sequence[str]) -> None:
    """Raises UsageError where weights are missing, which transformers would draw at random."""
    if net.config.num_labels == 0:
        raise UsageError(f"hf:{name} has no classifier: its config names no label. {NO_CLASSIFIER}")
    if not missing:
        return
    trained = ", ".join(getattr(net.config, "architectures", None) or ["another network"])
    shown = ", ".join(sorted(missing)[:4]) + (", ..." if len(missing) > 4 else "")
    raise UsageError(
        f"hf:{name} holds weights of {trained}, which is no whole {type(net).__name__}: {shown} are missing and would "
        f"be random. {NO_CLASSIFIER}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    # Loading draws a progress bar and reports that are not ours; what is missing is checked by ourselves.
    from transformers.utils import logging as theirs

    hub = logging.getLogger("huggingface_hub")
    levels = theirs.get_verbosity(), hub.level
    bars = theirs.is_progress_bar_enabled()
    theirs.set_verbosity(theirs.CRITICAL)
    hub.setLevel(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(levels[0])
        hub.setLevel(levels[1])
        if bars:
            theirs.enable_progress_bar()


def _preprocess(name: str, auto: Any, local: bool, options: Options) -> tuple[Preprocess, tuple[str, ...]]:
    """What the model's own image processor does, and that in words; without one, what the user says."""
    said = options.size is not None and options.mean is not None and options.std is not None
    plain = Preprocess(options.size or (224, 224), None)
    if said and options.resize is not None and options.interpolation is not None:
        return plain, (UNWATCHED,)
    try:
        with _quiet():
            processor = auto.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    except Exception as e:
        if said:
            return plain, (NO_PROCESSOR, *assumed_framing(resized(plain, options), options))
        raise UsageError(
            f"hf:{name} has no preprocessor_config.json that can be used ({said_of(e)}); say size, mean and std"
        ) from e
    kind = type(processor).__name__
    with _quiet():
        how = preprocess_of(_watched(processor), f"hf:{name} ({kind})", options.size)
    return how, (_seen(resized(how, options), kind, options),)


def _seen(how: Preprocess, kind: str, options: Options) -> str:
    mean, std = (" ".join(f"{v:.4g}" for v in values) for values in (how.mean, how.std))
    order = ", colours as blue, green, red" if how.channels == "BGR" else ""
    said = [k for k in ("size", "resize", "interpolation", "mean", "std") if getattr(options, k) is not None]
    but = f"; but {', '.join(said)} as said" if said else ""
    return f"{taken(how)}, mean {mean}, std {std}{order}: seen by watching its {kind}{but}"


def _watched(processor: Any) -> Process:
    def process(image: Image.Image) -> NDArray[np.float64]:
        try:
            values = processor(image, return_tensors="pt")["pixel_values"]
        except Exception as e:
            raise UsageError(f"{type(processor).__name__} gives no pixels of a photo ({said_of(e)})") from e
        return np.asarray(values[0], dtype=np.float64)

    return process
