"""What a search found, as a record."""

from __future__ import annotations

from typing import Any

from saywhy.explanation import Record


class SearchTerm(Record):
    """A phrase of a query in one picture: how likely it is there, and where, if that was looked for: the box in pixels
    of the upright photo, and the place in a word."""

    phrase: str
    wanted: bool
    likely: float
    box: tuple[int, int, int, int] | None = None
    place: str | None = None


class SearchHit(Record):
    """A picture that was found: its number, its score, what it is labelled, and what the classifier says."""

    n: int
    path: str
    score: float
    label: str | None
    answer: str
    terms: tuple[SearchTerm, ...] = ()


class SearchRecord(Record):
    """A search: what was asked, what it was answered from, and the pictures, the best first.

    `score` is a probability where words alone were asked for, and a similarity where a picture was.
    """

    query: str | None
    like: str | None
    fusion: str | None
    answered_by: str
    pictures: int
    hits: tuple[SearchHit, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema": 1, **self.model_dump(mode="json")}
