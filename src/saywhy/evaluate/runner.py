"""Methods times metrics over pictures, streamed: a batch of photos is decoded once and explained by every method.

N pictures; n of them in a batch (n, 3, H, W); display maps (n, H, W) in [0, 1]; values (n,) float64.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, ModelError, UsageError, no_inside
from saywhy.evaluate.annotations import check_truth
from saywhy.evaluate.batches import USUAL, Batch, Conventions, Plan, load
from saywhy.evaluate.derived import DERIVED, controls_for, is_control, knows_nothing
from saywhy.evaluate.presets import measurable, methods_for, metrics_named
from saywhy.evaluate.result import DEGENERATE, Column, Evaluation, Row, cell
from saywhy.metrics import CONTROLS, METRICS, Case, Values, map_status, values_of
from saywhy.metrics.faithfulness import RISE
from saywhy.passes import Meter
from saywhy.saliency import METHODS, saliency

Progress = Callable[[int, int, str], None]
OFTEN_SANE = 10  # methods that ask often are checked for sanity on one picture of ten


@dataclass(eq=False)
class _Tally:
    """What has been found of one method so far."""

    pictures: list[str] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    degenerate: Counter[str] = field(default_factory=Counter)
    meter: Meter = field(default_factory=Meter)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, other: _Tally) -> None:
        """Takes in a batch."""
        self.pictures += other.pictures
        self.values = {n: self.values.get(n, Values()).merge(v) for n, v in other.values.items()}
        self.degenerate.update(other.degenerate)
        self.meter.forward_passes += other.meter.forward_passes
        self.meter.tail_passes += other.meter.tail_passes
        self.milliseconds += other.milliseconds


def evaluate(
    clf: Classifier,
    items: Sequence[Item],
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    controls: Sequence[str] = tuple(CONTROLS),
    target: int | str = "predicted",
    truth: Sequence[str] = (),
    limit: int | None = None,
    perturbation_limit: int | None = None,
    sanity_limit: int | None = None,
    where_possible: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    conventions: Conventions = USUAL,
    seed: int = 0,
    judge: Classifier | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures methods and controls by metrics over pictures (`collection.find_images`).

    `target` is "predicted", "label" (the picture's own class) or one class for all; `truth` names the masks, boxes
    and keypoints that localisation is about (all by default); `limit` takes a seeded subset of the pictures, and
    `perturbation_limit` a seeded subset of these for methods that ask the network hundreds of times a picture,
    `sanity_limit` one for sanity metrics (for such methods a tenth of it: each picture is explained again there).
    Metrics of `where_possible` are left out, with a note, if the pictures or the classifier lack what they need.
    `controls` are names of `metrics.CONTROLS` and `evaluate.DERIVED`;
    `options` are keywords of methods, `{"rise": {"masks": 500}}`; `judge` is a faster copy of the same model (an ONNX
    export), asked instead of `clf` by whatever needs scores alone: metrics, and methods such as rise. A picture that
    cannot be read or explained is among `failures`, and counts for no method. The values do not depend on the batch
    size.

    Raises:
        UsageError: an unknown method, metric, class or convention; no pictures; truth that no picture has.
        InputError: no picture could be measured.
    """
    methods, metrics = methods_for(clf, methods), metrics_named(metrics)
    rows, unserved = controls_for(clf, controls)
    metrics, unmeasured = measurable(clf, items, metrics, where_possible)
    _check(clf, methods, metrics, items, truth)
    items = [items[i] for i in chosen(len(items), limit, seed)]
    rows += methods
    seen = {name: _subset(len(items), perturbation_limit if _often(name) else None, seed) for name in rows}
    few_sane = sanity_limit and max(2, sanity_limit // OFTEN_SANE)
    sane = {name: _subset(len(items), few_sane if _often(name) else sanity_limit, seed) & seen[name] for name in rows}
    if isinstance(target, str) and target not in ("predicted", "label"):
        target = clf.class_index(target)
    plan = Plan(
        clf, judge or clf, tuple(metrics), conventions, dict(options or {}), tuple(truth), target, seed, seen, sane
    )
    tallies = {name: _Tally() for name in rows}
    failures: list[tuple[str, str]] = []
    if clf.white_box:
        clf.point  # noqa: B018  - found now, so that no method's time pays for it
    for start in range(0, len(items), clf.rows):
        tell = partial(progress or _quiet, start, len(items))
        batch, failed = load(plan, items[start : start + clf.rows], start)
        failures += failed
        if batch is not None:
            failures += _add(plan, batch, tallies, tell)
    if not any(t.pictures for t in tallies.values()):
        raise InputError("no picture could be measured: " + "; ".join(f"{p}: {e}" for p, e in failures[:3]))
    return _evaluation(plan, tallies, failures, [*_subsets(plan, len(items)), *unserved, *unmeasured])


def _quiet(done: int, total: int, text: str) -> None:
    """Says nothing."""


def chosen(count: int, limit: int | None, seed: int) -> list[int]:
    """A fixed seeded subset of `limit` numbers below `count`, in order; all where there is no limit."""
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(int(i) for i in np.random.default_rng((seed, 7)).permutation(count)[:limit])


def _subset(count: int, limit: int | None, seed: int) -> frozenset[int]:
    return frozenset(chosen(count, limit, seed))


def _often(name: str) -> bool:
    return name in METHODS and METHODS[name].cost == "many"


def _subsets(plan: Plan, count: int) -> list[str]:
    """Sentences on the rows, and on their sanity metrics, that have not been measured on all pictures."""
    sanity = ", ".join(m for m in plan.metrics if METRICS[m].kind == "sanity")
    said = []
    for what, numbers in (("", plan.seen), (f"{sanity} of ", plan.sane if sanity else {})):
        sizes: dict[int, list[str]] = {}
        for name, subset in numbers.items():
            sizes.setdefault(len(subset), []).append(name)
        said += [
            f"{what}{', '.join(names)}: on a seeded subset of {size} of the {count} pictures."
            for size, names in sizes.items() if size < count
        ]  # fmt: skip
    return said


def _check(
    clf: Classifier, methods: Sequence[str], metrics: Sequence[str], items: Sequence[Item], names: Sequence[str]
) -> None:
    if not items:
        raise UsageError("an evaluation needs at least one picture")
    if not metrics:
        raise UsageError("an evaluation needs at least one metric; see `saywhy methods`")
    blind = [m for m in metrics if not clf.white_box and "net" in METRICS[m].inputs]
    if blind:
        raise no_inside("weights to randomise", f"leave {' and '.join(blind)} out")
    inputs = {i for m in metrics if METRICS[m].needs in ("truth", "both") for i in METRICS[m].inputs}
    check_truth(items, sorted(inputs), names)


# --------------------------------------------------------------------------------------------------
# Methods.


def _add(plan: Plan, batch: Batch, tallies: dict[str, _Tally], tell: Callable[[str], None]) -> list[tuple[str, str]]:
    """Measures every method on a batch; where the model fails, picture by picture, to name the one that it fails on."""
    found = {}
    try:
        for name in tallies:
            tell(name)
            kept = [i for i, n in enumerate(batch.numbers) if n in plan.seen[name]]
            if kept:
                found[name] = _measure(plan, name, batch.part(kept))
    except (ModelError, InputError) as e:
        if len(batch.numbers) == 1:
            return [(batch.names[0], str(e))]
        return [f for i in range(len(batch.numbers)) for f in _add(plan, batch.part([i]), tallies, tell)]
    for name, part in found.items():
        tallies[name].add(part)
    return []


def _measure(plan: Plan, name: str, batch: Batch) -> _Tally:
    begun = time.perf_counter()
    raw, shown, statuses, meter = _maps(plan, plan.clf, name, batch.images, batch.targets, batch.numbers)
    spent = (time.perf_counter() - begun) * 1000 / len(batch.numbers)
    values = _values(plan, name, batch, raw, shown)
    return _Tally(
        list(batch.names),
        {m: Values().update(values[m]) for m in plan.metrics},
        Counter(s for s in statuses if s in DEGENERATE),
        meter,
        [spent],
    )


def _maps(
    plan: Plan,
    clf: Classifier,
    name: str,
    images: Tensor,
    targets: list[int] | None,
    numbers: Sequence[int],
) -> tuple[Tensor, Tensor, Sequence[str], Meter]:
    """Raw and display maps, their status and what they cost."""
    if name in METHODS:
        options = plan.options.get(name, {})
        clf = plan.judge if clf is plan.clf and METHODS[name].needs == "scores" else clf
        found = saliency(clf, images, targets, method=name, seed=plan.seed, **options)
        return found.raw, found.display, found.status, found.passes
    size = (int(images.shape[2]), int(images.shape[3]))
    if name in DERIVED:
        row = DERIVED[name]
        raw, _, _, meter = _maps(plan, clf, row.of, images, targets, numbers)
        shown, statuses = row.change(raw, size)
        return shown if knows_nothing(name) else raw, shown, statuses, meter  # its places are those of its origin
    random = {"seed": plan.seed} if name == "random" else {}
    rows = [CONTROLS[name](1, size, **random, **({"first": n} if random else {})) for n in numbers]
    shown = torch.cat(rows)
    return shown, shown, map_status(shown), Meter()


# --------------------------------------------------------------------------------------------------
# Metrics.


def _values(plan: Plan, name: str, batch: Batch, raw: Tensor, shown: Tensor) -> dict[str, Tensor]:
    """Per-picture values (n,) of every asked metric, for maps of one method."""

    def explain(images: Tensor, targets: Tensor | None) -> Tensor:
        asked = None if targets is None else targets.tolist()
        return _maps(plan, plan.clf, name, images, asked, batch.numbers)[1]

    inputs = {
        "probabilities": plan.judge.probabilities, "images": batch.images, "maps": shown, "known": batch.known,
        "targets": batch.known.targets, "explain": explain, **(vars(batch.truth) if batch.truth else {}),
    }  # fmt: skip
    case = Case(inputs, plan.settings)
    out = values_of([m for m in plan.metrics if METRICS[m].kind != "sanity"], case)
    return out | {m: _sane(plan, m, name, batch, raw) for m in plan.metrics if METRICS[m].kind == "sanity"}


def _sane(plan: Plan, metric: str, name: str, batch: Batch, raw: Tensor) -> Tensor:
    """The sanity metrics on raw maps: of random weights, of another class, of the picture with noise.

    NaN for the pictures that they are not asked about. For l-cam, random weights are those of the classifier: the same
    head reads their features.
    """
    out = torch.full((len(batch.numbers),), torch.nan, dtype=torch.float64)
    at = [i for i, n in enumerate(batch.numbers) if n in plan.sane[name]]
    if not at:
        return out
    if batch.known.targets is None:
        raise UsageError(f"{metric} needs a classifier of several classes")
    part, own = batch.part(at), raw[at]
    if knows_nothing(name):  # it does not look at what these metrics change: every rank stays
        flat = torch.tensor([status != "ok" for status in map_status(own)])
        out[at] = torch.ones(len(at), dtype=torch.float64).masked_fill(flat, torch.nan)
        return out
    out[at] = values_of([metric], Case(_experiments(plan, name, part, own), plan.settings))[metric].cpu()
    return out


def _experiments(plan: Plan, name: str, part: Batch, own: Tensor) -> dict[str, Any]:
    """The inputs of sanity metrics; `own` are the maps of these pictures, which nobody asks for twice."""
    clf, targets = plan.clf, part.known.targets

    def explain(images: Tensor, asked: Tensor) -> Tensor:
        if images is part.images and asked is targets:
            return own
        return _maps(plan, clf, name, images, asked.tolist(), part.numbers)[0]

    def explain_with(net: nn.Module) -> Tensor:
        if net is clf.net:
            return own
        twin = replace(clf, net=net, layer=clf.point.path, _points={})
        return _maps(plan, twin, name, part.images, part.targets, part.numbers)[0]

    return {
        "net": clf.net, "explain_with": explain_with, "explain": explain, "images": part.images, "maps": own,
        "targets": targets, "classes": len(clf.class_names), "probabilities": plan.judge.probabilities,
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------


def _evaluation(
    plan: Plan, tallies: Mapping[str, _Tally], failures: list[tuple[str, str]], notes: Sequence[str]
) -> Evaluation:
    told: dict[str, str | float] = {"target": str(plan.target), **asdict(plan.how)}
    if any("rise" in METRICS[m].conventions for m in plan.metrics):
        told["rise that counts"] = f"{RISE:g} of the score"
    for method, given in plan.options.items():
        if method in tallies:
            told |= {f"{method} {k}": str(v).removeprefix(f"{method} {k} ") for k, v in given.items()}
    told["truth"] = ", ".join(plan.names) or "all that is marked"
    return Evaluation(
        plan.clf.name or type(plan.clf.net).__name__,
        plan.clf.fingerprint,
        tuple(column(m, plan.how) for m in plan.metrics),
        tuple(_row(plan, name, t) for name, t in tallies.items() if t.pictures),
        told,
        tuple(failures),
        tuple(notes),
        plan.seed,
    )


def column(metric: str, how: Conventions = USUAL) -> Column:
    """The column of a metric, with the conventions that it was measured by."""
    row = METRICS[metric]
    told = dict(row.conventions)
    said: dict[str, str | float] = asdict(how)
    said["fill"] = said[row.fill]
    told |= {k: v for k, v in said.items() if k in told}
    return Column(metric, row.unit, row.higher_is_better, row.summary, told)


def _row(plan: Plan, name: str, tally: _Tally) -> Row:
    count = len(tally.pictures)
    return Row(
        name,
        is_control(name),
        tuple(tally.pictures),
        {m: cell(v, seed=plan.seed) for m, v in tally.values.items()},
        dict(sorted(tally.degenerate.items())),
        tally.meter.forward_passes / count,
        tally.meter.tail_passes / count,
        float(np.median(tally.milliseconds)),
    )
