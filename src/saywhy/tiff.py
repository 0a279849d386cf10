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
PLAIN = (1, 2, 3, 4)  # samples a pixel that Pillow shows whole, of 8 bits


def deep_values(data: bytes, name: str, max_pixels: int, bands: tuple[int, ...] | None = None) -> Values | None:
    """The values (H, W) or (H, W, C) of such a file, or these bands of it; None where Pillow shows all that is there.

    Raises:
        InputError: a file with other bands than grey, RGB or RGBA, or in a way of compression that cannot be read.
    """
    if data.startswith(TIFF):
        return _tiff(data, name, max_pixels, bands)
    if bands is not None:
        raise InputError(f"{name}: bands are of TIFF files alone; leave --bands out")
    return _png(data, max_pixels) if data.startswith(PNG) else None


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


def _tiff(data: bytes, name: str, max_pixels: int, bands: tuple[int, ...] | None) -> Values | None:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages[0]
            plain = page.dtype is None or (page.dtype.itemsize == 1 and page.samplesperpixel in PLAIN)
            if plain and bands is None:
                return None
            if page.imagewidth * page.imagelength > max_pixels:
                raise InputError(f"{name}: {page.imagewidth} x {page.imagelength} pixels is more than the limit")
            values = _channels_last(np.asarray(page.asarray()), page.samplesperpixel)
            if bands is not None and values.ndim == 2 and len(file.pages) > 1:  # a page for each band
                values = np.stack([np.asarray(p.asarray()) for p in file.pages], axis=2)
            inverted = page.photometric == 0
    except InputError:
        raise
    except Exception as e:  # a compression that tifffile needs another package for, or a broken file
        if bands is not None:
            raise InputError(f"{name}: its bands cannot be read ({e}); save it without compression") from e
        return None  # Pillow has its say
    if bands is not None:
        return _chosen(values if values.ndim == 3 else values[..., None], bands, name)
    if values.ndim == 3 and values.shape[2] not in COLOURS:
        raise InputError(f"{name}: {values.shape[2]} bands; a picture has 1, 3 or 4 (--bands says which ones)")
    return values.max() - values if inverted else values


def _chosen(values: Values, bands: tuple[int, ...], name: str) -> Values:
    if max(bands) > values.shape[2]:
        raise InputError(f"{name}: has {values.shape[2]} bands, and band {max(bands)} was asked for")
    return values[..., [band - 1 for band in bands]]


def _channels_last(values: Values, bands: int) -> Values:
    """(H, W) or (H, W, C), also of a file that keeps its bands one after another."""
    apart = values.ndim == 3 and values.shape[-1] != bands and values.shape[0] == bands
    return np.moveaxis(values, 0, -1) if apart else values
