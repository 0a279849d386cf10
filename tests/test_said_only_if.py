"""A sentence is said only if every run says it, and what is measured clearly is said; judged here plainly, run by run.

The judge below reads the sentences back and looks at the runs alone; it knows nothing of how claims are found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from saywhy.explanation import Effect
from saywhy.language import Claim, Confirming, parse_all, verify
from saywhy.regions.propose import Evidence, holding, holding_pair, pairs_of, strongest, wanted
from test_language import CAT, EGYPTIAN, NAMES, WAYS, additive, describe, evidence, kinds, measured, score

Act = tuple[str, tuple[str, ...]]


def points(x: float) -> int:
    return round(100 * x)


def runs(e: Evidence, act: str, *ids: str) -> list[Confirming]:
    return [c for c in e.runs if c.run.act == act and set(c.run.regions) == set(ids)]


def losses(e: Evidence, *ids: str) -> list[float]:
    return [e.target.probability - c.run.score for c in runs(e, "hide", *ids)]


def with_runs(
    e: Evidence,
    act: str,
    ids: tuple[str, ...],
    *,
    scores: tuple[float, ...] | None = None,
    winners: tuple[int, ...] | None = None,
    contrasts: tuple[float, ...] | None = None,
) -> Evidence:
    """The evidence with the runs of one act changed, in the order of WAYS."""
    out, n = [], 0
    for c in e.runs:
        if c.run.act == act and set(c.run.regions) == set(ids):
            run = c.run if scores is None else c.run.model_copy(update={"score": scores[n]})
            run = run if contrasts is None else run.model_copy(update={"contrast": contrasts[n]})
            c, n = replace(c, run=run, winner=c.winner if winners is None else winners[n]), n + 1
        out.append(c)
    assert n == len(WAYS), f"{act} {ids} was not wanted"
    return replace(e, runs=tuple(out))


def said(e: Evidence) -> dict[str, Claim]:
    statements, _ = describe(e, limit=99)
    return {c.kind: c for c in parse_all(" ".join(s.text for s in statements))}


def effect_of(e: Evidence, kind: str) -> Effect:
    effect = next(s.effect for s in describe(e, limit=99)[0] if s.kind == kind)
    assert effect is not None
    return effect


# --------------------------------------------------------------------------------------------------
# Every sentence against every run.


def noisy(seed: int) -> Evidence:
    """A random network of regions and pairs, and runs that partly agree with it."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 5))
    alone, pair, start = rng.normal(0, 0.9, (3, k)), rng.normal(0, 1.2, (3, k, k)), rng.normal(0, 0.5, 3)
    start[int(rng.integers(0, 3))] += 1.0
    noise = float(rng.choice([0.0, 0.05, 0.3]))

    def model(seen: frozenset[int]) -> np.ndarray:
        on = np.array([i in seen for i in range(k)], dtype=float)
        z = np.exp(start + alone @ on + np.einsum("cij,i,j->c", np.triu(pair, 1) if seed % 2 else 0 * pair, on, on))
        return z / z.sum()

    def confirm(seen: frozenset[int]) -> np.ndarray:
        p = model(frozenset(seen)) * np.exp(rng.normal(0, noise, 3))
        return p / p.sum()

    best = int(np.argmax(model(frozenset(range(k)))))
    target = best if seed % 5 else (best + 1) % 3
    return evidence(model, k, confirm=confirm, target=target, versus=(target + 1) % 3)


def agrees(claim: Claim, values: list[float]) -> bool:
    """Whether the numbers of a sentence are the median and the range of these values, to the whole point."""
    of = (points(median(values)), points(min(values)), points(max(values)), len(values))
    return (claim.value, claim.low, claim.high, claim.runs) == of


def confirmed(values: list[float]) -> bool:
    return points(min(values)) >= 1 and points(median(values)) >= 2


def counts(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    each = [losses(e, i) for i in ids]
    together = [v for values in each for v in values]
    span = (points(min(together)), points(max(together)), 4) == (claim.low, claim.high, claim.runs)
    return all(map(confirmed, each)) and span and (len(ids) > 1 or agrees(claim, each[0]))


def leads(e: Evidence, ids: list[str], others: list[str]) -> bool:
    """Whether hiding the first of a tie costs more than hiding any other, in every single run."""
    first = max((losses(e, i) for i in ids), key=median)
    return all(points(a) > points(b) for other in others for a, b in zip(first, losses(e, other), strict=True))


def contrast(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    assert e.versus is not None
    full = e.target.probability - e.versus.probability
    moved = [(c.run.contrast or 0.0) - full for c in runs(e, "hide", *ids)]
    towards_versus = claim.classes == (e.target.class_name, e.versus.class_name)
    assert towards_versus or claim.classes == (e.versus.class_name, e.target.class_name)
    values = [-m for m in moved] if towards_versus else moved
    return confirmed(values) and agrees(claim, values)


def pair(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    one, other, both = losses(e, ids[0]), losses(e, ids[1]), losses(e, *ids)
    more = [a + b - c for a, b, c in zip(one, other, both, strict=True)]
    values = more if claim.kind == "needs" else [-m for m in more]
    return confirmed(values) and agrees(claim, values) and confirmed(both)


def context(claim: Claim, e: Evidence) -> bool:
    hidden = runs(e, "hide", *(r.id for r in e.regions))
    left = [c.run.score for c in hidden]
    share = [s / e.target.probability for s in left]
    wins = all(c.winner == e.target.class_index for c in hidden)
    predicted = e.predicted.class_index == e.target.class_index
    level = {
        "context_suffices": min(share) >= 0.5 and (wins or not predicted),
        "context_part": (min(share) >= 0.2 and max(share) < 0.5) or (min(share) >= 0.5 and predicted and not wins),
        "context_little": max(share) < 0.2,
    }
    return agrees(claim, left) and level[claim.kind]


def true_of_the_runs(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    full, everyone = e.target.probability, [r.id for r in e.regions]
    winners = {c.winner for c in runs(e, "hide", *ids)}
    judges: dict[str, Callable[[], bool]] = {
        "counted_most": lambda: counts(claim, e, ids) and leads(e, ids, [i for i in everyone if i not in ids]),
        "came_next": lambda: counts(claim, e, ids),
        "counted": lambda: counts(claim, e, ids),
        "against": lambda: (gain := [-v for v in losses(e, *ids)]) and confirmed(gain) and agrees(claim, gain),
        "alone": lambda: (
            (kept := [c.run.score for c in runs(e, "keep", *ids)]) and min(kept) / full >= 0.5 and agrees(claim, kept)
        ),
        "contrast": lambda: contrast(claim, e, ids),
        "flip": lambda: {NAMES[w] for w in winners} == set(claim.classes) and claim.classes != (e.target.class_name,),
        "no_longer": lambda: e.target.class_index not in winners and len(winners) > 1,
        "needs": lambda: pair(claim, e, ids),
        "stands_in": lambda: pair(claim, e, ids),
        "nothing": lambda: (
            claim.high == max(abs(points(v)) for i in everyone for v in losses(e, i)) < 5
            and not any(confirmed(losses(e, i)) or confirmed([-v for v in losses(e, i)]) for i in everyone)
        ),
    }
    if claim.kind.startswith("context"):
        return context(claim, e)
    return claim.kind in ("prediction", "asked", "unconfirmed") or bool(judges[claim.kind]())


@pytest.mark.parametrize("seed", range(150))
def test_every_sentence_is_true_of_every_run_behind_it(seed: int) -> None:
    e = noisy(seed)
    statements, dropped = describe(e, limit=99)
    claims = parse_all(" ".join(s.text for s in statements))
    for claim in claims:
        assert true_of_the_runs(claim, e, [r.id for r in claim.regions]), claim
    most = [r.id for c in claims if c.kind == "counted_most" for r in c.regions]
    for claim in claims:
        if claim.kind == "came_next" and most:
            earlier = claims[: claims.index(claim)]
            before = {r.id for c in earlier if c.kind in ("counted_most", "came_next") for r in c.regions}
            ids = [r.id for r in claim.regions]
            assert leads(e, ids, [r.id for r in e.regions if r.id not in before and r.id not in ids])
            assert leads(e, most, ids)
    assert dropped >= 0 and kinds(e) == [s.kind for s in describe(e)[0]]


@pytest.mark.parametrize("seed", range(60))
def test_an_effect_is_the_median_and_the_range_of_after_minus_before(seed: int) -> None:
    e = noisy(seed)
    full, versus = e.target.probability, e.versus.probability if e.versus else 0.0
    statements, _ = describe(e, limit=99)
    for claim, s in zip(parse_all(" ".join(s.text for s in statements)), statements, strict=True):
        ids = [r.id for r in claim.regions]
        changes = [-v for i in ids for v in losses(e, i)]
        if claim.kind in ("flip", "no_longer"):
            changes = [-v for v in losses(e, *ids)]
        elif claim.kind == "alone":
            changes = [c.run.score - full for c in runs(e, "keep", *ids)]
        elif claim.kind == "contrast":
            changes = [(c.run.contrast or 0.0) - (full - versus) for c in runs(e, "hide", *ids)]
        elif claim.kind in ("needs", "stands_in"):
            rows = zip(losses(e, ids[0]), losses(e, ids[1]), losses(e, *ids), strict=True)
            changes = [a + b - both for a, b, both in rows]
        elif claim.kind.startswith("context"):
            changes = [-v for v in losses(e, *(r.id for r in e.regions))]
        elif claim.kind == "nothing":
            changes = [-v for r in e.regions for v in losses(e, r.id)]
        if s.effect is None:
            assert claim.kind in ("prediction", "asked", "unconfirmed")
        else:
            assert (s.effect.change, s.effect.low, s.effect.high) == pytest.approx(
                (median(changes), min(changes), max(changes)), abs=1e-9
            ), claim
            assert s.effect.runs == len(changes) and s.effect.fill == "mean, noise"
            assert s.effect.passes == len(changes) * (3 if claim.kind in ("needs", "stands_in") else 1)


@pytest.mark.parametrize("seed", range(30))
def test_a_statement_points_to_what_it_speaks_of(seed: int) -> None:
    e = noisy(seed)
    statements, _ = describe(e, limit=99)
    for claim, s in zip(parse_all(" ".join(s.text for s in statements)), statements, strict=True):
        ids = tuple(r.id for r in claim.regions)
        expected = {
            "prediction": ("prediction",),
            "asked": ("prediction",),
            "needs": (*ids, "-".join(ids)),
            "stands_in": (*ids, "-".join(ids)),
            "nothing": tuple(r.id for r in e.regions),
            "unconfirmed": tuple(r.id for r in e.regions),
        }
        assert s.evidence == (("context",) if claim.kind.startswith("context") else expected.get(claim.kind, ids))


# --------------------------------------------------------------------------------------------------
# One run that disagrees is enough.


def turning(seen: frozenset[int]) -> tuple[float, ...]:
    return (0.5, 0.3, 0.2) if 1 in seen else (0.2, 0.7, 0.1)


def test_a_flip_is_said_only_if_another_class_wins_in_all_runs() -> None:
    e = evidence(turning, 2)
    assert said(e)["flip"].classes == (EGYPTIAN,)
    # Without a pair to try, one run that stays with the target leaves nothing to say, wherever it stands.
    for n in range(4):
        winners = tuple(0 if i == n else 1 for i in range(4))
        found = said(with_runs(e, "hide", ("2",), winners=winners))
        assert "flip" not in found and "no_longer" not in found


def test_a_flip_names_a_class_only_if_it_is_the_same_in_all_runs() -> None:
    found = said(with_runs(evidence(turning, 2), "hide", ("2",), winners=(1, 1, 2, 1)))
    assert "flip" not in found and found["no_longer"].classes == (CAT,)


def test_a_flip_that_was_to_be_expected_and_did_not_come_is_counted() -> None:
    e = evidence(turning, 2)
    _, before = describe(e)
    _, after = describe(with_runs(e, "hide", ("2",), winners=(1, 1, 0, 1)))
    assert after == before + 1


def test_a_pair_needs_each_other_only_if_hiding_both_lowers_the_score_in_every_run() -> None:
    e = evidence(lambda seen: (0.7, 0.2, 0.1) if {0, 1} <= set(seen) else (0.1, 0.2, 0.7))
    assert "needs" in said(e)
    dropped = describe(e)[1]
    for scores in ((0.75,) * 4, (0.1, 0.1, 0.7, 0.1)):
        other = with_runs(e, "hide", ("1", "2"), scores=scores)
        assert "needs" not in said(other) and describe(other)[1] == dropped + 1


def test_a_pair_stands_in_only_if_hiding_both_lowers_the_score_in_every_run() -> None:
    e = evidence(lambda seen: (0.7, 0.2, 0.1) if {0, 1} & set(seen) else (0.1, 0.2, 0.7))
    assert "stands_in" in said(e)
    for i in ("1", "2"):
        e = with_runs(e, "hide", (i,), scores=(0.95,) * 4)
    assert "stands_in" in said(e)
    assert "stands_in" not in said(with_runs(e, "hide", ("1", "2"), scores=(0.75,) * 4))


def test_a_region_counts_only_if_every_run_lost_a_point_and_the_middle_one_two() -> None:
    e = evidence(lambda seen: (0.6 - 0.3 * (0 not in seen), 0.2, 0.2 + 0.3 * (0 not in seen)), 2)
    kind = "counted_most"
    assert kind in said(with_runs(e, "hide", ("1",), scores=(0.59, 0.58, 0.58, 0.58)))
    for scores in ((0.6, 0.3, 0.3, 0.3), (0.59, 0.59, 0.59, 0.5), (0.61, 0.3, 0.3, 0.3)):
        other = with_runs(e, "hide", ("1",), scores=scores)
        assert not {kind, "counted", "came_next"} & set(said(other)) and describe(other)[1] > describe(e)[1]


def test_a_region_counts_against_only_if_every_run_gained() -> None:
    e = evidence(additive)
    assert said(e)["against"].regions[0].id == "3"
    for scores in ((0.6, 0.7, 0.7, 0.7), (0.61, 0.61, 0.61, 0.7), (0.5, 0.5, 0.5, 0.5)):
        other = with_runs(e, "hide", ("3",), scores=scores)
        assert "against" not in said(other) and describe(other)[1] == describe(e)[1] + 1


def test_a_region_suffices_alone_only_if_half_the_probability_is_left_in_every_run() -> None:
    e = evidence(lambda seen: (0.8, 0.1, 0.1) if 0 in seen else (0.02, 0.5, 0.48))
    assert said(e)["alone"].value == 80
    assert "alone" in said(with_runs(e, "keep", ("1",), scores=(0.41, 0.4, 0.4, 0.4)))
    other = with_runs(e, "keep", ("1",), scores=(0.8, 0.8, 0.39, 0.8))
    assert "alone" not in said(other) and describe(other)[1] == describe(e)[1] + 1


def test_of_two_regions_that_suffice_alone_the_first_is_told() -> None:
    e = evidence(lambda seen: (0.8, 0.1, 0.1) if {0, 1} & set(seen) else (0.02, 0.5, 0.48))
    e = replace(e, shapley=np.array([[0.4, 0.38, 0.0]]))
    texts = [s for s in describe(e, limit=99)[0] if s.kind == "alone"]
    assert [s.evidence for s in texts] == [("1",)]


def test_a_region_speaks_for_a_class_only_if_the_difference_moves_in_every_run() -> None:
    def model(seen: frozenset[int]) -> tuple[float, ...]:
        return (0.3 + 0.3 * (0 in seen), 0.4 - 0.2 * (0 in seen) + 0.1 * (1 in seen), 0.2)

    e = evidence(model, 2)
    found = [(s.evidence, parse_all(s.text)[0].classes) for s in describe(e, limit=99)[0] if s.kind == "contrast"]
    assert found == [(("1",), (CAT, EGYPTIAN)), (("2",), (EGYPTIAN, CAT))]
    for id, contrasts in (("1", (0.3, -0.2, -0.2, -0.2)), ("2", (0.3, 0.3, 0.3, 0.29))):
        other = with_runs(e, "hide", (id,), contrasts=contrasts)
        assert len([s for s in describe(other, limit=99)[0] if s.kind == "contrast"]) == 1
        assert describe(other)[1] == describe(e)[1] + 1


def test_a_loss_is_not_told_a_second_time_as_a_difference() -> None:
    # The rival does not move: target minus rival falls exactly as the target falls.
    e = evidence(lambda seen: (0.2 + 0.4 * (0 in seen), 0.2, 0.6 - 0.4 * (0 in seen)), 2)
    assert "counted_most" in said(e) and "contrast" not in said(e)
    assert describe(e)[1] == 0


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        ((0.31, 0.4, 0.5, 0.6), "context_suffices"),
        ((0.13, 0.2, 0.25, 0.29), "context_part"),
        ((0.01, 0.05, 0.08, 0.11), "context_little"),
        ((0.29, 0.31, 0.31, 0.31), None),
        ((0.1, 0.1, 0.13, 0.1), None),
    ],
)
def test_the_context_is_told_only_if_all_runs_and_the_game_see_as_much_of_it(
    left: tuple[float, ...], kind: str | None
) -> None:
    middle = {"context_suffices": 0.4, "context_part": 0.2, "context_little": 0.05, None: 0.4}[kind]

    def model(seen: frozenset[int]) -> tuple[float, ...]:
        return (0.6, 0.2, 0.2) if seen else (middle, 0.2, 0.1)

    e = with_runs(evidence(model, 2), "hide", ("1", "2"), scores=left, winners=(0, 0, 0, 0))
    assert [k for k in said(e) if k.startswith("context")] == ([kind] if kind else [])
    if kind is not None:
        assert effect_of(e, kind).high == pytest.approx(max(left) - 0.6)
        disagreeing = replace(e, empty=np.array([{0.4: 0.2, 0.2: 0.4, 0.05: 0.4}[middle]]))
        assert not [k for k in said(disagreeing) if k.startswith("context")]
        assert describe(disagreeing)[1] == describe(e)[1] + 1


def test_the_context_does_not_suffice_where_another_class_wins_in_one_run() -> None:
    def model(seen: frozenset[int]) -> tuple[float, ...]:
        return (0.6, 0.3, 0.1) if seen else (0.4, 0.35, 0.25)

    e = evidence(model, 2)
    assert "context_suffices" in said(e)
    assert "context_part" in said(with_runs(e, "hide", ("1", "2"), winners=(0, 0, 1, 0)))


def test_nothing_counts_is_said_with_the_largest_change_of_any_run() -> None:
    e = evidence(lambda seen: (0.6, 0.3, 0.1), 2)
    e = with_runs(e, "hide", ("1",), scores=(0.6, 0.64, 0.6, 0.6))
    e = with_runs(e, "hide", ("2",), scores=(0.6, 0.6, 0.57, 0.6))
    assert (said(e)["nothing"].high, said(e)["nothing"].runs) == (4, 4)
    other = with_runs(e, "hide", ("2",), scores=(0.6, 0.6, 0.56, 0.6))
    assert said(other)["nothing"].high == 4
    for scores in ((0.6, 0.65, 0.6, 0.6), (0.55, 0.6, 0.6, 0.6), (0.57, 0.57, 0.57, 0.57), (0.63, 0.63, 0.63, 0.63)):
        assert "nothing" not in said(with_runs(e, "hide", ("1",), scores=scores))


def test_nothing_counts_is_not_said_of_regions_that_were_not_hidden() -> None:
    e = evidence(lambda seen: (0.6, 0.3, 0.1), 2)
    some = replace(e, runs=tuple(c for c in e.runs if c.run.regions != ("2",)))
    assert "nothing" in said(e) and "nothing" not in said(some)


def test_of_an_unlikely_class_neither_nothing_nor_alone_nor_context_is_said() -> None:
    flat = evidence(lambda seen: (0.04, 0.5, 0.46), 2)
    assert list(said(flat)) == ["asked"]
    assert "nothing" in said(evidence(lambda seen: (0.05, 0.5, 0.45), 2))
    alone = evidence(lambda seen: (0.04, 0.5, 0.46) if 0 in seen else (0.0, 0.5, 0.5), 2)
    assert not {"alone", "context_little"} & set(said(alone))


def test_that_no_single_claim_was_confirmed_is_said_only_if_some_were_tried() -> None:
    e = evidence(additive)
    for i in ("1", "2", "3"):
        e = with_runs(e, "hide", (i,), scores=(0.5, 0.6, 0.7, 0.6))
    found, dropped = describe(e)
    assert "unconfirmed" in [s.kind for s in found] and dropped >= 3
    assert "unconfirmed" not in kinds(evidence(additive))
    assert "unconfirmed" not in kinds(evidence(lambda seen: (0.6, 0.3, 0.1)))


# --------------------------------------------------------------------------------------------------
# Ranks and ties.


def losing(*amounts: float) -> Evidence:
    """A game in which hiding region i costs amounts[i]."""

    def model(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.9 - sum(a for i, a in enumerate(amounts) if i not in seen)
        return (p, 0.05, 0.95 - p)

    return evidence(model, len(amounts))


def test_regions_are_told_from_the_one_that_costs_most_down() -> None:
    told = [(s.kind, s.evidence) for s in describe(losing(0.1, 0.3, 0.2), limit=99)[0] if s.kind.startswith("c")]
    assert told[:3] == [("counted_most", ("2",)), ("came_next", ("3",)), ("came_next", ("1",))]


def test_a_tie_of_all_regions_is_no_most() -> None:
    found = said(losing(0.2, 0.2))
    assert "counted_most" not in found and [r.id for r in found["counted"].regions] == ["1", "2"]
    assert "counted_most" in said(losing(0.2)), "one region alone can count most"


def test_a_tie_is_told_with_the_range_of_all_its_runs_and_numbered_in_order() -> None:
    e = losing(0.2, 0.2, 0.02)
    e = with_runs(e, "hide", ("1",), scores=(0.75, 0.72, 0.7, 0.7))
    e = with_runs(e, "hide", ("2",), scores=(0.7, 0.68, 0.71, 0.66))
    claim = said(e)["counted_most"]
    assert [r.id for r in claim.regions] == ["1", "2"] and (claim.low, claim.high) == (15, 24)
    effect = effect_of(e, "counted_most")
    assert (effect.low, effect.high, effect.runs) == (pytest.approx(-0.24), pytest.approx(-0.15), 8)


def test_no_rank_is_told_that_the_game_did_not_see() -> None:
    e = losing(0.3, 0.1)
    other = replace(e, shapley=e.shapley[:, ::-1].copy())
    assert "counted_most" not in said(other)
    assert describe(other)[1] == describe(e)[1] + 1


def test_a_region_is_no_equal_of_the_first_where_the_game_gives_it_less_than_half() -> None:
    e = losing(0.2, 0.2, 0.02)
    assert "counted_most" in said(e)
    weak = replace(e, shapley=np.array([[0.2, 0.09, 0.02]]))
    assert "counted_most" not in said(weak)
    assert "counted_most" in said(replace(e, shapley=np.array([[0.2, 0.1, 0.02]])))


# --------------------------------------------------------------------------------------------------
# Decisions.


def test_a_change_is_unnoticeable_only_below_five_points_in_every_run_and_either_way() -> None:
    assert verify.unnoticeable(measured(0.04, -0.04, 0.0, 0.01))
    for values in ((0.05, 0.0, 0.0, 0.0), (0.0, -0.05, 0.0, 0.0), (0.3, 0.3, 0.3, 0.3), (-0.3, 0.0, 0.0, 0.0)):
        assert not verify.unnoticeable(measured(*values))
    assert verify.unnoticeable(measured(0.0449, 0.0)), "what is printed as 4 points is 4 points"
    assert not verify.unnoticeable(None)


def test_joint_effects_are_taken_from_runs_of_the_same_way_alone() -> None:
    e = evidence(lambda seen: (0.7, 0.2, 0.1) if {0, 1} <= set(seen) else (0.1, 0.2, 0.7), 2)
    whole = verify.joint(e.runs, "1", "2", 0.7)
    assert whole is not None and len(whole.values) == 4 and whole.ways == WAYS and whole.passes == 12
    for missing in (("1",), ("2",), ("1", "2")):
        kept = [c for c in e.runs if not (c.run.regions == missing and c.run.seed == 3)]
        some = verify.joint(kept, "1", "2", 0.7)
        assert some is not None and [way[1] for way in some.ways] == [1, 2, 4] and len(some.values) == 3
        none = verify.joint([c for c in e.runs if c.run.regions != missing], "1", "2", 0.7)
        assert none is None


def test_levels_begin_at_half_and_at_a_fifth_of_the_full_probability() -> None:
    assert [verify.level(share) for share in (1.2, 0.5, 0.49, 0.2, 0.19, 0.0)] == [
        "suffices", "suffices", "part", "part", "little", "little",
    ]  # fmt: skip


def test_a_level_is_one_only_if_every_run_agrees() -> None:
    assert verify.one_level(measured(0.3, 0.4, 0.5), 0.6) == "suffices"
    assert verify.one_level(measured(0.3, 0.4, 0.29), 0.6) is None
    assert verify.one_level(None, 0.6) is None
    assert verify.one_level(measured(0.3, 0.4), 0.0) is None, "of nothing there is no share"


def test_a_winner_is_one_only_if_every_run_agrees() -> None:
    runs = evidence(turning, 2).runs[:3]
    assert verify.winner([replace(c, winner=2) for c in runs]) == 2
    assert verify.winner([replace(c, winner=n) for n, c in enumerate(runs)]) is None
    assert verify.winner([]) is None


def test_ranks_go_by_the_median_and_intervals_that_touch_are_a_tie() -> None:
    of = {"a": measured(0.1, 0.12), "b": measured(0.3, 0.35), "c": measured(0.2, 0.25)}
    assert verify.ranks(of) == [["b"], ["c"], ["a"]]
    assert verify.ranks({"a": measured(0.3, 0.4), "b": measured(0.1, 0.3)}) == [["a", "b"]]
    assert verify.ranks({"a": measured(0.3, 0.4), "b": measured(0.1, 0.29)}) == [["a"], ["b"]]


def test_an_order_is_not_settled_by_runs_that_cannot_be_compared() -> None:
    more = measured(0.3, 0.2)
    assert not verify.settled(more, replace(measured(0.1, 0.25), ways=(WAYS[0], ("blur", 9))))
    assert not verify.settled(more, measured(0.1)) or points(more.low) > 10
    assert not verify.settled(measured(0.3, 0.1), measured(0.2))
    assert not verify.settled(measured(0.2, 0.2), measured(0.2, 0.1)), "as much is not more"


def test_an_effect_is_told_from_where_it_started() -> None:
    effect = measured(0.5, 0.3, 0.4).effect(0.6)
    assert (effect.change, effect.low, effect.high) == (pytest.approx(-0.2), pytest.approx(-0.3), pytest.approx(-0.1))


# --------------------------------------------------------------------------------------------------
# What is tried.


def bare(phi: list[float], contrast: list[float] | None = None, pairs: np.ndarray | None = None) -> Evidence:
    k = len(phi)
    e = evidence(lambda seen: (0.6, 0.3, 0.1), k)
    return replace(
        e,
        shapley=np.array([phi]),
        contrast_shapley=None if contrast is None else np.array([contrast]),
        interactions=np.zeros((1, k, k)) if pairs is None else pairs[None],
    )


def test_two_points_of_the_game_are_worth_an_experiment_and_one_is_not() -> None:
    assert strongest(bare([0.02, 0.3, 0.014])) == [1, 0]
    assert strongest(bare([0.5, 0.3, 0.4])) == [0, 2]
    assert holding(bare([0, 0, 0], [0.014, 0.02, 0.1])) == [2, 1]
    assert holding(bare([0, 0, 0])) == []
    assert holding_pair(bare([0, 0, 0], [0.1, 0.0, 0.3])) == (0, 2)
    assert holding_pair(bare([0, 0, 0], [0.1, 0.0, 0.0])) is None
    assert holding_pair(bare([0, 0, 0], [0.1, 0.2, 0.3])) == (1, 2)


def test_pairs_are_the_strongest_either_way_of_regions_that_do_not_hinder() -> None:
    pairs = np.array([[0, 0.1, 0.5], [0.1, 0, -0.3], [0.5, -0.3, 0]])
    assert pairs_of(bare([0.1, 0.1, 0.1], pairs=pairs)) == {"needs": (0, 2), "stands_in": (1, 2)}
    assert pairs_of(bare([0.1, 0.1, -0.1], pairs=pairs)) == {"needs": (0, 1)}
    assert pairs_of(bare([0.1, 0.0, 0.0], pairs=pairs)) == {"needs": (0, 2), "stands_in": (1, 2)}
    assert pairs_of(bare([0.1, 0.1, 0.1], pairs=0.02 / 0.5 * pairs)) == {"needs": (0, 2)}
    assert pairs_of(bare([0.1, 0.1, 0.1], pairs=0.014 / 0.5 * pairs)) == {}
    assert pairs_of(bare([0.1, 0.1, 0.1], pairs=-0.02 / 0.5 * pairs)) == {"stands_in": (0, 2)}
    assert pairs_of(bare([0.1])) == {}


def test_the_mean_of_the_fills_proposes() -> None:
    e = replace(bare([0.0, 0.0]), shapley=np.array([[0.06, 0.0], [-0.06, 0.06]]))
    assert strongest(e) == [1]


def test_each_region_is_hidden_all_are_hidden_and_what_is_proposed_is_tried() -> None:
    pairs = np.array([[0, 0.1, 0.5], [0.1, 0, -0.3], [0.5, -0.3, 0]])
    e = bare([0.3, 0.1, 0.2], [0.2, 0.3, 0.0], pairs)
    assert set(wanted(e)) == {
        *(("hide", (i,)) for i in range(3)), ("hide", (0, 1, 2)), ("keep", (0,)), ("keep", (2,)),
        ("hide", (0, 2)), ("hide", (1, 2)), ("hide", (0, 1)),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["shapley", "contrast_shapley", "interactions"])
def test_numbers_of_another_count_of_regions_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(bare([0.1, 0.2], [0.1, 0.2]), **{name: np.zeros((1, 3, 3) if name == "interactions" else (1, 3))})


# --------------------------------------------------------------------------------------------------
# The answer, and how much is said.


def test_the_answer_is_told_before_its_rival_and_a_third_class_is_told_against_it() -> None:
    e = evidence(additive)
    assert describe(e)[0][0].text.startswith("The model says tiger cat (60 %), ahead of Egyptian cat (25 %)")
    assert describe(replace(e, versus=None, contrast_shapley=None))[0][0].text == "The model says tiger cat (60 %)."
    third = evidence(additive, target=1, versus=2)
    assert describe(third)[0][0].text == (
        "You asked about Egyptian cat (25 %) against lynx (15 %); the model itself says tiger cat (60 %)."
    )
    assert score(0, 0.6).class_name == CAT


def test_the_lightest_sentences_stay_unsaid_and_the_order_of_reading_is_kept() -> None:
    for seed in range(20):
        e = noisy(seed)
        everything = [s.text for s in describe(e, limit=99)[0]]
        for limit in (1, 2, 4, 8):
            some = [s.kind for s in describe(e, limit=limit)[0]]
            assert len(some) == min(limit, len(everything))
            assert some[0] in ("prediction", "asked")
        assert len(describe(e)[0]) == min(8, len(everything))
    order = [s.kind for s in describe(evidence(additive), limit=99)[0]]
    assert order == [
        "prediction", "counted_most", "came_next", "against", "alone", "contrast", "flip", "context_little",
    ] or order[:4] == ["prediction", "counted_most", "came_next", "against"]  # fmt: skip


def test_two_points_against_are_worth_saying_and_one_is_not() -> None:
    e = evidence(additive)
    assert "against" in said(replace(e, shapley=np.array([[0.4, 0.2, -0.02]])))
    assert "against" not in said(replace(e, shapley=np.array([[0.4, 0.2, -0.014]])))
