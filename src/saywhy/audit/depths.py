"""How deep a picture is looked at: a table of depths, each a function from a batch to rows of the store's tables.

N images of a batch (N, 3, H, W) in [0, 1], C classes, maps (N, h, w).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.audit import trials
from saywhy.audit.lenders import Lenders
from saywhy.audit.sources import Entry
from saywhy.classifier import Classifier
from saywhy.explainer import explain
from saywhy.image import Picture
from saywhy.saliency import METHODS, saliency, saliency_of
from saywhy.saliency import display as displayed
from saywhy.tap import Tap

if TYPE_CHECKING:
    from saywhy.attributes.meanings import Meanings
    from saywhy.explainer import Explainer
    from saywhy.explanation import Explanation

Row = dict[str, Any]
Rows = dict[str, list[Row]]

TOP = 5
LOOK = 12  # pixels of a side of what near-duplicates are told by
RIM = 8  # the outer eighth


@dataclass(frozen=True, eq=False)
class Brief:
    """Of whom and with what: the classifier, each class's index by the data's own name and number, the saliency method
    with its options, fitted parts if there are any, the seed, and the folder of the scan."""

    clf: Classifier
    labels: Mapping[tuple[str | None, int | None], int | None]
    method: str
    options: Mapping[str, Any]
    explainer: Explainer | None
    seed: int
    folder: Path

    @cached_property
    def lenders(self) -> Lenders:
        """The recognised pictures of the scan, once its predictions are done."""
        return Lenders(self.folder, self.clf, self.seed)


@dataclass(frozen=True, eq=False)
class Lot:
    """Pictures that could be read, with their numbers in the list."""

    clf: Classifier
    numbers: Sequence[int]
    entries: Sequence[Entry]
    pictures: Sequence[Picture]

    @cached_property
    def tap(self) -> Tap:
        """One pass of them through the classifier, made when it is asked for."""
        return self.clf.tap(self.clf.prepare(self.pictures)[0])

    @property
    def singles(self) -> list[Lot]:
        """Each picture by itself."""
        rows = zip(self.numbers, self.entries, self.pictures, strict=True)
        return [Lot(self.clf, [n], [entry], [picture]) for n, entry, picture in rows]


@dataclass(frozen=True)
class Depth:
    """One depth: what it adds, the depths that come before it, the tables that it writes, the pictures of a shard, and
    the function that makes its rows. Depths that are `cheap` share one pass."""

    what: str
    before: tuple[str, ...]
    tables: tuple[str, ...]
    shard: int
    cheap: bool
    look: Callable[[Brief, Lot], Rows]


# --------------------------------------------------------------------------------------------------
# The answer.


def prediction(asked: Brief, batch: Lot) -> Rows:
    """Answers, label, certainty, how each picture looks in small, and where the layer puts it."""
    clf, images = asked.clf, batch.tap.images
    p = clf.to_probabilities(batch.tap.logits).cpu()
    small = (F.adaptive_avg_pool2d(images.cpu(), LOOK) * 255).round().to(torch.uint8).numpy()
    rows = [
        {"n": n, **_said(e, picture), **_labelled(asked, e, q), **_certain(q), "look": look.tobytes()}
        for n, e, picture, q, look in zip(batch.numbers, batch.entries, batch.pictures, p, small, strict=True)
    ]
    for row in rows:
        row["answer_name"] = clf.class_names[row["answer"]]
    return {"pictures": rows, "embeddings": _embedded(batch)}


def _said(entry: Entry, picture: Picture) -> Row:
    given = entry.class_name if entry.class_name is not None else entry.class_index
    return {
        "path": entry.path, "split": entry.split, "given": None if given is None else str(given),
        "sha256": picture.sha256, "width": picture.width, "height": picture.height,
    }  # fmt: skip


def _labelled(asked: Brief, entry: Entry, p: Tensor) -> Row:
    """How the answers (C,) stand to the label; nothing where there is none."""
    label = asked.labels.get((entry.class_name, entry.class_index))
    if label is None:
        return {}
    own, best = float(p[label]), float(p.max())
    correct = int(p.argmax()) == label
    return {
        "label": label, "label_name": asked.clf.class_names[label], "correct": correct, "p_label": own,
        "label_rank": int((p > p[label]).sum()) + 1, "margin": 0.0 if correct else best - own,
    }  # fmt: skip


def _certain(p: Tensor) -> Row:
    best = p.topk(min(TOP, len(p)))
    first, second = float(best.values[0]), float(best.values[1]) if len(p) > 1 else 0.0
    shares = (p.double().clamp_min(0) / p.double().clamp_min(0).sum().clamp_min(1e-30)).numpy()
    some = shares[shares > 0]
    return {
        "answer": int(p.argmax()), "p_answer": first, "lead": first - second,
        "entropy": float(-(some * np.log2(some)).sum()) + 0.0,
        "top": best.indices.tolist(), "p_top": best.values.tolist(),
    }  # fmt: skip


def _embedded(batch: Lot) -> list[Row]:
    if not batch.tap.points:
        return []
    return [{"n": n, "vector": v} for n, v in zip(batch.numbers, vectors_of(batch.tap), strict=True)]


def vectors_of(tap: Tap) -> NDArray[np.float16]:
    """Where the tapped layer puts each image: the mean of every channel (N, K), scaled to length 1."""
    means = tap.maps().double().mean(dim=(2, 3))
    return F.normalize(means).cpu().numpy().astype(np.float16)


# --------------------------------------------------------------------------------------------------
# Where it comes from.


def summarised(asked: Brief, batch: Lot) -> Rows:
    """The map of each answer, and where its positive part lies, in numbers."""
    answers = batch.tap.logits.argmax(dim=1)
    raw = _maps(asked, batch.tap, answers)
    _, status = displayed(raw, (int(raw.shape[1]), int(raw.shape[2])))
    return {
        "maps": [
            {
                "n": n, "method": asked.method, "target": int(a), "status": s, **_values(m),
                **(_lies(m) if s == "ok" else {}),
            }
            for n, a, s, m in zip(batch.numbers, answers, status, raw.cpu().double(), strict=True)
        ]
    }  # fmt: skip


def attributed(asked: Brief, batch: Lot) -> Rows:
    """How sure it is, of each attribute that the explainer knows, that each picture has it."""
    meaning = meanings_of(asked.explainer)
    assert meaning is not None, "a scan refuses this depth without one"
    tap = batch.tap if meaning.layer in batch.tap.points else asked.clf.tap(batch.tap.images, [meaning.layer])
    pooled = tap.maps(meaning.layer).mean(dim=(2, 3)).cpu().double().numpy()
    answers = batch.tap.logits.argmax(dim=1).cpu().numpy()
    present = meaning.probe(meaning.activity.lifted(pooled), answers).astype(np.float16)
    return {"attributes": [{"n": n, "present": row} for n, row in zip(batch.numbers, present, strict=True)]}


def meanings_of(explainer: Explainer | None) -> Meanings | None:
    """What filters mean, if the explainer has learned it."""
    found: Meanings | None = None if explainer is None else explainer.parts.get("attributes")
    return found


def _maps(asked: Brief, tap: Tap, answers: Tensor) -> Tensor:
    """Raw maps (N, h, w), from the pass that there was where the method needs no other."""
    row = METHODS[asked.method]
    seeded = {"seed": asked.seed} if "seed" in row.options else {}
    if tap.points and row.needs in ("gradients", "maps"):
        return saliency_of(tap, tap.resolve(answers.tolist()), asked.method, **seeded, **asked.options)
    return saliency(
        asked.clf, tap.images, answers.tolist(), method=asked.method, seed=asked.seed, **asked.options
    ).raw  # fmt: skip


def _values(raw: Tensor) -> Row:
    values = torch.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
    return {"grid": list(values.shape), "values": values.flatten().tolist()}


def _lies(raw: Tensor) -> Row:
    """Centre, spread, and how concentrated the positive part of a map (h, w) is."""
    mass = raw.clamp_min(0) / raw.clamp_min(0).sum()
    h, w = mass.shape
    ys, xs = (torch.arange(h) + 0.5).double() / h, (torch.arange(w) + 0.5).double() / w
    y, x = float(mass.sum(dim=1) @ ys), float(mass.sum(dim=0) @ xs)
    apart = (ys - y)[:, None] ** 2 + (xs - x)[None, :] ** 2
    most = mass.flatten().sort(descending=True).values.cumsum(0)
    fine = F.interpolate(mass[None, None], scale_factor=RIM, mode="nearest")[0, 0] / RIM**2
    inside = fine[h : h * (RIM - 1), w : w * (RIM - 1)].sum()
    return {
        "x": x, "y": y, "spread": math.sqrt(float((mass * apart).sum())),
        "half_area": (int((most < 0.5 - 1e-12).sum()) + 1) / (h * w), "rim": max(0.0, 1 - float(inside)),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------
# What it is made of, and in words.


def explained(depth: str, fast: bool) -> Callable[[Brief, Lot], Rows]:
    """The depth that explains each picture, with all that there is time for, or `fast`."""

    def look(asked: Brief, batch: Lot) -> Rows:
        rows: Rows = {name: [] for name in ("explanations", "concepts", "edges", "statements")}
        for n, picture in zip(batch.numbers, batch.pictures, strict=True):
            found = explain(asked.clf, picture, explainer=asked.explainer, fast=fast, seed=asked.seed)
            for name, more in _told(found).items():
                rows[name] += [{"n": n, "depth": depth, **row} for row in more]
        return rows

    return look


def _told(e: Explanation) -> Rows:
    passes = e.cost.forward_passes + e.cost.tail_passes
    text = json.dumps(e.untimed().to_dict(), ensure_ascii=False, allow_nan=False)  # equal scans store equal records
    return {
        "explanations": [{"text": e.text, "passes": passes, "record": text}],
        "concepts": [
            {
                "id": c.id, "name": c.name, "concept": c.concept, "look": c.look, "place": c.place, "box": list(c.box),
                "contribution": c.contribution, "importance": c.importance, "unit": c.effect.unit,
                "confirmed": c.confirmed,
            }
            for c in e.concepts
        ],
        "edges": [
            {
                "source": one.source, "target": one.target, "relation": one.relation,
                "contribution": one.contribution, "confirmed": one.confirmed,
            }
            for one in (e.graph.edges if e.graph is not None else ())
        ],
        "statements": [
            {
                "kind": s.kind, "text": s.text, "evidence": list(s.evidence), "verified": s.verified,
                **({} if s.effect is None else {"change": s.effect.change, "low": s.effect.low, "high": s.effect.high}),
            }
            for s in e.statements
        ],
    }  # fmt: skip


EXPLAINED = ("explanations", "concepts", "edges", "statements")

DEPTHS: dict[str, Depth] = {
    "prediction": Depth(
        "the answer to each picture: one pass", (), ("pictures", "embeddings"), 1024, True, prediction
    ),
    "saliency": Depth(
        "and where its score comes from, in numbers: the same pass", ("prediction",), ("maps",), 1024, True, summarised
    ),
    "attributes": Depth(
        "and how sure it is of each attribute, by an explainer that has learned some: the same pass",
        ("prediction",), ("attributes",), 1024, True, attributed,
    ),
    "concepts": Depth(
        "and the regions or concepts that it is made of, as `explain --fast` finds them: some sixty passes",
        ("prediction", "saliency"), EXPLAINED, 16, False, explained("concepts", True),
    ),
    "trials": Depth(
        "and what is said when something is changed ([what](findings.md)): some eighty passes an error, fifty others",
        ("prediction", "saliency"), ("trials", "units"), 64, False, trials.look,
    ),
    "text": Depth(
        "and all that `explain` says, every sentence confirmed: hundreds of passes",
        ("prediction", "saliency"), EXPLAINED, 8, False, explained("text", False),
    ),
}  # fmt: skip
