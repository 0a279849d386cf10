"""From the filters of one picture to what may be said of it: reasons for and against a class, and contrast.

K filters, L attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.meanings import SAID, Meanings

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]
Level = Literal["image", "class"]
Basis = Literal["effect", "mark"]

AGAINST = 2  # attributes that speak against the class, at most
PART = 0.3  # of the strongest evidence, that another attribute must have to be told
SURELY = 2.3  # standard errors, by which effects on two classes must differ
HALF = 0.5  # of the strongest difference of two classes, that another must have to be told
USUAL = 0.5  # of a class's pictures, that must have an attribute which is told of the class alone
TELLS = 0.5  # of pairs of one class must be ordered rightly, beyond doubt, for an attribute to be of the image


# --------------------------------------------------------------------------------------------------
# Numbers.


def signed_shares(pooled: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """How much each filter (K,) has part in a class: those that speak for it, and those against, each adding up to 1.

    Source: Guo et al., Eq. 6; the normalisation is left open there, and a product may be negative: that is told apart.
    """
    product = pooled * weights
    parts = np.maximum(product, 0.0), np.maximum(-product, 0.0)
    first, second = (p / max(float(p.sum()), 1e-12) for p in parts)
    return first, second


def image_pdf(posterior: Reals, pooled: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """p(t | x, c) (L,), of the filters that speak for the class and of those against. Source: Guo et al., Eq. 5."""
    first, second = (share @ posterior for share in signed_shares(pooled, weights))
    return first, second


def class_pdf(posterior: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """p(t | c) (L,), of filters with weights for the class and against it. Source: Guo et al., Eq. 7 and 8."""
    return image_pdf(posterior, np.ones_like(weights), weights)


def explained(lifted: Reals, mean: Reals, dictionary: Reals, spread: Reals) -> Reals:
    """How much of each attribute (L,) explains one picture's filters (K,) together: non-negative least squares.

    One filter may mean several attributes; which of them it is, the others tell. `spread` (K,) are the filters'
    standard deviations, `dictionary` (K, L) what an attribute adds to each, `mean` (K,) what is there without any.
    Source: Guo et al., Explain-Away Mechanism.
    """
    from scipy.optimize import nnls

    target = (lifted - mean) / spread
    found, _ = nnls(dictionary / spread[:, None], target)
    return np.asarray(found)


# --------------------------------------------------------------------------------------------------
# Reasons.


@dataclass(frozen=True)
class Reason:
    """An attribute (its number) that speaks for or against a class: how likely it is in the picture, what having it
    does to the class's score, and their product; `level` says whether the picture itself was seen to have it, or only
    that pictures of its class do. Where the `basis` is that it is a mark, nothing is known of what it does to the class
    over many pictures: `effect` is by how much commoner it is in pictures of the class."""

    attribute: int
    presence: float
    effect: float
    level: Level
    basis: Basis = "effect"

    @property
    def evidence(self) -> float:
        """Presence times effect."""
        return self.presence * self.effect


def reasons(meaning: Meanings, presence: Reals, effect: Reals, c: int) -> tuple[list[Reason], list[Reason]]:
    """What speaks for a class in a picture, and what against it, the strongest first; both may be empty.

    `presence` (L,) and `effect` (L,) are the picture's own. An attribute that is not likely enough to be there, that
    does not count for this class in other pictures, or that hardly does anything, is no reason. One that is not
    told from pictures themselves speaks for a class that usually has it, and against none. A class for which nothing
    is known to count is told by its marks.
    """
    there, seen = presence >= meaning.least, meaning.telling > TELLS
    counting = there & meaning.counts[c] & (effect * meaning.effects[c] > 0)
    told = {sign: counting & (sign * effect > 0) for sign in (1, -1)}
    fors = _reasons(meaning, presence, effect, c, told[1] & (seen | (meaning.usual[c] >= USUAL)), SAID)
    against = _reasons(meaning, presence, -effect, c, told[-1] & seen, AGAINST)
    if not (meaning.counts[c] & (meaning.effects[c] > 0)).any():
        marked = there & (meaning.marks[c] > 0) & (seen | (meaning.usual[c] >= USUAL))
        fors = [replace(r, basis="mark") for r in _reasons(meaning, presence, meaning.marks[c], c, marked, SAID)]
    return fors, [replace(r, effect=-r.effect) for r in against]


def _reasons(meaning: Meanings, presence: Reals, effect: Reals, c: int, of: Bools, most: int) -> list[Reason]:
    """The most that is said of some attributes (L,) of positive effect, the strongest first."""
    value = np.where(of, presence * effect, 0.0)
    order = [int(j) for j in np.argsort(-value, kind="stable")[:most] if value[j] > PART * value.max()]
    levels: dict[bool, Level] = {True: "image", False: "class"}
    seen = meaning.telling > TELLS
    return [Reason(j, float(presence[j]), float(effect[j]), levels[bool(seen[j])]) for j in order]


@dataclass(frozen=True)
class Contrast:
    """Attributes (their numbers) of two classes: what speaks for both, for the first alone, for the second alone."""

    shared: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]


def contrast(meaning: Meanings, first: int, second: int, most: int = SAID) -> Contrast:
    """How to tell one class from another by what counts for them: one that speaks for the first and, but for chance, no
    less for the second is shared."""
    a, b = meaning.effects[first], meaning.effects[second]
    error = np.sqrt(meaning.errors[first] ** 2 + meaning.errors[second] ** 2)
    differ = np.abs(a - b) > SURELY * error
    strongest = float(np.maximum(a, b).max())

    def top(worth: Reals) -> tuple[int, ...]:
        least = max(PART * strongest, HALF * float(worth.max(initial=0.0)))
        return tuple(int(j) for j in np.argsort(-worth, kind="stable")[:most] if worth[j] > least)

    both = np.where(meaning.counts[first] | meaning.counts[second], np.minimum(a, b), 0.0)
    alone = (np.where((mine > 0) & differ, mine - np.maximum(other, 0), 0.0) for mine, other in ((a, b), (b, a)))
    return Contrast(top(both), *map(top, alone))
