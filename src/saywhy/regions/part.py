"""The part `regions`: 3 to 6 coherent regions, the coalition game on them, and what its findings come to.

The game proposes, other runs (another fill, another seed, hiding and keeping alone) confirm. k regions (k, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saywhy.explanation import Beside, place_word
from saywhy.graph.build import spatial_relation
from saywhy.intervene import Game, interaction_indices, play, shapley_values
from saywhy.language import Confirming, appearance, look
from saywhy.parts import Confirmed, Face, Proposal, Request
from saywhy.regions.describe import describe
from saywhy.regions.extract import find_regions
from saywhy.regions.propose import Evidence, RegionWords, wanted
from saywhy.regions.records import RegionsFound, records
from saywhy.seen import Attended, Seen
from saywhy.tap import Tap

GAME_FILLS = ("inpaint", "blur")


def find_in(tap: Tap, attention: Attended, *, count: int | None = None, seed: int = 0) -> Tensor:
    """The regions (k, H, W) of a tap's first image, looked for where attention says."""
    maps = [tap.maps(name)[0] for name in tap.points]
    return find_regions(tap.images[0], maps, attention.both, count=count, seed=seed)


def find(part: None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> RegionsFound:
    """The regions and the game on them, renumbered so that region 1 is the one that counts most."""
    regions = find_in(seen.tap, seen.attention, count=asked.regions, seed=asked.seed)
    asked.tell(f"hiding and showing {len(regions)} regions in all combinations")
    game = play(seen.tap.clf, seen.image, regions, fills=GAME_FILLS, seed=asked.seed)
    regions, game = _by_contribution(regions, game, seen.target)
    return RegionsFound(regions, game, _evidence(seen, regions, game), asked.unit)


def propose(found: RegionsFound, seen: Seen) -> Proposal:
    """Each region hidden, all of them, the strongest kept alone, the strongest pairs hidden."""
    return Proposal(found.regions, tuple(r.id for r in found.evidence.regions), wanted(found.evidence))


def confirm(found: RegionsFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """What the runs confirm of what the game has found."""
    found = replace(found, evidence=replace(found.evidence, runs=runs))
    said, skipped = describe(found.evidence)
    return Confirmed(said, skipped, records(seen, found), made=("regions", "game", "confirming runs"))


FACE = Face(find=find, propose=propose, confirm=confirm)


# --------------------------------------------------------------------------------------------------
# What the game found.


def _by_contribution(found: Tensor, game: Game, target: int) -> tuple[Tensor, Game]:
    """Regions and game renumbered, so that region 1 is the one that counts most for the target."""
    phi = shapley_values(game.values(target)).mean(dim=0)
    order = [int(i) for i in phi.argsort(descending=True, stable=True)]
    old = [sum(1 << order[i] for i in range(game.k) if s >> i & 1) for s in range(2**game.k)]
    return found[order], Game(game.k, game.fills, game.probabilities[:, old])


def _evidence(seen: Seen, found: Tensor, game: Game) -> Evidence:
    pixels = (seen.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    words = _told_apart(
        [
            RegionWords(str(i + 1), appearance(pixels, region.numpy()), place_word(seen.on_photo(region)))
            for i, region in enumerate(found)
        ],
        found,
    )
    values = game.values(seen.target)
    contrast = None if seen.versus is None else game.values(seen.target, seen.versus)
    return Evidence(
        predicted=seen.score(int(seen.probabilities.argmax())),
        target=seen.score(seen.target),
        versus=None if seen.versus is None else seen.score(seen.versus),
        names=seen.tap.clf.class_names,
        regions=words,
        shapley=shapley_values(values).numpy(),
        contrast_shapley=None if contrast is None else shapley_values(contrast).numpy(),
        interactions=interaction_indices(values).numpy(),
        empty=values[:, 0].numpy(),
    )


def _told_apart(words: Sequence[RegionWords], found: Tensor) -> tuple[RegionWords, ...]:
    """Regions that would be called alike also say where they lie from the first of that name."""
    first: dict[tuple[str, str], int] = {}
    out = []
    for i, w in enumerate(words):
        namesake = first.setdefault((look(w.appearance), w.place), i)
        relation, _ = spatial_relation(found[i].numpy(), found[namesake].numpy())
        alike = namesake != i and relation != "at"
        out.append(replace(w, beside=Beside(relation=relation, region=words[namesake].id)) if alike else w)
    return tuple(out)
