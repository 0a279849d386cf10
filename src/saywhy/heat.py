"""The colours of a saliency map, and a map laid on a photo. NumPy and Pillow only.

H, W: height and width in pixels. Boxes are (x0, y0, x1, y1) in pixels of the photo.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
# Five stops of cividis (Nuñez, Anderton and Renslow 2018): lightness grows evenly, also for the colour-blind.
RAMP = ((0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 174, 108), (254, 232, 56))
MOST_OPAQUE = 0.85


def ramp(values: Floats) -> NDArray[np.uint8]:
    """RGBA bytes (H, W, 4) of values (H, W) in [0, 1]."""
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(values, stops, [colour[c] for colour in RAMP]) for c in range(3)]
    # A little above the straight line, or middle values would drown in the photo.
    channels.append(255 * MOST_OPAQUE * values.astype(np.float64) ** 0.7)
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def grown(values: Floats, size: tuple[int, int]) -> Image.Image:
    """The colours of values (h, w) in [0, 1] as RGBA of `size` (width, height); the alpha follows the value."""
    smooth = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(ramp(np.clip(np.asarray(smooth), 0, 1)), "RGBA")


def laid_on(pixels: NDArray[np.uint8], values: Floats, box: tuple[int, int, int, int]) -> Image.Image:
    """The photo (H, W, 3) with values (h, w) in [0, 1] over its `box`; what lies outside the box is left as it is."""
    image, (x0, y0, x1, y1) = Image.fromarray(pixels), box
    heat = grown(values, (x1 - x0, y1 - y0))
    image.paste(heat, (x0, y0), heat)
    return image
