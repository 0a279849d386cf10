"""Words and their kinds: one small interface to whatever tags parts of speech, and a table of what does.

The default, `lexicon`, is our own and needs nothing: closed classes, the adjectives of captions, and the form of a
word. `textblob` and `spacy` are other people's, behind the same function.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from saywhy.attributes import wordlists as words
from saywhy.errors import ExtraMissing, UsageError, unknown

Kind = Literal["adjective", "noun", "determiner", "preposition", "conjunction", "adverb", "copula", "verb", "stop"]


@dataclass(frozen=True)
class Token:
    """A word in lower case, or a sign, and what kind of word it is."""

    word: str
    kind: Kind


Tagger = Callable[[str], list[Token]]

_MARKUP = re.compile(r"<[^<>]*>|&[a-z]+;|[\"'“”‘()\[\]{}*_]+(?![a-z])|(?<![a-z])[\"'“”‘()\[\]{}*_]+")
_WORD = re.compile(r"[^\W\d_]+(?:['’&-][^\W\d_]+)*|\d+|[^\w\s]")


def split(text: str) -> list[str]:
    """The words and signs of a text in lower case, without markup; a slash between two words is a sign."""
    return _WORD.findall(_MARKUP.sub(" ", text.lower()))


def lexicon(text: str) -> list[Token]:
    """Tags by lists of words and by their forms; what no list has is a noun."""
    out: list[Token] = []
    for word in split(text):
        kind = _kind(word)
        # "further back" is no back.
        out.append(Token(word, "adverb" if word == "back" and out and out[-1].kind == "adverb" else kind))
    return out


_CLOSED: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("determiner", words.DETERMINERS),
    ("preposition", words.PREPOSITIONS),
    ("conjunction", words.CONJUNCTIONS),
    ("copula", words.COPULAS),
)
_OPEN: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("adjective", words.ADJECTIVES | words.SPELLINGS.keys()),
    ("verb", words.VERBS),
    ("adverb", words.ADVERBS),
)


@cache
def _kind(word: str) -> Kind:
    if not word[0].isalpha():
        return "stop"
    for kind, known in (*_CLOSED, *_OPEN):
        if word in known:
            return kind
    if word.endswith("ly") and len(word) > 4 and word not in ("belly", "family", "butterfly"):
        return "adverb"
    return "adjective" if _formed(word) else "noun"


def _formed(word: str) -> bool:
    """Whether an unknown word is an adjective by its form: of two adjectives, or with an ending of one."""
    if word in words.NOT_ADJECTIVES:
        return False
    first, hyphen, last = word.rpartition("-")
    if hyphen and (last in words.ADJECTIVES or last.endswith(("ed", "ing"))):
        return True
    return (bool(first) or len(word) > 4) and word.endswith(words.SUFFIXES)


# --------------------------------------------------------------------------------------------------
# Other people's taggers.

_PENN: dict[str, Kind] = {
    "JJ": "adjective", "JJR": "adjective", "JJS": "adjective", "NN": "noun", "NNS": "noun", "NNP": "noun",
    "NNPS": "noun", "NNP-PERS": "noun", "NNP-LOC": "noun", "NNP-ORG": "noun", "DT": "determiner", "PRP$": "determiner",
    "PRP": "determiner", "WP$": "determiner", "WDT": "determiner", "WP": "determiner", "EX": "determiner",
    "CD": "determiner", "IN": "preposition", "TO": "preposition", "CC": "conjunction", "RB": "adverb", "RBR": "adverb",
    "RBS": "adverb", "WRB": "adverb", "VBN": "adjective",
}  # fmt: skip


def _named(word: str, tag: str) -> Token:
    """A word with its tag of the Penn Treebank; forms of "be" are copulas, participles say what a thing is like."""
    if not word[0].isalpha():
        return Token(word, "stop")
    if word in words.COPULAS:
        return Token(word, "copula")
    return Token(word, _PENN.get(tag, "verb" if tag.startswith("VB") else "stop"))


def _textblob() -> Tagger:
    try:
        from textblob.en import parse
    except ImportError as e:
        raise ExtraMissing("textblob", "text", "the tagger 'textblob'") from e

    def tag(text: str) -> list[Token]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves its word list open, once
            sentences = parse(" ".join(split(text)).replace("/", ",")).split()
        return [_named(row[0], row[1]) for rows in sentences for row in rows if row[0]]

    return tag


def _spacy(package: str = "spacy") -> Tagger:
    try:
        # Not in any extra: its models are no packages of the index.
        model: Any = import_module(package).load("en_core_web_sm", disable=["ner", "lemmatizer"])
    except (ImportError, OSError) as e:
        raise UsageError(
            f"the tagger 'spacy' needs the package and its English model ({e}): pip install spacy; "
            "python -m spacy download en_core_web_sm"
        ) from e
    return lambda text: [_named(token.text, token.tag_) for token in model(" ".join(split(text))) if token.text.strip()]


TAGGERS: dict[str, Callable[[], Tagger]] = {"lexicon": lambda: lexicon, "textblob": _textblob, "spacy": _spacy}


def tagger(name: str) -> Tagger:
    """The tagger of this name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    if name not in TAGGERS:
        raise unknown("tagger", name, TAGGERS)
    return TAGGERS[name]()


def english(text: str) -> bool:
    """Whether a caption may be English: a fifth of its words are known ones that are no nouns."""
    found = [word for word in split(text) if word[0].isalpha()]
    closed = sum(any(word in known for _, known in (*_CLOSED, *_OPEN)) for word in found)
    return bool(found) and closed >= len(found) / 5
