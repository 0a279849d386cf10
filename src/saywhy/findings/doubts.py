"""Wrong labels: errors that look like any picture of what is said, and of which hardly any change brings the label."""

from __future__ import annotations

import numpy as np

from saywhy.findings.groups import SHOWN, tried_errors
from saywhy.findings.labelled import Doubles, Labelled
from saywhy.findings.outcomes import Outcomes
from saywhy.findings.shares import more_than
from saywhy.findings.suspicion import Suspicion
from saywhy.metrics.statistics import Interval, wilson

USUAL = 0.1  # of the right answers of a class are less sure than an error that looks like any of them
HARDLY = 0.1  # of all changes bring the label, at most
BY_CHANCE = 0.1  # of the errors look so though the label is right
ACTS = ("placed", "closer", "painted", "mirrored", "shifted")
FEWEST = 2


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """All errors that were tried, in one test."""
    errors = tried_errors(given, explained)
    if not errors:
        return []
    doubt = doubts(given)
    suspects = [e for e in errors if doubted(given, e, doubt)]
    suspects.sort(key=lambda e: (-float(doubt[given.place(np.asarray([e.n]))[0]]), e.n))
    share, floor = wilson(len(suspects), len(errors)), BY_CHANCE
    effect = Interval(share.mean - floor, share.low - floor, share.high - floor, len(errors))
    return [
        Suspicion(
            name="labels are wrong", effect=effect, p=more_than(floor, len(suspects), len(errors)),
            errors=tuple(sorted(e.n for e in suspects)), pictures=tuple(e.n for e in suspects[:SHOWN]),
            large=effect.mean >= floor and len(suspects) >= FEWEST, cause="label",
        )
    ]  # fmt: skip


def doubts(given: Labelled) -> Doubles:
    """How much each label (N,) is doubted: 0 where it is the answer, else the share of the right answers of the class
    that was said that are less sure, plus the margin of the answer over the label, halved."""
    out = np.zeros(len(given.n))
    for c in np.unique(given.answer[given.wrong]).tolist():
        right = np.sort(given.p_answer[~given.wrong & (given.answer == c)])
        own = given.wrong & (given.answer == c)
        below = np.searchsorted(right, given.p_answer[own], side="right") / max(len(right), 1)
        out[own] = (below + given.p_answer[own] - given.p_label[own]) / 2
    return out


def doubted(given: Labelled, e: Outcomes, doubt: Doubles) -> bool:
    """Whether it looks like a wrong label: hardly any change brings the label, and the answer is as sure as others."""
    at = int(given.place(np.asarray([e.n]))[0])
    right = given.p_answer[~given.wrong & (given.answer == e.answer)]
    if len(right) == 0 or float((right <= given.p_answer[at]).mean()) < USUAL:
        return False
    said = [r.said == e.versus for act in ACTS for r in e.rows.get(act, ())]
    return sum(said) <= HARDLY * len(said)
