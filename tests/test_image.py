import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from saywhy import image as images
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


# -- depth -----------------------------------------------------------------------------------------


def tiff(values: np.ndarray, **how: object) -> bytes:
    import tifffile

    out = io.BytesIO()
    tifffile.imwrite(out, values, **how)
    return out.getvalue()


def png16(values: np.ndarray) -> bytes:
    """A PNG of 16 bits and any number of channels, by hand."""
    import struct
    import zlib

    h, w, c = values.shape
    head = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 3: 2, 4: 6}[c], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks
    )


def grey8() -> np.ndarray:
    """A photo in grey, (40, 60), whose brightest pixels are nearly white."""
    y, x = np.mgrid[0:40, 0:60]
    return np.clip(120 + 60 * np.sin(x / 5) + 70 * np.cos(y / 7), 3, 250).astype(np.uint8)


def colours8() -> np.ndarray:
    g = grey8()
    return np.stack([g, g[::-1], g[:, ::-1]], axis=2)


DEPTHS: dict[str, tuple[bytes, np.ndarray]] = {
    "12 bits in a 16-bit PNG": (png16((grey8().astype(np.uint16) * 16)[..., None]), grey8()),
    "10 bits in a 16-bit PNG": (png16((grey8().astype(np.uint16) * 4)[..., None]), grey8()),
    "16-bit PNG": (png16((grey8().astype(np.uint16) * 257)[..., None]), grey8()),
    "8 bits in a 16-bit PNG": (png16(grey8().astype(np.uint16)[..., None]), grey8()),
    "12 bits in colours, PNG": (png16(colours8().astype(np.uint16) * 16), colours8()),
    "16 bits in colours, PNG": (png16(colours8().astype(np.uint16) * 257), colours8()),
    "12 bits in a TIFF": (tiff(grey8().astype(np.uint16) * 16), grey8()),
    "12 bits in colours, TIFF": (tiff(colours8().astype(np.uint16) * 16, photometric="rgb"), colours8()),
    "float TIFF": (tiff(grey8().astype(np.float32) / 255), grey8()),
    "float64 TIFF": (tiff(grey8().astype(np.float64) / 255), grey8()),
    "float TIFF in colours": (tiff((colours8() / 255).astype(np.float32), photometric="rgb"), colours8()),
    "float TIFF in [-1, 1]": (tiff((grey8() / 170 - 0.75).astype(np.float32)), (grey8() * 0.75 + 31.9).round()),
    "float TIFF, resampled past its ends": (tiff((grey8() * 1.01 / 255 - 0.005).astype(np.float32)), grey8()),
    "float TIFF, rounded below 0": (tiff((grey8() / 340 - 1e-9).astype(np.float64)), (grey8() * 0.75).round()),
    "float TIFF to 255": (tiff(grey8().astype(np.float32)), grey8()),
    "half TIFF, zlib": (tiff((grey8() / 255).astype(np.float16), compression="zlib"), grey8()),
    "8-bit TIFF": (tiff(colours8(), photometric="rgb"), colours8()),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_a_file_is_scaled_by_what_it_holds(name: str) -> None:
    data, expected = DEPTHS[name]
    picture = read(data)
    grey = picture.pixels[..., 0] if expected.ndim == 2 else picture.pixels
    assert np.abs(grey.astype(int) - expected).max() <= 2
    assert len(np.unique(grey)) > 100, "no level is lost"
    assert bool(picture.notes) == ("8-bit" not in name)
    assert all("--range" in n for n in picture.notes)


HOUNSFIELD = np.linspace(-1024, 3000, 40 * 60).reshape(40, 60).round()


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_hounsfield_units_are_seen_whole_or_through_a_window(kind: type) -> None:
    data = tiff(HOUNSFIELD.astype(kind))
    whole = read(data)
    assert whole.pixels.min() == 0 and whole.pixels.max() == 255 and len(np.unique(whole.pixels)) > 250
    assert "-1024 to 3000" in whole.notes[0] and "--range" in whole.notes[0]
    window = read(data, Preprocess(window=(-160, 240)))
    expected = np.clip((HOUNSFIELD + 160) / 400, 0, 1) * 255
    assert np.abs(window.pixels[..., 1] - expected).max() <= 0.51
    assert window.notes == ("values -160 to 240 scaled to 8 bits, as --range says",)


def test_a_window_is_for_every_kind_of_source() -> None:
    for source in (
        saved(Image.fromarray(colours8())),
        Image.fromarray(colours8()),
        colours8(),
        colours8().astype(np.int64),
    ):
        got = read(source, Preprocess(window=(100, 200))).pixels
        assert np.abs(got - np.clip((colours8().astype(float) - 100) * 2.55, 0, 255)).max() <= 0.51


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        read(tiff(np.full((20, 20), np.nan, np.float32)))


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_the_camera_tag_turns_the_picture_unless_stored_pixels_are_asked_for(tag: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    data = saved(ramp(40, 30), format, exif=exif)
    upright, stored = read(data), read(data, Preprocess(exif="stored"))
    assert (stored.width, stored.height) == (40, 30)
    assert np.abs(stored.pixels.astype(int) - np.asarray(ramp(40, 30))).max() < 12
    assert (upright.width, upright.height) == ((40, 30) if tag < 5 else (30, 40))
    assert any("--exif stored" in n for n in upright.notes) == (tag != 1)
    assert any("as it is stored" in n for n in stored.notes) == (tag != 1)


# -- large and wide photos ---------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_photo_that_is_too_large_to_be_seen_is_read_at_a_part_of_its_size(monkeypatch, format: str) -> None:
    monkeypatch.setattr(images, "LARGE", 40_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read(saved(ramp(800, 600), format, exif=exif))
    assert picture.width * picture.height <= 40_000 and abs(picture.width / picture.height - 0.75) < 0.02
    assert "of its 800 x 600 pixels" in picture.notes[0] and "upright" in picture.notes[1]
    whole = read(saved(ramp(160, 120), format))
    assert (whole.width, whole.notes) == (160, ())


@pytest.mark.parametrize(
    ("size", "resize", "words"),
    [
     ((3000, 220), 256, "sees 6 %"), ((220, 3000), 256, "sees 6 %"),
     ((3000, 220), None, "width is squeezed 13.6 times"),
     ((220, 3000), None, "height is squeezed 13.6 times"), ((400, 300), 256, None), ((400, 300), None, None)],
)  # fmt: skip
def test_it_is_said_when_much_of_a_photo_is_not_seen_or_squeezed(size, resize, words) -> None:
    picture, how = read(ramp(*size)), Preprocess(resize=resize)
    notes = images.framing_notes(picture, frame(picture, how)[1], how)
    assert (words in " ".join(notes)) if words else notes == ()


@pytest.mark.parametrize("apart", [False, True])
def test_bands_of_any_file_are_chosen_from_1(apart: bool) -> None:
    cube = np.stack([np.full((20, 30), 10 * i) for i in range(1, 7)], axis=2).astype(np.uint8)
    data = tiff(cube.transpose(2, 0, 1), photometric="minisblack") if apart else tiff(cube, planarconfig="contig")
    assert read(data, Preprocess(bands=(4, 3, 2))).pixels[5, 5].tolist() == [40, 30, 20]
    assert read(data, Preprocess(bands=(6,))).pixels[5, 5].tolist() == [60, 60, 60]
    with pytest.raises(InputError, match="has 6 bands, and band 9"):
        read(data, Preprocess(bands=(9,)))
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    for picture in (saved(Image.fromarray(colours)), Image.fromarray(colours), colours):
        assert np.array_equal(read(picture, Preprocess(bands=(3, 1, 2))).pixels, colours[..., [2, 0, 1]])


def test_a_tiff_of_many_bands_without_a_choice_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"6 bands.*--bands"):
        read(tiff(np.zeros((20, 30, 6), np.uint16), planarconfig="contig"))
