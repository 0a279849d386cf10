"""Controls that were never trained, made of another row's map: its values change and its places do not.

What such a map wins over its origin is a matter of area, not of knowing more. N images, raw maps (N, h, w), display
maps (N, H, W) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import unknown
from saywhy.metrics import CONTROLS
from saywhy.saliency import METHODS, Status, display

SLOPE, SHIFT = 2.0, 0.5


@dataclass(frozen=True)
class Derived:
    """A control that takes the raw maps of `of`, a row of METHODS or CONTROLS: `change(raw, size)` gives display maps
    (N, H, W) and their statuses."""

    of: str
    change: Callable[[Tensor, tuple[int, int]], tuple[Tensor, tuple[Status, ...]]]
    summary: str


def fake_cam(raw: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[Status, ...]]:
    """1 everywhere but for the first pixel, which is 0: no constant, and yet no explanation.

    Source: Poppi et al., arXiv 2104.10252.
    """
    fake = torch.ones_like(raw)
    fake[:, 0, 0] = 0
    return display(fake, size)


def root(raw: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[Status, ...]]:
    """The square root of the display map: larger, and in exactly the same order."""
    shown, status = display(raw, size)
    return shown.sqrt(), status


def squashed(raw: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[Status, ...]]:
    """sigmoid(2 z + 0.5) of the standardised map z = (raw - mean) / deviation of its cells; whatever the map's scale.

    On EfficientNet-lite0's CAM this is sigmoid(0.25 CAM - 1.9) on average, the area that the L-CAM loss likes there.
    """
    centred = raw - raw.mean((1, 2), keepdim=True)
    z = centred / centred.std((1, 2), correction=0, keepdim=True).clamp_min(torch.finfo(raw.dtype).tiny)
    shown, status = display((SLOPE * z + SHIFT).sigmoid(), size)
    flat = [s == "flat" for s in display(raw, (int(raw.shape[1]), int(raw.shape[2])))[1]]  # and no picture of rounding
    shown[flat] = 0
    return shown, tuple("flat" if f else s for f, s in zip(flat, status, strict=True))


# Grad-CAM equals CAM up to a positive factor wherever CAM exists, and exists for all networks that have maps.
DERIVED: dict[str, Derived] = {
    "fake-cam": Derived("constant", fake_cam, "1 everywhere but for one pixel, Poppi et al. 2021"),
    "cam^0.5": Derived("grad-cam", root, "the square root of the display map of grad-cam"),
    "sigmoid(cam)": Derived("grad-cam", squashed, f"sigmoid({SLOPE:g} z + {SHIFT:g}) of grad-cam's standardised map z"),
}


def is_control(name: str) -> bool:
    """Whether a row of that name is a control."""
    return name in CONTROLS or name in DERIVED


def knows_nothing(name: str) -> bool:
    """Whether a row's map depends on the picture's size alone."""
    return name in CONTROLS or (name in DERIVED and DERIVED[name].of in CONTROLS)


def controls_for(clf: Classifier, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The controls of these names that the classifier can serve, each once, and a sentence on the others.

    Raises:
        UsageError: an unknown control.
    """
    for name in names:
        if not is_control(name):
            raise unknown("control", name, [*CONTROLS, *DERIVED])
    lacking = [
        n for n in names if n in DERIVED and DERIVED[n].of in METHODS and METHODS[DERIVED[n].of].needs != "scores"
    ]
    lacking = [] if clf.white_box else lacking
    said = [f"{', '.join(lacking)}: left out, a black box has no layers to look into."] if lacking else []
    return [n for n in dict.fromkeys(names) if n not in lacking], said
