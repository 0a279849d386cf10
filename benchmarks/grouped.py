"""How near `score-cam-grouped` comes to the exact `score-cam`, and how much faster it is, on real photos.

    PYTHONPATH=tests/shim python benchmarks/grouped.py [--photos FOLDER]

EfficientNet-lite0 as it is loaded by default, the predicted class; rank correlation over the raw map's cells.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from scipy.stats import spearmanr

from measure import Record, one_thread
from networks import photos
from saywhy import Classifier, load_classifier, read, saliency

CONTRACT = "CPU seconds of one thread, one call each; Spearman's rank correlation of the raw maps"


def row(clf: Classifier, name: str, photo: object) -> dict[str, object]:
    image = clf.prepare([read(photo)])[0]
    maps, seconds = {}, {}
    for method in ("score-cam-grouped", "score-cam"):
        start = time.process_time()
        maps[method] = saliency(clf, image, method=method)
        seconds[method] = time.process_time() - start
    a, b = (m.raw.flatten() for m in maps.values())
    return {
        "photo": name,
        "exact_seconds": round(seconds["score-cam"], 3),
        "grouped_seconds": round(seconds["score-cam-grouped"], 3),
        "times_faster": round(seconds["score-cam"] / seconds["score-cam-grouped"], 2),
        "rank_correlation": round(float(spearmanr(a, b).statistic), 4),
        "exact_passes": maps["score-cam"].passes.forward_passes,
        "grouped_passes": maps["score-cam-grouped"].passes.forward_passes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs, of which a fixed eight are taken")
    parser.add_argument("--again", action="store_true", help="measure what results/ has already once more")
    given = parser.parse_args()
    one_thread()
    clf = load_classifier("efficientnet-lite0")
    clf.logits(clf.prepare([read(photos(None)[0][1])])[0])
    record = Record("score-cam-grouped", CONTRACT, given.o, again=given.again)
    for name, photo in photos(given.photos, 8):
        if not record.has(photo=name):
            record.add(row(clf, name, photo))


if __name__ == "__main__":
    main()
