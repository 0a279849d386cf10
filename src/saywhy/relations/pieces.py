"""Pieces: what can be moved. Small patches that stand out in a region that counts, and such regions if they are small.

H x W is the model's view; masks are boolean (m, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from torch import Tensor

from saywhy.image import Bools
from saywhy.players import in_three, patches

PATCHES = 120  # into which the picture is cut at most
SMALLEST, LARGEST = 0.0006, 0.015  # of the picture: what is larger is no mark on a thing, and takes its shape with it
STANDS_OUT = 8.0  # Lab units from what lies around it
RIM, RING, NEAR = (
    1 / 128,
    2 / 128,
    3 / 128,
)  # of the short side: a patch's own rim, what lies around, how far regions reach
MOST = 30  # pieces; the ones that stand out most
SAME = 0.5  # IoU from which two pieces are one


@dataclass(frozen=True, eq=False)
class Pieces:
    """Masks (m, H, W), which region each lies in (m,), and whether it is the whole region."""

    masks: Bools
    parents: tuple[int, ...]
    whole: tuple[bool, ...]


def pieces(image: Tensor, regions: Bools) -> Pieces:
    """What may be moved of an image (3, H, W): of the regions (k, H, W) those that are small, then patches in or at
    them, the ones that stand out most first."""
    own = [i for i, region in enumerate(regions) if region.mean() <= LARGEST]
    out = [regions[i] for i in own]
    near = _grown(np.asarray(regions.any(0)), NEAR) if len(regions) else np.zeros(image.shape[1:], dtype=bool)
    for patch, _ in sorted(_patches(image, near), key=lambda row: -row[1]):
        if all((patch & o).sum() < SAME * (patch | o).sum() for o in out):
            out.append(patch)
    masks = np.array(out[:MOST], dtype=bool).reshape(-1, *image.shape[1:])
    parents = [int(np.argmax([(_grown(r, NEAR) & m).sum() for r in regions])) for m in masks[len(own) :]]
    return Pieces(masks, (*own, *parents), (*[True] * len(own), *[False] * len(parents)))


def _patches(image: Tensor, where: Bools) -> Iterator[tuple[Bools, float]]:
    """Patches with their rims that lie for the most part there, and how much each stands out."""
    lab = rgb2lab(in_three(image).cpu().double().numpy().transpose(1, 2, 0))
    labels = patches(image, PATCHES)
    sizes = np.bincount(labels.ravel()) / labels.size
    inside = np.bincount(labels[where], minlength=len(sizes)) / labels.size
    for i in np.flatnonzero((sizes >= SMALLEST) & (sizes <= LARGEST) & (inside >= sizes / 2)):
        patch = labels == i
        if (out := _standing_out(lab, patch)) >= STANDS_OUT:
            piece = np.asarray(ndimage.binary_fill_holes(_grown(patch, RIM)))  # a rim, and what it is the rim of
            if piece.mean() <= LARGEST:
                yield piece, out


def _standing_out(lab: NDArray[np.float64], patch: Bools) -> float:
    rim = _grown(patch, RIM)
    around = _grown(rim, RING) & ~rim
    return float(np.linalg.norm(lab[patch].mean(0) - np.median(lab[around], 0))) if around.any() else 0.0


def _grown(mask: Bools, share: float) -> Bools:
    return np.asarray(ndimage.binary_dilation(mask, iterations=max(1, round(share * min(mask.shape)))))
