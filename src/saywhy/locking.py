"""One thread at a time: the lock around everything that touches a module's state or torch's random numbers.

One lock for the process, not one a network: networks share submodules, and all share torch's random state; with one
lock there is no order in which two could be taken, hence no deadlock. It is held for one pass, not for a whole
explanation, and torch spreads a pass over the cores by itself. A thread that holds it may take it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import Any, TypeVar

import torch

T = TypeVar("T")

ALONE = RLock()

if hasattr(
    os, "register_at_fork"
):  # a child process starts between two passes, not with another thread's lock and stubs
    os.register_at_fork(before=ALONE.acquire, after_in_parent=ALONE.release, after_in_child=ALONE.release)


class once(cached_property[T]):  # noqa: N801  a decorator, written like the one it extends
    """A cached property that several threads compute once; the lock comes first, so that two cannot wait crosswise."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """The value, computed at the first call."""
        with ALONE:
            return super().__get__(instance, owner)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Alone with torch's own random numbers on the CPU, seeded; leaves them as found."""
    with ALONE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
