"""What a person marked on a photo, moved to where the classifier sees it: masks, keypoints, object sizes.

The photo is cropped and scaled by the classifier's preprocessing; the truth goes exactly the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saywhy import image
from saywhy.collection import BACKGROUND, Item, filled_box
from saywhy.errors import UsageError
from saywhy.image import Bools, Box, Picture, Preprocess


@dataclass(frozen=True, eq=False)
class Truth:
    """Truth of N pictures in the classifier's view: masks (N, H, W) bool, keypoints (N, 2), sizes (N,) in pixels.

    An empty mask and a NaN keypoint or size are truth that is missing.
    """

    masks: Tensor
    keypoints: Tensor
    sizes: Tensor


def framed_mask(mask: Bools | NDArray[np.float32], how: Preprocess) -> Tensor:
    """A mask (H, W) of the photo as the classifier sees it: the share in [0, 1] of each pixel that it covers."""
    return torch.from_numpy(image.framed_mask(mask, how))


def truth_of(
    items: Sequence[Item], pictures: Sequence[Picture], seen: Sequence[Box], how: Preprocess, names: Sequence[str] = ()
) -> Truth:
    """The truth of pictures in the view of a classifier that prepares them as `how` says.

    `names` says which masks, boxes and keypoints are meant. Without, all masks are (those called "background" apart),
    or else all boxes, and the keypoint if there is one alone. Sizes are the longer side of the largest box.
    """
    rows = list(zip(items, pictures, seen, strict=True))
    masks = [framed_mask(_mask(item, picture, names), how) > 0.5 for item, picture, _ in rows]
    points = [_keypoint(item, box, how, names) for item, _, box in rows]
    sizes = [_size(item, box, how) for item, _, box in rows]
    doubles = torch.float64
    return Truth(torch.stack(masks), torch.tensor(points, dtype=doubles), torch.tensor(sizes, dtype=doubles))


def named_truth(items: Sequence[Item]) -> dict[str, set[str]]:
    """The names of all "masks" (boxes among them) and "keypoints" that the pictures carry."""
    known: dict[str, set[str]] = {"masks": set(), "keypoints": set()}
    for item in items:
        for kind in ("masks", "boxes"):
            known["masks"] |= {str(row.get("name")) for row in item.truth.get(kind, ())}
        known["keypoints"] |= set(item.truth.get("keypoints", {}))
    return known


def check_truth(items: Sequence[Item], inputs: Sequence[str], names: Sequence[str] = ()) -> None:
    """Raises UsageError where no picture at all has what localisation metrics need, with what the pictures have."""
    known = named_truth(items)
    for what in (w for w in ("masks", "keypoints") if w in inputs):
        if not known[what]:
            raise UsageError(f"localisation metrics need {what} of the pictures: give a folder with an images.jsonl")
        if names and not set(names) & known[what]:
            shown = ", ".join(sorted(known[what])[:20])
            raise UsageError(f"no picture has {what} called {' or '.join(names)}; they have: {shown}")
        if what == "keypoints" and not names and len(known[what]) > 1:
            shown = ", ".join(sorted(known[what])[:20])
            raise UsageError(f"PCK is about one keypoint: name it with --truth; there are: {shown}")


def _mask(item: Item, picture: Picture, names: Sequence[str]) -> Bools:
    size = (picture.height, picture.width)
    wanted = {n: m for n, m in item.masks(size).items() if (n in names if names else n != BACKGROUND)}
    if wanted:
        return np.asarray(np.logical_or.reduce(list(wanted.values())))
    mask = np.zeros(size, dtype=bool)
    for box in item.truth.get("boxes", ()):
        if not names or box.get("name") in names:
            mask |= filled_box(box["xywh"], size)
    return mask


def _keypoint(item: Item, seen: Box, how: Preprocess, names: Sequence[str]) -> tuple[float, float]:
    points: dict[str, Any] = item.truth.get("keypoints", {})
    chosen = [p for n, p in points.items() if not names or n in names]
    if len(chosen) != 1:
        return (float("nan"), float("nan"))
    (x, y), (x0, y0, x1, y1), (H, W) = chosen[0], seen, how.size
    u, v = (float(x) - x0) / (x1 - x0) * W, (float(y) - y0) / (y1 - y0) * H
    return (u, v) if 0 <= u < W and 0 <= v < H else (float("nan"), float("nan"))


def _size(item: Item, seen: Box, how: Preprocess) -> float:
    x0, y0, x1, y1 = seen
    sides = [
        max(float(w) * how.size[1] / (x1 - x0), float(h) * how.size[0] / (y1 - y0))
        for _, _, w, h in (box["xywh"] for box in item.truth.get("boxes", ()))
    ]
    return max(sides, default=float("nan"))
