"""The report of a run as one self-contained page: no network, no script; from the record's JSON values alone.

It shows aggregates and some pictures, so it is as large for a million pictures as for a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saywhy.render import wording
from saywhy.render.pages import templates
from saywhy.render.summary_page import curve_of, photo_data

Row = dict[str, Any]
Box = tuple[int, int, int, int]

FINDINGS, PICTURES = 30, 6  # with their pictures, and pictures of each
SLICES = 40  # rows of the table
CONCEPTS, CROPS = 12, 4


def report_page(record: Mapping[str, Any], photos: Mapping[int, bytes], crops: Mapping[tuple[int, Box], bytes]) -> str:
    """The page of a report's JSON values; `photos` are JPEG thumbnails by number, `crops` by number and box, if any."""
    summary, found = record["summary"], record["findings"]
    whole = summary["whole"]["accuracy"]
    return templates("failures.css").get_template("report.html").render(
        title=_title(summary, found),
        model=wording.clean(summary["model"]["name"]),
        summary=summary,
        interval=None if whole is None else f"{wording.percent(whole['low'])} to {wording.percent(whole['high'])}",
        notes=[wording.clean(n) for n in (*summary["notes"], *summary["model"]["notes"])],
        curve=curve_of(summary["calibration"]),
        families=_families(record),
        shown=[_finding(f, photos) for f in found[:FINDINGS]],
        slices=[_row(f) for f in found[FINDINGS : FINDINGS + SLICES]],
        more=max(0, len(found) - FINDINGS - SLICES),
        concepts=[_concept(c, crops) for c in record["concepts"][:CONCEPTS]],
        next_steps=_next(record),
    )  # fmt: skip


def _title(summary: Mapping[str, Any], found: list[Row]) -> str:
    whole = summary["whole"]["accuracy"]
    if whole is None:
        return f"{summary['whole']['pictures']:,} pictures without labels"
    findings = "1 finding" if len(found) == 1 else f"{len(found)} findings" if found else "no finding"
    return f"{wording.percent(whole['mean'])} of {summary['whole']['pictures']:,} pictures right, {findings}"


def _families(record: Mapping[str, Any]) -> list[Row]:
    """How many findings of each kind there are, and the errors of the first."""
    rows = []
    for kind, what in record["kinds"].items():
        own = [f for f in record["findings"] if f["kind"] == kind]
        if own:
            rows.append({"kind": kind, "what": what, "count": len(own), "errors": own[0]["errors"]})
    return rows


def _finding(f: Row, photos: Mapping[int, bytes]) -> Row:
    pictures = [photo_data(photos.get(n)) for n in f["pictures"][:PICTURES]]
    return {**_row(f), "photos": [p for p in pictures if p is not None], "gone": sum(p is None for p in pictures)}


def _row(f: Row) -> Row:
    return {
        **f,
        "name": wording.clean(f["name"]),
        "told": f"{_points(f['effect'])} points ({_points(f['low'])} to {_points(f['high'])}), {f['count']} pictures",
        "sure": "below 0.001" if f["q"] < 0.001 else f"{f['q']:.3f}",
    }  # fmt: skip


def _points(share: float) -> str:
    return f"{100 * share:.0f}"


def _concept(c: Row, crops: Mapping[tuple[int, Box], bytes]) -> Row:
    shown = [photo_data(crops.get((n, tuple(box)))) for n, box in c["examples"][:CROPS]]
    return {
        "name": wording.clean(c["name"]), "pictures": c["pictures"], "importance": wording.percent(c["importance"]),
        "confirmed": wording.percent(c["confirmed"]) if c["confirmed"] else "none", "crops": [p for p in shown if p],
    }  # fmt: skip


def _next(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to do, the first findings first, and what to type (folder and options are those of this audit)."""
    steps = [(f"{wording.clean(f['name'])}: {f['next']}", "") for f in record["findings"][:3]]
    depths = {d["depth"] for d in record["summary"]["depths"]}
    if record["summary"]["errors"] and "trials" not in depths:
        steps.append(("Nothing was changed in a picture yet, so causes are guesses; try errors, for half an hour:",
                      "saywhy audit IMAGES -o RUN --depth trials --budget 30m"))  # fmt: skip
    if record["summary"]["across_splits"]:
        steps.append(("Take pictures that are in two splits out of one: the accuracy is too high with them.", ""))
    return steps
