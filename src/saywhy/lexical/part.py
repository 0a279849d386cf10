"""The part `lexical`: regions that are, by the classifier's own answer, of a kind that has an ordinary word.

Each region is shown to the classifier alone, closer and before a blur of the picture. A kind is as sure as all its
classes are probable together, there and in the whole picture, whichever is less: what a loose piece is taken
for is seldom what it is, unless the picture says the same. k regions (k, H, W), n kinds, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.explanation import RegionName
from saywhy.intervene import plain_probabilities
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Request
from saywhy.seen import Seen
from saywhy.spaces.wordbook import load_words

LEAST = 0.5  # from here on four of five words are right of their regions (benchmarks/names_lexical.py)
NEAR = 0.9  # of the surest kind's certainty: of kinds that have this, the narrowest is said
MARGIN = 0.15  # around a region, of its longer side
CLOSEST = 0.3  # of the view's side: nothing is looked at closer
BLURRED = 16  # pixels that become one


@dataclass(frozen=True, eq=False)
class Calling:
    """The classifier and its image (3, H, W), the kinds (n) with their classes (C, n), and the whole picture's
    probability of each (n,)."""

    clf: Classifier
    image: Tensor
    kinds: tuple[str, ...]
    member: Tensor
    whole: Tensor

    def of(self, regions: Tensor) -> list[RegionName | None]:
        """The name of each region (k, H, W) of the view, at the cost of a forward pass each; None where it is not sure
        enough."""
        if not len(regions):
            return []
        shown = plain_probabilities(self.clf, alone(self.image, regions)) @ self.member
        return [self._name(sure) for sure in torch.minimum(shown, self.whole)]

    def _name(self, sure: Tensor) -> RegionName | None:
        kind = narrowest(sure, self.member)
        return (
            RegionName(f"part of the {self.kinds[kind]}", min(1.0, float(sure[kind])), "lexical")
            if sure[kind] >= LEAST
            else None
        )


def narrowest(sure: Tensor, member: Tensor) -> int:
    """Of the kinds that are as sure (n,) as the surest, or nearly so, the one with the fewest classes (C, n)."""
    most = float(sure.max())
    enough = NEAR * most if most < LEAST else max(LEAST, NEAR * most)
    near: list[int] = (sure >= enough).nonzero()[:, 0].tolist()
    size = member.sum(0)
    return min(near, key=lambda n: (float(size[n]), -float(sure[n])))


def alone(image: Tensor, regions: Tensor) -> Tensor:
    """Each region (k, H, W) of an image (3, H, W) closer, before a blur of the image, as large as the image."""
    H, W = image.shape[1:]
    coarse = F.interpolate(image[None], (max(1, H // BLURRED), max(1, W // BLURRED)), mode="area")
    blurred = F.interpolate(coarse, (H, W), mode="bilinear", align_corners=False)[0]
    out = []
    for region in regions.to(image.device) > 0.5:
        top, left, tall, wide = _around(region)
        shown = torch.where(region, image, blurred)[None, :, top : top + tall, left : left + wide]
        out.append(F.interpolate(shown, (H, W), mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1))
    return torch.stack(out)


def _around(region: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window around a region (H, W), of the view's own proportion and inside it."""
    H, W = region.shape
    if not region.any():
        return 0, 0, H, W
    ys, xs = (region.any(dim=d).nonzero()[:, 0] for d in (1, 0))
    (y0, y1), (x0, x1) = ((int(v.min()), int(v.max()) + 1) for v in (ys, xs))
    share = min(1.0, max(CLOSEST, (1 + 2 * MARGIN) * max((y1 - y0) / H, (x1 - x0) / W)))
    tall, wide = max(1, round(share * H)), max(1, round(share * W))
    top, left = (round((a + b - size) / 2) for a, b, size in ((y0, y1, tall), (x0, x1, wide)))
    return min(max(top, 0), H - tall), min(max(left, 0), W - wide), tall, wide


def find(part: None, seen: Seen, earlier: Mapping[str, object], asked: Request) -> Calling | None:
    """What regions can be called by, if the classes are ImageNet's and there is time to look closer."""
    clf = seen.tap.clf
    if asked.fast or not clf.exclusive:
        return None
    words = load_words()
    order = words.order(clf)
    if order is None:
        return None
    kinds, member = words.kinds
    own = member[order]
    return Calling(clf, seen.image, kinds, own, seen.probabilities.cpu().double() @ own)


def confirm(found: Calling, seen: Seen, runs: Sequence[Confirming]) -> Confirmed:
    """From which certainty on a word is told, and of how many."""
    return Confirmed(record={"route": "lexical", "words": len(found.kinds), "least": LEAST})


FACE = Face(find=find, confirm=confirm)
