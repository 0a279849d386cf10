"""The summary of a whole set as one self-contained page: no network, no script; from the record's JSON values alone.

It shows aggregates and some pictures, so it is as large for a million pictures as for a thousand.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from saywhy.render import wording
from saywhy.render.pages import templates

Row = dict[str, Any]

DOUBTFUL, TWICE = 60, 20  # that are shown with their pictures
ROWS = 12  # of a table
SIDE = 260  # of the reliability curve, in its own units


def summary_page(record: Mapping[str, Any], photos: Mapping[int, bytes]) -> str:
    """The page of a summary's JSON values; `photos` are JPEG thumbnails by the number of the picture, if any."""
    whole = record["whole"]["accuracy"]
    weakest = sorted((c for c in record["classes"] if c["recall"] is not None), key=lambda c: c["recall"])
    return templates("failures.css").get_template("summary.html").render(
        title=_title(record),
        model=wording.clean(record["model"]["name"]),
        record=record,
        interval=None if whole is None else f"{wording.percent(whole['low'])} to {wording.percent(whole['high'])}",
        notes=[wording.clean(n) for n in (*record["notes"], *record["model"]["notes"])],
        splits=[{**s, "share": _share(s["accuracy"])} for s in record["splits"]] if len(record["splits"]) > 1 else [],
        curve=curve_of(record["calibration"]),
        confused=record["confused"][:ROWS],
        weakest=[{**c, "said": _percent(c["recall"]), "true": _percent(c["precision"])} for c in weakest[:ROWS]],
        more_classes=len(weakest) - ROWS,
        doubtful=[_doubtful(d, photos) for d in record["doubtful"][:DOUBTFUL]],
        twice=[_twice(t, photos) for t in record["twice"][:TWICE]],
        next_steps=next_steps(record),
    )  # fmt: skip


def next_steps(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to do about what was found: why, and what to type (the folder and the options are those of this audit)."""
    depths = {d["depth"] for d in record["depths"]}
    steps = []
    if record["across_splits"]:
        steps.append(("Take pictures that are in two splits out of one: the accuracy above is too high with them.", ""))
    if record["errors"]:
        steps.append(("Look at the labels below; then ask why the rest fails:", "saywhy audit IMAGES -o RUN"))
    if "saliency" not in depths:
        steps.append(
            (
                "See where the answers come from, where it tells most:",
                "saywhy audit IMAGES -o RUN --depth saliency --budget 30m",
            )
        )  # fmt: skip
    return steps


def _title(record: Mapping[str, Any]) -> str:
    count, right = f"{record['whole']['pictures']:,}", record["whole"]["accuracy"]
    return f"{count} pictures" if right is None else f"{wording.percent(right['mean'])} of {count} pictures right"


def _share(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None:
        return "no labels"
    ends = f"{wording.percent(accuracy['low'])} to {wording.percent(accuracy['high'])}"
    return f"{wording.percent(accuracy['mean'])} ({ends})"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    return wording.percent(value) if value else "none"


def curve_of(calibration: Mapping[str, Any] | None) -> Row | None:
    """Bars of the reliability curve in a square of SIDE, and its error in words."""
    if calibration is None:
        return None
    bins: Sequence[Mapping[str, Any]] = calibration["bins"]
    most = max(b["count"] for b in bins)
    bars = [
        {
            "x": round(b["low"] * SIDE, 1), "width": round((b["high"] - b["low"]) * SIDE - 1, 1),
            "y": round((1 - b["accuracy"]) * SIDE, 1), "height": round(b["accuracy"] * SIDE, 1),
            "opacity": round(0.25 + 0.75 * b["count"] / most, 2),
            "told": f"{b['count']} answers, {wording.percent(b['confidence'])} on average: "
            f"{wording.percent(b['accuracy'])} right",
        }
        for b in bins
    ]  # fmt: skip
    right = sum(b["count"] * b["accuracy"] for b in bins) / sum(b["count"] for b in bins)
    bent = "too sure" if calibration["confidence"] > right else "too modest"
    said = f"Expected calibration error {wording.percent(calibration['error'])}; on the whole it is {bent}"
    means = f"{wording.percent(calibration['confidence'])} on average for {wording.percent(right)} right answers"
    return {"side": SIDE, "bars": bars, "told": f"{said}: {means}."}


def _doubtful(row: Mapping[str, Any], photos: Mapping[int, bytes]) -> Row:
    return {
        "file": _name(row["path"]), "photo": photo_data(photos.get(row["n"])), "label": wording.clean(row["label"]),
        "answer": wording.clean(row["answer"]), "sure": wording.percent(row["p_answer"]),
        "own": wording.percent(row["p_label"]),
    }  # fmt: skip


def _twice(row: Mapping[str, Any], photos: Mapping[int, bytes]) -> Row:
    how = "the same file" if row["same_file"] else "mirrored" if row["mirrored"] else "nearly the same"
    sides = [
        {
            "file": _name(path), "photo": photo_data(photos.get(n)), "label": wording.clean(label or "no label"),
            "split": None if split is None else wording.clean(split),
        }
        for path, n, label, split in zip(
            (row["first"], row["second"]), row["numbers"], row["labels"], row["splits"], strict=True
        )
    ]  # fmt: skip
    return {"how": how, "sides": sides, "across": row["splits"][0] != row["splits"][1]}


def _name(path: str) -> str:
    return wording.clean(path.replace("\\", "/").rpartition("/")[2])


def photo_data(data: bytes | None) -> str | None:
    """A JPEG as what a page shows; None where there is none."""
    return None if data is None else f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
