"""Saliency by perturbation: Score-CAM exact and grouped, RISE, occlusion. All through the engine in `intervene`.

N images (N, 3, H, W); M masks (M, H, W), 1 keeps a pixel; A (K, h, w) one image's activations. The asked score is the
probability of a class (`unit="probability"`) or the score as the network gives it ("logit"); a callable target is
given the network's scores and its own value counts. Every image is served alone with its own seed, so neither the
batch size nor the neighbours change a map.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.intervene import Progress, Score, content_seed, masked_scores
from saywhy.tap import Tap
from saywhy.targets import Targets

Unit = Literal["probability", "logit"]
Weights = Literal["increase", "softmax"]
ROUNDS = 12  # of k-means


def asked_score(clf: Classifier, targets: Targets, image: int, unit: Unit = "probability") -> Score:
    """The function scores (M, C) -> (M,) of one image's target."""
    own = targets.at(image)

    def score(scores: Tensor) -> Tensor:
        plain = own.indices is None or unit == "logit"
        return own.of(scores if plain else clf.to_probabilities(scores), torch.zeros(len(scores), dtype=torch.long))

    return score


# --------------------------------------------------------------------------------------------------
# Score-CAM.


def score_cam(
    tap: Tap,
    targets: Targets,
    *,
    layer: str | None = None,
    unit: Unit = "probability",
    weights: Weights = "increase",
    fill: str | Tensor = "black",
    align_corners: bool = False,
    normalise: Literal["pixels", "grid"] = "pixels",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Score-CAM: L = sum_k w_k A_k with w_k = f(x * U(A_k)) - f(x * 0), the score seen through channel k alone.

    U scales a channel up bilinearly to the image and stretches it to [0, 1]. Constant channels, whose mask is empty,
    have weight 0 and cost nothing. `weights="softmax"` takes softmax_k of the scores instead (the paper's algorithm
    1, and what other packages do with `unit="logit"`); `fill` is what shows through the mask; `normalise="grid"`
    stretches before scaling up.

    Source: Wang et al. 2020, definitions 2 and 3, equation 7.
    """
    maps = tap.maps(layer)
    out = []
    for i, A in enumerate(maps):
        live = _live(A)
        masks = _Masks(A[live], tap.image_size, align_corners, normalise)
        score = asked_score(tap.clf, targets, i, unit)
        scores = _masked(tap, i, masks, score, fill, batch_size, progress)
        w = scores[1:] - scores[0]
        if weights == "softmax":
            # Constant channels show the empty mask's image: they have its score, and a share in the softmax.
            logits = scores[0].expand(len(A)).index_put((live,), scores[1:])
            out.append(torch.einsum("k,khw->hw", logits.softmax(dim=0).to(A), A))
        else:
            out.append(torch.einsum("k,khw->hw", w.to(A), A[live]))
    return torch.stack(out)


def score_cam_grouped(
    tap: Tap,
    targets: Targets,
    *,
    layer: str | None = None,
    groups: int | None = None,
    unit: Unit = "probability",
    fill: str | Tensor = "black",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Score-CAM with one pass for a group of channels that are active in the same places; approximate.

    The channels' maps, each stretched to [0, 1], are clustered by seeded k-means into `groups` (a tenth of the live
    channels, at least 8); every channel of a group gets the weight
    w_g = f(x * U(mean of the group's stretched maps)) - f(x * 0).

    Source: after Wang et al. 2020; grouping is this package's own.
    """
    if groups is not None and groups < 1:
        raise UsageError(f"score-cam-grouped needs at least one group; groups={groups}")
    maps = tap.maps(layer)
    out = []
    for i, A in enumerate(maps):
        A = A[_live(A)]
        group = group_channels(A, groups or max(8, len(A) // 10), seed).to(A.device)
        count = int(group.max()) + 1 if len(A) else 0
        mean = A.new_zeros(count, *A.shape[1:]).index_add_(0, group, _stretched(A))
        sums = torch.zeros_like(mean).index_add_(0, group, A)
        masks = _Masks(mean, tap.image_size, False, "pixels")
        scores = _masked(tap, i, masks, asked_score(tap.clf, targets, i, unit), fill, batch_size, progress)
        out.append(torch.einsum("k,khw->hw", (scores[1:] - scores[0]).to(A), sums))
    return torch.stack(out)


def group_channels(A: Tensor, groups: int, seed: int = 0) -> Tensor:
    """The group (K,) of each channel of A (K, h, w): k-means on stretched maps, groups numbered without gaps."""
    X = _stretched(A).flatten(1).cpu()
    if len(X) <= groups:
        return torch.arange(len(X))
    X = X / X.norm(dim=1, keepdim=True).clamp_min(1e-12)
    alike: Tensor = torch.unique(X.round(decimals=5), dim=0, return_inverse=True)[1]
    if int(alike.max()) < groups:  # channels that are alike share a group without any search
        return alike
    found = KMeans(groups, n_init=1, max_iter=ROUNDS, random_state=seed).fit(X.numpy())
    numbers: Tensor = torch.unique(torch.from_numpy(found.labels_).long(), return_inverse=True)[1]
    return numbers


class _Masks:
    """Masks (m, H, W) of channels start to stop, made when asked; number 0 is the empty mask."""

    def __init__(self, A: Tensor, size: tuple[int, int], align_corners: bool, normalise: str) -> None:
        self.A = _stretched(A) if normalise == "grid" else A
        self.size, self.align_corners, self.pixels = size, align_corners, normalise == "pixels"

    def __len__(self) -> int:
        return len(self.A) + 1

    def __call__(self, start: int, stop: int) -> Tensor:
        part = self.A[max(start - 1, 0) : stop - 1]
        masks = F.interpolate(part[:, None], self.size, mode="bilinear", align_corners=self.align_corners)[:, 0]
        masks = _stretched(masks) if self.pixels else masks
        return torch.cat([masks.new_zeros(1, *self.size), masks]) if start == 0 else masks


def _stretched(A: Tensor) -> Tensor:
    """Each map (K, h, w) with its lowest value at 0 and its highest at 1."""
    low, high = A.amin(dim=(1, 2), keepdim=True), A.amax(dim=(1, 2), keepdim=True)
    return (A - low) / (high - low).clamp_min(torch.finfo(A.dtype).tiny)


def _live(A: Tensor) -> Tensor:
    """Indices of the channels of A (K, h, w) that are not constant."""
    return (A.amax(dim=(1, 2)) > A.amin(dim=(1, 2))).nonzero()[:, 0]


def _masked(
    tap: Tap,
    image: int,
    masks: _Masks,
    score: Score,
    fill: str | Tensor,
    batch_size: int | None,
    progress: Progress | None,
) -> Tensor:
    return masked_scores(
        tap.clf,
        tap.images[image],
        len(masks),
        masks,
        score,
        fill=fill,
        batch_size=batch_size,
        progress=progress,
    )


# --------------------------------------------------------------------------------------------------
# RISE and occlusion: no layer needed.


def rise(
    tap: Tap,
    targets: Targets,
    *,
    masks: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    grid: tuple[int, int] | None = None,
    unit: Unit = "probability",
    fill: str | Tensor = "black",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """RISE: L = sum_m f(x * M_m) M_m / (masks * keep), over random masks M_m.

    A mask is a grid of cells x cells coin flips with P(1) = keep, scaled up bilinearly and shifted at random by up to
    one cell. The map is averaged over a grid of its own: (4 cells, 4 cells) unless `grid` says otherwise; (H, W) is
    the paper's. Coins and shifts come from the seed and the photo's own pixels.

    Source: Petsiuk et al. 2018, equation 6 and section 3.2.
    """
    H, W = tap.image_size
    if masks < 1 or cells < 1 or not 0 < keep < 1 or cells > min(H, W):
        raise UsageError(f"rise needs masks >= 1, cells >= 1, 0 < keep < 1; got {masks}, {cells}, {keep}")
    h, w = grid or (min(4 * cells, H), min(4 * cells, W))
    home = tap.images.device
    rows, columns = (_shifted(cells, side).to(home) for side in (H, W))  # (shifts, H, cells), (shifts, W, cells)
    pooled_rows, pooled_columns = _pooled(rows, h), _pooled(columns, w)
    out = []
    for i, image in enumerate(tap.images):
        g = torch.Generator().manual_seed(content_seed(image, seed))
        coins = (torch.rand(masks, cells, cells, generator=g) < keep).float().to(home)
        down, right = (torch.randint(len(s), (masks,), generator=g).to(home) for s in (rows, columns))
        total = torch.zeros(h, w, device=home)

        def make(start: int, stop: int, c: Tensor = coins, d: Tensor = down, r: Tensor = right) -> Tensor:
            part = slice(start, stop)
            return rows[d[part]] @ c[part] @ columns[r[part]].transpose(1, 2)

        score = asked_score(tap.clf, targets, i, unit)
        options = {"fill": fill, "seed": seed, "batch_size": batch_size, "progress": progress}
        scores = masked_scores(tap.clf, image, masks, make, score, **options)  # type: ignore[arg-type]
        for part in torch.split(torch.arange(masks), 256):
            small = pooled_rows[down[part]] @ coins[part] @ pooled_columns[right[part]].transpose(1, 2)
            total += torch.einsum("m,mhw->hw", scores[part], small)
        out.append(total / (masks * keep))
    return torch.stack(out)


def _shifted(cells: int, size: int) -> Tensor:
    """For each shift of up to one cell, the matrix (size, cells) that scales a row of cells up to `size` pixels."""
    step = math.ceil(size / cells)
    eye = torch.eye(cells)[None]
    long = F.interpolate(eye, (cells + 1) * step, mode="linear", align_corners=False)[0].T
    return torch.stack([long[s : s + size] for s in range(step)])


def _pooled(matrices: Tensor, cells: int) -> Tensor:
    """Matrices (S, size, c) averaged over their rows to (S, cells, c)."""
    return F.adaptive_avg_pool1d(matrices.transpose(1, 2), cells).transpose(1, 2)


def occlusion(
    tap: Tap,
    targets: Targets,
    *,
    window: int | None = None,
    stride: int | None = None,
    unit: Unit = "probability",
    fill: str | Tensor = "mean",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Occlusion: f(x) - f(x with a square hidden), for squares that slide over the image.

    `window` and `stride` are in pixels: a seventh of the short side and half the window unless given. A cell of the
    map (h = ceil(H / stride), likewise w) is the mean of the squares over it, by how much of it each covers.

    Source: Zeiler and Fergus 2014, section 4.2.
    """
    H, W = tap.image_size
    window = window or max(2, min(H, W) // 7)
    stride = stride or max(1, window // 2)
    if not (1 <= window <= min(H, W) and 1 <= stride <= window):
        raise UsageError(
            f"occlusion needs 1 <= stride <= window <= {min(H, W)} pixels; got stride {stride}, window {window}"
        )
    tops, lefts = _starts(H, window, stride), _starts(W, window, stride)
    over_rows, over_columns = _coverage(H, tops, window, stride), _coverage(W, lefts, window, stride)
    corners = torch.cartesian_prod(tops, lefts).to(tap.images.device)

    def make(start: int, stop: int) -> Tensor:
        if start == 0:
            return torch.cat([torch.ones(1, H, W, device=corners.device), _holes(corners[: stop - 1], window, H, W)])
        return _holes(corners[start - 1 : stop - 1], window, H, W)

    out = []
    for i, image in enumerate(tap.images):
        score = asked_score(tap.clf, targets, i, unit)
        options = {"fill": fill, "seed": seed, "batch_size": batch_size, "progress": progress}
        scores = masked_scores(tap.clf, image, len(corners) + 1, make, score, **options)  # type: ignore[arg-type]
        drops = (scores[0] - scores[1:]).cpu().reshape(len(tops), len(lefts))
        area = over_rows.sum(dim=1)[:, None] * over_columns.sum(dim=1)
        out.append(over_rows @ drops @ over_columns.T / area)
    return torch.stack(out)


def _starts(size: int, window: int, stride: int) -> Tensor:
    """Where the squares start: evenly from one border to the other, at most `stride` apart."""
    count = math.ceil((size - window) / stride) + 1
    if count == 1:
        return torch.tensor([0])
    # Mirrored from the middle, so that the squares of a flipped photo are the flipped squares; a middle square that
    # cannot stand in the middle is made two.
    count += (size - window) % 2 * (count % 2)
    half = (torch.arange((count + 1) // 2) * (size - window) / (count - 1)).floor().long()
    return torch.cat([half, (size - window - half).flip(0)[count % 2 :]])


def _coverage(size: int, starts: Tensor, window: int, stride: int) -> Tensor:
    """Pixels (cells, squares) of each cell that each square covers, along one side."""
    cells = math.ceil(size / stride)
    edges = torch.arange(cells + 1) * size / cells
    high = torch.minimum(edges[1:, None], (starts + window)[None].float())
    return (high - torch.maximum(edges[:-1, None], starts[None].float())).clamp_min(0)


def _holes(corners: Tensor, window: int, H: int, W: int) -> Tensor:
    """Masks (m, H, W) that are 0 on the square at each corner."""
    y, x = (torch.arange(side, device=corners.device) for side in (H, W))
    inside_y = (y >= corners[:, :1]) & (y < corners[:, :1] + window)
    inside_x = (x >= corners[:, 1:]) & (x < corners[:, 1:] + window)
    return 1 - (inside_y[:, :, None] & inside_x[:, None]).float()
