"""How true the sentences of `saywhy.explain` are: each claim on birds held against the scene rendered again.

One row for a way to explain, one column for a question. Shares are over claims, causes or pictures, as the column
says, with their Wilson interval. Everything is read from the public record, whichever way the regions were found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from saywhy.aviary import Rendered, Sample, render, sample
from saywhy.aviary.sampling import label
from saywhy.classifier import Classifier
from saywhy.errors import UsageError, unknown
from saywhy.evaluate.aviary_benchmark import PICTURES, SPOILED
from saywhy.evaluate.claims_of import DISTURBANCES, Disturbance, claims_of, masks_of, pieces_of, said_again
from saywhy.evaluate.part_effects import Spoiled, edition_told, marked, spoiled_birds, view, without_shortcut
from saywhy.evaluate.result import Cell, Column, Evaluation, Row, cell
from saywhy.evaluate.runner import Progress
from saywhy.evaluate.scene_truth import (
    CAUSE,
    COVERED,
    ENOUGH,
    HELD,
    JUDGES,
    NOTHING,
    OVERLAP,
    Case,
    Cause,
    SceneTruth,
    Verdict,
    causes,
    judge,
    rank,
    truth_of_scene,
)
from saywhy.explainer import Explainer, explain
from saywhy.explanation import Explanation
from saywhy.metrics import Values, wilson

DISTURBED = 40  # pictures that are explained again after each disturbance
OUTSIDE = 0.75  # of a region's pixels outside the bird: what it says, it says of the surroundings
# Options of `saywhy.explain`, by the row's name.
WAYS: dict[str, dict[str, Any]] = {"explain": {}, "fast": {"fast": True}}

Explained = Callable[[np.ndarray[Any, np.dtype[np.uint8]], int], Explanation]  # of pixels (H, W, 3) and a seed


@dataclass(frozen=True, eq=False)
class Judged:
    """One bird: its explanation, the truth, every claim's verdict, and the causes that a text should name."""

    explanation: Explanation
    truth: SceneTruth
    verdicts: tuple[Verdict, ...]
    causes: tuple[Cause, ...]

    def of(self, kind: str) -> list[Verdict]:
        """The verdicts on claims of a kind."""
        return [v for v in self.verdicts if v.told.kind == kind]


Found = Callable[[Judged], Sequence[float]]


@dataclass(frozen=True)
class Question:
    """A column, what a judged bird contributes to it, and how the contributions of all become a cell."""

    column: Column
    values: Found
    cell: Callable[[Sequence[Sequence[float]], int], Cell]


# --------------------------------------------------------------------------------------------------
# From the contributions of all pictures to a cell.


def _share(found: Sequence[Sequence[float]], seed: int) -> Cell:
    """The share in per cent of all claims, causes or pictures together; `values` are those of each picture."""
    every = [v for values in found for v in values]
    interval = wilson(round(sum(every)), len(every))
    each = tuple(100 * sum(v) / len(v) if v else math.nan for v in found)
    return Cell(
        100 * interval.mean, 100 * interval.low, 100 * interval.high, len(every), sum(not v for v in found), each
    )


def _median(found: Sequence[Sequence[float]], seed: int) -> Cell:
    """The median with the interval that its order statistics give."""
    every = np.sort([v for values in found for v in values])
    n, each = len(every), tuple(float(np.median(v)) if len(v) else math.nan for v in found)
    if not n:
        return Cell(math.nan, math.nan, math.nan, 0, len(found), each)
    half = 0.98 * n**0.5
    low, high = (float(every[min(n - 1, max(0, round(i)))]) for i in (n / 2 - half, n / 2 + half))
    return Cell(float(np.median(every)), low, high, n, sum(not len(v) for v in found), each)


def _mean(found: Sequence[Sequence[float]], seed: int) -> Cell:
    """The mean over the pictures with its bootstrap interval."""
    return cell(Values(tuple(v[0] if v else math.nan for v in found)), seed=seed)


# --------------------------------------------------------------------------------------------------
# The questions.


def _shares(name: str, of: str, better: bool, summary: str, values: Found) -> Question:
    return Question(Column(name, "%", better, summary, {"share of": of}), values, _share)


def _of_kind(kind: str) -> Question:
    what = (
        f"false claims that {JUDGES[kind].of}" if kind == "counts" else f"false claims of the kind: {JUDGES[kind].of}"
    )
    return _shares(f"false-{kind}", "claims", False, what, lambda j: [v.false for v in j.of(kind)])


def _strict(truth: str, summary: str) -> Question:
    return _shares(
        f"counts-{truth}", "claims", False, f"claims that a region counts which are false by {summary} alone",
        lambda j: [v.strict[truth] for v in j.of("counts")],
    )  # fmt: skip


def _widths(j: Judged) -> list[float]:
    told = [v.told for v in j.of("counts") if v.told.unit == "probability"]
    return [100 * (t.high - t.low) for t in told if t.high is not None and t.low is not None]


_POINTS, _CAUSE = round(100 * NOTHING), round(100 * CAUSE)
_CAUSES = f"parts whose removal costs more than {_CAUSE} points"

QUESTIONS: dict[str, Question] = {q.column.name: q for q in (
    _shares("false", "claims", False, "false claims of all kinds: no truth that the kind has bears them out",
            lambda j: [v.false for v in j.verdicts]),
    _shares("false-pictures", "pictures", False, "pictures with a false claim",
            lambda j: [any(v.false for v in j.verdicts)]),
    _shares("false-but-bare", "claims", False, "false claims of all kinds, but for those that are true of the bare "
            "body (no part)", lambda j: [v.false and not v.bare for v in j.verdicts]),
    *(_of_kind(kind) for kind in JUDGES),
    _strict("ideal", "the region's pixels taken from the scene without what it touches"),
    _strict("joint", f"the removal of all parts of which it covers {COVERED:.0%}"),
    _strict("single", "the removal of any one of these parts"),
    _shares("missed", "causes", False, f"{_CAUSES}, and less than half of whose pixels lies in regions said to count",
            lambda j: [c.said[0] < HELD for c in j.causes]),
    _shares("missed-iou", "causes", False, f"{_CAUSES}, and that no region said to count matches (IoU {OVERLAP})",
            lambda j: [c.said[1] < OVERLAP for c in j.causes]),
    _shares("unfound", "causes", False, f"{_CAUSES}, and less than half of which lies in any region",
            lambda j: [c.found[0] < HELD for c in j.causes]),
    _shares("unfound-iou", "causes", False, f"{_CAUSES}, and that no region matches (IoU {OVERLAP})",
            lambda j: [c.found[1] < OVERLAP for c in j.causes]),
    _shares("missed-pictures", "pictures", False, "pictures with a cause of which at least one is missed",
            lambda j: [any(c.said[0] < HELD for c in j.causes)] if j.causes else []),
    _shares("covered", "intervals", True, "intervals of what a region counts that hold the loss by ideal hiding",
            lambda j: [v.covers for v in j.of("counts") if v.covers is not None]),
    Question(Column("width", "points", None, "median width of these intervals"), _widths, _median),
    Question(Column("rank", "correlation", True, "Spearman over parts between the regions' contributions shared out by "
                    f"overlap and the removal effects, where some part has {_POINTS} points"),
             lambda j: [rank(j.truth)], _mean),
    Question(Column("claims", "claims", None, "claims about regions a picture"), lambda j: [len(j.verdicts)], _mean),
    _shares("wordless", "pictures", False, "pictures without any claim about a region",
            lambda j: [not any(v.told.regions for v in j.verdicts)]),
    Question(Column("passes", "passes", False, "median forward passes of an explanation"),
             lambda j: [j.explanation.cost.forward_passes], _median),
)}  # fmt: skip

AGAIN = {
    f"kept-{name}": Column(f"kept-{name}", "%", True, f"claims that are made again: {how.summary}",
                           {"share of": "claims"})
    for name, how in DISTURBANCES.items()
}  # fmt: skip

BLAMED = {
    "shortcut-named": Column(
        "shortcut-named", "%", True, "pictures in which a planted shortcut decides (half of the probability goes with "
        "it) and the text says so: a region said to count is the watermark or lies outside the bird, or the "
        "surroundings decide", {"share of": "pictures"},
    ),
    "shortcut-blamed": Column(
        "shortcut-blamed", "%", False, "pictures with a shortcut that does not decide, and the text says that it does",
        {"share of": "pictures"},
    ),
}  # fmt: skip

SENTENCE_COLUMNS: dict[str, Column] = {name: q.column for name, q in QUESTIONS.items()} | AGAIN | BLAMED


# --------------------------------------------------------------------------------------------------
# Judging.


def judged(clf: Classifier, rendered: Rendered, e: Explanation) -> Judged:
    """The explanation of a rendered bird, held against its scene."""
    case = Case(
        rendered, e.target.class_index, None if e.versus is None else e.versus.class_index, masks_of(e),
        claims_of(e), np.array([c.contribution for c in e.concepts]), pieces_of(e),
    )  # fmt: skip
    t = truth_of_scene(clf, case)
    said = {i for told in case.told if told.kind == "counts" for i in told.regions}
    return Judged(e, t, tuple(judge(t, told) for told in case.told), tuple(causes(t, sorted(said))))


def shortcut_decides(clf: Classifier, case: Spoiled) -> bool:
    """Whether half of the probability goes with the shortcut (the median over other backgrounds)."""
    rendered = case.bird.rendered
    scenes = [rendered, *(render(s) for s in without_shortcut(rendered.scene, case.fault))]
    p = clf.probabilities(view(clf, scenes))[:, case.bird.target].double()
    return float(p[1:].median() / p[0]) < ENOUGH


def names_shortcut(case: Spoiled, e: Explanation) -> bool:
    """Whether the text says that the shortcut counts: see `BLAMED`."""
    rendered, masks, told = case.bird.rendered, masks_of(e), claims_of(e)
    counted = [masks[i] for t in told if t.kind == "counts" for i in t.regions]
    if case.fault == "watermark":
        spot = marked(rendered)
        return any(float((m & spot).sum() / (m | spot).sum()) >= OVERLAP for m in counted)
    outside = any(float(rendered.background_mask[m].mean()) >= OUTSIDE for m in counted)
    return outside or any(t.kind in ("decides", "suffices") for t in told)


def evaluate_sentences(
    clf: Classifier,
    ways: Sequence[str] = ("explain",),
    metrics: Sequence[str] = tuple(SENTENCE_COLUMNS),
    *,
    explainer: Explainer | None = None,
    limit: int = PICTURES,
    disturbed: int = DISTURBED,
    spoiled: int = SPOILED,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Judges the sentences of `saywhy.explain` on a classifier of the aviary's species (rows of `SENTENCE_COLUMNS`).

    `limit` test pictures are asked; those that the classifier gets wrong are left out and counted. The first
    `disturbed` of them are explained again after each disturbance; `spoiled` pictures are made for each shortcut.

    Raises:
        UsageError: a classifier of other classes or one that names no bird, an unknown way or metric.
    """
    edition = edition_told(clf)
    for name in metrics:
        if name not in SENTENCE_COLUMNS:
            raise unknown("metric of sentences", name, SENTENCE_COLUMNS)
    for name in ways:
        if name not in WAYS:
            raise unknown("way to explain", name, WAYS)
    tell = progress or (lambda done, total, text: None)
    birds = [r for one in islice(_samples(seed, edition), limit) if (r := _named(clf, one)) is not None]
    if not birds:
        raise UsageError(f"{clf.name or 'the model'} names none of {limit} birds; there is nothing to explain")
    rows = tuple(
        _row(clf, way, explainer, birds, metrics, disturbed, spoiled, seed, lambda text, n=n: tell(n, len(ways), text))  # type: ignore[misc]
        for n, way in enumerate(ways)
    )
    return Evaluation(
        clf.name or "the model", clf.fingerprint, tuple(SENTENCE_COLUMNS[m] for m in metrics), rows,
        {"nothing": f"{_POINTS} points or less", "cause": f"more than {_CAUSE} points", "target": "predicted"},
        notes=(f"{len(birds)} of {limit} test birds are named rightly and explained.",), seed=seed,
    )  # fmt: skip


def _samples(seed: int, edition: str) -> Iterator[Sample]:
    """The test pictures of a seed, in order."""
    wanted = (i for i in count() if label(seed, i, edition=edition)[1] == "test")
    return (sample(seed, i, edition=edition) for i in wanted)


def _named(clf: Classifier, one: Sample) -> Rendered | None:
    """The bird if the classifier names it."""
    rendered = render(one.scene)
    best = int(clf.probabilities(view(clf, [rendered]))[0].argmax())
    return rendered if clf.class_names[best] == one.species else None


def _row(
    clf: Classifier,
    way: str,
    explainer: Explainer | None,
    birds: Sequence[Rendered],
    metrics: Sequence[str],
    disturbed: int,
    spoiled: int,
    seed: int,
    tell: Callable[[str], None],
) -> Row:
    def explained(pixels: np.ndarray[Any, np.dtype[np.uint8]], seed: int) -> Explanation:
        return explain(clf, pixels, explainer=explainer, seed=seed, **WAYS[way])

    found = []
    for n, rendered in enumerate(birds):
        tell(f"{way}: bird {n + 1} of {len(birds)}")
        found.append(judged(clf, rendered, explained(rendered.pixels, seed)))
    cells = {m: q.cell([q.values(j) for j in found], seed) for m, q in QUESTIONS.items() if m in metrics}
    for name, how in DISTURBANCES.items():
        if f"kept-{name}" in metrics:
            tell(f"{way}: {how.summary}")
            cells[f"kept-{name}"] = _kept(explained, found[:disturbed], how, seed + (name == "seed"))
    if any(m in metrics for m in BLAMED):
        tell(f"{way}: planted shortcuts")
        cells |= _blamed(clf, explained, spoiled, seed)
    cost = [j.explanation.cost for j in found]
    names = tuple(f"seed {seed} bird {n}" for n in range(len(birds)))
    return Row(
        way, False, names, {m: cells[m] for m in metrics}, {},
        float(np.mean([c.forward_passes for c in cost])), float(np.mean([c.tail_passes for c in cost])),
        1000 * float(np.median([c.seconds for c in cost])),
    )  # fmt: skip


def _kept(explained: Explained, found: Sequence[Judged], how: Disturbance, seed: int) -> Cell:
    again = [explained(how.changed(j.truth.case.rendered.pixels), seed) for j in found]
    return _share([said_again(j.explanation, e, how) for j, e in zip(found, again, strict=True)], seed)


def _blamed(clf: Classifier, explained: Explained, spoiled: int, seed: int) -> dict[str, Cell]:
    cases = [s for fault in ("watermark", "context") for s in spoiled_birds(clf, fault, spoiled, seed)]
    real = [shortcut_decides(clf, s) for s in cases]
    named = [names_shortcut(s, explained(s.bird.rendered.pixels, seed)) for s in cases]
    chosen = {"shortcut-named": True, "shortcut-blamed": False}
    return {m: _share([[n] for n, r in zip(named, real, strict=True) if r is of], seed) for m, of in chosen.items()}
