"""Birds of cub10 as the study of attributes sees them: square crops, filters, colours, keypoints, captions, a head.

N pictures, K filters of the last layer, S cells of a grid h x w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from saywhy import load_classifier
from saywhy.attributes.frequencies import Said, said
from saywhy.collection import Item, find_images

Reals = NDArray[np.float64]
AROUND = 1.1  # of the longer side of the bird's box: the side of the square that is looked at
SIDE, GRID = 448, (14, 14)
GREY = (127, 127, 127)  # where the square leaves the photo; zero to the network
LAST = "_conv_head"
LAYERS = ("_blocks.7", "_blocks.10", "_blocks.14", LAST)
STRENGTH = 0.003  # of the inverse penalty of the head


@dataclass(frozen=True, eq=False)
class Birds:
    """Crops (N, 3, H, W); layers (N, S, K_i) at 448 x 448; pooled filters (N, K) at 224 x 224; which cells are of the
    photo (N, S); keypoints in sides of the crop; classes (N,) and whether each is of the training half (N,)."""

    images: Tensor
    layers: tuple[Tensor, ...]
    pooled: Reals
    inside: Tensor
    keypoints: list[dict[str, tuple[float, float]]]
    said: list[Said]
    captions: list[list[str]]
    labels: NDArray[np.int64]
    train: NDArray[np.bool_]
    names: list[str]
    files: list[str]

    @property
    def last(self) -> Tensor:
        """The last layer's activations (N, K, S)."""
        return self.layers[-1].transpose(1, 2)


def square(item: Item) -> tuple[float, float, float]:
    """Left, top and side of the square about the bird, in pixels of the photo; it may leave the photo."""
    x, y, w, h = item.truth["boxes"][0]["xywh"]
    side = AROUND * max(w, h)
    return x + w / 2 - side / 2, y + h / 2 - side / 2, side


def crop(item: Item) -> tuple[Tensor, Tensor]:
    """The square (3, H, W) in [0, 1], and which cells of the grid (S,) are of the photo."""
    left, top, side = square(item)
    with Image.open(item.path) as file:
        photo = file.convert("RGB")
    edge = int(np.ceil(side)) + 2
    size = (photo.width + 2 * edge, photo.height + 2 * edge)
    large, mask = Image.new("RGB", size, GREY), Image.new("L", size, 0)
    large.paste(photo, (edge, edge))
    mask.paste(255, (edge, edge, edge + photo.width, edge + photo.height))
    box = (left + edge, top + edge, left + edge + side, top + edge + side)
    image = np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))
    cells = np.asarray(mask.resize(GRID[::-1], Image.Resampling.BOX, box=box))
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255, torch.from_numpy(cells > 127).flatten()


def keypoints(item: Item) -> dict[str, tuple[float, float]]:
    left, top, side = square(item)
    return {k: ((x - left) / side, (y - top) / side) for k, (x, y) in item.truth["keypoints"].items()}


def gather(folder: Path, cache: Path | None = None) -> Birds:
    """The birds of a folder, from the cache if it is there."""
    if cache and cache.exists():
        return _with(find_images(folder), torch.load(cache, weights_only=True))
    items = find_images(folder)
    clf = load_classifier("efficientnet-lite0")
    large = replace(clf, preprocess=replace(clf.preprocess, size=(SIDE, SIDE)))
    seen: dict[str, list[Tensor]] = {key: [] for key in ("images", "inside", "pooled", *LAYERS)}
    for n, item in enumerate(items):
        image, inside = crop(item)
        seen["images"].append((image * 255).round().byte())
        seen["inside"].append(inside)
        small = F.interpolate(image[None], (SIDE // 2, SIDE // 2), mode="area")
        seen["pooled"].append(clf.tap(small, [LAST]).maps(LAST)[0].clamp(0, 6).mean((1, 2)))
        tap = large.tap(image[None], LAYERS)
        for name in LAYERS:
            maps = tap.maps(name).detach()
            maps = maps.clamp(0, 6) if name == LAST else maps  # ReLU6 follows it
            seen[name].append(F.adaptive_avg_pool2d(maps, GRID)[0].flatten(1).T.half())
        if n % 100 == 0:
            print(f"{n} of {len(items)}", flush=True)
    values = {key: torch.stack(rows) for key, rows in seen.items()}
    if cache:
        torch.save(values, cache)
    return _with(items, values)


def _with(items: Sequence[Item], values: dict[str, Tensor]) -> Birds:
    names = sorted({(i.class_index or 0, i.class_name or "") for i in items})
    captions: list[list[str]] = [list(i.truth["captions"]) for i in items]
    return Birds(
        images=values["images"].float() / 255,
        layers=tuple(values[name].float() for name in LAYERS),
        pooled=values["pooled"].double().numpy(),
        inside=values["inside"],
        keypoints=[keypoints(i) for i in items],
        said=[said(c) for c in captions],
        captions=captions,
        labels=np.array([i.class_index for i in items]),
        train=np.array([i.split == "train" for i in items]),
        names=[n for _, n in names],
        files=[i.path.name for i in items],
    )


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head on pooled filters: weights (C, K), probabilities (N, C)."""

    weights: Reals
    probabilities: Reals

    @property
    def predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(1))


def head(birds: Birds, train: NDArray[np.bool_]) -> Head:
    """A head that was fitted on some of the birds, on filters of mean 0 and variance 1 there, turned to their axes."""
    mean, spread = birds.pooled[train].mean(0), birds.pooled[train].std(0) + 1e-6
    x = (birds.pooled - mean) / spread
    _, _, axes = np.linalg.svd(x[train], full_matrices=False)
    model: Any = LogisticRegression(C=STRENGTH, max_iter=500).fit(x[train] @ axes.T, birds.labels[train])
    return Head(model.coef_ @ axes / spread, model.predict_proba(x @ axes.T))
