"""A sentence is said only if the runs say it, and what is measured clearly is said; judged here plainly, run by run.

The judge reads the sentences back and looks at the runs alone; it knows nothing of how claims are found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

import oracles as oracle
from saywhy.explanation import ClassScore, ColourShare, Place, Run, Statement
from saywhy.intervene import CONFIRMING
from saywhy.language import Appearance, Claim, Confirming, kinds, parse_all, prediction, tell, verify
from saywhy.regions.describe import describe as claims_of
from saywhy.regions.noise import Noise
from saywhy.regions.propose import Evidence, RegionWords, counted, verdict, wanted

NAMES = ["tiger cat", "Egyptian cat", "lynx"]
WAYS = CONFIRMING
Model = Callable[[frozenset[int]], "tuple[float, ...] | np.ndarray"]


def score(index: int, p: float) -> ClassScore:
    return ClassScore(class_index=index, class_name=NAMES[index], probability=float(p))


def evidence(
    model: Model, k: int = 3, *, ways: Callable[[frozenset[int], str], object] | None = None, target: int = 0,
    versus: int | None = 1, unit: str = "probability", null: float = 1e-3, area: float = 0.05, fast: bool = False,
) -> Evidence:  # fmt: skip
    """What is known if the network is `model` (seen regions -> probabilities), or `ways` where it differs by fill."""
    colours = ("brown", "white", "grey", "green", "red", "blue", "pink", "black")
    everyone = frozenset(range(k))
    full = model(everyone)
    words = tuple(
        RegionWords(str(i + 1), area, Appearance((ColourShare(term=colours[i], share=0.9),)), get_args(Place)[i])
        for i in range(k)
    )
    best, most = (
        int(np.argmax(full)),
        max([0.02, *(abs(full[target] - model(everyone - {i})[target]) for i in range(k))]),
    )
    bare = Evidence(
        score(best, full[best]), score(target, full[target]), None if versus is None else score(versus, full[versus]),
        NAMES, words, {"inpaint": null, "mean": null}, most=float(most), tried=30, unit=unit, fast=fast,
    )  # fmt: skip
    answer = ways or (lambda seen, fill: model(seen))
    first = with_runs(bare, answer, [("hide", (i,)) for i in range(k)], target, versus)
    return with_runs(bare, answer, wanted(first, counted(first)), target, versus)


def with_runs(e: Evidence, answer, acts, target: int, versus: int | None) -> Evidence:
    out, everyone = [], frozenset(range(len(e.regions)))
    for act, which in acts:
        seen = everyone - set(which) if act == "hide" else frozenset(which)
        for fill, seed in WAYS:
            p = np.asarray(answer(seen, fill), dtype=float)
            run = Run(
                id=f"r{len(out)}", act=act, regions=tuple(e.regions[i].id for i in which), fill=fill, seed=seed,
                score=float(p[target]), contrast=None if versus is None else float(p[target] - p[versus]),
            )  # fmt: skip
            top = np.sort(p)
            out.append(Confirming(run, int(p.argmax()), float(top[-1] - top[-2]), float(top[-1] - p[target])))
    return replace(e, runs=tuple(out))


def told(e: Evidence, limit: int = 99) -> list[Statement]:
    return tell([prediction(e.predicted, e.target, e.versus), *claims_of(e)[0]], limit=limit)


def said(e: Evidence) -> dict[str, Claim]:
    return {c.kind: c for c in parse_all(" ".join(s.text for s in told(e)))}


def runs(e: Evidence, act: str, *ids: str) -> list[Confirming]:
    return [c for c in e.runs if c.run.act == act and set(c.run.regions) == set(ids)]


def odds(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def losses(e: Evidence, *ids: str, unit: str = "probability") -> list[float]:
    f = odds if unit == "log-odds" else float
    return [f(e.target.probability) - f(c.run.score) for c in runs(e, "hide", *ids)]


def additive(seen: frozenset[int]) -> tuple[float, ...]:
    p = 0.1 + 0.4 * (0 in seen) + 0.2 * (1 in seen) - 0.1 * (2 in seen)
    return (p, 0.25, 0.75 - p)


# --------------------------------------------------------------------------------------------------
# Every sentence against every run.


def noisy(seed: int) -> Evidence:
    """A random network of regions and pairs, and fills that partly agree with it."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 6))
    alone, pair, start = rng.normal(0, 0.9, (3, k)), rng.normal(0, 1.2, (3, k, k)), rng.normal(0, 0.5, 3)
    start[int(rng.integers(0, 3))] += 1.0
    noise = float(rng.choice([0.0, 0.05, 0.3]))

    def model(seen: frozenset[int]) -> np.ndarray:
        on = np.array([i in seen for i in range(k)], dtype=float)
        z = np.exp(start + alone @ on + np.einsum("cij,i,j->c", np.triu(pair, 1) if seed % 2 else 0 * pair, on, on))
        return z / z.sum()

    def ways(seen: frozenset[int], fill: str) -> np.ndarray:
        own = np.random.default_rng([seed, len(seen), sum(1 << i for i in seen), len(fill)])
        p = model(seen) * np.exp(own.normal(0, noise, 3))
        return p / p.sum()

    best = int(np.argmax(model(frozenset(range(k)))))
    target = best if seed % 5 else (best + 1) % 3
    unit = "log-odds" if seed % 3 == 0 else "probability"
    return evidence(model, k, ways=ways, target=target, versus=(target + 1) % 3, unit=unit, null=2.0)


def holds(e: Evidence, id: str, sign: int) -> bool:
    # The thresholds of the unit, as the docs say them, put into the probability's scale for the oracle.
    values = [sign * v for v in losses(e, id, unit=e.unit)]
    area = next(r.area for r in e.regions if r.id == id)
    beyond = [sign * v / (2.0 * area) for v in losses(e, id, unit="log-odds")]
    if e.unit == "probability":
        return min(values) > 0 and oracle.holds(values, beyond, sign, means=False)
    low = oracle.interval(values, 0.3)[0]
    plain = (low > 0 and sorted(beyond)[1] >= 1) or (sorted(beyond)[1] >= 3 and sorted(values)[1] >= 0.4)
    return min(values) > 0 and plain and (sign == 1 or (min(values) >= 0.5 and sorted(beyond)[1] >= 2))


def numbers(claim: Claim, values: list[float], most: float = math.inf) -> bool:
    """Whether the numbers of a sentence are the mean and the interval of these values."""
    mean = sum(values) / len(values)
    low, high = oracle.interval(values, 0.3 if claim.unit == "log-odds" else 0.03)
    low, high = max(low, 0) if min(values) > 0 else low, min(high, 0) if max(values) < 0 else high
    for got, want in ((claim.value, mean), (claim.low, low), (claim.high, min(high, most))):
        assert got is not None
        if claim.unit == "probability" and abs(got - 100 * want) > 0.52:
            return False
        if claim.unit == "log-odds" and abs(got / 10 - math.exp(want)) > 0.051 * max(1.0, math.exp(want)):
            return False
    return True


def counts(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    if not all(holds(e, i, 1) for i in ids):
        return False
    if len(ids) == 1:
        most = e.target.probability if e.unit == "probability" else math.inf
        return numbers(claim, losses(e, ids[0], unit=e.unit), most)
    means = [float(np.mean(losses(e, i))) for i in ids]
    return (claim.low, claim.high) == (round(100 * min(means)), round(100 * max(means)))


def beats(e: Evidence, one: str, other: str) -> bool:
    return all(a > b for a, b in zip(losses(e, one), losses(e, other), strict=True))


def contrast(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    assert e.versus is not None
    f = odds if e.unit == "log-odds" else float
    full = f(e.target.probability) - f(e.versus.probability)
    moved = [full - (f(c.run.score) - f(c.run.score - (c.run.contrast or 0.0))) for c in runs(e, "hide", *ids)]
    gained = [m - v for m, v in zip(moved, losses(e, *ids, unit=e.unit), strict=True)]
    says, second = (0.5, 0.15) if e.unit == "log-odds" else (0.05, 0.01)
    return sum(gained) >= 5 * says and sorted(gained)[1] >= second and numbers(claim, moved)


def pair(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    sign = 1 if claim.kind == "needs" else -1
    more = {
        unit: [
            sign * (a + b - c)
            for a, b, c in zip(*(losses(e, *which, unit=unit) for which in (ids[:1], ids[1:], ids)), strict=True)
        ]
        for unit in ("probability", "log-odds")
    }
    low = oracle.interval(more[e.unit], 0.3 if e.unit == "log-odds" else 0.03)[0]
    return low > 0 and min(more["log-odds"]) > 0 and numbers(claim, more[e.unit])


def text(claim: Claim, e: Evidence) -> bool:
    ids = [e.regions[i].id for i in counted(e)]
    for act, (value, low, high) in (("keep", claim.percents[:3]), ("hide", claim.percents[3:])):
        values = [c.run.score for c in runs(e, act, *ids)]
        a, b = oracle.interval(values, 0.03)
        want = (float(np.mean(values)), max(0.0, a), min(1.0, b))
        if any(abs(g - 100 * w) > 0.52 for g, w in zip((value, low, high), want, strict=True)):
            return False
    return True


def true_of_the_runs(claim: Claim, e: Evidence, ids: list[str]) -> bool:
    winners = {c.winner for c in runs(e, "hide", *ids)}
    judges: dict[str, Callable[[], bool]] = {
        "counted_most": lambda: (
            counts(claim, e, ids) and all(beats(e, ids[0], e.regions[i].id) for i in counted(e)[1:])
        ),
        "counted": lambda: counts(claim, e, ids),
        "came_next": lambda: counts(claim, e, ids),
        "counted_too": lambda: counts(claim, e, ids),
        "against": lambda: holds(e, ids[0], -1) and numbers(claim, [-v for v in losses(e, *ids, unit=e.unit)]),
        "contrast": lambda: contrast(claim, e, ids),
        "flip": lambda: (
            {NAMES[w] for w in winners} == set(claim.classes)
            and claim.classes != (e.target.class_name,)
            and len(ids) == 1
            and min(c.lead for c in runs(e, "hide", *ids)) >= 0.3
        ),
        "no_longer": lambda: e.target.class_index not in winners and all(c.over >= 0.1 for c in runs(e, "hide", *ids)),
        "needs": lambda: pair(claim, e, ids),
        "stands_in": lambda: pair(claim, e, ids),
        "text": lambda: text(claim, e),
        "nothing": lambda: not any(holds(e, r.id, s) for r in e.regions for s in (1, -1)),
        "unconfirmed": lambda: not any(holds(e, r.id, 1) for r in e.regions),
    }
    return claim.kind in ("prediction", "asked") or bool(judges[claim.kind]())


@pytest.mark.parametrize("seed", range(120))
def test_every_sentence_is_true_of_the_runs_behind_it(seed: int) -> None:
    e = noisy(seed)
    claims = parse_all(" ".join(s.text for s in told(e)))
    for claim in claims:
        assert true_of_the_runs(claim, e, [r.id for r in claim.regions]), claim
    kinds = [c.kind for c in claims]
    if counted(e):
        first = next(c for c in claims if c.kind in ("counted_most", "counted"))
        assert first.regions[0].id == e.regions[counted(e)[0]].id, "the first that counts is always named first"
        assert not {"nothing", "unconfirmed"} & set(kinds)
        named = {
            r.id for c in claims if c.kind in ("counted_most", "counted", "came_next", "counted_too") for r in c.regions
        }
        assert named == {e.regions[i].id for i in counted(e)}, "and every other one that counts is named too"
    else:
        assert len({"nothing", "unconfirmed"} & set(kinds)) == 1, "or the text says why none is"


@pytest.mark.parametrize("seed", range(40))
def test_an_effect_has_the_numbers_of_its_sentence_and_names_the_fills_that_disagree(seed: int) -> None:
    e = noisy(seed)
    statements = told(e)
    for claim, s in zip(parse_all(" ".join(s.text for s in statements)), statements, strict=True):
        if claim.value is None:
            continue
        assert s.effect is not None and s.effect.unit == e.unit == claim.unit and s.effect.level == 0.9
        sign = -1 if claim.kind in ("against", "stands_in") else 1
        told_as = verify.points if e.unit == "probability" else verify.tenths
        if claim.kind in ("needs", "stands_in"):
            continue
        if claim.kind == "against":
            assert told_as(s.effect.change * sign * -1) == claim.value or told_as(s.effect.change) == claim.value
        else:
            assert told_as(-s.effect.change) == claim.value
        if claim.kind in ("counted", "counted_most", "came_next", "counted_too"):
            values = losses(e, claim.regions[0].id, unit=e.unit)
            mean = sum(values) / len(values)
            assert s.effect.disagree == tuple(f for (f, _), v in zip(WAYS, values, strict=True) if v * mean < 0)


# --------------------------------------------------------------------------------------------------
# What is told of networks that are known.


def test_an_additive_network_is_told_in_order_with_its_true_numbers() -> None:
    assert [s.text for s in told(evidence(additive))] == [
        "The model says tiger cat (60 %), ahead of Egyptian cat (25 %).",
        "Region 1, the brown patch at the top left, counted most for tiger cat: "
        "hiding it lowers the probability by 40 points (between 33 and 47, whichever way it is hidden).",
        "Region 2, the white patch at the top, came next: hiding it costs 20 points (between 13 and 27).",
        "Region 3, the grey patch at the top right, counted against tiger cat: "
        "hiding it raises the probability by 10 points (between 3 and 17, whichever way it is hidden).",
        "Without region 1, the model would no longer say tiger cat.",
        "Alone, what these sentences name keeps tiger cat at 70 % (between 63 and 77); "
        "without it, under 1 % (at most 7) is left.",
    ]


def by_fill(values: dict[str, float]) -> Callable[[frozenset[int], str], tuple[float, ...]]:
    def ways(seen: frozenset[int], fill: str) -> tuple[float, ...]:
        p = 0.6 if 0 in seen else 0.6 - values.get(fill, 0.3)
        return (p, 0.3, 0.7 - p)

    return ways


@pytest.mark.parametrize("lost", [{"donor": -0.05}, {"donor": -0.05, "noise": -0.05}])
def test_where_one_way_of_hiding_disagrees_nothing_is_said(lost: dict[str, float]) -> None:
    claims = said(evidence(additive, 1, ways=by_fill(lost)))
    assert {"counted", "counted_most"}.isdisjoint(claims) and "unconfirmed" in claims


def test_where_every_way_agrees_the_interval_does_not_cross_zero() -> None:
    claim = said(evidence(additive, 1, ways=by_fill({"donor": 0.12, "noise": 0.15})))["counted"]
    assert claim.low == 0 and claim.value is not None and claim.value > 0


def test_what_is_no_more_than_its_size_does_here_is_not_said() -> None:
    assert "counted" in said(evidence(additive, 1, null=1.0)) or "counted_most" in said(evidence(additive, 1, null=1.0))
    assert "unconfirmed" in said(evidence(additive, 1, null=60.0))


def flipping(gap: float) -> Callable[[frozenset[int], str], tuple[float, ...]]:
    return lambda seen, fill: (0.6, 0.3, 0.1) if 0 in seen else (0.1, 0.45 + gap / 2, 0.45 - gap / 2)


def test_a_winner_is_named_only_if_it_leads_clearly_under_every_fill() -> None:
    model = flipping(0.5)
    sure = evidence(lambda seen: model(seen, ""), 1, ways=model)
    assert said(sure)["flip"].classes == ("Egyptian cat",)
    assert said(evidence(lambda seen: model(seen, ""), 1, ways=flipping(0.28)))["no_longer"].classes == ("tiger cat",)

    def divided(seen: frozenset[int], fill: str) -> tuple[float, ...]:
        return flipping(0.4 if fill != "noise" else -0.4)(seen, fill)

    assert said(evidence(lambda seen: model(seen, ""), 1, ways=divided)).keys() >= {"no_longer"}

    def stays(seen: frozenset[int], fill: str) -> tuple[float, ...]:
        return model(seen, fill) if fill != "noise" else (0.5, 0.4, 0.1)

    assert {"flip", "no_longer"}.isdisjoint(said(evidence(lambda seen: model(seen, ""), 1, ways=stays)))

    def nearly(seen: frozenset[int], fill: str) -> tuple[float, ...]:
        return model(seen, fill) if fill != "noise" else (0.4, 0.48, 0.12)

    near = said(evidence(lambda seen: model(seen, ""), 1, ways=nearly))
    assert {"flip", "no_longer"}.isdisjoint(near), "another class won everywhere, but hardly under noise"


@pytest.mark.parametrize(("left", "said_so"), [(0.21, False), (0.24, True)])
def test_what_two_parts_add_is_said_from_five_points_at_the_least(left: float, said_so: bool) -> None:
    def together(seen: frozenset[int]) -> tuple[float, ...]:
        p = (left, 0.5, 0.9)[len({0, 1} & seen)]
        return (p, 1 - p, 0.0)

    assert ("needs" in said(evidence(together, 2))) is said_so


def test_two_necessary_parts_need_each_other_only_beyond_the_product() -> None:
    def product(seen: frozenset[int]) -> tuple[float, ...]:
        z = -4 + 4 * (0 in seen) + 4 * (1 in seen)
        p = 1 / (1 + math.exp(-z))
        return (p, 1 - p, 0.0)

    e = evidence(product, 2)
    assert counted(e) == [0, 1] and "needs" not in said(e), "in log-odds each adds what it adds"

    def together(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.9 if {0, 1} <= seen else 0.2
        return (p, 1 - p, 0.0)

    assert said(evidence(together, 2))["needs"].value == 70

    def either(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.9 if {0, 1} <= seen else 0.7 if seen else 0.05
        return (p, 1 - p, 0.0)

    assert said(evidence(either, 2))["stands_in"].value == 45


def test_where_the_answer_stays_the_evidence_is_told() -> None:
    def sure(seen: frozenset[int]) -> tuple[float, ...]:
        z = 5 + 3 * (0 in seen)
        p = 1 / (1 + math.exp(-z))
        return (p, 1 - p, 0.0)

    claim = said(evidence(sure, 1, unit="log-odds"))["counted"]
    assert (claim.value, claim.percents, claim.unit) == (200, (99,), "log-odds")
    assert "a factor of 20 (between 10 and 40, whichever way it is hidden); the answer stays at 99 %" in " ".join(
        s.text for s in told(evidence(sure, 1, unit="log-odds"))
    )


def test_a_group_hides_no_difference_beyond_the_interval() -> None:
    def four(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.2 + 0.3 * (0 in seen) + 0.2 * (1 in seen) + 0.11 * (2 in seen) + 0.1 * (3 in seen) + 0.052 * (4 in seen)
        return (p, 1 - p, 0.0)

    groups = [
        [r.id for r in c.regions]
        for c in parse_all(" ".join(s.text for s in told(evidence(four, 5))))
        if c.kind == "counted_too"
    ]
    assert groups == [["3", "4"], ["5"]]


def test_a_network_with_nothing_to_say_gets_one_sentence_that_carries_no_tick() -> None:
    flat = evidence(lambda seen: (0.5, 0.3, 0.2), 0)
    assert [s.kind for s in told(flat)] == ["prediction", "nothing"]
    assert "by at most 2 points" in told(flat)[1].text
    unsure = told(evidence(additive, 1, ways=by_fill({"donor": -0.2, "noise": -0.2})))[1]
    assert (unsure.kind, unsure.verified, unsure.effect) == ("unconfirmed", False, None)


def test_fast_says_nothing_of_how_regions_work_together() -> None:
    e = evidence(additive, fast=True)
    assert {c.run.act for c in e.runs} == {"hide"} and all(len(c.run.regions) == 1 for c in e.runs)
    assert {"needs", "stands_in", "text"}.isdisjoint(said(e)) and "counted_most" in said(e)


def test_wanted_asks_for_few_experiments_and_none_twice() -> None:
    for k in range(1, 9):
        e = evidence(lambda seen: (0.1 + 0.1 * len(seen), 0.05, 0.85 - 0.1 * len(seen)), k)
        acts = wanted(e, counted(e))
        assert len(acts) == len(set(acts)) <= k + 5
        assert all(("hide", (i,)) in acts for i in range(k))
        assert all(verdict(e, i) == 1 for i in range(k))


def test_never_more_sentences_than_the_limit_and_the_weightiest_stay() -> None:
    assert [s.kind for s in told(evidence(additive), limit=3)] == ["prediction", "counted_most", "text"]


# --------------------------------------------------------------------------------------------------
# What is left out, and what single numbers decide.


@pytest.mark.parametrize("seed", range(12))
def test_every_part_that_was_tried_and_did_not_hold_is_counted(seed: int) -> None:
    for dropped in (0, 3):
        e = replace(noisy(seed), dropped=dropped)
        assert claims_of(e)[1] == dropped + [verdict(e, i) for i in range(len(e.regions))].count(0)


def test_where_nothing_was_tried_nothing_is_known_and_nothing_was_dropped() -> None:
    bare = Evidence(score(0, 0.5), score(0, 0.5), None, NAMES)
    ((found,), dropped) = claims_of(bare)
    assert (found.claim.kind, found.claim.high, dropped) == ("nothing", 0, 0)
    assert found.effect is not None and (found.effect.runs, found.effect.passes, found.effect.change) == (1, 1, 0)
    assert (found.effect.low, found.effect.high, found.effect.fill, found.effect.level) == (0, 0, "inpaint", 1)


def test_a_region_that_was_hidden_in_the_mirror_alone_is_not_said() -> None:
    e = evidence(additive)
    assert verdict(e, 0) == 1 and verdict(replace(e, runs=()), 0) == 0
    turned = tuple(
        replace(c, run=c.run.model_copy(update={"mirrored": True}), whole=(e.target.probability, 0.25)) for c in e.runs
    )
    assert verdict(replace(e, runs=turned), 0) == 0 and verdict(replace(e, runs=(*e.runs, *turned)), 0) == 1


def without_all(others: int) -> Model:
    """The answer changes only with all of so many regions hidden."""
    return lambda seen: (0.6 - 0.06 * (others - len(seen)), 0.2, 0.2) if seen else (0.1, 0.8, 0.1)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_answer_is_said_to_change_only_without_a_single_region(k: int) -> None:
    claim = said(evidence(without_all(k), k)).get("flip")
    assert (None if claim is None else [r.id for r in claim.regions]) == (["1"] if k == 1 else None)


def test_of_an_asked_class_that_is_not_the_answer_no_other_answer_is_told() -> None:
    def other(seen: frozenset[int]) -> tuple[float, ...]:
        return (0.6, 0.3, 0.1) if seen else (0.1, 0.1, 0.8)

    assert "flip" in said(evidence(other, 1)) and {"flip", "no_longer"}.isdisjoint(said(evidence(other, 1, target=1)))


@pytest.mark.parametrize("unit", ["probability", "log-odds"])
@pytest.mark.parametrize("seed", range(10))
def test_losses_are_of_the_picture_or_the_mean_of_it_and_its_mirror(seed: int, unit: str) -> None:
    rng = np.random.default_rng(seed)
    f = odds if unit == "log-odds" else float
    full, rival = 0.6, 0.3
    runs, plain, both, moved, moved_both = [], [], [], [], []
    for n, (fill, number) in enumerate(WAYS):
        score_, gap, turned, turned_gap, whole, other = rng.uniform(0.05, 0.45, 6)
        first = Run(id=f"r{n}", act="hide", regions=("1",), fill=fill, seed=number, score=score_, contrast=score_ - gap)
        second = first.model_copy(update={"score": turned, "contrast": turned - turned_gap, "mirrored": True})
        runs += [Confirming(first, 0), Confirming(second, 0, whole=(whole, other))]
        plain.append(f(full) - f(score_))
        both.append((plain[-1] + f(whole) - f(turned)) / 2)
        moved.append(f(full) - f(rival) - (f(score_) - f(gap)))
        moved_both.append((moved[-1] + f(whole) - f(other) - (f(turned) - f(turned_gap))) / 2)
    for want, contrasts, twice in ((plain, moved, False), (both, moved_both, True)):
        m = verify.losses(runs, full, unit, both=twice)
        against = verify.contrast_losses(runs, full, rival, unit, both=twice)
        assert m is not None and against is not None
        assert m.values == pytest.approx(want) and against.values == pytest.approx(contrasts)
        assert m.ways == WAYS and m.passes == against.passes == len(WAYS) * (1 + twice)
    unknown = [replace(c, whole=None if c.whole is None else (c.whole[0], None)) for c in runs]
    alone = verify.contrast_losses(unknown, full, rival, unit, both=True)
    assert alone is not None and alone.values == pytest.approx(moved), "a mirror whose rival is not known says nothing"
    assert verify.losses([c for c in runs if c.run.mirrored], full, unit) is None
    assert verify.losses([], full, unit, both=True) is None and verify.scores([]) is None


def test_what_a_pair_adds_is_measured_in_runs_of_the_same_way_of_the_picture_itself() -> None:
    rng = np.random.default_rng(1)
    runs, want, moved = [], [], []
    for n, (fill, number) in enumerate(WAYS):
        p, gaps = rng.uniform(0.1, 0.5, 3), rng.uniform(0.1, 0.5, 3)
        for ids, a, b in zip((("1",), ("2",), ("2", "1")), p, gaps, strict=True):
            run = Run(id=f"{n}", act="hide", regions=ids, fill=fill, seed=number, score=a, contrast=a - b)
            turned = run.model_copy(update={"mirrored": True, "score": 0.9})
            runs += [Confirming(run, 0), Confirming(turned, 0, whole=(0.5, 0.2))]
        want.append(0.6 - p[0] - p[1] + p[2])
        moved.append(0.6 - 0.2 - (gaps[0] * 0 + p[0] - gaps[0]) - (p[1] - gaps[1]) + p[2] - gaps[2])
    got, against = verify.joint(runs, "1", "2", 0.6), verify.joint(runs, "1", "2", 0.6, rival=0.2)
    assert got is not None and against is not None
    assert got.values == pytest.approx(want) and got.ways == WAYS and got.passes == 3 * len(WAYS)
    assert against.values == pytest.approx(moved)
    kept = [c for c in runs if len(c.run.regions) == 1 or c.run.fill != "noise"]
    less = verify.joint(kept, "1", "2", 0.6)
    assert less is not None and [fill for fill, _ in less.ways] == [fill for fill, _ in WAYS if fill != "noise"]
    assert verify.joint([c for c in runs if len(c.run.regions) == 1], "1", "2", 0.6) is None


def measured(*values: float, unit: str = "probability", most: float = math.inf) -> verify.Measured:
    return verify.Measured(tuple(values), WAYS[: len(values)], len(values), unit, most)  # type: ignore[arg-type]


def test_one_exceeds_another_only_in_every_run_and_in_what_is_told() -> None:
    assert verify.settled(measured(0.2, 0.3), measured(0.1, 0.29))
    assert not verify.settled(measured(0.2, 0.3), measured(0.1, 0.297)), "the same in whole points"
    assert not verify.settled(measured(0.2, 0.3), measured(0.1)), "not compared in every run"
    assert not verify.settled(measured(0.2, 0.3), measured(0.1, 0.4)) and not verify.settled(measured(), measured())
    assert verify.settled(measured(1.0, unit="log-odds"), measured(0.9, unit="log-odds"))
    assert not verify.settled(measured(0.104, unit="log-odds"), measured(0.1, unit="log-odds"))


def test_values_are_alike_where_each_lies_in_the_interval_of_every_other() -> None:
    tight, wide = measured(0.05, 0.05, 0.05), measured(0.1, 0.3, 0.5)
    assert verify.alike([tight, measured(0.1, 0.1, 0.1)]) and not verify.alike([tight, measured(0.5, 0.5, 0.5)])
    assert not verify.alike([tight, wide]) and not verify.alike([wide, tight]), "in both directions"
    assert verify.alike([tight])


def test_an_interval_does_not_reach_where_no_run_was_and_no_loss_is_more_than_all() -> None:
    assert measured(0.01, 0.02).low == 0 and measured(-0.01, 0.02).low < 0
    assert measured(-0.01, -0.02).high == 0 and measured(-0.01, 0.02).high > 0
    assert measured(0.3, 0.39, most=0.39).high == 0.39 and measured(0.3, 0.39, most=0.39).times(-1).most == math.inf
    assert verify.interval([0.3]) == (-math.inf, math.inf)
    effect = measured(0.3, -0.1).effect()
    assert (effect.change, effect.disagree, effect.runs) == (pytest.approx(-0.1), (WAYS[1][0],), 2)
    assert (effect.low, effect.high) == (-measured(0.3, -0.1).high, -measured(0.3, -0.1).low)
    assert effect.fill == ", ".join(sorted(fill for fill, _ in WAYS[:2]))


@pytest.mark.parametrize(
    ("loss", "told_as"),
    [
        (0.0, 10),
        (math.log(9.94), 99),
        (math.log(9.96), 100),
        (math.log(99.6), 1000),
        (math.log(104), 1000),
        (math.log(106), 1100),
        (math.log(1234), 12000),
        (-math.log(2), 5),
        (25.0, 1000000000),
        (-25.0, 0),
    ],
)
def test_evidence_is_told_as_a_factor_in_tenths_and_with_two_digits_from_ten_on(loss: float, told_as: int) -> None:
    assert verify.tenths(loss) == told_as


def test_certainty_is_never_infinite() -> None:
    assert [verify.in_unit(p, "log-odds") for p in (0.0, 1e-18, 1.0)] == pytest.approx(
        [-34.54, -34.54, 34.54], abs=1e-2
    )
    assert verify.in_unit(0.5, "log-odds") == 0 and verify.in_unit(0.3, "probability") == 0.3


def test_what_the_model_says_is_told_with_the_classes_that_were_asked_about_once_each() -> None:
    a, b, c = score(0, 0.6), score(1, 0.3), score(2, 0.1)
    for found, kind, classes in (
        (prediction(a, a, None), "prediction", (0,)), (prediction(a, a, b), "prediction", (0, 1)),
        (prediction(a, b, None), "asked", (1, 0)), (prediction(a, b, a), "asked", (1, 0)),
        (prediction(a, b, c), "asked", (1, 2, 0)), (prediction(a, b, b), "asked", (1, 0)),
        (prediction(a, a, a), "prediction", (0,)),
    ):  # fmt: skip
        assert (found.claim.kind, found.classes) == (kind, classes)
        assert found.claim.classes == tuple(NAMES[i] for i in classes) and found.evidence == ("prediction",)
        assert found.claim.percents == tuple({0: 60, 1: 30, 2: 10}[i] for i in classes)


def test_ten_sentences_at_most_and_in_reading_order() -> None:
    e = evidence(lambda seen: (0.1 + 0.11 * len(seen), 0.05, 0.85 - 0.11 * len(seen)), 8, unit="log-odds")
    found = [prediction(e.predicted, e.target, e.versus), *claims_of(e)[0]]
    found += [f for f in found if f.claim.kind == "counted_too"]
    assert len(found) > 11 and len(tell(found)) == 10
    order = list(kinds())
    for limit in (3, 10, 99):
        places = [order.index(s.kind) for s in tell(found[::-1], limit=limit)]
        assert len(places) == min(limit, len(found)) and places == sorted(places)


# --------------------------------------------------------------------------------------------------
# The mirror and the noise decide with.


def mirrored(e: Evidence, whole: tuple[float, float], after: tuple[float, float]) -> Evidence:
    """With the same runs in the mirror, where the whole gave target and versus so, and hiding anything so."""
    turned = tuple(
        replace(
            c,
            run=c.run.model_copy(update={"score": after[0], "contrast": after[0] - after[1], "mirrored": True}),
            whole=whole,
        )
        for c in e.runs
    )
    return replace(e, runs=(*e.runs, *turned))


def one(before: float, after: float, null: float) -> Evidence:
    """One region without which the target falls so far."""
    return evidence(lambda seen: (p := before if seen else after, 0.3, 0.7 - p), 1, null=null)


@pytest.mark.parametrize(
    ("null", "whole", "after", "counts"),
    [
        # 10 points here and 2 in the mirror are 6, which the interval does not tell from none; the evidence is there.
        (25.0, 0.02, 0.0002, 0),
        # Evidence of 0.4 here and 1.8 in the mirror is more than twice what the size costs; here alone it is less.
        (10.0, 0.9, 0.6, 1),
        (10.0, 0.6, 0.7, 0),
    ],
)
def test_what_counts_is_the_mean_of_the_picture_and_its_mirror(
    null: float, whole: float, after: float, counts: int
) -> None:
    assert verdict(mirrored(one(0.6, 0.5, null), (whole, 0.1), (after, 0.1)), 0) == counts


def test_a_contrast_is_said_where_the_rival_gains_in_the_picture_and_its_mirror() -> None:
    e = evidence(lambda seen: (0.6, 0.25, 0.15) if seen else (0.4, 0.45, 0.15), 1)
    assert "contrast" in said(e)
    for after, told_ in (((0.4, 0.25), True), ((0.4, 0.05), False), ((0.1, 0.13), False), ((0.1, 0.2), True)):
        assert ("contrast" in said(mirrored(e, (0.6, 0.25), after))) == told_, after


def floor(least: float) -> Noise:
    """Noise of which five runs would give this much."""
    return Noise((0.5, 0.5 + least * 2**0.5 / (3 * 1.2**0.5)))


@pytest.mark.parametrize(("share", "said_"), [(0.9, True), (1.1, False)])
def test_what_is_said_exceeds_the_noise(share: float, said_: bool) -> None:
    e = evidence(additive)
    assert (verdict(replace(e, noise=floor(0.4 * share)), 0) == 1) == said_
    assert (verdict(replace(e, noise=floor(0.1 * share)), 2) == -1) == said_

    rival = evidence(lambda seen: (0.6, 0.25, 0.15) if seen else (0.3, 0.55, 0.15), 1)
    moved = verify.contrast_losses(rival.hidden(0), 0.6, 0.25)
    assert moved is not None and moved.low > 0.4
    assert ("contrast" in said(replace(rival, noise=floor(moved.low / 2 * share)))) == said_

    def together(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.9 if {0, 1} <= seen else 0.2
        return (p, 1 - p, 0.0)

    pair_ = evidence(together, 2)
    adds = verify.joint(pair_.runs, "1", "2", 0.9)
    assert adds is not None
    noise = floor(adds.times(1).low / 2 * share)
    assert ("needs" in said(replace(pair_, noise=noise))) == said_


def test_a_pair_rests_on_both_regions_and_their_edge_and_what_is_confirmed_is_ticked() -> None:
    def together(seen: frozenset[int]) -> tuple[float, ...]:
        p = 0.9 if {0, 1} <= seen else 0.2
        return (p, 1 - p, 0.0)

    statements = told(evidence(together, 2))
    assert next(s for s in statements if s.kind == "needs").evidence == ("1", "2", "1-2")
    assert all(s.verified for s in statements)


@pytest.mark.parametrize(("spread", "points_"), [(0.001, None), (0.004, None), (0.03, 2), (0.1, 7)])
def test_a_model_that_does_not_repeat_itself_is_said_to_as_far_as_whole_points_show(
    spread: float, points_: int | None
) -> None:
    e = replace(evidence(additive), noise=Noise((0.6, 0.6 + spread)))
    claims, dropped = claims_of(e)
    found = [f for f in claims if f.claim.kind == "unsteady"]
    assert [f.claim.low for f in found] == [f.claim.high for f in found] == ([] if points_ is None else [points_])
    assert dropped == [verdict(e, i) for i in range(3)].count(0)
    assert all(f.evidence == ("prediction",) and f.classes == (0,) for f in found)
