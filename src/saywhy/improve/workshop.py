"""What every remedy works with: a copy of the classifier, the pictures in their parts, the culprit, and the loop.

N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.improve.culprit import Culprit
from saywhy.improve.edits import Edits
from saywhy.improve.lessons import Frames, Ints, Parts, Shot
from saywhy.train.loop import Config, Examples, Fitted, Step, Told, fit

HEAVIEST = 20.0  # how much more than on average a picture of a rare group may count


class Loop(Protocol):
    """A training loop: `saywhy.train.loop.fit`, or one of your own that takes the same.

    `part` is changed in place; a batch is `examples[rows]` for row numbers (n,), and `step(batch)` gives named losses,
    of which "loss" is minimised. Whatever it returns that is no Fitted is not looked at.
    """

    def __call__(
        self, part: nn.Module, step: Step, examples: Examples, config: Config, *, held_out: Examples | None,
        checkpoint: Path, told: Told,
    ) -> object:  # fmt: skip
        """Trains the part."""
        ...


@dataclass(frozen=True)
class Stopping:
    """When training ends, and how fast it goes; None: as the remedy has it."""

    epochs: int | None = None
    patience: int | None = None
    loss_threshold: float | None = None
    lr: float | None = None


@dataclass(frozen=True, eq=False)
class Workshop:
    """A copy of the classifier that may be changed (its network is its own), and all that remedies need beside it."""

    clf: Classifier
    shots: tuple[Shot, ...]
    parts: Parts
    frames: Frames
    culprit: Culprit
    edits: Edits | None
    stopping: Stopping
    seed: int
    checkpoint: Path
    loop: Loop
    told: Told

    @property
    def net(self) -> nn.Module:
        """The network that is changed."""
        assert isinstance(self.clf.net, nn.Module)
        return self.clf.net

    def labels(self, rows: Ints) -> Tensor:
        """Labels (n,) of these pictures."""
        return torch.tensor([self.shots[r].label for r in rows])

    def weights(self, rows: Ints) -> Tensor:
        """How much each picture (n,) counts so that pictures with and without the culprit weigh alike in each class."""
        kinds = [(self.shots[r].label, bool(self.culprit.present[r])) for r in rows]
        counts = {k: kinds.count(k) for k in set(kinds)}
        weight = torch.tensor([1 / counts[k] for k in kinds])
        return (weight * len(kinds) / weight.sum()).clamp(max=HEAVIEST)

    def trained(
        self, part: nn.Module, step: Step, examples: Examples, held_out: Examples, usual: Config
    ) -> Fitted | None:
        """Trains a part with the loop; None where a loop of the user's does not say how it ended."""
        said = {name: value for name, value in vars(self.stopping).items() if value is not None}
        config = replace(usual, seed=self.seed, **said)
        ended = self.loop(
            part, step, examples, config, held_out=held_out, checkpoint=self.checkpoint, told=self.told
        )  # fmt: skip
        return ended if isinstance(ended, Fitted) else None


class Calm(nn.Module):
    """A network in training whose norms and dropouts stay as they are when it answers: few pictures teach."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def train(self, mode: bool = True) -> Calm:
        """Only says that it is in training."""
        super().train(False)
        self.training = mode
        return self


def copied(clf: Classifier) -> Classifier:
    """The classifier with a network of its own, whose weights may change.

    Raises:
        UsageError: a black box, or one whose scores are no softmax: its labels do not exclude each other.
    """
    from copy import deepcopy

    if not isinstance(clf.net, nn.Module) or isinstance(clf.net, torch.jit.ScriptModule):
        raise UsageError("only a network can be improved: of a black box or a program the weights cannot be changed")
    if clf.activation != "softmax":
        raise UsageError(
            f"improving needs a classifier whose scores a softmax makes probabilities of, and this one has "
            f"{clf.activation}"
        )
    net = deepcopy(clf.net).eval()
    return replace(clf, net=net, layer=clf.layer if isinstance(clf.layer, str) else None, _points={})


def cross_entropy(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of scores (n, C), each picture by its weight (n,)."""
    each = F.cross_entropy(scores.float(), labels.to(scores.device), reduction="none")
    return each.mean() if weights is None else (each * weights.to(each.device)).mean()


def fit_loop(
    part: nn.Module, step: Step, examples: Examples, config: Config, *, held_out: Examples | None, checkpoint: Path,
    told: Callable[[int, dict[str, float]], None],
) -> Fitted:  # fmt: skip
    """The loop of saywhy."""
    return fit(part, step, examples, config, held_out=held_out, checkpoint=checkpoint, told=told)


Bools = NDArray[np.bool_]
