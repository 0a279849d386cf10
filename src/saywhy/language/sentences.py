"""Claims to sentences and back, by one table.

    Claim --write--> sentence --parse--> the same Claim

A slot of a sentence knows how to write its part of a claim and which text it is read from, so the parser is never a
second description of the language. A sentence is accepted only if writing what was read gives it again, letter by
letter. A slot also knows which of its letters name a region or a class: these are the marks of a written sentence.

A class name that is plain words stands as it is, any other (commas, quotes, "rather than", ...) in “...”, where
what would break the quotes or the line is written as its code point, \\u{201c}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, get_args

from saywhy.errors import UsageError
from saywhy.explanation import Beside, Place
from saywhy.language.appearance import at
from saywhy.language.claims import MOST_FACTOR, Claim, Region, kinds

# --------------------------------------------------------------------------------------------------
# Slots: how a part of a claim is written, and what it is read from.

_WORD = r"[\w'’/&+-]+"
_PLAIN = rf"{_WORD}(?: {_WORD})*"
_NAME = rf"(?:“[^“”]*”|{_PLAIN})"
_PERCENT = r"(?:under 1|over 99|[1-9]\d?) %"
_NUMBER = r"(?:under 1|over 99|\d+)"
_SIGNED = r"−?\d+"
_HUGE = "over 100 million"
_FACTOR = rf"(?:{_HUGE}|\d+(?:\.\d)?)"
UNSURE = 30  # per cent: an answer below it is said to be unsure
_WHICHEVER = ", whichever way it is hidden"
_PLACES = "|".join(at(place) for place in sorted(get_args(Place), key=len, reverse=True))
_ID = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_BESIDE = rf"(left of|right of|above|below) region ({_ID})"
_REGION = rf"[Rr]egion ({_ID})(?:, the (?:([a-z]+(?:[- ][a-z]+)*) patch|({_NAME})) ({_PLACES})(?:, {_BESIDE})?,)?"
_ONE = re.sub(r"\((?!\?)", "(?:", _REGION)
_MANY = rf"{_ONE}(?:,? (?:and )?{_ONE})+"


@dataclass(frozen=True)
class Piece:
    """A piece of a sentence; one that names a region has its id, one that names a class its number in the claim."""

    text: str
    region: str | None = None
    number: int | None = None


Pieces = tuple[Piece, ...]


@dataclass(frozen=True)
class Slot:
    """`write(claim)` gives the pieces of text, `pattern` matches them joined, `read(text)` the claim's fields."""

    pattern: str
    write: Callable[[Claim], Pieces]
    read: Callable[[str], dict[str, Any]]
    needs: frozenset[str]


def _written_name(name: str) -> str:
    return name if re.fullmatch(_PLAIN, name) else quoted_name(name)


def quoted_name(name: str) -> str:
    """A name in “...”; what would break quotes or the line as its code point."""
    safe = (c if c.isprintable() and c not in "“”\\" else f"\\u{{{ord(c):x}}}" for c in name)
    return f"“{''.join(safe)}”"


def read_quoted(text: str) -> str:
    """The name that stands in a text, in quotes or not."""
    if not text.startswith("“"):
        return text
    return re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: chr(int(m[1], 16)), text[1:-1])


def _number(n: int, unit: str) -> str:
    # Nothing that was measured is exactly none or all of it: a rounded 0 or 100 per cent says so.
    return {0: "under 1", 100: "over 99"}.get(n, str(n)) if unit == "%" else str(n)


def _read_number(text: str) -> int:
    return {"under 1": 0, "over 99": 100}[text] if text[0] in "uo" else int(text)


def _region(id: str) -> Pieces:
    return Piece("region "), Piece(id, region=id)


def _called(region: Region) -> str:
    """The region's name, in quotes where it could be read as something else, or its look."""
    if not region.name:
        return f"{region.look} patch"
    return quoted_name(region.name) if region.name.endswith(" patch") else _written_name(region.name)


def _one(region: Region, *, comma: bool = False) -> Pieces:
    if not region.described:
        return (*_region(region.id), *((Piece(","),) if comma else ()))
    described = (*_region(region.id), Piece(f", the {_called(region)} {at(region.place)},"))
    if region.beside is None:
        return described
    return (*described, Piece(f" {region.beside.relation} "), *_region(region.beside.region), Piece(","))


def _list(claim: Claim) -> Pieces:
    # A described region ends with a comma of its own.
    *others, last = [_one(r) for r in claim.regions]
    parted = [(*one, Piece(" " if one[-1].text.endswith(",") else ", ")) for one in others[:-1]]
    return (*(piece for one in parted for piece in one), *others[-1], Piece(" and "), *last)


def _read_regions(text: str) -> dict[str, Any]:
    return {
        "regions": tuple(
            Region(
                id,
                look,
                where.split(" ", 2)[2] if where else "",
                Beside(relation=relation, region=other) if other else None,
                read_quoted(name),
            )
            for id, look, name, where, relation, other in re.findall(_REGION, text)
        )
    }


def _points(n: int) -> str:
    return f"{n} point" if n == 1 else f"{n} points"


def _of_two(n: int) -> str:
    # A difference of two probabilities can move by 200 points, and a reader expects 100 at most.
    return f"{n} of 200 possible points" if n > 100 else _points(n)


def _signed(n: int) -> str:
    return f"−{-n}" if n < 0 else str(n)


def _between(claim: Claim, write: Callable[[int], str], tail: str) -> str:
    return f"(between {write(claim.low or 0)} and {write(claim.high or 0)}{tail})"


def _read_points(text: str) -> dict[str, Any]:
    told = text.replace(" of 200 possible", "")
    value, low, high = (int(n.replace("−", "-")) for n in re.findall(_SIGNED, told)[:3])
    return {"value": value, "low": low, "high": high}


def _factor(n: int) -> str:
    if n == 10 * MOST_FACTOR:
        return _HUGE
    return str(n // 10) if n % 10 == 0 else f"{n / 10:.1f}"


def _read_factor(text: str) -> dict[str, Any]:
    told = [10 * MOST_FACTOR if n == _HUGE else round(10 * float(n)) for n in re.findall(_FACTOR, text)]
    value, low, high = told[:3] if len(told) > 1 else told * 3
    return {"value": value, "low": low, "high": high, "unit": "log-odds"}


def _factors(claim: Claim, tail: str) -> str:
    if claim.low == claim.value == claim.high == 10 * MOST_FACTOR:
        return f"(always{tail})"
    return _between(claim, _factor, tail)


def _points_slot(tail: str) -> Slot:
    return Slot(
        rf"\d+(?: of 200 possible)? points? \(between {_SIGNED} and {_SIGNED}{tail}\)",
        _plain(lambda c: f"{_of_two(c.value or 0)} {_between(c, _signed, tail)}"),
        _read_points,
        _FULL,
    )


def _factor_slot(tail: str) -> Slot:
    return Slot(
        rf"a factor of (?:{_HUGE} \(always{tail}\)|{_FACTOR} \(between {_FACTOR} and {_FACTOR}{tail}\))",
        _plain(lambda c: f"a factor of {_factor(c.value or 0)} {_factors(c, tail)}"),
        _read_factor,
        _FULL,
    )


def _span(low: int, high: int) -> str:
    """An interval of per cent; its ends at none and at all are bounds, and no "between under 1 and 1"."""
    if low == high:
        return f"always {_number(low, '%')}"
    if (low, high) == (0, 100):
        return "between none and all"
    return f"at most {high}" if low == 0 else f"at least {low}" if high == 100 else f"between {low} and {high}"


def _read_span(text: str) -> tuple[int, int]:
    if text.startswith("always "):
        same = _read_number(text.removeprefix("always "))
        return same, same
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    low = 0 if text.startswith("at most") or not numbers else numbers[0]
    high = 100 if text.startswith("at least") or not numbers else numbers[-1]
    return low, high


def _share_slot(i: int) -> Slot:
    def write(claim: Claim) -> str:
        value, low, high = claim.percents[i : i + 3]
        return f"{_number(value, '%')} % ({_span(low, high)})"

    def read(text: str) -> dict[str, Any]:
        value, span = text.split(" % (")
        numbers = (_read_number(value), *_read_span(span[:-1]))
        return {f"percent {i + n}": number for n, number in enumerate(numbers)}

    pattern = rf"{_NUMBER} % \((?:between \d+ and \d+|at (?:most|least) \d+|always {_NUMBER}|between none and all)\)"
    return Slot(pattern, _plain(write), read, frozenset(f"percent {i + n}" for n in range(3)))


def _reach(claim: Claim) -> str:
    same = claim.low == claim.high
    return _points(claim.high or 0) if same else f"{claim.low} to {_points(claim.high or 0)}"


def _read_reach(text: str) -> dict[str, Any]:
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    return {"low": numbers[0], "high": numbers[-1]}


def _limit(claim: Claim) -> str:
    return f"at most {_points(claim.high)}" if claim.high else "less than 1 point"


def _read_limit(text: str) -> dict[str, Any]:
    return {"high": 0 if text.startswith("less") else _read_reach(text)["high"]}


def _any(claim: Claim) -> str:
    return "either" if len(claim.regions) == 2 else "any one of them"


def _says(claim: Claim) -> str:
    return "says" if claim.percents[0] >= UNSURE else "is unsure; it says first"


def _ahead(claim: Claim) -> str:
    first, second = claim.percents[:2]
    return "just ahead of" if first == second else "ahead of"


_FULL = frozenset({"value", "low", "high"})
_ONE_REGION, _REGIONS, _BOTH = frozenset({"1 region"}), frozenset({"regions"}), frozenset({"2 regions"})


def _plain(write: Callable[[Claim], str]) -> Callable[[Claim], Pieces]:
    return lambda claim: (Piece(write(claim)),)


def _class_slot(i: int) -> Slot:
    def write(claim: Claim) -> Pieces:
        name = claim.classes[i]
        if not name.startswith("“"):
            return (Piece(name, number=i),)
        return Piece("“"), Piece(name[1:-1], number=i), Piece("”")

    return Slot(_NAME, write, lambda t: {f"class {i}": read_quoted(t)}, frozenset({f"class {i}"}))


def _percent_slot(i: int) -> Slot:
    def read(text: str) -> dict[str, Any]:
        return {f"percent {i}": _read_number(text[:-2])}

    return Slot(_PERCENT, _plain(lambda c: f"{_number(c.percents[i], '%')} %"), read, frozenset({f"percent {i}"}))


def _nth_slot(i: int, *, comma: bool) -> Slot:
    """One of two regions that do not stand side by side in the sentence."""

    def read(text: str) -> dict[str, Any]:
        return {f"region {i}": _read_regions(text)["regions"][0]}

    return Slot(f"{_ONE},?" if comma else _ONE, lambda c: _one(c.regions[i], comma=comma), read, _BOTH)


SLOTS: dict[str, Slot] = {
    **{f"class{i}": _class_slot(i) for i in range(3)},
    **{f"percent{i}": _percent_slot(i) for i in range(3)},
    "region": Slot(_ONE, lambda c: _one(c.regions[0]), _read_regions, _ONE_REGION),
    "region,": Slot(rf"{_ONE},?", lambda c: _one(c.regions[0], comma=True), _read_regions, _ONE_REGION),
    "regions": Slot(_MANY, _list, _read_regions, _REGIONS),
    "both": Slot(_MANY, _list, _read_regions, _BOTH),
    "ahead": Slot("(?:just )?ahead of", _plain(_ahead), lambda t: {}, frozenset()),
    "says": Slot("says|is unsure; it says first", _plain(_says), lambda t: {}, frozenset({"percent 0"})),
    "region0": _nth_slot(0, comma=False),
    "region1,": _nth_slot(1, comma=True),
    "again0": Slot(f"[Rr]egion {_ID}", lambda c: _region(c.regions[0].id), lambda t: {}, _BOTH),
    "any": Slot("either|any one of them", _plain(_any), lambda t: {}, frozenset()),
    "points": _points_slot(""),
    "points, whichever": _points_slot(_WHICHEVER),
    "factor": _factor_slot(""),
    "factor, whichever": _factor_slot(_WHICHEVER),
    "share0": _share_slot(0),
    "share1": _share_slot(3),
    "reach": Slot(r"\d+(?: to \d+)? points?", _plain(_reach), _read_reach, frozenset({"low", "high"})),
    "limit": Slot(r"at most \d+ points?|less than 1 point", _plain(_limit), _read_limit, frozenset({"high"})),
}


@dataclass(frozen=True)
class _Form:
    kind: str
    parts: tuple[str, ...]  # literal, slot, literal, slot, ..., literal
    pattern: re.Pattern[str]
    needs: frozenset[str]


def _form(kind: str, template: str) -> _Form:
    parts = tuple(re.split(r"\{([^}]*)\}", template))
    text = "".join(f"({SLOTS[p].pattern})" if i % 2 else re.escape(p) for i, p in enumerate(parts))
    return _Form(kind, parts, re.compile(text), frozenset().union(*(SLOTS[p].needs for p in parts[1::2])))


def _forms() -> tuple[_Form, ...]:
    return _made(tuple((kind, row.sentences) for kind, row in kinds().items()))


@cache  # by content: a part that is added to the table later brings its sentences
def _made(sentences: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[_Form, ...]:
    return tuple(_form(kind, template) for kind, templates in sentences for template in templates)


# --------------------------------------------------------------------------------------------------
# Writing and reading.


@dataclass(frozen=True)
class Mark:
    """The characters `start` to `end` name a region, or the class of this number in the claim."""

    start: int
    end: int
    region: str | None
    number: int | None


@dataclass(frozen=True)
class Written:
    """A sentence and its marks, in order."""

    text: str
    marks: tuple[Mark, ...]


def write(claim: Claim) -> str:
    """The sentence of a claim, which `parse` reads back into exactly this claim.

    Raises:
        UsageError: no sentence says this claim (unknown kind, a missing number or region, an impossible interval).
    """
    return _written(claim).text


def _written(claim: Claim) -> Written:
    for form in _forms():
        if form.kind == claim.kind and form.needs <= _has(claim):
            for name in (_written_name, quoted_name):
                sentence = _render(form, claim, name)
                if _read(sentence.text) == claim:
                    return sentence
    raise UsageError(f"no sentence of the table says {claim}; kinds: {', '.join(kinds())}")


def parse(text: str) -> Claim:
    """The claim of a sentence that `write` wrote.

    Raises:
        UsageError: (a ValueError) any other text.
    """
    claim = _read(text)
    if claim is not None:
        try:
            if write(claim) == text:
                return claim
        except UsageError:
            pass
    raise UsageError(f"not a sentence that saywhy writes: {text!r}")


def _has(claim: Claim) -> frozenset[str]:
    count = len(claim.regions)
    have = {name for name in ("value", "low", "high") if getattr(claim, name) is not None}
    have |= {f"class {i}" for i in range(len(claim.classes))} | {f"percent {i}" for i in range(len(claim.percents))}
    have |= {"1 region"} if count == 1 else {"regions"} if count else set()
    return frozenset(have | ({"2 regions"} if count == 2 else set()))


def _render(form: _Form, claim: Claim, name: Callable[[str], str]) -> Written:
    shown = replace(claim, classes=tuple(map(name, claim.classes)))
    pieces = [piece for i, p in enumerate(form.parts) for piece in (SLOTS[p].write(shown) if i % 2 else (Piece(p),))]
    places = pairwise(accumulate((len(p.text) for p in pieces), initial=0))
    marks = [
        Mark(*place, p.region, p.number)
        for place, p in zip(places, pieces, strict=True)
        if p.text and (p.region is not None or p.number is not None)
    ]
    text = "".join(p.text for p in pieces)
    return Written(text[0].upper() + text[1:], tuple(marks))


def _read(text: str) -> Claim | None:
    for form in _forms():
        if m := form.pattern.fullmatch(text):
            got: dict[str, Any] = {}
            for slot, found in zip(form.parts[1::2], m.groups(), strict=True):
                got |= SLOTS[slot].read(found)
            classes, percents, regions = (
                tuple(got.pop(f"{what} {i}") for i in range(6) if f"{what} {i}" in got)
                for what in ("class", "percent", "region")
            )
            return Claim(form.kind, **({"regions": regions} | got), classes=classes, percents=percents)
    return None


def write_all(claims: Iterable[Claim]) -> list[str]:
    """The sentences of claims in order; a region is described where it is first named, later it is 'region 1' alone.

    Raises:
        UsageError: a claim that cannot be said, or a region described in two ways.
    """
    return [sentence.text for sentence in written_all(claims)]


def written_all(claims: Iterable[Claim]) -> list[Written]:
    """The sentences of `write_all` with their marks; errors as there."""
    given, known, out = tuple(claims), dict[str, Region](), list[Written]()
    for claim in given:
        told = tuple(Region(r.id) if r.id in known else r for r in claim.regions)
        out.append(_written(replace(claim, regions=told)))
        known |= {r.id: r for r in claim.regions if r.described and r.id not in known}
    if parse_all(" ".join(sentence.text for sentence in out)) != list(given):
        raise UsageError("a region is described in two ways, or not where it is first named; describe it the same")
    return out


def parse_all(text: str) -> list[Claim]:
    """The claims of a text that `write_all` wrote, joined by spaces or line breaks; every region with its description.

    Raises:
        UsageError: any other text.
    """
    known, out = dict[str, Region](), list[Claim]()
    for sentence in _sentences(text):
        claim = parse(sentence)
        regions = tuple(known.get(r.id, r) if not r.described else r for r in claim.regions)
        known |= {r.id: r for r in regions if r.described and r.id not in known}
        out.append(replace(claim, regions=regions))
    return out


def _sentences(text: str) -> Sequence[str]:
    found = re.findall(r"(?:“[^“”]*”|[^“”.]|\.(?=\d))+\.", text)
    if "".join(found) != text:
        raise UsageError(f"not a text that saywhy writes: {text!r}")
    return [re.sub(r"^[ \n]", "", s) if i else s for i, s in enumerate(found)]
