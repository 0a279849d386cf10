"""Which attributes are spoken of: those that enough pictures have and not all, and how much each says.

N pictures, L attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.phrases import Attribute, attributes_of, named
from saywhy.attributes.tagging import Tagger, english, lexicon
from saywhy.errors import UsageError

Reals = NDArray[np.float64]

FEWEST, SHARE, MOST = 5, 0.95, 1000  # pictures of an attribute, share of all pictures at most, attributes at most
PICTURES = 10  # with captions or attributes, or nothing can be learned
FOREIGN = 0.5  # of the captions: from here on they are in no language that is read


@dataclass(frozen=True)
class Said:
    """What is said of one picture: how often each attribute is, and how many captions were no English; and what each
    caption says, as it says it."""

    counts: Mapping[Attribute, int]
    captions: int = 0
    foreign: int = 0
    each: tuple[tuple[Attribute, ...], ...] = ()


def said(captions: Sequence[str], names: Sequence[str] = (), tagger: Tagger = lexicon) -> Said:
    """What captions say of a picture, and what a table names; both are of equal right."""
    spoken = [c for c in captions if c.strip()]
    read = [c for c in spoken if english(c)]
    each = tuple(tuple(attributes_of(c, tagger)) for c in read)
    counts = Counter(one for caption in each for one in caption)
    counts.update(one for one in map(named, names) if one.noun)
    return Said(dict(counts), len(spoken), len(spoken) - len(read), each)


def joined(one: Said, same: Mapping[str, str]) -> Said:
    """The same with each noun under that which it is another word for."""
    counts: Counter[Attribute] = Counter()
    for a, n in one.counts.items():
        counts[Attribute(same.get(a.noun, a.noun), a.adjective)] += n
    return replace(one, counts=dict(counts))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The attributes (L,), each with the pictures that have it, its frequency among these (the mean of how often one
    that has it says it), and the `prior` (L,), which adds up to 1. `left_out` counts attributes by why they are not."""

    attributes: tuple[Attribute, ...]
    pictures: int
    having: Reals
    prior: Reals
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.attributes)

    @cached_property
    def _places(self) -> dict[Attribute, int]:
        return {a: j for j, a in enumerate(self.attributes)}

    def rows(self, of: Iterable[Mapping[Attribute, int]]) -> Reals:
        """Whether each picture has each attribute: (N, L) of 0 and 1."""
        every = list(of)
        out = np.zeros((len(every), len(self)))
        for row, counts in zip(out, every, strict=True):
            row[[j for a in counts if (j := self._places.get(a)) is not None]] = 1.0
        return out


def vocabulary(every: Sequence[Said], *, fewest: int = FEWEST, share: float = SHARE, most: int = MOST) -> Vocabulary:
    """The attributes that at least `fewest` pictures have and at most a `share` of them; of more than `most` those that
    most pictures have.

    Raises:
        UsageError: too few pictures say something, the captions are not English, or no attribute is left.
    """
    _check(every)
    telling = [one for one in every if one.counts]
    having: Counter[Attribute] = Counter()
    times: Counter[Attribute] = Counter()
    for one in telling:
        having.update(one.counts.keys())
        times.update(one.counts)
    rare = [a for a, n in having.items() if n < fewest]
    common = [a for a, n in having.items() if n > share * len(telling)]
    ranked = sorted(having.keys() - {*rare, *common}, key=lambda a: (-having[a], a))
    if not ranked:
        raise UsageError(
            f"no attribute is left: of {len(having)}, {len(rare)} are of fewer than {fewest} pictures and "
            f"{len(common)} of nearly all of {len(telling)}; give more pictures, or such as differ"
        )
    chosen = sorted(ranked[:most])
    n = np.array([having[a] for a in chosen], dtype=float)
    frequency = np.array([times[a] for a in chosen]) / n
    left_out = {"rare": len(rare), "in nearly all": len(common), "beyond the most": len(ranked) - len(chosen)}
    return Vocabulary(tuple(chosen), len(telling), n, tf_idf(frequency, n, len(telling)), left_out)


def tf_idf(frequency: Reals, having: Reals, pictures: int) -> Reals:
    """The prior p(t) (L,), which adds up to 1: how often captions say each attribute of a picture that has it, times
    log(N / D), where D of N pictures have it. Source: Guo et al., Eq. 1 and Visual Attribute Extraction."""
    weight = frequency * np.log(pictures / having)
    return np.asarray(weight / weight.sum())


def _check(every: Sequence[Said]) -> None:
    captions, foreign = (sum(getattr(one, k) for one in every) for k in ("captions", "foreign"))
    if captions and foreign > FOREIGN * captions:
        raise UsageError(
            f"{foreign} of {captions} captions do not look like English, which is what is read; translate them, or "
            'give a table of attributes: {"file": ..., "attributes": ["orange beak", ...]} on each line'
        )
    telling = sum(bool(one.counts) for one in every)
    if telling < PICTURES:
        raise UsageError(
            f"{telling} of {len(every)} pictures have captions that say something, or attributes; at least {PICTURES} "
            "are needed: saywhy fit IMAGES --captions FILE"
        )
