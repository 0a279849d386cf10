"""Graphs of concepts on photos of ten species of birds: does the student follow the classifier there too?

    SAYWHY_DATA=DIR python benchmarks/graph_photos.py [--train 300] [--photos 60] [--keep FOLDER]

EfficientNet-lite0 with a head that was fitted to the ten species of cub10. Bank and student are made of the train
photos and measured on test photos: on the edits that students learn from, and adapted to each photo on combinations of
the target's concepts that it was not told. Where nodes are is held against keypoints: one half of the photos says which
part each concept is on, the other whether it is there again; the control are the next photo's keypoints. --keep leaves
pages of ten photos. Writes results/photo_graphs.json and a table in docs/graphs.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from concepts_aviary import mean
from concepts_photos import judged, marks
from graph_aviary import KINDS, added_up, untold
from lcam_rows import photos_folder
from names_shown import merged
from page import between, table
from saywhy import Classifier, load_classifier
from saywhy.collection import Item, find_images
from saywhy.concepts.making import make_bank
from saywhy.explainer import Explainer
from saywhy.image import framed_mask
from saywhy.parts import PARTS, Fitting, Request
from saywhy.reasoning import distilling, part
from saywhy.reasoning.adapting import asked_of
from saywhy.reasoning.interpreting import probabilities
from saywhy.reasoning.part import Reasoning
from saywhy.reasoning.reasoner import LIMIT
from saywhy.render.html import html
from saywhy.seen import look
from sentence_measures import machine
from sentence_models import birds, headed, pooled, species_of

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "photo_graphs.json", HERE.parent / "docs" / "graphs.md"
START, STOP = "<!-- photos -->", "<!-- end of photos -->"
FURTHER = 12  # combinations of a photo's concepts beyond those that it was judged by
COUNTS = 0.05
Row = dict[str, Any]


def classifier(folder: Path) -> tuple[Classifier, float]:
    """Ten species on the pooled features of EfficientNet-lite0, and its share right on test photos."""
    clf, species = load_classifier("efficientnet-lite0"), species_of(folder)
    train, test = (birds(clf, folder, split, species) for split in ("train", "test"))
    made = headed(clf, pooled(clf, train.images), train.labels, species, "birds of 10 species")
    return made, float((made.probabilities(test.images).argmax(1) == test.labels).float().mean())


def judge(explainer: Explainer, item: Item, seed: int) -> tuple[Row, Reasoning] | None:
    """What one photo says of the graph of the class that it is given."""
    seen = look(explainer.clf, explainer.clf.read(item.path))
    concepts = PARTS["concepts"].face().find(explainer.parts["concepts"], seen, {}, Request())
    graph = explainer.parts["graph"]
    found = part.find(graph, seen, {"concepts": concepts}, Request())
    if found is None:
        return None
    h, left = dict(found.hypotheses)[seen.target], found.nodes.left
    rest = [s for n in range(2, len(h.here) + 1) for s in combinations(h.here, n) if s not in found.trial.edits]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:FURTHER]
    some = [rest[n] for n in drawn]
    errors: dict[str, float] = {}
    if some:
        its = asked_of(graph, concepts, seen, some)[1:, h.number].double()
        lefts = torch.stack([found.nodes.without(s).left for s in some])
        told = {
            "adapted": probabilities(found.reasoner.student, found.nodes, lefts)[:, h.number],
            "unadapted": probabilities(graph.student, found.nodes, lefts)[:, h.number],
            "measured alone": added_up(found.trial, left, lefts)[:, h.number],
        }
        errors = {way: float((p - its).abs().mean()) for way, p in told.items()}
    strong = [j for i, j in enumerate(h.here) if abs(float(h.nodes[i])) >= COUNTS]
    bird = framed_mask(_box(item, explainer.clf), explainer.clf.preprocess) > 0.5
    on = {j: float(bird[found.concepts.mask(j).numpy()].mean()) for j in h.here}
    return {
        "file": item.path.name, "class": explainer.clf.class_names[seen.target], "named": item.class_name,
        "nodes": len(h.here), "faithful": found.trial.faithful, "error": found.trial.error, "further": errors,
        "on_the_bird": [on[j] for j in strong], "others_on_the_bird": [on[j] for j in h.here if j not in strong],
        "bird": float(bird.mean()),
    }, found  # fmt: skip


def _box(item: Item, clf: Classifier) -> Any:
    picture = clf.read(item.path)
    x, y, w, h = (round(v) for v in item.truth["boxes"][0]["xywh"])
    mask = np.zeros((picture.height, picture.width), dtype=bool)
    mask[max(0, y) : y + h, max(0, x) : x + w] = True
    return mask


def of_nodes(found: Reasoning) -> Any:
    """The concept (H, W) of each pixel, of those that are nodes of the target's graph, -1 elsewhere."""
    labels = found.concepts.labels.clone()
    labels[~torch.isin(labels, torch.tensor(found.trial.tried, dtype=labels.dtype))] = -1
    return labels.numpy()


def summary(rows: Sequence[Row]) -> Row:
    """Figures of the graphs of some photos."""
    known = [r for r in rows if r["further"]]
    right = [r["further"]["adapted"] <= LIMIT for r in known]
    called = [r["faithful"] for r in known]
    strong = [v >= 0.5 for r in rows for v in r["on_the_bird"]]
    others = [v >= 0.5 for r in rows for v in r["others_on_the_bird"]]
    return {
        "photos": len(rows),
        "nodes": round(mean([r["nodes"] for r in rows]), 1),
        "faithful": [sum(r["faithful"] for r in rows), len(rows)],
        "too_few_concepts": sum(r["error"] is None for r in rows),
        "right_where_called": [sum(a and b for a, b in zip(right, called, strict=True)), sum(called)],
        "right_where_not": [sum(a and not b for a, b in zip(right, called, strict=True)), len(called) - sum(called)],
        "errors": {way: round(mean([r["further"][way] for r in known]), 3) for way in known[0]["further"]},
        "on_the_bird": [sum(strong), len(strong)],
        "others_on_the_bird": [sum(others), len(others)],
        "bird": round(mean([r["bird"] for r in rows]), 3),
    }


def measure(folder: Path, most: int, photos: int, keep: Path | None) -> Row:
    clf, right = classifier(folder)
    items = [merged_kept(i) for i in find_images(folder)]
    train, test = ([i for i in items if i.split == split] for split in ("train", "test"))
    train = train[:: max(1, len(train) // most)][:most]
    start = time.process_time()
    bank, _ = make_bank(clf, train)
    seconds = {"bank": round(time.process_time() - start)}
    start = time.process_time()
    made = part.fit(clf, train, Fitting("student", parts={"concepts": bank}))
    seconds["student"] = round(time.process_time() - start)
    print(made.summary, flush=True)
    explainer = Explainer(clf, {"concepts": bank, "graph": made.part})
    chosen = test[:: max(1, len(test) // photos)][:photos]
    edits, _ = distilling.tabled(clf, bank, chosen, list(made.part.classes), 1, lambda step: None)
    with torch.no_grad():
        scores = distilling.answered(made.part.student, edits)
    ways = {
        "student": distilling.fidelity(scores, edits),
        "student, adapted": untold(scores, edits, made.part.student.slots),
        "measured alone": untold(torch.zeros_like(scores), edits, made.part.student.slots),
    }
    told = [found for n, item in enumerate(chosen) if (found := judge(explainer, item, n))]
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for item in chosen[:: max(1, len(chosen) // 10)][:10]:
            (keep / f"{item.path.stem}.html").write_bytes(html(explainer.explain(item.path)))
    parts = [marks(clf, item) for item in chosen]
    return {
        "classifier": clf.name, "right": round(right, 3), "pictures": len(train), "bank": len(bank), "seconds": seconds,
        "ways": ways, "graphs": summary([row for row, _ in told]), "rows": [row for row, _ in told],
        "keypoints": judged([of_nodes(found) for _, found in told], parts, points=True),
    }  # fmt: skip


def merged_kept(item: Item) -> Item:
    """An item whose left and right parts go by one name, with its boxes."""
    one = merged(item)
    one.truth["boxes"] = item.truth["boxes"]
    return one


def page_of(r: Row) -> str:
    g, k = r["graphs"], r["keypoints"]
    rows = [
        (
            name,
            *(f"{100 * w[kind]['agreement']:.1f}" if name == "student" or kind != "image" else "" for kind in KINDS),
            *(f"{w[kind]['r2']:.2f}" for kind in ("displaced", "exchanged", "several")),
        )
        for name, w in r["ways"].items()
    ]
    of = "{} of {}".format
    about = (
        f"Ten species on the features of EfficientNet-lite0 ({100 * r['right']:.0f} % of test photos right). Bank "
        f"({r['bank']} concepts) and student are made of {r['pictures']} train photos, in {r['seconds']['bank']} and "
        f"{r['seconds']['student']} s of a core. Of {g['photos']} test photos, first class as the classifier's, in per "
        "cent, and R2 of the probability:"
    )
    errors = {way: f"{value:.3f}" for way, value in g["errors"].items()}
    on_points = (
        f"Of {k['concepts']} concepts that are nodes often enough {k['on_one']} cover half of a disc about one "
        f"keypoint again (control {k['control_on_one']}), {k['twice_the_control']} twice as much as in the control."
        if k["concepts"]
        else "No concept is a node often enough in so few photos to be held against keypoints."
    )
    below = (
        f"A class has {g['nodes']} of its concepts in a photo. The adapted student is called faithful on "
        f"{of(*g['faithful'])} photos ({g['too_few_concepts']} have too few concepts to try it); of up to {FURTHER} "
        f"further combinations it is then within {100 * LIMIT:.0f} points on average in "
        f"{of(*g['right_where_called'])}, and where it is not called so in {of(*g['right_where_not'])}. Mean error "
        f"there: adapted {errors['adapted']}, unadapted {errors['unadapted']}, what was measured added up "
        f"{errors['measured alone']}. Of nodes that count 5 points or more {of(*g['on_the_bird'])} lie on the bird's "
        f"box by half, of the others {of(*g['others_on_the_bird'])} (the box is {100 * g['bird']:.0f} % of the view). "
        f"{on_points}"
    )
    head = ("way", *KINDS.values(), "R2, displaced", "exchanged", "some hidden")
    return f"{about}\n\n{table(head, rows)}\n\n{below}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=300, help="photos that bank and student are made of")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="a folder for ten pages")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = machine() | measure(photos_folder() / "cub10", given.train, given.photos, given.keep)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    between(PAGE, page_of(found), START, STOP)


if __name__ == "__main__":
    main()
