"""The engine, the coalition game, single experiments."""

from itertools import combinations
from math import factorial

import pytest
import torch

import tiny
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.image import Preprocess
from saywhy.intervene import (
    Masked,
    experiment,
    hide,
    interaction_indices,
    masked_answers,
    masked_scores,
    play,
    shapley_values,
)
from saywhy.passes import counting


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_masked_scores_do_not_depend_on_the_batch_size_and_count_every_pass(size):
    clf, image = tiny.classifier(tiny.build("cnn")), tiny.images(1)[0]
    g = torch.Generator().manual_seed(0)
    masks = (torch.rand(10, 32, 32, generator=g) > 0.5).float()
    steps = []
    with counting() as meter:
        got = masked_scores(
            clf,
            image,
            10,
            lambda a, b: masks[a:b],
            lambda s: s[:, 1],
            fill="blur",
            batch_size=size,
            progress=lambda done, total: steps.append((done, total)),
        )
    assert torch.allclose(got, clf.logits(hide(image, masks, "blur"))[:, 1], atol=1e-5)
    assert meter.forward_passes == 10
    assert steps[-1] == (10, 10)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_parts_of_other_images_and_fills_are_answered_one_after_the_other(size):
    images, g = tiny.images(3), torch.Generator().manual_seed(0)
    masks = (torch.rand(7, 32, 32, generator=g) > 0.5).float()
    owners = torch.tensor([0, 2, 1, 2, 0])
    parts = [
        Masked(images, 5, lambda a, b: masks[a:b], "blur", owners=owners),
        Masked(images[:1], 2, lambda a, b: masks[5 + a : 5 + b], "noise", seed=4),
    ]
    got = masked_answers(parts, lambda x: x, size=size)
    assert torch.allclose(got[:5], hide(images[owners], masks[:5], "blur"), atol=1e-6)
    assert torch.allclose(got[5:], hide(images[0], masks[5:], "noise", 4), atol=1e-6)
    numbers = masked_answers(parts, lambda x: x.mean((1, 2, 3)), size=size, read=lambda a, n: torch.stack([a, n], 1))
    assert numbers[:, 1].tolist() == list(range(7)) and torch.allclose(numbers[:, 0], got.mean((1, 2, 3)), atol=1e-6)


def test_gradients_pass_through_the_masks():
    image, keep = tiny.images(1), torch.full((4, 32, 32), 0.5, requires_grad=True)
    part = Masked(image, 4, lambda a, b: keep[a:b], "image-blur")
    masked_answers([part], lambda x: x.sum((1, 2, 3)), size=3).sum().backward()
    expected = (image - hide(image[0], torch.zeros(1, 32, 32), "image-blur")).sum(1)
    assert torch.allclose(keep.grad, expected.expand(4, -1, -1), atol=1e-4)


# --------------------------------------------------------------------------------------------------


def shapley_oracle(v, k):
    """The mean over all orders, player by player."""
    out = torch.zeros(k, dtype=v.dtype)
    for i in range(k):
        rest = [j for j in range(k) if j != i]
        for n in range(k):
            for S in combinations(rest, n):
                s = sum(1 << j for j in S)
                out[i] += factorial(n) * factorial(k - n - 1) / factorial(k) * (v[s | 1 << i] - v[s])
    return out


@pytest.mark.parametrize("k", range(1, 7))
def test_shapley_values_equal_their_definition_and_add_up(k):
    v = torch.randn(2**k, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
    got = shapley_values(v)
    assert torch.allclose(got, shapley_oracle(v, k))
    assert torch.allclose(got.sum(), v[-1] - v[0])


def test_interactions_are_the_planted_products():
    bits = torch.tensor([[(s >> i) & 1 for i in range(4)] for s in range(16)], dtype=torch.float64)
    v = 2 * bits[:, 0] - bits[:, 3] + 3 * bits[:, 1] * bits[:, 2] - 0.5 * bits[:, 0] * bits[:, 3]
    got = interaction_indices(v)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2] = expected[2, 1] = 3
    expected[0, 3] = expected[3, 0] = -0.5
    assert torch.allclose(got, expected, atol=1e-12)
    assert torch.allclose(shapley_values(v), torch.tensor([1.75, 1.5, 1.5, -1.25], dtype=torch.float64))


def test_a_number_of_values_that_is_no_power_of_two_is_an_error():
    with pytest.raises(UsageError, match="2\\^k"):
        shapley_values(torch.zeros(6))


@pytest.fixture
def counter():
    """A black box whose score of class 1 is the mean of the left half, of class 2 the mean of the right half."""

    def scores(x):
        left, right = x[..., :16].mean(dim=(1, 2, 3)), x[..., 16:].mean(dim=(1, 2, 3))
        return torch.stack([1 - left / 2 - right / 2, left / 2, right / 2], dim=1)

    return Classifier(scores, activation="none", preprocess=Preprocess(size=(32, 32)))


def test_a_game_measures_every_combination_and_finds_who_matters(counter):
    image = torch.full((3, 32, 32), 0.8)
    regions = torch.zeros(3, 32, 32, dtype=torch.bool)
    regions[0, :, :8] = regions[1, :, 16:20] = regions[2, 4:8, 20:24] = True
    with counting() as meter:
        game = play(counter, image, regions, fills=("black", "mean"))
    assert meter.forward_passes == 16 and game.probabilities.shape == (2, 8, 3)
    values = game.values(1)
    assert torch.allclose(shapley_values(values)[0], torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64), atol=1e-6)
    contrast = shapley_values(game.values(1, versus=2))[0]
    assert float(contrast[0]) > 0 > float(contrast[1]) and float(contrast[2]) < 0
    assert torch.allclose(values[0, -1], torch.tensor(0.4, dtype=torch.float64))
    odds = game.values(1, unit="log-odds")[0, -1]
    assert torch.allclose(odds, torch.logit(torch.tensor(0.4, dtype=torch.float64)), atol=1e-5)


@pytest.mark.parametrize("k", [0, 7])
def test_a_game_of_no_region_or_of_seven_is_refused(counter, k):
    with pytest.raises(UsageError, match="1 to 6"):
        play(counter, tiny.images(1)[0], torch.zeros(k, 32, 32, dtype=torch.bool))


def test_experiments_hide_or_keep_alone_in_several_ways(counter):
    image = torch.full((3, 32, 32), 0.8)
    regions = torch.zeros(2, 32, 32, dtype=torch.bool)
    regions[0, :, :16] = regions[1, :, 16:] = True
    ways = (("black", 1), ("black", 2))
    runs = experiment(counter, image, regions, [("hide", (0,)), ("keep", (0,)), ("hide", (0, 1))], ways=ways)
    assert [(r.act, r.regions, r.fill, r.seed) for r in runs[:2]] == [
        ("hide", (0,), "black", 1),
        ("hide", (0,), "black", 2),
    ]
    assert all(float(r.probabilities[1]) < 0.1 for r in runs[:2])
    assert all(float(r.probabilities[1]) > 0.3 and float(r.probabilities[2]) < 0.1 for r in runs[2:4])
    assert all(float(r.probabilities[0]) > 0.85 for r in runs[4:])
    assert experiment(counter, image, regions, []) == []
