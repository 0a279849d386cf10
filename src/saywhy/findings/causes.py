"""What makes errors, found by changing pictures: surroundings, a mark, a thing that looks like a part, a second object,
the side that a thing faces. Each change is compared with one that should not mend anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saywhy.explanation import place_word
from saywhy.findings.groups import (
    FEWEST,
    MENDED,
    SHOWN,
    ErrorGroup,
    Gain,
    answers,
    involved,
    pairs,
    suspected,
    tried_errors,
    tried_right,
)
from saywhy.findings.labelled import Labelled
from saywhy.findings.outcomes import Box, Outcomes
from saywhy.findings.shares import difference, likelier, paired
from saywhy.findings.suspicion import Suspicion
from saywhy.language.appearance import at

LEAST = 0.25  # of the errors of a group that a change mends, more than the one beside it
ANYWHERE = 0.1  # the same of all errors, whatever their classes
INSIDE = 0.5  # of a patch lies on the object: it is a part of it


def shortcut(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """A mark beside the object makes one answer: painted over, the label is said; put into pictures of the label's
    class, that answer is said. Errors of the other class before whose surroundings it lacks are of the same cause."""
    errors = tried_errors(given, explained)
    found = []
    for group in answers(errors):
        own = replace(group, errors=tuple(e for e in group.errors if not _inside(e)))
        if len(own.errors) < FEWEST:
            continue
        box = _usual([e.patch.box for e in own.errors if e.planting >= MENDED and e.patch is not None])
        where = "" if box is None else f" {_where(box)}"
        name = f"{given.classes[_of(group)]} is said because of a mark{where}"
        one = suspected(own, lambda e: e.planting, LEAST, name, cause=f"a mark{where}", box=box)
        found.append(_with_the_lacking(one, errors))
    return found


def _with_the_lacking(found: Suspicion, errors: Sequence[Outcomes]) -> Suspicion:
    others = {e.versus for e in errors if e.n in set(found.errors)}
    lacking = [e.n for e in errors if e.versus == found.class_index and e.answer in others and e.surroundings >= MENDED]
    return replace(found, errors=tuple(sorted({*found.errors, *lacking})))


def _of(group: ErrorGroup) -> int:
    assert group.class_index is not None
    return group.class_index


def _inside(e: Outcomes) -> bool:
    return e.patch is not None and (e.patch.value or 0.0) >= INSIDE


def _usual(boxes: Sequence[Box | None]) -> Box | None:
    """The box that occurs most often."""
    counts = Counter(box for box in boxes if box is not None)
    return max(counts, key=lambda b: (counts[b], b)) if counts else None


def _where(box: Box) -> str:
    x0, y0, x1, y1 = (round(100 * v) for v in box)
    mask = np.zeros((100, 100), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return at(place_word(mask))


def false_alarm(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Something beside the object is taken for a part: painted over, the label is said; put into pictures of the
    label's class, what was said of it is said."""
    errors = [e for e in tried_errors(given, explained) if not _inside(e)]
    name = "something beside the object is taken for a part of it"
    return _over_all(errors, lambda e: e.planting, name, "something beside the object")


def confused(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """A part of the object makes the errors of two classes."""
    errors = [e for e in tried_errors(given, explained) if _inside(e)]
    found = []
    for group in pairs(errors):
        box = _usual([e.patch.box for e in group.errors if e.planting >= MENDED and e.patch is not None])
        where = "" if box is None else f" {_where(box)}"
        a, b = (given.classes[c] for c in (_of(group), group.versus or 0))
        name = f"a part{where} is what {a} and {b} are confused by"
        found.append(suspected(group, lambda e: e.planting, LEAST, name, cause=f"a part{where}", box=box))
    return found


def context(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """The surroundings decide: before those of the label's class the label is said, before those of the answer's class
    it is not; the same object, the same cut. And of recognised pictures: they are lost before others' surroundings."""
    found = []
    for group in _groups(tried_errors(given, explained)):
        names = " or ".join(given.classes[c] for c in (group.class_index, group.versus) if c is not None)
        name = f"the surroundings decide whether {names} is said"
        found.append(suspected(group, lambda e: e.surroundings, LEAST, name, cause="surroundings"))
    return found + _needed(given)


def _groups(errors: Sequence[Outcomes]) -> list[ErrorGroup]:
    return [*pairs(errors), *involved(errors)]


def _needed(given: Labelled) -> list[Suspicion]:
    """Of each class: are its recognised pictures lost before the surroundings of other classes, and not of its own?"""
    found = []
    for group in answers(tried_right(given)):
        gains = [_lost(e) for e in group.errors]
        effect, p = paired(gains)
        own = _of(group)
        errors = [e.n for e in tried_errors(given) if e.versus == own and e.surroundings >= MENDED]
        worst = sorted(group.errors, key=lambda e: (-_lost(e), e.n))
        found.append(
            Suspicion(
                name=f"{given.classes[own]} is recognised by its surroundings", effect=effect, p=p,
                errors=tuple(errors), pictures=tuple(errors or [e.n for e in worst[:FEWEST]]),
                large=effect.mean >= LEAST, class_index=own, cause="surroundings needed",
            )
        )  # fmt: skip
    return found


def _lost(e: Outcomes) -> float:
    own, other = e.share("placed", e.answer, "answer"), e.share("placed", e.answer, "other")
    return 0.0 if own is None or other is None else own - other


def several(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """The label's class is seen in one place and another one apart from it, oftener in errors than in right answers."""
    sides = (tried_errors(given, explained), tried_right(given))
    if min(map(len, sides)) < FEWEST:
        return []
    seen = [e for e in sides[0] if e.places(e.versus)]
    others = sum(e.places(e.answer) for e in sides[1])
    effect = difference(len(seen), len(sides[0]), others, len(sides[1]))
    numbers = tuple(e.n for e in seen)
    return [
        Suspicion(
            name="a second object of another class is in the picture", effect=effect,
            p=likelier(len(seen), len(sides[0]), others, len(sides[1])), errors=numbers, pictures=numbers[:SHOWN],
            large=effect.mean >= ANYWHERE and len(seen) >= FEWEST, cause="a second object",
        )
    ]  # fmt: skip


def facing(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """The mirrored picture is said to be the label, a shifted one is not."""
    errors = tried_errors(given, explained)
    found = []
    for group in _groups(errors):
        names = " and ".join(given.classes[c] for c in (group.class_index, group.versus) if c is not None)
        name = f"{names}: the side that the object faces decides"
        found.append(suspected(group, lambda e: e.mirror, LEAST, name, cause="facing"))
    return found


def _over_all(errors: Sequence[Outcomes], gain: Gain, name: str, cause: str) -> list[Suspicion]:
    if len(errors) < FEWEST:
        return []
    return [suspected(ErrorGroup(None, None, tuple(errors)), gain, ANYWHERE, name, cause=cause)]
