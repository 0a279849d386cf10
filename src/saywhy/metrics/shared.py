"""What several metrics read of the same maps: scores of whole and masked images, curves. Each is measured once.

N images, S steps. A measurement is any hashable callable that takes a `Case`; a row of METRICS names those that it
reads in `shares`, by the keyword of its function that gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from saywhy.metrics.curves import deletion_curve, insertion_curve
from saywhy.metrics.faithfulness import kept_scores
from saywhy.metrics.masking import Hiding, Reference, reference


@dataclass(frozen=True, eq=False)
class Case:
    """The maps of one method and all that metrics may ask for beside them.

    `inputs` by the names that rows list (probabilities, images, maps, targets, masks, ..., and `known`, the
    `reference` of the whole images, where it is measured already); `settings` are conventions by name: fill,
    insertion_fill, masking, mean, batch_size, steps, drop, seed.
    """

    inputs: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    _measured: dict[Measurement, Any] = field(default_factory=dict, repr=False)

    def measured(self, what: Measurement) -> Any:
        """The result of a measurement, asked for once however many metrics read it."""
        if what not in self._measured:
            self._measured[what] = what(self)
        return self._measured[what]

    def hiding(self, fill: str = "fill") -> Hiding:
        """How pixels are hidden; `fill` names the setting that says what stands in for them."""
        names = {name: name for name in ("seed", "masking", "mean", "batch_size")} | {"fill": fill}
        return cast(Hiding, {k: self.settings[name] for k, name in names.items() if name in self.settings})


Measurement = Callable[[Case], Any]


def whole(case: Case) -> Reference:
    """What the classifier says of the whole images."""
    known = case.inputs.get("known")
    if isinstance(known, Reference):
        return known
    probabilities, images, targets = (case.inputs[k] for k in ("probabilities", "images", "targets"))
    return reference(probabilities, images, targets, batch_size=case.settings.get("batch_size", 16))


@dataclass(frozen=True)
class Kept:
    """Scores (N,) of the images times their map's top `nu` percent of values, `equalised` by rank or as they are."""

    nu: float = 100.0
    equalised: bool = False

    def __call__(self, case: Case) -> Tensor:
        """Measures them; one pass an image."""
        return kept_scores(**_shown(case), nu=self.nu, equalised=self.equalised, **case.hiding())


def insertion_scores(case: Case) -> Tensor:
    """Scores (N, S + 1) while pixels appear on `insertion_fill`, highest first; `steps` passes an image."""
    return insertion_curve(**_shown(case), **_steps(case), **case.hiding("insertion_fill"))


def deletion_scores(case: Case) -> Tensor:
    """Scores (N, S + 1) while pixels turn into `fill`, highest first; `steps` passes an image."""
    return deletion_curve(**_shown(case), **_steps(case), **case.hiding())


def _shown(case: Case) -> dict[str, Any]:
    return {k: case.inputs[k] for k in ("probabilities", "images", "maps")} | {"known": case.measured(whole)}


def _steps(case: Case) -> dict[str, Any]:
    return {"steps": case.settings["steps"]} if "steps" in case.settings else {}
