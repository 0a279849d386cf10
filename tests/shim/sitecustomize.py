"""Lets a torchvision whose compiled operators do not load be imported, for tests and benchmarks only.

Put this folder on PYTHONPATH: every process of a test run gets it, the command line and spawned workers too. When
torchvision is first imported and its own library does not load, the schemas of two operators that it looks up at
import are registered; calling them still fails, so detectors cannot be run with it. Costs nothing until then.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


class OperatorSchemas(MetaPathFinder):
    """Acts once, before torchvision's own finder is asked."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = PathFinder.find_spec(fullname)
            if spec is not None and spec.origin is not None and not _loads(Path(spec.origin).parent):
                register()
        return None


def _loads(folder: Path) -> bool:
    import torch

    for library in folder.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except (OSError, RuntimeError):
            return False
        return True
    return False


def register() -> None:
    """Registers the schemas of torchvision::nms and torchvision::qnms."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library._kept_torchvision = library  # type: ignore[attr-defined]  # the schemas die with this object


if not any(type(finder).__name__ == "OperatorSchemas" for finder in sys.meta_path):
    sys.meta_path.insert(0, OperatorSchemas())
