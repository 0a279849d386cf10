"""The culprit of a finding in the pictures: which have it, and where it is in them.

N pictures; masks (H, W) bool as the classifier sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saywhy.attributes.phrases import named
from saywhy.errors import UsageError, unknown
from saywhy.improve.improved import Blamed
from saywhy.improve.lessons import Frames, Shot

BEHIND = "surroundings:"  # before a cue: it is what is behind the object, not a thing of its own
SHOWN = 40  # names that an error offers


@dataclass(frozen=True, eq=False)
class Culprit:
    """What a model leans on, and should not: `present` (N,) says which pictures have it, `where(row)` where it is
    (None: nobody knows). `behind`: it is the surroundings, and `where` is all but the object."""

    name: str
    how: str
    present: NDArray[np.bool_]
    where: Callable[[int], Tensor] | None = None
    behind: bool = False


def cue_of(finding: Blamed) -> str:
    """The cue that a finding names: its cause, which is behind the object if it is of the context."""
    return f"{BEHIND}{finding.cause}" if finding.kind == "context" else finding.cause


def culprit_of(cue: str, shots: Sequence[Shot], frames: Frames) -> Culprit:
    """The culprit that a cue names: a mask or box, an attribute, or KEY=VALUE (a.b=value) of an images.jsonl.

    "surroundings:" before it says that it is what is behind the object.

    Raises:
        UsageError: no picture has it, all have it, or nothing is known of the pictures.
    """
    behind, name = cue.startswith(BEHIND), cue.removeprefix(BEHIND).strip()
    for find in CUES:
        found = find(name, shots, frames)
        if found is not None:
            break
    else:
        raise _nowhere(name, shots)
    if not 0 < found.present.sum() < len(shots):
        which = "all" if found.present.any() else "none"
        raise UsageError(f"{which} of the {len(shots)} labelled pictures have {name!r}: nothing can be compared")
    if behind:
        return Culprit(name, f"{found.how}; it is behind the object", found.present, lambda r: ~frames.object(r), True)
    return found


def _marked(name: str, shots: Sequence[Shot], frames: Frames) -> Culprit | None:
    present = np.array([name in _marks(s) for s in shots])
    if not present.any():
        return None
    return Culprit(name, "pictures in which a mask or box of that name is", present, lambda r: frames.marked(r, name))


def _marks(shot: Shot) -> set[str]:
    return {str(row.get("name")) for kind in ("masks", "boxes") for row in shot.item.truth.get(kind, ())}


def _attribute(name: str, shots: Sequence[Shot], frames: Frames) -> Culprit | None:
    wanted = str(named(name))
    present = np.array([wanted in {str(named(str(a))) for a in s.item.truth.get("attributes", ())} for s in shots])
    return Culprit(name, "pictures that have the attribute", present) if wanted and present.any() else None


def _column(name: str, shots: Sequence[Shot], frames: Frames) -> Culprit | None:
    key, equals, wanted = name.partition("=")
    values = [_value(s.item.truth, key.strip()) for s in shots]
    if all(v is None for v in values):
        return None
    present = np.array([_written(v) == wanted.strip() if equals else bool(v) for v in values])
    if not present.any():
        known = sorted({_written(v) for v in values if v is not None})
        raise unknown(f"value of {key}", wanted or "true", known)
    return Culprit(name, f"pictures whose {key} says so", present)


def _value(row: Any, key: str) -> Any:
    """What stands in a row under "a.b.c"."""
    for part in key.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


CUES: tuple[Callable[[str, Sequence[Shot], Frames], Culprit | None], ...] = (_marked, _attribute, _column)


def _nowhere(name: str, shots: Sequence[Shot]) -> UsageError:
    marks = sorted({m for s in shots for m in _marks(s)})
    keys = sorted({k for s in shots for k in s.item.truth if not k.startswith("_")})
    if not keys:
        return UsageError(
            f"nothing says which pictures have {name!r}: give an images.jsonl with masks, attributes or columns "
            "(--listing FILE), or scan a folder that has one"
        )
    return UsageError(
        f"{unknown('cue', name, [*marks, *keys])}; a cue (--cue) is a mask or box "
        f"({', '.join(marks[:SHOWN]) or 'none'}), an attribute, or KEY=VALUE of images.jsonl "
        f"({', '.join(keys[:SHOWN])})"
    )
