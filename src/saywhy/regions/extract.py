"""Regions of one image, from the classifier's own activations (US 2025/0259436 A1, [0014], [0020]).

The top-down attention map says where to look (M -> M'), clusters of the activations there say what belongs together,
and a guided filter lets the regions' edges follow the picture. H x W image, h x w grid, k regions, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor

from saywhy.errors import UsageError

Doubles = NDArray[np.float64]

MIN_SHARE = 0.02  # of the image: a smaller region is no patch that a person would point at
GRID = 48  # rows of the grid that is clustered: fine enough for edges, coarse enough for k-means in milliseconds
FINER = 0.015  # silhouette that one more region may cost: people read four or five parts more easily than three halves
AUTOMATIC = 5  # regions at most unless more are asked for: six would double the game, and few read six
COMPONENTS = 12  # principal components kept of each layer's channels
WEIGHTS = {"activation": 1.0, "colour": 0.45, "place": 0.6}
WEIGHTS_WITHOUT_MAPS = {"activation": 0.0, "colour": 1.0, "place": 1.0}


def attention_mask(attention: Tensor, keep: float = 0.5, relative: float = 0.2) -> Tensor:
    """M' = 1[M >= t] of an attention map (h, w); all ones where nothing speaks for the class.

    t is the (1 - keep) quantile, or `relative` times the maximum where that is higher, so that a small object is not
    drowned in background. The mask falls back to the whole image when the map is flat, not finite or nowhere positive.
    """
    if not torch.isfinite(attention).all() or attention.max() <= 0 or attention.max() == attention.min():
        return torch.ones_like(attention, dtype=torch.bool)
    quantile = torch.quantile(attention.flatten().double(), 1 - keep).to(attention)
    return (attention >= torch.maximum(quantile, relative * attention.max())) & (attention > 0)


def find_regions(
    image: Tensor, maps: Sequence[Tensor], attention: Tensor, *, count: int | None = None, seed: int = 0
) -> Tensor:
    """Coherent regions (k, H, W), boolean and disjoint, of one image (3, H, W); 1 <= k <= 6.

    `maps` are activations (K, h, w) of one or several layers (none for a black box: colour and place decide alone),
    `attention` (h, w) is the target's raw saliency map. `count` fixes k; otherwise the number from 3 to 5 whose
    clusters are most coherent is taken (silhouette); a cluster in several patches, or too small a one, is told from
    the picture, so there can be fewer.

    Raises:
        UsageError: a count outside 1 to 6.
    """
    if count is not None and not 1 <= count <= 6:
        raise UsageError(f"regions: 1 to 6 can be measured exactly, not {count}")
    H, W = image.shape[1:]
    h, w = min(GRID, H), min(max(2, round(GRID * W / H)), W)
    attended = F.interpolate(attention[None, None].float(), (h, w), mode="bilinear", align_corners=False)[0, 0]
    mask = attention_mask(attended)
    weight = torch.where(mask, attended.clamp_min(0) + 1e-9, 0.0) if bool((attended > 0).any()) else mask.float()
    labels = _cluster(_features(image, maps, (h, w)), mask.numpy(), weight.double().numpy(), count, seed)
    labels = _tidy(labels, min_cells=max(2, round(MIN_SHARE * h * w)))
    return _sharpen(labels, image)


def _features(image: Tensor, maps: Sequence[Tensor], size: tuple[int, int]) -> Doubles:
    """Features (h, w, D) of every cell: each layer's channels as directions, colour, place."""
    weights = WEIGHTS if maps else WEIGHTS_WITHOUT_MAPS
    parts = [weights["activation"] * _components(m.float(), size) / len(maps) ** 0.5 for m in maps]
    colour = F.interpolate(image[None].float(), size, mode="area")[0]
    opponent = torch.stack([colour.mean(0), colour[0] - colour[1], 0.5 * (colour[0] + colour[1]) - colour[2]])
    opponent = opponent - opponent.mean(dim=(1, 2), keepdim=True)
    opponent = opponent / (opponent.square().sum(0).mean().sqrt() + 1e-6)
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    parts += [weights["colour"] * opponent, weights["place"] * torch.stack([ys, xs])]
    return torch.cat(parts).permute(1, 2, 0).double().numpy()


def _components(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Principal components (P, h, w) of the channels' directions (K, h', w'), of unit mean square length in all.

    What counts is which channels fire at a place, not how strongly; the Gram matrix of the few places is decomposed,
    not that of the many channels.
    """
    h, w = maps.shape[1:]
    X = F.normalize(maps.flatten(1).double(), dim=0)
    X = X - X.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(X.T @ X)
    P = min(COMPONENTS, h * w)
    scores = (vectors[:, -P:] * values[-P:].clamp_min(0).sqrt()).T.reshape(P, h, w)
    scores = scores / (scores.square().sum(0).mean().sqrt() + 1e-9)
    return F.interpolate(scores[None].float(), size, mode="bilinear", align_corners=False)[0]


def _cluster(
    features: Doubles, mask: NDArray[np.bool_], weight: Doubles, count: int | None, seed: int
) -> NDArray[np.int64]:
    """Labels (h, w): -1 outside the mask, clusters of the features inside; attended cells draw the centres."""
    points, weights = features[mask], weight[mask]
    labels = np.full(mask.shape, -1, dtype=np.int64)
    best: tuple[float, NDArray[np.int64]] | None = None
    for k in [count] if count else range(3, AUTOMATIC + 1):
        found = _k_means(points, weights, min(k, len(points)), seed)
        distinct, sample = len(np.unique(found)), min(400, len(points))
        score = (
            silhouette_score(points, found, sample_size=sample, random_state=seed) if 1 < distinct < sample else -1.0
        )
        score += FINER * distinct
        if best is None or score > best[0]:
            best = (float(score), found)
    assert best is not None
    labels[mask] = best[1]
    return labels


def _k_means(points: Doubles, weights: Doubles, k: int, seed: int) -> NDArray[np.int64]:
    found = KMeans(k, n_init=1, max_iter=60, tol=1e-3, random_state=seed).fit(points, sample_weight=weights)
    return np.asarray(found.labels_, dtype=np.int64)


def _tidy(labels: NDArray[np.int64], min_cells: int) -> NDArray[np.int64]:
    """Keeps each cluster's main patches, gives stray cells to the neighbour around them, drops small regions."""
    out = np.full_like(labels, -1)
    strays = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels[labels >= 0]):
        patches, n = ndimage.label(labels == label)
        sizes = ndimage.sum_labels(labels == label, patches, np.arange(1, n + 1))
        for patch, cells in enumerate(np.atleast_1d(sizes), start=1):
            # A patch that one erosion wipes out is a fringe along another's edge, nothing to point at.
            core = ndimage.binary_erosion(patches == patch, structure=np.ones((3, 3)), border_value=1).sum()
            if cells >= max(min_cells, 0.34 * sizes.max()) and core >= 0.1 * cells:
                out[patches == patch] = label
            else:
                strays |= patches == patch
    if (out < 0).all():  # nothing is large enough: the attended part is one region
        return np.where(labels >= 0, 0, -1)
    nearest = ndimage.distance_transform_edt(out < 0, return_distances=False, return_indices=True)
    touching = ndimage.binary_dilation(out >= 0) & strays
    out[touching] = out[tuple(nearest)][touching]
    return out


def _sharpen(labels: NDArray[np.int64], image: Tensor) -> Tensor:
    """Regions (k, H, W) whose edges follow the picture: the largest of the labels' guided-filtered soft masks."""
    H, W = image.shape[1:]
    names = [int(v) for v in np.unique(labels) if v >= 0]
    planes = torch.from_numpy(np.stack([labels == v for v in [-1, *names]])).float()
    soft = F.interpolate(planes[None], (H, W), mode="bilinear", align_corners=False)[0]
    radius = max(2, round(min(H, W) / labels.shape[0]))
    refined = guided_filter(image.float().mean(dim=0), soft, radius)
    winner = refined.argmax(dim=0)
    regions = torch.stack([winner == i + 1 for i in range(len(names))])
    smooth = torch.stack([_smooth(r) for r in regions])
    smooth &= torch.cat([torch.zeros(1, H, W, dtype=torch.bool), smooth.cumsum(0)[:-1] > 0]).logical_not()
    big = smooth.flatten(1).float().mean(dim=1) >= MIN_SHARE / 3
    return smooth[big] if bool(big.any()) else smooth[:1]


def _smooth(region: Tensor) -> Tensor:
    """Without crumbs and pinholes: a majority vote over a small window, then the patches of some size, holes filled."""
    H, W = region.shape
    size = max(3, min(H, W) // 40) | 1
    voted = F.avg_pool2d(F.pad(region[None, None].float(), (size // 2,) * 4, mode="replicate"), size, 1)[0, 0] > 0.5
    filled = ndimage.binary_fill_holes(voted.numpy())
    patches, n = ndimage.label(filled)
    if n > 1:
        sizes = ndimage.sum_labels(filled, patches, np.arange(1, n + 1))
        filled = np.isin(patches, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max()))
    return torch.from_numpy(np.asarray(filled, dtype=bool))


def guided_filter(guide: Tensor, planes: Tensor, radius: int, epsilon: float = 2e-3) -> Tensor:
    """Planes (P, H, W) smoothed along the edges of a grey guide (H, W) (He et al. 2013, eq. 5-8)."""

    def box(x: Tensor) -> Tensor:
        size = 2 * radius + 1
        padded = F.pad(x[None], (radius,) * 4, mode="replicate")
        return F.avg_pool2d(F.avg_pool2d(padded, (1, size), 1), (size, 1), 1)[0]

    g = guide[None]
    mean_g, mean_p = box(g), box(planes)
    a = (box(g * planes) - mean_g * mean_p) / (box(g * g) - mean_g**2 + epsilon)
    b = mean_p - a * mean_g
    return box(a) * g + box(b)
