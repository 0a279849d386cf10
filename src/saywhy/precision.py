"""The number formats that torch computes in: full ones where the answers of two passes are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

SINGLE, DOUBLE = 1e-6, 1e-15  # probabilities nearer to 1 are not told apart in these formats


def log_odds(p: ArrayLike, nearest: float = DOUBLE) -> NDArray[np.float64]:
    """log(p / (1 - p)) of probabilities; those nearer to 0 or 1 than that are moved there."""
    inside = np.clip(np.asarray(p, dtype=np.float64), nearest, 1 - nearest)
    return np.asarray(np.log(inside / (1 - inside)))


@contextmanager
def exactly() -> Iterator[None]:
    """Convolutions and matrix products of float32 in float32, on a GPU too; leaves torch's settings as found.

    There torch rounds the inputs of convolutions to ten bits (TF32) unless it is told otherwise, and in another way for
    another batch size: two passes that must agree would seem to differ.
    """
    with ExitStack() as undo:
        for place, name, exact in _settings():
            undo.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, exact)
        yield


def _settings() -> list[tuple[Any, str, Any]]:
    """Torch's settings (where, name, the exact value); since 2.9 under another name, and the two must not be mixed."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return [(cudnn.conv, "fp32_precision", "ieee"), (products, "fp32_precision", "ieee")]
    return [(cudnn, "allow_tf32", False), (products, "allow_tf32", False)]
