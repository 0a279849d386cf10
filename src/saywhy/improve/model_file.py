"""An improved classifier on disk: new weights, and a model.toml by which `--model` loads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as serialised
from torch import Tensor, nn

from saywhy import files
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.zoo.config import CONFIG, read_toml

WEIGHTS = "weights.safetensors"


def check_spec(spec: Mapping[str, Any]) -> None:
    """Raises UsageError for a model that takes no weights file."""
    name = str(_flat(spec).get("model", ""))
    if name.startswith(("hf:", "onnx:", "torchscript:", "http")):
        raise UsageError(
            f"{name} takes no separate weights file, so what is improved could not be loaded: name the network as "
            "timm:NAME, torchvision:NAME or module:factory with --weights"
        )


def write_model(folder: Path, clf: Classifier, spec: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Writes the weights of a classifier, and what loads them: `spec` is what it was loaded from, with its options.

    The names of the files; without a spec the weights alone.

    Raises:
        InputError: the folder cannot be written.
    """
    assert isinstance(clf.net, nn.Module)
    write_tensors(folder / WEIGHTS, clf.net.state_dict())
    if spec is None:
        return (WEIGHTS,)
    said = {k: v for k, v in _flat(spec).items() if v is not None and k not in ("weights", "config")}
    if "classes" in said:
        said["classes"] = list(clf.class_names)
    rows = {"model": said.pop("model"), "weights": WEIGHTS, **said}
    text = "".join(f"{key} = {json.dumps(_plain(value))}\n" for key, value in rows.items())
    files.write(folder / CONFIG, f"# Written by saywhy improve; the model before it is as it was.\n{text}")
    return (WEIGHTS, CONFIG)


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, whole or not at all."""
    files.write(file, serialised({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}))


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, on top of those of the model.toml that they name."""
    said = {k.replace("-", "_"): v for k, v in spec.items() if v is not None}
    if not str(said.get("model", "")).endswith(".toml"):
        return said
    named, values = read_toml(Path(said.pop("model")))
    return {
        **({} if named is None else {"model": named}),
        **{k.replace("-", "_"): v for k, v in values.items()},
        **said,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
