"""What is said of a whole set, against plain loops over its pictures."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saywhy.audit import duplicates, open_store, scan, summary, write_summary
from saywhy.audit.summary import BINS
from saywhy.metrics.statistics import wilson
from saywhy.render.summary_page import summary_page
from saywhy.zoo import load_classifier
from small_set import NAMES, painted, small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sixty pictures of six classes in two splits, labelled as a coin says; three of them twice, in other forms."""
    place = tmp_path_factory.mktemp("set")
    dice, lines = np.random.default_rng(3), []
    clf = small()
    for i in range(60):
        painted(1000 + i).save(place / f"{i}.png")
        right = clf.class_names[int(clf.logits(clf.prepare([clf.read(place / f"{i}.png")])[0])[0].argmax())]
        lines.append(
            (f"{i}.png", right if dice.random() < 0.6 else NAMES[dice.integers(6)], "train" if i < 40 else "test")
        )
    first = Image.open(place / "0.png")
    saved = io.BytesIO()
    first.save(saved, "JPEG", quality=60)
    (place / "saved.jpg").write_bytes(saved.getvalue())
    Image.open(place / "41.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(place / "mirrored.png")
    (place / "copy.png").write_bytes((place / "7.png").read_bytes())
    lines += [("saved.jpg", "a", "test"), ("mirrored.png", "b", "test"), ("copy.png", lines[7][1], "train")]
    listing = place / "images.jsonl"
    listing.write_text("\n".join(f'{{"file": "{f}", "class_name": "{c}", "split": "{s}"}}' for f, c, s in lines))
    return scan(clf, [listing], place / "run", shard=16)


def plain(run):
    """Path, label, answer, probability of the answer and of the label, split, of every picture."""
    with open_store(run) as store:
        return store.execute("SELECT path, label, answer, p_answer, p_label, split FROM pictures ORDER BY n").fetchall()


def test_accuracy_confusion_and_doubts_are_as_counted_one_by_one(run):
    found, rows = summary(run), plain(run)
    right = sum(label == answer for _, label, answer, *_ in rows)
    assert len(rows) == 63 and 20 < right < 63
    share = found.whole.accuracy
    expected = wilson(right, 63)
    assert (share.mean, share.low, share.high, share.count) == pytest.approx(
        (right / 63, expected.low, expected.high, 63)
    )
    splits = {s.name: (s.pictures, round(s.accuracy.mean * s.pictures)) for s in found.splits}
    assert splits == {
        name: (sum(r[-1] == name for r in rows), sum(r[-1] == name and r[1] == r[2] for r in rows))
        for name in ("test", "train")
    }
    pairs = Counter((NAMES[a], NAMES[b]) for _, a, b, *_ in rows if a != b)
    assert {(c.label, c.answer): c.count for c in found.confused} == pairs
    assert [c.count for c in found.confused] == sorted(pairs.values(), reverse=True)
    wrong = sorted((r for r in rows if r[1] != r[2]), key=lambda r: r[4] - r[3])
    assert [d.path for d in found.doubtful] == [r[0] for r in wrong] and found.errors == len(wrong)
    for c in found.classes:
        own = [r for r in rows if r[1] == c.class_index]
        said = [r for r in rows if r[2] == c.class_index]
        assert (c.class_name, c.labelled, c.answered) == (NAMES[c.class_index], len(own), len(said))
        assert c.recall == (sum(r[2] == r[1] for r in own) / len(own) if own else None)
        assert c.precision == (sum(r[2] == r[1] for r in said) / len(said) if said else None)


def test_calibration_is_as_counted_one_by_one(run):
    found, rows = summary(run).calibration, plain(run)
    error = 0.0
    for b in range(BINS):
        inside = [r for r in rows if min(int(r[3] * BINS), BINS - 1) == b]
        if not inside:
            assert all(row.low != b / BINS for row in found.bins)
            continue
        (row,) = [row for row in found.bins if row.low == b / BINS]
        sure, hit = np.mean([r[3] for r in inside]), np.mean([r[1] == r[2] for r in inside])
        assert (row.count, row.confidence, row.accuracy) == (len(inside), pytest.approx(sure), pytest.approx(hit))
        error += len(inside) / len(rows) * abs(sure - hit)
    assert found.error == pytest.approx(error) and found.confidence == pytest.approx(np.mean([r[3] for r in rows]))


def test_planted_duplicates_are_found_those_across_splits_first_and_no_others(run):
    found = summary(run)
    told = [(Path(t.first).name, Path(t.second).name, t.same_file, t.mirrored) for t in found.twice]
    assert told[0] == ("0.png", "saved.jpg", False, False)
    assert set(told[1:]) == {("41.png", "mirrored.png", False, True), ("7.png", "copy.png", True, False)}
    assert (found.duplicates, found.across_splits) == (3, 1) and found.twice[0].splits == ("train", "test")


@pytest.mark.parametrize(("block", "wide", "piece"), [(1, 2, 1), (7, 5, 2), (64, 64, 9)])
def test_pairs_do_not_depend_on_the_blocks_nor_on_the_answers_of_copies(run, monkeypatch, block, wide, piece):
    with open_store(run) as store:
        expected = duplicates.near_duplicates(store)
        for name, value in (("BLOCK", block), ("WIDE", wide), ("PIECE", piece)):
            monkeypatch.setattr(duplicates, name, value)
        assert duplicates.near_duplicates(store) == expected
        monkeypatch.setattr(duplicates, "ALL", 10)  # the copies have the answers of their originals
        some = duplicates.near_duplicates(store)
        assert set(some) <= set(expected) and len(some) >= 1
        assert "among those with one answer" in summary(run).notes[-1]
        monkeypatch.setattr(duplicates, "MOST", 20)
        assert (
            duplicates.near_duplicates(store) == [] and "no near-duplicates were looked for" in summary(run).notes[-1]
        )


def test_the_page_shows_what_the_record_says_and_loads_nothing(run):
    found, file = write_summary(run)
    page = file.read_text(encoding="utf-8")
    assert file.name == "summary.html" and json.loads((run / "summary.json").read_text()) == found.to_dict()
    assert "of 63 pictures right" in page and "In the set twice" in page and "in two splits" in page
    assert page.count("data:image/jpeg;base64,") == len(found.doubtful) + 2 * len(found.twice)
    assert "//" not in re.sub('data:image/jpeg;base64,[^"]*', "", page) and "<script" not in page
    assert f"<td>{found.confused[0].label}</td><td>{found.confused[0].answer}</td>" in page
    assert page.count("<rect") == 1 + len(found.calibration.bins) and "<code>saywhy audit IMAGES -o RUN</code>" in page


@pytest.mark.parametrize("where", ["label", "answer", "path"])
def test_the_page_escapes_what_comes_from_outside(run, where):
    record = summary(run).to_dict()
    for row in (*record["doubtful"], *record["confused"]):
        row[where] = "<b>bad</b>\x1b[2J"
    page = summary_page(record, {})
    assert "<b>bad" not in page and "\x1b" not in page and "not there any more" in page


def test_a_page_of_a_million_pictures_is_not_larger(run):
    record = summary(run).to_dict()
    many = {
        **record,
        "doubtful": record["doubtful"] * 50,
        "confused": record["confused"] * 50,
        "twice": record["twice"] * 50,
    }
    photo = bytes(12_000)
    page = summary_page(many, dict.fromkeys(range(63), photo))
    assert len(page) < 3_000_000


def test_a_picture_that_is_there_very_many_times_does_not_make_pairs_without_end(tmp_path, monkeypatch):
    for i in range(12):
        painted(5).save(tmp_path / f"{i}.png")
    scan(small(), [tmp_path], tmp_path / "run")
    assert summary(tmp_path / "run").duplicates == 12 * 11 / 2
    monkeypatch.setattr(duplicates, "PAIRS", 20)
    found = summary(tmp_path / "run")
    assert found.duplicates == 20 and "no further than 20 pairs" in found.notes[-1]


@pytest.mark.parametrize(("block", "wide", "piece"), [(3, 7, 5), (1000, 1000, 1000)])
def test_no_pair_is_ruled_out_that_is_alike(monkeypatch, block, wide, piece):
    """Looks that are mixed of nine, so that what differs lies on the axes, against the correlation of every two."""
    dice = np.random.default_rng(0)
    parents = dice.integers(0, 255, (9, 3, duplicates.LOOK, duplicates.LOOK))
    more = parents[dice.integers(0, 9, 90)] * dice.uniform(0, 0.4, (90, 1, 1, 1))
    values = (parents[np.arange(90) % 9] * 0.6 + more).astype(np.uint8)
    values[::4] = values[::4, :, :, ::-1]
    for name, value in (("BLOCK", block), ("WIDE", wide), ("PIECE", piece)):
        monkeypatch.setattr(duplicates, name, value)
    found = {(p.first, p.second): p for p in duplicates._pairs(range(90), [v.tobytes() for v in values])}
    centred = values - values.mean(axis=(2, 3), keepdims=True)
    expected = {}
    for i in range(90):
        for j in range(i + 1, 90):
            alike = [
                float((centred[i] * other).sum() / np.linalg.norm(centred[i]) / np.linalg.norm(other))
                for other in (centred[j], centred[j][..., ::-1])
            ]
            if max(alike) >= duplicates.ALIKE:
                expected[i, j] = (max(alike), alike[1] > alike[0])
    assert 50 < len(expected) < 360 and set(found) == set(expected)
    for pair, (alike, mirrored) in expected.items():
        assert found[pair].alike == pytest.approx(alike, abs=1e-3) and found[pair].mirrored == mirrored


def test_flat_pictures_are_like_nothing(tmp_path):
    for i in range(3):
        Image.new("RGB", (32, 32), (200, 100, 50)).save(tmp_path / f"{i}.png")
    scan(small(), [tmp_path], tmp_path / "run")
    assert summary(tmp_path / "run").duplicates == 0


def test_an_unfinished_scan_says_what_is_missing_and_a_wrong_order_of_classes_is_noted(run, tmp_path):
    folder = tmp_path / "photos"
    turned = {"red": "green", "green": "blue", "blue": "red"}
    for name, colour in {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}.items():
        (folder / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (32, 32), tuple(v + i for v in colour)).save(folder / name / f"{i}.png")
    clf = load_classifier(lambda x: 9 * x.mean((2, 3)), size=32, name="colours", classes=tuple(turned.values()))
    scan(clf, [folder], tmp_path / "run", shard=4)
    assert "wrong order" in summary(tmp_path / "run").notes[0]
    (tmp_path / "run" / "store" / "done" / "prediction-000000.json").unlink()
    left = summary(tmp_path / "run")
    missing = 12 - left.whole.pictures
    assert missing > 0 and f"{missing} pictures are not looked at yet" in " ".join(left.notes)
