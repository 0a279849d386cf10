"""The part `substitution`: what the classifier says with a good piece of the other class in the place of the worst one.

It looks only if asked (`explain --substitute`), and needs concepts and pieces of clear pictures, which it learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import ConceptsFound
from saywhy.errors import UsageError
from saywhy.explanation import place_word
from saywhy.image import mask_box
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.passes import counting
from saywhy.reasoning.reasoner import digest
from saywhy.seen import Seen, as_jpeg
from saywhy.substitution import stock as stocks
from saywhy.substitution.error_types import kind_of
from saywhy.substitution.gathering import PICTURES, features_of, gathered
from saywhy.substitution.matching import Instance, instances_of
from saywhy.substitution.pasting import PUT_IN
from saywhy.substitution.stock import Stock, stocked
from saywhy.substitution.trying import Asking, Attempt, Exchange, substituted

CONCEPTS = "concepts"  # the part whose concepts are exchanged
SIDE = 160
WAY_OUT = "saywhy fit IMAGES --parts concepts,substitution -o FOLDER, and then --explainer FOLDER"


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Keeps, of each class, some pictures that the classifier names most clearly, with their pieces of concepts.

    Raises:
        UsageError: there is no bank of concepts, it is of one class, or labels exclude nothing.
        InputError: none of the pictures can be read.
    """
    from saywhy.train.steps import drawn  # imported here: who explains a photo needs none of it

    bank: ConceptBank | None = how.parts.get(CONCEPTS)
    if bank is None:
        raise UsageError(f"pieces of concepts are exchanged, and there are no concepts: {WAY_OUT}")
    if not clf.exclusive:
        raise UsageError("a class is exchanged for another one, and these labels exclude nothing: a softmax is needed")
    if len(bank.classes) < 2:
        raise UsageError("a class is exchanged for another one: give pictures of two classes or more")
    donors, features, failures = gathered(clf, bank, drawn(items, PICTURES, how.seed), how.tell)
    classes = sorted({d.of for d in donors})
    card = {
        "kind": "substitution",
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "classes": [clf.class_names[c] for c in classes],
        "donors": len(donors),
        "pieces": sum(len(d.instances) for d in donors),
        "unreadable": len(failures),
        "put_in": PUT_IN,
    }
    made = stocked(donors, features, clf.fingerprint, digest(bank), card)
    told = f"{card['pieces']} pieces of {card['donors']} clear pictures of {len(classes)} classes"
    return Made(made, told, failures)


def save(stock: Stock, folder: Path) -> Mapping[str, Any]:
    """Writes the pictures that lend pieces."""
    return stocks.save(stock, folder)


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> Stock:
    """Reads those of this classifier."""
    return stocks.load(folder, row, clf.fingerprint)


# --------------------------------------------------------------------------------------------------
# One picture.


@dataclass(frozen=True, eq=False)
class Substituted:
    """What was asked, what came of it, the kind of error (None: not clear), how `strange` the worst piece is, and the
    passes that all cost."""

    bank: ConceptBank
    instances: tuple[Instance, ...]
    outcome: Exchange
    wanted: int
    kind: str | None
    strange: float | None
    passes: int


def find(stock: Stock | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Substituted | None:
    """Exchanges pieces for the class that the target is compared with; None where nobody asked for it.

    Raises:
        UsageError: the explainer has no concepts or no pieces, they belong to another bank, or there is no class to
            compare the target with.
    """
    if not asked.substitute:
        return None
    found: ConceptsFound | None = earlier.get(CONCEPTS)
    if stock is None or found is None:
        raise UsageError(f"to substitute, an explainer with concepts and pieces of them is needed: {WAY_OUT}")
    if digest(found.bank) != stock.bank:
        raise UsageError(
            "the pieces are of another bank of concepts than the explainer has; gather them again: saywhy fit IMAGES "
            "--parts substitution --init EXPLAINER"
        )
    if seen.versus is None:
        raise UsageError("to substitute, two classes are compared that exclude each other, and these labels do not")
    asked.tell("exchanging pieces of concepts")
    instances = tuple(instances_of(found.labels))
    with counting() as meter:
        outcome = _outcome(stock, seen, instances, asked.seed)
    strange = None
    if outcome.worst is not None:
        strange = stock.strange(features_of(found.bank, found.tap, [instances[outcome.worst]])[0])
    kind = None if strange is None else kind_of(outcome, seen.versus, strange)
    return Substituted(found.bank, instances, outcome, seen.versus, kind, strange, meter.forward_passes)


def _outcome(stock: Stock, seen: Seen, instances: tuple[Instance, ...], seed: int) -> Exchange:
    assert seen.versus is not None
    if seen.probabilities[seen.versus] >= seen.probabilities[seen.target]:
        return Exchange(seen.probabilities[:0], why="it is given that class rather than this one as it is")
    return substituted(Asking(seen.tap.clf, seen.image.cpu(), instances, seen.target, seen.versus, seed), stock)


def confirm(found: Substituted, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """The record: the worst piece, what each trial gave, and what kind of error it is."""
    out = found.outcome
    record: dict[str, Any] = {
        "why": out.why,
        "said": seen.score(seen.target).model_dump(mode="json"),
        "wanted": seen.score(found.wanted).model_dump(mode="json"),
        "looked_at": len(found.instances),
        "worst": None if out.worst is None else _piece(found, seen, out.worst),
        "correction": out.corrected or None,
        "same_donors": out.again,
        "trials": [_trial(found, seen, t) for t in out.trials],
        "strange": found.strange,
        "expected": out.expected,
        "error": found.kind,
        "passes": found.passes,
    }
    pictures = tuple(
        as_jpeg(p, SIDE) for p in ([seen.image.cpu()] if out.trials else []) + [t.picture for t in out.trials]
    )
    return Confirmed(record=record, made=("substitution",), pictures=pictures)


def _piece(found: Substituted, seen: Seen, n: int) -> dict[str, Any]:
    one = found.instances[n]
    id, mask = found.bank.ids[one.concept], seen.on_photo(one.mask)
    return {
        "concept": id,
        "name": found.bank.names.get(id),
        "place": place_word(mask) if mask.any() else None,
        "box": list(mask_box(mask)) if mask.any() else None,
        "speaks": float(found.outcome.speaks[n]),
    }


def _trial(found: Substituted, seen: Seen, t: Attempt) -> dict[str, Any]:
    def mean(c: int) -> float:
        return float(t.answers[:, c].mean())

    names = seen.tap.clf.class_names
    return {
        "what": t.what,
        "from": list(t.froms),
        "named": [names[int(c)] for c in t.answers.argmax(dim=1)],
        "said": mean(seen.target),
        "wanted": mean(found.wanted),
        "flips": t.flips(found.wanted),
    }


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
