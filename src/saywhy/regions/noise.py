"""Does the model repeat itself? The plain picture asked again; where answers differ, so does everything measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.explanation import Unit
from saywhy.language.verify import in_unit

# Batches of other sizes differ by less.
ROUNDING: dict[Unit, float] = {"probability": 0.002, "log-odds": 0.02}
MORE = 4  # times that a model is asked which did not repeat itself
ERRORS = 3.0  # standard errors that a loss must exceed


@dataclass(frozen=True)
class Noise:
    """The target's probabilities of the plain picture, one for each time it was asked; one alone tells nothing."""

    asked: tuple[float, ...] = ()

    @property
    def repeats(self) -> bool:
        """Whether all answers are the same up to rounding."""
        return all(self._apart(unit) <= most for unit, most in ROUNDING.items())

    def _apart(self, unit: Unit) -> float:
        answers = [in_unit(p, unit) for p in self.asked]
        return max(answers, default=0.0) - min(answers, default=0.0)

    def spread(self, unit: Unit = "probability") -> float:
        """The standard deviation of an answer."""
        return 0.0 if self.repeats else float(np.std([in_unit(p, unit) for p in self.asked], ddof=1))

    def floor(self, runs: int, unit: Unit = "probability") -> float:
        """The mean loss over so many runs, all against one answer, that this noise by itself gives hardly ever."""
        return float(ERRORS * self.spread(unit) * (1 + 1 / runs) ** 0.5)


def asked_again(clf: Classifier, image: Tensor, first: float, target: int) -> Noise:
    """The noise of the answers to one picture (3, H, W), whose `first` probability is known; one pass, or five."""
    again = [first, _once(clf, image, target)]
    if not Noise(tuple(again)).repeats:
        again += [_once(clf, image, target) for _ in range(MORE)]
    return Noise(tuple(again))


def _once(clf: Classifier, image: Tensor, target: int) -> float:
    return float(clf.fine_probabilities(clf.logits(image[None]))[0, target])
