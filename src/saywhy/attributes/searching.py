"""Pictures by their attributes: queries of several with "and" and "not", and the pictures that a filter likes most.

N pictures, L attributes, K filters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.phrases import Attribute, named
from saywhy.errors import UsageError, unknown

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """An attribute (its number) that a picture is to have, or not to have."""

    attribute: int
    wanted: bool = True


def query(text: str, attributes: Sequence[Attribute]) -> tuple[Term, ...]:
    """The terms of "white head and black throat and not orange beak".

    Raises:
        UsageError: an attribute that is none of those given, or a term without one.
    """
    numbers = {str(a): n for n, a in enumerate(attributes)}
    terms = []
    for wanted, phrase in asked_for(text):
        own = str(named(phrase))
        if own not in numbers:
            raise unknown("attribute", own, sorted(numbers))
        terms.append(Term(numbers[own], wanted))
    return tuple(terms)


def asked_for(text: str) -> list[tuple[bool, str]]:
    """The phrases of a query, and whether each is wanted or not.

    Raises:
        UsageError: a term without a phrase.
    """
    found = []
    for part in re.split(r"\s*(?:\band\b|,)\s*", text.strip()):
        wanted, phrase = (False, part[4:]) if part.lower().startswith("not ") else (True, part)
        if not phrase.strip():
            raise UsageError(f'{text!r} has an empty term; a query reads "white head and not orange beak"')
        found.append((wanted, phrase.strip()))
    return found


def fits(terms: Sequence[Term], likely: Reals) -> Reals:
    """How well each picture (N,) fits a query: the product of what is wanted and of one less what is not.

    `likely` (N, L) are in [0, 1]. Source: Guo et al., Attribute-based Image Retrieval.
    """
    parts = [likely[:, t.attribute] if t.wanted else 1 - likely[:, t.attribute] for t in terms]
    return np.asarray(np.prod(parts, axis=0))


def ranked(scores: Reals, most: int | None = None) -> list[int]:
    """The pictures with the highest scores (N,), the first of equal ones first."""
    return [int(i) for i in np.argsort(-scores, kind="stable")[:most]]


def gallery(pooled: Reals, most: int = 9) -> list[list[int]]:
    """The pictures of pooled activations (N, K) on which each filter is strongest. Source: Guo et al., Figure 2."""
    return [ranked(column, most) for column in pooled.T]
