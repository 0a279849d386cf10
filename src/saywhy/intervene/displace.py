"""Displacing: regions cut out of a picture and pasted elsewhere in it, over what fills the place that they leave.

Regions that move by the same shift keep their relation and change their places; one that moves alone changes both.
k regions (k, H, W) of one image (3, H, W); a shift is (dy, dx) in pixels, down and to the right; C classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.intervene.engine import Masked, masked_probabilities
from saywhy.intervene.fills import Choice, shifted
from saywhy.intervene.memory import content

Move = tuple[tuple[int, int, int], ...]  # (region, dy, dx) of each that moves; the last one lies in front


@dataclass(frozen=True, eq=False)
class Displaced(Masked):
    """Masked images in which what was cut out lies elsewhere: `regions` (k, H, W) and one of `moves` a picture."""

    regions: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, dtype=torch.bool))
    moves: Sequence[Move] = ()

    def pictures(self, rows: Tensor, masks: Tensor) -> Tensor:
        """The displaced images (m, 3, H, W) of these numbers (m,), and what stays in place (m, H, W)."""
        holed = super().pictures(rows, masks)
        moves = [self.moves[i] for i in rows.tolist()]
        return torch.stack([_pasted(one, self.images[0], self.regions, m) for one, m in zip(holed, moves, strict=True)])

    def keys(self, rows: Tensor, masks: Tensor) -> list[Hashable]:
        """What tells each of these apart from all others."""
        holes = super().keys(rows, masks)
        return [(hole, self._arrived(self.moves[i])) for hole, i in zip(holes, rows.tolist(), strict=True)]

    def _arrived(self, move: Move) -> Hashable:
        return tuple((content(self.regions[i]), dy, dx) for i, dy, dx in move)


def displaced(image: Tensor, regions: Tensor, moves: Sequence[Move], fill: Choice = "inpaint", seed: int = 0) -> Masked:
    """The pictures with the regions of each move displaced; what they uncover shows the fill.

    Raises:
        UsageError: masks that are not boolean, no move, a region that is empty or would leave the picture.
    """
    if regions.dtype != torch.bool or regions.dim() != 3 or regions.shape[1:] != image.shape[1:]:
        raise UsageError(
            f"regions {tuple(regions.shape)} {regions.dtype}: boolean masks (k, H, W) of an image "
            f"{tuple(image.shape)} can be displaced"
        )
    for move in moves:
        for i, dy, dx in move:
            if not fits(regions[i], dy, dx):
                raise UsageError(
                    f"region {i} moved by ({dy}, {dx}) is empty or leaves the picture; "
                    "saywhy.intervene.fits says which shifts have room"
                )
    if not moves or not all(moves):
        raise UsageError("a move displaces at least one region: ((region, dy, dx), ...)")

    def make(start: int, stop: int) -> Tensor:
        return torch.stack([~regions[[i for i, _, _ in move]].any(dim=0) for move in moves[start:stop]])

    return Displaced(image[None], len(moves), make, fill, seed, regions=regions, moves=tuple(moves))


def displaced_probabilities(
    clf: Classifier, image: Tensor, regions: Tensor, moves: Sequence[Move], *, ways: Sequence[tuple[str, int]]
) -> Tensor:
    """Probabilities (ways, moves, C) of the image after each move, what is uncovered filled in each (fill, seed) way.

    Raises:
        UsageError: as `displaced`.
    """
    answers = masked_probabilities(clf, [displaced(image, regions, moves, fill, seed) for fill, seed in ways])
    return answers.reshape(len(ways), len(moves), -1)


def fits(region: Tensor, dy: int, dx: int) -> bool:
    """Whether a region (H, W), moved by a shift, is there and whole."""
    return bool(region.any()) and int(shifted(region, dy, dx).sum()) == int(region.sum())


def _pasted(holed: Tensor, image: Tensor, regions: Tensor, move: Move) -> Tensor:
    """A picture (3, H, W) with holes, and the pieces of the image where they come to lie."""
    for i, dy, dx in move:
        holed = torch.where(shifted(regions[i], dy, dx).to(image.device), shifted(image, dy, dx), holed)
    return holed
