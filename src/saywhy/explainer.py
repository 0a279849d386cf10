"""One call that explains one image: regions, the coalition game on them, and sentences that experiments confirm.

The order of things: the game proposes, other runs (another fill, another seed, hiding and keeping alone) confirm, and
only what they confirm is said. N = 1 image, k regions, F fills, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import saywhy
from saywhy.bundle import Bundle
from saywhy.classifier import Classifier, Tap, counting
from saywhy.concepts.extract import find_regions
from saywhy.errors import ModelError, UsageError
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
    Run,
    SaliencyRecord,
    place_word,
)
from saywhy.graph.build import region_graph, spatial_relation
from saywhy.image import Bools, Box, Picture, Source, mask_box, read, thumbnail
from saywhy.intervene import Experiment, Game, experiment, interaction_indices, play, shapley_values
from saywhy.language import Confirming, Evidence, RegionWords, appearance, describe, look, wanted
from saywhy.saliency import METHODS, display, saliency_of
from saywhy.targets import Targets

GAME_FILLS = ("inpaint", "blur")
TOP = 5
ALL_CLASSES = 20  # up to here every class is a candidate and gets its graph
WHITE_BOX_METHOD, BLACK_BOX_METHOD = "grad-cam", "rise"
BLACK_BOX_MASKS = 400


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is known of the image before anything is hidden."""

    picture: Picture
    image: Tensor
    box: Box
    tap: Tap
    probabilities: Tensor
    target: int
    versus: int | None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def explain(
    clf: Classifier,
    source: Source | Picture,
    target: int | str | None = None,
    versus: int | str | None = None,
    *,
    method: str | None = None,
    regions: int | None = None,
    unit: str = "probability",
    explainer: Bundle | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Explanation:
    """Explains why the classifier gives one image a class, and why not another.

    `target` is the class to explain (the predicted one by default), `versus` the class to compare it with (the
    runner-up by default), `method` the saliency method whose map leads attention (grad-cam, or rise for a black box),
    `regions` their number (1 to 6; by default 3 to 5, chosen by coherence), `unit` of contributions "probability" or
    "log-odds". `explainer` holds parts that were fitted to this classifier (`saywhy.bundle.load`): what it has is used
    unless `method` says otherwise. `progress` is told each step in words. Same seed, same explanation.

    Raises:
        InputError: the picture cannot be read.
        UsageError: an unknown class, method or unit, or target and versus are the same class.
        ModelError: the classifier fails or returns NaN.
    """
    if unit not in ("probability", "log-odds"):
        raise UsageError(f"unit is 'probability' or 'log-odds', not {unit!r}")
    tell = progress or (lambda _: None)
    start = time.perf_counter()
    with counting() as meter:
        tell("asking the classifier")
        fitted = explainer or Bundle()
        seen = replace(_look(clf, read(source), target, versus), options=fitted.options)
        method = method or fitted.method or (WHITE_BOX_METHOD if clf.white_box else BLACK_BOX_METHOD)
        tell(f"looking where: {method}")
        attention = _saliency(seen, seen.target, method, seed)
        looked = _both(attention, seen, method, seed)
        maps = [seen.tap.maps(name)[0] for name in seen.tap.points]
        found = find_regions(seen.image, maps, looked, count=regions, seed=seed)
        tell(f"hiding and showing {len(found)} regions in all combinations")
        game = play(clf, seen.image, found, fills=GAME_FILLS, seed=seed)
        found, game = _by_contribution(found, game, seen.target)
        evidence = _evidence(clf, seen, found, game)
        acts = wanted(evidence)
        tell(f"checking {len(acts)} findings by other experiments")
        trials = experiment(clf, seen.image, found, acts, seed=seed)
        evidence = _with_runs(evidence, trials)
    statements, skipped = describe(evidence)
    seconds = time.perf_counter() - start
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
        saliency=_saliency_record(attention, method),
        concepts=_concepts(seen, found, game, evidence, attention, unit),
        game=_game_record(game, seen.target, unit),
        graph=_graph(seen, found, game, seen.target, unit),
        graphs=tuple(_graph(seen, found, game, c, unit) for c in _candidates(seen)),
        attributes=(),
        statements=tuple(statements),
        skipped_claims=skipped,
        text=" ".join(s.text for s in statements),
        cost=Cost(forward_passes=meter.forward_passes, tail_passes=meter.tail_passes, seconds=round(seconds, 3)),
        provenance=Provenance(
            saywhy=saywhy.__version__,
            torch=torch.__version__,
            seed=seed,
            parts=(f"saliency:{method}", "regions", "game", "confirming runs"),
        ),
        thumbnail=thumbnail(seen.picture),
        runs=tuple(c.run for c in evidence.runs),
    )


# --------------------------------------------------------------------------------------------------
# What was asked.


def _look(clf: Classifier, picture: Picture, target: int | str | None, versus: int | str | None) -> _Seen:
    images, boxes = clf.prepare([picture])
    layers = None
    if clf.white_box:
        fine = clf.fine_point()
        layers = [clf.point] if fine is None else [fine, clf.point]
    tap = clf.tap(images, layers)
    if tap.logits.dim() != 2:
        raise ModelError(
            f"the model gives scores of shape {tuple(tap.logits.shape)}; to explain a segmentation decision, wrap it: "
            "saywhy.RegionScores(net, mask) gives the classes' scores inside a region"
        )
    probabilities = clf.to_probabilities(tap.logits)[0]
    predicted = int(probabilities.argmax())
    asked = predicted if target in (None, "predicted") else clf.class_index(target)
    if versus is not None:
        other: int | None = clf.class_index(versus)
        if other == asked:
            raise UsageError(f"target and versus are both {clf.class_names[asked]!r}; name another class for versus")
    else:
        ranking = [int(c) for c in probabilities.argsort(descending=True) if int(c) != asked]
        other = ranking[0] if ranking else None
    return _Seen(picture, images[0], boxes[0], tap, probabilities, asked, other)


def _class_score(clf: Classifier, probabilities: Tensor, index: int) -> ClassScore:
    return ClassScore(class_index=index, class_name=clf.class_names[index], probability=float(probabilities[index]))


def _prediction(clf: Classifier, seen: _Seen) -> Prediction:
    order = seen.probabilities.argsort(descending=True)[:TOP]
    top = tuple(_class_score(clf, seen.probabilities, int(c)) for c in order)
    return Prediction(**top[0].model_dump(), top=top)


def _candidates(seen: _Seen) -> list[int]:
    if len(seen.probabilities) <= ALL_CLASSES:
        return list(range(len(seen.probabilities)))
    best = [int(c) for c in seen.probabilities.argsort(descending=True)[:TOP]]
    return list(dict.fromkeys([seen.target, *best, *([] if seen.versus is None else [seen.versus])]))


def _saliency(seen: _Seen, index: int, method: str, seed: int) -> Tensor:
    """The raw map (h, w) of one class."""
    known = METHODS[method].options if method in METHODS else {}
    options: dict[str, object] = {"seed": seed} if "seed" in known else {}
    if method == BLACK_BOX_METHOD and not seen.tap.clf.white_box:
        options["masks"] = BLACK_BOX_MASKS
    options |= seen.options.get(method, {})
    return saliency_of(seen.tap, Targets(torch.tensor([index]), ()), method, **options)[0]


def _both(attention: Tensor, seen: _Seen, method: str, seed: int) -> Tensor:
    """Where the target or its rival is seen: what speaks against the target lies where the rival looks.

    Only where a second class costs no further passes through the whole network (gradients or a head on the same tap).
    """
    if seen.versus is None or METHODS[method].needs not in ("gradients", "head"):
        return attention
    maps = [m.clamp_min(0) for m in (attention, _saliency(seen, seen.versus, method, seed))]
    return torch.stack([m / m.max() for m in maps if bool(torch.isfinite(m).all()) and m.max() > 0] or [attention]).sum(
        0
    )


# --------------------------------------------------------------------------------------------------
# What the game found.


def _by_contribution(found: Tensor, game: Game, target: int) -> tuple[Tensor, Game]:
    """Regions and game renumbered, so that region 1 is the one that counts most for the target."""
    phi = shapley_values(game.values(target)).mean(dim=0)
    order = [int(i) for i in phi.argsort(descending=True, stable=True)]
    old = [sum(1 << order[i] for i in range(game.k) if s >> i & 1) for s in range(2**game.k)]
    return found[order], Game(game.k, game.fills, game.probabilities[:, old])


def _evidence(clf: Classifier, seen: _Seen, found: Tensor, game: Game) -> Evidence:
    pixels = (seen.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    words = _told_apart(
        [
            RegionWords(str(i + 1), appearance(pixels, region.numpy()), place_word(_on_photo(region, seen)))
            for i, region in enumerate(found)
        ],
        found,
    )
    values = game.values(seen.target)
    contrast = None if seen.versus is None else game.values(seen.target, seen.versus)
    return Evidence(
        predicted=_class_score(clf, seen.probabilities, int(seen.probabilities.argmax())),
        target=_class_score(clf, seen.probabilities, seen.target),
        versus=None if seen.versus is None else _class_score(clf, seen.probabilities, seen.versus),
        names=clf.class_names,
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
        out.append(replace(w, beside=f"{relation} region {words[namesake].id}") if alike else w)
    return tuple(out)


def _with_runs(evidence: Evidence, trials: Sequence[Experiment]) -> Evidence:
    target, versus = evidence.target.class_index, evidence.versus
    rows = []
    for n, t in enumerate(trials):
        score = float(t.probabilities[target])
        run = Run(
            id=f"r{n + 1}",
            act=t.act,
            regions=tuple(evidence.regions[i].id for i in t.regions),
            fill=t.fill,
            seed=t.seed,
            score=score,
            contrast=None if versus is None else score - float(t.probabilities[versus.class_index]),
        )
        rows.append(Confirming(run, int(t.probabilities.argmax())))
    return replace(evidence, runs=tuple(rows))


def _on_photo(region: Tensor, seen: _Seen) -> Bools:
    """A region (H, W) of the model's view as a mask over the whole photo."""
    x0, y0, x1, y1 = seen.box
    soft = F.interpolate(region[None, None].float(), (y1 - y0, x1 - x0), mode="bilinear", align_corners=False)
    mask = np.zeros((seen.picture.height, seen.picture.width), dtype=bool)
    mask[y0:y1, x0:x1] = (soft[0, 0] > 0.5).numpy()
    return mask


def _concepts(
    seen: _Seen, found: Tensor, game: Game, evidence: Evidence, attention: Tensor, unit: str
) -> tuple[ConceptRecord, ...]:
    phi = shapley_values(game.values(seen.target, unit=unit)).mean(dim=0)
    contrast = None
    if seen.versus is not None:
        contrast = shapley_values(game.values(seen.target, seen.versus, unit=unit)).mean(dim=0)
    positive = F.interpolate(attention[None, None].clamp_min(0), found.shape[1:], mode="bilinear")[0, 0]
    total = float(positive.sum()) or 1.0
    rows = []
    for i, region in enumerate(found):
        mask = _on_photo(region, seen)
        effect = _hiding(evidence, evidence.regions[i].id)
        lost = -effect.change / max(evidence.target.probability, 1e-12)
        rows.append(
            ConceptRecord(
                id=evidence.regions[i].id,
                name=None,
                name_confidence=None,
                hypothesis=seen.target,
                present=True,
                appearance=evidence.regions[i].appearance,
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


def _graph(seen: _Seen, found: Tensor, game: Game, index: int, unit: str) -> GraphRecord:
    values = game.values(index, unit=unit)
    phi = shapley_values(values)
    rival = seen.versus if index == seen.target else seen.target
    contrasts = None
    if rival is not None:
        contrasts = interaction_indices(game.values(index, rival, unit=unit)).mean(dim=0).numpy()
    masks = [region.numpy() for region in found]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
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


# --------------------------------------------------------------------------------------------------
# Records.


def _image_record(seen: _Seen) -> ImageRecord:
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
