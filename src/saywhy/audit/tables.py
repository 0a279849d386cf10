"""The tables of a store: what each column means, and rows as Parquet files of them.

TABLES is the schema; docs/store.md is written from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saywhy.errors import ExtraMissing

WHAT = "a store of what an audit saw"


def arrow() -> Any:
    """The module pyarrow."""
    try:
        import pyarrow
    except ImportError as e:
        raise ExtraMissing("pyarrow", "store", WHAT) from e
    return pyarrow


def parquet() -> Any:
    """The module pyarrow.parquet."""
    arrow()
    import pyarrow.parquet

    return pyarrow.parquet


def duck() -> Any:
    """The module duckdb."""
    try:
        import duckdb
    except ImportError as e:
        raise ExtraMissing("duckdb", "store", WHAT) from e
    return duckdb


@dataclass(frozen=True)
class Field:
    """A column: its type in Arrow's words, and what it holds."""

    type: str
    what: str


@dataclass(frozen=True)
class Sheet:
    """A table: what a row of it is, and its columns."""

    what: str
    columns: Mapping[str, Field]


NUMBER = Field("int64", "the picture's number in the list of all that are scanned, from 0")
DEPTH = Field("string", "`concepts` or `text`: how thoroughly the picture was explained")

TABLES: dict[str, Sheet] = {
    "listing": Sheet(
        "a picture that was listed, before anything was asked",
        {
            "n": NUMBER,
            "source": Field("string", "the file or address that holds it"),
            "member": Field("string", "its name in a tar, its row in a Parquet file; null for a file of its own"),
            "start": Field("int64", "its first byte in a tar, its row in a Parquet file"),
            "size": Field("int64", "its bytes in a tar"),
            "class_name": Field("string", "the label's name as the data have it"),
            "class_index": Field("int64", "the label's number as the data have it"),
            "split": Field("string", "the split as the data have it: train, test"),
        },
    ),
    "pictures": Sheet(
        "a picture and the classifier's answer",
        {
            "n": NUMBER,
            "path": Field("string", "what the picture is called"),
            "sha256": Field("string", "hash of its file"),
            "width": Field("int32", "pixels of the upright photo"),
            "height": Field("int32", "pixels of the upright photo"),
            "split": Field("string", "the split as the data have it"),
            "given": Field("string", "the label as the data have it, also where it is no class of the classifier"),
            "label": Field("int32", "index of the label's class; null without a usable label"),
            "label_name": Field("string", "its name"),
            "answer": Field("int32", "index of the class with the highest score"),
            "answer_name": Field("string", "its name"),
            "correct": Field("bool", "whether the answer is the label; null without a label"),
            "p_answer": Field("float32", "probability of the answer"),
            "p_label": Field("float32", "probability of the label"),
            "label_rank": Field("int32", "place of the label among the scores, 1 for the first"),
            "margin": Field("float32", "what the answer has minus what the label has, 0 where it is correct"),
            "lead": Field("float32", "what the first answer has minus what the second has"),
            "entropy": Field("float32", "of the probabilities made to sum to 1, in bits"),
            "top": Field("list<int32>", "indices of the first five classes"),
            "p_top": Field("list<float32>", "their probabilities"),
            "look": Field("binary", "the image at 12 x 12 pixels of 3 bytes, for near-duplicates"),
        },
    ),
    "failed": Sheet(
        "a picture that could not be used at a depth",
        {
            "n": NUMBER,
            "path": Field("string", "what the picture is called"),
            "depth": Field("string", "the depth; what cannot be read fails at each that is asked for"),
            "error": Field("string", "why"),
        },
    ),
    "embeddings": Sheet(
        "what the classifier's layer holds of a picture; none of a black box",
        {
            "n": NUMBER,
            "vector": Field(
                "list<halffloat>", "mean of each channel of the tapped layer over the image, scaled to length 1"
            ),
        },
    ),
    "maps": Sheet(
        "where the answer's score comes from, in numbers",
        {
            "n": NUMBER,
            "method": Field("string", "the saliency method"),
            "target": Field("int32", "index of the class that the map is of: the answer"),
            "status": Field("string", "ok, flat, all_negative or not_finite; if not ok the numbers are null"),
            "x": Field("float32", "centre of mass of the positive part, 0 left to 1 right"),
            "y": Field("float32", "0 top to 1 bottom"),
            "spread": Field("float32", "its root mean square distance from there, of the image's side"),
            "half_area": Field("float32", "the smallest share of the image that holds half of the mass"),
            "rim": Field("float32", "share of the mass in the outer eighth of the image, all around"),
            "grid": Field("list<int32>", "rows and columns of `values`"),
            "values": Field("list<float32>", "the raw map, signed, row by row"),
        },
    ),
    "attributes": Sheet(
        "how sure it is that a picture has each attribute; `names` of the depth in `store/settings.json` are theirs",
        {"n": NUMBER, "present": Field("list<halffloat>", "for each attribute, 0 to 1")},
    ),
    "explanations": Sheet(
        "a picture's explanation",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "text": Field("string", "all sentences, in order"),
            "passes": Field("int64", "images sent through the network for it, whole or the tail alone"),
            "record": Field("string", "the whole record as JSON (docs/explanation.schema.json)"),
        },
    ),
    "concepts": Sheet(
        "a region or concept of a picture that may count for its answer",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "id": Field("string", "its id within the picture"),
            "name": Field("string", "what it is called, if it has a name"),
            "concept": Field("string", "id of the concept in the explainer's bank"),
            "look": Field("string", "what it looks like"),
            "place": Field("string", "where it is, of nine places"),
            "box": Field("list<int32>", "x0, y0, x1, y1 in pixels of the upright photo"),
            "contribution": Field("float32", "what hiding it alone takes away from the answer"),
            "importance": Field("float32", "share of the probability that hiding it takes away, 0 to 1"),
            "unit": Field("string", "of the contribution: probability or log-odds"),
            "confirmed": Field("bool", "whether other runs confirmed that it counts"),
        },
    ),
    "edges": Sheet(
        "how two regions of a picture stand to each other, from the graph of the answer",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "source": Field("string", "id of one"),
            "target": Field("string", "id of the other"),
            "relation": Field("string", "how one lies to the other"),
            "contribution": Field("float32", "their interaction: positive where they need each other"),
            "confirmed": Field("bool", "whether other runs confirmed it"),
        },
    ),
    "statements": Sheet(
        "a sentence of a picture's explanation",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "kind": Field("string", "of which kind it is"),
            "text": Field("string", "the sentence"),
            "evidence": Field("list<string>", "ids of what it is about"),
            "change": Field("float32", "the effect that was measured for it, if it claims one"),
            "low": Field("float32", "lower end of the effect's interval"),
            "high": Field("float32", "upper end"),
            "verified": Field("bool", "whether the measured runs bear it out"),
        },
    ),
    "trials": Sheet(
        "what was said of a picture after something was changed",
        {
            "n": NUMBER,
            "act": Field("string", "what was done: a row of [the trials](reference.md#trials)"),
            "of": Field("string", "of surroundings: those of the answer's class, of the versus class, or of others"),
            "donor": Field("int64", "number of the picture that lent surroundings, or into which a patch was put"),
            "box": Field("list<float32>", "where, x0, y0, x1, y1 as shares of what the classifier sees"),
            "value": Field("float32", "a number that the act explains"),
            "answer": Field("int32", "the class that was said before anything was changed"),
            "versus": Field("int32", "the class that it is compared with: the label of an error, else the runner-up"),
            "p_answer": Field("float32", "probability of `answer` now"),
            "p_versus": Field("float32", "probability of `versus` now"),
            "said": Field("int32", "the class that is said now"),
            "p_said": Field("float32", "its probability"),
        },
    ),
    "units": Sheet(
        "what each unit of the tapped layer does to an answer; none of a black box",
        {
            "n": NUMBER,
            "answer": Field("int32", "the class that was said"),
            "versus": Field("int32", "the class that it is compared with: the label of an error, else the runner-up"),
            "lead": Field("float32", "the score of `answer` minus that of `versus`, with all units as they are"),
            "change": Field(
                "list<float32>",
                "by how much the score of `versus` gains on that of `answer` with a unit switched off (0)",
            ),
        },
    ),
    "findings": Sheet(
        "what goes wrong and why, over all pictures; written anew at the end of each call",
        {
            "rank": Field("int32", "1 for the one that explains most"),
            "id": Field("string", "what tells it from others, the same wherever it is found again"),
            "kind": Field("string", "a row of [the kinds](reference.md#kinds-of-findings)"),
            "name": Field("string", "what goes wrong, in plain words"),
            "class_index": Field("int32", "the class that is concerned; null for all"),
            "class_name": Field("string", "its name"),
            "versus": Field("int32", "the class that it is taken for, or that is taken for it"),
            "versus_name": Field("string", "its name"),
            "cause": Field("string", "what goes with it or makes it, in a word or two"),
            "concept": Field("string", "id of the cause in the explainer's bank of concepts, if it is one"),
            "unit": Field("int64", "number of the cause among the tapped layer's units, if it is one"),
            "box": Field("list<float32>", "where the cause lies, x0, y0, x1, y1 as shares of what the classifier sees"),
            "effect": Field("float32", "a difference of two shares, 0 to 1"),
            "low": Field("float32", "lower end of its interval of 95 %"),
            "high": Field("float32", "upper end"),
            "compared": Field("string", "which two shares"),
            "count": Field("int64", "pictures that the effect was measured on"),
            "p": Field("float64", "chance of such an effect, or a larger one, without a cause"),
            "q": Field("float64", "rate of false findings at which it is kept, all tests of the run counted"),
            "errors": Field("int64", "errors that it explains"),
            "pictures": Field("list<int64>", "numbers of the pictures that show it best"),
            "next": Field("string", "what to do about it"),
        },
    ),
}

Rows = Sequence[Mapping[str, Any]]


def schema(name: str) -> Any:
    """The Arrow schema of a table."""
    pa = arrow()
    return pa.schema([(column, _type(pa, row.type)) for column, row in TABLES[name].columns.items()])


def _type(pa: Any, text: str) -> Any:
    if text.startswith("list<"):
        return pa.list_(pa.type_for_alias(text[5:-1]))
    return pa.type_for_alias(text)


def encoded(name: str, rows: Rows) -> bytes:
    """Rows of a table as one Parquet file; equal rows make equal bytes with one version of pyarrow."""
    pa, out = arrow(), arrow().BufferOutputStream()
    parquet().write_table(pa.Table.from_pylist(list(rows), schema=schema(name)), out, compression="zstd")
    data: bytes = out.getvalue().to_pybytes()
    return data
