"""The game and the acts that check it: what is hidden, what stays, which way the numbers go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.image import Preprocess
from saywhy.intervene import CONFIRMING, Game, experiment, play, shapley_values
from saywhy.intervene.fills import named

IMAGE = torch.full((3, 40, 40), 0.75)


def halves(x: Tensor) -> Tensor:
    """Class 1: light at the top, class 2: light at the bottom, class 0: the rest."""
    top, bottom = x[..., :20, :].mean((1, 2, 3)), x[..., 20:, :].mean((1, 2, 3))
    return torch.stack([1 - (top + bottom) / 2, top / 2, bottom / 2], dim=1)


def clf() -> Classifier:
    return Classifier(halves, activation="none", preprocess=Preprocess(size=(40, 40)))


def two() -> Tensor:
    regions = torch.zeros(2, 40, 40, dtype=torch.bool)
    regions[0, :20] = regions[1, 20:] = True
    return regions


def test_combination_s_keeps_region_i_where_bit_i_is_set() -> None:
    game = play(clf(), IMAGE, two(), fills=("black",))
    assert game.k == 2 and game.fills == ("black",)
    top, bottom = game.probabilities[0, :, 1].tolist(), game.probabilities[0, :, 2].tolist()
    assert top == pytest.approx([0, 0.375, 0, 0.375], abs=1e-5)
    assert bottom == pytest.approx([0, 0, 0.375, 0.375], abs=1e-5)


def test_regions_that_overlap_are_hidden_once() -> None:
    regions = two()
    regions[1, 10:] = True
    game = play(clf(), IMAGE, regions, fills=("black",))
    assert game.probabilities[0, 0].tolist() == pytest.approx([1, 0, 0], abs=1e-5)


def test_values_are_of_the_target_alone_or_against_another_in_either_unit() -> None:
    p = torch.tensor([[[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]]).double()
    game = Game(1, ("black",), p)
    assert game.values(1).tolist() == [pytest.approx([0.5, 1.0])]
    assert game.values(1, 2).tolist() == [pytest.approx([0.2, 1.0])]
    odds = game.values(1, unit="log-odds")[0].tolist()
    assert odds[0] == pytest.approx(0, abs=1e-6) and odds[1] == pytest.approx(34.5, abs=0.1), "never infinite"
    assert game.values(2, unit="log-odds")[0, 1] == pytest.approx(-34.5, abs=0.1)
    difference = game.values(1, 2, unit="log-odds")[0, 0]
    assert difference == pytest.approx(float(torch.logit(torch.tensor(0.5)) - torch.logit(torch.tensor(0.3))), abs=1e-6)


def test_what_lightens_a_class_has_a_positive_value_and_the_others_none() -> None:
    game = play(clf(), IMAGE, two(), fills=("black", "black"))
    for row in shapley_values(game.values(1)).tolist():
        assert row == pytest.approx([0.375, 0], abs=1e-5)


def test_every_act_is_tried_in_every_way_and_the_runs_come_act_by_act() -> None:
    acts = [("hide", (0,)), ("keep", (0,)), ("hide", (0, 1))]
    runs = experiment(clf(), IMAGE, two(), acts)  # type: ignore[arg-type]
    assert [(r.act, r.regions) for r in runs] == [act for act in acts for _ in CONFIRMING]
    assert [(r.fill, r.seed) for r in runs] == list(CONFIRMING) * 3
    assert experiment(clf(), IMAGE, two(), acts, ways=()) == []  # type: ignore[arg-type]


def test_hiding_fills_the_region_and_keeping_fills_everything_else() -> None:
    seen: list[Tensor] = []

    def watching(x: Tensor) -> Tensor:
        seen.extend(x)
        return halves(x)

    box = Classifier(watching, activation="none", preprocess=Preprocess(size=(40, 40)))
    regions = torch.zeros(1, 40, 40, dtype=torch.bool)
    regions[0, 10:30, 10:30] = True
    experiment(box, IMAGE, regions, [("hide", (0,)), ("keep", (0,))], ways=(("black", 1),))
    hidden, alone = (x[0] for x in seen[-2:])
    assert float(hidden[14:26, 14:26].abs().max()) == 0 and torch.equal(hidden[:6], IMAGE[0, :6])
    assert float(alone[:6].abs().max()) == 0 and torch.equal(alone[14:26, 14:26], IMAGE[0, 14:26, 14:26])
    assert torch.equal(hidden + alone, IMAGE[0])


def test_several_regions_are_hidden_or_kept_together_and_of_none_all_or_nothing_stays() -> None:
    acts = [("hide", (0, 1)), ("keep", (0, 1)), ("hide", ()), ("keep", ()), ("hide", (1,))]
    runs = experiment(clf(), IMAGE, two(), acts, ways=(("black", 0),))  # type: ignore[arg-type]
    light = [r.probabilities[1:].tolist() for r in runs]
    both, top = [0.375, 0.375], [0.375, 0.0]
    assert light == [pytest.approx(v, abs=1e-5) for v in ([0, 0], both, both, [0, 0], top)]


def test_a_fill_that_draws_nothing_has_no_seed_of_its_own() -> None:
    assert [fill for fill, seed in CONFIRMING if seed] == [
        fill for fill, _ in CONFIRMING if "seed" in named(fill).needs
    ]
    assert experiment(clf(), IMAGE, two(), []) == []


def test_the_seed_changes_the_noise_alone() -> None:
    acts, uneven = [("hide", (0,))], torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    one, other = (experiment(clf(), uneven, two(), acts, seed=s) for s in (0, 1))  # type: ignore[arg-type]
    assert [(r.fill, r.seed) for r in other] == [(f, s + 1000 if f == "noise" else s) for f, s in CONFIRMING]
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.probabilities, b.probabilities) == (a.fill != "noise")


@pytest.mark.parametrize("k", [1, 6])
def test_a_game_of_one_to_six_regions_is_played(k: int) -> None:
    regions = torch.stack([torch.arange(40)[:, None].expand(40, 40) // 6 == i for i in range(k)])
    assert play(clf(), IMAGE, regions, fills=("black",)).probabilities.shape == (1, 2**k, 3)
