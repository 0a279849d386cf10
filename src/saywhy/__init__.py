"""saywhy: explains the decisions of image classifiers, and checks every sentence before it says it.

The public names are the lines of `__init__.pyi`, and stand nowhere else. They are loaded when they are first asked for,
so that a renderer or the command line's help costs no import of torch.
"""

from __future__ import annotations

import ast
import pkgutil
from importlib import import_module

__version__ = "0.1.0"


def _listed() -> dict[str, str]:
    """The public names, and in which module each one is."""
    lines = ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"").body
    return {a.name: str(line.module) for line in lines if isinstance(line, ast.ImportFrom) for a in line.names}


_HOME = _listed()
__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'saywhy' has no attribute {name!r}")
    module = _HOME[name]
    if module in ("saywhy", f"saywhy.{name}"):
        # A folder of modules: `saywhy.audit`. `saywhy.saliency` is a function too, its folder can be called.
        return import_module(f"saywhy.{name}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
