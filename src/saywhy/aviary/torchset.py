"""The aviary as a torch data set that renders on demand and keeps nothing on disk."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from saywhy.aviary.faults import sample
from saywhy.aviary.sampling import Sample, label
from saywhy.aviary.scene import SIZE, render
from saywhy.errors import UsageError


class AviaryDataset(Dataset[tuple[torch.Tensor, int]]):
    """Pictures 0 .. images-1 of a seed (of one split, or all): `(image, class_index)`.

    The image is (3, size, size) float32 in [0, 1]; the class index is the label, wrong where the fault says
    so. `sample(i)` gives the scene and what was planted. Worker processes give the same pictures.

    Raises:
        UsageError: no picture of that split among so few.
    """

    def __init__(
        self, images: int, *, seed: int = 0, split: str | None = None, fault: str | None = None, size: int = SIZE,
        edition: str = "1",
    ) -> None:  # fmt: skip
        self.seed, self.fault, self.size, self.edition = seed, fault, size, edition
        self.indices = [i for i in range(images) if split is None or label(seed, i, edition=edition)[1] == split]
        if not self.indices:
            raise UsageError(f"no picture of the split {split!r} among {images}; ask for at least 120 images")

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, item: int) -> Sample:
        """Scene, labels and planted truth of an item."""
        return sample(self.seed, self.indices[item], fault=self.fault, size=self.size, edition=self.edition)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        one = self.sample(item)
        pixels = torch.from_numpy(render(one.scene).pixels.transpose(2, 0, 1).copy())
        return pixels.float().div_(255), one.class_index
