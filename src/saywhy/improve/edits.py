"""A picture with its culprit taken away, or put in: the same picture but for that.

n images (n, 3, H, W) in [0, 1]; masks (H, W) bool. A thing is painted over, or pasted in from another picture; of
surroundings the object is set before those of another picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.audit.cutout import emptied, placed
from saywhy.errors import UsageError
from saywhy.improve.culprit import Culprit
from saywhy.improve.lessons import Frames
from saywhy.intervene import hide

Ints = NDArray[np.int64]

DONORS = 64  # pictures of either kind that things or surroundings are taken from
RIM = 1  # pixels that a thing is cut wider


@dataclass(eq=False)
class Edits:
    """Edits of the pictures of `frames`: whatever a picture has of the culprit is turned into the other.

    `having` and `lacking` are the pictures that things and surroundings are taken from.

    Raises:
        UsageError: nobody knows where the culprit is.
    """

    frames: Frames
    culprit: Culprit
    having: Ints
    lacking: Ints
    _behind: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.culprit.where is None:
            raise UsageError(
                f"nobody knows where {self.culprit.name!r} is in a picture, and it cannot be taken away: name a mask "
                "or box (--cue), or say that it is what is behind the object (--cue surroundings:...)"
            )

    def turned(self, rows: Sequence[int], draws: Sequence[int]) -> Tensor:
        """Pictures (n, 3, H, W) without the culprit where they have it, else with it; draws choose the donors."""
        images = self.frames[rows].clone()
        having = [i for i, row in enumerate(rows) if self.culprit.present[row]]
        if having and not self.culprit.behind:  # all at once: a painted picture costs more than the rest of its step
            keep = torch.stack([~wider(self.place(rows[i]), RIM) for i in having])
            images[having] = hide(images[having], keep.to(images.dtype), "inpaint")
        for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
            if self.culprit.behind:
                donor = _pick(self.lacking if self.culprit.present[row] else self.having, draw)
                images[i] = placed(images[i], self.frames.object(row), self._surroundings(donor))
            elif not self.culprit.present[row]:
                images[i] = self._with(images[i], _pick(self.having, draw))
        return images

    def _with(self, image: Tensor, donor: int) -> Tensor:
        cut = wider(self.place(donor), RIM).to(image.dtype)
        soft = F.avg_pool2d(F.pad(cut[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
        return torch.lerp(image, self.frames[[donor]][0], torch.minimum(soft, cut[None]))

    def place(self, row: int) -> Tensor:
        """Where the culprit is (H, W)."""
        assert self.culprit.where is not None
        return self.culprit.where(row)

    def _surroundings(self, row: int) -> Tensor:
        if row not in self._behind:
            self._behind[row] = emptied(self.frames[[row]][0], self.frames.object(row))
        return self._behind[row]


def edits_of(frames: Frames, culprit: Culprit, rows: Ints, seed: int) -> Edits:
    """Edits whose donors are some of these pictures."""
    dice = np.random.default_rng(seed)
    having, lacking = (dice.permutation(rows[culprit.present[rows] == kind])[:DONORS] for kind in (True, False))
    return Edits(frames, culprit, having, lacking)


def wider(mask: Tensor, pixels: int) -> Tensor:
    """A mask (H, W) that is so much wider all around."""
    return F.max_pool2d(mask[None, None].float(), 2 * pixels + 1, 1, pixels)[0, 0] > 0.5


def _pick(donors: Sequence[int] | Ints, draw: int) -> int:
    return int(donors[draw % len(donors)])
