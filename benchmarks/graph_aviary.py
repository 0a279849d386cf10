"""Graphs of concepts against the birds: does the student decide as the classifier does, and count what parts count?

    python benchmarks/graph_aviary.py aviary:cnn aviary:vit

A bank and a student are made of pictures of one seed; the student is measured on pictures of that seed that it did not
learn from, its graphs, adapted to each picture, on birds of a second seed (on which things were chosen) and of a third.
Of each bird the classifier is asked about every combination of the target's concepts, and what parts and concepts count
is known by rendering. Beside it stand students without interventions, with absolute places instead of relations, and
without edges; and what is measured, added up in log-probability without any student. Writes results/graph_NAME.json
and the tables in docs/graphs.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import saywhy
from concepts_aviary import SEEDS, TELLING, contributions, main_part, mean, part_masks
from page import between, table
from saywhy.aviary import remove, render, sample, world
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.making import make_bank
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.part_effects import Bird, edition_told, test_birds, view
from saywhy.explainer import Explainer
from saywhy.image import read
from saywhy.intervene import interaction_indices
from saywhy.metrics import spearman
from saywhy.metrics.statistics import bootstrap
from saywhy.parts import Request
from saywhy.reasoning import distilling, part
from saywhy.reasoning.adapting import Trial, asked_of, correction
from saywhy.reasoning.interpreting import Hypothesis, coalitions, interpreted, probabilities
from saywhy.reasoning.nodes import Nodes
from saywhy.reasoning.part import Reasoning
from saywhy.reasoning.reasoner import LIMIT, Reasoner, digest
from saywhy.seen import Seen, look
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


def taught(
    clf: Classifier, count: int, bank_of: int, explainer: Path | None, ways: Sequence[str]
) -> tuple[Row, Explainer, Row]:
    """Figures of some ways, the explainer with the student, and what was noticed of single edits."""
    with tempfile.TemporaryDirectory() as folder:
        items = pictures(clf, Path(folder), count)
        start = time.process_time()
        given = None if explainer is None else Explainer.load(explainer, clf).parts["concepts"]
        bank = given or make_bank(clf, items[:bank_of])[0]
        seconds = {"bank": round(time.process_time() - start)}
        start, classes = time.process_time(), sorted(bank.classes)
        made, _ = distilling.tabled(clf, bank, items, classes, 0, lambda step: None)
        seconds["asking"] = round(time.process_time() - start)
    mine, _, test = distilling.split(int(made.owners.max()) + 1, 0)
    slots, found = distilling.slots_of(made.of(mine), len(classes)), {}
    for name in ways:
        start = time.process_time()
        student, figures = distilling.taught(made, slots, 0, **WAYS[name])
        found[name] = figures | {"seconds": round(time.process_time() - start)}
        with torch.no_grad():
            found[name]["adapted"] = untold(distilling.answered(student, made.of(test)), made.of(test), slots)
        print(name, json.dumps(found[name]["fidelity"]["edits"]), flush=True)
        if name == "student":
            kept = student
    found["measured alone"] = {"adapted": untold(torch.zeros_like(made.of(test).answers), made.of(test), slots)}
    reasoner = Reasoner(kept, tuple(classes), clf.fingerprint, digest(bank), found["student"])
    told = {"ways": found, "seconds": seconds, "edits": len(made.owners), "bank": len(bank), "classes": len(classes)}
    return told, Explainer(clf, {"concepts": bank, "graph": reasoner}), noticed(reasoner, made.of(test))


def pictures(clf: Classifier, folder: Path, count: int) -> list[Item]:
    """Training pictures of the classifier's edition, as files."""
    edition, size = edition_told(clf), clf.preprocess.size[0]
    items = []
    for n in range(count):
        scene = sample(SEEDS["made"], n, edition=edition, size=size).scene
        Image.fromarray(render(scene).pixels).save(folder / f"{n:04}.png")
        items.append(Item(folder / f"{n:04}.png"))
    return items


def untold(scores: torch.Tensor, made: distilling.Table, slots: torch.Tensor) -> Row:
    """Fidelity of scores that are adapted to each picture and to its knock-outs of the class's concepts, on all other
    edits."""
    scores, new = scores.clone(), torch.ones(len(scores), dtype=torch.bool)
    for owner in torch.unique(made.owners):
        rows = torch.nonzero(made.owners == owner)[:, 0]
        whole = int(rows[made.kinds[rows] == 0])
        left = made.left[whole]
        of_class = set(slots[made.answers[whole].argmax().clamp_max(len(slots) - 1)].tolist())
        hidden = rows[made.kinds[rows] == distilling.KINDS.index("hidden")].tolist()
        told = {j: n for n in hidden if (j := int((left - made.left[n]).argmax())) in of_class}
        asked = [whole, *told.values()]
        each = correction(scores[asked], made.answers[asked], left, list(told))
        scores[rows] += made.left[rows] @ each[:-1] + each[-1]
        new[list(told.values())] = False
    return distilling.fidelity(scores[new], made.where(new))


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
    told, masks = contributions(found.concepts, lost, bird), part_masks(clf, bird)
    truth = {j: ideal_loss(clf, bird, found.concepts.mask(j)) for j in lost}
    alarms = [
        main_part(found.concepts.mask(j), masks)[0] in set(world(bird.rendered.scene.edition).null_parts) - {"body"}
        for j in lost
        if abs(lost[j]) >= COUNTS
    ]
    p = float(seen.probabilities[bird.target])
    return {
        "faithful": found.trial.faithful,
        "passes": len(found.trial.tried) + len(found.trial.edits),
        "nodes": len(lost),
        "rank": float(spearman(told[None], bird.effects[None])[0].nan_to_num(0.0)),
        "sign": mean([float(t * e > 0) for t, e in zip(told, bird.effects, strict=True) if abs(e) >= TELLING]),
        "rank_of_hiding": _rank([lost[j] for j in lost], [truth[j] for j in lost]),
        "sign_of_hiding": mean([float(lost[j] * truth[j] > 0) for j in lost if abs(truth[j]) >= TELLING]),
        "importance": [(share(lost[j], p), share(truth[j], p)) for j in lost],
        "alarms": (int(sum(alarms)), len(alarms)),
    } | combined(explainer.parts["graph"], found, seen, h)


def share(lost: float, p: float) -> float:
    """Importance: how much of a probability is lost, a gain is none."""
    return min(1.0, max(0.0, lost / p))


def ideal_loss(clf: Classifier, bird: Bird, mask: torch.Tensor) -> float:
    """What the classifier loses where a concept's pixels (H, W) are those of the scene without every part that they
    touch; the bare body stays."""
    scene, known = bird.rendered.scene, world(bird.rendered.scene.edition)
    names = [n for n in scene.birds[0].names if n != known.carrier and bird.rendered.visible(n).any()]
    touched = [n for n in names if bool((framed_mask(bird.rendered.visible(n), clf.preprocess) * mask).any())]
    if not touched:
        return 0.0
    without = torch.where(mask, view(clf, [render(remove(scene, *touched))])[0], bird.image)
    before, after = clf.probabilities(torch.stack([bird.image, without]))[:, bird.target].tolist()
    return float(before - after)


def combined(taught_one: Reasoner, found: Reasoning, seen: Seen, h: Hypothesis) -> Row:
    """How the target's probability in every combination of its concepts is told: errors where two, three, and all but
    one are hidden, of the student adapted (without what it was told), of it unadapted, and of what was measured added
    up; and how well the pairs' Shapley interactions are told, all by the classifier's own answers."""
    p, left = len(h.here), found.nodes.left
    lefts = coalitions(left, h.here)
    gone = [tuple(j for j in h.here if row[j] < left[j]) for row in lefts]
    its = asked_of(taught_one, found.concepts, seen, gone[:-1])[1:]
    its = torch.cat([its, found.trial.answers[:1]])[:, h.number].double()
    ways = {
        "adapted": probabilities(found.reasoner.student, found.nodes, lefts)[:, h.number],
        "unadapted": probabilities(taught_one.student, found.nodes, lefts)[:, h.number],
        "measured alone": added_up(found.trial, left, lefts)[:, h.number],
    }
    new = [n for n, some in enumerate(gone) if len(some) > 1 and some not in found.trial.edits]
    sizes = {"two": 2, "three": 3, "all but one": p - 1}
    pairs = list(combinations(range(p), 2))
    true = interaction_indices(its)
    return {
        "errors": {
            way: {name: _off(told, its, [n for n in new if len(gone[n]) == size]) for name, size in sizes.items()}
            | {"new": _off(told, its, new)}
            for way, told in ways.items()
        },
        "pairs": {
            way: [(float(interaction_indices(told)[pair]), float(true[pair])) for pair in pairs]
            for way, told in ways.items()
        },
    }


def added_up(trial: Trial, left: torch.Tensor, lefts: torch.Tensor) -> torch.Tensor:
    """Probabilities (B, scores) by what was measured of single concepts, added up in log-probability: no student."""
    each = correction(torch.zeros_like(trial.answers), trial.answers, left, trial.tried)
    return (lefts @ each[:-1] + each[-1]).softmax(dim=1).double()


def _off(told: torch.Tensor, its: torch.Tensor, which: Sequence[int]) -> float:
    return float((told - its)[list(which)].abs().mean()) if which else float("nan")


def part_of(name: str) -> Any:
    from saywhy.parts import PARTS

    return PARTS[name].face()


def _rank(told: Sequence[float], its: Sequence[float]) -> float:
    if len(told) < 3:
        return float("nan")
    return float(spearman(torch.tensor([told]).double(), torch.tensor([its]).double())[0].nan_to_num(0.0))


def summary(rows: Sequence[Row]) -> Row:
    """Means over birds with their intervals; of all, and of those where the student is faithful."""
    known = [r for r in rows if not np.isnan(r["errors"]["adapted"]["new"])]
    right = [r["errors"]["adapted"]["new"] <= LIMIT for r in known]
    called = [r["faithful"] for r in known]
    out: Row = {
        "birds": len(rows),
        "faithful": round(mean([r["faithful"] for r in rows]), 3),
        "passes": round(mean([r["passes"] for r in rows]), 1),
        "nodes": round(mean([r["nodes"] for r in rows]), 1),
        "right_where_called": [sum(a and b for a, b in zip(right, called, strict=True)), sum(called)],
        "right_where_not": [sum(a and not b for a, b in zip(right, called, strict=True)), len(called) - sum(called)],
        "calibration_error": off_by_share([pair for r in rows for pair in r["importance"]]),
    }
    for which, some in (("all", rows), ("faithful_ones", [r for r in rows if r["faithful"]])):
        hits, tried = (sum(r["alarms"][i] for r in some) for i in (0, 1))
        out[which] = {"null_alarms": [hits, tried]}
        for name in ("rank", "sign", "rank_of_hiding", "sign_of_hiding"):
            out[which][name] = _over([r[name] for r in some])
        out[which]["errors"] = {
            way: {size: _over([r["errors"][way][size] for r in some]) for size in ("two", "three", "all but one")}
            for way in rows[0]["errors"]
        }
        out[which]["pairs"] = {way: _pairs([x for r in some for x in r["pairs"][way]]) for way in rows[0]["pairs"]}
    return out


def _over(values: Sequence[float]) -> list[float] | None:
    known = np.array([v for v in values if not np.isnan(v)])
    told = bootstrap(known) if len(known) else None
    return None if told is None else [round(v, 3) for v in (told.mean, told.low, told.high)]


def _pairs(pairs: Sequence[tuple[float, float]]) -> Row:
    """How interactions that are told go with the true ones."""
    told, true = np.array(pairs).T if len(pairs) else np.zeros((2, 0))
    if len(told) < 3:
        return {"pairs": len(told)}
    return {
        "pairs": len(told),
        "correlation": round(float(np.corrcoef(told, true)[0, 1]), 3),
        "error": round(float(np.abs(told - true).mean()), 4),
        "size": round(float(np.abs(true).mean()), 4),
    }


def off_by_share(pairs: Sequence[tuple[float, float]], bins: int = 10) -> float:
    """How far, on average, importance is from the true share in bins of as many concepts each."""
    told, true = np.array(sorted(pairs)).T
    parts = np.array_split(np.arange(len(told)), bins)
    return round(float(np.mean([abs(told[some].mean() - true[some].mean()) for some in parts if len(some)])), 4)


def measure(name: str, count: int, bank_of: int, birds: int, explainer: Path | None, ways: Sequence[str]) -> Row:
    clf = saywhy.load_classifier(name)
    told, made, edits = taught(clf, count, bank_of, explainer, ways)
    graphs = {
        which: summary([row for bird in test_birds(clf, birds, SEEDS[which])[0] if (row := judge(made, bird))])
        for which in ("chosen", "reported")
    }
    return {"model": name, "pictures": count, "seeds": SEEDS} | told | {"noticed": edits, "graphs": graphs}


def page_of(found: Sequence[Row]) -> str:
    return "\n\n".join(map(_section, found))


def _section(r: Row) -> str:
    about = (
        f"{r['pictures']} pictures with {r['edits']} edits and answers, {r['bank']} concepts, {r['classes']} classes; "
        f"asking took {r['seconds']['asking']} s of a core. First class as the classifier's, in per cent, and R2 of "
        "the probability, on pictures that were not learned from:"
    )
    g = r["graphs"]["reported"]
    hits, of = g["right_where_called"]
    others, rest = g["right_where_not"]
    chosen, noticed = r["graphs"]["chosen"], r["noticed"]
    below = (
        f"Birds of another seed ({g['birds']}; {g['nodes']} concepts of the class and {g['passes']} passes each): the "
        f"adapted student is called faithful on {100 * g['faithful']:.0f} % ({100 * chosen['faithful']:.0f} % on the "
        f"seed that things were chosen on). Of all other combinations of the target's concepts it is then within "
        f"{100 * LIMIT:.0f} points on average in {hits} of {of} birds, and where it is not called so in {others} of "
        f"{rest}. Importance is {g['calibration_error']} off what the scene rendered without it shows. The edited node "
        "is told from the others (unadapted) by the fall of its edges where one was displaced (area under the curve "
        f"{noticed['displaced']['auroc']:.2f}, {noticed['displaced']['edited']} edited), and by that of its "
        f"contribution where one was exchanged ({noticed['exchanged']['auroc']:.2f}, "
        f"{noticed['exchanged']['edited']} edited)."
    )
    parts = [
        (which, *(_interval(g[key][name]) for name in ("rank", "sign", "rank_of_hiding", "sign_of_hiding")),
         "{} of {}".format(*g[key]["null_alarms"]))
        for which, key in (("all birds", "all"), ("where it is faithful", "faithful_ones"))
    ]  # fmt: skip
    second = table(
        ("birds", "rank with parts' effects", "sign", "rank with ideal hiding", "sign", "null alarms"), parts
    )
    return f"### {r['model']}\n\n{about}\n\n{_ways(r)}\n\n{below}\n\n{_combined(g)}\n\n{second}"


KINDS = {"image": "picture", "hidden": "one hidden", "displaced": "displaced", "exchanged": "exchanged",
         "several": "some hidden", "only": "one kept"}  # fmt: skip


def _ways(r: Row) -> str:
    def row(name: str, figures: Row, seconds: object) -> tuple[object, ...]:
        said = [f"{100 * figures[k]['agreement']:.1f}" if k in figures else "" for k in KINDS]
        return (name, *said, *(f"{figures[k]['r2']:.2f}" for k in ("displaced", "exchanged", "several")), seconds)

    rows = []
    for name, w in r["ways"].items():
        own = {k: v for k, v in w["adapted"].items() if k != "image"}
        rows += [row(name, w["fidelity"], w["seconds"])] if "fidelity" in w else []
        rows += [row(f"{name}, adapted" if "fidelity" in w else name, own, "")]
    return table(("way", *KINDS.values(), "R2, displaced", "exchanged", "some hidden", "s"), rows)


def _combined(g: Row) -> str:
    rows = [
        (way, *(_interval(errors[size]) for size in ("two", "three", "all but one")),
         f"{g['all']['pairs'][way]['correlation']:.2f}", f"{g['all']['pairs'][way]['error']:.3f}")
        for way, errors in g["all"]["errors"].items()
    ]  # fmt: skip
    head = ("mean error of the probability", "two hidden", "three", "all but one", "interactions, correlation", "error")
    return table(head, rows)


def _interval(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.2f} [{value[1]:.2f}–{value[2]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--bank-of", type=int, default=240, help="pictures of which concepts are made")
    parser.add_argument("--birds", type=int, default=60)
    parser.add_argument("--explainer", type=Path, help="a folder whose concepts are taken instead")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="the student always")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.models:
        ways = [way for way in WAYS if way == "student" or way in given.ways]
        result = measure(name, given.pictures, given.bank_of, given.birds, given.explainer, ways)
        file = HERE / "results" / f"graph_{name.split(':')[1]}.json"
        file.write_text(json.dumps(machine() | result, indent=1) + "\n")
    between(PAGE, page_of([json.loads(f.read_text()) for f in sorted((HERE / "results").glob("graph_*.json"))]))


if __name__ == "__main__":
    main()
