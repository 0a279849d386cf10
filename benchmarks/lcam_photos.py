"""L-CAM heads on photos of classes that they never saw, beside gradient CAMs and controls that nobody trained.

    SAYWHY_DATA=/path/to/data python benchmarks/lcam_photos.py [--folds 0,1,2,3,4] [--heads refined] [--onnx]

SAYWHY_DATA names a folder with `imagenet300/images.jsonl`, one photo a class. Five folds by class: each head is fitted
on four fifths and measured on the rest, so that every photo is measured once as a class never seen. With fewer folds
only their photos are measured, and the table says so. --onnx measures with onnxruntime, equal to 1e-4 and faster.
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
from saywhy.collection import Item, find_images
from saywhy.image import read
from saywhy.metrics import CONTROLS, faithfulness_all, reference
from saywhy.saliency import display, saliency
from saywhy.saliency.lcam import LCam
from saywhy.train.answers import Answers, ask
from saywhy.train.lcam import RECIPES, Recipe, fit_lcam, read_photos
from saywhy.train.lcam import untrained as lcam_untrained
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
MASKS = 96
AGAINST = ("grad-cam", "cam^0.5", "sigmoid(cam)", "cam x centre", "refined, before training")
HEADS: dict[str, Recipe] = {
    "refined": replace(RECIPES["refined"], masks=MASKS),
    "l-cam-img": replace(FAST, config=replace(FAST.config, epochs=3)),
    "l-cam-fm": replace(FAST, kind="fm", config=replace(FAST.config, epochs=6)),
    "l-cam-fm, CE only": replace(FAST, kind="fm", coefficients=CE_ONLY, config=replace(FAST.config, epochs=6)),
}


def asked(
    clf: Classifier, items: list[Item], scores: Callable[[Tensor], Tensor], file: Path | None
) -> dict[str, Tensor]:
    """Masks and the classifier's answers for all photos, from a file where it is there."""
    if file is not None and file.exists():
        return dict(torch.load(file, weights_only=True))
    photos, _ = read_photos(clf, items, crop=False)
    head = lcam_untrained(clf, photos, HEADS["refined"])
    rows = [ask(clf, head, photos[torch.tensor([n])], MASKS, scores=scores) for n in range(len(photos))]
    out = {name: torch.cat([getattr(r, name) for r in rows]) for name in ("masks", "blurred", "answers")}
    if file is not None:
        torch.save(out, file)
    return out


def fitted(
    clf: Classifier, train: list[Item], rows: list[int], recipe: Recipe, known: dict[str, Tensor]
) -> tuple[LCam, LCam]:
    """A head and the same before training; for answers, their basis maps are those of the fold's own untrained head."""
    photos, _ = read_photos(clf, train, crop=recipe.crop)
    before = lcam_untrained(clf, photos, recipe)
    if recipe.kind != "answers":
        return fit_lcam(clf, train, recipe).lcam, before
    basis = []
    for n in range(len(photos)):
        tap = clf.tap(photos[torch.tensor([n])], before.points(clf))
        features = [tap.maps(path) for path in before.layers]
        basis.append(before.head.basis(features, tap.logits.argmax(dim=1)[:, None])[:, 0])
    answers = Answers(**{k: v[rows] for k, v in known.items()}, basis=torch.cat(basis))
    return fit_lcam(clf, train, recipe, answers=answers).lcam, before


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


def save(out: Path, found: dict[str, list[dict[str, Tensor]]], cost: dict[str, float], folds: str) -> None:
    table = {name: row(values) for name, values in found.items()}
    result = {
        "question": __doc__.split("\n")[0],
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
        "versions": {"saywhy": saywhy.__version__, "torch": torch.__version__},
        "folds_measured": folds, "steps_of_curves": STEPS, "fit_seconds_of_processor": cost,
        "against": {n: {c: against(table, n, c) for c in AGAINST if c in table}
                    for n in table if n in HEADS},
        "rows": table,
    }  # fmt: skip
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", default=",".join(map(str, range(FOLDS))), help="numbers of the folds to measure")
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--answers", type=Path, help="keeps the classifier's answers to masks, for another run")
    parser.add_argument("--no-untrained", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    data = os.environ.get("SAYWHY_DATA")
    if not data:
        sys.exit("SAYWHY_DATA is not set: these photos are not part of the project; see benchmarks/lcam_birds.py")
    torch.set_num_threads(1)
    clf = load_classifier("efficientnet-lite0")
    ask_net, items = asker(clf, given.onnx), find_images(Path(data) / "imagenet300")
    known: dict[str, Tensor] = {}
    if any(HEADS[name].kind == "answers" for name in given.heads.split(",") if name):
        known = asked(clf, items, lambda x: ask_net(x).log(), given.answers)
    found: dict[str, list[dict[str, Tensor]]] = {}
    cost: dict[str, float] = {}
    for fold in [int(n) for n in given.folds.split(",")]:
        test = items[fold::FOLDS]
        images = clf.prepare([read(i.path) for i in test])[0]
        shown = {} if given.no_untrained else untrained(clf, images)
        for name in given.heads.split(",") if given.heads else []:
            began = time.process_time()
            rest = [n for n in range(len(items)) if n % FOLDS != fold]
            head, before = fitted(clf, [items[n] for n in rest], rest, HEADS[name], known)
            cost[name] = time.process_time() - began
            if HEADS[name].kind == "answers":
                shown[f"{name}, before training"] = saliency(clf, images, method="l-cam", head=before).display
            shown[name] = saliency(clf, images, method="l-cam", head=head).display
            if HEADS[name].kind != "answers":
                shown[f"{name}, sigmoid kept"] = raw_sigmoid(head, clf, images)
        for name, maps in shown.items():
            maps = maps.clamp(0, 1)
            if name == "cam^0.5":
                values = measured_with_the_order_of(found["grad-cam"][-1], ask_net, images, maps)
            else:
                values = measured(ask_net, images, maps)
            found.setdefault(name, []).append(values)
            brief = {k: round(float(found[name][-1][k].mean()), 3) for k in COLUMNS}
            print(fold, name, brief, flush=True)
        save(given.out, found, cost, given.folds)


if __name__ == "__main__":
    main()
