"""Does anything but the rule tell the class? `python benchmarks/aviary_audit.py` writes results/aviary_audit.json.

Every nuisance of 4800 clean pictures against the class, probes fitted to one half and judged on the other, and what one
part of a relation gives away, of either edition; `saywhy aviary --audit SEED` prints the same.
"""

from __future__ import annotations

import json
from pathlib import Path

from saywhy.aviary.leaks import audit, lines, record

RUNS = (("2", 3), ("2", 4), ("1", 0))  # edition, seed; 0 and 1 were looked at while the second edition was made
RESULT = Path(__file__).parent / "results" / "aviary_audit.json"


def main() -> None:
    rows = []
    for edition, seed in RUNS:
        found = audit(seed, edition=edition)
        print("\n".join(lines(found)), flush=True)
        rows.append(record(found))
        RESULT.write_text(json.dumps({"runs": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
