"""Maps by a head that was fitted to one classifier; heads themselves are parts of an explainer (`saywhy.lcam`).

N images, m classes asked of each, L (N, m, h, w) the raw maps.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.layers import Point
from saywhy.tap import Tap
from saywhy.targets import Targets


@runtime_checkable
class Head(Protocol):
    """What a fitted head can do: say which layers it reads, and give the maps of classes from a tap."""

    def maps(self, tap: Tap, classes: Tensor) -> Tensor:
        """Raw maps L (N, m, h, w) of classes (N, m)."""

    def points(self, clf: Classifier) -> list[Point]:
        """The layers of the classifier that it reads."""


def l_cam(tap: Tap, targets: Targets, *, head: object = None) -> Tensor:
    """L-CAM: the head's map of the class, min-max normalised before it is scaled up, with no sigmoid around it.

    `head` is an LCam: fitted by `saywhy fit`, or loaded with an explainer.

    Raises:
        UsageError: no head, a target that is no class, a layer that was not tapped.

    Source: Gkartzonika et al. 2022, equation 9.
    """
    if not isinstance(head, Head):
        raise UsageError(
            "l-cam needs a fitted head: fit one with `saywhy fit IMAGES --parts lcam -o DIR` and give --explainer DIR "
            '(in Python: head=saywhy.Explainer.load(DIR, clf).parts["lcam"]). Use grad-cam where there is none'
        )
    if targets.indices is None:
        raise UsageError("l-cam explains classes; for another target use grad-cam")
    with torch.no_grad():
        L = head.maps(tap, targets.indices[:, None])[:, 0]
        if targets.versus is not None:
            L = L - targets.weight * head.maps(tap, targets.versus[:, None])[:, 0]
    low, high = L.amin(dim=(1, 2), keepdim=True), L.amax(dim=(1, 2), keepdim=True)
    return (L - low) / (high - low).clamp_min(torch.finfo(L.dtype).tiny)
