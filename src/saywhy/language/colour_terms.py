"""The eleven basic colour terms: which one a person would use for a pixel.

A pixel is judged by lightness L (0..1), chroma C (0 grey .. about 0.3 vivid) and hue h (degrees) of OKLab
(B. Ottosson, "A perceptual color space for image processing", 2020). The terms are those of Berlin and Kay,
"Basic Color Terms", 1969. The borders below are ours. Light decides what is neutral: open shade is bluish and
lamps are yellowish, so a cool or a light warm pixel needs more chroma than others before it has a hue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saywhy.errors import InputError

TERMS = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")

ANY = (0.0, 1.01)
ALL = (0.0, 360.0)

# (term, hue from-to in degrees, lightness from-to, chroma from-to): the first row that fits names the pixel.
# A hue that goes from a larger to a smaller number passes through 0, the rose hues.
BORDERS: tuple[tuple[str, tuple[float, float], tuple[float, float], tuple[float, float]], ...] = (
    ("black", ALL, (0, 0.17), (0, 0.08)),
    ("black", ALL, (0, 0.24), (0, 0.05)),
    ("black", ALL, (0, 0.30), (0, 0.028)),
    ("white", ALL, (0.93, 1.01), (0, 0.04)),
    ("white", ALL, (0.84, 1.01), (0, 0.028)),
    ("white", (180, 310), (0.84, 1.01), (0, 0.036)),
    ("white", (70, 120), (0.84, 1.01), (0, 0.045)),
    ("grey", ALL, ANY, (0, 0.022)),
    ("grey", (90, 40), ANY, (0, 0.028)),
    ("grey", (180, 310), (0, 0.84), (0, 0.045)),
    ("grey", (70, 120), (0.8, 1.01), (0, 0.045)),
    # Rose hues: deep and dark ones are red, the others pink.
    ("purple", (335, 345), (0, 0.48), ANY),
    ("red", (345, 22), (0, 0.53), ANY),
    ("red", (5, 22), (0, 0.60), (0.14, 1)),
    ("pink", (335, 22), ANY, ANY),
    # Red hues: dull is brown, light is pink, towards yellow orange.
    ("brown", (22, 44), (0, 0.62), (0, 0.12)),
    ("pink", (22, 36), (0.70, 1.01), ANY),
    ("pink", (22, 44), (0.70, 1.01), (0, 0.12)),
    ("brown", (22, 44), (0.62, 0.70), (0, 0.11)),
    ("orange", (34, 44), (0.62, 1.01), ANY),
    ("orange", (39, 44), (0.56, 1.01), (0.15, 1)),
    ("red", (22, 44), ANY, ANY),
    # Orange hues: pale is pink (skin, peach), dark or dull is brown.
    ("pink", (44, 73), (0.80, 1.01), (0, 0.085)),
    ("orange", (44, 73), (0.56, 1.01), (0.145, 1)),
    ("brown", (44, 73), (0, 0.62), ANY),
    ("brown", (44, 73), ANY, (0, 0.11)),
    ("orange", (44, 73), ANY, ANY),
    # Yellow hues: sand and wood are brown, moss and olive green.
    ("orange", (73, 78), (0.70, 1.01), (0.13, 1)),
    ("brown", (73, 85), (0, 0.82), (0, 0.085)),
    ("yellow", (73, 110), (0.74, 1.01), (0.07, 1)),
    ("yellow", (110, 114), (0.88, 1.01), (0.07, 1)),
    ("yellow", (73, 110), (0.82, 1.01), ANY),
    ("green", (103, 114), ANY, ANY),
    ("brown", (73, 103), ANY, ANY),
    ("green", (114, 185), ANY, ANY),
    ("blue", (185, 285), ANY, ANY),
    ("purple", (285, 335), ANY, ANY),
)

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

Reals = NDArray[np.float64]


def lightness_chroma_hue(rgb: NDArray[np.uint8]) -> tuple[Reals, Reals, Reals]:
    """Lightness, chroma and hue (degrees) in OKLab of sRGB pixels (..., 3) uint8, each of shape (...)."""
    v = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    a, b = lab[..., 1], lab[..., 2]
    return lab[..., 0], np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def term_indices(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Index into `TERMS` for each pixel of (..., 3) uint8, shape (...).

    Raises:
        InputError: the array is not (..., 3) uint8.
    """
    if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
        raise InputError(f"colours are read from (..., 3) uint8 pixels, not {rgb.shape} {rgb.dtype}")
    L, C, h = lightness_chroma_hue(rgb)
    fits = [_within(h, hue, turn=True) & _within(L, light) & _within(C, chroma) for _, hue, light, chroma in BORDERS]
    names = [np.intp(TERMS.index(term)) for term, *_ in BORDERS]
    return np.select(fits, names, default=np.intp(TERMS.index("grey")))


def _within(x: Reals, span: tuple[float, float], *, turn: bool = False) -> NDArray[np.bool_]:
    low, high = span
    if turn and low > high:
        return (x >= low) | (x < high)
    return (x >= low) & (x < high)


def shares(rgb: NDArray[np.uint8]) -> dict[str, float]:
    """Share of each colour term among pixels (n, 3) uint8, largest first, summing to 1; {} without pixels."""
    if not len(rgb):
        return {}
    counts = np.bincount(term_indices(rgb).ravel(), minlength=len(TERMS))
    order = np.argsort(-counts, kind="stable")
    return {TERMS[i]: float(counts[i] / counts.sum()) for i in order if counts[i]}
