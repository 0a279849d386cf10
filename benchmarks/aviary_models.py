"""Do the aviary's clean classifiers use the rules, and do the faulty ones have their faults?

    python benchmarks/aviary_models.py [-o benchmarks/results/aviary_models.json]

Pictures of a seed that no classifier was trained with. `removal`: probability of the bird's own species lost when a
part is removed and the scene rendered again, the mean over pictures, for parts that the species' rule names, parts that
only other rules name, and parts that no rule names. `rank_correlation`: Spearman's, within each picture over its parts,
between these effects and the Shapley values of the rule game and of the observer game; the mean over pictures.
`replacement`: how often another species' version of a rule part that makes it that species changes the answer to it.
`worst_group`: accuracy on birds whose shortcut misleads, of the species concerned and its nearest relative.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from saywhy.aviary import CLASSES, NULL_PARTS, SPECIES, sample
from saywhy.aviary.classifiers import PREPROCESS, card, edition_of, load, names
from saywhy.aviary.faults import FAULTS
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import Scene
from saywhy.aviary.truth import observer_game, removals, replacements, rule_game, shapley
from saywhy.train.aviary import measured_parts
from saywhy.train.pictures import paint, pictures

SEED = 4242
ACCURACY, EFFECTS, GROUPS = 1440, 144, 1440
RESULT = Path(__file__).parent / "results" / "aviary_models.json"


@cache
def pixels_of(scene: Scene) -> NDArray[np.uint8]:
    return paint(scene)[0]


@torch.no_grad()
def probabilities(net: nn.Module, scenes: list[Scene]) -> Tensor:
    pixels = np.stack([pixels_of(s) for s in scenes])
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
    scores = [net((x - PREPROCESS.mean[0]) / PREPROCESS.std[0]) for x in images.split(64)]
    return torch.cat(scores).softmax(dim=1)


def species_accuracy(net: nn.Module, samples: list[Sample]) -> dict[str, Any]:
    found = probabilities(net, [s.scene for s in samples]).argmax(1).tolist()
    right = np.array([CLASSES[f] == s.species for f, s in zip(found, samples, strict=True)])
    each = {c: right[[s.species == c for s in samples]].mean() for c in CLASSES}
    worst = min(each, key=lambda c: each[c])
    return {"pictures": len(samples), "accuracy": right.mean(), "worst_species": {worst: each[worst]}}


def role(part: str, species: str) -> str:
    if part in SPECIES[species].parts:
        return "named by the rule"
    return "named by no rule" if part in NULL_PARTS else "named by other rules"


def _ranks(effects: dict[str, float], truth: dict[str, float]) -> float:
    rows = [(effects[p], truth.get(p, 0.0)) for p in effects]
    return float(spearmanr(*zip(*rows, strict=True)).statistic)


def removal(net: nn.Module, samples: list[Sample]) -> dict[str, Any]:
    by_role: dict[str, list[float]] = defaultdict(list)
    by_part: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    ranks: dict[str, list[float]] = defaultdict(list)
    for one in samples:
        scenes, bird = removals(one.scene), one.scene.birds[0]
        p = probabilities(net, [one.scene, *scenes.values()])[:, CLASSES.index(one.species)]
        effects = {part: float(p[0] - q) for part, q in zip(scenes, p[1:], strict=True)}
        for part, effect in effects.items():
            by_role[role(part, one.species)].append(effect)
            by_part[part][role(part, one.species)].append(effect)
        ranks["rule game"].append(_ranks(effects, shapley(rule_game(bird, one.species))))
        ranks["observer game"].append(_ranks(effects, shapley(observer_game(bird, one.species))))
    return {
        "pictures": len(samples),
        "mean": {k: np.mean(v) for k, v in by_role.items()},
        "mean_size": {k: np.mean(np.abs(v)) for k, v in by_role.items()},
        "by_part": {p: {k: np.mean(v) for k, v in rows.items()} for p, rows in by_part.items()},
        "rank_correlation": {k: np.mean(v) for k, v in ranks.items()},
    }


def replacement(net: nn.Module, samples: list[Sample]) -> dict[str, float]:
    followed: list[bool] = []
    for one in samples:
        for part in SPECIES[one.species].parts:
            changed = [s for _, s in replacements(one.scene, part) if s.birds[0].species not in (None, one.species)]
            if changed:
                answers = probabilities(net, changed).argmax(1).tolist()
                followed += [CLASSES[a] == s.birds[0].species for a, s in zip(answers, changed, strict=True)]
    return {"replacements": len(followed), "answer_follows": np.mean(followed)}


def worst_group(net: nn.Module, fault: str) -> dict[str, Any]:
    target = FAULTS[fault].truth["species"][0]
    pair = [c for c in CLASSES if SPECIES[c].clan == SPECIES[target].clan]
    samples = [s for s in (sample(SEED, i, fault=f"{fault}-control") for i in range(GROUPS)) if s.species in pair]
    found = probabilities(net, [s.scene for s in samples]).argmax(1).tolist()
    rows: dict[str, list[bool]] = defaultdict(list)
    for f, s in zip(found, samples, strict=True):
        rows[f"{s.group} {s.species}"].append(CLASSES[f] == s.species)
    return {k: {"pictures": len(v), "accuracy": np.mean(v)} for k, v in sorted(rows.items())}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=RESULT)
    out = parser.parse_args().o
    samples = [sample(SEED, i) for i in range(ACCURACY)]
    result: dict[str, Any] = {
        "made": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {n: version(n) for n in ("torch", "numpy", "saywhy")},
        "seed": SEED,
        "models": {},
    }
    for name in names():
        text, net = card(name), load(name)
        if edition_of(text) != "1":  # its card says what moving the parts of its relations does
            continue
        row: dict[str, Any] = {"fingerprint": text["fingerprint"]}
        if text["network"] == "seg":
            row |= {"test": measured_parts(net, pictures(480, seed=SEED))}
        else:
            row |= {"test": species_accuracy(net, samples), "removal": removal(net, samples[:EFFECTS])}
            row |= {"replacement": replacement(net, samples[: EFFECTS // 3])}
            fault = (text["fault"] or {}).get("name", "")
            shortcuts = [fault] if fault else ["watermark", "context"]
            known = [f for f in shortcuts if f in ("watermark", "context")]
            row |= {"worst_group": {f: worst_group(net, f) for f in known}}
        result["models"][name] = rounded(row)
        print(name, json.dumps(result["models"][name]))
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
