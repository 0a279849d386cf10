"""A joint space of photos and what people said of them: frozen features of a classifier, and a text transformer.

    SAYWHY_DATA=DIR python benchmarks/language_photos.py

`flickr600` (everyday photos, a quarter held out) and `cub10` (ten species of birds, the set's own split). A held-out
photo's captions are all true of it. Writes results/language_photos.json and the table in docs/language.md.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import saywhy
from page import between, table
from saywhy.collection import Item, find_images
from saywhy.locking import seeded
from saywhy.writing.captionspace import CONFIG, CaptionPairs, CaptionSpace, learned, recall, strange, unit, vocabulary
from saywhy.writing.part import features_of
from sentence_measures import machine

HERE = Path(__file__).parent
SETS = {"flickr600": "everyday photos", "cub10": "birds of ten species"}
KS = (1, 5, 10)
SEEDS = (0,)


def looked_at(folder: Path) -> tuple[list[Item], Tensor]:
    """The photos that have captions, and the classifier's features (N, K) of them."""
    clf = saywhy.load_classifier("efficientnet-lite0")
    items = [i for i in find_images([str(folder / "images.jsonl")]) if i.truth.get("captions")]
    rows = []
    for item in items:
        images, _ = clf.prepare([clf.read(item.path)])
        rows.append(features_of(clf, images, clf.point.path)[0])
    return items, torch.stack(rows)


def apart(items: list[Item]) -> tuple[list[int], list[int]]:
    """Numbers of photos to learn from, and held-out ones: as the set says, or every fourth."""
    if any(i.split for i in items):
        held = [n for n, i in enumerate(items) if i.split != "train"]
    else:
        held = list(range(0, len(items), 4))
    return [n for n in range(len(items)) if n not in set(held)], held


def found(net: CaptionSpace, features: Tensor, captions: list[tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """Recall both ways among the held-out photos and their first captions, any caption of a photo being true of it."""
    with torch.no_grad():
        seen = unit(net.pictures(features))
        every = [t for some in captions for t in some]
        said = unit(torch.cat([net.texts(every[i : i + 64]) for i in range(0, len(every), 64)]))
    owner = torch.tensor([n for n, some in enumerate(captions) for _ in some])
    true = owner[None] == torch.arange(len(captions))[:, None]
    firsts = torch.tensor([int((owner == n).nonzero()[0]) for n in range(len(captions))])
    likeness = seen @ said.T
    ways = {
        "photo_to_caption": recall(likeness[:, firsts], true[:, firsts], KS),
        "caption_to_photo": recall(likeness.T, true.T, KS),
    }
    return {way: {str(k): round(v, 4) for k, v in some.items()} for way, some in ways.items()}


def mean(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over seeds."""
    return {w: {k: round(sum(r[w][k] for r in rows) / len(rows), 4) for k in rows[0][w]} for w in rows[0]}


def measured(folder: Path) -> dict[str, Any]:
    """One set: trained, without augmentation, untrained, and by chance."""
    items, features = looked_at(folder)
    train, held = apart(items)
    said = [tuple(i.truth["captions"]) for i in items]
    own = CaptionPairs(features[train], tuple(said[n] for n in train))
    test = features[held], [said[n] for n in held]
    start, rows = time.process_time(), []
    for seed in SEEDS:
        rows.append(found(learned(own, replace(CONFIG, seed=seed))[0], *test))
    took = (time.process_time() - start) / len(SEEDS)
    one = replace(own, captions=tuple(some[:1] for some in own.captions), varied=False)
    plain = [found(learned(one, replace(CONFIG, seed=s))[0], *test) for s in SEEDS]
    with seeded(0):
        none = CaptionSpace(vocabulary(own.captions), own.features.mean(0), own.features.std(0).clamp_min(1e-6))
    return {
        "photos": len(train), "held_out": len(held), "words": len(vocabulary(own.captions)),
        "out_of_vocabulary": round(strange(vocabulary(own.captions), test[1]), 4),
        "trained": mean(rows), "one_caption_without_variation": mean(plain), "untrained": found(none.eval(), *test),
        "chance": {str(k): round(k / len(held), 4) for k in KS}, "seconds": round(took, 1),
    }  # fmt: skip


def page_of(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for name, what in SETS.items():
        r = result[name]
        for way in ("photo_to_caption", "caption_to_photo"):
            cells = [
                ", ".join(f"{100 * r[how][way][str(k)]:.0f} %" for k in KS)
                for how in ("trained", "one_caption_without_variation", "untrained")
            ]
            chance = ", ".join(f"{100 * r['chance'][str(k)]:.0f} %" for k in KS)
            rows.append((f"{what}: {way.replace('_', ' ')}, of {r['held_out']}", *cells, chance))
    head = ("first 1, 5, 10", "trained", "one caption each, no words dropped", "untrained", "chance")
    sizes = "; ".join(
        f"{SETS[n]}: {result[n]['photos']} photos, {result[n]['words']} words, "
        f"{100 * result[n]['out_of_vocabulary']:.1f} % of the held-out captions' words unknown, "
        f"{result[n]['seconds']:.0f} s of a core"
        for n in SETS
    )
    return (
        f"On photos that were held out, with the features of `efficientnet-lite0` (one seed):\n\n"
        f"{table(head, rows)}\n\nLearned from: {sizes}."
    )


def main() -> None:
    """Measures, and writes both."""
    if "SAYWHY_DATA" not in os.environ:
        raise SystemExit("SAYWHY_DATA names no folder of photos: nothing is measured")
    torch.set_num_threads(1)
    data = Path(os.environ["SAYWHY_DATA"])
    result = {**machine(), **{name: measured(data / name) for name in SETS}}
    print(json.dumps(result, indent=1))
    (HERE / "results" / "language_photos.json").write_text(json.dumps(result, indent=1) + "\n")
    between(HERE.parent / "docs" / "language.md", page_of(result), "<!-- photos -->", "<!-- end of photos -->")


if __name__ == "__main__":
    main()
