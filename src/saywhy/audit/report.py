"""What the study of errors writes down: one frozen record with its JSON and its JSON Schema.

Boxes are shares [x0, y0, x1, y1] of what the classifier sees; masks are run-length codes over that.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from saywhy.explanation import ClassScore, Mask, ModelRecord, Record

SCHEMA = 1

Says = Literal["predicted", "true", "other"]


class PairAnswer(Record):
    """The probabilities of the predicted and the true class after an experiment, and which class then came first."""

    predicted: float
    true: float
    says: Says


class Closer(PairAnswer):
    """An answer to a part of the picture seen from closer."""

    box: tuple[float, float, float, float]


class Placed(PairAnswer):
    """An answer to the object before the surroundings of another picture, the `donor`, which look `colour`."""

    donor: str
    colour: str


class Experiments(Record):
    """What was tried on one error.

    `hidden`: by act, see `experiments.ACTS`. `closer`: windows of the picture, scaled up. `surroundings`: the object
    before those of recognised pictures of the true class, of the predicted class, and of other classes.
    """

    hidden: dict[str, PairAnswer]
    closer: tuple[Closer, ...]
    surroundings: dict[Literal["true", "predicted", "other"], tuple[Placed, ...]]


class MapsRecord(Record):
    """Raw, signed maps of both classes on the layer's grid; not finite values are written as 0, `status` says so."""

    method: str
    status: tuple[str, str]
    grid: tuple[int, int]
    predicted: tuple[tuple[float, ...], ...]
    true: tuple[tuple[float, ...], ...]


class Nearness(Record):
    """How near two classes are for a classifier: over the other pictures, the correlation of their log-probabilities,
    and the true class's `rank` among the `of` classes that rise and fall with the predicted one (1 is nearest)."""

    correlation: float
    rank: int
    of: int


class Failure(Record):
    """One error: what was said for what, the two maps, the experiments, the family (a row of FAMILIES) and why.

    `margin` is the probability of what was said minus that of the label: the larger, the sooner the label is wrong.
    """

    path: str
    sha256: str
    truth: ClassScore
    predicted: ClassScore
    margin: float
    truth_rank: int
    maps: MapsRecord
    similarity: float | None
    overlap: float
    nearness: Nearness | None
    object_mask: Mask
    experiments: Experiments
    family: str
    sentence: str


class Range(Record):
    """A mean over `count` pictures and its interval, wide enough for all classes that were looked at."""

    mean: float
    low: float
    high: float
    count: int


class ColourCount(Record):
    """How often the class was recognised before surroundings of that colour."""

    colour: str
    asked: int
    recognised: int


class ClassRecord(Record):
    """One class: its pictures, its errors by family, and whether it is recognised by its surroundings.

    `recognised_effect`: for recognised pictures, the share of recognition lost when the surroundings of the class's own
    other pictures are replaced by those of other classes. `missed_effect`: for missed pictures, the share won before
    the surroundings of the class's recognised pictures, against those of the class that was said. `alone` is the
    mean probability of the class in the recognised pictures, `whole` and with all but the object blurred. `flagged`:
    one of the effects is beyond its interval.
    """

    class_index: int
    class_name: str
    pictures: int
    recognised: int
    families: dict[str, int]
    recognised_effect: Range | None
    missed_effect: Range | None
    whole: float | None
    alone: float | None
    colours: tuple[ColourCount, ...]
    flagged: bool
    hypothesis: str | None


class PairCount(Record):
    """How often one class was said for another, and the families of these errors."""

    truth: str
    predicted: str
    count: int
    families: dict[str, int]


class Unused(Record):
    """A picture that could not be used, and why."""

    path: str
    error: str


class AuditCost(Record):
    """Images sent through the network by this run, and its seconds; None where the record is to be reproducible."""

    forward_passes: int
    tail_passes: int
    seconds: float | None


class Report(Record):
    """The errors of a classifier on labelled pictures."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    model: ModelRecord
    method: str
    seed: int
    pictures: int
    correct: int
    families: dict[str, int]
    pairs: tuple[PairCount, ...]
    classes: tuple[ClassRecord, ...]
    classes_not_examined: int
    failures: tuple[Failure, ...]
    unreadable: tuple[Unused, ...]
    skipped: tuple[Unused, ...]
    cost: AuditCost
    provenance: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.pictures

    @property
    def flagged(self) -> tuple[ClassRecord, ...]:
        """Classes that are recognised by their surroundings."""
        return tuple(c for c in self.classes if c.flagged)

    def untimed(self) -> Report:
        """The same without the seconds, by which alone two equal runs differ."""
        return self.model_copy(update={"cost": self.cost.model_copy(update={"seconds": None})})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        record: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return record


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the record that `Report.to_dict` gives."""
    return Report.model_json_schema(by_alias=True, mode="serialization")
