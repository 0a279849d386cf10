"""What really counts: three coalition games of the rules, solved exactly for one picture.

N are the shown parts of a bird, S a subset. What S shows of an atom is that it holds, that it is false, or
nothing yet (a part of it is not in S). The *rule game* of species c asks how sure it is that its rule is
fulfilled when S alone is seen and all else is drawn as the aviary draws it:

    r_c(S) = product over the atoms a of c's rule of  1 if S shows that a holds, 0 if S shows that it is false,
                                                      1/m(a) if S shows nothing of it

with m(a) the number of looks that the aviary draws there (`DOMAINS`; 2 for a relation); in the second edition the
chance that an optional part is there counts too, and of atoms of which one must hold the factor is 1 less the chance
that none does. r_c(N) = 1 for a whole bird
of species c. A part that c's rule does not name is worth exactly nothing.

The *observer game* asks the same of somebody who also knows that the bird is one of the species and holds all that S
does not contradict equally likely, C(S):

    o_c(S) = 1 / |C(S)|  if c is in C(S), else 0.

o_c({}) = 1/24 and o_c(N) = 1. Here a part that c's rule leaves free can still help, because it rules out others;
parts that no rule names (`NULL_PARTS`) are worth exactly nothing. This observer counts and does not weigh: a red
breast leaves those whose rule wants it and those whose rule leaves it free equally likely, though it is four times
as common among the first. What weighs is the *Bayes game*:

    b_c(S) = P(c | what S shows) = l_c(S) / sum over the species s of l_s(S),  l_s(S) = r_s(S) / r_s({}),

since P(S | s) / P(S) = P(s's rule holds | S) / P(s's rule holds). This is what the best classifier does that sees
looks and relations and nothing else; of a single height or place, which tells a little (59 of 100), it knows nothing.

In all three games a relation needs both of its parts in S: what it adds is an interaction of the two.

n: players; a coalition is a whole number whose bit i says whether player i takes part.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from saywhy.aviary.birds import Bird
from saywhy.aviary.counterfactuals import become, remove, swap_background, transplant
from saywhy.aviary.scene import Rendered, Scene, render
from saywhy.aviary.world import Atom, Species, holds, identify, species, world
from saywhy.errors import UsageError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class TrueGame:
    """A coalition game: `values[S]` for all 2^n coalitions of `players`."""

    players: tuple[str, ...]
    values: Values

    def value(self, coalition: Collection[str]) -> float:
        """v of a coalition given by its players' names."""
        return float(self.values[sum(1 << i for i, p in enumerate(self.players) if p in coalition)])

    def minus(self, other: TrueGame) -> TrueGame:
        """The game "this rather than that": the difference of two games with the same players."""
        if self.players != other.players:
            raise UsageError(f"games of different players cannot be compared: {self.players} and {other.players}")
        return TrueGame(self.players, self.values - other.values)


def _players(bird: Bird, parts: Collection[str] | None) -> tuple[str, ...]:
    seen, own = bird.names if parts is None else parts, world(bird.edition)
    return tuple(n for n in own.parts if n in seen and n in bird.names and n not in own.null_parts)


def _bits(atom: Atom, players: Sequence[str]) -> int | None:
    """The coalition of an atom's parts, None when one of them does not play."""
    if not set(atom.parts) <= set(players):
        return None
    return sum(1 << players.index(p) for p in atom.parts)


def _likely(bird: Bird, atom: Atom, players: Sequence[str], coalitions: NDArray[np.int64]) -> Values:
    """How likely an atom is to hold in every coalition: 1 or 0 where it is seen, else its chance."""
    own, bits = world(bird.edition), _bits(atom, players)
    open_ = np.full(len(coalitions), own.chance(atom, atom.parts))
    for part in atom.parts:
        if part in own.presence:
            there = (coalitions >> players.index(part)) & 1 if part in players else np.zeros_like(coalitions)
            open_ *= np.where(there == 1, 1.0, own.presence[part])
    if bits is None:
        return open_
    return np.where((coalitions & bits) == bits, 1.0 if holds(bird, atom) else 0.0, open_)


def _fulfilled(bird: Bird, wanted: Sequence[Species], players: Sequence[str]) -> list[Values]:
    """How likely the rule of each species is to hold in every coalition."""
    coalitions = np.arange(2 ** len(players))
    likely: dict[Atom, Values] = {}
    out = []
    for clauses in (s.clauses for s in wanted):
        values = np.ones(len(coalitions))
        for clause in clauses:
            for atom in clause:
                if atom not in likely:
                    likely[atom] = _likely(bird, atom, players, coalitions)
            values *= likely[clause[0]] if len(clause) == 1 else 1 - np.prod([1 - likely[a] for a in clause], axis=0)
        out.append(values)
    return out


def rule_game(bird: Bird, target: str, *, parts: Collection[str] | None = None) -> TrueGame:
    """The rule game r_c of a species on a bird, played by those of the given parts (default: all) that rules name.

    Raises:
        UsageError: no such species.
    """
    players = _players(bird, parts)
    return TrueGame(players, _fulfilled(bird, [species(target)], players)[0])


def bayes_game(bird: Bird, target: str, *, parts: Collection[str] | None = None) -> TrueGame:
    """The Bayes game b_c of a species on a bird; players and errors as `rule_game`."""
    players, wanted = _players(bird, parts), species(target)
    everyone = list(world(bird.edition).species.values())
    lifts = [likely / likely[0] for likely in _fulfilled(bird, everyone, players)]
    total, mine = np.sum(lifts, axis=0), lifts[everyone.index(wanted)]
    # Of a chimera that nothing explains every species is as likely as before.
    return TrueGame(players, np.where(total > 0, mine / np.where(total > 0, total, 1), mine[0] / total[0]))


def observer_game(bird: Bird, target: str, *, parts: Collection[str] | None = None) -> TrueGame:
    """The observer game o_c of a species on a bird, which counts species and does not weigh them; players and errors
    as `rule_game`."""
    players, wanted = _players(bird, parts), species(target)
    everyone = list(world(bird.edition).species.values())
    left = [likely > 0 for likely in _fulfilled(bird, everyone, players)]
    possible = np.sum(left, axis=0)
    return TrueGame(players, np.where(left[everyone.index(wanted)], 1 / np.maximum(possible, 1), 0.0))


@cache
def _sizes(n: int) -> NDArray[np.int64]:
    """Number of players of every coalition of n."""
    return np.array([s.bit_count() for s in range(2**n)])


@cache
def _without(n: int, *players: int) -> NDArray[np.int64]:
    """All coalitions that none of the given players is in."""
    every: NDArray[np.int64] = np.arange(2**n)
    rest: NDArray[np.int64] = every[(every & sum(1 << p for p in players)) == 0]
    return rest


def shapley(game: TrueGame) -> dict[str, float]:
    """The Shapley value of each player; their sum is v(N) - v({}). Shapley 1953."""
    n, v = len(game.players), game.values
    weight = np.array([factorial(k) * factorial(n - k - 1) / factorial(n) for k in range(n)])
    out = {}
    for i, name in enumerate(game.players):
        rest = _without(n, i)
        out[name] = float(weight[_sizes(n)[rest]] @ (v[rest | 1 << i] - v[rest]))
    return out


def _pairs(game: TrueGame, weight: Values) -> dict[tuple[str, str], float]:
    n, v = len(game.players), game.values
    out = {}
    for i, j in combinations(range(n), 2):
        rest = _without(n, i, j)
        a, b = 1 << i, 1 << j
        change = v[rest | a | b] - v[rest | a] - v[rest | b] + v[rest]
        out[game.players[i], game.players[j]] = float(weight[_sizes(n)[rest]] @ change)
    return out


def interactions(game: TrueGame) -> dict[tuple[str, str], float]:
    """The Shapley interaction index of each pair of players. Grabisch and Roubens 1999."""
    n = len(game.players)
    return _pairs(game, np.array([factorial(k) * factorial(n - k - 2) / factorial(n - 1) for k in range(n - 1)]))


def taylor(game: TrueGame) -> dict[tuple[str, ...], float]:
    """The Shapley-Taylor index of order two: singles and pairs, whose sum is v(N) - v({}).

    Singles are v({i}) - v({}). Sundararajan, Dhamdhere and Agarwal 2020.
    """
    n, v = len(game.players), game.values
    singles: dict[tuple[str, ...], float] = {(p,): float(v[1 << i] - v[0]) for i, p in enumerate(game.players)}
    if n < 2:
        return singles
    return singles | dict(_pairs(game, np.array([2 / n / comb(n - 1, k) for k in range(n - 1)])))


# --------------------------------------------------------------------------------------------------
# Necessity and sufficiency, by removal and by replacement.


@dataclass(frozen=True)
class PartTruth:
    """What one part is worth for a species in one picture.

    `contribution`: Shapley value in the rule game r. `necessity`: r(N) - r(N without the part).
    `sufficiency`: r(part alone) - r(nothing). `replaced`: share of the other species' versions of the part with
    which the bird is no longer of its species. `carries`: the bird becomes each other species in turn (`become`)
    and gets this one part back; the share of species for which that makes it what it was.
    """

    contribution: float
    necessity: float
    sufficiency: float
    replaced: float
    carries: float


def part_truths(scene: Scene, *, bird: int = 0, parts: Collection[str] | None = None) -> dict[str, PartTruth]:
    """The truth about each given part of a bird (default: all) for the species that the bird is.

    Raises:
        UsageError: the bird is of no species.
    """
    own = scene.birds[bird]
    if own.species is None:
        raise UsageError("the bird fulfils no rule; ask rule_game about the species that you mean")
    seen = own.names if parts is None else parts
    game = rule_game(own, own.species, parts=seen)
    values = shapley(game)
    others = [become(scene, s, bird=bird).birds[bird] for s in world(own.edition).classes if s != own.species]
    out = {}
    for part in (p for p in own.parts if p.name in seen):
        name = part.name
        changed = [s.birds[bird].species != own.species for _, s in replacements(scene, name, bird=bird)]
        out[name] = PartTruth(
            values.get(name, 0.0),
            game.value(game.players) - game.value([p for p in game.players if p != name]),
            game.value([name]) - game.value([]),
            sum(changed) / len(changed) if changed else 0.0,
            sum(identify(b.with_part(part)) == own.species for b in others) / len(others),
        )
    return out


def replacements(scene: Scene, part: str, *, bird: int = 0) -> list[tuple[str, Scene]]:
    """The scene with a part as each other species wants it: (donor, scene) wherever that changes the bird."""
    own = scene.birds[bird]
    out, met = [], {own.parts}
    for donor in (s for s in world(own.edition).species.values() if part in s.parts and s.name != own.species):
        changed = transplant(scene, part, donor.name, bird=bird)
        if changed.birds[bird].parts not in met:
            met.add(changed.birds[bird].parts)
            out.append((donor.name, changed))
    return out


def other_looks(scene: Scene, part: str, *, bird: int = 0) -> list[tuple[str, str, Scene]]:
    """The scene with a part in every other look that the aviary draws: (key, value, scene), one attribute changed; in
    a relation also the part where the other answer wants it ("relation", its plain name, scene).

    Removing a part takes a whole bird apart; these are birds as good as any, with other evidence in that place.
    """
    own = scene.birds[bird]
    if own.part(part) is None:
        return []
    changes = ((k, v, _changed(own, part, k, v)) for k, v in _others(own, part))
    return [(k, v, scene.with_bird(replace(b, species=identify(b)), bird)) for k, v, b in changes]


def replaced_looks(scene: Scene, *, bird: int = 0) -> dict[str, dict[str, float]]:
    """For each part and each kind of change the share of its other looks with which the bird is not what it was."""
    own = scene.birds[bird]
    named = () if own.species is None else species(own.species).parts
    out: dict[str, dict[str, float]] = {}
    for part in own.names:
        found: dict[str, list[bool]] = {}
        for key, value in _others(own, part):
            # What the rule does not name can't change what the bird is.
            found.setdefault(key, []).append(part in named and not _still(own, part, key, value))
        out[part] = {k: sum(v) / len(v) for k, v in found.items()}
    return out


def _others(own: Bird, part: str) -> list[tuple[str, str]]:
    """(key, value) of every other look of a part, and ("relation", name) of the other answers that it is part of."""
    known, mine = world(own.edition), own.part(part)
    out = [(k, v) for (n, k), values in known.domains.items() if n == part for v in values if v != getattr(mine, k)]
    for row in known.relations:
        if part in (row.part, row.other) and (answer := row.answer(own)) is not None:
            out.append(("relation", row.name(row.answers[1 - row.answers.index(answer)])))
    return out


def _changed(own: Bird, part: str, key: str, value: str) -> Bird:
    """The bird with that one change of `_others`."""
    mine = own.part(part)
    assert mine is not None
    if key != "relation":
        return own.with_part(replace(mine, **{key: value}))  # type: ignore[arg-type]
    row = next(r for r in world(own.edition).relations if value in (r.name(r.answers[0]), r.name(r.answers[1])))
    first, second = own.part(row.part), own.part(row.other)
    assert first is not None and second is not None
    first, second = row.turned(first, second)
    return own.with_part(first).with_part(second)


def _still(own: Bird, part: str, key: str, value: str) -> bool:
    """Whether the bird fulfils its rule after the change."""
    assert own.species is not None
    changed = _changed(own, part, key, value)
    return all(any(holds(changed, a) for a in clause) for clause in species(own.species).clauses)


def other_backgrounds(scene: Scene) -> list[tuple[str, Scene]]:
    """The scene before each other background."""
    return [(k, swap_background(scene, k)) for k in world(scene.edition).backgrounds if k != scene.background.kind]


def removals(scene: Scene, *, bird: int = 0) -> dict[str, Scene]:
    """The scene without each part that can be removed."""
    return {n: remove(scene, n, bird=bird) for n in scene.birds[bird].names if n != world(scene.edition).carrier}


# --------------------------------------------------------------------------------------------------
# Where the parts are to each other in the picture.


def centroids(rendered: Rendered, *, bird: int = 0) -> dict[str, tuple[float, float]]:
    """The centroid (x, y) in pixels of the visible pixels of each shown part."""
    owner = np.maximum(rendered.owner, 0)
    h, w = owner.shape
    column, row = np.tile(np.arange(w), h), np.repeat(np.arange(h), w)
    count, x, y = (np.bincount(owner.ravel(), k) for k in (None, column, row))
    at = {n: rendered.number(n, bird) for n in rendered.shown(bird)}
    return {n: (float(x[k] / count[k]), float(y[k] / count[k])) for n, k in at.items()}


def part_relations(rendered: Rendered, *, bird: int = 0, gap: float = 0.04) -> list[tuple[str, str, str]]:
    """(part, relation, other part) for all pairs of shown parts in the picture: "left of" or "right of" and
    "above" or "below" along the axis on which the centroids lie further apart, if by `gap` of the picture."""
    at = centroids(rendered, bird=bird)
    out = []
    for (a, (ax, ay)), (b, (bx, by)) in combinations(at.items(), 2):
        dx, dy = bx - ax, by - ay
        if max(abs(dx), abs(dy)) < gap * rendered.scene.size:
            continue
        if abs(dx) >= abs(dy):
            out.append((a, "left of" if dx > 0 else "right of", b))
        else:
            out.append((a, "above" if dy > 0 else "below", b))
    return out


def contributions(scene: Scene, target: str, *, bird: int = 0) -> dict[str, float]:
    """Shapley values in the rule game of all parts of a bird for a species; hidden and null parts have exactly 0."""
    values = shapley(rule_game(scene.birds[bird], target, parts=render(scene).shown(bird)))
    return {n: values.get(n, 0.0) for n in scene.birds[bird].names}
