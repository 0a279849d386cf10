"""Ready sets of methods and metrics, and which methods a classifier can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError, unknown
from saywhy.evaluate.annotations import named_truth
from saywhy.evaluate.batches import USUAL
from saywhy.evaluate.derived import DERIVED
from saywhy.metrics import CONTROLS, METRICS
from saywhy.saliency import METHODS, saliency


@dataclass(frozen=True)
class Preset:
    """Methods and metrics that go together; a method may also be a word of `WORDS`.

    `where_possible` are metrics that are left out, with a note, where the pictures or the classifier do not have what
    they need. The limits and the `steps` of the curves are what `evaluate` gets unless the user says otherwise.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    summary: str
    controls: tuple[str, ...] = tuple(CONTROLS)
    where_possible: tuple[str, ...] = ()
    perturbation_limit: int | None = None
    sanity_limit: int | None = None
    steps: int = USUAL.steps


_LCAM = tuple(f"{kind}{nu}" for nu in (100, 50, 15) for kind in ("ad", "ic"))

PRESETS: dict[str, Preset] = {
    "quick": Preset(
        ("grad-cam", "layer-cam", "eigen-cam"),
        ("ad50", "ic50", "ad50-ranked", "mean-value", "deletion"),
        "a first look in seconds",
    ),
    "faithfulness": Preset(
        ("cheap",),
        (*_LCAM, "ad50-ranked", "ic50-ranked", "ag50", "insertion", "deletion", "insertion-deletion", "mean-value"),
        "is what the map marks what the model uses?",
    ),
    "l-cam-table": Preset(
        ("grad-cam", "grad-cam++", "score-cam", "rise"),
        (*_LCAM, "mean-value", *(f"{name}-ranked" for name in _LCAM), "adcc", "insertion", "deletion",
         "insertion-deletion", "epg", "weight-randomisation"),
        "the protocol of the L-CAM paper, and beside it what AD and IC do not show",
        controls=(*CONTROLS, *DERIVED),
        where_possible=("epg", "weight-randomisation"),
        perturbation_limit=5,
        sanity_limit=20,
        steps=8,
    ),
    "localisation": Preset(
        ("cheap",),
        ("epg", "nra", "hit-rate", "pointing", "iou", "mean-value"),
        "does the map lie where a person marked the thing? needs an images.jsonl with masks or boxes",
    ),
    "sanity": Preset(
        ("cheap",),
        ("weight-randomisation", "label-randomisation", "noise-stability"),
        "do the maps depend on the model and on the class, and not on noise?",
    ),
}  # fmt: skip

# What `saywhy eval --aviary` asks; the methods and metrics of a row are those of its own function.
AVIARY_PRESETS = {
    "maps": "do saliency maps and the coalition game point to the parts that count? (the default)",
    "sentences": "are the sentences of `saywhy explain` true when the scene is rendered again?",
}

WORDS = {
    "all": "every method that the classifier can serve",
    "cheap": "those of them that need a few passes a picture, not hundreds",
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def methods_for(clf: Classifier, names: Sequence[str]) -> list[str]:
    """The methods meant by names and `WORDS`, each once; "all" and "cheap" leave out what the classifier cannot serve.

    Raises:
        UsageError: an unknown method.
    """
    out: list[str] = []
    for name in names:
        if name in WORDS:
            chosen = [m for m in METHODS if name == "all" or METHODS[m].cost == "few"]
            out += [m for m in chosen if METHODS[m].needs != "extra:captum" and _serves(clf, m)]
        elif name in METHODS:
            out.append(name)
        else:
            raise unknown("saliency method", name, [*METHODS, *WORDS])
    return list(dict.fromkeys(out))


def metrics_named(names: Sequence[str]) -> list[str]:
    """The names, each once.

    Raises:
        UsageError: an unknown metric.
    """
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    return list(dict.fromkeys(names))


def measurable(
    clf: Classifier, items: Sequence[Item], metrics: Sequence[str], where_possible: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The metrics without those of `where_possible` that cannot be measured here, and a sentence on each of these."""
    lacking = {m: why for m in metrics if m in where_possible and (why := _lacking(clf, items, m))}
    return [m for m in metrics if m not in lacking], [f"{m}: left out, {why}." for m, why in lacking.items()]


def _lacking(clf: Classifier, items: Sequence[Item], metric: str) -> str:
    """What keeps a metric from being measured; nothing if nothing does."""
    row = METRICS[metric]
    if "net" in row.inputs and not clf.white_box:
        return "a black box has no weights to randomise"
    words = {"masks": "masks or boxes", "keypoints": "keypoints"}
    missing = [words[kind] for kind, names in named_truth(items).items() if kind in row.inputs and not names]
    return f"the pictures carry no {' and no '.join(missing)}" if missing else ""


def _serves(clf: Classifier, method: str) -> bool:
    """Tries the method on one grey image; one that asks often needs no more than scores, or maps."""
    if METHODS[method].cost == "many":
        return METHODS[method].needs == "scores" or clf.white_box
    try:
        saliency(clf, torch.full((1, clf.preprocess.planes, *clf.preprocess.size), 0.5), 0, method=method)
    except UsageError:
        return False
    return True
