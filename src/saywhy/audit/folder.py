"""An audit as a folder. Of the study of errors `pictures.jsonl` (what is known so far), `failures.json` (the record),
`failures.html`, `failures.csv` (a row an error); of a scan `store/`, `summary.json` and `summary.html`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.audit.experiments import ACTS
from saywhy.audit.exports import safe_text
from saywhy.audit.families import meanings
from saywhy.audit.inventory import listed
from saywhy.audit.journal import Journal
from saywhy.audit.pipeline import Progress, default_method, study
from saywhy.audit.report import Report
from saywhy.audit.sources import giving
from saywhy.audit.summary import Summary, summary
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError, unknown
from saywhy.image import Picture, frame, read, thumbnail
from saywhy.render.failure_page import failures_page
from saywhy.render.summary_page import DOUBTFUL, TWICE, summary_page
from saywhy.saliency import METHODS

SUMMARY, SUMMARY_PAGE = "summary.json", "summary.html"
JOURNAL, RECORD, PAGE, TABLE = "pictures.jsonl", "failures.json", "failures.html", "failures.csv"
COLUMNS = ("path", "label", "answer", "p_label", "p_answer", "margin", "family", "why")
THUMBNAIL = 220  # pixels of a side on the page of a scan
ON_THE_PAGE = 150  # errors; the record has them all


def audit(
    clf: Classifier,
    items: Sequence[Item],
    out: str | Path,
    *,
    method: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    objects: Sequence[str] = (),
    seed: int = 0,
    reproducible: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Studies the errors on labelled pictures and writes the folder `out`; the same call goes on where it ended.

    `reproducible` leaves out the seconds, so that equal runs write equal files. Other keywords and errors are those of
    `study`.

    Raises:
        UsageError: the folder holds an audit of another model or of other settings, or one of a plain callable
            without a name, of which nobody can say whether it is the same.
        InputError: it cannot be written.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder}: is a file, a folder was expected")
    method = method or default_method(clf)
    if method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    head = {
        "model": clf.fingerprint, "method": method, "parts": [str(v) for v in (options or {}).get(method, {}).values()],
        "objects": list(objects), "seed": seed, "acts": list(ACTS),
    }  # fmt: skip
    if not clf.lasting and (folder / JOURNAL).exists():
        raise UsageError(
            f"{folder}: holds an audit, and this classifier is a plain callable without a name, so nothing tells "
            'whether it is the same model; give both runs a name, as in load_classifier(scores, name="birds-2"), or '
            "name a new folder"
        )
    journal = Journal(folder / JOURNAL, head)
    report = study(
        clf, items, method=method, options=options, objects=objects, seed=seed, journal=journal, progress=progress
    )
    report = report.untimed() if reproducible else report
    record = report.to_dict()
    files.write(folder / RECORD, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    files.write(folder / TABLE, table(report))
    files.write(folder / PAGE, failures_page(record, _pictures(clf, report), meanings()))
    return report


def write_summary(run: str | Path, *, reproducible: bool = False) -> tuple[Summary, Path]:
    """Writes the summary of the scan in a folder beside its store, as JSON and as a page; the summary and the page.

    `reproducible` leaves out the seconds, so that equal scans write equal files.
    """
    found = summary(run)
    found = found.untimed() if reproducible else found
    record, folder = found.to_dict(), Path(run)
    files.write(folder / SUMMARY, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    numbers = [d.n for d in found.doubtful[:DOUBTFUL]] + [n for t in found.twice[:TWICE] for n in t.numbers]
    return found, files.write(folder / SUMMARY_PAGE, summary_page(record, thumbnails(folder, numbers)))


def thumbnails(folder: Path, numbers: Sequence[int]) -> dict[int, bytes]:
    """Small JPEGs of pictures of a scan; of those that are gone, or have other bands than colours, none."""
    return {n: thumbnail(picture, long_side=THUMBNAIL) for n, picture in pictures_of(folder, numbers)}


def pictures_of(folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    """Pictures of a scan by number, in ascending order; those that are gone, or have other bands, are left out."""
    with giving() as give:
        for n, entry in listed(folder, sorted(set(numbers))):
            with suppress(InputError):
                yield n, read(give(entry))


def table(report: Report) -> str:
    """The errors as CSV, the largest margin first; text that a spreadsheet would run has an apostrophe before it."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(COLUMNS)
    for f in report.failures:
        names = (f.path, f.truth.class_name, f.predicted.class_name)
        numbers = (f"{v:.4f}" for v in (f.truth.probability, f.predicted.probability, f.margin))
        write.writerow([*map(safe_text, names), *numbers, f.family, safe_text(f.sentence)])
    return out.getvalue()


def _pictures(clf: Classifier, report: Report) -> dict[str, Any]:
    """The errors that the page shows, as the classifier sees them: arrays (3, H, W) by path."""
    shown = {}
    for f in report.failures[:ON_THE_PAGE]:
        try:
            shown[f.path] = frame(clf.read(f.path), clf.preprocess)[0]
        except InputError:  # gone since it was studied
            continue
    return shown
