"""What a module returns: tensors, tuples, dicts or Hugging Face ModelOutputs, and the class scores in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from saywhy.errors import ModelError, UsageError, unknown


def map_tensors(f: Callable[[Tensor], Any], value: Any) -> Any:
    """Applies f to every tensor in nested tuples, lists, dicts and dataclasses, keeping their types."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, Mapping):
        new = {k: map_tensors(f, v) for k, v in value.items()}
        return _like(value, new)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(f, v) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(f, v) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{k.name: map_tensors(f, getattr(value, k.name)) for k in fields(value) if k.init})
    return value


def _like(value: Any, new: dict[Any, Any]) -> Any:
    """A mapping of the same type with other values; its keys may be numbers."""
    if is_dataclass(value) and not isinstance(value, type):  # Hugging Face's ModelOutput
        return type(value)(**new)
    if isinstance(value, MutableMapping):
        other = copy(value)
        other.update(new)
        return other
    return new


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a nested output."""
    if isinstance(value, Tensor):
        return value
    return next((t for t in map(first_tensor, _held(value).values()) if t is not None), None)


def replace_first(value: Any, new: Tensor) -> Any:
    """The same nested output with its first tensor replaced."""
    done: list[bool] = []

    def swap(t: Tensor) -> Tensor:
        if done:
            return t
        done.append(True)
        return new

    return map_tensors(swap, value)


def _held(value: Any) -> dict[str | int, Any]:
    """What a container holds by key, field's name or number, in the order of `map_tensors`; else nothing."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return {k.name: getattr(value, k.name) for k in fields(value)}
    return {}


def _parts(output: Any) -> dict[str | int, Any]:
    """The outputs in an output by what they can be asked by; of an object that is no container, its attributes."""
    return _held(output) or dict(getattr(output, "__dict__", {}))


# --------------------------------------------------------------------------------------------------
# The class scores in it.

Read = Callable[[Any], Tensor]
NAMES = ("logits", "out", "scores", "output")  # of which the first that is there is meant


def logits_of(output: Any, key: str | int | None = None, classes: int | None = None) -> Tensor:
    """The class scores (N, C), or (N, C, H, W) of a segmentation model, in whatever the network returned.

    `key` says which of several outputs they are. Without it one is taken that is named like scores or alone could be
    some; of several, the only one with as many scores as there are `classes` names.

    Raises:
        ModelError: nothing in it has the form of scores.
        UsageError: several outputs could be meant, or there is none of that key.
    """
    parts = _parts(output)
    if isinstance(output, Tensor):
        found: Tensor | None = _as_scores(output)
    elif key is not None:
        if isinstance(key, int) and key not in parts and -len(parts) <= key < len(parts):
            key = list(parts)[key]  # the fields of a named tuple have numbers too
        if key not in parts:
            raise unknown("output (scores_from)", key, map(str, parts))
        found = _as_scores(parts[key])
    else:
        found = _meant(output, parts, classes)
    if found is None:
        raise ModelError(
            f"the model returned {_told(output)}; expected class scores (N, C). Wrap the model: class "
            "Wrapped(torch.nn.Module) whose forward(images) returns that tensor"
        )
    return found


def _meant(output: Any, parts: Mapping[str | int, Any], classes: int | None) -> Tensor | None:
    could = {k: t for k, v in parts.items() if (t := _as_scores(v)) is not None}
    for name in NAMES:
        if name in could:
            return could[name]
    lists = {k: t for k, t in could.items() if t.dim() == 2}
    could = lists or could  # maps beside class scores are features, or a mask
    named = {k: t for k, t in could.items() if t.shape[1] == classes}
    could = named if len(named) == 1 else could
    if len(could) > 1:
        example = repr(list(could)[-1])
        raise UsageError(
            f"the model returned {_told(output)}, and several of these could be the class scores; say which: "
            f"scores_from={example} (in Python or model.toml)"
        )
    return next(iter(could.values()), None)


def _as_scores(value: Any) -> Tensor | None:
    """A tensor as scores, if its form is that: one number an image is one score, (N, C, 1, 1) a list of C."""
    tensor = value if isinstance(value, Tensor) else None
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return _as_scores(value[0])
    if tensor is None or not tensor.is_floating_point() or tensor.dim() not in (1, 2, 4):
        return None
    if tensor.dim() == 1:
        return tensor[:, None]
    return tensor[:, :, 0, 0] if tensor.dim() == 4 and tensor.shape[2:] == (1, 1) else tensor


def _told(output: Any) -> str:
    """What an output is, in words: its type, and each part's key and shape."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)} {output.dtype}"
    told = (
        f"{k!r}: {tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__}" for k, v in _parts(output).items()
    )
    return f"{type(output).__name__} with {', '.join(told) or 'nothing'}"
