"""A head that refines CAM: simple maps of one pass, put together by a small network that is the same for all classes.

N images, m classes asked of each, R classes, A (N, K, h, w) the tapped layer's activations, B (N, J, H', W') those of a
finer layer (A itself where there is none), P principal directions of B's cells, D of them shown to the network. What is
in `basis` is computed without training; what is trained has a few thousand numbers and never sees which class it works
for, so classes never seen are served. All of it is little work beside the pass: no gradient, no second look.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.locking import seeded

OF_CLASS, SHARED = 7, 4  # maps of `Refined.basis` for each class, and for all together before the details
DIRECTIONS, DETAILS = 24, 12
RIVALS = 16  # other classes, the image's highest, that a cell may belong to
SHARP, REACH = 10.0, 3.0  # of the spreading of a map to cells nearby that look alike
SLOPE, SHIFT = 2.0, 0.5  # of the sigmoid of a standardised CAM
MEMBERS = 3
COLD = 0.5  # logits of the softer of the two posteriors are scaled by this
NEVER = -1e9


class Mixer(nn.Module):
    """Two small convolutions over basis maps (n, k, h, w); before training: the first of the maps, CAM."""

    def __init__(self, maps: int, *, hidden: int = 16, kernel: int = 5, drop: float = 0.1) -> None:
        super().__init__()
        self.drop = drop
        with seeded(0):
            self.mix = nn.Conv2d(maps, hidden, 1)
            self.around = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2)
            self.out = nn.Conv2d(hidden, 1, 1)
        self.skip = nn.Parameter(torch.zeros(maps))
        self.bias = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            self.skip[0] = 1
            self.out.weight.zero_()
            self.out.bias.zero_()  # type: ignore[union-attr]

    def forward(self, basis: Tensor) -> Tensor:
        """What the network makes of basis maps, (n, h, w), not brought to 0 to 1."""
        if self.training and self.drop:
            basis = F.dropout2d(basis, self.drop)
        more: Tensor = self.out(self.around(self.mix(basis).relu()).relu())[:, 0]
        learned: Tensor = torch.einsum("k,nkhw->nhw", self.skip, basis) + more + self.bias
        return learned

    def steadied(self, basis: Tensor) -> Tensor:
        """The mean (n, h, w) of what is learned and the sigmoid of CAM, each from 0 to 1.

        In the second a strong place does not outshine others; it keeps a head from few photos from straying far.
        """
        mean: Tensor = (from_0_to_1(self(basis)) + from_0_to_1(squashed(basis))) / 2
        return mean


class Refined(nn.Module):
    """CAM, the class's posterior in each cell, energies and details of the layers, refined by a few small networks.

    Each network is fitted with other chances (order, crops, held-out photos), and L is the mean of their maps: what one
    has learned by chance the others do not share.
    """

    own: Tensor
    down: Tensor
    middle: Tensor
    white: Tensor

    def __init__(
        self,
        own: Tensor,
        *,
        down: Tensor,
        middle: Tensor,
        white: Tensor,
        members: int = MEMBERS,
        hidden: int = 16,
        kernel: int = 5,
        drop: float = 0.1,
    ) -> None:
        super().__init__()
        self.register_buffer("own", own)
        self.register_buffer("down", down)  # (P, J) principal directions, their mean, and what brings each to spread 1
        self.register_buffer("middle", middle)
        self.register_buffer("white", white)
        n = OF_CLASS + SHARED + len(down[:DETAILS])
        self._places: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.mixers = nn.ModuleList(Mixer(n, hidden=hidden, kernel=kernel, drop=drop) for _ in range(members))

    def forward(self, features: Sequence[Tensor], classes: Tensor, scores: Tensor) -> Tensor:
        """L (N, m, H', W') of features [A, B] or [A] for classes (N, m); scores (N, R) are the images'."""
        basis = self.basis(features, classes, scores)
        return self.refine(basis.flatten(0, 1)).reshape(basis.shape[0], basis.shape[1], *basis.shape[3:])

    def refine(self, basis: Tensor) -> Tensor:
        """L (n, H', W') of basis maps (n, k, H', W'): the mean of what `steadied` says for each network."""
        mean: Tensor = (from_0_to_1(self._learned(basis)).mean(dim=1) + from_0_to_1(squashed(basis))) / 2
        return mean

    def _learned(self, basis: Tensor) -> Tensor:
        """What every network makes of basis maps, (n, members, H', W'), side by side in one go."""
        nets = [self.member(i) for i in range(len(self.mixers))]

        def joined(name: str) -> tuple[Tensor, Tensor]:
            convs = [getattr(net, name) for net in nets]
            return torch.cat([c.weight for c in convs]), torch.cat([c.bias for c in convs])

        z = F.conv2d(basis, *joined("mix")).relu_()
        z = F.conv2d(z, *joined("around"), padding=nets[0].around.padding, groups=len(nets)).relu_()
        skip, bias = torch.stack([net.skip for net in nets]), torch.cat([net.bias for net in nets])
        return F.conv2d(z, *joined("out"), groups=len(nets)) + F.conv2d(basis, skip[..., None, None], bias)

    def member(self, number: int) -> Mixer:
        """One of the networks, to be trained."""
        mixer = self.mixers[number]
        assert isinstance(mixer, Mixer)
        return mixer

    @torch.no_grad()
    def basis(self, features: Sequence[Tensor], classes: Tensor, scores: Tensor) -> Tensor:
        """Standardised maps (N, m, n, H', W')."""
        A, B = features[0], features[-1]
        N, m, size = len(A), classes.shape[1], (int(B.shape[2]), int(B.shape[3]))
        coarse = torch.cat([self._of_classes(A.flatten(2), classes, scores), _energies(A.flatten(2))], dim=1)
        coarse = F.interpolate(coarse.reshape(N, -1, *A.shape[2:]), size, mode="bilinear", align_corners=False)
        z = self.down @ B.flatten(2) - self.middle[:, None]
        away, centre = self._place(size, B)
        near = _likeness(z, away)
        of_class = standardised(coarse)[:, : 5 * m].reshape(N, m, 5, *size)
        spread = of_class[:, :, [0, 2]].flatten(3).flatten(1, 2) @ near.transpose(1, 2)
        of_class = torch.cat([of_class, standardised(spread.reshape(N, m, 2, *size))], dim=2)
        everyone = torch.cat(
            [
                standardised(coarse[:, 5 * m :]),
                standardised(z.norm(dim=1).reshape(N, 1, *size)),
                centre.expand(N, 1, *size),
                (z[:, :DETAILS] * self.white[:DETAILS, None]).reshape(N, -1, *size),
            ],
            dim=1,
        )
        return torch.cat([of_class, everyone[:, None].expand(-1, m, -1, -1, -1)], dim=2)

    def _of_classes(self, cells: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
        """CAM, its positive part, log posterior (soft), posterior, and the strongest other class: (N, 5 m, h w).

        Posteriors are among the class and the image's highest others: the rest of a thousand are never close.
        """
        m = classes.shape[1]
        rivals = scores.topk(min(RIVALS, scores.shape[1]), dim=1).indices
        found = self.own[torch.cat([classes, rivals], dim=1)] @ cells
        cam, others = found[:, :m], found[:, None, m:].expand(-1, m, -1, -1)
        others = others.masked_fill((rivals[:, None] == classes[..., None])[..., None], NEVER)
        other = others.logsumexp(dim=2)
        soft = F.logsigmoid(COLD * cam - (COLD * others).logsumexp(dim=2))
        return torch.stack([cam, cam.clamp_min(0), soft, (cam - other).sigmoid(), other], dim=2).flatten(1, 2)

    def _place(self, size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
        """What depends on the grid alone, made once: squared distances (p, p) in units of reach, the centre (h, w)."""
        if size not in self._places or self._places[size][0].device != like.device:
            rows, columns = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
            place = torch.stack([rows.flatten(), columns.flatten()], dim=1).to(like) * (14 / max(size))
            h, w = (((torch.arange(n) + 0.5) / n - 0.5) / 0.25 for n in size)
            centre = torch.exp(-0.5 * (h[:, None] ** 2 + w[None] ** 2)).to(like)
            self._places[size] = torch.cdist(place, place).square() / (2 * REACH**2), standardised(centre)
        return self._places[size]


def squashed(basis: Tensor) -> Tensor:
    """The sigmoid (n, h, w) of standardised CAM."""
    return (SLOPE * basis[:, 0] + SHIFT).sigmoid()


def standardised(maps: Tensor) -> Tensor:
    """Each map (..., h, w) with mean 0 and standard deviation 1; one that is flat but for rounding stays near 0."""
    centred = maps - maps.mean(dim=(-2, -1), keepdim=True)
    noise = 1e-3 * maps.abs().amax(dim=(-2, -1), keepdim=True) + 1e-6
    return centred / (centred.std(dim=(-2, -1), keepdim=True) + noise)


def from_0_to_1(maps: Tensor) -> Tensor:
    """Each map (..., h, w) with lowest value 0 and highest 1; a flat one is 0."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def principal(B: Tensor, cells: int = 6000) -> tuple[Tensor, Tensor, Tensor]:
    """Principal directions (P, J) of the standardised cells of maps (N, J, h, w), the mean along each, and whitening.

    The spread of each channel is part of the directions, so that one product takes raw cells to their codes.
    """
    rows = B.permute(0, 2, 3, 1).flatten(0, 2)
    pick = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:cells]
    some = rows[pick].double()
    middle, spread = some.mean(dim=0), some.std(dim=0)
    spread = (spread + 0.1 * spread.mean()).clamp_min(1e-12)
    X = (some - middle) / spread
    values, vectors = torch.linalg.eigh(X.T @ X / len(X))
    count = min(DIRECTIONS, len(values))
    top, size = vectors[:, -count:].flip(1).T, values[-count:].flip(0)
    return (top / spread).float(), (top @ (middle / spread)).float(), size.clamp_min(1e-6).rsqrt().float()


def _energies(cells: Tensor) -> Tensor:
    """How much is going on in each cell whatever the class: sum of positive activations, and norm, (N, 2, h w)."""
    return torch.stack([cells.clamp_min(0).sum(dim=1), cells.norm(dim=1)], dim=1)


def _likeness(z: Tensor, away: Tensor) -> Tensor:
    """Weights (N, p, p) of all cells for each, higher for cells whose codes (N, P, p) look alike and that lie near."""
    unit = F.normalize(z, dim=1)
    return torch.baddbmm(away, unit.transpose(1, 2), unit, beta=-1, alpha=SHARP).softmax(dim=2)
