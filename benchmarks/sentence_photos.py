"""The sentences about photos: foreign fills, moved patches, stability; on EfficientNet-lite0 and on few-class models.

    SAYWHY_DATA=/path/to/data python benchmarks/sentence_photos.py photos|few3|few10 [--range 100 200]... [--fast]

SAYWHY_DATA names a folder with `imagenet300/` and `cub10/`. Photos of imagenet300 in these ranges (the second number is
left out) are explained, or as many test photos of cub10 by a classifier of 3 or 10 species fine-tuned on its train
photos. Writes results/sentence_truth_NAME.json, with `-fast` behind the name where they are explained in the fast way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcam_rows import photos_folder
from saywhy import Classifier, load_classifier
from saywhy.collection import find_images
from saywhy.errors import SaywhyError
from saywhy.image import read
from sentence_measures import Tally, machine, measure
from sentence_models import few_classes, species_of

RESULTS = Path(__file__).parent / "results"
FEW = {"few3": 3, "few10": 10}
AGAIN = 3  # every third photo is explained again after each disturbance


def subjects(name: str, ranges: list[list[int]]) -> tuple[Classifier, list[Path], dict[str, Any]]:
    """The classifier, the photos, and what is to be known of them."""
    data, clf = photos_folder(), load_classifier("efficientnet-lite0")
    if name not in FEW:
        items = find_images(data / "imagenet300")
        told = " and ".join(f"{first} to {last - 1}" for first, last in ranges)
        paths = [i.path for first, last in ranges for i in items[first:last]]
        return clf, paths, {"photos": f"imagenet300, {told}"}
    folder = data / "cub10"
    species = species_of(folder)[: FEW[name]]
    fitted, right = few_classes(clf, folder, species)
    test = [i.path for i in find_images(folder) if i.split == "test" and i.class_name in species]
    step = max(1, len(test) // sum(last - first for first, last in ranges))
    return fitted, test[::step], {"photos": f"cub10, test photos of {len(species)} species", "right": round(right, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["photos", *FEW])
    parser.add_argument("--range", type=int, nargs=2, action="append", metavar=("FIRST", "LAST"))
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    clf, paths, about = subjects(given.name, given.range or [[100, 200]])
    tally, start, failed = Tally(), time.perf_counter(), 0
    for n, path in enumerate(paths):
        print(f"{given.name} {n + 1} of {len(paths)}", file=sys.stderr, flush=True)
        try:
            other = read(paths[(n + len(paths) // 2) % len(paths)])
            measure(clf, replace(read(path), path=None), other, n, tally, again=n % AGAIN == 0, fast=given.fast)
        except SaywhyError as e:
            failed += 1
            print(f"failed: {path}: {e}", file=sys.stderr)
    row = {
        **machine(), **about, "model": clf.name, "count": len(paths), "failed": failed,
        "minutes": round((time.perf_counter() - start) / 60, 1), **tally.to_dict(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"sentence_truth_{given.name}{'-fast' if given.fast else ''}.json"
    file.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
