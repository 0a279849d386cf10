"""From what was measured on one image to the frozen Explanation: arithmetic and records, no classifier is asked.

k regions (k, H, W) in the model's view, numbered by contribution; F fills, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import saywhy
from saywhy.classifier import Classifier
from saywhy.explanation import (
    ClassScore,
    ConceptRecord,
    Cost,
    Effect,
    Explanation,
    GameRecord,
    GraphRecord,
    ImageRecord,
    Mask,
    ModelRecord,
    Prediction,
    Provenance,
    SaliencyRecord,
    Statement,
    place_word,
)
from saywhy.graph.build import region_graph, spatial_relation
from saywhy.image import Bools, Box, Picture, mask_box, thumbnail
from saywhy.intervene import Game, interaction_indices, shapley_values
from saywhy.language import Evidence, look
from saywhy.passes import Meter
from saywhy.saliency import display
from saywhy.tap import Tap

TOP = 5
ALL_CLASSES = 20  # up to here every class is a candidate and gets its graph


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of the image before anything is hidden."""

    picture: Picture
    image: Tensor
    box: Box
    tap: Tap
    probabilities: Tensor
    target: int
    versus: int | None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measured:
    """All that was measured on one image: its regions, the game on them, and what other runs said of the findings."""

    seen: Seen
    method: str
    attention: Tensor
    regions: Tensor
    game: Game
    evidence: Evidence
    unit: str
    seed: int


def to_explanation(m: Measured, statements: list[Statement], skipped: int, meter: Meter, seconds: float) -> Explanation:
    """The Explanation of what was measured and said."""
    clf, seen, evidence, graphs = m.seen.tap.clf, m.seen, m.evidence, _graphs(m)
    return Explanation(
        image=_image_record(seen),
        model=ModelRecord(
            name=clf.name or type(clf.net).__name__,
            fingerprint=clf.fingerprint,
            layer=seen.tap.point().path if clf.white_box else None,
            layer_reason=clf.layer_reason,
        ),
        prediction=_prediction(clf, seen),
        target=evidence.target,
        versus=evidence.versus,
        saliency=_saliency_record(m.attention, m.method),
        concepts=_concepts(m),
        game=_game_record(m.game, seen.target, m.unit),
        graph=graphs[seen.target],
        graphs=tuple(graphs.values()),
        attributes=(),
        statements=tuple(statements),
        skipped_claims=skipped,
        text=" ".join(s.text for s in statements),
        cost=Cost(forward_passes=meter.forward_passes, tail_passes=meter.tail_passes, seconds=round(seconds, 3)),
        provenance=Provenance(
            saywhy=saywhy.__version__,
            torch=torch.__version__,
            seed=m.seed,
            parts=(f"saliency:{m.method}", "regions", "game", "confirming runs"),
        ),
        thumbnail=thumbnail(seen.picture),
        runs=tuple(c.run for c in evidence.runs),
    )


def _prediction(clf: Classifier, seen: Seen) -> Prediction:
    order = seen.probabilities.argsort(descending=True)[:TOP]
    top = tuple(class_score(clf, seen.probabilities, int(c)) for c in order)
    return Prediction(**top[0].model_dump(), top=top)


def _candidates(seen: Seen) -> list[int]:
    if len(seen.probabilities) <= ALL_CLASSES:
        return list(range(len(seen.probabilities)))
    best = [int(c) for c in seen.probabilities.argsort(descending=True)[:TOP]]
    return list(dict.fromkeys([seen.target, *best, *([] if seen.versus is None else [seen.versus])]))


def _concepts(m: Measured) -> tuple[ConceptRecord, ...]:
    seen, found, game, evidence, attention, unit = m.seen, m.regions, m.game, m.evidence, m.attention, m.unit
    phi = shapley_values(game.values(seen.target, unit=unit)).mean(dim=0)
    contrast = None
    if seen.versus is not None:
        contrast = shapley_values(game.values(seen.target, seen.versus, unit=unit)).mean(dim=0)
    positive = F.interpolate(attention[None, None].clamp_min(0), found.shape[1:], mode="bilinear")[0, 0]
    total = float(positive.sum()) or 1.0
    rows = []
    for i, region in enumerate(found):
        mask, words = on_photo(region, seen), evidence.regions[i]
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


def _game_record(game: Game, target: int, unit: str) -> GameRecord:
    values = game.values(target, unit=unit).mean(dim=0)
    return GameRecord(unit=unit, full=float(values[-1]), empty=float(values[0]), fills=game.fills)  # type: ignore[arg-type]


def _graphs(m: Measured) -> dict[int, GraphRecord]:
    """One graph for each candidate class; the regions lie the same way in all of them."""
    masks = [region.numpy() for region in m.regions]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
    return {c: _graph(m, places, c) for c in _candidates(m.seen)}


def _graph(m: Measured, places: list[tuple[tuple[str, float], ...]], index: int) -> GraphRecord:
    seen, game, unit = m.seen, m.game, m.unit
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


def _image_record(seen: Seen) -> ImageRecord:
    p = seen.picture
    return ImageRecord(path=p.path, sha256=p.sha256, width=p.width, height=p.height, seen=seen.box)


def _saliency_record(raw: Tensor, method: str) -> SaliencyRecord:
    _, (status,) = display(raw[None], (int(raw.shape[0]), int(raw.shape[1])))
    values = torch.nan_to_num(raw.double(), nan=0.0, posinf=0.0, neginf=0.0)
    if max(values.shape) > 64:  # perturbation methods answer per pixel; the record keeps what a page can show
        values = F.interpolate(values[None, None], scale_factor=56 / max(values.shape), mode="area")[0, 0]
    return SaliencyRecord(
        method=method,
        status=status,
        grid=(int(values.shape[0]), int(values.shape[1])),
        minimum=float(values.min()),
        maximum=float(values.max()),
        values=tuple(tuple(float(f"{v:.6g}") for v in row) for row in values.tolist()),
    )


def class_score(clf: Classifier, probabilities: Tensor, index: int) -> ClassScore:
    """A class with its name and its probability."""
    return ClassScore(class_index=index, class_name=clf.class_names[index], probability=float(probabilities[index]))


def on_photo(region: Tensor, seen: Seen) -> Bools:
    """A region (H, W) of the model's view as a mask over the whole photo."""
    x0, y0, x1, y1 = seen.box
    soft = F.interpolate(region[None, None].float(), (y1 - y0, x1 - x0), mode="bilinear", align_corners=False)
    mask = np.zeros((seen.picture.height, seen.picture.width), dtype=bool)
    mask[y0:y1, x0:x1] = (soft[0, 0] > 0.5).numpy()
    return mask
