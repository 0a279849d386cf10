"""What the source leaves for later: parts that are known, attacks, classes never trained, and people who learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import saywhy
from saywhy.attributes.describing import contrast
from saywhy.attributes.frequencies import Vocabulary
from saywhy.attributes.meanings import Held, meaning_of
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.posterior import POSTERIORS
from saywhy.attributes.recognising import moved, recognised
from saywhy.attributes.regressions import probe
from saywhy.attributes.sums import activity_of, sums_of
from saywhy.attributes.weighting import around, at_parts, weighted
from test_attributes_of_pictures import classifier, fitted, folder, painted  # noqa: F401


@pytest.mark.parametrize("given", ["masks", "keypoints"])
def test_a_part_that_is_marked_tells_which_filter_is_of_which(given: str) -> None:
    """Red crowns go with red bellies in 19 of 20 pictures. A filter of red is on at both; the crown's own filter is
    told from the belly's only where parts are marked."""
    random, size = np.random.default_rng(0), (8, 8)
    nouns, words = ("crown", "belly"), [Attribute("crown", "red"), Attribute("belly", "red")]
    places = {"crown": (0.25, 0.25), "belly": (0.75, 0.75)}
    masks = {n: around(p, size) if given == "keypoints" else (around(p, size) > 0.5).astype(float)
             for n, p in places.items()}  # fmt: skip
    red = random.random(400) < 0.5
    has = np.stack([red, np.where(random.random(400) < 0.95, red, ~red)], axis=1).astype(float)
    maps = random.random((400, 2, *size)) * 0.5
    for k, noun in enumerate(nouns):  # a filter of each part: on in all pictures, and more where it is red
        maps[:, k] += (0.5 + 2 * has[:, k])[:, None, None] * masks[noun] + 2 * (1 - masks[noun]) * random.random(
            (400, 1, 1)
        )
    pooled = maps.mean(axis=(2, 3))
    sums = sums_of(pooled, has, np.zeros(400, dtype=int), np.ones_like(pooled), 1, activity_of(pooled))
    at = [at_parts(m, masks, nouns) for m in maps]
    prior = np.full(2, 0.5)
    own, parts = (POSTERIORS["published"].make(s, prior) for s in (sums, weighted(sums, at, has, words, nouns)))
    assert np.abs(np.diag(own) - 0.5).max() < 0.05
    assert np.diag(parts).min() > 0.55
    assert weighted(sums, at, has, [Attribute("tail", "red")] * 2, nouns).at.tolist() == sums.at.tolist()


def test_an_attack_is_explained_before_and_after(fitted: saywhy.Explainer) -> None:  # noqa: F811
    """A little red is taken off everywhere until the classifier says "none": it is said what it sees less of."""
    clf, meaning = fitted.clf, fitted.parts["attributes"]
    pixels = painted(["red", "green"], 777)
    images, _ = clf.prepare([clf.read(pixels)])
    attacked = images.clone()
    for _ in range(100):
        tap_at = attacked.clone().requires_grad_()
        scores = clf.net(tap_at)
        if int(scores.argmax()) != 0:
            break
        (step,) = torch.autograd.grad(scores[0, 0] - scores[0, 2], tap_at)
        attacked = (attacked - 0.01 * step.sign()).clamp(0, 1)
    after_pixels = (attacked[0].permute(1, 2, 0) * 255).round().byte().numpy()
    before, after = (fitted.explain(Image.fromarray(p)) for p in (pixels, after_pixels))
    assert (before.target.class_name, after.target.class_name) == ("ruby", "none")
    assert [a.name for a in before.attributes if a.sign > 0] == ["red dot"]
    assert "red dot" not in [a.name for a in after.attributes if a.sign > 0]
    sure = [_sure(meaning, clf, x) for x in (images, attacked)]
    attribute, change = moved(*sure)[0]
    assert str(meaning.attributes[attribute]) == "red dot" and change < -0.1
    assert moved(sure[0], sure[0]) == []


def _sure(meaning, clf: saywhy.Classifier, images: torch.Tensor) -> np.ndarray:
    tap = clf.tap(images, [meaning.layer])
    lifted = meaning.activity.lifted(tap.maps(meaning.layer)[0].mean(dim=(1, 2)).double().numpy())
    return meaning.probe(lifted[None], np.array([int(tap.logits.argmax())]))[0]


def drawn(table: np.ndarray, classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Attributes (N, L) of pictures of classes, and filters (N, K) that are mixtures of them and noise."""
    random = np.random.default_rng(seed)
    has = (random.random((len(classes), table.shape[1])) < table[classes]).astype(float)
    mixed = np.random.default_rng(99).normal(size=(table.shape[1], 40))
    return has, np.maximum(has @ mixed + random.normal(size=(len(classes), 40)) + 3, 0)


def test_a_class_that_was_never_trained_is_recognised_from_its_attributes() -> None:
    """Eight classes teach the probe; pictures of two others are told apart, and from the eight, by a table alone."""
    table = np.where(np.random.default_rng(5).random((10, 16)) < 0.4, 0.9, 0.1)
    known, new = np.arange(800) % 8, 8 + np.arange(200) % 2
    has, pooled = drawn(table, known, 0)
    scale = activity_of(pooled)
    told = probe(sums_of(pooled, has, 0 * known, np.ones_like(pooled), 1, scale), 0.01)
    _, others = drawn(table, new, 1)
    found = recognised(told(scale.lifted(others), np.zeros(200, dtype=int)), table)
    assert (found == new).mean() > 0.75  # of ten classes
    shuffled = recognised(told(scale.lifted(others), np.zeros(200, dtype=int)), table[:, ::-1])
    assert (shuffled == new).mean() < 0.5


def test_a_learner_is_better_with_the_cards_than_without() -> None:
    """Who has seen one picture of either class goes by what is nearest; who has the card too looks where it says."""
    table = np.full((2, 30), 0.5)
    table[0, :3], table[1, :3], table[1, 3:6], table[0, 3:6] = 0.75, 0.25, 0.75, 0.25
    classes = np.arange(600) % 2
    has, pooled = drawn(table, classes, 2)
    scale, group = activity_of(pooled), np.arange(600) % 10
    direction = np.linalg.pinv(np.random.default_rng(99).normal(size=(30, 40)))  # the class's score: its six attributes
    weights = direction @ np.array([[1.0] * 3 + [-1.0] * 3 + [0.0] * 24, [-1.0] * 3 + [1.0] * 3 + [0.0] * 24]).T
    groups = [
        sums_of(pooled[group == g], has[group == g], classes[group == g], weights.T[classes[group == g]], 2, scale)
        for g in range(10)
    ]
    words = Vocabulary(
        tuple(Attribute("bird", f"look {j}") for j in range(30)), 600, has.sum(axis=0), np.full(30, 1 / 30), {}
    )
    held = Held(scale.lifted(pooled), has, classes, group)
    meaning = meaning_of(groups, held, words, scale, "lift", layer="x", fingerprint="y", classes=("a", "b"))
    card = contrast(meaning, 0, 1)
    assert set(card.first) <= {0, 1, 2} and set(card.second) <= {3, 4, 5} and card.first and card.second
    random, right = np.random.default_rng(3), {"with": 0, "without": 0}
    for _ in range(400):
        shown = np.array([random.permutation(np.flatnonzero(classes == c))[:1] for c in (0, 1)])
        asked = int(random.integers(600))
        near = [-np.abs(has[rows].mean(axis=0) - has[asked]).sum() for rows in shown]
        by_card = [has[asked, list(card.first)].sum(), has[asked, list(card.second)].sum()]
        right["without"] += int(np.argmax(near)) == classes[asked]
        right["with"] += int(np.argmax([n + 4 * c for n, c in zip(near, by_card, strict=True)])) == classes[asked]
    assert right["with"] - right["without"] > 0.1 * 400
