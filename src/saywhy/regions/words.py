"""What regions are called: by their own pixels, by what sets them off from what surrounds them, and never two alike.

k regions (k, H, W) of a picture (H, W, 3) uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from saywhy.explanation import Beside, Shade
from saywhy.image import Bools, Pixels
from saywhy.language import Appearance, appearance, look
from saywhy.language.colour_terms import lightness_chroma_hue
from saywhy.regions.propose import RegionWords

RIM = 0.01  # of the short side: a region's outermost pixels mix with what lies beside it
AROUND = 0.08  # of the short side: how far its surroundings reach
LIGHTER = 0.12  # in lightness (0 to 1): from here on it is told
STRIKING, COMMON = 0.20, 0.5  # the share from which a second colour names a region, if around it it has half or less


def seen_as(pixels: Pixels, mask: Bools) -> tuple[Appearance, Shade | None]:
    """How a region (H, W) looks, colours that set it off first, and whether it is a lighter or darker patch of the same
    colour."""
    short = min(mask.shape)
    core = ndimage.binary_erosion(mask, iterations=max(1, round(RIM * short)))
    own = core if core.sum() >= 0.25 * mask.sum() else mask
    ring = ndimage.binary_dilation(mask, iterations=max(2, round(AROUND * short))) & ~mask
    seen = replace(appearance(pixels, own), size=appearance(pixels, mask).size)
    if not ring.any() or not seen.colours:
        return seen, None
    around = appearance(pixels, ring)
    shares = {c.term: c.share for c in around.colours}
    colours = sorted(seen.colours, key=lambda c: -c.share)
    telling = [c for c in colours if c.share >= STRIKING and shares.get(c.term, 0) <= COMMON * c.share]
    if telling and telling[0] != colours[0] and colours[0].term in shares:
        # The region shares its main colour with what is around it: what differs names it.
        colours = [telling[0], *(c for c in colours if c != telling[0])]
        return replace(seen, colours=tuple(colours)), None
    return seen, _shade(pixels, own, ring) if around.colours and around.colours[0].term == colours[0].term else None


def _shade(pixels: Pixels, own: Bools, ring: Bools) -> Shade | None:
    mine, around = (float(np.median(lightness_chroma_hue(pixels[m])[0])) for m in (own, ring))
    return None if abs(mine - around) < LIGHTER else "light" if mine > around else "dark"


def told_apart(words: Sequence[RegionWords], masks: Bools) -> tuple[RegionWords, ...]:
    """Regions that would be called alike also say how they lie to another one, no two of them in the same way."""
    out: list[RegionWords] = []
    for i, w in enumerate(words):
        alike = [j for j in range(i) if _called(words[j]) == _called(w)]
        others = [*alike, *(j for j in range(len(words)) if j not in alike and j != i)]
        ways = [replace(w, beside=Beside(relation=r, region=words[j].id)) for j in others for r in _ways(masks, i, j)]
        taken = {_told(o) for o in out}
        out.append(next((way for way in ([*ways, w] if alike else [w]) if _told(way) not in taken), w))
    return tuple(out)


def _called(w: RegionWords) -> tuple[str, str]:
    return w.spoken or look(w.appearance, w.shade), w.place


def _told(w: RegionWords) -> tuple[object, ...]:
    beside = None if w.beside is None else (w.beside.relation, w.beside.region)
    return (*_called(w), beside)


def _ways(masks: Bools, i: int, j: int) -> list[str]:
    """Where region i lies from region j, the larger offset first."""
    (y0, x0), (y1, x1) = (ndimage.center_of_mass(masks[n]) for n in (i, j))
    words = [(abs(x0 - x1), "right of" if x0 > x1 else "left of"), (abs(y0 - y1), "below" if y0 > y1 else "above")]
    return [word for size, word in sorted(words, reverse=True) if size > 0]
