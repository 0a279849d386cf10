"""Graphs of concepts against the birds: does the student decide as the classifier does, and count what parts count?

    python benchmarks/graph_aviary.py aviary:cnn aviary:vit

A bank and a student are made of pictures of one seed; the student is measured on pictures of that seed that it did not
learn from, its graphs on birds of another seed, whose parts' effects are known by rendering. Beside it stand students
without interventions, with absolute places instead of relations, and without edges. Writes results/graph_NAME.json and
the tables in docs/graphs.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import saywhy
from concepts_aviary import SEEDS, TELLING, contributions, main_part, mean, part_masks, pictures
from page import between, table
from saywhy.aviary import NULL_PARTS
from saywhy.classifier import Classifier
from saywhy.concepts.making import make_bank
from saywhy.evaluate.part_effects import Bird, test_birds
from saywhy.explainer import Explainer
from saywhy.image import read
from saywhy.metrics import spearman
from saywhy.metrics.statistics import bootstrap
from saywhy.parts import Request
from saywhy.reasoning import distilling, part
from saywhy.reasoning.interpreting import Hypothesis, interpreted
from saywhy.reasoning.nodes import Nodes
from saywhy.reasoning.part import Reasoning
from saywhy.reasoning.reasoner import Reasoner, calibrated, calibration_error, digest
from saywhy.seen import look
from sentence_measures import machine

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "graphs.md"
WAYS: dict[str, dict[str, Any]] = {
    "student": {},
    "without interventions": {"interventions": False},
    "absolute places": {"relations": "absolute"},
    "nodes alone": {"relations": "none"},
}
COUNTS = 0.05  # probability that a concept must cost to raise an alarm
EDITS = 400  # of each kind, of which the change of nodes and edges is looked at

Row = dict[str, Any]


def taught(clf: Classifier, count: int, bank_of: int, explainer: Path | None) -> tuple[Row, Explainer, Row]:
    """Figures of all ways, the explainer with the student, and what was noticed of single edits."""
    with tempfile.TemporaryDirectory() as folder:
        items = pictures(Path(folder), count)
        start = time.process_time()
        given = None if explainer is None else Explainer.load(explainer, clf).parts["concepts"]
        bank = given or make_bank(clf, items[:bank_of])[0]
        seconds = {"bank": round(time.process_time() - start)}
        start, classes = time.process_time(), sorted(bank.classes)
        made, _ = distilling.tabled(clf, bank, items, classes, 0, lambda step: None)
        seconds["asking"] = round(time.process_time() - start)
    mine, held, test = distilling.split(int(made.owners.max()) + 1, 0)
    slots, found = distilling.slots_of(made.of(mine), len(classes)), {}
    for name, how in WAYS.items():
        start = time.process_time()
        student, figures = distilling.taught(made, slots, 0, **how)
        found[name] = figures | {"seconds": round(time.process_time() - start)}
        print(name, json.dumps(found[name]["fidelity"]["edits"]), flush=True)
        if name == "student":
            kept = student
    knots = calibrated(kept, made.of(held))
    reasoner = Reasoner(kept, tuple(classes), clf.fingerprint, digest(bank), knots, found["student"])
    told = {
        "ways": found, "seconds": seconds, "edits": len(made.owners), "bank": len(bank), "classes": len(classes),
        "calibration_error": calibration_error(reasoner, made.of(test)),
    }  # fmt: skip
    return told, Explainer(clf, {"concepts": bank, "graph": reasoner}), noticed(reasoner, made.of(test))


def noticed(reasoner: Reasoner, made: distilling.Table) -> Row:
    """Whether the node that was edited is the one whose contribution, or whose edges, fell most: areas under curves
    over all nodes of the pictures, for what was displaced (edges) and exchanged for another one (nodes)."""
    whole = {int(o): n for n, o in enumerate(made.owners) if made.kinds[n] == 0}
    scores: dict[str, list[float]] = {"displaced": [], "exchanged": []}
    truth: dict[str, list[int]] = {"displaced": [], "exchanged": []}
    for kind in scores:
        for n in torch.nonzero(made.kinds == distilling.KINDS.index(kind))[:EDITS, 0].tolist():
            before, after = nodes_at(made, whole[int(made.owners[n])]), nodes_at(made, n)
            number = int(made.answers[whole[int(made.owners[n])]].argmax())
            edited = _edited(before, after)
            one, two = interpreted(reasoner, before, number), interpreted(reasoner, after, number)
            for j in set(one.here) & set(two.here):
                fall = _of_edges(one, j) - _of_edges(two, j) if kind == "displaced" else _of(one, j) - _of(two, j)
                scores[kind].append(fall)
                truth[kind].append(int(j == edited))
    return {
        kind: {"nodes": len(t), "edited": sum(t), "auroc": round(float(roc_auc_score(t, scores[kind])), 3)}
        for kind, t in truth.items()
    }


def nodes_at(made: distilling.Table, n: int) -> Nodes:
    """The nodes of one edit of a table."""
    features = made.features[made.rows[n].clamp_min(0)] * (made.rows[n] >= 0)[:, None]
    return Nodes(features, made.places[n], made.left[n])


def _edited(before: Nodes, after: Nodes) -> int:
    """Which node was displaced, or exchanged for one that is not quite like it."""
    moved = (before.places - after.places).abs().sum(dim=1)
    other = (before.features - after.features).abs().sum(dim=1)[:-1]
    return int((moved + other).argmax())


def _of(h: Hypothesis, j: int) -> float:
    return float(h.nodes[h.here.index(j)])


def _of_edges(h: Hypothesis, j: int) -> float:
    return sum(value for pair, value in h.edges.items() if j in pair)


def judge(explainer: Explainer, bird: Bird) -> Row:
    """What one bird says of the graph of its species."""
    clf = explainer.clf
    seen = look(clf, read(bird.rendered.pixels), bird.target)
    concepts = explainer.parts["concepts"]
    earlier = {"concepts": part_of("concepts").find(concepts, seen, {}, Request())}
    found: Reasoning | None = part.find(explainer.parts["graph"], seen, earlier, Request())
    if found is None:
        return {}
    h = dict(found.hypotheses)[bird.target]
    lost = {j: float(h.nodes[i]) for i, j in enumerate(h.here)}
    its = dict(zip(found.tried, (found.answered[0] - found.answered[1:]).tolist(), strict=True))
    told = contributions(found.concepts, lost, bird)
    masks = part_masks(clf, bird)
    alarms = [
        main_part(found.concepts.mask(j), masks)[0] in set(NULL_PARTS) - {"body"}
        for j in lost
        if abs(lost[j]) >= COUNTS
    ]
    known = [(lost[j], its[j]) for j in lost if abs(its[j]) >= TELLING]
    return {
        "faithful": found.faithful,
        "agrees": found.agrees,
        "error": found.error,
        "rank": float(spearman(told[None], bird.effects[None])[0].nan_to_num(0.0)),
        "sign": mean([float(t * e > 0) for t, e in zip(told, bird.effects, strict=True) if abs(e) >= TELLING]),
        "rank_of_hiding": _rank([lost[j] for j in lost], [its[j] for j in lost]),
        "sign_of_hiding": mean([float(a * b > 0) for a, b in known]),
        "alarms": (int(sum(alarms)), len(alarms)),
    }


def part_of(name: str) -> Any:
    from saywhy.parts import PARTS

    return PARTS[name].face()


def _rank(told: Sequence[float], its: Sequence[float]) -> float:
    if len(told) < 3:
        return float("nan")
    return float(spearman(torch.tensor([told]).double(), torch.tensor([its]).double())[0].nan_to_num(0.0))


def summary(rows: Sequence[Row]) -> Row:
    """Means over birds with their intervals; of all, and of those where the student is faithful."""
    out: Row = {"birds": len(rows), "faithful": round(mean([r["faithful"] for r in rows]), 3)}
    out["agrees"] = round(mean([r["agrees"] for r in rows]), 3)
    for which, some in (("all", rows), ("faithful_ones", [r for r in rows if r["faithful"]])):
        hits, tried = (sum(r["alarms"][i] for r in some) for i in (0, 1))
        out[which] = {"null_alarms": [hits, tried]}
        for name in ("rank", "sign", "rank_of_hiding", "sign_of_hiding"):
            values = np.array([r[name] for r in some])
            told = bootstrap(values[~np.isnan(values)]) if (~np.isnan(values)).any() else None
            out[which][name] = None if told is None else [round(v, 3) for v in (told.mean, told.low, told.high)]
    return out


def measure(name: str, count: int, bank_of: int, birds: int, explainer: Path | None) -> Row:
    clf = saywhy.load_classifier(name)
    told, made, edits = taught(clf, count, bank_of, explainer)
    found = [row for bird in test_birds(clf, birds, SEEDS["reported"])[0] if (row := judge(made, bird))]
    return {"model": name, "pictures": count, "seeds": SEEDS} | told | {"noticed": edits, "graphs": summary(found)}


def page_of(found: Sequence[Row]) -> str:
    return "\n\n".join(map(_section, found))


def _section(r: Row) -> str:
    kinds = ["image", "hidden", "displaced", "exchanged", "several", "only"]
    rows = [
        (name, *(f"{100 * w['fidelity'][k]['agreement']:.1f}" for k in kinds),
         *(f"{w['fidelity'][k]['divergence']:.2f}" for k in ("image", "hidden")),
         *(f"{w['fidelity'][k]['r2']:.2f}" for k in ("hidden", "several")), w["seconds"])
        for name, w in r["ways"].items()
    ]  # fmt: skip
    head = ("way", "picture", "one hidden", "displaced", "exchanged", "some hidden", "one kept",
            "divergence, picture", "one hidden", "R2, one hidden", "some hidden", "s")  # fmt: skip
    g = r["graphs"]
    parts = [
        (which, *(_interval(g[key][name]) for name in ("rank", "sign", "rank_of_hiding", "sign_of_hiding")),
         "{} of {}".format(*g[key]["null_alarms"]))
        for which, key in (("all birds", "all"), ("where it is faithful", "faithful_ones"))
    ]  # fmt: skip
    about = (
        f"{r['pictures']} pictures with {r['edits']} edits and answers, {r['bank']} concepts, {r['classes']} classes; "
        f"asking took {r['seconds']['asking']} s of a core. First class as the classifier's, in per cent, on pictures "
        "that were not learned from:"
    )
    below = (
        f"Of {g['birds']} birds of another seed it names {100 * g['agrees']:.0f} % as the classifier does, and is "
        f"called faithful on {100 * g['faithful']:.0f} %. Importance is {r['calibration_error']} off on average. The "
        f"edited node is told from the others by the fall of its edges where one was displaced (area under the curve "
        f"{r['noticed']['displaced']['auroc']:.2f}), and by that of its contribution where one was exchanged "
        f"({r['noticed']['exchanged']['auroc']:.2f})."
    )
    second = table(
        ("birds", "rank with parts' effects", "sign", "rank with hiding the concept", "sign", "null alarms"), parts
    )
    return f"### {r['model']}\n\n{about}\n\n{table(head, rows)}\n\n{below}\n\n{second}"


def _interval(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.2f} [{value[1]:.2f}–{value[2]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--bank-of", type=int, default=240, help="pictures of which concepts are made")
    parser.add_argument("--birds", type=int, default=60)
    parser.add_argument("--explainer", type=Path, help="a folder whose concepts are taken instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.models:
        result = measure(name, given.pictures, given.bank_of, given.birds, given.explainer)
        file = HERE / "results" / f"graph_{name.split(':')[1]}.json"
        file.write_text(json.dumps(machine() | result, indent=1) + "\n")
    between(PAGE, page_of([json.loads(f.read_text()) for f in sorted((HERE / "results").glob("graph_*.json"))]))


if __name__ == "__main__":
    main()
