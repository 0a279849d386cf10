"""The colours of every picture: one for what speaks for, one for what speaks against, one ramp for saliency.

Blue and orange are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), kept apart by all common kinds of
colour blindness. Colour never speaks alone: what is against also points left, and is hatched or dashed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from saywhy.explanation import SaliencyRecord
from saywhy.image import Floats

FOR = "#0072b2"
AGAINST = "#d55e00"
# On dark paper the lighter blue and orange of the same palette keep the contrast.
FOR_ON_DARK = "#56b4e9"
AGAINST_ON_DARK = "#e69f00"

# Five stops of cividis (Nuñez, Anderton and Renslow 2018): lightness grows evenly, also for the colour-blind.
RAMP = ((0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 174, 108), (254, 232, 56))
MOST_OPAQUE = 0.85


def sign_colour(value: float) -> str:
    """The colour of what speaks for (zero and above) or against (below zero)."""
    return FOR if value >= 0 else AGAINST


def is_drawn(saliency: SaliencyRecord | None) -> bool:
    """Whether there is anything to draw: a map that was measured and is not flat, all negative or broken."""
    return saliency is not None and saliency.status == "ok" and saliency.maximum > 0


def heat(saliency: SaliencyRecord, size: tuple[int, int]) -> Image.Image:
    """The positive part of a map as an RGBA picture of `size` (width, height); the alpha follows the value."""
    values = np.asarray(saliency.values, dtype=np.float32)
    shown = np.maximum(values, 0) / np.float32(saliency.maximum)
    grown = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(ramp(np.clip(np.asarray(grown, dtype=np.float32), 0, 1)), "RGBA")


def ramp(values: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """RGBA bytes (H, W, 4) of values (H, W) in [0, 1]."""
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(values, stops, [colour[c] for colour in RAMP]) for c in range(3)]
    # A little above the straight line, or middle values would drown in the photo.
    channels.append(255 * MOST_OPAQUE * values.astype(np.float64) ** 0.7)
    return np.stack(channels, axis=-1).round().astype(np.uint8)
