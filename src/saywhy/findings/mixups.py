"""Related classes: two classes that are said for each other more often than errors fall on any two, and that are
runners-up of each other also where the answer is right. What other causes explain is not counted.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from saywhy.findings.labelled import Labelled
from saywhy.findings.shares import more_than
from saywhy.findings.suspicion import Suspicion
from saywhy.metrics.statistics import Interval, wilson

ERRORS = 3  # between the two, at least
LEAST = 0.2  # of the errors of the two, more than by chance
NEAR = 3.0  # times as often runner-up as any other class would be
SHOWN = 24


def look(given: Labelled, explained: frozenset[int]) -> list[Suspicion]:
    """Every pair of classes that are said for each other."""
    if len(given.classes) < 3:
        return []  # of two classes every error is the other one
    open_ = given.wrong & ~np.isin(given.n, list(explained))
    if given.tried:  # of the rest it is not known what explains them
        open_ &= np.isin(given.n, list(given.tried))
    of_class = np.bincount(given.label[open_], minlength=len(given.classes))
    pairs = Counter(
        (min(t, a), max(t, a)) for t, a in zip(given.label[open_].tolist(), given.answer[open_].tolist(), strict=True)
    )
    return [
        _suspicion(given, open_, pair, count, int(of_class[list(pair)].sum())) for pair, count in sorted(pairs.items())
    ]


def runner_up(given: Labelled, pair: tuple[int, int]) -> float:
    """Of the right answers of one class the share whose runner-up is the other; the larger of both."""
    shares = []
    for own, other in (pair, pair[::-1]):
        right = ~given.wrong & (given.label == own)
        shares.append(float((given.second[right] == other).mean()) if right.any() else 0.0)
    return max(shares)


def _suspicion(given: Labelled, open_: np.ndarray, pair: tuple[int, int], count: int, errors: int) -> Suspicion:
    by_chance = 1 / (len(given.classes) - 1)
    share = wilson(count, errors)
    effect = Interval(share.mean - by_chance, share.low - by_chance, share.high - by_chance, errors)
    own = open_ & np.isin(given.label, pair) & np.isin(given.answer, pair)
    near = runner_up(given, pair) >= min(0.5, NEAR * by_chance)
    least = given.n[own][np.argsort((given.p_answer - given.p_label)[own], kind="stable")]
    a, b = (given.classes[c] for c in pair)
    return Suspicion(
        name=f"{a} and {b} are related for the model", effect=effect, p=more_than(by_chance, count, errors),
        errors=tuple(given.n[own].tolist()), pictures=tuple(least[:SHOWN].tolist()),
        large=near and count >= ERRORS and effect.mean >= LEAST, class_index=pair[0], versus=pair[1],
    )  # fmt: skip
