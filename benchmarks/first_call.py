"""What the first call costs beside a plain pass: the search for the layer and the probes, in time and in memory.

    PYTHONPATH=src:tests/shim python benchmarks/first_call.py

Networks of torchvision with random weights, each measured in a process of its own; a plain pass is of two pictures, as
the search asks. Writes results/first_call.json, which `architectures_page.py` shows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torchvision

from measure import facts, in_child, in_turns, one_thread, peak_of
from saywhy import Classifier
from saywhy.image import Preprocess

RESULTS = Path(__file__).parent / "results" / "first_call.json"
NETWORKS = (("mobilenet_v3_small", 224), ("resnet50", 224), ("resnet50", 1024))


def measured(name: str, side: int) -> dict[str, object]:
    """Time and peak memory of the search, in those of a plain pass, and what a second call costs."""
    one_thread()
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None).eval()
    pictures = torch.rand(2, 3, side, side)

    def plain() -> None:
        with torch.inference_mode():
            net(pictures)

    def fresh() -> Classifier:
        return Classifier(net, preprocess=Preprocess(size=(side, side), resize=None))

    warm = fresh()
    cases = {"plain": plain, "first": lambda: fresh().point, "second": lambda: warm.point}
    taken, _ = in_turns(cases, turns=3, warm_up=1)
    seconds = {case: min(times) for case, times in taken.items()}
    peaks = {case: peak_of(cases[case], plain) for case in ("plain", "first")}
    return {
        "network": name, "side": side, "layer": str(warm.layer_reason).split(" ")[0],
        "time": round(seconds["first"] / seconds["plain"], 1), "second": round(seconds["second"] / seconds["plain"], 4),
        "plain_mb": peaks["plain"] // 2**20, "first_mb": peaks["first"] // 2**20,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one[0], int(asked.one[1]))))
        return
    rows = []
    for name, side in NETWORKS:
        rows.append(in_child([Path(__file__).name, "--one", name, str(side)]))
        print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps({**facts(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
