"""The colour a person would name, and the words for a region."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from saywhy.errors import InputError
from saywhy.explanation import ColourShare
from saywhy.language.appearance import BLENDS, Appearance, appearance, look
from saywhy.language.colour_terms import BORDERS, TERMS, lightness_chroma_hue, shares, term_indices

# Colours of things as photos show them, borders between terms among them.
KNOWN = {
    "black": [(0, 0, 0), (30, 26, 24), (12, 14, 25), (38, 36, 40)],
    "white": [(255, 255, 255), (240, 242, 245), (250, 240, 215), (230, 220, 200), (216, 220, 214)],
    "grey": [(128, 128, 128), (95, 95, 98), (170, 165, 155), (165, 180, 205), (130, 120, 112)],  # snow in shade too
    "red": [(190, 25, 30), (255, 0, 0), (220, 60, 40), (128, 0, 0), (90, 20, 35)],
    "orange": [(240, 140, 20), (255, 140, 0), (230, 110, 30), (255, 165, 0)],
    "yellow": [(255, 255, 0), (250, 220, 80), (245, 175, 20), (212, 175, 55), (250, 240, 100)],
    "green": [(90, 130, 50), (0, 128, 0), (40, 60, 25), (110, 110, 40), (170, 220, 40), (170, 230, 190)],
    "blue": [(135, 190, 235), (190, 215, 240), (50, 110, 180), (25, 30, 70), (0, 0, 255), (30, 90, 110)],
    "purple": [(120, 60, 190), (128, 0, 128), (110, 50, 110), (180, 160, 220)],
    "pink": [(255, 192, 203), (230, 100, 130), (250, 128, 114), (241, 194, 165), (220, 20, 160)],
    "brown": [
        (139, 69, 19),
        (110, 70, 45),
        (198, 134, 98),
        (150, 110, 75),
        (210, 185, 140),
        (150, 70, 55),
        (70, 40, 25),
    ],
}


@pytest.mark.parametrize(("term", "rgb"), [(term, rgb) for term, colours in KNOWN.items() for rgb in colours])
def test_known_colour_gets_its_name(term: str, rgb: tuple[int, int, int]) -> None:
    assert TERMS[int(term_indices(np.array(rgb, np.uint8)))] == term


def test_every_colour_of_the_cube_falls_between_borders() -> None:
    axis = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    light, chroma, hue = lightness_chroma_hue(cube)
    fits = np.zeros(len(cube), bool)
    for _, (h0, h1), (l0, l1), (c0, c1) in BORDERS:
        in_hue = (hue >= h0) & (hue < h1) if h0 <= h1 else (hue >= h0) | (hue < h1)
        fits |= in_hue & (light >= l0) & (light < l1) & (chroma >= c0) & (chroma < c1)
    assert fits.all()


def test_grey_axis_goes_from_black_over_grey_to_white_once() -> None:
    axis = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    names = [TERMS[i] for i in term_indices(axis)]
    changes = [b for a, b in pairwise(names) if a != b]
    assert [names[0], *changes] == ["black", "grey", "white"]


def test_primaries_have_the_lightness_and_hue_of_oklab() -> None:
    light, chroma, hue = lightness_chroma_hue(np.array([[255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8))
    assert light == pytest.approx([0.628, 0.452, 1.0], abs=1e-3)
    assert hue[:2] == pytest.approx([29.2, 264.1], abs=0.1)
    assert chroma == pytest.approx([0.258, 0.313, 0.0], abs=1e-3)


def test_shares_add_up_to_one_largest_first() -> None:
    pixels = np.array([[255, 0, 0]] * 6 + [[0, 0, 255]] * 3 + [[0, 0, 0]], np.uint8)
    found = shares(pixels)
    assert list(found) == ["red", "blue", "black"]
    assert sum(found.values()) == pytest.approx(1)
    assert shares(np.zeros((0, 3), np.uint8)) == {}


def test_colours_of_floats_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        term_indices(np.zeros((4, 3)))


def photo(size: tuple[int, int] = (60, 60), colour: tuple[int, int, int] = (0, 128, 0)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


def seen(shares: dict[str, float], size: str | None = None) -> Appearance:
    return Appearance(tuple(ColourShare(term=term, share=share) for term, share in shares.items()), size)


def test_appearance_reads_only_the_pixels_of_the_region() -> None:
    pixels, mask = photo(), np.zeros((60, 60), bool)
    mask[10:30, 10:30] = True
    pixels[mask] = (255, 140, 0)
    pixels[20:30, 10:30] = (139, 69, 19)
    assert appearance(pixels, mask) == seen({"orange": 0.5, "brown": 0.5})
    assert appearance(pixels, ~mask) == seen({"green": 1.0}, "large")


def test_size_is_told_where_it_is_large_or_small() -> None:
    mask = np.zeros((60, 60), bool)
    mask[:5, :5] = True
    assert appearance(photo(), mask).size == "small"
    mask[:20, :20] = True
    assert appearance(photo(), mask).size is None
    mask[:30] = True
    assert appearance(photo(), mask).size == "large"


def test_stripes_in_a_big_photo_keep_their_shares_when_pixels_are_sampled() -> None:
    pixels = photo((800, 400), (255, 255, 255))
    pixels[:, ::4] = (0, 0, 0)
    first = appearance(pixels, np.ones((800, 400), bool)).colours[0]
    assert first.term == "white" and 0.73 <= first.share <= 0.77


@pytest.mark.parametrize(
    ("shares", "size", "said"),
    [
        ({"brown": 0.93}, None, "brown"),
        ({"orange": 0.48, "brown": 0.31}, "large", "large orange-brown"),
        ({"brown": 0.48, "orange": 0.31}, "small", "small orange-brown"),
        ({"black": 0.50, "white": 0.45}, None, "black-and-white"),
        ({"white": 0.45, "brown": 0.17}, None, "mostly white"),
        ({"red": 0.29, "black": 0.28, "brown": 0.27}, None, "multicoloured"),
        ({}, "large", "large multicoloured"),
        ({"brown": 0.60, "orange": 0.40}, None, "brown"),
        ({"brown": 0.30, "orange": 0.20}, None, "orange-brown"),
        ({"brown": 0.40, "orange": 0.19}, None, "mostly brown"),
    ],
)
def test_a_look_is_said_as_one_would_before_patch(shares: dict[str, float], size: str | None, said: str) -> None:
    assert look(seen(shares, size)) == said


def test_shares_are_whole_per_cents_so_that_the_look_rests_on_what_the_record_shows() -> None:
    pixels = photo((1, 1000), (139, 69, 19))
    pixels[0, 596:] = (0, 0, 255)
    found = appearance(pixels, np.ones((1, 1000), bool))
    assert [(c.term, c.share) for c in found.colours] == [("brown", 0.6), ("blue", 0.4)]
    assert look(found) == "large brown"


def test_blends_are_pairs_of_basic_terms() -> None:
    assert all(pair <= set(TERMS) and len(pair) == 2 for pair in BLENDS)


def test_empty_or_misfitting_mask_is_an_error() -> None:
    with pytest.raises(InputError, match="empty"):
        appearance(photo(), np.zeros((60, 60), bool))
    with pytest.raises(InputError, match="does not fit"):
        appearance(photo(), np.ones((60, 61), bool))
