"""What is done to the user's own modules while they are run, and undone: flags, hooks, stubs, the random state.

Hooks and stubs work for the thread that set them; a forward pass of another thread runs as if they were not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.locking import ALONE

# What is switched off while a network is asked. The flags are set one by one: `eval()` may be the user's own, and do
# more (loralib merges weights). Checkpointing would run modules once more on the way back, in the mode found then.
CHECKPOINTING = ("grad_checkpointing", "gradient_checkpointing")


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Runs alone, in eval mode, with a forked RNG; leaves all modes and the RNG as found, also on error."""
    with ALONE, torch.random.fork_rng(devices=_gpus_of(net)), evaluating(net), as_written():
        yield


def as_written() -> AbstractContextManager[object]:
    """Compiled modules run as they were written: what is compiled calls no hooks, or compiles ours too."""
    compiled = "torch._dynamo" in sys.modules  # else nothing is; and importing it takes seconds
    known = compiled and hasattr(torch.compiler, "set_stance")
    return torch.compiler.set_stance("force_eager") if known else nullcontext()


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Switches training and CHECKPOINTING off in every module, and leaves them as found; others may run in between."""
    with ALONE:
        modules = _modules_of(net)
        on = [(m, "training") for m in modules if getattr(m, "training", False)]  # frozen scripts have none
        # Of each module's own dictionary: `getattr` for what is not there takes a millisecond over 200 modules.
        on += [(m, flag) for m in modules for flag in CHECKPOINTING if m.__dict__.get(flag) is True]
        for module, flag in on:
            setattr(module, flag, False)
    try:
        yield
    finally:
        with ALONE:
            for module, flag in on:
                setattr(module, flag, True)


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
def stubs(of: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Puts functions in place of modules for this thread and takes them away, also on error.

    A stub stands for the whole call, the user's own hooks included: they have seen, and perhaps changed, the output
    that it repeats. torch calls `_compiled_call_impl` in place of a module where there is one.
    """
    name = "_compiled_call_impl"
    before = {m: m.__dict__.get(name) for m in of}
    try:
        for module, stub in of.items():
            module.__dict__[name] = _for_this_thread(stub, before[module] or module._call_impl)
        yield
    finally:
        for module, call in before.items():
            module.__dict__.pop(name, None)
            if call is not None:
                module.__dict__[name] = call


def random_state(device: torch.device) -> tuple[Tensor, ...]:
    """torch's random state on the CPU and, where it is one, on that GPU."""
    return (torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else []))


def set_random_state(state: tuple[Tensor, ...], device: torch.device) -> None:
    """Goes back to a state that `random_state` gave for the same device."""
    torch.set_rng_state(state[0])
    for of_gpu in state[1:]:
        torch.cuda.set_rng_state(of_gpu, device)


def _for_this_thread(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `ours` in the thread that calls this now, and `theirs` in any other."""
    here = get_ident()

    def either(*args: Any, **kwargs: Any) -> Any:
        return (ours if get_ident() == here else theirs)(*args, **kwargs)

    return either


def _nothing(*_: Any, **__: Any) -> None:
    """A hook that changes nothing."""
