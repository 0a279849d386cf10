"""What an improvement writes down: before, after, and by how much they differ, each with its interval."""

from __future__ import annotations

from typing import Any

from saywhy.explanation import ModelRecord, Record

SCHEMA = 1


class Blamed(Record):
    """A finding as far as an improvement needs it: the class that is said too easily, what it is confused with, and the
    cue that makes it be said; `pictures` are numbers of the run."""

    id: str
    kind: str = ""
    name: str = ""
    class_index: int
    versus: int | None = None
    cause: str
    pictures: tuple[int, ...] = ()


class Estimate(Record):
    """A mean or share with its interval of 95 %, over `count` pictures; the ends are null where there are too few."""

    mean: float
    low: float | None
    high: float | None
    count: int


class Compared(Record):
    """The same before and after, and the difference on the same pictures."""

    before: Estimate
    after: Estimate
    difference: Estimate


class Group(Record):
    """Pictures of a class with the culprit, or without it: the share of right answers."""

    class_index: int
    class_name: str
    present: bool
    accuracy: Compared


class Training(Record):
    """How training ended: why, after how many steps, the best epoch and loss, and a row an epoch."""

    stopped: str
    steps: int
    best_epoch: int
    best: float | None
    history: tuple[dict[str, float], ...]


class Again(Record):
    """A picture explained before and after: answer, its probability, and what the explanation says."""

    path: str
    label: str
    before: str
    p_before: float
    said_before: str
    after: str
    p_after: float
    said_after: str


class Improved(Record):
    """The record of an improvement.

    `accuracy` is over all judged pictures, as the data have them; `worst` is the least accurate group, before and
    after (they may be two groups); `contribution` is by how much the culprit raises the probability of the finding's
    class, in pictures of the classes concerned: taken away where it is, put in where it is not. It is null where nobody
    knows where the culprit is. `linked` is the same without experiments: the class's probability with it less that
    without it, within labels.
    """

    schema_: int = SCHEMA
    how: str
    what: str
    finding: Blamed
    culprit: str
    known_by: str
    model: ModelRecord
    fingerprint_after: str
    parts: dict[str, int]
    parted: str
    training: Training | None
    accuracy: Compared
    worst: Compared
    worst_before: str
    worst_after: str
    groups: tuple[Group, ...]
    contribution: Compared | None
    linked: Compared | None
    again: tuple[Again, ...]
    written: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the number of the schema is `schema`."""
        told = self.model_dump(mode="json")
        return {"schema": told.pop("schema_"), **told}
