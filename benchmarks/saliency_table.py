"""AD, IC, insertion and deletion of every saliency method and of the controls, on 300 photos.

    SAYWHY_DATA=/path/to/data python benchmarks/saliency_table.py

SAYWHY_DATA names a folder with `imagenet300/images.jsonl`; without it the birds of the aviary are measured instead,
and the table says so. Every method's answer is kept in --checkpoints, so that a run that was cut off goes on. Where
onnxruntime is installed, passes that need scores alone go through an ONNX copy of the network, after it is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import saywhy
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.errors import UsageError
from saywhy.evaluate import Conventions, Evaluation, evaluate
from saywhy.evaluate.result import from_dict, json_text, on_pictures
from saywhy.image import read
from saywhy.metrics import CONTROLS
from saywhy.saliency import METHODS, display, saliency_of

HERE = Path(__file__).parent
RESULT = HERE / "results" / "saliency_table.json"
PAGE = HERE.parent / "docs" / "saliency-table.md"
OWN = [f"{kind}{nu}" for nu in (100, 50, 15) for kind in ("ad", "ic")]
RANKED = [f"{name}-ranked" for name in OWN]
KEPT = [*OWN, *RANKED, "mean-value"]
CURVES = ["insertion", "deletion", "insertion-deletion"]
OFTEN = ["score-cam-grouped", "occlusion", "rise", "score-cam"]
ROWS = [
    *CONTROLS, "grad-cam", "hires-cam", "cam", "layer-cam", "score-cam-grouped", "grad-cam++", "eigen-cam",
    "ablation-cam", "finer-cam", "occlusion", "rise", "score-cam",
]  # fmt: skip
# On a network that ends in global average pooling and one linear layer these are grad-cam, up to a factor: where every
# map is found to be the same, so are its scores.
SAME = {"cam": "grad-cam", "hires-cam": "grad-cam"}
OPTIONS: dict[str, dict[str, Any]] = {"rise": {"masks": 500}}
STEPS = 8
TABLES = {
    "AD and IC with the maps' own values": [*OWN, "mean-value"],
    "AD and IC with values equalised by rank": RANKED,
    "Insertion and deletion": CURVES,
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


class _Normalised(nn.Module):
    """The network with its normalisation before it."""

    def __init__(self, clf: Classifier) -> None:
        super().__init__()
        self.net = clf.net
        self.mean = torch.tensor(clf.preprocess.mean)[:, None, None]
        self.std = torch.tensor(clf.preprocess.std)[:, None, None]

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images - self.mean) / self.std)


def onnx_copy(clf: Classifier, folder: Path) -> Classifier | None:
    """The network in onnxruntime, on one thread, if it is installed and answers the same to 1e-4."""
    try:
        import onnxruntime as ort
    except ImportError:
        print("onnxruntime is not installed: all passes go through torch")
        return None
    file, (H, W) = folder / "network.onnx", clf.preprocess.size
    axes = {"images": {0: "n"}, "scores": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Normalised(clf).eval(), (torch.rand(2, 3, H, W),), file, dynamo=False, opset_version=17,
            input_names=["images"], output_names=["scores"], dynamic_axes=axes,
        )  # fmt: skip
    how = ort.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    session = ort.InferenceSession(str(file), how, providers=["CPUExecutionProvider"])
    copy = Classifier(
        lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]),
        classes=clf.class_names, preprocess=clf.preprocess, name=clf.name, batch_size=4,
    )  # fmt: skip
    noise = torch.rand(8, 3, H, W, generator=torch.Generator().manual_seed(0))
    difference = float((copy.probabilities(noise) - clf.probabilities(noise)).abs().max())
    print(f"ONNX copy: probabilities differ by {difference:.1e}")
    return copy if difference < 1e-4 else None


class Bench:
    """What stays the same for all methods."""

    def __init__(self, folder: Path, photos: int, few: int, curves: int) -> None:
        self.clf, self.items, self.what = pictures(folder)
        self.judge = onnx_copy(self.clf, folder)
        self.folder, self.photos, self.few, self.curves = folder, photos, few, min(photos, curves)

    def row(self, method: str, metrics: Sequence[str], limit: int | None = None) -> Evaluation:
        """One method measured."""
        control = method in CONTROLS
        return evaluate(
            self.clf, self.items, [] if control else [method], metrics, controls=[method] if control else [],
            limit=limit, options=OPTIONS, conventions=Conventions(steps=STEPS), judge=self.judge,
        )  # fmt: skip

    def kept(self, method: str, metrics: Sequence[str], photos: int, what: str) -> Evaluation:
        """A method on a seeded subset of so many photos, or of more where a checkpoint has them; else measured now."""
        files = {int(f.stem.rsplit("-", 1)[1]): f for f in self.folder.glob(f"{method}-{what}-*.json")}
        enough = [n for n in files if n >= photos]
        file = files[max(enough)] if enough else self.folder / f"{method}-{what}-{photos}.json"
        if not enough:
            file.write_text(json_text(self.row(method, metrics, photos).to_dict(values=True)))
        return from_dict(json.loads(file.read_text()))

    def measured(self, method: str) -> tuple[Evaluation, Evaluation]:
        """AD and IC, and the curves, of one method."""
        if method in OFTEN:
            both = self.kept(method, [*KEPT, *CURVES], self.few, "all")
            return columns(both, KEPT), columns(both, CURVES)
        if method in SAME and self.same_maps(method, SAME[method]):
            only = self.kept(method, ["mean-value"], min(64, len(self.items)), "costs")
            first, second = self.measured(SAME[method])
            return as_twin(first, only), as_twin(second, only)
        return self.kept(method, KEPT, self.photos, "kept"), self.kept(method, CURVES, self.curves, "curves")

    def same_maps(self, one: str, other: str) -> bool:
        """Whether two methods give the same display map of every picture, to 1e-3."""
        note = self.folder / f"{one}-same.txt"
        if not note.exists():
            worst = 0.0
            for start in range(0, len(self.items), 16):
                photos = [read(item.path) for item in self.items[start : start + 16]]
                tap = self.clf.tap(self.clf.prepare(photos)[0])
                first, second = (
                    display(saliency_of(tap, tap.resolve(None), m), tap.image_size)[0] for m in (one, other)
                )
                worst = max(worst, float((first - second).abs().max()))
            note.write_text(str(worst))
            print(f"{one} and {other}: display maps differ by {worst:.1e} at most")
        return float(note.read_text()) < 1e-3


def columns(found: Evaluation, names: Sequence[str]) -> Evaluation:
    """The evaluation with these columns alone."""
    rows = tuple(replace(r, cells={n: r.cells[n] for n in names}) for r in found.rows)
    return replace(found, columns=tuple(found.column(n) for n in names), rows=rows)


def as_twin(found: Evaluation, only: Evaluation) -> Evaluation:
    """The scores of one method under another's name and costs."""
    (row,) = only.rows
    costs = {k: getattr(row, k) for k in ("method", "forward_passes", "tail_passes", "milliseconds")}
    return replace(found, rows=(replace(found.rows[0], **costs),))


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """All rows in one evaluation."""
    rows = sorted((row for part in parts for row in part.rows), key=lambda r: ROWS.index(r.method))
    conventions: dict[str, str | float] = {}
    for part in parts:
        conventions |= part.conventions
    return replace(parts[0], rows=tuple(rows), conventions=conventions)


def on_the_few(found: Evaluation) -> Evaluation:
    """Every row on the photos that all rows were measured on."""
    few = min((r.pictures for r in found.rows), key=len)
    return replace(found, rows=tuple(on_pictures(r, few) for r in found.rows))


def sections(found: Sequence[Evaluation], title: str) -> str:
    """The tables of AD and IC and of the curves, a few columns each."""
    lines, legend = [f"## {title}\n"], ""
    for heading, names in TABLES.items():
        part = columns(found[names == CURVES], names)
        table, legend = part.table("markdown").split("\n\n", 1)
        lines.append(f"### {heading}\n\n{table}\n")
    return "\n".join(lines) + "\n" + legend.split("\n- `")[0] + "\n"


def machine(bench: Bench) -> Mapping[str, str | int]:
    """Where this was measured."""
    return {
        "machine": platform.machine(), "processors": os.cpu_count() or 0, "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "saywhy": saywhy.__version__,
        "scores": "torch" if bench.judge is None else "an ONNX copy in onnxruntime",
    }  # fmt: skip


def between(page: Path, text: str) -> None:
    """Puts the tables between the page's two marks; what is written around them by hand stays."""
    start, stop = "<!-- tables -->", "<!-- end of tables -->"
    old = page.read_text(encoding="utf-8") if page.exists() else f"# Saliency methods compared\n\n{start}\n{stop}\n"
    before, after = old.split(start)[0], old.split(stop)[1]
    page.write_text(f"{before}{start}\n\n{text}\n{stop}{after}", encoding="utf-8")


def publish(bench: Bench, parts: Sequence[tuple[Evaluation, Evaluation]]) -> None:
    """Writes the result file and the page from what there is so far."""
    whole = [joined([p[i] for p in parts]) for i in (0, 1)]
    few = [on_the_few(w) for w in whole]
    RESULT.parent.mkdir(exist_ok=True)
    kinds = ("ad and ic", "curves")
    results = {
        "pictures": bench.what, **machine(bench),
        "all": dict(zip(kinds, (w.to_dict() for w in whole), strict=True)),
        "same_pictures": dict(zip(kinds, (f.to_dict() for f in few), strict=True)),
    }  # fmt: skip
    RESULT.write_text(json_text(results))
    text = sections(whole, f"All that was measured: {bench.what}")
    count = len(few[0].rows[0].pictures)
    between(PAGE, text + f"\n{sections(few, f'The same {count} photos for every method')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "saywhy-saliency-table")
    parser.add_argument("--methods", nargs="*", default=ROWS)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--photos-of-slow-methods", type=int, default=60)
    parser.add_argument("--photos-of-curves", type=int, default=300)
    given = parser.parse_args()
    given.checkpoints.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    bench = Bench(given.checkpoints, given.photos, given.photos_of_slow_methods, given.photos_of_curves)
    parts = []
    for method in given.methods:
        assert method in CONTROLS or (METHODS[method].cost == "many") == (method in OFTEN)
        try:
            parts.append(bench.measured(method))
        except UsageError as e:
            print(f"{method}: {e}")
            continue
        row = parts[-1][0].rows[0]
        print(method, len(row.pictures), f"AD50 {row.cells['ad50'].mean:.1f}", flush=True)
        publish(bench, parts)


if __name__ == "__main__":
    main()
