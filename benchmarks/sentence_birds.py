"""The sentences about birds, held against the scenes rendered again: `saywhy eval --aviary --preset sentences`.

    python benchmarks/sentence_birds.py aviary:cnn aviary:vit [--seeds 801,802] [--pictures 120] [--shortcuts]
        [--ways explain,fast]

Writes results/sentence_truth_birds_NAME.json for each model; rows of ways that are not asked for stay, of the same
seeds. With `--shortcuts` only the columns of planted shortcuts are measured, for the faulty classifiers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from saywhy import load_classifier
from saywhy.evaluate import SENTENCE_COLUMNS, evaluate_sentences
from saywhy.evaluate.sentence_table import WAYS
from sentence_measures import machine

RESULTS = Path(__file__).parent / "results"
SHORTCUTS = ("shortcut-named", "shortcut-blamed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seeds", default="801,802")
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--disturbed", type=int, default=30)
    parser.add_argument("--shortcuts", action="store_true")
    parser.add_argument("--ways", default=",".join(WAYS))
    given = parser.parse_args()
    for spec in given.models:
        clf, found, start = load_classifier(spec), [], time.perf_counter()
        for seed in (int(s) for s in given.seeds.split(",")):
            found.append(
                evaluate_sentences(
                    clf, ["explain"] if given.shortcuts else given.ways.split(","),
                    SHORTCUTS if given.shortcuts else tuple(SENTENCE_COLUMNS),
                    limit=1 if given.shortcuts else given.pictures, disturbed=given.disturbed, seed=seed,
                    progress=lambda done, total, text: print(text, file=sys.stderr, flush=True),
                ).to_dict(values=True)
            )  # fmt: skip
        minutes = round((time.perf_counter() - start) / 60, 1)
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"sentence_truth_birds_{spec.split(':')[-1]}.json"
        old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"evaluations": [], "minutes": 0.0}
        kept = {
            e["seed"]: [r for r in e["rows"] if r["method"] not in given.ways.split(",")] for e in old["evaluations"]
        }
        minutes += old["minutes"] if any(kept.get(e["seed"]) for e in found) else 0.0
        whole = [{**e, "rows": [*kept.get(e["seed"], []), *e["rows"]]} for e in found]
        file.write_text(
            json.dumps({**machine(), "minutes": minutes, "evaluations": whole}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
