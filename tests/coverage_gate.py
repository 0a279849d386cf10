"""Fails where fewer lines or branches are run than were: `python tests/coverage_gate.py coverage.json`."""

import json
import sys
from pathlib import Path

LINES, BRANCHES = 95.0, 90.0  # per cent


def shares(totals):
    """Per cent of lines and of branches that were run."""
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    return lines, 100 * totals["covered_branches"] / totals["num_branches"]


def main(file):
    lines, branches = shares(json.loads(Path(file).read_text(encoding="utf-8"))["totals"])
    print(f"lines {lines:.1f} % (at least {LINES:g}), branches {branches:.1f} % (at least {BRANCHES:g})")
    return 0 if lines >= LINES and branches >= BRANCHES else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
