"""A head that refines CAM: simple maps of one pass, put together by a small network that is the same for all classes.

N images, m classes asked of each, R classes, A (N, K, h, w) the tapped layer's activations, B (N, J, H', W') those of a
finer layer (A itself where there is none), P detail channels. Everything in `basis` is computed without training;
what is trained has a few thousand numbers and never sees which class it works for, so classes never seen are served.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAPS = 11  # of `Refined.basis`, before the detail channels
SHARP, REACH = 10.0, 3.0  # of the spreading of a map to cells nearby that look alike
SLOPE, SHIFT = 2.0, 0.5  # of the sigmoid of a standardised CAM
COLD = 0.5  # logits of the softer of the two posteriors are scaled by this


class Refined(nn.Module):
    """CAM, the class's posterior in each cell, energies and details of the layers, refined by two small convolutions.

    L is the mean of two maps, each from 0 to 1: what is learned (before training: CAM), and the sigmoid of CAM, in
    which a strong place does not outshine a second one. The second keeps a head from few photos from straying far.
    """

    own: Tensor
    middle: Tensor
    spread: Tensor
    details: Tensor

    def __init__(
        self,
        own: Tensor,
        *,
        middle: Tensor,
        spread: Tensor,
        details: Tensor,
        hidden: int = 16,
        kernel: int = 5,
        drop: float = 0.1,
    ) -> None:
        super().__init__()
        self.register_buffer("own", own)
        self.register_buffer("middle", middle)  # (J,) mean of each fine channel, and its spread
        self.register_buffer("spread", spread)
        self.register_buffer("details", details)  # (P, J) whitened principal directions
        n, self.drop = MAPS + len(details), drop
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.mix = nn.Conv2d(n, hidden, 1)
            self.around = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2)
            self.out = nn.Conv2d(hidden, 1, 1)
        self.skip = nn.Parameter(torch.zeros(n))
        self.bias = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            self.skip[0] = 1
            self.out.weight.zero_()
            self.out.bias.zero_()  # type: ignore[union-attr]

    def forward(self, features: Sequence[Tensor], classes: Tensor) -> Tensor:
        """L (N, m, H', W') of features [A, B] or [A] for classes (N, m)."""
        basis = self.basis(features, classes)
        L = self.refine(basis.flatten(0, 1)).reshape(basis.shape[0], basis.shape[1], *basis.shape[3:])
        both: Tensor = (from_0_to_1(L) + from_0_to_1(self.squashed(features[0], classes, (L.shape[2], L.shape[3])))) / 2
        return both

    def refine(self, basis: Tensor) -> Tensor:
        """L (N, H', W') of basis maps (N, MAPS + P, H', W')."""
        if self.training and self.drop:
            basis = F.dropout2d(basis, self.drop)
        more: Tensor = self.out(self.around(self.mix(basis).relu()).relu())[:, 0]
        learned: Tensor = torch.einsum("k,nkhw->nhw", self.skip, basis) + more + self.bias
        return learned

    def squashed(self, A: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
        """The sigmoid of each CAM, (N, m, H', W')."""
        cam = standardised(torch.einsum("nmk,nkhw->nmhw", self.own[classes], A))
        return F.interpolate((SLOPE * cam + SHIFT).sigmoid(), size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def basis(self, features: Sequence[Tensor], classes: Tensor) -> Tensor:
        """Standardised maps (N, m, MAPS + P, H', W')."""
        A, B = features[0], features[-1]
        size = (int(B.shape[2]), int(B.shape[3]))
        fine = (B - self.middle[:, None, None]) / self.spread[:, None, None]
        near = _likeness(fine)

        def up(maps: Tensor) -> Tensor:
            return standardised(F.interpolate(maps, size, mode="bilinear", align_corners=False))

        cam, *rest = (up(maps) for maps in self._of_classes(A, classes))
        of_class = [cam, *rest, _spread(near, cam), _spread(near, rest[1])]
        m = classes.shape[1]
        shared = [
            up(A.clamp_min(0).sum(dim=1, keepdim=True)),
            up(A.norm(dim=1, keepdim=True)),
            standardised(fine.clamp_min(0).sum(dim=1, keepdim=True)),
            standardised(_centre(size, B)),
        ]
        everyone = torch.cat([*(s.expand(len(A), 1, *size) for s in shared), self._details(fine)], dim=1)
        return torch.cat([torch.stack(of_class, dim=2), everyone[:, None].expand(-1, m, -1, -1, -1)], dim=2)

    def _of_classes(self, A: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        """CAM, its positive part, log posterior (soft), posterior, and the strongest other class, each (N, m, h, w)."""
        cells = torch.einsum("rk,nkhw->nrhw", self.own, A)
        where = classes[..., None, None].expand(-1, -1, *A.shape[2:])
        cam = cells.gather(1, where)
        soft = (COLD * cells).log_softmax(dim=1).gather(1, where)
        posterior = cells.softmax(dim=1).gather(1, where)
        total = cells.logsumexp(dim=1, keepdim=True)
        # log(sum - own), kept finite where the class holds nearly all of the sum
        other = total + torch.log1p(-(cam - total).exp().clamp_max(1 - 1e-6))
        return cam, cam.clamp_min(0), soft, posterior, other

    def _details(self, fine: Tensor) -> Tensor:
        return torch.einsum("pj,njhw->nphw", self.details, fine)


def standardised(maps: Tensor) -> Tensor:
    """Each map (..., h, w) with mean 0 and standard deviation 1; one that is flat but for rounding stays near 0."""
    centred = maps - maps.mean(dim=(-2, -1), keepdim=True)
    noise = 1e-3 * maps.abs().amax(dim=(-2, -1), keepdim=True) + 1e-6
    return centred / (centred.std(dim=(-2, -1), keepdim=True) + noise)


def from_0_to_1(maps: Tensor) -> Tensor:
    """Each map (..., h, w) with lowest value 0 and highest 1; a flat one is 0."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def principal(B: Tensor, count: int = 12, cells: int = 6000) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and spread (J,) of maps (N, J, h, w), and whitened principal directions (P, J) of their cells."""
    rows = B.permute(0, 2, 3, 1).flatten(0, 2)
    pick = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:cells]
    middle, spread = rows.mean(dim=0), rows.std(dim=0)
    spread = (spread + 0.1 * spread.mean()).clamp_min(1e-12)
    X = ((rows[pick] - middle) / spread).double()
    values, vectors = torch.linalg.eigh(X.T @ X / len(X))
    count = min(count, len(values))
    top = vectors[:, -count:].flip(1) / values[-count:].flip(0).clamp_min(1e-6).sqrt()
    return middle, spread, top.T.float()


def _likeness(fine: Tensor) -> Tensor:
    """Weights (N, p, p) of all cells for each, higher for cells that look alike and lie near."""
    h, w = fine.shape[2:]
    unit = F.normalize(fine.flatten(2), dim=1)
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], dim=1).to(fine) * (14 / max(h, w))
    away = torch.cdist(place, place).square() / (2 * REACH**2)
    return (SHARP * (unit.transpose(1, 2) @ unit) - away).softmax(dim=2)


def _spread(near: Tensor, maps: Tensor) -> Tensor:
    return standardised((maps.flatten(2) @ near.transpose(1, 2)).reshape(maps.shape))


def _centre(size: tuple[int, int], like: Tensor) -> Tensor:
    h, w = (((torch.arange(n, device=like.device) + 0.5) / n - 0.5) / 0.25 for n in size)
    return torch.exp(-0.5 * (h[:, None] ** 2 + w[None] ** 2))[None, None].to(like)
