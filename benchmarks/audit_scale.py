"""What a scan of a whole set costs, and whether it loses anything: `saywhy audit --depth`.

    SAYWHY_DATA=DIR python benchmarks/audit_scale.py [speed|storage|workers|kills|memory|queries|cluster]...

speed    CPU seconds a photo of each cheap depth beside a plain loop that reads, prepares and asks in the same batches
         (EfficientNet-lite0, photos of DIR/imagenet300, one thread)
storage  bytes a photo of each table, of the same photos
workers  the files of 1, 2 and 4 processes, byte for byte
kills    scans that are killed (kill -9) at random moments until they are whole, against one that was not
memory   the peak of a process that scans few and many pictures of birds (the same 200 under many names)
queries  a million synthetic rows: seconds of questions, of the summary, of an exact search
cluster  a Ray cluster of two nodes on this machine, a node of which is removed in the middle of the scan
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from measure import Record, in_child, in_turns, one_thread, ratio
from saywhy import files
from saywhy.audit import duplicates, nearest, open_store, scan, summary
from saywhy.audit.inventory import prepared
from saywhy.audit.neighbours import Near
from saywhy.audit.scan import DONE, STORE
from saywhy.audit.tables import arrow, parquet, schema
from saywhy.aviary import render, sample
from saywhy.classifier import Classifier
from saywhy.zoo import load_classifier

CONTRACT = "one thread but for DuckDB; ratios are plain loop / scan of CPU seconds within a turn"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
PHOTOS, TURNS, KILLS, MILLION = 96, 5, 50, 1_000_000
BIRDS = 200
QUESTIONS = {
    "accuracy": "SELECT avg(correct::INTEGER) FROM pictures",
    "accuracy by class": "SELECT label_name, count(*), avg(correct::INTEGER) FROM pictures GROUP BY label_name",
    "confusions": "SELECT label_name, answer_name, count(*) AS c FROM pictures WHERE NOT correct "
    "GROUP BY ALL ORDER BY c DESC LIMIT 50",
    "most doubtful labels": "SELECT path, margin FROM pictures WHERE NOT correct ORDER BY margin DESC LIMIT 100",
    "errors that look at the rim": "SELECT p.path, m.rim FROM pictures p JOIN maps m USING (n) WHERE NOT p.correct "
    "ORDER BY m.rim DESC LIMIT 100",
    "one picture": "SELECT * FROM pictures WHERE n = 777777",
}


# --------------------------------------------------------------------------------------------------
# Speed.


def plain(clf: Classifier, photos: Sequence[Path]) -> list[int]:
    """What anybody would write: read, prepare, ask, in batches."""
    assert isinstance(clf.net, torch.nn.Module)
    found = []
    with torch.no_grad():
        for i in range(0, len(photos), clf.rows):
            images = clf.prepare([clf.read(p) for p in photos[i : i + clf.rows]])[0]
            found += clf.net(clf.inputs(images)).argmax(dim=1).tolist()
    return found


def scanned(clf: Classifier, photos: Sequence[Path], depth: str) -> list[int]:
    with tempfile.TemporaryDirectory() as run:
        scan(clf, photos, run, depth=depth)
        with open_store(run) as store:
            return [a for (a,) in store.execute("SELECT answer FROM pictures ORDER BY n").fetchall()]


def speed(place: Path) -> dict[str, object]:
    clf = load_classifier("efficientnet-lite0")
    photos = sorted((Path(os.environ["SAYWHY_DATA"]) / "imagenet300").glob("*.jpg"))[:PHOTOS]
    cases: dict[str, Callable[[], list[int]]] = {"plain": partial(plain, clf, photos)}
    cases |= {depth: partial(scanned, clf, photos, depth) for depth in ("prediction", "saliency")}
    taken, answers = in_turns(cases, TURNS, warm_up=1, budget=400)
    return {
        "photos": len(photos),
        "milliseconds": {name: round(1000 * float(np.median(t)) / len(photos), 1) for name, t in taken.items()},
        "of the plain loop": {d: ratio(taken["plain"], taken[d]) for d in ("prediction", "saliency")},
        "same answers": {d: answers[d] == answers["plain"] for d in ("prediction", "saliency")},
    }


def storage(place: Path) -> dict[str, object]:
    clf = load_classifier("efficientnet-lite0")
    photos = sorted((Path(os.environ["SAYWHY_DATA"]) / "imagenet300").glob("*.jpg"))[:PHOTOS]
    store = scan(clf, photos, place / "run", depth="saliency") / STORE
    found = {t: sum(f.stat().st_size for f in (store / t).iterdir()) for t in ("pictures", "embeddings", "maps")}
    return {"photos": len(photos), "bytes a photo": {t: round(n / len(photos)) for t, n in found.items()}}


# --------------------------------------------------------------------------------------------------
# The same, whoever does it and whatever happens.


def birds(place: Path, count: int = BIRDS) -> Path:
    """Pictures of birds in class folders."""
    folder = place / "birds"
    for i in range(count):
        one = sample(7, i)
        file = folder / one.class_name / f"{i:05d}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(render(one.scene).pixels).save(file)
    return folder


def tables(run: Path) -> dict[str, bytes]:
    return {str(f.relative_to(run)): f.read_bytes() for f in sorted(run.rglob("*.parquet"))}


def load() -> Classifier:
    return load_classifier("aviary:cnn", batch_size=4)


def workers(place: Path) -> dict[str, object]:
    found = {}
    for count in (1, 2, 4):
        torch.set_num_threads(count)  # each process gets one
        start = time.monotonic()
        scan(load, [birds(place)], place / f"{count}", depth="saliency", shard=16, workers=count)
        found[count] = (tables(place / f"{count}"), round(time.monotonic() - start, 1))
    one_thread()
    return {
        "files": len(found[1][0]),
        "equal bytes": {n: found[n][0] == found[1][0] for n in (2, 4)},
        "seconds on a busy machine": {n: t for n, (_, t) in found.items()},
    }


def kills(place: Path) -> dict[str, object]:
    """Each process inherits what is loaded, so that it is the scan that is killed and not its start."""
    clf, folder, dice = load(), birds(place), random.Random(0)
    start = time.monotonic()
    scan(clf, [folder], place / "whole", depth="saliency", shard=8)
    takes, expected = time.monotonic() - start, tables(place / "whole")
    done = killed = runs = broken = 0
    while done < KILLS:
        run = place / f"run-{runs}"
        runs += 1
        while True:
            child = multiprocessing.get_context("fork").Process(
                target=scan, args=(clf, [folder], run), kwargs={"depth": "saliency", "shard": 8}
            )
            child.start()
            child.join(dice.uniform(0.05, 0.4) * takes if done < KILLS else None)
            if child.exitcode is None:
                os.kill(child.pid or 0, signal.SIGKILL)
                child.join()
                killed += child.exitcode == -signal.SIGKILL
                done += 1
                continue
            break
        broken += tables(run) != expected or child.exitcode != 0
    return {"kills": killed, "scans": runs, "pictures": BIRDS, "scans that differ from one that was not killed": broken}


def memory(place: Path) -> dict[str, object]:
    counts = (1000, 10_000)
    return {"peak in MB": {n: in_child([__file__, "--peak", str(n), str(birds(place))])["peak"] for n in counts}}


def peak(count: int, folder: Path) -> None:
    """Prints the peak of this process after so many pictures, the same files under many names."""
    originals = sorted(folder.glob("*/*.png"))
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        lines = []
        for i in range(count):
            one = originals[i % len(originals)]
            target = Path(place) / f"{i // 1000}" / f"{i}.png"
            target.parent.mkdir(exist_ok=True)
            os.link(one, target)
            lines.append(json.dumps({"file": str(target), "class_name": one.parent.name}))
        listing = Path(place) / "images.jsonl"
        listing.write_text("\n".join(lines))
        del lines
        scan(load(), [listing], Path(place) / "run", depth="saliency")
    print(json.dumps({"peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}))


# --------------------------------------------------------------------------------------------------
# Questions.


def synthetic(place: Path, count: int, size: int = 10_000) -> Path:
    """A store of rows that no classifier gave: 24 classes, an answer in five wrong, vectors of 64 numbers. Every shard
    has the same rows but for their numbers and paths."""
    clf, run = load(), place / "million"
    record = prepared(clf, [birds(place, 1).parent], run, 0)
    files.write(run / STORE / "run.json", record.model_copy(update={"pictures": count}).model_dump_json())
    tables = {name: arrow().Table.from_pylist(rows, schema=schema(name)) for name, rows in made(clf, size).items()}
    for shard in range(count // size):
        numbers, told = range(shard * size, (shard + 1) * size), {}
        for name, table in tables.items():
            table = table.set_column(0, "n", arrow().array(numbers, arrow().int64()))
            if name == "pictures":
                table = table.set_column(1, "path", arrow().array([f"birds/{n:08d}.png" for n in numbers]))
            file = run / STORE / name / f"synthetic-{shard:06d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet().write_table(table, file, compression="zstd")
            told[name] = {"file": f"{name}/{file.name}", "rows": size, "bytes": file.stat().st_size, "sha256": ""}
        manifest = {"depth": "prediction", "pictures": size, "tables": told, "passes": size, "seconds": 0.0}
        files.write(run / STORE / DONE / f"prediction-{shard:06d}.json", json.dumps(manifest), sync=False)
    return run


def made(clf: Classifier, size: int) -> dict[str, list[dict[str, Any]]]:
    dice = np.random.default_rng(0)
    label, wrong = dice.integers(0, 24, size), dice.random(size) < 0.2
    answer = np.where(wrong, (label + dice.integers(1, 24, size)) % 24, label)
    sure, own, rim = dice.random(size), dice.random(size), dice.random(size)
    looks = [v.tobytes() for v in dice.integers(0, 255, (size, 432), dtype=np.uint8)]
    vectors = dice.normal(size=(size, 64)).astype(np.float16)
    pictures = [
        {
            "n": i, "path": "", "sha256": "0" * 64, "width": 128, "height": 128, "entropy": 1.0, "label": int(label[i]),
            "label_name": clf.class_names[label[i]], "answer": int(answer[i]), "correct": bool(not wrong[i]),
            "answer_name": clf.class_names[answer[i]], "p_answer": sure[i], "p_label": own[i] * sure[i],
            "label_rank": 1 + int(wrong[i]), "margin": sure[i] * (1 - own[i]) * wrong[i], "lead": sure[i] / 2,
            "top": [int(answer[i])], "p_top": [sure[i]], "look": looks[i],
        }
        for i in range(size)
    ]  # fmt: skip
    return {
        "pictures": pictures,
        "maps": [{"n": i, "method": "none", "status": "ok", "rim": rim[i]} for i in range(size)],
        "embeddings": [{"n": i, "vector": v} for i, v in enumerate(vectors)],
    }


def both_clocks(case: Callable[[], object]) -> dict[str, float]:
    """Seconds of the clock, and of all processors together, which other work on the machine does not lengthen."""
    clock, cpu = time.monotonic(), time.process_time()
    case()
    return {"clock": round(time.monotonic() - clock, 2), "processors": round(time.process_time() - cpu, 2)}


def queries(place: Path) -> dict[str, object]:
    run = synthetic(place, MILLION)
    found: list[Near] = []
    duplicates.MOST = 0
    with open_store(run) as store:
        cases: dict[str, Callable[[], object]] = {"open": lambda: open_store(run).close()}
        cases |= {name: lambda words=words: store.execute(words).fetchall() for name, words in QUESTIONS.items()}
        cases["exact search, vectors of 64"] = lambda: found.extend(nearest(run, 123_456, 20))
        cases["summary, without near-duplicates"] = lambda: summary(run)
        took = {name: both_clocks(case) for name, case in cases.items()}
    exact = len(found) == 20 and all(a.cosine >= b.cosine for a, b in pairwise(found))
    size = sum(f.stat().st_size for f in (run / STORE / "pictures").iterdir())
    return {
        "rows": MILLION, "seconds": took, "search in order": exact,
        "bytes a row of pictures": round(size / MILLION),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------
# A cluster.


def cluster(place: Path) -> dict[str, object]:
    import ray
    from ray.cluster_utils import Cluster

    scan(load, [birds(place)], place / "here", depth="saliency", shard=8)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    second = nodes.add_node(num_cpus=1, object_store_memory=100_000_000)
    os.environ["OMP_NUM_THREADS"] = "1"
    told: list[str] = []

    def losing(text: str) -> None:
        told.append(text)
        if len(told) == 5:
            nodes.remove_node(second, allow_graceful=False)

    start = time.monotonic()
    scan(load, [birds(place)], place / "there", depth="saliency", shard=8, ray=nodes.address, progress=losing)
    took = round(time.monotonic() - start, 1)
    nodes.shutdown()
    same = tables(place / "here") == tables(place / "there")
    return {"ray": ray.__version__, "shards": len(told), "node removed after": 5, "equal bytes": same, "seconds": took}


PARTS = {f.__name__: f for f in (speed, storage, workers, kills, memory, queries, cluster)}


def measured(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as a table of docs/store.md."""
    found = {row["part"]: row for row in rows}
    lines: list[tuple[str, str]] = []
    if one := found.get("speed"):
        for depth, r in one["of the plain loop"].items():
            told = f"{r['median']:.2f} ({r['quartiles'][0]:.2f} to {r['quartiles'][1]:.2f})"
            lines.append((f"`{depth}`: speed by that of a plain loop of the same reading and batches", told))
        times = ", ".join(f"{name} {t:g}" for name, t in one["milliseconds"].items())
        lines.append((f"CPU milliseconds a photo, {one['photos']} photos, EfficientNet-lite0", times))
    if one := found.get("storage"):
        told = ", ".join(f"`{t}` {n:,}" for t, n in one["bytes a photo"].items())
        lines.append((f"bytes a photo in the store, {one['photos']} photos", told))
    if one := found.get("workers"):
        equal = all(one["equal bytes"].values())
        lines.append(
            (f"files of 1, 2 and 4 workers, {one['files']} of each", "equal, byte for byte" if equal else "DIFFER")
        )
    if one := found.get("kills"):
        wrong = one["scans that differ from one that was not killed"]
        lines.append(
            (
                f"{one['kills']} times kill -9 at random, in {one['scans']} scans of {one['pictures']} birds",
                f"{wrong} scans differ from one that was left alone, in any byte",
            )
        )
    if one := found.get("cluster"):
        equal = "equal, byte for byte" if one["equal bytes"] else "DIFFER"
        lost = f"one of which is lost after {one['node removed after']} of {one['shards']} shards"
        lines.append((f"Ray {one['ray']}, two nodes, {lost}: files", equal))
    if one := found.get("memory"):
        told = ", ".join(f"{int(n):,} birds {mb} MB" for n, mb in one["peak in MB"].items())
        lines.append(("peak of the process, `saliency`", told))
    if one := found.get("queries"):
        for name, took in one["seconds"].items():
            lines.append((f"a million rows: {name}", f"{took['clock']:g} s ({took['processors']:g} of processor)"))
        lines.append(("a million rows: bytes a row of `pictures`", str(one["bytes a row of pictures"])))
    return "\n".join(["| what | measured |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in lines)])


def write_page(content: Mapping[str, Any]) -> None:
    page = Path(__file__).parents[1] / "docs" / "store.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    where = f"{content['machine']['processor']}, {content['machine']['cores']} cores that had other work to do"
    told = f"`python benchmarks/audit_scale.py`, on {where}."
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{told}\n\n{measured(content['rows'])}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="those that are measured; all without")
    parser.add_argument("-o", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--again", action="store_true", help="measure again what is there already")
    parser.add_argument("--page", action="store_true", help="only write what was measured into docs/store.md")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    one_thread()
    if given.peak:
        peak(int(given.peak[0]), Path(given.peak[1]))
        return
    record = Record("audit_scale", CONTRACT, given.o, again=given.again)
    if given.page:
        write_page(record.content)
        return
    for name in given.parts or PARTS:
        if record.has(part=name):
            continue
        with tempfile.TemporaryDirectory() as place:
            record.add({"part": name, **PARTS[name](Path(place))})


if __name__ == "__main__":
    main()
