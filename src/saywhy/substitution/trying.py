"""The test itself: which piece speaks most against a class, and what the classifier says with a good one in its place.

Everything is asked of the classifier. n instances of a picture (3, H, W) as it sees it, C classes; log-odds are of the
`wanted` class over the one that was `said`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene import (
    CONFIRMING,
    Masked,
    content_seed,
    hide,
    masked_probabilities,
    plain_probabilities,
    seeded,
    shifted,
)
from saywhy.substitution.gathering import TINY
from saywhy.substitution.matching import FAR, Instance, Laid, apart, laid
from saywhy.substitution.pasting import PUT_IN, pasted
from saywhy.substitution.stock import Donor, Stock

WAYS = CONFIRMING[:3]  # in which pieces are hidden
LOOKED = 12  # pieces that speak most against the class, each of which is tried
FIRST = 2  # donors that are tried for each of them
GIVEN = 3  # other donors of which each gives its piece, where the first two say which one is the worst
THERE = 0.7  # how far, in its sides, donors have something where a piece lies
WORTH = 0.1  # log-odds that a piece counts in its donor, at least, to be a good one
DRAWS = 200  # of a place for a random patch
BESIDE = 0.2  # of it may lie on what it must not be


@dataclass(frozen=True, eq=False)
class Gift:
    """A donor's instance (by number) that lies where a piece here does, and how the donor lies over this view."""

    donor: Donor
    instance: int
    how: Laid

    @property
    def mask(self) -> Tensor:
        """Its pixels (H, W) in the donor."""
        return self.donor.instances[self.instance].mask


@dataclass(frozen=True, eq=False)
class Attempt:
    """One thing that was done, in some ways: `what`, where each way is from (a donor's file, or a fill), the
    probabilities (m, C) that came of it, and one of the pictures (3, H, W)."""

    what: str
    froms: tuple[str, ...]
    answers: Tensor
    picture: Tensor

    def flips(self, wanted: int) -> bool:
        """Whether the classifier says the wanted class in more than half of the ways."""
        return bool((self.answers.argmax(dim=1) == wanted).double().mean() > 0.5)


@dataclass(frozen=True, eq=False)
class Exchange:
    """What came of it: what each instance `speaks` (n,) for the wanted class, the number of the `worst`, whose
    correction raised the wanted class most, and the trials; or `why` nothing was tried. `corrected` names the trial
    that corrects it: "exchanged", or "deleted" where no donor has anything there; `expected` is the share of donors
    of both classes that have something there; `again`: those who led to the worst piece are those who correct it."""

    speaks: Tensor
    worst: int | None = None
    corrected: str = ""
    trials: tuple[Attempt, ...] = ()
    expected: float | None = None
    again: bool = False
    why: str | None = None

    def trial(self, what: str) -> Attempt | None:
        """The trial of this name, if it was made."""
        return next((t for t in self.trials if t.what == what), None)


@dataclass(frozen=True, eq=False)
class Asking:
    """What is asked about: a classifier's view (3, H, W), its instances, and the two classes."""

    clf: Classifier
    picture: Tensor
    instances: tuple[Instance, ...]
    said: int
    wanted: int
    seed: int

    def ask(self, pictures: Sequence[Tensor]) -> Tensor:
        """Probabilities (m, C) of edited views."""
        return plain_probabilities(self.clf, torch.stack(list(pictures)))

    def without(self, masks: Sequence[Tensor]) -> Tensor:
        """Probabilities (ways, m, C) with each of some masks hidden."""
        keep = torch.stack([~m for m in masks])
        image = self.clf.at_home(self.picture[None])
        parts = [
            Masked(image, len(keep), lambda start, stop: keep[start:stop], fill, seed)
            for fill, seed in seeded(WAYS, self.seed)
        ]
        return masked_probabilities(self.clf, parts).reshape(len(WAYS), len(keep), -1)

    def odds(self, answers: Tensor) -> Tensor:
        """Log-odds (...) of probabilities (..., C)."""
        logs = answers.clamp_min(TINY).log()
        return logs[..., self.wanted] - logs[..., self.said]


def substituted(asked: Asking, stock: Stock) -> Exchange:
    """Exchanges what speaks most against the wanted class for a good piece of it, or takes it away where that class has
    nothing there; controls beside it."""
    donors = stock.of(asked.wanted)
    if not donors or not asked.instances:
        why = "no concept is found in it" if donors else "no picture is clearly of that class"
        return Exchange(torch.zeros(len(asked.instances)), why=why)
    whole = asked.odds(asked.ask([asked.picture]))[0]
    hidden = asked.without([s.mask for s in asked.instances])
    speaks = whole - asked.odds(hidden).mean(0)
    bad = speaks.argsort()[:LOOKED].tolist()
    gifts = {n: gifts_for(asked, n, donors) for n in bad}
    worst = _worst(asked, {n: _corrected(asked, n, gifts[n][:FIRST]) for n in bad})
    others = gifts[worst][FIRST : FIRST + GIVEN]
    given = others or gifts[worst][:FIRST]
    trials = [*_trials(asked, worst, given, hidden[:, worst]), *_good(asked, speaks, worst, donors)]
    both = [*donors, *stock.of(asked.said)]
    usual, again = expected(asked, worst, both), bool(given) and not others
    return Exchange(speaks, worst, "exchanged" if given else "deleted", tuple(trials), usual, again)


def _worst(asked: Asking, corrected: Mapping[int, Sequence[Tensor]]) -> int:
    """The piece whose corrections raise the wanted class most, on average."""
    answers = asked.odds(asked.ask([picture for pictures in corrected.values() for picture in pictures]))
    means = [part.mean() for part in torch.split(answers, [len(pictures) for pictures in corrected.values()])]
    return list(corrected)[int(torch.stack(means).argmax())]


def expected(asked: Asking, n: int, donors: Sequence[Donor]) -> float | None:
    """In which share of the donors that can be laid over this picture something lies where a piece does; None where
    none can."""
    others = [s for i, s in enumerate(asked.instances) if i != n]
    known = [(d, how) for d in donors if (how := laid(others, d.instances)) is not None]
    there = [any(apart(asked.instances[n], s, how) <= THERE for s in d.instances) for d, how in known]
    return sum(there) / len(there) if there else None


def gifts_for(asked: Asking, n: int, donors: Sequence[Donor]) -> list[Gift]:
    """What donors have where an instance lies, of about its size, one of each: those first whose instance speaks most
    for the wanted class over the one that was said."""
    others = [s for i, s in enumerate(asked.instances) if i != n]
    found = []
    for donor in donors:
        how = laid(others, donor.instances)
        if how is not None:
            near = [k for k, instance in enumerate(donor.instances) if apart(asked.instances[n], instance, how) <= FAR]
            worth = [(donor.speaks(k, asked.wanted, asked.said), k) for k in near]
            best = max(worth, default=(0.0, -1))
            found += [(best[0], Gift(donor, best[1], how))] if best[0] > WORTH else []
    return [gift for _, gift in sorted(found, key=lambda row: -row[0])]


def _corrected(asked: Asking, n: int, gifts: Sequence[Gift]) -> list[Tensor]:
    """The view with an instance exchanged for each of the gifts; with it painted over where there is none."""
    mask = asked.instances[n].mask
    if not gifts:
        return [hide(asked.picture, ~mask[None], PUT_IN)[0]]
    return [pasted(asked.picture, mask, g.donor.picture, g.mask, g.how.mirror) for g in gifts]


def _trials(asked: Asking, worst: int, given: Sequence[Gift], hidden: Tensor) -> list[Attempt]:
    """What is done to the worst piece, and a random patch beside it; `hidden` (ways, C) is what hiding it gave."""
    mask, ways = asked.instances[worst].mask, tuple(fill for fill, _ in WAYS)
    deleted = Attempt("deleted", ways, hidden, _corrected(asked, worst, [])[0])
    if not given:
        there = _elsewhere(mask, content_seed(asked.picture, asked.seed))
        picture = hide(asked.picture, ~there[None], PUT_IN)[0]
        return [deleted, Attempt("elsewhere", ways, asked.without([there])[:, 0], picture)]
    random = [
        pasted(asked.picture, mask, g.donor.picture, _elsewhere(g.mask, content_seed(g.donor.picture, asked.seed)))
        for g in given
    ]
    exchanged = _pasted(asked, "exchanged", worst, given)
    return [exchanged, deleted, Attempt("random", exchanged.froms, asked.ask(random), random[0])]


def _good(asked: Asking, speaks: Tensor, worst: int, donors: Sequence[Donor]) -> list[Attempt]:
    """Another piece exchanged: the one that speaks most for the wanted class, where one does and donors have it."""
    others = [n for n in speaks.argsort(descending=True).tolist() if n != worst and speaks[n] > 0]
    gifts = gifts_for(asked, others[0], donors)[:GIVEN] if others else []
    return [_pasted(asked, "good", others[0], gifts)] if gifts else []


def _pasted(asked: Asking, what: str, n: int, gifts: Sequence[Gift]) -> Attempt:
    pictures = _corrected(asked, n, gifts)
    return Attempt(what, tuple(g.donor.file for g in gifts), asked.ask(pictures), pictures[0])


def _elsewhere(mask: Tensor, seed: int) -> Tensor:
    """A mask (H, W) moved to a random place where it lies whole and off itself, or as far off as was found."""
    random, (H, W) = np.random.default_rng(seed), mask.shape
    ys, xs = torch.nonzero(mask, as_tuple=True)
    best, least = mask, 1.0
    for _ in range(DRAWS):
        dy = int(random.integers(-int(ys.min()), H - int(ys.max())))
        dx = int(random.integers(-int(xs.min()), W - int(xs.max())))
        there = shifted(mask, dy, dx)
        share = float((there & mask).sum()) / len(ys)
        if share < least:
            best, least = there, share
        if least <= BESIDE:
            break
    return best
