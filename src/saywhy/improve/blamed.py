"""A finding by its id in a run, or in a file of the user's own."""

from __future__ import annotations

from pathlib import Path

from saywhy.errors import InputError, UsageError
from saywhy.improve.improved import Blamed

EXAMPLE = '{"id": "mark", "class_index": 3, "versus": 5, "cause": "watermark"}'


def blamed(run: Path, finding: str) -> Blamed:
    """The finding with that id, or that of a file `NAME.json`, such as EXAMPLE.

    Raises:
        InputError: the file cannot be read, or is no finding.
        UsageError: the run has no such finding.
    """
    if not finding.endswith(".json"):
        raise UsageError(f"{run}: holds no findings; give a file of your own: --finding mark.json with {EXAMPLE}")
    try:
        return Blamed.model_validate_json(Path(finding).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{finding}: is no finding such as {EXAMPLE} ({e})") from e
