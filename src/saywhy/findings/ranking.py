"""All findings of a run: every test corrected for the number of all, sorted by the errors that each explains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.audit.store import FINDINGS
from saywhy.audit.tables import encoded
from saywhy.explanation import Record
from saywhy.findings.kinds_of import KINDS
from saywhy.findings.labelled import Labelled, labelled
from saywhy.findings.shares import corrected
from saywhy.findings.suspicion import Suspicion

LEVEL = 0.05  # share of findings that may be due to chance
SAME = 0.8  # of its errors are another finding's: it is told after all that explain something new
TOLD = 500  # findings of a run that are kept
FILE = "findings.json"


class FindingRecord(Record):
    """A finding: a row of the table `findings` (docs/store.md says what each value holds)."""

    id: str
    rank: int
    kind: str
    name: str
    class_index: int | None
    class_name: str | None
    versus: int | None
    versus_name: str | None
    cause: str | None
    concept: str | None
    unit: int | None
    box: tuple[float, float, float, float] | None
    effect: float
    low: float
    high: float
    compared: str
    count: int
    p: float
    q: float
    errors: int
    pictures: tuple[int, ...]
    next: str


def find(run: str | Path) -> tuple[FindingRecord, ...]:
    """All findings of a run, the one that explains most errors first; those for which something was changed in
    pictures come before what was only counted.

    Raises:
        InputError: no scan there.
    """
    return ranked(labelled(run), suspicions(labelled(run)))


def suspicions(given: Labelled) -> list[tuple[str, Suspicion]]:
    """Every test that was made, of all kinds; an error is explained by the first kind that holds by itself."""
    found: list[tuple[str, Suspicion]] = []
    explained: frozenset[int] = frozenset()
    for kind, row in KINDS.items():
        own = row.look(given, explained)
        held = kept(own)
        explained |= {n for s in held for n in s.errors}
        found += [(kind, s) for s in own]
    return found


def kept(tests: Sequence[Suspicion]) -> list[Suspicion]:
    """Those whose effect is large, and whose rate of false discoveries is low enough among the given ones."""
    rates = corrected([s.p for s in tests])
    return [s for s, q in zip(tests, rates, strict=True) if s.large and q <= LEVEL]


def ranked(given: Labelled, tests: Sequence[tuple[str, Suspicion]]) -> tuple[FindingRecord, ...]:
    """The tests that hold, as findings."""
    rows = _in_order(_holding(tests))[:TOLD]
    return tuple(_record(given, rank, *row) for rank, row in enumerate(rows, 1))


def explained_by(tests: Sequence[tuple[str, Suspicion]]) -> dict[int, str]:
    """Of each error that a finding explains, the kind of the first that does."""
    rows = _in_order(_holding(tests))
    return {n: kind for kind, s, _ in reversed(rows) for n in s.errors}


def _holding(tests: Sequence[tuple[str, Suspicion]]) -> list[tuple[str, Suspicion, float]]:
    rates = corrected([s.p for _, s in tests])
    return [(kind, s, q) for (kind, s), q in zip(tests, rates, strict=True) if s.large and q <= LEVEL]


def _in_order(found: Sequence[tuple[str, Suspicion, float]]) -> list[tuple[str, Suspicion, float]]:
    """Tier by tier, and in each by the errors that nothing before explains; ties by p."""
    tested = sorted(found, key=lambda row: (KINDS[row[0]].tier, -len(row[1].errors), row[1].p, row[1].name))
    known_: set[int] = set()
    new: list[tuple[str, Suspicion, float]] = []
    old: list[tuple[str, Suspicion, float]] = []
    for row in tested:
        mine = set(row[1].errors)
        seen = len(mine & known_) >= SAME * max(len(mine), 1)
        (old if seen else new).append(row)
        known_ |= mine
    return new + old


def _record(given: Labelled, rank: int, kind: str, s: Suspicion, q: float) -> FindingRecord:
    names: Mapping[int | None, str] = dict(enumerate(given.classes))
    return FindingRecord(
        id=id_of(kind, s), rank=rank, kind=kind, name=s.name, class_index=s.class_index,
        class_name=names.get(s.class_index), versus=s.versus, versus_name=names.get(s.versus), cause=s.cause,
        concept=s.concept, unit=s.unit, box=s.box, effect=s.effect.mean, low=s.effect.low, high=s.effect.high,
        compared=KINDS[kind].compared, count=s.effect.count, p=s.p, q=q, errors=len(s.errors), pictures=s.pictures,
        next=KINDS[kind].next,
    )  # fmt: skip


def id_of(kind: str, s: Suspicion) -> str:
    """What tells a finding from others, the same in every run that finds it."""
    own = json.dumps([kind, s.class_index, s.versus, s.cause, s.concept, s.unit])
    return hashlib.sha256(own.encode()).hexdigest()[:8]


def write_findings(run: str | Path) -> tuple[FindingRecord, ...]:
    """Finds, and writes the table `findings` into the store and findings.json beside it.

    Raises:
        InputError: no scan there, or the folder cannot be written.
    """
    folder, found = Path(run), find(run)
    files.write(folder / FINDINGS, encoded("findings", [f.model_dump() for f in found]))
    files.write(folder / FILE, as_json(found))
    return found


def as_json(found: Sequence[FindingRecord]) -> str:
    """Findings as a JSON document."""
    rows: list[dict[str, Any]] = [f.model_dump(mode="json") for f in found]
    return json.dumps({"schema": 1, "findings": rows}, ensure_ascii=False, allow_nan=False) + "\n"
