"""Class activation maps: weighted sums of one layer's channels, and their weights.

N images, K channels of h x w cells; A (N, K, h, w) the layer's activations, Y (N,) the asked scores as the network
gives them (before softmax), G = dY/dA (N, K, h, w). Every function returns the raw, signed map L (N, h, w): the ReLU
that most papers put around it is left to the display.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.tap import Tap
from saywhy.targets import Targets

CHUNK = 128  # channels that are ablated in one replay


def grad_cam(tap: Tap, targets: Targets, *, layer: str | None = None) -> Tensor:
    """Grad-CAM: L = sum_k w_k A_k with w_k = mean_ij G_k(i, j).

    Source: Selvaraju et al. 2017, equations 1 and 2, without the ReLU.
    """
    return _weighted(tap.grads(targets, layer).mean(dim=(2, 3)), tap.maps(layer))


def cam(tap: Tap, targets: Targets, *, layer: str | None = None) -> Tensor:
    """CAM: L = sum_k w_k A_k with w_k the class's weight for channel k behind the global average pooling.

    The weights are read off the gradient, which is w_k / (h w) everywhere when the network ends so; that it does is
    tested on the spot.

    Raises:
        UsageError: the layer is not followed by average pooling and one linear layer alone.

    Source: Zhou et al. 2016, equation 2.
    """
    G, A = tap.grads(targets, layer), tap.maps(layer)
    if not _linear_in_means(tap, targets, layer, G, A):
        raise UsageError(
            f"cam needs a layer followed by global average pooling and one linear layer; after "
            f"{tap.point(layer).path!r} comes more. Use grad-cam, which equals cam where cam exists"
        )
    return _weighted(G.sum(dim=(2, 3)), A)


def _linear_in_means(tap: Tap, targets: Targets, layer: str | None, G: Tensor, A: Tensor) -> bool:
    """Whether the score has one gradient for all cells, and runs straight from empty maps to the given ones."""
    rough = tap.scores_graph.dtype not in (torch.float32, torch.float64)
    tolerance = 5e-2 if rough else 1e-3
    even = torch.allclose(
        G, G.mean(dim=(2, 3), keepdim=True).expand_as(G), tolerance, 1e-2 * tolerance * float(G.abs().max())
    )
    with torch.no_grad():
        start, middle, end = (targets.of(tap.replay(A * share, layer)) for share in (0.0, 0.5, 1.0))
    bend = (start + end - 2 * middle).abs()
    return even and bool((bend <= tolerance * ((end - start).abs() + start.abs()) + 1e-4).all())


def grad_cam_pp(tap: Tap, targets: Targets, *, layer: str | None = None, eps: float = 0.0) -> Tensor:
    """Grad-CAM++: L = sum_k w_k A_k with w_k = sum_ij a_k(i, j) relu(G_k(i, j)).

    a = G^2 / (2 G^2 + sum_ij(A) G^3) = 1 / (2 + G sum_ij(A)). The paper takes A to be positive; where it is not, only
    its positive part is summed, or the denominator would pass through 0. `eps` > 0 is added to the first form's
    denominator as other packages do; it outweighs gradients below its square root.

    Source: Chattopadhay et al. 2018, equation 19.
    """
    G, A = tap.grads(targets, layer), tap.maps(layer)
    G, S = G.clamp_min(0), A.clamp_min(0).sum(dim=(2, 3), keepdim=True)
    alpha = G**2 / (2 * G**2 + S * G**3 + eps) if eps > 0 else 1 / (2 + G * S)
    return _weighted((alpha * G).sum(dim=(2, 3)), A)


def hires_cam(tap: Tap, targets: Targets, *, layer: str | None = None) -> Tensor:
    """HiResCAM: L = sum_k G_k A_k, cell by cell.

    Where the terms of a cell cancel to less than 1e-4 of their sizes the cell is 0. That is so everywhere in the blocks
    of a transformer that normalises first: what follows does not see a token's length, so G is orthogonal to A, and
    the map is flat rather than rounding noise.

    Source: Draelos and Carin 2020, equation 5.
    """
    terms = tap.grads(targets, layer) * tap.maps(layer)
    L = terms.sum(dim=1)
    return torch.where(L.abs() > 1e-4 * terms.abs().sum(dim=1), L, 0.0)


def layer_cam(tap: Tap, targets: Targets, *, layer: str | None = None) -> Tensor:
    """LayerCAM: L = sum_k relu(G_k) A_k, cell by cell.

    Source: Jiang et al. 2021, equations 6 and 7.
    """
    return (tap.grads(targets, layer).clamp_min(0) * tap.maps(layer)).sum(dim=1)


def eigen_cam(tap: Tap, targets: Targets, *, layer: str | None = None, centred: bool = False) -> Tensor:
    """Eigen-CAM: L = X v_1, the layer's activations X (h w, K) on their first right singular vector.

    It does not depend on the target. The sign, which the decomposition leaves open, is the one with
    sum_ij L(i, j) |A(i, j)|^2 >= 0: high where the layer is active. `centred` takes each channel's mean off before.

    Source: Muhammad and Yeasin 2020, equations 4 to 6.
    """
    A = tap.maps(layer)
    X = A.flatten(2).transpose(1, 2).double()  # (N, h w, K)
    energy = X.square().sum(dim=2)
    if centred:
        X = X - X.mean(dim=1, keepdim=True)
    L = _first_component(X)
    sign = torch.where((L * energy).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    return (L * sign).float().reshape(len(A), *A.shape[2:])


def _first_component(X: Tensor) -> Tensor:
    """X v_1 (N, P) of X (N, P, K), by the smaller of its two Gram matrices."""
    P, K = X.shape[1:]
    across = X @ X.transpose(1, 2) if P <= K else X.transpose(1, 2) @ X
    values, vectors = torch.linalg.eigh(across)
    top: Tensor = vectors[..., -1]
    return top * values[:, -1:].clamp_min(0).sqrt() if P <= K else (X @ top[..., None])[..., 0]


def finer_cam(
    tap: Tap,
    targets: Targets,
    *,
    layer: str | None = None,
    versus: int | str | Sequence[int | str] | None = None,
    similar: int = 3,
    strength: float = 1.0,
) -> Tensor:
    """Finer-CAM: Grad-CAM of Y_c - strength * mean_d Y_d, with d the classes that the network finds most similar.

    `versus` names them (one for all images, or several); otherwise they are the `similar` ones whose scores are
    nearest to the target's. A map is positive where the evidence tells the target from them.

    Raises:
        UsageError: the target is a callable, the network has one class, or `versus` is the target.

    Source: Zhang et al. 2025, equations 3 and 4.
    """
    if targets.indices is None or tap.logits.dim() != 2 or tap.logits.shape[1] < 2:
        raise UsageError("finer-cam sets a class against other classes; give a class as target, of at least two")
    others = _others(tap, targets.indices, versus, similar) if targets.versus is None else targets.versus[:, None]
    if bool((others == targets.indices[:, None]).any()):
        raise UsageError("finer-cam was asked to set a class against itself; name another class in `versus`")
    Y = tap.scores_graph
    asked = Y.gather(1, targets.indices.to(Y.device)[:, None])[:, 0]
    value = asked - strength * Y.gather(1, others.to(Y.device)).mean(dim=1)
    return _weighted(tap.grads_of(value, layer).mean(dim=(2, 3)), tap.maps(layer))


def _others(tap: Tap, indices: Tensor, versus: int | str | Sequence[int | str] | None, similar: int) -> Tensor:
    """The classes (N, D) to set each image's target against."""
    N, C = tap.logits.shape
    if versus is not None:
        names = [versus] if isinstance(versus, (int, str)) else list(versus)
        return torch.tensor([tap.clf.class_index(v) for v in names]).expand(N, -1)
    if similar < 1:
        raise UsageError(f"finer-cam compares with at least one class; similar={similar}")
    logits = tap.logits.cpu()
    distance = (logits - logits.gather(1, indices[:, None])).abs()
    distance.scatter_(1, indices[:, None], float("inf"))
    return distance.topk(min(similar, C - 1), dim=1, largest=False).indices


def ablation_cam(tap: Tap, targets: Targets, *, layer: str | None = None, chunk: int = CHUNK) -> Tensor:
    """Ablation-CAM: L = sum_k w_k A_k with w_k = (Y - Y_k) / |Y|, Y_k the score with channel k set to zero.

    Only the tail behind the layer is run, `chunk` channels at a time; a channel that is zero already has weight 0.
    The paper divides by Y, which turns the map over for a negative score.

    Source: Desai and Ramaswamy 2020, equations 3 and 4.
    """
    A = tap.maps(layer)
    weights = torch.zeros(A.shape[:2], device=A.device)
    with torch.no_grad():
        Y = targets.of(tap.logits)
        for i in range(len(A)):
            live = (A[i] != 0).flatten(1).any(dim=1).nonzero()[:, 0]
            for part, scores in _ablated(tap, A[i], i, live, layer, chunk):
                weights[i, part] = Y[i] - targets.at(i).of(scores, torch.zeros(len(part), dtype=torch.long))
    return _weighted(weights / Y.abs().clamp_min(1e-6)[:, None].to(weights), A)


def _ablated(
    tap: Tap, maps: Tensor, image: int, live: Tensor, layer: str | None, chunk: int
) -> list[tuple[Tensor, Tensor]]:
    """(channels, scores without each of them) in chunks; one buffer of maps serves all."""
    out = []
    rows = torch.full((min(chunk, max(len(live), 1)),), image)
    buffer = maps.expand(len(rows), -1, -1, -1).clone(memory_format=torch.contiguous_format)
    for part in torch.split(live, chunk):
        at = torch.arange(len(part), device=maps.device)
        buffer[at, part] = 0
        out.append((part, tap.replay(buffer[: len(part)], layer, rows[: len(part)])))
        buffer[at, part] = maps[part]
    return out


def _weighted(weights: Tensor, maps: Tensor) -> Tensor:
    """sum_k w_k A_k (N, h, w) of weights (N, K) and maps (N, K, h, w)."""
    return torch.einsum("nk,nkhw->nhw", weights, maps)
