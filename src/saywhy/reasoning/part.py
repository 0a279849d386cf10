"""The part `graph`: a structural concept graph for each candidate class, and a student that decides by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import ConceptsFound, candidates
from saywhy.errors import UsageError
from saywhy.explanation import place_word
from saywhy.graph.build import spatial_relation
from saywhy.image import mask_box
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.reasoning import reasoner as reasoners
from saywhy.reasoning.adapting import Trial, adapted
from saywhy.reasoning.distilling import PICTURES, SLOTS, asked, slots_of, split, taught
from saywhy.reasoning.interpreting import Hypothesis, interpreted
from saywhy.reasoning.nodes import PUT_IN, Nodes, nodes_of
from saywhy.reasoning.reasoner import LIMIT, Reasoner, digest
from saywhy.seen import Seen

CONCEPTS = "concepts"  # the part whose concepts are the nodes


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Teaches a student what the classifier answers to pictures and edits of them.

    Raises:
        UsageError: there is no bank of concepts, it is of one class, or labels exclude nothing.
    """
    # Imported here: who explains a photo needs none of it.
    from saywhy.train.checkpoint import unfinished
    from saywhy.train.steps import Steps, drawn, mark

    bank: ConceptBank | None = how.parts.get(CONCEPTS)
    if bank is None:
        raise UsageError(
            "graphs are made of concepts, and there are none: saywhy fit IMAGES --parts concepts,graph, or --init an "
            "explainer that has them"
        )
    if not clf.exclusive:
        raise UsageError(
            "a student shares one whole probability among classes, and these labels exclude nothing: graphs are for "
            "classifiers whose classes exclude each other (a softmax)"
        )
    if len(bank.classes) < 2:
        raise UsageError("a student tells classes apart: give pictures of two classes or more")
    classes, chosen = sorted(bank.classes), drawn(items, PICTURES, how.seed)
    pictures = mark(item.path for item in chosen)
    run = {"classifier": clf.fingerprint, "bank": digest(bank), "pictures": pictures, "seed": how.seed}
    table, failures = asked(Steps(how.checkpoint, run), clf, bank, chosen, classes, how.seed, how.tell)
    mine, _, _ = split(int(table.owners.max()) + 1, how.seed)
    slots = slots_of(table.of(mine), len(classes))
    student, figures = taught(table, slots, how.seed, checkpoint=how.checkpoint, tell=how.tell)
    card = {
        "kind": "graph",
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "classes": [clf.class_names[c] for c in classes],
        "concepts_of_a_class": min(SLOTS, len(bank)),
        "unreadable": len(failures),
        "put_in": PUT_IN,
        "faithful_up_to": LIMIT,
    } | figures
    made = Reasoner(student, tuple(classes), clf.fingerprint, digest(bank), card)
    return Made(made, _summary(card), failures, leftovers=unfinished(how.checkpoint))


def _summary(card: Mapping[str, Any]) -> str:
    told = card["fidelity"]
    edits = (
        f" and {told['edits']['agreement']:.0%} of {told['edits']['edits']} edits of them" if "edits" in told else ""
    )
    seen = "that it learned from" if card["pictures"][0] == card["pictures"][2] else "that it did not see"
    return (
        f"a student of {len(card['classes'])} classes that says what the classifier says of "
        f"{told['image']['agreement']:.0%} of {told['image']['edits']} pictures{edits} {seen}"
    )


def save(reasoner: Reasoner, folder: Path) -> Mapping[str, Any]:
    """Writes the student."""
    return reasoners.save(reasoner, folder)


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> Reasoner:
    """Reads a student of this classifier."""
    return reasoners.load(folder, row, clf.fingerprint)


# --------------------------------------------------------------------------------------------------
# One picture.


@dataclass(frozen=True, eq=False)
class Reasoning:
    """The graphs of a picture, one for each candidate class that the student knows, by the student as it is adapted to
    this picture, and the `trial` of it for the target."""

    reasoner: Reasoner
    concepts: ConceptsFound
    nodes: Nodes
    hypotheses: tuple[tuple[int, Hypothesis], ...]
    trial: Trial


def find(reasoner: Reasoner | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Reasoning | None:
    """The graphs of a picture; nothing where no student was taught, or none that knows the target.

    Raises:
        UsageError: the student learned with another bank of concepts.
    """
    found: ConceptsFound | None = earlier.get(CONCEPTS)
    if reasoner is None or found is None:
        return None
    if digest(found.bank) != reasoner.bank:
        raise UsageError(
            "the student of graphs learned with another bank of concepts than the explainer has; teach it again: "
            "saywhy fit IMAGES --parts graph --init EXPLAINER"
        )
    if seen.target not in reasoner.classes:
        return None
    asked.tell("reading graphs of concepts")
    nodes = nodes_of(found.bank, found.tap, found.labels)
    number = {c: n for n, c in enumerate(reasoner.classes)}
    classes = [c for c in candidates(found.bank, seen) if c in number]
    rivals = {c: seen.versus if c == seen.target else seen.target for c in classes}
    reasoner, trial = adapted(reasoner, found, nodes, seen, number[seen.target], asked.seed)
    graphs = tuple((c, interpreted(reasoner, nodes, number[c], number.get(_rival(rivals[c])))) for c in classes)
    return Reasoning(reasoner, found, nodes, graphs, trial)


def _rival(c: int | None) -> int:
    return -1 if c is None else c


def confirm(found: Reasoning, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """The record: a graph for each candidate class, and how faithful the student is on this picture."""
    card = found.reasoner.card.get("fidelity", {})
    record = {
        "faithful": found.trial.faithful,
        "error": found.trial.error,
        "limit": LIMIT,
        "knock_outs": len(found.trial.tried),
        "judged_by": len(found.trial.edits),
        "held_out": {kind: card[kind]["agreement"] for kind in ("image", "edits") if kind in card},
        "hypotheses": [_told(found, seen, c, h) for c, h in found.hypotheses],
    }
    return Confirmed(record=record, made=(f"graph:{len(found.reasoner.classes)} classes",))


def _told(found: Reasoning, seen: Seen, c: int, h: Hypothesis) -> dict[str, Any]:
    masks = {j: seen.on_photo(found.concepts.mask(j)) for j in h.here}
    visible = [j for j in h.here if bool(masks[j].any())]
    lost, whole = found.trial.lost(h.number), float(found.trial.answers[0, h.number])
    nodes = [
        _node(found, h, j, i) | _at(masks[j] if j in visible else None) | _measured(lost.get(j), whole)
        for i, j in enumerate(h.here)
    ]
    gone = [_absent(found, j) for j in h.absent]
    edges = [_edge(found, h, pair, masks) for pair in h.edges if set(pair) <= set(visible)]
    return {
        "class_index": c,
        "class_name": seen.tap.clf.class_names[c],
        "probability": h.probability,
        "nodes": [*nodes, *gone],
        "edges": edges,
    }


def _node(found: Reasoning, h: Hypothesis, j: int, i: int) -> dict[str, Any]:
    return {
        "concept": found.concepts.bank.ids[j],
        "name": found.concepts.bank.names.get(found.concepts.bank.ids[j]),
        "present": True,
        "contribution": float(h.nodes[i]),
        "contrast": None if h.nodes_versus is None else float(h.nodes_versus[i]),
        "share": float(h.shares[i]),
        "slice": float(h.slices[i]),
    }


def _measured(lost: float | None, whole: float) -> dict[str, Any]:
    """What the classifier itself loses without a concept, and how much of its probability that is."""
    if lost is None:
        return {"measured": None, "importance": None}
    return {"measured": lost, "importance": min(1.0, max(0.0, lost) / max(whole, 1e-6))}


def _at(mask: Any) -> dict[str, Any]:
    if mask is None:
        return {"place": None, "box": None}
    return {"place": place_word(mask), "box": list(mask_box(mask))}


def _absent(found: Reasoning, j: int) -> dict[str, Any]:
    return {
        "concept": found.concepts.bank.ids[j],
        "name": found.concepts.bank.names.get(found.concepts.bank.ids[j]),
        "present": False, "contribution": 0.0, "contrast": None, "share": 0.0, "importance": None, "slice": 0.0,
        "place": None, "box": None, "measured": None,
    }  # fmt: skip


def _edge(found: Reasoning, h: Hypothesis, pair: tuple[int, int], masks: Mapping[int, Any]) -> dict[str, Any]:
    i, j = pair
    relation, distance = spatial_relation(masks[i], masks[j])
    at = [h.here.index(n) for n in pair]
    return {
        "source": found.concepts.bank.ids[i],
        "target": found.concepts.bank.ids[j],
        "relation": relation,
        "distance": distance,
        "contribution": h.edges[pair],
        "contrast": None if h.edges_versus is None else h.edges_versus[pair],
        "together": float(h.together[at[0], at[1]]),
        "slice": h.lines[pair],
    }


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
