"""The study of errors as one self-contained page: no network, no script; from the record's JSON values alone.

All names come from outside and are escaped by the template engine.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saywhy.heat import ramp
from saywhy.image import Floats
from saywhy.render import wording
from saywhy.render.pages import templates

Row = dict[str, Any]

SIDE = 168  # pixels of a thumbnail
PAIRS = 30  # rows of the table of pairs

# How errors can be sorted on the page; the first is how they stand.
ORDERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "margin": lambda f: -f["margin"],
    "confidence": lambda f: -f["predicted"]["probability"],
    "label": lambda f: (f["truth"]["class_name"], -f["margin"]),
    "answer": lambda f: (f["predicted"]["class_name"], -f["margin"]),
    "file": lambda f: f["path"],
}


def failures_page(record: Mapping[str, Any], pictures: Mapping[str, Floats], meanings: Mapping[str, str]) -> str:
    """The page of a record; `pictures` (3, H, W) in [0, 1] by path are the errors to show; `meanings` by family."""
    shown = [f for f in record["failures"] if f["path"] in pictures]
    wrong = len(record["failures"])
    return templates("failures.css").get_template("failures.html").render(
        title=_title(record),
        right=wording.percent(record["correct"] / record["pictures"]),
        model=wording.clean(record["model"]["name"]),
        method=record["method"],
        record=record,
        notes=[wording.clean(n) for n in (*record["notes"], *record["model"]["notes"])],
        families=[
            {"name": name, "count": n, "what": meanings[name], "share": f"{100 * n / max(wrong, 1):.0f}", "number": i}
            for i, (name, n) in enumerate(record["families"].items())
        ],
        pairs=[_pair(p) for p in record["pairs"][:PAIRS]],
        more_pairs=len(record["pairs"]) - PAIRS,
        flagged=[c for c in record["classes"] if c["flagged"]],
        examined=len(record["classes"]) - record["classes_not_examined"],
        failures=_cards(shown, pictures, [*record["families"], *(f["family"] for f in shown)]),
        orders=list(ORDERS),
        hidden=wrong - len(shown),
        unused=[*record["unreadable"], *record["skipped"]],
    )  # fmt: skip


def _title(record: Mapping[str, Any]) -> str:
    wrong, asked = len(record["failures"]), record["pictures"]
    return "No errors at all" if not wrong else f"{wrong} errors in {asked} pictures"


def _pair(pair: Mapping[str, Any]) -> Row:
    return {**pair, "families": ", ".join(f"{n} {name}" for name, n in pair["families"].items())}


def _cards(shown: Sequence[Mapping[str, Any]], pictures: Mapping[str, Floats], families: list[str]) -> list[Row]:
    """The errors, each with its place in every order and the number of its family."""
    places: list[dict[str, int]] = [{} for _ in shown]
    for name, key in ORDERS.items():
        for place, i in enumerate(sorted(range(len(shown)), key=lambda i: key(shown[i]))):
            places[i][name] = place
    return [
        {**_card(f, pictures[f["path"]]), "places": own, "number": families.index(f["family"])}
        for f, own in zip(shown, places, strict=True)
    ]


def _card(f: Mapping[str, Any], image: Floats) -> Row:
    pixels = (np.clip(image, 0, 1).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    photo = Image.fromarray(pixels)
    photo.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    maps = f["maps"]
    return {
        "file": wording.clean(Path(f["path"]).name),
        "truth": wording.clean(f["truth"]["class_name"]),
        "predicted": wording.clean(f["predicted"]["class_name"]),
        "true_percent": wording.percent(f["truth"]["probability"]),
        "percent": wording.percent(f["predicted"]["probability"]),
        "family": f["family"],
        "sentence": wording.clean(f["sentence"]),
        "photo": _jpeg(photo),
        "maps": [
            {
                "src": _jpeg(_overlaid(photo, maps[which])) if status == "ok" else None,
                "status": wording.STATUS.get(status, ""),
                "name": wording.clean(f[side]["class_name"]),
                "role": side,
            }
            for which, side, status in zip(("predicted", "true"), ("predicted", "truth"), maps["status"], strict=True)
        ],
    }


def _overlaid(photo: Image.Image, values: Sequence[Sequence[float]]) -> Image.Image:
    """The photo in grey under the positive part of a map."""
    plane = np.asarray(values, dtype=np.float32)
    plane = np.clip(plane / max(float(plane.max()), 1e-30), 0, 1)
    grown = np.asarray(Image.fromarray(plane).resize(photo.size, Image.Resampling.BILINEAR), dtype=np.float32)
    heat = Image.fromarray(ramp(np.clip(grown, 0, 1)), "RGBA")
    under = photo.convert("L").convert("RGBA")
    under.alpha_composite(heat)
    return under.convert("RGB")


def _jpeg(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
