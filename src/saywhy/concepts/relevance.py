"""What each concept counts for each class: by taking it out, and by TCAV; both against controls.

N pictures of a class, k concepts, maps (K, h, w), C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from saywhy.concepts.discovery import Basis
from saywhy.concepts.looking import Glimpse
from saywhy.intervene import content_seed
from saywhy.metrics.statistics import bootstrap
from saywhy.precision import SINGLE, log_odds
from saywhy.targets import Targets

Reals = NDArray[np.float64]

FALSE_DISCOVERIES = 0.05  # of what is said to count, over all classes and concepts
CAVS, EXAMPLES = 20, 50  # directions that are learnt of a concept, examples of each side
RIDGE = 0.1  # of the mean squared length of the examples


@dataclass(frozen=True)
class Relevance:
    """What a concept counts for a class, over `pictures` that the classifier gives this class, in `present` of which
    it is found.

    `lost` is the mean probability that taking it out of the activations costs (0 where it is absent), `low` and `high`
    its 95 % bootstrap interval (None of a single picture), `odds` the mean loss of log-odds. `control` is the mean size
    of that when as much is taken out in a random direction; `counts` whether the concept's is larger beyond chance,
    corrected for all that were tried, `p` before that. `tcav` is the share of pictures in which more of the concept
    would raise the class's score, None where there are too few examples; `tcav_counts` and `tcav_p` whether it is
    another share than that of random directions.
    """

    class_index: int
    concept: int
    pictures: int
    present: int
    lost: float
    low: float | None
    high: float | None
    odds: float
    control: float
    p: float
    counts: bool
    tcav: float | None
    tcav_p: float
    tcav_counts: bool

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Taken:
    """One picture with each concept taken out: the loss (k,) of probability and of log-odds, the latter for random
    directions too, which concepts are there, and the gradient (K,) of the class's score over all cells."""

    lost: Reals
    odds: Reals
    control: Reals
    present: NDArray[np.bool_]
    gradient: Tensor


# --------------------------------------------------------------------------------------------------
# Taking a concept out.


def without(X: Tensor, codes: Tensor, directions: Tensor, *, floor: bool) -> Tensor:
    """Vectors (m, n, K) of X (n, K) with each of m concepts taken out: its codes (n, m) times its direction (m, K).

    `floor`: of a layer that gives nothing below zero, what falls below is 0.
    """
    out = X - codes.T[:, :, None] * directions[:, None, :]
    return out.clamp_min(0) if floor else out


def take_out(
    found: Glimpse, basis: Basis, codes: Tensor, present: Tensor, sample: Tensor, seed: int, *, floor: bool
) -> Taken:
    """Takes each concept that is `present` (k,), with codes (h w, k), out of a picture, and as much elsewhere."""
    X, c, size = found.vectors, found.predicted, found.maps.shape
    which = torch.nonzero(present)[:, 0]

    def after(directions: Tensor) -> Reals:
        """The class's probability (m,) with each concept there taken out in its direction (m, K)."""
        changed = without(X, codes[:, which], directions, floor=floor)
        return found.answers(changed.transpose(1, 2).reshape(len(which), *size))[:, c].numpy()

    whole, every = float(found.probabilities[c]), np.zeros((3, len(basis)))
    own = after(basis.vectors[which])
    other = after(elsewhere(basis.vectors[which], sample, content_seed(found.picture, seed)))
    before, taken, random = (log_odds(p, SINGLE) for p in (whole, own, other))
    every[:, which.numpy()] = whole - own, before - taken, before - random
    gradient = found.tap.grads(Targets(torch.tensor([c]), ()), found.point.path)[0].sum(dim=(1, 2)).cpu()
    return Taken(every[0], every[1], every[2], present.numpy(), gradient)


def elsewhere(directions: Tensor, sample: Tensor, seed: int) -> Tensor:
    """Random directions of the same lengths (m, K) that have nothing of the given ones: differences of two vectors of a
    sample (n, K), such as occur in the layer, without what points the same way."""
    drawn = torch.randint(len(sample), (2, len(directions)), generator=torch.Generator().manual_seed(seed))
    own, random = F.normalize(directions, dim=1), sample[drawn[0]] - sample[drawn[1]]
    apart = F.normalize(random - (random * own).sum(1, keepdim=True) * own, dim=1)
    scaled: Tensor = apart * directions.norm(dim=1, keepdim=True)
    return scaled


# --------------------------------------------------------------------------------------------------
# TCAV.


def activation_vectors(X: Tensor, labels: Tensor, k: int, seed: int) -> tuple[dict[int, Tensor], Tensor]:
    """Directions that tell a concept's vectors from random ones, `CAVS` a concept (CAVS, K), and as many that tell
    random ones from random ones. Concepts of fewer than two vectors have none. Source: Kim et al. 2018."""
    random = torch.Generator().manual_seed(seed)

    def draw(rows: Tensor) -> Tensor:
        return X[rows[torch.randint(len(rows), (min(EXAMPLES, len(rows)),), generator=random)]]

    every = torch.arange(len(X))
    of = {}
    for j in range(k):
        own, others = torch.nonzero(labels == j)[:, 0], torch.nonzero(labels != j)[:, 0]
        if min(len(own), len(others)) >= 2:
            of[j] = torch.stack([separating(draw(own), draw(others)) for _ in range(CAVS)])
    return of, torch.stack([separating(draw(every), draw(every)) for _ in range(CAVS)])


def separating(first: Tensor, second: Tensor) -> Tensor:
    """The direction (K,) of ridge regression from the second examples (m, K) to the first (n, K), of length 1."""
    X = torch.cat([first, second]).double()
    X = X - X.mean(dim=0)
    y = torch.cat([torch.ones(len(first)), -torch.ones(len(second))]).double()
    gram = X @ X.T
    penalty = RIDGE * gram.diagonal().mean().clamp_min(1e-30) * torch.eye(len(X), dtype=torch.float64)
    return F.normalize(X.T @ torch.linalg.solve(gram + penalty, y - y.mean()), dim=0).float()


def shares(gradients: Tensor, directions: Tensor) -> Reals:
    """The share of pictures whose gradient (N, K) rises along each direction (m, K): (m,)."""
    return np.asarray((gradients @ directions.T > 0).double().mean(dim=0).numpy())


# --------------------------------------------------------------------------------------------------
# From pictures to what is said of a class.


def relevances(by_class: Mapping[int, Sequence[Taken]], cavs: Mapping[int, Tensor], random: Tensor) -> list[Relevance]:
    """A row for every class and concept; `cavs` and `random` as `activation_vectors` gives them."""
    rows = [_row(c, j, taken, cavs.get(j), random) for c, taken in by_class.items() for j in range(len(taken[0].lost))]
    counting = discoveries([r.p for r in rows])
    along = discoveries([r.tcav_p for r in rows])
    return [
        Relevance(**{**asdict(r), "counts": counts, "tcav_counts": tcav})
        for r, counts, tcav in zip(rows, counting, along, strict=True)
    ]


def _row(c: int, j: int, taken: Sequence[Taken], cav: Tensor | None, random: Tensor) -> Relevance:
    lost, odds, control = (np.array([getattr(t, name)[j] for t in taken]) for name in ("lost", "odds", "control"))
    gradients = torch.stack([t.gradient for t in taken])
    interval = bootstrap(lost)
    alone = len(taken) < 2
    scores = None if cav is None else shares(gradients, cav)
    return Relevance(
        class_index=c, concept=j, pictures=len(taken), present=int(sum(t.present[j] for t in taken)),
        lost=interval.mean, low=None if alone else interval.low, high=None if alone else interval.high,
        odds=float(odds.mean()), control=float(np.abs(control).mean()), p=beyond(odds, control), counts=False,
        tcav=None if scores is None else float(scores.mean()),
        tcav_p=1.0 if scores is None else unpaired(scores, shares(gradients, random)), tcav_counts=False,
    )  # fmt: skip


def beyond(effects: Reals, controls: Reals) -> float:
    """The p of Student's test that effects (N,) are on average no larger than the size of their controls (N,), for or
    against; which of the two is read from the same data, so it is twice the one-sided p. 1 of a single one."""
    sign = 1 if effects.mean() >= 0 else -1
    more = sign * effects - np.abs(controls)
    if len(more) < 2 or more.mean() <= 0:
        return 1.0
    error = more.std(ddof=1) / len(more) ** 0.5
    return 0.0 if error == 0 else min(1.0, float(2 * stats.t.sf(more.mean() / error, len(more) - 1)))


def unpaired(first: Reals, second: Reals) -> float:
    """The two-sided p of the rank test of Mann and Whitney that two samples are alike."""
    both = np.concatenate([first, second])
    if (both == both[0]).all():
        return 1.0
    return float(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)


def discoveries(p: Sequence[float]) -> list[bool]:
    """Which of all that were tried count, so that of those at most `FALSE_DISCOVERIES` are expected to be false.

    Source: Benjamini and Hochberg 1995.
    """
    return [bool(q <= FALSE_DISCOVERIES) for q in stats.false_discovery_control(np.asarray(p))] if p else []
