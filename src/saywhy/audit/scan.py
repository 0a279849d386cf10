"""The loop over a data set: looks at every picture, shard after shard, and stores what it finds.

A shard is some pictures at some depths: a Parquet file a table, each there whole or not at all, and then a manifest, by
which it is done. Batches are made of fixed numbers, so that what is found does not depend on the shards, on who does
them, or on what was interrupted. Memory holds a shard's rows and a batch of pictures, whatever the number of pictures.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saywhy import files
from saywhy.audit import ways
from saywhy.audit.depths import DEPTHS, Brief, Lot, Rows, meanings_of
from saywhy.audit.inventory import STORE, RunRecord, alone, listed, prepared, read_run
from saywhy.audit.pipeline import default_method
from saywhy.audit.sources import Entry, Given, giving
from saywhy.audit.store import DONE
from saywhy.audit.tables import encoded
from saywhy.audit.worth import worth
from saywhy.classifier import Classifier
from saywhy.errors import InputError, ModelError, UsageError, unknown, whole
from saywhy.explainer import Explainer
from saywhy.image import Picture
from saywhy.passes import counting
from saywhy.saliency import METHODS

if TYPE_CHECKING:
    from saywhy.attributes.meanings import Meanings

SETTINGS = "settings.json"

Model = Classifier | Callable[[], Classifier]
Tell = Callable[[str], None]
Stages = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True)
class Budget:
    """How much deeper depths may cost: images sent through the network, or seconds of this call."""

    passes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Shard:
    """Some pictures at some depths; `name` is that of its files."""

    depths: tuple[str, ...]
    name: str
    numbers: Sequence[int]


@dataclass(frozen=True)
class Done:
    """What was done of a shard: its pictures, those that could not be used, and the passes that it cost."""

    shard: Shard
    failed: int
    passes: int


@dataclass(frozen=True)
class Work:
    """All that a process must know to do shards of a scan; it can be sent to others if `model` can."""

    folder: Path
    model: Model
    method: str
    explainer: Path | None
    threads: int | None = None
    _asked: list[Brief] = field(default_factory=list, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_asked": []}


def scan(
    model: Model,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    depth: str = "prediction",
    budget: Budget | None = None,
    method: str | None = None,
    explainer: str | Path | None = None,
    seed: int = 0,
    shard: int | None = None,
    workers: int = 1,
    ray: str | None = None,
    progress: Tell | None = None,
) -> Path:
    """Looks at every picture of the sources and stores what it finds in a folder; the same call goes on where it ended.

    `model` is a Classifier, or a function that loads one, which each of several `workers` (processes of this machine)
    or of a cluster (`ray`, its address) calls for itself. `depth` is a row of DEPTHS. With a `budget` all pictures are
    looked at by one pass, and those that are worth it (see `worth`) deeper, until it is spent; a shard that was begun
    is finished. `method` makes the maps (else that which the explainer serves, else `default_method`), `explainer` is
    a folder of fitted parts, `shard` the pictures of a shard. Every process computes with the same number of threads:
    those of this one, shared among `workers`. Rows are equal, byte for byte, for the same batch size and number of
    threads.

    Raises:
        UsageError: an unknown depth or method, the folder holds another scan or one is at work there, a depth begun
            with other settings, or a `model` that cannot be sent to workers.
        InputError: no pictures; the folder cannot be written (what is done is kept); a process died.
    """
    folder, tell = Path(out), progress or (lambda text: None)
    clf = model if isinstance(model, Classifier) else model()
    _check(depth, budget, method, shard, seed, workers)
    parts = None if explainer is None else Path(explainer)
    fitted = None if parts is None else Explainer.load(parts, clf)
    method = method or (fitted.method if fitted is not None else None) or default_method(clf)
    with alone(folder, tell):
        run = prepared(clf, sources, folder, seed)
        work = Work(folder, model, method, parts, _threads(workers, ray))
        work._asked.append(asked_of(clf, run, work, fitted))
        for depths, order in _with_attributes(_stages(folder, depth, budget is not None), meanings_of(fitted), depth):
            settings = {d: _settings(d, work, order, _size(d, shard, order, run.batch)) for d in depths}
            _settle(folder, settings)
            plan = _plan(folder, run, settings)
            _carry_out(work, plan, budget if order == "worth" else None, tell, workers, ray)
    return folder


def _check(depth: str, budget: Budget | None, method: str | None, shard: int | None, seed: int, workers: int) -> None:
    if depth not in DEPTHS:
        raise unknown("depth", depth, DEPTHS)
    if budget is not None and depth == "prediction":
        raise UsageError("a budget is for what comes after one look at every picture: --depth saliency, concepts, text")
    if method is not None and method not in METHODS:
        raise unknown("saliency method", method, METHODS)
    whole("workers", workers, 1)
    whole("shard", 1 if shard is None else shard, 1)
    whole("seed", seed)


def _threads(workers: int, ray: str | None) -> int | None:
    """Threads of each process: all, shared among the workers; None where there is but this one."""
    return None if workers == 1 and ray is None else max(1, torch.get_num_threads() // workers)


# --------------------------------------------------------------------------------------------------
# What is to be done.


def _stages(folder: Path, depth: str, thrifty: bool) -> Stages:
    """Depths that are done one after the other, and in which order of pictures; a depth keeps the order it began in."""
    known = {d: row["order"] for d, row in _read_settings(folder).items()}
    wanted = ("prediction", depth) if thrifty else (*DEPTHS[depth].before, depth)
    orders = {d: known.get(d, "worth" if thrifty and d != "prediction" else "listed") for d in wanted}
    if thrifty and orders[depth] == "listed":
        raise UsageError(f"{folder}: {depth} was begun for all pictures, without a budget; go on without one")
    together = tuple(d for d in wanted if DEPTHS[d].cheap and orders[d] == "listed")
    return [(together, "listed"), *(((d,), orders[d]) for d in wanted if d not in together)]


def _with_attributes(stages: Stages, meaning: Meanings | None, depth: str) -> Stages:
    """The stages, and in the first, whose pass it costs nothing beside, the attributes that an explainer knows."""
    (first, order), *rest = stages
    if meaning is None and depth == "attributes":
        raise UsageError(
            "the depth attributes needs an explainer that has learned some: saywhy fit IMAGES --captions FILE --parts "
            "attributes -o DIR, then --explainer DIR"
        )
    if meaning is None or "attributes" in first:
        return stages
    return [((*first, "attributes"), order), *rest]


def _size(depth: str, shard: int | None, order: str, batch: int) -> int:
    """Pictures in a shard: whole batches; in the order of their worth few, because that may end anywhere."""
    size = shard or (DEPTHS[depth].shard if order == "listed" else min(DEPTHS[depth].shard, 64))
    return math.ceil(size / batch) * batch


def _settings(depth: str, work: Work, order: str, size: int) -> dict[str, Any]:
    own: dict[str, Any] = {"order": order, "shard": size}
    if depth == "saliency":
        own["method"] = work.method
    if depth != "prediction":
        own["explainer"] = None if work.explainer is None else _mark(work.explainer)
    if depth == "attributes":
        meaning = meanings_of(work._asked[0].explainer)
        own["names"] = [] if meaning is None else [str(one) for one in meaning.attributes]
        own["same"] = {} if meaning is None else dict(meaning.card.get("same", {}))  # nouns that mean another one
    return own


def _mark(explainer: Path) -> str:
    """What tells an explainer from another one."""
    try:
        return sha256((explainer / "explainer.json").read_bytes()).hexdigest()[:16]
    except OSError as e:
        raise InputError(f"{explainer}: no explainer there ({e.strerror or e})") from e


def _read_settings(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / STORE / SETTINGS
    known: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return known


def _settle(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes down how depths are looked at, or raises UsageError where they were begun otherwise."""
    known = _read_settings(folder)
    for depth, own in settings.items():
        for name, value in known.get(depth, own).items():
            if own.get(name) != value:
                raise UsageError(
                    f"{folder}: {depth} was begun with another {name} ({value!r}, not {own.get(name)!r}); repeat "
                    "that, or name a new folder"
                )
    if set(settings) - set(known):
        files.write(folder / STORE / SETTINGS, json.dumps({**known, **settings}, indent=1) + "\n")


def _plan(folder: Path, run: RunRecord, settings: Mapping[str, Mapping[str, Any]]) -> list[Shard]:
    """The shards of these depths that are not done."""
    (first, *_) = settings.values()
    size, order = int(first["shard"]), str(first["order"])
    numbers: Sequence[int] = range(run.pictures) if order == "listed" else worth(folder, run.seed)
    shards = []
    for i in range(math.ceil(len(numbers) / size)):
        name = f"{i:06d}"
        missing = tuple(d for d in settings if not is_done(folder, d, name))
        if missing:
            shards.append(Shard(missing, name, numbers[i * size : (i + 1) * size]))
    return shards


def _manifest(folder: Path, depth: str, name: str) -> Path:
    return folder / STORE / DONE / f"{depth}-{name}.json"


def is_done(folder: Path, depth: str, name: str) -> bool:
    """Whether a shard's manifest is there, and its files as it says."""
    file = _manifest(folder, depth, name)
    try:
        tables = json.loads(file.read_text(encoding="utf-8"))["tables"]
        return all((folder / STORE / t["file"]).stat().st_size == t["bytes"] for t in tables.values())
    except (OSError, ValueError, KeyError):
        return False


# --------------------------------------------------------------------------------------------------
# Doing it.


def _carry_out(
    work: Work, plan: Sequence[Shard], budget: Budget | None, tell: Tell, workers: int, ray: str | None
) -> None:
    """Does the shards of a plan, and tells how fast it goes and how long it will take."""
    spent = 0 if budget is None or not plan else _spent(work.folder, plan[0].depths[0])
    start, looked, total = time.monotonic(), 0, sum(len(s.numbers) for s in plan)

    def affordable() -> Iterator[Shard]:
        for s in plan:
            over = budget is not None and budget.seconds is not None and time.monotonic() - start >= budget.seconds
            if over or (budget is not None and budget.passes is not None and spent >= budget.passes):
                return
            yield s

    do = partial(done_of, work)
    if ray is not None:
        each = ways.cluster(do, affordable(), ray)
    else:
        each = ways.processes(do, affordable(), workers) if workers > 1 else ways.here(do, affordable())
    for done in each:
        spent += done.passes
        looked += len(done.shard.numbers)
        tell(told(done.shard.depths[-1], looked, total, time.monotonic() - start))


def told(depth: str, looked: int, total: int, seconds: float) -> str:
    """How far a scan is, its rate and the time that is left."""
    rate = looked / max(seconds, 1e-9)
    left = (total - looked) / rate
    shown = f"{left / 3600:.1f} h" if left >= 5400 else f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    return f"{depth}: {looked:,} of {total:,} pictures, {rate:.3g} a second, {shown} left"


def _spent(folder: Path, depth: str) -> int:
    """Passes that the shards of a depth have cost so far."""
    found = (folder / STORE / DONE).glob(f"{depth}-*.json")
    return sum(int(json.loads(f.read_text(encoding="utf-8"))["passes"]) for f in found)


_LOADED: dict[tuple[str, ...], Brief] = {}  # by what it was loaded for: a process loads a classifier once


def done_of(work: Work, shard: Shard) -> Done:
    """Does one shard: looks at its pictures, writes its tables, then its manifests. The function that all ways map."""
    asked = work._asked[0] if work._asked else _loaded(work)
    start = time.monotonic()
    with counting() as meter, torch.inference_mode(False):
        rows = _rows(asked, work.folder, shard)
    passes, failed = meter.forward_passes + meter.tail_passes, 0
    for depth in shard.depths:
        own = [r for r in rows.get("failed", ()) if r["depth"] == depth]
        failed += len(own)
        written = {t: rows[t] for t in DEPTHS[depth].tables if rows.get(t)} | ({"failed": own} if own else {})
        tables = {t: _write(work.folder, t, f"{depth}-{shard.name}", some) for t, some in written.items()}
        manifest = {
            "depth": depth, "first": min(shard.numbers), "last": max(shard.numbers), "pictures": len(shard.numbers),
            "tables": tables, "passes": passes if depth == shard.depths[0] else 0,
            "seconds": round(time.monotonic() - start, 3),
        }  # fmt: skip
        files.write(_manifest(work.folder, depth, shard.name), json.dumps(manifest) + "\n")
    return Done(replace(shard, numbers=range(len(shard.numbers))), failed, passes)


def _write(folder: Path, table: str, name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    data, file = encoded(table, rows), f"{table}/{name}.parquet"
    files.write(folder / STORE / file, data)
    return {"file": file, "rows": len(rows), "bytes": len(data), "sha256": sha256(data).hexdigest()}


def asked_of(clf: Classifier, run: RunRecord, work: Work, fitted: Explainer | None) -> Brief:
    """A classifier with all that a shard must know."""
    labels = {(one.class_name, one.class_index): one.label for one in run.labels}
    options = dict(fitted.options.get(work.method, {})) if fitted is not None else {}
    return Brief(clf, labels, work.method, options, fitted, run.seed, work.folder)


def _loaded(work: Work) -> Brief:
    """What another process does shards with: loaded once, and compared with what the scan was begun with."""
    run = read_run(work.folder)
    key = (str(work.folder), run.model.fingerprint, work.method, str(work.explainer))
    if key not in _LOADED:
        if work.threads is not None:
            torch.set_num_threads(work.threads)
        clf = work.model if isinstance(work.model, Classifier) else work.model()
        if clf.fingerprint != run.model.fingerprint:
            raise UsageError(
                f"{work.folder}: is of the classifier {run.model.fingerprint}, and {clf.fingerprint} was loaded"
            )
        fitted = None if work.explainer is None else Explainer.load(work.explainer, clf)
        _LOADED[key] = asked_of(clf, run, work, fitted)
    return _LOADED[key]


def _rows(asked: Brief, folder: Path, shard: Shard) -> Rows:
    """All rows of a shard, batch by batch."""
    rows: Rows = {}
    batch = read_run(folder).batch
    with giving() as give:
        for _, some in groupby(listed(folder, shard.numbers), key=lambda one: one[0] // batch):
            for table, more in _of_batch(asked, give, list(some), shard.depths).items():
                rows.setdefault(table, []).extend(more)
    return rows


def _of_batch(
    asked: Brief, give: Callable[[Entry], Given], some: Sequence[tuple[int, Entry]], depths: Sequence[str]
) -> Rows:
    """The rows of a batch; what cannot be read, or what the model fails on, is a row of `failed`."""
    read: list[tuple[int, Entry, Picture]] = []
    rows: Rows = {"failed": []}
    for n, entry in some:
        try:
            read.append((n, entry, _picture(asked.clf, give(entry), entry)))
        except InputError as e:
            rows["failed"] += [_failed(n, entry, depth, e) for depth in depths]
    if read:
        numbers, entries, pictures = zip(*read, strict=True)
        batch = Lot(asked.clf, numbers, entries, pictures)
        for depth in depths:
            for table, more in _looked(asked, depth, batch).items():
                rows.setdefault(table, []).extend(more)
    return rows


def _looked(asked: Brief, depth: str, batch: Lot) -> Rows:
    """The rows of a batch at a depth; a picture that the model fails on does not take the others along."""
    try:
        return DEPTHS[depth].look(asked, batch)
    except (InputError, ModelError) as e:
        if len(batch.numbers) == 1:
            return {"failed": [_failed(batch.numbers[0], batch.entries[0], depth, e)]}
    rows: Rows = {}
    for one in batch.singles:
        for table, more in _looked(asked, depth, one).items():
            rows.setdefault(table, []).extend(more)
    return rows


def _picture(clf: Classifier, given: Given, entry: Entry) -> Picture:
    try:
        return clf.read(given)
    except InputError as e:
        raise InputError(str(e).replace("the given bytes", entry.path)) from e


def _failed(n: int, entry: Entry, depth: str, error: Exception) -> dict[str, Any]:
    return {"n": n, "path": entry.path, "depth": depth, "error": str(error)}
