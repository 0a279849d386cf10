"""Which family an error belongs to, and the sentence that says why, both from what was measured.

The families of section 4.4.2 of the L-CAM paper are sorted by eye there; here a table of tests decides, in this order:

    context          before the surroundings of pictures of the true class the truth comes back, and before those of the
                     predicted class it does not: the same object, cut out the same way both times; or it comes back
                     before nearly any surroundings but the picture's own
    several objects  seen from closer, one part of the picture is the predicted class and another the true one
    related classes  the classifier's answers for the two classes rise and fall together over the other pictures, and
                     the truth is among its first five answers; the maps of the two point to the same place, or not
    wrong label?     the object is the predicted class before other surroundings too, and the true class is found
                     nowhere, however close one looks
    unclear          none of these
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saywhy.audit.record import Answer, Closer, Experiments, Family, Nearness, Placed

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
class Evidence:
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


def context(e: Evidence) -> bool:
    """The class's own surroundings bring the truth, or any surroundings but the picture's own do."""
    effect = effect_of_surroundings(e.experiments)
    return (effect is not None and effect >= CONTEXT) or misled(e.experiments)


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


def several(e: Evidence) -> bool:
    """Both classes are found, in windows apart from each other, and they are no two names for one thing."""
    return not near(e.nearness) and two_places(e.experiments.closer) is not None


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


def related(e: Evidence) -> bool:
    """Near classes, and the truth is among the first answers."""
    return near(e.nearness) and e.truth_rank <= FIRST


def mislabelled(e: Evidence) -> bool:
    """The predicted class survives other surroundings, and the true one is nowhere."""
    other = not_own(e.experiments)
    answers: list[Answer] = [*e.experiments.closer, e.experiments.hidden["true_alone"], *other]
    nowhere = max((a.true for a in answers), default=1.0) < NOWHERE and e.whole[1] < NOWHERE
    return len(other) >= DONORS and nowhere and mean(other, "predicted") >= STAYS


def not_own(found: Experiments) -> list[Placed]:
    """The answers before surroundings that are not those of the true class."""
    return [*found.surroundings.get("other", ()), *found.surroundings.get("predicted", ())]


RULES: tuple[tuple[Family, Callable[[Evidence], bool]], ...] = (
    ("context", context),
    ("several objects", several),
    ("related classes", related),
    ("wrong label?", mislabelled),
)


def family_of(e: Evidence) -> Family:
    """The first family of RULES whose test is passed."""
    return next((name for name, test in RULES if test(e)), "unclear")


def best(windows: Sequence[Closer], which: str) -> Closer:
    """The window in which a class has its highest probability."""
    return max(windows, key=lambda w: float(getattr(w, which)))


def mean(answers: Sequence[Answer], which: str) -> float:
    """The mean probability of the "predicted" or the "true" class over answers."""
    return sum(float(getattr(a, which)) for a in answers) / len(answers)
