"""What the L-CAM benchmarks on photos share: values kept a row and a photo, faster answers, what is measured of a map.

A table is one JSON file, `rows[name]["values"][metric]` a list with one value a photo of the set, null where there is
none. A row that has a photo's values is not measured on it again, so a run that was cut off goes on where it stopped,
and two rows can be compared on the photos that both were measured on.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import saywhy
from saywhy import files
from saywhy.classifier import Classifier
from saywhy.lcam.heads import LCam
from saywhy.metrics import Case, reference, values_of
from saywhy.saliency import display, saliency

STEPS = 8  # of the insertion and deletion curves
BATCH = 4  # images at once: what one core does best
COLUMNS = (
    "ad100", "ad50", "ad15", "ic100", "ic50", "ic15", "mean-value",
    "ad50-ranked", "ad15-ranked", "ic50-ranked", "ic15-ranked", "insertion", "deletion", "insertion-deletion",
)  # fmt: skip
OF_THE_ORDER = COLUMNS[7:]  # the same for maps that are increasing functions of each other
DIGITS = {"ad": 2, "ic": 0}  # of values in percent; others have four
Ask = Callable[[Tensor], Tensor]


def photos_folder() -> Path:
    """The folder of photos, which are not part of the project."""
    if not (data := os.environ.get("SAYWHY_DATA")):
        sys.exit("SAYWHY_DATA is not set: it names a folder of photos that are not part of the project")
    return Path(data)


# --------------------------------------------------------------------------------------------------
# Values.


@dataclass
class Table:
    """Values by row, metric and photo, in a file that is written after every part."""

    file: Path
    photos: tuple[str, ...]
    about: dict[str, Any]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def opened(cls, file: Path, photos: Sequence[str], about: Mapping[str, Any], again: Sequence[str] = ()) -> Table:
        """The table of this file where it is there and about the same photos; rows named in `again` start anew."""
        own = {"steps_of_curves": STEPS, **about}
        was = json.loads(file.read_text()) if file.exists() else {}
        same = was.get("photos") == list(photos) and was.get("steps_of_curves") == STEPS
        rows = {k: v for k, v in was["rows"].items() if k not in again} if same else {}
        return cls(file, tuple(photos), own, rows)

    def lacks(self, name: str, where: Sequence[int]) -> list[int]:
        """Those of the photos that a row has no values of."""
        known = set(self.rows.get(name, {}).get("measured", ()))
        return [n for n in where if n not in known]

    def put(self, name: str, where: Sequence[int], values: Mapping[str, Tensor], **facts: Any) -> None:
        """Enters a row's values of these photos, and facts about the row; those that are dicts are merged."""
        row = self.rows.setdefault(name, {"measured": [], "values": {}})
        row["measured"] = sorted({*row["measured"], *where})
        for key, value in facts.items():
            row[key] = {**row.get(key, {}), **value} if isinstance(value, dict) else value
        for metric, found in values.items():
            column = row["values"].setdefault(metric, [None] * len(self.photos))
            for n, v in zip(where, found.tolist(), strict=True):
                column[n] = None if math.isnan(v) else round(v, DIGITS.get(metric[:2], 4))
        self.save()

    def save(self) -> None:
        head = {
            **self.about,
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
            "versions": {"saywhy": saywhy.__version__, "torch": torch.__version__},
            "photos": list(self.photos),
        }  # fmt: skip
        lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()]
        rows = [f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in self.rows.items()]
        text = "{\n" + ",\n".join([*lines, ' "rows": {\n' + ",\n".join(rows) + "\n }"]) + "\n}\n"
        files.write(self.file, text)


def column(rows: Mapping[str, Any], name: str, metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One value a photo, NaN where there is none."""
    values = rows[name]["values"].get(metric, [])
    return np.array([math.nan if v is None else v for v in values], dtype=float)


def mean(values: np.ndarray[Any, Any]) -> tuple[float, float, int]:
    """Mean, standard error and number of the values that are there."""
    there = values[~np.isnan(values)]
    if len(there) < 2:
        return math.nan, math.nan, len(there)
    return float(there.mean()), float(there.std(ddof=1) / len(there) ** 0.5), len(there)


def paired(rows: Mapping[str, Any], a: str, b: str, metric: str) -> tuple[float, float, int]:
    """Mean of a - b over the photos that both have, its standard error, and their number."""
    x, y = column(rows, a, metric), column(rows, b, metric)
    return mean(x - y) if len(x) and len(y) else (math.nan, math.nan, 0)


# --------------------------------------------------------------------------------------------------
# Answers.


@dataclass(frozen=True, eq=False)
class Answering(Classifier):
    """The same classifier whose plain scores come from elsewhere; layers and gradients stay its own."""

    answer: Ask | None = None

    def logits(self, images: Tensor, *, batch_size: int | None = None) -> Tensor:
        assert self.answer is not None
        return torch.cat([self.answer(part) for part in torch.split(images, batch_size or BATCH)])


def with_onnx(clf: Classifier) -> Answering:
    """The classifier with onnxruntime for its plain scores, on one thread, after a check that the two agree."""
    import onnxruntime

    assert isinstance(clf.net, nn.Module)
    folder = Path(tempfile.mkdtemp())
    example = clf.inputs(torch.rand(2, 3, *clf.preprocess.size)).contiguous()
    torch.onnx.export(
        clf.net, (example,), str(folder / "net.onnx"), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), options)

    def answer(images: Tensor) -> Tensor:
        (scores,) = session.run(None, {"x": clf.inputs(images).contiguous().numpy()})
        return torch.from_numpy(scores)

    faster = Answering(**{f.name: getattr(clf, f.name) for f in fields(Classifier)}, answer=answer)
    images = torch.rand(2, 3, *clf.preprocess.size)
    assert torch.allclose(faster.probabilities(images), clf.probabilities(images), atol=1e-4)
    return faster


# --------------------------------------------------------------------------------------------------
# Measures.


class Seen:
    """Photos as the classifier sees them, with its answers to the whole of each, asked once for all rows."""

    def __init__(self, clf: Classifier, images: Tensor) -> None:
        self.ask, self.images = clf.probabilities, images
        self.known = reference(self.ask, images, batch_size=BATCH)

    def measured(self, maps: Tensor, *, order_of: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The columns of display maps (N, H, W).

        What depends on the order of pixels alone is taken from `order_of`, the values of maps that these are an
        increasing function of, where given.
        """
        order = order_of or {}
        inputs = {"probabilities": self.ask, "images": self.images, "maps": maps.clamp(0, 1), "known": self.known}
        inputs["targets"] = self.known.targets
        found = values_of([n for n in COLUMNS if n not in order], Case(inputs, {"steps": STEPS, "batch_size": BATCH}))
        return {name: {**order, **found}[name] for name in COLUMNS}


def kept_sigmoid(head: LCam, clf: Classifier, images: Tensor) -> Tensor:
    """The head's maps with the sigmoid that they were trained with: minmax(sigmoid(L)) in the place of minmax(L)."""
    raw = []
    for part in torch.split(images, BATCH):
        tap = clf.tap(part, head.points(clf))
        with torch.no_grad():
            raw.append(head.maps(tap, tap.logits.argmax(dim=1)[:, None])[:, 0].sigmoid())
    S = torch.cat(raw)
    return display(S, (int(images.shape[2]), int(images.shape[3])))[0]


def raw_map(head: LCam, clf: Classifier, images: Tensor) -> Tensor:
    """The head's maps as published, minmax of the raw map."""
    return saliency(clf, images, method="l-cam", head=head).display
