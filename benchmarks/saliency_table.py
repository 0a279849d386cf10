"""AD, IC, insertion and deletion of every saliency method and of the controls, on 300 photos.

    SAYWHY_DATA=/path/to/data python benchmarks/saliency_table.py

SAYWHY_DATA names a folder with `imagenet300/images.jsonl`; without it the birds of the aviary are measured instead,
and the table says so. Every method's answer is kept in --checkpoints, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import saywhy
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.errors import UsageError
from saywhy.evaluate import Conventions, Evaluation, evaluate
from saywhy.evaluate.presets import asks_often
from saywhy.evaluate.result import from_dict, json_text, on_pictures
from saywhy.image import read
from saywhy.metrics import CONTROLS
from saywhy.saliency import display, saliency_of

HERE = Path(__file__).parent
RESULT = HERE / "results" / "saliency_table.json"
PAGE = HERE.parent / "docs" / "saliency-table.md"
KEPT = [f"{kind}{nu}" for nu in (100, 50, 15) for kind in ("ad", "ic")]
METRICS = [*KEPT, *(f"{m}-ranked" for m in KEPT), "mean-value", "insertion", "deletion", "insertion-deletion"]
OFTEN = ["score-cam-grouped", "occlusion", "rise", "score-cam"]
ROWS = [
    *CONTROLS, "grad-cam", "hires-cam", "cam", "layer-cam", "score-cam-grouped", "grad-cam++", "occlusion",
    "eigen-cam", "ablation-cam", "rise", "finer-cam", "score-cam",
]  # fmt: skip
# On a network that ends in global average pooling and one linear layer these are grad-cam, up to a factor: where every
# map is found to be the same, so are its scores.
SAME = {"cam": "grad-cam", "hires-cam": "grad-cam"}
OPTIONS: dict[str, dict[str, Any]] = {"rise": {"masks": 500}}
STEPS = 8
PHOTOS_OF_OFTEN = 60
TABLES = {
    "AD and IC with the maps' own values": [*KEPT, "mean-value"],
    "AD and IC with values equalised by rank": [f"{m}-ranked" for m in KEPT],
    "Insertion and deletion": ["insertion", "deletion", "insertion-deletion"],
}


def pictures(scratch: Path) -> tuple[Classifier, list[Item], str]:
    """The classifier, the pictures and what they are."""
    data = os.environ.get("SAYWHY_DATA")
    if data:
        return saywhy.load_classifier(), find_images(Path(data) / "imagenet300"), "300 ImageNet photos"
    from saywhy.aviary import write

    print("SAYWHY_DATA is not set: the birds of the aviary are measured, not the 300 photos")
    write(scratch / "aviary", images=120, seed=5)
    return saywhy.load_classifier("aviary:cnn"), find_images(scratch / "aviary"), "120 birds of the aviary"


def measured(clf: Classifier, items: Sequence[Item], method: str, folder: Path, few: int) -> Evaluation | None:
    """One method's row, from its checkpoint where there is one; None where the classifier cannot serve it."""
    file = folder / f"{method}-{few}.json" if method in OFTEN else folder / f"{method}.json"
    if not file.exists():
        control = method in CONTROLS
        twin = folder / f"{SAME.get(method)}.json"
        try:
            if twin.exists() and same_maps(clf, items, method, SAME[method]):
                only = evaluate(clf, items[:64], [method], ["mean-value"], controls=[])
                file.write_text(json_text(as_twin(from_dict(json.loads(twin.read_text())), only).to_dict(values=True)))
                return from_dict(json.loads(file.read_text()))
            found = evaluate(
                clf, items, [] if control else [method], METRICS, controls=[method] if control else [],
                perturbation_limit=few, options=OPTIONS, conventions=Conventions(steps=STEPS),
            )  # fmt: skip
        except UsageError as e:
            print(f"{method}: {e}")
            return None
        file.write_text(json_text(found.to_dict(values=True)))
    return from_dict(json.loads(file.read_text()))


def same_maps(clf: Classifier, items: Sequence[Item], one: str, other: str) -> bool:
    """Whether two methods give the same display map of every picture, to 1e-4."""
    for start in range(0, len(items), 16):
        tap = clf.tap(clf.prepare([read(item.path) for item in items[start : start + 16]])[0])
        raws = [saliency_of(tap, tap.resolve(None), method) for method in (one, other)]
        first, second = (display(raw, tap.image_size)[0] for raw in raws)
        if float((first - second).abs().max()) > 1e-4:
            return False
    return True


def as_twin(found: Evaluation, only: Evaluation) -> Evaluation:
    """The scores of one method under another's name and costs."""
    (row,) = only.rows
    costs = {k: getattr(row, k) for k in ("method", "forward_passes", "tail_passes", "milliseconds")}
    return replace(found, rows=(replace(found.rows[0], **costs),))


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """All rows in one evaluation."""
    rows = tuple(row for part in parts for row in part.rows)
    conventions: dict[str, str | float] = {}
    for part in parts:
        conventions |= part.conventions
    notes = tuple(dict.fromkeys(n for part in parts for n in part.notes))
    return replace(parts[0], rows=rows, conventions=conventions, notes=notes)


def on_the_few(found: Evaluation) -> Evaluation:
    """Every row on the photos that the slowest methods were measured on."""
    few = min((r.pictures for r in found.rows if r.method in OFTEN), key=len, default=found.rows[0].pictures)
    return replace(found, rows=tuple(on_pictures(r, few) for r in found.rows), notes=())


def sections(found: Evaluation, title: str) -> str:
    """The tables of an evaluation, a few columns each."""
    lines = [f"## {title}\n"]
    for heading, names in TABLES.items():
        part = replace(found, columns=tuple(found.column(n) for n in names))
        table, legend = part.table("markdown").split("\n\n", 1)
        lines.append(f"### {heading}\n\n{table}\n")
    return "\n".join(lines) + "\n" + legend.split("\n- `")[0] + "\n"


def machine() -> Mapping[str, str | int]:
    """Where this was measured."""
    return {
        "machine": platform.machine(), "processors": os.cpu_count() or 0, "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "saywhy": saywhy.__version__,
    }  # fmt: skip


def between(page: Path, text: str) -> None:
    """Puts the tables between the page's two marks; what is written around them by hand stays."""
    start, stop = "<!-- tables -->", "<!-- end of tables -->"
    old = page.read_text(encoding="utf-8") if page.exists() else f"# Saliency methods compared\n\n{start}\n{stop}\n"
    before, after = old.split(start)[0], old.split(stop)[1]
    page.write_text(f"{before}{start}\n\n{text}\n{stop}{after}", encoding="utf-8")


def publish(parts: Sequence[Evaluation], what: str) -> None:
    """Writes the result file and the page from what there is so far."""
    whole = joined(parts)
    few = on_the_few(whole)
    RESULT.parent.mkdir(exist_ok=True)
    results = {"pictures": what, **machine(), "all": whole.to_dict(), "same_pictures": few.to_dict()}
    RESULT.write_text(json_text(results))
    count = len(few.rows[0].pictures)
    text = sections(whole, f"All photos: {what}") + f"\n{sections(few, f'The same {count} photos for every method')}"
    between(PAGE, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "saywhy-saliency-table")
    parser.add_argument("--methods", nargs="*", default=ROWS)
    parser.add_argument("--photos-of-slow-methods", type=int, default=PHOTOS_OF_OFTEN)
    given = parser.parse_args()
    given.checkpoints.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    clf, items, what = pictures(given.checkpoints)
    parts = []
    for method in given.methods:
        assert method in CONTROLS or asks_often(method) == (method in OFTEN)
        found = measured(clf, items, method, given.checkpoints, given.photos_of_slow_methods)
        if found is not None:
            parts.append(found)
            row = found.rows[0]
            print(method, len(row.pictures), f"{row.cells['ad50'].mean:.1f}", flush=True)
            publish(parts, what)


if __name__ == "__main__":
    main()
