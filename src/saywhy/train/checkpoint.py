"""Checkpoints: one safetensors file, named groups of tensors in it and everything else as JSON in its header.

One file, so that weights and state never disagree; it is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.errors import UsageError

FORMAT = 1


def write(file: Path, groups: Mapping[str, Mapping[str, Tensor]], header: Mapping[str, Any]) -> None:
    """Writes groups of tensors by name, and what JSON can say.

    Raises:
        InputError: it cannot be written; the file of before is as it was.
    """
    tensors = {f"{kind}.{name}": value for kind, group in groups.items() for name, value in group.items()}
    told = {"format": str(FORMAT)} | {name: json.dumps(value) for name, value in header.items()}
    files.write(file, serialised({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, told))


def read(file: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The groups and the header of a file that `write` made.

    Raises:
        UsageError: it cannot be read.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(file, "pt") as saved:
            header = {k: json.loads(v) for k, v in (saved.metadata() or {}).items()}
            for key in saved.keys():  # noqa: SIM118
                kind, name = key.split(".", 1)
                groups.setdefault(kind, {})[name] = saved.get_tensor(key)
    except Exception as e:
        raise unreadable(file, e) from e
    return groups, header


def beside(file: Path, name: str) -> Path:
    """The checkpoint of a part of the run that has this one."""
    return file.with_name(f"{file.name.removesuffix('.safetensors')}.{name}.safetensors")


def unfinished(file: Path | None) -> tuple[Path, ...]:
    """All checkpoints that a run with this one (None: without any) has left."""
    if file is None:
        return ()
    return tuple(sorted(f for f in {file, *file.parent.glob(f"{file.stem}.*{file.suffix}")} if f.exists()))


def unreadable(file: Path, why: Exception) -> UsageError:
    """The error of a file that is no checkpoint."""
    return UsageError(f"{file}: no checkpoint that can be read ({type(why).__name__}: {why}); delete it")
