"""Does anything but the rule tell the class? `python benchmarks/aviary_audit.py` writes results/aviary_audit.json.

Every nuisance of 4800 clean pictures against the class, probes fitted to one half and judged on the other, and what one
part of a relation gives away, of each edition; `saywhy aviary --audit SEED` prints the same.
"""

from __future__ import annotations

import json
from pathlib import Path

from saywhy.aviary.leaks import audit, lines, record

# Edition, seed; others were looked at while an edition was made.
RUNS = (("2", 3), ("2", 4), ("1", 0), ("cells", 3), ("cells", 5))
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
