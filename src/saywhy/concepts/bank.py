"""The bank: concepts of one classifier, with examples, names and what each counts for each class; and its files.

concepts.safetensors  the basis, from which cells are matched, and the exemplars' JPEGs
concepts.json         relevance, exemplars and how it was made, for people and programs
names.json            names that people gave, by id; theirs to edit

k concepts with the ids "1" to "k", maps (K, h, w) of the layer, n vectors (n, K).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.concepts.cell_head import CellHead
from saywhy.concepts.discovery import DISCOVERY, Basis, basis_of
from saywhy.concepts.relevance import Relevance
from saywhy.errors import InputError, UsageError, unknown

FORMAT = 2
TENSORS, RECORD, NAMES = "concepts.safetensors", "concepts.json", "names.json"
SHOWN = 3  # exemplars of a concept, beside a picture or graph
LONGEST_NAME = 80


@dataclass(frozen=True)
class Exemplar:
    """One example of a concept: the picture's file name, its predicted class, the box [x0, y0, x1, y1] in shares of
    what the classifier sees, and a small JPEG of it."""

    file: str
    class_name: str
    box: tuple[float, float, float, float]
    jpeg: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, eq=False)
class ConceptBank:
    """k concepts of the classifier with this fingerprint, in its `layer`.

    `head` says which concept each cell of a picture is of. `floor`: the layer gives nothing below zero. `least` (k,): a
    vector that is nearest to a concept but less near than this is of none. `exemplars` a row a concept, `relevance` a
    row a class and concept, `names` what people call them by id, `card` how it was made.
    """

    basis: Basis
    layer: str
    fingerprint: str
    floor: bool
    least: Tensor
    classes: Mapping[int, str]
    head: CellHead | None = None
    exemplars: tuple[tuple[Exemplar, ...], ...] = ()
    relevance: tuple[Relevance, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.basis)

    @property
    def ids(self) -> tuple[str, ...]:
        """The concepts' ids, in their order."""
        return tuple(str(j + 1) for j in range(len(self)))

    @property
    def cells(self) -> CellHead:
        """The head of a bank that is whole."""
        assert self.head is not None, "a bank gets its head when its pictures are studied"
        return self.head

    def encode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The codes (k, h, w) of maps (K, h, w), and how near each cell is to each concept (k, h, w)."""
        size = maps.shape[1:]
        codes, near = self.basis.encode(maps.flatten(1).T)
        return codes.T.reshape(-1, *size), near.T.reshape(-1, *size)

    def labels(self, near: Tensor) -> Tensor:
        """The concept (...) of each place by how near (k, ...) it is to each; -1 where it is of none."""
        return labelled(near, self.least)

    def of_class(self, index: int) -> list[Relevance]:
        """What concepts count for a class, those that cost it most first; none for a class without pictures."""
        return sorted((r for r in self.relevance if r.class_index == index), key=lambda r: (-r.lost, r.concept))

    def looks(self, id: str) -> tuple[bytes, ...]:
        """What a concept looks like in other pictures, as JPEGs; nothing in a bank that was not studied."""
        rows = self.exemplars[int(self.checked(id)) - 1 :][:1]
        return tuple(one.jpeg for row in rows for one in row[:SHOWN])

    def named(self, given: Mapping[str, str]) -> ConceptBank:
        """The bank with names that a person gives by id; an empty one takes the name away.

        Raises:
            UsageError: there is no such concept, or the name is no line of text.
        """
        names = dict(self.names)
        for id, name in given.items():
            names.pop(self.checked(id), None)
            if name:
                names[id] = checked_name(id, name)
        return replace(self, names=names)

    def checked(self, id: str) -> str:
        """The id, if there is such a concept."""
        if id not in self.ids:
            raise UsageError(f"no concept {id!r} in this bank; they are 1 to {len(self)}")
        return id


def checked_name(id: str, name: str) -> str:
    """A name, if it is one line of readable text."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise UsageError(f"the name of concept {id} is one line of at most {LONGEST_NAME} characters, not {name!r}")
    return name.strip()


def labelled(near: Tensor, least: Tensor) -> Tensor:
    """The concept (...) that each place is nearest to (k, ...), -1 where it is less near than that concept's least."""
    best, which = near.max(dim=0)
    return torch.where(best >= least[which], which, -1)


# --------------------------------------------------------------------------------------------------
# Its files.


def save(bank: ConceptBank, folder: Path) -> dict[str, Any]:
    """Writes the files of a bank; gives the row of the explainer's listing."""
    tensors = bank.basis.tensors | {"least": bank.least}
    if bank.head is not None:
        tensors |= {"head.weights": bank.head.weights, "head.bias": bank.head.bias}
    for id, row in zip(bank.ids, bank.exemplars, strict=False):
        for n, one in enumerate(row):
            tensors[f"exemplar.{id}.{n}"] = torch.frombuffer(bytearray(one.jpeg), dtype=torch.uint8)
    files.write(folder / TENSORS, serialised({k: v.contiguous() for k, v in tensors.items()}))
    files.write(folder / RECORD, json.dumps(_record(bank), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_names(folder, bank.names)
    return {"file": TENSORS, "record": RECORD, "names": NAMES, "card": dict(bank.card)}


def write_names(folder: Path, names: Mapping[str, str]) -> None:
    """Writes the names that people gave."""
    ordered = dict(sorted(names.items(), key=lambda row: int(row[0])))
    files.write(folder / NAMES, json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def _record(bank: ConceptBank) -> dict[str, Any]:
    rows = [[{k: v for k, v in asdict(e).items() if k != "jpeg"} for e in row] for row in bank.exemplars]
    return {
        "format": FORMAT,
        "fingerprint": bank.fingerprint,
        "layer": bank.layer,
        "method": bank.basis.method,
        "head": None if bank.head is None else list(bank.head.layers),
        "floor": bank.floor,
        "classes": {str(c): name for c, name in bank.classes.items()},
        "exemplars": dict(zip(bank.ids, rows, strict=False)),
        "relevance": [r.to_dict() | {"concept": bank.ids[r.concept]} for r in bank.relevance],
        "card": dict(bank.card),
    }


def load(folder: Path, fingerprint: str | None = None) -> ConceptBank:
    """Reads a bank; with a fingerprint, one of that classifier.

    Raises:
        InputError: its files cannot be read, or names.json is no object of names.
        UsageError: it belongs to another classifier, a newer saywhy wrote it, or a name is of no concept of it.
    """
    try:
        told = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        with safe_open(folder / TENSORS, "pt") as saved:
            tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        if int(told["format"]) != FORMAT:
            when = "a newer" if int(told["format"]) > FORMAT else "an older"
            raise UsageError(
                f"{folder / RECORD}: written by {when} saywhy (format {told['format']}, not {FORMAT}); find the "
                "concepts anew: saywhy fit IMAGES --parts concepts"
            )
        bank = _bank(told, tensors)
    except UsageError:
        raise
    except Exception as e:
        raise InputError(f"{folder}: no concept bank that can be read ({type(e).__name__}: {e})") from e
    if fingerprint is not None and bank.fingerprint != fingerprint:
        raise UsageError(
            f"{folder}: these concepts are of the classifier {bank.fingerprint}, not of {fingerprint}; they would mean "
            "nothing here. Find its own: saywhy fit IMAGES --parts concepts"
        )
    return bank.named(read_names(folder))


def _bank(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ConceptBank:
    if told["method"] not in DISCOVERY:
        raise unknown("way to find concepts", told["method"], DISCOVERY)
    basis = basis_of(told["method"], tensors)
    if not len(basis) == len(tensors["least"]) == len(told["exemplars"]):
        raise ValueError(f"{RECORD} and {TENSORS} are of different banks")
    return ConceptBank(
        basis, told["layer"], told["fingerprint"], bool(told["floor"]), tensors["least"],
        {int(c): name for c, name in told["classes"].items()}, _head(told["head"], tensors),
        tuple(_exemplars(id, rows, tensors) for id, rows in told["exemplars"].items()),
        tuple(Relevance(**{**row, "concept": int(row["concept"]) - 1}) for row in told["relevance"]),
        card=told["card"],
    )  # fmt: skip


def _head(layers: Sequence[str] | None, tensors: Mapping[str, Tensor]) -> CellHead | None:
    return None if layers is None else CellHead(tuple(layers), tensors["head.weights"], tensors["head.bias"])


def _exemplars(id: str, rows: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]) -> tuple[Exemplar, ...]:
    jpegs = (tensors[f"exemplar.{id}.{n}"].numpy().tobytes() for n in range(len(rows)))
    return tuple(
        Exemplar(row["file"], row["class_name"], tuple(row["box"]), jpeg) for row, jpeg in zip(rows, jpegs, strict=True)
    )


def read_names(folder: Path) -> dict[str, str]:
    """The names in names.json; none where there is no such file.

    Raises:
        InputError: it is no object of names.
    """
    file = folder / NAMES
    if not file.is_file():
        return {}
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        return {str(id): str(name) for id, name in names.items()}
    except (ValueError, AttributeError, OSError) as e:
        raise InputError(f'{file}: {{"3": "headlight"}} was expected, names by id ({e})') from e
