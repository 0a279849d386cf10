"""The part `concepts`: a bank of visual concepts of one classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts import bank as banks
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import ConceptsFound, find_concepts, hypotheses
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.seen import Seen


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Finds concepts in the way that the preset names; names of a bank that was in the folder go on."""
    # Imported here: who explains a photo needs none of it.
    from saywhy.concepts.making import make_bank
    from saywhy.train.checkpoint import unfinished

    known = how.init or _before(how.checkpoint, clf)
    bank, failures = make_bank(
        clf, items, how.preset, init=known, checkpoint=how.checkpoint, seed=how.seed, tell=how.tell
    )
    return Made(bank, _told(bank), failures, leftovers=unfinished(how.checkpoint))


def _before(checkpoint: Path | None, clf: Classifier) -> ConceptBank | None:
    """The bank that lies where this one will, if it has names that people gave."""
    folder = None if checkpoint is None else checkpoint.parent
    if folder is None or not banks.read_names(folder) or not (folder / banks.RECORD).is_file():
        return None
    return banks.load(folder)


def _told(bank: ConceptBank) -> str:
    card = bank.card
    faithful = card["fidelity"][str(card["concepts"])]
    fidelity = "their fidelity cannot be measured" if faithful is None else f"fidelity {faithful:.2f}"
    edge = ", the most that were tried" if card["concepts"] == card["most_that_were_tried"] else ""
    lost = "".join(f'; the name "{name}" found no concept that is like its own' for name in card["names_lost"].values())
    return (
        f"{len(bank)} concepts{edge} ({fidelity} on {card['held_out'] or 'the same'} pictures) from "
        f"{card['vectors']['kept']} of {card['vectors']['of']} places in {card['pictures']} pictures of "
        f"{len(bank.classes)} classes{lost}"
    )


def save(bank: ConceptBank, folder: Path) -> Mapping[str, Any]:
    """Writes the bank's files."""
    return banks.save(bank, folder)


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> ConceptBank:
    """Reads a bank of this classifier."""
    return banks.load(folder, clf.fingerprint)


def find(bank: ConceptBank | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> ConceptsFound | None:
    """Where the concepts are; nothing where none were found before."""
    if bank is None:
        return None
    asked.tell("finding concepts")
    return find_concepts(bank, seen)


def confirm(found: ConceptsFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """The record: each candidate class with its concepts, there or absent; and exemplars of all that are there."""
    bank, told = found.bank, hypotheses(found, seen)
    shown = [bank.ids[j] for j in torch.unique(found.labels).tolist() if j >= 0]
    pictures: list[bytes] = []
    spans = {}
    for id in shown:
        own = bank.looks(id)
        spans[id] = [len(pictures), len(pictures) + len(own)]
        pictures += own
    record = {"layer": bank.layer, "of": len(bank), "hypotheses": told, "pictures": spans}
    return Confirmed(record=record, made=(f"concepts:{bank.basis.method}",), pictures=tuple(pictures))


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
