"""Does everything hold on a GPU, and what does it cost there: one prepared run of at most six minutes.

    PYTHONPATH=src:tests/shim python benchmarks/gpu.py [--device cuda] [-o FOLDER] [SECTION ...]

Each section is a process of its own with its own time limit: one that fails, hangs or spoils the device loses nobody
else's figures, and its failure is recorded. Times are wall seconds with the device waited for; ratios are within a
turn. `--device cpu` runs everything on small networks, to try the script where no GPU is.
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import itertools
import json
import os
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import saywhy  # noqa: E402
from contestants import CONTESTANTS, shown  # noqa: E402
from measure import facts, in_turns, installed, ratio  # noqa: E402
from networks import NETWORKS, Subject, batch, sample_photos  # noqa: E402
from saywhy import Classifier, load_classifier, saliency  # noqa: E402
from saywhy.collection import Item  # noqa: E402
from saywhy.lcam.fitting import RECIPES, fit_lcam  # noqa: E402
from saywhy.passes import counting  # noqa: E402
from saywhy.precision import exactly  # noqa: E402

WHOLE = 350.0  # seconds, after which no section is started
TESTS = ("test_contract.py", "test_left_as_found.py")
Row = dict[str, Any]


@dataclass(frozen=True)
class Where:
    """The device, and what fits it: which networks, and how many images at once."""

    device: str
    networks: tuple[str, ...]
    images: int

    @property
    def gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    def clock(self) -> float:
        """Wall seconds, after what the device was given is done."""
        if self.gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak_of(self, call: Callable[[], object]) -> float | None:
        """MB that a call takes on the device above what lay there before."""
        if not self.gpu:
            call()
            return None
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)


@cache
def _made(name: str) -> Classifier:
    return NETWORKS[name]()  # seconds, of random weights


def _subject(name: str, device: str) -> Subject:
    """A network of its own, as everybody's hooks are in everybody's way."""
    clf = replace(_made(name), net=copy.deepcopy(_made(name).net), _points={})
    return Subject(name, load_classifier(clf, device=device))


# --------------------------------------------------------------------------------------------------
# The sections: each a function Where -> rows.


def contract(where: Where) -> Iterator[Row]:
    """The tests of the contracts and of what is left as it was found, on this device."""
    workers = ["-n", "8"] if where.gpu and installed("pytest-xdist") else []
    some = [] if where.gpu else ["-k", "cnn and grad-cam"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-o", "addopts=",
         *workers, *some, *(str(HERE.parent / "tests" / name) for name in TESTS)],
        capture_output=True, text=True, cwd=HERE.parent, env={**os.environ, "SAYWHY_TEST_DEVICE": where.device},
    )  # fmt: skip
    failed = re.findall(r"^(?:FAILED|ERROR) \S*?(\w+\.py\S*)(?: - (.*))?$", done.stdout, re.M)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-500:]]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last[0])}
    yield {"tests": list(TESTS), **counts, "said": last[0], "failures": [" ".join(f)[:300] for f in failed][:60]}


def exactness(where: Where) -> Iterator[Row]:
    """Replay against the plain scores at 1, 3 and 8 images, and Grad-CAM against hooks written out, in each format."""
    kind = torch.device(where.device).type
    formats: dict[str, tuple[torch.dtype, Callable[[], Any]]] = {
        "float32": (torch.float32, exactly),
        "float32, TF32 where torch sets it": (torch.float32, nullcontext),
        "bfloat16": (torch.bfloat16, nullcontext),
        "float16": (torch.float16, nullcontext),
        "autocast bfloat16": (torch.float32, lambda: torch.autocast(kind, torch.bfloat16)),
    }
    if not where.gpu:
        formats = {k: v for k, v in formats.items() if k in ("float32", "bfloat16")}
    for name in where.networks:
        images = batch(_subject(name, "cpu").clf, 8)
        expected: Tensor | None = None  # float32's maps
        for form, (dtype, around) in formats.items():
            row: Row = {"network": name, "format": form}
            try:
                with around():
                    found, row = _exact(_subject(name, where.device), dtype, images, row)
                expected = found if expected is None else expected
                pairs = zip(found.flatten(1).double(), expected.flatten(1).double(), strict=True)
                row["maps_correlate_with_float32"] = round(min(_correlation(a, b) for a, b in pairs), 5)
            except Exception as e:
                row["error"] = f"{type(e).__name__}: {e}"[:300]
            yield row


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def _exact(s: Subject, dtype: torch.dtype, images: Tensor, row: Row) -> tuple[Tensor, Row]:
    """Display maps (N, H, W) of the predicted classes on the CPU, and the row with its errors."""
    clf = replace(s.clf, net=s.clf.net.to(dtype), _points={})
    point = clf.point
    row |= {"layer": point.path, "clean": point.tail.clean}
    for count in (1, 3, 8):
        tap = clf.tap(images[:count])
        with torch.no_grad():
            again = tap.replay(tap.maps())
            plain = clf.logits(images[:count]).to(again.device)
        row[f"replay_error_at_{count}"] = _off(again, tap.logits)
        row[f"tap_error_at_{count}"] = _off(tap.logits, plain)
    classes = plain.argmax(dim=1).tolist()
    ours = saliency(clf, images, classes)
    row["grad_cam_error"] = _off(ours.raw, _reference(clf, images, classes).cpu())
    return ours.display.cpu(), row


def _off(found: Tensor, expected: Tensor) -> float:
    return float(f"{float((found.double() - expected.double()).abs().max() / expected.double().abs().max()):.3g}")


def _reference(clf: Classifier, images: Tensor, classes: list[int]) -> Tensor:
    """Grad-CAM (N, h, w) as anybody would write it: one forward pass, one hook, one backward pass."""
    kept: list[Tensor] = []

    def keep(_: object, __: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # what follows may write into it

    handle = clf.point.call.module.register_forward_hook(keep)
    try:
        scores = clf.net(clf.inputs(images).requires_grad_())
    finally:
        handle.remove()
    (grad,) = torch.autograd.grad(scores[torch.arange(len(images)), classes].sum(), kept[-1])
    A, G = (clf.point.grid.to_maps(t.detach(), images.shape[2:]).float() for t in (kept[-1], grad))
    return (G.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1)


def batches(where: Where) -> Iterator[Row]:
    """Images a second at every batch size, the one that the probe picks and the one that is taken unasked."""
    for name in where.networks:
        clf = _subject(name, where.device).clf
        picked = clf.probe_batch(batch(clf, 1))
        row: Row = {"network": name, "probe_picks": picked, "taken": clf.rows, "images_a_second": {}, "peak_mb": {}}
        for size in (4, 16, 64, 128, 256) if where.gpu else (1, 4):
            images = clf.at_home(batch(clf, size))
            call = partial(clf.logits, images, batch_size=size)
            row["peak_mb"][size] = where.peak_of(call)
            times = in_turns({"pass": call}, 9, 2, 4, where.clock)[0]["pass"]
            row["images_a_second"][size] = round(size / statistics.median(times))
        yield row


class _Watching(TorchDispatchMode):
    """Counts pictures (..., 3, H, W) that are copied from one device to another, and large tensors made on the CPU."""

    def __init__(self, side: int, home: str) -> None:
        super().__init__()
        self.side, self.home = side, torch.device(home).type
        self.there, self.back, self.made_here = 0, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [a for a in args if isinstance(a, Tensor)]
        if isinstance(out, Tensor) and tuple(out.shape[-2:]) == (self.side, self.side):
            pictures = out.numel() // (3 * self.side**2) if out.dim() > 2 and out.shape[-3] == 3 else 0
            source = given[-1] if func._overloadpacket.__name__ == "copy_" else given[0] if given else None
            if source is not None and source.device.type != out.device.type:
                if out.device.type == self.home:
                    self.there += pictures
                else:
                    self.back += pictures
            elif pictures and out.device.type == "cpu":
                self.made_here += pictures
        return out


def travels(where: Where) -> Iterator[Row]:
    """How many pictures go to the device in one call, beside how many images are asked about."""
    for name in where.networks:
        clf = _subject(name, where.device).clf
        clf.point, clf.fine_point(), clf.class_names  # found once
        asked = partial(saliency, clf, batch(clf, 1))
        calls: dict[str, Callable[[], object]] = {
            "grad-cam": asked,
            "rise, 200 masks": partial(asked, method="rise", masks=200),
            "occlusion": partial(asked, method="occlusion"),
            "score-cam-grouped": partial(asked, method="score-cam-grouped"),
        }
        if name == where.networks[0]:
            calls["explain"] = partial(saywhy.explain, clf, sample_photos()["chelsea"])
        for what, call in calls.items() if where.gpu else list(calls.items())[:1]:
            with _Watching(clf.preprocess.size[0], where.device) as seen, counting() as meter:
                call()
            yield {
                "network": name, "call": what, "images_asked": meter.forward_passes,
                "pictures_sent": seen.there, "pictures_fetched": seen.back, "pictures_made_on_the_cpu": seen.made_here,
            }  # fmt: skip


def latency(where: Where) -> Iterator[Row]:
    """Grad-CAM by everybody beside the plain pass, in turns; then `explain` beside a plain pass of one image."""
    for name, count in itertools.product(where.networks, (1, where.images)):
        cases: dict[str, Callable[[], Tensor]] = {}
        errors = {}
        for who, contestant in CONTESTANTS["grad-cam"].items():
            if contestant.package is not None and installed(contestant.package) is None:
                errors[who] = "not installed"
                continue
            try:
                s = _subject(name, where.device)
                images = batch(s.clf, count)
                classes = s.clf.logits(images).argmax(dim=1).tolist()
                case = partial(contestant.make(s), images, classes)
                case()
                cases[who] = case
            except Exception as e:
                errors[who] = f"{type(e).__name__}: {e}"[:300]
        taken, results = in_turns(cases, 15 if where.gpu else 3, 2, 5, where.clock)
        maps = {who: shown(found.cpu(), (224, 224)) for who, found in results.items() if found.dim() == 3}
        for who, times in taken.items():
            row: Row = {"network": name, "batch": count, "who": who, "ms": round(1e3 * statistics.median(times), 3)}
            row["to_plain"] = ratio(times, taken["plain forward"])
            row["saywhy_to_it"] = ratio(taken["saywhy"], times)
            if who in maps:
                pairs = zip(maps["saywhy"].flatten(1), maps[who].flatten(1), strict=True)
                row["correlation_with_saywhy"] = round(min(_correlation(a, b) for a, b in pairs), 5)
            yield row
        yield from ({"network": name, "batch": count, "who": who, "error": said} for who, said in errors.items())


def explained(where: Where) -> Iterator[Row]:
    """`explain` beside a plain pass of one image, its first call apart, and where its time goes."""
    for name in where.networks:
        yield _explained(where, name)
    clf, photo = _subject(where.networks[0], where.device).clf, sample_photos()["chelsea"]
    saywhy.explain(clf, photo)
    watch = cProfile.Profile()
    watch.runcall(saywhy.explain, clf, photo)
    told = pstats.Stats(watch).stats.items()
    most = sorted(told, key=lambda item: -item[1][2])[:14]
    yield {"own_seconds": {f"{Path(file).name}:{line} {what}": round(row[2], 3) for (file, line, what), row in most}}


def host(where: Where) -> Iterator[Row]:
    """What the processor beside the device takes for small steps, by its number of threads."""
    image, clf = torch.rand(1, 3, 224, 224), _subject(where.networks[0], where.device).clf
    there = clf.at_home(image)
    assert clf.point and clf.class_names  # found once
    steps: dict[str, Callable[[], object]] = {
        "lowest and highest of a picture": image.aminmax,
        "a map scaled up": lambda: torch.nn.functional.interpolate(image[:, :1, :7, :7], (224, 224), mode="bilinear"),
        "a picture sent": lambda: image.to(where.device),
        "one small operation there": lambda: there[:, :, :1].add(1),
        "a plain pass": lambda: clf.logits(there),
        "grad-cam": lambda: saliency(clf, image, 0),
        "grad-cam of a picture there": lambda: saliency(clf, there, 0),
    }
    for count in (1, 4, os.cpu_count() or 1):
        torch.set_num_threads(count)
        taken, _ = in_turns(steps, 20 if where.gpu else 2, 2, 4, where.clock)
        yield {"threads": count, "ms": {k: round(1e3 * statistics.median(v), 3) for k, v in taken.items()}}


def _explained(where: Where, name: str) -> Row:
    """Seconds of `explain`, its first call apart: there the layers are found."""
    clf, photo = _subject(name, where.device).clf, sample_photos()["chelsea"]
    image = clf.at_home(batch(clf, 1))
    start = where.clock()
    with counting() as meter:
        found = saywhy.explain(clf, photo)
    first = where.clock() - start
    cases: dict[str, Callable[[], object]] = {
        "explain": lambda: saywhy.explain(clf, photo),
        "plain": lambda: clf.logits(image),
    }
    taken = in_turns(cases, 3 if where.gpu else 1, 1, 12, where.clock)[0]
    return {
        "network": name, "call": "explain", "first_seconds": round(first, 3),
        "seconds": round(statistics.median(taken["explain"]), 3),
        "plain_ms": round(1e3 * statistics.median(taken["plain"]), 3),
        "images_asked": meter.forward_passes, "tails": meter.tail_passes, "sentences": len(found.statements),
    }  # fmt: skip


def memory(where: Where) -> Iterator[Row]:
    """Peak MB on the device of Grad-CAM by everybody and of `explain`, above weights and images."""
    for name in where.networks:
        for who, contestant in CONTESTANTS["grad-cam"].items():
            if contestant.package is not None and installed(contestant.package) is None:
                continue
            s = _subject(name, where.device)
            images = s.clf.at_home(batch(s.clf, where.images))
            classes = s.clf.logits(images).argmax(dim=1).tolist()
            try:
                call = partial(contestant.make(s), images, classes)
                call()
                yield {"network": name, "batch": where.images, "who": who, "peak_mb": where.peak_of(call)}
            except Exception as e:
                yield {"network": name, "batch": where.images, "who": who, "error": f"{type(e).__name__}: {e}"[:300]}
        clf = _subject(name, where.device).clf
        yield {
            "network": name,
            "who": "saywhy's first look (layer search)",
            "peak_mb": where.peak_of(partial(getattr, clf, "point")),
        }
        yield {
            "network": name, "who": "saywhy.explain",
            "peak_mb": where.peak_of(partial(saywhy.explain, clf, sample_photos()["chelsea"])),
        }  # fmt: skip


def threads(where: Where) -> Iterator[Row]:
    """Two threads with one classifier: the maps of one thread, and the network as it was."""
    for name in where.networks:
        clf = _subject(name, where.device).clf
        images = batch(clf, 2)
        before = {k: v.clone() for k, v in clf.net.state_dict().items()}
        methods = ("grad-cam", "ablation-cam", "layer-cam")
        expected = {(m, i): saliency(clf, images[i : i + 1], method=m).raw for m in methods for i in range(2)}

        def work(i: int, clf=clf, images=images, expected=expected, methods=methods) -> float:
            worst = 0.0
            for _ in range(3 if where.gpu else 1):
                for m in methods:
                    worst = max(worst, _off(saliency(clf, images[i : i + 1], method=m).raw, expected[m, i]))
            return worst

        with ThreadPoolExecutor(2) as pool:
            worst = max(pool.map(work, range(2)))
        after = clf.net.state_dict()
        yield {
            "network": name, "worst_map_error": worst,
            "weights_as_found": all(torch.equal(v, after[k]) for k, v in before.items()),
            "stubs_left": sum("forward" in m.__dict__ for m in clf.net.modules()),
        }  # fmt: skip


def fitting(where: Where) -> Iterator[Row]:
    """Heads fitted to crops of the sample photos: a part of a minute each, and what the map is worth that comes out."""
    from PIL import Image

    clf = _subject(where.networks[0], where.device).clf
    with tempfile.TemporaryDirectory() as folder:
        items = []
        for n, (name, photo) in enumerate(itertools.product(sample_photos(), range(8 if where.gpu else 2))):
            pixels = sample_photos()[name]
            h, w = (int(side * 0.7) for side in pixels.shape[:2])
            y, x = (photo % 4) * (pixels.shape[0] - h) // 3, (photo // 4) * (pixels.shape[1] - w)
            items.append(Item(Path(folder) / f"{n}.png"))
            Image.fromarray(pixels[y : y + h, x : x + w]).save(items[-1].path)
        for preset in ("fast", "refined") if where.gpu else ("fast",):
            recipe = RECIPES[preset]
            recipe = recipe if where.gpu else replace(recipe, config=replace(recipe.config, epochs=1))
            row: Row = {"network": clf.name, "preset": preset, "photos": len(items)}
            try:
                start = where.clock()
                with counting() as meter:
                    made = fit_lcam(clf, items, recipe)
                row |= {"seconds": round(where.clock() - start, 2), "steps": made.fitted.steps}
                row |= {"images_asked": meter.forward_passes, "ended_by": made.fitted.stopped}
                row["loss"] = [round(h["loss"], 4) for h in made.fitted.history][
                    :: max(1, len(made.fitted.history) - 1)
                ]
                row["head_on"] = str(next(made.lcam.head.parameters()).device)
                found = saliency(clf, batch(clf, 2), method="l-cam", head=made.lcam)
                row["map_status"] = list(found.status)
            except Exception as e:
                row["error"] = f"{type(e).__name__}: {e}"[:300]
            yield row


SECTIONS: dict[str, tuple[Callable[[Where], Iterator[Row]], float]] = {
    "host": (host, 30),
    "exactness": (exactness, 70),
    "latency": (latency, 60),
    "explained": (explained, 60),
    "travels": (travels, 45),
    "batches": (batches, 40),
    "memory": (memory, 45),
    "threads": (threads, 30),
    "contract": (contract, 90),
    "fitting": (fitting, 75),
}


# --------------------------------------------------------------------------------------------------
# Running them.


def one(name: str, where: Where) -> None:
    """A section in this process: a line of JSON a row, as it comes, and one for what went wrong."""
    try:
        for row in SECTIONS[name][0](where):
            print("ROW " + json.dumps(row), flush=True)
    except Exception:
        told = traceback.format_exc().replace(f"{Path(__file__).resolve().parents[1]}{os.sep}", "")  # no one's folders
        print("ROW " + json.dumps({"error": told[-1500:]}), flush=True)


def in_process(name: str, given: argparse.Namespace, limit: float) -> Row:
    """A section in a process of its own: its rows, its seconds, and how it ended."""
    start = time.monotonic()
    command = [sys.executable, str(Path(__file__).resolve()), "--alone", name, "--device", given.device]
    command += ["--threads", str(given.threads)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as wrong:
        child = subprocess.Popen(command, stdout=out, stderr=wrong, text=True, cwd=HERE)
        try:
            code = child.wait(limit)
            ended = "ended" if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            ended = f"stopped after its {limit:.0f} seconds"
        out.seek(0)
        wrong.seek(0)
        rows = [json.loads(line[4:]) for line in out if line.startswith("ROW ")]
        tail = wrong.read()[-1500:]
    told = {"rows": rows, "seconds": round(time.monotonic() - start, 1), "ended": ended}
    return told if ended == "ended" else {**told, "said": tail}


def card(device: str) -> Row:
    """The device's name and its software."""
    if torch.device(device).type != "cuda":
        return {"device": device, "card": None}
    about = torch.cuda.get_device_properties(device)
    return {
        "device": device, "card": about.name, "memory_gb": round(about.total_memory / 2**30, 1),
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip


def summary(content: Row) -> str:
    """What a reader wants to know first."""
    lines = [f"{content['device']['card'] or content['device']['device']}, torch {torch.__version__}"]
    for name, section in content["sections"].items():
        wrong = [r for r in section["rows"] if "error" in r]
        lines.append(
            f"{name}: {section['ended']}, {section['seconds']} s, {len(section['rows'])} rows, {len(wrong)} errors"
        )
        lines += [f"    {json.dumps(row)[:400]}" for row in section["rows"]]
        lines += [f"    {section['said'][-600:]}"] if section.get("said") else []
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("-o", type=Path, default=HERE / "results")
    parser.add_argument("--threads", type=int, default=4, help="of the processor, in every section but host's")
    parser.add_argument("--alone", choices=list(SECTIONS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    gpu = torch.device(given.device).type == "cuda"
    where = Where(given.device, tuple(NETWORKS) if gpu else tuple(NETWORKS)[:1], 32 if gpu else 2)
    if given.alone:
        torch.set_num_threads(given.threads)
        one(given.alone, where)
        return 0
    if gpu and not torch.cuda.is_available():
        print("no CUDA device is here; --device cpu tries the script on small networks", file=sys.stderr)
        return 2
    begun = time.monotonic()
    versions = {p: v for p in ("timm", "torchvision", "ttach") if (v := installed(p))}
    content: Row = {
        "question": "gpu",
        "contract": __doc__,
        "device": card(given.device),
        "machine": facts() | {"more": versions},
    }
    content |= {"threads": given.threads, "sections": {}}
    file = given.o / ("gpu.json" if gpu else "gpu-tried-on-cpu.json")
    for name in given.sections or SECTIONS:
        left = WHOLE - (time.monotonic() - begun)
        limit = min(SECTIONS[name][1], left) if gpu else 10 * SECTIONS[name][1]
        if gpu and left < 10:
            content["sections"][name] = {"rows": [], "seconds": 0.0, "ended": "not started: no time was left"}
            continue
        content["sections"][name] = in_process(name, given, limit)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n")
        print(summary({**content, "sections": {name: content["sections"][name]}}), flush=True)
    failed = [
        n for n, s in content["sections"].items() if s["ended"] != "ended" or any("error" in r for r in s["rows"])
    ]
    print(f"{time.monotonic() - begun:.0f} s; with errors: {', '.join(failed) or 'none'}; {file}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
