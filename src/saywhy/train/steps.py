"""The steps of a long run, each kept in a file of its own once it is done: a run that is begun again takes them up.

A step is a pure function of the run: what it gives does not depend on what was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import saywhy
from saywhy.collection import Item
from saywhy.errors import UsageError
from saywhy.train import checkpoint as checkpoints
from saywhy.train.distributed import rank

Kept = tuple[Mapping[str, Tensor], Mapping[str, Any]]  # tensors by name, and what JSON can say


@dataclass(frozen=True)
class Steps:
    """The steps of one run, beside its checkpoint NAME.checkpoint.safetensors (None: nothing is kept); `run` is what
    makes it this run, as JSON can say it."""

    checkpoint: Path | None = None
    run: Mapping[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` gives, or gave before the run was interrupted.

        Raises:
            UsageError: what was kept is of another run, or cannot be read.
        """
        file = checkpoints.beside(self.checkpoint, name) if self.checkpoint is not None else None
        if file is not None and file.exists():
            return self._kept(file)
        tensors, told = make()
        if file is not None and rank() == 0:
            checkpoints.write(file, {"step": tensors}, {"run": self._run, "told": told})
        return tensors, told

    def each(self, name: str, count: int, size: int, make: Callable[[range], Kept]) -> list[Kept]:
        """The same of so many rows, `size` of them a step."""
        some = (range(start, min(start + size, count)) for start in range(0, count, size))
        return [self.once(f"{name}-{rows.start}", partial(make, rows)) for rows in some]

    @property
    def _run(self) -> dict[str, Any]:
        return {"saywhy": saywhy.__version__, **self.run}

    def _kept(self, file: Path) -> Kept:
        groups, header = checkpoints.read(file)
        was, told = header.get("run", {}), header.get("told", {})
        differ = [f"{k} {was.get(k)} (now {now})" for k, now in self._run.items() if was.get(k) != now]
        if differ:
            raise UsageError(
                f"{file}: a checkpoint of another run: {', '.join(differ)}; delete the *.checkpoint.* files there, or "
                "use its settings"
            )
        return groups.get("step", {}), told


def drawn(items: Sequence[Item], most: int, seed: int) -> list[Item]:
    """At most so many of the items, in their order: what a run of bounded memory looks at."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))[:most]
    return [items[i] for i in sorted(order.tolist())]


def mark(values: Iterable[object]) -> str:
    """A few characters that differ where the values, as text, do: for what is too long to stand in a header."""
    return hashlib.sha256(json.dumps([str(value) for value in values]).encode()).hexdigest()[:16]
