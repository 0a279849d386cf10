"""Concepts in one picture: where each is, what it counts there, and which are missing.

k concepts, picture (3, H, W), maps (K, h, w) of the concepts' layer, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.relevance import Relevance, without
from saywhy.errors import UsageError
from saywhy.explanation import RegionName, place_word
from saywhy.image import mask_box
from saywhy.players import patches
from saywhy.seen import Seen
from saywhy.tap import Tap

CANDIDATES = 5  # classes that are most probable, whose concepts are looked for
OF_A_CLASS = 10  # concepts of a class that are looked for: those that count most for it
PATCHES = 24  # of a picture, each of which is of one concept or of none
OVERLAP = 0.5  # of a region, that must be of one concept for it to have that one's name


@dataclass(frozen=True, eq=False)
class ConceptsFound:
    """Where concepts are in a picture: the concept (H, W) of each pixel, -1 for none, and the probabilities (k, C) that
    are left when each one is taken out of the activations: the picture's own of those that are absent or not asked.
    `tap` is the pass in which the bank's layers were looked at."""

    bank: ConceptBank
    labels: Tensor
    after: Tensor
    tap: Tap

    def mask(self, j: int) -> Tensor:
        """The pixels (H, W) of a concept."""
        return self.labels == j

    def shares(self, region: Tensor) -> Tensor:
        """The share of a region (H, W) that is of each concept (k,)."""
        own = self.labels[region]
        return torch.bincount(own[own >= 0], minlength=len(self.bank)) / max(1, len(own))

    def of(self, regions: Tensor) -> list[RegionName | None]:
        """What people call the concept that most of each region (m, H, W) is of, and how much of it; None without."""
        return [self._name(*self._most(region)) for region in regions]

    def ids(self, regions: Tensor) -> list[str | None]:
        """The id of the concept that most of each region (m, H, W) is of; None where none is half of it."""
        return [self.bank.ids[j] if share >= OVERLAP else None for j, share in map(self._most, regions)]

    def _most(self, region: Tensor) -> tuple[int, float]:
        shares = self.shares(region)
        j = int(shares.argmax())
        return j, float(shares[j])

    def _name(self, j: int, share: float) -> RegionName | None:
        name = self.bank.names.get(self.bank.ids[j])
        return None if name is None or share < OVERLAP else RegionName(name, share, "given")


def find_concepts(bank: ConceptBank, seen: Seen, which: Sequence[int] | None = None) -> ConceptsFound:
    """Where the concepts of a bank are in a picture, and what taking out each does: of those that count for a candidate
    class, or of `which`. A tail pass for each, and one more pass where a layer of the bank was not tapped."""
    tap = with_layers(bank, seen.tap)
    maps = tap.maps(bank.layer)[0].cpu()
    codes, _ = bank.encode(maps)
    labels = on_patches(bank.cells.shares(tap), seen.image.cpu())
    asked = which if which is not None else sorted(_wanted(bank, seen, labels))
    there = [j for j in asked if bool((labels == j).any())]
    after = seen.probabilities.repeat(len(bank), 1)
    X, size = maps.flatten(1).T, tap.clf.rows
    for some in (there[i : i + size] for i in range(0, len(there), size)):
        changed = without(X, codes.flatten(1).T[:, some], bank.basis.vectors[some], floor=bank.floor)
        again = changed.transpose(1, 2).reshape(-1, *maps.shape).to(tap.logits)
        scores = tap.replay(again, bank.layer, torch.zeros(len(some), dtype=torch.long))
        after[some] = tap.clf.to_probabilities(scores).detach().to(after)
    return ConceptsFound(bank, labels, after, tap)


def layers_of(bank: ConceptBank) -> list[str]:
    """The layers that a bank looks at: that of the concepts, then what cells are told by."""
    return list(dict.fromkeys([bank.layer, *bank.cells.layers]))


def with_layers(bank: ConceptBank, tap: Tap) -> Tap:
    """A tap itself where the layers of a bank were tapped, else another pass of its images.

    A module that runs twice has one name and two outputs: where it was tapped, the tap knows which is meant.

    Raises:
        UsageError: it was not tapped, and nothing says which output is meant.
    """
    needed = layers_of(bank)
    if set(needed) <= set(tap.points):
        return tap
    again = tap.clf.tap(tap.images, [tap.points.get(name, name) for name in needed])
    for name in needed:
        if name not in tap.points and (times := again.points[name].call.count) > 1:
            raise UsageError(
                f"the concepts are of the layer {name}, which runs {times} times in a pass, and the classifier is "
                f"looked into at {', '.join(tap.points)}: nothing says which of its outputs is meant; look into it "
                "where it was when the concepts were made (leave the layer out, if none was given), or make them "
                "again: saywhy fit IMAGES --parts concepts"
            )
    return again


def _wanted(bank: ConceptBank, seen: Seen, labels: Tensor) -> set[int]:
    return {r.concept for c in candidates(bank, seen) for r in _counting(bank, c, labels)}


def on_patches(shares: Tensor, picture: Tensor) -> Tensor:
    """The concept (H, W) of each pixel of a picture, -1 for none: that of the patch that it lies in.

    Cells are coarser than a beak, and patches have its rims: how likely cells are of each concept and of none
    (k + 1, h, w) is averaged over each patch.
    """
    H, W = picture.shape[1:]
    leaves = torch.from_numpy(patches(picture, PATCHES)).flatten()
    fine = F.interpolate(shares[None], (H, W), mode="bilinear", align_corners=False)[0].flatten(1)
    best = torch.zeros(len(shares), int(leaves.max()) + 1).index_add_(1, leaves, fine).argmax(dim=0)
    return torch.where(best < len(shares) - 1, best, -1)[leaves].reshape(H, W)


# --------------------------------------------------------------------------------------------------
# The record.


def hypotheses(found: ConceptsFound, seen: Seen) -> list[dict[str, Any]]:
    """One for each candidate class that the bank knows: its concepts, those that count most for it first, each with
    where it is in this picture or that it is absent."""
    return [
        {
            "class_index": c,
            "class_name": seen.tap.clf.class_names[c],
            "concepts": [_concept(found, seen, c, r.concept, r.lost) for r in _counting(found.bank, c, found.labels)],
        }
        for c in candidates(found.bank, seen)
    ]


def candidates(bank: ConceptBank, seen: Seen) -> list[int]:
    """The classes that hypotheses are made of: the target, what it is compared with, and the most probable ones."""
    best = seen.probabilities.argsort(descending=True)[:CANDIDATES].tolist()
    asked = [seen.target, *([] if seen.versus is None else [seen.versus]), *best]
    return [c for c in dict.fromkeys(asked) if c in bank.classes]


def _counting(bank: ConceptBank, c: int, labels: Tensor) -> Sequence[Relevance]:
    """What counts for a class beyond chance, there or not, and after it what else is there, what costs the class most
    first."""
    rows, here = [r for r in bank.of_class(c) if r.present], set(torch.unique(labels).tolist())
    sure = [r for r in rows if r.counts and r.lost > 0]
    return [*sure, *(r for r in rows if r not in sure and r.concept in here)][:OF_A_CLASS]


def _concept(found: ConceptsFound, seen: Seen, c: int, j: int, usual: float) -> dict[str, Any]:
    mask, bank = found.mask(j), found.bank
    present = bool(mask.any())
    on_photo = seen.on_photo(mask) if present else None
    visible = on_photo is not None and bool(on_photo.any())
    return {
        "id": bank.ids[j],
        "name": bank.names.get(bank.ids[j]),
        "present": present,
        "place": place_word(on_photo) if on_photo is not None and visible else None,
        "box": list(mask_box(on_photo)) if on_photo is not None and visible else None,
        "share": float(mask.float().mean()),
        "lost": float(seen.probabilities[c] - found.after[j, c]) if present else 0.0,
        "usual": usual,
    }
