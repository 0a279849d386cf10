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
class Column:
    """A column: its type in Arrow's words, and what it holds."""

    type: str
    what: str


@dataclass(frozen=True)
class Table:
    """A table: what a row of it is, and its columns."""

    what: str
    columns: Mapping[str, Column]


NUMBER = Column("int64", "the picture's number in the list of all that are scanned, from 0")
DEPTH = Column("string", "`concepts` or `text`: how thoroughly the picture was explained")

TABLES: dict[str, Table] = {
    "listing": Table(
        "a picture that was listed, before anything was asked",
        {
            "n": NUMBER,
            "source": Column("string", "the file or address that holds it"),
            "member": Column("string", "its name in a tar, its row in a Parquet file; null for a file of its own"),
            "start": Column("int64", "its first byte in a tar, its row in a Parquet file"),
            "size": Column("int64", "its bytes in a tar"),
            "class_name": Column("string", "the label's name as the data have it"),
            "class_index": Column("int64", "the label's number as the data have it"),
            "split": Column("string", "the split as the data have it: train, test"),
        },
    ),
    "pictures": Table(
        "a picture and the classifier's answer",
        {
            "n": NUMBER,
            "path": Column("string", "what the picture is called"),
            "sha256": Column("string", "hash of its file"),
            "width": Column("int32", "pixels of the upright photo"),
            "height": Column("int32", "pixels of the upright photo"),
            "split": Column("string", "the split as the data have it"),
            "given": Column("string", "the label as the data have it, also where it is no class of the classifier"),
            "label": Column("int32", "index of the label's class; null without a usable label"),
            "label_name": Column("string", "its name"),
            "answer": Column("int32", "index of the class with the highest score"),
            "answer_name": Column("string", "its name"),
            "correct": Column("bool", "whether the answer is the label; null without a label"),
            "p_answer": Column("float32", "probability of the answer"),
            "p_label": Column("float32", "probability of the label"),
            "label_rank": Column("int32", "place of the label among the scores, 1 for the first"),
            "margin": Column("float32", "what the answer has minus what the label has, 0 where it is correct"),
            "lead": Column("float32", "what the first answer has minus what the second has"),
            "entropy": Column("float32", "of the probabilities made to sum to 1, in bits"),
            "top": Column("list<int32>", "indices of the first five classes"),
            "p_top": Column("list<float32>", "their probabilities"),
            "look": Column("binary", "the image at 12 x 12 pixels of 3 bytes, for near-duplicates"),
        },
    ),
    "failed": Table(
        "a picture that could not be used at a depth",
        {
            "n": NUMBER,
            "path": Column("string", "what the picture is called"),
            "depth": Column("string", "the depth; what cannot be read fails at each that is asked for"),
            "error": Column("string", "why"),
        },
    ),
    "embeddings": Table(
        "what the classifier's layer holds of a picture; none of a black box",
        {
            "n": NUMBER,
            "vector": Column(
                "list<halffloat>", "mean of each channel of the tapped layer over the image, scaled to length 1"
            ),
        },
    ),
    "maps": Table(
        "where the answer's score comes from, in numbers",
        {
            "n": NUMBER,
            "method": Column("string", "the saliency method"),
            "target": Column("int32", "index of the class that the map is of: the answer"),
            "status": Column("string", "ok, flat, all_negative or not_finite; if not ok the numbers are null"),
            "x": Column("float32", "centre of mass of the positive part, 0 left to 1 right"),
            "y": Column("float32", "0 top to 1 bottom"),
            "spread": Column("float32", "its root mean square distance from there, of the image's side"),
            "half_area": Column("float32", "the smallest share of the image that holds half of the mass"),
            "rim": Column("float32", "share of the mass in the outer eighth of the image, all around"),
            "grid": Column("list<int32>", "rows and columns of `values`"),
            "values": Column("list<float32>", "the raw map, signed, row by row"),
        },
    ),
    "explanations": Table(
        "a picture's explanation",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "text": Column("string", "all sentences, in order"),
            "passes": Column("int64", "images sent through the network for it, whole or the tail alone"),
            "record": Column("string", "the whole record as JSON (docs/explanation.schema.json)"),
        },
    ),
    "concepts": Table(
        "a region or concept of a picture that may count for its answer",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "id": Column("string", "its id within the picture"),
            "name": Column("string", "what it is called, if it has a name"),
            "concept": Column("string", "id of the concept in the explainer's bank"),
            "look": Column("string", "what it looks like"),
            "place": Column("string", "where it is, of nine places"),
            "box": Column("list<int32>", "x0, y0, x1, y1 in pixels of the upright photo"),
            "contribution": Column("float32", "what hiding it alone takes away from the answer"),
            "importance": Column("float32", "share of the probability that hiding it takes away, 0 to 1"),
            "unit": Column("string", "of the contribution: probability or log-odds"),
            "confirmed": Column("bool", "whether other runs confirmed that it counts"),
        },
    ),
    "edges": Table(
        "how two regions of a picture stand to each other, from the graph of the answer",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "source": Column("string", "id of one"),
            "target": Column("string", "id of the other"),
            "relation": Column("string", "how one lies to the other"),
            "contribution": Column("float32", "their interaction: positive where they need each other"),
            "confirmed": Column("bool", "whether other runs confirmed it"),
        },
    ),
    "statements": Table(
        "a sentence of a picture's explanation",
        {
            "n": NUMBER,
            "depth": DEPTH,
            "kind": Column("string", "of which kind it is"),
            "text": Column("string", "the sentence"),
            "evidence": Column("list<string>", "ids of what it is about"),
            "change": Column("float32", "the effect that was measured for it, if it claims one"),
            "low": Column("float32", "lower end of the effect's interval"),
            "high": Column("float32", "upper end"),
            "verified": Column("bool", "whether the measured runs bear it out"),
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
