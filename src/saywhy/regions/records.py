"""Regions, their game and their graphs as records of the explanation: arithmetic only, no classifier is asked.

k regions (k, H, W) in the model's view, the first of them the players of the game; C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.explanation import ConceptRecord, GameRecord, GraphRecord, Mask, place_word
from saywhy.graph.build import region_graph, spatial_relation
from saywhy.image import mask_box
from saywhy.intervene import Game, shapley_values
from saywhy.language import look, verify
from saywhy.players import Tree
from saywhy.regions.describe import paired
from saywhy.regions.propose import Evidence, verdict
from saywhy.seen import Seen

Reals = NDArray[np.float64]

CANDIDATES = 5
ALL_CLASSES = 20  # up to here every class is a candidate and gets its graph


@dataclass(frozen=True, eq=False)
class RegionsFound:
    """The regions of one image, which of them count for the target, the tree that they were chosen from, the game on
    the first of them (None: not played), what is known of them, and which are hidden in the mirror too."""

    regions: Tensor
    fors: Sequence[int]
    tree: Tree
    game: Game | None
    evidence: Evidence
    mirrored: tuple[int, ...] = ()


def records(seen: Seen, found: RegionsFound) -> dict[str, Any]:
    """The fields of the Explanation that regions fill."""
    concepts = _concepts(seen, found)
    if found.game is None:
        return {"concepts": concepts}
    graphs = {c: _graph(seen, found, found.game, c) for c in _candidates(seen)}
    values = found.game.values(seen.target, unit=found.evidence.unit)[0]
    game = GameRecord(unit=found.evidence.unit, full=float(values[-1]), empty=float(values[0]), fills=found.game.fills)
    return {"concepts": concepts, "game": game, "graph": graphs[seen.target], "graphs": tuple(graphs.values())}


def _candidates(seen: Seen) -> list[int]:
    if len(seen.probabilities) <= ALL_CLASSES:
        return list(range(len(seen.probabilities)))
    best = [int(c) for c in seen.probabilities.argsort(descending=True)[:CANDIDATES]]
    return list(dict.fromkeys([seen.target, *best, *([] if seen.versus is None else [seen.versus])]))


def _concepts(seen: Seen, found: RegionsFound) -> tuple[ConceptRecord, ...]:
    e, game = found.evidence, found.game
    phi = [] if game is None else shapley_values(game.values(seen.target, unit=e.unit))[0].tolist()
    attention = seen.attention.raw[None, None].clamp_min(0)
    positive = F.interpolate(attention, seen.image.shape[1:], mode="bilinear")[0, 0]
    total = float(positive.sum()) or 1.0
    rows = []
    for i, region in enumerate(found.regions):
        mask, words, lost = seen.on_photo(region), e.regions[i], e.lost(i)
        assert lost is not None, "each region is hidden by itself"
        share = e.lost(i, unit="probability")
        rows.append(
            ConceptRecord(
                id=words.id,
                name=words.name.text if words.name else None,
                name_confidence=words.name.confidence if words.name else None,
                name_route=words.name.route if words.name else None,
                concept=words.concept,
                hypothesis=seen.target,
                present=True,
                look=look(words.appearance, words.shade),
                colours=words.appearance.colours,
                size=words.appearance.size,
                shade=words.shade,
                beside=words.beside,
                mask=Mask.of(mask),
                box=mask_box(mask),
                place=place_word(mask),
                score=float(positive[region].sum()) / total,
                contribution=lost.value,
                contrast=_contrast(e, i),
                importance=min(1.0, max(0.0, (share.value if share else 0.0) / max(e.target.probability, 1e-12))),
                effect=lost.effect(),
                share=phi[i] if i < len(phi) else None,
                confirmed=verdict(e, i) != 0,
            )
        )
    return tuple(rows)


def _contrast(e: Evidence, i: int) -> float | None:
    if e.versus is None:
        return None
    m = verify.contrast_losses(e.hidden(i), e.target.probability, e.versus.probability, e.unit)
    return None if m is None else m.value


def _graph(seen: Seen, found: RegionsFound, game: Game, index: int) -> GraphRecord:
    """The graph of one candidate class: what each pair adds together at the whole picture.

    Of the target's pairs that were hidden in five ways it is their mean, as it is said; else it comes from the game.
    """
    e, k = found.evidence, game.k
    masks = [region.numpy() for region in found.regions[:k]]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
    values = game.values(index, unit=e.unit)[0].numpy()
    rival = seen.versus if index == seen.target else seen.target
    pairs = _at_the_whole(values, k)
    contrasts = None if rival is None else _at_the_whole(game.values(index, rival, unit=e.unit)[0].numpy(), k)
    confirmed: frozenset[str] = frozenset()
    if index == seen.target:
        confirmed = frozenset("-".join(e.regions[n].id for n in pair) for _, pair, _ in paired(e))
        for i, j in combinations(range(k), 2):
            _as_said(e, i, j, pairs, contrasts)
    phi = shapley_values(game.values(index, unit=e.unit))
    error = float((phi.sum() - (values[-1] - values[0])).abs())
    ids = [e.regions[i].id for i in range(k)]
    return region_graph(index, ids, places, pairs, contrasts, {"additivity_error": error}, confirmed)


def _as_said(e: Evidence, i: int, j: int, pairs: Reals, contrasts: Reals | None) -> None:
    """Puts the mean over the five ways in the place of what the game gives for a pair that was hidden in all."""
    ids, full = (e.regions[i].id, e.regions[j].id), e.target.probability
    rival = None if e.versus is None else e.versus.probability
    for table, other in ((pairs, None), (contrasts, rival)):
        m = None if table is None else verify.joint(e.runs, *ids, full, e.unit, other)
        if table is not None and m is not None:
            table[i, j] = table[j, i] = m.value


def _at_the_whole(values: Reals, k: int) -> Reals:
    """What each pair (k, k) of a game's values (2^k,) adds together beyond one by one, all others seen."""
    full, out = 2**k - 1, np.zeros((k, k))
    for i, j in combinations(range(k), 2):
        one, other = full & ~(1 << i), full & ~(1 << j)
        out[i, j] = out[j, i] = values[full] - values[one] - values[other] + values[one & other]
    return out
