"""A text as letters, and the parser that reads it back: what was written is shown only if it says what was meant.

Names stand as they are where they are plain words none of which the grammar uses, else in “...”, where what would break
quotes or lines is written as its code point. So a text falls into words, names, numbers and places in one way, and the
parser tries all patterns: a text that can be read in two ways is refused, like one that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from saywhy.explanation import Place
from saywhy.language.appearance import at
from saywhy.language.sentences import quoted_name, read_quoted
from saywhy.writing.account import BANDS, RELATIONS, STYLES, Account, Clause, Telling
from saywhy.writing.grammar import AGAIN, PATTERNS, Token, first_rows, words

PERCENT = r"(?:under 1|over 99|\d+) %"
AMOUNT = r"(?:under 1|\d+) points?|a factor of (?:over 100 million|\d+(?:\.\d)?)"
PLACES = {at(place) for place in get_args(Place)}
_WORD = r"[\w'’/&+-]+"
_TOKENS = re.compile(
    rf"(?P<quoted>“[^“”]*”)|(?P<percent>{PERCENT})|(?P<amount>{AMOUNT})"
    rf"|(?P<place>{'|'.join(sorted(PLACES, key=len, reverse=True))})(?![\w-])"
    rf"|(?P<number>\d+)(?![\w'’/&+-])|(?P<word>{_WORD})|(?P<stop>[.,;:()])"
)


# --------------------------------------------------------------------------------------------------
# Writing.


def spelled(tokens: Sequence[Token], account: Account, order: Sequence[str]) -> str:
    """The letters of tokens; `order` are the numbers of the things that they point to."""
    return joined([_letters(token, account, order) for token in tokens])


def _letters(token: Token, account: Account, order: Sequence[str]) -> str:
    if isinstance(token, str):
        return token
    if token.slot in ("target", "versus"):
        return name_of(getattr(account, token.slot))
    if token.slot in ("percent", "rival"):
        return percent_of(getattr(account, token.slot))
    if token.slot == "class":
        return name_of(account.without[token.number][1])
    value: str = getattr(account.thing(order[token.number]), token.slot)
    return name_of(value) if token.slot == "name" else value


def percent_of(n: int) -> str:
    """A probability: nothing that was measured is exactly none or all of it."""
    return f"{ {0: 'under 1', 100: 'over 99'}.get(n, n) } %"


def name_of(name: str) -> str:
    """A name as it stands in a text."""
    found = list(_matches(name))
    plain = all(m is not None and m.lastgroup == "word" and m[0].casefold() not in words() for m in found)
    return name if found and plain and " ".join(m[0] for m in found if m) == name else quoted_name(name)


def joined(letters: Iterable[str]) -> str:
    """Words and stops as a text: blanks where they belong, a capital where a sentence begins."""
    text, begins = "", True
    for one in letters:
        one = one[0].upper() + one[1:] if begins and one[:1].isalpha() else one
        text += one if not text or one in (".", ",", ";", ":", ")") or text.endswith("(") else f" {one}"
        begins = one == "." or (begins and not one[:1].isalpha())
    return text


# --------------------------------------------------------------------------------------------------
# Reading.


@dataclass(frozen=True)
class Lexeme:
    """A piece of a text: "word" of the grammar, "name", "percent", "amount", "place" or "number"."""

    kind: str
    text: str


def _matches(text: str) -> Iterator[re.Match[str] | None]:
    at_ = 0
    while at_ < len(text):
        match = _TOKENS.match(text, at_)
        yield match
        if match is None:
            return
        at_ = match.end() + (text[match.end() : match.end() + 1] == " ")


def lexed(text: str) -> list[Lexeme] | None:
    """The pieces of a text; words that are not of the grammar and follow each other are one name. None for what is no
    such text."""
    out: list[Lexeme] = []
    run = False
    for match in _matches(text):
        if match is None:
            return None
        kind, found = match.lastgroup or "", match[0]
        if kind == "word" and found.casefold() not in words():
            out[-1:] = [Lexeme("name", f"{out[-1].text} {found}")] if run else [*out[-1:], Lexeme("name", found)]
            run = True
            continue
        run = False
        if kind == "quoted":
            out.append(Lexeme("name", read_quoted(found)))
        elif kind in ("word", "stop"):
            out.append(Lexeme("word", found.casefold()))
        else:
            out.append(Lexeme(kind, found))
    return out


Slots = dict[str, str]
Bound = tuple[Slots, ...]  # of a thing all its slots, of anything else one
_KINDS = {
    "target": "name", "versus": "name", "class": "name", "name": "name", "like": "name", "percent": "percent",
    "rival": "percent", "id": "number", "place": "place", "amount": "amount",
}  # fmt: skip
_IN_ORDER = ("target", "percent", "band", "versus", "rival", "relation", "class")


def readings(text: str, style: str) -> list[Telling]:
    """All tellings that a text in this style can be read as: one of a text that was written, none of any other."""
    pieces = lexed(text)
    if pieces is None or not joined_again(text):
        return []
    unique: list[Telling] = []
    for clauses in _clauses(pieces, 0, style):
        one = _telling(clauses, style)
        unique += [one] if one is not None and one not in unique else []
    return unique


def joined_again(text: str) -> bool:
    """Whether blanks and capitals stand where `joined` puts them."""
    parts = [m[0] for m in _matches(text) if m is not None]
    return joined([p[0].lower() + p[1:] if p.casefold() in words() else p for p in parts]) == text


Said = tuple[str, Bound]


def _clauses(pieces: Sequence[Lexeme], start: int, style: str) -> Iterator[tuple[Said, ...]]:
    if start and list(pieces[start:]) == [Lexeme("word", ".")]:
        yield ()
        return
    for kind, rows in PATTERNS[style].items():
        for row in rows:
            for end, bound in _match(tuple(row.split(" ")), pieces, start, style):
                for rest in _clauses(pieces, end, style):
                    yield ((kind, bound), *rest)


def _match(pattern: tuple[str, ...], pieces: Sequence[Lexeme], start: int, style: str) -> Iterator[tuple[int, Bound]]:
    if not pattern:
        yield start, ()
        return
    for end, bound in _one(pattern[0], pieces, start, style):
        for last, more in _match(pattern[1:], pieces, end, style):
            yield last, (*bound, *more)


def _one(symbol: str, pieces: Sequence[Lexeme], start: int, style: str) -> Iterator[tuple[int, Bound]]:
    if start >= len(pieces):
        return
    slot = symbol[1:-1] if symbol.startswith("{") else ""
    if slot == "ones":
        yield from _things(pieces, start, style)
    elif slot in ("one", "other"):
        yield from _thing(pieces, start, style)
    elif slot in ("band", "relation"):
        for said in RELATIONS.values() if slot == "relation" else [said for _, said in BANDS]:
            end = start + len(said.split())
            if [p.text for p in pieces[start:end]] == said.split():
                yield end, ({slot: said},)
    elif slot:
        if pieces[start].kind == _KINDS[slot]:
            yield start + 1, ({slot: pieces[start].text},)
    elif pieces[start] == Lexeme("word", symbol):
        yield start + 1, ()


def _things(pieces: Sequence[Lexeme], start: int, style: str, *, listed: bool = False) -> Iterator[tuple[int, Bound]]:
    """One thing, or a list "a, b and c"; `listed` is what comes after a comma of a list, and must end with "and"."""
    for end, first in _thing(pieces, start, style):
        if not listed:
            yield end, first
        after = pieces[end].text if end < len(pieces) else ""
        if after == "and":
            yield from ((last, (*first, *rest)) for last, rest in _thing(pieces, end + 1, style))
        if after == ",":
            yield from ((last, (*first, *rest)) for last, rest in _things(pieces, end + 1, style, listed=True))


def _thing(pieces: Sequence[Lexeme], start: int, style: str) -> Iterator[tuple[int, Bound]]:
    """A thing: all its slots as one."""
    fields = len(STYLES[style].fields)
    rows = dict.fromkeys([*first_rows(fields, False), *first_rows(fields, True), *AGAIN])
    for row in rows:
        for end, bound in _match(tuple(row.split(" ")), pieces, start, style):
            yield end, ({slot: text for one in bound for slot, text in one.items()},)


def _telling(clauses: Sequence[Said], style: str) -> Telling | None:
    """Clauses as a telling; None where a thing is not described where it is first named, or again later."""
    described: dict[str, tuple[str, ...]] = {}
    out: list[Clause] = []
    for kind, bound in clauses:
        things = [one for one in bound if "id" in one]
        words_of = {slot: text for one in bound if "id" not in one for slot, text in one.items()}
        for one in things:
            if ("name" in one) == (one["id"] in described):
                return None
            if "name" in one:
                described[one["id"]] = tuple(one.get(f, "") for f in STYLES[style].fields)
        said = tuple(_plain(words_of[slot]) for slot in _IN_ORDER if slot in words_of)
        out.append(Clause(kind, tuple(one["id"] for one in things), said))
    return Telling(tuple(out), described)


def _plain(text: str) -> str:
    """A per cent as its number."""
    return {"under 1 %": "0", "over 99 %": "100"}.get(text, text.removesuffix(" %"))


def proved(text: str, telling: Telling, style: str) -> bool:
    """Whether a text says exactly this and can be read in no other way."""
    return readings(text, style) == [telling]
