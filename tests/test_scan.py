"""The loop over a data set: what it stores, whatever the shards, the sources, the processes and the interruptions."""

import errno
import importlib
import io
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from saywhy import files
from saywhy.audit import TABLES, Budget, open_store, scan, summary
from saywhy.audit.depths import _lies
from saywhy.audit.tables import parquet, schema
from saywhy.audit.worth import worth
from saywhy.cli import app
from saywhy.cli.scanning import budget_of
from saywhy.errors import ExtraMissing, InputError, UsageError
from saywhy.explainer import Explainer, explain
from saywhy.lcam.heads import LCam, Rows
from saywhy.saliency import saliency
from saywhy.zoo import load_classifier
from small_set import NAMES, painted, small
from tiny import build, classifier

ENDINGS = ("png", "jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty-two pictures in six class folders; one is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(22):
        place = folder / NAMES[i % 6]
        place.mkdir(exist_ok=True)
        painted(i).save(place / f"{i:02d}.{ENDINGS[i % 2]}")
    (folder / "c" / "broken.png").write_bytes(b"no picture")
    return folder


def rows(run, table):
    """All rows of a table, in order."""
    with open_store(run) as store:
        columns = ", ".join(f'"{c}"' for c in TABLES[table].columns)
        order = {"concepts": "n, id", "failed": "n, depth"}.get(table, "n")
        return store.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()


def everything(run, tables=("pictures", "failed", "embeddings", "maps")):
    return {table: rows(run, table) for table in tables}


def bytes_of(run):
    """Every Parquet file by name."""
    return {str(f.relative_to(run)): f.read_bytes() for f in sorted(run.rglob("*.parquet"))}


# --------------------------------------------------------------------------------------------------
# What is stored.


def test_every_picture_is_a_row_as_the_classifier_answers_it(photos, tmp_path):
    clf = small()
    scan(clf, [photos], tmp_path / "run", depth="saliency")
    with open_store(tmp_path / "run") as store:
        found = store.execute("SELECT * FROM pictures ORDER BY n").fetchall()
        names = [d[0] for d in store.description]
    vectors = dict(rows(tmp_path / "run", "embeddings"))
    maps = {m[0]: m for m in rows(tmp_path / "run", "maps")}
    assert len(found) == len(vectors) == len(maps) == 22
    for values in found:
        row = dict(zip(names, values, strict=True))
        picture = clf.read(row["path"])
        image = clf.prepare([picture])[0]
        p = clf.probabilities(image)[0].double().numpy()
        label = NAMES.index(Path(row["path"]).parent.name)
        order = np.argsort(-p)
        assert (row["sha256"], row["width"], row["height"]) == (picture.sha256, picture.width, picture.height)
        assert row["given"] == row["label_name"] == NAMES[label] and row["label"] == label and row["split"] is None
        assert row["answer"] == order[0] and row["answer_name"] == NAMES[order[0]] and row["top"] == order[:5].tolist()
        assert row["correct"] == (label == order[0])
        assert row["label_rank"] == 1 + order.tolist().index(label)
        numbers = {
            "p_answer": p[order[0]], "p_label": p[label], "lead": p[order[0]] - p[order[1]],
            "margin": p[order[0]] - p[label], "entropy": -sum(v * math.log2(v) for v in p),
        }  # fmt: skip
        assert {k: row[k] for k in numbers} == pytest.approx(numbers, abs=1e-6)
        assert row["p_top"] == pytest.approx(p[order[:5]].tolist(), abs=1e-6)
        means = clf.tap(image).maps().mean((2, 3))[0]
        assert vectors[row["n"]] == pytest.approx((means / means.norm()).tolist(), abs=1e-3)
        kept = maps[row["n"]]
        raw = saliency(clf, image, [int(order[0])], method="grad-cam").raw[0]
        assert kept[2] == order[0] and kept[-1] == pytest.approx(raw.flatten().tolist(), abs=1e-6)
    (n, path, _, error), (_, _, _, again) = rows(tmp_path / "run", "failed")
    assert path.endswith("broken.png") and "not a picture" in error == again, "once at each depth"
    assert sorted([n, *(r[0] for r in found)]) == list(range(23))


def test_a_map_is_told_by_where_its_positive_part_lies():
    raw = torch.zeros(8, 4).double()
    raw[1, 1], raw[1, 2], raw[6, 0] = 3.0, 1.0, -9.0
    told = _lies(raw)
    assert told["y"] == pytest.approx(1.5 / 8) and told["x"] == pytest.approx((0.75 * 1.5 + 0.25 * 2.5) / 4)
    assert told["spread"] == pytest.approx(math.sqrt(0.75 * 0.25) / 4) and told["half_area"] == 1 / 32
    assert told["rim"] == pytest.approx(0)
    edge = torch.zeros(4, 4).double()
    edge[0, 0] = 1  # a cell of a quarter of each side; all but a quarter of it is in the outer eighth
    assert _lies(edge)["rim"] == pytest.approx(0.75)
    assert _lies(torch.ones(4, 4).double())["half_area"] == 0.5


@pytest.mark.parametrize(("depth", "fast"), [("concepts", True), ("text", False)])
def test_deep_depths_store_what_explain_says(photos, tmp_path, depth, fast):
    clf, few = small(), [photos / "a" / "00.png", photos / "b" / "01.jpg", photos / "c" / "broken.png"]
    scan(clf, few, tmp_path, depth=depth)
    kept = {n: (text, json.loads(record)) for n, _, text, _, record in rows(tmp_path, "explanations")}
    assert sorted(kept) == [0, 1]
    for n, path in enumerate(few[:2]):
        expected = explain(clf, path, fast=fast, seed=0).untimed()
        assert kept[n][0] == expected.text and kept[n][1] == expected.to_dict()
        concepts = [r for r in rows(tmp_path, "concepts") if r[0] == n]
        assert [r[2] for r in concepts] == sorted(c.id for c in expected.concepts)
        assert {r[1] for r in concepts} <= {depth}
        told = [r for r in rows(tmp_path, "statements") if r[0] == n]
        assert [r[3] for r in told] == [s.text for s in expected.statements]
    assert {r[2] for r in rows(tmp_path, "failed")} == {"prediction", "saliency", depth}


def test_every_file_has_the_columns_of_its_table(photos, tmp_path):
    scan(small(), [photos], tmp_path, depth="saliency")
    for file in (tmp_path / "store").rglob("*.parquet"):
        name = file.stem if file.stem == "listing" else file.parent.name
        assert parquet().read_schema(file).equals(schema(name)), file
    with open_store(tmp_path) as store:
        for name, table in TABLES.items():
            found = store.execute(f"SELECT * FROM {name} LIMIT 0").description
            assert [row[0] for row in found] == list(table.columns), name
        assert store.execute("SELECT * FROM classes").fetchall() == list(enumerate(NAMES))


def test_a_black_box_is_scanned_too(photos, tmp_path):
    box = load_classifier(lambda x: x.mean((2, 3)).repeat(1, 2) * 9, size=32, name="mean", classes=NAMES)
    scan(box, [photos], tmp_path, depth="saliency", method="occlusion")
    assert len(rows(tmp_path, "pictures")) == len(rows(tmp_path, "maps")) == 22 and rows(tmp_path, "embeddings") == []


def test_vectors_of_a_layer_with_huge_values_are_finite(photos, tmp_path):
    net = build("cnn")
    with torch.no_grad():
        net.conv2.weight.mul_(1e9)
        net.head.weight.mul_(1e-9)
    scan(classifier(net, classes=NAMES), [photos / "a"], tmp_path)
    for _, vector in rows(tmp_path, "embeddings"):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-2)


def test_a_picture_that_the_model_fails_on_does_not_take_others_along(photos, tmp_path):
    limit = [2.0]

    def moody(x):
        scores = x.mean((2, 3)).repeat(1, 2)
        return torch.where((x[:, 0, 16, 16] > limit[0])[:, None], torch.nan, scores)

    clf = load_classifier(moody, size=32, name="moody", classes=NAMES)
    limit[0] = 0.6  # once it is loaded
    scan(clf, [photos], tmp_path)
    failed = {r[1]: r[3] for r in rows(tmp_path, "failed")}
    bad = [p for p in photos.glob("*/[0-9]*") if clf.prepare([clf.read(p)])[0][0, 0, 16, 16] > 0.6]
    assert 0 < len(bad) < 22 and set(failed) == {str(p) for p in bad} | {str(photos / "c" / "broken.png")}
    assert len(rows(tmp_path, "pictures")) == 22 - len(bad)


# --------------------------------------------------------------------------------------------------
# The same, whatever the shards, the processes and the interruptions.


@pytest.mark.parametrize("shard", [1, 4, 9, 1000])
def test_rows_do_not_depend_on_the_shards(photos, tmp_path, shard):
    scan(small(), [photos], tmp_path / "one", depth="saliency")
    scan(small(), [photos], tmp_path / "other", depth="saliency", shard=shard)
    assert everything(tmp_path / "one") == everything(tmp_path / "other")
    count = math.ceil(23 / (math.ceil(shard / 4) * 4))  # whole batches
    assert len(list((tmp_path / "other" / "store" / "done").glob("prediction-*.json"))) == count


def test_depths_that_are_added_later_are_as_those_that_came_at_once(photos, tmp_path):
    scan(small(), [photos], tmp_path / "one", depth="saliency", shard=8)
    scan(small(), [photos], tmp_path / "other", shard=8)
    assert rows(tmp_path / "other", "maps") == []
    scan(small(), [photos], tmp_path / "other", depth="saliency", shard=8)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


def test_several_processes_write_the_same_bytes(photos, tmp_path):
    load = partial(load_classifier, "aviary:cnn", batch_size=4)
    few = sorted(photos.glob("[ab]/*"))
    before = torch.get_num_threads()
    for name, workers in (("several", 2), ("one", 1)):
        torch.set_num_threads(workers)  # each process gets one
        try:
            scan(load, few, tmp_path / name, depth="saliency", shard=4, workers=workers)
        finally:
            torch.set_num_threads(before)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "several")


BROKEN = {"stopped": (KeyboardInterrupt, "stop"), "full": (InputError, "cannot be written .No space")}


@pytest.mark.parametrize("at", [1, 2, 4, 5, 8, 11])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_scan_that_was_cut_off_goes_on_and_loses_and_doubles_nothing(photos, tmp_path, monkeypatch, at, broken):
    scan(small(), [photos], tmp_path / "whole", depth="saliency", shard=8)
    fill, count = files._fill, 0

    def failing(draft, data):
        nonlocal count
        count += 1
        if count == at:
            draft.write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt("stop") if broken == "stopped" else OSError(errno.ENOSPC, "No space left on device")
        fill(draft, data)

    monkeypatch.setattr(files, "_fill", failing)
    with pytest.raises(BROKEN[broken][0], match=BROKEN[broken][1]):
        scan(small(), [photos], tmp_path / "cut", depth="saliency", shard=8)
    monkeypatch.setattr(files, "_fill", fill)
    scan(small(), [photos], tmp_path / "cut", depth="saliency", shard=8)
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "cut")
    assert everything(tmp_path / "whole") == everything(tmp_path / "cut")


KILLED = """
import os, signal, sys
from saywhy import files
from small_set import small
from saywhy.audit import scan
fill, left = files._fill, int(sys.argv[3])
def dying(draft, data):
    global left
    left -= 1
    if left == 0:
        draft.write_bytes(data[:9])
        os.kill(os.getpid(), signal.SIGKILL)
    fill(draft, data)
files._fill = dying
scan(small(), [sys.argv[1]], sys.argv[2], depth="saliency", shard=8)
"""


def test_a_process_that_is_killed_leaves_nothing_half(photos, tmp_path):
    scan(small(), [photos], tmp_path / "whole", depth="saliency", shard=8)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])}
    words = [sys.executable, "-c", KILLED, str(photos), str(tmp_path / "cut"), "7"]
    assert subprocess.run(words, env=env, capture_output=True).returncode == -signal.SIGKILL
    assert list((tmp_path / "cut" / "store").rglob("*.draft")), "it was killed in the middle of a file"
    scan(small(), [photos], tmp_path / "cut", depth="saliency", shard=8)
    assert everything(tmp_path / "whole") == everything(tmp_path / "cut")
    assert not list((tmp_path / "cut").rglob("*.draft"))


def test_what_is_done_is_not_done_again_and_what_was_damaged_is(photos, tmp_path):
    clf, asked = small(), []
    scan(clf, [photos], tmp_path, shard=8)
    scan(clf, [photos], tmp_path, shard=8, progress=asked.append)
    assert asked == []
    (file,) = (tmp_path / "store" / "pictures").glob("*-000001.parquet")
    before = file.read_bytes()
    file.write_bytes(before[:-9])
    scan(clf, [photos], tmp_path, shard=8, progress=asked.append)
    assert len(asked) == 1 and file.read_bytes() == before


def test_progress_tells_rate_and_what_is_left(photos, tmp_path):
    told = []
    scan(small(), [photos], tmp_path, shard=8, progress=told.append)
    assert [t.partition(" pictures, ")[0] for t in told] == [f"prediction: {n} of 23" for n in (8, 16, 23)]
    assert all(" a second, " in t and t.endswith(" left") for t in told)


class Dying:
    """A classifier whose loading ends the process."""

    def __init__(self, here):
        self.here = here

    def __call__(self):
        if os.getpid() != self.here:
            os._exit(9)
        return load_classifier("aviary:cnn")


LEFT_ALONE = """
import os, signal, sys, time
from pathlib import Path
from saywhy.audit import ways
def work(i):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(600)
if __name__ == "__main__":
    list(ways.processes(work, range(9), 2))
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "left.py").write_text(LEFT_ALONE)
    place = tmp_path / "numbers"
    place.mkdir()
    parent = subprocess.Popen([sys.executable, str(tmp_path / "left.py"), str(place)])
    wait_until(lambda: len(list(place.iterdir())) == 2)
    numbers = [int(p.name) for p in place.iterdir()]
    assert all(map(alive, numbers))
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(alive, numbers)))


def wait_until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{number}/stat")  # one that ended and that nobody waits for is there still
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_that_dies_is_told_and_the_way_on(photos, tmp_path):
    with pytest.raises(InputError, match="the same call goes on"):
        scan(Dying(os.getpid()), sorted(photos.glob("a/*")), tmp_path, workers=2)


class FakeRay(types.ModuleType):
    """A cluster that does what it is sent at once, from and to bytes, as other processes would."""

    def __init__(self):
        super().__init__("ray")
        self.started, self.most = [], 0

    def is_initialized(self):
        return False

    def init(self, address, **_):
        if address == "nowhere:1":
            raise ConnectionError("refused")
        self.started.append(address)

    def cluster_resources(self):
        return {"CPU": 1.0}

    def remote(self, **_):
        def sent(f):
            assert isinstance(f, types.FunctionType), "Ray takes functions and classes alone"
            return types.SimpleNamespace(remote=lambda *given: (pickle.dumps(f), pickle.dumps(given)))

        return sent

    def wait(self, waiting, num_returns):
        self.most = max(self.most, len(waiting))
        return waiting[-num_returns:], waiting[:-num_returns]

    def get(self, sent):
        f, given = map(pickle.loads, sent)
        return pickle.loads(pickle.dumps(f(*given)))

    def shutdown(self):
        self.started.append("end")


def test_a_cluster_maps_the_same_function(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake := FakeRay())
    load = partial(load_classifier, "aviary:cnn", batch_size=4)
    few = sorted(photos.glob("[abc]/*"))
    scan(load, few, tmp_path / "cluster", shard=4, ray="auto")
    scan(load, few, tmp_path / "here", shard=4)
    assert bytes_of(tmp_path / "cluster") == bytes_of(tmp_path / "here")
    assert fake.started == ["auto", "end"] and fake.most == 2, "no more is sent than can be done soon"
    with pytest.raises(UsageError, match=r"nowhere:1.*no cluster"):
        scan(load, few, tmp_path / "none", ray="nowhere:1")


# --------------------------------------------------------------------------------------------------
# Where pictures come from.


def in_tar(photos, target):
    """The pictures as WebDataset, their classes in one file each."""
    with tarfile.open(target, "w") as archive:
        for path in sorted(photos.glob("*/*")):
            for ending, data in (
                (path.suffix[1:], path.read_bytes()),
                ("json", json.dumps({"class_name": path.parent.name, "split": "train"}).encode()),
            ):
                info = tarfile.TarInfo(f"{path.parent.name}/{path.stem}.{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return [target]


def in_parquet(photos, target, nested=True):
    """The pictures as a table of Hugging Face's datasets, with groups of rows that no shard fits."""
    import pyarrow as pa

    paths = sorted(photos.glob("*/*"))
    data = [{"bytes": p.read_bytes(), "path": p.name} if nested else p.read_bytes() for p in paths]
    table = pa.table({"image": data, "label": [NAMES.index(p.parent.name) for p in paths]})
    told = {"info": {"features": {"label": {"names": list(NAMES)}}}}
    table = table.replace_schema_metadata({b"huggingface": json.dumps(told).encode()})
    parquet().write_table(table, target, row_group_size=5)
    return [target]


def in_memory(photos, listed):
    """The pictures at an address, in class folders or with a listing."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True) if memory.exists("/birds") else None
    lines = []
    for path in sorted(photos.glob("*/*")):
        memory.pipe(f"/birds/{path.parent.name}/{path.name}", path.read_bytes())
        lines.append(json.dumps({"file": f"{path.parent.name}/{path.name}", "class_name": path.parent.name}))
    if listed:
        memory.pipe("/birds/images.jsonl", "\n".join(lines).encode())
    return ["memory://birds"]


SOURCES = {
    "glob": lambda photos, place: [str(photos / "*" / "*")],
    "listing": lambda photos, place: listing_of(photos, place),
    "tar": lambda photos, place: in_tar(photos, place / "birds.tar"),
    "tars": lambda photos, place: in_tar(photos, place / "birds.tar") and [str(place / "b*.tar")],
    "parquet": lambda photos, place: in_parquet(photos, place / "birds.parquet"),
    "plain parquet": lambda photos, place: in_parquet(photos, place / "birds.parquet", nested=False),
    "address": lambda photos, place: in_memory(photos, listed=False),
    "listing at an address": lambda photos, place: in_memory(photos, listed=True),
}


def listing_of(photos, place):
    lines = [
        json.dumps({"file": os.path.relpath(p, place), "class_name": p.parent.name}) for p in sorted(photos.glob("*/*"))
    ]
    (place / "images.jsonl").write_text("\n".join(lines))
    return [place]


@pytest.mark.parametrize("kind", SOURCES)
def test_pictures_are_the_same_wherever_they_lie(photos, tmp_path, kind):
    scan(small(), [photos], tmp_path / "folder", shard=8)
    (tmp_path / "place").mkdir()
    scan(small(), SOURCES[kind](photos, tmp_path / "place"), tmp_path / "run", shard=8)
    skip = {
        "path",
        "split",
        *(("given", "label", "label_name", "correct", "p_label", "label_rank", "margin") if kind == "glob" else ()),
    }
    kept = [i for i, c in enumerate(TABLES["pictures"].columns) if c not in skip]
    one, other = ([[r[i] for i in kept] for r in rows(tmp_path / run, "pictures")] for run in ("folder", "run"))
    assert one == other
    ((_, path, _, error),) = rows(tmp_path / "run", "failed")
    assert path in error, "an error names the picture also where its bytes came from elsewhere"
    splits = {r[list(TABLES["pictures"].columns).index("split")] for r in rows(tmp_path / "run", "pictures")}
    assert splits == ({"train"} if kind.startswith("tar") else {None})


def test_a_picture_that_is_meant_twice_is_a_row_once(photos, tmp_path):
    scan(small(), [photos / "a", photos / "a" / "*", *sorted((photos / "a").glob("*"))], tmp_path)
    assert [r[1] for r in rows(tmp_path, "pictures")] == [str(p) for p in sorted((photos / "a").glob("*"))]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: [place / "nothing"], "no such file"),
        (lambda place: ["memory://nowhere-at-all"], "no pictures|cannot be read"),
        (lambda place: ["strange://bucket/a.png"], "strange"),
        (lambda place: (place / "x.tar").write_bytes(b"no tar" * 200) and [place / "x.tar"], "x.tar: cannot be read"),
        (lambda place: (place / "x.parquet").write_bytes(b"no table") and [place / "x.parquet"], "x.parquet: cannot"),
        (lambda place: [place], "no pictures"),
    ],
)
def test_sources_that_are_none_are_refused_or_named(tmp_path, make, said):
    (tmp_path / "place").mkdir()
    sources = make(tmp_path / "place")
    try:
        scan(small(), sources, tmp_path / "run")
    except (InputError, UsageError) as e:
        text = str(e)
    else:
        ((_, _, _, text),) = rows(tmp_path / "run", "failed")
    assert re.search(said, text)


@pytest.mark.parametrize("there", [True, False])
def test_a_scan_that_cannot_begin_leaves_the_folder_as_it_was(photos, tmp_path, there):
    run, empty = tmp_path / "run", tmp_path / "empty"
    empty.mkdir()
    if there:
        run.mkdir()
    strange = classifier(build("cnn"), classes=tuple("uvwxyz"), batch_size=4)
    for clf, source in ((small(), empty), (strange, photos)):
        with pytest.raises((InputError, UsageError)):
            scan(clf, [source], run)
        assert run.exists() == there and not list(run.glob("*"))


LINES = [
    ('{"file": "a.png", "class_name": 5}', "line 2: 'class_name' is text"),
    ('{"file": "a.png", "class_name": ["a"]}', "line 2: 'class_name' is text"),
    ('{"file": "a.png", "class_index": "3"}', "line 2: 'class_index' is a whole number"),
    ('{"file": "a.png", "class_index": 1.5}', "line 2: 'class_index' is a whole number"),
    (b'{"file": "\xff.png"}', "line 2: every line is a JSON object"),
    ('{"file": "\\udcff.png"}', "not text in UTF-8"),
    ('{"file": "a.png", "class_name": "\\udcff"}', "not text in UTF-8"),
]


@pytest.mark.parametrize(("line", "said"), LINES)
@pytest.mark.parametrize("away", [False, True])
def test_a_listing_that_says_what_no_store_holds_is_refused(tmp_path, line, said, away):
    import fsspec

    text = b'{"file": "b.png"}\n' + (line if isinstance(line, bytes) else line.encode())
    (tmp_path / "images.jsonl").write_bytes(text)
    fsspec.filesystem("memory").pipe("/lines/images.jsonl", text)
    with pytest.raises(InputError, match=said):
        scan(small(), ["memory://lines" if away else tmp_path], tmp_path / "run")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_named(tmp_path):
    painted(0).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")  # noqa: PTH104  a name of bytes
    with pytest.raises(InputError, match=r"\\udcff.png.*rename it"):
        scan(small(), [tmp_path], tmp_path / "run")


def test_what_a_tar_says_of_a_picture_has_a_limit_too(photos, tmp_path, monkeypatch):
    in_tar(photos, tmp_path / "birds.tar")
    monkeypatch.setattr("saywhy.audit.sources.MAX_BYTES", 20)
    with pytest.raises(InputError, match=r"birds.tar/a/00.json: larger than"):
        scan(small(), [tmp_path / "birds.tar"], tmp_path / "run")


def test_a_table_without_pictures_says_which_columns_are_meant(tmp_path):
    import pyarrow as pa

    parquet().write_table(pa.table({"pixels": [b"x"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="one of image, jpg"):
        scan(small(), [tmp_path / "x.parquet"], tmp_path / "run")


# --------------------------------------------------------------------------------------------------
# What a folder is of, and what may be asked.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "another seed"),
        ({"clf": lambda: classifier(build("cnn", seed=5), classes=NAMES, batch_size=4)}, "another model"),
        ({"clf": lambda: classifier(build("cnn"), classes=NAMES, batch_size=2, name="small")}, "another batch size"),
        ({"clf": lambda: small(layer="conv1")}, "another layer"),
        ({"few": True}, "another list of pictures"),
        ({"depth": "saliency", "method": "grad-cam++"}, "saliency was begun with another method"),
        ({"shard": 16}, "another shard"),
    ],
)
def test_a_folder_of_another_scan_is_refused(photos, tmp_path, change, said):
    scan(small(), [photos], tmp_path, depth="saliency", shard=8)
    change = {"shard": 8, **change}
    clf = change.pop("clf", small)()
    sources = [photos / "a"] if change.pop("few", False) else [photos]
    with pytest.raises(UsageError, match=said):
        scan(clf, sources, tmp_path, **change)
    scan(small(), [photos], tmp_path, depth="saliency", shard=8)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"depth": "predictions"}, "did you mean 'prediction'"),
        ({"budget": Budget(passes=9)}, "a budget is for"),
        ({"depth": "saliency", "method": "gradcam"}, "grad-cam"),
        ({"workers": 0}, "workers is a whole number of at least 1"),
        ({"shard": 0}, "shard is a whole number of at least 1"),
        ({"shard": -5}, "shard is a whole number of at least 1"),
        ({"seed": "a"}, "seed is a whole number"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_done(photos, tmp_path, asked, said):
    with pytest.raises(UsageError, match=said):
        scan(small(), [photos], tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_be_sent_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="function of a module"):
        scan(lambda: small(), sorted(photos.glob("a/*")), tmp_path, workers=2)


def test_a_second_scan_in_a_folder_is_refused_while_the_first_is_at_work(photos, tmp_path):
    refused = []

    def again(text):
        with pytest.raises(UsageError, match="another scan is at work") as e:
            scan(small(), [photos], tmp_path, shard=8)
        refused.append(e)

    scan(small(), [photos], tmp_path, shard=8, progress=again)
    assert len(refused) == 3 and len(rows(tmp_path, "pictures")) == 22
    scan(small(), [photos], tmp_path, shard=8)


def test_an_explainer_chooses_the_method_unless_one_is_named(photos, tmp_path):
    clf = small()
    channels = clf.tap(clf.prepare([clf.read(photos / "a" / "00.png")])[0]).maps().shape[1]
    head = LCam(Rows(torch.ones(6, channels)), "rows", (clf.point.path,), clf.fingerprint)
    Explainer(clf, {"lcam": head}).save(tmp_path / "parts")
    few = sorted(photos.glob("a/*"))
    for name, method, expected in (("own", None, "l-cam"), ("named", "grad-cam++", "grad-cam++")):
        scan(clf, few, tmp_path / name, depth="saliency", method=method, explainer=tmp_path / "parts")
        assert {m[1] for m in rows(tmp_path / name, "maps")} == {expected}


def test_labels_that_are_no_classes_are_refused_and_none_are_needed(photos, tmp_path):
    with pytest.raises(UsageError, match="no label is a class"):
        scan(small().__class__(**{**vars_of(small()), "classes": tuple("uvwxyz")}), [photos], tmp_path / "strange")
    scan(small(), sorted(photos.glob("a/*")), tmp_path / "bare")
    assert {r[list(TABLES["pictures"].columns).index("label")] for r in rows(tmp_path / "bare", "pictures")} == {None}
    found = summary(tmp_path / "bare")
    assert found.whole.accuracy is None and found.calibration is None and "no picture has a label" in found.notes[0]


def vars_of(clf):
    return {"net": clf.net, "preprocess": clf.preprocess, "batch_size": 4, "name": "other"}


def test_a_store_reads_its_own_files_and_writes_nothing(photos, tmp_path):
    scan(small(), [photos], tmp_path / "run")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with open_store(tmp_path / "run") as store:
        for words in (
            f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'new.csv'}'",
            f"COPY (SELECT 1) TO '{tmp_path / 'run' / 'store' / 'new.csv'}'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"(?i)permission|not allowed|locked|disabled|cannot"):
                store.execute(words).fetchall()
    assert not list(tmp_path.rglob("new.csv"))
    with pytest.raises(InputError, match="no scan there"):
        open_store(tmp_path)


@pytest.mark.parametrize("package", ["duckdb", "pyarrow"])
def test_a_missing_package_is_named(photos, tmp_path, monkeypatch, package):
    scan(small(), [photos / "a"], tmp_path / "run")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing, match=f"pip install {package}.*'store'"):
        open_store(tmp_path / "run") if package == "duckdb" else scan(small(), [photos / "a"], tmp_path / "other")


@pytest.mark.parametrize(("address", "package"), [("memory://x/a.png", "fsspec")])
def test_addresses_need_their_package(tmp_path, monkeypatch, address, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing, match=package):
        scan(small(), [address], tmp_path)


# --------------------------------------------------------------------------------------------------
# Looking deeper where it pays.


def test_a_budget_is_spent_on_errors_doubts_and_a_sample_in_turn(photos, tmp_path):
    scan(small(), [photos], tmp_path / "whole", depth="saliency", shard=4)
    scan(small(), [photos], tmp_path / "run", depth="saliency", budget=Budget(passes=6), shard=4)
    order = worth(tmp_path / "run", 0)
    table = {r[0]: dict(zip(TABLES["pictures"].columns, r, strict=True)) for r in rows(tmp_path / "run", "pictures")}
    assert sorted(order) == sorted(table)
    wrong = sorted((n for n, r in table.items() if not r["correct"]), key=lambda n: (-table[n]["margin"], n))
    unsure = sorted(table, key=lambda n: (table[n]["lead"], n))
    assert len(wrong) > 4 and order[0] == wrong[0] and order[1] == next(n for n in unsure if n != order[0])
    assert set(order[:6]) >= set(wrong[:2]) | set(unsure[:2]), "of six, two of each kind"
    done = rows(tmp_path / "run", "maps")
    assert {m[0] for m in done} == set(order[:8]), "whole shards of four, until six passes are spent"
    whole = {m[0]: m for m in rows(tmp_path / "whole", "maps")}
    assert all(m[-1] == pytest.approx(whole[m[0]][-1], abs=1e-5) for m in done)
    scan(small(), [photos], tmp_path / "run", depth="saliency", budget=Budget(passes=6), shard=4)
    assert len(rows(tmp_path / "run", "maps")) == 8, "nothing is left of it"
    scan(small(), [photos], tmp_path / "run", depth="saliency", budget=Budget(passes=9), shard=4)
    assert {m[0] for m in rows(tmp_path / "run", "maps")} == set(order[:12])
    scan(small(), [photos], tmp_path / "run", depth="saliency", shard=4)
    assert {m[0] for m in rows(tmp_path / "run", "maps")} == set(order), "without a budget the rest follows"
    with pytest.raises(UsageError, match="begun for all pictures"):
        scan(small(), [photos], tmp_path / "whole", depth="saliency", budget=Budget(passes=6), shard=4)


def test_a_budget_of_time_ends_too(photos, tmp_path):
    scan(small(), [photos], tmp_path, depth="saliency", budget=Budget(seconds=1e-9), shard=4)
    assert len(rows(tmp_path, "pictures")) == 22 and rows(tmp_path, "maps") == []


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5000", Budget(passes=5000)),
        ("5,000", Budget(passes=5000)),
        ("90s", Budget(seconds=90)),
        ("1.5h", Budget(seconds=5400)),
        (None, None),
    ],
)
def test_a_budget_is_passes_or_time(text, budget):
    assert budget_of(text) == budget


@pytest.mark.parametrize("text", ["", "m", "0", "-3", "1.5", "3 days"])
def test_other_budgets_are_refused(text):
    with pytest.raises(UsageError, match="passes or a time"):
        budget_of(text)


def test_the_verb_stores_and_tells(photos, tmp_path):
    words = ["audit", str(photos), "-o", str(tmp_path / "run"), "--model", "aviary:cnn", "--classes"]
    (tmp_path / "names.txt").write_text("\n".join([*NAMES, *(f"other {i}" for i in range(18))]))
    run = CliRunner().invoke(app, [*words, str(tmp_path / "names.txt"), "--depth", "prediction", "--reproducible"])
    assert run.exit_code == 1, run.output
    assert "22 of 23 pictures looked at" in run.output and "broken.png" in run.output
    record = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert record == summary(tmp_path / "run").untimed().to_dict() and record["failed"] == 1
    for more, said in ((["--workers", "2"], "need --depth"), (["--depth", "text", "--object", "a"], "--object is for")):
        with pytest.raises(UsageError, match=said):
            CliRunner().invoke(app, ["audit", str(photos), "-o", str(tmp_path / "x"), *more], catch_exceptions=False)


def test_ctrl_c_says_that_what_is_done_is_kept_and_stray_files_are_named(photos, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "photos").mkdir()
    painted(0).save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    monkeypatch.setattr(importlib.import_module("saywhy.audit.scan"), "scan", stopped)
    words = ["audit", str(tmp_path / "photos"), "memory://x/*.png", "-o", str(tmp_path / "run"), "--depth", "saliency"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 130 and "the same call goes on" in run.output and "notes.txt" in run.output
