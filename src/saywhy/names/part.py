"""The part `names`: what regions are called, as a person showed it on other pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError
from saywhy.explanation import RegionName
from saywhy.language import Confirming
from saywhy.names.closeup import Closeup, closeup
from saywhy.names.shown import KnownNames
from saywhy.names.shown import fit as fit_names
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.seen import Seen

FILE = "names.safetensors"


@dataclass(frozen=True, eq=False)
class Naming:
    """The names that are known, and the closeup of one image."""

    known: KnownNames
    closeup: Closeup

    def of(self, regions: Tensor) -> list[RegionName | None]:
        """The name of each region (k, H, W) of the view; None where it is not sure enough."""
        told = self.known.told(self.closeup.of(regions)) if len(regions) else []
        return [None if one is None else RegionName(*one, "shown") for one in told]


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Learns names from what the pictures show."""
    known, some = fit_names(clf, items, how.tell)
    return Made(known, _summary(known), some.failures)


def _summary(known: KnownNames) -> str:
    count, held = sum(known.card["names"].values()), known.card["held_out"]
    told = (
        f"{held['named']:.0%} of held-out regions get a name, {held['right']:.0%} of the names are right"
        if held
        else "no picture could be held out, so it is not calibrated"
    )
    return f"{len(known.names)} names from {count} regions of {known.card['pictures']} pictures: {told}"


def save(known: KnownNames, folder: Path) -> Mapping[str, Any]:
    """Writes the weights; what they mean stands in the listing."""
    tensors = {"weights": known.weights, "bias": known.bias, "mean": known.mean}
    files.write(folder / FILE, serialised({name: t.contiguous() for name, t in tensors.items()}))
    return {
        "file": FILE, "names": list(known.names), "layers": list(known.layers),
        "temperature": known.temperature, "least": known.least, "card": dict(known.card),
    }  # fmt: skip


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> KnownNames:
    """Reads names of this classifier.

    Raises:
        InputError: the file is missing or is not one of names.
    """
    file = folder / str(row.get("file", FILE))
    return files.read_as(file, "names", lambda: _read(load_file(file), row))


def _read(t: Mapping[str, Tensor], row: Mapping[str, Any]) -> KnownNames:
    known = KnownNames(
        tuple(map(str, row["names"])), t["weights"], t["bias"], t["mean"],
        float(row["temperature"]), float(row["least"]), tuple(map(str, row["layers"])), dict(row["card"]),
    )  # fmt: skip
    if known.weights.shape != (len(known.names) + 1, len(known.mean)) or known.bias.shape != known.weights.shape[:1]:
        raise ValueError(f"{tuple(known.weights.shape)} weights do not fit {len(known.names)} names")
    return known


def find(part: KnownNames | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Naming | None:
    """The closeup of the image, where names are known.

    Raises:
        UsageError: they were learned at other layers of the network than are looked at.
    """
    if part is None:
        return None
    if tuple(seen.tap.points) != part.layers:
        raise UsageError(
            f"names were learned from {', '.join(part.layers)}, and {', '.join(seen.tap.points) or 'no layer'} is "
            "looked at; ask the layer that they were fitted with, or fit them again: saywhy fit IMAGES --parts names"
        )
    asked.tell("looking closer, for names")
    with torch.inference_mode(False):
        return Naming(part, closeup(seen.tap, seen.picture, seen.box))


def confirm(found: Naming, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """Which names are known, by which route, and from which certainty on they are said."""
    record = {"route": "shown", "names": list(found.known.names), "least": found.known.least}
    return Confirmed(record=record, made=("names as shown",))


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
