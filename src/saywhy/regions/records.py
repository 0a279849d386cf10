"""Regions, their game and their graphs as records of the explanation: arithmetic only, no classifier is asked.

k regions (k, H, W) in the model's view, numbered by contribution; F fills, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from saywhy.explanation import ConceptRecord, Effect, GameRecord, GraphRecord, Mask, place_word
from saywhy.graph.build import region_graph, spatial_relation
from saywhy.image import mask_box
from saywhy.intervene import Game, interaction_indices, shapley_values
from saywhy.language import look
from saywhy.regions.propose import Evidence
from saywhy.seen import Seen

CANDIDATES = 5
ALL_CLASSES = 20  # up to here every class is a candidate and gets its graph


@dataclass(frozen=True, eq=False)
class RegionsFound:
    """The regions of one image, the game on them, what is known of them, and the unit that was asked for."""

    regions: Tensor
    game: Game
    evidence: Evidence
    unit: str


def records(seen: Seen, found: RegionsFound) -> dict[str, Any]:
    """The fields of the Explanation that regions fill."""
    graphs = _graphs(seen, found)
    return {
        "concepts": _concepts(seen, found),
        "game": _game(found.game, seen.target, found.unit),
        "graph": graphs[seen.target],
        "graphs": tuple(graphs.values()),
    }


def _candidates(seen: Seen) -> list[int]:
    if len(seen.probabilities) <= ALL_CLASSES:
        return list(range(len(seen.probabilities)))
    best = [int(c) for c in seen.probabilities.argsort(descending=True)[:CANDIDATES]]
    return list(dict.fromkeys([seen.target, *best, *([] if seen.versus is None else [seen.versus])]))


def _concepts(seen: Seen, found: RegionsFound) -> tuple[ConceptRecord, ...]:
    regions, game, evidence, unit = found.regions, found.game, found.evidence, found.unit
    phi = shapley_values(game.values(seen.target, unit=unit)).mean(dim=0)
    contrast = None
    if seen.versus is not None:
        contrast = shapley_values(game.values(seen.target, seen.versus, unit=unit)).mean(dim=0)
    attention = seen.attention.raw[None, None].clamp_min(0)
    positive = F.interpolate(attention, regions.shape[1:], mode="bilinear")[0, 0]
    total = float(positive.sum()) or 1.0
    rows = []
    for i, region in enumerate(regions):
        mask, words = seen.on_photo(region), evidence.regions[i]
        effect = _hiding(evidence, evidence.regions[i].id)
        lost = -effect.change / max(evidence.target.probability, 1e-12)
        rows.append(
            ConceptRecord(
                id=evidence.regions[i].id,
                name=None,
                name_confidence=None,
                hypothesis=seen.target,
                present=True,
                look=look(words.appearance),
                colours=words.appearance.colours,
                size=words.appearance.size,
                beside=words.beside,
                mask=Mask.of(mask),
                box=mask_box(mask),
                place=place_word(mask),
                score=float(positive[region].sum()) / total,
                contribution=float(phi[i]),
                contrast=None if contrast is None else float(contrast[i]),
                importance=min(1.0, max(0.0, lost)),
                effect=effect,
            )
        )
    return tuple(rows)


def _hiding(evidence: Evidence, region: str) -> Effect:
    runs = [c for c in evidence.runs if c.run.act == "hide" and c.run.regions == (region,)]
    changes = sorted(c.run.score - evidence.target.probability for c in runs)
    return Effect(
        change=float(np.median(changes)),
        low=changes[0],
        high=changes[-1],
        runs=len(runs),
        passes=sum(c.passes for c in runs),
        fill=", ".join(sorted({c.run.fill for c in runs})),
    )


def _game(game: Game, target: int, unit: str) -> GameRecord:
    values = game.values(target, unit=unit).mean(dim=0)
    return GameRecord(unit=unit, full=float(values[-1]), empty=float(values[0]), fills=game.fills)  # type: ignore[arg-type]


def _graphs(seen: Seen, found: RegionsFound) -> dict[int, GraphRecord]:
    """One graph for each candidate class; the regions lie the same way in all of them."""
    masks = [region.numpy() for region in found.regions]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
    return {c: _graph(seen, found, places, c) for c in _candidates(seen)}


def _graph(seen: Seen, found: RegionsFound, places: list[tuple[tuple[str, float], ...]], index: int) -> GraphRecord:
    game, unit = found.game, found.unit
    values = game.values(index, unit=unit)
    phi = shapley_values(values)
    rival = seen.versus if index == seen.target else seen.target
    contrasts = None
    if rival is not None:
        contrasts = interaction_indices(game.values(index, rival, unit=unit)).mean(dim=0).numpy()
    error = (phi.sum(dim=-1) - (values[:, -1] - values[:, 0])).abs().max()
    spread = (phi.max(dim=0).values - phi.min(dim=0).values).max()
    return region_graph(
        index,
        [str(i + 1) for i in range(game.k)],
        places,
        interaction_indices(values).mean(dim=0).numpy(),
        contrasts,
        {"additivity_error": float(error), "largest_difference_between_fills": float(spread)},
    )
