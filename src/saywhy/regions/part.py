"""The part `regions`: the parts of the picture that count, the coalition game on them, and what may be said of them.

Every node of a tree of patches is hidden once; those that may count are hidden in five ways that differ in nature, and
what holds in them is said. k regions (k, H, W), numbered by what hiding each costs; those that were not confirmed last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.explanation import Unit, place_word
from saywhy.intervene import CONFIRMING, play, seeded
from saywhy.language import Confirming
from saywhy.language.verify import runs_of, scores
from saywhy.parts import Confirmed, Face, Proposal, Request
from saywhy.regions.choice import LEADING, Hidden, ask, chosen, hide_each
from saywhy.regions.describe import describe
from saywhy.regions.players import players
from saywhy.regions.propose import Evidence, RegionWords, counted, wanted
from saywhy.regions.records import RegionsFound, records
from saywhy.regions.verdict import holds, multiples
from saywhy.regions.words import seen_as, told_apart
from saywhy.seen import Seen

SATURATED = 0.97  # from here on a probability hardly moves, whatever is hidden
GIVEN = 0.5  # of the probability: where a blank picture gives the class as much, the rest is no measure of evidence
MOST, UNCONFIRMED, HINDERING = 8, 4, 2  # regions; up to so many, those are shown that did not hold; those against
TRIED, PLAYERS = 10, 5
FAST_LEAVES, FAST_TRIED = 12, 5


# --------------------------------------------------------------------------------------------------
# From a picture to its regions.


@dataclass(frozen=True, eq=False)
class Chosen:
    """Regions (k, H, W) in their order, how many of them count for and how many against, the unit in which they were
    tested, how many parts were tried beside them, and what hiding did."""

    regions: Tensor
    fors: int
    against: int
    unit: Unit
    dropped: int
    hidden: Hidden


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
) -> Chosen:
    """The regions of one image (3, H, W) that count for the target, then those against it, then those not confirmed.

    `probabilities` (C,) are those of the whole picture, `blank` the target's on a blank one, `count` the most regions.

    Raises:
        UsageError: a count outside 1 to 8.
    """
    if count is not None and not 1 <= count <= MOST:
        raise UsageError(f"regions: 1 to {MOST} can be asked for, not {count}")
    whole = probabilities.double().cpu().numpy()
    tree = players(image, leaves=FAST_LEAVES if fast else None)
    high = whole[target] > SATURATED or blank >= GIVEN * whole[target]
    units: tuple[Unit, ...] = (unit, "log-odds") if high and unit == "probability" else (unit,)
    hidden = hide_each(clf, image, tree, whole, target, units)
    tests = (_tested(clf, image, hidden, u, fast, seed) for u in units)
    unit, held, hindering, failed = next((t for t in tests if t[1]), None) or _tested(
        clf, image, hidden, units[0], fast, seed
    )
    most = count or MOST
    fors, against = held[: max(1, most - len(hindering)) if most > 1 else 1], hindering
    against = against[: most - len(fors)]
    shown = failed[: max(0, min(most, UNCONFIRMED) - len(fors) - len(against))]
    masks = torch.from_numpy(tree.masks([*fors, *against, *shown]))
    return Chosen(masks, len(fors), len(against), unit, len(failed) - len(shown), hidden)


def _tested(
    clf: Classifier, image: Tensor, hidden: Hidden, unit: Unit, fast: bool, seed: int
) -> tuple[Unit, list[int], list[int], list[int]]:
    """The nodes that hold for the target, the largest mean loss first, those that hold against it, and the others."""
    fors = chosen(hidden, unit)[: FAST_TRIED if fast else TRIED]
    hindering = [] if fast else chosen(hidden, unit, -1)[:HINDERING]
    picked = [*fors, *(i for i in hindering if i not in fors)]
    fills = {fill: ask(clf, image, hidden.tree.masks(picked), fill, s) for fill, s in seeded(CONFIRMING, seed)}
    rows = {i: {fill: answers[n] for fill, answers in fills.items()} for n, i in enumerate(picked)}
    lost = {i: _lost(hidden, rows[i], unit) for i in picked}
    times = {i: multiples(_lost(hidden, rows[i], "log-odds"), hidden.nulls, hidden.tree.areas[i]) for i in picked}
    held = [i for i in fors if holds(list(lost[i].values()), times[i], unit)]
    less = [i for i in hindering if holds([-v for v in lost[i].values()], [-v for v in times[i]], unit, -1)]

    def mean(i: int) -> float:
        return float(np.mean(list(lost[i].values())))

    held, less = sorted(held, key=lambda i: -mean(i)), sorted(less, key=mean)
    return unit, held, less, [i for i in picked if i not in (*held, *less)]


def _lost(hidden: Hidden, answers: Mapping[str, Any], unit: Unit) -> dict[str, float]:
    one = replace(hidden, answers={fill: row[None] for fill, row in answers.items()})
    return {fill: float(one.lost(fill, unit)[0]) for fill in answers}


# --------------------------------------------------------------------------------------------------
# The face of the part.


def find(part: None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> RegionsFound:
    """The regions, what is known of them before the runs, and the coalition game on those that count."""
    asked.tell("hiding each part of the picture")
    clf, target = seen.tap.clf, seen.target
    blank = earlier["baseline"].of(target) if "baseline" in earlier else 0.0
    of = find_in(
        clf, seen.image, seen.probabilities, target,
        blank=blank, count=asked.regions, unit=asked.unit, fast=asked.fast, seed=asked.seed,
    )  # fmt: skip
    playing = min(PLAYERS, of.fors + of.against)
    game = None
    if playing and not asked.fast:
        asked.tell(f"hiding and showing {playing} regions in all combinations")
        game = play(clf, seen.image, of.regions[:playing], fills=LEADING[:1], seed=asked.seed)
    return RegionsFound(of.regions, tuple(range(of.fors)), game, _evidence(seen, of, asked))


def propose(found: RegionsFound, seen: Seen) -> Proposal:
    """Each region hidden, the strongest pairs, and all that count together, hidden and kept alone."""
    e = found.evidence
    return Proposal(found.regions, tuple(r.id for r in e.regions), wanted(e, found.fors))


def confirm(found: RegionsFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """What the runs confirm."""
    found = replace(found, evidence=replace(found.evidence, runs=runs))
    said, skipped = describe(found.evidence)
    made = ("regions", *(("game",) if found.game else ()), "confirming runs")
    return Confirmed(said, skipped, records(seen, found), _measured(found.evidence), made)


FACE = Face(find=find, propose=propose, confirm=confirm)


def _evidence(seen: Seen, of: Chosen, asked: Request) -> Evidence:
    hidden = of.hidden
    pixels = (seen.image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    words = []
    for i, region in enumerate(of.regions):
        mask = region.numpy()
        looks, shade = seen_as(pixels, mask)
        place = place_word(seen.on_photo(region))
        words.append(RegionWords(str(i + 1), float(mask.mean()), looks, place, shade))
    return Evidence(
        predicted=seen.score(int(seen.probabilities.argmax())),
        target=seen.score(seen.target),
        versus=None if seen.versus is None else seen.score(seen.versus),
        names=seen.tap.clf.class_names,
        regions=told_apart(words, of.regions.numpy()),
        nulls=hidden.nulls,
        most=float(np.abs(hidden.lost(LEADING[0])).max()),
        tried=len(hidden.tree.nodes),
        dropped=of.dropped,
        unit=of.unit,
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
    return {"null": {"unit": "log-odds for the whole picture", **e.nulls}, "sufficiency": sufficiency}
