"""Fits an L-CAM head to a classifier with a few hundred photos; no labels are asked for, no weight of it is touched.

The classifier itself says what it sees (its predicted class is the label), and answers for what it sees through the
head's mask. Every random thing is drawn by the one training loop from its seed. N photos, n of them in a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from saywhy.classifier import DEFAULT_BATCH, Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError, unknown
from saywhy.hooks import evaluating
from saywhy.intervene import FILLS
from saywhy.lcam.crops import Crops, from_closer, together, whole_photos
from saywhy.lcam.equal_area import equal_area_step
from saywhy.lcam.heads import LCam, start
from saywhy.lcam.losses import MAP_FILLS, MODES, NUS, Coefficients, Mode, keep_top, losses, scores_through
from saywhy.lcam.photos import Photos, Subset, centred, cropped, read_photos, split
from saywhy.lcam.refine import Mixer, Refined
from saywhy.lcam.responses import Answers, answers_step, ask
from saywhy.tap import Tap
from saywhy.train.checkpoint import beside
from saywhy.train.loop import Config, Examples, Fitted, Step, copy_compatible, fit

KINDS = ("img", "fm", "answers")
FEW = 5  # fewer photos of a class than this are too few for a row of its own


@dataclass(frozen=True)
class Recipe:
    """How a head is fitted.

    `kind`: "img" masks the image, "fm" the maps; "answers" learns from `masks` random masks of every photo, for a
    head of the form "refined" (see `answers`), and goes on by the config `then` with masks of its own, all of one
    area (see `equal_area`), on the photos and `crops` random crops of each. `form`: "rows" or "shared", of rank
    `rank`, with the finer layer if `fine`. `mode`: "own" measures area and smoothness on the mask of the image's
    own class, "cross" on the masks of all classes in the batch, as the authors' code does by indexing with the
    whole label vector. Own is the default: in cross mode the masks of absent classes outnumber the own one by the
    batch size, so what is learned is mostly to be dark for others, and how strongly depends on the batch size.
    `thresholded` cuts each mask to its top 100, 50 or 15 percent, so that what is measured is trained for.
    `bias_rate` multiplies the learning rate of biases.
    """

    summary: str
    config: Config
    then: Config | None = None
    kind: str = "img"
    form: str = "shared"
    rank: int = 32
    fine: bool = False
    mode: Mode = "own"
    fill: str = "black"
    thresholded: bool = False
    coefficients: Coefficients = field(default_factory=Coefficients)
    crop: bool = True
    bias_rate: float = 1.0
    masks: int = 64
    crops: int = 0


_PAPER = Config(epochs=7, batch_size=64, lr=1e-4, optimiser="sgd", schedule="l-cam", weight_decay=5e-4, clip=None)

RECIPES: dict[str, Recipe] = {
    "fast": Recipe(
        "a shared low-rank head for a few hundred photos, in minutes on two cores",
        Config(epochs=8, batch_size=16, lr=2e-3, schedule="one-cycle", patience=3, weight_decay=0.01),
        thresholded=True,
    ),
    "refined": Recipe(
        "a refined head: foretells answers to random masks, then ranks places by what they keep and lose",
        Config(epochs=75, batch_size=48, lr=5e-3, schedule="one-cycle", weight_decay=0.3),
        then=Config(epochs=3, batch_size=12, lr=1e-2, schedule="one-cycle", weight_decay=0.3),
        kind="answers", form="refined", fine=True, crop=False, masks=48, crops=3,
    ),
    "paper": Recipe(
        "the published head and recipe (VGG-16's): a row a class, SGD, 7 epochs; wants many photos of each class",
        _PAPER, form="rows", coefficients=Coefficients(border=0.3), bias_rate=2.0,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """A fitted head, how training ended, and the files that could not be read, each with the reason."""

    lcam: LCam
    fitted: Fitted
    failures: tuple[tuple[str, str], ...]

    @property
    def broke_off(self) -> bool:
        """Whether a loss was not finite; the head then has its last good weights."""
        return self.fitted.stopped.startswith("step")


Told = Callable[[int, dict[str, float]], None]
Asked = Callable[[int, int], None]


def fit_lcam(
    clf: Classifier,
    items: Sequence[Item],
    recipe: str | Recipe = "refined",
    *,
    init: LCam | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    told: Told = lambda epoch, row: None,
    asked: Asked = lambda done, total: None,
    answers: Answers | None = None,
) -> Outcome:
    """Fits a head on photos. Same seed, same head; with `checkpoint` an interrupted run goes on.

    `init` is a head to start from: all of its tensors that fit are copied. `told` gets each epoch's losses, `asked` how
    many photos have been asked about masks. `answers` are those of these photos, for the kind "answers", where they
    have been asked already.

    Raises:
        UsageError: a black box, a wrong recipe, a head to start from that does not fit.
        InputError: none of the photos can be read.
    """
    recipe = _checked(recipe)
    photos, failures = read_photos(clf, items, crop=recipe.crop)
    predicted = photos.predicted
    head = untrained(clf, photos, recipe)
    if init is not None:
        copy_compatible(head.head, init.head.state_dict())
    fits: list[tuple[int, Fitted]] = []
    with frozen(clf):
        for number, stage in enumerate(_stages(clf, head, photos, recipe, answers, seed, asked)):
            config = replace(stage.config, batch_size=min(stage.config.batch_size, len(stage.train)))
            file = None if checkpoint is None else Path(checkpoint)
            file = beside(file, str(number)) if file is not None and number else file
            on = partial(_counted, told, sum(len(f.history) for _, f in fits))
            ended = fit(stage.part, stage.step, stage.train, config, held_out=stage.held_out, checkpoint=file, told=on)
            fits.append((stage.network, ended))
            if ended.stopped.startswith("step"):
                break
    head.head.eval().requires_grad_(False)
    card = _card(clf, recipe, items, predicted, failures, fits) | {"held_out": len(split(len(photos), seed)[1])}
    return Outcome(replace(head, card=card), fits[-1][1], tuple(failures))


def _counted(told: Told, before: int, epoch: int, row: dict[str, float]) -> None:
    told(before + epoch, row)


@dataclass(frozen=True, eq=False)
class Stage:
    """What is trained, by which step, on which examples and to be stopped by which, and how."""

    part: nn.Module
    step: Step
    train: Examples
    held_out: Examples | None
    config: Config
    network: int = 0


def _stages(
    clf: Classifier, head: LCam, photos: Photos, recipe: Recipe, answers: Answers | None, seed: int, asked: Asked
) -> Iterator[Stage]:
    """One after the other; what a stage needs is prepared when it is its turn."""
    if not isinstance(head.head, Refined):
        kept, held = split(len(photos), seed)
        first = Subset(photos, held) if len(held) else None
        config = replace(recipe.config, seed=seed)
        bias = head.head.bias.register_hook(lambda g: g * recipe.bias_rate)  # type: ignore[no-untyped-call]
        try:
            yield Stage(head.head, lcam_step(clf, head, recipe), Subset(photos, kept), first, config)
        finally:
            bias.remove()
        return
    known = answers or answers_of(clf, head, photos, recipe, seed, asked)
    members = len(head.head.mixers)
    for number in range(members):
        own = seed * members + number  # no two seeds share a network
        for stage in _stages_of(clf, head, head.head.member(number), photos, known, recipe, own):
            yield replace(stage, network=number)


def _stages_of(
    clf: Classifier, head: LCam, mixer: Mixer, photos: Photos, known: Answers, recipe: Recipe, seed: int
) -> Iterator[Stage]:
    """Those of one network of a refined head; another seed holds out other photos, and draws other crops."""
    kept, held = split(len(photos), seed)
    held_out = known[held] if len(held) else None
    yield Stage(mixer, answers_step(mixer), known[kept], held_out, replace(recipe.config, seed=seed))
    if recipe.then is None:
        return
    seen = whole_photos(clf, known, kept)
    if recipe.crops:
        seen = together(seen, from_closer(clf, head, photos, kept, recipe.crops, seed=seed))
    first = Crops(clf, photos, whole_photos(clf, known, held)) if len(held) else None
    config = replace(recipe.then, seed=seed)
    yield Stage(mixer, equal_area_step(clf, mixer), Crops(clf, photos, seen), first, config)


def untrained(clf: Classifier, photos: Photos, recipe: Recipe) -> LCam:
    """The head before training: CAM."""
    fine = clf.fine_point() if recipe.fine else None
    rows = torch.linspace(0, len(photos) - 1, min(len(photos), 2 * DEFAULT_BATCH)).long()
    tap = clf.tap(centred(photos[rows], clf), [clf.point] if fine is None else [fine, clf.point])
    return start(tap, recipe.form, rank=recipe.rank, fine=recipe.fine)


def answers_of(
    clf: Classifier, head: LCam, photos: Photos, recipe: Recipe, seed: int, asked: Asked = lambda done, total: None
) -> Answers:
    """The classifier's answers for every photo, asked one photo at a time."""
    rows = []
    for n in range(len(photos)):
        rows.append(ask(clf, head, centred(photos[torch.tensor([n])], clf), recipe.masks, seed=seed))
        asked(n + 1, len(photos))
    return Answers(*(torch.cat([getattr(r, f.name) for r in rows]) for f in fields(Answers)))


def _checked(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise unknown("preset", recipe, RECIPES)
        recipe = RECIPES[recipe]
    for name, known in (("kind", KINDS), ("mode", MODES), ("fill", FILLS)):
        if getattr(recipe, name) not in known:
            raise unknown(name, getattr(recipe, name), known)
    if (recipe.kind == "answers") != (recipe.form == "refined"):
        raise UsageError("a refined head is fitted to answers, and no other is: kind='answers', form='refined'")
    if recipe.kind == "fm" and (recipe.fine or recipe.fill not in MAP_FILLS):
        raise UsageError("l-cam-fm masks the layer's own maps: fine=False, and fill 'black' or 'image-mean'")
    return recipe


# --------------------------------------------------------------------------------------------------
# The step.


def lcam_step(clf: Classifier, lcam: LCam, recipe: Recipe) -> Step:
    """Photos (n, 3, H', W') -> named losses: look, mask, look again (equations 1 to 8)."""
    points = lcam.points(clf)
    size = clf.batch_size or DEFAULT_BATCH

    def seen(tap: Tap, S: Tensor) -> Tensor:
        return scores_through(clf, tap, lcam.layers[0], S, kind=recipe.kind, fill=recipe.fill)

    def step(photos: Tensor) -> dict[str, Tensor]:
        training = lcam.head.training
        images = cropped(photos, clf) if training else centred(photos, clf)
        scores, masks, labels = [], [], []
        taps = [clf.tap(part, points) for part in torch.split(images, size)]
        truth = torch.cat([tap.logits.argmax(dim=1) for tap in taps])
        for tap, own in zip(taps, torch.split(truth, size), strict=True):
            asked = own[:, None] if recipe.mode == "own" else _own_first(own, truth)
            S = lcam.maps(tap, asked).sigmoid()
            shown = S[:, 0]
            if recipe.thresholded and training:
                shown = keep_top(shown, [NUS[i] for i in torch.randint(len(NUS), (len(own),)).tolist()])
            # What the network keeps for its backward pass is made again there: memory is one part's, not the batch's.
            whole = training and recipe.kind == "img" and len(taps) > 1
            scores.append(recomputed(seen, tap, shown, use_reentrant=False) if whole else seen(tap, shown))
            masks.append(S)
            labels.append(own)
        return losses(torch.cat(scores), torch.cat(labels), torch.cat(masks), recipe.coefficients)

    return step


def _own_first(own: Tensor, batch: Tensor) -> Tensor:
    """Classes (n, N): of every image its own class first, then those of the batch's other images."""
    rows = [torch.cat([c[None], _without(batch, int(c))]) for c in own]
    return torch.stack(rows)


def _without(batch: Tensor, c: int) -> Tensor:
    first = int((batch == c).nonzero()[0])
    return torch.cat([batch[:first], batch[first + 1 :]])


@contextmanager
def frozen(clf: Classifier) -> Iterator[None]:
    """Eval mode (batch norms keep their statistics) and no gradients for the classifier's weights; both undone."""
    assert isinstance(clf.net, nn.Module)
    asked = [p for p in clf.net.parameters() if p.requires_grad]
    with evaluating(clf.net):
        try:
            for p in asked:
                p.requires_grad_(False)
            yield
        finally:
            for p in asked:
                p.requires_grad_(True)


# --------------------------------------------------------------------------------------------------
# The card.


def _card(
    clf: Classifier,
    recipe: Recipe,
    items: Sequence[Item],
    predicted: list[int],
    failures: list[Any],
    fits: list[tuple[int, Fitted]],
) -> dict[str, Any]:
    names, counts = clf.class_names, Counter(predicted)
    few = sorted(c for c in range(len(names)) if counts[c] < FEW)
    named = [(it, p) for it, p in zip((i for i in items if str(i.path) not in dict(failures)), predicted, strict=True)]
    right = [names[p] == i.class_name for i, p in named if i.class_name is not None]
    return {
        "kind": f"l-cam-{recipe.kind}",
        "form": recipe.form,
        "recipe": {k: v for k, v in vars(recipe).items() if k not in ("summary", "config", "then", "coefficients")},
        "coefficients": vars(recipe.coefficients),
        "config": vars(recipe.config),
        "then": None if recipe.then is None else vars(recipe.then),
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "pictures": len(predicted),
        "unreadable": len(failures),
        "labels": "the classifier's own predictions",
        "given_labels_that_agree": round(sum(right) / len(right), 3) if right else None,
        "classes_seen": len(counts),
        "classes_with_few_pictures": {
            "fewer_than": FEW,
            "count": len(few),
            "names": [f"{names[c]} ({counts[c]})" for c in few if counts[c]][:50],
            "without_any": sum(counts[c] == 0 for c in few),
            "meaning": "trained little: their maps are close to CAM"
            if recipe.form == "rows"
            else "explained by what the other classes taught",
        },
        "training": _history(*fits[-1]),
        "training_before": [_history(*f) for f in fits[:-1]],
    }


def _history(network: int, fitted: Fitted) -> dict[str, Any]:
    return {
        "network": network,
        "stopped": fitted.stopped,
        "steps": fitted.steps,
        "best_epoch": fitted.best_epoch,
        "history": [{k: round(v, 5) for k, v in row.items()} for row in fitted.history],
    }
