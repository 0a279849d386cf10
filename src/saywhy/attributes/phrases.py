"""Captions to attributes: adjective and noun, from noun phrases and from "its beak is long and orange".

As in the source, one adjective and one noun, no recursion: "a long, curved orange beak" gives three attributes. A noun
is the last of its phrase, with the nouns before it ("wing bar").

Source: Guo et al., Neural Network Interpretation via Fine-Grained Textual Summarization, Visual Attribute Extraction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

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
    """The attributes that a caption says, in its order, each as often as it says it.

    What a question asks is said only if the answer is yes; of "no, red" and of "red" alone it is the answer.
    """
    said: list[Attribute] = []
    asked: Hearsay | None = None
    for tokens, question in _sentences(tagger(caption)):
        first = tokens[0].word if tokens else ""
        if asked is not None and first in ANSWERS:
            said += asked.found if first == "yes" else []
            tokens = tokens[1:]
        answer = _bare(tokens) if asked is not None else []
        if asked is not None and answer:
            said += [Attribute(noun, adjective_of(a)) for noun in asked.subjects for a in answer]
            asked = None
            continue
        heard = _heard(tokens, question)
        said += [] if question else heard.found
        asked = heard if question else None
    return said


ANSWERS = ("yes", "no", "none")
LIKE = ("of", "like")  # begin what something is, where no noun comes before: "is of one tone", "is like roof tiles"


@dataclass(frozen=True)
class Hearsay:
    """What a sentence says, and the nouns that it speaks of."""

    found: list[Attribute]
    subjects: tuple[str, ...]


def _sentences(tokens: Sequence[Token]) -> Iterator[tuple[list[Token], bool]]:
    """The sentences without their last sign, and whether each is a question."""
    some: list[Token] = []
    for token in tokens:
        if token.word in (".", "!", "?"):
            yield some, token.word == "?"
            some = []
        else:
            some.append(token)
    yield some, False


def _bare(tokens: Sequence[Token]) -> list[str]:
    """The words of an answer that is no more than them: adjectives, or one that is not known; none of a sentence."""
    tokens = [t for t in tokens if t.word not in (",", "-", "/")]
    if tokens and tokens[0].word in LIKE:
        return [" ".join(t.word for t in tokens)]
    kinds = {t.kind for t in tokens}
    if not kinds or not kinds <= {"adjective", "noun", "adverb", "conjunction"}:
        return []
    adjectives = [said for i, t in enumerate(tokens) if t.kind == "adjective" for said in _in_its_manner(tokens, i)]
    nouns = [t.word for t in tokens if t.kind == "noun"]
    return adjectives or nouns if len(nouns) < 2 else []


def _in_its_manner(tokens: Sequence[Token], i: int) -> list[str]:
    """An adjective alone, and with the adverb before it that says in which way it is so: "dotted", "finely dotted"."""
    word, before = tokens[i].word, tokens[i - 1] if i else None
    manner = before is not None and before.kind == "adverb" and before.word.endswith("ly")
    told = manner and before is not None and before.word not in words.DEGREES and word.endswith("ed")
    return [word, f"{before.word} {word}"] if told and before is not None else [word]


def _heard(tokens: Sequence[Token], question: bool) -> Hearsay:
    reader = _Hearing()
    copulas = [i for i, t in enumerate(tokens) if t.kind == "copula"]
    if question and copulas:  # "Of what colour is the tail?" speaks of what follows, "Is the tail red?" also tells
        reader.gapped = copulas[0] == 0
        tokens = tokens[copulas[0] + 1 :]
    for token, after in zip_longest(tokens, tokens[1:]):
        reader.read(Token(token.word, "adverb") if _is_particle(token, after) else token)
    reader.close()
    return Hearsay(reader.found, tuple(dict.fromkeys(filter(None, (*reader.beside, reader.subject)))))


def named(name: str) -> Attribute:
    """The attribute of a name in a table: of two plain words the second is the noun, any other name stands whole."""
    plain = re.sub(r"[\x00-\x1f\x7f\s]+", " ", name).strip()[:LONGEST].strip()
    if re.fullmatch(r"[a-z-]+ [a-z-]+", plain.lower()):
        adjective, noun = plain.lower().split()
        return Attribute(singular(noun), adjective_of(adjective))
    return Attribute(plain)


def _is_particle(token: Token, after: Token | None) -> bool:
    """Whether a preposition has no noun after it: "rounded off and brown"."""
    ends = after is None or after.kind in ("conjunction", "stop")
    return token.kind == "preposition" and ends


@dataclass
class _Hearing:
    """Walks through a sentence once: what stands before a noun is its own; after "is" it is the subject's."""

    found: list[Attribute] = field(default_factory=list)
    adjectives: list[str] = field(default_factory=list)
    nouns: list[str] = field(default_factory=list)
    subject: str = ""  # the noun that "is" would speak of
    beside: list[str] = field(default_factory=list)  # nouns that "and" joins to it: "crown and throat are red"
    joining: list[str] = field(default_factory=list)  # the same, of the next noun
    phrase: list[str] = field(default_factory=list)  # what begins with "like" behind "is"
    nearest: str = ""  # the last noun, which "that is" would speak of
    nested: str = ""  # the preposition that one is behind: "the crown of the bird is white" speaks of the crown
    aside: str = ""  # the same before a comma, after which "which is white" speaks of the crown as well
    predicate: bool = False
    bare: bool = False  # since "is" no word has begun a phrase of its own
    gapped: bool = False  # "is" was said once: "its beak is long, its tail red"
    manner: str = ""  # "finely", before "dotted"
    denied: bool = False
    joined: str = ""  # the last word, where it was "and" or a comma
    before: str = ""  # what kind of word the last was

    def read(self, token: Token) -> None:
        self._hear(token)
        self.before = token.kind

    def _hear(self, token: Token) -> None:
        if self.phrase and token.kind not in ("conjunction", "stop"):
            self.phrase.append(token.word)
        elif token.word in words.NEGATIONS:
            if not self.predicate:
                self._end_all()
            self.denied = True
        elif token.kind == "adjective":
            self._adjective(token.word)
        elif token.kind == "noun":
            self._noun(token.word)
        elif token.kind == "conjunction" or token.word in (",", "/", "-"):
            self._joint(token.word)
        elif token.word == ":":
            self._is()
        elif token.kind == "adverb":
            self.manner = token.word if token.word.endswith("ly") and token.word not in words.DEGREES else ""
        else:
            self._other(token)

    def _adjective(self, word: str) -> None:
        if self.nouns and self.predicate and self.bare:
            self.nouns = []  # "is royal blue"
        elif self.nouns:
            self._end()
            self.predicate = self.predicate or self.gapped
        last = self.adjectives[-1] if self.adjectives else ""
        if not self.denied:
            if last.endswith("ish") and word in words.COLOURS and not self.joined:
                self.adjectives[-1] = f"{last} {word}"
            else:
                self.adjectives += [word, f"{self.manner} {word}"] if self.manner and word.endswith("ed") else [word]
        self.joined = self.manner = ""

    def _noun(self, word: str) -> None:
        if self.joined and self.nouns:
            self._end()
        self.nouns.append(word)
        self.joined = self.manner = self.aside = ""
        self.predicate = self.predicate and self.bare and not self.adjectives

    def _joint(self, word: str) -> None:
        self._end_phrase()
        if self.nouns:
            spoken_of = not (self.predicate and self.bare)
            self._end()
            joins = spoken_of and word in ("and", "&") and self.nearest == self.subject
            self.joining = [*self.beside, self.nearest] if joins else []
        self.denied = self.denied and word not in (",", "but")
        self.joined, self.aside, self.nested = word, self.nested if word == "," else "", ""

    def _other(self, token: Token) -> None:
        """A word that ends a phrase; "is" begins what is said of the subject, and full stops end that too."""
        if token.word == "of" and self._relational():
            return
        if token.word in LIKE and self.predicate and self.bare and not (self.nouns or self.adjectives):
            self.phrase = [token.word]
            return
        if token.kind == "determiner" and self.nouns[-1:] == ["of the"]:
            return
        self._end()
        self.joined = ""
        if token.kind == "copula":
            self._is()
            return
        if token.word == "than" and self.predicate:
            self.adjectives = []  # "longer than": how two things lie to each other
        self._say_of_subject()
        self._place(token)
        if token.kind != "preposition":
            self.denied = False

    def _place(self, token: Token) -> None:
        """Who is spoken of after a word that ended a phrase."""
        relative = token.word in ("which", "whose") or (token.word == "that" and self.before == "noun")
        if relative and not ("of" in (self.nested, self.aside) and self.subject):
            self.subject, self.beside = self.nearest, []
        if relative:
            self.nested = ""
        elif token.kind == "stop":
            self.subject = ""
        if token.kind in ("verb", "stop"):
            self.beside = []
        if token.kind == "preposition":
            self.nested = token.word
        elif token.kind != "determiner":
            self.nested = ""

    def _relational(self) -> bool:
        """Whether "of" goes on a name: "the tip of the tail" is one thing."""
        if self.adjectives and not self.nouns and self.adjectives[-1] in words.RELATIONAL:
            self.nouns = [self.adjectives.pop()]
        if not self.nouns or self.nouns[-1] not in words.RELATIONAL:
            return False
        self.nouns.append("of the")
        return True

    def _is(self) -> None:
        self._end()
        self.predicate = self.bare = bool(self.subject)
        self.gapped = self.gapped or self.predicate

    def _end(self) -> None:
        """A phrase with its noun is over: its adjectives are said of it; a bare noun behind "is" is an adjective."""
        if not self.nouns:
            return
        if self.predicate and self.bare:
            self.adjectives += [] if self.denied or len(self.nouns) > 1 else self.nouns
            self.nouns = []
            return
        noun = " ".join([*self.nouns[:-1], singular(self.nouns[-1])])
        self.found += [Attribute(noun, adjective_of(a)) for a in self.adjectives]
        if not (self.nested and self.subject):
            self.subject, self.beside = noun, self.joining
        self.joining = []
        self.nearest, self.nouns, self.adjectives = noun, [], []

    def _end_phrase(self) -> None:
        self.adjectives += [" ".join(self.phrase)] if self.phrase and not self.denied else []
        self.phrase = []

    def _say_of_subject(self) -> None:
        """Adjectives with no noun after them: of the subject, where "is" stood before them."""
        self._end_phrase()
        if self.predicate and self.subject:
            of = [*(n for n in self.beside if n != self.subject), self.subject]
            self.found += [Attribute(noun, adjective_of(a)) for noun in of for a in self.adjectives]
        self.adjectives, self.predicate, self.bare = [], False, False

    def _end_all(self) -> None:
        self._end()
        self._say_of_subject()

    def close(self) -> None:
        """The sentence is over."""
        self._end_all()


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
    before = [a for a in adjectives if a.split()[0] not in LIKE]
    after = " and ".join(a for a in adjectives if a.split()[0] in LIKE)
    text = f"{' and '.join(filter(None, (', '.join(before[:-1]), *before[-1:])))} {noun} {after}".strip()
    if not adjectives:
        return text
    return f"{article(text)} {text}"


def article(text: str) -> str:
    """ "a" or "an", by the sound that a word begins with, as far as its letters tell it."""
    first = text.lower()
    if re.match(r"(?:uni(?!n)|use|eu|one\b|once)", first):
        return "a"
    return "an" if re.match(r"[aeiou]|hour|honest", first) else "a"
