"""The fitted part: good examples of each class's pieces, in pictures that the classifier names clearly; and its file.

C classes, n instances of a picture, R instances of all donors, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.errors import UsageError
from saywhy.substitution.matching import Instance, instances_of

FILE = "substitution.safetensors"
USUAL = (
    0.95  # of the donors' own instances are no further from the nearest of another picture than what is called usual
)
FEW = 10  # instances of a concept, of which nothing of its own is called usual
NEAREST = 256  # rows a step, when distances are measured


@dataclass(frozen=True, eq=False)
class Donor:
    """A picture (3, H, W) that lends its instances: its file's name, the class that it is clearly of, the concept
    (H, W) of each pixel, and log-probabilities `told` (n + 1, C) of it and of it without each instance."""

    file: str
    of: int
    picture: Tensor
    labels: Tensor
    instances: tuple[Instance, ...]
    told: Tensor

    def speaks(self, n: int, wanted: int, said: int) -> float:
        """By how much hiding an instance lowers the log-odds of `wanted` over `said`."""
        lost = self.told[0] - self.told[n + 1]
        return float(lost[wanted] - lost[said])


@dataclass(frozen=True, eq=False)
class Stock:
    """Donors of one classifier (by fingerprint) and one bank (by digest), clearest first in each class.

    `features` (R, D) of all their instances, with `mean` and `std` (D,); `usual` (R,) is how far, at most, instances of
    the same concept commonly are from the nearest one of another picture.
    """

    donors: tuple[Donor, ...]
    fingerprint: str
    bank: str
    features: Tensor
    mean: Tensor
    std: Tensor
    usual: Tensor
    card: Mapping[str, Any] = field(default_factory=dict)

    def of(self, c: int) -> list[Donor]:
        """The donors of a class."""
        return [d for d in self.donors if d.of == c]

    def strange(self, feature: Tensor) -> float:
        """How far what layers hold of an instance (D,) is from the nearest donor's, 1 being the end of the usual."""
        far = torch.cdist(self._scaled(feature[None]), self._scaled(self.features))[0]
        return float((far / self.usual).min())

    def _scaled(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def stocked(
    donors: Sequence[Donor], features: Sequence[Tensor], fingerprint: str, bank: str, card: Mapping[str, Any]
) -> Stock:
    """A stock of donors with the features (n, D) of each one's instances.

    Raises:
        UsageError: there are too few of them to say what is usual.
    """
    every = torch.cat(list(features))
    owner = torch.repeat_interleave(torch.arange(len(donors)), torch.tensor([len(f) for f in features]))
    if len(set(owner.tolist())) < 2:
        raise UsageError("no two pictures have pieces of concepts; give more pictures")
    mean, std = every.mean(0), every.std(0).clamp_min(1e-4)
    concept = torch.tensor([instance.concept for d in donors for instance in d.instances])
    return Stock(tuple(donors), fingerprint, bank, every, mean, std, _usual((every - mean) / std, owner, concept), card)


def _usual(scaled: Tensor, owner: Tensor, concept: Tensor) -> Tensor:
    """How far (R,) instances of each one's concept are from the nearest of another picture, 95 of 100 of them; of all
    concepts where there are few of one."""
    near = torch.cat([
        torch.cdist(scaled[rows], scaled).masked_fill(owner[rows, None] == owner[None], torch.inf).amin(1)
        for rows in torch.split(torch.arange(len(scaled)), NEAREST)
    ])  # fmt: skip
    usual = near.quantile(USUAL).expand(len(near)).clone()
    for j, count in zip(*torch.unique(concept, return_counts=True), strict=True):
        if count >= FEW:
            usual[concept == j] = near[concept == j].quantile(USUAL)
    return usual.clamp_min(1e-6)


# --------------------------------------------------------------------------------------------------
# Its file.


def save(stock: Stock, folder: Path) -> dict[str, Any]:
    """Writes the donors; gives the row of the explainer's listing."""
    tensors = {"features": stock.features, "mean": stock.mean, "std": stock.std, "usual": stock.usual}
    for n, d in enumerate(stock.donors):
        tensors |= {
            f"{n}.picture": (d.picture * 255).round().to(torch.uint8),
            f"{n}.labels": d.labels.to(torch.int16),
            f"{n}.told": d.told.half(),
        }
    files.write(folder / FILE, serialised({name: value.contiguous() for name, value in tensors.items()}))
    return {
        "file": FILE, "card": dict(stock.card), "fingerprint": stock.fingerprint, "bank": stock.bank,
        "donors": [[d.file, d.of] for d in stock.donors],
    }  # fmt: skip


def load(folder: Path, row: Mapping[str, Any], fingerprint: str) -> Stock:
    """Reads a stock of this classifier.

    Raises:
        InputError: the file is missing, or holds no donors.
        UsageError: it belongs to another classifier.
    """
    file = folder / str(row.get("file", FILE))
    stock = files.read_as(file, "pieces to substitute", lambda: _read(load_file(file), row))
    if stock.fingerprint != fingerprint:
        raise UsageError(
            f"{file}: these pieces are good ones for the classifier {stock.fingerprint}, not for {fingerprint}; gather "
            "some for it: saywhy fit IMAGES --parts concepts,substitution"
        )
    return stock


def _read(tensors: Mapping[str, Tensor], row: Mapping[str, Any]) -> Stock:
    donors = tuple(_donor(tensors, n, str(file), int(of)) for n, (file, of) in enumerate(row["donors"]))
    if sum(len(d.instances) for d in donors) != len(tensors["features"]):
        raise ValueError("features do not fit the pictures")
    features, mean, std, usual = (tensors[name] for name in ("features", "mean", "std", "usual"))
    return Stock(donors, str(row["fingerprint"]), str(row["bank"]), features, mean, std, usual, dict(row["card"]))


def _donor(tensors: Mapping[str, Tensor], n: int, file: str, of: int) -> Donor:
    labels = tensors[f"{n}.labels"].long()
    instances, told = tuple(instances_of(labels)), tensors[f"{n}.told"].float()
    if len(told) != len(instances) + 1:
        raise ValueError("answers do not fit the pictures")
    return Donor(file, of, tensors[f"{n}.picture"].float() / 255, labels, instances, told)
