"""Teaches a student what the classifier answers to pictures and to edits of them.

No labels are asked for, no weight of the classifier is touched. N pictures, of each some edits; k concepts of a bank,
m classes of it, R nodes of all pictures together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import on_patches, with_layers
from saywhy.errors import InputError
from saywhy.intervene import content_seed
from saywhy.locking import seeded
from saywhy.reasoning.nodes import Edited, Mapped, displaced, exchanged, hidden, nodes_of, unchanged
from saywhy.reasoning.student import Student
from saywhy.seen import tapped
from saywhy.train.loop import Config, fit
from saywhy.train.steps import Kept, Steps

PICTURES = 3000  # at most; of more a part is drawn
SLOTS = 8  # concepts of a class
ALONE, SEVERAL, ONLY, MOVED, SWAPPED = (
    10,
    4,
    2,
    4,
    3,
)  # edits of a picture: single concepts hidden, some, all but one; ...
TRAIN, HELD = 0.7, 0.85  # shares of the pictures that are learned from, and up to which the best epoch is chosen by
WHOLE = 4.0  # what the picture itself weighs beside an edit of it
# First what nodes say by themselves, then what their graphs add to it.
EVIDENCE = Config(lr=1e-2, weight_decay=0.05, batch_size=48, epochs=40)
LEARNING = Config(lr=3e-3, weight_decay=0.05, batch_size=48, epochs=20)
SHARE = 0.3  # of the edits of a picture, that a step learns from
KINDS = ("image", "hidden", "several", "only", "displaced", "exchanged")

Reals = NDArray[np.float64]
Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Table:
    """Edits E of N pictures: which rows of `features` (R, D) each edit's nodes are (E, k + 1), -1 where there is none,
    with `shares` (R,) and `concepts` (R,) of those rows; `places` (E, k, 3), `left` (E, k), the classifier's
    `answers` (E, scores), the picture (E,) and the kind (E,) of each edit."""

    features: Tensor
    shares: Tensor
    concepts: Tensor
    rows: Tensor
    places: Tensor
    left: Tensor
    answers: Tensor
    owners: Tensor
    kinds: Tensor

    def of(self, pictures: Tensor) -> Table:
        """The edits of some pictures."""
        return self.where(torch.isin(self.owners, pictures))

    def where(self, which: Tensor) -> Table:
        """The edits (E,) that are chosen."""
        own = {name: getattr(self, name)[which] for name in ("rows", "places", "left", "answers", "owners", "kinds")}
        return replace(self, **own)


@dataclass(frozen=True, eq=False)
class ByPicture:
    """The pictures of a table as examples: batches are some pictures, with this `share` of their edits, drawn anew."""

    table: Table
    pictures: Tensor
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, rows: Tensor) -> Table:
        found = self.table.of(self.pictures[rows])
        return found.where((found.kinds == 0) | (torch.rand(len(found.kinds)) < self.share))


# --------------------------------------------------------------------------------------------------
# What the student learns from.


def scores_of(clf: Classifier, classes: Sequence[int], pictures: Tensor) -> Tensor:
    """Probabilities (n, scores) of some classes, and of all others together where there are more."""
    return grouped(clf.to_probabilities(clf.logits(pictures)).detach().cpu().float(), classes)


def grouped(probabilities: Tensor, classes: Sequence[int]) -> Tensor:
    """Of probabilities (n, C) those of some classes and, where there are more, what the others have together."""
    own = probabilities[:, list(classes)]
    own = own / own.sum(1, keepdim=True).clamp_min(1.0)  # labels that exclude nothing can sum to more
    return (
        own
        if len(classes) == probabilities.shape[1]
        else torch.cat([own, (1 - own.sum(1, keepdim=True)).clamp_min(0)], 1)
    )


def mapped(clf: Classifier, bank: ConceptBank, item: Item) -> Mapped:
    """A picture with its nodes.

    Raises:
        InputError: it cannot be read.
    """
    images, _ = clf.prepare([clf.read(item.path)])
    tap = with_layers(bank, tapped(clf, images))
    labels = on_patches(bank.cells.shares(tap), tap.images[0].cpu())
    return Mapped(tap.images[0].cpu(), labels, nodes_of(bank, tap, labels))


def edits_of(known: Mapped, donor: Mapped | None, seed: int) -> list[Edited]:
    """The picture and edits of it, drawn by its own pixels and the seed; `donor` gives what is put in."""
    here = known.nodes.here
    random = np.random.default_rng(content_seed(known.picture, seed))
    if not here:
        return [unchanged(known)]
    chosen = sorted(random.permutation(here)[:ALONE].tolist())
    single = [hidden(known, [j]) for j in chosen]
    shares = random.uniform(0.15, 0.85, SEVERAL)
    several = [hidden(known, [j for j in here if random.random() < share], "several") for share in shares]
    only = [hidden(known, [i for i in here if i != j], "only") for j in random.permutation(here)[:ONLY].tolist()]
    moved = [displaced(known, j, *_shift(known, j, random)) for j in random.choice(here, MOVED).tolist()]
    return [unchanged(known), *single, *several, *only, *moved, *_swaps(known, donor, here, random)]


def _shift(known: Mapped, j: int, random: np.random.Generator) -> tuple[int, int]:
    """To anywhere in the picture where it fits."""
    ys, xs = torch.nonzero(known.mask(j), as_tuple=True)
    H, W = known.labels.shape
    return (
        int(random.integers(-int(ys.min()), H - int(ys.max()))),
        int(random.integers(-int(xs.min()), W - int(xs.max()))),
    )


def _swaps(known: Mapped, donor: Mapped | None, here: Sequence[int], random: np.random.Generator) -> list[Edited]:
    """Concepts that another picture's take the place of: the same one there, or one that is not here."""
    given = [] if donor is None else donor.nodes.here
    pairs = [(j, i) for j in here for i in given if i == j or i not in here]
    drawn = random.permutation(len(pairs))[:SWAPPED].tolist()
    return [exchanged(known, pairs[n][0], donor, pairs[n][1]) for n in drawn if donor is not None]


def tabled(
    clf: Classifier, bank: ConceptBank, items: Sequence[Item], classes: Sequence[int], seed: int, tell: Tell
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """The table of some pictures, and those that could not be read, each with the reason.

    Raises:
        InputError: none of them can be read.
    """
    made, failures, donor = _Making(len(bank)), list[tuple[str, str]](), None
    for n, item in enumerate(items):
        tell(f"asking about edits of pictures: {n + 1} of {len(items)}")
        try:
            known = mapped(clf, bank, item)
        except InputError as e:
            failures.append((str(item.path), str(e)))
            continue
        edits = edits_of(known, donor, seed)
        made.add(known, donor, edits, scores_of(clf, classes, torch.stack([e.picture for e in edits])))
        donor = known
    if not made.answers:
        raise InputError(f"none of {len(items)} pictures can be read; the first: {failures[0][1] if failures else '-'}")
    return made.table(), tuple(failures)


def asked(
    steps: Steps,
    clf: Classifier,
    bank: ConceptBank,
    items: Sequence[Item],
    classes: Sequence[int],
    seed: int,
    tell: Tell,
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """What `tabled` gives, or gave before the run was interrupted."""

    def make() -> Kept:
        table, failures = tabled(clf, bank, items, classes, seed, tell)
        return {f.name: getattr(table, f.name) for f in fields(table)}, {"failures": failures}

    tensors, told = steps.once("asked", make)
    return Table(**tensors), tuple((path, why) for path, why in told["failures"])


class _Making:
    """A table in the making: nodes that are there get rows, what is put in has that of its own picture."""

    def __init__(self, k: int) -> None:
        self.k, self.features, self.shares, self.concepts = k, list[Tensor](), list[float](), list[int]()
        self.rows, self.places, self.left = list[Tensor](), list[Tensor](), list[Tensor]()
        self.answers, self.owners, self.kinds = list[Tensor](), list[int](), list[int]()
        self.before = self.own = torch.full((k + 1,), -1)

    def add(self, known: Mapped, donor: Mapped | None, edits: Sequence[Edited], answers: Tensor) -> None:
        """Adds the edits of a picture."""
        self.before, self.own = self.own, torch.full((self.k + 1,), -1)
        nodes, n = known.nodes, len(self.answers)
        for j in [*nodes.here, self.k]:
            self.own[j] = len(self.shares)
            self.features.append(nodes.features[j])
            self.shares.append(float(nodes.places[j, 2] if j < self.k else 1 - nodes.places[:, 2].sum()))
            self.concepts.append(j)
        for edit in edits:
            rows = self.own.clone()
            if edit.kind == "exchanged":
                new = (edit.nodes.features[:-1] != nodes.features[:-1]).any(dim=1)
                rows[:-1] = torch.where(new, self.before[:-1], rows[:-1])
            self.rows.append(rows)
            self.places.append(edit.nodes.places)
            self.left.append(edit.nodes.left)
            self.kinds.append(KINDS.index(edit.kind))
            self.owners.append(n)
        self.answers.append(answers)

    def table(self) -> Table:
        """What was gathered."""
        return Table(
            torch.stack(self.features), torch.tensor(self.shares), torch.tensor(self.concepts), torch.stack(self.rows),
            torch.stack(self.places), torch.stack(self.left), torch.cat(self.answers), torch.tensor(self.owners),
            torch.tensor(self.kinds),
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Teaching, and how well it went.


def slots_of(table: Table, classes: int, S: int = SLOTS) -> Tensor:
    """The concepts (m, S) that each class is told by: those whose hiding cost it most, over all pictures that are given
    it; then what is there most often."""
    k, single = table.left.shape[1], KINDS.index("hidden")
    lost, there = torch.zeros(classes, k), torch.zeros(classes, k)
    for whole in torch.nonzero(table.kinds == 0)[:, 0].tolist():
        c = int(table.answers[whole].argmax())
        if c < classes:
            mine = torch.nonzero((table.owners == table.owners[whole]) & (table.kinds == single))[:, 0]
            gone = (table.left[whole] - table.left[mine]).argmax(dim=1)
            lost[c].index_add_(0, gone, table.answers[whole, c] - table.answers[mine, c])
            there[c] += table.left[whole]
    often = there / (2 * there.max().clamp_min(1))  # of two that cost as good as nothing
    return (lost.clamp_min(0).round(decimals=1) + 0.1 * often).argsort(dim=1, descending=True, stable=True)[
        :, : min(S, k)
    ]


def answered(student: Student, table: Table, *, graphs: bool = True) -> Tensor:
    """The student's scores (E, scores) of the edits of a table, with or without its graphs; each node is read once."""
    used, where = torch.unique(table.rows.clamp_min(0), return_inverse=True)
    states, evidence = student.read(table.features[used], table.shares[used], table.concepts[used])
    if not graphs:
        return student.evident(evidence[where], table.left)
    scores: Tensor = student(states[where], evidence[where], table.places, table.left)
    return scores


def loss_of(student: Student, table: Table, *, graphs: bool = True) -> dict[str, Tensor]:
    """The divergence of the student's answers from the classifier's, the pictures themselves weighing more."""
    told = answered(student, table, graphs=graphs).log_softmax(dim=1)
    apart = F.kl_div(told, table.answers, reduction="none").sum(dim=1)
    weight = torch.where(table.kinds == 0, WHOLE, 1.0)
    return {"loss": (weight * apart).sum() / weight.sum()}


def split(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures to learn from, to choose the best epoch by, and to measure on; of fewer than ten all are all three."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if count < 10:
        return order, order, order
    first, second = round(TRAIN * count), round(HELD * count)
    return order[:first], order[first:second], order[second:]


def taught(
    table: Table, slots: Tensor, seed: int, *, relations: str = "relative", interventions: bool = True,
    checkpoint: Path | None = None, tell: Tell = lambda step: None,
) -> tuple[Student, dict[str, Any]]:  # fmt: skip
    """A student of the pictures of a table, and its figures on those that it did not see; same seed, same student.

    What nodes say by themselves is learned first, and stays while the graphs learn what that leaves unsaid: learned
    together, graphs take it over and know less of pictures that are new. `relations` and `interventions` are there for
    ablations.
    """
    mine, held, test = split(int(table.owners.max()) + 1, seed)
    with seeded(seed):
        student = Student(slots, table.left.shape[1], table.features.shape[1], table.answers.shape[1], relations)
    own = table.of(mine)
    used = torch.unique(own.rows[own.rows >= 0])
    student.mean.copy_(table.features[used].mean(0))
    student.std.copy_(table.features[used].std(0).clamp_min(1e-4))
    learned = ByPicture(own if interventions else own.where(own.kinds == 0), mine, SHARE)
    alone = {id(p) for part in (student.alone, student.rest, student.fuse.bias) for p in _weights(part)}
    epochs = []
    for graphs, config in ((False, EVIDENCE), (True, LEARNING)):
        for weight in student.parameters():
            weight.requires_grad_((id(weight) in alone) != graphs)
        run = fit(
            student, partial(loss_of, student, graphs=graphs), learned,
            replace(config, seed=seed, batch_size=max(1, min(config.batch_size, len(mine) // 4))),
            held_out=ByPicture(table, held), checkpoint=checkpoint if graphs else None,
            told=partial(_told, tell, graphs),
        )  # fmt: skip
        epochs.append(run.best_epoch)
    student.eval().requires_grad_(False)
    figures = {"epochs": epochs, "pictures": [len(mine), len(held), len(test)]}
    with torch.no_grad():
        told = answered(student, table.of(test))
    return student, figures | {"fidelity": fidelity(told, table.of(test))}


def _told(tell: Tell, graphs: bool, epoch: int, row: dict[str, float]) -> None:
    tell(f"teaching the student {'graphs' if graphs else 'nodes'}: epoch {epoch}, loss {row['loss']:.3f}")


def _weights(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


def fidelity(scores: Tensor, table: Table) -> dict[str, Any]:
    """How well a student's scores (E, scores) answer as the classifier does, by kind of edit: agreement on the first
    class, divergence, and of the class that the picture itself is given the mean error of its probability and R2, the
    share of that probability's variance which is no error."""
    told = scores.softmax(dim=1)
    first = table.answers[table.kinds == 0].argmax(dim=1)
    number = torch.unique(table.owners, return_inverse=True)[1]
    own = first[number][:, None]
    figures = {}
    for n, kind in enumerate(KINDS):
        which = table.kinds == n
        if bool(which.any()):
            figures[kind] = _fidelity(told[which], table.answers[which], own[which])
    edits = table.kinds > 0
    if bool(edits.any()):
        figures["edits"] = _fidelity(told[edits], table.answers[edits], own[edits])
    return figures


def _fidelity(told: Tensor, answers: Tensor, own: Tensor) -> dict[str, float]:
    mine, its = (p.gather(1, own)[:, 0].double() for p in (told, answers))
    varied = float(((its - its.mean()) ** 2).sum())
    row = {
        "edits": len(told),
        "agreement": float((told.argmax(dim=1) == answers.argmax(dim=1)).double().mean()),
        "divergence": float(F.kl_div(told.clamp_min(1e-9).log(), answers, reduction="none").sum(dim=1).mean()),
        "error": float((mine - its).abs().mean()),
        "r2": float(1 - ((mine - its) ** 2).sum() / varied) if varied > 0 else 0.0,
    }
    return {name: round(value, 4) for name, value in row.items()}
