"""What a region looks like, measured from its own pixels.

The colour terms that cover at least 15 % of a region, at most three, each with its share, largest first; and `large` or
`small` where its share of the picture earns the word. There is no word for texture: no measure that we tried tells
stripes from edges on photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saywhy.errors import InputError
from saywhy.explanation import ColourShare, Shade, Size
from saywhy.image import Bools, Pixels
from saywhy.language.colour_terms import shares

SAMPLE = 20_000  # pixels looked at per region, evenly spread; shares move by less than a per cent
TOLD = 0.15  # a colour with less of the region is not told
LARGE, SMALL = 0.20, 0.04  # of the picture
WHOLLY = 0.60  # one colour names the region from here on
MOSTLY = 0.40  # or names it with "mostly" where no second colour comes near
FIRST, SECOND = 0.30, 0.20  # or two do, the first and the second with at least this

# Neighbours in colour that the eye takes for one blend; all other pairs are two colours beside each other.
BLENDS = {
    frozenset(pair.split("-")): pair
    for pair in (
        *("orange-brown", "red-brown", "yellow-brown", "grey-brown", "green-brown", "pink-brown"),
        *("orange-red", "orange-yellow", "orange-pink", "yellow-green", "blue-green", "blue-purple"),
        *("pink-purple", "red-purple", "pink-red", "grey-blue", "grey-green", "grey-pink", "grey-purple"),
    )
}


@dataclass(frozen=True)
class Appearance:
    """What a region looks like: its colours, the largest share first, and its size where it is told."""

    colours: tuple[ColourShare, ...] = ()
    size: Size | None = None


def appearance(pixels: Pixels, mask: Bools) -> Appearance:
    """How the region `mask` (H, W) of a photo (H, W, 3) uint8 looks; shares are rounded to whole per cents.

    Raises:
        InputError: mask and photo differ in size, or the mask is empty.
    """
    if pixels.ndim != 3 or mask.shape != pixels.shape[:2]:
        raise InputError(f"a mask of {mask.shape} does not fit a picture of {pixels.shape}; both need the same H, W")
    where = np.flatnonzero(mask)
    if not len(where):
        raise InputError("an empty region has no appearance; give a mask with at least one pixel")
    step = max(1, len(where) // SAMPLE)
    # A step that divides the width would look at a few columns only; evenly spaced indices do not.
    seen = where[np.linspace(0, len(where) - 1, len(where) // step).astype(np.intp)]
    found = shares(pixels.reshape(-1, 3)[seen])
    # Rounded here, so that no word rests on digits that the record does not show.
    told = [ColourShare(term=term, share=round(100 * s) / 100) for term, s in found.items() if s >= TOLD]
    return Appearance(tuple(told[:3]), _size(len(where) / mask.size))


def _size(share: float) -> Size | None:
    return "large" if share >= LARGE else "small" if share < SMALL else None


def look(seen: Appearance, shade: Shade | None = None) -> str:
    """It as one would say it before 'patch': 'large orange-brown', 'black-and-white', 'small dark green'.

    `shade` is told where a region is much lighter or darker than what surrounds it and of no other colour.
    """
    return " ".join(word for word in (seen.size, shade, _colour([(c.term, c.share) for c in seen.colours])) if word)


def _colour(colours: list[tuple[str, float]]) -> str:
    (first, share), (second, other) = [*colours, ("", 0.0), ("", 0.0)][:2]
    if share >= WHOLLY:
        return first
    if share >= FIRST and other >= SECOND:
        return BLENDS.get(frozenset((first, second)), f"{first}-and-{second}")
    return f"mostly {first}" if share >= MOSTLY else "multicoloured"


def at(place: str) -> str:
    """The place word with its preposition: 'in the centre', 'at the top left'."""
    return f"in the {place}" if place == "centre" else f"at the {place}"
