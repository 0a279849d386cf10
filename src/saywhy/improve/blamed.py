"""A finding by its id in a run, or in a file of the user's own."""

from __future__ import annotations

from pathlib import Path

from saywhy.audit.store import open_store
from saywhy.errors import InputError, UsageError, unknown
from saywhy.improve.improved import Blamed

EXAMPLE = '{"id": "mark", "class_index": 3, "versus": 5, "cause": "watermark"}'


def blamed(run: Path, finding: str) -> Blamed:
    """The finding with that id in a run, or that of a file NAME.json, such as EXAMPLE.

    Raises:
        InputError: no scan there; the file cannot be read, or is no finding.
        UsageError: the run has no such finding, or it is about no class or no cause.
    """
    if finding.endswith(".json"):
        try:
            return Blamed.model_validate_json(Path(finding).read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise InputError(f"{finding}: is no finding such as {EXAMPLE} ({e})") from e
    columns = list(Blamed.model_fields)
    with open_store(run) as store:
        rows = store.execute(f"SELECT {', '.join(columns)} FROM findings").fetchall()
    found = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    own = f"or a file of your own: --finding mark.json with {EXAMPLE}"
    if not found:
        raise UsageError(f"{run}: has no findings; find some (saywhy audit IMAGES -o {run} --depth trials), {own}")
    if finding not in found:
        raise UsageError(f"{unknown('finding', finding, found)}; {own}")
    one = {name: value for name, value in found[finding].items() if value is not None}
    if missing := [name for name in ("class_index", "cause") if name not in one]:
        raise UsageError(f"the finding {finding} names no {' and no '.join(missing)}: give {own.removeprefix('or ')}")
    return Blamed(**one)
