"""Is what is said of a bird true? Each claim held against the scene rendered again.

p is the probability of the target in the picture as it is, p(.) after a change of the scene; a point is .01.
The *removal effect* of a part is p - p(rendered without it); a *cause* is a part with an effect over 10 points.
*Ideal hiding* of regions takes their pixels from the scene rendered without every part that they touch; *joint removal*
renders the scene without every part of which they cover a quarter. A claim is false when every truth that its kind
has, a row of `JUDGES`, says so. k regions (k, H, W) are masks of the picture (H, W) as it was rendered; C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from saywhy.aviary import (
    Rendered,
    Scene,
    keep_only,
    other_backgrounds,
    remove,
    remove_bird,
    render,
    shift,
    swap_background,
    world,
)
from saywhy.classifier import Classifier
from saywhy.explanation import Unit
from saywhy.image import Bools, Pixels, read
from saywhy.metrics import spearman
from saywhy.precision import log_odds

CAUSE = 0.10  # effect from which a part is a cause that a text should name
NOTHING = 0.02  # an effect up to here is none
NOTHING_ODDS = 0.2  # the same of a claim in log-odds: the odds change by less than a fifth
COVERED = 0.25  # of a part's pixels: its removal belongs to the region
HELD = 0.50  # of a part's pixels: the region holds the part
OVERLAP = 0.20  # IoU from which a region is the part
SLACK = 0.005  # what rounding to whole points may do to an interval
ENOUGH, LITTLE = 0.5, 0.2  # shares of p that are enough for the class, and next to nothing of it
TINY = 1e-4  # probabilities nearer to 0 and 1 are not told apart

Reals = NDArray[np.float64]
Shift = tuple[float, float]


@dataclass(frozen=True)
class Told:
    """A claim: its kind (a row of `JUDGES`), its regions, the loss that it states (low to high) in its unit, the class
    that it names as winner; of a relation its two `pieces`, the moved one first, and the shift (down, right) in pixels
    that ends it."""

    kind: str
    regions: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    unit: Unit = "probability"
    winner: int | None = None
    pieces: tuple[int, ...] = ()
    by: Shift = (0.0, 0.0)


@dataclass(frozen=True)
class Change:
    """A scene with parts removed, kept alone or moved, before another background, or without its bird.

    With `within` only the pixels of these regions are taken from it, the others from the scene as it was. With `pieces`
    the pixels of these are cut out of the scene as it was and lie, moved `by` so much, over the changed one.
    """

    how: Literal["remove", "keep", "move", "before", "empty"]
    what: tuple[str, ...] = ()
    within: tuple[int, ...] | None = None
    by: Shift = (0.0, 0.0)
    pieces: tuple[int, ...] = ()


AS_IT_WAS = Change("remove")


@dataclass(frozen=True, eq=False)
class Case:
    """An explained bird: its rendered scene, the two classes, the regions (k, H, W), what was said, what each region
    counted (k,), and the pieces (m, H, W) that relations are about."""

    rendered: Rendered
    target: int
    versus: int | None
    regions: Bools
    told: tuple[Told, ...]
    contributions: Reals = field(default_factory=lambda: np.zeros(0))
    pieces: Bools = field(default_factory=lambda: np.zeros((0, 1, 1), dtype=bool))

    @property
    def carrier(self) -> str:
        """The part that all others sit on: the body."""
        return world(self.rendered.scene.edition).carrier

    @cached_property
    def masks(self) -> dict[str, Bools]:
        """The visible pixels of each part; of the body there are none, since nothing can be told without it."""
        names = [n for n in self.rendered.scene.birds[0].names if n != self.carrier]
        return {n: m for n in names if (m := self.rendered.visible(n)).any()}

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The parts that can be seen well enough to be asked about."""
        return tuple(n for n in self.rendered.shown() if n != self.carrier)

    def area(self, which: Iterable[int]) -> Bools:
        """The pixels (H, W) of some regions together."""
        return np.asarray(self.regions[list(which)].any(0))

    def covered(self, which: Iterable[int], least: float) -> tuple[str, ...]:
        """The parts of whose visible pixels the regions cover at least that share (0: any)."""
        return self.under(self.area(which), least)

    def under(self, where: Bools, least: float) -> tuple[str, ...]:
        """The parts of whose visible pixels these (H, W) cover at least that share (0: any)."""
        share = {n: float(where[m].mean()) for n, m in self.masks.items()}
        return tuple(n for n, s in share.items() if s >= least and s > 0)


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """What is known of a case: the answers (C,) to every change of its scene that was asked."""

    case: Case
    answers: Mapping[Change, Reals]

    def lost(self, change: Change, versus: int | None = None, unit: Unit = "probability") -> float:
        """p - p(change) of the target, or of target minus another class; in log-odds where the unit is."""
        before, after = self._value(AS_IT_WAS, unit), self._value(change, unit)
        lost = before[self.case.target] - after[self.case.target]
        return float(lost if versus is None else lost - (before[versus] - after[versus]))

    def left(self, change: Change) -> float:
        """The share of p that is left."""
        t = self.case.target
        return float(self.answers[change][t] / self.answers[AS_IT_WAS][t])

    def wins(self, change: Change) -> int:
        """The class that wins."""
        return int(self.answers[change].argmax())

    def _value(self, change: Change, unit: Unit) -> Reals:
        p = self.answers[change]
        if unit == "probability":
            return p
        return log_odds(p, TINY)


# --------------------------------------------------------------------------------------------------
# Changes of a scene that decide over claims.


def ideal(case: Case, which: Iterable[int]) -> Change:
    """The regions' pixels from the scene without every part that they touch; the bare body stays."""
    return Change("remove", case.covered(which, 0), within=tuple(sorted(which)))


def joint(case: Case, which: Iterable[int], least: float = COVERED) -> Change:
    """The scene without every part of which the regions cover that share."""
    return Change("remove", case.covered(which, least))


Changes = dict[str, tuple[Change, ...]]  # by the name of a truth


def _three(case: Case, told: Told) -> Changes:
    singles = tuple(Change("remove", (n,)) for n in case.covered(told.regions, COVERED))
    return _two(case, told) | {"single": singles or (AS_IT_WAS,)}


def _two(case: Case, told: Told) -> Changes:
    return {"ideal": (ideal(case, told.regions),), "joint": (joint(case, told.regions),)}


def _one_by_one(case: Case, told: Told) -> Changes:
    return {"ideal": (ideal(case, told.regions), *(ideal(case, [i]) for i in told.regions))}


def _only(case: Case, told: Told) -> Changes:
    return {"only": (Change("keep", case.covered(told.regions, HELD)),)}


def _every(case: Case, told: Told) -> Changes:
    every = range(len(case.regions))
    return {"ideal": (ideal(case, every),), "joint": (joint(case, every, HELD),)}


def displacements(case: Case, told: Told) -> Changes:
    """The moved piece, the other one and both moved by as much: pixels, cut out and pasted over the scene without every
    part that they touch (ideal); or every part of which they cover a quarter (joint)."""
    moved, kept = told.pieces
    which = ((moved,), (kept,), (moved, kept))
    areas = [np.asarray(case.pieces[list(pieces)].any(0)) for pieces in which]
    pairs = list(zip(which, areas, strict=True))
    return {
        "ideal": tuple(Change("remove", case.under(area, 0), None, told.by, pieces) for pieces, area in pairs),
        "joint": tuple(Change("move", case.under(area, COVERED), None, told.by) for _, area in pairs),
    }


def backgrounds(case: Case, told: Told | None = None) -> Changes:
    """The same bird before each other background."""
    kinds = [kind for kind, _ in other_backgrounds(case.rendered.scene)]
    return {"swap": tuple(Change("before", (k,)) for k in kinds)}


# --------------------------------------------------------------------------------------------------
# Whether a truth says that a claim is false.

Wrong = Callable[[SceneTruth, Told, Sequence[Change]], bool]


def _nothing(told: Told) -> float:
    return NOTHING if told.unit == "probability" else NOTHING_ODDS


def _costs_nothing(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return max(t.lost(c, unit=told.unit) for c in changes) <= _nothing(told)


def _raises_nothing(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return min(t.lost(c, unit=told.unit) for c in changes) >= -_nothing(told)


def _tells_apart_nothing(sign: int, t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return max(sign * t.lost(c, t.case.versus, told.unit) for c in changes) <= _nothing(told)


def _another_wins(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return all(t.wins(c) != told.winner for c in changes)


def _target_wins(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return all(t.wins(c) == t.case.target for c in changes)


def _adds_nothing(sign: int, t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    together, *single = (t.lost(c, unit=told.unit) for c in changes)
    return sign * (sum(single) - together) <= _nothing(told)


def _relates_nothing(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    """Ending the relation costs nothing, or no more than moving both."""
    one, _, both = (t.lost(c, unit=told.unit) for c in changes)
    return min(one, one - both) <= _nothing(told)


def _not_enough(t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return all(t.left(c) < ENOUGH for c in changes)


def _outside(low: float, high: float, t: SceneTruth, told: Told, changes: Sequence[Change]) -> bool:
    return all(not low <= t.left(c) < high for c in changes)


def median_left(t: SceneTruth, changes: Sequence[Change]) -> float:
    """The median share of p that is left after the changes."""
    return float(np.median([t.left(c) for c in changes]))


@dataclass(frozen=True)
class Judge:
    """How a kind of claim is judged: the changes of the scene that decide, by truth, and what makes it false there.

    `of` is the claim in words. Where `bare`, hiding the bare body can make it true, which is no part: told beside.
    """

    changes: Callable[[Case, Told], Changes]
    false: Wrong
    of: str
    bare: bool = False


JUDGES: dict[str, Judge] = {
    "counts": Judge(_three, _costs_nothing, "a region counts for the class", bare=True),
    "against": Judge(_two, _raises_nothing, "a region counts against the class", bare=True),
    "rather": Judge(_two, partial(_tells_apart_nothing, 1), "a region speaks for one class, not the other", True),
    "rather-other": Judge(_two, partial(_tells_apart_nothing, -1), "a region speaks for the other class", True),
    "flip": Judge(_two, _another_wins, "without a region the model would say X", bare=True),
    "no-longer": Judge(_two, _target_wins, "without a region the model would no longer say X", bare=True),
    "needs": Judge(_one_by_one, partial(_adds_nothing, 1), "two regions need each other", bare=True),
    "stands-in": Judge(_one_by_one, partial(_adds_nothing, -1), "two regions stand in for each other", bare=True),
    "alone": Judge(_only, _not_enough, "a region alone suffices"),
    "suffices": Judge(_every, partial(_outside, ENOUGH, np.inf), "the rest of the picture alone suffices"),
    "part": Judge(_every, partial(_outside, LITTLE, ENOUGH), "the rest of the picture gives part of it"),
    "little": Judge(_every, partial(_outside, -np.inf, LITTLE), "it is the regions that count"),
    "relation": Judge(displacements, _relates_nothing, "how two parts lie to each other speaks for the class"),
    "decides": Judge(
        backgrounds, lambda t, told, changes: median_left(t, changes) >= ENOUGH, "the surroundings decide"
    ),
    "does-not-decide": Judge(
        backgrounds, lambda t, told, changes: median_left(t, changes) < ENOUGH, "the surroundings do not decide"
    ),
}


@dataclass(frozen=True)
class Verdict:
    """A claim's truth: `false` by the definition, `strict` by each of its truths alone, `covers` its interval (None: it
    states none). `bare` says that it is true after all if the bare body counts as a part."""

    told: Told
    false: bool
    strict: Mapping[str, bool]
    covers: bool | None
    bare: bool


def _bare(case: Case, told: Told) -> tuple[Change, ...]:
    """What the ideal hiding changes, from the scene without the bird, where the regions are at least a quarter bird."""
    row = JUDGES[told.kind]
    if not row.bare or case.rendered.bird_mask()[case.area(told.regions)].mean() < COVERED:
        return ()
    return tuple(Change("empty", within=c.within) for c in row.changes(case, told)["ideal"])


def judge(t: SceneTruth, told: Told) -> Verdict:
    """Whether a claim is true, and whether its interval holds the effect of ideal hiding."""
    row = JUDGES[told.kind]
    strict = {name: row.false(t, told, changes) for name, changes in row.changes(t.case, told).items()}
    false, covers = all(strict.values()), None
    if told.low is not None and told.high is not None:
        slack = SLACK if told.unit == "probability" else 10 * SLACK
        covers = told.low - slack <= t.lost(ideal(t.case, told.regions), unit=told.unit) <= told.high + slack
    emptied = _bare(t.case, told)
    return Verdict(told, false, strict, covers, false and bool(emptied) and not row.false(t, told, emptied))


# --------------------------------------------------------------------------------------------------
# Asking.


def wanted(case: Case) -> list[Change]:
    """Every change of the scene that the claims and the causes of a case ask for, each once."""
    out = [AS_IT_WAS, *(Change("remove", (n,)) for n in case.shown)]
    for told in case.told:
        out += [c for changes in JUDGES[told.kind].changes(case, told).values() for c in changes]
        out += [ideal(case, told.regions)] if told.low is not None else []
        out += _bare(case, told)
    return list(dict.fromkeys(out))


def truth_of_scene(clf: Classifier, case: Case, changes: Sequence[Change] | None = None) -> SceneTruth:
    """The answers to changes of a scene (those of its claims and causes), each scene rendered once."""
    changes = wanted(case) if changes is None else list(dict.fromkeys([AS_IT_WAS, *changes]))
    scenes = {c: _changed(case.rendered.scene, c) for c in changes}
    painted = {s: render(s).pixels for s in set(scenes.values()) if s != case.rendered.scene}
    painted[case.rendered.scene] = case.rendered.pixels
    shown = [_shown(case, c, painted[scenes[c]]) for c in changes]
    answers = clf.probabilities(clf.prepare([read(p) for p in shown])[0]).double().numpy()
    return SceneTruth(case, dict(zip(changes, answers, strict=True)))


def _changed(scene: Scene, change: Change) -> Scene:
    if change.how == "remove" and not change.what:
        return scene
    made: dict[str, Callable[[], Scene]] = {
        "remove": lambda: remove(scene, *change.what),
        "keep": lambda: keep_only(scene, change.what),
        "move": lambda: shift(scene, change.what, *change.by),
        "before": lambda: swap_background(scene, change.what[0]),
        "empty": lambda: remove_bird(scene),
    }
    return made[change.how]()


def _shown(case: Case, change: Change, painted: Pixels) -> Pixels:
    if change.pieces:
        return _pasted(case, change, painted)
    if change.within is None:
        return painted
    return np.where(case.area(change.within)[..., None], painted, case.rendered.pixels)


def _pasted(case: Case, change: Change, painted: Pixels) -> Pixels:
    """The picture as it was, what the pieces leave from the changed scene, and the pieces where they come to lie."""
    pixels, masks = case.rendered.pixels, case.pieces[list(change.pieces)]
    out = np.where(np.asarray(masks.any(0))[..., None], painted, pixels)
    for mask in masks:
        ys, xs = np.nonzero(mask)
        y, x = ys + round(change.by[0]), xs + round(change.by[1])
        seen = (y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1])
        out[y[seen], x[seen]] = pixels[ys[seen], xs[seen]]
    return out


# --------------------------------------------------------------------------------------------------
# What is left out, and the order of the parts.


@dataclass(frozen=True)
class Cause:
    """A part that is a cause, and how regions hold it: those said to count, and all of them (share, best IoU)."""

    name: str
    effect: float
    said: tuple[float, float]
    found: tuple[float, float]


def causes(t: SceneTruth, said: Iterable[int]) -> list[Cause]:
    """Every shown part whose removal costs more than `CAUSE`; `said` are the regions that are said to count."""
    effects = {n: t.lost(Change("remove", (n,))) for n in t.case.shown}
    masks, every = t.case.masks, range(len(t.case.regions))
    said = list(said)
    return [
        Cause(n, effect, _held(t.case, masks[n], said), _held(t.case, masks[n], every))
        for n, effect in effects.items()
        if effect > CAUSE
    ]


def _held(case: Case, part: Bools, which: Sequence[int]) -> tuple[float, float]:
    best = (float((part & case.regions[i]).sum() / (part | case.regions[i]).sum()) for i in which)
    return float(case.area(which)[part].mean()), max(best, default=0.0)


def rank(t: SceneTruth) -> float:
    """Spearman over parts between contributions shared out by overlap and removal effects; NaN where no part counts."""
    effects = np.array([t.lost(Change("remove", (n,))) for n in t.case.shown])
    if len(effects) < 2 or abs(effects).max() < NOTHING:
        return float("nan")
    masks = np.array([t.case.masks[n] for n in t.case.shown])
    sizes = t.case.regions.sum((1, 2)).clip(1)
    given = np.einsum("phw,rhw->pr", masks.astype(float), t.case.regions.astype(float)) / sizes @ t.case.contributions
    found = float(spearman(torch.from_numpy(given)[None], torch.from_numpy(effects)[None])[0])
    return 0.0 if np.isnan(found) else found
