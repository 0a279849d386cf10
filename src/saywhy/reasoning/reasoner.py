"""The fitted part: a student with what it belongs to, and its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from saywhy import files
from saywhy.concepts.bank import ConceptBank
from saywhy.errors import InputError, UsageError
from saywhy.reasoning.distilling import KINDS, Table, answered
from saywhy.reasoning.student import Student

FILE = "graph.safetensors"
LIMIT = 0.1  # mean error of the probability, on a picture and its knock-outs, up to which a student is faithful there


@dataclass(frozen=True, eq=False)
class Reasoner:
    """A student of one classifier (by fingerprint) and one bank of concepts (by digest), for some `classes`.

    `knots` (2, n): by which importance, as the student has it, the classifier's own loss is known; `card` how it was
    made and how faithful it is.
    """

    student: Student
    classes: tuple[int, ...]
    fingerprint: str
    bank: str
    knots: Tensor
    card: Mapping[str, Any] = field(default_factory=dict)

    def importance(self, share: float) -> float:
        """How much of its probability the classifier loses, in [0, 1], where the student loses this share."""
        return float(np.interp(share, self.knots[0].numpy(), self.knots[1].numpy()))


def digest(bank: ConceptBank) -> str:
    """What tells one bank's concepts from another's."""
    head = bank.cells
    parts = [bank.basis.vectors, head.weights, head.bias]
    return hashlib.sha256(b"".join(p.contiguous().numpy().tobytes() for p in parts)).hexdigest()[:16]


def losses(student: Student, table: Table) -> tuple[Tensor, Tensor]:
    """What hiding single concepts takes from the class that each picture is given, as shares of its probability (n,):
    as the student has it, and as the classifier has it; in [0, 1], a gain is 0."""
    with torch.no_grad():
        told = answered(student, table).softmax(dim=1)
    single, whole = table.kinds == KINDS.index("hidden"), table.kinds == 0
    first = table.answers[whole].argmax(dim=1)
    place = torch.full((int(table.owners.max()) + 1,), -1)
    place[table.owners[whole]] = torch.arange(int(whole.sum()))
    of = place[table.owners[single]]
    found = []
    for p in (told, table.answers):
        before = p[whole].gather(1, first[:, None])[of, 0]
        after = p[single].gather(1, first[of, None])[:, 0]
        found.append(((before - after) / before.clamp_min(1e-6)).clamp(0, 1))
    return found[0], found[1]


def calibrated(student: Student, table: Table) -> Tensor:
    """The knots (2, n) of an increasing map from the student's losses to the classifier's (isotonic regression)."""
    own, its = losses(student, table)
    if len(own) < 2:
        return torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(own.numpy(), its.numpy())
    knots = np.stack([fitted.X_thresholds_, fitted.y_thresholds_])
    knots[1, 0] = 0.0 if knots[0, 0] == 0 else knots[1, 0]  # what takes nothing away is of no importance
    return torch.from_numpy(knots).float()


def calibration_error(reasoner: Reasoner, table: Table, bins: int = 10) -> float | None:
    """How far, on average, importance is from the classifier's mean loss in ten bins of as many concepts each."""
    own, its = losses(reasoner.student, table)
    if len(own) < bins:
        return None
    told = torch.tensor([reasoner.importance(float(v)) for v in own])
    order = told.argsort(stable=True)
    apart = [abs(float(told[some].mean() - its[some].mean())) for some in order.tensor_split(bins)]
    return round(float(np.mean(apart)), 4)


# --------------------------------------------------------------------------------------------------
# Its file.

TOLD = ("classes", "fingerprint", "bank")


def save(reasoner: Reasoner, folder: Path) -> dict[str, Any]:
    """Writes the student; gives the row of the explainer's listing."""
    tensors = {f"student.{name}": value for name, value in reasoner.student.state_dict().items()}
    tensors["knots"] = reasoner.knots
    files.write(folder / FILE, serialised({name: value.contiguous() for name, value in tensors.items()}))
    return {"file": FILE, "card": dict(reasoner.card)} | {name: getattr(reasoner, name) for name in TOLD}


def load(folder: Path, row: Mapping[str, Any], fingerprint: str) -> Reasoner:
    """Reads a student of this classifier.

    Raises:
        InputError: the file is missing, or is not one of a student.
        UsageError: it belongs to another classifier.
    """
    file = folder / str(row.get("file", FILE))
    try:
        reasoner = _read(load_file(file), row)
    except Exception as e:
        raise InputError(f"{file}: cannot be read as a student of graphs ({type(e).__name__}: {e})") from e
    if reasoner.fingerprint != fingerprint:
        raise UsageError(
            f"{file}: this student decides as the classifier {reasoner.fingerprint} does, not as {fingerprint}; teach "
            "one of its own: saywhy fit IMAGES --parts concepts,graph"
        )
    return reasoner


def _read(tensors: Mapping[str, Tensor], row: Mapping[str, Any]) -> Reasoner:
    state = {name.removeprefix("student."): value for name, value in tensors.items() if name.startswith("student.")}
    student = Student(state["slots"], len(state["identity"]) - 1, len(state["mean"]), len(state["fuse.bias"]))
    student.load_state_dict(state)
    classes: Sequence[int] = row["classes"]
    if len(classes) != len(state["slots"]):
        raise ValueError("classes do not fit the weights")
    return Reasoner(
        student.eval().requires_grad_(False), tuple(map(int, classes)), str(row["fingerprint"]), str(row["bank"]),
        tensors["knots"], dict(row["card"]),
    )  # fmt: skip
