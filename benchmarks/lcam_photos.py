"""L-CAM heads on photos of classes that they never saw, beside gradient CAMs and controls that nobody trained.

    SAYWHY_DATA=/path/to/data python benchmarks/lcam_photos.py [--folds 5] [--heads answers,img] [--onnx]

SAYWHY_DATA names a folder with `imagenet300/images.jsonl`, one photo a class. Five folds by class: each head is fitted
on four fifths and measured on the rest, so that every photo is measured once as a class never seen. With --folds 1
only the first fold is measured, and the table says so. --onnx measures with onnxruntime, equal to 1e-4 and faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saywhy
from saywhy.classifier import Classifier
from saywhy.collection import find_images
from saywhy.image import read
from saywhy.metrics import CONTROLS, faithfulness_all, reference
from saywhy.saliency import display, saliency
from saywhy.saliency.lcam import LCam
from saywhy.train.lcam import RECIPES, Recipe, fit_lcam
from saywhy.train.masks import CE_ONLY
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_photos.json"
FOLDS, STEPS = 5, 8
NUS = (100.0, 50.0, 15.0)
COLUMNS = (
    "ad100", "ad50", "ad15", "ic100", "ic50", "ic15", "mean-value",
    "ad50-ranked", "ad15-ranked", "ic50-ranked", "insertion", "deletion", "insertion-deletion",
)  # fmt: skip
FAST = RECIPES["fast"]
HEADS: dict[str, Recipe] = {
    "l-cam-img": replace(FAST, config=replace(FAST.config, epochs=3)),
    "l-cam-fm": replace(FAST, kind="fm", config=replace(FAST.config, epochs=6)),
    "l-cam-fm, CE only": replace(FAST, kind="fm", coefficients=CE_ONLY, config=replace(FAST.config, epochs=6)),
}


def untrained(clf: Classifier, images: Tensor) -> dict[str, Tensor]:
    """Display maps (N, H, W) of CAM and of what needs no training: powers and the sigmoid of it, and the centre."""
    size = (int(images.shape[2]), int(images.shape[3]))
    cam = saliency(clf, images, method="cam")
    raw = cam.raw
    soft, _ = display(torch.sigmoid(0.25 * raw - 1.9), size)
    return {
        "grad-cam": saliency(clf, images, method="grad-cam").display,
        "cam^0.5": cam.display.sqrt(),
        "sigmoid(cam)": soft,
        "cam x centre": cam.display * CONTROLS["centre"](len(images), size),
        "centre": CONTROLS["centre"](len(images), size),
    }


def raw_sigmoid(head: LCam, clf: Classifier, images: Tensor) -> Tensor:
    """The head's map with the sigmoid that it was trained with, instead of min-max of the raw map."""
    tap = clf.tap(images, head.points(clf))
    with torch.no_grad():
        S = head.maps(tap, tap.logits.argmax(dim=1)[:, None])[:, 0].sigmoid()
    return torch.nn.functional.interpolate(S[:, None], images.shape[2:], mode="bilinear")[:, 0]


def measured(ask: Callable[[Tensor], Tensor], images: Tensor, maps: Tensor) -> dict[str, Tensor]:
    return faithfulness_all(ask, images, maps, nus=NUS, steps=STEPS, known=reference(ask, images)).values


def measured_with_the_order_of(
    other: dict[str, Tensor], ask: Callable[[Tensor], Tensor], images: Tensor, maps: Tensor
) -> dict[str, Tensor]:
    """For maps that are an increasing function of others: what depends on the order alone is theirs."""
    own = faithfulness_all(ask, images, maps, nus=NUS, equalised=False, curves=False, known=reference(ask, images))
    return {**other, **own.values}


def asker(clf: Classifier, onnx: bool) -> Callable[[Tensor], Tensor]:
    """Probabilities by the network itself, or by onnxruntime after a check that the two agree."""
    if not onnx:
        return clf.probabilities
    import onnxruntime

    folder = Path(tempfile.mkdtemp())
    example = clf.inputs(torch.rand(2, 3, *clf.preprocess.size)).contiguous()
    torch.onnx.export(
        clf.net, (example,), str(folder / "net.onnx"), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), options)

    def ask(images: Tensor) -> Tensor:
        (scores,) = session.run(None, {"x": clf.inputs(images).contiguous().numpy()})
        return torch.from_numpy(scores).softmax(dim=1)

    images = torch.rand(2, 3, *clf.preprocess.size)
    assert torch.allclose(ask(images), clf.probabilities(images), atol=1e-4)
    return ask


def row(values: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Mean and standard error over photos."""
    joined = {k: torch.cat([v[k] for v in values]).numpy() for k in COLUMNS}
    return {
        "photos": len(next(iter(joined.values()))),
        **{k: [round(float(v.mean()), 5), round(float(v.std(ddof=1) / len(v) ** 0.5), 5)] for k, v in joined.items()},
        "values": {k: np.round(v, 4).tolist() for k, v in joined.items()},
    }


def against(table: dict[str, Any], a: str, b: str) -> dict[str, list[float]]:
    """Paired differences a - b on the photos that both were measured on, with standard errors."""
    out = {}
    for k in ("ad50-ranked", "ad15-ranked", "insertion-deletion"):
        x, y = (np.array(table[name]["values"][k]) for name in (a, b))
        d = x - y[: len(x)]
        out[k] = [round(float(d.mean()), 4), round(float(d.std(ddof=1) / len(d) ** 0.5), 4)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--no-untrained", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    data = os.environ.get("SAYWHY_DATA")
    if not data:
        sys.exit("SAYWHY_DATA is not set: these photos are not part of the project; see benchmarks/lcam_birds.py")
    torch.set_num_threads(1)
    clf = load_classifier("efficientnet-lite0")
    ask, items = asker(clf, given.onnx), find_images(Path(data) / "imagenet300")
    found: dict[str, list[dict[str, Tensor]]] = {}
    cost: dict[str, float] = {}
    for fold in range(given.folds):
        test = items[fold::FOLDS]
        images = clf.prepare([read(i.path) for i in test])[0]
        shown = {} if given.no_untrained else untrained(clf, images)
        for name in given.heads.split(",") if given.heads else []:
            began = time.process_time()
            head = fit_lcam(clf, [i for n, i in enumerate(items) if n % FOLDS != fold], HEADS[name]).lcam
            cost[name] = time.process_time() - began
            shown[name] = saliency(clf, images, method="l-cam", head=head).display
            shown[f"{name}, sigmoid kept"] = raw_sigmoid(head, clf, images)
        for name, maps in shown.items():
            maps = maps.clamp(0, 1)
            if name == "cam^0.5":
                values = measured_with_the_order_of(found["grad-cam"][-1], ask, images, maps)
            else:
                values = measured(ask, images, maps)
            found.setdefault(name, []).append(values)
            brief = {k: round(float(found[name][-1][k].mean()), 3) for k in COLUMNS}
            print(fold, name, brief, flush=True)
    table = {name: row(values) for name, values in found.items()}
    old = json.loads(given.out.read_text())["rows"] if given.out.exists() else {}
    table = {**old, **table}
    result = {
        "question": __doc__.split("\n")[0],
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
        "versions": {"saywhy": saywhy.__version__, "torch": torch.__version__},
        "folds_measured": given.folds, "steps_of_curves": STEPS, "fit_seconds_of_processor": cost,
        "against": {n: {c: against(table, n, c) for c in ("grad-cam", "sigmoid(cam)", "cam x centre") if c in table}
                    for n in table if n.startswith("l-cam")},
        "rows": table,
    }  # fmt: skip
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
