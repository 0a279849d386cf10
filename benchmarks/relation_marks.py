"""Whether concepts catch the small parts that a relation is between: of relation classifiers, and of their other parts.

    python benchmarks/relation_marks.py [--pictures 120] [--birds 60] [MODEL ...]

A bank is made of pictures of one seed; on birds of another the best overlap (intersection by union) of any concept in
the picture with each part. Writes results/relation_marks.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import saywhy
from concepts_aviary import COVERED, SEEDS, mean, overlap, part_masks
from graph_aviary import pictures
from saywhy.concepts.finding import find_concepts
from saywhy.concepts.making import make_bank
from saywhy.evaluate.part_effects import test_birds
from saywhy.image import read
from saywhy.seen import look
from sentence_measures import machine

RESULT = Path(__file__).parent / "results" / "relation_marks.json"


def measure(name: str, count: int, birds: int) -> dict[str, Any]:
    clf = saywhy.load_classifier(name)
    with tempfile.TemporaryDirectory() as folder:
        bank = make_bank(clf, pictures(clf, Path(folder), count))[0]
    found: dict[str, list[tuple[float, int]]] = {"of the relation": [], "others": []}
    for bird in test_birds(clf, birds, SEEDS["chosen"])[0]:
        if bird.pair is None:
            continue
        labels = find_concepts(bank, look(clf, read(bird.rendered.pixels), bird.target), ()).labels
        there = [labels == j for j in torch.unique(labels).tolist() if j >= 0]
        for part, mask in part_masks(clf, bird).items():
            best = max((overlap(one, mask) for one in there), default=0.0)
            found["of the relation" if part in bird.pair else "others"].append((best, int(mask.sum())))
    return {"model": name, "pictures": count, "concepts": len(bank)} | {
        which: {
            "parts": len(rows),
            "iou": round(mean([iou for iou, _ in rows]), 3),
            "covered": round(mean([iou >= COVERED for iou, _ in rows]), 3),
            "pixels": float(np.median([size for _, size in rows])),
        }
        for which, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["aviary:cnn-relations", "aviary:vit-relations"])
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--birds", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, given.pictures, given.birds) for name in given.models]
    RESULT.write_text(json.dumps(machine() | {"rows": rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
