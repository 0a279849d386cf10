"""Reads captions back: which attributes are said, and which words stand for which mask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from saywhy.aviary.species import RELATIONS
from saywhy.aviary.vocabulary import ADJECTIVES, CONVERSE, NOUNS, RELATION_WORDS, SETTINGS, name_of, relation_name
from saywhy.errors import InputError


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: characters `start` to `end` of the caption stand for the mask of that name.

    `mask` is a part, "bird", "background" or "branch"; `attributes` are the plain names of what
    the caption says of it.
    """

    text: str
    start: int
    end: int
    mask: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Parsed:
    """What a caption says: plain names of attributes, sorted, and its noun phrases in order."""

    mentions: tuple[str, ...]
    phrases: tuple[Phrase, ...]


_BIRDS = ("bird", "songbird")
_FILLERS = (
    "a", "an", "the", "its", "this", "one", "it", "with", "has", "shows", "sports", "wears", "is", "are", "and",
    "sits", "here", "you", "can", "see", "notice", "look", "for", "note", "of", "whose", "that",
)  # fmt: skip
_DETERMINERS = ("a", "an", "the", "its", "this", "one")


@cache
def _lexicon() -> dict[str, tuple[str, str, str]]:
    """Words -> (kind, value, extra); several words are one entry."""
    out: dict[str, tuple[str, str, str]] = {w: ("filler", w, "") for w in _FILLERS}
    out |= dict.fromkeys(_BIRDS, ("bird", "bird", ""))
    for part, nouns in NOUNS.items():
        out |= dict.fromkeys(nouns, ("noun", part, ""))
    for key, values in ADJECTIVES.items():
        for value, synonyms in values.items():
            out |= dict.fromkeys(synonyms, ("adjective", value, key))
    for answer, synonyms in RELATION_WORDS.items():
        out |= dict.fromkeys(synonyms, ("relation", answer, ""))
    for name, synonyms in SETTINGS.items():
        out |= {text.replace("|", ""): ("setting", name, text) for text in synonyms}
    return out


@cache
def _pattern() -> re.Pattern[str]:
    words = sorted(_lexicon(), key=len, reverse=True)
    return re.compile(r"\s*(?:(" + "|".join(map(re.escape, words)) + r")(?![\w-])|([,;:.]))", re.IGNORECASE)


@dataclass
class _Open:
    """A noun phrase being read; `said` grows as long as the caption speaks of it."""

    start: int
    end: int
    mask: str
    said: list[str] = field(default_factory=list)


class _Reader:
    """Walks through the words once: adjectives wait for their noun, or belong to the subject after "is"."""

    def __init__(self) -> None:
        self.found: list[_Open] = []
        self.waiting: list[str] = []
        self.start: int | None = None
        self.subject: _Open | None = None
        self.predicate = False
        self.related: tuple[_Open, str] | None = None
        self.pictured: list[str] = []

    def word(self, kind: str, value: str, extra: str, start: int, end: int, text: str) -> None:
        getattr(self, f"_{kind}")(value, extra, start, end, text)

    def _filler(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        if value in _DETERMINERS:
            self.predicate, self.start, self.waiting = False, start, []
        elif value in ("is", "are"):
            self.predicate = self.subject is not None
        elif value not in ("and", "sits"):
            self.predicate, self.start = False, None

    def _adjective(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        if self.predicate and self.subject is not None:
            self.subject.said.append(name_of(self.subject.mask, value))
            return
        self.start = start if self.start is None else self.start
        self.waiting.append(value)

    def _noun(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        said = [name_of(value, w) for w in self.waiting]
        one = _Open(start if self.start is None else self.start, end, value, said)
        self.found.append(one)
        if self.related is not None:
            first, answer = self.related
            name = _relation(first.mask, answer, value)
            first.said.append(name)
            one.said.append(name)
        self.subject, self.waiting, self.start, self.related, self.predicate = one, [], None, None, False

    def _bird(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        self.found.append(_Open(start if self.start is None else self.start, end, "bird"))
        self.subject, self.waiting, self.start, self.predicate = None, [], None, False

    def _relation(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        if self.subject is None:
            raise InputError(f"the relation {text!r} has no part before it")
        self.related, self.start, self.predicate = (self.subject, value), None, False

    def _setting(self, value: str, extra: str, start: int, end: int, text: str) -> None:
        _before, bar, noun = extra.partition("|")
        if bar:
            mask = "branch" if value == "on a branch" else "background"
            self.found.append(_Open(end - len(noun), end, mask, [value]))
        else:
            self.pictured.append(value)
        self.subject, self.waiting, self.start, self.predicate = None, [], None, False


def _relation(first: str, answer: str, second: str) -> str:
    if (first, second) in RELATIONS:
        return relation_name(first, answer, second)
    if (second, first) in RELATIONS:
        return relation_name(second, CONVERSE[answer], first)
    raise InputError(f"the grammar knows no relation between {first} and {second}")


def tokens(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The words (group 1) and stops (group 2) of a caption.

    Raises:
        InputError: something is neither.
    """
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            raise InputError(f"not a caption of the aviary's grammar: {text[at : at + 30].strip()!r} is not understood")
        yield match
        at = match.end()


def parse(text: str) -> Parsed:
    """What a caption of the aviary's grammar says.

    Raises:
        InputError: a word is not in the grammar's vocabulary, or a relation lacks a part.
    """
    reader = _Reader()
    for match in tokens(text, _pattern()):
        if match[1] is None:
            if match[2] != ",":
                reader.predicate, reader.start = False, None
            continue
        kind, value, extra = _lexicon()[match[1].lower()]
        reader.word(kind, value, extra, match.start(1), match.end(1), match[1])
    said = {name for one in reader.found for name in one.said} | set(reader.pictured)
    phrases = (Phrase(text[o.start : o.end], o.start, o.end, o.mask, tuple(sorted(o.said))) for o in reader.found)
    return Parsed(tuple(sorted(said)), tuple(phrases))
