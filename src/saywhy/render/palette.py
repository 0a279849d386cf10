"""The colours of every picture: one for what speaks for, one for what speaks against; the ramp of `heat` for saliency.

Blue and orange are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), kept apart by all common kinds of
colour blindness. Colour never speaks alone: what is against also points left, and is hatched or dashed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from saywhy.explanation import SaliencyRecord
from saywhy.heat import grown

FOR = "#0072b2"
AGAINST = "#d55e00"
# On dark paper the lighter blue and orange of the same palette keep the contrast.
FOR_ON_DARK = "#56b4e9"
AGAINST_ON_DARK = "#e69f00"


def sign_colour(value: float) -> str:
    """The colour of what speaks for (zero and above) or against (below zero)."""
    return FOR if value >= 0 else AGAINST


def is_drawn(saliency: SaliencyRecord | None) -> bool:
    """Whether there is anything to draw: a map that was measured and is not flat, all negative or broken."""
    return saliency is not None and saliency.status == "ok" and saliency.maximum > 0


def heat(saliency: SaliencyRecord, size: tuple[int, int]) -> Image.Image:
    """The positive part of a map as an RGBA picture of `size` (width, height); the alpha follows the value."""
    values = np.asarray(saliency.values, dtype=np.float32)
    return grown(np.maximum(values, 0) / np.float32(saliency.maximum), size)
