"""Ways to find concepts in activation vectors: rows of DISCOVERY.

n vectors X (n, K) of one layer, k concepts. Whatever the way, a vector is told as offset + codes @ vectors with codes
(n, k) >= 0, so that a concept is taken out of it in one way: by subtracting its code times its vector.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from saywhy.train.loop import Config, fit

SWEEPS = 50  # of coordinate descent, at most
SETTLED = 1e-5  # of the largest code: a sweep that changes less is the last
ACTIVE = 4  # concepts that an autoencoder may use for one vector
BATCH = 1024
STEPS = 800  # of an autoencoder's training, whatever the number of vectors
AUTOENCODER = Config(lr=3e-3, weight_decay=0.0)


@dataclass(frozen=True, eq=False)
class Basis:
    """k concepts: the row of DISCOVERY that found them, `vectors` (k, K), `offset` (K,), and what else it needs."""

    method: str
    vectors: Tensor
    offset: Tensor
    inner: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)

    def encode(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """How much of each concept is in vectors (n, K), codes (n, k) >= 0, and how near they are to each (n, k): a
        vector is of the concept that it is nearest to."""
        return DISCOVERY[self.method].encode(self, X)

    def ordered(self, order: Tensor) -> Basis:
        """The same concepts in another order (k,), or some of them."""
        inner = {name: value[order] if value.dim() else value for name, value in self.inner.items()}
        return replace(self, vectors=self.vectors[order], inner=inner)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, of which `basis_of` makes it again."""
        inner = {f"inner.{name}": value for name, value in self.inner.items()}
        return {"vectors": self.vectors, "offset": self.offset} | inner

    def told(self, codes: Tensor) -> Tensor:
        """The vectors (n, K) that codes (n, k) stand for."""
        return self.offset + codes @ self.vectors


def basis_of(method: str, tensors: Mapping[str, Tensor]) -> Basis:
    """The basis that has these `tensors`; others are left out."""
    inner = {name.removeprefix("inner."): value for name, value in tensors.items() if name.startswith("inner.")}
    return Basis(method, tensors["vectors"], tensors["offset"], inner)


@dataclass(frozen=True)
class Discovery:
    """A row: `fit(X, k, seed)` finds k concepts, `encode` as in `Basis`."""

    summary: str
    fit: Callable[[Tensor, int, int], Basis]
    encode: Callable[[Basis, Tensor], tuple[Tensor, Tensor]]


# --------------------------------------------------------------------------------------------------
# Clusters: a vector is of one concept alone.


def kmeans(X: Tensor, k: int, seed: int) -> Basis:
    """Centres of k-means in mini-batches. Source: Ghorbani et al. 2019 (ACE), which clusters patches."""
    found = MiniBatchKMeans(k, batch_size=2 * BATCH, n_init=3, random_state=seed).fit(X.numpy())
    offset = X.mean(dim=0)
    return Basis("kmeans", torch.from_numpy(np.asarray(found.cluster_centers_, np.float32)) - offset, offset)


def nearest(basis: Basis, X: Tensor) -> tuple[Tensor, Tensor]:
    """Codes are 1 for the nearest centre and 0 for all others; near is minus the squared distance."""
    from_offset = X - basis.offset
    lengths = (from_offset**2).sum(1, keepdim=True) + (basis.vectors**2).sum(1)
    near = 2 * from_offset @ basis.vectors.T - lengths
    return F.one_hot(near.argmax(dim=1), len(basis)).to(X.dtype), near


# --------------------------------------------------------------------------------------------------
# Parts that add up.


def nmf(X: Tensor, k: int, seed: int) -> Basis:
    """Non-negative matrix factorisation in mini-batches; vectors of length 1.

    Activations below zero (transformers, layers without a ReLU) are told from their mean, and each channel is split by
    sign into two; a concept is then the one half of its factor minus the other, and may point either way.
    Source: Fel et al. 2023 (CRAFT); encoding signed vectors by codes >= 0 is Ding et al. 2010 (semi-NMF).
    """
    signed = bool((X < 0).any())
    offset = X.mean(dim=0) if signed else X.new_zeros(X.shape[1])
    parts = torch.cat([(X - offset).clamp_min(0), (offset - X).clamp_min(0)], 1) if signed else X
    start = "nndsvda" if k <= min(parts.shape) else "random"
    found = MiniBatchNMF(k, init=start, batch_size=2 * BATCH, max_iter=40, random_state=seed)
    with warnings.catch_warnings():
        # So many rounds are enough on purpose: what the factors are worth is measured afterwards, as fidelity.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factors = torch.from_numpy(np.asarray(found.fit(parts.numpy()).components_, np.float32))
    up, down = factors.chunk(2, dim=1) if signed else (factors, 0 * factors)
    return Basis("nmf", F.normalize(up - down, dim=1), offset)


def least_squares(basis: Basis, X: Tensor) -> tuple[Tensor, Tensor]:
    """The codes >= 0 (n, k) that tell vectors best, by coordinate descent; what is most of a vector is nearest to it.

    Source: Lawson and Hanson 1974, chapter 23, for the problem.
    """
    V = basis.vectors
    gram, aim = V @ V.T, V @ (X - basis.offset).T
    codes = torch.zeros_like(aim)  # (k, n), so that a concept's are one row of memory
    for _ in range(SWEEPS):
        before = codes.clone()
        for j in torch.nonzero(gram.diagonal() > 0)[:, 0].tolist():
            codes[j] = (codes[j] + (aim[j] - gram[j] @ codes) / gram[j, j]).clamp_min(0)
        if (codes - before).abs().max() <= SETTLED * codes.max():
            break
    return codes.T, codes.T


# --------------------------------------------------------------------------------------------------
# A sparse autoencoder.


class TopK(nn.Module):
    """Encodes vectors by at most `ACTIVE` of k units, and tells them by k vectors of length 1. Gao et al. 2024."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.up = nn.Parameter(vectors.clone())
        self.lift = nn.Parameter(torch.zeros(len(vectors)))
        self.down = nn.Parameter(vectors.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (n, K) from vectors (n, K)."""
        return few(F.relu(x @ self.up.T + self.lift)) @ F.normalize(self.down, dim=1)


def few(codes: Tensor) -> Tensor:
    """The `ACTIVE` largest of each row's codes (n, k), 0 in place of the others."""
    kept = codes.topk(min(ACTIVE, codes.shape[1]), dim=1)
    return torch.zeros_like(codes).scatter(1, kept.indices, kept.values)


def topk_sae(X: Tensor, k: int, seed: int) -> Basis:
    """A sparse autoencoder whose units start at the centres of k-means, so that few of them stay silent."""
    offset = X.mean(dim=0)
    spread = ((X - offset) ** 2).sum(1).mean().sqrt()
    examples = (X - offset) / spread
    net = TopK(F.normalize(kmeans(X, k, seed).vectors, dim=1))
    size = max(1, min(BATCH, len(X) // 8))
    config = replace(AUTOENCODER, seed=seed, batch_size=size, epochs=-(-STEPS // (len(X) // size)))
    fit(net, lambda x: {"loss": ((net(x) - x) ** 2).sum(1).mean()}, examples, config)
    inner = {"up": net.up.detach() / spread, "lift": net.lift.detach(), "spread": spread}
    return Basis("topk-sae", F.normalize(net.down.detach(), dim=1), offset, inner)


def active(basis: Basis, X: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of the few largest units, in the scale of the activations; near is what all units give."""
    raw = (X - basis.offset) @ basis.inner["up"].T + basis.inner["lift"]
    near = F.relu(raw) * basis.inner["spread"]
    return few(near), near


DISCOVERY: dict[str, Discovery] = {
    "kmeans": Discovery("centres of clusters: every place is of one concept", kmeans, nearest),
    "nmf": Discovery("factors that add up (NMF; negative activations are split by sign)", nmf, least_squares),
    "topk-sae": Discovery(f"a sparse autoencoder that may use {ACTIVE} units a place", topk_sae, active),
}
