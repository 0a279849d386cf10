"""The reference classifiers that ship with the package: trained on the aviary, small, with a card each.

`weights/NAME.safetensors` holds the weights as float16, `weights/NAME.json` the card: what the model is, how it was
trained, how good it is, which fault was planted. Both carry the fingerprint of the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from saywhy.aviary.birds import PARTS
from saywhy.aviary.networks import NETWORKS, SIDE, SIDES
from saywhy.aviary.world import world
from saywhy.errors import UsageError, unknown
from saywhy.image import Preprocess
from saywhy.locking import seeded


def preprocess_of(network: str) -> Preprocess:
    """How a network of that kind sees a picture."""
    side = SIDES.get(network, SIDE)
    return Preprocess((side, side), None, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


PREPROCESS = preprocess_of("cnn")
PIXEL_CLASSES = ("background", *PARTS)


def weights_folder() -> Path:
    """Where the weights and cards are."""
    return Path(str(resources.files("saywhy.aviary") / "weights"))


def fingerprint_of(state: Mapping[str, Tensor]) -> str:
    """Hash of a state dict's names and bytes."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def names() -> list[str]:
    """The classifiers of this installation."""
    return sorted(p.stem for p in weights_folder().glob("*.safetensors"))


def card(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """What is written about a classifier: network, classes, training, accuracy, planted fault, licence.

    Raises:
        UsageError: no such classifier, or its card cannot be read.
    """
    folder = folder or weights_folder()
    file = folder / f"{name}.json"
    if not file.is_file():
        raise unknown("aviary classifier", name, sorted(p.stem for p in folder.glob("*.safetensors")))
    try:
        text = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise UsageError(f"{file}: no card that can be read ({e}); run: make aviary-models") from e
    return dict(text)


def load(name: str, *, folder: Path | None = None) -> nn.Module:
    """The network with its weights, float32, in eval mode, no gradients.

    Raises:
        UsageError: no such classifier, a broken file, or weights that are not those of the card.
    """
    folder = folder or weights_folder()
    text, file = card(name, folder=folder), folder / f"{name}.safetensors"
    try:
        with safe_open(file, "pt") as saved:
            header, state = saved.metadata() or {}, {k: saved.get_tensor(k) for k in saved.keys()}  # noqa: SIM118
    except Exception as e:
        raise UsageError(f"{file}: cannot be read as weights ({e}); install again or run: make aviary-models") from e
    if not fingerprint_of(state) == text.get("fingerprint") == header.get("fingerprint"):
        raise UsageError(
            f"{file}: these weights are not the ones that the card describes (fingerprint {fingerprint_of(state)}, "
            f"card {text.get('fingerprint')}); install again or run: make aviary-models"
        )
    net = untrained(text["network"], edition=edition_of(text))
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return net.eval().requires_grad_(False)


def edition_of(card: Mapping[str, Any]) -> str:
    """The edition of the birds that a classifier tells apart; cards of the first edition do not name it."""
    return str(card.get("edition", "1"))


def classes_of(network: str, edition: str = "1") -> tuple[str, ...]:
    """The classes that a network of that kind tells apart: the species, or for "seg" the parts of a pixel."""
    return PIXEL_CLASSES if network == "seg" else world(edition).classes


def untrained(network: str, *, seed: int = 0, edition: str = "1") -> nn.Module:
    """A network (a row of `NETWORKS`) with random weights, the same for the same seed; eval mode, no gradients."""
    with seeded(seed):
        net = NETWORKS[network](len(classes_of(network, edition)))
    return net.eval().requires_grad_(False)


def _found(name: str, *, trained: bool = True) -> dict[str, Any]:
    text = card(name)
    network, edition = text["network"], edition_of(text)
    net = load(name) if trained else untrained(network, edition=edition)
    return {
        "net": net, "classes": classes_of(network, edition), "preprocess": preprocess_of(network),
        "activation": "softmax",
    }  # fmt: skip


CLASSIFIERS: dict[str, Callable[..., dict[str, Any]]] = {name: partial(_found, name) for name in names()}
