"""What `saywhy explain` was asked, and how its answers are written or printed as they come."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saywhy import files
from saywhy.cli.output import notes
from saywhy.collection import Item, stems
from saywhy.errors import SaywhyError
from saywhy.render.index_page import Row, index_page
from saywhy.render.wording import percent

if TYPE_CHECKING:
    from saywhy.explanation import Explanation

INDEX = "index"
LONGEST = 60  # letters of a class in the name of a file


@dataclass(frozen=True)
class Query:
    """A photo, the class that is asked about (None: the predicted one), and the name of the answer's files."""

    item: Item
    target: str | None
    name: str


def queries(items: Sequence[Item], targets: Sequence[str | None], index: bool = True) -> list[Query]:
    """Every target of every photo; of several targets the files are called PHOTO-TARGET, no two alike, and none like
    an index beside them."""
    pairs = [(item, target) for item in items for target in targets]
    paths = [item.path if len(targets) == 1 else _beside(item.path, target) for item, target in pairs]
    names = stems([*([Path(INDEX)] if index else []), *paths])[int(index) :]
    return [Query(item, target, name) for (item, target), name in zip(pairs, names, strict=True)]


def _beside(path: Path, target: str | None) -> Path:
    """A photo's path with a class in its name."""
    word = re.sub(r"\W+", "-", target or "").strip("-")[:LONGEST]
    return path.with_name(f"{path.stem}-{word}{path.suffix}")


class Writer:
    """Writes or prints explanations as they come; a file is there whole or not at all."""

    def __init__(self, out: Path | None, formats: list[str], queries: list[Query], index: bool) -> None:
        self.out, self.formats, self.queries, self.index = out, formats, queries, index
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.files: list[Path] = []
        self.printed = 0

    def write(self, q: Query, found: Explanation) -> None:
        """Writes or prints one answer."""
        from saywhy.render import RENDERERS

        if self.out is None and self.formats != ["text"]:
            self._told(found.to_dict())
            return
        text = RENDERERS["text"].function(found).decode()
        if self.out is not None:
            for name in self.formats:
                row = RENDERERS[name]
                self.files.append(files.write(self.out / (q.name + row.suffix), row.function(found)))
            self._listed(q, found)  # once its files are there, as an interruption may come at any time
        print(("\n" if self.printed else "") + text.rstrip("\n"), flush=True)
        self.printed += 1

    def failed(self, q: Query, error: SaywhyError) -> None:
        """Keeps what failed, once for all classes of a photo that it befell."""
        path, message = str(q.item.path), str(error)
        told = message if path in message else f"{path}: {message}"
        if told in self.failures:
            return
        self.failures.append(told)
        self.rows.append(Row(path, label=q.item.class_name, failed=message))
        self._told({"image": path, "error": message})

    def is_there(self, q: Query) -> bool:
        """Whether all files of an answer are there; then it is listed as its record says, if that can be read."""
        assert self.out is not None
        files = [self.out / (q.name + self._suffix(name)) for name in self.formats]
        if not all(file.is_file() for file in files):
            return False
        record = self.out / f"{q.name}.json"
        if record in files:
            from saywhy.explanation import Explanation

            try:
                self._listed(q, Explanation.from_dict(json.loads(record.read_text(encoding="utf-8"))))
            except ValueError:  # half a record, or one of another version: it is made again
                return False
        return True

    def _suffix(self, name: str) -> str:
        from saywhy.render import RENDERERS

        return RENDERERS[name].suffix

    def _listed(self, q: Query, found: Explanation) -> None:
        page = f"{q.name}.html" if "html" in self.formats else ""
        path, answer = found.image.path or q.name, found.prediction
        asked = "" if q.target is None else f"{found.target.class_name} ({percent(found.target.probability)})"
        self.rows.append(Row(path, page, q.item.class_name, answer.class_name, answer.probability, asked=asked))

    def _told(self, record: dict[str, Any]) -> None:
        """One record, or one failure: a line at once, or kept for the list."""
        if self.formats == ["jsonl"]:
            print(json.dumps(record, ensure_ascii=False, allow_nan=False), flush=True)
        else:
            self.records.append(record)

    def close(self, quiet: bool) -> None:
        """Prints and writes what is one thing for all answers, and says what failed and where to look."""
        from saywhy.explanation import json_document

        if self.out is None and self.formats == ["json"]:
            sys.stdout.write(json_document(self.records))
        if self.out is not None and self.index and "html" in self.formats:
            self.files.insert(0, files.write(self.out / f"{INDEX}.html", index_page(self.rows)))
        for message in self.failures:
            notes.print(f"failed: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        if self.files and not quiet:
            page = next((f for f in self.files if f.suffix == ".html"), self.files[0])
            also = f" and {len(self.files) - 1} more files" if len(self.files) > 1 else ""
            notes.print(f"look at {page}{also}", markup=False, highlight=False, soft_wrap=True)
