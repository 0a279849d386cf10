"""What a scan is of: the list of its pictures, written down once, and the settings that all of its shards share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from saywhy import files
from saywhy.audit.labels import labels_of
from saywhy.audit.sources import Entry, entries
from saywhy.audit.tables import arrow, parquet, schema
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.explanation import ModelRecord, Record

STORE, RUN, LISTING, LOCK = "store", "run.json", "listing.parquet", ".lock"
FORMAT = 1
GROUP = 4096  # entries in a group of rows: what is held at once

Pair = tuple[str | None, int | None]


class Label(Record):
    """A label as the data have it, and the class that it is, or why it is none."""

    class_name: str | None
    class_index: int | None
    label: int | None
    reason: str | None


class RunRecord(Record):
    """What all shards of a scan share: the classifier, the list's length and hash, batch and seed."""

    format: int
    model: ModelRecord
    classes: tuple[str, ...]
    exclusive: bool
    pictures: int
    listing: str
    labels: tuple[Label, ...]
    batch: int
    seed: int


@contextmanager
def alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keeps other scans out of a folder; what a process held that was killed is free. Where the block fails before a
    scan was begun, the folder is left as it was.

    Raises:
        UsageError: another scan is at work there.
        InputError: the folder cannot be made.
    """
    store = folder / STORE
    made = [place for place in (store, folder) if not place.exists()]
    lock = FileLock(store / LOCK, timeout=0)
    try:
        store.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as e:
        raise UsageError(f"{folder}: another scan is at work there; wait for its end, or name a new folder") from e
    except NotImplementedError as e:
        tell(f"{folder}: its file system has no locks ({e}); start no second scan there")
    except OSError as e:
        raise InputError(f"{store}: cannot be written ({e.strerror or e})") from e
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # something else is in a folder
            if not (store / RUN).exists():
                (store / LOCK).unlink(missing_ok=True)
                for place in made:
                    place.rmdir()


def prepared(clf: Classifier, sources: Sequence[str | Path], folder: Path, seed: int) -> RunRecord:
    """Lists the pictures into a folder, or finds them listed there; the same call goes on with the same list.

    Raises:
        UsageError: the folder holds a scan of other pictures, another classifier or other settings.
        InputError: no pictures, or the folder cannot be written.
    """
    store = folder / STORE
    if not clf.lasting and (store / RUN).exists():
        raise UsageError(
            f"{folder}: holds a scan, and this classifier is a plain callable without a name, so nothing tells whether "
            'it is the same model; name it, as in load_classifier(scores, name="birds-2"), or name a new folder'
        )
    for place in (store, *store.glob("*/")):
        files.sweep(place)
    with files.drafted(store / LISTING) as draft:
        count, pairs = _write(entries(sources), draft)
        with draft.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        asked = RunRecord(
            format=FORMAT,
            model=ModelRecord(
                name=clf.name, fingerprint=clf.fingerprint, layer=clf.point.path if clf.white_box else None,
                layer_reason=clf.layer_reason, notes=clf.notes,
            ),
            classes=clf.class_names, exclusive=clf.exclusive, pictures=count, listing=digest,
            labels=_labels(clf, pairs), batch=clf.rows, seed=seed,
        )  # fmt: skip
        if (store / RUN).exists():
            _check(folder, read_run(folder), asked)
    if not (store / RUN).exists():
        files.write(store / RUN, asked.model_dump_json(indent=1) + "\n")
    return asked


def read_run(folder: Path) -> RunRecord:
    """The settings of the scan in a folder.

    Raises:
        InputError: there is none, or its file cannot be read.
    """
    file = folder / STORE / RUN
    if not file.is_file():
        raise InputError(
            f"{folder}: no scan there (no {STORE}/{RUN}); make one: saywhy audit IMAGES --depth prediction"
        )
    try:
        return RunRecord.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{file}: not what a scan wrote ({e}); name a new folder") from e


def listed(folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, Entry]]:
    """Entries of the list by their numbers, in ascending order; only the groups that hold them are read."""
    with parquet().ParquetFile(folder / STORE / LISTING) as file:
        wanted = iter(sorted(numbers))
        n = next(wanted, None)
        for group in range(file.num_row_groups):
            if n is None:
                return
            first = group * GROUP
            if n >= first + file.metadata.row_group(group).num_rows:
                continue
            rows = file.read_row_group(group)
            while n is not None and n < first + len(rows):
                (row,) = rows.slice(n - first, 1).to_pylist()
                yield row.pop("n"), Entry(**row)
                n = next(wanted, None)


def _write(found: Iterable[Entry], draft: Path) -> tuple[int, list[Pair]]:
    """Writes the entries down; their number, and every label once."""
    count, pairs = 0, dict[Pair, None]()
    table, rest = schema("listing"), iter(found)
    with parquet().ParquetWriter(draft, table, compression="zstd") as out:
        while chunk := list(islice(rest, GROUP)):
            pairs |= {(e.class_name, e.class_index): None for e in chunk}
            rows = [{"n": count + i, **vars(e)} for i, e in enumerate(chunk)]
            out.write_table(arrow().Table.from_pylist(rows, schema=table), row_group_size=GROUP)
            count += len(chunk)
    if not count:
        raise InputError("no pictures were found")
    return count, list(pairs)


def _labels(clf: Classifier, pairs: Sequence[Pair]) -> tuple[Label, ...]:
    """The class of every label of the data; a scan needs none, but labels that are there must be classes."""
    named = [pair for pair in pairs if pair != (None, None)]
    found, reasons = labels_of(clf, [Item(Path(), *pair) for pair in named]) if named else ([], {})
    return tuple(
        Label(class_name=pair[0], class_index=pair[1], label=label, reason=reasons.get(i))
        for i, (pair, label) in enumerate(zip(named, found, strict=True))
    )


def _check(folder: Path, there: RunRecord, asked: RunRecord) -> None:
    """Raises UsageError where two runs differ in what their shards depend on."""
    told = {
        "list of pictures": (f"{there.pictures} pictures", there.listing), "model": (there.model.fingerprint,),
        "layer": (there.model.layer,), "format": (there.format,), "batch size": (there.batch,),
        "seed": (there.seed,), "class names": (there.classes,),
    }  # fmt: skip
    now = {
        "list of pictures": (f"{asked.pictures} pictures", asked.listing), "model": (asked.model.fingerprint,),
        "layer": (asked.model.layer,), "format": (asked.format,), "batch size": (asked.batch,),
        "seed": (asked.seed,), "class names": (asked.classes,),
    }  # fmt: skip
    for name, was in told.items():
        if was != now[name]:
            shown = "" if name == "class names" else f" ({was[0]!r}, not {now[name][0]!r})"
            raise UsageError(
                f"{folder}: holds a scan with another {name}{shown}; name a new folder, or repeat what that one was of"
            )
