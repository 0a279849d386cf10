"""From a coalition game and the runs that check it to claims.

The game proposes (`saywhy.regions.propose`), other runs decide (`saywhy.language.verify`); `describe` gives the claims
that they confirm and counts those that they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saywhy.explanation import Effect
from saywhy.language import verify
from saywhy.language.appearance import look
from saywhy.language.claims import Claim, Region
from saywhy.language.telling import Found
from saywhy.language.verify import Confirming, Measured, points
from saywhy.regions.propose import PROPOSES, Evidence, holding, holding_pair, mean_of, pairs_of, strongest

Said = tuple[list[Found], int]

SPEAKABLE = 5  # points: of a less likely class nothing can be taken away that one would notice
SHARED = 0.5  # of the strongest Shapley value: with less, a region is no equal of the one that counted most


# --------------------------------------------------------------------------------------------------
# What the runs confirm. Each rule returns what can be said and how many claims it had to drop.


def _region(e: Evidence, i: int) -> Region:
    words = e.regions[i]
    return Region(words.id, look(words.appearance), words.place, words.beside)


def _named(e: Evidence, classes: Sequence[int]) -> tuple[str, ...]:
    return tuple(e.names[index] for index in classes)


def _found(
    e: Evidence,
    kind: str,
    which: Sequence[int],
    m: Measured,
    *,
    classes: tuple[int, ...] = (),
    effect: Effect,
    evidence: tuple[str, ...] = (),
) -> Found:
    claim = Claim(
        kind,
        tuple(_region(e, i) for i in which),
        _named(e, classes),
        value=points(m.value),
        low=points(m.low),
        high=points(m.high),
        runs=len(m.values),
    )
    return Found(claim, tuple(e.regions[i].id for i in which) + evidence, effect, classes)


def _hidden(e: Evidence, *which: int) -> list[Confirming]:
    return verify.runs_of(e.runs, "hide", (e.regions[i].id for i in which))


def _lost(e: Evidence, i: int) -> Measured | None:
    change = verify.changes(_hidden(e, i), e.target.probability)
    return change.times(-1) if change is not None else None


def _counting(e: Evidence) -> Said:
    phi = mean_of(e.shapley, len(e.regions))
    left = [int(i) for i in np.argsort(-phi, kind="stable") if points(phi[i]) >= PROPOSES]
    measured = {i: m for i in range(len(e.regions)) if (m := _lost(e, i)) is not None}
    lost = {str(i): measured[i] for i in left if i in measured and verify.holds(measured[i])}
    unsaid = [m for i, m in measured.items() if str(i) not in lost]
    skipped, ranked = len(left) - len(lost), True
    out: list[Found] = []
    for group in [[int(i) for i in ids] for ids in verify.ranks(lost)]:
        # A rank holds if the game saw it too, for each of those that share it, and if no region that stays unsaid may
        # have cost as much.
        alike = left[0] in group and all(phi[i] >= SHARED * phi[left[0]] for i in group)
        agreed = alike and all(verify.settled(measured[group[0]], m) for m in unsaid)
        skipped += ranked and not agreed
        ranked = ranked and agreed
        # "most" says nothing where every region is in the tie.
        first = "counted_most" if len(group) < max(2, len(e.regions)) else "counted"
        kind = (first if not out else "came_next") if ranked else "counted"
        group = sorted(group)  # as numbered: in a tie nobody comes first
        out.append(_grouped(e, kind, group, [measured[i] for i in group]))
        left = [i for i in left if i not in group]
    return out, skipped


def _grouped(e: Evidence, kind: str, which: list[int], parts: list[Measured]) -> Found:
    classes = () if kind == "came_next" else (e.target.class_index,)
    if len(which) == 1:
        return _found(e, kind, which, parts[0], classes=classes, effect=parts[0].times(-1).effect())
    both = verify.together(parts)
    claim = Claim(
        kind,
        tuple(_region(e, i) for i in which),
        _named(e, classes),
        low=points(both.low),
        high=points(both.high),
        runs=min(len(m.values) for m in parts),
    )
    return Found(claim, tuple(r.id for r in claim.regions), both.times(-1).effect(), classes)


def _against(e: Evidence) -> Said:
    phi = mean_of(e.shapley, len(e.regions))
    proposed = [int(i) for i in np.argsort(phi, kind="stable") if points(phi[i]) <= -PROPOSES]
    out = []
    for i in proposed:
        m = verify.changes(_hidden(e, i), e.target.probability)
        if m is not None and verify.holds(m):
            out.append(_found(e, "against", [i], m, classes=(e.target.class_index,), effect=m.effect()))
    return out, len(proposed) - len(out)


def _nothing(e: Evidence) -> Said:
    parts = [m for i in range(len(e.regions)) if (m := _lost(e, i)) is not None]
    if not parts or len(parts) < len(e.regions) or points(e.target.probability) < SPEAKABLE:
        return [], 0
    m = verify.together(parts)
    if not verify.unnoticeable(m) or any(verify.holds(p) or verify.holds(p.times(-1)) for p in parts):
        return [], 0
    most = max(abs(points(m.low)), abs(points(m.high)))
    runs = min(len(p.values) for p in parts)
    claim = Claim("nothing", classes=(e.target.class_name,), high=most, runs=runs)
    return [Found(claim, tuple(r.id for r in e.regions), m.times(-1).effect(), (e.target.class_index,))], 0


def _unconfirmed(e: Evidence) -> Said:
    single = [rule(e) for rule in (_counting, _against, _nothing)]
    if any(said for said, _ in single) or not any(dropped for _, dropped in single):
        return [], 0
    return [Found(Claim("unconfirmed"), tuple(r.id for r in e.regions), None)], 0


def _alone(e: Evidence) -> Said:
    full = e.target.probability
    proposed = strongest(e) if points(full) >= SPEAKABLE else []
    out = []
    for i in proposed:
        m = verify.scores(verify.runs_of(e.runs, "keep", (e.regions[i].id,)))
        if verify.one_level(m, full) == "suffices" and m is not None:
            out.append(_found(e, "alone", [i], m, classes=(e.target.class_index,), effect=m.effect(full)))
    # The game proposes that a region suffices only where its own value is that large.
    expected = any(mean_of(e.shapley, len(e.regions))[i] >= verify.ENOUGH * full for i in proposed)
    return out[:1], int(expected and not out)


def _contrast(e: Evidence) -> Said:
    if e.versus is None or e.contrast_shapley is None or not e.regions:
        return [], 0
    phi = mean_of(e.contrast_shapley, len(e.regions))
    full = e.target.probability - e.versus.probability
    out, skipped = [], 0
    for sign, i in ((1, int(phi.argmax())), (-1, int(phi.argmin()))):
        if points(sign * phi[i]) < PROPOSES:
            continue
        m = verify.contrast_changes(_hidden(e, i), full)
        if m is None or not verify.holds(m.times(-sign)):
            skipped += 1
            continue
        lost = _lost(e, i)
        if lost is not None and abs(points(m.value) + points(lost.value)) < verify.COUNTS:
            continue  # the other class did not move: the sentence would say the loss a second time
        classes = (e.target.class_index, e.versus.class_index)[::sign]
        out.append(_found(e, "contrast", [i], m.times(-sign), classes=classes, effect=m.effect()))
    return out, skipped


def _flip(e: Evidence) -> Said:
    if e.versus is None or e.target.class_index != e.predicted.class_index:
        return [], 0
    held_by = holding(e)
    pair = holding_pair(e)
    for which in [*((i,) for i in held_by[:2]), *([pair] if pair else [])]:
        runs = _hidden(e, *which)
        change = verify.changes(runs, e.target.probability)
        if change is None or any(c.winner == e.target.class_index for c in runs):
            continue
        won = verify.winner(runs)
        kind, classes = ("no_longer", (e.target.class_index,)) if won is None else ("flip", (won,))
        claim = Claim(kind, tuple(_region(e, i) for i in which), _named(e, classes), runs=len(runs))
        return [Found(claim, tuple(r.id for r in claim.regions), change.effect(), classes)], 0
    phi = mean_of(e.contrast_shapley, len(e.regions))
    lead = e.target.probability - e.versus.probability
    # Only where the game says that one region alone makes up the whole lead was a flip to be expected.
    return [], int(bool(held_by) and float(phi[held_by[0]]) >= lead)


def _pairs_said(e: Evidence) -> Said:
    out, proposed = [], pairs_of(e)
    for kind, (i, j) in proposed.items():
        a, b = e.regions[i].id, e.regions[j].id
        m = verify.joint(e.runs, a, b, e.target.probability)
        spoken = m.times(1 if kind == "needs" else -1) if m is not None else None
        both = verify.changes(_hidden(e, i, j), e.target.probability)
        if m and spoken and both and verify.holds(spoken) and verify.holds(both.times(-1)):
            out.append(_found(e, kind, [i, j], spoken, effect=m.effect(), evidence=(f"{a}-{b}",)))
    return out, len(proposed) - len(out)


def _context(e: Evidence) -> Said:
    full, k = e.target.probability, len(e.regions)
    if not k or not len(e.empty) or points(full) < SPEAKABLE:
        return [], 0
    runs = _hidden(e, *range(k))
    m = verify.scores(runs)
    seen = verify.level(float(e.empty.mean()) / full)
    if m is None or verify.one_level(m, full) != seen:
        return [], 1
    wins = all(c.winner == e.target.class_index for c in runs)
    if seen == "suffices" and e.predicted.class_index == e.target.class_index and not wins:
        seen = "part"  # half the probability is left, but another class has more
    found = _found(e, f"context_{seen}", [], m, classes=(e.target.class_index,), effect=m.effect(full))
    return [replace(found, evidence=("context",))], 0


RULES = (_nothing, _unconfirmed, _counting, _against, _alone, _contrast, _flip, _pairs_said, _context)


def describe(e: Evidence) -> Said:
    """The claims that the runs confirm, and how many were dropped."""
    results = [rule(e) for rule in RULES]
    return [f for said, _ in results for f in said], sum(dropped for _, dropped in results)
