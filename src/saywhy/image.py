"""Pictures: read safely, frame as the classifier sees them, code masks. NumPy and Pillow only, no torch.

H, W: height and width in pixels. Boxes are (x0, y0, x1, y1) in pixels of the EXIF-rotated picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from saywhy.bands import NUMPY, banded, every_value, numpy_values, picked
from saywhy.depth import to_bytes
from saywhy.errors import InputError, UsageError
from saywhy.framing import RESAMPLE, Place, place
from saywhy.framing import Preprocess as Preprocess  # what reads a picture says how it is framed
from saywhy.tiff import cube, deep_values

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
Source = str | Path | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 100_000_000  # a decompression bomb is refused by its header, before it is decoded
LARGE = 24_000_000  # pixels; beyond that a photo is read at a half or a third of its size: no model sees the rest
MAX_BYTES = 256 * 1024 * 1024
MIN_SIDE = 8
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".heic", ".heif", ".jp2", ".tga", ".npy",
})  # fmt: skip
BY_PILLOW_HEIF = frozenset({".heic", ".heif"})
ORIENTATION = 0x0112
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
EXIF_NOTES = {
    "upright": "turned upright as its EXIF tag ({}) says; a model that was trained on pixels as stored saw such photos "
    "turned: --exif stored",
    "stored": "left as it is stored, as asked; its EXIF tag ({}) would turn it",
}
UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {  # what the tag asks for, of (H, W, C)
    2: lambda v: v[:, ::-1],
    3: lambda v: v[::-1, ::-1],
    4: lambda v: v[::-1],
    5: lambda v: v.swapaxes(0, 1),
    6: lambda v: np.rot90(v, -1),
    7: lambda v: v[::-1, ::-1].swapaxes(0, 1),
    8: lambda v: np.rot90(v),
}
MUCH_UNSEEN, SQUEEZED = 0.5, 2.0


@dataclass(frozen=True)
class Picture:
    """A decoded photo: `pixels` (H, W, 3) uint8 RGB, EXIF-rotated; `sha256` of the file or of the pixels.

    `notes` says what had to be decided to get there (first frame of an animation, alpha on white, ...). One that is
    `framed` is the classifier's input already: nothing of it is scaled or cut away. For a classifier that takes other
    bands than colours, `bands` (H, W, B) in [0, 1] are those, and `pixels` what people see of them.
    """

    pixels: Pixels
    path: str | None
    sha256: str
    notes: tuple[str, ...] = field(default=())
    framed: bool = False
    bands: Floats | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


def read(source: Source | Picture, how: Preprocess | None = None, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a picture from a path, bytes, a PIL image or an array into 8-bit RGB, upright.

    Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or float in [0, 1]. More than 8 bits are scaled as
    `depth` says, CMYK and palettes are converted, alpha is laid on white, of an animation the first frame is taken,
    beyond 24 megapixels it is read at a part of its size. `how` is that of the classifier that it is read for: its
    `window` and `exif`.

    Raises:
        InputError: missing, empty, truncated, not an image, smaller than 8 pixels, or more than `max_pixels`.
        UsageError: a thing of another kind.
    """
    how = how or Preprocess()
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        if how.bands is not None:
            return read(np.asarray(source), how)
        pixels, notes = _upright_rgb(source, "the PIL image", how)
        return _picture(pixels, None, hashlib.sha256(pixels.tobytes()).hexdigest(), notes, "the PIL image")
    if isinstance(source, np.ndarray):
        if how.bands is not None and source.ndim in (2, 3) and source.size:
            return _of_bands(cube(source), how, "the array", hashlib.sha256(source.tobytes()).hexdigest())
        pixels, notes = _array_rgb(source, how, "the array")
        return _picture(pixels, None, hashlib.sha256(pixels.tobytes()).hexdigest(), notes, "the array")
    given: object = source
    if not isinstance(given, (str, Path, bytes)):
        way = "; for several, ask for one after the other" if isinstance(given, (list, tuple)) else ""
        raise UsageError(f"a picture is a path, bytes, a PIL image or an array, not {type(given).__name__}{way}")
    path = None if isinstance(source, bytes) else str(source)
    name = path if path is not None else "the given bytes"
    if path is not None:
        check_local(path)
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes)")
    sha = hashlib.sha256(data).hexdigest()
    with _decoding(name):
        if how.bands is not None:
            return _of_bands(every_value(data, name, max_pixels), how, name, sha, path, _orientation(data))
        pixels, notes = _decode(data, name, max_pixels, how)
        return _picture(pixels, path, sha, notes, name)


def _of_bands(
    values: NDArray[np.generic], how: Preprocess, name: str, sha: str, path: str | None = None, turned: int = 1
) -> Picture:
    """The bands that a model takes of all that a file holds (H, W, C): colours and grey as in any photo, or others."""
    if how.planes == 3:
        pixels, notes = _from_values(picked(values, how.bands or (), name), how, name, turned)
        return _picture(pixels, path, sha, notes, name)
    said = [EXIF_NOTES[how.exif].format(turned)] if turned in UPRIGHT else []
    upright = UPRIGHT[turned](values) if said and how.exif == "upright" else values
    found = banded(upright, how, name)
    return replace(_picture(found.pixels, path, sha, [*said, *found.notes], name), bands=found.values)


def check_local(path: str) -> None:
    """Raises UsageError for what is named like a file and is none: an address, or "-"."""
    if re.match(r"(https?|ftp|s3|gs|data|file):", path, re.IGNORECASE):
        raise UsageError(f"{path}: an address; saywhy reads files and opens no connection: save the picture first")
    if path == "-":
        raise UsageError("-: pictures are not read from standard input; give a file (in Python, its bytes)")


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


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Says in one line what is wrong with a file that cannot be decoded."""
    _know_heif()
    with warnings.catch_warnings():
        # Our own limit speaks; Pillow's bomb warning would only say it twice.
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Image.DecompressionBombError as e:
            raise InputError(f"{name}: too many pixels ({e}); make a smaller copy") from e
        except UnidentifiedImageError as e:
            heif = Path(name).suffix.lower() in BY_PILLOW_HEIF
            way = "; HEIC needs: pip install pillow-heif (in saywhy's extra 'heif')" if heif else ""
            raise InputError(f"{name}: not a picture in a format that Pillow reads (JPEG, PNG, WebP, ...){way}") from e
        except Exception as e:  # Pillow's decoders raise nearly anything on broken files
            raise InputError(f"{name}: broken or truncated picture ({e})") from e


def _decode(data: bytes, name: str, max_pixels: int, how: Preprocess) -> tuple[Pixels, list[str]]:
    if data.startswith(NUMPY):
        return _array_rgb(numpy_values(data, name, max_pixels), how, name)
    if (deep := deep_values(data, name, max_pixels)) is not None:
        return _from_values(deep, how, name, _orientation(data))
    with Image.open(io.BytesIO(data)) as image:
        w, h = image.size
        if w * h > max_pixels:
            raise InputError(f"{name}: {w} x {h} pixels is more than the limit of {max_pixels:,}; make a smaller copy")
        turned = int(image.getexif().get(ORIENTATION, 1))
        small = _stored(_at_part_of_its_size(image), turned)
        pixels, notes = _upright_rgb(small, name, how)
        cut = [f"read at {small.width} x {small.height} of its {w} x {h} pixels"] if w * h > LARGE else []
        return pixels, [*cut, *notes]


@cache
def _know_heif() -> None:
    """Teaches Pillow HEIC, where pillow-heif is installed (extra `heif`)."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def _at_part_of_its_size(image: Image.Image) -> Image.Image:
    """The image, decoded; one of more than LARGE pixels at the largest whole part of its size that is not."""
    w, h = image.size
    part = math.ceil(math.sqrt(w * h / LARGE))
    if part > 1:
        image.draft(None, (w // part, h // part))  # JPEG alone can do it, by 2, 4 or 8, and never below what is asked
    image.load()
    left = math.ceil(math.sqrt(image.width * image.height / LARGE))
    if left == 1:
        return image
    exif, smaller = image.getexif(), image.convert("RGB" if image.mode == "P" else image.mode).reduce(left)
    smaller.info = {**image.info, "exif": exif.tobytes()} if exif else image.info
    return smaller


def _stored(image: Image.Image, turned: int) -> Image.Image:
    """The image as it lies in the file, with its tag: Pillow turns TIFFs while it decodes them, and drops the tag."""
    if turned not in TURNED_BACK or image.getexif().get(ORIENTATION, 1) == turned:
        return image
    image = image.transpose(TURNED_BACK[turned])
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    image.info["exif"] = exif.tobytes()
    return image


def _upright_rgb(image: Image.Image, name: str, how: Preprocess) -> tuple[Pixels, list[str]]:
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
        notes.append(f"the first of {image.n_frames} frames")  # type: ignore[attr-defined]
    turned = image.getexif().get(ORIENTATION, 1)
    if turned in range(2, 9):
        notes.append(EXIF_NOTES[how.exif].format(turned))
        image = ImageOps.exif_transpose(image) or image if how.exif == "upright" else image
    if image.mode.startswith("I") or image.mode == "F":
        pixels, said = _from_values(np.asarray(image), how, name)
        return pixels, notes + said
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        flat = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        flat.alpha_composite(rgba)
        notes.append("transparent pixels laid on white")
        image = flat
    values = np.asarray(image.convert("RGB"), dtype=np.uint8)
    if how.window is None:
        return values, notes
    windowed, said = to_bytes(values, how.window, name)
    return windowed, notes + said


def _from_values(values: NDArray[np.generic], how: Preprocess, name: str, turned: int = 1) -> tuple[Pixels, list[str]]:
    """8-bit RGB of an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of any numbers; alpha, where there, on white."""
    alpha = values.ndim == 3 and values.shape[2] == 4
    colours, notes = to_bytes(values[..., :3] if alpha else values, how.window, name)
    bands = [_three(colours), *([to_bytes(values[..., 3:], None, name)[0]] if alpha else [])]
    image = Image.fromarray(np.ascontiguousarray(np.concatenate(bands, axis=2)))
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    image.info["exif"] = exif.tobytes()
    pixels, said = _upright_rgb(image, name, replace(how, window=None))
    return pixels, notes + said


def _orientation(data: bytes) -> int:
    """The EXIF tag of a file that Pillow may not know how to decode."""
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as image:
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _array_rgb(values: NDArray[np.generic], how: Preprocess, name: str) -> tuple[Pixels, list[str]]:
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or values.size == 0:
        raise InputError(f"an array of shape {values.shape} is no picture; give (H, W), (H, W, 3) or (H, W, 4)")
    if how.window is None and np.issubdtype(values.dtype, np.floating):
        reals = values.astype(np.float64)
        if not np.isfinite(reals).all() or reals.min() < 0 or reals.max() > 1:
            raise InputError("a float array must lie in [0, 1] and be finite; divide 0..255 values by 255")
        return _from_values((reals * 255).round().astype(np.uint8), how, name)
    if how.window is None and values.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an array of {values.dtype} is not understood; give uint8, uint16 or float in [0, 1]")
    return _from_values(values, how, name)


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


def frame(picture: Picture, how: Preprocess) -> tuple[Floats, Box]:
    """What the classifier sees, (3, H, W) float32 in [0, 1] (or a plane a band), and the box of the photo that it came
    from.

    Where the model adds bars beside the photo, the box reaches beyond it.
    """
    at = place_of(picture, how)
    if how.planes != 3:
        return _framed_bands(picture, at, how), seen_box(at, how.size)
    image = Image.fromarray(picture.pixels)
    if how.channels == "L":
        image = image.convert("L").convert("RGB")
    values = np.asarray(_cut(image, at, how, at.bars), dtype=np.float32).transpose(2, 0, 1) / 255
    return np.ascontiguousarray(values), seen_box(at, how.size)


def for_people(picture: Picture, how: Preprocess) -> Floats:
    """What people see of a classifier's input of other bands than colours: (3, H, W) in [0, 1]."""
    return frame(picture, replace(how, bands=None))[0]


def _framed_bands(picture: Picture, at: Place, how: Preprocess) -> Floats:
    """Every band by itself, without rounding: (B, H, W)."""
    if picture.bands is None or picture.bands.shape[2] != how.planes:
        held = 3 if picture.bands is None else picture.bands.shape[2]
        raise UsageError(
            f"this classifier takes {how.planes} bands, and a picture of {held} was given; give the file, an array "
            "(H, W, C) or a tensor of all bands, or what clf.read(...) makes of them"
        )
    bands = (Image.fromarray(np.ascontiguousarray(picture.bands[..., i])) for i in range(how.planes))
    cut = [np.asarray(_cut(band, at, how, 0.0), dtype=np.float32) for band in bands]
    return np.clip(np.stack(cut), 0, 1)  # bicubic and Lanczos go beyond what they are given


def _cut(image: Image.Image, at: Place, how: Preprocess, bars: tuple[int, int, int] | float) -> Image.Image:
    """What a Place says, done to an image of any mode."""
    (H, W), (w, h), (x, y) = how.size, at.scaled, at.corner
    image = image.crop(at.cut) if at.cut != (0, 0, *image.size) else image
    image = image.resize((w, h), RESAMPLE[how.interpolation])
    if x < 0 or y < 0:
        sheet = Image.new(image.mode, (max(w, W), max(h, H)), bars)
        sheet.paste(image, (max(0, -x), max(0, -y)))
        image, x, y = sheet, max(0, x), max(0, y)
    return image.crop((x, y, x + W, y + H))


def place_of(picture: Picture, how: Preprocess) -> Place:
    """Where a picture comes to lie in the classifier's input; one that is framed lies there as it is."""
    how = replace(how, resize=None, rule="cover") if picture.framed else how
    return place(picture.width, picture.height, how)


def seen_box(at: Place, size: tuple[int, int]) -> Box:
    """The box of the photo that an input of `size` (H, W) shows; it reaches beyond the photo where bars are added."""
    (H, W), (x0, y0, x1, y1), (x, y) = size, at.cut, at.corner
    across, down = (x1 - x0) / at.scaled[0], (y1 - y0) / at.scaled[1]
    return (round(x0 + x * across), round(y0 + y * down), round(x0 + (x + W) * across), round(y0 + (y + H) * down))


def framed_mask(mask: Bools | Floats, how: Preprocess) -> Floats:
    """A mask (H, W) of the photo as the classifier sees it: the share in [0, 1] of each pixel that it covers."""
    grey = np.repeat((np.asarray(mask, dtype=np.float32) * 255).astype(np.uint8)[..., None], 3, 2)
    return np.ascontiguousarray(frame(Picture(np.ascontiguousarray(grey), None, ""), how)[0][0])


def framing_notes(picture: Picture, seen: Box, how: Preprocess) -> tuple[str, ...]:
    """What the way to the model's input does to this photo that a person should know."""
    w, h, (H, W) = picture.width, picture.height, how.size
    width, height = min(seen[2], w) - max(seen[0], 0), min(seen[3], h) - max(seen[1], 0)
    share = width * height / (w * h)
    notes = []
    if share < MUCH_UNSEEN:
        notes.append(f"the model sees {100 * share:.0f} % of this photo, its centre: crop it, or give a squarer one")
    if not SQUEEZED > (squeeze := (width / height) / (W / H)) > 1 / SQUEEZED:
        side, times = ("width", squeeze) if squeeze > 1 else ("height", 1 / squeeze)
        notes.append(f"its {side} is squeezed {times:.1f} times more than the other side to fit {H} x {W} pixels")
    return tuple(notes)


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
