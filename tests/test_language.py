"""Claims, the sentences that say them, and the runs that confirm them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saywhy.errors import UsageError
from saywhy.explanation import Beside, Place
from saywhy.language import (
    Claim,
    Region,
    parse,
    parse_all,
    write,
    write_all,
    written_all,
)
from saywhy.language.claims import kinds as known_kinds
from saywhy.language.sentences import _written, read_quoted

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
        Claim("counted_most", (ONE,), (CAT,), value=24, low=18, high=29),
        "Region 1, the orange-brown patch at the centre left, counted most for tiger cat: "
        "hiding it lowers the probability by 24 points (between 18 and 29, whichever way it is hidden).",
    ),
    (
        Claim("counted_most", (ONE,), (CAT,), (99,), value=600, low=15, high=2400, unit="log-odds"),
        "Region 1, the orange-brown patch at the centre left, counted most for tiger cat: hiding it makes the evidence "
        "fall by a factor of 60 (between 1.5 and 240, whichever way it is hidden); the answer stays at 99 %.",
    ),
    (
        Claim("came_next", (TWO,), value=3, low=-2, high=8),
        "Region 2, the large white patch in the centre, came next: hiding it costs 3 points (between −2 and 8).",
    ),
    (
        Claim("counted_too", (Region("1"), Region("2"), Region("3")), low=3, high=5),
        "Region 1, region 2 and region 3 counted too: hiding any one of them costs 3 to 5 points.",
    ),
    (
        Claim("against", (THREE,), (CAT,), value=1, low=1, high=1),
        "Region 3, the multicoloured patch at the bottom right, counted against tiger cat: "
        "hiding it raises the probability by 1 point (between 1 and 1, whichever way it is hidden).",
    ),
    (
        Claim("contrast", (Region("3"),), (CAT, EGYPTIAN), value=12, low=9, high=15),
        "Region 3 speaks for tiger cat rather than Egyptian cat: "
        "hiding it moves the difference by 12 points (between 9 and 15) towards Egyptian cat.",
    ),
    (
        Claim("flip", (TWO,), (EGYPTIAN,)),
        "Without region 2, the large white patch in the centre, the model would say Egyptian cat.",
    ),
    (
        Claim("no_longer", (Region("1"),), (CAT,)),
        "Without region 1, the model would no longer say tiger cat.",
    ),
    (
        Claim("needs", (Region("1"), Region("3")), value=9, low=5, high=11),
        "Region 1 and region 3 need each other: seen together they add 9 points (between 5 and 11) "
        "more than one by one.",
    ),
    (
        Claim("stands_in", (Region("1"), Region("3")), value=20, low=15, high=27, unit="log-odds"),
        "Region 1 and region 3 stand in for each other: hiding both costs a factor of 2 (between 1.5 and 2.7) "
        "of evidence beyond hiding each by itself.",
    ),
    (
        Claim("text", classes=(CAT,), percents=(71, 50, 92, 4, 0, 9)),
        "Alone, what these sentences name keeps tiger cat at 71 % (between 50 and 92); "
        "without it, 4 % (at most 9) is left.",
    ),
    (
        Claim("default", classes=(CAT,), percents=(91,)),
        "Of a blank picture the model says tiger cat too (91 %).",
    ),
    (
        Claim("nothing", classes=(CAT,), high=3),
        "No part of the picture counts by itself: "
        "hiding any one changes the probability of tiger cat by at most 3 points.",
    ),
    (
        Claim("unconfirmed", classes=(CAT,)),
        "No part of the picture is known to count for tiger cat by itself: "
        "what hiding one does depends here on the way it is hidden.",
    ),
]


@pytest.mark.parametrize(("claim", "text"), SENTENCES)
def test_claim_and_sentence_turn_into_each_other(claim: Claim, text: str) -> None:
    assert write(claim) == text
    assert parse(text) == claim


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
looked = st.builds(
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
named = st.builds(
    Region,
    id=st.from_regex(r"[a-z]?[1-9][0-9]?", fullmatch=True),
    place=st.sampled_from(get_args(Place)),
    name=st.one_of(
        st.sampled_from([t for t in TRICKY if t] + ["wheel", "eye patch", "brown patch", "spot in the centre"]),
        st.text(min_size=1, max_size=20),
    ),
)
regions = st.one_of(looked, named)
bare_regions = st.builds(Region, id=st.from_regex(r"[a-z]?[1-9][0-9]?(-[0-9])?", fullmatch=True))
names = st.one_of(st.sampled_from(["tiger cat", "T-shirt", *TRICKY]), st.text(max_size=12))


@st.composite
def claims(draw: st.DrawFn, described: st.SearchStrategy[Region] = regions) -> Claim:
    """A claim with what one of the table's sentences has a slot for."""
    kind = draw(st.sampled_from(list(known_kinds())))
    slots = set(re.findall(r"\{([^}]+)\}", draw(st.sampled_from(known_kinds()[kind].sentences))))
    slots = {s.removesuffix(",") for s in slots}
    several = {"region": (1, 1), "regions": (2, 5), "both": (2, 2), "region0": (2, 2)}
    least, most = next((several[s] for s in slots if s in several), (0, 0))
    told = {s.split(",")[0] for s in slots}
    a, b, c = sorted(draw(st.tuples(*[st.integers(0, 100)] * 3)))
    numbers: dict[str, Any] = {}
    if "points" in told:
        a, b, c = (n * draw(st.sampled_from([1, 2])) for n in (a, b, c))  # a difference of two moves by up to 200
        numbers = {"low": a - draw(st.integers(0, 60)), "value": b, "high": c}
    elif "factor" in told:
        low, value, high = (
            draw(st.one_of(st.integers(0, 99), st.integers(10, 10**7).map(lambda n: 10 * n))) for _ in "abc"
        )
        numbers = {"low": low, "value": value, "high": high, "unit": "log-odds"}
    elif "reach" in told:
        numbers = {"low": a, "high": c}
    elif "limit" in told:
        numbers = {"high": c}
    percents = sum(s.startswith("percent") for s in slots) + 3 * sum(s.startswith("share") for s in slots)
    return Claim(
        kind,
        tuple(draw(st.lists(described, min_size=least, max_size=most, unique_by=lambda r: r.id))),
        tuple(draw(names) for s in slots if s.startswith("class")),
        tuple(draw(st.integers(0, 100)) for _ in range(percents)),
        **numbers,
    )


QUICK = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@QUICK
@given(claims(st.one_of(regions, bare_regions)))
def test_thousands_of_claims_are_read_back_exactly(claim: Claim) -> None:
    text = write(claim)
    assert parse(text) == claim
    assert "\n" not in text and text.endswith(".")


NEVER = {
    "an interval of bounds": r"between (?:under|over)|and (?:under|over) \d+\)|(?:under|over) \d+ to",
    "one point as several": r"(?<![\d.−])−?1 points\b",
    "more points than there are": r"(?:by|costs|add) (?:10[1-9]|1[1-9]\d|200) points",
    "a minus that is a hyphen": r"(?<=[ (])-\d",
    "no interval": r"between (\d+) and \1\)",
    "an answer of little that is said as one of much": r"The model says [^(]* \((?:under 1|1?\d|2\d) %\)",
}


@QUICK
@given(claims(bare_regions))
def test_no_sentence_prints_numbers_that_read_as_nonsense(claim: Claim) -> None:
    plain = replace(claim, classes=tuple(f"class {'abc'[i]}" for i in range(len(claim.classes))))
    text = write(plain)
    wrong = [n for n in NEVER if re.search(NEVER[n], text) and (n != "no interval" or "keeps" in text)]
    assert not wrong, text


@pytest.mark.parametrize(
    ("p", "says"),
    [
        ((17, 12), "The model is unsure; it says first tiger cat (17 %), ahead of Egyptian cat (12 %)."),
        ((29, 29), "The model is unsure; it says first tiger cat (29 %), just ahead of Egyptian cat (29 %)."),
        ((30, 12), "The model says tiger cat (30 %), ahead of Egyptian cat (12 %)."),
        ((0,), "The model is unsure; it says first tiger cat (under 1 %)."),
    ],
)
def test_an_answer_of_little_probability_is_said_to_be_unsure(p: tuple[int, ...], says: str) -> None:
    claim = Claim("prediction", classes=("tiger cat", "Egyptian cat")[: len(p)], percents=p)
    assert write(claim) == says and parse(says) == claim


@pytest.mark.parametrize(
    ("value", "low", "high", "says"),
    [(0, 0, 0, "under 1 % (always under 1)"), (0, 0, 1, "under 1 % (at most 1)"), (99, 97, 100, "99 % (at least 97)"),
     (100, 100, 100, "over 99 % (always over 99)"), (50, 0, 100, "50 % (between none and all)"),
     (7, 7, 7, "7 % (always 7)"), (40, 31, 52, "40 % (between 31 and 52)")],
)  # fmt: skip
def test_shares_have_intervals_that_read_as_some(value: int, low: int, high: int, says: str) -> None:
    claim = Claim("text", classes=("tiger cat",), percents=(value, low, high, 5, 3, 8))
    assert f"keeps tiger cat at {says}; without" in write(claim) and parse(write(claim)) == claim


@pytest.mark.parametrize(
    ("value", "low", "high", "says"),
    [(10**9, 10**9, 10**9, "over 100 million (always)"),
     (10**9, 5 * 10**7, 10**9, "over 100 million (between 5000000 and over 100 million)"),
     (23 * 10**7, 11 * 10**7, 47 * 10**7, "23000000 (between 11000000 and 47000000)"),
     (15, 12, 18, "1.5 (between 1.2 and 1.8)")],
)  # fmt: skip
def test_evidence_beyond_what_is_measured_is_told_as_a_bound(value: int, low: int, high: int, says: str) -> None:
    numbers = {"value": value, "low": low, "high": high}
    claim = Claim("contrast", (Region("1"),), ("tiger cat", "Egyptian cat"), unit="log-odds", **numbers)
    assert f"by a factor of {says}" in write(claim) and parse(write(claim)) == claim


def test_a_difference_beyond_100_points_says_of_how_many() -> None:
    claim = Claim("contrast", (Region("1"),), ("tiger cat", "Egyptian cat"), value=111, low=95, high=127)
    text = "moves the difference by 111 of 200 possible points (between 95 and 127) towards Egyptian cat."
    assert write(claim).endswith(text) and parse(write(claim)) == claim


@settings(QUICK, max_examples=200)
@given(st.lists(claims(), max_size=6))
def test_whole_texts_are_read_back_with_every_region_described(given_claims: list[Claim]) -> None:
    known: dict[str, Region] = {}
    told = []
    for claim in given_claims:
        known |= {r.id: r for r in claim.regions if r.id not in known}
        told.append(replace(claim, regions=tuple(known[r.id] for r in claim.regions)))
    for between in (" ", "\n"):
        assert parse_all(between.join(write_all(told))) == told


@settings(QUICK, max_examples=400)
@given(st.one_of(st.text(max_size=80), claims().map(write)), st.data())
def test_any_other_text_is_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(min_size=1, max_size=2)) + text[at:]
    try:
        claim = parse(changed)
    except ValueError:
        return
    assert write(claim) == changed


def test_region_is_described_once_and_named_after() -> None:
    texts = write_all([SENTENCES[3][0], Claim("flip", (ONE,), (EGYPTIAN,))])
    assert texts[1] == "Without region 1, the model would say Egyptian cat."


@QUICK
@given(claims(st.one_of(regions, bare_regions)))
def test_marks_are_exactly_the_words_that_name_a_region_or_a_class(claim: Claim) -> None:
    (sentence,) = written_all([claim]) if all(r.described for r in claim.regions) else [_written(claim)]
    named = [id for r in claim.regions for id in (r.id, r.beside.region if r.beside else None) if id is not None]
    named += [claim.regions[0].id] if claim.kind.startswith("relation_") else []  # the one that is moved is named again
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
            assert read_quoted(f"“{word}”") == claim.classes[mark.number]
    assert named == []
    assert {m.number for m in sentence.marks} - {None} == {i for i, name in enumerate(claim.classes) if name}


def test_region_described_in_two_ways_is_an_error() -> None:
    other = Claim("flip", (replace(ONE, look="green"),), (EGYPTIAN,))
    with pytest.raises(UsageError, match="two ways"):
        write_all([SENTENCES[3][0], other])


@pytest.mark.parametrize(
    "claim",
    [
        Claim("sings"),
        Claim("counted_most", (ONE,), (CAT,)),
        Claim("counted_most", (), (CAT,), value=3, low=1, high=4),
        Claim("needs", (ONE, TWO, THREE), value=3, low=1, high=4),
        Claim("flip", (Region("no id"),), (CAT,)),
        Claim("flip", (Region("1", "Brown; big", "top"),), (CAT,)),
        Claim("against", (ONE,), (CAT,), value=3, low=5),
        Claim("nothing", classes=(CAT,), high=3, low=1),
    ],
)
def test_claim_that_no_sentence_says_is_an_error(claim: Claim) -> None:
    with pytest.raises(UsageError, match="no sentence"):
        write(claim)


def test_long_name_is_read_in_no_time() -> None:
    claim = Claim("prediction", classes=("a " * 400 + "a", "b-" * 400), percents=(60, 30))
    assert parse(write(claim)) == claim
