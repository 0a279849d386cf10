"""From the runs to claims: each rule gives the claims of its kind that the runs confirm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from saywhy.explanation import Effect
from saywhy.language import verify
from saywhy.language.appearance import look
from saywhy.language.claims import Claim, Region
from saywhy.language.telling import Found
from saywhy.language.verify import THRESHOLDS, Confirming, Measured, all_but_one, points, tenths
from saywhy.regions.propose import PAIRED, Evidence, counted, verdict

Said = tuple[list[Found], int]

NOTICEABLE = 5  # points: below this a change is not noticeable
AHEAD, NAMED = 0.10, 0.30  # by which another class must lead the target in every run, and all others to be named
ALIKE = 2  # factor between the least and the most of a group: beyond it a group would hide who counts


def _region(e: Evidence, i: int) -> Region:
    words = e.regions[i]
    seen = "" if words.spoken else look(words.appearance, words.shade)
    return Region(words.id, seen, words.place, words.beside, words.spoken)


def _numbers(m: Measured) -> dict[str, int | str]:
    told = points if m.unit == "probability" else tenths
    return {"value": told(m.value), "low": told(m.low), "high": told(m.high), "unit": m.unit}


def _found(
    e: Evidence, kind: str, which: Sequence[int], m: Measured, effect: Effect, *, classes: tuple[int, ...] = (),
    percents: tuple[int, ...] = (), evidence: tuple[str, ...] = (),
) -> Found:  # fmt: skip
    regions = tuple(_region(e, i) for i in which)
    names = tuple(e.names[c] for c in classes)
    claim = Claim(kind, regions, names, percents, **_numbers(m))  # type: ignore[arg-type]
    return Found(claim, tuple(e.regions[i].id for i in which) + evidence, effect, classes)


def _hinders(m: Measured) -> Effect:
    """The effect of a gain: what was lost was negative."""
    return m.times(-1).effect()


# --------------------------------------------------------------------------------------------------
# What single regions count.


def _counting(e: Evidence) -> Said:
    said, target = counted(e), (e.target.class_index,)
    lost = {i: m for i in range(len(e.regions)) if (m := e.lost(i)) is not None}
    out: list[Found] = []
    ranked = True
    rest: list[int] = []
    for n, i in enumerate(said):
        ranked = ranked and n < 2 and len(said) > 1 and all(verify.settled(lost[i], lost[j]) for j in said[n + 1 :])
        if n == 0:
            kind = "counted_most" if ranked else "counted"
            out.append(_found(e, kind, [i], lost[i], lost[i].effect(), classes=target, percents=_stays(e, i)))
        elif ranked:
            out.append(_found(e, "came_next", [i], lost[i], lost[i].effect()))
        else:
            rest.append(i)
    return [*out, *(_together(e, group, lost) for group in _groups(e, rest, lost))], 0


def _stays(e: Evidence, i: int) -> tuple[int, ...]:
    """Where evidence is told, the probability that is left, as long as the answer stays."""
    runs = e.hidden(i)
    scores = verify.scores(runs)
    if e.unit == "probability" or scores is None or verify.winner(runs) != e.target.class_index:
        return ()
    return (points(scores.value),)


def _groups(e: Evidence, rest: Sequence[int], lost: dict[int, Measured]) -> list[list[int]]:
    """Neighbours in rank that cost about the same, told in one sentence; evidence is told one by one."""
    groups: list[list[int]] = []
    for i in rest:
        joined = [*groups[-1], i] if groups else [i]
        values = [points(lost[j].value) for j in joined]
        close = max(values) <= ALIKE * min(values) and verify.alike([lost[j] for j in joined])
        if groups and e.unit == "probability" and close:
            groups[-1] = joined
        else:
            groups.append([i])
    return groups


def _together(e: Evidence, group: list[int], lost: dict[int, Measured]) -> Found:
    if len(group) == 1:
        return _found(e, "counted_too", group, lost[group[0]], lost[group[0]].effect())
    values = [lost[i].value for i in group]
    claim = Claim("counted_too", tuple(_region(e, i) for i in group), low=points(min(values)), high=points(max(values)))
    first, runs = lost[group[0]].effect(), sum(len(lost[i].values) for i in group)
    mean = -sum(values) / len(values)
    effect = first.model_copy(
        update={"change": mean, "low": -max(values), "high": -min(values), "runs": runs, "passes": runs, "disagree": ()}
    )
    return Found(claim, tuple(e.regions[i].id for i in group), effect)


def _against(e: Evidence) -> Said:
    out = []
    for i in range(len(e.regions)):
        m = e.lost(i)
        if m is not None and verdict(e, i) == -1:
            gained = m.times(-1)
            out.append(_found(e, "against", [i], gained, _hinders(gained), classes=(e.target.class_index,)))
    return out, 0


def _nothing(e: Evidence) -> Said:
    unheld = sum(verdict(e, i) == 0 for i in range(len(e.regions)))
    if counted(e):
        return [], unheld
    classes = (e.target.class_index,)
    names, ids = (e.target.class_name,), tuple(r.id for r in e.regions)
    still = points(e.most) < NOTICEABLE and all(verdict(e, i) == 0 for i in range(len(e.regions)))
    if not still:
        return [Found(Claim("unconfirmed", classes=names), ids, None, classes, confirmed=False)], unheld
    effect = Effect(
        change=0.0, low=-e.most, high=e.most, runs=e.tried, passes=e.tried, fill=", ".join(list(e.nulls)[:1]), level=1.0
    )
    return [Found(Claim("nothing", classes=names, high=points(e.most)), ids, effect, classes)], unheld


# --------------------------------------------------------------------------------------------------
# What they do to other classes, and to each other.


def _contrast(e: Evidence) -> Said:
    """The region that counts the most for the target rather than the other class: the other must gain by itself."""
    if e.versus is None:
        return [], 0
    least, found = THRESHOLDS[e.unit], []
    for i in counted(e):
        m, twice = (
            verify.contrast_losses(e.hidden(i), e.target.probability, e.versus.probability, e.unit, both=both)
            for both in (False, True)
        )
        lost = e.lost(i, both=True)
        if m is None or twice is None or lost is None:
            continue
        gained = [a - b for a, b in zip(twice.values, lost.values, strict=True)]
        if (
            m.low > 2 * e.noise.floor(len(m.values), e.unit)
            and float(np.mean(gained)) >= least.says
            and all_but_one(gained) >= least.second
        ):
            found.append((m.value, i, m))
    if not found:
        return [], 0
    _, i, m = max(found, key=lambda row: (row[0], -row[1]))
    classes = (e.target.class_index, e.versus.class_index)
    return [_found(e, "contrast", [i], m, m.effect(), classes=classes)], 0


def _flip(e: Evidence) -> Said:
    """The first region without which the answer is another; what hiding all that count leaves is told with the text."""
    if not e.said:
        return [], 0
    for i in counted(e):
        runs, lost = e.hidden(i), e.lost(i)
        if lost is None or any(c.winner == e.target.class_index or c.over < AHEAD for c in runs):
            continue
        won = _winner(runs)
        no_longer = "absent_without" if e.labels else "no_longer"
        kind, index = (no_longer, e.target.class_index) if won is None else ("flip", won)
        claim = Claim(kind, (_region(e, i),), (e.names[index],))
        return [Found(claim, (e.regions[i].id,), lost.effect(), (index,))], 0
    return [], 0


def _winner(runs: Sequence[Confirming]) -> int | None:
    """The class that wins clearly in every run."""
    return verify.winner(runs) if min(c.lead for c in runs) >= NAMED else None


def paired(e: Evidence) -> list[tuple[str, tuple[int, int], Measured]]:
    """Pairs that add more together than one by one, or less: in the unit beyond its interval, in log-odds in every run.

    In log-odds, because two parts that are each necessary need each other in probability whatever they are.
    """
    out, full, least = [], e.target.probability, THRESHOLDS[e.unit].says
    for i, j in combinations(counted(e)[:PAIRED], 2):
        ids = e.regions[i].id, e.regions[j].id
        m = verify.joint(e.runs, *ids, full, e.unit)
        odds = verify.joint(e.runs, *ids, full, "log-odds")
        for kind, sign in (("needs", 1), ("stands_in", -1)):
            if (
                m
                and odds
                and m.times(sign).low > max(least, 2 * e.noise.floor(len(m.values), e.unit))
                and min(sign * v for v in odds.values) > 0
            ):
                out.append((kind, (i, j), m))
    return out


def _pairs(e: Evidence) -> Said:
    out = []
    for kind, (i, j), m in paired(e):
        edge, spoken = f"{e.regions[i].id}-{e.regions[j].id}", m.times(1 if kind == "needs" else -1)
        out.append(_found(e, kind, [i, j], spoken, m.times(-1).effect(), evidence=(edge,)))
    return out, 0


def _text(e: Evidence) -> Said:
    """What all that counts keeps by itself, and what is left without it."""
    said = counted(e)
    without = verify.scores(e.hidden(*said)) if said else None
    alone = verify.scores(verify.runs_of(e.runs, "keep", (e.regions[i].id for i in said)))
    lost = e.lost(*said) if said else None
    if alone is None or without is None or lost is None:
        return [], 0
    percents = tuple(n for m in (alone, without) for n in _share(m))
    classes = (e.target.class_index,)
    claim = Claim("text", classes=(e.target.class_name,), percents=percents)
    return [Found(claim, tuple(e.regions[i].id for i in said), lost.effect(), classes)], 0


def _share(m: Measured) -> tuple[int, int, int]:
    return points(m.value), max(0, points(m.low)), min(100, points(m.high))


def _unsteady(e: Evidence) -> Said:
    """That the model does not repeat itself, as far as that shows in whole points."""
    spread = points(e.noise.spread())
    if e.noise.repeats or not spread:
        return [], 0
    claim = Claim("unsteady", classes=(e.target.class_name,), low=spread, high=spread)
    return [Found(claim, ("prediction",), None, (e.target.class_index,))], 0


RULES = (_unsteady, _nothing, _counting, _against, _contrast, _flip, _pairs, _text)


def describe(e: Evidence) -> Said:
    """The claims that the runs confirm, and how many parts were tried and did not hold."""
    results = [rule(e) for rule in RULES]
    return [f for said, _ in results for f in said], e.dropped + sum(dropped for _, dropped in results)
