"""What a scan says of the whole set: how often the classifier is right, what it confuses, how far its probabilities can
be trusted, which labels are doubtful, and which pictures are in the set twice. All from the store, by SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from saywhy.audit import duplicates
from saywhy.audit.inventory import read_run
from saywhy.audit.labels import order_note
from saywhy.audit.report import Range
from saywhy.audit.store import manifests, open_store
from saywhy.explanation import ModelRecord, Record
from saywhy.metrics.statistics import wilson

BINS = 15  # of the reliability curve, equally wide
SHOWN = 100  # rows of each list; the store has them all


class SplitRow(Record):
    """A split (None: none is said) or the whole: its pictures, and the share of right answers among labelled ones."""

    name: str | None
    pictures: int
    accuracy: Range | None


class ClassRow(Record):
    """A class: how many pictures have it as label, how many as answer, the share of the former that is answered so
    (`recall`), and of the latter that is right among the labelled (`precision`)."""

    class_index: int
    class_name: str
    labelled: int
    answered: int
    recall: float | None
    precision: float | None


class Confused(Record):
    """How often one class was said for another."""

    label: str
    answer: str
    count: int


class Bin(Record):
    """Pictures whose answer has a probability from `low` to `high`: its mean, and the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


class Calibration(Record):
    """The reliability curve over labelled pictures, and the expected calibration error: the mean difference between
    probability and share of right answers, weighed by the pictures of each bin."""

    bins: tuple[Bin, ...]
    error: float
    confidence: float


class Doubtful(Record):
    """A picture whose label the classifier doubts: the larger the margin, the sooner the label is wrong."""

    n: int
    path: str
    label: str
    answer: str
    p_answer: float
    p_label: float
    margin: float


class Twice(Record):
    """Two pictures that are nearly the same; of two splits, the classifier is tested on what it was trained with."""

    numbers: tuple[int, int]
    first: str
    second: str
    splits: tuple[str | None, str | None]
    labels: tuple[str | None, str | None]
    alike: float
    same_file: bool
    mirrored: bool


class DepthRow(Record):
    """What was done at a depth: pictures looked at, those that could not be used, passes and seconds."""

    depth: str
    pictures: int
    failed: int
    passes: int
    seconds: float | None


class Summary(Record):
    """A scan in numbers. Lists hold their first rows; the counts beside them are of all."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    model: ModelRecord
    pictures: int
    failed: int
    whole: SplitRow
    splits: tuple[SplitRow, ...]
    classes: tuple[ClassRow, ...]
    confused: tuple[Confused, ...]
    calibration: Calibration | None
    doubtful: tuple[Doubtful, ...]
    errors: int
    twice: tuple[Twice, ...]
    duplicates: int
    across_splits: int
    depths: tuple[DepthRow, ...]
    notes: tuple[str, ...]

    def untimed(self) -> Summary:
        """The same without the seconds, by which alone two equal scans differ."""
        return self.model_copy(update={"depths": tuple(d.model_copy(update={"seconds": None}) for d in self.depths)})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        record: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return record


def summary(run: str | Path) -> Summary:
    """The summary of the scan in a folder, also of one that is not finished.

    Raises:
        InputError: no scan there.
    """
    folder = Path(run)
    record = read_run(folder)
    with open_store(folder) as store:
        twice = _twice(store)
        ((errors,),) = store.execute("SELECT count(*) FROM pictures WHERE NOT correct").fetchall()
        ((answered,),) = store.execute("SELECT count(*) FROM pictures").fetchall()
        ((failed,),) = store.execute("SELECT count(*) FROM failed WHERE depth = 'prediction'").fetchall()
        return Summary(
            model=record.model,
            pictures=record.pictures,
            failed=failed,
            whole=_splits(store, "NULL")[0] if answered else SplitRow(name=None, pictures=0, accuracy=None),
            splits=_splits(store, "split"),
            classes=_classes(store),
            confused=_confused(store),
            calibration=_calibration(store),
            doubtful=_doubtful(store),
            errors=errors,
            twice=tuple(twice[:SHOWN]),
            duplicates=len(twice),
            across_splits=sum(_across(t) for t in twice),
            depths=depths_of(folder),
            notes=_notes(store, record.classes, record.pictures - answered - failed, answered, len(twice)),
        )


def _splits(store: Any, by: str) -> tuple[SplitRow, ...]:
    rows = store.execute(
        f"SELECT {by} AS name, count(*), count(correct), count(*) FILTER (correct) FROM pictures GROUP BY name "
        "ORDER BY name NULLS FIRST"
    ).fetchall()
    return tuple(
        SplitRow(name=n, pictures=count, accuracy=_share(right, labelled)) for n, count, labelled, right in rows
    )


def _share(hits: int, count: int) -> Range | None:
    """A share with its interval of 95 %."""
    if not count:
        return None
    found = wilson(hits, count)
    return Range(mean=hits / count, low=found.low, high=found.high, count=count)


def _classes(store: Any) -> tuple[ClassRow, ...]:
    rows = store.execute("""
        WITH own AS (SELECT label AS i, count(*) AS n, count(*) FILTER (correct) AS hit FROM pictures
                     WHERE label IS NOT NULL GROUP BY i),
             said AS (SELECT answer AS i, count(*) AS n, count(correct) AS known, count(*) FILTER (correct) AS hit
                      FROM pictures GROUP BY i)
        SELECT c.index, c.name, coalesce(own.n, 0), coalesce(said.n, 0), own.hit / own.n,
               CASE WHEN said.known > 0 THEN said.hit / said.known END
        FROM classes c LEFT JOIN own ON own.i = c.index LEFT JOIN said ON said.i = c.index
        WHERE own.n > 0 OR said.n > 0 ORDER BY c.index
    """).fetchall()
    names = ("class_index", "class_name", "labelled", "answered", "recall", "precision")
    return tuple(ClassRow(**dict(zip(names, row, strict=True))) for row in rows)


def _confused(store: Any) -> tuple[Confused, ...]:
    rows = store.execute(f"""
        SELECT label_name, answer_name, count(*) AS n FROM pictures WHERE NOT correct
        GROUP BY label, answer, label_name, answer_name ORDER BY n DESC, label, answer LIMIT {SHOWN}
    """).fetchall()
    return tuple(Confused(label=label, answer=answer, count=n) for label, answer, n in rows)


def _calibration(store: Any) -> Calibration | None:
    rows = store.execute(f"""
        SELECT least(floor(p_answer * {BINS}), {BINS - 1})::INTEGER AS bin, count(*), avg(p_answer::DOUBLE),
               avg(correct::INTEGER)
        FROM pictures WHERE correct IS NOT NULL GROUP BY bin ORDER BY bin
    """).fetchall()
    count = sum(n for _, n, _, _ in rows)
    if not count:
        return None
    bins = [Bin(low=b / BINS, high=(b + 1) / BINS, count=n, confidence=p, accuracy=a) for b, n, p, a in rows]
    return Calibration(
        bins=tuple(bins),
        error=sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / count,
        confidence=sum(b.count * b.confidence for b in bins) / count,
    )


def _doubtful(store: Any) -> tuple[Doubtful, ...]:
    names = ("n", "path", "label", "answer", "p_answer", "p_label", "margin")
    rows = store.execute(f"""
        SELECT n, path, label_name, answer_name, p_answer, p_label, margin FROM pictures WHERE NOT correct
        ORDER BY margin DESC, n LIMIT {SHOWN}
    """).fetchall()
    return tuple(Doubtful(**dict(zip(names, row, strict=True))) for row in rows)


def _twice(store: Any) -> list[Twice]:
    """Near-duplicates, those of two splits first, then those of two labels."""
    pairs = duplicates.near_duplicates(store)
    wanted = sorted({n for p in pairs for n in (p.first, p.second)})
    rows = store.execute(
        "SELECT n, path, split, given, sha256 FROM pictures WHERE n IN (SELECT unnest(?))", [wanted]
    ).fetchall()  # fmt: skip
    known = {n: rest for n, *rest in rows}
    found = []
    for p in pairs:
        (path, split, label, sha), (other, its_split, its_label, its_sha) = known[p.first], known[p.second]
        found.append(
            Twice(
                numbers=(p.first, p.second), first=path, second=other, splits=(split, its_split),
                labels=(label, its_label), alike=p.alike,
                same_file=sha == its_sha, mirrored=p.mirrored,
            )
        )  # fmt: skip
    return sorted(found, key=lambda t: (not _across(t), t.labels[0] == t.labels[1]))


def _across(pair: Twice) -> bool:
    return pair.splits[0] != pair.splits[1]


def depths_of(folder: Path) -> tuple[DepthRow, ...]:
    """What the shards that are done say of each depth."""
    sums: dict[str, dict[str, Any]] = {}
    for m in manifests(folder):
        row = sums.setdefault(m["depth"], {"pictures": 0, "failed": 0, "passes": 0, "seconds": 0.0})
        row["pictures"] += m["pictures"]
        row["failed"] += m["tables"].get("failed", {}).get("rows", 0)
        row["passes"] += m["passes"]
        row["seconds"] += m["seconds"]
    return tuple(DepthRow(depth=d, **row) for d, row in sums.items())


def _notes(store: Any, classes: tuple[str, ...], missing: int, answered: int, pairs: int) -> tuple[str, ...]:
    counts = store.execute(
        "SELECT label, answer, count(*) FROM pictures WHERE label IS NOT NULL GROUP BY label, answer"
    ).fetchall()  # fmt: skip
    ((strange,),) = store.execute(
        "SELECT count(*) FROM pictures WHERE given IS NOT NULL AND label IS NULL"
    ).fetchall()  # fmt: skip
    notes = [
        order_note({(a, b): n for a, b, n in counts}, classes)
        if counts
        else "no picture has a label: nothing is said of errors",
        f"{missing} pictures are not looked at yet: the same call goes on" if missing else None,
        f"{strange} pictures have a label that is no class of the model" if strange else None,
        f"of more than {duplicates.MOST:,} pictures no near-duplicates were looked for"
        if answered > duplicates.MOST
        else f"of more than {duplicates.ALL:,} pictures, near-duplicates were looked for among those with one answer"
        if answered > duplicates.ALL
        else None,
        f"near-duplicates were looked for no further than {pairs:,} pairs: some pictures are in the set very many times"
        if pairs >= duplicates.PAIRS
        else None,
    ]
    return tuple(n for n in notes if n)
