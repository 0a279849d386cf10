"""What an audit has found so far, a line of JSON each: an audit that was cut off goes on from there.

The first line says which model and settings the rest belongs to. A line `{"kind", "key", ...}` is an answer; its key
names all that the answer depends on, so that a line is used again only for the same question.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.errors import InputError, UsageError

FORMAT = 1


class Journal:
    """The answers in a file (None: in memory alone), by kind and key.

    Raises:
        UsageError: the file belongs to another model or other settings.
        InputError: it is no such file, or cannot be read or written.
    """

    def __init__(self, file: Path | None, head: Mapping[str, Any]) -> None:
        self.file, self._known = file, dict[tuple[str, str], dict[str, Any]]()
        if file is None:
            return
        head = {"format": FORMAT, **head}
        try:
            if file.exists():
                self._read(file, head)
            else:
                files.write(file, json.dumps(head, ensure_ascii=False) + "\n")
        except OSError as e:
            raise InputError(f"{file}: cannot be read or written ({e.strerror or e})") from e

    def _read(self, file: Path, head: Mapping[str, Any]) -> None:
        texts = file.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            there = json.loads(texts[0])
            rows = [json.loads(text) for text in texts[1:] if text.endswith("\n")]
            self._known = {(row["kind"], row["key"]): row for row in rows}
        except (ValueError, KeyError, TypeError, IndexError) as e:
            raise InputError(f"{file}: not what an audit wrote ({e}); name a new folder") from e
        for name in sorted({*there, *head}):
            if there.get(name) != head.get(name):
                raise UsageError(
                    f"{file.parent}: holds an audit with another {name} ({there.get(name)!r}, not {head.get(name)!r}); "
                    "name a new folder, or repeat the settings of that one"
                )
        if not texts[-1].endswith("\n"):  # half a line, of a process that was killed
            os.truncate(file, sum(len(t.encode()) for t in texts[:-1]))

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The answer of that kind and key, if it is known."""
        return self._known.get((kind, key))

    def add(self, kind: str, key: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Writes an answer down, and gives it as it will be read."""
        text = json.dumps({"kind": kind, "key": key, **answer}, ensure_ascii=False, allow_nan=False)
        if self.file is not None:
            try:
                with self.file.open("a", encoding="utf-8") as out:
                    out.write(text + "\n")
            except OSError as e:
                raise InputError(f"{self.file}: cannot be written ({e.strerror or e}); make room and go on") from e
        row: dict[str, Any] = json.loads(text)
        self._known[kind, key] = row
        return row


def key_of(*parts: object) -> str:
    """A short key of all that an answer depends on."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:20]
