"""Pictures by their attributes."""

from __future__ import annotations

import numpy as np
import pytest

from saywhy.attributes.phrases import Attribute
from saywhy.attributes.searching import Term, fits, gallery, query, ranked
from saywhy.errors import UsageError

WORDS = [
    Attribute("beak", "orange"),
    Attribute("head", "white"),
    Attribute("eye", "small"),
    Attribute("Tail, <b>long</b>"),
]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("white head", (Term(1),)),
        ("white head and orange beaks", (Term(1), Term(0))),
        ("White Head, small eye and not orange beak", (Term(1), Term(2), Term(0, wanted=False))),
        ("not white head", (Term(1, wanted=False),)),
    ],
)
def test_queries_are_read(text: str, terms: tuple[Term, ...]) -> None:
    assert query(text, WORDS) == terms


@pytest.mark.parametrize(
    ("text", "said"), [("blue head", "blue head"), ("", "empty term"), ("white head and", "empty term"), ("not", "not")]
)
def test_what_no_attribute_is_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        query(text, WORDS)


def test_a_picture_fits_by_all_terms() -> None:
    """By the plain product, one picture and term at a time; what is not wanted counts against it."""
    likely = np.random.default_rng(0).random((20, 4))
    terms = query("white head and small eye and not orange beak", WORDS)
    expected = [row[1] * row[2] * (1 - row[0]) for row in likely.tolist()]
    assert fits(terms, likely).tolist() == pytest.approx(expected)
    best = ranked(fits(terms, likely), 3)
    assert best == sorted(range(20), key=lambda i: -expected[i])[:3]


def test_equal_ones_stay_in_order_and_all_are_given() -> None:
    assert ranked(np.array([0.5, 1.0, 0.5, 1.0])) == [1, 3, 0, 2]


def test_a_gallery_has_each_filters_strongest_pictures() -> None:
    pooled = np.array([[0.0, 3.0], [2.0, 1.0], [1.0, 2.0]])
    assert gallery(pooled, 2) == [[1, 2], [0, 2]]
