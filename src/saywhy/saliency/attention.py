"""Saliency of transformers from their attention: rollout and LeGrad.

N images; per block W (N, heads, T, T), rows queries and columns keys; T = prefix tokens + h w tokens of the grid.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.tap import Tap
from saywhy.targets import Targets, with_graph


def attention_rollout(
    tap: Tap,
    targets: Targets,
    *,
    layer: str | None = None,
    heads: Literal["mean", "max", "min"] = "mean",
    residual: float = 0.5,
) -> Tensor:
    """Attention rollout: R = prod_l (residual I + (1 - residual) W_l), rows scaled to 1, last block leftmost.

    W_l is fused over the heads. The map is the mean of the rows of R that the scores read: the class token's, or all
    rows where the network averages its tokens. It does not depend on the target.

    Raises:
        UsageError: no global attention over the layer's tokens (a CNN, or windows as in Swin).

    Source: Abnar and Zuidema 2020, equation 1 and section 3.
    """
    if heads not in ("mean", "max", "min"):
        raise UsageError(f"heads must be mean, max or min, not {heads!r}")
    scores, weights = tap.attention()
    prefix = _prefix(tap, weights, layer)
    (last,) = torch.autograd.grad(scores.flatten(1).amax(dim=1).sum(), weights[-1])
    T = weights[0].shape[-1]
    eye = torch.eye(T, device=last.device)
    rollout = eye.expand(len(last), T, T)
    for W in weights:
        W = W.detach().float()
        fused = W.mean(dim=1) if heads == "mean" else W.amax(dim=1) if heads == "max" else W.amin(dim=1)
        step = residual * eye + (1 - residual) * fused
        rollout = step / step.sum(dim=2, keepdim=True) @ rollout
    row = (_read(last)[:, None] @ rollout)[:, 0]
    return row[:, prefix:].reshape(len(row), *tap.point(layer).size)


def _read(last: Tensor) -> Tensor:
    """Which tokens (N, T) the scores read, rows summing to 1, from the gradient of the last block's attention.

    A query whose attention has no gradient is a token that the head does not look at: with a class token all but it.
    """
    read = (last != 0).any(dim=3).any(dim=1).float()
    read = torch.where(read.sum(dim=1, keepdim=True) > 0, read, 1.0)
    return read / read.sum(dim=1, keepdim=True)


def _prefix(tap: Tap, weights: list[Tensor], layer: str | None) -> int:
    """How many tokens come before the grid's.

    Raises:
        UsageError: the attention is not over all of the layer's tokens.
    """
    h, w = tap.point(layer).size
    shapes = {(W.shape[0], W.shape[-1]) for W in weights}
    N, T = next(iter(shapes))
    grid = tap.point(layer).grid
    fits = 0 <= T - h * w <= 16 and (grid.kind != "tokens" or T - h * w == grid.prefix)
    if len(shapes) > 1 or len(tap.images) != N or not fits:
        raise UsageError(
            f"this method needs attention over the whole image in every block; here it is {sorted(shapes)} "
            f"(rows, tokens) for {len(tap.images)} images on a grid of {h} x {w}, as in networks with windows. "
            "Use grad-cam or another method that works on maps"
        )
    return T - h * w


def legrad(tap: Tap, targets: Targets, *, layer: str | None = None, blocks: int | None = None) -> Tensor:
    """LeGrad: L = mean_l mean_heads mean_queries relu(dY / dW_l), prefix keys dropped.

    Y is the asked score of the whole network. The paper reads a score off every block by the final head instead; here
    each block's attention is judged by what it does to the score that is explained. `blocks` takes the last so many.

    Raises:
        UsageError: no global attention over the layer's tokens (a CNN, or windows as in Swin).

    Source: Bousselham et al. 2024, equations 4 to 7.
    """
    if blocks is not None and blocks < 1:
        raise UsageError(f"legrad needs at least one block; blocks={blocks}")
    scores, weights = tap.attention()
    prefix = _prefix(tap, weights, layer)
    kept = weights if blocks is None else weights[-blocks:]
    grads = torch.autograd.grad(with_graph(targets.of(scores)).sum(), kept)
    relevance = torch.stack([G.float().clamp_min(0).mean(dim=(1, 2)) for G in grads]).mean(dim=0)
    return relevance[:, prefix:].reshape(len(relevance), *tap.point(layer).size)
