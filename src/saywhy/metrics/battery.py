"""All faithfulness metrics of one method's maps at once, sharing the forward passes they have in common.

Average drop, increase and gain of one nu read one pass; ADCC reads the one at nu = 100; insertion minus deletion
reads both curves. The whole images are measured once for all methods: give `known`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from torch import Tensor

from saywhy.metrics.curves import area, deletion_curve, insertion_curve
from saywhy.metrics.faithfulness import RISE, Drop, Explain, adcc, drop, gain, increase, kept_scores, mean_value
from saywhy.metrics.maps import check_maps, equalise
from saywhy.metrics.masking import Fill, Hiding, Probabilities, Reference, reference

NUS = (100.0, 50.0, 15.0)


@dataclass(frozen=True)
class Faithfulness:
    """Per-sample values (N,) float64 by the names of the METRICS table, and what they cost.

    `passes` counts the images shown to the classifier, those of `explain` apart; `conventions` says how.
    """

    values: dict[str, Tensor]
    passes: int
    conventions: dict[str, str | float]


def faithfulness_all(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | None = None,
    *,
    nus: Sequence[float] = NUS,
    equalised: bool = True,
    curves: bool = True,
    steps: int = 32,
    insertion_fill: Fill = "blur",
    kind: Drop = "relative",
    rise: float = RISE,
    explain: Explain | None = None,
    known: Reference | None = None,
    **hiding: Unpack[Hiding],
) -> Faithfulness:
    """Measures mean-value, ad/ic/ag at each nu (also `-ranked`), insertion, deletion, their difference, adcc.

    Passes an image: 1 unless `known`, len(nus), as many again if `equalised`, 2 * `steps` if `curves`, and one
    explanation if `explain` is given (without it there is no "adcc"). Options as in the single metrics.
    """
    check_maps(maps, images=images)
    seen = 0

    def counted(batch: Tensor) -> Tensor:
        nonlocal seen
        seen += len(batch)
        return probabilities(batch)

    whole = known or reference(counted, images, targets, batch_size=hiding.get("batch_size", 16))
    values = {"mean-value": mean_value(maps)}
    kept = None
    variants = {"": maps} | ({"-ranked": equalise(maps)} if equalised else {})
    for suffix, shown in variants.items():
        for nu in nus:
            q = kept_scores(counted, images, shown, whole, nu=nu, **hiding)
            values[f"ad{nu:g}{suffix}"] = drop(whole.scores, q, kind=kind)
            values[f"ic{nu:g}{suffix}"] = increase(whole.scores, q, rise=rise)
            values[f"ag{nu:g}{suffix}"] = gain(whole.scores, q)
            kept = q if nu == 100 and not suffix else kept
    if curves:
        values |= _curves(counted, images, maps, whole, steps, insertion_fill, hiding)
    if explain is not None:
        values["adcc"] = adcc(counted, images, maps, explain=explain, known=whole, kept=kept, **hiding)
    return Faithfulness(values, seen, _conventions(kind, rise, steps, insertion_fill, hiding))


def _curves(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    whole: Reference,
    steps: int,
    insertion_fill: Fill,
    hiding: Hiding,
) -> dict[str, Tensor]:
    inserting: Hiding = {**hiding, "fill": insertion_fill}
    pixels = int(maps.shape[-2] * maps.shape[-1])
    gained = area(insertion_curve(probabilities, images, maps, whole, steps=steps, **inserting), pixels=pixels)
    lost = area(deletion_curve(probabilities, images, maps, whole, steps=steps, **hiding), pixels=pixels)
    return {"insertion": gained, "deletion": lost, "insertion-deletion": gained - lost}


def _conventions(kind: Drop, rise: float, steps: int, insertion_fill: Fill, hiding: Hiding) -> dict[str, str | float]:
    def name(fill: Fill) -> str:
        return fill if isinstance(fill, str) else "given"

    return {
        "fill": name(hiding.get("fill", "black")),
        "insertion_fill": name(insertion_fill),
        "masking": hiding.get("masking", "before"),
        "drop": kind,
        "rise": rise,
        "steps": steps,
    }
