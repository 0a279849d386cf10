"""What is done to the user's own modules while they are run, and undone: modes, hooks, stubs, the random state.

Hooks and stubs work for the thread that set them; a forward pass of another thread runs as if they were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn

from saywhy.locking import ALONE


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Runs alone, in eval mode, with a forked RNG; leaves all modes and the RNG as found, also on error."""
    with ALONE, torch.random.fork_rng(devices=_gpus_of(net)), evaluating(net):
        yield


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Puts a network in eval mode, and leaves every submodule's mode as found; others may run in between."""
    with ALONE:
        modules = _modules_of(net)
        modes = [m.training for m in modules]
        if any(modes):
            net.eval()
    try:
        yield
    finally:
        with ALONE:
            for module, mode in zip(modules, modes, strict=True):
                if module.training is not mode:
                    module.training = mode


def _modules_of(net: nn.Module) -> list[nn.Module]:
    """The network and every module in it, once each; `net.modules()` names them too, which takes four times as long."""
    found, seen = [net], {net}
    for module in found:
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


def _gpus_of(net: nn.Module) -> list[int]:
    """The GPUs whose random numbers the network may draw."""
    if not torch.cuda.is_available():
        return []
    weights = (p for m in _modules_of(net) for p in m._parameters.values() if p is not None)
    return sorted({p.device.index or 0 for p in weights if p.device.type == "cuda"})


@contextmanager
def hooks(pairs: Sequence[tuple[Callable[..., Any], Callable[..., Any]]]) -> Iterator[None]:
    """Registers (register, hook) pairs for this thread and removes them, also on error."""
    handles: list[Any] = []
    try:
        handles.extend(register(_for_this_thread(hook, _nothing)) for register, hook in pairs)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def forwards(stubs: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Puts stubs in place of modules' forward for this thread and restores them, also on error."""
    before = {m: m.__dict__.get("forward") for m in stubs}
    try:
        for module, stub in stubs.items():
            module.__dict__["forward"] = _for_this_thread(stub, module.forward)
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def _for_this_thread(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `ours` in the thread that calls this now, and `theirs` in any other."""
    here = get_ident()

    def either(*args: Any, **kwargs: Any) -> Any:
        return (ours if get_ident() == here else theirs)(*args, **kwargs)

    return either


def _nothing(*_: Any, **__: Any) -> None:
    """A hook that changes nothing."""
