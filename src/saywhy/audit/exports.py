"""A store in the forms of other tools: a table a file as CSV, or one COCO file; rows of EXPORTS."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.audit.store import open_store
from saywhy.audit.tables import TABLES
from saywhy.errors import unknown

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with these a spreadsheet begins to calculate
ROWS = 10_000  # that are held at once


@dataclass(frozen=True)
class Export:
    """One form: what it is, and the function that writes a store into a file or folder."""

    what: str
    write: Callable[[Any, Path], None]


def export(run: str | Path, form: str, out: str | Path) -> Path:
    """Writes the store of a scan in another form (a row of EXPORTS) into a file, or a folder for several.

    Raises:
        UsageError: an unknown form.
        InputError: no scan there, or it cannot be written.
    """
    if form not in EXPORTS:
        raise unknown("form", form, EXPORTS)
    with open_store(run) as store:
        EXPORTS[form].write(store, Path(out))
    return Path(out)


def safe_text(value: str) -> str:
    """Text for a spreadsheet: an apostrophe before what it would run."""
    return f"'{value}" if value.startswith(FORMULA) else value


def _rows(store: Any, words: str) -> Iterator[tuple[Any, ...]]:
    found = store.cursor().execute(words)
    while rows := found.fetchmany(ROWS):
        yield from rows


def _csv(store: Any, folder: Path) -> None:
    for name, table in TABLES.items():
        columns = [c for c, row in table.columns.items() if row.type != "binary"]
        kept = ", ".join(f'"{c}"' for c in columns)
        with files.lines(folder / f"{name}.csv") as out:
            write = csv.writer(out, lineterminator="\n")
            write.writerow(columns)
            for row in _rows(store, f"SELECT {kept} FROM {name} ORDER BY {columns[0]}"):
                write.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return safe_text(value)
    return json.dumps(value) if isinstance(value, list) else value


def _coco(store: Any, file: Path) -> None:
    """Images, classes as categories, and annotations: the answer to each whole picture, and its regions."""
    with files.lines(file) as out:
        kinds = [{"id": i, "name": name} for i, name in _rows(store, "SELECT index, name FROM classes ORDER BY index")]
        out.write(f'{{"categories": {json.dumps(kinds)},\n"images": ')
        _list(out, _coco_images(store))
        out.write(',\n"annotations": ')
        _list(out, ({"id": i, **row} for i, row in enumerate(_coco_annotations(store), start=1)))
        out.write("}\n")


def _list(out: Any, rows: Iterator[dict[str, Any]]) -> None:
    out.write("[")
    for i, row in enumerate(rows):
        out.write(("," if i else "") + "\n" + json.dumps(row, ensure_ascii=False, allow_nan=False))
    out.write("]")


def _coco_images(store: Any) -> Iterator[dict[str, Any]]:
    names = ("id", "file_name", "width", "height", "split", "label", "correct", "margin", "lead")
    words = "SELECT n, path, width, height, split, label_name, correct, margin, lead FROM pictures ORDER BY n"
    return (dict(zip(names, row, strict=True)) for row in _rows(store, words))


def _coco_annotations(store: Any) -> Iterator[dict[str, Any]]:
    for n, w, h, answer, p in _rows(store, "SELECT n, width, height, answer, p_answer FROM pictures ORDER BY n"):
        yield _annotation(n, answer, [0, 0, w, h], p, {"kind": "answer"})
    words = """
        SELECT c.n, p.answer, c.box, c.importance, c.depth, c.id, coalesce(c.name, c.look), c.contribution, c.confirmed
        FROM concepts c JOIN pictures p ON p.n = c.n ORDER BY c.n, c.depth, c.id
    """
    for n, answer, (x0, y0, x1, y1), score, *rest in _rows(store, words):
        more = dict(zip(("depth", "region", "name", "contribution", "confirmed"), rest, strict=True))
        yield _annotation(n, answer, [x0, y0, x1 - x0, y1 - y0], score, {"kind": "region", **more})


def _annotation(n: int, answer: int, box: list[int], score: float, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": n, "category_id": answer, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score,
        "attributes": more,
    }  # fmt: skip


EXPORTS: dict[str, Export] = {
    "csv": Export("a folder with a CSV file a table; lists as JSON, without `look`", _csv),
    "coco": Export("one COCO JSON file: the answer to each whole picture and its regions as annotations", _coco),
}
