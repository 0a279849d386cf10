"""Do the tests notice? Small faults are planted in the modules that measure, say, record and draw, one at a time.

    make mutants
    python benchmarks/mutants.py -m verify -n 200 --show    # all faults of one module, survivors printed as they come

A fault is planted in memory while the module is imported; no file is changed. This process imports torch and pytest
once and forks a child for each fault, which imports saywhy and runs the tests: first those that reach the changed
lines, quickest first, until one fails. A test that does not reach them runs too (what it looks at may have been made
by an earlier one and kept), unless it is slow. A fault that no test reaches has survived; one with which the tests do
not come to an end is noticed (`stopped` counts these).

TABLE says which tests answer for which module; the sample of faults of a module depends on the seed and on its text.
Writes results/mutants.json (with -m only where -o says so): the score, the share of faults that a test noticed, of each
module, and every survivor.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from math import ceil
from pathlib import Path
from types import CodeType
from typing import Any

from coverage import Coverage

from measure import facts
from mutating import Site, difference, planted, sites

ROOT = Path(__file__).parents[1]
SOURCE, TESTS, RESULT = ROOT / "src" / "saywhy", ROOT / "tests", Path(__file__).parent / "results" / "mutants.json"
GOAL = 0.85
SAID = ("test_said_only_if.py", "test_language.py")
SHOWN = ("test_drawn_as_measured.py", "test_render.py", "test_outline.py", "test_panel.py", "test_page.py")
PLAYED = ("test_game_promises.py", "test_intervene.py")
RECORDED = ("test_record_promises.py", "test_explainer.py", "test_graph.py")

# Which tests answer for a module (files of tests/), and which operators are left out there.
TABLE: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "regions/describe.py": (SAID, frozenset()),
    "regions/propose.py": (SAID, frozenset()),
    "language/verify.py": (SAID, frozenset()),
    "language/telling.py": (SAID, frozenset()),
    "regions/verdict.py": (("test_regions.py", "test_said_only_if.py"), frozenset()),
    "regions/choice.py": (("test_regions.py",), frozenset()),
    "surroundings/decision.py": (("test_surroundings.py",), frozenset()),
    "audit/families.py": (("test_failures.py",), frozenset()),
    "audit/bias.py": (("test_failures.py",), frozenset()),
    "audit/labels.py": (("test_failures.py", "test_labels.py"), frozenset()),
    "record.py": ((*RECORDED, "test_parts.py"), frozenset()),
    "regions/records.py": (RECORDED, frozenset()),
    "settling.py": ((*RECORDED, "test_parts.py"), frozenset()),
    "graph/build.py": (RECORDED, frozenset()),
    "intervene/game.py": (PLAYED, frozenset()),
    "intervene/acts.py": (PLAYED, frozenset()),
    "lcam/refine.py": (("test_refined_promises.py", "test_lcam.py"), frozenset()),
    "render/*.py": (SHOWN, frozenset()),
    "regions/page.py": (SHOWN, frozenset()),
    "regions/panel.py": (SHOWN, frozenset()),
    "regions/sections.py": (SHOWN, frozenset()),
    "regions/graph_drawing.py": (SHOWN, frozenset()),
}
# Where a line or a number stands and how thick it is are matters of taste, which no test should pin down.
LATER = frozenset(("render/failure_page.py",))  # the audit's page belongs to the audit's rows
DRAWING = ("render/png", "render/canvas", "render/layout", "render/outline", "regions/panel", "regions/graph_drawing")
TASTE = {f"{name}.py": frozenset({"number", "arithmetic"}) for name in DRAWING}
HEAVY = ("torch", "numpy", "scipy.stats", "sklearn.cluster", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont", "pydantic",
         "jinja2", "networkx", "skimage.data", "hypothesis.strategies", "pytest", "safetensors.torch",
         "sympy", "typer.testing", "anyio.pytest_plugin", "xdist.plugin", "pytest_cov.plugin", "timm",
         "matplotlib")  # fmt: skip
WAITING = 20  # times its seconds on a processor that a child may take on a clock, beside others
SLOW = 0.5  # seconds: a slower test that does not reach the changed lines is not run


@dataclass
class Baseline:
    """What a run without faults saw: seconds of each test on a processor, and the lines of each module it reaches."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[str, set[int]]] = field(default_factory=dict)  # module -> test -> lines


class Planted(MetaPathFinder):
    """Imports one module from a tree instead of from its file."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        self.name = ".".join(parts).removesuffix(".__init__")

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        tree = self.tree

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return compile(tree, self.path, "exec")

        folder = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        loader = Loader(fullname, str(self.path))
        return spec_from_file_location(fullname, self.path, loader=loader, submodule_search_locations=folder)


class Watching:
    """A plugin of pytest that notes seconds of tests and reached lines."""

    def __init__(self, targets: list[Path]) -> None:
        self.targets, self.failed, self.seconds, self.clock = targets, "", dict[str, float](), 0.0
        self.coverage = Coverage(data_file=None, config_file=False, include=[str(path) for path in targets])

    def pytest_runtest_protocol(self, item: Any) -> None:
        self.coverage.switch_context(item.nodeid)
        self.clock = time.process_time()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed = f"{report.nodeid} fails without any fault:\n{report.longreprtext}"
        self.seconds[report.nodeid] = time.process_time() - self.clock

    def lines(self) -> dict[str, dict[str, list[int]]]:
        """The lines of each module that each test reached."""
        out: dict[str, dict[str, list[int]]] = {}
        for path in self.targets:
            reached = out.setdefault(str(path.relative_to(SOURCE)), {})
            for line, tests in self.coverage.get_data().contexts_by_lineno(str(path)).items():
                for test in tests:
                    reached.setdefault(test, []).append(line)
        return out


class Order:
    """A plugin of pytest that runs these tests in this order and no others."""

    def __init__(self, order: list[str]) -> None:
        self.place, self.by = {test: i for i, test in enumerate(order)}, ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda i: self.place[i.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.by = report.nodeid


def run_tests(files: list[str], plugin: object) -> int:
    import pytest

    # What is imported before pytest starts cannot have its asserts rewritten, and need not.
    calm = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options = [
        *calm,
        "-x",
        "-q",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--hypothesis-seed=0",
    ]
    return int(pytest.main([*options, "-m", "not long", "--rootdir", str(ROOT), *files], plugins=[plugin]))


def observed(files: list[str], targets: list[Path]) -> dict[str, Any]:
    """One run without faults, watched."""
    watching = Watching(targets)
    watching.coverage.start()
    code = run_tests(files, watching)
    watching.coverage.stop()
    if code:
        raise SystemExit(watching.failed or f"pytest ends with {code} without any fault: {' '.join(files)}")
    return {"seconds": watching.seconds, "lines": watching.lines()}


def tried(path: Path, site: Site, order: list[str]) -> dict[str, Any]:
    """Whether a test notices the fault, and which."""
    sys.meta_path.insert(0, Planted(path, planted(ast.parse(path.read_text("utf-8")), site)))
    plugin = Order(order)
    code = run_tests(list(dict.fromkeys(test.split("::")[0] for test in order)), plugin)
    return {"killed": code != 0, "by": plugin.by or ("import" if code else "")}


# --------------------------------------------------------------------------------------------------
# Children.


@dataclass
class Child:
    """A forked process, where it writes its answer, and when it is given up if it waits for something."""

    pid: int
    out: Path
    end: float
    key: Any


def fork(folder: Path, number: int, key: Any, limit: float, work: Any, *arguments: Any) -> Child:
    """Runs work(*arguments) in a child, which writes what it returns; after `limit` seconds on a processor it ends."""
    out = folder / f"{number}.json"
    pid = os.fork()
    if pid:
        return Child(pid, out, time.monotonic() + WAITING * limit, key)
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time() + limit),) * 2)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
            answer = work(*arguments)
        out.write_text(json.dumps(answer))
        code = 0
    except SystemExit as e:
        print(e, file=sys.stderr)
    finally:
        os._exit(code)


def finished(children: list[Child]) -> Iterator[Child]:
    """Those that have ended or are over their time, taken off the list."""
    for child in list(children):
        ended, _ = os.waitpid(child.pid, os.WNOHANG)
        if not ended and time.monotonic() > child.end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            ended = child.pid
        if ended:
            children.remove(child)
            yield child


def in_children(jobs: int, tasks: list[tuple[Any, float, Any, tuple[Any, ...]]]) -> Iterator[tuple[Any, Any]]:
    """(key, answer) of tasks (key, limit, work, arguments) as they end; None of one that did not answer."""
    with tempfile.TemporaryDirectory() as folder:
        waiting, children = list(reversed(list(enumerate(tasks)))), list[Child]()
        while waiting or children:
            while waiting and len(children) < jobs:
                number, (key, limit, work, arguments) = waiting.pop()
                children.append(fork(Path(folder), number, key, limit, work, *arguments))
            for child in finished(children):
                yield child.key, json.loads(child.out.read_text()) if child.out.exists() else None
            time.sleep(0.01)


# --------------------------------------------------------------------------------------------------
# The run.


def table() -> dict[str, tuple[list[str], frozenset[str]]]:
    """TABLE with its patterns written out: module -> test files that are there, operators left out."""
    out = {}
    for pattern, (files, left) in TABLE.items():
        found = sorted(SOURCE.glob(pattern))
        if not found:
            raise SystemExit(f"TABLE names {pattern}, which src/saywhy does not have; name what took its place")
        for path in found:
            name = str(path.relative_to(SOURCE))
            if name in LATER:
                continue
            there = [f"tests/{f}" for f in files if (TESTS / f).exists()]
            out[name] = there, left | TASTE.get(name, frozenset())
    return out


def baseline(files: list[str], targets: list[Path], jobs: int) -> dict[str, Baseline]:
    """Each test file watched once."""
    out = {}
    tasks = [(f, 600.0, observed, ([f], targets)) for f in files]
    for key, answer in in_children(jobs, tasks):
        if answer is None:
            raise SystemExit(f"{key}: the tests do not pass without a fault")
        lines = {m: {t: set(found) for t, found in tests.items()} for m, tests in answer["lines"].items()}
        out[key] = Baseline(answer["seconds"], lines)
    return out


def in_order(module: str, site: Site, files: list[str], known: dict[str, Baseline]) -> list[str]:
    """The tests to run for a fault, those that reach it first, then the quick rest; none if nothing reaches it."""
    changed = set(range(site.lines[0], site.lines[1] + 1))
    rows = []
    for file in files:
        lines = known[file].lines[module]
        reached = {t for t, found in lines.items() if found & changed}
        if "" in reached:  # what is made while the module is imported is there for all that use it
            reached |= set(lines)
        if reached:
            seconds = known[file].seconds
            rows += [(t not in reached, s, t) for t, s in seconds.items() if t in reached or s < SLOW]
    return [t for _, _, t in sorted(rows)]


def main() -> None:
    """Plants, runs, counts, writes."""
    a = asked()
    os.chdir(ROOT)
    sys.path[:0] = [str(SOURCE.parent), str(TESTS)]
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    assert "saywhy" not in sys.modules
    start, rows = time.monotonic(), {m: r for m, r in table().items() if a.module in m}
    targets = [SOURCE / m for m in rows]
    known = baseline(sorted({f for files, _ in rows.values() for f in files}), targets, a.jobs)
    print(f"{len(known)} test files watched in {time.monotonic() - start:.0f} s", flush=True)
    tasks: list[tuple[Any, float, Any, tuple[Any, ...]]] = []
    found: dict[str, dict[str, Any]] = {}
    unreached: list[tuple[str, Site]] = []
    for module, (files, left) in rows.items():
        every = [s for s in sites(ast.parse((SOURCE / module).read_text("utf-8"))) if s.operator not in left]
        some = random.Random(f"{a.seed} {module}").sample(every, min(a.number, len(every)))
        found[module] = {"possible": len(every), "planted": len(some), "noticed": 0, "stopped": 0, "score": 0.0,
                         "survivors": []}  # fmt: skip
        for site in some:
            order = in_order(module, site, files, known)
            limit = 20 + 5 * sum(known[f].seconds.get(t, 0.0) for f in files for t in order)
            if order:
                tasks.append(((module, site), limit, tried, (SOURCE / module, site, order)))
            else:
                unreached.append((module, site))
    for module, site in unreached:
        note(found[module], module, site, "no test reaches it", show=a.show)
    for (module, site), answer in in_children(a.jobs, tasks):
        if answer is None or answer["killed"]:
            found[module]["noticed"] += 1
            found[module]["stopped"] += answer is None
        else:
            note(found[module], module, site, "all tests pass", show=a.show)
    report(a, found, time.monotonic() - start)


def note(row: dict[str, Any], module: str, site: Site, why: str, *, show: bool) -> None:
    """Adds a survivor."""
    tree = ast.parse((SOURCE / module).read_text("utf-8"))
    changed = difference(tree, planted(tree, site))
    row["survivors"].append({"at": f"{module}:{site.lines[0]}", "operator": site.operator, "why": why, "diff": changed})
    if show:
        print(f"{module}:{site.lines[0]} {site.operator}, {why}", *changed, sep="\n    ", flush=True)


def report(a: argparse.Namespace, found: dict[str, dict[str, Any]], seconds: float) -> None:
    """Prints the scores and writes the result; a run of some modules replaces their rows alone."""
    for row in found.values():
        row["score"] = round(row["noticed"] / row["planted"], 3) if row["planted"] else 1.0
        row["survivors"].sort(key=lambda s: (int(s["at"].split(":")[1]), s["diff"]))
    for module, row in found.items():
        print(f"{module:28} {row['noticed']:4} of {row['planted']:4} noticed ({row['score']:.0%})")
    modules = {**_kept(a), **found} if a.module else found
    noticed, all_of_them = (sum(row[k] for row in modules.values()) for k in ("noticed", "planted"))
    score = noticed / max(1, all_of_them)
    print(f"{noticed} of {all_of_them} faults noticed, {score:.1%} (goal {GOAL:.0%}), {seconds:.0f} s, {a.jobs} jobs")
    if a.output:
        content = {"question": "do the tests notice small faults", "machine": facts(), "seed": a.seed,
                   "number": a.number, "jobs": a.jobs, "seconds": round(seconds), "planted": all_of_them,
                   "noticed": noticed, "score": round(score, 3), "modules": modules}  # fmt: skip
        a.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    sys.exit(score < GOAL)


def _kept(a: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run that a run of some modules leaves as they are; none where it drew otherwise."""
    if a.output is None or not a.output.exists():
        return {}
    before = json.loads(a.output.read_text("utf-8"))
    alike = (before.get("seed"), before.get("number")) == (a.seed, a.number)
    return {m: row for m, row in before["modules"].items() if m in table()} if alike else {}


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--module", default="", help="only modules with this in their path")
    parser.add_argument("-n", "--number", type=int, default=30, help="faults planted in each module, at most")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print survivors as they come")
    parser.add_argument("-o", "--output", type=Path, help="the result; a run of some modules replaces their rows alone")
    a = parser.parse_args()
    a.output = a.output or (None if a.module else RESULT)
    return a


if __name__ == "__main__":
    main()
