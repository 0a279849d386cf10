"""What a region looks like, in words measured from its own pixels.

The words of a region are `("orange 48 %", "brown 31 %", "large")`: the colour terms that cover at least 15 % of
it, at most three, each with its share, largest first; then `large` or `small` where its share of the picture
earns the word. There is no word for texture: no measure that we tried tells stripes from edges on photos.
"""

from __future__ import annotations

import re

import numpy as np

from saywhy.errors import InputError
from saywhy.image import Bools, Pixels
from saywhy.language.colours import TERMS, shares

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

_SHARE = re.compile(rf"({'|'.join(TERMS)}) (\d{{1,3}}) %")


def appearance(pixels: Pixels, mask: Bools) -> tuple[str, ...]:
    """Words for the region `mask` (H, W) of a photo (H, W, 3) uint8: colour terms with their share, then size.

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
    told = [f"{term} {round(100 * share)} %" for term, share in found.items() if share >= TOLD][:3]
    return (*told, *_size(len(where) / mask.size))


def _size(share: float) -> tuple[str, ...]:
    return ("large",) if share >= LARGE else ("small",) if share < SMALL else ()


def look(words: tuple[str, ...]) -> str:
    """The words as one would say them before 'patch': 'large orange-brown', 'black-and-white', 'multicoloured'."""
    colours = [(m[1], int(m[2]) / 100) for word in words if (m := _SHARE.fullmatch(word))]
    sizes = [word for word in words if word in ("large", "small")]
    return " ".join([*sizes, _colour(colours)])


def _colour(colours: list[tuple[str, float]]) -> str:
    first, share = colours[0] if colours else ("", 0.0)
    second, other = colours[1] if len(colours) > 1 else ("", 0.0)
    if share >= WHOLLY:
        return first
    if share >= FIRST and other >= SECOND:
        return BLENDS.get(frozenset((first, second)), f"{first}-and-{second}")
    return f"mostly {first}" if share >= MOSTLY else "multicoloured"


def at(place: str) -> str:
    """The place word with its preposition: 'in the centre', 'at the top left'."""
    return f"in the {place}" if place == "centre" else f"at the {place}"


def phrase(region: str, words: tuple[str, ...], place: str) -> str:
    """How a region is introduced: 'region 1, the orange-brown patch at the centre left'."""
    return f"region {region}, the {look(words)} patch {at(place)}"
