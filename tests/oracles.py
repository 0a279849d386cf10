"""Saliency methods and fills again, slow and plain, as in the papers.

One image x (1, 3, H, W) already normalised, float64.

`split(net)` gives the two halves of a tiny network by hand: before and after the layer that is tapped, so nothing here
uses the code under test.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Half = Callable[[Tensor], Tensor]


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


FILLS = {
    "black": black_fill,
    "mean": mean_fill,
    "image-mean": image_mean_fill,
    "noise": noise_fill,
    "blur": blur_fill,
    "inpaint": inpaint_fill,
}
