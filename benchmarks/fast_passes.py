"""What `explain --fast` spends its passes on, on birds: what could a student of graphs save?

    python benchmarks/fast_passes.py [--birds 40] [MODEL ...]

Passes by purpose: looks at every part, two a leaf of which are the picture's own null; hiding what may count in five
ways; asking again for noise, and the mirror. Writes results/fast_passes.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import saywhy
from concepts_aviary import SEEDS
from saywhy.evaluate.part_effects import test_birds
from saywhy.passes import counting
from saywhy.regions import part
from sentence_measures import machine

RESULT = Path(__file__).parent / "results" / "fast_passes.json"
PURPOSES = {"asked_again": "noise", "sides": "mirror", "hide_each": "looks", "losses_of": "five ways"}


def measure(name: str, birds: int) -> dict[str, Any]:
    clf = saywhy.load_classifier(name)
    spent: dict[str, list[int]] = defaultdict(list)

    def counted(does: Callable[..., Any], purpose: str) -> Callable[..., Any]:
        def run(*args: Any, **how: Any) -> Any:
            with counting() as meter:
                found = does(*args, **how)
            spent[purpose][-1] += meter.forward_passes
            if purpose == "looks":
                spent["of these the null"][-1] += 2 * int((found.tree.joined[:, 0] < 0).sum())
            return found

        return run

    with ExitStack() as stack:
        for function, purpose in PURPOSES.items():
            stack.enter_context(mock.patch.object(part, function, counted(getattr(part, function), purpose)))
        for bird in test_birds(clf, birds, SEEDS["chosen"])[0]:
            for purpose in (*PURPOSES.values(), "of these the null", "all"):
                spent[purpose].append(0)
            with counting() as meter:
                saywhy.explain(clf, bird.rendered.pixels, fast=True)
            spent["all"][-1] = meter.forward_passes
    return {"model": name, "birds": len(spent["all"])} | {k: round(float(np.mean(v)), 1) for k, v in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["aviary:cnn", "aviary:vit"])
    parser.add_argument("--birds", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, given.birds) for name in given.models]
    RESULT.write_text(json.dumps(machine() | {"rows": rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
