"""Values of files that hold more than Pillow shows of them: 16-bit colour PNG, and TIFF of any numbers and bands."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from saywhy.depth import Values
from saywhy.errors import InputError

PNG, TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
COLOURS = (1, 3, 4)
FOUR = "a picture has 1, 3 or 4 (--bands says which ones)"
PLAIN = (1, 2, 3, 4)  # samples a pixel that Pillow shows whole, of 8 bits


def deep_values(data: bytes, name: str, max_pixels: int) -> Values | None:
    """The values (H, W) or (H, W, C) of such a file; None where Pillow shows all that is there.

    Raises:
        InputError: a file with other bands than grey, RGB or RGBA.
    """
    if not data.startswith(TIFF):
        return _png(data, max_pixels) if data.startswith(PNG) else None
    try:
        values = _tiff(data, name, max_pixels, every=False)
    except InputError:
        raise
    except Exception:  # a compression that tifffile needs another package for, or a broken file
        return None  # Pillow has its say
    if values is not None and values.ndim == 3 and values.shape[2] not in COLOURS:
        raise InputError(f"{name}: {values.shape[2]} bands; {FOUR}")
    return values


def every_band(data: bytes, name: str, max_pixels: int) -> Values:
    """All bands (H, W, C) of a TIFF; those of a file that keeps a page for each too.

    Raises:
        InputError: it cannot be read.
    """
    try:
        values = _tiff(data, name, max_pixels, every=True)
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{name}: its bands cannot be read ({e}); save it without compression") from e
    assert values is not None
    return values


def _png(data: bytes, max_pixels: int) -> Values | None:
    """16-bit RGB and RGBA. Pillow shows the high byte of each value alone; read the other way round, the low one."""
    depth, colour = data[24:26]
    if depth != 16 or colour not in (2, 6):
        return None
    bytes_of = []
    for order in ("16B", "16L"):
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > max_pixels:
                return None  # refused by its size where it is read
            image.tile = [t._replace(args=str(t.args).replace("16B", order)) for t in image.tile]
            bytes_of.append(np.asarray(image, dtype=np.uint16))
    high, low = bytes_of
    return high * np.uint16(256) + low


def _tiff(data: bytes, name: str, max_pixels: int, *, every: bool) -> Values | None:
    """What a TIFF holds, `every` band of it as it lies there; else None where Pillow shows it all, and black is low."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        plain = page.dtype is None or (page.dtype.itemsize == 1 and page.samplesperpixel in PLAIN)
        if plain and not every:
            return None
        if page.imagewidth * page.imagelength > max_pixels:
            raise InputError(f"{name}: {page.imagewidth} x {page.imagelength} pixels is more than the limit")
        if every:
            return _series(file.series[0])
        values = _channels_last(np.asarray(page.asarray()), page.samplesperpixel)
        return values.max() - values if page.photometric == 0 else values


def _series(series: Any) -> Values:
    """All bands (H, W, C) of an image that lies in one page or in several: a page a band, or a page a row of them."""
    values = np.asarray(series.asarray())
    if values.ndim not in (2, 3):
        raise ValueError(f"{values.ndim} axes, {series.axes}")
    return np.moveaxis(values, series.axes.index("S"), -1) if "S" in series.axes else cube(values)


def cube(values: Values) -> Values:
    """(H, W) or (H, W, C) as (H, W, C); (C, H, W) too, which is known by a first axis of less than half of the
    others."""
    if values.ndim == 2:
        return values[..., None]
    first, last = values.shape[0], values.shape[2]
    return np.moveaxis(values, 0, -1) if first < last and 2 * first <= min(values.shape[1:]) else values


def _channels_last(values: Values, bands: int) -> Values:
    """(H, W) or (H, W, C), also of a file that keeps its bands one after another."""
    apart = values.ndim == 3 and values.shape[-1] != bands and values.shape[0] == bands
    return np.moveaxis(values, 0, -1) if apart else values
