"""A picture as plain data, and the one function that paints it together with everything that is true of it.

A counterfactual is another scene: change the value, render again. Nothing is ever painted over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from saywhy.aviary.birds import ORDERS, Bird, Part, anatomy, border, details, keypoints, outlines
from saywhy.aviary.raster import Canvas, Patch, Reals, clipped, coverage
from saywhy.aviary.scenery import Background, Degradation, Object, backdrop, draw_object, spoil
from saywhy.aviary.world import world
from saywhy.errors import InputError
from saywhy.image import Bools, Box, Pixels, mask_box

SIZE = 128
VISIBLE_SHARE = 0.25  # of a part's own pixels that must show for the part to count as visible
VISIBLE_PIXELS = 5  # at 128 pixels
STRIDE = 32  # owner numbers a bird


@dataclass(frozen=True)
class Scene:
    """Everything in a picture of `size` x `size` pixels; the first bird is the one that the label is about."""

    background: Background
    birds: tuple[Bird, ...]
    objects: tuple[Object, ...] = ()
    degradation: Degradation = field(default=Degradation())
    size: int = SIZE

    def to_dict(self) -> dict[str, Any]:
        """The scene as JSON values."""
        # dataclasses.asdict copies deeply and takes longer than drawing the background.
        return {
            "background": dict(vars(self.background)),
            "birds": [_bird_dict(b) for b in self.birds],
            "objects": [dict(vars(o)) for o in self.objects],
            "degradation": {**vars(self.degradation), "cast": list(self.degradation.cast)},
            "size": self.size,
        }

    @property
    def edition(self) -> str:
        """The edition of its birds; the first where there is none."""
        return self.birds[0].edition if self.birds else "1"

    def with_bird(self, bird: Bird, index: int = 0) -> Scene:
        """The same scene with another bird in that one's place."""
        return replace(self, birds=tuple(bird if i == index else b for i, b in enumerate(self.birds)))


def _bird_dict(bird: Bird) -> dict[str, Any]:
    values = {**vars(bird), "parts": [{**vars(p), "tint": list(p.tint)} for p in bird.parts]}
    # Records of the first edition, which knew no other, stay as they were.
    return {k: v for k, v in values.items() if (k, v) != ("edition", "1")}


def scene_from_dict(values: Mapping[str, Any]) -> Scene:
    """The scene that `Scene.to_dict` wrote.

    Raises:
        InputError: a key is missing or unknown.
    """
    try:
        degradation = dict(values["degradation"])
        return Scene(
            background=Background(**values["background"]),
            birds=tuple(_bird(b) for b in values["birds"]),
            objects=tuple(Object(**o) for o in values["objects"]),
            degradation=Degradation(**{**degradation, "cast": tuple(degradation["cast"])}),
            size=int(values["size"]),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"not a scene of the aviary ({e}); give what Scene.to_dict() wrote") from e


def _bird(values: Mapping[str, Any]) -> Bird:
    parts = tuple(Part(**{**p, "tint": tuple(p["tint"])}) for p in values["parts"])
    return Bird(**{**values, "parts": parts})


@dataclass(frozen=True)
class Rendered:
    """A painted scene: `pixels` (H, W, 3) uint8, and `owner` (H, W): who shows in each pixel.

    Owner 0 is the background, 1 + 32 b + p is part p of bird b, in the order of its edition, -1 - k is object k.
    """

    scene: Scene
    pixels: Pixels
    owner: np.ndarray[Any, np.dtype[np.int16]]
    patches: Mapping[tuple[int, str], Patch | None]

    def number(self, name: str, bird: int = 0) -> int:
        """The owner number of a part."""
        return 1 + STRIDE * bird + ORDERS[self.scene.birds[bird].edition].index(name)

    def visible(self, name: str, bird: int = 0) -> Bools:
        """The pixels (H, W) in which that part shows; masks of different parts are disjoint."""
        return np.asarray(self.owner == self.number(name, bird))

    def whole(self, name: str, bird: int = 0) -> Bools:
        """The part's pixels (H, W) as if nothing lay over it."""
        out = self.visible(name, bird)
        patch = self.patches.get((bird, name))
        if patch is not None:
            out[patch.where] |= patch.alpha >= 0.5
        return out

    def bird_mask(self, bird: int = 0) -> Bools:
        """The pixels (H, W) in which the bird shows: the union of its parts."""
        first = 1 + STRIDE * bird
        return np.asarray((self.owner >= first) & (self.owner < first + STRIDE))

    def object_mask(self, index: int) -> Bools:
        """The pixels (H, W) in which that object shows."""
        return np.asarray(self.owner == -1 - index)

    @property
    def background_mask(self) -> Bools:
        """The pixels (H, W) without bird."""
        return np.asarray(self.owner <= 0)

    @cached_property
    def shares(self) -> dict[tuple[int, str], float]:
        """For each (bird, part) the share of its own pixels that shows."""
        counts = np.bincount(np.maximum(self.owner, 0).ravel(), minlength=1 + STRIDE * len(self.scene.birds))
        out = {}
        for (bird, name), patch in self.patches.items():
            seen = int(counts[self.number(name, bird)])
            own = 0 if patch is None else int(np.count_nonzero(patch.alpha >= 0.5))
            enough = seen >= VISIBLE_PIXELS * (self.scene.size / SIZE) ** 2
            out[bird, name] = min(1.0, seen / max(own, seen, 1)) if enough else 0.0
        return out

    def shown(self, bird: int = 0) -> tuple[str, ...]:
        """The parts of a bird that are visible: at least a quarter of their own pixels show (see `Anatomy.shown`)."""
        own = self.scene.birds[bird]
        least = anatomy(own.edition).shown
        return tuple(n for n in own.names if self.shares[bird, n] >= least.get(n, VISIBLE_SHARE))

    def boxes(self, bird: int = 0) -> dict[str, Box]:
        """Boxes (x0, y0, x1, y1) around the visible pixels of the bird and of each shown part."""
        out = {world(self.scene.edition).noun: mask_box(self.bird_mask(bird))}
        return out | {n: mask_box(self.visible(n, bird)) for n in self.shown(bird)}

    def keypoints(self, bird: int = 0) -> dict[str, tuple[float, float]]:
        """Keypoints (x, y) in pixels of the bird's parts, also of hidden ones, to a hundredth."""
        size = self.scene.size
        points = keypoints(self.scene.birds[bird])
        return {n: (round(x * size, 2), round(y * size, 2)) for n, (x, y) in points.items()}


def _patches(bird: Bird, size: int) -> dict[str, Patch | None]:
    """The coverage of each part, and of the hosts that markings are cut to."""
    found: dict[str, Patch | None] = {}
    hosts: dict[str, Patch | None] = {}
    for part in bird.parts:
        patch = coverage([o * size for o in outlines(bird, part)], size)
        host = anatomy(bird.edition).clipped_by.get(part.name)
        if host is not None:
            if host not in hosts:
                # The host's own place and size, even where the host itself is removed or displaced.
                hosts[host] = coverage([o * size for o in outlines(bird, Part(host, "grey"))], size)
            patch = clipped(patch, hosts[host])
        found[part.name] = patch
    return found


def _grown(alpha: Reals) -> Reals:
    """Each pixel as the largest of its 3 x 3 neighbours."""
    tall = alpha.copy()
    np.maximum(tall[1:], alpha[:-1], out=tall[1:])
    np.maximum(tall[:-1], alpha[1:], out=tall[:-1])
    wide = tall.copy()
    np.maximum(wide[:, 1:], tall[:, :-1], out=wide[:, 1:])
    np.maximum(wide[:, :-1], tall[:, 1:], out=wide[:, :-1])
    return wide


def _rim(patches: list[Patch], size: int) -> Patch:
    """A thin line around the whole bird."""
    alpha = np.zeros((size, size), dtype=np.float32)
    for patch in patches:
        view = alpha[patch.where]
        np.maximum(view, patch.alpha, out=view)
    for _ in range(max(1, round(size / 128))):
        alpha = _grown(alpha)
    return Patch(0, 0, alpha * np.float32(0.62))


def _bordered(patch: Patch | None, host: Patch | None, size: int) -> Patch | None:
    """The patch grown by a pixel at 128: what its border covers. A marking's border ends where its host does."""
    if patch is None:
        return None
    by = max(1, round(size / 128))
    y0, x0 = max(patch.y - by, 0), max(patch.x - by, 0)
    h, w = patch.alpha.shape
    y1, x1 = min(patch.y + h + by, size), min(patch.x + w + by, size)
    alpha = np.zeros((y1 - y0, x1 - x0), dtype=np.float32)
    alpha[patch.y - y0 : patch.y - y0 + h, patch.x - x0 : patch.x - x0 + w] = patch.alpha
    for _ in range(by):
        alpha = _grown(alpha)
    grown = Patch(y0, x0, alpha)
    return grown if host is None else clipped(grown, host)


def _draw_bird(canvas: Canvas, bird: Bird, index: int, size: int) -> dict[tuple[int, str], Patch | None]:
    patches, own = _patches(bird, size), anatomy(bird.edition)
    on_canvas = [p for p in patches.values() if p is not None]
    if on_canvas and not own.bordered:
        canvas.paint(_rim(on_canvas, size), (0.13, 0.11, 0.12))
    whole: dict[str, Patch | None] = {}
    for part in bird.parts:
        owner = 1 + STRIDE * index + ORDERS[bird.edition].index(part.name)
        whole[part.name] = patches[part.name]
        if own.bordered:
            host = own.clipped_by.get(part.name)
            whole[part.name] = _bordered(patches[part.name], whole.get(host) if host else None, size)
            canvas.paint(whole[part.name], border(part.rgb), owner=owner)
        canvas.paint(patches[part.name], part.rgb, owner=owner, slope=own.slopes.get(part.name, 0.0))
        for detail in details(bird, part):
            inside = coverage([o * size for o in detail.outlines], size)
            canvas.paint(clipped(inside, patches[part.name]), detail.colour)
    return {(index, name): patch for name, patch in whole.items()}


def render(scene: Scene) -> Rendered:
    """Paints a scene: background, objects behind, birds in reverse order, objects in front, then the camera."""
    size = scene.size
    canvas = backdrop(scene.background, size)
    patches: dict[tuple[int, str], Patch | None] = {}
    for k, thing in enumerate(scene.objects):
        if not thing.front:
            draw_object(canvas, thing, size, -1 - k)
    for index in reversed(range(len(scene.birds))):
        patches |= _draw_bird(canvas, scene.birds[index], index, size)
    for k, thing in enumerate(scene.objects):
        if thing.front:
            draw_object(canvas, thing, size, -1 - k)
    spoiled = spoil(canvas.pixels, scene.degradation)
    # Rounding to 1/64 of a grey level first keeps ties from falling differently on two machines.
    levels = np.round(np.clip(spoiled, 0, 1).astype(np.float64) * (255 * 64)) / 64
    return Rendered(scene, np.floor(levels + 0.5).astype(np.uint8), canvas.owner, patches)
