"""What somebody's own preprocessing does, found by watching it: no field of theirs has to be understood.

Plain colours tell how values are scaled and which channel goes where; ramps tell how far a photo is scaled; then every
Preprocess that this may be makes the input of a few photos, and one that gives the same pixels is the answer.

N photos; the process takes a PIL image and gives an array (3, H, W).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saywhy.errors import UsageError
from saywhy.framing import Interpolation
from saywhy.image import Preprocess, frame, read

Process = Callable[[Image.Image], NDArray[np.float64]]

SQUARE, WIDE = (320, 320), (480, 320)  # width and height of the ramps
PHOTOS = (
    (331, 247), (245, 389), (500, 333), (263, 263), (301, 640), (403, 254), (257, 311), (271, 352), (257, 251),
    (243, 247),
)  # fmt: skip
LARGEST = 1024  # pixels of a side: trying every way on larger inputs takes minutes
KINDS = {
    "straight": ("cover", "fit"),
    "side": ("transformers", "transformers-pillow", "rounded", "share first", "torchvision"),
    "pair": ("transformers", "transformers-pillow", "torchvision", "fit"),
}
PHOTO = 0.75  # blue of the ramps, above that of bars
ALIKE = 2.6 / 255  # torchvision and Pillow scale 8-bit photos alike but for two levels


@dataclass(frozen=True)
class Scale:
    """Value v in [0, 1] of the input's channel `order[c]` becomes (v - mean[c]) / std[c] in channel c."""

    order: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def view(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The picture (3, H, W) in [0, 1], RGB, that became these values."""
        mean, std = (np.asarray(v)[:, None, None] for v in (self.mean, self.std))
        picture = np.empty_like(values)
        picture[list(self.order)] = values * std + mean
        return picture


def preprocess_of(process: Process, what: str, size: tuple[int, int] | None = None) -> Preprocess:
    """The Preprocess that gives the pixels that `process` gives; `size` (H, W) is used where it gives none of its own.

    Raises:
        UsageError: no Preprocess does: inputs that are no picture or have no one size, mixed colours, unknown bars, ...
    """
    scale, found = _scale(process, what), {_shape(process, photo) for photo in _ramps()}
    order = {(0, 1, 2): "RGB", (2, 1, 0): "BGR"}.get(scale.order)  # type: ignore[arg-type]
    if order is None:
        raise _refused(what, f"it puts the colours in the order {scale.order}")
    # What is kept is in the order of the photo, and the channels are turned last.
    mean, std = (tuple(float(np.asarray(v)[list(scale.order)][c]) for c in range(3)) for v in (scale.mean, scale.std))
    if len(found) != 1:
        if size is None:
            raise _refused(what, "the size of its inputs changes with the photo's (say size, and resize)")
        return Preprocess(size, None, mean, std, channels=order)  # type: ignore[arg-type]
    H, W = found.pop()
    if max(H, W) > LARGEST:
        raise _refused(what, f"its inputs are larger ({H} x {W}) than can be tried")
    start = Preprocess((H, W), None, mean, std, channels=order)  # type: ignore[arg-type]
    photos = [_photo(n, w, h) for n, (w, h) in enumerate(PHOTOS)]
    views = [scale.view(process(Image.fromarray(pixels))) for pixels in photos]
    seen = list(zip(map(read, photos), views, strict=True))
    for how in _candidates(process, what, scale, start):
        if all(np.abs(frame(picture, how)[0] - view).max() <= ALIKE for picture, view in seen):
            return how
    raise _refused(what, "no way of scaling and cutting that is known here gives the same pixels")


def _refused(what: str, why: str) -> UsageError:
    return UsageError(
        f"the preprocessing of {what} cannot be followed: {why}. Give a callable images (N, 3, H, W) in [0, 1] -> "
        "scores that does it, or say size, resize, mean, std and interpolation yourself"
    )


# --------------------------------------------------------------------------------------------------
# Values.


def _scale(process: Process, what: str) -> Scale:
    """How single colours come out, in the middle, where no bar is."""
    black, white = (_middle(process, what, c) for c in ((0, 0, 0), (255, 255, 255)))
    gains = np.stack([_middle(process, what, c) - black for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))])  # (from, to)
    own = np.abs(gains).max(axis=0)
    if not (np.isfinite(gains).all() and (own > 0).all() and np.allclose(gains.sum(axis=0), white - black, rtol=1e-3)):
        raise _refused(what, "its values do not rise evenly with those of the photo")
    if (np.sort(np.abs(gains), axis=0)[:2] > 1e-3 * own).any():
        raise _refused(what, "it mixes the colours")
    order = tuple(int(i) for i in np.abs(gains).argmax(axis=0))
    gain = gains[order, range(3)]
    return Scale(order, _short(-black / gain), _short(1 / gain))


def _short(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(v), 7) + 0.0 for v in values)  # no minus zero


def _middle(process: Process, what: str, colour: tuple[int, int, int]) -> NDArray[np.float64]:
    values = process(Image.new("RGB", SQUARE, colour))
    if values.ndim != 3 or len(values) != 3:
        raise _refused(what, f"it gives values of shape {values.shape}, no picture (3, H, W)")
    return np.asarray(values[:, values.shape[1] // 2, values.shape[2] // 2])


# --------------------------------------------------------------------------------------------------
# Places.


def _ramps() -> list[Image.Image]:
    return [_ramp(*SQUARE), _ramp(*WIDE)]


def _ramp(w: int, h: int) -> Image.Image:
    """Red rises to the right, green downwards; blue is full, and tells the photo from bars beside it."""
    x, y = np.meshgrid(np.linspace(0, 255, w), np.linspace(0, 255, h))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 255)], axis=2).round().astype(np.uint8))


def _shape(process: Process, image: Image.Image) -> tuple[int, int]:
    H, W = process(image).shape[1:]
    return H, W


def _photo(seed: int, w: int, h: int) -> NDArray[np.uint8]:
    """Noise with structure of several sizes: a shift by one pixel or another filter changes it by many levels."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (h // c, w // c, 3)).astype(np.uint8)).resize((w, h)))
        for c in (2, 6, 24)
    ]
    mixed: NDArray[np.uint8] = np.mean(layers, axis=0).round().astype(np.uint8)
    return mixed


def _lengths(process: Process, what: str, scale: Scale, w: int, h: int) -> tuple[float, float]:
    """The width and height that a photo of w x h pixels is scaled to, from the slopes of its ramps."""
    view = scale.view(process(_ramp(w, h)))
    photo = view[2] > PHOTO
    rows, columns = (_inner(np.flatnonzero(photo.any(axis=axis))) for axis in (1, 0))
    across = _slope(view[0][rows, columns].mean(axis=0))
    down = _slope(view[1][rows, columns].mean(axis=1))
    if min(across, down) * LARGEST < 0.25:
        raise _refused(what, "it turns or mirrors the photo, or cuts out a tiny part of it")
    return w / (across * (w - 1)), h / (down * (h - 1))


def _inner(lines: NDArray[np.intp]) -> slice:
    """The middle half of these lines, at least two of them."""
    if len(lines) < 4:
        return slice(None)
    quarter = len(lines) // 4
    return slice(int(lines[quarter]), int(lines[-quarter]))


def _slope(values: NDArray[np.float64]) -> float:
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _candidates(process: Process, what: str, scale: Scale, start: Preprocess) -> Iterator[Preprocess]:
    """What it may be, the plainest first: lengths near those measured, with every rule and filter."""
    (w, h), (wide, high) = (_lengths(process, what, scale, *size) for size in (SQUARE, WIDE))
    pairs = list(itertools.product(_near(high), _near(wide)))
    for kind, resizes in (("straight", [None]), ("side", _near(min(w, h))), ("pair", pairs)):
        for resize, rule, interpolation in itertools.product(resizes, KINDS[kind], get_args(Interpolation)):
            yield replace(start, resize=resize, rule=rule, interpolation=interpolation)


def _near(length: float) -> Sequence[int]:
    """Whole numbers near a measured length, the nearest first; measured ones are off by up to a thousandth."""
    off = 1 + math.ceil(length / 1000)
    return sorted(range(max(1, round(length) - off), round(length) + off + 1), key=lambda n: abs(n - length))
