"""What each concept of a bank counts and what it looks like: pictures of every class are looked at again.

k concepts, pictures as rows of what was gathered, cells (h, w) of the layer.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.concepts.bank import ConceptBank, Exemplar, labelled
from saywhy.concepts.cell_head import CellHead, Cells, learned, some_cells
from saywhy.concepts.gather import Gathered
from saywhy.concepts.looking import looked_at
from saywhy.concepts.relevance import Taken, activation_vectors, relevances, take_out
from saywhy.image import Picture
from saywhy.train.steps import Kept, Steps

STUDIED = 8000  # vectors by which limits and directions are found, or a few more
PICTURES, OF_A_CLASS, LEAST_OF_A_CLASS = 600, 24, 3  # of which relevance is measured
SAVED = 20  # pictures a step
EXEMPLARS, WINDOW, SIDE = 6, 0.3, 96  # a concept; their side as a share of the view, and in pixels

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Spot:
    """The middle (x, y) of a cell in shares of the view, the picture's row, and how near the cell is to a concept."""

    near: float
    row: int
    x: float
    y: float


def drawn(X: Tensor) -> Tensor:
    """Vectors that stand for all, evenly drawn."""
    return X[:: max(1, len(X) // STUDIED)]


def studied(clf: Classifier, bank: ConceptBank, found: Gathered, seed: int, steps: Steps, tell: Tell) -> ConceptBank:
    """The bank with its relevance and exemplars, the concepts ordered by what they count over all pictures."""
    rows = _some_of_each_class(found.predicted, seed)
    made = steps.each("studied", len(rows), SAVED, partial(_study, clf, bank, found, rows, seed, tell))
    tell("learning which concept each cell is of")
    cells = [one for tensors, told in made for one in _cells(tensors, told["cells"])]
    head, agrees = learned(made[0][1]["layers"], cells, len(bank), seed)
    sample = drawn(found.vectors)
    labels = labelled(bank.basis.encode(sample)[1].T, bank.least)
    told = relevances(_by_class(made, rows, found), *activation_vectors(sample, labels, len(bank), seed))
    total = np.zeros(len(bank))
    for r in told:
        total[r.concept] += r.lost * r.pictures
    order = np.argsort(-total, kind="stable").tolist()
    spots = [(j, Spot(*spot)) for _, known in made for j, *spot in known["spots"]]
    best = [sorted((spot for j, spot in spots if j == one), key=lambda s: -s.near)[:EXEMPLARS] for one in order]
    place = {j: n for n, j in enumerate(order)}
    return replace(
        bank, basis=bank.basis.ordered(torch.tensor(order)), least=bank.least[order],
        exemplars=_crops(clf, bank, found, best), head=head.ordered(order),
        card=dict(bank.card) | {"cells": _told_of_cells(head, cells, agrees)},
        relevance=tuple(replace(r, concept=place[r.concept]) for r in told),
    )  # fmt: skip


def _study(
    clf: Classifier, bank: ConceptBank, found: Gathered, rows: Sequence[int], seed: int, tell: Tell, some: range
) -> Kept:
    """Some of the pictures with concepts taken out: what is in `Taken`, a row a picture; cells to learn from; and the
    spot that is nearest to each concept that is there."""
    taken: list[Taken] = []
    cells: list[Cells] = []
    spots: list[tuple[int | float, ...]] = []
    for n in some:
        tell(f"taking concepts out of pictures: {n + 1} of {len(rows)}")
        seen = looked_at(clf, found.items[rows[n]], seed)
        codes, near = bank.encode(seen.maps)
        labels, layers = bank.labels(near), seen.layers
        cells.append(some_cells(seen.picture, list(layers.values()), labels, len(rows), seed))
        present = torch.tensor([bool((labels == j).any()) for j in range(len(bank))])
        code = codes.flatten(1).T
        taken.append(take_out(seen, bank.basis, code, present, found.vectors, seed, floor=bank.floor))
        there = torch.nonzero(present)[:, 0].tolist()
        spots += [(j, *astuple(_spot(near[j].masked_fill(labels != j, -torch.inf), rows[n]))) for j in there]
    tensors = {f.name: torch.stack([torch.as_tensor(getattr(t, f.name)) for t in taken]) for f in fields(Taken)}
    tensors |= {f"cells.{f.name}": torch.cat([getattr(c, f.name) for c in cells]) for f in fields(Cells)}
    return tensors, {"cells": [len(c.labels) for c in cells], "spots": spots, "layers": list(layers)}


def _cells(tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> Iterator[Cells]:
    """The cells of each picture of a step."""
    return map(Cells, *(torch.split(tensors[f"cells.{f.name}"], list(sizes)) for f in fields(Cells)))


def _by_class(made: Sequence[Kept], rows: Sequence[int], found: Gathered) -> dict[int, list[Taken]]:
    """What was taken out of the pictures of each predicted class."""
    taken = [torch.cat([tensors[f.name] for tensors, _ in made]) for f in fields(Taken)]
    of: dict[int, list[Taken]] = defaultdict(list)
    for row, lost, odds, control, present, gradient in zip(rows, *taken, strict=True):
        of[found.predicted[row]].append(Taken(lost.numpy(), odds.numpy(), control.numpy(), present.numpy(), gradient))
    return of


def _told_of_cells(head: CellHead, cells: Sequence[Cells], agrees: float | None) -> dict[str, Any]:
    known = None if agrees is None else round(agrees, 4)
    return {"layers": list(head.layers), "learned_from": sum(len(c.labels) for c in cells), "agrees": known}


def _some_of_each_class(predicted: Sequence[int], seed: int) -> list[int]:
    """As many pictures of each class, drawn by the seed, in their order."""
    room = min(OF_A_CLASS, max(LEAST_OF_A_CLASS, PICTURES // len(set(predicted))))
    order = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(seed)).tolist()
    of: dict[int, list[int]] = defaultdict(list)
    for row in order:
        of[predicted[row]].append(row)
    return sorted(row for rows in of.values() for row in rows[:room])


def _spot(near: Tensor, row: int) -> Spot:
    """The cell of a picture that is nearest to a concept, by how near (h, w) each is."""
    h, w = near.shape
    at = int(near.argmax())
    return Spot(float(near.max()), row, (at % w + 0.5) / w, (at // w + 0.5) / h)


def _crops(
    clf: Classifier, bank: ConceptBank, found: Gathered, spots: Sequence[Sequence[Spot]]
) -> tuple[tuple[Exemplar, ...], ...]:
    """Crops around the spots, a row a concept."""
    cut: dict[Spot, Exemplar] = {}
    for spot in sorted({spot for some in spots for spot in some}, key=lambda s: s.row):
        item, box = found.items[spot.row], _window(spot.x, spot.y)
        name = bank.classes[found.predicted[spot.row]]
        cut[spot] = Exemplar(item.path.name, name, box, _jpeg(clf, clf.read(item.path), box))
    return tuple(tuple(cut[spot] for spot in some) for some in spots)


def _window(x: float, y: float) -> tuple[float, float, float, float]:
    """A window around a place, moved to lie inside the view."""
    left, top = (min(max(0.0, v - WINDOW / 2), 1 - WINDOW) for v in (x, y))
    return left, top, left + WINDOW, top + WINDOW


def _jpeg(clf: Classifier, picture: Picture, box: tuple[float, float, float, float]) -> bytes:
    """A part of what the classifier sees of a photo, as small as it is shown."""
    _, ((x0, y0, x1, y1),) = clf.prepare([picture])
    left, right = (round(x0 + share * (x1 - x0)) for share in box[::2])
    top, bottom = (round(y0 + share * (y1 - y0)) for share in box[1::2])
    crop = Image.fromarray(picture.pixels).crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    out = io.BytesIO()
    crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(out, "JPEG", quality=85)
    return out.getvalue()
