"""Captions to attributes: adjective and noun, from noun phrases and from "its beak is long and orange".

As in the source, one adjective and one noun, no recursion: "a long, curved orange beak" gives three attributes. A noun
is the last of its phrase, with the nouns before it ("wing bar").

Source: Guo et al., Neural Network Interpretation via Fine-Grained Textual Summarization, Visual Attribute Extraction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from saywhy.attributes import wordlists as words
from saywhy.attributes.tagging import Tagger, Token, lexicon

LONGEST = 60  # letters of a name


@dataclass(frozen=True, order=True)
class Attribute:
    """What something is like: "orange" of a "beak". A name that is no such pair is all `noun`, with no adjective."""

    noun: str
    adjective: str = ""

    def __str__(self) -> str:
        return f"{self.adjective} {self.noun}".strip()


def attributes_of(caption: str, tagger: Tagger = lexicon) -> list[Attribute]:
    """The attributes that a caption says, in its order, each as often as it says it."""
    reader = _Hearing()
    for token in tagger(caption):
        reader.read(token)
    reader.close()
    return reader.found


def named(name: str) -> Attribute:
    """The attribute of a name in a table: of two plain words the second is the noun, any other name stands whole."""
    plain = re.sub(r"[\x00-\x1f\x7f\s]+", " ", name).strip()[:LONGEST].strip()
    if re.fullmatch(r"[a-z-]+ [a-z-]+", plain.lower()):
        adjective, noun = plain.lower().split()
        return Attribute(singular(noun), adjective_of(adjective))
    return Attribute(plain)


@dataclass
class _Hearing:
    """Walks through the words once: what stands before a noun is its own; after "is" it is the subject's."""

    found: list[Attribute] = field(default_factory=list)
    adjectives: list[str] = field(default_factory=list)
    nouns: list[str] = field(default_factory=list)
    subject: str = ""  # the noun that "is" would speak of
    nearest: str = ""  # the last noun, which "that is" would speak of
    nested: bool = False  # behind a preposition: "the crown of the bird is white" speaks of the crown
    predicate: bool = False
    denied: bool = False
    joined: bool = False  # the last word was "and" or a comma

    def read(self, token: Token) -> None:
        if token.word in words.NEGATIONS:
            if not self.predicate:
                self.close()
            self.denied = True
        elif token.kind == "adjective":
            self._adjective(token.word)
        elif token.kind == "noun":
            self._noun(token.word)
        elif token.kind == "conjunction" or token.word in (",", "/", "-"):
            self._joint(token.word)
        elif token.kind != "adverb":
            self._other(token)

    def _adjective(self, word: str) -> None:
        if self.nouns:
            self._end()
        self.adjectives += [] if self.denied else [word]
        self.joined = False

    def _noun(self, word: str) -> None:
        if self.joined and self.nouns:
            self._end()
        self.nouns.append(word)
        self.predicate, self.joined = False, False

    def _joint(self, word: str) -> None:
        if self.nouns:
            self._end()
        self.denied = self.denied and word not in (",", "but")
        self.joined, self.nested = True, False

    def _other(self, token: Token) -> None:
        """A word that ends a phrase; "is" begins what is said of the subject, and full stops end that too."""
        self._end()
        self.joined = False
        if token.kind == "copula":
            self.predicate = bool(self.subject)
            return
        self._say_of_subject()
        self.nested = token.kind == "preposition" or (self.nested and token.kind == "determiner")
        if token.word in ("that", "which", "whose"):
            self.subject, self.nested = self.nearest, False
        elif token.kind == "stop":
            self.subject = ""
        if token.kind != "preposition":
            self.denied = False

    def _end(self) -> None:
        """A phrase with its noun is over: its adjectives are said of it."""
        if not self.nouns:
            return
        noun = " ".join([*self.nouns[:-1], singular(self.nouns[-1])])
        self.found += [Attribute(noun, adjective_of(a)) for a in self.adjectives]
        self.subject, self.nearest = (self.subject if self.nested and self.subject else noun), noun
        self.nouns, self.adjectives = [], []

    def _say_of_subject(self) -> None:
        """Adjectives with no noun after them: of the subject, where "is" stood before them."""
        if self.predicate and self.subject:
            self.found += [Attribute(self.subject, adjective_of(a)) for a in self.adjectives]
        self.adjectives, self.predicate = [], False

    def close(self) -> None:
        self._end()
        self._say_of_subject()
        self.subject, self.denied, self.joined, self.nested = "", False, False, False


def adjective_of(word: str) -> str:
    """An adjective in the spelling that stays."""
    return words.SPELLINGS.get(word, word)


def singular(noun: str) -> str:
    """A noun of one thing: "legs" are "leg", "bodies" are "body", "glass" stays."""
    if noun in words.IRREGULAR:
        return words.IRREGULAR[noun]
    if noun in words.SINGULAR or not noun.endswith("s") or noun.endswith(("ss", "us", "is")) or len(noun) < 4:
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    return noun[:-2] if noun.endswith(("ches", "shes", "xes", "sses", "zes")) else noun[:-1]


def merged(attributes: Sequence[Attribute]) -> list[tuple[tuple[str, ...], str]]:
    """The adjectives of each noun, in the order in which the nouns come: (("black", "white"), "wing")."""
    by_noun: dict[str, dict[str, None]] = {}
    for one in attributes:
        by_noun.setdefault(one.noun, {})[one.adjective] = None
    return [(tuple(a for a in adjectives if a), noun) for noun, adjectives in by_noun.items()]


def phrase(adjectives: Sequence[str], noun: str) -> str:
    """A noun phrase with its article: "an orange beak", "a black and white wing"."""
    text = f"{' and '.join(filter(None, (', '.join(adjectives[:-1]), *adjectives[-1:])))} {noun}".strip()
    if not adjectives:
        return text
    return f"{article(text)} {text}"


def article(text: str) -> str:
    """ "a" or "an", by the sound that a word begins with, as far as its letters tell it."""
    first = text.lower()
    if re.match(r"(?:uni(?!n)|use|eu|one\b|once)", first):
        return "a"
    return "an" if re.match(r"[aeiou]|hour|honest", first) else "a"
