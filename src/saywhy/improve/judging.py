"""How good a classifier is on pictures that taught it nothing, and how much it owes to the culprit.

N judged pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.findings.shares import difference
from saywhy.improve.culprit import Culprit
from saywhy.improve.edits import Edits
from saywhy.improve.improved import Blamed, Compared, Estimate, Group
from saywhy.improve.lessons import Frames, Ints, Shot
from saywhy.metrics.statistics import Interval, bootstrap, paired_shares, wilson

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST = 8  # pictures of a group that is judged
DRAWS = 1000
ASKED = 400  # pictures on which the culprit's contribution is measured, at most


@dataclass(frozen=True, eq=False)
class TwoAnswers:
    """Probabilities (N, C) of judged pictures as they are, and those of the finding's class with the culprit turned, of
    some of them (M,)."""

    p: Reals
    turned: Reals | None

    def right(self, labels: Ints) -> Bools:
        """Whether each answer is the label (N,)."""
        return np.asarray(self.p.argmax(axis=1) == labels)


@dataclass(frozen=True, eq=False)
class Bench:
    """What judges: pictures (N,) with labels, which have the culprit, and those on which its contribution is measured
    (numbers into the N)."""

    rows: Ints
    labels: Ints
    present: Bools
    asked: Ints
    finding: Blamed


def bench_of(shots: Sequence[Shot], rows: Ints, culprit: Culprit, finding: Blamed, seed: int) -> Bench:
    """What judges; the culprit is asked about in pictures of the classes that the finding names alone."""
    labels = np.array([shots[r].label for r in rows])
    numbers = set(finding.pictures)
    named = {finding.class_index, finding.versus} | {s.label for s in shots if s.n in numbers}
    concerned = np.flatnonzero(np.isin(labels, [c for c in named if c is not None]))
    asked = np.sort(np.random.default_rng(seed).permutation(concerned)[:ASKED])
    return Bench(rows, labels, culprit.present[rows], asked, finding)


def answers_of(clf: Classifier, frames: Frames, bench: Bench, edits: Edits | None) -> TwoAnswers:
    """What a classifier says of the judged pictures."""
    p = torch.cat([clf.probabilities(images) for _, images in frames.batches(bench.rows)]).double().numpy()
    if edits is None:
        return TwoAnswers(p, None)
    turned = []
    for start in range(0, len(bench.asked), clf.rows):
        some = bench.rows[bench.asked[start : start + clf.rows]]
        images = edits.turned(some.tolist(), some.tolist())
        turned.append(clf.probabilities(images)[:, bench.finding.class_index])
    return TwoAnswers(p, torch.cat(turned).double().numpy() if turned else None)


def contribution(answers: TwoAnswers, bench: Bench) -> Reals | None:
    """By how much the culprit raises the probability of the finding's class in each picture that was asked about."""
    if answers.turned is None:
        return None
    plain = answers.p[bench.asked, bench.finding.class_index]
    return np.asarray(np.where(bench.present[bench.asked], 1.0, -1.0) * (plain - answers.turned))


# --------------------------------------------------------------------------------------------------
# Before and after.


def compared(before: Reals | Bools, after: Reals | Bools, seed: int = 0) -> Compared:
    """Means of the same pictures before and after; shares have Wilson's interval and Newcombe's of their difference,
    the rest that of a bootstrap."""
    if before.dtype == np.bool_ and after.dtype == np.bool_:
        apart = paired_shares(after.astype(np.bool_), before.astype(np.bool_))
    else:
        apart = bootstrap(after.astype(np.float64) - before.astype(np.float64), draws=DRAWS, seed=seed)
    return Compared(before=_mean(before, seed), after=_mean(after, seed), difference=_level(apart))


def _mean(values: Reals | Bools, seed: int) -> Estimate:
    if values.dtype == np.bool_:
        return _level(wilson(int(values.sum()), len(values)))
    return _level(bootstrap(values.astype(np.float64), draws=DRAWS, seed=seed))


def _level(of: Interval) -> Estimate:
    ends = [None if np.isnan(v) else v for v in (of.low, of.high)]
    return Estimate(mean=of.mean, low=ends[0], high=ends[1], count=of.count)


def groups_of(bench: Bench, names: Sequence[str], before: Bools, after: Bools, seed: int) -> tuple[Group, ...]:
    """A group for each class with and without the culprit that has enough pictures, the least accurate before first."""
    found = []
    for label in np.unique(bench.labels):
        for present in (True, False):
            own = (bench.labels == label) & (bench.present == present)
            if own.sum() >= FEWEST:
                told = compared(before[own], after[own], seed)
                found.append(Group(class_index=int(label), class_name=names[label], present=present, accuracy=told))
    return tuple(sorted(found, key=lambda g: (g.accuracy.before.mean, g.class_index, g.present)))


def worst_of(
    bench: Bench, groups: Sequence[Group], before: Bools, after: Bools, seed: int
) -> tuple[Compared, Group, Group]:
    """The least accurate group before and after, and which ones; intervals are of drawing the pictures of each group
    again and looking for the worst once more, and no narrower than those of the groups that were the worst: where none
    of a group is right, drawing again changes nothing."""
    first = min(groups, key=lambda g: g.accuracy.before.mean)
    last = min(groups, key=lambda g: g.accuracy.after.mean)
    dice = np.random.default_rng(seed)
    least: list[list[float]] = [[], []]
    own = [np.flatnonzero((bench.labels == g.class_index) & (bench.present == g.present)) for g in groups]
    for _ in range(DRAWS):
        drawn = [rows[dice.integers(len(rows), size=len(rows))] for rows in own]
        for side, right in zip(least, (before, after), strict=True):
            side.append(min(float(right[rows].mean()) for rows in drawn))
    b, a = (np.array(side) for side in least)
    means = first.accuracy.before.mean, last.accuracy.after.mean
    count = first.accuracy.before.count, last.accuracy.after.count
    hits = [round(mean * n) for mean, n in zip(means, count, strict=True)]
    told = Compared(
        before=_drawn(b, wilson(hits[0], count[0])), after=_drawn(a, wilson(hits[1], count[1])),
        difference=_drawn(a - b, difference(hits[1], count[1], hits[0], count[0])),
    )  # fmt: skip
    return told, first, last


def _drawn(draws: Reals, least: Interval) -> Estimate:
    low, high = (float(v) for v in np.quantile(draws, [0.025, 0.975]))
    return Estimate(mean=least.mean, low=min(low, least.low), high=max(high, least.high), count=least.count)


def linked(bench: Bench, before: TwoAnswers, after: TwoAnswers, seed: int) -> Compared | None:
    """The probability of the finding's class in pictures with the culprit, less the mean of those without it that have
    the same label."""
    c = bench.finding.class_index
    rows: list[list[float]] = [[], []]
    for label in np.unique(bench.labels[bench.asked]):
        own = bench.asked[bench.labels[bench.asked] == label]
        having, lacking = own[bench.present[own]], own[~bench.present[own]]
        if len(having) and len(lacking):
            for side, answers in zip(rows, (before, after), strict=True):
                side += (answers.p[having, c] - answers.p[lacking, c].mean()).tolist()
    return compared(np.array(rows[0]), np.array(rows[1]), seed) if len(rows[0]) > 1 else None


def judged(bench: Bench, names: Sequence[str], before: TwoAnswers, after: TwoAnswers, seed: int) -> dict[str, Any]:
    """All that an improvement is judged by, by the names of its record.

    Raises:
        UsageError: no group has enough pictures.
    """
    right = before.right(bench.labels), after.right(bench.labels)
    groups = groups_of(bench, names, *right, seed)
    if not groups:
        raise UsageError(
            f"no class has {FEWEST} judged pictures with the culprit, or without it: scan more labelled pictures"
        )
    worst, first, last = worst_of(bench, groups, *right, seed)
    owed = contribution(before, bench), contribution(after, bench)
    return {
        "accuracy": compared(*right, seed), "worst": worst, "worst_before": _named(first), "worst_after": _named(last),
        "groups": groups, "linked": linked(bench, before, after, seed),
        "contribution": None if owed[0] is None or owed[1] is None else compared(owed[0], owed[1], seed),
    }  # fmt: skip


def _named(group: Group) -> str:
    return f"{group.class_name} {'with' if group.present else 'without'} it"
