"""The data model: one frozen Explanation of one image, its JSON and its JSON Schema.

Boxes are [x0, y0, x1, y1] in pixels of the EXIF-rotated photo, masks are run-length codes over that photo,
contributions are in the unit that `game` names (probability unless asked otherwise).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

import saywhy
from saywhy import files
from saywhy.errors import InputError, unknown
from saywhy.image import Bools, decode_mask, encode_mask

SCHEMA: Final = 3
# Of labels that exclude nothing: the probability from which one is present, and how near to it none is clearly either.
PRESENT, NEAR = 0.5, 0.05

Place = Literal[
    "top left",
    "top",
    "top right",
    "centre left",
    "centre",
    "centre right",
    "bottom left",
    "bottom",
    "bottom right",
]
Size = Literal["small", "large"]
Shade = Literal["light", "dark"]
Route = Literal["given", "shown", "lexical"]
GUESSED: tuple[Route, ...] = ("lexical",)  # routes whose names are guesses, and stand in no sentence
Unit = Literal["probability", "log-odds"]
SaliencyStatus = Literal["ok", "flat", "all_negative", "not_finite"]


class Record(BaseModel):
    """A frozen row; unknown keys are refused, so that a typing error never passes for data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageRecord(Record):
    """The photo: where it came from, its size, and the box that the model saw (beyond the photo where bars are added).

    `notes` says what had to be decided to read it: depth, orientation, how much of it the model sees.
    """

    path: str | None
    sha256: str
    width: int
    height: int
    seen: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()


class ModelRecord(Record):
    """The classifier: its name, the hash of weights and preprocessing, the tapped layer and why that one.

    `notes` says what was guessed about it: what its scores mean, where class names come from, what it takes.
    """

    name: str
    fingerprint: str
    layer: str | None
    layer_reason: str
    notes: tuple[str, ...] = ()


class ClassScore(Record):
    """A class and its probability."""

    class_index: int
    class_name: str
    probability: float


class Prediction(ClassScore):
    """The predicted class and the best few, best first.

    Where classes are not `exclusive`, each is a label of its own: present from a probability of 0.5 on, else absent.
    """

    top: tuple[ClassScore, ...]
    exclusive: bool = True


class SaliencyRecord(Record):
    """A raw, signed map on the layer's grid; values that are not finite are written as 0, and `status` says so."""

    method: str
    status: SaliencyStatus
    grid: tuple[int, int]
    minimum: float
    maximum: float
    values: tuple[tuple[float, ...], ...]


class Effect(Record):
    """What an intervention did to the asked score.

    `change` is after minus before (hiding what supports a class gives a negative change), the mean over `runs`
    confirming runs in `unit`; `low` and `high` bound what it would be with a fill that was not used, `level` of the
    time. `disagree` are the fills whose change had the other sign; `passes` is what the runs cost, `fill` names what
    was put in place.
    """

    change: float
    low: float
    high: float
    runs: int
    passes: int
    fill: str
    unit: Unit = "probability"
    level: float = 0.9
    disagree: tuple[str, ...] = ()


class Mask(Record):
    """COCO's uncompressed run-length code: size [H, W], counts down the columns, zeros first."""

    size: tuple[int, int]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, mask: Bools) -> Mask:
        """The code of a boolean array (H, W)."""
        size, counts = encode_mask(mask)
        return cls(size=size, counts=tuple(counts))

    def array(self) -> Bools:
        """The boolean array (H, W)."""
        return decode_mask(self.size, self.counts)


class ColourShare(Record):
    """A basic colour term and the share of a region's pixels that it names, in whole per cents."""

    term: str
    share: float


class Beside(Record):
    """How a region lies to another one: "above", of region "1"."""

    relation: str
    region: str


class RegionName(NamedTuple):
    """What a region is called, how sure that is, and by which route."""

    text: str
    confidence: float
    route: Route


class ConceptRecord(Record):
    """A concept or region found in the image: what it looks like, where it is, what it counted.

    Its `name`, if it has one, was `given` to a concept by a person, and `name_confidence` is the share of the region
    that is of that concept; or it was learned from regions that were `shown`, or is an ordinary word for a kind of the
    classifier's classes (`lexical`), and that is how certain it is.
    `concept` is the id of that concept in the explainer's bank that half of it or more is of.
    `look` is what the sentences say before "patch", made of `size`, of `shade` (where it differs from its surroundings
    in nothing but lightness) and of `colours`, the largest share first; `beside` tells it from another one of the same
    look and place. `appearance` is `colours` and `size` as words.
    `contribution` is what hiding it alone takes away from the target, `contrast` from target minus versus, in the
    effect's unit; `share` is its Shapley value in the game, None where it did not play. `importance` is the share of
    the probability that hiding it takes away, clipped to [0, 1]; `effect` is that of hiding it. Only where it is
    `confirmed` is it known to count, for or against.
    """

    id: str
    name: str | None
    name_confidence: float | None
    hypothesis: int
    present: bool
    look: str
    colours: tuple[ColourShare, ...]
    size: Size | None
    beside: Beside | None
    mask: Mask
    box: tuple[int, int, int, int]
    place: Place
    score: float
    contribution: float
    contrast: float | None
    importance: float
    effect: Effect
    share: float | None = None
    confirmed: bool = True
    shade: Shade | None = None
    name_route: Route | None = None
    concept: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_follows(cls, values: Any) -> Any:
        # The JSON has it, and it follows from two other fields.
        return {k: v for k, v in values.items() if k != "appearance"} if isinstance(values, dict) else values

    @computed_field  # type: ignore[prop-decorator]
    @property
    def appearance(self) -> tuple[str, ...]:
        """The colours with their shares, then the size: ("orange 48 %", "brown 31 %", "large")."""
        colours = (f"{c.term} {round(100 * c.share)} %" for c in self.colours)
        return (*colours, *([self.size] if self.size else []))


class GameRecord(Record):
    """The coalition game: the score with all regions, with none, and the fills that stood in for what was hidden."""

    unit: Unit
    full: float
    empty: float
    fills: tuple[str, ...]


class EdgeRecord(Record):
    """How two concepts stand to each other, and their pairwise interaction (positive: they need each other).

    The interaction is known only where other runs `confirmed` it.
    """

    id: str
    source: str
    target: str
    relation: str
    distance: float
    contribution: float
    contrast: float | None
    confirmed: bool = True


class GraphRecord(Record):
    """The structural concept graph of one candidate class."""

    class_index: int
    nodes: tuple[str, ...]
    edges: tuple[EdgeRecord, ...]
    fidelity: dict[str, float]


class AttributeRecord(Record):
    """An attribute that the classifier's units speak for; empty until a posterior is fitted."""

    id: str
    name: str
    level: Literal["image", "class"]
    class_index: int
    probability: float
    sign: int
    box: tuple[int, int, int, int] | None
    effect: Effect | None


class Span(Record):
    """The characters `start` to `end` of a sentence, which name a region by its id or a class of this index."""

    start: int
    end: int
    region: str | None = None
    class_index: int | None = None


class Statement(Record):
    """A sentence, the ids of its evidence and the effect that was measured for it.

    `spans` are the words that name regions and classes, in the order of the sentence; no two of them overlap.
    """

    text: str
    kind: str
    spans: tuple[Span, ...]
    evidence: tuple[str, ...]
    effect: Effect | None
    verified: bool

    @model_validator(mode="after")
    def _spans_lie_in_the_text(self) -> Statement:
        ends = [0, *(at for s in self.spans for at in (s.start, s.end)), len(self.text)]
        if ends != sorted(ends):
            raise ValueError(f"spans must lie in the text one after the other: {self.spans} of {self.text!r}")
        return self


class Cost(Record):
    """Images sent through the whole network, through its tail alone, and the seconds it took; None where the record is
    to be the same in every run."""

    forward_passes: int
    tail_passes: int
    seconds: float | None


class Provenance(Record):
    """What made this explanation.

    `asked` are the options of the command line that asked for it, each with its words, so that it can be asked again;
    None where Python did.
    """

    saywhy: str
    torch: str
    seed: int
    parts: tuple[str, ...]
    asked: dict[str, tuple[str, ...]] | None = None


class Run(Record):
    """One measured intervention, kept for the page: these regions hidden (or kept alone) gave these scores, in the
    picture or in its mirror."""

    id: str
    act: Literal["hide", "keep"]
    regions: tuple[str, ...]
    fill: str
    seed: int
    score: float
    contrast: float | None
    mirrored: bool = False


def _without_page_only_fields(schema: dict[str, Any]) -> None:
    for name in ("thumbnail", "runs", "pictures"):
        schema.get("properties", {}).pop(name, None)


class Explanation(Record):
    """Why a classifier decided as it did on one image: a frozen value, no tensors, no drawing.

    `to_dict` gives the JSON record. `thumbnail` (a JPEG of the whole photo), `runs` (the single confirming
    experiments) and `pictures` (JPEGs of a part, by its name) serve the renderers and stay outside the JSON.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_without_page_only_fields
    )

    schema_: Literal[3] = Field(default=SCHEMA, alias="schema")
    image: ImageRecord
    model: ModelRecord
    prediction: Prediction
    target: ClassScore
    versus: ClassScore | None
    saliency: SaliencyRecord | None
    concepts: tuple[ConceptRecord, ...] = ()
    game: GameRecord | None = None
    graph: GraphRecord | None = None
    graphs: tuple[GraphRecord, ...] = ()
    attributes: tuple[AttributeRecord, ...] = ()
    statements: tuple[Statement, ...]
    skipped_claims: int
    text: str
    cost: Cost
    provenance: Provenance
    parts: dict[str, Any] = Field(
        default_factory=dict, description="What a part says beyond these fields, as JSON under the part's name"
    )
    thumbnail: bytes = Field(default=b"", exclude=True, repr=False)
    runs: tuple[Run, ...] = Field(default=(), exclude=True, repr=False)
    pictures: dict[str, tuple[bytes, ...]] = Field(default_factory=dict, exclude=True, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON record as plain dicts, lists, numbers and strings."""
        record: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Explanation:
        """The explanation of a JSON record; the thumbnail, the single runs and the parts' pictures are not in it.

        Raises:
            InputError: the record is of another schema.
        """
        if record.get("schema") != SCHEMA:
            raise InputError(
                f"a record of schema {record.get('schema')}, and this saywhy ({saywhy.__version__}) reads schema "
                f"{SCHEMA}: explain the photo again, or read the record with the version that its provenance names"
            )
        return cls.model_validate(record)

    def asked_by(self, options: dict[str, tuple[str, ...]]) -> Explanation:
        """The same, with the options of the command line that asked for it."""
        return self.model_copy(update={"provenance": self.provenance.model_copy(update={"asked": options})})

    def untimed(self) -> Explanation:
        """The same without the seconds, by which alone two equal runs differ."""
        return self.model_copy(update={"cost": self.cost.model_copy(update={"seconds": None})})

    def save(self, path: str | Path) -> Path:
        """Writes it as the file's suffix says: a page, a picture, the record or text (`saywhy.RENDERERS`).

        Raises:
            UsageError: a suffix that no renderer has.
            InputError: the file cannot be written.
        """
        rows = {row.suffix: row for row in saywhy.RENDERERS.values()}
        suffix = Path(path).suffix.lower()
        if suffix not in rows:
            raise unknown("suffix of an explanation's file", suffix, rows)
        return files.write(path, rows[suffix].function(self))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        # pydantic's own has every run of every mask: a screen of 19 KB in a debugger or a notebook.
        photo = PurePath(self.image.path).name if self.image.path else "a photo"
        counts = f"{len(self.concepts)} regions, {len(self.statements)} sentences"
        said = f"{self.target.class_name} {self.target.probability:.0%}"
        return f"<Explanation of {photo!r} by {self.model.name}: {said}; {counts}>"

    def _repr_html_(self) -> str | None:
        # What is drawn stands in the package's table of renderers, which it loads when it is asked for.
        inline = saywhy.RENDERERS["html"].inline
        return None if inline is None else inline(self)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the record that `Explanation.to_dict` gives."""
    return Explanation.model_json_schema(by_alias=True, mode="serialization")


def json_text(explanation: Explanation) -> str:
    """The record of one explanation as a JSON document."""
    return json_document([explanation.to_dict()])


def json_document(records: list[dict[str, Any]]) -> str:
    """One JSON document: a record alone, or a list of several records and `{"image", "error"}` rows."""
    value = records[0] if len(records) == 1 else records
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def place_word(mask: Bools) -> Place:
    """The cell of the mask's centroid in a 3 x 3 grid over the photo."""
    ys, xs = np.nonzero(mask)
    h, w = mask.shape
    row = min(2, int(3 * (ys.mean() + 0.5) / h)) if len(ys) else 1
    column = min(2, int(3 * (xs.mean() + 0.5) / w)) if len(xs) else 1
    grid: tuple[tuple[Place, Place, Place], ...] = (
        ("top left", "top", "top right"),
        ("centre left", "centre", "centre right"),
        ("bottom left", "bottom", "bottom right"),
    )
    return grid[row][column]
