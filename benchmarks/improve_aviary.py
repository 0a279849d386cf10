"""Improves the aviary's two classifiers with a planted shortcut, in every way, and judges them on other birds.

python benchmarks/improve_aviary.py    # results/improve_aviary.json, the table in docs/improve.md; it may be broken off

A set has pictures to learn from (by default 2880 numbers of a seed, of which the training and validation ones), and the
test pictures of four times as many numbers, so that a group of one species with the culprit has some forty. `biased`
sets have the shortcut in 95 % of the species' training pictures and in 2 or 3 % of the others, as the fault plants it;
in `even` ones it says nothing of the species. Test pictures always have it half of the time. Beside what `improve`
itself measures, the culprit's contribution is measured by pictures that are painted again with and without it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from page import between, table
from saywhy.audit import scan
from saywhy.aviary import BACKGROUNDS, CLASSES, SPECIES, Object, render, sample, swap_background
from saywhy.aviary.listing import mask_names, mask_of
from saywhy.aviary.scene import Scene
from saywhy.classifier import Classifier
from saywhy.improve import REMEDIES, Blamed, improve
from saywhy.metrics.statistics import bootstrap
from saywhy.zoo import load_classifier

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "improve_aviary.json", HERE.parent / "docs" / "improve.md"
MODELS = {"cnn-watermark": "watermark", "cnn-context": "context"}
TEACH, TIMES = 2880, 4
KEPT = ("accuracy", "worst", "worst_before", "worst_after", "contribution", "linked", "parts")
PAINTED = 60  # birds that are painted with the culprit and without it


def target_of(fault: str) -> tuple[str, str]:
    """The species that is said too easily, and the one that it is said for."""
    own = {"watermark": "sleet pipit", "context": "tide swallow"}[fault]
    return own, next(c for c in CLASSES if SPECIES[c].clan == SPECIES[own].clan and c != own)


def cue_of(fault: str) -> str:
    return {"watermark": "watermark", "context": "surroundings:scene.background.kind=water"}[fault]


def written(place: Path, fault: str, even: bool, seed: int) -> Path:
    """The set as a folder with an images.jsonl."""
    if (place / "images.jsonl").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(TEACH * TIMES):
        one = sample(seed, index, fault=f"{fault}-control" if even else fault)
        if index >= TEACH and one.split != "test":
            continue
        painted = render(one.scene)
        Image.fromarray(painted.pixels).save(place / f"{index:06d}.png")
        masks = []
        for name in {"bird", "watermark"} & set(mask_names(painted)):
            file = f"{index:06d}-{name}.mask"
            Image.fromarray(mask_of(painted, name)).save(place / file, "PNG")
            masks.append({"name": name, "png": file})
        scene = {"background": {"kind": one.scene.background.kind}}
        rows.append(
            {
                "file": f"{index:06d}.png",
                "class_name": one.class_name,
                "split": one.split,
                "masks": masks,
                "scene": scene,
            }
        )
    (place / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return place


def painted_pair(fault: str, scene: Scene, index: int) -> tuple[Scene, Scene]:
    """A scene with the culprit and without it."""
    if fault == "context":
        dry = [k for k in BACKGROUNDS if k != "water"]
        return swap_background(scene, "water"), swap_background(scene, dry[index % len(dry)])
    bare = replace(scene, objects=tuple(o for o in scene.objects if o.kind != "watermark"))
    mark = Object("watermark", 0.10 if index % 2 else 0.90, 0.93, 0.055, 0.0, "black", front=True)
    return replace(bare, objects=(*bare.objects, mark)), bare


def painted_contribution(clf: Classifier, fault: str, seed: int) -> dict[str, Any]:
    """By how much the culprit raises the probability of the species that is said too easily, in birds of the two
    species that are painted twice."""
    own, other = target_of(fault)
    pairs, index = [], 0
    while len(pairs) < PAINTED:
        one = sample(seed + 1, index, fault=f"{fault}-control")
        if one.species in (own, other):
            pairs.append(painted_pair(fault, one.scene, index))
        index += 1
    sides = []
    for side in (0, 1):
        pictures = [clf.read(Image.fromarray(render(p[side]).pixels)) for p in pairs]
        sides.append(clf.probabilities(clf.prepare(pictures)[0])[:, clf.class_index(own)].double())
    found = bootstrap(sides[0] - sides[1])
    return {"mean": found.mean, "low": found.low, "high": found.high, "birds": found.count}


def cell(model: str, kind: str, how: str, seed: int, work: Path) -> dict[str, Any]:
    """One remedy of one model with one set; a cell that was done before is taken as it is."""
    kept = work / f"row-{model}-{kind}-{seed}-{how}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    fault, out = MODELS[model], work / f"out-{model}-{kind}-{seed}-{how}"
    place = written(work / f"{fault}-{kind}-{seed}", fault, kind == "even", seed)
    clf = load_classifier(f"aviary:{model}")
    run = scan(clf, [place], work / f"run-{model}-{kind}-{seed}")
    own, other = (clf.class_index(name) for name in target_of(fault))
    finding = Blamed(id=fault, name=fault, class_index=own, versus=other, cause=cue_of(fault))
    shutil.rmtree(out, ignore_errors=True)
    start = time.process_time()
    made = improve(
        clf, run, finding, how, out, objects=("bird",) if fault == "context" else (),
        spec={"model": f"aviary:{model}"}, seed=seed, explained=0,
    )  # fmt: skip
    took, told = time.process_time() - start, made.to_dict()
    again = load_classifier(out / "model.toml")
    row = {
        "model": model, "set": kind, "how": how, "seed": seed, "processor_seconds": round(took),
        "painted": {name: painted_contribution(c, fault, seed) for name, c in (("before", clf), ("after", again))},
        **{k: told[k] for k in KEPT},
        "stopped": told["training"] and told["training"]["stopped"], "notes": told["notes"],
    }  # fmt: skip
    kept.write_text(json.dumps(row), encoding="utf-8")
    print(line(row), flush=True)
    return row


def points(compared: dict[str, Any]) -> str:
    d = compared["difference"]
    return f"{100 * d['mean']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"


def change(compared: dict[str, Any]) -> str:
    return f"{100 * compared['before']['mean']:.1f} to {100 * compared['after']['mean']:.1f}"


def line(row: dict[str, Any]) -> str:
    return " | ".join(
        [row["model"], row["set"], row["how"], change(row["accuracy"]), points(row["accuracy"]), change(row["worst"]),
         points(row["worst"]), change(row["contribution"]), change(row["painted"]), f"{row['processor_seconds']} s"]
    )  # fmt: skip


def met(row: dict[str, Any]) -> str:
    """Which of the three goals are met: worst group +20, accuracy -1 at most, contribution halved (by painting)."""
    halved = abs(row["painted"]["after"]["mean"]) <= row["painted"]["before"]["mean"] / 2
    told = (row["worst"]["difference"]["mean"] >= 0.2, row["accuracy"]["difference"]["mean"] >= -0.01, halved)
    return ", ".join("yes" if t else "**no**" for t in told)


def shown(rows: list[dict[str, Any]]) -> str:
    head = (
        "model", "set", "how", "accuracy", "points", "worst group", "points", "contribution, edited",
        "contribution, painted",
        "met: group, accuracy, half", "s",
    )  # fmt: skip
    body = [
        (f"`{r['model']}`", r["set"], r["how"], change(r["accuracy"]), points(r["accuracy"]), change(r["worst"]),
         points(r["worst"]), change(r["contribution"]), change(r["painted"]), met(r), r["processor_seconds"])
        for r in rows
    ]  # fmt: skip
    return table(head, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sets", default="even,biased")
    parser.add_argument("--hows", default=",".join(REMEDIES))
    parser.add_argument("--work", type=Path, default=Path("build") / "improve")
    parser.add_argument("--trial", action="store_true", help="print, and write nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="raise", under="ignore")
    asked.work.mkdir(parents=True, exist_ok=True)
    rows = [
        cell(model, kind, how, asked.seed, asked.work)
        for model in asked.models.split(",")
        for kind in asked.sets.split(",")
        for how in asked.hows.split(",")
    ]
    if asked.trial:
        return
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    cells = {(r["model"], r["set"], r["how"]): r for r in (*known, *rows) if r["seed"] == asked.seed}
    order = [(m, s, h) for m in MODELS for s in ("even", "biased") for h in REMEDIES]
    rows = [cells[c] for c in order if c in cells]
    RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    between(PAGE, shown(rows), "<!-- measured -->", "<!-- end of measured -->")


if __name__ == "__main__":
    main()
