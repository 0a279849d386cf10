"""Saliency methods again, slow and plain, as in the papers. One image x (1, 3, H, W) already normalised, float64.

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
