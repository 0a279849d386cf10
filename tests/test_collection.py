import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saywhy.collection import find_images, skipped, stems
from saywhy.errors import InputError


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10), "red").save(path)
    return path


def test_a_folder_of_class_folders_gives_classes(tmp_path: Path) -> None:
    for name in ("dogs/1.png", "cats/1.png", "cats/2.jpg"):
        put(tmp_path / name)
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    found = [(i.path.name, i.class_name, i.class_index) for i in find_images(tmp_path)]
    assert found == [("1.png", "cats", 0), ("2.jpg", "cats", 0), ("1.png", "dogs", 1)]


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "deep" / "er" / "b.png")
    assert [i.class_name for i in find_images(tmp_path)] == [None, None]


def test_a_folder_with_a_listing_means_only_what_is_listed(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    row = {"file": "b.png", "class_name": "bee", "class_index": 3, "split": "test", "mine": 1}
    (tmp_path / "images.jsonl").write_text(json.dumps(row) + "\n\n")
    (item,) = find_images(tmp_path)
    assert (item.path.name, item.class_name, item.class_index, item.split) == ("b.png", "bee", 3, "test")
    assert item.truth["mine"] == 1


def test_masks_come_from_polygons_and_from_files(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    drawn = np.zeros((10, 20), dtype=np.uint8)
    drawn[2:4] = 255
    Image.fromarray(drawn).save(tmp_path / "m.png")
    masks = [
        {"name": "wheel", "polygons": [[0, 0, 5, 0, 5, 5, 0, 5]]},
        {"name": "wheel", "polygons": [[10, 0, 15, 0, 15, 5, 10, 5]]},
        {"name": "door", "png": "m.png"},
    ]
    (tmp_path / "images.jsonl").write_text(json.dumps({"file": "a.png", "masks": masks}))
    (item,) = find_images(tmp_path)
    got = item.masks((10, 20))
    assert sorted(got) == ["door", "wheel"]
    assert got["wheel"].sum() == 2 * 36, "both polygons, their borders included"
    assert (got["door"] == (drawn > 0)).all()
    with pytest.raises(InputError, match="size"):
        item.masks((10, 21))


def test_globs_keep_their_order_and_every_picture_comes_once(tmp_path: Path) -> None:
    b, a = put(tmp_path / "b.png"), put(tmp_path / "a.png")
    assert [i.path for i in find_images([str(tmp_path / "*.png"), str(a)])] == [a, b]


@pytest.mark.parametrize("what", ["empty folder", "glob", "listing", "no file", "empty listing"])
def test_nothing_to_explain_is_an_error(tmp_path: Path, what: str) -> None:
    listing = tmp_path / "images.jsonl"
    if what == "listing":
        listing.write_text('{"class": 1}\n')
    if what == "empty listing":
        listing.write_text("\n")
    source = {"glob": tmp_path / "*.png", "no file": tmp_path / "other.jsonl"}.get(what, tmp_path)
    with pytest.raises(InputError):
        find_images(source)


def test_a_single_missing_file_is_left_to_the_run_that_reads_it(tmp_path: Path) -> None:
    (item,) = find_images(tmp_path / "missing.jpg")
    assert item.path.name == "missing.jpg"


def test_hidden_folders_are_no_classes_and_stray_photos_have_none(tmp_path: Path) -> None:
    for name in (
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/.ipynb_checkpoints/1-checkpoint.png",
        ".thumbs/a.png",
        "stray.png",
    ):
        put(tmp_path / name)
    put(tmp_path / "__MACOSX" / "a" / "._1.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "b" / "raw.cr2").write_bytes(b"raw")
    found = {str(i.path.relative_to(tmp_path)): (i.class_name, i.class_index) for i in find_images(tmp_path)}
    assert found == {"a/1.png": ("a", 0), "a/2.png": ("a", 0), "b/1.png": ("b", 1), "stray.png": (None, None)}
    told = skipped(tmp_path)
    for words in ("2 no picture (b/raw.cr2, notes.txt)", "3 hidden", "1 beside the class folders", "stray.png"):
        assert words in told
    assert skipped(tmp_path / "a") == ""


@pytest.mark.parametrize("name", ["a.npy", "masks/a.npy", "deep/er/a.NPY"])
def test_arrays_are_pictures_alone_and_none_beside_photos(tmp_path: Path, name: str) -> None:
    array = tmp_path / name
    array.parent.mkdir(parents=True, exist_ok=True)
    with array.open("wb") as file:
        np.save(file, np.zeros((9, 9)))
    assert [i.path for i in find_images(tmp_path)] == [array] and skipped(tmp_path) == ""
    photo = put(tmp_path / "a.png")
    assert [i.path for i in find_images(tmp_path)] == [photo]
    assert skipped(tmp_path) == f"1 no picture ({name})"
    assert [i.path for i in find_images([tmp_path, array])] == [photo, array]


def test_a_mask_file_that_is_no_picture_is_told(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((10, 20)))
    row = {"file": "a.png", "masks": [{"name": "beak", "png": "a.npy"}]}
    (tmp_path / "images.jsonl").write_text(json.dumps(row))
    (item,) = find_images(tmp_path)
    with pytest.raises(InputError, match=r"a\.npy: a mask is a PNG"):
        item.masks((10, 20))


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".avif", ".webp", ".tga", ".jp2"])
def test_known_formats_are_found_and_read(tmp_path: Path, suffix: str) -> None:
    from saywhy.image import read

    (tmp_path / "c").mkdir()
    format = {".jfif": "JPEG", ".jpe": "JPEG", ".jp2": "JPEG2000"}.get(suffix.lower(), suffix[1:].upper())
    try:
        Image.new("RGB", (20, 20), (200, 40, 40)).save(tmp_path / "c" / f"x{suffix}", format)
    except (KeyError, OSError) as e:
        pytest.skip(f"this Pillow cannot write {format}: {e}")
    (item,) = find_images(tmp_path)
    assert abs(int(read(item.path).pixels[5, 5, 0]) - 200) < 8


def test_heic_is_found_and_read_or_its_extra_is_named(tmp_path: Path) -> None:
    from saywhy.image import read

    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 60)
        (item,) = find_images(tmp_path)
        with pytest.raises(InputError, match=r"saywhy\[heif\]"):
            read(item.path)
        return
    register_heif_opener()
    Image.new("RGB", (64, 64), (200, 40, 40)).save(tmp_path / "x.heic")
    (item,) = find_images(tmp_path)
    assert abs(int(read(item.path).pixels[30, 30, 0]) - 200) < 8


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/same.jpg", "b/same.jpg", "same-2.jpg"], ["same", "same-3", "same-2"]),
        (["same-2.jpg", "a/same.jpg", "b/same.png", "c/same.jpg"], ["same-2", "same", "same-3", "same-4"]),
        (["a/One.jpg", "b/one.jpg"], ["One", "one-2"]),
        (["a/x-2.jpg", "b/x-2.jpg", "x.jpg", "c/x.jpg"], ["x-2", "x-2-2", "x", "x-3"]),
    ],
)
def test_every_picture_gets_a_name_of_its_own(paths: list[str], expected: list[str]) -> None:
    assert stems([Path(p) for p in paths]) == expected
