"""Every pass through a network is counted where the network is run, and whoever raises there is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from saywhy.errors import ModelError, UsageError


@dataclass
class Meter:
    """Images sent through the whole network and through a tail alone, while a `counting` block was open."""

    forward_passes: int = 0
    tail_passes: int = 0


_METERS: ContextVar[tuple[Meter, ...]] = ContextVar("meters", default=())


@contextmanager
def counting() -> Iterator[Meter]:
    """Counts the passes made inside the block, by this thread, through any classifier."""
    meter = Meter()
    token = _METERS.set((*_METERS.get(), meter))
    try:
        yield meter
    finally:
        _METERS.reset(token)


def tally(forward: int = 0, tail: int = 0) -> None:
    """Adds to every meter that is open in this context: rows through the whole network, rows through a tail."""
    for meter in _METERS.get():
        meter.forward_passes += forward
        meter.tail_passes += tail


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Turns whatever the network raises into a ModelError that says who raised it."""
    try:
        yield
    except (ModelError, UsageError):
        raise
    except Exception as e:
        raise ModelError(f"{name} raised {type(e).__name__}: {e}") from e
