"""How near two classes are for a classifier: whether its scores for them rise and fall together over many pictures.

That needs no list of words, no gradients and no pass more; N pictures, C classes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saywhy.audit.report import Nearness

FEWEST = 20  # pictures, or correlations say nothing


def packed(probabilities: Tensor) -> str:
    """Log-probabilities (C,) about their mean, as text."""
    logs = probabilities.double().clamp_min(1e-12).log()
    return base64.b64encode((logs - logs.mean()).numpy().astype(np.float16).tobytes()).decode()


class Together:
    """The log-probabilities of many pictures, to be asked about pairs of classes."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows = [np.frombuffer(base64.b64decode(text), dtype=np.float16) for text in texts]
        self.logs = torch.from_numpy(np.stack(rows).astype(np.float32)) if rows else torch.zeros(0, 0)

    def nearness(self, predicted: int, true: int, without: str | None = None) -> Nearness | None:
        """How near the true class is to the predicted one, over all pictures but the packed one `without`."""
        logs = self.logs
        if without is not None:
            own = torch.from_numpy(np.frombuffer(base64.b64decode(without), dtype=np.float16).astype(np.float32))
            logs = logs[(logs != own).any(dim=1)]
        N, C = logs.shape
        if N < FEWEST or C < 3:
            return None
        apart = logs - logs.mean(dim=0)
        unit = apart / apart.norm(dim=0).clamp_min(1e-9)
        together = unit[:, predicted] @ unit
        rank = int((together > together[true]).sum()) - int(together[predicted] > together[true]) + 1
        return Nearness(correlation=round(float(together[true]), 4), rank=rank, of=C - 1)
