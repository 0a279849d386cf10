"""Every error that saywhy raises on purpose.

SaywhyError
├── UsageError      an option, method, layer, class or model that does not exist, or does not fit   (exit code 2)
│   └── ExtraMissing    the option needs a package of an optional extra
├── InputError      an image, folder or file that cannot be used                                    (exit code 1)
└── ModelError      the classifier answered with something that cannot be explained                 (exit code 1)

A message says the contract that was broken and the way out.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from difflib import get_close_matches


class SaywhyError(Exception):
    """Parent of all errors raised on purpose."""


class UsageError(SaywhyError, ValueError):
    """What was asked for does not exist or does not fit; nothing was run."""


class ExtraMissing(UsageError):
    """A part needs a package that only an optional extra installs."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the package {package!r}: pip install 'saywhy[{extra}]'")


class InputError(SaywhyError, ValueError):
    """An image, folder or file cannot be read or used."""


class ModelError(SaywhyError, RuntimeError):
    """The classifier failed, or answered with NaN or a shape that is no list of class scores."""


def no_inside(lacks: str, way: str = "use a method that needs only its scores (rise, occlusion)") -> UsageError:
    """A UsageError for what a black box does not have ("layers", "gradients"), and the way out."""
    return UsageError(f"a black-box classifier has no {lacks}; {way}")


def whole(what: str, value: object, low: int = 0, high: int = 2**63 - 1) -> int:
    """A whole number from `low` to `high` as an int: Python's own, NumPy's, or a tensor that holds one.

    Raises:
        UsageError: it is none, or lies elsewhere.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        ends = f"from {low} to {high}" if high < 2**31 else f"of at least {low}"
        raise UsageError(f"{what} is a whole number {ends}, not {value!r}")
    return number


def unknown(what: str, name: object, known: Iterable[str]) -> UsageError:
    """A UsageError that names the nearest of the known names."""
    names = list(known)
    near = get_close_matches(str(name).lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    close = [n for n in names if n.lower() in near]
    if close:
        hint = "did you mean " + " or ".join(repr(n) for n in close[:3]) + "?"
    else:
        shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
        hint = f"known: {shown}"
    return UsageError(f"unknown {what} {str(name)!r}; {hint}")
