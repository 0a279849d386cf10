"""What makes a network that network: its modules, what they do, and their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

SILENT = {"training", "inplace"}  # of torch's settings, those that change no score


def told_of(net: nn.Module) -> Iterator[bytes]:
    """Bytes that two networks share if they compute the same by the same modules with the same weights.

    Of a module count its class by name, what it says of itself (`extra_repr`), the functions that it holds (`F.gelu`),
    and of torch's own all settings. Other attributes of the user's modules do not: they may count or remember calls.
    """
    for path, module in net.named_modules():
        told = re.sub(r" at 0x[0-9a-f]+|,? ?inplace(=\w+)?", "", module.extra_repr())
        yield "\0".join((path, type(module).__name__, told, *_settings(module))).encode()
    for key, value in sorted(net.state_dict().items()):
        yield f"{key} {tuple(value.shape)} {value.dtype}".encode() if isinstance(value, Tensor) else key.encode()
        if isinstance(value, Tensor):
            yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _settings(module: nn.Module) -> Iterator[str]:
    own = type(module).__module__.startswith("torch.nn.")
    for name, value in sorted(module.__dict__.items()):
        if name.startswith("_") or name in SILENT:
            continue
        function = getattr(getattr(value, "func", value), "__qualname__", None) if callable(value) else None
        if function is not None:
            yield f"{name}={function}"
        elif own and _plain(value):
            yield f"{name}={value!r}"


def _plain(value: Any) -> bool:
    kinds = (bool, int, float, str, type(None))
    return isinstance(value, kinds) or (isinstance(value, tuple) and all(isinstance(v, kinds) for v in value))
