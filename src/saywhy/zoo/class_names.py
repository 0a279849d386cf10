"""Class names of every common form of file, in the order of the model's scores, and the words that say how it was read.

Names stand by index, or indices by name; from 0 or from 1; alone or beside a WordNet id. A folder of class folders has
the order that torchvision's ImageFolder gives them, which is that of the alphabet.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saywhy.errors import UsageError

SHOWN = 3
WNID = re.compile(r"n\d{8}")
# Keys under which larger files keep them: Hugging Face, Keras, YOLO, COCO, fastai, ...
INSIDE = (
    "id2label", "label2id", "class_to_idx", "idx_to_class", "classes", "class_names", "names", "labels", "categories",
    "label_map", "label_names",
)  # fmt: skip
NAME_KEYS, INDEX_KEYS = (
    ("name", "label", "class", "class_name", "display_name", "title"),
    ("id", "index", "class_index"),
)
FORMS = (
    "a .txt or .csv (a name a line, with or without its index), a .json (a list, index -> name, name -> index, or "
    "index -> [WordNet id, name]), or a folder of class folders"
)


Entry = str | Sequence[Any]  # a name, or a pair of it and its WordNet id


class Names(tuple[str, ...]):
    """Class names by index; `how` says in words where they come from and how they were read, `ids` are their WordNet
    ids, where the file has them ("" for a class that has none)."""

    how: str = ""
    ids: tuple[str, ...] = ()


def twice(names: Sequence[str]) -> str:
    """Names that several classes share, in words; empty if none do."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(name, []).append(index)
    shared = [f"{n!r} ({', '.join(map(str, i))})" for n, i in places.items() if len(i) > 1]
    more = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
    return f"several classes have one name: {', '.join(shared[:SHOWN])}{more}; ask for them by index" if shared else ""


def read_classes(path: Path) -> Names:
    """The class names of a file or of a folder of class folders.

    Raises:
        UsageError: missing, empty, of no known form, or with indices that leave gaps or come twice.
    """
    if path.is_dir():
        names, form = _folders(path), "its folders in the order of ImageFolder, which is the alphabet's"
    else:
        names, form = _of_file(path)
    return _named(names, path, form)


def names_of(value: Mapping[Any, Any], where: str = "the given dict") -> Names:
    """The class names of a dict, in any form that a JSON file has; `where` is what to call the dict.

    Raises:
        UsageError: as `read_classes`.
    """
    given = Path(where)
    names, form = _of_value(given, value)
    return _named(names, given, form)


def _named(entries: Sequence[Entry], path: Path, form: str) -> Names:
    ids, names = zip(*map(_apart, entries), strict=True) if entries else ((), ())
    if not names or not all(names):
        raise UsageError(f"{path}: needs one class name a line, and no empty line between them")
    first = ", ".join(f"{i} {n}" for i, n in enumerate(names[:SHOWN]))
    found = Names(names)
    found.how = f"{len(names)} class names from {path.name} ({form}): {first}" + (
        ", and so on" if len(names) > SHOWN else ""
    )
    found.ids = ids if any(ids) else ()
    return found


def _apart(entry: Entry) -> tuple[str, str]:
    """The WordNet id, if there is one, and the name beside it, which may come before it."""
    if isinstance(entry, str):
        return "", entry.strip()
    first, second = (str(part).strip() for part in entry)
    return (second, first) if WNID.fullmatch(second) else (first if WNID.fullmatch(first) else "", second)


def _folders(path: Path) -> list[Entry]:
    names: list[Entry] = [*sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))]
    if not names:
        raise UsageError(f"{path}: a folder without class folders; classes come from {FORMS}")
    return names


def _of_file(path: Path) -> tuple[list[Entry], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; classes come from {FORMS}") from None
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: cannot be read as class names ({e})") from e
    if path.suffix.lower() == ".json":
        try:
            return _of_value(path, json.loads(text))
        except json.JSONDecodeError as e:
            raise UsageError(f"{path}: cannot be read as class names ({e})") from e
    if text.lstrip().startswith(("{", "[")):  # a Python dict or list in a text file, as of the well-known gist
        try:
            return _of_value(path, ast.literal_eval(text.strip()))
        except (ValueError, SyntaxError) as e:
            raise UsageError(f"{path}: looks like a list or dict and cannot be read as one ({e})") from e
    return _of_lines(path, text.strip("\n").splitlines())


# --------------------------------------------------------------------------------------------------
# Values: JSON, and Python's literals.


def _of_value(path: Path, value: Any) -> tuple[list[Entry], str]:
    if isinstance(value, Mapping):
        key = next((k for k in INSIDE if isinstance(value.get(k), (Mapping, list)) and value[k]), None)
        if key is not None:
            names, form = _of_value(path, value[key])
            return names, f"{key}, {form}"
        return _of_mapping(path, value)
    if isinstance(value, list) and value:
        if all(isinstance(v, str) for v in value):
            return value, "a list"
        if all(isinstance(v, Mapping) and _key(v, NAME_KEYS) for v in value):
            names = [_with_id(v) for v in value]
            if all(_key(v, INDEX_KEYS) for v in value):
                return _ordered(path, [(v[_key(v, INDEX_KEYS)], n) for v, n in zip(value, names, strict=True)], "rows")
            return names, "a list of rows"
        if all(isinstance(v, list) and len(v) == 2 for v in value):
            if all(_whole(v[0]) for v in value):
                return _ordered(path, value, "rows of index and name")
            return value, "a list of rows"
    raise _unknown(path)


def _of_mapping(path: Path, value: Mapping[str, Any]) -> tuple[list[Entry], str]:
    """index -> name, index -> [wnid, name], index -> row, or name -> index (values that are whole numbers)."""
    if not value:
        raise _unknown(path)
    numbers = [v for v in value.values() if isinstance(v, int) and not isinstance(v, bool)]
    words = all(_whole(v) for v in value.values()) and not all(_whole(k) for k in value)
    if len(numbers) == len(value) or words:
        return _ordered(path, [(v, str(k)) for k, v in value.items()], "name -> index")
    if all(_whole(k) for k in value):
        if all(isinstance(v, list) and len(v) == 2 for v in value.values()):
            return _ordered(path, list(value.items()), "index -> [WordNet id, name]")
        if all(isinstance(v, Mapping) and _key(v, NAME_KEYS) for v in value.values()):
            return _ordered(path, [(k, _with_id(v)) for k, v in value.items()], "index -> row")
        if all(isinstance(v, (str, int, float)) for v in value.values()):
            return _ordered(path, [(k, v) for k, v in value.items()], "index -> name")
    raise _unknown(path)


def _with_id(row: Mapping[str, Any]) -> Entry:
    """The name of a row, with its WordNet id if one stands beside it."""
    name = str(row[_key(row, NAME_KEYS)])
    return next(((v, name) for v in row.values() if isinstance(v, str) and WNID.fullmatch(v)), name)


def _key(row: Mapping[str, Any], known: Sequence[str]) -> str:
    return next((k for k in known if k in row), "")


def _whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdigit())


def _ordered(path: Path, rows: Sequence[Sequence[Any]], form: str) -> tuple[list[Entry], str]:
    """Names by index; indices are 0 to n - 1, or 1 to n."""
    by_index: dict[int, Entry] = {
        int(i): entry if isinstance(entry, (list, tuple)) else str(entry) for i, entry in rows
    }
    start = min(by_index)
    if len(by_index) != len(rows) or start not in (0, 1) or max(by_index) != start + len(rows) - 1:
        raise UsageError(
            f"{path}: read as {form}, and its indices must be 0 to {len(rows) - 1} (or 1 to {len(rows)}), each once, "
            f"without gaps; they go from {start} to {max(by_index)}"
        )
    return [by_index[i] for i in sorted(by_index)], form + (", from 1" if start else "")


def _unknown(path: Path) -> UsageError:
    return UsageError(f"{path}: holds no class names in a form that is known: {FORMS}")


# --------------------------------------------------------------------------------------------------
# Lines.


def _of_lines(path: Path, lines: Sequence[str]) -> tuple[list[Entry], str]:
    """A name a line, with an index before or behind it, or a WordNet id before it."""
    lines = [line.strip() for line in lines]
    if not lines or not all(lines):
        raise UsageError(f"{path}: needs one class name a line, and no empty line between them")
    if path.suffix.lower() in (".csv", ".tsv") and (found := _of_table(path, lines)):
        return found
    for pattern, form in ((_INDEX_FIRST, "index and name"), (_INDEX_LAST, "name and index")):
        rows = [pattern.fullmatch(line) for line in lines]
        if len(lines) > 1 and all(rows):
            pairs = [(row["index"], row["name"]) for row in rows if row]
            if sorted(int(i) for i, _ in pairs) in (list(range(len(pairs))), list(range(1, len(pairs) + 1))):
                return _ordered(path, pairs, f"lines of {form}")
    ids = [re.fullmatch(rf"({WNID.pattern})[\s,:]+(.+)", line) for line in lines]
    if all(ids):
        return [row.groups() for row in ids if row], "lines of WordNet id and name"
    return list(lines), "a name a line"


_INDEX_FIRST = re.compile(r"(?P<index>\d+)\s*[\s,:;=]\s*(?P<name>\S.*)")
_INDEX_LAST = re.compile(r"(?P<name>.*\S)\s*[\s,:;=]\s*(?P<index>\d+)")


def _of_table(path: Path, lines: Sequence[str]) -> tuple[list[Entry], str] | None:
    """A table with a head that names its columns; None where there is none."""
    rows = list(csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    head = [cell.strip().lower() for cell in rows[0]]
    name = next((head.index(k) for k in NAME_KEYS if k in head), None)
    index = next((head.index(k) for k in (*INDEX_KEYS, "idx", "class_id", "label_id") if k in head), None)
    if name is None or not all(len(row) == len(head) for row in rows):
        return None
    named = [_with_id(dict(zip(head, row, strict=True))) for row in rows[1:]]
    if index is None or index == name or not all(_whole(row[index].strip()) for row in rows[1:]):
        return named, "a table"
    return _ordered(
        path, [(row[index].strip(), n) for row, n in zip(rows[1:], named, strict=True)], "a table of index and name"
    )
