"""Time and memory of Grad-CAM, Ablation-CAM, Score-CAM and RISE: saywhy, its peers, and the plain forward pass.

    PYTHONPATH=tests/shim python benchmarks/peers.py grad-cam grad-cam-memory [-n resnet50] [--again]

A row that results/ has already is not measured again, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from contestants import CONTESTANTS, shown
from measure import Record, in_child, in_turns, installed, one_thread, peak_of, ratio
from networks import NETWORKS, batch, subject

RESULTS = Path(__file__).parent / "results"
TIME = "CPU seconds of one thread, cases in turns, median; ratio = median of the ratios within a turn"
MEMORY = "peak bytes above the resident ones before the call, each in a process of its own after a call with one image"


def able(method: str) -> list[str]:
    """The contestants that are installed; the others are named aloud."""
    names = []
    for name, contestant in CONTESTANTS[method].items():
        if contestant.package is None or installed(contestant.package):
            names.append(name)
        else:
            print(f"SKIPPED: {name} is not installed; see benchmarks/README.md", file=sys.stderr)
    return names


def time_of(method: str, network: str, count: int, turns: int, budget: float, record: Record) -> None:
    """One row a contestant: its seconds, their ratio to the plain forward's and to saywhy's, agreement of the maps."""
    names = able(method)
    if all(record.has(network=network, batch=count, who=n) for n in names):
        return
    cases: dict[str, Callable[[], Tensor]] = {}
    for name in names:
        s = subject(network)
        images = batch(s.clf, count)
        classes = s.clf.logits(images).argmax(dim=1).tolist()
        cases[name] = partial(CONTESTANTS[method][name].make(s), images, classes)
    taken, results = in_turns(cases, turns, 2 if turns > 3 else 0, budget)
    maps = {name: shown(found, (224, 224)) for name, found in results.items() if found.dim() == 3}  # others are none
    for name in names:
        row = {"network": network, "batch": count, "who": name, "seconds": [round(t, 5) for t in taken[name]]}
        row["median"] = round(statistics.median(taken[name]), 5)
        row["to_plain"] = ratio(taken[name], taken["plain forward"])
        row["saywhy_to_it"] = ratio(taken["saywhy"], taken[name])
        if name in maps:
            pairs = zip(maps["saywhy"].flatten(1), maps[name].flatten(1), strict=True)
            row["correlation_with_saywhy"] = [round(float(np.corrcoef(a, b)[0, 1]), 5) for a, b in pairs]
        record.add(row)


def memory_of(method: str, network: str, count: int, repeats: int, record: Record) -> None:
    """One row a contestant: its peaks in `repeats` processes."""
    names = [n for n in able(method) if not record.has(network=network, batch=count, who=n)]
    peaks: dict[str, list[int]] = {n: [] for n in names}
    for _ in range(repeats):
        for name in names:
            arguments = ["peers.py", "--child", json.dumps([method, network, name, count])]
            peaks[name].append(int(in_child(arguments)["peak"]))
    for name in names:
        row = {"network": network, "batch": count, "who": name, "peak_mb": [round(p / 1e6, 1) for p in peaks[name]]}
        record.add({**row, "median_mb": statistics.median(row["peak_mb"])})


def child(method: str, network: str, who: str, count: int) -> None:
    s = subject(network)
    images = batch(s.clf, count)
    classes = s.clf.logits(images[:1]).argmax(dim=1).tolist() * count
    call = CONTESTANTS[method][who].make(s)
    warm = partial(call, images[:1], classes[:1])
    if method == "score-cam":  # a whole run of its own; the network alone warms up
        warm = partial(CONTESTANTS[method]["plain forward"].make(s), images[:1], classes[:1])
    print(json.dumps({"peak": peak_of(partial(call, images, classes), warm)}))


QUESTIONS: dict[str, Callable[[str, int | None, Record], None]] = {
    "grad-cam": lambda n, turns, r: [time_of("grad-cam", n, b, turns or 15, 90, r) for b in (1, 8)],
    "grad-cam-memory": lambda n, turns, r: memory_of("grad-cam", n, 16, turns or 3, r),
    "ablation-cam": lambda n, turns, r: time_of("ablation-cam", n, 1, turns or 3, 30, r),
    "score-cam": lambda n, turns, r: time_of("score-cam", n, 1, turns or 3, 30, r),
    "score-cam-memory": lambda n, turns, r: memory_of("score-cam", n, 1, turns or 1, r),
    "rise": lambda n, turns, r: time_of("rise", n, 1, turns or 3, 30, r),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", choices=[[], *QUESTIONS], metavar="QUESTION")
    parser.add_argument("-n", "--network", action="append", choices=list(NETWORKS))
    parser.add_argument("-o", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure what results/ has already once more")
    parser.add_argument("--turns", type=int, help="turns or processes a case (default: by question)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    one_thread()
    if given.child:
        return child(*json.loads(given.child))
    for question in given.questions or QUESTIONS:
        record = Record(question, MEMORY if question.endswith("memory") else TIME, given.o, again=given.again)
        for network in given.network or NETWORKS:
            QUESTIONS[question](network, given.turns, record)
    return None


if __name__ == "__main__":
    main()
