"""Several processes that train one part: what each takes of a batch, and what they tell each other.

Everything here does nothing, or the plain thing, where `torch.distributed` is not initialised. R processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR")  # what torchrun, and what calls it, tell every process


@contextmanager
def launched() -> Iterator[None]:
    """Joins the processes that torchrun started beside this one; does nothing in a process that runs alone.

    On CUDA every process takes a GPU of its own, which "cuda" then means. With more processes than GPUs they share.
    """
    alone = not set(LAUNCHED) <= os.environ.keys() or int(os.environ["WORLD_SIZE"]) < 2
    if alone or not dist.is_available() or dist.is_initialized():
        yield
        return
    gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    with joined("cpu:gloo,cuda:nccl" if gpus >= here else "gloo"):
        yield


@contextmanager
def joined(backend: str, **how: Any) -> Iterator[None]:
    """A process group, of which nothing is left afterwards.

    The functions of `torch.distributed.nn` keep the group that is there when they are first imported (an optimiser
    imports them), in their defaults; its threads would then outlive it, and abort a Python that ends before they do.
    """
    import_module("torch.distributed.nn")
    dist.init_process_group(backend, **how)
    try:
        yield
    finally:
        dist.destroy_process_group()


def together() -> bool:
    """Whether there are several processes."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process; 0 is the first, which alone writes and speaks."""
    return dist.get_rank() if together() else 0


def share(rows: Tensor) -> tuple[Tensor, float]:
    """This process's share of a batch's rows (n,), never empty, and its weight R * share / n in the mean."""
    if not together():
        return rows, 1.0
    mine = rows[rank() :: dist.get_world_size()]
    weight = len(mine) * dist.get_world_size() / len(rows)
    return (mine, weight) if len(mine) else (rows[:1], 0.0)


def average(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor by its mean over the processes."""
    if together():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= dist.get_world_size()


def mean_of(value: Tensor, weight: float) -> float:
    """The mean of a scalar over the processes, each with the weight of its share."""
    number = value.detach().float() * weight
    average([number])
    return float(number)


def broadcast(part: nn.Module) -> None:
    """Gives every process the parameters and buffers of the first."""
    if together():
        for tensor in part.state_dict().values():
            dist.broadcast(tensor, 0)


def from_first(make: Callable[[], Any]) -> Any:
    """What the first process makes, in every process; an error that it raises is raised in all, so that none waits."""
    if not together():
        return make()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = make()
        except Exception as e:
            found[1] = e
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]
