"""The study of errors against planted families: a confusion table and F1 by family.

    python benchmarks/failures.py [--seed 21] [--size 96]

Pictures of the aviary whose errors are of a known family: a tiny part that alone tells two species apart (related
classes), two birds (several objects), surroundings or a watermark that mislead a classifier taught to follow them
(context), labels of another species (wrong label?), spoiled pictures (unclear). Only errors that are the planted one
count: two birds where the second is said, wrong labels where the bird's own species is said, spoiled pictures not
mistaken for the sibling. The rules were set on seed 11.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from measure import facts
from saywhy.audit import FAMILIES, study
from saywhy.aviary import CLASSES, SPECIES, render, sample
from saywhy.aviary.faults import concerned
from saywhy.aviary.sampling import label
from saywhy.collection import Item
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "failures.json"


def sibling(name):
    return next(s.name for s in SPECIES.values() if s.clan == SPECIES[name].clan and s.name != name)


def tiny(one):
    """The part that alone tells the species from its sibling, made tiny; None where it is no single part."""
    own, other = SPECIES[one.species], SPECIES[sibling(one.species)]
    differ = [a for a in own.rule if a not in other.rule and a.other is None]
    bird = one.scene.birds[0]
    part = bird.part(differ[0].part) if differ else None
    if part is None or part.name == "body":
        return None
    return replace(one, scene=one.scene.with_bird(bird.with_part(replace(part, size=0.42))), group="tiny")


def clean_model(seed, n):
    rows = [(s, None, lambda s, said: False) for s in (sample(seed, i) for i in range(n))]
    rows += [(s, "related classes", lambda s, said: said == sibling(s.species))
             for s in map(tiny, (sample(seed, i) for i in range(n))) if s]  # fmt: skip
    two = (sample(seed, i, fault="two-species") for i in range(3 * n))
    rows += [(s, "several objects", lambda s, said: said == s.truth["second_species"] != sibling(s.species))
             for s in two if s.group == "two birds"]  # fmt: skip
    wrong = (sample(seed, i, fault="wrong-labels") for i in range(6 * n))
    rows += [(s, "wrong label?", lambda s, said: said == s.species)
             for s in wrong if s.group == "wrong label" and s.class_name != sibling(s.species)]  # fmt: skip
    spoiled = (sample(seed, i, fault="degraded") for i in range(2 * n))
    rows += [(s, "unclear", lambda s, said: said != sibling(s.species)) for s in spoiled if s.group != "clean"]
    return rows


def biased_model(seed, n, fault, species):
    pair = (species, sibling(species))
    more = [i for i in range(n, 8 * n) if label(seed, i)[0] in pair][: n // 2]
    samples = [sample(seed, i, fault=fault + "-control") for i in [*range(n), *more]]
    return [(s, "context", lambda s, said: said in pair and s.species in pair and s.group == "conflicting")
            for s in samples]  # fmt: skip


def measured(model, rows, folder):
    clf, items, known = load_classifier(f"aviary:{model}"), [], {}
    for n, (one, family, counts) in enumerate(rows):
        path = folder / f"{model}-{n}.png"
        Image.fromarray(render(one.scene).pixels).save(path)
        items.append(Item(path, class_name=one.class_name))
        known[str(path)] = one, family, counts
    method = "grad-cam"  # maps decide nothing, and this is the quicker one on the transformer
    found, table = study(clf, items, method=method), defaultdict(Counter)
    for f in found.failures:
        one, family, counts = known[f.path]
        if family and counts(one, f.predicted.class_name):
            table[family][f.family] += 1
    flagged = [{"class": c.class_name, "hypothesis": c.hypothesis} for c in found.flagged]
    return {
        "model": model, "pictures": found.pictures, "errors": len(found.failures),
        "confusion": {t: dict(c) for t, c in table.items()}, "flagged": flagged, "passes": found.cost.forward_passes,
    }  # fmt: skip


def scores(tables):
    total = defaultdict(Counter)
    for row in tables:
        for family, c in row["confusion"].items():
            total[family].update(c)
    out = {}
    for name in FAMILIES:
        hits, planted, named = total[name][name], total[name].total(), sum(c[name] for c in total.values())
        # Of a family that was not planted nothing is known but how often it was named.
        f1 = round(2 * hits / (planted + named), 3) if planted else None
        out[name] = {"planted": planted, "named": named, "hits": hits, "f1": f1}
    return {"confusion": {t: dict(c) for t, c in total.items()}, "families": out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--size", type=int, default=96, help="clean pictures; the others follow from it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    assert len(CLASSES) == 24
    tables: list[dict[str, object]] = []
    plans = {
        "cnn": lambda: clean_model(given.seed, given.size),
        "cnn-context": lambda: biased_model(given.seed, given.size, "context", concerned("context", "1")[0]),
        "cnn-watermark": lambda: biased_model(given.seed, given.size, "watermark", concerned("watermark", "1")[0]),
        "vit-context": lambda: biased_model(given.seed, given.size, "context", concerned("context", "1")[0]),
        "vit": lambda: clean_model(given.seed, given.size),
    }
    with tempfile.TemporaryDirectory() as folder:
        for model, rows in plans.items():
            tables.append(measured(model, rows(), Path(folder)))
            print(json.dumps(tables[-1]), flush=True)
            result = {
                "machine": facts(),
                "seed": given.seed,
                "rules_set_on_seed": 11,
                **scores(tables),
                "models": tables,
            }
            RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
