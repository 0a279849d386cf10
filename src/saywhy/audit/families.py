"""Which family an error belongs to, and the sentence that says why, both from what was measured.

The families of section 4.4.2 of the L-CAM paper are sorted by eye there; here a table of tests decides, FAMILIES. A row
is all that a family is: the record, the page, the command line and the reference have it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saywhy.audit.report import Closer, Experiments, Nearness, PairAnswer, Placed
from saywhy.explanation import place_word
from saywhy.language.appearance import at
from saywhy.render.wording import measured, percent

# Set on seed 11 of the aviary and on no other (benchmarks/failures.py measures on others).
CONTEXT = 0.4  # probability of the truth that surroundings must bring
FOUND = 0.6  # probability from which a class is found in a window
APART = 0.3  # overlap of two windows that show two places, at most
NEARLY_ALL = 0.75  # of the other surroundings
NOWHERE = 0.25  # below this everywhere, a class is found nowhere
STAYS = 0.5  # mean probability of the predicted class before other surroundings
AGREE = 0.5  # correlation of two maps that point to the same place
NEAR = 0.015  # share of the other classes: the true one is this near, or the very nearest
FIRST = 5  # answers among which the truth is
DONORS = 2  # of each kind, or the surroundings say nothing


@dataclass(frozen=True)
class Case:
    """All that decides about one error; names are those of the predicted and the true class."""

    predicted: str
    true: str
    whole: tuple[float, float]
    truth_rank: int
    similarity: float | None
    nearness: Nearness | None
    experiments: Experiments


def near(nearness: Nearness | None) -> bool:
    """Whether two classes are near for the classifier."""
    return nearness is not None and nearness.rank <= max(1, round(NEAR * nearness.of))


def context(case: Case) -> bool:
    """The class's own surroundings bring the truth, or any surroundings but the picture's own do."""
    effect = effect_of_surroundings(case.experiments)
    return (effect is not None and effect >= CONTEXT) or misled(case.experiments)


def effect_of_surroundings(found: Experiments) -> float | None:
    """Probability of the truth before its own class's surroundings, minus before the predicted one's; None without."""
    own, against = found.surroundings.get("true", ()), found.surroundings.get("predicted", ())
    return None if len(own) < DONORS or len(against) < DONORS else mean(own, "true") - mean(against, "true")


def misled(found: Experiments) -> bool:
    """Before nearly all other surroundings, also those of the predicted class, the object is of the true class."""
    behind = [a for side in found.surroundings.values() for a in side]
    if len(behind) < 2 * DONORS or mean(behind, "true") < FOUND:
        return False
    return sum(a.says == "true" for a in behind) >= NEARLY_ALL * len(behind)


def several(case: Case) -> bool:
    """Both classes are found, in windows apart from each other, and they are no two names for one thing."""
    return not near(case.nearness) and two_places(case.experiments.closer) is not None


def two_places(windows: Sequence[Closer]) -> tuple[Closer, Closer] | None:
    """The windows apart from each other in which the two classes are found best; None where they are not found."""
    pairs = [
        (p, t)
        for p in windows
        for t in windows
        if p.says == "predicted" and t.says == "true" and _overlap(p.box, t.box) <= APART
    ]
    surest = max(pairs, key=lambda pair: min(pair[0].predicted, pair[1].true), default=None)
    return surest if surest is not None and min(surest[0].predicted, surest[1].true) >= FOUND else None


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def related(case: Case) -> bool:
    """Near classes, and the truth is among the first answers."""
    return near(case.nearness) and case.truth_rank <= FIRST


def shortcut(case: Case) -> bool:
    """Without the part where the predicted class is seen the answer is the label: what misleads is that part."""
    without = case.experiments.hidden["predicted_painted_over"]
    return without.says == "true" and without.true >= FOUND


def mislabelled(case: Case) -> bool:
    """The predicted class survives other surroundings, and the true one is nowhere."""
    other = not_own(case.experiments)
    hidden = case.experiments.hidden
    answers: list[PairAnswer] = [
        *case.experiments.closer,
        hidden["true_alone"],
        hidden["predicted_painted_over"],
        *other,
    ]
    nowhere = max((a.true for a in answers), default=1.0) < NOWHERE and case.whole[1] < NOWHERE
    return len(other) >= DONORS and nowhere and mean(other, "predicted") >= STAYS


def not_own(found: Experiments) -> list[Placed]:
    """The answers before surroundings that are not those of the true class."""
    return [*found.surroundings.get("other", ()), *found.surroundings.get("predicted", ())]


def best(windows: Sequence[Closer], which: str) -> Closer:
    """The window in which a class has its highest probability."""
    return max(windows, key=lambda w: float(getattr(w, which)))


def mean(answers: Sequence[PairAnswer], which: str) -> float:
    """The mean probability of the "predicted" or the "true" class over answers."""
    return sum(float(getattr(a, which)) for a in answers) / len(answers)


# --------------------------------------------------------------------------------------------------
# Sentences.


def _context(case: Case) -> str:
    found = case.experiments.surroundings
    own, against = found.get("true", ()), found.get("predicted", ())
    if (effect_of_surroundings(case.experiments) or 0) >= CONTEXT:
        return (
            f"The surroundings decide: before those of pictures recognised as {case.true} the same object is said to "
            f"be {case.true} in {_times(own, 'true')} (mean {_mean(own, 'true')}), before those of pictures recognised "
            f"as {case.predicted} in {_times(against, 'true')} (mean {_mean(against, 'true')})."
        )
    behind = [*own, *not_own(case.experiments)]
    return (
        f"Something in these surroundings misleads: before other ones the same object is said to be {case.true} in "
        f"{_times(behind, 'true')} (mean {_mean(behind, 'true')}), also before those of pictures recognised as "
        f"{case.predicted}."
    )


def _several(case: Case) -> str:
    found = two_places(case.experiments.closer)
    assert found is not None
    p, t = found
    return (
        f"Both are in the picture: seen from closer, {_where(p)} the answer is {case.predicted} "
        f"({percent(p.predicted)}), {_where(t)} it is {case.true} ({percent(t.true)})."
    )


def _related(case: Case) -> str:
    assert case.nearness is not None
    return (
        f"The classes are near for this model: over the other pictures {case.true} is "
        f"{_ordinal(case.nearness.rank)} of {case.nearness.of} classes whose scores rise and fall with those of "
        f"{case.predicted}, and it comes {_ordinal(case.truth_rank, 'place')} here with {percent(case.whole[1])}."
    )


def _shortcut(case: Case) -> str:
    without = case.experiments.hidden["predicted_painted_over"]
    return (
        f"A part of the picture misleads: with the quarter painted over where {case.predicted} is seen, the answer is "
        f"{case.true} ({percent(without.true)})."
    )


def _mislabelled(case: Case) -> str:
    others = not_own(case.experiments)
    highest = max(a.true for a in [*case.experiments.closer, case.experiments.hidden["true_alone"]])
    return (
        f"The label may be wrong: the object stays {case.predicted} before {len(others)} other surroundings (mean "
        f"{_mean(others, 'predicted')}), and in no part of the picture, however close, does {case.true} pass "
        f"{percent(highest)}."
    )


def _unclear(case: Case) -> str:
    """What the experiments did not show, the nearest miss first."""
    t, found = best(case.experiments.closer, "true"), []
    effect = effect_of_surroundings(case.experiments)
    if effect is None:
        found.append("there are too few recognised pictures of these classes to try other surroundings")
    else:
        found.append(f"other surroundings bring {measured(effect)} for {case.true}")
    found.append(f"seen from closer it gets {percent(t.true)} at most")
    if case.nearness is not None:
        nearby = "near" if near(case.nearness) else "not near"
        found.append(
            f"the classes are {nearby} for this model ({_ordinal(case.nearness.rank)} of {case.nearness.of}), the "
            f"truth comes {_ordinal(case.truth_rank, 'place')}"
        )
    others = not_own(case.experiments)
    if others and mean(others, "predicted") < STAYS:
        found.append(f"the object alone does not make {case.predicted} either (mean {_mean(others, 'predicted')})")
    return f"No experiment explains this error: {'; '.join(found)}."


def _maps(case: Case) -> str:
    if case.similarity is None:
        return "One of the two maps is flat, so they are not compared."
    if case.similarity >= AGREE:
        return f"The maps of the two classes point to the same place (correlation {case.similarity:.2f})."
    return f"The maps of the two classes differ (correlation {case.similarity:.2f})."


def _mean(answers: Sequence[PairAnswer], which: str) -> str:
    return percent(mean(answers, which))


def _times(answers: Sequence[PairAnswer], says: str) -> str:
    return f"{sum(a.says == says for a in answers)} of {len(answers)}"


def _where(window: Closer) -> str:
    x0, y0, x1, y1 = (round(100 * v) for v in window.box)
    mask = np.zeros((100, 100), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return at(place_word(mask))


def _ordinal(n: int, noun: str = "") -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return "the nearest" if n == 1 and not noun else f"{n}{ending}"


# --------------------------------------------------------------------------------------------------
# The table.


@dataclass(frozen=True)
class Family:
    """One family of errors.

    `test`: whether an error is of it; `why`: the sentence with the numbers that were measured; `meaning`: what it says
    about an error, in a few words on the page; `rule`: its test in words, for the documents.
    """

    test: Callable[[Case], bool]
    why: Callable[[Case], str]
    meaning: str
    rule: str


# An error belongs to the first family whose test it passes.
FAMILIES: dict[str, Family] = {
    "context": Family(
        context, _context, "the surroundings decide",
        f"the true class's surroundings bring {100 * CONTEXT:.0f} points more for the truth than the predicted class's "
        "do (the same object, the same cut), or nearly any other surroundings bring the truth",
    ),
    "several objects": Family(
        several, _several, "both classes are in the picture",
        f"two windows apart from each other are the one and the other class, each with {100 * FOUND:.0f} % or more, "
        "and the classes are not near",
    ),
    "related classes": Family(
        related, _related, "the two classes are near for the model",
        f"the true class is among the nearest {100 * NEAR:.1f} % (or the very nearest) to the predicted one, and among "
        f"the first {FIRST} answers",
    ),
    "shortcut": Family(
        shortcut, _shortcut, "a part of the picture misleads",
        f"with the quarter of the picture painted over where the predicted class is seen, the answer is the label, "
        f"with {100 * FOUND:.0f} % or more",
    ),
    "wrong label?": Family(
        mislabelled, _mislabelled, "the model may be right and the label wrong",
        "the object stays the predicted class before other surroundings, and the true class is under "
        f"{100 * NOWHERE:.0f} % everywhere",
    ),
    "unclear": Family(
        lambda case: True, _unclear, "no experiment explains it", "none of these; the sentence says what was measured",
    ),
}  # fmt: skip


def family_of(case: Case) -> str:
    """The first family whose test is passed."""
    return next(name for name, row in FAMILIES.items() if row.test(case))


def sentence(family: str, case: Case) -> str:
    """Why the error is of that family."""
    return f"{FAMILIES[family].why(case)} {_maps(case)}"


def meanings() -> dict[str, str]:
    """What each family says about an error, by name."""
    return {name: row.meaning for name, row in FAMILIES.items()}
