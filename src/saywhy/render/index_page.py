"""The page of a run over many photos: one row for each answer, errors and sure answers first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from saywhy.render import wording
from saywhy.render.pages import templates


@dataclass(frozen=True)
class Row:
    """A photo of a run: its path, the file of its page, its label where it has one, the answer, and the class that was
    asked about where one was; or what failed."""

    path: str
    page: str = ""
    label: str | None = None
    answer: str = ""
    probability: float = 0.0
    failed: str = ""
    asked: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the answer is another than the label."""
        return self.label is not None and not self.failed and self.label != self.answer


def index_page(rows: Sequence[Row]) -> bytes:
    """A whole page in UTF-8: wrong answers first, the surest on top; then the others, the least sure on top; then what
    failed."""
    shown = [
        {
            "path": wording.clean(row.path),
            "href": quote(row.page),
            "label": wording.clean(row.label or ""),
            "answer": wording.clean(row.answer),
            "percent": "" if row.failed else wording.percent(row.probability),
            "wrong": row.wrong,
            "asked": wording.clean(row.asked),
            "failed": wording.clean(row.failed),
        }
        for row in sorted(rows, key=_order)
    ]
    photos, labelled = {row.path for row in rows}, {row.path for row in rows if row.label is not None}
    wrong = {row.path for row in rows if row.wrong}
    counts = {"photos": len(photos), "labelled": len(labelled), "wrong": len(wrong)}
    content = {"rows": shown, "asked": any(row.asked for row in rows), **counts}
    return templates("failures.css").get_template("index.html").render(content).encode()


def _order(row: Row) -> tuple[int, float, str]:
    if row.failed:
        return 2, 0.0, row.path
    return (0, -row.probability, row.path) if row.wrong else (1, row.probability, row.path)
