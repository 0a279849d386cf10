"""Words that mean the same, told from the captions alone: "beak" and "bill" get the same adjectives in the same
pictures, and no caption has both.

P pictures, W words. A word's *company* is how often each picture gives it each other word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from saywhy.attributes.phrases import Attribute

Reals = NDArray[np.float64]
Rows = list[tuple[int, int]]

# Chosen on 300 photos of birds, where it takes "bill" for "beak" and nothing else.
ALIKE = 0.4  # cosine of the company of two words, at least
APART = 0.1  # of the captions that would have both by chance: at most so many do
EXPECTED = 10.0  # captions that would have both by chance, at least: else it is not known
WORDS = 300  # words that are compared, at most: the most frequent ones


@dataclass(frozen=True, eq=False)
class Company:
    """Of words, the products of their company (W, W), and how many captions have each, and both (W, W), of how many."""

    words: tuple[str, ...]
    products: Reals
    both: Reals
    captions: int


def synonyms(pictures: Sequence[Sequence[Sequence[Attribute]]]) -> dict[str, str]:
    """The nouns that are another word for a more frequent one, with that one, by what captions of each picture say.

    The most alike are joined first, and then as one compared with the others.
    """
    of = company(pictures)
    names, said_in = list(of.words), np.diag(of.both).copy()
    products, both = of.products.copy(), of.both.copy()
    leads = dict(zip(names, names, strict=True))
    while (pair := _most_alike(products, both, of.captions)) is not None:
        stay, go = sorted(pair, key=lambda w: (-said_in[w], names[w]))
        leads |= {word: names[stay] for word, lead in leads.items() if lead == names[go]}
        for table in (products, both):
            table[stay] += table[go]
            table[:, stay] += table[:, go]
            table[go], table[:, go] = 0.0, 0.0
    return {word: lead for word, lead in leads.items() if word != lead}


def _most_alike(products: Reals, both: Reals, captions: int) -> tuple[int, int] | None:
    """The two words whose company is most alike, of those that may be one; None where none are."""
    length = np.sqrt(np.maximum(np.diag(products), 1e-12))
    cosine = products / np.outer(length, length)
    chance = np.outer(np.diag(both), np.diag(both)) / max(captions, 1)
    fit = (cosine >= ALIKE) & (chance >= EXPECTED) & (both <= APART * chance)
    np.fill_diagonal(fit, False)
    if not fit.any():
        return None
    first, second = np.unravel_index(int(np.argmax(np.where(fit, cosine, -1.0))), cosine.shape)
    return int(first), int(second)


def company(pictures: Sequence[Sequence[Sequence[Attribute]]]) -> Company:
    """The company of the most frequent nouns of captions, which are given by picture."""
    often = Counter(noun for captions in pictures for caption in captions for noun in {a.noun for a in caption})
    number = {noun: n for n, (noun, _) in enumerate(often.most_common(WORDS))}
    keys: dict[tuple[int, str], int] = {}
    with_adjective: Rows = []
    in_caption: Rows = []
    captions = 0
    for p, of_picture in enumerate(pictures):
        for caption in of_picture:
            known = [(number[a.noun], a.adjective) for a in caption if a.noun in number]
            in_caption += [(n, captions) for n in sorted({n for n, _ in known})]
            with_adjective += [(n, keys.setdefault((p, adjective), len(keys))) for n, adjective in known]
            captions += 1
    return Company(
        tuple(number), _gram(with_adjective, len(number), len(keys)), _gram(in_caption, len(number), captions), captions
    )


def _gram(rows: Rows, words: int, columns: int) -> Reals:
    """M Mᵀ (W, W) of the table M of counts of pairs (word, column)."""
    at = np.array(rows, dtype=int).reshape(-1, 2).T
    table = coo_matrix((np.ones(at.shape[1]), (at[0], at[1])), shape=(words, max(columns, 1))).tocsr()
    return np.asarray((table @ table.T).toarray(), dtype=float)
