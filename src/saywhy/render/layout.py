"""What every picture needs: the photo, the crop that the model saw, the outlines, and where the numbers stand."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from saywhy.explanation import ConceptRecord, Explanation
from saywhy.image import Bools, Floats
from saywhy.render.outline import Points, deepest_point, rings_of, soften

LONG_SIDE = 640
BADGE = 14.0


@dataclass(frozen=True)
class Shape:
    """A region as it is drawn: its rings, the place of its number, and its soft mask."""

    concept: ConceptRecord
    rings: list[Points]
    at: tuple[float, float]
    soft: Floats


@dataclass(frozen=True)
class Layout:
    """A photo scaled to a view (width, height) with a long side of 640; all places are in units of the view.

    `photo` is None where the record carries no picture; `seen` is None where the model saw all of it.
    """

    view: tuple[int, int]
    photo: Image.Image | None
    seen: tuple[float, float, float, float] | None
    crop: tuple[float, float, float, float]
    shapes: list[Shape]


def layout_of(explanation: Explanation) -> Layout:
    """The layout of an explanation; masks are decoded once, one at a time."""
    image = explanation.image
    scale = LONG_SIDE / max(image.width, image.height)
    view = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    x0, y0, x1, y1 = image.seen
    fx, fy = view[0] / image.width, view[1] / image.height
    crop = (x0 * fx, y0 * fy, x1 * fx, y1 * fy)
    whole = image.seen == (0, 0, image.width, image.height)
    shapes = [s for c in explanation.concepts if c.present and (s := _shape(c, view)) is not None]
    places = apart([s.at for s in shapes], view)
    shapes = [Shape(s.concept, s.rings, at, s.soft) for s, at in zip(shapes, places, strict=True)]
    return Layout(view, _photo(explanation.thumbnail, view), None if whole else crop, crop, shapes)


def _shape(concept: ConceptRecord, view: tuple[int, int]) -> Shape | None:
    mask: Bools = concept.mask.array()
    at = deepest_point(mask, view)
    if at is None:
        return None
    return Shape(concept, rings_of(mask, view), at, soften(mask, view, blur=1.5))


def _photo(thumbnail: bytes, view: tuple[int, int]) -> Image.Image | None:
    if not thumbnail:
        return None
    with Image.open(io.BytesIO(thumbnail)) as image:
        return image.convert("RGB").resize(view, Image.Resampling.LANCZOS)


def apart(places: list[tuple[float, float]], view: tuple[int, int]) -> list[tuple[float, float]]:
    """The places moved so that no two numbers cover each other and none is cut by the edge."""
    points = np.array(places, dtype=np.float64).reshape(-1, 2)
    edge = np.minimum(BADGE + 2, np.array(view) / 2)
    for _ in range(50):
        points = np.clip(points, edge, np.array(view) - edge)
        moved = False
        for i in range(len(points)):
            for j in range(i):
                gap = points[i] - points[j]
                distance = float(np.hypot(*gap))
                if distance < 2 * BADGE + 2:
                    # Two numbers on one point part sideways; the half step keeps the pair's middle.
                    way = gap / distance if distance > 1e-6 else np.array([1.0, 0.0])
                    shift = (2 * BADGE + 2.5 - distance) / 2 * way
                    points[i], points[j] = points[i] + shift, points[j] - shift
                    moved = True
        if not moved:
            break
    points = np.clip(points, edge, np.array(view) - edge)
    return [(float(x), float(y)) for x, y in points]


def hidden(layout: Layout, shape: Shape, side: int) -> Image.Image | None:
    """An illustration of hiding a region: its inside blurred away."""
    if layout.photo is None:
        return None
    return _fit(Image.composite(_blurred(layout, layout.photo), layout.photo, _stencil(shape)), side)


def _blurred(layout: Layout, photo: Image.Image) -> Image.Image:
    # As strong as a fill that blurs: a twelfth of what the model saw.
    x0, y0, x1, y1 = layout.crop
    return photo.filter(ImageFilter.GaussianBlur(min(x1 - x0, y1 - y0) / 12))


def _stencil(shape: Shape) -> Image.Image:
    return Image.fromarray((shape.soft * 255).round().astype(np.uint8))


def _fit(image: Image.Image, side: int) -> Image.Image:
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
