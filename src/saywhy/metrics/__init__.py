"""The metrics table: one row a metric, called alike by name.

A row's function takes the inputs that the row lists, by keyword, and gives one float64 value per sample (N,),
NaN where a sample has none; its other keywords are the conventions, with the row's as defaults.

    row = METRICS["ad50"]
    values = Values().update(row.function(probabilities=clf.probabilities, images=x, maps=display, targets=None))
    values.value(), values.undefined, values.interval(seed=0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from saywhy.errors import unknown
from saywhy.metrics.battery import Faithfulness, faithfulness_all
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
from saywhy.metrics.masking import Reference, reference
from saywhy.metrics.running import Mean, Values
from saywhy.metrics.sanity import cascade, label_randomisation, noise_stability, weight_randomisation
from saywhy.metrics.statistics import Interval, bootstrap, bootstrap_difference, pearson, spearman

Kind = Literal["faithfulness", "localisation", "sanity", "complexity"]
Needs = Literal["model", "truth", "both", "map"]
Flat = Literal["scored", "chance", "undefined"]


@dataclass(frozen=True)
class Row:
    """One metric: what to call, with what, and how to read the answer.

    `needs`: the model, a person's truth, both, or the map alone; `inputs`: the keywords to give; `low` and
    `high`: the range; `flat`: what a map of one value gets (the value it earns, what chance earns, or none);
    `higher_is_better` is None where neither end is good in itself.
    """

    function: Callable[..., Tensor]
    kind: Kind
    higher_is_better: bool | None
    needs: Needs
    inputs: tuple[str, ...]
    conventions: Mapping[str, str | float]
    summary: str
    source: str
    unit: Literal["%", "share", "correlation"] = "share"
    low: float = 0.0
    high: float = 1.0
    flat: Flat = "undefined"


MASKED = ("probabilities", "images", "maps", "targets")
_HIDING = {"fill": "black", "masking": "before"}
_LCAM = "Chattopadhay et al. 2018; L-CAM, Eq. 10-11"


def _kept_rows(nu: int, ranked: bool) -> dict[str, Row]:
    """AD, IC and AG at one nu; `ranked` gives every map the same values, so that area counts for nothing."""
    suffix = "-ranked" if ranked else ""
    how = f"top {nu} % of pixels" + (", values equalised by rank" if ranked else "")
    fixed: dict[str, Any] = {"nu": nu, "equalised": ranked}
    told = {**_HIDING, "nu": nu, "values": "linear ramp of ranks" if ranked else "the map's own"}

    def row(function: Callable[..., Tensor], better: bool, told: dict[str, Any], summary: str, source: str) -> Row:
        return Row(
            partial(function, **fixed), "faithfulness", better, "model", MASKED, told, f"{summary} ({how})", source,
            unit="%", high=100.0, flat="scored",
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
        "Guo et al., table 1; Yang and Ramanan 2013", flat="chance",
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
    ),
    "insertion": Row(
        insertion, "faithfulness", True, "model", MASKED, {"fill": "blur", "masking": "before", "steps": 32},
        "area under the score while pixels appear, highest first", _RISE,
    ),
    "deletion": Row(
        deletion, "faithfulness", False, "model", MASKED, {**_HIDING, "steps": 32},
        "area under the score while pixels vanish, highest first", _RISE,
    ),
    "insertion-deletion": Row(
        insertion_minus_deletion, "faithfulness", True, "model", MASKED,
        {**_HIDING, "insertion_fill": "blur", "steps": 32},
        "insertion minus deletion", _RISE, low=-1.0,
    ),
    "mean-value": Row(
        mean_value, "complexity", None, "map", ("maps",), {},
        "mean of the display map: the area that AD and IC reward", "Poppi et al., arXiv 2104.10252", flat="scored",
    ),
    "entropy": Row(
        entropy, "complexity", False, "map", ("maps",), {"log": "over log of the number of pixels"},
        "entropy of the map as a distribution", "Bhatt et al., arXiv 2005.00631", flat="scored",
    ),
    "gini": Row(
        gini, "complexity", True, "map", ("maps",), {},
        "Gini index: how few pixels hold the map's sum", "Chalasani et al., arXiv 1810.06583", flat="scored",
    ),
    "epg": Row(
        epg, "localisation", True, "truth", _PLACE, {"normalise": "minmax"},
        "share of the map's sum inside the mask or box", "Score-CAM, arXiv 1910.01279", flat="chance",
    ),
    "nra": Row(
        nra, "localisation", True, "truth", _PLACE, {"chance": "exact"},
        "region accuracy over all cuts, 0 is chance and 1 ideal", _CEFAM, low=-1.0, flat="chance",
    ),
    "nra-published": Row(
        partial(nra, chance="published"), "localisation", True, "truth", _PLACE, {"chance": "published"},
        "the same with the published floor, where a random map scores .09 to .17", _CEFAM, flat="chance",
    ),
    "hit-rate": Row(
        hit_rate, "localisation", True, "truth", _PLACE, {"chance": "exact", "above": 0.5},
        "how often NRA exceeds one half", _CEFAM, flat="chance",
    ),
    "hit-rate-published": Row(
        partial(hit_rate, chance="published"), "localisation", True, "truth", _PLACE,
        {"chance": "published", "above": 0.5}, "the same of the published NRA", _CEFAM, flat="chance",
    ),
    "pointing": Row(
        pointing, "localisation", True, "truth", _PLACE, {"tolerance": 0.0},
        "the highest pixel lies inside the mask", "Zhang et al., arXiv 1608.00507", flat="chance",
    ),
    "pck@0.1": _pck_row(0.1),
    "pck@0.2": _pck_row(0.2),
    "pck@0.3": _pck_row(0.3),
    "iou": Row(
        iou, "localisation", True, "truth", _PLACE, {"threshold": 0.5, "of": "the map's maximum"},
        "overlap of the mask and the map cut at half its maximum", "Zhou et al., arXiv 1512.04150", flat="chance",
    ),
    "weight-randomisation": Row(
        weight_randomisation, "sanity", False, "model", ("net", "explain_with"), {"redraw": "permute"},
        "rank correlation with the maps of a network of random weights", "Adebayo et al., arXiv 1810.03292",
        unit="correlation", low=-1.0,
    ),
    "label-randomisation": Row(
        label_randomisation, "sanity", False, "model", ("explain", "images", "targets", "classes"), {"draws": 1},
        "rank correlation with the maps of another class", "after Adebayo et al., arXiv 1810.03292",
        unit="correlation", low=-1.0,
    ),
    "noise-stability": Row(
        noise_stability, "sanity", True, "model", ("explain", "images", "targets"), {"sigma": 0.05, "draws": 4},
        "rank correlation with the maps of the image with noise", "Alvarez-Melis and Jaakkola, arXiv 1806.08049",
        unit="correlation", low=-1.0,
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


__all__ = [
    "CONTROLS",
    "METRICS",
    "Faithfulness",
    "Interval",
    "Mean",
    "Reference",
    "Row",
    "Values",
    "bootstrap",
    "bootstrap_difference",
    "box_masks",
    "cascade",
    "check_maps",
    "equalise",
    "faithfulness_all",
    "map_status",
    "metric",
    "pearson",
    "reference",
    "spearman",
]
