"""The pictures of a scan, wherever they lie: files, listings, WebDataset tars, Parquet files, and addresses (s3://).

An entry is one picture: where its bytes are, and what is said of it. Entries come one after the other in a fixed order;
nothing is opened but what holds several pictures or is an address.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from saywhy.audit.tables import parquet
from saywhy.collection import LISTING, class_folders, each_image, each_row
from saywhy.errors import ExtraMissing, InputError, UsageError
from saywhy.image import MAX_BYTES, SUFFIXES

TAR, PARQUET = ".tar", ".parquet"
IMAGES = ("image", "jpg", "png", "bytes")  # columns of a Parquet file that hold pictures, the first that is there
LABELS = ("class_name", "label", "cls")  # likewise for what people call it


@dataclass(frozen=True)
class Entry:
    """One picture: the file or address that holds it, and in a tar its name, first byte and number of bytes, in a
    Parquet file its row (`start`); its class as a name or number of the data's own, and its split."""

    source: str
    member: str | None = None
    start: int | None = None
    size: int | None = None
    class_name: str | None = None
    class_index: int | None = None
    split: str | None = None

    @property
    def path(self) -> str:
        """What the picture is called, in one text."""
        return self.source if self.member is None else f"{self.source}/{self.member}"


Given = Path | bytes


def entries(sources: Sequence[str | Path]) -> Iterator[Entry]:
    """The pictures that are meant, each once, in a fixed order.

    Raises:
        InputError: nothing there, or it cannot be read.
        UsageError: an address of a kind that fsspec does not know, or a package for it is missing.
    """
    seen: set[bytes] = set()
    for source in sources:
        for entry in _of(str(source)):
            mark = blake2b(_utf8(entry), digest_size=16).digest()
            if mark not in seen:
                seen.add(mark)
                yield entry


def _utf8(entry: Entry) -> bytes:
    """A picture's path; a store holds text in UTF-8 alone."""
    try:
        for text in (entry.class_name, entry.split):
            (text or "").encode()
        return entry.path.encode()
    except UnicodeEncodeError as e:
        raise InputError(f"{entry.path!a}: its name, class or split is not text in UTF-8; rename it") from e


def _of(source: str) -> Iterator[Entry]:
    if is_address(source):
        return _remote(source)
    held = sorted(glob(source, recursive=True)) if has_magic(source) and not Path(source).exists() else [source]  # noqa: PTH207
    if {Path(p).suffix for p in held} & {TAR, PARQUET}:
        return (entry for path in held for entry in _in_file(path))
    return (
        Entry(str(i.path), class_name=i.class_name, class_index=i.class_index, split=i.split)
        for i in each_image(source)
    )


def is_address(source: str) -> bool:
    """Whether fsspec is to open it."""
    return "://" in source


def _in_file(path: str, label: tuple[str | None, int | None] = (None, None)) -> Iterator[Entry]:
    """What one file or address holds; a single picture is of that label."""
    several = {TAR: _of_tar, PARQUET: _of_parquet}.get(PurePosixPath(path).suffix)
    return several(path) if several else iter([Entry(path, class_name=label[0], class_index=label[1])])


# --------------------------------------------------------------------------------------------------
# Addresses.


def _remote(source: str) -> Iterator[Entry]:
    files, root = _file_system(source)
    with _reaching(source):
        if has_magic(root):
            names, folder = sorted(files.glob(root)), None
        elif files.isdir(root):
            listed = f"{root.rstrip('/')}/{LISTING}"
            names, folder = ([listed], None) if files.exists(listed) else (sorted(files.find(root)), root)
        else:
            names, folder = [root], None
    kept = [n for n in names if PurePosixPath(n).suffix.lower() in {*SUFFIXES, TAR, PARQUET, ".jsonl"}]
    if not kept:
        raise InputError(f"{source}: no pictures there")
    nowhere = PurePosixPath(folder or "/nowhere")  # of names that were given one by one nobody knows a class
    for name, label in zip(kept, class_folders([PurePosixPath(n) for n in kept], nowhere), strict=True):
        address = str(files.unstrip_protocol(name))
        if name.endswith(".jsonl"):
            yield from _remote_listing(address)
        else:
            yield from _in_file(address, label)


def _remote_listing(address: str) -> Iterator[Entry]:
    with opened(address) as held:
        for row in each_row(held, address):
            yield _told(address.rpartition("/")[0] + "/" + row["file"], row)


def _told(source: str, row: Mapping[str, Any], **where: Any) -> Entry:
    """An entry of what a row of a listing, or of a tar's JSON, says of a picture."""
    name = next((row[key] for key in LABELS if isinstance(row.get(key), str)), None)
    number = next((row[key] for key in ("class_index", *LABELS) if isinstance(row.get(key), int)), None)
    split = row.get("split")
    return Entry(source, class_name=name, class_index=number, split=None if split is None else str(split), **where)


def _file_system(address: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as e:
        raise ExtraMissing("fsspec", "store", address) from e
    try:
        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as e:
        raise UsageError(f"{address}: fsspec does not open it: {e}") from e
    return files, str(path)


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """A file or an address, open for reading."""
    with ExitStack() as held:
        with _reaching(source):
            if is_address(source):
                files, path = _file_system(source)
                handle = files.open(path, "rb")
            else:
                handle = Path(source).open("rb")  # noqa: SIM115  the stack closes it
        yield held.enter_context(handle)


@contextmanager
def _reaching(source: str) -> Iterator[None]:
    try:
        yield
    except (InputError, UsageError, GeneratorExit):
        raise
    except Exception as e:  # whatever a file system of fsspec raises
        raise InputError(f"{source}: cannot be read ({type(e).__name__}: {e})") from e


# --------------------------------------------------------------------------------------------------
# Files that hold several pictures.


def _of_tar(path: str) -> Iterator[Entry]:
    """WebDataset: files that follow each other and have one name up to the first dot are one sample."""
    with opened(path) as held, _reaching(path), tarfile.open(fileobj=held, mode="r:") as archive:
        sample: list[tarfile.TarInfo] = []
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all that it has seen
            if not member.isfile():
                continue
            if sample and _key(member.name) != _key(sample[0].name):
                yield from _of_sample(path, held, sample)
                sample = []
            sample.append(member)
        yield from _of_sample(path, held, sample)


def _key(name: str) -> str:
    at = PurePosixPath(name)
    return str(at.with_name(at.name.split(".")[0]))


def _of_sample(path: str, held: BinaryIO, sample: Sequence[tarfile.TarInfo]) -> Iterator[Entry]:
    pictures = [m for m in sample if PurePosixPath(m.name).suffix.lower() in SUFFIXES]
    if not pictures:
        return
    place, row = held.tell(), dict[str, Any]()
    for member in sample:
        ending = member.name.rpartition(".")[2]
        if ending in ("json", "cls"):
            held.seek(member.offset_data)
            name = f"{path}/{member.name}"
            row |= _said(name, ending, _limited(held.read(min(member.size, MAX_BYTES + 1)), name))
    held.seek(place)
    for one in pictures:
        yield _told(path, row, member=one.name, start=one.offset_data, size=one.size)


def _said(name: str, ending: str, data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        told = data.decode(errors="replace").strip()
    if ending == "cls":
        return {"cls": told}
    if not isinstance(told, dict):
        raise InputError(f"{name}: an object of JSON was expected")
    return told


def _of_parquet(path: str) -> Iterator[Entry]:
    """A row a picture: its bytes in a column `image` (or {bytes, path}), its class in `class_name` or `label`."""
    with opened(path) as held, _reaching(path):
        file = parquet().ParquetFile(held)
        names = set(file.schema_arrow.names)
        _image_column(path, names)
        known = _label_names(file.schema_arrow.metadata or {})
        wanted = [name for name in ("class_index", "split", *LABELS) if name in names]
        row = 0
        for group in range(file.num_row_groups):
            told = file.read_row_group(group, columns=wanted).to_pylist()
            told = told or [{}] * file.metadata.row_group(group).num_rows
            for one in told:
                number = one.get("label")
                named = {"class_name": known[number]} if isinstance(number, int) and 0 <= number < len(known) else {}
                yield _told(path, {**one, **named}, member=str(row), start=row)
                row += 1


def _image_column(path: str, names: set[str]) -> str:
    column = next((name for name in IMAGES if name in names), None)
    if column is None:
        raise InputError(f"{path}: no column of pictures; one of {', '.join(IMAGES)} was expected")
    return column


def _label_names(metadata: Mapping[bytes, bytes]) -> list[str]:
    """The class names that Hugging Face's datasets write into a Parquet file."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return [str(name) for name in names]


# --------------------------------------------------------------------------------------------------
# Reading them.


@contextmanager
def giving() -> Iterator[Callable[[Entry], Given]]:
    """What reads a picture's bytes; of what lies in a file of its own on this machine, the path.

    The file that was opened last stays open, and of a Parquet file its last group of rows.
    """
    with ExitStack() as held:
        last: dict[str, Callable[[Entry], bytes]] = {}

        def give(entry: Entry) -> Given:
            if entry.start is None and not is_address(entry.source):
                return Path(entry.source)
            if entry.source not in last:
                last.clear()
                held.close()
                last[entry.source] = _reader(held.enter_context(opened(entry.source)), entry)
            with _reaching(entry.path):
                return last[entry.source](entry)

        yield give


def _reader(held: BinaryIO, entry: Entry) -> Callable[[Entry], bytes]:
    if entry.start is None:
        return lambda one: _limited(held.read(MAX_BYTES + 1), one.path)
    return _row_reader(held, entry.source) if entry.size is None else lambda one: _piece(held, one)


def _piece(held: BinaryIO, entry: Entry) -> bytes:
    assert entry.start is not None and entry.size is not None
    held.seek(entry.start)
    return _limited(held.read(min(entry.size, MAX_BYTES + 1)), entry.path)


def _row_reader(held: BinaryIO, path: str) -> Callable[[Entry], bytes]:
    file = parquet().ParquetFile(held)
    column = _image_column(path, set(file.schema_arrow.names))
    ends, total = [], 0
    for group in range(file.num_row_groups):
        total += file.metadata.row_group(group).num_rows
        ends.append(total)
    kept: dict[int, Any] = {}

    def read(entry: Entry) -> bytes:
        row = entry.start or 0
        group = next(i for i, end in enumerate(ends) if row < end)
        if group not in kept:
            kept.clear()
            kept[group] = file.read_row_group(group, columns=[column]).column(0)
        first = ends[group - 1] if group else 0
        value = kept[group][row - first].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise InputError(f"{entry.path}: its row holds no bytes of a picture")
        return _limited(data, entry.path)

    return read


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: larger than {MAX_BYTES >> 20} MiB; make it smaller")
    return data
