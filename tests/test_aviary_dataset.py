"""The aviary on disk and as a stream."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from saywhy import aviary
from saywhy import files as writing
from saywhy.aviary import AviaryDataset, dataset, render, sample
from saywhy.errors import InputError, UsageError
from saywhy.image import decode_mask


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(folder):
    return [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("aviary") / "set"
    aviary.write(out, images=6, seed=4, size=64)
    return out


def test_the_folder_holds_what_it_promises(written):
    assert sorted(p.name for p in written.iterdir()) == ["classes.json", "images", "images.jsonl", "masks"]
    listed = rows(written)
    assert len(listed) == len(list((written / "images").iterdir())) == 6
    assert {m["png"] for r in listed for m in r["masks"]} == {f"masks/{p.name}" for p in (written / "masks").iterdir()}
    for row in listed:
        assert {"file", "class_name", "class_index", "split", "captions", "attributes", "boxes", "keypoints"} <= set(
            row
        )
        assert len(row["captions"]) == len(row["mentions"]) == len(row["phrases"]) == 10


def test_the_files_are_the_pictures_and_masks_of_the_stream(written):
    for row, (one, picture) in zip(rows(written), aviary.stream(6, seed=4, size=64), strict=True):
        assert np.array_equal(np.asarray(Image.open(written / row["file"])), picture.pixels)
        assert (row["class_name"], row["split"]) == (one.class_name, one.split)
        for mask in row["masks"]:
            shown = np.asarray(Image.open(written / mask["png"])) > 0
            assert np.array_equal(shown, aviary.mask_of(picture, mask["name"]))
        for name, code in row["whole"].items():
            assert np.array_equal(decode_mask(code["size"], code["counts"]), picture.whole(name))
        again = aviary.scene_from_dict(row["scene"])
        assert np.array_equal(render(again).pixels, picture.pixels)


def test_every_noun_phrase_names_a_mask_of_the_row(written):
    for row in rows(written):
        masks = {m["name"] for m in row["masks"]}
        for caption, phrases in zip(row["captions"], row["phrases"], strict=True):
            for phrase in phrases:
                assert phrase["mask"] in masks
                assert caption[phrase["start"] : phrase["end"]].strip()
                assert set(phrase["attributes"]) <= set(row["attributes"]) | {
                    "on a branch", f"{row['scene']['background']['kind']} background"}  # fmt: skip


def test_games_of_the_record_add_up(written):
    for row in rows(written):
        for game in row["games"].values():
            assert sum(game["shapley"].values()) == pytest.approx(game["full"] - game["empty"], abs=1e-4)
        assert {a["part"] for a in row["rule"]} <= set(row["games"]["rule"]["shapley"])


def test_classes_json_tells_the_rules(written):
    known = json.loads((written / "classes.json").read_text())
    assert known["classes"] == list(aviary.CLASSES)
    assert known["settings"] == {"images": 6, "seed": 4, "fault": None, "size": 64, "record": 1}
    assert known["fault"] is None
    assert len(known["species"]) == 24


def test_the_same_seed_writes_the_same_bytes(written, tmp_path):
    aviary.write(tmp_path / "again", images=6, seed=4, size=64)
    assert files(tmp_path / "again") == files(written)


def test_more_images_extend_a_folder(written, tmp_path):
    aviary.write(tmp_path / "a", images=3, seed=4, size=64)
    aviary.write(tmp_path / "a", images=6, seed=4, size=64)
    assert files(tmp_path / "a") == files(written)


class Stop(Exception):
    pass


def test_an_interrupted_run_leaves_whole_files_only_and_goes_on(written, tmp_path):
    def stop(done, total):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        aviary.write(tmp_path / "a", images=6, seed=4, size=64, progress=stop)
    left = files(tmp_path / "a")
    assert "images.jsonl" not in left
    assert not [f for f in left if f.endswith(".draft")]
    done = []
    aviary.write(tmp_path / "a", images=6, seed=4, size=64, progress=lambda i, n: done.append((i, n)))
    assert done == [(i, 6) for i in range(1, 7)]
    assert files(tmp_path / "a") == files(written)


@pytest.mark.parametrize("after", [0, 1, 9, 40, 75])
def test_a_full_disk_leaves_nothing_half_written(written, tmp_path, monkeypatch, after):
    real, count = writing._fill, [0]

    def full(draft, data):
        count[0] += 1
        if count[0] > after:
            real(draft, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(draft, data)

    monkeypatch.setattr(writing, "_fill", full)
    with pytest.raises(InputError, match=r"No space left on device.*go on"):
        aviary.write(tmp_path / "a", images=6, seed=4, size=64)
    monkeypatch.undo()
    left = files(tmp_path / "a")
    assert not [f for f in left if f.endswith(".draft")]
    assert "images.jsonl" not in left
    whole = files(written)
    assert all(whole[f] == data for f, data in left.items() if not f.startswith(".parts"))
    aviary.write(tmp_path / "a", images=6, seed=4, size=64)
    assert files(tmp_path / "a") == whole


def test_what_a_killed_process_left_is_swept_away(written, tmp_path):
    (tmp_path / "a" / "images").mkdir(parents=True)
    (tmp_path / "a" / ".parts").mkdir()
    settings = {"images": 6, "seed": 4, "fault": None, "size": 64, "record": 1}
    (tmp_path / "a" / ".parts" / "settings").write_text(json.dumps(settings))
    (tmp_path / "a" / "images" / ".000000.png.1a2b3c4d.draft").write_bytes(b"half")
    aviary.write(tmp_path / "a", images=6, seed=4, size=64)
    assert files(tmp_path / "a") == files(written)


def test_other_settings_and_foreign_folders_are_refused(written, tmp_path):
    before = files(written)
    with pytest.raises(UsageError, match="other settings"):
        aviary.write(written, images=6, seed=5, size=64)
    assert files(written) == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files"):
        aviary.write(tmp_path, images=6)
    assert list(files(tmp_path)) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"images": 0}, "at least one"), ({"size": 8}, "32 to 1024"), ({"fault": "ghost"}, "unknown fault")],
)
def test_wrong_settings_write_nothing(tmp_path, asked, message):
    with pytest.raises(UsageError, match=message):
        aviary.write(tmp_path / "a", **asked)
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(UsageError, match="holds files"):
        aviary.write(tmp_path / "a", images=1)


def test_a_faulty_set_says_what_was_planted(tmp_path):
    aviary.write(tmp_path / "a", images=4, fault="watermark", size=64)
    known = json.loads((tmp_path / "a" / "classes.json").read_text())
    assert known["fault"]["name"] == "watermark"
    assert known["fault"]["planted"] is True
    assert known["fault"]["truth"]["species"] == ["sleet pipit"]
    assert {r["group"] for r in rows(tmp_path / "a")} <= {"aligned", "conflicting"}


def test_splits_hold_every_species():
    by_split = {}
    for i in range(240):
        one = sample(0, i)
        by_split.setdefault(one.split, []).append(one.species)
    assert {k: len(v) for k, v in by_split.items()} == {"train": 192, "val": 24, "test": 24}
    assert all(set(v) == set(aviary.CLASSES) for v in by_split.values())


def test_the_torch_set_gives_the_pictures_of_the_stream():
    data = AviaryDataset(130, seed=2, split="test", size=64)
    assert isinstance(data, Dataset)
    assert len(data) == 24
    image, label = data[5]
    one = data.sample(5)
    assert one.split == "test"
    assert label == one.class_index
    assert image.shape == (3, 64, 64)
    assert torch.equal((image * 255).round().byte(), torch.from_numpy(render(one.scene).pixels).permute(2, 0, 1))


def test_the_torch_set_works_in_a_loader():
    images, labels = next(iter(DataLoader(AviaryDataset(8, size=48), batch_size=4)))
    assert images.shape == (4, 3, 48, 48)
    assert labels.tolist() == [sample(0, i).class_index for i in range(4)]


def test_a_split_without_pictures_is_a_usage_error():
    with pytest.raises(UsageError, match="at least 120"):
        AviaryDataset(10, split="test")


def test_the_label_map_has_a_number_for_every_part():
    picture = render(sample(0, 0).scene)
    numbers = aviary.label_map(picture)
    for i, name in enumerate(aviary.PARTS):
        assert np.array_equal(numbers == 1 + i, picture.visible(name))
    assert np.array_equal(numbers > 0, picture.bird_mask())


def test_the_aviary_needs_no_torch_until_the_torch_set_is_asked_for():
    code = "import sys, saywhy.aviary as a; a.render(a.sample(0, 0).scene); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_public_name_of_the_aviary_is_there():
    for name in aviary.__all__:
        assert getattr(aviary, name) is not None
    assert dataset.write is aviary.write
    with pytest.raises(AttributeError):
        aviary.nothing_of_the_kind  # noqa: B018


PRINT_DIGEST = """
import hashlib, json
from saywhy.aviary import render, sample, truth_record
h = hashlib.sha256()
for i, fault in enumerate([None, "degraded", "two-species", "lookalike"] * 3):
    one = sample(9, i, fault=fault, edition="12"[i % 3 == 0])
    picture = render(one.scene)
    h.update(picture.pixels.tobytes() + json.dumps(truth_record(one, picture)).encode())
print(h.hexdigest())
"""


def test_another_processor_would_draw_and_write_the_same():
    # Old kernels of OpenBLAS and NumPy stand in for an old processor; elsewhere the variables do nothing.
    other = {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512_ICL"}
    runs = (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRINT_DIGEST],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **extra},
        ).stdout.strip()
        for extra in ({}, other)
    )
    first, second = runs
    assert first == second
