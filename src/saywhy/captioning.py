"""What people say of pictures, from a file beside them: captions, or a table of attributes.

JSON lines     {"file": "a.jpg", "captions": ["..."], "attributes": ["orange beak"]}, the keys of images.jsonl
CSV            a column "file" (or image, filename, path) with "caption" (one or more columns whose names begin so),
               "attributes" (parted by ;), or a column of 0 and 1 for each attribute; several rows of a file add up
COCO           the JSON of COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saywhy.collection import Item
from saywhy.errors import InputError

FILE_COLUMNS = ("file", "image", "filename", "file_name", "path")
YES, NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no", "", "-1"})
LARGEST = 1 << 30  # bytes of a file


@dataclass
class Texts:
    """What a file says of one picture."""

    captions: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Captioned:
    """Pictures with what is said of them in their `truth`, and the names in the file that none of them has."""

    items: list[Item]
    strangers: tuple[str, ...]


def captioned(items: Sequence[Item], file: str | Path) -> Captioned:
    """The pictures with the captions and attributes of a file, beside those that they have already.

    A name is that of a picture if it is its path from the file's folder, the end of its path, or its name alone, where
    no other picture has it.

    Raises:
        InputError: the file cannot be read, is none of the three kinds, or speaks of none of the pictures.
    """
    path = Path(file)
    texts = read(path)
    whose, strangers = _owners(items, texts.keys(), path.parent)
    if not whose:
        raise InputError(
            f"{path}: none of its {len(texts)} pictures is among the {len(items)} given; its first is "
            f"{next(iter(texts), '-')!r}, and the first given {str(items[0].path) if items else '-'!r}"
        )
    return Captioned([_with(item, [texts[n] for n in whose.get(i, ())]) for i, item in enumerate(items)], strangers)


def _with(item: Item, texts: Sequence[Texts]) -> Item:
    if not texts:
        return item
    truth = dict(item.truth)
    for key in ("captions", "attributes"):
        truth[key] = [*strings(truth.get(key, ())), *(one for text in texts for one in getattr(text, key))]
    return replace(item, truth=truth)


def strings(value: Any) -> list[str]:
    """The texts in the place of a list of texts: of one text alone, and of none."""
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value if one is not None] if isinstance(value, (list, tuple)) else []


def _owners(items: Sequence[Item], names: Iterable[str], folder: Path) -> tuple[dict[int, list[str]], tuple[str, ...]]:
    """For each picture the names that are its own, and the names that are nobody's."""
    tails: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        parts = item.path.parts
        for n in range(1, len(parts) + 1):
            tails.setdefault("/".join(parts[-n:]), []).append(i)
    exact = {item.path.absolute(): i for i, item in enumerate(items)}
    whose: dict[int, list[str]] = {}
    strangers = []
    for name in names:
        plain = name.replace("\\", "/").removeprefix("./")
        here = exact.get((folder / plain).absolute())
        found = [here] if here is not None else tails.get(plain) or tails.get(Path(plain).name, [])
        if len(found) == 1:
            whose.setdefault(found[0], []).append(name)
        else:
            strangers.append(name)
    return whose, tuple(strangers)


def read(path: Path) -> dict[str, Texts]:
    """What a file says of each picture that it names.

    Raises:
        InputError: it cannot be read, or is none of the three kinds.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than {LARGEST >> 20} MB; give it in parts")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: captions cannot be read ({e})") from e
    found: dict[str, Texts] = {}
    for name, captions, attributes in _rows(path, text):
        one = found.setdefault(name, Texts())
        one.captions += captions
        one.attributes += attributes
    if not found:
        raise InputError(f"{path}: names no picture; see saywhy.captioning for the three kinds of files")
    return found


Row = tuple[str, list[str], list[str]]


def _rows(path: Path, text: str) -> Iterator[Row]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return _table(path, text)
    if path.suffix.lower() == ".json":
        return _coco(path, text)
    return _lines(path, text)


def _lines(path: Path, text: str) -> Iterator[Row]:
    for n, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = str(row["file"])
            captions = [*strings(row.get("captions", ())), *strings(row.get("caption", ()))]
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(
                f'{path}, line {n}: every line is a JSON object with "file", and "captions" or "attributes" ({e!r})'
            ) from e
        yield name, captions, strings(row.get("attributes", ()))


def _coco(path: Path, text: str) -> Iterator[Row]:
    try:
        whole = json.loads(text)
        names = {row["id"]: str(row["file_name"]) for row in whole["images"]}
        rows: list[Row] = [(names[row["image_id"]], [str(row["caption"])], []) for row in whole["annotations"]]
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f'{path}: a .json file of captions is COCO\'s: {{"images": [{{"id", "file_name"}}], "annotations": '
            f'[{{"image_id", "caption"}}]}} ({e!r}); lines of JSON objects are called .jsonl'
        ) from e
    yield from rows


def _table(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", restkey="")
    names = [name for name in reader.fieldnames or () if name]
    file = next((name for name in names if name.strip().lower() in FILE_COLUMNS), None)
    if file is None:
        raise InputError(
            f"{path}: no column of files ({', '.join(FILE_COLUMNS)}); columns: {', '.join(names) or 'none'}"
        )
    try:
        rows = list(reader)
    except csv.Error as e:
        raise InputError(f"{path}: not a table ({e})") from e
    told = [n for n in names if n.strip().lower().startswith("caption")]
    yes_or_no = [n for n in names if n not in (file, *told, "attributes") and _binary(rows, n)]
    for row in rows:
        captions = [row[n] for n in told if row[n]]
        named = [one.strip() for one in (row.get("attributes") or "").split(";")]
        having = [n.strip() for n in yes_or_no if (row[n] or "").strip().lower() in YES]
        yield str(row[file]), captions, [one for one in (*named, *having) if one]


def _binary(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = {(row[name] or "").strip().lower() for row in rows}
    return values <= YES | NO and bool(values & YES)
