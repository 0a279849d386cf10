"""What the verbs share in speaking and writing: notes, progress, files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from saywhy.errors import InputError

notes = Console(stderr=True)


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file under a temporary name and renames it, so that it is there whole or not at all.

    Raises:
        InputError: the folder cannot be made or written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from e
    return path


@contextmanager
def progress(quiet: bool, total: int) -> Iterator[Callable[[int, str], None]]:
    """Tells the current step on standard error, when somebody watches and --quiet is not given."""
    if quiet or not notes.is_terminal:
        yield lambda done, text: None
        return
    with notes.status("loading") as status:
        yield lambda done, text: status.update(f"[{done + 1}/{total}] {text}" if total > 1 else text)
