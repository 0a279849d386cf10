"""Methods of captum, an optional extra, behind the same contract. They are called, not rewritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Adapter:
    """A captum method behind saywhy's contract."""

    function: Callable[..., Tensor]
    summary: str
    source: str
    passes: str


ADAPTERS: dict[str, Adapter] = {}
