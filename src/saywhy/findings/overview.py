"""The report of a run: its summary, its findings, and pictures that show them, as JSON and as one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from saywhy import files
from saywhy.audit.folder import SUMMARY, pictures_of, thumbnails
from saywhy.audit.store import open_store
from saywhy.audit.summary import DepthRow, Summary, depths_of, summary
from saywhy.errors import UsageError
from saywhy.explanation import Record
from saywhy.findings.kinds_of import KINDS
from saywhy.findings.ranking import FindingRecord, find
from saywhy.image import thumbnail
from saywhy.render.report_page import CONCEPTS, CROPS, FINDINGS, PICTURES, report_page

SHOWN = 40  # concepts that are counted
TAKEN = ("summary", "findings", "failures")  # files of a run with a JSON of their own
CROP = 120  # pixels of a side

Box = tuple[int, int, int, int]


class ConceptShown(Record):
    """A concept or kind of region over the pictures that were explained: in how many, what it contributes on average,
    how often it was confirmed, and where it counted most (numbers and boxes x0, y0, x1, y1 in pixels)."""

    name: str
    pictures: int
    importance: float
    confirmed: float
    examples: tuple[tuple[int, Box], ...]


class RunReport(Record):
    """All that the page says, as values."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    summary: Summary
    findings: tuple[FindingRecord, ...]
    kinds: dict[str, str]
    concepts: tuple[ConceptShown, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        record: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return record


def report(run: str | Path) -> RunReport:
    """The report of a run, read from its store; nothing is written and no classifier is asked.

    Raises:
        InputError: no scan there.
    """
    folder = Path(run)
    return RunReport(
        summary=_summary(folder), findings=find(folder), concepts=_concepts(folder),
        kinds={name: row.what for name, row in KINDS.items()},
    )  # fmt: skip


def write_report(run: str | Path, out: str | Path) -> RunReport:
    """Writes the report of a run as one page (`out`, .html) and as JSON beside it (.json).

    Raises:
        UsageError: `out` does not end in .html, or its JSON would replace another file of the run.
        InputError: no scan there, or the files cannot be written.
    """
    page = Path(out)
    if page.resolve().parent == Path(run).resolve() and page.stem in TAKEN:
        raise UsageError(f"-o {page}: {page.stem}.json is another file of the run; name the page otherwise")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"-o {page}: a report is a page; name a file that ends in .html (its values are written beside it)"
        )
    found = report(run)
    record = found.to_dict()
    files.write(page.with_suffix(".json"), json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    files.write(page, report_page(record, thumbnails(Path(run), _wanted(found.findings)), _crops(Path(run), found)))
    return found


def _wanted(found: Sequence[FindingRecord]) -> list[int]:
    return [n for f in found[:FINDINGS] for n in f.pictures[:PICTURES]]


def _crops(run: Path, found: RunReport) -> dict[tuple[int, Box], bytes]:
    """What concepts look like, where they counted most."""
    boxes: dict[int, list[Box]] = {}
    for n, box in (one for c in found.concepts[:CONCEPTS] for one in c.examples[:CROPS]):
        boxes.setdefault(n, []).append(box)
    return {
        (n, box): thumbnail(replace(picture, pixels=_cut(picture.pixels, box)), long_side=CROP)
        for n, picture in pictures_of(run, list(boxes))
        for box in boxes[n]
    }


def _cut(pixels: Any, box: Box) -> Any:
    x0, y0, x1, y1 = box
    return pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _summary(folder: Path) -> Summary:
    """The summary that the last call wrote, if it is of all that is in the store now; else a new one."""
    try:
        known = Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return summary(folder)
    return known if _counts(known.depths) == _counts(depths_of(folder)) else summary(folder)


def _counts(depths: Iterable[DepthRow]) -> set[tuple[str, int, int, int]]:
    return {(d.depth, d.pictures, d.failed, d.passes) for d in depths}


def _concepts(folder: Path) -> tuple[ConceptShown, ...]:
    """The concepts (regions by look, where they have no names) of the pictures that were explained, the most frequent
    first."""
    with open_store(folder) as store:
        rows = store.execute(f"""
            WITH one AS (SELECT *, coalesce(name, concept, look) AS called FROM concepts),
                 best AS (SELECT *, row_number() OVER (PARTITION BY called ORDER BY importance DESC, n, id) AS nth
                          FROM one)
            SELECT called, count(DISTINCT n), avg(importance), avg(confirmed::INTEGER),
                   list([n, box[1], box[2], box[3], box[4]] ORDER BY nth) FILTER (nth <= {CROPS})
            FROM best WHERE called IS NOT NULL GROUP BY called ORDER BY 2 DESC, called LIMIT {SHOWN}
        """).fetchall()
    return tuple(
        ConceptShown(
            name=name, pictures=count, importance=importance, confirmed=confirmed,
            examples=tuple((n, (x0, y0, x1, y1)) for n, x0, y0, x1, y1 in best),
        )
        for name, count, importance, confirmed, best in rows
    )  # fmt: skip
