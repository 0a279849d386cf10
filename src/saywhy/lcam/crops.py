"""Photos and crops of them together with what the classifier said of each.

A few hundred photos are few objects, each at one size and place. From closer, other parts of a photo are other objects
for the classifier: crops teach a head what more photos would, and cost one forward pass each.

n crops (a whole photo is one too), R classes; boxes (x, y, width, height) in pixels of the classifier's view.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene import content_seed
from saywhy.lcam.heads import LCam
from saywhy.lcam.photos import centred
from saywhy.lcam.refine import Refined
from saywhy.lcam.responses import Answers
from saywhy.train.loop import Examples

SIDES = 0.55, 1.0  # of a crop, as shares of the photo's
SURE = 0.2  # a crop of which the classifier says less than this shows nothing to explain


@dataclass(frozen=True, eq=False)
class Crop:
    """Images (n, 3, H, W), their predicted classes (n,), log p of these (n,), the head's basis maps (n, k, h, w)."""

    images: Tensor
    predicted: Tensor
    whole: Tensor
    basis: Tensor


@dataclass(frozen=True, eq=False)
class Known:
    """Of each crop its photo (V,), box (V, 4), predicted class (V,), log p (V,) and basis maps (V, k, h, w)."""

    photo: Tensor
    box: Tensor
    predicted: Tensor
    whole: Tensor
    basis: Tensor


class Crops:
    """Examples to train on: the images are cut out of their photos when they are asked for."""

    def __init__(self, clf: Classifier, photos: Examples, known: Known) -> None:
        self.clf, self.photos, self.known = clf, photos, known

    def __len__(self) -> int:
        return len(self.known.photo)

    def __getitem__(self, rows: Tensor) -> Crop:
        k = self.known
        images = centred(self.photos[k.photo[rows]], self.clf)
        seen = [closer(image, box) for image, box in zip(images, k.box[rows].tolist(), strict=True)]
        return Crop(torch.stack(seen), k.predicted[rows], k.whole[rows], k.basis[rows])


def whole_photos(clf: Classifier, answers: Answers, rows: Tensor) -> Known:
    """What is known of photos without looking again."""
    H, W = clf.preprocess.size
    box = torch.tensor([0, 0, W, H]).expand(len(rows), 4)
    return Known(rows, box, answers.predicted[rows], answers.whole[rows], answers.basis[rows])


@torch.no_grad()
def from_closer(
    clf: Classifier,
    lcam: LCam,
    photos: Examples,
    rows: Tensor,
    count: int,
    *,
    seed: int = 0,
) -> Known:
    """Looks at `count` random crops of each photo, and keeps those of which the classifier is SURE of something.

    The crops of a photo depend on its pixels and the seed alone.
    """
    assert isinstance(lcam.head, Refined)
    found: list[tuple[Tensor, ...]] = []
    for row in rows:
        image = centred(photos[row[None]], clf)[0]
        boxes = draw_boxes(image, count, torch.Generator().manual_seed(content_seed(image, seed)))
        tap = clf.tap(torch.stack([closer(image, box) for box in boxes.tolist()]), lcam.points(clf))
        whole, predicted = tap.logits.log_softmax(dim=1).max(dim=1)
        basis = lcam.head.basis([tap.maps(path) for path in lcam.layers], predicted[:, None], tap.logits)[:, 0]
        sure = whole.exp() >= SURE
        columns = row.expand(count), boxes, predicted, whole, basis
        found.append(tuple(column[sure.to(column.device)] for column in columns))
    return Known(*(torch.cat(column) for column in zip(*found, strict=True)))


def together(*parts: Known) -> Known:
    """All crops of some."""
    return Known(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Known)))


def draw_boxes(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random boxes (count, 4) in an image (3, H, W)."""
    H, W = image.shape[1:]
    low, high = SIDES
    out = []
    for _ in range(count):
        share = low + (high - low) * float(torch.rand((), generator=generator))
        h, w = round(share * H), round(share * W)
        y, x = (int(torch.randint(n + 1, (), generator=generator)) for n in (H - h, W - w))
        out.append((x, y, w, h))
    return torch.tensor(out)


def closer(image: Tensor, box: list[int]) -> Tensor:
    """A box (x, y, width, height) of an image (3, H, W), scaled up to the whole."""
    x, y, w, h = box
    size = int(image.shape[1]), int(image.shape[2])
    if (h, w) == size:
        return image
    crop = image[None, :, y : y + h, x : x + w]
    return F.interpolate(crop, size, mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1)
