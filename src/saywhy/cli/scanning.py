"""`saywhy audit --depth`: a whole set, stored and summarised."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from saywhy.cli.output import NAMED, notes, progress, tell_failed, tell_skipped
from saywhy.errors import UsageError

if TYPE_CHECKING:
    from saywhy.audit.scan import Budget
    from saywhy.audit.summary import Summary
    from saywhy.findings import FindingRecord

TOLD = 5  # rows of a kind
SECONDS = {"s": 1, "m": 60, "h": 3600}


def scan_set(
    load: Callable[[], Any], images: list[str], out: Path, *, depth: str, budget: str | None, reproducible: bool,
    quiet: bool, **how: Any,
) -> None:  # fmt: skip
    """Scans a set, and writes and tells its summary; ends with 1 where pictures could not be used."""
    import typer

    from saywhy.audit.folder import write_summary
    from saywhy.audit.scan import scan
    from saywhy.audit.sources import is_address
    from saywhy.audit.store import open_store
    from saywhy.findings import write_findings

    tell_skipped([i for i in images if not is_address(i)], quiet)
    try:
        with progress(quiet, 1) as tell:
            scan(load, images, out, depth=depth, budget=budget_of(budget), progress=lambda text: tell(0, text), **how)
    except KeyboardInterrupt:
        notes.print("interrupted: what was done is kept; the same call goes on", style="red")
        raise typer.Exit(130) from None
    found, page = write_summary(out, reproducible=reproducible)
    _show(found)
    _tell(write_findings(out))
    with open_store(out) as store:
        failed = store.execute(
            f"SELECT any_value(path), min(error) FROM failed GROUP BY n ORDER BY n LIMIT {NAMED}"
        ).fetchall()
        ((count,),) = store.execute("SELECT count(DISTINCT n) FROM failed").fetchall()
    tell_failed(failed, count, "the table `failed` of the store")
    if not quiet:
        notes.print(f"look at {page}", markup=False, highlight=False, soft_wrap=True)
    if count:
        raise typer.Exit(1)


def _tell(found: Sequence[FindingRecord]) -> None:
    from saywhy.render.wording import clean

    console = Console(file=sys.stdout)
    for f in found[:TOLD]:
        console.print(clean(f"- {f.kind}: {f.name} ({f.errors} errors)"), markup=False, highlight=False, soft_wrap=True)


def budget_of(text: str | None) -> Budget | None:
    """A budget of passes (5000) or of time (90s, 30m, 2h); None where none is given."""
    from saywhy.audit.scan import Budget

    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower().replace(",", "").replace("_", ""))
    if found is None or (not found[2] and "." in found[1]) or not float(found[1]):
        raise UsageError(f"--budget takes passes or a time, such as 5000, 30m or 2h; got {text!r}")
    return Budget(seconds=float(found[1]) * SECONDS[found[2]]) if found[2] else Budget(passes=int(found[1]))


def _show(found: Summary) -> None:
    from saywhy.render.wording import clean, percent

    lines = [f"{found.whole.pictures:,} of {found.pictures:,} pictures looked at"]
    if (right := found.whole.accuracy) is not None:
        lines[0] += f"; {percent(right.mean)} right ({percent(right.low)} to {percent(right.high)})"
    if found.calibration is not None:
        said = f"its answers have {percent(found.calibration.confidence)} on average"
        lines.append(f"calibration error {percent(found.calibration.error)}: {said}")
    if found.confused:
        lines.append("confused: " + "; ".join(f"{c.answer} for {c.label} ({c.count})" for c in found.confused[:TOLD]))
    if found.doubtful:
        named = (f"{Path(d.path).name} ({percent(d.margin)})" for d in found.doubtful[:TOLD])
        lines.append("labels to look at first (margin of the answer over the label): " + "; ".join(named))
    if found.duplicates:
        lines.append(f"{found.duplicates} pairs of near-duplicates, {found.across_splits} of them across splits")
    console = Console(file=sys.stdout)
    for line in [*lines, *(f"- {n}" for n in (*found.notes, *(f"read as: {m}" for m in found.model.notes)))]:
        console.print(clean(line), markup=False, highlight=False, soft_wrap=True)
