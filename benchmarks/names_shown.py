"""Names learned from regions that are shown: how many of other pictures' regions are called rightly.

    SAYWHY_DATA=/path/to/data python benchmarks/names_shown.py [--shown 5,10,20] [--explained 40]

Half of the photos of carparts250 may be shown, whole, until each of eight names has been shown so often; the others are
asked: their parts as they were marked, and the regions that `explain` finds in some of them. Keypoints of cub10 are
shown on five species and asked on the five others. Writes results/names_shown.json and the table of docs/names.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import saywhy
from lcam_rows import photos_folder
from page import table
from saywhy import Classifier, Explainer, load_classifier
from saywhy.collection import Item, find_images
from saywhy.image import framed_mask
from saywhy.metrics import wilson
from saywhy.names.closeup import closeup
from saywhy.names.shown import FITS, INSIDE
from saywhy.seen import tapped
from sentence_measures import machine

HERE = Path(__file__).parent
MARK = "<!-- table -->"
SIDES = re.compile(r"^((front|back|left|right)[_ ])+")


def merged(item: Item) -> Item:
    """An item whose left, right, front and back parts go by one name."""

    def plain(name: str) -> str:
        return SIDES.sub("", name).replace("tailgate", "trunk")

    masks = [row | {"name": plain(row["name"])} for row in item.truth.get("masks", ())]
    points = {plain(name): at for name, at in item.truth.get("keypoints", {}).items()}
    return replace(
        item, truth={k: v for k, v in item.truth.items() if k != "boxes"} | {"masks": masks, "keypoints": points}
    )


def names_of(item: Item) -> set[str]:
    return {str(row["name"]) for row in item.truth["masks"]} | set(item.truth["keypoints"])


def shown(items: Sequence[Item], often: int) -> list[Item]:
    """Whole pictures, until each name has been shown so often."""
    seen: Counter[str] = Counter()
    out = []
    for item in items:
        if any(seen[name] < often for name in names_of(item)):
            seen.update(names_of(item))
            out.append(item)
    return out


def marked(clf: Classifier, ex: Explainer, items: Sequence[Item]) -> dict[str, Any]:
    """Of the parts as they were marked: rightly called when one of the names must be taken, named, named rightly."""
    known, rows = ex.parts["names"], []
    for item in items:
        picture = clf.read(item.path)
        images, boxes = clf.prepare([picture])
        regions = {n: framed_mask(m, clf.preprocess) for n, m in item.regions((picture.height, picture.width)).items()}
        regions = {n: m for n, m in regions.items() if m.max() >= 0.5 and n in known.names}
        if not regions:
            continue
        x = closeup(tapped(clf, images), picture, boxes[0]).of(torch.from_numpy(np.stack(list(regions.values()))))
        forced = ((x - known.mean) @ known.weights.T + known.bias)[:, : len(known.names)].argmax(1)
        for name, best, told in zip(regions, forced.tolist(), known.told(x), strict=True):
            rows.append((name, known.names[best] == name, told is not None, told is not None and told[0] == name))
    by_name = [np.mean([r[1] for r in rows if r[0] == name]) for name in known.names if any(r[0] == name for r in rows)]
    return {
        "regions": len(rows), "chance": round(1 / len(by_name), 3),
        "forced_mean_over_names": round(float(np.mean(by_name)), 3),
        "named": sum(r[2] for r in rows), "named_rightly": sum(r[3] for r in rows),
    }  # fmt: skip


def explained(clf: Classifier, ex: Explainer, items: Sequence[Item]) -> dict[str, Any]:
    """Of the regions that `explain` finds: on a part (as it would be called), named, named rightly."""
    on = named = right = count = 0
    wrong: list[str] = []
    for item in items:
        e = saywhy.explain(clf, item.path, explainer=ex, fast=True)
        parts = item.regions((e.image.height, e.image.width))
        for c in e.concepts:
            m, count = c.mask.array(), count + 1
            fitting = {n for n, p in parts.items() if (m & p).sum() >= min(FITS * (m | p).sum(), INSIDE * m.sum())}
            on += bool(fitting)
            named += c.name is not None
            right += c.name in fitting
            if c.name is not None and c.name not in fitting:
                wrong.append(f"{c.name} for {', '.join(sorted(fitting)) or 'no part alone'}")
    return {
        "photos": len(items),
        "regions": count,
        "on_a_part": on,
        "named": named,
        "named_rightly": right,
        "wrong": wrong,
    }


def measured(clf: Classifier, teach: Sequence[Item], ask: Sequence[Item], often: int, photos: int) -> dict[str, Any]:
    pictures = shown(teach, often)
    ex = Explainer.fit(clf, pictures, ["names"])
    known = ex.parts["names"]
    row = {"often": often, "pictures": len(pictures), "names": known.card["names"], "least": known.least}
    row |= {"held_out": known.card["held_out"], "marked": marked(clf, ex, ask)}
    row |= {"explained": explained(clf, ex, ask[:photos])} if photos else {}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def cars(data: Path) -> tuple[list[Item], list[Item]]:
    items = [merged(i) for i in find_images(data / "carparts250")]
    order = np.random.default_rng(0).permutation(len(items))
    half = len(items) // 2
    return [items[i] for i in order[:half]], [items[i] for i in order[half:]]


def birds(data: Path) -> tuple[list[Item], list[Item]]:
    items = [merged(i) for i in find_images(data / "cub10")]
    species = sorted({str(i.class_name) for i in items})
    order = np.random.default_rng(0).permutation(len(items))
    mixed = [items[i] for i in order]
    return [i for i in mixed if i.class_name in species[:5]], [i for i in mixed if i.class_name in species[5:]][:100]


SUBJECTS: dict[str, Callable[[Path], tuple[list[Item], list[Item]]]] = {"car parts": cars, "bird parts": birds}


def page(result: dict[str, Any]) -> str:
    """The table of docs/names.md."""
    head = (
        "what", "each shown at least", "pictures", "marked regions rightly called if a name must be taken (chance)",
        "marked regions that get a name", "of these, right", "regions of explanations with a name", "of these, right",
    )  # fmt: skip
    lines = []
    for subject, rows in result["subjects"].items():
        for r in rows:
            m, e = r["marked"], r.get("explained")
            told = [(m["named"], m["regions"]), (m["named_rightly"], m["named"])]
            told += [(e["named"], e["regions"]), (e["named_rightly"], e["named"])] if e else []
            forced = f"{m['forced_mean_over_names']:.0%} ({m['chance']:.0%})"
            cells = [_share(*pair) for pair in told]
            lines.append((subject, r["often"], r["pictures"], forced, *cells, *[""] * (4 - len(cells))))
    return table(head, lines)


def _share(hits: int, of: int) -> str:
    share = wilson(hits, of)
    return f"{share.mean:.0%} of {of} [{share.low:.0%}–{share.high:.0%}]" if of else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shown", default="5,10,20")
    parser.add_argument("--explained", type=int, default=40)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clf, subjects = load_classifier("efficientnet-lite0"), {}
    for name, of in SUBJECTS.items():
        teach, ask = of(photos_folder())
        photos = asked.explained if name == "car parts" else 0
        subjects[name] = [measured(clf, teach, ask, int(n), photos) for n in asked.shown.split(",")]
    result = {**machine(), "model": clf.name, "subjects": subjects}
    (HERE / "results" / "names_shown.json").write_text(json.dumps(result, indent=1) + "\n")
    docs = HERE.parent / "docs" / "names.md"
    text, _ = docs.read_text(encoding="utf-8").split(MARK)
    docs.write_text(f"{text}{MARK}\n\n{page(result)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
