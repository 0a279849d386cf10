"""Makes a bank of concepts of a classifier from pictures; no labels are asked for, no weight of it is touched.

Pictures are read three times: for the sample of activations, some for the number of concepts, some of every class for
what each concept counts. N pictures, n vectors (n, K), k concepts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.discovery import DISCOVERY, Basis, basis_of
from saywhy.concepts.extraction import EXTRACTION
from saywhy.concepts.fidelity import Fidelity, fewest, fidelities
from saywhy.concepts.gather import Gathered, gather
from saywhy.concepts.likeness import carried, stability
from saywhy.concepts.looking import bank_point, looked_at
from saywhy.concepts.studying import drawn, studied
from saywhy.errors import UsageError, no_inside, unknown
from saywhy.train.steps import Kept, Steps, mark

COUNTS = (8, 16, 32, 64)  # of concepts, tried
FEW_VECTORS = 4  # vectors a concept, at least
HELD_OUT, MOST_HELD = 0.15, 64  # pictures by which their number is chosen
FARTHEST = 0.05  # of a concept's vectors, that are too far from it to be of it

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Approach:
    """How concepts are looked for: rows of EXTRACTION and DISCOVERY, and the numbers of concepts that are tried."""

    extraction: str
    discovery: str
    counts: tuple[int, ...] = COUNTS

    def __post_init__(self) -> None:
        if self.extraction not in EXTRACTION:
            raise unknown("extraction", self.extraction, EXTRACTION)
        if self.discovery not in DISCOVERY:
            raise unknown("way to find concepts", self.discovery, DISCOVERY)


APPROACHES: dict[str, Approach] = {
    "kmeans": Approach("dense", "kmeans"),
    "nmf": Approach("dense", "nmf"),
    "topk-sae": Approach("dense", "topk-sae"),
    "superpixels": Approach("superpixels", "kmeans"),
}


def make_bank(
    clf: Classifier,
    items: Sequence[Item],
    way: str | Approach = "kmeans",
    *,
    init: ConceptBank | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
    tell: Tell = lambda step: None,
) -> tuple[ConceptBank, tuple[tuple[str, str], ...]]:
    """A bank from pictures, and the pictures that could not be read, each with the reason. Same seed, same bank.

    `init` is a bank whose names go to the concepts that are like theirs. With `checkpoint` an interrupted run goes on
    where it was.

    Raises:
        UsageError: a black box, an unknown way, activations that are the same everywhere.
        InputError: none of the pictures can be read.
    """
    way = _way(way)
    if not clf.white_box:
        raise no_inside("activations to find concepts in", "its regions are explained without concepts")
    steps = Steps(checkpoint, _run(clf, items, way, seed))
    found = gather(clf, items, way.extraction, seed=seed, steps=steps, tell=tell)
    X = found.vectors
    _check_varied(clf, X)
    kept, held = _split(len(found.items), seed)
    mine = torch.isin(found.owners, kept)
    own, owners = X[mine], found.owners[mine]
    find = partial(_basis, steps, way, tell)
    bases = {k: find(f"concepts-{k}", own, k, seed) for k in _counts(way, len(own))}
    faithful = _fidelities(steps, clf, bases, [found.items[i] for i in held], own.mean(0), seed, tell)
    k = fewest(faithful)
    basis, least = _with_limits(bases[k], own)
    bank = ConceptBank(basis, bank_point(clf).path, clf.fingerprint, bool((X >= 0).all()), least, _classes(clf, found))
    bank = studied(clf, bank, found, seed, steps, tell)
    names, lost = carried(init.names, init.basis, bank.basis) if init is not None else ({}, {})
    card = dict(bank.card) | _card(clf, way, found, faithful, k, len(held) if len(kept) < len(found.items) else 0)
    card |= {"stability": _stability(find, bank.basis, own, owners, seed), "names_lost": lost}
    return replace(bank, card=card).named(names), found.failures


def _way(way: str | Approach) -> Approach:
    if isinstance(way, str) and way not in APPROACHES:
        raise unknown("preset", way, APPROACHES)
    return APPROACHES[way] if isinstance(way, str) else way


def _run(clf: Classifier, items: Sequence[Item], way: Approach, seed: int) -> dict[str, Any]:
    """What makes a run this one, as JSON can say it."""
    pictures = mark(item.path for item in items)
    how = {"extraction": way.extraction, "discovery": way.discovery, "counts": list(way.counts), "seed": seed}
    return {"classifier": clf.fingerprint, "layer": bank_point(clf).path, "pictures": pictures} | how


def _check_varied(clf: Classifier, X: Tensor) -> None:
    if len(X) < 2 or bool((X[0] == X).all()):
        raise UsageError(
            f"the activations of {bank_point(clf).path} are the same in all {len(X)} places that were looked at: there "
            "is nothing to find concepts in. Give more or other pictures, or name another layer (--layer)"
        )


def _split(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures to find concepts in and to choose their number by; of a single one both are it."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = min(MOST_HELD, max(1, round(HELD_OUT * count)))
    return (order[held:] if count > 1 else order), order[:held]


def _counts(way: Approach, vectors: int) -> list[int]:
    """The numbers of concepts that so many vectors allow for."""
    most = max(1, vectors // FEW_VECTORS)
    return sorted({min(k, most) for k in way.counts})


def _basis(steps: Steps, way: Approach, tell: Tell, step: str, X: Tensor, k: int, seed: int) -> Basis:
    """k concepts in vectors (n, K), or those that this step of an interrupted run has found."""

    def find() -> Kept:
        tell(f"finding {k} concepts in {len(X)} places")
        return DISCOVERY[way.discovery].fit(X, k, seed).tensors, {}

    return basis_of(way.discovery, steps.once(step, find)[0])


def _fidelities(
    steps: Steps,
    clf: Classifier,
    bases: Mapping[int, Basis],
    items: Sequence[Item],
    mean: Tensor,
    seed: int,
    tell: Tell,
) -> dict[int, Fidelity]:
    """The fidelity of each basis on held-out pictures."""

    def measure() -> Kept:
        tell("telling held-out pictures by concepts")
        found = fidelities(bases, items, mean, lambda item: looked_at(clf, item, seed))
        lost = {str(k): torch.from_numpy(f.lost) for k, f in found.items()}
        return lost | {"blank": torch.from_numpy(next(iter(found.values())).blank)}, {}

    tensors = {name: value.numpy() for name, value in steps.once("fidelity", measure)[0].items()}
    return {k: Fidelity(tensors[str(k)], tensors["blank"]) for k in bases}


def _stability(
    find: Callable[[str, Tensor, int, int], Basis], basis: Basis, X: Tensor, owners: Tensor, seed: int
) -> dict[str, dict[str, float] | None]:
    """How alike the concepts are that another seed finds, and those that two halves of the pictures give; None of a
    single picture."""
    again = find("reseeded", X, len(basis), seed + 1)
    pictures = torch.unique(owners)
    halves = [X[torch.isin(owners, pictures[n::2])] for n in (0, 1)]
    two = [find(f"half-{n}", half, min(len(basis), len(half)), seed) for n, half in enumerate(halves) if len(half)]
    return {"reseeded": stability(basis, again), "halves": stability(*two) if len(two) == 2 else None}


def _with_limits(basis: Basis, X: Tensor) -> tuple[Basis, Tensor]:
    """The concepts that some vector is nearest to, and how near it has to be to be of each; what has nothing of any
    concept is of none."""
    codes, near = basis.encode(drawn(X))
    best, which = near.max(dim=1)
    of = torch.where(codes.gather(1, which[:, None])[:, 0] > 0, which, -1)
    used = torch.unique(of[of >= 0])
    return basis.ordered(used), torch.stack([torch.quantile(best[of == j], FARTHEST) for j in used])


def _classes(clf: Classifier, found: Gathered) -> dict[int, str]:
    return {c: clf.class_names[c] for c in sorted(set(found.predicted))}


# --------------------------------------------------------------------------------------------------
# The card.


def _card(
    clf: Classifier, way: Approach, found: Gathered, faithful: Mapping[int, Fidelity], k: int, held: int
) -> dict[str, Any]:
    names = clf.class_names
    right = [
        names[p] == i.class_name for i, p in zip(found.items, found.predicted, strict=True) if i.class_name is not None
    ]
    return {
        "kind": "concepts",
        "extraction": way.extraction,
        "discovery": way.discovery,
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "layer": bank_point(clf).path,
        "pictures": len(found.items),
        "unreadable": len(found.failures),
        "labels": "the classifier's own predictions",
        "given_labels_that_agree": round(sum(right) / len(right), 3) if right else None,
        "pictures_of_class": {names[c]: n for c, n in sorted(Counter(found.predicted).items())},
        "vectors": {"kept": len(found.vectors), "of": found.offered, "how": "drawn at random, as many of each picture"},
        "attended": round(float(np.mean(found.attended)), 3),
        "seen_nowhere": sum(share == 1 for share in found.attended),
        "fidelity": {str(n): None if f.value is None else round(f.value, 4) for n, f in faithful.items()},
        "concepts": k,
        "most_that_were_tried": max(faithful),
        "held_out": held,
    }
