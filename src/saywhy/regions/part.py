"""The part `regions`: the parts of the picture that count, the coalition game on them, and what may be said of them.

Every node of a tree of patches is hidden once; those that may count are hidden in five ways that differ in nature, and
what holds in them is said. k regions (k, H, W), numbered by what hiding each costs; those that were not confirmed last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.explanation import RegionName, Unit, place_word
from saywhy.intervene import CONFIRMING, play, seeded
from saywhy.language import Confirming
from saywhy.language.verify import runs_of, scores
from saywhy.parts import Act, Confirmed, Face, Proposal, Request
from saywhy.players import Bools, Reals, players
from saywhy.regions.choice import LEADING, Hidden, Side, chosen, hide_each, narrow, sides
from saywhy.regions.describe import describe
from saywhy.regions.noise import asked_again
from saywhy.regions.propose import Evidence, RegionWords, counted, wanted
from saywhy.regions.records import RegionsFound, records
from saywhy.regions.verdict import holds, multiples, rule, signed
from saywhy.regions.words import seen_as, told_apart
from saywhy.seen import Seen

SATURATED = 0.97  # from here on a probability hardly moves, whatever is hidden
GIVEN = 0.5  # of the probability: where a blank picture gives the class as much, the rest is no measure of evidence
MOST, UNCONFIRMED, HINDERING = 8, 4, 2  # regions; up to so many, those are shown that did not hold; those against
TRIED, PLAYERS = 10, 6
KINDS = "concepts"  # the part that knows what each place is of
NAMING = ("concepts", "names", "lexical")  # parts that name regions; what a person called a concept wins
UNITS: tuple[Unit, ...] = ("probability", "log-odds")
FAST_LEAVES, FAST_TRIED = 12, 5


# --------------------------------------------------------------------------------------------------
# From a picture to its regions.


@dataclass(frozen=True, eq=False)
class Chosen:
    """Regions (k, H, W) in their order, how many of them count for and how many against, the unit in which they were
    tested, how many parts were tried beside them, what hiding did, which were hidden in the mirror, and whether the
    mirror is the same thing to the classifier."""

    regions: Tensor
    fors: int
    against: int
    unit: Unit
    dropped: int
    hidden: Hidden
    mirrored: tuple[int, ...] = ()
    mirror: bool = False


def find_in(
    clf: Classifier,
    image: Tensor,
    probabilities: Tensor,
    target: int,
    *,
    blank: float = 0.0,
    count: int | None = None,
    unit: Unit = "probability",
    fast: bool = False,
    seed: int = 0,
    kinds: Tensor | None = None,
) -> Chosen:
    """The regions of one image (3, H, W) that count for the target, then those against it, then those not confirmed.

    `probabilities` (C,) are those of the whole picture, `blank` the target's on a blank one, `count` the most regions,
    `kinds` (H, W) the kind of thing that each pixel is of, where that is known.

    Raises:
        UsageError: a count outside 1 to 8.
    """
    if count is not None and not 1 <= count <= MOST:
        raise UsageError(f"regions: 1 to {MOST} can be asked for, not {count}")
    whole = probabilities.cpu().double().numpy()
    tree = players(image, leaves=FAST_LEAVES if fast else None, kinds=kinds)
    high = whole[target] > SATURATED or blank >= GIVEN * whole[target]
    units: tuple[Unit, ...] = (unit, "log-odds") if high and unit == "probability" else (unit,)
    noise = asked_again(clf, image, float(whole[target]), target)
    both = sides(clf, image, whole, target)
    hidden = replace(hide_each(both, tree, target, units), noise=noise)
    tests = (_tested(both, hidden, u, fast, seed) for u in units)
    of = next((t for t in tests if t.held), None) or _tested(both, hidden, units[0], fast, seed)
    most = count or MOST
    fors = of.held[: max(1, most - len(of.hindering)) if most > 1 else 1]
    against = of.hindering[: most - len(fors)]
    shown = of.failed[: max(0, min(most, UNCONFIRMED) - len(fors) - len(against))]
    regions = [*fors, *against, *shown]
    mirrored = tuple(n for n, i in enumerate(regions) if i in of.mirrored)
    masks, dropped = torch.from_numpy(of.masks[regions]), len(of.failed) - len(shown)
    return Chosen(masks, len(fors), len(against), of.unit, dropped, hidden, mirrored, both[1].mirrored)


@dataclass(frozen=True, eq=False)
class Tested:
    """Masks (m, H, W) tested in a unit: which hold for the target, the largest mean loss first, which against it,
    which do not, and which were hidden in the mirror too."""

    unit: Unit
    masks: Bools
    held: list[int]
    hindering: list[int]
    failed: list[int]
    mirrored: tuple[int, ...] = ()


def _tested(both: tuple[Side, Side], hidden: Hidden, unit: Unit, fast: bool, seed: int) -> Tested:
    """The chosen nodes, the strongest narrowed, hidden in five ways in the picture and in its mirror.

    They must hold on average in both, where there is a mirror; numbers are told of the picture itself.
    """
    picture, mirror = both
    fors = chosen(hidden, unit)[: FAST_TRIED if fast else TRIED]
    hindering = [] if fast else [i for i in chosen(hidden, unit, -1) if i not in fors][:HINDERING]
    strongest = not (fast or hidden.tree.fine)
    narrow_ones = narrow(hidden, fors, unit) if strongest else hidden.tree.masks(fors)
    masks = np.concatenate([narrow_ones, hidden.tree.masks(hindering)])
    own = losses_of(picture, masks, hidden.target, seed)
    signs = [1] * len(fors) + [-1] * len(hindering)
    likely = [n for n, sign in enumerate(signs) if signed(own[unit][:, n].tolist(), sign)]
    twice = likely if mirror.mirrored and not fast else []
    mean = {u: values.copy() for u, values in own.items()}
    turned = losses_of(mirror, masks[twice], hidden.target, seed)
    for u in UNITS:
        mean[u][:, twice] = (own[u][:, twice] + turned[u]) / 2
    how, fills = rule(hidden.tree.fine), [fill for fill, _ in CONFIRMING]

    def stands(n: int) -> bool:
        if abs(own[unit][:, n].mean()) <= hidden.noise.floor(len(CONFIRMING), unit):
            return False
        odds, sign = dict(zip(fills, mean["log-odds"][:, n].tolist(), strict=True)), signs[n]
        times = [sign * v for v in multiples(odds, hidden.nulls, float(masks[n].mean()))]
        return holds([sign * v for v in mean[unit][:, n].tolist()], times, unit, sign, how)

    cost = own[unit].mean(0)
    ranked = sorted((n for n in likely if stands(n)), key=lambda n: -abs(cost[n]))
    held, less = ([n for n in ranked if signs[n] == sign] for sign in (1, -1))
    return Tested(unit, masks, held, less, [n for n in range(len(signs)) if n not in ranked], tuple(twice))


def losses_of(side: Side, masks: Bools, target: int, seed: int) -> dict[Unit, Reals]:
    """What hiding each mask (m, H, W) costs on a side under the five fills (5, m), in both units."""
    if not len(masks):
        return {unit: np.zeros((len(CONFIRMING), 0)) for unit in UNITS}
    answers = [side.ask(masks, fill, s) for fill, s in seeded(CONFIRMING, seed)]
    return {unit: np.array([side.lost(a, target, unit) for a in answers]) for unit in UNITS}


# --------------------------------------------------------------------------------------------------
# The face of the part.


def find(part: None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> RegionsFound:
    """The regions, what is known of them before the runs, and the coalition game on those that count."""
    asked.tell("hiding each part of the picture")
    clf, target = seen.tap.clf, seen.target
    blank = earlier["baseline"].of(target) if "baseline" in earlier else 0.0
    kinds = earlier[KINDS].labels if KINDS in earlier else None
    of = find_in(
        clf, seen.image, seen.probabilities, target,
        blank=blank, count=asked.regions, unit=asked.unit, fast=asked.fast, seed=asked.seed, kinds=kinds,
    )  # fmt: skip
    playing = min(PLAYERS, of.fors + of.against)
    game = None
    if playing and not asked.fast:
        asked.tell(f"hiding and showing {playing} regions in all combinations")
        game = play(clf, seen.image, of.regions[:playing], fills=LEADING[:1], seed=asked.seed)
    known = earlier[KINDS].ids(of.regions) if KINDS in earlier else [None] * len(of.regions)
    evidence = _evidence(seen, of, _names(earlier, of.regions), known, asked)
    return RegionsFound(of.regions, tuple(range(of.fors)), of.hidden.tree, game, evidence, of.mirrored)


def _names(earlier: Mapping[str, Any], regions: Tensor) -> list[RegionName | None]:
    """What each region is called, by the first part that knows; later ones are asked of the others alone."""
    called: list[RegionName | None] = [None] * len(regions)
    for part in filter(earlier.__contains__, NAMING):
        unnamed = [n for n, name in enumerate(called) if name is None]
        for n, name in zip(unnamed, earlier[part].of(regions[unnamed]), strict=True):
            called[n] = name
    return called


def propose(found: RegionsFound, seen: Seen) -> Proposal:
    """Each region hidden, the strongest pairs, and all that count together, hidden and kept alone; regions in
    the mirror too, because networks answer a picture and its mirror by several points differently."""
    e = found.evidence
    acts = wanted(e, found.fors)
    mirrored: list[Act] = [("hide", (i,)) for i in found.mirrored]
    return Proposal(found.regions, tuple(r.id for r in e.regions), acts, mirrored)


def confirm(found: RegionsFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """What the runs confirm."""
    found = replace(found, evidence=replace(found.evidence, runs=runs))
    said, skipped = describe(found.evidence)
    made = ("regions", *(("game",) if found.game else ()), "confirming runs")
    return Confirmed(said, skipped, records(seen, found), _measured(found.evidence), made)


FACE = Face(find=find, propose=propose, confirm=confirm)


def _evidence(
    seen: Seen, of: Chosen, names: Sequence[RegionName | None], known: Sequence[str | None], asked: Request
) -> Evidence:
    hidden = of.hidden
    pixels = (seen.colours * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    words = []
    for i, region in enumerate(of.regions):
        mask = region.numpy()
        looks, shade = seen_as(pixels, mask)
        place = place_word(seen.on_photo(region))
        words.append(RegionWords(str(i + 1), float(mask.mean()), looks, place, shade, name=names[i], concept=known[i]))
    return Evidence(
        predicted=seen.score(int(seen.probabilities.argmax())),
        labels=not seen.tap.clf.exclusive,
        target=seen.score(seen.target),
        versus=None if seen.versus is None else seen.score(seen.versus),
        names=seen.tap.clf.class_names,
        regions=told_apart(words, of.regions.numpy()),
        nulls=hidden.nulls,
        most=float(np.abs(hidden.lost(LEADING[0])).max()),
        tried=len(hidden.tree.nodes),
        dropped=of.dropped,
        unit=of.unit,
        how=rule(hidden.tree.fine),
        noise=hidden.noise,
        mirror=of.mirror,
        fast=asked.fast,
    )


def _measured(e: Evidence) -> dict[str, Any]:
    """What goes into the record beside the regions: the null, and what the text keeps alone and leaves when hidden."""
    said = counted(e)
    ids = [e.regions[i].id for i in said]
    kept, gone = (scores(runs_of(e.runs, act, ids)) if said else None for act in ("keep", "hide"))
    sufficiency = None
    if kept and gone:
        told = {name: {"value": m.value, "low": max(0.0, m.low), "high": m.high} for name, m in
                (("alone", kept), ("without", gone))}  # fmt: skip
        sufficiency = {"regions": ids, **told}
    null = {"unit": "log-odds for the whole picture", **e.nulls}
    noise = {"asked": len(e.noise.asked), "spread": e.noise.spread(), "repeats": e.noise.repeats}
    return {"null": null, "noise": noise, "mirror": e.mirror, "sufficiency": sufficiency}
