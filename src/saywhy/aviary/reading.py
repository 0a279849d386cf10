"""Reads captions of all editions but the first back: which facts are said, and which words stand for which mask.

One walk through the words. An article opens a noun phrase, in which adjectives wait for their noun; outside of one
they belong to the last part that was named. Whose part it is, in a picture of two birds, is known at the end of the
sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from saywhy.aviary.lexicon import CONVERSE, KEY_NOUNS, NUMBERS, Lexicon
from saywhy.aviary.lexicons import lexicon
from saywhy.aviary.parsing import Parsed, Phrase, tokens
from saywhy.aviary.talk import COMPARED
from saywhy.aviary.world import world
from saywhy.errors import InputError

_ARTICLES = ("a", "an", "the", "its", "this", "that", "some", *NUMBERS[1:])
_VERBS = ("is", "are", "look", "looks", "appear", "appears")
_ABSENT = ("without", "lacks", "neither", "nor")
_FILLERS = (
    "about", "also", "and", "around", "as", "birds", "but", "can", "carries", "comes", "displays", "do", "does",
    "for", "from", "go", "goes", "has", "have", "here", "how", "in", "it", "lie", "lies", "make", "mark", "marks",
    "more", "nearby", "note", "notice", "observe", "of", "out", "picture", "placed", "see", "seen", "shows", "sits",
    "sports", "stand", "stands", "there", "they", "wears", "what", "whereas", "which", "while", "whose", "with",
    "cells", "you",
    *(w for nouns in KEY_NOUNS.values() for w in nouns),
)  # fmt: skip
_STRUCTURE = {"not": "not", "or": "or", "dark": "dark", "yes": "yes", "none": "none", "no": "no"}


@cache
def _words(edition: str) -> dict[str, tuple[str, str, str]]:
    out = dict.fromkeys(_FILLERS, ("filler", "", ""))
    out |= {w: ("article", w, "") for w in _ARTICLES} | {w: ("verb", w, "") for w in _VERBS}
    out |= {w: ("absent", w, "") for w in _ABSENT} | {w: (kind, w, "") for w, kind in _STRUCTURE.items()}
    return out | lexicon(edition).words


@cache
def _pattern(edition: str) -> re.Pattern[str]:
    """The longest words first; by their first letters, since an alternative of six hundred is slow."""
    initials: dict[str, list[str]] = {}
    for word in sorted(_words(edition), key=len, reverse=True):
        initials.setdefault(word[0], []).append(re.escape(word[1:]))
    words = "|".join(f"{first}(?:{'|'.join(rest)})(?![\\w-])" for first, rest in initials.items())
    return re.compile(rf"\s*(?:({words})|([,;:.?]))", re.IGNORECASE)


@dataclass
class _Spoken:
    """A noun phrase being read; `said` are names without their owner."""

    start: int
    end: int
    mask: str
    owned: bool
    owner: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The name of the mask."""
        mask = "collars" if self.mask == "collar" else self.mask
        return f"{self.owner}: {mask}" if self.owned and self.owner else mask


@dataclass
class _Told:
    """A fact of the sentence being read."""

    name: str
    owned: bool
    where: tuple[_Spoken, ...]
    look: tuple[str, str] | None = None  # the part and value of a look, which an answer may still deny


@dataclass
class _Walk:
    """What is known so far, and what the next word may belong to."""

    words: Lexicon
    phrases: list[_Spoken] = field(default_factory=list)
    mentions: set[str] = field(default_factory=set)
    told: list[_Told] = field(default_factory=list)
    asked: list[_Told] = field(default_factory=list)
    fresh: list[_Spoken] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)
    owner: str = ""
    start: int | None = None  # of the open noun phrase
    number: str = ""
    waiting: list[str] = field(default_factory=list)
    subject: _Spoken | None = None
    appears: bool = False
    dark: bool = False
    negated: bool = False
    absent: bool = False
    choice: bool = False
    related: tuple[_Spoken, str] | None = None
    pending: tuple[_Spoken, _Spoken] | None = None
    compared: str = ""

    # -- words ---------------------------------------------------------------------------------------

    def filler(self, value: str, detail: str, start: int, end: int) -> None:
        self._close()

    def _close(self) -> None:
        self.start, self.number, self.waiting = None, "", []

    def article(self, value: str, detail: str, start: int, end: int) -> None:
        self._close()
        self.start, self.appears, self.dark = start, False, False
        self.number = "one" if value in ("a", "an") else value if value in NUMBERS else ""

    def verb(self, value: str, detail: str, start: int, end: int) -> None:
        self._close()
        self.appears = value not in ("is", "are")

    def absent_(self, value: str, detail: str, start: int, end: int) -> None:
        self._close()
        self.absent = True

    def no(self, value: str, detail: str, start: int, end: int) -> None:
        """ "No" by itself denies what was asked; before a noun it says that the part is not there."""
        if self.asked:
            self._answer(deny=True)
        else:
            self._close()
            self.absent, self.start, self.number = True, start, "no"

    def yes(self, value: str, detail: str, start: int, end: int) -> None:
        self._answer(deny=False)

    def none(self, value: str, detail: str, start: int, end: int) -> None:
        if self.subject is not None:
            self._tell(f"no {self.subject.mask}", ())
            self.phrases = [p for p in self.phrases if p is not self.subject]

    def not_(self, value: str, detail: str, start: int, end: int) -> None:
        self.negated = True

    def or_(self, value: str, detail: str, start: int, end: int) -> None:
        self.choice, self.related = True, None

    def dark_(self, value: str, detail: str, start: int, end: int) -> None:
        self.dark = True

    def adjective(self, value: str, detail: str, start: int, end: int) -> None:
        if self.start is not None:
            self.waiting.append(value)
            return
        if self.subject is None:
            raise InputError(f"{value!r} is said of nothing")
        part = self.subject.mask
        if self.negated:
            self._tell(f"{part} not {value}", (self.subject,))
        elif self.appears and detail == "colour":
            self._tell(f"{part} appearing {'dark ' * self.dark}{value}", (self.subject,))
        else:
            self._tell(f"{value} {part}", (self.subject,), look=(part, value))
        self.negated = self.dark = False

    def noun(self, value: str, detail: str, start: int, end: int) -> None:
        if self.absent:
            self._tell(f"no {value}", ())
            self.absent = False
            self._close()
            return
        one = _Spoken(start if self.start is None else self.start, end, value, True)
        self.phrases.append(one)
        self.fresh.append(one)
        for word in self.waiting:
            self._tell(f"{word} {value}", (one,), look=(value, word))
        if self.related is not None:
            self._relate(self.related[0], self.related[1], one)
        elif self.choice and self.subject is not None:
            self.pending = (self.subject, one)
        self.subject, self.related, self.choice, self.appears = one, None, False, False
        self._close()

    def bird(self, value: str, detail: str, start: int, end: int) -> None:
        self.phrases.append(_Spoken(start if self.start is None else self.start, end, value, False))
        self._close()

    def side(self, value: str, detail: str, start: int, end: int) -> None:
        self.sides.append(value)
        self.phrases.append(_Spoken(start if self.start is None else self.start, end, value, False))
        self._close()

    def thing(self, value: str, detail: str, start: int, end: int) -> None:
        number = self.number or "one"
        name = f"{number} {self.words.objects[value][0][number != 'one']}"
        one = _Spoken(start if self.start is None else self.start, end, value, False)
        self.phrases.append(one)
        self._tell(name, (one,), owned=False)
        self._close()

    def relation(self, value: str, detail: str, start: int, end: int) -> None:
        if self.pending is not None:
            self._relate(self.pending[0], value, self.pending[1])
            self.pending = None
        elif self.negated:
            self.negated = False
        elif not self.choice:
            if self.subject is None:
                raise InputError(f"the relation {value!r} has no part before it")
            self.related = (self.subject, value)
        self._close()

    answer = relation

    def collars(self, value: str, detail: str, start: int, end: int) -> None:
        if self.subject is None:
            raise InputError(f"{value!r} is said of no collars")
        self._tell(value, (self.subject,))
        self._close()

    def compared_(self, value: str, detail: str, start: int, end: int) -> None:
        self.compared = value
        self._close()

    def setting(self, value: str, detail: str, start: int, end: int) -> None:
        _before, bar, noun = detail.partition("|")
        said: tuple[_Spoken, ...] = ()
        if bar:
            said = (_Spoken(end - len(noun), end, "branch" if value == "on a branch" else "background", False),)
            self.phrases += said
        self._tell(value, said, owned=False)
        self._close()

    # -- facts ---------------------------------------------------------------------------------------

    def _tell(
        self, name: str, where: tuple[_Spoken, ...], *, owned: bool = True, look: tuple[str, str] | None = None
    ) -> None:
        self.told.append(_Told(name, owned, where, look))

    def _relate(self, first: _Spoken, answer: str, second: _Spoken) -> None:
        known = world(self.words.edition)
        row = known.relation(first.mask, second.mask, answer) or known.relation(
            second.mask, first.mask, CONVERSE[answer]
        )
        if row is None:
            raise InputError(f"the grammar knows no relation {answer!r} between {first.mask} and {second.mask}")
        self._tell(row.name(answer if row.part == first.mask else CONVERSE[answer]), (first, second))

    def _answer(self, *, deny: bool) -> None:
        for one in self.asked:
            part, value = one.look or ("", "")
            self._commit(_Told(f"{part} not {value}", True, one.where) if deny else one)
        self.asked = []

    def stop(self, mark: str) -> None:
        """A mark between words; "." and "?" end the sentence."""
        self._close()
        if mark in ",;":
            self.appears = self.negated = False
        if mark not in ".?":
            return
        if self.compared:
            left, right = self.words.sides
            value = self.compared if self.sides[:1] == [left] else COMPARED[self.compared]
            self.mentions.add(f"{left} {value} than the {right}")
            self.sides, self.compared = [], ""
        self.owner = self.sides[-1] if self.sides else self.owner
        for one in self.fresh:
            one.owner = self.owner
        if mark == "?":
            self.asked = [t for t in self.told if t.look is not None]
            self.told = [t for t in self.told if t.look is None]
        for told in self.told:
            self._commit(told)
        self.told, self.fresh, self.sides = [], [], []
        self.appears = self.negated = self.choice = False

    def _commit(self, told: _Told) -> None:
        name = f"{self.owner}: {told.name}" if self.owner and told.owned else told.name
        self.mentions.add(name)
        for one in told.where:
            one.said.append(name)

    def done(self, text: str) -> Parsed:
        """What was read."""
        self.stop(".")
        found = sorted(self.phrases, key=lambda p: p.start)
        phrases = (Phrase(text[p.start : p.end], p.start, p.end, p.place, tuple(sorted(set(p.said)))) for p in found)
        return Parsed(tuple(sorted(self.mentions)), tuple(phrases))


_Take = Callable[[_Walk, str, str, int, int], None]
_HOW: dict[str, _Take] = {
    "filler": _Walk.filler, "article": _Walk.article, "verb": _Walk.verb, "absent": _Walk.absent_,
    "no": _Walk.no, "yes": _Walk.yes, "none": _Walk.none, "not": _Walk.not_, "or": _Walk.or_,
    "dark": _Walk.dark_, "adjective": _Walk.adjective, "noun": _Walk.noun, "bird": _Walk.bird,
    "side": _Walk.side, "thing": _Walk.thing, "relation": _Walk.relation, "answer": _Walk.answer,
    "collars": _Walk.collars, "compared": _Walk.compared_, "setting": _Walk.setting,
}  # fmt: skip


def parse(text: str, edition: str) -> Parsed:
    """What a caption of that edition says.

    Raises:
        InputError: a word is not in the vocabulary, or is said of nothing.
    """
    reader = _Walk(lexicon(edition))
    for match in tokens(text, _pattern(edition)):
        if match[1] is None:
            reader.stop(match[2])
            continue
        kind, value, detail = _words(edition)[match[1].lower()]
        _HOW[kind](reader, value, detail, match.start(1), match.end(1))
    return reader.done(text)
