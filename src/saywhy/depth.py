"""From the numbers that a file holds to 8 bits: 12 bits in 16, floats, Hounsfield units, and a window of one's own.

NumPy alone. What had to be decided about the scale is told as a note, because brightness changes with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saywhy.errors import InputError

Window = tuple[float, float]
Values = NDArray[np.generic]

BITS = (8, 10, 12, 14, 16)
FLOATS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
BEYOND = 0.03  # of their upper end: a float that bicubic resampling threw past it is no sign of a wider range
SAY = "say --range LOW HIGH if that is wrong"


def to_bytes(values: Values, window: Window | None, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Values of any number type as uint8, and what was decided about their scale: see `to_unit`.

    Raises:
        InputError: values that are not finite, or no numbers.
    """
    if values.dtype == np.uint8 and window is None:
        return values.astype(np.uint8), []
    scaled, notes = to_unit(values, window, name, "8 bits")
    return (scaled * 255).round().astype(np.uint8), notes


def to_unit(
    values: Values, window: Window | None, name: str, into: str = "[0, 1]"
) -> tuple[NDArray[np.float64], list[str]]:
    """Values of any number type in [0, 1], and what was decided about their scale; `into` is what it is called.

    With a `window` (LOW, HIGH) its ends become 0 and 1 and what lies beyond is cut off; without, 8 bits stay as they
    are, and others are scaled by what is there: see `window_of`.

    Raises:
        InputError: values that are not finite, or no numbers.
    """
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "uif":
        raise InputError(f"{name}: holds {values.dtype} values, which are no picture")
    if values.dtype == np.uint8 and window is None:
        return values.astype(np.float64) / 255, []
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name}: holds values that are not finite (NaN or infinite); fill them in first")
    said = "as --range says" if window is not None else SAY
    low, high = window if window is not None else window_of(float(values.min()), float(values.max()), values.dtype.kind)
    scaled = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.clip(scaled, 0, 1), [f"values {low:g} to {high:g} scaled to {into}, {said}"]


def window_of(lowest: float, highest: float, kind: str) -> Window:
    """What becomes black and white where nobody said: the smallest of the usual ranges that holds all values.

    Whole numbers: 8, 10, 12, 14 or 16 bits. Floats: [0, 1], [-1, 1] and [0, 255], each with what resampling throws
    beyond its ends, then the same. What else is below 0 (Hounsfield units) or above 16 bits has no usual range: its own
    lowest and highest value are taken.
    """
    bits = [(0.0, float(2**n - 1), 0.0) for n in BITS]
    usual = [*((a, b, BEYOND * b) for a, b in FLOATS), *bits] if kind == "f" else bits
    own = (lowest, highest)
    return next(((a, b) for a, b, beyond in usual if a - beyond <= lowest and highest <= b + beyond), own)
