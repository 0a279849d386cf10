import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from saywhy.errors import InputError
from saywhy.image import Preprocess, decode_mask, encode_mask, frame, mask_box, read, thumbnail


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def ramp(w: int = 40, h: int = 30) -> Image.Image:
    x = np.linspace(0, 255, w, dtype=np.uint8)
    return Image.fromarray(
        np.stack([np.tile(x, (h, 1)), np.full((h, w), 60), np.full((h, w), 200)], 2).astype(np.uint8)
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, no picture", "not a picture"),
        (saved(ramp(), "JPEG")[:200], "truncated"),
        (saved(ramp())[:-30], "truncated"),
        (saved(Image.new("RGB", (1, 1))), "at least 8"),
        (saved(Image.new("RGB", (400, 2))), "at least 8"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "picture"),
    ],
)
def test_a_broken_picture_is_an_error_that_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(data)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jpg: no such file"):
        read(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    bomb = saved(Image.new("1", (side, side)))
    assert len(bomb) < 1_000_000
    with pytest.raises(InputError, match=r"pixels.*make a smaller copy"):
        read(bomb)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"])
def test_every_pillow_mode_becomes_8_bit_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(ramp().convert("L")).astype(np.uint16) * 257)
    else:
        image = ramp().convert("L").convert(mode) if mode in ("I", "F", "1") else ramp().convert(mode)
    pixels = read(image).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (30, 40, 3)
    left, right = pixels[:, :10].mean(), pixels[:, -10:].mean()
    assert right > left + 20, "the ramp still rises to the right"


def test_16_bit_png_keeps_its_range() -> None:
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    picture = read(saved(Image.fromarray(values)))
    assert picture.pixels.min() == 0
    assert picture.pixels.max() == 255
    assert any("8 bits" in n for n in picture.notes)


def test_transparent_pixels_lie_on_white_and_it_is_said() -> None:
    picture = read(saved(Image.new("RGBA", (20, 20), (255, 0, 0, 0))))
    assert (picture.pixels == 255).all()
    assert picture.notes == ("transparent pixels laid on white",)


def test_of_an_animation_the_first_frame_is_taken_and_it_is_said() -> None:
    frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
    picture = read(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.pixels[0, 0, 0] > 200
    assert picture.notes == ("the first of 2 frames",)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    picture = read(saved(ramp(40, 30), "JPEG", exif=exif))
    assert (picture.width, picture.height) == (30, 40)


def test_arrays_are_read_and_wrong_ones_refused() -> None:
    grey = np.linspace(0, 1, 100).reshape(10, 10)
    assert read(grey).pixels[-1, -1].tolist() == [255, 255, 255]
    for wrong in (np.zeros((10, 10, 7)), np.full((10, 10), 3.0), np.zeros((10, 10), dtype=np.int64), np.zeros(5)):
        with pytest.raises(InputError):
            read(wrong)
    with pytest.raises(InputError, match="finite"):
        read(np.full((10, 10), np.nan))


def test_the_same_file_has_the_same_hash_and_is_not_read_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    ramp().save(file)
    one = read(file)
    assert one.sha256 == read(str(file)).sha256
    assert read(one) is one


@pytest.mark.parametrize(("w", "h"), [(40, 30), (30, 40), (300, 20), (20, 300), (64, 64), (1000, 700)])
@pytest.mark.parametrize("resize", [None, 36, 64])
def test_the_frame_has_the_models_size_and_its_box_lies_in_the_photo(w: int, h: int, resize: int | None) -> None:
    view, (x0, y0, x1, y1) = frame(read(ramp(w, h)), Preprocess(size=(32, 32), resize=resize))
    assert view.shape == (3, 32, 32)
    assert view.dtype == np.float32
    assert 0 <= x0 < x1 <= w
    assert 0 <= y0 < y1 <= h
    if resize is None:
        assert (x0, y0, x1, y1) == (0, 0, w, h)
    else:
        pixel = 1 + min(w, h) / resize  # a pixel of the scaled photo, and one for rounding
        assert abs((x1 - x0) - (y1 - y0)) <= pixel, "a square of the photo is seen"
        assert abs((x0 + x1) - w) <= pixel, "and it is the middle one"
        assert abs((y0 + y1) - h) <= pixel


def test_a_frame_that_is_as_large_as_the_photo_is_the_photo() -> None:
    picture = read(ramp(32, 32))
    view, box = frame(picture, Preprocess(size=(32, 32), resize=32))
    assert box == (0, 0, 32, 32)
    np.testing.assert_allclose(view.transpose(1, 2, 0) * 255, picture.pixels, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_masks_survive_their_code(mask: np.ndarray) -> None:
    size, counts = encode_mask(mask)
    assert sum(counts) == mask.size
    assert (decode_mask(size, counts) == mask).all()


def test_the_code_is_cocos() -> None:
    # Columns first, zeros first: the published example of an all-one first column.
    assert encode_mask(np.array([[1, 0], [1, 0]], dtype=bool)) == ((2, 2), [0, 2, 2])
    with pytest.raises(InputError, match="does not fit"):
        decode_mask((2, 2), [1, 2])


def test_boxes_are_tight() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    assert mask_box(mask) == (0, 0, 0, 0)
    mask[2:5, 3:9] = True
    assert mask_box(mask) == (3, 2, 9, 5)


def test_thumbnails_are_small_jpegs_of_the_whole_photo() -> None:
    small = Image.open(io.BytesIO(thumbnail(read(ramp(2000, 500)))))
    assert small.size == (640, 160)
