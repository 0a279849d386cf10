"""Files that are there whole or not at all: all that saywhy writes in one go passes here, and how it is read again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from saywhy.errors import InputError

DRAFT = ".draft"
Content = TypeVar("Content")


def write(path: str | Path, data: bytes | str, *, sync: bool = True) -> Path:
    """Writes a file under a temporary name beside its own and renames it; folders are made, text is UTF-8.

    A reader sees the file of before or the new one, never half of it, also when the process is killed; `sync` waits for
    the disk, so that a power cut changes nothing about that (leave it out for many files that can be made again).
    Permissions are those that the user's umask gives a new file.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    with drafted(path, sync=sync) as draft:
        _fill(draft, data.encode() if isinstance(data, str) else data)
    return Path(path)


@contextmanager
def drafted(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """The temporary name beside a file's own under which the block writes it, for what comes piece by piece.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            if sync:
                _sync(draft)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if sync:
            _sync_folder(path.parent)
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from e


def sweep(folder: Path) -> None:
    """Removes the drafts that killed processes left in a folder."""
    for draft in folder.glob(f".*{DRAFT}"):
        draft.unlink(missing_ok=True)


def read_as(file: Path, what: str, read: Callable[[], Content]) -> Content:
    """What `read` makes of a file that saywhy wrote, which must be `what`.

    Raises:
        InputError: it is missing, damaged, or something else.
    """
    try:
        return read()
    except Exception as e:
        raise InputError(f"{file}: cannot be read as {what} ({type(e).__name__}: {e})") from e


@contextmanager
def lines(path: str | Path) -> Iterator[TextIO]:
    """A text file in UTF-8 that the block writes piece by piece; there whole or not at all.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    with drafted(path) as draft, draft.open("x", encoding="utf-8", newline="") as out:
        yield out


def _fill(draft: Path, data: bytes) -> None:
    with draft.open("xb") as out:
        out.write(data)


def _sync(draft: Path) -> None:
    with draft.open("rb+") as written:
        os.fsync(written.fileno())


def _sync_folder(folder: Path) -> None:
    """Makes a rename last; systems that cannot open a folder (Windows) do so by themselves."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
