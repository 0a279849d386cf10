"""The joint space `own:2`: a vision transformer and a text transformer that were trained apart first, then together, on
pictures of painted birds of the second edition and what captions say of them.

The picture becomes 16 x 16 tokens; for each part of a bird a query looks where it is, and what the eye saw is the
sum of what the queries found. So it can be asked which place a text's likeness comes from. The axes of the joint
space are facts ("red breast"): a picture lies where the eye saw them to be likelier than usual, a text where it
claims them. N images, Q queries, F facts, T texts, d dimensions of the eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.aviary.networks import VitBlock
from saywhy.errors import UsageError
from saywhy.locking import seeded
from saywhy.spaces.towers import TextTower, conv_layer, read_weights, weights_folder

NAME = "own:2"
FILE = "own-2"
SIDE = 128  # of the images that it sees
GRID = SIDE // 8
SPACE = 160  # d
START = (4.4, 0.0)  # scale (its logarithm) and bias of log-odds, before they are learned
LEAST = -5.0  # the logarithm of the least probability of a fact
TOKEN, FOUND = 96, 48  # width of a token, and of what a query finds
FADED = 0.35  # of what surrounds a region in a close-up is left
MARGIN = 0.3  # of its side that is shown around a region


class Joint(TextTower):
    """Both towers; `anchors` (F, d) are directions of facts, by which each is trained before the two meet."""

    def __init__(self, words: Sequence[str], parts: Sequence[str], facts: Sequence[str]) -> None:
        super().__init__(words, TOKEN, SPACE, f"the text space {NAME!r}")
        # A picture has many facts and a text claims few, so that cosines are small.
        self.scale.data.fill_(START[0])
        self.bias.data.fill_(START[1])
        widths, strides = (3, 24, 48, 64, TOKEN), (2, 2, 1, 2)
        self.stem = nn.Sequential(*map(conv_layer, widths[:-1], widths[1:], strides))  # (N, E, 16, 16)
        self.spot = nn.Parameter(torch.randn(GRID * GRID, TOKEN) * 0.02)
        self.block, self.norm = VitBlock(TOKEN, 4, 2 * TOKEN), nn.LayerNorm(TOKEN)
        self.query = nn.Parameter(torch.randn(1 + len(parts), TOKEN) * 0.1)  # the first looks at the whole
        self.key, self.value = nn.Linear(TOKEN, TOKEN), nn.Linear(TOKEN, FOUND)
        self.seen = nn.Parameter(torch.randn(1 + len(parts), FOUND, SPACE) * 0.05)
        self.anchors = nn.Parameter(torch.randn(len(facts), SPACE) * 0.1)
        self.sure, self.rare = nn.Parameter(torch.tensor(2.5)), nn.Parameter(torch.zeros(len(facts)))
        # A text claims few of the facts: they are rarer than in pictures, and have numbers of their own.
        self.usual = nn.Parameter(torch.zeros(len(facts)))  # the logarithm of how likely each fact is
        self.claim_sure, self.claim_rare = (
            nn.Parameter(torch.tensor(2.5)),
            nn.Parameter(torch.full((len(facts),), -4.0)),
        )

    def looked(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What every query adds to the vector (N, Q, d), and where it looked (N, Q, h, w), which adds up to 1."""
        if images.shape[2:] != (SIDE, SIDE):
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        cells = self.stem(((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last))
        tokens = self.norm(self.block(cells.flatten(2).transpose(1, 2) + self.spot))  # (N, h * w, E)
        where = torch.einsum("qe,nce->nqc", self.query, self.key(tokens)) * TOKEN**-0.5
        where = where.float().softmax(2)
        found = torch.einsum("nqc,ncf->nqf", where, self.value(tokens).float())
        return torch.einsum("nqf,qfd->nqd", found, self.seen), where.unflatten(2, (GRID, GRID))

    def images(self, images: Tensor) -> Tensor:
        """Vectors (N, F) of images of any size."""
        return self.held(self.looked(images)[0].sum(1))

    def held(self, vectors: Tensor) -> Tensor:
        """How much more likely than usual each fact is (N, F), by vectors of the eye (N, d)."""
        return F.logsigmoid(self.told(vectors)).clamp_min(LEAST) - self.usual

    def pointing(self, images: Tensor, texts: Tensor) -> Tensor:
        """Where in each image (N, T, h, w) its likeness to each text's vector (T, F) comes from; 0 and more."""
        added, where = self.looked(images)
        directions = F.normalize(texts @ F.normalize(self.anchors, dim=1), dim=1)
        return torch.einsum("nqt,nqhw->nthw", (added @ directions.T).clamp_min(0), where)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (T, F) of texts: how likely each claims each fact.

        Raises:
            UsageError: a word that it does not know, or a text that is too long.
        """
        return self.claimed(texts).sigmoid()

    def claimed(self, texts: Sequence[str]) -> Tensor:
        """Log-odds (T, F) that each text claims each fact."""
        return self.claim_sure.exp() * self._cosines(super().texts(texts)) + self.claim_rare

    def told(self, vectors: Tensor) -> Tensor:
        """Log-odds (N, F) that each fact holds in pictures with these vectors."""
        return self.sure.exp() * self._cosines(vectors) + self.rare

    def _cosines(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors.float(), dim=1) @ F.normalize(self.anchors, dim=1).T


def close_ups(images: Tensor, masks: Tensor, margin: float | Tensor = MARGIN) -> Tensor:
    """Regions (N, H, W), boolean, of images (N, 3, H, W) as images of their own: scaled up, what surrounds them faded.

    Raises:
        UsageError: an empty region.
    """
    there = masks.flatten(1).any(1)
    if not bool(there.all()):
        raise UsageError("a close-up needs a region of at least one pixel")
    faded = torch.where(masks[:, None], images, 0.5 + FADED * (images - 0.5))
    ends = [_ends(masks.any(axis)) for axis in (1, 2)]  # of columns, of rows; in [-1, 1]
    middle = torch.stack([(low + high) / 2 for low, high in ends], dim=1)
    half = torch.stack([(high - low) / 2 for low, high in ends], dim=1).amax(1) * (1 + margin)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = half
    theta[:, :, 2] = middle
    grid = F.affine_grid(theta, [len(images), 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(faded, grid.to(faded), mode="bilinear", padding_mode="border", align_corners=False)


def _ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and last true place (N,) of lines (N, L), as the edges of those cells in [-1, 1]."""
    length = line.shape[1]
    first = line.to(torch.uint8).argmax(1)
    last = length - line.flip(1).to(torch.uint8).argmax(1)
    return 2 * first / length - 1, 2 * last / length - 1


def untaught(words: Sequence[str], parts: Sequence[str], facts: Sequence[str], seed: int = 0) -> Joint:
    """The space with random weights, the same for the same seed."""
    with seeded(seed):
        return Joint(words, parts, facts)


@cache
def load_joint(folder: Path | None = None) -> tuple[Joint, dict[str, Any]]:
    """The trained space, in eval mode and without gradients, and its card.

    Raises:
        UsageError: a broken file, or weights that are not those of the card.
    """
    return read_weights(
        (folder or weights_folder()) / f"{FILE}.safetensors",
        lambda card: untaught(card["words"], card["parts"], card["facts"]),
        "python -m saywhy.train.jointspace",
    )
