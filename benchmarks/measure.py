"""Time and memory of one thread, and the facts of the machine that they were taken on.

Time is CPU time of this process with one thread, so that other load on the machine matters little; the cases take
turns, and what is compared are the medians and the ratios within each turn.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")

PACKAGES = ("saywhy", "torch", "timm", "numpy", "grad-cam", "torchcam", "captum", "dianna", "torchxai-explain")
# One heap, and large blocks given back when they are freed: otherwise the peak is that of an earlier moment.
CALM = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def one_thread() -> None:
    torch.set_num_threads(1)


def in_turns(
    cases: Mapping[str, Callable[[], Result]],
    turns: int,
    warm_up: int = 2,
    budget: float = 120.0,
    clock: Callable[[], float] = time.process_time,
) -> tuple[dict[str, list[float]], dict[str, Result]]:
    """CPU seconds (or the `clock`'s) of each case in each turn, after `warm_up` calls, and what each returned last.

    The order changes with every turn. Fewer turns than asked, but one, are taken when `budget` seconds are over.
    """
    results: dict[str, Result] = {}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        for _ in range(warm_up):
            case()
    order, shuffle, end = list(cases), random.Random(0), clock() + budget
    for turn in range(turns):
        if turn and clock() > end:
            break
        shuffle.shuffle(order)
        for name in order:
            gc.collect()
            start = clock()
            results[name] = cases[name]()
            taken[name].append(clock() - start)
    return taken, results


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """The median of the ratios within each turn, and the quartiles."""
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    if len(ratios) < 3:
        return {"median": round(statistics.median(ratios), 3)}
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}


# --------------------------------------------------------------------------------------------------
# Memory: a process of its own for every case.


def peak_of(case: Callable[[], object], warm_up: Callable[[], object]) -> int:
    """Bytes that `case` takes at its peak above what is resident before it (Linux)."""
    warm_up()
    gc.collect()
    _give_back()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    case()
    return _status("VmHWM") - before


def _give_back() -> None:
    import ctypes

    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def in_child(arguments: Sequence[str]) -> dict[str, object]:
    """What a script of this folder, run in a process of its own, prints as its last line of JSON."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **CALM},
        cwd=Path(__file__).parent,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


# --------------------------------------------------------------------------------------------------
# Facts and records.


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def facts() -> dict[str, object]:
    """The machine and the versions, no names and no paths."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "threads": 1,
        "versions": {p: v for p in PACKAGES if (v := installed(p))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "")
    widest = next((f for f in ("avx512f", "avx2") if f in flags.split()), "")
    return f"{name} {widest}".strip()


class Record:
    """Rows of one question in results/NAME.json, written as they come; what is there already is not measured again."""

    def __init__(self, name: str, contract: str, folder: Path, *, again: bool) -> None:
        self.file = folder / f"{name}.json"
        old = json.loads(self.file.read_text()) if self.file.exists() and not again else {"rows": []}
        self.content = {"question": name, "contract": contract, "machine": facts(), "rows": old["rows"]}

    def has(self, **key: object) -> bool:
        return any(all(row.get(k) == v for k, v in key.items()) for row in self.content["rows"])

    def add(self, row: Mapping[str, object]) -> None:
        self.content["rows"].append(dict(row))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.content, indent=1) + "\n")
        print(json.dumps(row), flush=True)
