"""Claims, the sentences that say them, and the runs that confirm them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from saywhy.errors import UsageError
from saywhy.explanation import Beside, ClassScore, ColourShare, Place, Run
from saywhy.language import (
    Appearance,
    Claim,
    Confirming,
    Region,
    parse,
    parse_all,
    prediction,
    tell,
    verify,
    write,
    write_all,
    written_all,
)
from saywhy.language.claims import kinds as known_kinds
from saywhy.language.sentences import _read_name, _written
from saywhy.regions.describe import describe as claims_of
from saywhy.regions.propose import Evidence, RegionWords, wanted


def describe(e, *, limit=8):
    """What is said of regions, after what is said of every image; and how many claims were dropped."""
    said, dropped = claims_of(e)
    told = [
        c and c.model_copy(update={"class_name": e.names[c.class_index]}) for c in (e.predicted, e.target, e.versus)
    ]
    return tell([prediction(*told), *said], limit=limit), dropped


CAT, EGYPTIAN = "tiger cat", "Egyptian cat"
ONE = Region("1", "orange-brown", "centre left")
TWO = Region("2", "large white", "centre")
THREE = Region("3", "multicoloured", "bottom right")

# --------------------------------------------------------------------------------------------------
# Sentences.

SENTENCES = [
    (
        Claim("prediction", classes=(CAT, EGYPTIAN), percents=(39, 36)),
        "The model says tiger cat (39 %), ahead of Egyptian cat (36 %).",
    ),
    (
        Claim("prediction", classes=(CAT, EGYPTIAN), percents=(38, 38)),
        "The model says tiger cat (38 %), just ahead of Egyptian cat (38 %).",
    ),
    (
        Claim("asked", classes=(EGYPTIAN, CAT), percents=(0, 100)),
        "You asked about Egyptian cat (under 1 %); the model itself says tiger cat (over 99 %).",
    ),
    (
        Claim("counted_most", (ONE,), (CAT,), value=24, low=18, high=29, runs=4),
        "Region 1, the orange-brown patch at the centre left, counted most for tiger cat: "
        "hiding it lowers the probability by 24 points (18 to 29 in 4 runs).",
    ),
    (
        Claim("counted_most", (ONE, TWO), (CAT,), low=13, high=24, runs=4),
        "Region 1, the orange-brown patch at the centre left, and region 2, the large white patch in the centre, "
        "counted most for tiger cat: hiding either lowers the probability by 13 to 24 points (4 runs each).",
    ),
    (
        Claim("came_next", (Region("1"), Region("2"), Region("3")), low=3, high=3, runs=2),
        "Region 1, region 2 and region 3 came next: hiding any one of them costs 3 points (range of 2 each).",
    ),
    (
        Claim("against", (THREE,), (CAT,), value=1, low=1, high=1, runs=4),
        "Region 3, the multicoloured patch at the bottom right, counted against tiger cat: "
        "hiding it raises the probability by 1 point (in all 4 runs).",
    ),
    (
        Claim("alone", (Region("1"),), (CAT,), value=78, low=70, high=82, runs=3),
        "With everything else hidden, region 1 alone still gives tiger cat 78 % (range of 3: 70 to 82).",
    ),
    (
        Claim("contrast", (Region("3"),), (CAT, EGYPTIAN), value=12, low=9, high=15, runs=8),
        "Region 3 speaks for tiger cat rather than Egyptian cat: "
        "hiding it moves the difference by 12 points (9 to 15 in 8 runs) towards Egyptian cat.",
    ),
    (
        Claim("flip", (TWO,), (EGYPTIAN,), runs=4),
        "Without region 2, the large white patch in the centre, the model would say Egyptian cat (in all 4 runs).",
    ),
    (
        Claim("needs", (Region("1"), Region("3")), value=9, low=5, high=11, runs=4),
        "Region 1 and region 3 need each other: seen together they add 9 points (5 to 11 in 4 runs) "
        "more than one by one.",
    ),
    (
        Claim("context_little", classes=(CAT,), value=0, low=0, high=2, runs=4),
        "With every region hidden, tiger cat falls to under 1 % (under 1 to 2 in 4 runs): "
        "it is the regions that count.",
    ),
    (
        Claim("nothing", classes=(CAT,), high=3, runs=4),
        "No region counts noticeably by itself: "
        "hiding any one changes the probability of tiger cat by at most 3 points (4 runs each).",
    ),
]


@pytest.mark.parametrize(("claim", "text"), SENTENCES)
def test_claim_and_sentence_turn_into_each_other(claim: Claim, text: str) -> None:
    assert write(claim) == text
    assert parse(text) == claim


regions = st.builds(
    Region,
    id=st.from_regex(r"[a-z]?[1-9][0-9]?", fullmatch=True),
    look=st.sampled_from(["brown", "large orange-brown", "small black-and-white", "mostly white", "multicoloured"]),
    place=st.sampled_from(get_args(Place)),
    beside=st.one_of(
        st.none(),
        st.builds(
            Beside,
            relation=st.sampled_from(["left of", "right of", "above", "below"]),
            region=st.sampled_from(["1", "2-3", "a7", "12"]),
        ),
    ),
)
bare_regions = st.builds(Region, id=st.from_regex(r"[a-z]?[1-9][0-9]?(-[0-9])?", fullmatch=True))
TRICKY = [
    "maillot, tank suit",
    "black and gold garden spider",
    "“quoted”",
    '"plain quotes"',
    "a: b",
    "cat (39 %)",
    "",
    "cat rather than dog",
    "région 1",
    "cat. The model says dog (12 %)",
    "back\\slash \\u{201c}",
    " spaced ",
    "two\nlines",
    "by 3 points (in all 4 runs)",
    "猫",
    "🐈",
    "cat: hiding it costs 3 points (in all 4 runs)",
    "towards cat",
    "a\u00a0b",
    "potter's wheel",
    "region 1, the brown patch at the top,",
    "cat alone still gives cat",
]
names = st.one_of(st.sampled_from(["tiger cat", "T-shirt", *TRICKY]), st.text(max_size=12))
counts = st.integers(1, 12)


@st.composite
def claims(draw: st.DrawFn, described: st.SearchStrategy[Region] = regions) -> Claim:
    """A claim with what one of the table's sentences has a slot for."""
    kind = draw(st.sampled_from(list(known_kinds())))
    slots = set(re.findall(r"\{(\w+),?\}", draw(st.sampled_from(known_kinds()[kind].sentences))))
    several = {"region": (1, 1), "regions": (2, 5), "both": (2, 2)}
    least, most = next((several[s] for s in slots if s in several), (0, 0))
    a, b, c = sorted(draw(st.tuples(*[st.integers(0, 100)] * 3)))
    numbers: dict[str, int] = {}
    if slots & {"points", "share"}:
        numbers = {"low": a, "value": b, "high": c}
    elif "reach" in slots:
        numbers = {"low": a, "high": c}
    elif "limit" in slots:
        numbers = {"high": c}
    if slots & {"points", "share", "reach", "limit", "runs"}:
        numbers["runs"] = draw(counts)
    return Claim(
        kind,
        tuple(draw(st.lists(described, min_size=least, max_size=most, unique_by=lambda r: r.id))),
        tuple(draw(names) for s in slots if s.startswith("class")),
        tuple(draw(st.integers(0, 100)) for s in slots if s.startswith("percent")),
        **numbers,
    )


QUICK = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def consistent(claim: Claim) -> bool:
    # An interval of no width lies where its value lies.
    return claim.value is None or claim.low != claim.high or claim.value == claim.low


@QUICK
@given(claims(st.one_of(regions, bare_regions)))
def test_thousands_of_claims_are_read_back_exactly(claim: Claim) -> None:
    assume(consistent(claim))
    text = write(claim)
    assert parse(text) == claim
    assert "\n" not in text and text.endswith(".")


@settings(QUICK, max_examples=200)
@given(st.lists(claims(), max_size=6))
def test_whole_texts_are_read_back_with_every_region_described(given_claims: list[Claim]) -> None:
    known: dict[str, Region] = {}
    told = []
    for claim in filter(consistent, given_claims):
        known |= {r.id: r for r in claim.regions if r.id not in known}
        told.append(replace(claim, regions=tuple(known[r.id] for r in claim.regions)))
    assert parse_all(" ".join(write_all(told))) == told


@settings(QUICK, max_examples=400)
@given(st.one_of(st.text(max_size=80), claims().filter(consistent).map(write)), st.data())
def test_any_other_text_is_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(min_size=1, max_size=2)) + text[at:]
    try:
        claim = parse(changed)
    except ValueError:
        return
    assert write(claim) == changed


def test_region_is_described_once_and_named_after() -> None:
    texts = write_all([SENTENCES[3][0], Claim("flip", (ONE,), (EGYPTIAN,), runs=4)])
    assert texts[1] == "Without region 1, the model would say Egyptian cat (in all 4 runs)."


@QUICK
@given(claims(st.one_of(regions, bare_regions)))
def test_marks_are_exactly_the_words_that_name_a_region_or_a_class(claim: Claim) -> None:
    assume(consistent(claim))
    (sentence,) = written_all([claim]) if all(r.look for r in claim.regions) else [_written(claim)]
    named = [id for r in claim.regions for id in (r.id, r.beside.region if r.beside else None) if id is not None]
    at = 0
    for mark in sentence.marks:
        assert at <= mark.start < mark.end
        at = mark.end
        word = sentence.text[mark.start : mark.end]
        if mark.region is not None:
            assert mark.number is None
            assert word == mark.region == named.pop(0)
            assert sentence.text[: mark.start].lower().endswith("region ")
        else:
            # A name in quotes may have its unprintable letters as code points; those are read back.
            assert _read_name(f"“{word}”") == claim.classes[mark.number]
    assert named == []
    assert {m.number for m in sentence.marks} - {None} == {i for i, name in enumerate(claim.classes) if name}


def test_region_described_in_two_ways_is_an_error() -> None:
    other = Claim("flip", (replace(ONE, look="green"),), (EGYPTIAN,), runs=4)
    with pytest.raises(UsageError, match="two ways"):
        write_all([SENTENCES[3][0], other])


@pytest.mark.parametrize(
    "claim",
    [
        Claim("sings"),
        Claim("counted_most", (ONE,), (CAT,)),
        Claim("counted_most", (), (CAT,), value=3, low=1, high=4, runs=4),
        Claim("needs", (ONE, TWO, THREE), value=3, low=1, high=4, runs=4),
        Claim("flip", (Region("no id"),), (CAT,), runs=4),
        Claim("flip", (Region("1", "Brown; big", "top"),), (CAT,), runs=4),
        Claim("against", (ONE,), (CAT,), value=3, low=5, high=5, runs=4),
        Claim("nothing", classes=(CAT,), high=3, runs=4, low=1),
    ],
)
def test_claim_that_no_sentence_says_is_an_error(claim: Claim) -> None:
    with pytest.raises(UsageError, match="no sentence"):
        write(claim)


def test_long_name_is_read_in_no_time() -> None:
    claim = Claim("prediction", classes=("a " * 400 + "a", "b-" * 400), percents=(60, 30))
    assert parse(write(claim)) == claim


# --------------------------------------------------------------------------------------------------
# What runs confirm.

WAYS = (("mean", 1), ("mean", 2), ("noise", 3), ("noise", 4))
NAMES = [CAT, EGYPTIAN, "lynx"]


def measured(*values: float) -> verify.Measured:
    return verify.Measured(values, WAYS[: len(values)], len(values))


def test_loss_is_confirmed_only_if_every_run_shows_it() -> None:
    assert verify.holds(measured(0.02, 0.03, 0.01, 0.04))
    assert not verify.holds(measured(0.2, 0.3, -0.01, 0.4))
    assert not verify.holds(measured(0.2, 0.3, 0.004, 0.4))
    assert not verify.holds(measured(0.01, 0.01, 0.01, 0.01))
    assert not verify.holds(None)


def test_ranks_join_overlapping_intervals_and_part_the_others() -> None:
    of = {"a": measured(0.30, 0.35), "b": measured(0.25, 0.31), "c": measured(0.10, 0.12), "d": measured(0.02, 0.05)}
    assert verify.ranks(of) == [["a", "b"], ["c"], ["d"]]


def test_rank_that_a_tied_region_has_not_settled_stays_in_the_tie() -> None:
    of = {"a": measured(0.30, 0.40), "b": measured(0.15, 0.35), "c": measured(0.16, 0.20)}
    assert verify.ranks(of) == [["a", "b", "c"]]


def test_order_is_settled_by_intervals_apart_or_run_by_run() -> None:
    assert verify.settled(measured(0.30, 0.10), measured(0.20, 0.05))
    assert not verify.settled(measured(0.30, 0.10), measured(0.20, 0.15))
    assert verify.settled(measured(0.30, 0.25), replace(measured(0.10, 0.20), ways=(("blur", 9), ("blur", 8))))


def test_numbers_are_the_median_and_the_whole_range_of_the_runs() -> None:
    effect = measured(-0.1, -0.4, -0.2, -0.3).effect()
    assert (effect.change, effect.low, effect.high) == pytest.approx((-0.25, -0.4, -0.1))
    assert (effect.runs, effect.passes, effect.fill) == (4, 4, "mean, noise")


# --------------------------------------------------------------------------------------------------
# From a game to sentences. `model` is a plain function of the visible regions, so that the truth is known.


def score(index: int, probability: float) -> ClassScore:
    return ClassScore(class_index=index, class_name=NAMES[index], probability=probability)


def seen_as(size: str | None = None, **shares: float) -> Appearance:
    return Appearance(tuple(ColourShare(term=term, share=share) for term, share in shares.items()), size)


def evidence(model, k: int = 3, *, confirm=None, target: int = 0, versus: int | None = 1) -> Evidence:
    """A game of `model` (visible regions -> three probabilities) and runs of `confirm` (model by default)."""
    looks = (
        seen_as(brown=0.9),
        seen_as("large", white=0.8),
        seen_as(grey=0.4, blue=0.3),
        seen_as(green=0.99),
        seen_as(red=0.7),
    )
    places = get_args(Place)
    everything = frozenset(range(k))
    full = model(everything)

    def value(seen, minus: int | None) -> float:
        p = model(frozenset(seen))
        return p[target] - (p[minus] if minus is not None else 0)

    def shapley(minus: int | None) -> np.ndarray:
        orders = [np.random.default_rng(n).permutation(k) for n in range(200)]
        out = np.zeros(k)
        for order in orders:
            for n, i in enumerate(order):
                out[i] += value(order[: n + 1], minus) - value(order[:n], minus)
        return (out / len(orders))[None]

    pairs = np.zeros((1, k, k))
    for i, j in combinations(range(k), 2):
        rest = everything - {i, j}
        d = value(everything, None) - value(rest | {i}, None) - value(rest | {j}, None) + value(rest, None)
        pairs[0, i, j] = pairs[0, j, i] = d
    best = int(np.argmax(full))
    bare = Evidence(
        predicted=score(best, full[best]),
        target=score(target, full[target]),
        versus=None if versus is None else score(versus, full[versus]),
        names=NAMES,
        regions=tuple(RegionWords(str(i + 1), looks[i], places[i]) for i in range(k)),
        shapley=shapley(None),
        contrast_shapley=None if versus is None else shapley(versus),
        interactions=pairs,
        empty=np.array([value((), None)]),
    )
    return replace(bare, runs=runs_for(bare, confirm or model, target, versus))


def runs_for(e: Evidence, model, target: int, versus: int | None) -> tuple[Confirming, ...]:
    out = []
    everything = frozenset(range(len(e.regions)))
    for act, which in wanted(e):
        seen = everything - set(which) if act == "hide" else frozenset(which)
        for fill, seed in WAYS:
            p = np.asarray(model(seen)) + 0.001 * seed
            run = Run(
                id=f"r{len(out)}",
                act=act,
                regions=tuple(e.regions[i].id for i in which),
                fill=fill,
                seed=seed,
                score=float(p[target]),
                contrast=None if versus is None else float(p[target] - p[versus]),
            )
            out.append(Confirming(run, int(np.argmax(p))))
    return tuple(out)


def additive(seen) -> tuple[float, ...]:
    p = 0.1 + 0.4 * (0 in seen) + 0.2 * (1 in seen) - 0.1 * (2 in seen)
    return (p, 0.25, 0.75 - p)


def kinds(e: Evidence) -> list[str]:
    return [s.kind for s in describe(e)[0]]


def test_additive_model_is_told_in_order_with_its_true_numbers() -> None:
    statements, _ = describe(evidence(additive))
    assert [s.text for s in statements][:4] == [
        "The model says tiger cat (60 %), ahead of Egyptian cat (25 %).",
        "Region 1, the brown patch at the top left, counted most for tiger cat: "
        "hiding it lowers the probability by 40 points (in all 4 runs).",
        "Region 2, the large white patch at the top, came next: hiding it costs 20 points (in all 4 runs).",
        "Region 3, the grey-blue patch at the top right, counted against tiger cat: "
        "hiding it raises the probability by 10 points (in all 4 runs).",
    ]
    assert statements[1].effect is not None
    assert statements[1].effect.change == pytest.approx(-0.4, abs=0.01)
    assert statements[1].evidence == ("1",) and all(s.verified for s in statements)


def test_spans_name_every_region_by_its_id_and_every_class_by_its_index() -> None:
    statements, _ = describe(evidence(additive))
    told = [[(s.text[p.start : p.end], p.region, p.class_index) for p in s.spans] for s in statements]
    assert told[:4] == [
        [(CAT, None, 0), (EGYPTIAN, None, 1)],
        [("1", "1", None), (CAT, None, 0)],
        [("2", "2", None)],
        [("3", "3", None), (CAT, None, 0)],
    ]
    for statement, claim in zip(statements, parse_all(" ".join(s.text for s in statements)), strict=True):
        assert [p.region for p in statement.spans if p.region] == [r.id for r in claim.regions]
        assert [NAMES[p.class_index] for p in statement.spans if p.region is None] == list(claim.classes)


def renamed(e: Evidence, names: list[str]) -> Evidence:
    def called(c: ClassScore) -> ClassScore:
        return c.model_copy(update={"class_name": names[c.class_index]})

    versus = None if e.versus is None else called(e.versus)
    return replace(e, names=names, predicted=called(e.predicted), target=called(e.target), versus=versus)


def test_spans_follow_the_index_where_two_classes_have_one_name() -> None:
    twins = renamed(evidence(additive), ["crane", "crane", "lynx"])
    statements, _ = describe(twins)
    assert statements[0].text == "The model says crane (60 %), ahead of crane (25 %)."
    assert [p.class_index for p in statements[0].spans] == [0, 1]


def test_a_class_called_like_a_region_is_a_class_and_the_namesake_is_a_region() -> None:
    e = evidence(additive)
    second = replace(e.regions[1], beside=Beside(relation="below", region="1"))
    statements, _ = describe(
        replace(renamed(e, ["region 2", "region 1", "lynx"]), regions=(e.regions[0], second, e.regions[2]))
    )
    assert [(p.region, p.class_index) for p in statements[1].spans] == [("1", None), (None, 0)]
    assert "Region 2, the large white patch at the top, below region 1, came next" in statements[2].text
    assert [p.region for p in statements[2].spans] == ["2", "1"]


def test_text_of_all_statements_is_read_back_and_agrees_with_their_effects() -> None:
    statements, _ = describe(evidence(additive))
    claims_read = parse_all(" ".join(s.text for s in statements))
    assert [c.kind for c in claims_read] == [s.kind for s in statements]
    for claim, s in zip(claims_read, statements, strict=True):
        if claim.kind in ("counted_most", "came_next", "against"):
            assert s.effect is not None
            assert claim.value == abs(round(100 * s.effect.change))
            assert tuple(r.id for r in claim.regions) == s.evidence


@pytest.mark.parametrize("seed", range(40))
def test_no_statement_contradicts_the_runs_behind_it(seed: int) -> None:
    """Random games and runs that only partly agree with them, judged here a second time and plainly."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    table = {s: rng.dirichlet(np.ones(3)) for n in range(k + 1) for s in map(frozenset, combinations(range(k), n))}
    lean = rng.normal(0, 0.15, k)

    def model(seen, noise: float = 0.0):
        p = np.array([0.4 + sum(lean[i] for i in seen), 0.3, 0.2]).clip(0.02, 2) + noise * table[frozenset(seen)]
        return p / p.sum()

    e = evidence(model, k, confirm=lambda seen: model(seen, 0.3), target=0, versus=1)
    lost = {
        r.id: [e.target.probability - c.run.score for c in e.runs if (c.run.act, c.run.regions) == ("hide", (r.id,))]
        for r in e.regions
    }
    statements, _ = describe(e)
    assert len(statements) <= 8
    for claim in parse_all(" ".join(s.text for s in statements)):
        ids = [r.id for r in claim.regions]
        if claim.kind in ("counted_most", "came_next", "counted"):
            assert all(min(lost[i]) > 0 and round(100 * np.median(lost[i])) >= 2 for i in ids)
        if claim.kind == "counted_most":
            assert max(lost, key=lambda i: np.median(lost[i])) in ids
        if claim.kind == "against":
            assert max(lost[ids[0]]) < 0
        if claim.kind == "flip":
            runs = [c for c in e.runs if c.run.act == "hide" and set(c.run.regions) == set(ids)]
            assert {NAMES[c.winner] for c in runs} == set(claim.classes)
        if claim.kind.startswith("context"):
            left = [c.run.score for c in e.runs if c.run.act == "hide" and len(c.run.regions) == k]
            assert (claim.low, claim.high) == (round(100 * min(left)), round(100 * max(left)))


def test_claim_that_other_runs_contradict_is_dropped_and_counted() -> None:
    def contradicting(seen) -> tuple[float, ...]:
        p = 0.1 + 0.4 * (0 in seen) - 0.2 * (1 in seen) + 0.3 * (1 in seen and 0 not in seen)
        return (p, 0.2, 0.8 - p)

    honest, dropped = describe(evidence(additive))
    lying, more = describe(evidence(additive, confirm=contradicting))
    assert dropped == 0 and more > 0
    assert "came_next" in [s.kind for s in honest] and "came_next" not in [s.kind for s in lying]


def test_no_rank_where_an_unsaid_region_costs_as_much() -> None:
    def confirming(seen) -> tuple[float, ...]:
        # The game saw nothing in region 3; here it costs as much as the first.
        p = 0.2 * (0 in seen) + 0.2 * (2 in seen) + 0.2
        return (p, 0.3, 0.7 - p)

    def game(seen) -> tuple[float, ...]:
        return (0.2 + 0.4 * (0 in seen), 0.3, 0.5 - 0.4 * (0 in seen))

    assert "counted_most" in kinds(evidence(game))
    assert "counted_most" not in kinds(evidence(game, confirm=confirming))
    assert "counted" in kinds(evidence(game, confirm=confirming))


def test_equal_regions_are_tied_by_and() -> None:
    def model(seen) -> tuple[float, ...]:
        p = 0.2 + 0.2 * (0 in seen) + 0.2 * (1 in seen)
        return (p, 0.3, 0.7 - p)

    texts = [s.text for s in describe(evidence(model))[0]]
    assert any("Region 1, " in t and " and region 2, " in t and "counted most" in t and "either" in t for t in texts)


def test_pair_that_needs_each_other_and_pair_that_stands_in() -> None:
    def both(seen) -> tuple[float, ...]:
        p = 0.7 if {0, 1} <= set(seen) else 0.1
        return (p, 0.2, 0.8 - p)

    def either(seen) -> tuple[float, ...]:
        p = 0.7 if {0, 1} & set(seen) else 0.1
        return (p, 0.2, 0.8 - p)

    needs = next(s for s in describe(evidence(both))[0] if s.kind == "needs")
    stands_in = next(s for s in describe(evidence(either))[0] if s.kind == "stands_in")
    assert needs.evidence == ("1", "2", "1-2")
    assert needs.effect is not None and needs.effect.change > 0.5
    assert stands_in.effect is not None and stands_in.effect.change < -0.5


def test_flip_names_the_class_that_would_be_said() -> None:
    def model(seen) -> tuple[float, ...]:
        return (0.5, 0.3, 0.2) if 1 in seen else (0.2, 0.7, 0.1)

    texts = [s.text for s in describe(evidence(model))[0]]
    phrase = "Without region 2, the model would say Egyptian cat (in all 4 runs)."
    assert phrase in texts


def test_region_that_suffices_alone_and_context_that_does_not() -> None:
    def model(seen) -> tuple[float, ...]:
        return (0.8, 0.1, 0.1) if 0 in seen else (0.02, 0.5, 0.48)

    found = kinds(evidence(model))
    assert "alone" in found and "context_little" in found


def test_context_that_suffices_is_a_finding_of_its_own() -> None:
    def model(seen) -> tuple[float, ...]:
        p = 0.6 + 0.1 * (0 in seen)
        return (p, 0.1, 0.9 - p)

    found = {s.kind: s for s in describe(evidence(model))[0]}
    assert found["context_suffices"].evidence == ("context",)
    assert "the rest of the picture alone suffices" in found["context_suffices"].text


def test_flat_model_counts_nothing_and_says_so() -> None:
    assert kinds(evidence(lambda seen: (0.6, 0.3, 0.1))) == ["prediction", "nothing", "context_suffices"]


def test_asked_class_is_told_apart_from_the_predicted_one() -> None:
    statements, _ = describe(evidence(additive, target=1, versus=0))
    assert statements[0].text == "You asked about Egyptian cat (25 %); the model itself says tiger cat (60 %)."
    assert "flip" not in [s.kind for s in statements]


def test_without_regions_only_the_prediction_is_said() -> None:
    bare = Evidence(score(0, 0.6), score(0, 0.6), None, NAMES)
    statements, dropped = describe(bare)
    assert ([s.text for s in statements], dropped) == (["The model says tiger cat (60 %)."], 0)
    assert wanted(bare) == []


def test_wanted_asks_for_few_experiments_and_none_twice() -> None:
    rng = np.random.default_rng(0)
    for k in range(1, 7):
        for _ in range(20):
            e = Evidence(
                score(0, 0.6),
                score(0, 0.6),
                score(1, 0.2),
                NAMES,
                tuple(RegionWords(str(i), Appearance(), "top") for i in range(k)),
                rng.normal(0, 0.2, (2, k)),
                rng.normal(0, 0.2, (2, k)),
                rng.normal(0, 0.2, (2, k, k)),
                np.zeros(2),
            )
            acts = wanted(e)
            assert len(acts) == len(set(acts)) <= k + 6
            assert all(("hide", (i,)) in acts for i in range(k))


def test_never_more_sentences_than_the_limit_and_the_weightiest_stay() -> None:
    statements, _ = describe(evidence(additive), limit=3)
    assert [s.kind for s in statements] == ["prediction", "counted_most", "flip"]


def test_single_region_is_described_without_pairs() -> None:
    found = kinds(evidence(lambda seen: (0.8, 0.1, 0.1) if seen else (0.1, 0.8, 0.1), k=1))
    assert found[:2] == ["prediction", "counted_most"]


def test_game_that_does_not_fit_the_regions_is_an_error() -> None:
    with pytest.raises(UsageError, match="shapley of 0 regions"):
        Evidence(score(0, 0.6), score(0, 0.6), None, NAMES, shapley=np.zeros((2, 3)))
