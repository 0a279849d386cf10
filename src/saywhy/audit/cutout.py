"""Where the object is, whatever its class, and the same object before other surroundings.

Nobody has drawn masks for the photos of a folder, so the object is estimated from the picture alone: what differs in
colour from the border (after Zhu et al. 2014), rather in the middle. The classifier is not asked: where it looks is
just what is in doubt. The exact outline matters little to what is concluded: the same cut is set before two kinds of
surroundings, and the answers are compared. Images (3, H, W) in [0, 1], masks (H, W) bool.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.evaluate.annotations import truth_of
from saywhy.intervene import hide
from saywhy.language.appearance import appearance, look

Doubles = NDArray[np.float64]

SIDE = 48  # of the small picture whose colours are clustered
COLOURS = 24  # clusters
ALIKE = 0.05  # distance of RGB colours in [0, 1] that pass for the same one
MIDDLE, SPREAD = 0.5, 0.6  # weight and width of the bump that prefers the middle
PATCH = 0.25  # of the largest patch: a smaller one is dropped
MARGIN = 0.03  # of the short side: the cut is this much wider, so that no rim of the object stays behind
KEPT = 64  # pictures in memory: as donors of surroundings the same ones come back


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture (3, H, W) in [0, 1] and the mask (H, W) of its object."""

    image: Tensor
    mask: Tensor

    @cached_property
    def surroundings(self) -> Tensor:
        """The picture (3, H, W) without its object."""
        return emptied(self.image, self.mask)

    @cached_property
    def colour(self) -> str:
        """What the surroundings look like in a word or two: "blue", "grey-brown", "multicoloured"."""
        seen = ~self.mask if bool((~self.mask).any()) else self.mask
        pixels = (self.image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        return look(replace(appearance(np.ascontiguousarray(pixels), seen.numpy()), size=None))


class Cutouts:
    """Cutouts of the items by number; the object is what `objects` name in the listing, or else it is estimated.

    Raises:
        InputError: a picture or mask that cannot be read.
    """

    def __init__(self, clf: Classifier, items: Sequence[Item], objects: Sequence[str] = ()) -> None:
        self.clf, self.items, self.objects = clf, items, objects
        self._kept: OrderedDict[int, Cutout] = OrderedDict()

    def __getitem__(self, number: int) -> Cutout:
        if number not in self._kept:
            self._kept[number] = self._made(self.items[number])
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _made(self, item: Item) -> Cutout:
        picture = self.clf.read(item.path)
        images, seen = self.clf.prepare([picture])
        if self.objects:
            given = truth_of([item], [picture], seen, self.clf.preprocess, self.objects).masks[0]
            if bool(given.any()):
                return Cutout(images[0], given)
        return Cutout(images[0], object_mask(images[0]))


def object_mask(image: Tensor) -> Tensor:
    """The object (H, W) of an image (3, H, W)."""
    H, W = int(image.shape[1]), int(image.shape[2])
    unlike = F.interpolate(_unlike_border(image)[None, None], (H, W), mode="bilinear", align_corners=False)[0, 0]
    unlike = (unlike - unlike.min()) / (unlike.max() - unlike.min()).clamp_min(1e-9)
    r = min(H, W) // 16
    around = F.avg_pool2d(unlike[None, None], 2 * r + 1, 1, r, count_include_pad=False)[0, 0]
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    evidence = unlike + around + MIDDLE * torch.exp(-(ys**2 + xs**2) / (2 * SPREAD**2))
    found = ndimage.binary_fill_holes((evidence > _otsu(evidence)).numpy())
    patches, n = ndimage.label(found)
    if n > 1:
        sizes = ndimage.sum_labels(found, patches, np.arange(1, n + 1))
        found = np.isin(patches, 1 + np.flatnonzero(sizes >= PATCH * sizes.max()))
    return torch.from_numpy(np.asarray(found, dtype=bool))


def emptied(image: Tensor, mask: Tensor) -> Tensor:
    """The surroundings alone: the object and a margin painted over with the colours around it."""
    return hide(image, (~_wider(mask, MARGIN))[None].to(image.dtype), "inpaint")[0]


def placed(image: Tensor, mask: Tensor, behind: Tensor) -> Tensor:
    """The object of one image before the surroundings `behind` (3, H, W), its edge softened by a pixel."""
    cut = _wider(mask, MARGIN / 2)[None, None].to(image.dtype)
    soft = F.avg_pool2d(F.pad(cut, (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return torch.lerp(behind, image, soft)


def _unlike_border(image: Tensor) -> Tensor:
    """How little each cell (SIDE, SIDE) has in common with the picture's border, times its contrast with that."""
    small = F.interpolate(image[None], (SIDE, SIDE), mode="area")[0]
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    place = 0.15 * np.stack([ys.ravel(), xs.ravel()], axis=1) / SIDE
    found = KMeans(COLOURS, n_init=1, max_iter=20, random_state=0).fit(
        np.concatenate([small.flatten(1).T.double().numpy(), place], axis=1)
    )
    rim = ((ys < 2) | (ys >= SIDE - 2) | (xs < 2) | (xs >= SIDE - 2)).ravel()
    area = np.bincount(found.labels_, minlength=COLOURS).astype(np.float64)
    border = np.bincount(found.labels_[rim], minlength=COLOURS).astype(np.float64)
    colour, where = found.cluster_centers_[:, :3], found.cluster_centers_[:, 3:] / 0.15
    apart, far = _distances(colour), _distances(where)
    same = np.exp(-(apart**2) / (2 * ALIKE**2))
    behind = 1 - np.exp(-(((same @ border) / np.sqrt(np.maximum(same @ area, 1))) ** 2) / 2)
    contrast = (np.exp(-(far**2) / (2 * 0.4**2)) * apart * (area * behind)).sum(axis=1)
    score = contrast * (1 - behind)
    return torch.from_numpy(score[found.labels_].reshape(SIDE, SIDE)).float()


def _distances(points: Doubles) -> Doubles:
    out: Doubles = np.linalg.norm(points[:, None] - points[None], axis=2)
    return out


def _otsu(plane: Tensor) -> float:
    """The value that parts a plane into two most even halves (Otsu 1979)."""
    counts, edges = np.histogram(plane.numpy(), 64)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above, total = below[-1] - below, np.cumsum(counts * middles)
    between = below * above * (total / np.maximum(below, 1) - (total[-1] - total) / np.maximum(above, 1)) ** 2
    return float(middles[int(between.argmax())])


def _wider(mask: Tensor, share: float) -> Tensor:
    r = max(1, round(share * min(mask.shape)))
    return F.max_pool2d(mask[None, None].float(), 2 * r + 1, 1, r)[0, 0] > 0.5
