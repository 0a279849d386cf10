"""What is known of a classifier's filters once a posterior is fitted, and how sure each of it is.

K filters, L attributes, C classes, N held-out pictures, G groups of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from saywhy.attributes.atlas import Atlas
from saywhy.attributes.frequencies import Vocabulary
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.posterior import POSTERIORS
from saywhy.attributes.regressions import STRENGTHS, Probe, effects, loadings, probe
from saywhy.attributes.sums import Activity, Sums, together

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

FALSE_DISCOVERIES = 0.05  # of the attributes that are said to count for a class
WRONG = 0.2  # of what is said of a picture, that its captions need not say
SAID = 5  # attributes at most
PRESENT = np.linspace(0.2, 0.98, 40)  # what the probe must say for an attribute to be said, the least that will do
FEW = 5  # pictures with an attribute, and without, of one class: from here on it is known whether it is seen in one
SURE = 1.64  # standard errors
BINS, DRAWS = 10, 500  # of what the probe says, from 0 to 1; replicates of a bootstrap


@dataclass(frozen=True, eq=False)
class Meanings:
    """What the filters of one layer mean: `posterior` (K, L) in the way of `method`, `loadings` (K, L) and the `probe`;
    for each class the `effects` (C, L) of having an attribute with their `errors`, which of them `counts` beyond
    chance, the `usual` share of its pictures that have one (C, L), and by how much that exceeds the share of the others
    where it does so beyond chance: the class's `marks` (C, L), else 0.

    `telling` (L,) is how well the probe tells pictures of one class with the attribute from those without: the area
    under the curve, at its lower end; 0 where that is not known. `least` is what the probe must say for an attribute to
    be said, infinite where nothing can be said with few errors. `without` (K,) by attribute are mean activations of
    pictures that lack it. `borne_out` (BINS, 3) is how often captions say what the probe is so sure of, in pictures
    that it had not seen, with the interval of a bootstrap over them. The `atlas` knows where nouns are; None where
    captions do not tell.
    """

    layer: str
    fingerprint: str
    attributes: tuple[Attribute, ...]
    classes: tuple[str, ...]
    method: str
    activity: Activity
    posterior: Reals
    loadings: Reals
    probe: Probe
    effects: Reals
    errors: Reals
    counts: Bools
    usual: Reals
    marks: Reals
    telling: Reals
    without: Reals
    borne_out: Reals
    least: float
    atlas: Atlas | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.attributes)


@dataclass(frozen=True, eq=False)
class Held:
    """Pictures that are looked at twice: lifted activations (N, K), attributes (N, L), classes (N,) and groups (N,)."""

    lifted: Reals
    attributes: Reals
    predicted: NDArray[np.int64]
    group: NDArray[np.int64]


def meaning_of(
    groups: Sequence[Sums], held: Held, vocabulary: Vocabulary, activity: Activity, method: str, **named: Any
) -> Meanings:
    """What the filters mean, of sums over groups of pictures; `held` are some of these pictures, each judged by what
    the other groups say."""
    whole = together(groups)
    told, errors = jackknifed(groups)
    strength, present = fitting_probe(groups, held)
    counts, marks = discovered(told, errors, len(groups)), marks_of(whole)
    value = worth(told, counts, marks)
    return Meanings(
        attributes=vocabulary.attributes, method=method, activity=activity,
        posterior=POSTERIORS[method].make(whole, vocabulary.prior), loadings=loadings(whole),
        probe=probe(whole, strength), effects=told, errors=errors, counts=counts, marks=marks,
        usual=whole.t / np.maximum(whole.n, 1)[:, None],
        telling=within_classes(present, held.attributes, held.predicted),
        without=(whole.a.sum(axis=0)[:, None] - whole.at) / np.maximum(whole.pictures - whole.having, 1),
        borne_out=said_when_sure(present, held.attributes),
        least=least_presence(present, held.attributes, value[held.predicted]), **named,
    )  # fmt: skip


def jackknifed(groups: Sequence[Sums]) -> tuple[Reals, Reals]:
    """The effects (C, L) of all groups, and their standard errors by leaving each group out."""
    every = [effects(together([g for g in groups if g is not out])) for out in groups]
    n = len(groups)
    return effects(together(groups)), np.sqrt((n - 1) / n * ((every - np.mean(every, axis=0)) ** 2).sum(axis=0))


def discovered(told: Reals, error: Reals, groups: int) -> Bools:
    """Which effects (C, L) count, so that of those at most `FALSE_DISCOVERIES` are expected to be chance.

    Source: Benjamini and Hochberg 1995, of Student's t with a degree of freedom less than there are groups.
    """
    t = np.abs(told) / np.maximum(error, 1e-12)
    p = np.where(told == 0, 1.0, 2 * stats.t.sf(t, groups - 1))
    return np.asarray(stats.false_discovery_control(p.ravel()).reshape(p.shape) <= FALSE_DISCOVERIES)


def marks_of(whole: Sums) -> Reals:
    """By how much commoner each attribute is in pictures of a class than in the others (C, L); 0 where that may be
    chance, so that of those that are marks at most `FALSE_DISCOVERIES` are expected to be none (Fisher's exact test,
    one-sided)."""
    n, having, N = whole.n[:, None], whole.having[None], whole.pictures
    p = stats.hypergeom.sf(whole.t - 1, N, np.broadcast_to(having, whole.t.shape), np.broadcast_to(n, whole.t.shape))
    p = np.where((n > 0) & (n < N), np.nan_to_num(p, nan=1.0).clip(0, 1), 1.0)
    beyond = stats.false_discovery_control(p.ravel()).reshape(p.shape) <= FALSE_DISCOVERIES
    excess = whole.t / np.maximum(n, 1) - (having - whole.t) / np.maximum(N - n, 1)
    return np.where(beyond, np.maximum(excess, 0.0), 0.0)


def worth(told: Reals, counts: Bools, marks: Reals) -> Reals:
    """What having an attribute is worth to a class (C, L): its effect where it counts beyond chance; of a class for
    which nothing is known to count, that it is a mark of it."""
    counted = np.where(counts, np.maximum(told, 0.0), 0.0)
    return np.where(counted.any(axis=1, keepdims=True), counted, marks)


def fitting_probe(groups: Sequence[Sums], held: Held) -> tuple[float, Reals]:
    """The strength of the probe that errs least, squared, on groups that it has not seen; what it says there (N, L)."""
    every = {strength: crossed(groups, held, strength) for strength in STRENGTHS}
    best = min(STRENGTHS, key=lambda s: float(((every[s] - held.attributes) ** 2).sum()))
    return best, every[best]


def crossed(groups: Sequence[Sums], held: Held, strength: float) -> Reals:
    """What the probe says of each held picture (N, L), of a probe that has not seen its group."""
    out = np.zeros_like(held.attributes)
    for g in np.unique(held.group):
        mine = held.group == g
        others = together([s for i, s in enumerate(groups) if i != g])
        out[mine] = probe(others, strength)(held.lifted[mine], held.predicted[mine])
    return out


def within_classes(scores: Reals, truth: Reals, predicted: NDArray[np.int64]) -> Reals:
    """For each attribute (L,) the area under the curve of scores (N, L) among pairs of one class, less `SURE` standard
    errors; 0 where there are fewer than `FEW` pictures of either kind in classes that have both."""
    won, pairs, rows = np.zeros(truth.shape[1]), np.zeros(truth.shape[1]), np.zeros((2, truth.shape[1]))
    for c in np.unique(predicted):
        s, t = scores[predicted == c], truth[predicted == c] > 0
        for j in np.flatnonzero(t.any(axis=0) & ~t.all(axis=0)):
            with_it, other = s[t[:, j], j], s[~t[:, j], j]
            won[j] += (with_it[:, None] > other).sum() + (with_it[:, None] == other).sum() / 2
            pairs[j] += len(with_it) * len(other)
            rows[:, j] += len(with_it), len(other)
    area = won / np.maximum(pairs, 1)
    error = np.sqrt(rows.sum(axis=0) + 1) / np.sqrt(12 * np.maximum(rows.prod(axis=0), 1))
    return np.where(rows.min(axis=0) >= FEW, area - SURE * error, 0.0)


def least_presence(scores: Reals, truth: Reals, value: Reals) -> float:
    """The least of scores (N, L) from which attributes are said, so that of pictures of which something is said at most
    `WRONG` of it, on average, is in no caption of the picture; infinite where no score does.

    What would be said are the `SAID` attributes with the most score times `value` (N, L). One more picture, all wrong,
    stands beside those that were seen, as in Angelopoulos et al., Conformal Risk Control, 2024.
    """
    told = np.where(value > 0, scores * value, 0.0)
    top = np.argsort(-told, axis=1)[:, :SAID]
    s, t, w = (np.take_along_axis(x, top, axis=1) for x in (scores, truth, told))
    for least in PRESENT:
        said = (s >= least) & (w > 0)
        wrong = (said & (t == 0)).sum(axis=1) / np.maximum(said.sum(axis=1), 1)
        if (wrong.sum() + 1) / (np.count_nonzero(said.any(axis=1)) + 1) <= WRONG:
            return float(least)
    return float("inf")


def said_when_sure(scores: Reals, truth: Reals, seed: int = 0) -> Reals:
    """How often attributes of which the probe says so much (N, L) are true: for each of `BINS` the share and its 95 %
    interval by a bootstrap over pictures (BINS, 3); 0 to 1 where there are none."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    said, true = (np.stack([(w * (bins == b)).sum(axis=1) for b in range(BINS)], axis=1) for w in (1.0, truth))
    drawn = np.random.default_rng(seed).multinomial(len(said), np.full(len(said), 1 / len(said)), size=DRAWS)
    shares = (drawn @ true) / np.maximum(drawn @ said, 1e-12)
    shares[drawn @ said == 0] = np.nan
    out = np.tile([0.0, 0.0, 1.0], (BINS, 1))
    for b in np.flatnonzero(said.sum(axis=0)):
        low, high = np.nanquantile(shares[:, b], [0.025, 0.975])
        out[b] = true[:, b].sum() / said[:, b].sum(), low, high
    return out


def borne_out(table: Reals, presence: float) -> list[float]:
    """The row of such a table (BINS, 3) for what the probe says of a picture."""
    return [float(v) for v in table[min(int(presence * BINS), BINS - 1)]]
