"""What a whole `saywhy.explain` costs, confirming runs included, in plain forward passes of one image.

    PYTHONPATH=tests/shim python benchmarks/explain_call.py [--photos FOLDER]

EfficientNet-lite0 as it is loaded by default; photos that come with scikit-image and scikit-learn, and a fixed dozen
of FOLDER. Before and after every photo the network's forward pass of that photo alone is timed, five times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from measure import Record, one_thread
from networks import Subject, photos
from saywhy import Classifier, explain, load_classifier, read

CONTRACT = "CPU seconds of one thread; passes = seconds of the call / median seconds of the photo's plain forward pass"


def plain_seconds(s: Subject, image: Tensor, repeats: int = 5) -> list[float]:
    prepare, taken = s.normalised(), []
    for _ in range(repeats):
        start = time.process_time()
        with torch.no_grad():
            s.net(prepare(image))
        taken.append(time.process_time() - start)
    return taken


def row(clf: Classifier, name: str, photo: object) -> dict[str, object]:
    s, picture = Subject("efficientnet-lite0", clf), read(photo)
    image = clf.prepare([picture])[0]
    plain_seconds(s, image, 2)
    before = plain_seconds(s, image)
    start = time.process_time()
    explanation = explain(clf, picture)
    taken = time.process_time() - start
    forward = statistics.median(before + plain_seconds(s, image))
    return {
        "photo": name,
        "seconds": round(taken, 4),
        "plain_forward": round(forward, 5),
        "passes": round(taken / forward, 1),
        "regions": len(explanation.concepts),
        "forward_passes": explanation.cost.forward_passes,
        "tail_passes": explanation.cost.tail_passes,
        "statements": len(explanation.statements),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs, of which a fixed dozen are taken")
    parser.add_argument("--again", action="store_true", help="measure what results/ has already once more")
    given = parser.parse_args()
    one_thread()
    clf = load_classifier("efficientnet-lite0")
    record = Record("explain-call", CONTRACT, given.o, again=given.again)
    given_photos = photos(given.photos)
    explain(clf, given_photos[0][1])  # the dry runs that find the layers belong to loading
    for name, photo in given_photos:
        if not record.has(photo=name):
            record.add(row(clf, name, photo))


if __name__ == "__main__":
    main()
