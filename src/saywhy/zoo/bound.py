"""Networks of several inputs: all but the images are bound once, and what remains is a classifier of images."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.errors import UsageError


class Bound(nn.Module):
    """A network whose other inputs are fixed: forward(images) asks it with them.

    Tensors with one row are repeated for each image; they move with the network to another device and are no weights
    of it, but count in its fingerprint.
    """

    def __init__(self, net: nn.Module, inputs: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.others = net, {k: v for k, v in inputs.items() if not isinstance(v, Tensor)}
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                self.register_buffer(f"input_{name}", value)
        self.names = [k for k, v in inputs.items() if isinstance(v, Tensor)]
        self.train(net.training)

    def forward(self, images: Tensor) -> Any:
        """What the network answers to images (N, 3, H, W) and the bound inputs."""
        rows = {k: self._rows(getattr(self, f"input_{k}"), len(images)) for k in self.names}
        return self.net(images, **rows, **self.others)

    @staticmethod
    def _rows(value: Tensor, count: int) -> Tensor:
        return value.expand(count, *value.shape[1:]) if value.dim() and len(value) == 1 else value

    def extra_repr(self) -> str:
        """The bound inputs by name."""
        return ", ".join([*self.names, *(f"{k}={v!r}" for k, v in self.others.items())])


def bind(net: nn.Module, **inputs: Any) -> Bound:
    """A network of images alone, made of one that takes more: `saywhy.bind(net, age=61.0)`.

    Numbers and lists of numbers become tensors of one row, (1,) and (1, k), which are repeated for each image; a tensor
    of one row likewise; anything else is handed on as it is, and so is a number where the network has one by default.
    The first argument of the network's forward must be the images; explanations are of this one value of the others.

    Raises:
        UsageError: no network, nothing to bind, or an input that its forward does not take.
    """
    if not isinstance(net, nn.Module):
        raise UsageError(f"bind takes an nn.Module, not {type(net).__name__}; of a callable write a lambda around it")
    if not inputs:
        raise UsageError("bind takes the network's other inputs by name: saywhy.bind(net, age=61.0)")
    taken = list(inspect.signature(net.forward).parameters.values())
    names = [p.name for p in taken]
    if not any(p.kind is p.VAR_KEYWORD for p in taken):
        for name in inputs:
            if name not in names[1:]:
                raise UsageError(f"{type(net).__name__}.forward takes {', '.join(names)}, and no {name!r} after images")
    plain = {p.name for p in taken if isinstance(p.default, (int, float))}
    return Bound(net, {name: value if name in plain else _tensor(value) for name, value in inputs.items()})


def check_one_input(net: object) -> None:
    """Raises UsageError where a network's forward needs more than images."""
    if not isinstance(net, nn.Module) or isinstance(net, torch.jit.ScriptModule):
        return
    taken = inspect.signature(net.forward).parameters.values()
    plain = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if more := [p.name for p in plain[1:] if p.default is p.empty]:
        said = ", ".join(f"{name}=..." for name in more)
        raise UsageError(
            f"{type(net).__name__}.forward takes {', '.join(more)} beside the images: bind it, as in saywhy.bind(net, "
            f"{said})"
        )


def _tensor(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number:
        return torch.tensor([float(value)])
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
        return torch.tensor([[float(v) for v in value]])
    return value
