"""Other backgrounds: four nearly plain grounds, or pictures of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import find_images
from saywhy.errors import InputError

COUNT = 4
PLAIN: dict[str, tuple[float, float, float]] = {
    "meadow": (0.45, 0.60, 0.35),
    "sand": (0.75, 0.68, 0.55),
    "stone": (0.60, 0.60, 0.62),
    "sky": (0.70, 0.80, 0.90),
}
UNEVEN, CELLS, SEED = 0.03, 6, 6  # how much a plain ground varies, over how many cells, and which draw


@dataclass(frozen=True, eq=False)
class Grounds:
    """Backgrounds: their names, pictures (m, 3, H, W) as the classifier sees them, and the sha256 of those that were
    files ("" for plain ones)."""

    kind: Literal["grounds", "folder"]
    names: tuple[str, ...]
    pictures: Tensor
    files: tuple[str, ...]

    def for_photo(self, sha256: str) -> Grounds:
        """The first four that are not the photo itself; fewer where there are no more."""
        use = [i for i, file in enumerate(self.files) if file != sha256][:COUNT]
        return Grounds(
            self.kind, tuple(self.names[i] for i in use), self.pictures[use], tuple(self.files[i] for i in use)
        )


def plain(size: tuple[int, int]) -> Grounds:
    """Meadow, sand, stone and sky: one colour each with a soft unevenness. Always the same.

    Textures would be mistaken for something: with rough ones a sound classifier loses its birds too.
    """
    generator = torch.Generator().manual_seed(SEED)
    soft = torch.randn(len(PLAIN), 3, CELLS, CELLS, generator=generator)
    colours = torch.tensor(list(PLAIN.values()))[:, :, None, None]
    pictures = colours + UNEVEN * F.interpolate(soft, size, mode="bicubic", align_corners=False)
    return Grounds("grounds", tuple(PLAIN), pictures.clamp(0, 1), ("",) * len(PLAIN))


def of_user(clf: Classifier, source: str | Path | Sequence[str | Path], seed: int = 0) -> Grounds:
    """Pictures of a folder (or glob, or list of files), drawn by the seed and framed as the classifier sees photos.

    One more than four where there is one: a photo that lies in the folder itself is no other background.

    Raises:
        InputError: no such folder, fewer than four pictures, or one that cannot be read.
    """
    if isinstance(source, (str, Path)) and Path(source).is_file():
        raise InputError(f"surroundings {source}: one file; give a folder with at least {COUNT} pictures")
    items = find_images(source)
    if len(items) == 1 and not items[0].path.exists():
        raise InputError(f"surroundings {source}: no such folder")
    if len(items) < COUNT:
        raise InputError(f"surroundings {source}: {len(items)} pictures; at least {COUNT} are needed to compare")
    drawn = np.random.default_rng(seed).permutation(len(items))[: COUNT + 1]
    pictures = [clf.read(items[int(i)].path) for i in drawn]
    names = tuple(items[int(i)].path.name for i in drawn)
    return Grounds("folder", names, clf.prepare(pictures)[0], tuple(p.sha256 for p in pictures))
