"""How much of a perturbation method's time is its own work, and how much the network's forward passes.

    PYTHONPATH=tests/shim python benchmarks/own_work.py

The network is wrapped in a module that notes the CPU time of every forward pass; what is left is own work: masks,
hiding, normalising, checks, accumulation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from measure import Record, one_thread
from networks import NETWORKS, batch, subject
from saywhy import saliency

CONTRACT = "CPU seconds of one thread; share = (whole call - forward passes) / forward passes, median of the repeats"


class Timed(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seconds = net, 0.0

    def forward(self, x: Tensor) -> Tensor:
        start = time.process_time()
        scores = self.net(x)
        self.seconds += time.process_time() - start
        return scores


def share(network: str, method: str, repeats: int, **options: object) -> dict[str, object]:
    s = subject(network)
    timed = Timed(s.net).eval()
    clf = replace(s.clf, net=timed, layer=None)
    images = batch(clf, 1)
    rows = []
    for repeat in range(repeats + 1):
        timed.seconds, start = 0.0, time.process_time()
        saliency(clf, images, [0], method=method, **options)
        whole = time.process_time() - start
        if repeat:  # the first one warms up
            rows.append((whole, timed.seconds))
    shares = [(whole - net) / net for whole, net in rows]
    return {
        "network": network,
        "who": f"saywhy {method}",
        **options,
        "seconds": [round(w, 4) for w, _ in rows],
        "forward_seconds": [round(f, 4) for _, f in rows],
        "own_share": round(statistics.median(shares), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("-n", "--network", action="append", choices=list(NETWORKS))
    parser.add_argument("--again", action="store_true", help="measure what results/ has already once more")
    given = parser.parse_args()
    one_thread()
    record = Record("own-work", CONTRACT, given.o, again=given.again)
    for network in given.network or NETWORKS:
        for method, options in (("rise", {"masks": 128}), ("occlusion", {})):
            if not record.has(network=network, who=f"saywhy {method}"):
                record.add(share(network, method, 5 if network == "efficientnet-lite0" else 3, **options))


if __name__ == "__main__":
    main()
