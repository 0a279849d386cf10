"""One plain sentence why an error belongs to its family, with the numbers that were measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from saywhy.audit.families import (
    AGREE,
    CONTEXT,
    STAYS,
    Evidence,
    best,
    effect_of_surroundings,
    mean,
    near,
    not_own,
    two_places,
)
from saywhy.audit.record import Answer, Closer, Family
from saywhy.explanation import place_word
from saywhy.language.appearance import at
from saywhy.render.wording import percent


def sentence(family: Family, e: Evidence) -> str:
    """Why the error is of that family."""
    return f"{_SENTENCES[family](e)} {_maps(e)}"


def _context(e: Evidence) -> str:
    found = e.experiments.surroundings
    own, against = found.get("true", ()), found.get("predicted", ())
    if (effect_of_surroundings(e.experiments) or 0) >= CONTEXT:
        return (
            f"The surroundings decide: before those of pictures recognised as {e.true} the same object is said to be "
            f"{e.true} in {_times(own, 'true')} (mean {_mean(own, 'true')}), before those of pictures recognised as "
            f"{e.predicted} in {_times(against, 'true')} (mean {_mean(against, 'true')})."
        )
    behind = [*own, *not_own(e.experiments)]
    return (
        f"Something in these surroundings misleads: before other ones the same object is said to be {e.true} in "
        f"{_times(behind, 'true')} (mean {_mean(behind, 'true')}), also before those of pictures recognised as "
        f"{e.predicted}."
    )


def _several(e: Evidence) -> str:
    found = two_places(e.experiments.closer)
    assert found is not None
    p, t = found
    return (
        f"Both are in the picture: seen from closer, {_where(p)} the answer is {e.predicted} "
        f"({percent(p.predicted)}), {_where(t)} it is {e.true} ({percent(t.true)})."
    )


def _related(e: Evidence) -> str:
    assert e.nearness is not None
    return (
        f"The classes are near for this model: over the other pictures {e.true} is "
        f"{_ordinal(e.nearness.rank)} of {e.nearness.of} classes whose scores rise and fall with those of "
        f"{e.predicted}, and it comes {_ordinal(e.truth_rank, 'place')} here with {percent(e.whole[1])}."
    )


def _mislabelled(e: Evidence) -> str:
    others = not_own(e.experiments)
    highest = max(a.true for a in [*e.experiments.closer, e.experiments.hidden["true_alone"]])
    return (
        f"The label may be wrong: the object stays {e.predicted} before {len(others)} other surroundings (mean "
        f"{_mean(others, 'predicted')}), and in no part of the picture, however close, does {e.true} pass "
        f"{percent(highest)}."
    )


def _unclear(e: Evidence) -> str:
    """What the experiments did not show, the nearest miss first."""
    t, found = best(e.experiments.closer, "true"), []
    effect = effect_of_surroundings(e.experiments)
    if effect is None:
        found.append("there are too few recognised pictures of these classes to try other surroundings")
    else:
        found.append(f"other surroundings bring {round(100 * effect)} points for {e.true}")
    found.append(f"seen from closer it gets {percent(t.true)} at most")
    if e.nearness is not None:
        nearby = "near" if near(e.nearness) else "not near"
        found.append(
            f"the classes are {nearby} for this model ({_ordinal(e.nearness.rank)} of {e.nearness.of}), the truth "
            f"comes {_ordinal(e.truth_rank, 'place')}"
        )
    others = not_own(e.experiments)
    if others and mean(others, "predicted") < STAYS:
        found.append(f"the object alone does not make {e.predicted} either (mean {_mean(others, 'predicted')})")
    return f"No experiment explains this error: {'; '.join(found)}."


_SENTENCES: dict[Family, Callable[[Evidence], str]] = {
    "context": _context,
    "several objects": _several,
    "related classes": _related,
    "wrong label?": _mislabelled,
    "unclear": _unclear,
}


def _maps(e: Evidence) -> str:
    if e.similarity is None:
        return "One of the two maps is flat, so they are not compared."
    if e.similarity >= AGREE:
        return f"The maps of the two classes point to the same place (correlation {e.similarity:.2f})."
    return f"The maps of the two classes differ (correlation {e.similarity:.2f})."


def _mean(answers: Sequence[Answer], which: str) -> str:
    return percent(mean(answers, which))


def _times(answers: Sequence[Answer], says: str) -> str:
    return f"{sum(a.says == says for a in answers)} of {len(answers)}"


def _where(window: Closer) -> str:
    x0, y0, x1, y1 = (round(100 * v) for v in window.box)
    mask = np.zeros((100, 100), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return at(place_word(mask))


def _ordinal(n: int, noun: str = "") -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return "the nearest" if n == 1 and not noun else f"{n}{ending}"
