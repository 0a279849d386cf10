"""Rendered birds kept in memory: rendered once on all cores, then read from a cache outside the project.

n pictures of S x S pixels, 64, 128 or 224: `pixels` (n, S, S, 3) uint8, `parts` (n, S, S) uint8 with 0 for the
background and 1 + p for part p of the edition.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saywhy import files
from saywhy.aviary.faults import sample
from saywhy.aviary.networks import SIDE
from saywhy.aviary.scene import STRIDE, Scene, render
from saywhy.aviary.world import world
from saywhy.image import Picture, Preprocess, frame

CHUNK = 480  # pictures a task: a whole number of blocks of species
DIRECT = 4  # every fourth picture is rendered at 64 pixels, the others at 128 and scaled as a photo would be
LARGE = 224  # every fourth picture of 128 pixels is rendered so large and scaled
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Pictures:
    """Pictures with their labels: `labels` as the data set says, `species` as it is (they differ for wrong labels)."""

    pixels: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    labels: NDArray[np.int64]
    species: NDArray[np.int64]
    splits: NDArray[np.int64]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, split: str) -> Pictures:
        """Those of one split."""
        return self.where(self.splits == SPLIT_NAMES.index(split))

    def where(self, chosen: NDArray[Any]) -> Pictures:
        """Those that `chosen` (n,), boolean or indices, picks."""
        return Pictures(*(getattr(self, name)[chosen] for name in Pictures.__dataclass_fields__))


def paint(scene: Scene, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels and parts of a scene at side x side, as a classifier of the aviary sees a picture of it."""
    rendered = render(scene)
    at = ((np.arange(side) + 0.5) * (scene.size / side)).astype(np.int64)
    owner = np.maximum(rendered.owner[np.ix_(at, at)], 0)
    parts = np.where(owner > 0, (owner - 1) % STRIDE + 1, 0).astype(np.uint8)
    if scene.size == side:
        return rendered.pixels, parts
    framed, _ = frame(Picture(rendered.pixels, None, "", ()), Preprocess((side, side), None, (0.5,) * 3, (0.25,) * 3))
    return np.round(framed.transpose(1, 2, 0) * 255).astype(np.uint8), parts


def _size(index: int, side: int) -> int:
    direct = index % DIRECT == DIRECT - 1
    if side == SIDE:
        return SIDE if direct else 2 * SIDE
    return LARGE if direct else side


def _chunk(first: int, *, count: int, seed: int, fault: str | None, edition: str, side: int) -> dict[str, NDArray[Any]]:
    rows: list[tuple[Any, ...]] = []
    classes = world(edition).classes
    for index in range(first, first + count):
        one = sample(seed, index, fault=fault, size=_size(index, side), edition=edition)
        pixels, parts = paint(one.scene, side)
        split = SPLIT_NAMES.index(one.split)
        rows.append((pixels, parts, one.class_index, classes.index(one.species), split, one.group))
    return {k: np.array(v) for k, v in zip(Pictures.__dataclass_fields__, zip(*rows, strict=True), strict=True)}


def _mark(seed: int, fault: str | None, edition: str, side: int) -> str:
    """A name that changes when the pictures do: the hash of a few of them."""
    digest = hashlib.sha256()
    for index in range(0, 240, 15):
        one = sample(seed, index, fault=fault, edition=edition)
        digest.update(render(one.scene).pixels.tobytes() + one.class_name.encode())
    kind = "" if (edition, side) == ("1", SIDE) else f"{edition}-{side}-"
    return f"{kind}{fault or 'clean'}-{seed}-{digest.hexdigest()[:12]}"


def cache_folder() -> Path:
    """Where rendered pictures and checkpoints are kept: `SAYWHY_CACHE`, or a folder of this user among the temporary
    files."""
    given = os.environ.get("SAYWHY_CACHE")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"saywhy-{os.getuid()}"


def pictures(
    count: int, *, seed: int, fault: str | None = None, edition: str = "1", side: int = SIDE,
    told: Callable[[str], None] = lambda text: None,
) -> Pictures:  # fmt: skip
    """Pictures 0 .. count-1 of a seed, rounded up to whole chunks of 480, clean or with a planted fault.

    A picture never depends on how many are drawn. The first call renders about 100 pictures a second a core.
    """
    folder = cache_folder() / _mark(seed, fault, edition, side)
    starts = range(0, count, CHUNK)
    missing = [s for s in starts if not (folder / f"{s}.npz").exists()]
    if missing:
        told(f"rendering {len(missing) * CHUNK} pictures")
        make = partial(_chunk, count=CHUNK, seed=seed, fault=fault, edition=edition, side=side)
        with ProcessPoolExecutor(min(os.cpu_count() or 1, len(missing)), get_context("spawn")) as pool:
            for start, arrays in zip(missing, pool.map(make, missing), strict=True):
                _write(folder / f"{start}.npz", arrays)
    loaded = [np.load(folder / f"{s}.npz") for s in starts]
    return Pictures(*(np.concatenate([part[name] for part in loaded]) for name in Pictures.__dataclass_fields__))


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    files.write(path, out.getvalue(), sync=False)
