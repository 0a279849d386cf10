"""Groups of errors that one cause may be behind: all, those of two classes, those with one answer or one label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saywhy.findings.labelled import Labelled
from saywhy.findings.outcomes import Outcomes
from saywhy.findings.shares import paired
from saywhy.findings.suspicion import Suspicion

FEWEST = 4  # errors of a group that is tested
MENDED = 0.5  # a gain from which an error is explained
SHOWN = 24

Gain = Callable[[Outcomes], float]


@dataclass(frozen=True)
class ErrorGroup:
    """Some errors, and the classes that they share, if any."""

    class_index: int | None
    versus: int | None
    errors: tuple[Outcomes, ...]


def tried_errors(given: Labelled, but: frozenset[int] = frozenset()) -> list[Outcomes]:
    """The errors that were tried and that nothing explains yet."""
    return [given.tried[n] for n in given.errors.tolist() if n in given.tried and n not in but]


def tried_right(given: Labelled) -> list[Outcomes]:
    """The right answers that were tried."""
    return [given.tried[n] for n in given.n[~given.wrong].tolist() if n in given.tried]


def pairs(errors: Sequence[Outcomes]) -> list[ErrorGroup]:
    """Errors between two classes, either way."""
    return _by(errors, lambda e: (min(e.answer, e.versus), max(e.answer, e.versus)))


def answers(errors: Sequence[Outcomes]) -> list[ErrorGroup]:
    """Errors with one answer."""
    return _by(errors, lambda e: (e.answer, None))


def involved(errors: Sequence[Outcomes]) -> list[ErrorGroup]:
    """Errors of which a class is answer or label, where these are of more than one pair."""
    classes = sorted({c for e in errors for c in (e.answer, e.versus)})
    found = [ErrorGroup(c, None, tuple(e for e in errors if c in (e.answer, e.versus))) for c in classes]
    return [
        g for g in found if len(g.errors) >= FEWEST and len({frozenset((e.answer, e.versus)) for e in g.errors}) > 1
    ]


def _by(errors: Sequence[Outcomes], key: Callable[[Outcomes], tuple[int, int | None]]) -> list[ErrorGroup]:
    found: dict[tuple[int, int | None], list[Outcomes]] = defaultdict(list)
    for e in errors:
        found[key(e)].append(e)
    return [ErrorGroup(*k, tuple(own)) for k, own in sorted(found.items(), key=str) if len(own) >= FEWEST]


def suspected(group: ErrorGroup, gain: Gain, least: float, name: str, **more: object) -> Suspicion:
    """The test whether a change mends a group's errors more than the one beside it; `least` gain is worth telling."""
    gains = [gain(e) for e in group.errors]
    effect, p = paired(gains)
    mended = sorted((e for e in group.errors if gain(e) >= MENDED), key=lambda e: (-gain(e), e.n))
    return Suspicion(
        name=name, effect=effect, p=p, errors=tuple(sorted(e.n for e in mended)),
        pictures=tuple(e.n for e in mended[:SHOWN]), large=effect.mean >= least and len(mended) >= FEWEST - 1,
        class_index=group.class_index, versus=group.versus, **more,  # type: ignore[arg-type]
    )  # fmt: skip
