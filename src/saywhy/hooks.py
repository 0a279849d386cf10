"""What is done to the user's own modules while they are run, and undone: modes, hooks, stubs, the random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Runs in eval mode with a forked RNG, and leaves every submodule's mode and the RNG as found, also on error."""
    modules = list(net.modules())
    modes = [m.training for m in modules]
    cuda = torch.cuda.is_available() and {p.device.index or 0 for p in net.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(cuda or ())):
        try:
            if any(modes):
                net.eval()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                if module.training is not mode:
                    module.training = mode


@contextmanager
def hooks(pairs: Sequence[tuple[Callable[..., Any], Callable[..., Any]]]) -> Iterator[None]:
    """Registers (register, hook) pairs and removes them, also on error."""
    handles: list[Any] = []
    try:
        handles.extend(register(hook) for register, hook in pairs)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def forwards(stubs: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Puts stubs in place of modules' forward and restores them, also on error."""
    before = {m: m.__dict__.get("forward") for m in stubs}
    try:
        for module, stub in stubs.items():
            module.__dict__["forward"] = stub
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward
