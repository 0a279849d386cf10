"""The part `lcam`: a saliency head, fitted to one classifier, whose map then leads attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.lcam.heads import LCam
from saywhy.lcam.heads import load as load_head
from saywhy.parts import Face, Fitting, Made

if TYPE_CHECKING:
    from saywhy.lcam.fitting import Outcome

FILE = "lcam.safetensors"


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Fits a head by the recipe that the preset names."""
    # Imported here: who explains a photo needs none of it.
    from saywhy.lcam.fitting import RECIPES, fit_lcam
    from saywhy.train.checkpoint import unfinished

    recipe = RECIPES[how.preset]
    # Small networks whose losses are differences of small numbers: halves are used where they are asked for.
    half = clf.device.startswith("cuda") and recipe.kind != "answers" if how.amp is None else how.amp
    then = None if recipe.then is None else replace(recipe.then, amp=half)
    recipe = replace(recipe, config=replace(recipe.config, amp=half), then=then)
    how.tell(f"reading {len(items)} pictures")
    outcome = fit_lcam(
        clf, items, recipe, init=how.init, checkpoint=how.checkpoint, seed=how.seed,
        asked=lambda n, total: how.tell(f"asking the classifier about hidden parts: photo {n} of {total}"),
        told=lambda n, row: how.tell(f"epoch {n + 1}: " + " ".join(f"{k} {v:.3f}" for k, v in row.items())),
    )  # fmt: skip
    broke_off = outcome.fitted.stopped if outcome.broke_off else None
    return Made(outcome.lcam, _told(outcome), outcome.failures, broke_off, unfinished(how.checkpoint))


def _told(outcome: Outcome) -> str:
    card, fitted = outcome.lcam.card, outcome.fitted
    few = card["classes_with_few_pictures"]
    return (
        f"{card['kind']} head from {card['pictures']} pictures of {card['classes_seen']} classes "
        f"({few['count']} classes with fewer than {few['fewer_than']}: see explainer.json), {fitted.steps} steps, "
        f"ended by {fitted.stopped}"
    )


def save(head: LCam, folder: Path) -> Mapping[str, Any]:
    """Writes the head's file; its card is in the file too."""
    head.save(folder / FILE)
    return {"file": FILE, "card": head.card}


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> LCam:
    """Reads a head of this classifier."""
    return load_head(folder / row["file"], clf)


def serves(head: LCam) -> Mapping[str, Mapping[str, Any]]:
    """The saliency method l-cam needs the head."""
    return {"l-cam": {"head": head}}


FACE = Face(fit=fit, save=save, load=load, serves=serves)
