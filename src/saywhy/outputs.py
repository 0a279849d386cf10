"""What a module returns: tensors, tuples, dicts or Hugging Face ModelOutputs, and the class scores in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from saywhy.errors import ModelError


def map_tensors(f: Callable[[Tensor], Any], value: Any) -> Any:
    """Applies f to every tensor in nested tuples, lists and dicts, keeping their types."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, Mapping):
        return type(value)(**{k: map_tensors(f, v) for k, v in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(f, v) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(f, v) for v in value)
    return value


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a nested output."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((t for t in map(first_tensor, items) if t is not None), None)


def replace_first(value: Any, new: Tensor) -> Any:
    """The same nested output with its first tensor replaced."""
    done: list[bool] = []

    def swap(t: Tensor) -> Tensor:
        if done:
            return t
        done.append(True)
        return new

    return map_tensors(swap, value)


def logits_of(output: Any) -> Tensor:
    """The class scores in whatever the network returned.

    Raises:
        ModelError: no tensor of shape (N, C), or (N, C, H, W) of a segmentation model, is in it.
    """
    named = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for key in ("logits", "out", "scores", "output"):
        if isinstance(named.get(key), Tensor):
            output = named[key]
            break
    tensor = first_tensor(output)
    if tensor is not None and tensor.dim() == 1:
        tensor = tensor[:, None]  # one score an image
    if tensor is None or tensor.dim() not in (2, 4) or not tensor.is_floating_point():
        shape = "nothing" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
        raise ModelError(
            f"the model returned {type(output).__name__} with {shape}; expected class scores (N, C). Wrap the model: "
            "class Wrapped(torch.nn.Module) whose forward(images) returns that tensor"
        )
    return tensor
