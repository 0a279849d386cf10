"""The branch's network: from the means of all channels to where a text space would put the picture, and its losses.

N pictures, Z channels, d dimensions of the text space, T texts. Source: CE-FAM (Kuroki and Yamasaki 2025), whose
network it is, but for the standardised input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.train.loop import Step

HIDDEN = (256, 192)
SMALLEST = 1e-3  # of the largest spread: a channel that hardly moves is not blown up


class Imitator(nn.Module):
    """Two hidden layers with tanh; `mean` and `spread` (Z,) of its inputs."""

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int, width: int, hidden: tuple[int, int] = HIDDEN) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels, hidden[0]), nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], width)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    def standardise(self, z: Tensor) -> None:
        """Takes mean and spread from the training pictures' (N, Z)."""
        spread = z.std(dim=0, unbiased=False)
        self.mean.copy_(z.mean(dim=0))
        self.spread.copy_(spread.clamp_min(SMALLEST * float(spread.max().clamp_min(1e-12))))

    def forward(self, z: Tensor) -> Tensor:
        """Vectors (N, d), of any length."""
        inner = torch.tanh(self.first((z - self.mean) / self.spread))
        return self.last(torch.tanh(self.second(inner)))  # type: ignore[no-any-return]

    def jacobian(self, z: Tensor) -> Tensor:
        """The derivative (d, Z) of the vector of one picture (Z,): in closed form, for all texts at once."""
        one = torch.tanh(self.first((z - self.mean) / self.spread))
        two = torch.tanh(self.second(one))
        inner = (1 - two**2)[:, None] * self.second.weight @ ((1 - one**2)[:, None] * self.first.weight / self.spread)
        return self.last.weight @ inner


def slopes(net: Imitator, z: Tensor, texts: Tensor, scale: float) -> Tensor:
    """How the log-odds of each text (T, d) change with every channel's mean (T, Z), at one picture (Z,)."""
    vector = net(z[None])[0]
    length = vector.norm().clamp_min(1e-12)
    unit = vector / length
    across = (texts - (texts @ unit)[:, None] * unit) / length
    found: Tensor = scale * across @ net.jacobian(z)
    return found


def losses(vectors: Tensor, seen: Tensor, texts: Tensor, scale: float, likeness: float) -> dict[str, Tensor]:
    """CE-FAM's: the squared distance to the teacher's vectors (N, d), which have length 1 and are compared at the
    length sqrt(d), so that every dimension counts about 1; and `likeness` times that of the log-odds of all texts."""
    size = vectors.shape[1] ** 0.5
    embedding = F.mse_loss(vectors, seen * size)
    own, told = F.normalize(vectors, dim=1) @ texts.T, seen @ texts.T
    similar = F.mse_loss(scale * own, scale * told)
    cosine = F.cosine_similarity(vectors, seen).mean()
    return {"loss": embedding + likeness * similar, "embedding": embedding, "similar": similar, "cosine": cosine}


def imitate_step(net: Imitator, texts: Tensor, scale: float, likeness: float) -> Step:
    """A step of the training loop on batches of inputs (n, Z) and the teacher's vectors (n, d)."""

    def step(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        z, seen = batch
        return losses(net(z), seen, texts, scale, likeness)

    return step
