"""Photos that a part is fitted on: read once, seen as the classifier sees them, some of them held out.

N photos, n of them in a batch; H x W the classifier's view, H' x W' a larger one that crops are taken from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, no_inside
from saywhy.train.loop import Examples

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
KEPT = 1500  # photos that stay decoded; the others are read again when they are asked for
HELD_OUT = 0.15


class Photos:
    """Decoded photos as batches (n, 3, H', W') in [0, 1], a little larger than the classifier's view if `crop`."""

    def __init__(self, clf: Classifier, paths: Sequence[Path], *, crop: bool) -> None:
        how = clf.preprocess
        side = how.resize if isinstance(how.resize, int) else 0
        # The middle square of the resized photo, out of which crops of the classifier's size are taken.
        larger = crop and side > max(how.size)
        self.view = replace(clf, preprocess=replace(how, size=(side, side))) if larger else clf
        self.paths = list(paths)
        self.predicted: list[int] = []
        self.kept: dict[int, Pixels] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> Tensor:
        pixels = np.stack([self._pixels(int(r)) for r in rows])
        return torch.from_numpy(pixels).float().div_(255)

    def _pixels(self, row: int) -> Pixels:
        if row in self.kept:
            return self.kept[row]
        (image,) = self.view.prepare([self.view.read(self.paths[row])])[0]
        pixels: Pixels = (image * 255).round().to(torch.uint8).numpy()
        if len(self.kept) < KEPT:
            self.kept[row] = pixels
        return pixels


class Subset:
    """Some of the examples."""

    def __init__(self, whole: Examples, rows: Tensor) -> None:
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> Any:
        return self.whole[self.rows[rows]]


def read_photos(clf: Classifier, items: Sequence[Item], *, crop: bool) -> tuple[Photos, list[tuple[str, str]]]:
    """The photos that can be read, what the classifier says of each, and those that cannot, with the reason.

    Raises:
        UsageError: a black box.
        InputError: none can be read.
    """
    if not clf.white_box:
        raise no_inside("maps to fit l-cam to", "use rise")
    photos = Photos(clf, [], crop=crop)
    failures: list[tuple[str, str]] = []
    for item in items:
        photos.paths.append(item.path)
        row = len(photos.paths) - 1
        try:
            photos._pixels(row)
        except InputError as e:
            photos.paths.pop()
            failures.append((str(item.path), str(e)))
            continue
        view = centred(photos[torch.tensor([row])], clf)
        photos.predicted.append(int(clf.logits(view).argmax()))
    if not photos.paths:
        raise InputError(f"none of {len(items)} pictures can be read; the first: {failures[0][1] if failures else '-'}")
    return photos, failures


def split(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on and to stop by: of the latter 15 percent, one of seven at least, none of fewer than seven."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = round(HELD_OUT * count) if count >= 7 else 0
    return order[held:], order[:held]


def cropped(photos: Tensor, clf: Classifier) -> Tensor:
    """Random crops of the classifier's size, half of them mirrored."""
    H, W = clf.preprocess.size
    h, w = photos.shape[2:]
    out = []
    for photo in photos:
        y, x = (int(torch.randint(full - part + 1, ())) for full, part in ((h, H), (w, W)))
        crop = photo[:, y : y + H, x : x + W]
        out.append(crop.flip(2) if torch.rand(()) < 0.5 else crop)
    return torch.stack(out)


def centred(photos: Tensor, clf: Classifier) -> Tensor:
    """The middle, as the classifier sees a photo."""
    H, W = clf.preprocess.size
    y, x = (photos.shape[2] - H) // 2, (photos.shape[3] - W) // 2
    return photos[:, :, y : y + H, x : x + W]
