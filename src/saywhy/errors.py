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
import re
from collections.abc import Iterable
from difflib import get_close_matches

MOST_OFFERED = 5


class SaywhyError(Exception):
    """Parent of all errors raised on purpose."""


class UsageError(SaywhyError, ValueError):
    """What was asked for does not exist or does not fit; nothing was run."""


class ExtraMissing(UsageError):
    """A part needs a package that only an optional extra installs."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        # The package's own name works from a clone and from a wheel; that of an extra only where saywhy is on an index.
        name = package.partition(".")[0].replace("_", "-")
        super().__init__(f"{what} needs the package {name!r}: pip install {name} (it is in saywhy's extra {extra!r})")


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


def plain(name: str) -> str:
    """A name as people compare it: case, underscores, hyphens and further spaces do not count."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _near(name: str, names: list[str]) -> list[str]:
    """Names that hold it as a word, then as a part of one; where there are none, at most three that look like it."""
    asked, known = plain(name), {n: plain(n) for n in names}
    words = [n for n, p in known.items() if f" {asked} " in f" {re.sub(r'[^a-z0-9]+', ' ', p)} "]
    holds = [n for n, p in known.items() if len(asked) > 2 and asked in p]
    if found := list(dict.fromkeys([*words, *holds])):
        return found[:MOST_OFFERED]
    near = get_close_matches(asked, list(known.values()), n=3, cutoff=0.5)
    return [n for n, p in known.items() if p in near][:3]


def unknown(what: str, name: object, known: Iterable[str]) -> UsageError:
    """A UsageError that names the nearest of the known names: those that hold it, else those that look like it."""
    names = list(known)
    if close := _near(str(name), names):
        hint = "did you mean " + " or ".join(repr(n) for n in close) + "?"
    else:
        shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
        hint = f"known: {shown}"
    return UsageError(f"unknown {what} {str(name)!r}; {hint}")
