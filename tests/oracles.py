"""Saliency methods and fills again, slow and plain, as in the papers.

One image x (1, 3, H, W) already normalised.

The two halves of a tiny network, before and after the layer that is tapped, are cut by hand, so nothing here uses the
code under test. `@oracle(name)` says which row of METHODS a function is the oracle of; test_oracles compares them all,
and a row without one fails there.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Half = Callable[[Tensor], Tensor]
MEAN, STD = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.25, 0.3, 0.2])[:, None, None]


@dataclass(frozen=True, eq=False)
class Photo:
    """What an oracle is asked: one image (1, 3, H, W) in [0, 1], a network, its halves, and the class c.

    `A` and `G` (K, h, w) are the layer's activations and the class's gradients there; `given` what a method was given
    beside (the head of l-cam, the coins of rise).
    """

    net: nn.Module
    image: Tensor
    c: int
    head: Half
    tail: Half
    A: Tensor
    G: Tensor
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> Tensor:
        """The image as the network takes it."""
        return normal(self.image)

    def ask(self, image: Tensor) -> Tensor:
        """Probabilities (1, C) of an image in [0, 1]."""
        return self.net(normal(image)).softmax(1).detach()


@dataclass(frozen=True)
class Oracle:
    """The map (h, w) of a photo by the paper, what to ask of the row with it, and how near the row has to come.

    `model` names one of the networks that test_oracles cuts; `correlation` is a bound for approximate methods.
    """

    function: Callable[[Photo], Tensor]
    model: str = "cnn"
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-4
    correlation: float | None = None


ORACLES: dict[str, Oracle] = {}


def oracle(name: str, **how: Any) -> Callable[[Callable[[Photo], Tensor]], Callable[[Photo], Tensor]]:
    """Registers the oracle of a row of METHODS."""

    def register(function: Callable[[Photo], Tensor]) -> Callable[[Photo], Tensor]:
        assert name not in ORACLES, f"{name} has an oracle"
        ORACLES[name] = Oracle(function, **how)
        return function

    return register


def normal(x: Tensor) -> Tensor:
    return (x - MEAN) / STD


# --------------------------------------------------------------------------------------------------
# Class activation maps.


def maps_and_gradients(head: Half, tail: Half, x: Tensor, c: int) -> tuple[Tensor, Tensor]:
    """Activations and gradients (K, h, w) of class c's score."""
    A = head(x).detach().clone().requires_grad_()
    tail(A.clone())[0, c].backward()
    return A.detach()[0], A.grad[0]


def cam(weight: Tensor, A: Tensor, c: int) -> Tensor:
    L = torch.zeros_like(A[0])
    for k in range(len(A)):
        L += weight[c, k] * A[k]
    return L


def grad_cam(A: Tensor, G: Tensor) -> Tensor:
    L = torch.zeros_like(A[0])
    Z = A[0].numel()
    for k in range(len(A)):
        L += G[k].sum() / Z * A[k]
    return L


def grad_cam_pp(A: Tensor, G: Tensor) -> Tensor:
    L = torch.zeros_like(A[0])
    for k in range(len(A)):
        w = 0.0
        for i in range(A.shape[1]):
            for j in range(A.shape[2]):
                g = float(G[k, i, j])
                if g > 0:
                    w += g**2 / (2 * g**2 + float(A[k].sum()) * g**3) * g
        L += w * A[k]
    return L


def hires_cam(A: Tensor, G: Tensor) -> Tensor:
    return sum(G[k] * A[k] for k in range(len(A)))


def layer_cam(A: Tensor, G: Tensor) -> Tensor:
    return sum(G[k].clamp_min(0) * A[k] for k in range(len(A)))


def eigen_cam(A: Tensor) -> Tensor:
    X = A.reshape(len(A), -1).T.numpy()
    L = X @ np.linalg.svd(X, full_matrices=False)[2][0]
    L = L if (L * (X**2).sum(axis=1)).sum() >= 0 else -L
    return torch.from_numpy(L).reshape(A.shape[1:])


@torch.no_grad()
def ablation_cam(A: Tensor, tail: Half, c: int) -> Tensor:
    y = float(tail(A[None].clone())[0, c])
    L = torch.zeros_like(A[0])
    for k in range(len(A)):
        B = A.clone()
        B[k] = 0
        L += (y - float(tail(B[None])[0, c])) / abs(y) * A[k]
    return L


def score_cam(A: Tensor, net: Half, image: Tensor, c: int) -> Tensor:
    """`image` (1, 3, H, W) in [0, 1]; `net` normalises for itself and gives probabilities."""
    base = float(net(torch.zeros_like(image))[0, c])
    L = torch.zeros_like(A[0])
    for k in range(len(A)):
        if A[k].max() == A[k].min():
            continue
        U = F.interpolate(A[None, k : k + 1], image.shape[2:], mode="bilinear", align_corners=False)
        U = (U - U.min()) / (U.max() - U.min())
        L += (float(net(image * U)[0, c]) - base) * A[k]
    return L


def finer_cam(head: Half, tail: Half, x: Tensor, c: int, others: list[int], strength: float = 1.0) -> Tensor:
    """The mean of Grad-CAMs of each difference of two scores."""
    total = 0
    for d in others:
        A, G = maps_and_gradients(head, tail, x, c)
        _, D = maps_and_gradients(head, tail, x, d)
        total = total + grad_cam(A, G - strength * D)
    return total / len(others)


def rise(net: Half, image: Tensor, c: int, masks: Tensor, keep: float) -> Tensor:
    total = torch.zeros_like(masks[0])
    for M in masks:
        total += float(net(image * M)[0, c]) * M
    return total / (len(masks) * keep)


def occlusion(net: Half, image: Tensor, c: int, window: int, stride: int, colour: float) -> Tensor:
    """Per pixel: the mean drop of all squares over it, for strides that fit."""
    H, W = image.shape[2:]
    drops, counts = torch.zeros(H, W, dtype=image.dtype), torch.zeros(H, W, dtype=image.dtype)
    base = float(net(image)[0, c])
    for y in range(0, H - window + 1, stride):
        for x in range(0, W - window + 1, stride):
            hidden = image.clone()
            hidden[:, :, y : y + window, x : x + window] = colour
            drops[y : y + window, x : x + window] += base - float(net(hidden)[0, c])
            counts[y : y + window, x : x + window] += 1
    return drops / counts


def attention_weights(vit: torch.nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores and the attention (1, heads, T, T) of every block of a tiny Vit, with gradients."""
    x = (vit.patch(x) + vit.place).flatten(2).transpose(1, 2)
    x = torch.cat([vit.first.expand(len(x), -1, -1), x], dim=1)
    found = []
    for block in vit.blocks:
        a, y = block.attn, block.norm1(x)
        N, T, E = y.shape
        d = E // a.heads
        q, k, v = (t.reshape(N, T, a.heads, d).transpose(1, 2) for t in a.qkv(y).split(E, dim=2))
        W = torch.softmax(q @ k.transpose(2, 3) / d**0.5, dim=3)
        found.append(W)
        x = x + a.proj((W @ v).transpose(1, 2).reshape(N, T, E))
        x = x + block.mlp(block.norm2(x))
    x = vit.norm(x)
    return vit.head(x[:, 0] if vit.pool == "token" else x[:, vit.first.shape[1] :].mean(dim=1)), found


def attention_rollout(weights: list[Tensor], prefix: int) -> Tensor:
    """The class token's row, (1, h w)."""
    R = torch.eye(weights[0].shape[-1], dtype=weights[0].dtype)
    for W in weights:
        A = 0.5 * W[0].mean(dim=0) + 0.5 * torch.eye(W.shape[-1], dtype=W.dtype)
        R = (A / A.sum(dim=1, keepdim=True)) @ R
    return R[:1, prefix:]


def legrad(score: Tensor, weights: list[Tensor], prefix: int) -> Tensor:
    total = 0
    for W in weights:
        G = torch.autograd.grad(score, W, retain_graph=True)[0][0]
        total = total + G.clamp_min(0).mean(dim=(0, 1))
    return total[None, prefix:] / len(weights)


# --------------------------------------------------------------------------------------------------
# Fills, by name: image (3, H, W) and keep (H, W) in float64, what shows where nothing is kept (3, H, W).


def black_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    return np.zeros_like(image)


def image_mean_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    return np.stack([np.full(image.shape[1:], channel.sum() / channel.size) for channel in image])


def mean_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    if keep.sum() == 0:
        return image_mean_fill(image, keep, seed)
    return np.stack([np.full(image.shape[1:], (channel * keep).sum() / keep.sum()) for channel in image])


def noise_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    g, (_, H, W) = torch.Generator().manual_seed(seed), image.shape
    coarse = torch.randn(1, 3, max(2, H // 16), max(2, W // 16), generator=g)[0].double().numpy()
    fine = torch.randn(1, 3, H, W, generator=g)[0].double().numpy()
    noise = enlarged(coarse, H, W) + 0.3 * fine
    spread = np.array([channel.std(ddof=1) / 2 for channel in image])[:, None, None]
    return np.clip(mean_fill(image, keep, seed) + spread * noise, 0, 1)


def blur_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    _, H, W = image.shape
    sigma = min(H, W) / 12
    r = int(np.ceil(3 * sigma))
    around = np.pad(image, ((0, 0), (r, r), (r, r)), mode="reflect")
    total, weights = np.zeros_like(image), 0.0
    for dy in range(-r, r + 1):
        for dx in range(-r, r + 1):
            weight = np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
            total += weight * around[:, r + dy : r + dy + H, r + dx : r + dx + W]
            weights += weight
    return total / weights


def inpaint_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    """Pull: the mean of every four cells, until one side is one cell. Push: the hole is what is below it, enlarged."""

    def filled(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
        h, w = weight.shape
        if min(h, w) == 1:
            return colour / np.maximum(weight, 1e-6)
        below = filled(quartered(colour), quartered(weight[None])[0])
        return colour + (1 - weight) * enlarged(below, h, w)

    return np.clip(filled(image * keep, keep), 0, 1)


def quartered(maps: np.ndarray) -> np.ndarray:
    _, H, W = maps.shape
    out = np.zeros((len(maps), -(-H // 2), -(-W // 2)))
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            out[:, y, x] = maps[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(1, 2))
    return out


def enlarged(maps: np.ndarray, H: int, W: int) -> np.ndarray:
    """Bilinear, cells seen as squares."""
    _, h, w = maps.shape
    out = np.zeros((len(maps), H, W))
    for y in range(H):
        for x in range(W):
            v, u = max((y + 0.5) * h / H - 0.5, 0), max((x + 0.5) * w / W - 0.5, 0)
            i, j = int(v), int(u)
            k, m = min(i + 1, h - 1), min(j + 1, w - 1)
            upper = maps[:, i, j] * (1 - u + j) + maps[:, i, m] * (u - j)
            lower = maps[:, k, j] * (1 - u + j) + maps[:, k, m] * (u - j)
            out[:, y, x] = upper * (1 - v + i) + lower * (v - i)
    return out


def kept_blur_fill(image: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    """A blur of what is kept alone; where under a fiftieth of it reaches, in-painting takes over in proportion."""
    weight = blur_fill(keep[None], keep, seed)
    own = blur_fill(image * keep, keep, seed) / np.maximum(weight, 1e-6)
    share = np.clip(weight / 0.02, 0, 1)
    return np.clip((1 - share) * inpaint_fill(image, keep, seed) + share * own, 0, 1)


def averaged(maps: np.ndarray, h: int, w: int) -> np.ndarray:
    """The mean over each cell of a grid, every pixel that it touches with the same weight."""
    _, H, W = maps.shape
    out = np.zeros((len(maps), h, w))
    for y in range(h):
        for x in range(w):
            rows, columns = slice(y * H // h, -(-(y + 1) * H // h)), slice(x * W // w, -(-(x + 1) * W // w))
            out[:, y, x] = maps[:, rows, columns].mean((1, 2))
    return out


def donor_fill(image: np.ndarray, keep: np.ndarray, seed: int, rank: int = 0) -> np.ndarray:
    """Every second offset of a grid of 32 rows is tried: how unlike is the ring of two cells around the hole there?"""
    _, H, W = image.shape
    h, w = 32, max(8, round(32 * W / H))
    small, seen = averaged(image, h, w), averaged(keep[None], h, w)[0] > 0.5
    hole = [(y, x) for y in range(h) for x in range(w) if not seen[y, x]]
    ring = {
        (y, x)
        for a, b in hole
        for y in range(max(0, a - 2), min(h, a + 3))
        for x in range(max(0, b - 2), min(w, b + 3))
        if seen[y, x]
    }

    def there(y: int, x: int) -> bool:
        return 0 <= y < h and 0 <= x < w and bool(seen[y, x])

    costs = []
    for dy in range(-h // 2, h - h // 2 + 1, 2):
        for dx in range(-w // 2, w - w // 2 + 1, 2):
            if not (dy or dx):
                continue
            both = [(y, x) for y, x in ring if there(y + dy, x + dx)]
            unlike = sum(((small[:, y + dy, x + dx] - small[:, y, x]) ** 2).sum() for y, x in both)
            lost = sum(not there(y + dy, x + dx) for y, x in hole) / max(1, len(hole))
            cost = unlike / max(len(both), 1e-6) + 10 * (len(both) < 0.5 * max(1, len(ring)))
            costs.append((cost + 10 * lost * (lost > 0.02), dy, dx))
    picks: list[tuple[int, int]] = []
    for _, dy, dx in sorted(costs, key=lambda row: row[0]):
        if all(abs(dy - a) + abs(dx - b) > 4 for a, b in picks):
            picks.append((dy, dx))
    dy, dx = picks[min(rank, len(picks) - 1)]
    dy, dx = round(dy * H / 32), round(dx * H / 32)
    out = inpaint_fill(image, keep, seed)
    for y in range(H):
        for x in range(W):
            if 0 <= y + dy < H and 0 <= x + dx < W and keep[y + dy, x + dx] > 0.5:
                out[:, y, x] = image[:, y + dy, x + dx]
    return out


FILLS = {
    "black": black_fill,
    "mean": mean_fill,
    "image-mean": image_mean_fill,
    "noise": noise_fill,
    "image-blur": blur_fill,
    "blur": kept_blur_fill,
    "inpaint": inpaint_fill,
    "donor": donor_fill,
    "donor2": lambda image, keep, seed: donor_fill(image, keep, seed, rank=1),
}


# --------------------------------------------------------------------------------------------------
# Shares.


def paired_interval(first: list[bool], second: list[bool]) -> tuple[float, float]:
    """Newcombe 1998 (paired), method 10, in the letters of the paper: of the share of first minus that of second."""
    n = len(first)
    e = sum(x and y for x, y in zip(first, second, strict=True))
    f = sum(x and not y for x, y in zip(first, second, strict=True))
    g = sum(y and not x for x, y in zip(first, second, strict=True))
    h = n - e - f - g
    z = 1.959963984540054

    def score(r: int) -> tuple[float, float]:
        middle, reach = 2 * r + z * z, z * (z * z + 4 * r * (1 - r / n)) ** 0.5
        return (middle - reach) / (2 * (n + z * z)), (middle + reach) / (2 * (n + z * z))

    (l2, u2), (l3, u3) = score(e + f), score(e + g)
    p2, p3 = (e + f) / n, (e + g) / n
    bottom = (e + f) * (g + h) * (e + g) * (f + h)
    top = e * h - f * g
    top = top - n / 2 if top > n / 2 else 0 if top >= 0 else top
    phi = top / bottom**0.5 if bottom else 0
    below = ((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u3 - p3) + (u3 - p3) ** 2) ** 0.5
    above = ((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p3 - l3) + (p3 - l3) ** 2) ** 0.5
    return (f - g) / n - below, (f - g) / n + above


# --------------------------------------------------------------------------------------------------
# Regions: players, the null, the interval, the verdict.


def ward(
    means: np.ndarray, sizes: np.ndarray, labels: np.ndarray, until: int, most: float
) -> tuple[set[frozenset[int]], list[tuple[int, ...]]]:
    """Of all pairs of groups that touch, the one whose union adds least variance is joined, again and again.

    The groups that are left, and which nodes each step joined (nodes are numbered as they come).
    """
    near = {
        (int(labels[y, x]), int(labels[v, u]))
        for y in range(labels.shape[0])
        for x in range(labels.shape[1])
        for v, u in ((y + 1, x), (y, x + 1))
        if v < labels.shape[0] and u < labels.shape[1]
    }
    groups = {i: frozenset([i]) for i in range(len(means))}
    steps: list[tuple[int, ...]] = []

    def added(a: frozenset[int], b: frozenset[int]) -> float:
        n, m = sum(sizes[i] for i in a), sum(sizes[i] for i in b)
        one, other = (sum(sizes[i] * means[i] for i in g) / sum(sizes[i] for i in g) for g in (a, b))
        return float(n * m / (n + m) * ((one - other) ** 2).sum())

    while len(groups) > until:
        pairs = [
            (added(a, b), i, j)
            for i, a in groups.items()
            for j, b in groups.items()
            if i < j
            and any((p in a and q in b) or (p in b and q in a) for p, q in near)
            and sum(sizes[n] for n in a | b) <= most
        ]
        if not pairs:
            break
        _, i, j = min(pairs)
        groups[len(means) + len(steps)] = groups.pop(i) | groups.pop(j)
        steps.append((i, j))
    return set(groups.values()), steps


def null(lost: np.ndarray, areas: np.ndarray, few: bool) -> float:
    """The middle one of what the leaves cost for each share of the picture, at least a tenth; of few leaves the root
    of that times 3.5."""
    rows = sorted(abs(v) / a for v, a in zip(lost, areas, strict=True))
    n = len(rows)
    middle = max(0.1, rows[n // 2] if n % 2 else (rows[n // 2 - 1] + rows[n // 2]) / 2)
    return math.sqrt(middle * 3.5) if few else middle


def interval(values: list[float], least: float) -> tuple[float, float]:
    """Five values: mean and standard deviation by hand, Student's t of four degrees at 95 % from a table."""
    assert len(values) == 5
    mean = sum(values) / 5
    spread = max(least, math.sqrt(sum((v - mean) ** 2 for v in values) / 4))
    return mean - 2.132 * spread * math.sqrt(1.2), mean + 2.132 * spread * math.sqrt(1.2)


def holds(values: list[float], beyond: list[float], sign: int, means: bool) -> bool:
    """In words: a loss in every fill; all but one twice the null and the interval above 0, or three times beyond it.

    By means: five points and twice the null on average, a point in all fills but one.
    """
    most_lose, most_exceed = sum(v >= 0.02 for v in values) >= 4, sum(b >= 2 for b in beyond) >= 4
    thrice = sum(b >= 3 for b in beyond) >= 4
    every = all(v >= 0.03 for v in values) and sum(b >= 4 for b in beyond) >= 4
    said = (interval(values, 0.03)[0] > 0 and most_exceed) or (thrice and most_lose)
    if means:
        said = sum(values) >= 5 * 0.05 and sum(v >= 0.01 for v in values) >= 4 and sum(beyond) >= 5 * 2
    return said and all(v > 0 for v in values) and (sign == 1 or every)


# --------------------------------------------------------------------------------------------------
# The rows.


oracle("cam")(lambda p: cam(p.net.head.weight.detach(), p.A, p.c))
oracle("grad-cam")(lambda p: grad_cam(p.A, p.G))
oracle("grad-cam++")(lambda p: grad_cam_pp(p.A, p.G))
oracle("hires-cam")(lambda p: hires_cam(p.A, p.G))
oracle("layer-cam")(lambda p: layer_cam(p.A, p.G))
oracle("eigen-cam")(lambda p: eigen_cam(p.A.double()))
oracle("ablation-cam")(lambda p: ablation_cam(p.A, p.tail, p.c))
oracle("score-cam")(lambda p: score_cam(p.A, p.ask, p.image, p.c))
oracle("score-cam-grouped", model="wide", correlation=0.9)(lambda p: score_cam(p.A, p.ask, p.image, p.c))


@oracle("finer-cam")
def _finer_cam(p: Photo) -> Tensor:
    logits = p.net(p.x)[0].detach()
    near = sorted((c for c in range(len(logits)) if c != p.c), key=lambda c: abs(float(logits[c] - logits[p.c])))
    return finer_cam(p.head, p.tail, p.x, p.c, near[:3])


@oracle("rise", options={"masks": 20, "cells": 4, "keep": 0.4, "grid": (32, 32), "seed": 7})
def _rise(p: Photo) -> Tensor:
    """The coins and shifts come in the order in which the paper's code draws them, from the photo's own seed."""
    g = torch.Generator().manual_seed(p.given["seed"])
    coins = (torch.rand(20, 4, 4, generator=g) < 0.4).float()
    down, right = torch.randint(8, (20,), generator=g), torch.randint(8, (20,), generator=g)
    large = F.interpolate(coins[:, None], (40, 40), mode="bilinear", align_corners=False)[:, 0]
    masks = torch.stack([m[d : d + 32, r : r + 32] for m, d, r in zip(large, down, right, strict=True)])
    return rise(p.ask, p.image, p.c, masks, 0.4)


@oracle("occlusion", options={"window": 8, "stride": 4, "fill": torch.tensor([0.3, 0.3, 0.3])})
def _occlusion(p: Photo) -> Tensor:
    return F.avg_pool2d(occlusion(p.ask, p.image, p.c, 8, 4, 0.3)[None], 4)[0]


@oracle("attention-rollout", model="vit")
def _attention_rollout(p: Photo) -> Tensor:
    return grid(attention_rollout(attention_weights(p.net, p.x)[1], p.net.first.shape[1]))


@oracle("legrad", model="vit", tolerance=1e-3)
def _legrad(p: Photo) -> Tensor:
    scores, weights = attention_weights(p.net, p.x)
    return grid(legrad(scores[0, p.c], weights, p.net.first.shape[1]))


def grid(row: Tensor) -> Tensor:
    """A row of tokens (1, h h) as the map (h, h)."""
    side = math.isqrt(row.numel())
    return row.detach().reshape(side, side)


@oracle("l-cam")
def l_cam(p: Photo) -> Tensor:
    """Equations 2, 3 and 9: the class's trained row and bias, between 0 and 1."""
    L = torch.zeros_like(p.A[0])
    for k in range(len(p.A)):
        L += p.given["weight"][p.c, k] * p.A[k]
    L += p.given["bias"][p.c]
    return (L - L.min()) / (L.max() - L.min())


# --------------------------------------------------------------------------------------------------
# captum's methods, asked of captum itself with the normalised image; its baseline of zeros is the mean colour.


def captum(name: str, **options: Any) -> Callable[[Photo], Tensor]:
    def function(p: Photo) -> Tensor:
        import captum.attr

        method = getattr(captum.attr, name)(copy.deepcopy(p.net))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum announces its hooks
            found = method.attribute(p.x.clone().requires_grad_(), target=p.c, **options)
        return found.detach()[0].sum(dim=0)

    return function


oracle("integrated-gradients", model="plain", options={"steps": 30})(captum("IntegratedGradients", n_steps=30))
oracle("input-x-gradient", model="plain")(captum("InputXGradient"))
oracle("guided-backprop", model="plain")(captum("GuidedBackprop"))
oracle("deconvolution", model="plain")(captum("Deconvolution"))
oracle("deep-lift", model="plain")(captum("DeepLift"))
oracle("lrp", model="plain")(captum("LRP"))


# --------------------------------------------------------------------------------------------------
# Sentences about birds, judged one scene at a time.


def _seen(clf: Any, pixels: Any) -> Any:
    from saywhy.image import read

    return clf.probabilities(clf.prepare([read(pixels)])[0])[0].double().numpy()


def _names(case: Any) -> list[str]:
    return [p.name for p in case.rendered.scene.birds[0].parts if p.name != "body"]


def _held(case: Any, which: Any, least: float) -> list[str]:
    """The parts of whose visible pixels the regions hold more than none and at least that share."""
    out = []
    for name in _names(case):
        pixels = [tuple(q) for q in np.argwhere(case.rendered.visible(name))]
        inside = [q for q in pixels if any(case.regions[i][q] for i in which)]
        if pixels and inside and len(inside) / len(pixels) >= least:
            out.append(name)
    return out


def _without(clf: Any, case: Any, parts: Any) -> Any:
    from saywhy.aviary import remove, render

    return _seen(clf, render(remove(case.rendered.scene, *parts)).pixels)


def _ideal(clf: Any, case: Any, which: Any) -> Any:
    from saywhy.aviary import remove, render

    behind = render(remove(case.rendered.scene, *_held(case, which, 0))).pixels
    pixels = case.rendered.pixels.copy()
    for i in which:
        pixels[case.regions[i]] = behind[case.regions[i]]
    return _seen(clf, pixels)


def sentence_effect(clf: Any, case: Any, which: Any, unit: str) -> float:
    """What the target loses by ideal hiding."""
    before, after = (p[case.target] for p in (_seen(clf, case.rendered.pixels), _ideal(clf, case, which)))
    return float(before - after if unit == "probability" else math.log(before / (1 - before) / (after / (1 - after))))


def sentence_effects(clf: Any, case: Any) -> dict[str, float]:
    """What the target loses without each shown part."""
    full = _seen(clf, case.rendered.pixels)[case.target]
    shown = [n for n in case.rendered.shown() if n != "body"]
    return {n: float(full - _without(clf, case, [n])[case.target]) for n in shown}


def sentence_causes(clf: Any, case: Any, said: Any) -> dict[str, tuple[float, float]]:
    """The parts that cost more than ten points: the share of each in the said regions, and the best IoU."""
    out = {}
    for name, effect in sentence_effects(clf, case).items():
        if effect > 0.1:
            part = case.rendered.visible(name)
            inside = sum(any(case.regions[i][tuple(q)] for i in said) for q in np.argwhere(part))
            ious = [(part & case.regions[i]).sum() / (part | case.regions[i]).sum() for i in said]
            out[name] = (inside / part.sum(), max(ious, default=0.0))
    return out


def sentence_strict(clf: Any, case: Any, told: Any) -> dict[str, bool]:
    """Whether a claim is false by each truth that its kind has."""
    from saywhy.aviary import BACKGROUNDS, keep_only, render, swap_background

    full, t, v = _seen(clf, case.rendered.pixels), case.target, case.versus
    if told.kind == "relation":
        return _relation_strict(clf, case, told, full[t])
    two = {"ideal": _ideal(clf, case, told.regions), "joint": _without(clf, case, _held(case, told.regions, 0.25))}
    if told.kind == "counts":
        singles = [full[t] - _without(clf, case, [n])[t] for n in _held(case, told.regions, 0.25)]
        out = {k: full[t] - p[t] <= 0.02 for k, p in two.items()}
        return out | {"single": max(singles, default=0) <= 0.02}
    if told.kind == "against":
        return {k: full[t] - p[t] >= -0.02 for k, p in two.items()}
    if told.kind in ("rather", "rather-other"):
        sign = 1 if told.kind == "rather" else -1
        return {k: sign * ((full[t] - full[v]) - (p[t] - p[v])) <= 0.02 for k, p in two.items()}
    if told.kind == "flip":
        return {k: p.argmax() != told.winner for k, p in two.items()}
    if told.kind == "no-longer":
        return {k: p.argmax() == t for k, p in two.items()}
    if told.kind in ("needs", "stands-in"):
        a, b = (sentence_effect(clf, case, [i], "probability") for i in told.regions)
        more = a + b - (full[t] - two["ideal"][t])
        return {"ideal": (more if told.kind == "needs" else -more) <= 0.02}
    if told.kind == "alone":
        kept = render(keep_only(case.rendered.scene, _held(case, told.regions, 0.5))).pixels
        return {"only": _seen(clf, kept)[t] < 0.5 * full[t]}
    if told.kind in ("decides", "does-not-decide"):
        others = [k for k in BACKGROUNDS if k != case.rendered.scene.background.kind]
        left = [_seen(clf, render(swap_background(case.rendered.scene, k)).pixels)[t] / full[t] for k in others]
        return {"swap": (np.median(left) >= 0.5) == (told.kind == "decides")}
    every = range(len(case.regions))
    both = {"ideal": _ideal(clf, case, every), "joint": _without(clf, case, _held(case, every, 0.5))}
    low, high = {"suffices": (0.5, math.inf), "part": (0.2, 0.5), "little": (-math.inf, 0.2)}[told.kind]
    return {k: not low <= p[t] / full[t] < high for k, p in both.items()}


def _relation_strict(clf: Any, case: Any, told: Any, full: float) -> dict[str, bool]:
    """One piece moved costs 2 points or less, or no more than 2 points beyond both: by pixels, or by rendered parts."""
    by_pieces = copy.copy(case)
    object.__setattr__(by_pieces, "regions", case.pieces)
    moved, kept = told.pieces
    out = {}
    for name, way in (("ideal", _pasted_over), ("joint", _shifted_parts)):
        one, both = (full - _seen(clf, way(by_pieces, w, told.by))[case.target] for w in ([moved], [moved, kept]))
        out[name] = bool(one <= 0.02 or one - both <= 0.02)
    return out


def _pasted_over(case: Any, which: Any, by: Any) -> Any:
    from saywhy.aviary import remove, render

    behind = render(remove(case.rendered.scene, *_held(case, which, 0))).pixels
    pixels, H, W = case.rendered.pixels.copy(), *case.rendered.owner.shape
    for i in which:
        pixels[case.regions[i]] = behind[case.regions[i]]
    for i in which:
        for y, x in np.argwhere(case.regions[i]):
            if 0 <= y + round(by[0]) < H and 0 <= x + round(by[1]) < W:
                pixels[y + round(by[0]), x + round(by[1])] = case.rendered.pixels[y, x]
    return pixels


def _shifted_parts(case: Any, which: Any, by: Any) -> Any:
    from saywhy.aviary import displace, render

    scene, bird = case.rendered.scene, case.rendered.scene.birds[0]
    right, down = by[1] / scene.size / bird.scale * (-1 if bird.mirror else 1), by[0] / scene.size / bird.scale
    c, s = math.cos(bird.angle), math.sin(bird.angle)
    for name in _held(case, which, 0.25):
        scene = displace(scene, name, right * c - down * s, right * s + down * c)
    return render(scene).pixels


# --------------------------------------------------------------------------------------------------
# Concepts. Rows are vectors, V the concepts' vectors, o the offset.


def nearest_centre(X: Any, V: Any, o: Any) -> list[int]:
    """The centre with the least squared distance to each row (MacQueen 1967)."""
    return [min(range(len(V)), key=lambda j: sum((x[i] - o[i] - V[j][i]) ** 2 for i in range(len(x)))) for x in X]


def least_squares_above_zero(X: Any, V: Any, o: Any) -> np.ndarray:
    """Codes >= 0 by the active-set method of Lawson and Hanson."""
    from scipy.optimize import nnls

    return np.array([nnls(V.T, x - o)[0] for x in X])


def top_units(X: Any, o: Any, up: Any, lift: Any, scale: float, k: int) -> np.ndarray:
    """Gao et al. 2024, equation 2: the k largest units of an encoder, the others silent."""
    codes = np.zeros((len(X), len(up)))
    for n, x in enumerate(X):
        given = [max(0.0, float(up[j] @ (x - o) + lift[j])) * scale for j in range(len(up))]
        for j in sorted(range(len(up)), key=lambda j: -given[j])[:k]:
            codes[n, j] = given[j]
    return codes


def attended_cells(M: np.ndarray) -> np.ndarray:
    """Ge et al. 2021: M' = 1 where the map is at least its median and above zero; everywhere if that is nowhere."""
    middle = float(np.sort(np.maximum(M, 0).ravel())[(M.size - 1) // 2])
    mask = np.array([[v > 0 and v >= middle for v in row] for row in M])
    return mask if mask.any() else np.ones_like(mask)


def false_discoveries(p: list[float], q: float) -> list[bool]:
    """Benjamini and Hochberg 1995: all up to the last of the ordered p that is at most its rank's share of q."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    last = max((n for n, i in enumerate(order, 1) if p[i] <= n * q / len(p)), default=0)
    return [i in order[:last] for i in range(len(p))]


# --------------------------------------------------------------------------------------------------
# Names.


def region_features(maps: list[tuple[Tensor, Tensor]], region: Tensor) -> Tensor:
    """The features of a region (H, W): for each layer the mean inside it of the map (K, h, w) of the whole and of those
    (4, K, h, w) of its quarters, cell by cell, at unit length; then its place and size."""

    def mean(A: Tensor, mask: Tensor) -> Tensor:
        total, weight = torch.zeros(len(A)), 0.0
        h, w = A.shape[1:]
        for i in range(h):
            for j in range(w):
                rows, columns = _cell(i, h, mask.shape[0]), _cell(j, w, mask.shape[1])
                inside = float(mask[rows, columns].float().mean())
                total, weight = total + inside * A[:, i, j], weight + inside
        mean = total / max(weight, 1e-12)
        return mean / mean.norm().clamp_min(1e-12)

    out = []
    for whole, quarters in maps:
        K, h, w = quarters.shape[1:]
        joined = torch.zeros(K, 2 * h, 2 * w)
        for n in range(4):
            joined[:, (n // 2) * h : (n // 2 + 1) * h, (n % 2) * w : (n % 2 + 1) * w] = quarters[n]
        out += [mean(whole, region), mean(joined, region)]
    ys, xs = torch.nonzero(region.any(dim=1))[:, 0], torch.nonzero(region.any(dim=0))[:, 0]
    H, W = region.shape
    place = [
        ys.float().mean() / H,
        xs.float().mean() / W,
        len(ys) / H,
        len(xs) / W,
        float(region.float().mean()) ** 0.5,
    ]
    return torch.cat([*out, torch.tensor([float(v) for v in place])])


def _cell(i: int, cells: int, length: int) -> slice:
    """The pixels that a cell of an adaptive mean covers."""
    return slice(i * length // cells, -(-(i + 1) * length // cells))


# --------------------------------------------------------------------------------------------------
# The branch (CE-FAM). `speak` gives the vector of channel means, all layers in a row; t is a phrase's vector.


def branch_losses(vectors: Tensor, seen: Tensor, texts: Tensor, scale: float, weight: float) -> float:
    """L_emb + lambda L_sim, the teacher's vectors at length sqrt(d)."""
    N, d = vectors.shape
    embedding = sum(float(vectors[n, i] - seen[n, i] * math.sqrt(d)) ** 2 for n in range(N) for i in range(d)) / (N * d)
    similar = 0.0
    for n in range(N):
        for t in texts:
            own = float(vectors[n] @ t) / float(vectors[n].norm() * t.norm())
            told = float(seen[n] @ t) / float(seen[n].norm() * t.norm())
            similar += (scale * own - scale * told) ** 2
    return embedding + weight * similar / (N * len(texts))


def branch_score(speak: Half, z: Tensor, t: Tensor, scale: float, bias: float) -> Tensor:
    vector = speak(z)
    return scale * (vector @ t) / vector.norm() + bias


def branch_region(speak: Half, maps: list[Tensor], n: int, t: Tensor, scale: float, usual: Tensor) -> Tensor:
    """R = ReLU(sum_k beta_k (A_k - usual_k)) of layer n, beta_k the mean over cells of dS/dA_k, by a backward pass."""
    A = [m.clone().requires_grad_() for m in maps]
    branch_score(speak, torch.cat([a.mean(dim=(1, 2)) for a in A]), t, scale, 0.0).backward()
    region = torch.zeros_like(maps[n][0])
    for k in range(len(maps[n])):
        region += A[n].grad[k].mean() * (maps[n][k] - usual[k])
    return region.clamp_min(0)


def branch_channels(speak: Half, maps: list[Tensor], n: int, t: Tensor, scale: float, most: int) -> list[int]:
    """The channels of layer n by beta_k GAP(A_k), the largest first."""
    A = [m.clone().requires_grad_() for m in maps]
    branch_score(speak, torch.cat([a.mean(dim=(1, 2)) for a in A]), t, scale, 0.0).backward()
    value = [float(A[n].grad[k].mean() * maps[n][k].mean()) for k in range(len(maps[n]))]
    return sorted(range(len(value)), key=lambda k: -value[k])[:most]


def branch_drop(speak: Half, maps: list[Tensor], n: int, t: Tensor, scale: float, bias: float, usual: Tensor) -> float:
    """The mean over 1, 2, ... 20 replaced channels of layer n of (p - p_n) / p, p the phrase's probability."""
    z = torch.cat([m.mean(dim=(1, 2)) for m in maps])
    start = sum(len(m) for m in maps[:n])
    before = float(branch_score(speak, z, t, scale, bias).sigmoid())
    total, changed, channels = 0.0, z.clone(), branch_channels(speak, maps, n, t, scale, 20)
    for k in channels:
        changed[start + k] = usual[k]
        total += (before - float(branch_score(speak, changed, t, scale, bias).sigmoid())) / before
    return total / len(channels)


def branch_contribution(tail: Half, A: Tensor, channels: list[int], usual: Tensor, c: int) -> float:
    """The mean over 1, 2, ... replaced channels of (p - p_n) / p of class c, in the classifier itself. A layer with
    fewer than 20 channels is told by the last one again."""
    before = float(tail(A[None]).softmax(1)[0, c].detach())
    changed, drops = A.clone(), []
    for k in channels:
        changed[k] = usual[k]
        drops.append((before - float(tail(changed[None]).softmax(1)[0, c].detach())) / before)
    return sum(drops + drops[-1:] * (20 - len(drops))) / 20


def graph_reasoning(student: Any, features: Tensor, places: Tensor, left: Tensor, edges: Tensor | None) -> Tensor:
    """Scores (m,) of the graph reasoning network of US 2025/0259436 A1, [0015], [0016], node by node, edge by edge."""
    w = student.state_dict()
    k, m = len(left), len(student.slots)
    x = (features - w["mean"]) / w["std"]
    shares = [float(p[2]) for p in places] + [max(0.0, 1 - float(places[:, 2].sum()))]
    weighed = [features[j] / w["std"] * shares[j] for j in range(k + 1)]

    def linear(name: str, v: Tensor) -> Tensor:
        return w[f"{name}.weight"] @ v + w.get(f"{name}.bias", torch.zeros(()))

    states = [torch.relu(linear("first", torch.cat([x[j], 8 * weighed[j]])) + w["identity"][j]) for j in range(k)]
    scores = w["fuse.bias"] + linear("alone", weighed[k]) + linear("rest.2", torch.relu(linear("rest.0", x[k])))
    for j in range(k):
        scores = scores + left[j] * linear("alone", weighed[j])

    def lies(i: int, j: int) -> Tensor:
        (x0, y0, a), (x1, y1, b) = (
            (float(p[0]), float(p[1]), math.log(max(1e-4, float(p[2])))) for p in places[[i, j]]
        )
        if student.relations == "absolute":
            return torch.tensor([x0, y0, a, x1, y1, b, 0.0, 0.0])
        dx, dy = x0 - x1, y0 - y1
        far = math.hypot(dx, dy)
        return torch.tensor([
            4 * dx, 4 * dy, math.log(far + 0.02), dx / (far + 1e-3), dy / (far + 1e-3), (a - b) / 2,
            math.tanh(dx / 0.02), math.tanh(dy / 0.02),
        ])  # fmt: skip

    def gate(i: int, j: int) -> float:
        open_ = 1.0 if edges is None else float(edges[i, j])
        return 0.0 if i == j or student.relations == "none" else float(left[i] * left[j]) * open_

    shared = []
    for c in range(m):
        slots = student.slots[c].tolist()
        first = f = [states[j] * left[j] for j in slots]
        for r in range(2):
            sent = [linear(f"sent.{r}", v) for v in f]
            new = []
            for s, i in enumerate(slots):
                total = linear(f"own.{r}", f[s])
                for t, j in enumerate(slots):
                    weight = w["of_class"][c, s, t] * gate(i, j)
                    total = total + weight * (sent[t] + linear(f"lies.{r}", lies(i, j)))
                new.append(torch.relu(total) * left[i])
            f = new
        pairs = [
            torch.relu(linear("target", first[s]) + linear("source", first[t]) + linear("geometry", lies(i, j)))
            * gate(i, j)
            for s, i in enumerate(slots)
            for t, j in enumerate(slots)
        ]
        z = torch.cat([*f, *pairs])
        scores = scores + w["fuse_own"][c] @ z * F.one_hot(torch.tensor(c), len(scores))
        shared.append(z @ w["fuse_shared"][c])
    return scores + w["fuse.weight"] @ torch.cat(shared)


# --------------------------------------------------------------------------------------------------
# Displacing.


def displaced(image, holed, regions, moves):
    """Pixel by pixel: over the picture in which all that moves is hidden each piece is laid down, in order."""
    out = holed.clone()
    H, W = image.shape[1:]
    for i, dy, dx in moves:
        for y in range(H):
            for x in range(W):
                if regions[i, y, x] > 0 and 0 <= y + dy < H and 0 <= x + dx < W:
                    out[:, y + dy, x + dx] = image[:, y, x]
    return out


# --------------------------------------------------------------------------------------------------
# Attributes: a filter's posterior, picture by picture.


def _rows_that_add_up(table: np.ndarray) -> np.ndarray:
    return np.array([row / row.sum() if row.sum() > 1e-12 else row * 0 for row in table])


def published_posterior(a: np.ndarray, t: np.ndarray, prior: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Guo et al., Eq. 1 to 4: p(t) * sum over pictures of p(f | x) * [t in x], of activations a (N, K), t (N, L)."""
    out = np.zeros((a.shape[1], t.shape[1]))
    for k in range(a.shape[1]):
        for j in range(t.shape[1]):
            out[k, j] = prior[j] * sum(a[x, k] / a[:, k].sum() for x in range(len(a)) if t[x, j])
    return _rows_that_add_up(out)


def lift_posterior(a: np.ndarray, t: np.ndarray, prior: np.ndarray, on: np.ndarray) -> np.ndarray:
    """log of the mean activation with the attribute, four average pictures beside them, over the mean of all."""
    out = np.zeros((a.shape[1], t.shape[1]))
    for k in range(a.shape[1]):
        mean = a[:, k].mean()
        for j in range(t.shape[1]):
            with_it = [a[x, k] for x in range(len(a)) if t[x, j]] + [mean] * 4
            out[k, j] = max(np.log(np.mean(with_it) / mean), 0)
    return _rows_that_add_up(out)


def soft_wpmi_posterior(a: np.ndarray, t: np.ndarray, prior: np.ndarray, on: np.ndarray) -> np.ndarray:
    """CLIP-Dissect: the logs of 1 + p(on) (p(t | x) - 1) over pictures, as a share of what all of them could lose."""
    K, L = a.shape[1], t.shape[1]
    told = np.zeros((K, L))
    for k in range(K):
        every = sum(np.log(1 - 0.99 * p) for p in on[:, k])
        for j in range(L):
            lost = sum(np.log(1 - 0.99 * on[x, k]) for x in range(len(a)) if not t[x, j])
            told[k, j] = np.log(0.01) * lost / every
    score = np.array([[told[k, j] - 0.9 * told[:, j].mean() for j in range(L)] for k in range(K)])
    return _rows_that_add_up(np.maximum(score, 0))


def nnls_posterior(a: np.ndarray, t: np.ndarray, prior: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Non-negative least squares with a lasso, one filter after the other, by a solver that knows no sums."""
    from scipy.optimize import minimize

    out = np.zeros((a.shape[1], t.shape[1]))
    T = t - t.mean(axis=0)
    for k in range(a.shape[1]):
        y = a[:, k] - a[:, k].mean()
        strongest = max((T * y[:, None]).mean(axis=0) / T.std(axis=0))
        penalty = 0.02 * max(strongest, 0) * T.std(axis=0)
        loss = lambda d, y=y, penalty=penalty: ((y - T @ d) ** 2).mean() / 2 + penalty @ d  # noqa: E731
        found = minimize(loss, np.full(t.shape[1], 0.1), bounds=[(0, None)] * t.shape[1], tol=1e-12)
        out[k] = found.x / a[:, k].std()
    return _rows_that_add_up(out)


def ridge(X: np.ndarray, Y: np.ndarray, added: float) -> np.ndarray:
    """Ridge regression of Y (N, q) on X (N, p) with an intercept, as one least squares of rows and of the penalty."""
    p, n = X.shape[1], len(X)
    rows = np.concatenate([(X - X.mean(axis=0)) / np.sqrt(n), np.sqrt(added) * np.eye(p)])
    answers = np.concatenate([(Y - Y.mean(axis=0)) / np.sqrt(n), np.zeros((p, Y.shape[1]))])
    return np.linalg.lstsq(rows, answers, rcond=None)[0]


def surprise_of_places(
    cells: Any, colours: Any, inside: Any, counts: Any, weights: Any, naming: Any, usual: Any
) -> float:
    """Minus the mean log-likelihood of adjectives, one picture, noun, cell and adjective at a time."""
    total = said = 0.0
    for x, colour, within, row in zip(cells, colours, inside, counts, strict=True):
        for m, w in enumerate(weights):
            force = [
                math.exp(sum(a * b for a, b in zip(c, w, strict=True))) * ok for c, ok in zip(x, within, strict=True)
            ]
            seen = [
                sum(f * c[p] for f, c in zip(force, colour, strict=True)) / sum(force) for p in range(len(colour[0]))
            ]
            logits = [
                sum(s * n for s, n in zip(seen, names, strict=True)) + usual[m][a] for a, names in enumerate(naming)
            ]
            norm = math.log(sum(map(math.exp, logits)))
            total -= sum(n * (logit - norm) for n, logit in zip(row[m], logits, strict=True))
            said += sum(row[m])
    return total / said


# --------------------------------------------------------------------------------------------------
# Substitution.


def pasted(holed, bad, donor, good, mirror):
    """A donor's piece put down on the middle of a hole, pixel by pixel: (3, H, W) each, masks (H, W)."""
    H, W = bad.shape
    (by, bx), (gy, gx) = (np.argwhere(m).mean(axis=0) for m in (bad, good))
    scale = np.sqrt(bad.sum() / good.sum())
    alpha, moved = np.zeros((H, W)), np.zeros((3, H, W))
    for y in range(H):
        for x in range(W):
            sy, sx = (y - by) / scale + gy, (x - bx) * mirror / scale + gx
            inside = -0.5 <= sy <= H - 0.5 and -0.5 <= sx <= W - 0.5
            sy, sx = min(max(sy, 0), H - 1), min(max(sx, 0), W - 1)
            for yy in {int(np.floor(sy)), min(int(np.floor(sy)) + 1, H - 1)}:
                for xx in {int(np.floor(sx)), min(int(np.floor(sx)) + 1, W - 1)}:
                    weight = max(0, 1 - abs(sy - yy)) * max(0, 1 - abs(sx - xx))
                    moved[:, y, x] += weight * donor[:, yy, xx]
                    alpha[y, x] += weight * good[yy, xx] * inside
    sigma = min(H, W) / 100
    radius = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    wide = np.pad(np.clip(alpha, 0, 1), radius, mode="reflect")
    soft = np.zeros((H, W))
    for i, a in enumerate(kernel):
        for j, b in enumerate(kernel):
            soft += a * b * wide[i : i + H, j : j + W]
    return np.clip(soft * moved + (1 - soft) * holed, 0, 1)


# --------------------------------------------------------------------------------------------------
# Contrastive losses, pair by pair.


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def info_nce(seen: Tensor, said: Tensor, temperature: float, true: Tensor) -> float:
    """van den Oord et al. 2018, both ways; a true text is one of the row's, a text that is true of none is only in the
    denominators."""
    total = [[math.exp(_cosine(a, b) / temperature) for b in said] for a in seen]
    rows = [
        -math.log(sum(v for v, t in zip(row, own, strict=True) if t) / sum(row))
        for row, own in zip(total, true.tolist(), strict=True)
    ]
    columns = [
        -math.log(sum(total[i][j] for i in range(len(seen)) if true[i, j]) / sum(total[i][j] for i in range(len(seen))))
        for j in range(len(said))
        if true[:, j].any()
    ]
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


def nt_xent(seen: Tensor, said: Tensor, temperature: float) -> float:
    """Chen et al. 2020, equation 1, with a picture and its text as the two views."""
    views = [*seen, *said]
    n, total = len(seen), 0.0
    for i, view in enumerate(views):
        partner = (i + n) % (2 * n)
        others = sum(math.exp(_cosine(view, views[k]) / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(_cosine(view, views[partner]) / temperature) / others)
    return total / (2 * n)
