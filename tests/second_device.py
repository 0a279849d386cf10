"""A second device without a GPU: tensors that lie "there" answer as CUDA's do wherever the two devices meet.

Inside `second_device()` the device type `lazy`, which PyTorch knows and no machine has, is there: tensors on it hold
their values on the CPU, cannot be turned into NumPy arrays, and raise when an operation mixes them with tensors that
lie here. What CUDA lets pass is let pass: numbers, tensors without dimensions, indices that lie here. Every copy from
one device to the other is noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

THERE = "lazy:0"
COPIES = {"_to_copy", "copy_", "copy"}
INDEXED = ("index", "_index", "_unsafe_index")  # an index may lie here, as it may beside CUDA
BY_PLACE = {"index_add", "index_add_", "index_copy_", "index_select", "index_fill_"}  # named so, and may not


@dataclass
class Travels:
    """Shapes of the tensors that were copied to the second device, and from it."""

    there: list[tuple[int, ...]] = field(default_factory=list)
    back: list[tuple[int, ...]] = field(default_factory=list)


class There(Tensor):
    """A tensor on the second device; `inner` has its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(THERE),
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self) -> str:
        return f"There({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, Travels())


class _Second(TorchDispatchMode):
    def __init__(self, travels: Travels) -> None:
        super().__init__()
        self.travels = travels

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self.travels)


@contextmanager
def second_device() -> Iterator[Travels]:
    """Within the block, in this thread, `lazy` is a device."""
    travels, before = Travels(), torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # `param.data = ...` would leave `inner` behind
    try:
        with _Second(travels), patch("torch.Generator", _Anywhere):
            yield travels
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


_Generator = torch.Generator


class _Anywhere(torch.Generator):
    """Random numbers of the second device are drawn where its values are kept."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        return _Generator("cpu" if torch.device(device).type == "lazy" else device)


def _run(func: Any, args: Any, kwargs: dict[str, Any], travels: Travels) -> Any:
    name = func._overloadpacket.__name__
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = [x for x in given if isinstance(x, There)]
    if there and name not in COPIES:
        _refuse_mixture(name, [x for x in given if not isinstance(x, There) and x.dim()])
    asked = kwargs.get("device")
    on = {**kwargs, "device": "cpu"} if asked is not None and torch.device(asked).type == "lazy" else kwargs
    out = func(*tree_map(_inside, args), **tree_map(_inside, on))
    own = {id(x.inner): x for x in there}
    far = bool(there) if asked is None else torch.device(asked).type == "lazy"
    if name == "copy_":
        far = isinstance(args[0], There)
    if name in COPIES:
        _note(travels, args[0] if name == "_to_copy" else args[1], far)

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, There) or x.is_meta:
            return x
        return own[id(x)] if id(x) in own else There(x) if far else x

    return tree_map(placed, out)


def _inside(x: Any) -> Any:
    return x.inner if isinstance(x, There) else x


def _refuse_mixture(name: str, here: list[Tensor]) -> None:
    indexing = name.startswith(INDEXED) and name not in BY_PLACE
    wrong = [tuple(x.shape) for x in here if not (indexing and x.dtype in (torch.long, torch.bool, torch.uint8))]
    if wrong:
        raise RuntimeError(
            f"expected all tensors to be on the same device: {name} got {wrong} on the CPU beside lazy:0"
        )


def _note(travels: Travels, source: Tensor, far: bool) -> None:
    if isinstance(source, There) is not far:
        (travels.there if far else travels.back).append(tuple(source.shape))


def _empty(size: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return There(torch.empty(size, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _inside(to).copy_(_inside(source))
    return to


# `x[i] = 1.0` makes and copies its number below the reach of any mode: PyTorch is told how for this device.
_BELOW = torch.library.Library("aten", "IMPL", "Lazy")
_BELOW.impl("empty.memory_format", _empty)
_BELOW.impl("_copy_from", _copy_from)
