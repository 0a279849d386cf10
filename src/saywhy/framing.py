"""Where a photo comes to lie in the classifier's input: lengths, corners and bars as each library rounds them.

w, h: width and height in pixels. No picture is touched here; `image.frame` does what a Place says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from PIL import Image

from saywhy.depth import Window

COLOURS = (1, 3)  # bands that are a grey or a coloured picture
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How a photo becomes the classifier's input.

    `resize` is the length that the short side is scaled to before the centre `size` (H, W) is cut out, or a pair
    (h, w) that the whole photo is scaled to before the cut; None scales it straight to `size`. Proportions are kept in
    the first case alone. `rule`, a row of RULES, says how lengths are rounded and what happens where the cut is larger
    than the scaled photo. `mean` and `std` apply to values in [0, 1]. `channels` is what the network takes: "RGB",
    "BGR" or "L" (grey).

    How files are read belongs to the model too: `window` (LOW, HIGH) are the file's values that become black and white
    (None: as `depth.window_of` finds them), `exif` is "upright" or "stored" (the pixels as they lie in the file, which
    training pipelines see that ignore the camera's orientation tag). `bands` says which bands of a file are red, green
    and blue, or which one is grey, counted from 1; of another number of bands the network takes them all, `planes` of
    them, and `mean` and `std` have as many values. `shown` are then the bands that people see as red, green and blue,
    or as grey.
    """

    size: tuple[int, int] = (224, 224)
    resize: int | tuple[int, int] | None = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    rule: str = "cover"
    window: Window | None = None
    exif: Literal["upright", "stored"] = "upright"
    bands: tuple[int, ...] | None = None
    shown: tuple[int, ...] | None = None

    @property
    def planes(self) -> int:
        """How many values a pixel of the classifier's images has: 3 of colours and of grey, else one for each band."""
        return 3 if self.bands is None or len(self.bands) in COLOURS else len(self.bands)

    def of_planes(self) -> Preprocess:
        """The same for what holds the bands that the network takes alone, in their order: a tensor of its input."""
        if self.bands is None:
            return self
        own = dict(zip(self.bands, range(1, len(self.bands) + 1), strict=True))
        shown = tuple(own[b] for b in self.shown) if self.shown and all(b in own for b in self.shown) else None
        return replace(self, bands=tuple(own.values()), shown=shown)

    def told(self) -> dict[str, Any]:
        """Its fields for a hash: the first five, and of the later ones those that say something."""
        own = asdict(replace(self, shown=None))  # what people are shown is no matter of the classifier's
        return {k: own[k] for n, k in enumerate(own) if n < 5 or own[k] != getattr(Preprocess, k)}


@dataclass(frozen=True)
class Place:
    """`cut` (x0, y0, x1, y1) of the photo is scaled to `scaled` (w, h); the input begins at its `corner` (x, y).

    A negative corner means bars of the colour `bars`.
    """

    cut: tuple[int, int, int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]
    bars: tuple[int, int, int] = (0, 0, 0)


def place(w: int, h: int, how: Preprocess) -> Place:
    """Where a photo of w x h pixels comes to lie."""
    return RULES[how.rule](w, h, how)


def _short_side(w: int, h: int, side: int, whole: Callable[[float], int]) -> tuple[int, int]:
    """Both lengths where the short one becomes `side`; a square stays one."""
    return (side, whole(side * h / w)) if w <= h else (whole(side * w / h), side)


def _scaled(w: int, h: int, how: Preprocess, whole: Callable[[float], int]) -> tuple[int, int]:
    if how.resize is None:
        return how.size[1], how.size[0]
    if isinstance(how.resize, tuple):
        return how.resize[1], how.resize[0]
    return _short_side(w, h, how.resize, whole)


def _centred(
    w: int, h: int, how: Preprocess, scaled: tuple[int, int], middle: Callable[[float], int], before: int = 0
) -> Place:
    """The middle of a scaled photo, and bars around a smaller one, their larger half behind (`before` 1: in front)."""
    x, y = (
        middle((side - cut) / 2) if side >= cut else -((cut - side + before) // 2)
        for side, cut in zip(scaled, reversed(how.size), strict=True)
    )
    return Place((0, 0, w, h), scaled, (x, y))


def _cover(w: int, h: int, how: Preprocess) -> Place:
    """As torchvision, but a photo that would not fill the cut is scaled up until it does: no bars."""
    w2, h2 = _scaled(w, h, how, int)
    (H, W), whole = how.size, isinstance(how.resize, int)
    if whole and (w2 < W or h2 < H):
        scale = max(W / w, H / h)
        w2, h2 = max(W, round(w * scale)), max(H, round(h * scale))
    return _centred(w, h, how, (w2, h2), round)


def _torchvision(w: int, h: int, how: Preprocess) -> Place:
    """torchvision.transforms: the long side is cut off to whole pixels, the corner rounded half to even; black bars."""
    return _centred(w, h, how, _scaled(w, h, how, int), round)


def _transformers(w: int, h: int, how: Preprocess) -> Place:
    """Image processors of transformers: as torchvision, with corners cut off to whole pixels."""
    return _centred(w, h, how, _scaled(w, h, how, int), int)


def _transformers_pillow(w: int, h: int, how: Preprocess) -> Place:
    """Those of them that scale with Pillow, which puts the larger half of bars before the photo."""
    return _centred(w, h, how, _scaled(w, h, how, int), int, before=1)


def _rounded(w: int, h: int, how: Preprocess) -> Place:
    """PaddlePaddle's: both sides rounded, corners cut off to whole pixels."""
    return _centred(w, h, how, _scaled(w, h, how, round), int)


def _share_first(w: int, h: int, how: Preprocess) -> Place:
    """DeepMind's: a central square that is a share of the short side, size / resize, scaled to the size."""
    (H, W), short = how.size, min(w, h)
    resize = how.resize if isinstance(how.resize, int) else min(how.size)
    high, wide = int(H / resize * short), int(W / resize * short)
    x, y = int((w - wide) / 2), int((h - high) / 2)
    return Place((x, y, x + wide, y + high), (W, H), (0, 0))


def _fill(w: int, h: int, how: Preprocess) -> Place:
    """timm's, where the input is no square: proportions kept, scaled until the pair (h, w) of `resize` is filled."""
    H, W = how.resize if isinstance(how.resize, tuple) else how.size
    ratio = min(h / H, w / W)
    return _centred(w, h, how, (round(w / ratio), round(h / ratio)), round)


def _fit(w: int, h: int, how: Preprocess) -> Place:
    """timm's "border": the whole photo with its proportions, bars of the mean colour beside it."""
    H, W = how.resize if isinstance(how.resize, tuple) else how.size
    ratio = max(h / H, w / W)
    at = _centred(w, h, how, (round(w / ratio), round(h / ratio)), round)
    red, green, blue = (round(255 * v) for v in how.mean[:3])
    return Place(at.cut, at.scaled, at.corner, (red, green, blue))


RULES: dict[str, Callable[[int, int, Preprocess], Place]] = {
    "cover": _cover,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "transformers-pillow": _transformers_pillow,
    "rounded": _rounded,
    "share first": _share_first,
    "fill": _fill,
    "fit": _fit,
}
