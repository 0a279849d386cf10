"""Pictures of any number of bands (near infrared, radar, depth): what a file holds, and what of it people are shown.

NumPy and Pillow alone. H, W: rows and columns; B: the bands that a model takes, counted from 1 in its files.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saywhy.depth import Values, to_bytes, to_unit
from saywhy.errors import InputError
from saywhy.framing import Preprocess
from saywhy.tiff import TIFF, cube, every_band

NUMPY = b"\x93NUMPY"
STRETCH = (2, 98)  # per cent of a shown band's values that lie between black and white
SEVERAL = 3  # bands from which on people are shown colours


@dataclass(frozen=True)
class Banded:
    """The bands of a picture as the model takes them (H, W, B), in [0, 1]; what people are shown of them (H, W, 3);
    what was decided on the way, in words."""

    values: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


def every_value(data: bytes, name: str, max_pixels: int) -> Values:
    """All bands (H, W, C) of a file: TIFF, .npy, or a picture of one to four bands.

    Raises:
        InputError: it cannot be read, or is larger than `max_pixels`.
    """
    if data.startswith(NUMPY):
        return numpy_values(data, name, max_pixels)
    if data.startswith(TIFF):
        return every_band(data, name, max_pixels)
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > max_pixels:
            raise InputError(f"{name}: {image.width} x {image.height} pixels is more than the limit of {max_pixels:,}")
        return cube(np.asarray(image.convert("RGBA") if image.mode == "P" else image))


def numpy_values(data: bytes, name: str, max_pixels: int) -> Values:
    """The array of an .npy file, (H, W, C): none that would run code is opened.

    Raises:
        InputError: it is broken, no picture, or larger than `max_pixels`.
    """
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as e:
        raise InputError(f"{name}: cannot be read as an array of numbers ({e})") from e
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InputError(
            f"{name}: an array of shape {values.shape} is no picture; it is (H, W), (H, W, C) or (C, H, W)"
        )
    values = cube(values)
    if values.shape[0] * values.shape[1] > max_pixels:
        raise InputError(
            f"{name}: {values.shape[1]} x {values.shape[0]} pixels is more than the limit of {max_pixels:,}"
        )
    return values


def banded(values: Values, how: Preprocess, name: str) -> Banded:
    """The bands that a model takes of all that a file holds (H, W, C).

    Raises:
        InputError: a band that the file does not have, or values that are no numbers.
    """
    assert how.bands is not None
    chosen, notes = to_unit(picked(values, how.bands, name), how.window, name)
    shown = how.shown or (how.bands[:3] if len(how.bands) >= SEVERAL else how.bands[:1])
    told = f"people are shown band{'s' if len(shown) > 1 else ''} {', '.join(map(str, shown))}"
    told += " as red, green and blue" if len(shown) > 1 else " as grey"
    pixels = for_people(picked(values, shown, name))
    wide: NDArray[np.uint8] = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    used = f"bands {', '.join(map(str, how.bands))} of the {values.shape[2]} of this file"
    return Banded(chosen.astype(np.float32), wide, (used, f"{told} (--shown)", *notes))


def picked(values: Values, bands: tuple[int, ...], name: str) -> Values:
    """These bands of a file, counted from 1.

    Raises:
        InputError: it does not have one of them.
    """
    if max(bands) > values.shape[2]:
        raise InputError(f"{name}: has {values.shape[2]} bands, and band {max(bands)} was asked for (--bands, --shown)")
    return values[..., [band - 1 for band in bands]]


def for_people(values: Values) -> NDArray[np.uint8]:
    """Bands as colours (H, W, 1 or 3): bytes as they are, others stretched, each by itself, so that the most of its
    values lie between black and white."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8)
    reals = values.astype(np.float64)
    low, high = np.percentile(reals, STRETCH, axis=(0, 1), keepdims=True)
    return to_bytes(np.clip((reals - low) / np.maximum(high - low, 1e-12), 0, 1), (0.0, 1.0), "the picture")[0]
