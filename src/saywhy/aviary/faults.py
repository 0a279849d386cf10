"""Planted faults, each with its ground truth and a clean control."""

from __future__ import annotations

from saywhy.aviary.sample import Sample, clean_sample
from saywhy.aviary.scene import SIZE


def sample(seed: int, index: int, *, fault: str | None = None, size: int = SIZE) -> Sample:
    """Picture `index` of a seed, with a planted fault or clean."""
    return clean_sample(seed, index, size=size)
