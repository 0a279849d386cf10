"""The store of a scan, searched and in other forms."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from saywhy.audit import EXPORTS, TABLES, export, nearest, open_store, scan, vector_of
from saywhy.aviary import CLASSES, render, sample
from saywhy.errors import InputError, UsageError
from saywhy.zoo import load_classifier
from small_set import NAMES, painted, small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twenty pictures."""
    place = tmp_path_factory.mktemp("set")
    for i in range(20):
        (place / NAMES[i % 6]).mkdir(exist_ok=True)
        painted(i).save(place / NAMES[i % 6] / f"{i:02d}.png")
    (place / "images.jsonl").write_text(
        "\n".join(
            json.dumps({"file": str(p), "class_name": p.parent.name, "split": "=1+1"})
            for p in sorted(place.glob("*/*.png"))
        )
    )
    scan(small(), [place], place / "run", shard=8)
    return place / "run"


def vectors(run):
    with open_store(run) as store:
        rows = store.execute("SELECT n, vector FROM embeddings ORDER BY n").fetchall()
    return np.asarray([v for _, v in rows], dtype=np.float64)


@pytest.mark.parametrize("count", [1, 5, 19, 100])
def test_nearest_pictures_are_those_of_the_largest_cosine_of_all(run, count):
    every = vectors(run)
    unit = every / np.linalg.norm(every, axis=1, keepdims=True)
    for n in range(20):
        cosines = unit @ unit[n]
        expected = [i for i in np.argsort(-cosines, kind="stable") if i != n][:count]
        found = nearest(run, n, count)
        assert [one.n for one in found] == expected
        assert [one.cosine for one in found] == pytest.approx(cosines[expected].tolist(), abs=1e-5)
        assert len({one.path for one in found}) == min(count, 19)


def test_a_photo_is_searched_by_what_the_layer_holds_of_it(run):
    path = run.parent / NAMES[1] / "07.png"
    (first, *_) = nearest(run, vector_of(run, small(), path), 3)
    assert first.path == str(path) and first.cosine == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match="is of the classifier"):
        vector_of(run, load_classifier("aviary:cnn"), path)


@pytest.mark.parametrize(
    ("asked", "count", "said"),
    [(99, 5, "number 99"), ([1.0, 2.0], 5, "has 8 numbers"), (0, 0, "at least 1")],
)
def test_what_cannot_be_searched_is_refused(run, asked, count, said):
    with pytest.raises(UsageError, match=said):
        nearest(run, asked, count)


def test_a_black_box_has_no_vectors(run, tmp_path):
    box = load_classifier(lambda x: x.mean((2, 3)).repeat(1, 2), size=32, name="mean", classes=NAMES)
    scan(box, [run.parent / "a"], tmp_path)
    with pytest.raises(UsageError, match="black box"):
        nearest(tmp_path, 0)


def test_csv_has_every_row_and_no_formula(run, tmp_path):
    export(run, "csv", tmp_path)
    assert sorted(p.stem for p in tmp_path.iterdir()) == sorted(TABLES)
    with open_store(run) as store:
        columns = [c for c, row in TABLES["pictures"].columns.items() if row.type != "binary"]
        kept = store.execute(f"SELECT {', '.join(columns)} FROM pictures ORDER BY n").fetchall()
    with (tmp_path / "pictures.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(kept) == 20 and list(rows[0]) == columns
    for row, values in zip(rows, kept, strict=True):
        for (name, text), value in zip(row.items(), values, strict=True):
            if isinstance(value, list):
                assert json.loads(text) == value
            else:
                assert text == ("" if value is None else "'=1+1" if value == "=1+1" else str(value)), name
    assert {row["split"] for row in rows} == {"'=1+1"}


def test_text_that_a_spreadsheet_would_run_is_marked(tmp_path):
    from saywhy.audit.exports import safe_text

    assert [safe_text(t) for t in ("=1", "+1", "-1", "@a", "\ta", "a=1")] == ["'=1", "'+1", "'-1", "'@a", "'\ta", "a=1"]


def test_coco_has_pictures_classes_answers_and_regions(run, tmp_path):
    few = [tmp_path / "0.png", tmp_path / "1.png"]
    for i, path in enumerate(few):
        Image.fromarray(render(sample(5, i).scene).pixels).save(path)
    scan(load_classifier("aviary:cnn"), few, tmp_path / "deep", depth="concepts")
    told = json.loads(export(tmp_path / "deep", "coco", tmp_path / "run.json").read_text())
    assert [c["name"] for c in told["categories"]] == list(CLASSES)
    assert [i["file_name"] for i in told["images"]] == [str(p) for p in few]
    assert [a["id"] for a in told["annotations"]] == list(range(1, len(told["annotations"]) + 1))
    with open_store(tmp_path / "deep") as store:
        answers = store.execute("SELECT n, answer, width, height FROM pictures ORDER BY n").fetchall()
        boxes = store.execute("SELECT n, box FROM concepts ORDER BY n, id").fetchall()
    whole = [a for a in told["annotations"] if a["attributes"]["kind"] == "answer"]
    assert [(a["image_id"], a["category_id"], *a["bbox"][2:]) for a in whole] == answers
    regions = [a for a in told["annotations"] if a["attributes"]["kind"] == "region"]
    assert len(boxes) > 0
    assert [(a["image_id"], a["bbox"]) for a in regions] == [(n, [x, y, z - x, w - y]) for n, (x, y, z, w) in boxes]
    assert all(a["area"] == a["bbox"][2] * a["bbox"][3] for a in told["annotations"])


def test_other_forms_and_folders_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'coco'"):
        export(run, "cocoa", tmp_path / "x")
    with pytest.raises(InputError, match="no scan there"):
        export(tmp_path, "coco", tmp_path / "x")
    assert set(EXPORTS) == {"csv", "coco"}
