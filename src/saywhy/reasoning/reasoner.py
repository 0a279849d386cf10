"""The fitted part: a student with what it belongs to, and its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.concepts.bank import ConceptBank
from saywhy.errors import UsageError
from saywhy.reasoning.student import Student

FILE = "graph.safetensors"
LIMIT = 0.1  # mean error of the probability, in edits that it was not told of, up to which a student is faithful


@dataclass(frozen=True, eq=False)
class Reasoner:
    """A student of one classifier (by fingerprint) and one bank of concepts (by digest), for some `classes`.

    `card` says how it was made and how faithful it is.
    """

    student: Student
    classes: tuple[int, ...]
    fingerprint: str
    bank: str
    card: Mapping[str, Any] = field(default_factory=dict)


def digest(bank: ConceptBank) -> str:
    """What tells one bank's concepts from another's."""
    head = bank.cells
    parts = [bank.basis.vectors, head.weights, head.bias]
    return hashlib.sha256(b"".join(p.contiguous().numpy().tobytes() for p in parts)).hexdigest()[:16]


# --------------------------------------------------------------------------------------------------
# Its file.

TOLD = ("classes", "fingerprint", "bank")


def save(reasoner: Reasoner, folder: Path) -> dict[str, Any]:
    """Writes the student; gives the row of the explainer's listing."""
    tensors = {f"student.{name}": value for name, value in reasoner.student.state_dict().items()}
    files.write(folder / FILE, serialised({name: value.contiguous() for name, value in tensors.items()}))
    return {"file": FILE, "card": dict(reasoner.card)} | {name: getattr(reasoner, name) for name in TOLD}


def load(folder: Path, row: Mapping[str, Any], fingerprint: str) -> Reasoner:
    """Reads a student of this classifier.

    Raises:
        InputError: the file is missing, or is not one of a student.
        UsageError: it belongs to another classifier.
    """
    file = folder / str(row.get("file", FILE))
    reasoner = files.read_as(file, "a student of graphs", lambda: _read(load_file(file), row))
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
        dict(row["card"]),
    )  # fmt: skip
