"""L-CAM on the aviary: Img against Fm, the full loss against cross-entropy only, and both against other methods.

    python benchmarks/lcam_birds.py [--birds 40] [--photos 240]

The heads are fitted to `--photos` clean birds of one seed and judged on `--birds` of another by the protocol: the
energy on the parts that the species' rule names, and how well a map ranks what the classifier really loses without each
part; and by AD, IC, insertion and deletion.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import saywhy
from saywhy.aviary.dataset import write
from saywhy.collection import find_images
from saywhy.evaluate import evaluate
from saywhy.evaluate.protocol import evaluate_aviary
from saywhy.train.lcam import RECIPES, Recipe, fit_lcam
from saywhy.train.masks import CE_ONLY
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_birds.json"
CONFIG = replace(RECIPES["fast"].config, epochs=15, batch_size=32, lr=3e-3)
ROWS = Recipe("rows", CONFIG, form="rows", crop=False)
HEADS: dict[str, Recipe] = {
    "img": ROWS,
    "img, CE only": replace(ROWS, coefficients=CE_ONLY),
    "fm": replace(ROWS, kind="fm"),
    "fm, CE only": replace(ROWS, kind="fm", coefficients=CE_ONLY),
    "img, cross": replace(ROWS, mode="cross"),
    "img, shared": replace(ROWS, form="shared"),
    "refined": replace(RECIPES["refined"], masks=48),
}
METHODS = ("grad-cam", "grad-cam++", "score-cam", "rise")
BIRDS = ("epg", "nra", "effect-rank")
KEPT = ("ad100", "ad50", "ad15", "ic100", "ic50", "ic15", "ad50-ranked", "insertion", "deletion", "mean-value")


def rows(found: Any) -> dict[str, dict[str, Any]]:
    return {
        r.method: {k: [c.mean, c.low, c.high] for k, c in r.cells.items()} | {"passes": r.forward_passes}
        for r in found.rows
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--birds", type=int, default=40)
    parser.add_argument("--photos", type=int, default=240)
    parser.add_argument("--models", default="cnn,vit")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
        "versions": {"saywhy": saywhy.__version__, "torch": torch.__version__},
        "birds": given.birds, "photos": given.photos, "models": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        fit_on = find_images(write(Path(folder) / "fit", images=given.photos, seed=31))
        test = find_images(write(Path(folder) / "test", images=given.birds, seed=32))
        for model in given.models.split(","):
            clf = load_classifier(f"aviary:{model}")
            known = {"rise": {"masks": 200}}
            birds = rows(evaluate_aviary(clf, METHODS, BIRDS, limit=given.birds, options=known, spoiled=1))
            seen = rows(evaluate(clf, test, METHODS, KEPT, options=known))
            table = {m: birds.get(m, {}) | seen.get(m, {}) for m in {**birds, **seen}}
            for name, recipe in HEADS.items():
                began = time.process_time()
                head = fit_lcam(clf, fit_on, recipe).lcam
                spent = time.process_time() - began
                option = {"l-cam": {"head": head}}
                b = evaluate_aviary(clf, ["l-cam"], BIRDS, controls=(), limit=given.birds, options=option, spoiled=1)
                s = evaluate(clf, test, ["l-cam"], KEPT, controls=(), options=option)
                table[f"l-cam-{name}"] = rows(b)["l-cam"] | rows(s)["l-cam"] | {"fit_seconds": round(spent, 1)}
                print(
                    model, name, {k: v[0] for k, v in table[f"l-cam-{name}"].items() if isinstance(v, list)}, flush=True
                )
            result["models"][model] = table
            given.out.parent.mkdir(exist_ok=True)
            given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
