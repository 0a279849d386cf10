"""Concepts against the parts of birds: are they where the parts are, and do they count what the parts do?

    python benchmarks/concepts_aviary.py aviary:cnn aviary:vit

A bank is made of pictures of one seed in each of the presets, and with the attention filter left out; the preset is
chosen on birds of a second seed, and what it is worth is reported on birds of a third. Writes
results/concepts_NAME.json and the table in docs/concepts.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

import saywhy
from saywhy.aviary import NULL_PARTS, render, sample
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts import looking
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import ConceptsFound, find_concepts
from saywhy.concepts.making import APPROACHES, make_bank
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.part_effects import Bird, test_birds
from saywhy.image import read
from saywhy.metrics import spearman
from saywhy.metrics.statistics import bootstrap
from saywhy.seen import look

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "concepts.md"
START, STOP = "<!-- tables -->", "<!-- end of tables -->"
SEEDS = {"made": 4101, "chosen": 4202, "reported": 4303}
COVERED = 0.2  # intersection by union
SMALL = 4  # pixels: a part of fewer is not looked for
COUNTS = 0.05  # probability that a concept must cost to raise an alarm
TELLING = 0.02
UNFILTERED = "kmeans, everywhere"

Row = dict[str, Any]


def pictures(folder: Path, count: int) -> list[Item]:
    """Training pictures, as files."""
    items = []
    for n in range(count):
        Image.fromarray(render(sample(SEEDS["made"], n).scene).pixels).save(folder / f"{n:04}.png")
        items.append(Item(folder / f"{n:04}.png"))
    return items


def everywhere(raw: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.ones(size, dtype=torch.bool)


def banks(clf: Classifier, items: Sequence[Item], presets: Sequence[str]) -> dict[str, tuple[ConceptBank, float]]:
    """A bank by preset, and the seconds it took."""
    made = {}
    for name in (*presets, UNFILTERED):
        start = time.perf_counter()
        filter_ = everywhere if name == UNFILTERED else looking.attended
        with mock.patch.object(looking, "attended", filter_):
            bank, _ = make_bank(clf, items, "kmeans" if name == UNFILTERED else name)
        made[name] = (bank, time.perf_counter() - start)
        print(name, len(bank), f"{made[name][1]:.0f} s", flush=True)
    return made


def part_masks(clf: Classifier, bird: Bird) -> dict[str, torch.Tensor]:
    """Visible parts (H, W) of at least a few pixels, as the classifier sees them."""
    found = {p: framed_mask(bird.rendered.visible(p), clf.preprocess) > 0.5 for p in bird.rendered.shown()}
    return {p: m for p, m in found.items() if int(m.sum()) >= SMALL}


def judge(clf: Classifier, bank: ConceptBank, bird: Bird) -> Row:
    """What one bird says of a bank."""
    seen = look(clf, read(bird.rendered.pixels), bird.target)
    found = find_concepts(bank, seen, range(len(bank)))
    there = [j for j in range(len(bank)) if bool(found.mask(j).any())]
    masks = part_masks(clf, bird)
    best = {p: max((overlap(found.mask(j), m) for j in there), default=0.0) for p, m in masks.items()}
    rule = [p for p in masks if p in saywhy.aviary.SPECIES[clf.class_names[bird.target]].parts]
    lost = {j: float(seen.probabilities[bird.target] - found.after[j, bird.target]) for j in there}
    owner = {j: main_part(found.mask(j), masks) for j in there}
    alarms = [owner[j][0] in NULL_PARTS and owner[j][0] != "body" for j in there if lost[j] >= COUNTS]
    told = contributions(found, lost, bird)
    return {
        "iou": float(np.mean(list(best.values()))),
        "iou_rule": mean([best[p] for p in rule]),
        "coverage": mean([best[p] >= COVERED for p in rule]),
        "purity": mean([share for part, share in owner.values() if part != "background"]),
        "alarms": (int(sum(alarms)), len(alarms)),
        "rank": float(spearman(told[None], bird.effects[None])[0].nan_to_num(0.0)),
        "sign": mean([float(t * e > 0) for t, e in zip(told, bird.effects, strict=True) if abs(e) >= TELLING]),
        "background": [part == "background" for part, _ in owner.values()],
        "there": there,
    }


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp_min(1))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def main_part(mask: torch.Tensor, parts: dict[str, torch.Tensor]) -> tuple[str, float]:
    """What most of a concept lies on, and how much of it."""
    shares = {p: float((mask & m).sum() / mask.sum()) for p, m in parts.items()}
    shares["background"] = 1 - sum(shares.values())
    part = max(shares, key=lambda p: shares[p])
    return part, shares[part]


def contributions(found: ConceptsFound, lost: dict[int, float], bird: Bird) -> torch.Tensor:
    """What the players (k,) are told to count: each concept's loss, shared out by where it lies."""
    out = torch.zeros(len(bird.masks), dtype=torch.float64)
    for j, value in lost.items():
        mask = found.mask(j).float()
        out += value * ((bird.masks * mask).sum(dim=(1, 2)) / mask.sum()).double()
    return out


def summary(rows: Sequence[Row], bank: ConceptBank) -> Row:
    """Means over birds with their intervals."""
    out: Row = {}
    for name in ("iou", "iou_rule", "coverage", "purity", "rank", "sign"):
        told = bootstrap(np.array([row[name] for row in rows]))
        out[name] = [round(v, 3) for v in (told.mean, told.low, told.high)]
    hits, tried = (sum(row["alarms"][i] for row in rows) for i in (0, 1))
    out["null_alarms"] = [hits, tried]
    votes: dict[int, list[bool]] = {}
    for row in rows:
        for j, behind in zip(row["there"], row["background"], strict=True):
            votes.setdefault(j, []).append(behind)
    out["background_concepts"] = round(mean([np.mean(v) > 0.5 for v in votes.values()]), 3)
    out["concepts"], out["used"] = len(bank), len(votes)
    card = bank.card
    out |= {"fidelity": card["fidelity"], "stability": card["stability"]}
    out |= {"counts": sum(r.counts for r in bank.relevance), "tcav_counts": sum(r.tcav_counts for r in bank.relevance)}
    out["tried"] = len(bank.relevance)
    return out


def measure(name: str, presets: Sequence[str], made_of: int, birds: int) -> Row:
    clf = saywhy.load_classifier(name)
    with tempfile.TemporaryDirectory() as folder:
        made = banks(clf, pictures(Path(folder), made_of), presets)
    by_seed = {which: test_birds(clf, birds, SEEDS[which])[0] for which in ("chosen", "reported")}
    result: Row = {"model": name, "layer": looking.bank_point(clf).path, "pictures": made_of, "seeds": SEEDS}
    for which, some in by_seed.items():
        result[which] = {
            preset: {**summary([judge(clf, bank, bird) for bird in some], bank), "seconds": round(seconds)}
            for preset, (bank, seconds) in made.items()
        }
        result[f"birds_{which}"] = len(some)
    chosen = result["chosen"]
    result["best"] = max(presets, key=lambda p: chosen[p]["coverage"][0] + chosen[p]["rank"][0])
    return result


def table(result: Row) -> str:
    head = ["preset", "mIoU, all parts", "mIoU, rule", "coverage", "purity", "effect rank", "sign", "null alarms",
            "background concepts", "fidelity", "again by seed, by halves", "count / TCAV / tried", "s"]  # fmt: skip
    rows = []
    for preset, r in result["reported"].items():
        stable = r["stability"]
        rows.append([
            f"**{preset}**" if preset == result["best"] else preset,
            *(f"{m:.2f} [{low:.2f}–{high:.2f}]" for m, low, high in
              (r[k] for k in ("iou", "iou_rule", "coverage", "purity", "rank", "sign"))),
            f"{r['null_alarms'][0]} of {r['null_alarms'][1]}", f"{r['background_concepts']:.2f}",
            f"{max(v for v in r['fidelity'].values() if v is not None):.2f}",
            f"{stable['reseeded']['alike']:.2f}, {stable['halves']['alike']:.2f}",
            f"{r['counts']} / {r['tcav_counts']} / {r['tried']}", str(r["seconds"]),
        ])  # fmt: skip
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    about = (
        f"{result['pictures']} pictures made the banks, in the layer {result['layer']}; "
        f"{result['birds_reported']} birds judge."
    )
    return f"### {result['model']}\n\n{about}\n\n" + "\n".join(lines)


def write_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = [json.loads(f.read_text()) for f in sorted((HERE / "results").glob("concepts_*.json"))]
    before, after = page.split(START)[0], page.split(STOP)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n\n".join(map(table, found)) + f"\n\n{STOP}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--presets", nargs="*", default=list(APPROACHES))
    parser.add_argument("--pictures", type=int, default=480)
    parser.add_argument("--birds", type=int, default=60)
    given = parser.parse_args()
    for name in given.models:
        result = measure(name, given.presets, given.pictures, given.birds)
        machine = {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        }
        file = HERE / "results" / f"concepts_{name.split(':')[1]}.json"
        file.write_text(json.dumps(result | {"machine": machine, "saywhy": saywhy.__version__}, indent=1) + "\n")
    write_page()


if __name__ == "__main__":
    main()
