"""The aviary's benchmark: methods judged by a world where the right explanation is known.

For every picture that the classifier names rightly a method gives each of k players (parts, see `part_effects`) a
contribution (k,), and a map (H, W): a saliency map's contribution is its sum over the part's visible pixels; the map
of a coalition game paints each region with its positive Shapley value.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.aviary import world
from saywhy.classifier import Classifier
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import find_concepts
from saywhy.errors import UsageError, unknown
from saywhy.evaluate.part_effects import PLAYERS, Bird, Spoiled, edition_told, spoiled_birds, test_birds
from saywhy.evaluate.presets import WORDS, methods_for
from saywhy.evaluate.result import DEGENERATE, Column, Evaluation, Row, cell
from saywhy.evaluate.runner import Progress, chosen
from saywhy.image import read
from saywhy.intervene import Game, interaction_indices, play, remembering, shapley_values
from saywhy.metrics import CONTROLS, METRICS, Values, map_status, spearman
from saywhy.passes import Meter, counting
from saywhy.regions.part import find_in
from saywhy.saliency import METHODS, display, saliency, saliency_of
from saywhy.seen import look
from saywhy.targets import Targets

TELLING = 0.02  # an effect below this share of probability is taken for none
PICTURES, SPOILED = 120, 24
DEAR = 24  # of the birds, that the command shows to methods that ask hundreds of times
MOST_PLAYERS = 5
GAMES = ("game-parts", "game-regions", "game-concepts")

BIRD_COLUMNS: dict[str, Column] = {
    c.name: c
    for c in (
        Column("epg", "share", True, "share of the map's sum on the parts that the species' rule names"),
        Column("nra", "share", True, "region accuracy on these parts, 0 is chance and 1 ideal"),
        Column("iou", "share", True, "overlap (intersection over union) of these parts with where the map is above "
               "half its maximum: a large region is no advantage"),
        Column("pointing", "share", True, "the map's highest pixel lies on these parts"),
        Column("effect-rank", "correlation", True, "Spearman correlation of the parts' contributions with what the "
               "class really loses when the scene is rendered without each; 0 where all contributions are equal"),
        Column("effect-sign", "share", True, f"contributions of the right sign among parts with an effect of {TELLING} "
               "or more"),
        Column("relation", "share", True, "the two parts of the relation that alone tells two species apart are the "
               "strongest interaction, the species set against its sibling in log-odds (1 of 15 pairs by chance)"),
        Column("null-share", "share", False, "share of the contributions that goes to parts that no rule names (eye, "
               "legs); the constant control gives their share of the area"),
        Column("contrast", "share", True, "this species against its sibling: the evidence points to what tells them "
               "apart (a map's highest pixel within half a cell of the part; a game's highest log-odds)"),
        Column("watermark", "share", True, "top evidence on the watermark exactly where the watermark really is this "
               "classifier's strongest evidence", apart=True),
        Column("context", "share", True, "top evidence outside the bird exactly where the water really is this "
               "classifier's strongest evidence", apart=True),
    )
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of one bird: contributions (k,), a map (H, W), the contrast with the sibling, a pair."""

    parts: Tensor
    shown: Tensor
    contrast: float
    pair: frozenset[str] | None = None
    status: str = "ok"


@dataclass(frozen=True)
class Way:
    """A way to explain: `answer` birds, and say of spoiled ones whether the top evidence is the shortcut."""

    answer: Callable[[Classifier, Sequence[Bird], int], list[Answer]]
    blames: Callable[[Classifier, Spoiled, int], bool]
    control: bool = False


def evaluate_aviary(
    clf: Classifier,
    methods: Sequence[str] | None = None,
    metrics: Sequence[str] = tuple(BIRD_COLUMNS),
    *,
    controls: Sequence[str] = tuple(CONTROLS),
    limit: int = PICTURES,
    perturbation_limit: int | None = None,
    spoiled: int = SPOILED,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    bank: ConceptBank | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Judges methods on a classifier of the aviary's species (rows of `BIRD_COLUMNS`).

    `methods` are saliency methods, "game-parts" (the coalition game on the true masks of the players), "game-regions"
    (on the regions that `saywhy.explain` finds, their contributions shared out by overlap) and "game-concepts" (on
    those that it finds with this `bank` of the classifier's concepts); all that can be by default. The row
    "true effects" scores the measured effects themselves: the best that can be said of *this* classifier. `limit` test
    pictures are asked; those that the classifier gets wrong are left out and counted. `spoiled` pictures are made
    for each planted shortcut. `options` are keywords of saliency methods.

    Raises:
        UsageError: a classifier of other classes, an unknown method or metric, concepts without a bank.
    """
    edition_told(clf)
    methods = ("all", *(g for g in GAMES if bank is not None or g != "game-concepts")) if methods is None else methods
    for name in metrics:
        if name not in BIRD_COLUMNS:
            raise unknown("metric of the aviary", name, BIRD_COLUMNS)
    given = {m: dict((options or {}).get(m, {})) for m in METHODS}
    truth = Way(_by_truth, lambda clf, case, seed: case.counts, control=True)
    ways = {name: _control(name) for name in controls} | {"true effects": truth} | _ways(clf, methods, given, bank)
    tell = progress or (lambda done, total, text: None)
    tell(0, len(ways), "rendering birds, and birds without each part")
    birds, asked = test_birds(clf, limit, seed)
    faults = [f for f in ("watermark", "context") if f in metrics]
    planted = {f: spoiled_birds(clf, f, spoiled, seed) for f in faults}
    rows = []
    for n, (name, way) in enumerate(ways.items()):
        tell(n, len(ways), name)
        few = perturbation_limit if name in METHODS and METHODS[name].cost == "many" else None
        some = [birds[i] for i in chosen(len(birds), few, seed)]
        rows.append(_row(clf, name, way, some, planted, tuple(metrics), seed))
    return Evaluation(
        clf.name or "the model", clf.fingerprint, tuple(BIRD_COLUMNS[m] for m in metrics), tuple(rows),
        {"target": "the species", "effect": "probability lost when rendered without the part", "players": "up to 6",
         **{f"{m} {k}": v for m, o in given.items() if m in ways for k, v in o.items()}},
        notes=tuple(_notes(birds, asked, planted)), seed=seed,
    )  # fmt: skip


def _notes(birds: Sequence[Bird], asked: int, planted: Mapping[str, Sequence[Spoiled]]) -> list[str]:
    notes = [f"{len(birds)} of {asked} test birds are named rightly and explained."]
    telling = sum(float(b.effects.abs().max()) >= TELLING for b in birds)
    notes.append(
        "Passes and time are those of a picture's answer for its species and of the contrast with the sibling."
    )
    notes.append(f"In {telling} of them some part has an effect of {TELLING} or more; elsewhere nothing is ranked.")
    for fault, cases in planted.items():
        real = sum(s.counts for s in cases)
        notes.append(f"{fault}: planted in {len(cases)} pictures; the strongest evidence for this model in {real}.")
    return notes


# --------------------------------------------------------------------------------------------------
# The ways to explain.


def _ways(
    clf: Classifier, names: Sequence[str], options: Mapping[str, Mapping[str, Any]], bank: ConceptBank | None
) -> dict[str, Way]:
    games = {
        "game-parts": Way(_by_true_masks, _blames_by_masks),
        "game-regions": Way(partial(_by_regions, None), partial(_blames_by_regions, None)),
        "game-concepts": Way(partial(_by_regions, bank), partial(_blames_by_regions, bank)),
    }
    if "game-concepts" in names and bank is None:
        raise UsageError(
            "game-concepts is played with the concepts of an explainer, and none was given: saywhy fit PHOTOS --parts "
            "concepts -o MINE, then --explainer MINE"
        )
    for name in names:
        if name not in games and name not in METHODS and name not in WORDS:
            raise unknown("method", name, [*METHODS, *WORDS, *games])
    maps = methods_for(clf, [n for n in names if n not in games])
    ways = {m: Way(partial(_by_map, m, options[m]), partial(_blames_by_map, m, options[m])) for m in maps}
    return ways | {n: games[n] for n in names if n in games}


def _control(name: str) -> Way:
    return Way(partial(_by_control, name), partial(_blames_by_control, name), control=True)


def _by_map(method: str, options: Mapping[str, Any], clf: Classifier, birds: Sequence[Bird], seed: int) -> list[Answer]:
    """Saliency: the sum of the signed map over each part; the contrast is the map of target minus sibling."""
    images = torch.stack([b.image for b in birds])
    found = saliency(clf, images, [b.target for b in birds], method=method, seed=seed, **options)
    against = _contrast_maps(method, options, clf, birds, seed)
    return [
        Answer(
            _sums(raw, b), shown, _points_to(versus, _widened(b.masks[[p in b.differing for p in b.players]], raw)),
            status=status,
        )
        for b, raw, shown, versus, status in zip(birds, found.raw, found.display, against, found.status, strict=True)
    ]  # fmt: skip


def _contrast_maps(
    method: str, options: Mapping[str, Any], clf: Classifier, birds: Sequence[Bird], seed: int
) -> Tensor:
    """Display maps (n, H, W) of target minus sibling; not counted as the method's cost."""
    images = torch.stack([b.image for b in birds])
    asked = Targets(torch.tensor([b.target for b in birds]), (), torch.tensor([b.sibling for b in birds]))
    seeded = {"seed": seed} if "seed" in METHODS[method].options else {}
    tap = clf.tap(images)
    return display(saliency_of(tap, asked, method, **seeded, **options), tap.image_size)[0]


def _by_control(name: str, clf: Classifier, birds: Sequence[Bird], seed: int) -> list[Answer]:
    out = []
    for b in birds:
        shown = _control_map(name, b, seed)
        telling = b.masks[[p in b.differing for p in b.players]]
        out.append(Answer(_sums(shown, b), shown, _points_to(shown, _widened(telling, shown[::8, ::8]))))
    return out


def _control_map(name: str, bird: Bird, seed: int) -> Tensor:
    size = (int(bird.image.shape[1]), int(bird.image.shape[2]))
    number = int(bird.name.split()[-1])
    random = {"seed": seed, "first": number} if name == "random" else {}
    return CONTROLS[name](1, size, **random)[0]


def _by_truth(clf: Classifier, birds: Sequence[Bird], seed: int) -> list[Answer]:
    """The true effects themselves: what no method can beat, as this classifier need not follow the rule."""
    out = []
    for b in birds:
        hit = float(b.players[int(b.against.argmax())] in b.differing)
        pair = None if b.pair is None else _pair_of(b.together, b)
        out.append(Answer(b.effects, _painted(b.effects, b.masks), hit, pair))
    return out


def _by_true_masks(clf: Classifier, birds: Sequence[Bird], seed: int) -> list[Answer]:
    """The coalition game with the true masks as regions: what is lost by finding regions is not in it."""
    out = []
    for b in birds:
        game = play(clf, b.image, _whole(b.masks), seed=seed)
        phi, contrast, together = _solved(game, b)
        hit = float(b.players[int(contrast.argmax())] in b.differing)
        out.append(Answer(phi, _painted(phi, b.masks), hit, _pair_of(together, b)))
    return out


def _whole(masks: Tensor) -> Tensor:
    """Every pixel that a part touches: a rim that is half hidden still shows what it belongs to."""
    return masks > 0


def _solved(game: Game, b: Bird) -> tuple[Tensor, Tensor, Tensor]:
    """Contributions (k,) in probability; contributions and interactions to the log-odds of target and sibling.

    In probability the difference of two classes is mostly the target itself, since its sibling has next to none.
    """
    against = game.values(b.target, b.sibling, unit="log-odds")
    phi = shapley_values(game.values(b.target)).mean(0)
    return phi, shapley_values(against).mean(0), interaction_indices(against).mean(0)


def _pair_of(together: Tensor, b: Bird) -> frozenset[str]:
    """The two players of the strongest interaction."""
    size = len(together)
    best = int(together.abs().triu(1).flatten().argmax())
    return frozenset((b.players[best // size], b.players[best % size]))


def _by_regions(bank: ConceptBank | None, clf: Classifier, birds: Sequence[Bird], seed: int) -> list[Answer]:
    """The coalition game on saywhy's own regions, found with a bank of concepts or without, each one's contribution
    shared out over the parts by overlap."""
    out = []
    for b in birds:
        regions = _regions(bank, clf, b, seed)
        overlap = torch.einsum("khw,rhw->kr", b.masks.double(), regions.double())
        shares = overlap / regions.double().sum((1, 2)).clamp_min(1)
        phi, contrast, together = _solved(play(clf, b.image, regions, seed=seed), b)
        hit = float(b.players[int((shares @ contrast).argmax())] in b.differing)
        pair = _pair_of_regions(together, overlap, b)
        out.append(Answer(shares @ phi, _painted(phi, regions), hit, pair))
    return out


def _regions(bank: ConceptBank | None, clf: Classifier, b: Bird, seed: int) -> Tensor:
    """Regions (k, H, W) as `saywhy.explain` finds them, as many as a game can have; where none may count, the whole
    picture is the only one."""
    image = b.image
    with remembering():
        kinds = None if bank is None else find_concepts(bank, look(clf, read(b.rendered.pixels), b.target), ()).labels
        probabilities = clf.probabilities(image[None])[0]
        found = find_in(clf, image, probabilities, b.target, count=MOST_PLAYERS, seed=seed, kinds=kinds).regions
    return found if len(found) else torch.ones(1, *image.shape[1:], dtype=torch.bool)


def _pair_of_regions(together: Tensor, overlap: Tensor, b: Bird) -> frozenset[str]:
    """The relation's own pair if the strongest interaction joins the two regions that hold its parts, else nothing."""
    size = len(together)
    if b.pair is None or size < 2 or not set(b.pair) <= set(b.players):
        return frozenset()
    best = int(together.abs().triu(1).flatten().argmax())
    rows = [overlap[b.players.index(p)] for p in b.pair]
    held = {int(row.argmax()) for row in rows if float(row.max()) > 0}
    return frozenset(b.pair) if held == {best // size, best % size} else frozenset()


def _painted(phi: Tensor, masks: Tensor) -> Tensor:
    """The map (H, W) in [0, 1] that paints each region with its positive contribution."""
    map_ = torch.einsum("k,khw->hw", phi.clamp_min(0).float(), masks.float())
    return map_ / map_.max().clamp_min(1e-12)


def _sums(raw: Tensor, bird: Bird) -> Tensor:
    """The sum of a map (h, w) over each player's pixels (k,); 0 where the map is not finite."""
    fine = F.interpolate(raw[None, None].double(), bird.image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    return torch.einsum("khw,hw->k", bird.masks.double(), fine.nan_to_num(0, 0, 0))


def _widened(masks: Tensor, raw: Tensor) -> tuple[Tensor, float]:
    """The union of masks (H, W) and half a cell of the map's own grid, in pixels."""
    union = masks.amax(0) if len(masks) else torch.zeros(1, 1)
    return union > 0.25, int(union.shape[0]) / int(raw.shape[0]) / 2


def _points_to(shown: Tensor, place: tuple[Tensor, float]) -> float:
    mask, tolerance = place
    if not bool(mask.any()) or map_status(shown[None])[0] not in ("ok", "flat"):
        return 0.0
    return float(METRICS["pointing"].function(maps=shown[None], masks=mask[None], tolerance=tolerance)[0])


# --------------------------------------------------------------------------------------------------
# Is the top evidence the shortcut?


def _blames_by_map(method: str, options: Mapping[str, Any], clf: Classifier, case: Spoiled, seed: int) -> bool:
    b = case.bird
    found = saliency(clf, b.image[None], b.target, method=method, seed=seed, **options)
    wide = found.raw[0] if case.fault == "watermark" else found.display[0]
    return _points_to(found.display[0], (case.spot > 0.5, _widened(case.spot[None], wide)[1])) >= 0.5


def _blames_by_control(name: str, clf: Classifier, case: Spoiled, seed: int) -> bool:
    return _points_to(_control_map(name, case.bird, seed), (case.spot > 0.5, 0.0)) >= 0.5


def _blames_by_masks(clf: Classifier, case: Spoiled, seed: int) -> bool:
    b = case.bird
    players = _whole(torch.cat([b.masks[: PLAYERS - 1], case.spot[None]]))
    phi = shapley_values(play(clf, b.image, players, seed=seed).values(b.target)).mean(0)
    return int(phi.argmax()) == len(players) - 1


def _blames_by_regions(bank: ConceptBank | None, clf: Classifier, case: Spoiled, seed: int) -> bool:
    """Whether the strongest region holds the shortcut; what stays when all regions are hidden is the surroundings."""
    b = case.bird
    regions = _regions(bank, clf, b, seed)
    values = play(clf, b.image, regions, seed=seed).values(b.target).mean(0)
    phi = shapley_values(values)
    best = int(phi.argmax())
    region = ~regions.any(0) if float(values[0]) > float(phi[best]) else regions[best]
    inside = float((region * case.spot).sum())
    return inside >= 0.5 * float((case.spot if case.fault == "watermark" else region).sum())


# --------------------------------------------------------------------------------------------------
# Scoring.


def _row(
    clf: Classifier,
    name: str,
    way: Way,
    birds: Sequence[Bird],
    planted: Mapping[str, Sequence[Spoiled]],
    metrics: tuple[str, ...],
    seed: int,
) -> Row:
    size = clf.rows
    answers, spent = list[Answer](), list[float]()
    meter = Meter()
    for start in range(0, len(birds), size):
        part = birds[start : start + size]
        begun = time.perf_counter()
        with counting() as passes:
            answers += way.answer(clf, part, seed)
        spent.append((time.perf_counter() - begun) * 1000 / len(part))
        meter.forward_passes += passes.forward_passes
        meter.tail_passes += passes.tail_passes
    scores = [_scores(b, a) for b, a in zip(birds, answers, strict=True)]
    values = {m: [s[m] for s in scores] for m in metrics if m not in planted}
    for fault, cases in planted.items():
        values[fault] = [float(way.blames(clf, case, seed) == case.counts) for case in cases]
    return Row(
        name,
        way.control,
        tuple(b.name for b in birds),
        {m: cell(Values(tuple(values[m])), seed=seed) for m in metrics},
        dict(sorted(Counter(a.status for a in answers if a.status in DEGENERATE).items())),
        meter.forward_passes / len(birds),
        meter.tail_passes / len(birds),
        float(np.median(spent)),
    )


def _scores(bird: Bird, answer: Answer) -> dict[str, float]:
    """Every metric of one answer; NaN where the picture or the method has none."""
    shown, rule = answer.shown[None], bird.rule[None]
    out = {m: float(METRICS[m].function(maps=shown, masks=rule)[0]) for m in ("epg", "nra", "iou", "pointing")}
    effects, parts = bird.effects, answer.parts.double()
    telling = effects.abs() >= TELLING
    nothing = float("nan")
    out["effect-rank"] = out["effect-sign"] = nothing
    if bool(telling.any()):
        rank = float(spearman(parts[None], effects[None])[0])
        out["effect-rank"] = 0.0 if np.isnan(rank) else rank
        out["effect-sign"] = float((parts.sign() == effects.sign())[telling].double().mean())
    both = bird.pair is not None and set(bird.pair) <= set(bird.players) and answer.pair is not None
    out["relation"] = float(answer.pair == frozenset(bird.pair or ())) if both else nothing
    total = float(parts.abs().sum())
    null_parts = world(bird.rendered.scene.edition).null_parts
    nulls = torch.tensor([p in null_parts for p in bird.players])
    out["null-share"] = float(parts[nulls].abs().sum()) / total if total and bool(nulls.any()) else nothing
    seen = any(p in bird.differing for p in bird.players)
    out["contrast"] = answer.contrast if seen else nothing
    return out
