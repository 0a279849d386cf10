"""Does what matters by removal matter by replacement? `python benchmarks/aviary_effects.py [MODELS] [--pictures N]`.

For each picture and part the probability of the bird's species that is lost by removing the part, by giving it another
colour, shape or pattern, or the relation's other answer, and by another background; all of them are in
results/aviary_effects.json, and how often the two kinds disagree.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saywhy import load_classifier
from saywhy.aviary import sample
from saywhy.aviary.classifiers import card, edition_of
from saywhy.evaluate.look_effects import Effects, look_effects

SEED = 4242
MATTERS, NOTHING = 0.10, 0.05  # of probability
RESULT = Path(__file__).parent / "results" / "aviary_effects.json"


def disagreement(rows: list[Effects]) -> dict[str, int]:
    """Parts that matter one way and hardly do so the other."""
    both = [(e.parts[p].get("removal", 0.0), e.replacement(p)) for e in rows for p in e.parts]
    return {
        "parts": len(both),
        "matter by removal": sum(r > MATTERS for r, _ in both),
        "of them hardly by replacement": sum(r > MATTERS and q <= NOTHING for r, q in both),
        "matter by replacement": sum(q > MATTERS for _, q in both),
        "of them hardly by removal": sum(q > MATTERS and r <= NOTHING for r, q in both),
        "pictures in which a background matters": sum(max(e.background.values()) > MATTERS for e in rows),
    }


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["cnn", "vit"])
    parser.add_argument("--pictures", type=int, default=48)
    asked = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in asked.models:
        clf, edition = load_classifier(f"aviary:{name}"), edition_of(card(name))
        samples = [sample(SEED, i, edition=edition) for i in range(asked.pictures)]
        rows = [look_effects(clf, s.scene, s.species) for s in samples]
        pictures = [{"picture": s.index, **rounded(asdict(e))} for s, e in zip(samples, rows, strict=True)]
        result[name] = {"seed": SEED, "edition": edition, **disagreement(rows), "pictures": pictures}
        print(name, json.dumps(disagreement(rows)), flush=True)
        RESULT.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
