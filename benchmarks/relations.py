"""Relations on birds whose truth can be rendered: is the one that decides named, and is one named where there is none?

    python benchmarks/relations.py [--seed 7] [--each 8] [--others 40] [MODEL ...]

Of the second edition's relation classifiers, birds of species that one relation tells from their sibling, and that the
classifier names and lets the relation decide: rendered again with one part moved so that the relation changes it costs
10 points and more, with both moved less than half of that. Of all classifiers, birds of other species. *True parts*
gives the search the two parts' own pixels instead of pieces: what is lost there is lost by moving, and not by finding.
Writes results/relations.json, the rows of other models and seeds kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saywhy
from saywhy import Classifier, load_classifier
from saywhy.aviary import Rendered, render, sample, world
from saywhy.aviary.moves import moved_apart
from saywhy.aviary.scenery import generator
from saywhy.aviary.world import Relation
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.claims_of import pieces_of
from saywhy.evaluate.part_effects import edition_told, view
from saywhy.evaluate.scene_truth import CAUSE, HELD
from saywhy.evaluate.sentence_table import judged
from saywhy.relations.trial import Movable, search
from sentence_measures import machine

MODELS = ("aviary:cnn-relations", "aviary:vit-relations", "aviary:cnn", "aviary:vit")
RESULTS = Path(__file__).parent / "results" / "relations.json"
RELATED = {
    s.name: row
    for s in world("2").species.values()
    for a in s.rule
    if a.other is not None and (row := world("2").relation(a.part, a.other, a.value))
}


@dataclass(frozen=True, eq=False)
class Case:
    """A rendered bird that the classifier names, its image (3, H, W), and the relation that decides (None: none)."""

    rendered: Rendered
    image: Tensor
    target: int
    p: float
    relation: Relation | None = None


def related(clf: Classifier, seed: int, each: int) -> Iterator[tuple[str, Case | None]]:
    """So many birds of each species that a relation tells apart: its key, and None where it does not decide."""
    seen: dict[str, int] = defaultdict(int)
    for n in range(1000 * each):
        one = sample(seed, n, edition="2", size=clf.preprocess.size[0])
        row = RELATED.get(one.species)
        if row is None or seen[one.species] >= each:
            if min((seen[s] for s in RELATED), default=0) >= each:
                return
            continue
        seen[one.species] += 1
        yield row.key, _deciding(clf, one.scene, one.species, row, generator(seed, 5, n))


def _deciding(clf: Classifier, scene: Any, species: str, row: Relation, rng: Any) -> Case | None:
    moves = moved_apart(scene, row, rng)
    if not {"one", "together"} <= set(moves):
        return None
    rendered = render(scene)
    images = view(clf, [rendered, *(render(moves[name]) for name in ("one", "together"))])
    p, target = clf.probabilities(images).double(), clf.class_index(species)
    one, both = (float(p[0, target] - p[i, target]) for i in (1, 2))
    if int(p[0].argmax()) != target or one <= CAUSE or both >= one / 2:
        return None
    return Case(rendered, images[0], target, float(p[0, target]), row)


def others(clf: Classifier, seed: int, count: int) -> Iterator[Case]:
    """Birds of species that no relation tells apart, named rightly."""
    edition, n, found = edition_told(clf), 0, 0
    while found < count:
        one, n = sample(seed, n, edition=edition, size=clf.preprocess.size[0]), n + 1
        if edition == "2" and one.species in RELATED:
            continue
        rendered = render(one.scene)
        image = view(clf, [rendered])[0]
        p, target = clf.probabilities(image[None])[0], clf.class_index(one.species)
        if int(p.argmax()) == target:
            found += 1
            yield Case(rendered, image, target, float(p[target]))


def asked(clf: Classifier, case: Case) -> dict[str, Any]:
    """What is said of a case, what it cost, and what is false of it."""
    e = saywhy.explain(clf, case.rendered.pixels, case.target, relations=True)
    verdicts = judged(clf, case.rendered, e).of("relation")
    masks, found = pieces_of(e), e.parts["relations"]
    row = {
        "said": len(verdicts), "false": sum(v.false for v in verdicts), "passes": found["passes"],
        "strict": {name: sum(v.strict[name] for v in verdicts) for name in ("ideal", "joint")},
        "looked_at": found["looked_at"],
    }  # fmt: skip
    if case.relation is not None:
        parts = [case.rendered.visible(n) for n in (case.relation.part, case.relation.other)]
        pairs = [masks[list(v.told.pieces)] for v in verdicts]
        row |= {"named": any(_are(pair, parts) for pair in pairs), "by_true_parts": by_true_parts(clf, case, parts)}
        ids = {piece["id"]: i for i, piece in enumerate(found["pieces"])}
        tried = [masks[[ids[t["moved"]], ids[t["kept"]]]] for t in found["tried"]]
        row["tried"] = any(_are(pair, parts) for pair in tried)
    return row


def _are(pair: Any, parts: list[Any]) -> bool:
    """Whether the two pieces hold half of the two parts, one each."""
    held = np.array([[(piece & part).sum() / max(1, part.sum()) for part in parts] for piece in pair]) >= HELD
    return bool((held[0, 0] and held[1, 1]) or (held[0, 1] and held[1, 0]))


def by_true_parts(clf: Classifier, case: Case, parts: list[Any]) -> bool:
    """Whether the relation is confirmed with the parts' own pixels for pieces."""
    masks = torch.stack([framed_mask(part, clf.preprocess) for part in parts]) > 0.5
    side = Movable(clf, case.image, masks, case.target, case.p)
    return any(t.holds for t in search(side, mirror=True).tried)


def measured(spec: str, seed: int, each: int, count: int) -> dict[str, Any]:
    """All birds of a model: of related species by relation, and of others."""
    clf, start, rows = load_classifier(spec), time.perf_counter(), defaultdict(list)
    undecided: dict[str, int] = defaultdict(int)
    if edition_told(clf) == "2" and "relations" in spec:
        for key, case in related(clf, seed, each):
            if case is None:
                undecided[key] += 1
            else:
                rows[key].append(asked(clf, case))
                print(spec, key, rows[key][-1], file=sys.stderr, flush=True)
    for case in others(clf, seed, count):
        rows["none"].append(asked(clf, case))
        print(spec, "none", rows["none"][-1], file=sys.stderr, flush=True)
    minutes = round((time.perf_counter() - start) / 60, 1)
    return {"model": spec, "seed": seed, "minutes": minutes, "does_not_decide": dict(undecided), "birds": dict(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--others", type=int, default=40)
    given = parser.parse_args()
    for spec in given.models:
        row = measured(spec, given.seed, given.each, given.others)
        old = json.loads(RESULTS.read_text(encoding="utf-8"))["models"] if RESULTS.exists() else []
        kept = [r for r in old if (r["model"], r["seed"]) != (spec, given.seed)]
        whole = {**machine(), "models": sorted([*kept, row], key=lambda r: (r["model"], r["seed"]))}
        RESULTS.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
