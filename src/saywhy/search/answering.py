"""What queries are answered from: rows of ANSWERS, each made of what a scan stored.

N pictures, T phrases, L attributes, d dimensions of the joint space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.phrases import named
from saywhy.audit.inventory import STORE, read_run
from saywhy.audit.scan import SETTINGS
from saywhy.audit.store import open_store
from saywhy.errors import UsageError, unknown
from saywhy.search.columns import Columns, columns_of
from saywhy.spaces.wordbook import Words, load_words
from saywhy.zoo import imagenet_classes

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 50_000  # pictures whose vectors are held at once

Wanted = Sequence[tuple[bool, str]]  # phrases, each to be there or not to be


@dataclass(frozen=True, eq=False)
class Answering:
    """What can be asked of stored pictures with these numbers (N,).

    `likely(phrases)` is (N, T), how likely each is true of each picture; `edited(n, wanted)` (N,) how near each picture
    is to picture n, were it changed by these words. `phrase(text)` is how it is spelled here.
    """

    name: str
    numbers: Ints
    phrase: Callable[[str], str]
    likely: Callable[[Sequence[str]], Reals]
    edited: Callable[[int, Wanted], Reals]


def answering(run: Path) -> Answering:
    """The first row of ANSWERS that this run has something for.

    Raises:
        UsageError: there is none.
        InputError: no scan there.
    """
    for make in ANSWERS.values():
        found = make(run)
        if found is not None:
            return found
    raise UsageError(
        f"{run}: nothing is stored by which words could be found. Learn attributes from captions (saywhy fit IMAGES "
        "--captions FILE --parts attributes -o DIR) and store them (saywhy audit IMAGES -o RUN --depth attributes "
        "--explainer DIR); a classifier of ImageNet's classes needs neither. Pictures like one: --like PICTURE"
    )


# --------------------------------------------------------------------------------------------------
# Attributes that the scan stored.


def _attributes(run: Path) -> Answering | None:
    read_run(run)
    settings = run / STORE / SETTINGS
    known = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    own = known.get("attributes", {})
    names, same = own.get("names", []), own.get("same", {})
    columns = columns_of(run, "attributes", "present") if names else None
    if columns is None:
        return None
    return Answering(
        "attributes", columns.numbers, partial(_attribute, names, same), partial(_present, columns, names, same),
        partial(_edited, columns, names, same),
    )  # fmt: skip


def _attribute(names: Sequence[str], same: Mapping[str, str], text: str) -> str:
    given = named(text)
    own = str(replace(given, noun=same.get(given.noun, given.noun)))
    if own not in names:
        raise unknown("attribute", own, sorted(names))
    return own


def _present(columns: Columns, names: Sequence[str], same: Mapping[str, str], phrases: Sequence[str]) -> Reals:
    rows = [names.index(_attribute(names, same, p)) for p in phrases]
    return np.asarray(columns.values[rows].T, dtype=np.float64)


def _edited(columns: Columns, names: Sequence[str], same: Mapping[str, str], n: int, wanted: Wanted) -> Reals:
    """The cosine of standardised attributes with those of picture n, in which what is wanted was set to 1 or 0."""
    target = columns.of(n)
    if target is None:
        raise UsageError(f"no picture with the number {n} has stored attributes")
    for yes, phrase in wanted:
        target[names.index(_attribute(names, same, phrase))] = float(yes)
    values = columns.values
    blocks = [slice(i, i + CHUNK) for i in range(0, values.shape[1], CHUNK)]
    sums = sum(values[:, b].sum(axis=1, dtype=np.float64) for b in blocks)
    squares = sum(np.square(values[:, b], dtype=np.float64).sum(axis=1) for b in blocks)
    mean = sums / values.shape[1]
    spread = np.sqrt(np.maximum(squares / values.shape[1] - mean**2, 1e-6))
    asked = (target - mean) / spread
    found = []
    for b in blocks:
        rows = (values[:, b].astype(np.float32) - mean[:, None].astype(np.float32)) / spread[:, None].astype(np.float32)
        found.append(asked @ rows / np.maximum(np.linalg.norm(rows, axis=0) * np.linalg.norm(asked), 1e-12))
    return np.concatenate(found)


# --------------------------------------------------------------------------------------------------
# The names of ImageNet's classes, by the answers that the scan stored.


def _lexical(run: Path) -> Answering | None:
    names = imagenet_classes()
    if read_run(run).classes != tuple(names):
        return None
    words = load_words()
    place = np.array([words.classes.index(one) for one in names.ids])
    with open_store(run) as store:
        rows = store.execute("SELECT n, top, p_top FROM pictures ORDER BY n").fetchnumpy()
    top, p = place[np.stack(rows["top"])], np.stack(rows["p_top"]).astype(np.float64)
    return Answering(
        "lexical", rows["n"].astype(np.int64), partial(_word, words), partial(_true, words, top, p),
        partial(_moved, words, rows["n"].astype(np.int64), top, p),
    )  # fmt: skip


def _word(words: Words, text: str) -> str:
    own = " ".join(text.lower().split())
    words.texts([own])
    return own


def _true(words: Words, top: Ints, p: Reals, phrases: Sequence[str]) -> Reals:
    """The probability (N, T) of the classes that each phrase is true of, of the first ones that are stored."""
    out = []
    for phrase in phrases:
        of = np.zeros(len(words.classes), dtype=bool)
        of[list(words.true_of[words.numbers[_word(words, phrase)]])] = True
        out.append((p * of[top]).sum(axis=1))
    return np.asarray(np.clip(np.stack(out, axis=1), 0.0, 1.0))


def _moved(words: Words, numbers: Ints, top: Ints, p: Reals, n: int, wanted: Wanted) -> Reals:
    """The cosine (N,) of pictures with picture n plus the phrases that are wanted and less those that are not."""
    at = np.flatnonzero(numbers == n)
    if not len(at):
        raise UsageError(f"no picture with the number {n} is stored")
    names = words.vectors.double().numpy()
    asked = _mixed(names, top[at], p[at])[0]
    for yes, phrase in wanted:
        asked = asked + (1 if yes else -1) * words.texts([_word(words, phrase)])[0].double().numpy()
    found = []
    for i in range(0, len(top), CHUNK):
        rows = _mixed(names, top[i : i + CHUNK], p[i : i + CHUNK])
        found.append(rows @ asked / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(asked), 1e-12))
    return np.concatenate(found)


def _mixed(names: Reals, top: Ints, p: Reals) -> Reals:
    """Vectors (N, d) of pictures: those of their classes' names, mixed. Norouzi et al. 2014."""
    share = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.einsum("nk,nkd->nd", share, names[top]))


ANSWERS: dict[str, Callable[[Path], Answering | None]] = {"attributes": _attributes, "lexical": _lexical}
