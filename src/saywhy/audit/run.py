"""An audit as a folder: `pictures.jsonl` (what is known so far), `failures.json` (the record), `failures.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saywhy.audit.failures import Progress, default_method, study
from saywhy.audit.lines import Lines
from saywhy.audit.record import Report
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError, unknown
from saywhy.image import frame, read
from saywhy.render.failures import failures_page
from saywhy.saliency import METHODS

LINES, RECORD, PAGE = "pictures.jsonl", "failures.json", "failures.html"
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
    progress: Progress | None = None,
) -> Report:
    """Studies the errors on labelled pictures and writes the folder `out`; the same call goes on where it ended.

    Keywords and errors are those of `failures.study`.

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
        "objects": list(objects), "seed": seed,
    }  # fmt: skip
    if not clf.lasting and (folder / LINES).exists():
        raise UsageError(
            f"{folder}: holds an audit, and this classifier is a plain callable without a name, so nothing tells "
            'whether it is the same model; give both runs a name, as in load_classifier(scores, name="birds-2"), or '
            "name a new folder"
        )
    lines = Lines(folder / LINES, head)
    report = study(
        clf, items, method=method, options=options, objects=objects, seed=seed, lines=lines, progress=progress
    )
    record = report.to_dict()
    _put(folder / RECORD, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    _put(folder / PAGE, failures_page(record, _pictures(clf, report)))
    return report


def _pictures(clf: Classifier, report: Report) -> dict[str, Any]:
    """The errors that the page shows, as the classifier sees them: arrays (3, H, W) by path."""
    shown = {}
    for f in report.failures[:ON_THE_PAGE]:
        try:
            shown[f.path] = frame(read(f.path), clf.preprocess)[0]
        except InputError:  # gone since it was studied
            continue
    return shown


def _put(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from e
