"""Pictures: read safely, frame as the classifier sees them, code masks. NumPy and Pillow only, no torch.

H, W: height and width in pixels. Boxes are (x0, y0, x1, y1) in pixels of the EXIF-rotated picture.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from saywhy.errors import InputError

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
Source = str | Path | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 100_000_000  # a decompression bomb is refused by its header, before it is decoded
MAX_BYTES = 256 * 1024 * 1024
MIN_SIDE = 8
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})


@dataclass(frozen=True)
class Picture:
    """A decoded photo: `pixels` (H, W, 3) uint8 RGB, EXIF-rotated; `sha256` of the file or of the pixels.

    `notes` says what had to be decided to get there (first frame of an animation, alpha on white, ...).
    """

    pixels: Pixels
    path: str | None
    sha256: str
    notes: tuple[str, ...] = field(default=())

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


def read(source: Source | Picture, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a picture from a path, bytes, a PIL image or an array into 8-bit RGB, upright.

    Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or float in [0, 1]. 16-bit is scaled to 8,
    CMYK and palettes are converted, alpha is laid on white, of an animation the first frame is taken.

    Raises:
        InputError: missing, empty, truncated, not an image, smaller than 8 pixels, or more than `max_pixels`.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        pixels, notes = _upright_rgb(source, "the PIL image")
        return _picture(pixels, None, hashlib.sha256(pixels.tobytes()).hexdigest(), notes, "the PIL image")
    if isinstance(source, np.ndarray):
        pixels, notes = _array_rgb(source)
        return _picture(pixels, None, hashlib.sha256(pixels.tobytes()).hexdigest(), notes, "the array")
    path = None if isinstance(source, bytes) else str(source)
    name = path if path is not None else "the given bytes"
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes)")
    pixels, notes = _decode(data, name, max_pixels)
    return _picture(pixels, path, hashlib.sha256(data).hexdigest(), notes, name)


def _file_bytes(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, a picture file was expected")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; make a smaller copy of the picture")
        return path.read_bytes()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from e


def _decode(data: bytes, name: str, max_pixels: int) -> tuple[Pixels, list[str]]:
    with warnings.catch_warnings():
        # Our own limit speaks below; Pillow's bomb warning would only say it twice.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                w, h = image.size
                if w * h > max_pixels:
                    raise InputError(
                        f"{name}: {w} x {h} pixels is more than the limit of {max_pixels:,}; make a smaller copy"
                    )
                image.load()
                return _upright_rgb(image, name)
        except InputError:
            raise
        except Image.DecompressionBombError as e:
            raise InputError(f"{name}: too many pixels ({e}); make a smaller copy") from e
        except UnidentifiedImageError as e:
            raise InputError(f"{name}: not a picture in a format that Pillow reads (JPEG, PNG, WebP, ...)") from e
        except Exception as e:  # Pillow's decoders raise nearly anything on broken files
            raise InputError(f"{name}: broken or truncated picture ({e})") from e


def _upright_rgb(image: Image.Image, name: str) -> tuple[Pixels, list[str]]:
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
        notes.append(f"the first of {image.n_frames} frames")  # type: ignore[attr-defined]
    image = ImageOps.exif_transpose(image) or image
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        notes.append(f"{image.mode} values scaled to 8 bits")
        return _three(np.clip(values / top * 255, 0, 255).round().astype(np.uint8)), notes
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        flat = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        flat.alpha_composite(rgba)
        notes.append("transparent pixels laid on white")
        image = flat
    return np.asarray(image.convert("RGB"), dtype=np.uint8), notes


def _array_rgb(values: NDArray[np.generic]) -> tuple[Pixels, list[str]]:
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or values.size == 0:
        raise InputError(f"an array of shape {values.shape} is no picture; give (H, W), (H, W, 3) or (H, W, 4)")
    if values.dtype == np.uint16:
        values = (values.astype(np.float64) / 257).round().astype(np.uint8)
    elif np.issubdtype(values.dtype, np.floating):
        reals = values.astype(np.float64)
        if not np.isfinite(reals).all() or reals.min() < 0 or reals.max() > 1:
            raise InputError("a float array must lie in [0, 1] and be finite; divide 0..255 values by 255")
        values = (reals * 255).round().astype(np.uint8)
    elif values.dtype != np.uint8:
        raise InputError(f"an array of {values.dtype} is not understood; give uint8, uint16 or float in [0, 1]")
    if values.ndim == 3 and values.shape[2] == 4:
        return _upright_rgb(Image.fromarray(np.ascontiguousarray(values), "RGBA"), "the array")
    return _three(np.ascontiguousarray(values)), []


def _three(values: NDArray[np.generic]) -> Pixels:
    grey = values[..., None] if values.ndim == 2 else values
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)), dtype=np.uint8)


def _picture(pixels: Pixels, path: str | None, sha: str, notes: list[str], name: str) -> Picture:
    h, w = pixels.shape[:2]
    if h < MIN_SIDE or w < MIN_SIDE:
        raise InputError(f"{name}: {w} x {h} pixels; a picture needs at least {MIN_SIDE} pixels on each side")
    return Picture(pixels, path, sha, tuple(notes))


# --------------------------------------------------------------------------------------------------
# Framing: from the photo to what the classifier sees.


@dataclass(frozen=True)
class Preprocess:
    """How a photo becomes the classifier's input.

    With `resize` the short side is scaled to it and the centre `size` (H, W) is cut out; without, the whole
    photo is scaled to `size` and its proportions are not kept. `mean` and `std` apply to values in [0, 1].
    """

    size: tuple[int, int] = (224, 224)
    resize: int | None = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"


_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def frame(picture: Picture, how: Preprocess) -> tuple[Floats, Box]:
    """What the classifier sees, (3, H, W) float32 in [0, 1], and the box of the photo that it came from."""
    H, W = how.size
    w, h = picture.width, picture.height
    image = Image.fromarray(picture.pixels)
    if how.resize is None:
        seen = (0, 0, w, h)
        image = image.resize((W, H), _RESAMPLE[how.interpolation])
    else:
        # The short side goes to `resize`, but never below the crop: a wide crop of a tall photo must fit.
        scale = max(how.resize / min(w, h), H / h, W / w)
        w2, h2 = max(W, round(w * scale)), max(H, round(h * scale))
        x, y = round((w2 - W) / 2), round((h2 - H) / 2)
        image = image.resize((w2, h2), _RESAMPLE[how.interpolation]).crop((x, y, x + W, y + H))
        seen = (round(x * w / w2), round(y * h / h2), round((x + W) * w / w2), round((y + H) * h / h2))
    values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    return np.ascontiguousarray(values), seen


def thumbnail(picture: Picture, *, long_side: int = 640, quality: int = 88) -> bytes:
    """A JPEG of the whole photo, its long side at most `long_side`, for the renderers."""
    image = Image.fromarray(picture.pixels)
    image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


# --------------------------------------------------------------------------------------------------
# Masks: COCO's uncompressed run-length code (columns first, the first run counts zeros).


def encode_mask(mask: Bools) -> tuple[tuple[int, int], list[int]]:
    """Run-length code of a mask (H, W): its size and its counts, readable by pycocotools."""
    h, w = mask.shape
    flat = np.concatenate(([False], mask.astype(bool).ravel(order="F")))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], edges, [h * w])))
    return (h, w), [int(c) for c in counts]


def decode_mask(size: Sequence[int], counts: Sequence[int]) -> Bools:
    """The mask (H, W) of a run-length code."""
    h, w = size
    if sum(counts) != h * w:
        raise InputError(f"a run-length code of {sum(counts)} pixels does not fit a mask of {h} x {w}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((h, w), order="F")


def mask_box(mask: Bools) -> Box:
    """The smallest box around a mask, (0, 0, 0, 0) when it is empty."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return (0, 0, 0, 0)
    return (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
