"""How many concepts: what more of them win and lose, by what they tell of the classifier and by the parts they follow.

    SAYWHY_DATA=DIR python benchmarks/concepts_count.py [aviary:cnn] [aviary:vit] [photos] [--counts 32 64 128 256]

Banks of `kmeans` of one number of concepts each. Birds: of the seed by which presets are chosen, judged as in
concepts_aviary.py. Photos: carparts250 by EfficientNet-lite0, judged as in concepts_photos.py. Writes
results/bank_counts.json, a row as soon as it is measured, and a table in docs/concepts.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from concepts_aviary import SEEDS, judge, pictures, summary
from concepts_photos import found_in, judged, marks
from lcam_rows import photos_folder
from names_shown import merged
from page import between, table
from saywhy import Classifier, load_classifier
from saywhy.collection import Item, find_images
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.making import Approach, make_bank
from saywhy.evaluate.part_effects import test_birds
from sentence_measures import machine

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "bank_counts.json", HERE.parent / "docs" / "concepts.md"
START, STOP = "<!-- counts -->", "<!-- end of counts -->"
Row = dict[str, Any]


def made(clf: Classifier, items: Sequence[Item], count: int) -> tuple[ConceptBank, Row]:
    """A bank of so many concepts, and what its card says of it."""
    began = time.process_time()
    bank, _ = make_bank(clf, items, Approach("dense", "kmeans", counts=(count,)))
    stable, (fidelity,) = bank.card["stability"], bank.card["fidelity"].values()
    return bank, {
        "count": count, "concepts": len(bank), "fidelity": fidelity, "reseeded": round(stable["reseeded"]["alike"], 3),
        "halves": round(stable["halves"]["alike"], 3), "agrees": bank.card["cells"]["agrees"],
        "counting": sum(r.counts for r in bank.relevance), "rows": len(bank.relevance),
        "processor_s": round(time.process_time() - began),
    }  # fmt: skip


def on_birds(name: str, counts: Sequence[int], made_of: int, birds: int) -> Iterator[Row]:
    clf = load_classifier(name)
    some = test_birds(clf, birds, SEEDS["chosen"])[0]
    with tempfile.TemporaryDirectory() as folder:
        items = pictures(Path(folder), made_of)
        for count in counts:
            bank, told = made(clf, items, count)
            found = summary([judge(clf, bank, bird) for bird in some], bank)
            keys = ("iou_rule", "coverage", "purity", "rank", "null_alarms")
            yield {"what": name, "judges": len(some), **told, **{key: found[key] for key in keys}}


def on_photos(counts: Sequence[int], asked: int) -> Iterator[Row]:
    clf = load_classifier("efficientnet-lite0")
    cars = [merged(item) for item in find_images(photos_folder() / "carparts250")]
    ask = cars[1::2][:asked]
    parts = [marks(clf, item) for item in ask]
    for count in counts:
        bank, told = made(clf, cars[::2], count)
        found = judged([found_in(clf, bank, item) for item in ask], parts, points=False)
        yield {"what": "photos of cars", "judges": len(ask), **told, "photos": found}


def write_page(rows: Sequence[Row]) -> None:
    def interval(value: Sequence[float]) -> str:
        return "{:.2f} [{:.2f}–{:.2f}]".format(*value)

    def places(r: Row) -> tuple[str, ...]:
        if (p := r.get("photos")) is not None:
            return f"{p['on_one']} of {p['concepts']} on one part (control {p['control_on_one']})", "", "", ""
        return (*(interval(r[k]) for k in ("coverage", "purity", "rank")), "{} of {}".format(*r["null_alarms"]))

    head = ("of", "concepts", "fidelity", "coverage", "purity", "effect rank", "null alarms", "again by seed, halves",
            "count / tried", "processor s")  # fmt: skip
    told = [
        (r["what"], r["concepts"], f"{r['fidelity']:.2f}", *places(r), f"{r['reseeded']:.2f}, {r['halves']:.2f}",
         f"{r['counting']} / {r['rows']}", r["processor_s"])
        for r in rows
    ]  # fmt: skip
    between(PAGE, table(head, told), START, STOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["aviary:cnn", "aviary:vit", "photos"])
    parser.add_argument("--counts", nargs="*", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--birds", type=int, default=60)
    parser.add_argument("--photos", type=int, default=80)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept: list[Row] = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for what in given.what:
        new = (
            on_photos(given.counts, given.photos)
            if what == "photos"
            else on_birds(what, given.counts, given.pictures, given.birds)
        )
        for row in new:
            kept = [r for r in kept if (r["what"], r["count"]) != (row["what"], row["count"])] + [row]
            RESULT.write_text(json.dumps({**machine(), "rows": kept}, indent=1) + "\n", encoding="utf-8")
            print(row, flush=True)
    write_page(sorted(kept, key=lambda r: (r["what"], r["count"])))


if __name__ == "__main__":
    main()
