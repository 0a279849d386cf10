"""One call that explains one image: regions, the coalition game on them, and sentences that experiments confirm.

The order of things: the game proposes, other runs (another fill, another seed, hiding and keeping alone) confirm, and
only what they confirm is said. N = 1 image, k regions, F fills, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saywhy.bundle import Bundle
from saywhy.classifier import Classifier
from saywhy.concepts.extract import find_regions
from saywhy.errors import ModelError, UsageError
from saywhy.explanation import (
    Beside,
    Explanation,
    Run,
    place_word,
)
from saywhy.graph.build import spatial_relation
from saywhy.image import Picture, Source, read
from saywhy.intervene import Experiment, Game, experiment, interaction_indices, play, remembering, shapley_values
from saywhy.language import Confirming, Evidence, RegionWords, appearance, describe, look, wanted
from saywhy.passes import counting
from saywhy.record import Measured, Seen, class_score, on_photo, to_explanation
from saywhy.saliency import METHODS, saliency_of
from saywhy.tap import Tap
from saywhy.targets import Targets

GAME_FILLS = ("inpaint", "blur")
WHITE_BOX_METHOD, CLASS_TOKEN_METHOD, BLACK_BOX_METHOD = "grad-cam", "attention-rollout", "rise"
BLACK_BOX_MASKS = 400


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
    runner-up by default), `method` the saliency method whose map leads attention (`leading_method` by default),
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
        method = method or fitted.method or leading_method(seen.tap)
        tell(f"looking where: {method}")
        attention, found = regions_of(
            seen.tap, seen.target, seen.versus, method, options=seen.options, count=regions, seed=seed
        )
        tell(f"hiding and showing {len(found)} regions in all combinations")
        with remembering():
            game = play(clf, seen.image, found, fills=GAME_FILLS, seed=seed)
            found, game = _by_contribution(found, game, seen.target)
            evidence = _evidence(clf, seen, found, game)
            acts = wanted(evidence)
            tell(f"checking {len(acts)} findings by other experiments")
            trials = experiment(clf, seen.image, found, acts, seed=seed)
        evidence = _with_runs(evidence, trials)
    measured = Measured(seen, method, attention, found, game, evidence, unit, seed)
    return to_explanation(measured, *describe(evidence), meter, time.perf_counter() - start)


# --------------------------------------------------------------------------------------------------
# What was asked.


def _look(clf: Classifier, picture: Picture, target: int | str | None, versus: int | str | None) -> Seen:
    images, boxes = clf.prepare([picture])
    tap = tapped(clf, images)
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
    return Seen(picture, images[0], boxes[0], tap, probabilities, asked, other)


def tapped(clf: Classifier, images: Tensor) -> Tap:
    """Images (N, 3, H, W) cut at the layers that regions are made of: the classifier's point and a finer one."""
    if not clf.white_box:
        return clf.tap(images)
    fine = clf.fine_point()
    return clf.tap(images, [clf.point] if fine is None else [fine, clf.point])


def regions_of(
    tap: Tap,
    target: int,
    versus: int | None,
    method: str,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    count: int | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The raw map (h, w) of the target, and the regions (k, H, W) found where it or its rival is seen.

    `options` are keywords of saliency methods, by method.
    """
    given = options or {}
    attention = _saliency(tap, target, method, given, seed)
    looked = attention
    # A second class only where it costs no further passes through the whole network.
    if versus is not None and METHODS[method].needs in ("gradients", "head"):
        looked = _both(attention, _saliency(tap, versus, method, given, seed))
    maps = [tap.maps(name)[0] for name in tap.points]
    return attention, find_regions(tap.images[0], maps, looked, count=count, seed=seed)


def leading_method(tap: Tap) -> str:
    """The saliency method that says where regions are looked for, where none is asked for.

    In front of a class-token transformer's last block, gradients rank the parts of a bird worse than chance
    (docs/aviary-benchmark.md): there the attention itself leads, if the network's attention can be recorded.
    """
    if not tap.clf.white_box:
        return BLACK_BOX_METHOD
    if tap.point().grid.prefix == 0:
        return WHITE_BOX_METHOD
    try:
        tap.attention()
    except UsageError:  # an attention of another kind; the record names the method that leads instead
        return WHITE_BOX_METHOD
    return CLASS_TOKEN_METHOD


def _saliency(tap: Tap, index: int, method: str, given: Mapping[str, Mapping[str, Any]], seed: int) -> Tensor:
    """The raw map (h, w) of one class."""
    known = METHODS[method].options if method in METHODS else {}
    options: dict[str, object] = {"seed": seed} if "seed" in known else {}
    if method == BLACK_BOX_METHOD and not tap.clf.white_box:
        options["masks"] = BLACK_BOX_MASKS
    options |= given.get(method, {})
    return saliency_of(tap, Targets(torch.tensor([index]), ()), method, **options)[0]


def _both(attention: Tensor, rival: Tensor) -> Tensor:
    """Where the target or its rival is seen: what speaks against the target lies where the rival looks."""
    maps = [m.clamp_min(0) for m in (attention, rival)]
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


def _evidence(clf: Classifier, seen: Seen, found: Tensor, game: Game) -> Evidence:
    pixels = (seen.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    words = _told_apart(
        [
            RegionWords(str(i + 1), appearance(pixels, region.numpy()), place_word(on_photo(region, seen)))
            for i, region in enumerate(found)
        ],
        found,
    )
    values = game.values(seen.target)
    contrast = None if seen.versus is None else game.values(seen.target, seen.versus)
    return Evidence(
        predicted=class_score(clf, seen.probabilities, int(seen.probabilities.argmax())),
        target=class_score(clf, seen.probabilities, seen.target),
        versus=None if seen.versus is None else class_score(clf, seen.probabilities, seen.versus),
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
        out.append(replace(w, beside=Beside(relation=relation, region=words[namesake].id)) if alike else w)
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
