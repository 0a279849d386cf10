"""The metrics table: one row a metric, called alike by name.

A row's function takes the inputs that the row lists, by keyword, and gives one float64 value per sample (N,),
NaN where a sample has none; its other keywords are the conventions, with the row's as defaults.

    row = METRICS["ad50"]
    values = Values().update(row.function(probabilities=clf.probabilities, images=x, maps=display, targets=None))
    values.value(), values.undefined, values.interval(seed=0)

Several metrics of the same maps share what they measure (`shares`), if they are asked together:

    case = Case({"probabilities": clf.probabilities, "images": x, "maps": display, "targets": None}, {"steps": 8})
    values_of(["ad50", "ic50", "insertion", "insertion-deletion"], case)["ad50"]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from torch import Tensor

from saywhy.errors import UsageError, unknown
from saywhy.metrics.complexity import entropy, gini
from saywhy.metrics.controls import CONTROLS
from saywhy.metrics.curves import deletion, insertion, insertion_minus_deletion
from saywhy.metrics.faithfulness import (
    RISE,
    adcc,
    average_drop,
    average_gain,
    increase_in_confidence,
    mean_value,
)
from saywhy.metrics.localisation import epg, hit_rate, iou, nra, pck, pointing
from saywhy.metrics.maps import box_masks, check_maps, equalise, map_status
from saywhy.metrics.masking import Hiding, Reference, reference
from saywhy.metrics.running import Mean, Values
from saywhy.metrics.sanity import cascade, label_randomisation, noise_stability, weight_randomisation
from saywhy.metrics.shared import Case, Kept, Measurement, deletion_scores, insertion_scores, whole
from saywhy.metrics.statistics import Interval, bootstrap, bootstrap_difference, pearson, spearman, wilson

Kind = Literal["faithfulness", "localisation", "sanity", "complexity"]
Needs = Literal["model", "truth", "both", "map"]
Flat = Literal["scored", "chance", "undefined"]


@dataclass(frozen=True)
class Row:
    """One metric: what to call, with what, and how to read the answer.

    `needs`: the model, a person's truth, both, or the map alone; `inputs`: the keywords to give; `passes`: the images
    shown to the classifier for each picture, the whole one apart; `low` and `high`: the range; `flat`: what a map of
    one value gets (the value it earns, what chance earns, or none); `higher_is_better` is None where neither end is
    good in itself. `shares` names measurements that other rows may read too, by the keyword of the function that gets
    their results; `fill` the setting of an evaluation that the function's own `fill` is.
    """

    function: Callable[..., Tensor]
    kind: Kind
    higher_is_better: bool | None
    needs: Needs
    inputs: tuple[str, ...]
    conventions: Mapping[str, str | float]
    summary: str
    source: str
    passes: str
    unit: Literal["%", "share", "correlation"] = "share"
    low: float = 0.0
    high: float = 1.0
    flat: Flat = "undefined"
    shares: Mapping[str, Measurement] = field(default_factory=dict)
    fill: Literal["fill", "insertion_fill"] = "fill"

    @cached_property
    def options(self) -> frozenset[str]:
        """The function's keywords beside inputs and shared measurements: the conventions that can be given by name."""
        parameters = inspect.signature(self.function).parameters.values()
        named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        hiding = Hiding.__annotations__ if any(p.kind is p.VAR_KEYWORD for p in parameters) else ()
        return frozenset(named.union(hiding).difference(self.inputs, self.shares))


MASKED = ("probabilities", "images", "maps", "targets")
_HIDING = {"fill": "black", "masking": "before"}
_LCAM = "Chattopadhay et al. 2018; L-CAM, Eq. 10-11"


def _kept_rows(nu: int, ranked: bool) -> dict[str, Row]:
    """AD, IC and AG at one nu; `ranked` gives every map the same values, so that area counts for nothing."""
    suffix = "-ranked" if ranked else ""
    how = f"top {nu} % of pixels" + (", values equalised by rank" if ranked else "")
    fixed: dict[str, Any] = {"nu": nu, "equalised": ranked}
    shares: dict[str, Measurement] = {"known": whole, "kept": Kept(nu, ranked)}
    told = {**_HIDING, "nu": nu, "values": "linear ramp of ranks" if ranked else "the map's own"}

    def row(function: Callable[..., Tensor], better: bool, told: dict[str, Any], summary: str, source: str) -> Row:
        return Row(
            partial(function, **fixed), "faithfulness", better, "model", MASKED, told, f"{summary} ({how})", source,
            passes="1", unit="%", high=100.0, flat="scored", shares=shares,
        )  # fmt: skip

    return {
        f"ad{nu}{suffix}": row(average_drop, False, {**told, "drop": "relative"}, "average drop of the score", _LCAM),
        f"ic{nu}{suffix}": row(
            increase_in_confidence, True, {**told, "rise": RISE}, "how often the score rises", _LCAM
        ),
        f"ag{nu}{suffix}": row(average_gain, True, told, "average gain of the score", "Opti-CAM, arXiv 2301.07002"),
    }


def _pck_row(alpha: float) -> Row:
    return Row(
        partial(pck, alpha=alpha), "localisation", True, "truth", ("maps", "keypoints", "sizes"),
        {"alpha": alpha, "size": "longer side of the box"},
        f"the highest pixel within {alpha:g} of the object's size of the keypoint",
        "Guo et al., table 1; Yang and Ramanan 2013", passes="0", flat="chance",
    )  # fmt: skip


_RISE = "RISE, arXiv 1806.07421"
_CEFAM = "CE-FAM, normalised region accuracy"
_PLACE = ("maps", "masks")

METRICS: dict[str, Row] = {
    **_kept_rows(100, False),
    **_kept_rows(50, False),
    **_kept_rows(15, False),
    **_kept_rows(100, True),
    **_kept_rows(50, True),
    **_kept_rows(15, True),
    "adcc": Row(
        adcc, "faithfulness", True, "model", (*MASKED, "explain"), {**_HIDING, "coherency": "(Pearson + 1) / 2"},
        "harmonic mean of coherency, simplicity and kept score", "Poppi et al., arXiv 2104.10252",
        passes="1, and a map of the masked image", shares={"known": whole, "kept": Kept()},
    ),
    "insertion": Row(
        insertion, "faithfulness", True, "model", MASKED, {"fill": "image-blur", "masking": "before", "steps": 32},
        "area under the score while pixels appear, highest first", _RISE,
        passes="1 a step", shares={"curve": insertion_scores}, fill="insertion_fill",
    ),
    "deletion": Row(
        deletion, "faithfulness", False, "model", MASKED, {**_HIDING, "steps": 32},
        "area under the score while pixels vanish, highest first", _RISE,
        passes="1 a step", shares={"curve": deletion_scores},
    ),
    "insertion-deletion": Row(
        insertion_minus_deletion, "faithfulness", True, "model", MASKED,
        {**_HIDING, "insertion_fill": "image-blur", "steps": 32},
        "insertion minus deletion", _RISE, low=-1.0,
        passes="2 a step", shares={"inserted": insertion_scores, "deleted": deletion_scores},
    ),
    "mean-value": Row(
        mean_value, "complexity", None, "map", ("maps",), {},
        "mean of the display map: the area that AD and IC reward", "Poppi et al., arXiv 2104.10252",
        passes="0", flat="scored",
    ),
    "entropy": Row(
        entropy, "complexity", False, "map", ("maps",), {"log": "over log of the number of pixels"},
        "entropy of the map as a distribution", "Bhatt et al., arXiv 2005.00631", passes="0", flat="scored",
    ),
    "gini": Row(
        gini, "complexity", True, "map", ("maps",), {},
        "Gini index: how few pixels hold the map's sum", "Chalasani et al., arXiv 1810.06583",
        passes="0", flat="scored",
    ),
    "epg": Row(
        epg, "localisation", True, "truth", _PLACE, {"normalise": "minmax"},
        "share of the map's sum inside the mask or box", "Score-CAM, arXiv 1910.01279", passes="0", flat="chance",
    ),
    "nra": Row(
        nra, "localisation", True, "truth", _PLACE, {"chance": "exact"},
        "region accuracy over all cuts, 0 is chance and 1 ideal", _CEFAM, low=-1.0, passes="0", flat="chance",
    ),
    "nra-published": Row(
        partial(nra, chance="published"), "localisation", True, "truth", _PLACE, {"chance": "published"},
        "the same with the published floor, where a random map scores .09 to .17", _CEFAM, passes="0", flat="chance",
    ),
    "hit-rate": Row(
        hit_rate, "localisation", True, "truth", _PLACE, {"chance": "exact", "above": 0.5},
        "how often NRA exceeds one half", _CEFAM, passes="0", flat="chance",
    ),
    "hit-rate-published": Row(
        partial(hit_rate, chance="published"), "localisation", True, "truth", _PLACE,
        {"chance": "published", "above": 0.5}, "the same of the published NRA", _CEFAM, passes="0", flat="chance",
    ),
    "pointing": Row(
        pointing, "localisation", True, "truth", _PLACE, {"tolerance": 0.0},
        "the highest pixel lies inside the mask", "Zhang et al., arXiv 1608.00507", passes="0", flat="chance",
    ),
    "pck@0.1": _pck_row(0.1),
    "pck@0.2": _pck_row(0.2),
    "pck@0.3": _pck_row(0.3),
    "iou": Row(
        iou, "localisation", True, "truth", _PLACE, {"threshold": 0.5, "of": "the map's maximum"},
        "overlap of the mask and the map cut at half its maximum", "Zhou et al., arXiv 1512.04150",
        passes="0", flat="chance",
    ),
    "weight-randomisation": Row(
        weight_randomisation, "sanity", False, "model", ("net", "explain_with"), {"redraw": "permute"},
        "rank correlation with the maps of a network of random weights", "Adebayo et al., arXiv 1810.03292",
        passes="0, and a map", unit="correlation", low=-1.0,
    ),
    "label-randomisation": Row(
        label_randomisation, "sanity", False, "model", ("explain", "images", "targets", "classes"), {"draws": 1},
        "rank correlation with the maps of another class", "after Adebayo et al., arXiv 1810.03292",
        passes="0, and a map", unit="correlation", low=-1.0,
    ),
    "noise-stability": Row(
        noise_stability, "sanity", True, "model", ("explain", "images", "targets"), {"sigma": 0.05, "draws": 4},
        "rank correlation with the maps of the image with noise", "Alvarez-Melis and Jaakkola, arXiv 1806.08049",
        passes="0, and 4 maps", unit="correlation", low=-1.0,
    ),
}  # fmt: skip


def metric(name: str) -> Row:
    """The row of that name.

    Raises:
        UsageError: there is none; the nearest names are told.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def values_of(names: Iterable[str], case: Case) -> dict[str, Tensor]:
    """Values (N,) float64 by metric; what several of their rows read is measured once.

    Raises:
        UsageError: an unknown metric, or one with an input that the case does not have.
    """
    return {name: _value(name, metric(name), case) for name in names}


def _value(name: str, row: Row, case: Case) -> Tensor:
    lacking = [key for key in row.inputs if key not in case.inputs]
    if lacking:
        raise UsageError(f"{name} lists the input {lacking[0]!r}; what can be had here is {', '.join(case.inputs)}")
    settings = {key: v for key, v in case.settings.items() if key != "fill"} | case.hiding(row.fill)
    given = {key: case.inputs[key] for key in row.inputs}
    given |= {key: case.measured(what) for key, what in row.shares.items()}
    return row.function(**given, **{key: v for key, v in settings.items() if key in row.options})


__all__ = [
    "CONTROLS",
    "METRICS",
    "Case",
    "Interval",
    "Kept",
    "Mean",
    "Reference",
    "Row",
    "Values",
    "bootstrap",
    "bootstrap_difference",
    "box_masks",
    "cascade",
    "check_maps",
    "deletion_scores",
    "equalise",
    "insertion_scores",
    "map_status",
    "metric",
    "pearson",
    "reference",
    "spearman",
    "values_of",
    "whole",
    "wilson",
]
