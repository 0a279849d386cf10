"""Players that are parts, a null by size, and the verdict: against plain re-implementations and planted pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import oracles as oracle
import saywhy
from saywhy.classifier import Activation, Classifier
from saywhy.errors import UsageError
from saywhy.explanation import ColourShare, RegionName
from saywhy.image import Bools, Preprocess
from saywhy.intervene import remembering
from saywhy.language import Appearance
from saywhy.language.verify import interval
from saywhy.passes import counting
from saywhy.players import Reals, Tree, patches, players, touching, ward
from saywhy.regions import part
from saywhy.regions.choice import Hidden, Side, ask, chosen, fallen, hide_each, sides
from saywhy.regions.narrow import halves, narrowed
from saywhy.regions.noise import Noise, asked_again
from saywhy.regions.part import find_in
from saywhy.regions.propose import RegionWords
from saywhy.regions.verdict import AVERAGE, STRICT, holds, null, signed
from saywhy.regions.words import seen_as, told_apart

SIDE = 96


def scene() -> tuple[Tensor, Tensor]:
    """Three coloured patches on an uneven grey, and their masks."""
    masks = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    masks[0, 12:44, 12:44] = True
    masks[1, 12:44, 52:84] = True
    masks[2, 56:88, 20:76] = True
    g = torch.Generator().manual_seed(1)
    image = 0.5 + 0.2 * torch.nn.functional.interpolate(torch.rand(1, 1, 6, 6, generator=g), (SIDE, SIDE))[0]
    image = image.expand(3, SIDE, SIDE).clone()
    for mask, colour in zip(masks, ((0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.2, 0.2, 0.9)), strict=True):
        image[:, mask] = torch.tensor(colour)[:, None]
    return image, masks


def looks_at(mask: Tensor, colour: int, sharpness: float = 12.0) -> Classifier:
    """Class 0: how much of one colour shows inside a mask; class 1: the rest."""

    def scores(x: Tensor) -> Tensor:
        shown = (x[:, colour] - x.mean(1))[:, mask].mean(1)
        return torch.stack([sharpness * shown - 1, torch.zeros(len(x))], 1)

    return Classifier(scores, preprocess=Preprocess(size=(SIDE, SIDE), resize=None), activation="softmax", name="one")


def asked(clf: Classifier, image: Tensor) -> Tensor:
    return clf.probabilities(image[None])[0]


# --------------------------------------------------------------------------------------------------
# Players.


def test_leaves_cover_the_picture_and_joins_are_the_union_of_what_they_join() -> None:
    tree = players(scene()[0])
    k = tree.nodes.shape[1]
    assert set(np.unique(tree.leaves)) == set(range(k)) and k <= 24
    assert (tree.nodes[:k] == np.eye(k, dtype=bool)).all() and (tree.joined[:k] == -1).all()
    for node, (a, b) in zip(tree.nodes[k:], tree.joined[k:], strict=True):
        assert (node == (tree.nodes[a] | tree.nodes[b])).all() and not (tree.nodes[a] & tree.nodes[b]).any()
    assert tree.areas[k:].max(initial=0) <= 0.21
    assert tree.masks([0, k - 1]).sum((1, 2)).tolist() == pytest.approx((tree.areas[[0, k - 1]] * SIDE**2).tolist())


def test_each_planted_patch_is_a_player() -> None:
    image, masks = scene()
    tree = players(image)
    every = tree.masks(range(len(tree.nodes)))
    for mask in masks.numpy():
        assert max((mask & node).sum() / (mask | node).sum() for node in every) > 0.9


@pytest.mark.parametrize("side", [64, 224])
def test_a_patch_of_one_colour_is_split_where_its_kinds_are_known(side: int) -> None:
    kinds = torch.zeros(side, side, dtype=torch.long)
    kinds[:, side // 4 :] = 7
    kinds[side // 2 :, side // 4 :] = -1
    tree = players(torch.full((3, side, side), 0.5), kinds=kinds)
    leaves = tree.masks(range(tree.nodes.shape[1]))
    within = [np.bincount(1 + kinds.numpy()[leaf]).max() / leaf.sum() for leaf in leaves]
    assert min(within) > 0.95 and {int(kinds.numpy()[leaf][0]) for leaf in leaves} == {0, 7, -1}


def test_kinds_that_say_nothing_change_nothing() -> None:
    image = scene()[0]
    plain, same = players(image), players(image, kinds=torch.full(image.shape[1:], 3))
    both = np.unique(np.stack([plain.leaves.ravel(), same.leaves.ravel()]), axis=1)
    assert both.shape[1] == plain.nodes.shape[1] == same.nodes.shape[1], "the same leaves, perhaps in another order"
    assert sorted(plain.areas) == pytest.approx(sorted(same.areas))


def test_patches_are_at_most_so_many_and_of_one_colour() -> None:
    image, masks = scene()
    found = patches(image, 12)
    assert found.shape == (SIDE, SIDE) and len(np.unique(found)) <= 12
    for mask in masks.numpy():
        assert max(((found == i) & mask).sum() / ((found == i) | mask).sum() for i in np.unique(found)) > 0.9


def test_the_players_of_a_mirrored_picture_are_mirrored() -> None:
    image, _ = scene()
    one, other = players(image), players(image.flip(2))
    mine = one.masks(range(one.nodes.shape[1]))
    leaves = other.masks(range(other.nodes.shape[1]))[..., ::-1]
    again = [max((leaf & m).sum() / (leaf | m).sum() for m in mine) for leaf in leaves]
    assert np.mean(np.array(again) >= 0.5) >= 0.8


def photo(seed: int = 0, side: int = 224) -> Tensor:
    """Soft blotches under a little grain, of a photo's size."""
    g = torch.Generator().manual_seed(seed)
    soft = torch.nn.functional.interpolate(torch.rand(1, 3, 7, 7, generator=g), (side, side), mode="bicubic")[0]
    return (soft + 0.03 * torch.randn(3, side, side, generator=g)).clamp(0, 1)


def found_again(mine: Bools, others: Bools) -> float:
    """The share of masks that overlap one of the others by half or more (IoU)."""
    return float(np.mean([max((m & o).sum() / (m | o).sum() for o in others) >= 0.5 for m in mine]))


def test_the_leaves_of_a_photo_are_found_again_mirrored_moved_or_noisy() -> None:
    again: dict[str, list[float]] = {"mirrored": [], "moved": [], "noisy": []}
    for seed in range(4):
        image = photo(seed)
        noise = 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(9))
        copies = {"mirrored": image.flip(2), "moved": image.roll(1, 2), "noisy": (image + noise).clamp(0, 1)}
        one = players(image)
        mine = one.masks(range(one.nodes.shape[1]))
        assert 8 <= len(mine) <= 16 and one.areas.max() <= 0.4 + 1e-9
        for name, copy in copies.items():
            other = players(copy)
            leaves = other.masks(range(other.nodes.shape[1]))
            again[name].append(found_again(mine, leaves[..., ::-1] if name == "mirrored" else leaves))
    shares = {name: float(np.mean(each)) for name, each in again.items()}
    assert shares["mirrored"] >= 0.95 and shares["noisy"] >= 0.95 and shares["moved"] >= 0.8


def test_leaves_from_the_lattice_are_connected() -> None:
    tree = players(photo(4))
    for leaf in tree.masks(range(tree.nodes.shape[1])):
        assert ndimage.label(leaf)[1] == 1


@pytest.mark.parametrize("seed", range(5))
def test_ward_joins_as_the_plain_search_over_all_pairs_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(30).reshape(5, 6)
    means, sizes = rng.normal(0, 1, (30, 3)), rng.integers(1, 9, 30).astype(float)
    for until, most in ((4, np.inf), (1, 40.0)):
        found, _, joined = ward(means, sizes, touching(labels), until, most)
        groups, steps = oracle.ward(means, sizes, labels, until, most)
        assert {frozenset(np.flatnonzero(found == g).tolist()) for g in np.unique(found)} == groups
        assert [tuple(sorted(pair)) for pair in joined[30:].tolist()] == steps


def test_the_smallest_and_a_plain_picture_have_players() -> None:
    assert players(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))).leaves.shape == (8, 8)
    assert players(torch.full((3, 40, 60), 0.5)).nodes.shape == (1, 1)
    assert players(torch.full((3, 224, 224), 0.5)).nodes.shape[1] == 16


# --------------------------------------------------------------------------------------------------
# The null, the interval, the verdict.


@pytest.mark.parametrize("seed", range(20))
def test_null_interval_and_verdict_are_those_of_the_plain_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lost, areas = rng.normal(0, 1, 24), rng.uniform(0.01, 0.1, 24)
    for how in (STRICT, AVERAGE):
        assert null(lost, areas, how) == pytest.approx(oracle.null(lost, areas, how.means))
    values, beyond = rng.normal(0.08, 0.08, 5).tolist(), rng.normal(2, 2, 5).tolist()
    assert interval(values) == pytest.approx(oracle.interval(values, 0.03), abs=1e-4)
    assert interval(values, "log-odds") == pytest.approx(oracle.interval(values, 0.3), abs=1e-3)
    for sign in (1, -1):
        for how in (STRICT, AVERAGE):
            assert holds(values, beyond, "probability", sign, how) == oracle.holds(values, beyond, sign, how.means)


def test_one_fill_that_disagrees_does_not_decide_and_two_do() -> None:
    strong = [9.0] * 5
    assert holds([0.3, 0.3, 0.3, 0.3, 0.001], strong)
    assert not holds([0.3, 0.3, 0.3, 0.3, 0.0], strong), "the sign is the same in all"
    assert not holds([0.3, 0.3, 0.3, 0.001, 0.001], strong)
    assert holds([0.3, 0.3, 0.3, 0.3, 0.3], [2.1] * 5), "the interval leaves out nothing"
    assert not holds([0.3, 0.3, 0.3, 0.3, 0.3], [1.9] * 5), "hardly more than hiding something of its size does"
    assert not holds([0.3, 0.3, 0.3, 0.3, 0.02], strong, sign=-1), "against only if every fill gains"


def test_what_counts_against_raises_the_score_clearly_and_about_alike() -> None:
    assert holds([0.1] * 5, [4.1] * 5, sign=-1) and not holds([0.1] * 5, [3.9] * 5, sign=-1)
    assert signed([0.001, 0.2, 0.1]), "a loss may be as uneven as it likes"
    assert not signed([-0.001, 0.2, 0.1]) and not signed([0.0, 0.2, 0.1])
    assert signed([-0.1, -0.2, -0.15], -1)
    assert not signed([-0.09, -0.2, -0.2], -1) and not signed([0.01, -0.2, -0.2], -1)


def test_by_means_one_fill_may_disagree_and_the_average_must_exceed_the_null() -> None:
    strong = [9.0] * 5
    assert holds([0.3, 0.3, 0.3, 0.3, 0.001], strong, how=AVERAGE)
    assert not holds([0.3, 0.3, 0.3, 0.3, -0.001], strong, how=AVERAGE)
    assert not holds([0.3, 0.3, 0.3, 0.001, 0.001], strong, how=AVERAGE)
    assert holds([0.3] * 5, [2.1] * 5, how=AVERAGE) and not holds([0.3] * 5, [1.9] * 5, how=AVERAGE)
    assert not holds([0.04] * 5, strong, how=AVERAGE), "too little to be told"


def test_of_a_network_that_looks_at_one_spot_the_null_is_small_and_never_zero() -> None:
    nothing = np.zeros(24), np.full(24, 1 / 24)
    assert null(*nothing) == 0.1 and null(*nothing, AVERAGE) == pytest.approx(0.35**0.5)


# --------------------------------------------------------------------------------------------------
# What is chosen and found.


def test_the_part_that_decides_is_found_alone_and_first() -> None:
    image, masks = scene()
    clf = looks_at(masks[2], 2)
    found = find_in(clf, image, asked(clf, image), 0)
    assert found.fors >= 1
    best = found.regions[0]
    assert float((best & masks[2]).sum() / (best | masks[2]).sum()) > 0.8
    assert int(found.regions.sum(0).max()) == 1, "regions are disjoint"


def many(count: int) -> tuple[Tensor, Classifier]:
    """An uneven grey with coloured squares, each of which counts by itself, the first most."""
    g = torch.Generator().manual_seed(1)
    grey = 0.45 + 0.25 * torch.nn.functional.interpolate(torch.rand(1, 1, 4, 4, generator=g), (SIDE, SIDE))[0]
    image = grey.expand(3, SIDE, SIDE).clone()
    squares = [(slice(32 * y + 8, 32 * y + 24), slice(32 * x + 8, 32 * x + 24)) for y in range(2) for x in range(3)]
    colours = torch.tensor([(9, 1, 1), (1, 8, 2), (2, 2, 9), (9, 9, 1), (9, 1, 9), (1, 9, 9)]) / 10
    for (rows, columns), colour in zip(squares[:count], colours, strict=False):
        image[:, rows, columns] = colour[:, None, None]
    weights = torch.linspace(1.6, 1.0, count)

    def scores(x: Tensor) -> Tensor:
        apart = [(x - image)[:, :, rows, columns].abs().mean((1, 2, 3)) for rows, columns in squares[:count]]
        shown = (1 - 3 * torch.stack(apart, 1)).clamp_min(0) @ weights - 0.75 * weights.sum()
        return torch.stack([shown, torch.zeros_like(shown)], 1)

    return image, Classifier(scores, preprocess=Preprocess(size=(SIDE, SIDE), resize=None), activation="softmax")


@pytest.mark.parametrize(("count", "most", "played"), [(3, 6, 3), (6, 6, 6), (3, 2, 2)])
def test_up_to_six_regions_play_the_game_and_what_is_beyond_is_told_by_hiding_it_alone(
    count: int, most: int, played: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if most != part.PLAYERS:
        monkeypatch.setattr(part, "PLAYERS", most)
    image, clf = many(count)
    e = saywhy.explain(clf, (255 * image).round().byte().permute(1, 2, 0).numpy())
    assert [c.confirmed for c in e.concepts] == [True] * count and e.game is not None and e.graph is not None
    shares = [c.share for c in e.concepts]
    assert [s is not None for s in shares] == [True] * played + [False] * (count - played)
    assert sum(s for s in shares if s is not None) == pytest.approx(e.game.full - e.game.empty, abs=1e-5)
    assert all(c.contribution > 0.05 and c.effect.low <= -c.contribution <= c.effect.high < 0 for c in e.concepts)
    assert e.graph.nodes == tuple(c.id for c in e.concepts[:played])


def test_what_hinders_comes_after_what_counts() -> None:
    image, masks = scene()

    def scores(x: Tensor) -> Tensor:
        red, green = ((x[:, c] - x.mean(1))[:, masks[c]].mean(1) for c in (0, 1))
        return torch.stack([8 * red - 3 * green, torch.ones(len(x))], 1)

    clf = Classifier(scores, preprocess=Preprocess(size=(SIDE, SIDE), resize=None), activation="softmax", name="two")
    found = find_in(clf, image, asked(clf, image), 0)
    assert (found.fors, found.against) == (1, 1)
    for region, mask in zip(found.regions, masks, strict=False):
        assert float((region & mask).sum() / (region | mask).sum()) > 0.8


def test_a_model_that_sees_nothing_has_no_region() -> None:
    image, _ = scene()
    clf = Classifier(
        lambda x: torch.tensor([[2.0, 0.0]]).expand(len(x), 2),
        preprocess=Preprocess(size=(SIDE, SIDE), resize=None),
        name="deaf",
    )
    assert len(find_in(clf, image, asked(clf, image), 0).regions) == 0


@pytest.mark.parametrize("points", [2, 4, 8])
def test_of_a_model_that_only_makes_noise_next_to_nothing_counts(points: int) -> None:
    g = torch.Generator().manual_seed(points)

    def scores(x: Tensor) -> Tensor:
        p = (0.6 + 0.01 * points * torch.randn(len(x), generator=g)).clamp(0.01, 0.99)
        return torch.stack([p.log(), (1 - p).log()], 1)

    clf = Classifier(scores, preprocess=Preprocess(size=(SIDE, SIDE), resize=None), activation="softmax", name="noise")
    false = sum(find_in(clf, photo(n, SIDE), asked(clf, photo(n, SIDE)), 0).fors > 0 for n in range(20))
    assert false <= 1


def test_a_model_that_repeats_itself_is_asked_once_more_and_has_no_noise() -> None:
    image, masks = scene()
    clf = looks_at(masks[2], 2)
    noise = asked_again(clf, image, float(asked(clf, image)[0]), 0)
    assert len(noise.asked) == 2 and noise.repeats and noise.floor(5) == 0
    assert Noise((0.6, 0.65, 0.55, 0.6, 0.6, 0.6)).floor(5) == pytest.approx(
        3 * float(np.std([0.6, 0.65, 0.55, 0.6, 0.6, 0.6], ddof=1)) * 1.2**0.5
    )


def test_noise_of_a_certain_answer_shows_in_log_odds() -> None:
    assert Noise((0.5, 0.501)).repeats and not Noise((0.5, 0.503)).repeats
    assert Noise((1 - 1e-9, 1 - 1.01e-9)).repeats and not Noise((1 - 1e-9, 1 - 2e-9)).repeats
    assert Noise((1 - 1e-9, 1 - 2e-9)).floor(5, "log-odds") > 1


def test_a_saturated_probability_is_tested_in_log_odds() -> None:
    image, masks = scene()
    clf = looks_at(masks[0], 0, sharpness=30.0)

    def scores(x: Tensor) -> Tensor:
        either = torch.maximum(clf.net(x)[:, 0], clf.net(x.flip(-1))[:, 0])
        return torch.stack([either * 0.2 + 6, torch.zeros(len(x))], 1)

    sure = Classifier(scores, preprocess=clf.preprocess, activation="softmax", name="sure")
    assert float(asked(sure, image)[0]) > 0.99
    found = find_in(sure, image, asked(sure, image), 0)
    assert found.unit == "log-odds" and found.fors == 1
    assert float((found.regions[0] & masks[0]).sum() / (found.regions[0] | masks[0]).sum()) > 0.8
    assert find_in(clf, image, asked(clf, image), 0).unit == "probability", "where the probability falls, it is told"


@pytest.mark.parametrize(("activation", "finds"), [("softmax", True), ("none", False)])
def test_evidence_is_seen_where_single_precision_is_already_certain(activation: Activation, finds: bool) -> None:
    image, masks = scene()
    clf = looks_at(masks[0], 0, sharpness=30.0)

    def scores(x: Tensor) -> Tensor:
        either = torch.maximum(clf.net(x)[:, 0], clf.net(x.flip(-1))[:, 0])
        out = torch.stack([either * 0.2 + 20, torch.zeros(len(x))], 1)
        return out if activation == "softmax" else out.softmax(1)

    certain = Classifier(scores, preprocess=clf.preprocess, activation=activation, name="certain")
    assert float(certain.probabilities(image[None])[0, 0]) == 1.0
    fine = certain.fine_probabilities(certain.logits(image[None]))[0]
    assert (1 - float(fine[0]) < 1e-8) == finds, "what came as a probability is known no nearer than single precision"
    found = find_in(certain, image, fine, 0)
    assert found.fors == int(finds) and (found.unit == "log-odds" or not finds)


def test_a_join_that_could_not_be_chosen_is_not_asked_about_twice() -> None:
    image, masks = scene()
    clf = looks_at(masks[2], 2)
    whole = asked(clf, image).double().numpy()
    tree = players(image)
    k = tree.nodes.shape[1]
    both = sides(clf, image, whole, 0)
    hidden = hide_each(both, tree, 0, ("probability",))
    first, second = hidden.answers["inpaint"], hidden.answers["mean"]
    small = np.abs(whole[0] - first[:, 0]) < 0.012
    assert np.isnan(second[k:][small[k:], 0]).all() and not np.isnan(second[:k]).any()
    full = hide_each(both, tree, 0, ("probability", "log-odds"))
    assert chosen(full) == chosen(hidden)


def test_how_many_regions_is_asked_for_at_most_and_never_beyond_eight() -> None:
    image, masks = scene()
    clf = looks_at(masks.any(0), 2)
    for count in (1, 2, 3):
        assert len(find_in(clf, image, asked(clf, image), 0, count=count).regions) <= count
    for wrong in (0, 9):
        with pytest.raises(UsageError, match="1 to 8"):
            find_in(clf, image, asked(clf, image), 0, count=wrong)


@pytest.mark.parametrize("seed", range(10))
def test_a_region_is_narrowed_to_what_takes_its_loss_in_every_way_and_a_half_that_fails_in_one_is_not_asked_again(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    lab, whole, (ys, xs) = rng.normal(0, 2, (24, 24, 3)), np.ones((24, 24), dtype=bool), np.mgrid[:24, :24]
    lab[:, 12:] += 40
    spots = [(6, 5), (6, 5) if seed % 2 else (rng.integers(24), rng.integers(24))]  # alike, or perhaps of two halves
    causes = np.array([np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8) for y, x in spots])
    asked = [0, 0]

    def way(n: int, masks: Bools) -> Reals:
        asked[n] += len(masks)
        return np.asarray((masks * causes[n]).sum((1, 2)) / max(causes[n].sum(), 1e-9))

    found = narrowed([partial(way, 0), partial(way, 1)], lab, whole, 1.0)
    want, loss, plain = whole, 1.0, 0
    for _ in range(3):
        both = halves(lab, want)
        lost = [min(float((m * c).sum() / max(c.sum(), 1e-9)) for c in causes) for m in both]
        plain += len(both)
        if not both or max(lost) < 0.8 * loss:
            break
        want, loss = both[int(np.argmax(lost))], max(lost)
    assert np.array_equal(found, want) and asked[0] == plain > asked[1] > 0
    assert seed % 2 == 0 or found.mean() < 0.5, "where one half does it all"


def test_a_cause_far_smaller_than_a_leaf_is_narrowed_to() -> None:
    image = photo(3)
    cause = torch.zeros(224, 224, dtype=torch.bool)
    cause[90:118, 120:148] = True
    image[:, cause] = torch.tensor([1.0, 0.0, 1.0])[:, None]

    def scores(x: Tensor) -> Tensor:
        shown = (x - torch.tensor([1.0, 0.0, 1.0])[:, None, None]).abs().amax(1)[:, cause] < 0.15
        return torch.stack([9 * (shown.float().mean(1) - 0.5), torch.zeros(len(x))], 1)

    clf = Classifier(scores, preprocess=Preprocess(size=(224, 224), resize=None), activation="softmax", name="spot")
    found = find_in(clf, image, asked(clf, image), 0)
    assert found.fors == 1 and float((found.regions[0] & cause).sum() / found.regions[0].sum()) > 0.5
    assert not found.hidden.tree.fine and max(found.hidden.tree.areas[:16]) > 0.03


@pytest.mark.parametrize(("in_the_mirror", "found"), [(5.0, False), (2.0, True)])
def test_the_mirror_has_its_say_where_the_answer_is_the_same_there(in_the_mirror: float, found: bool) -> None:
    """A model for which blue speaks in the picture and against in the mirror: as sure there, or of the other class."""
    image, masks = scene()

    def scores(x: Tensor) -> Tensor:
        blue = (x[:, 2] - x.mean(1))[:, masks[2]].mean(1)
        turned = x[:, 1, :44, 12:44].mean((1, 2)) > x[:, 0, :44, 12:44].mean((1, 2))
        return torch.stack([torch.where(turned, in_the_mirror - 6 * blue, 3 * blue), torch.zeros(len(x))], 1)

    clf = Classifier(scores, preprocess=Preprocess(size=(SIDE, SIDE), resize=None), activation="softmax", name="left")
    best = masks[2]
    for fast in (False, True):
        chosen = find_in(clf, image, asked(clf, image), 0, fast=fast)
        assert chosen.mirror is not found
        said = any(float((r & best).sum() / (r | best).sum()) > 0.5 for r in chosen.regions[: chosen.fors])
        assert said is (found or fast), "the fast way does not confirm in the mirror"


@pytest.mark.parametrize("side", [64, 224])
def test_of_photos_the_second_fill_is_asked_in_the_mirror(side: int) -> None:
    image = photo(3)[:, :side, :side]
    clf = Classifier(
        lambda x: torch.stack([(x * torch.linspace(0, 1, side)).mean((1, 2, 3)), torch.zeros(len(x))], 1),
        preprocess=Preprocess(size=(side, side), resize=None), activation="softmax", name="right",
    )  # fmt: skip
    tree, whole = players(image), asked(clf, image).double().numpy()
    hidden = hide_each(sides(clf, image, whole, 0), tree, 0, ("probability",))
    assert hidden.sides["mean"].mirrored is (not tree.fine) is (side == 224) and not hidden.sides["inpaint"].mirrored
    leaf = tree.masks([0])
    for fill, side_of in hidden.sides.items():
        x, m = (image.flip(-1), leaf[..., ::-1].copy()) if side_of.mirrored else (image, leaf)
        plain, without = clf.probabilities(x[None])[0], ask(clf, x, m, fill)[0]
        assert hidden.lost(fill)[0] == pytest.approx(float(plain[0]) - without[0], abs=1e-6)


def test_fast_asks_at_most_sixty_times() -> None:
    image, masks = scene()
    clf = looks_at(masks[2], 2)
    whole = asked(clf, image)
    with counting() as meter, remembering():
        find_in(clf, image, whole, 0, fast=True)
    assert 0 < meter.forward_passes <= 56


# --------------------------------------------------------------------------------------------------
# What regions are called.


def test_a_small_sign_is_called_by_its_own_colour() -> None:
    pixels = np.full((100, 100, 3), (60, 130, 60), dtype=np.uint8)
    pixels[20:32, 20:32] = (200, 30, 160)
    mask = np.zeros((100, 100), dtype=bool)
    mask[19:33, 19:33] = True
    seen, shade = seen_as(pixels, mask)
    assert (seen.size, seen.colours[0].term, shade) == ("small", "purple", None) or seen.colours[0].term == "pink"


def test_a_patch_is_named_by_what_sets_it_off_from_what_is_around_it() -> None:
    pixels = np.full((100, 100, 3), (90, 140, 220), dtype=np.uint8)
    pixels[30:70, 30:52] = (250, 210, 20)
    mask = np.zeros((100, 100), dtype=bool)
    mask[30:70, 30:80] = True
    seen, _ = seen_as(pixels, mask)
    assert [c.term for c in seen.colours] == ["yellow", "blue"], "though most of it is blue, as its surroundings"


def test_a_darker_patch_of_the_same_colour_is_called_dark() -> None:
    pixels = np.full((100, 100, 3), (110, 170, 110), dtype=np.uint8)
    pixels[30:70, 30:70] = (40, 90, 40)
    mask = np.zeros((100, 100), dtype=bool)
    mask[30:70, 30:70] = True
    assert seen_as(pixels, mask)[1] == "dark"
    assert seen_as(255 - pixels, mask)[1] == "light"


@pytest.mark.parametrize("seed", range(20))
def test_no_two_regions_are_called_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = np.zeros((8, 40, 40), dtype=bool)
    for m, (y, x) in zip(masks, rng.integers(0, 36, (8, 2)), strict=True):
        m[y : y + 4, x : x + 3] = True
    red = Appearance((ColourShare(term="red", share=1.0),))
    words = told_apart([RegionWords(str(i + 1), 0.01, red, "centre") for i in range(8)], masks)
    told = [None if w.beside is None else (w.beside.relation, w.beside.region) for w in words]
    assert told[0] is None and len(set(told)) == 8
    guesses = [RegionName("part of the dog", 0.9, "lexical"), None] * 4
    guessed = told_apart([RegionWords(str(i + 1), 0.01, red, "centre", name=n) for i, n in enumerate(guesses)], masks)
    assert [w.beside for w in guessed] == [w.beside for w in words], "what stands in no sentence tells nothing apart"
    shown = [replace(w, name=RegionName("beak", 0.9, "shown"), beside=None) for w in words[:2]]
    assert [w.beside for w in told_apart([shown[0], replace(words[1], beside=None)], masks[:2])] == [None, None]
    for w, mask in zip(words[1:], masks[1:], strict=True):
        assert w.beside is not None
        (y0, x0), (y1, x1) = (np.argwhere(m).mean(0) for m in (mask, masks[int(w.beside.region) - 1]))
        assert {"left of": x0 < x1, "right of": x0 > x1, "above": y0 < y1, "below": y0 > y1}[w.beside.relation]


# --------------------------------------------------------------------------------------------------
# Which nodes are chosen, on a tree made by hand.


def row(sizes: tuple[int, ...], fine: bool = True) -> Tree:
    """Leaves of these sizes side by side, joined from the left: 0 and 1, then with 2, and so on."""
    cells = np.repeat(np.arange(len(sizes)), sizes)[None]
    k = len(sizes)
    nodes = [np.arange(k) == i for i in range(k)] + [np.arange(k) <= i for i in range(1, k)]
    joined = [(-1, -1)] * k + [(0, 1)] + [(k + i, i + 2) for i in range(k - 2)]
    lab = np.zeros((*cells.shape, 3))
    return Tree(cells, lab, np.zeros(1, dtype=int), np.arange(cells.shape[1]), np.array(nodes), np.array(joined), fine)


def hidden_in(tree: Tree, inpaint: list[float], mean: list[float] | None = None, full: float = 0.55) -> Hidden:
    """What hiding did, by the losses of each node under the two leading fills."""
    answers = {fill: np.array([(full - v, 1 - full + v) for v in lost])
               for fill, lost in (("inpaint", inpaint), ("mean", mean or inpaint))}  # fmt: skip
    picture = Side(looks_at(torch.ones(1, 1, dtype=torch.bool), 0), torch.zeros(3, 1, 1), np.array([full, 1 - full]))
    return Hidden(tree, dict.fromkeys(answers, picture), answers, 0)


@pytest.mark.parametrize(
    ("lost", "want"),
    [
        ([0.2, 0.0, 0.0, 0.0, 0.2, 0.2, 0.2], [0]),  # the others add nothing to the first
        ([0.2, 0.0, 0.0, 0.0, 0.4, 0.4, 0.4], [4]),  # the second adds to it
        ([0.2, 0.0, 0.0, 0.0, 0.24, 0.24, 0.24], [0]),  # less than five points are not enough
        ([0.2, 0.0, 0.0, 0.0, 0.26, 0.26, 0.26], [4]),
        ([0.1, 0.2, 0.0, 0.0, 0.4, 0.4, 0.4], [1, 0]),  # two that count stay two, the larger loss first
        ([0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3], [4]),  # together they count, alone none does
        ([0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.2], [3]),
        ([0.1, 0.0, 0.3, 0.0, 0.1, 0.4, 0.4], [2, 0]),
        ([0.029, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], []),
        ([0.031, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0]),
        ([0.0] * 7, []),
    ],
)
def test_disjoint_nodes_are_chosen_and_a_join_only_where_it_adds(lost: list[float], want: list[int]) -> None:
    tree = row((1, 1, 1, 1))
    assert chosen(hidden_in(tree, lost)) == want
    assert chosen(hidden_in(tree, [-v for v in lost], full=0.45), sign=-1) == want
    assert chosen(hidden_in(tree, [-v for v in lost], full=0.45)) == []


def test_what_a_join_adds_exceeds_what_its_area_costs() -> None:
    for sizes, want in (((1, 1, 1, 1), [4]), ((1, 8, 1, 1), [0])):
        assert chosen(hidden_in(row(sizes), [0.06, 0.0, 0.0, 0.0, 0.112, 0.112, 0.112])) == want


def test_in_small_pictures_each_leading_fill_decides_and_in_photos_their_mean() -> None:
    one, other = [0.3, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3], [0.02, 0.0, 0.0, 0.0, 0.02, 0.02, 0.02]
    assert chosen(hidden_in(row((1, 1, 1, 1)), one, other)) == chosen(hidden_in(row((1, 1, 1, 1)), other, one)) == []
    photo_ = row((1, 1, 1, 1), fine=False)
    assert chosen(hidden_in(photo_, one, other)) == chosen(hidden_in(photo_, other, one)) == [0]
    assert chosen(hidden_in(photo_, one, [0.0] * 7)) == [], "but something under each"
    first, second = [0.3, 0.0, 0.2, 0.0, 0.3, 0.0, 0.0], [0.04, 0.0, 0.2, 0.0, 0.04, 0.0, 0.0]
    assert chosen(hidden_in(row((1, 1, 1, 1)), first, second)) == [2, 0]
    assert chosen(hidden_in(row((1, 1, 1, 1), fine=False), [0.3, 0, 0.15, 0, 0, 0, 0], [0.1, 0, 0.15, 0, 0, 0, 0])) == [
        0,
        2,
    ]


def test_losses_are_told_in_both_units_and_certainty_is_not_infinite() -> None:
    whole, answers = np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.9, 0.1], [0.0, 1.0]])
    assert fallen(whole, answers, 0).tolist() == pytest.approx([0.5, 0.1, 1.0])
    top = float(np.log((1 - 1e-15) / 1e-15))
    want = [top, top - float(np.log(9)), 2 * top]
    assert fallen(whole, answers, 0, "log-odds").tolist() == pytest.approx(want, rel=1e-3)
    assert fallen(whole, answers, 1, "log-odds").tolist() == pytest.approx([-v for v in want], rel=1e-3)


def test_asking_hides_the_masks_and_nothing_else() -> None:
    image = torch.full((3, 8, 8), 0.5)
    image[:, :4] = 1.0
    seen: list[Tensor] = []

    def scores(x: Tensor) -> Tensor:
        seen.extend(x)
        return torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1)

    clf = Classifier(scores, preprocess=Preprocess(size=(8, 8), resize=None), activation="none", name="mean")
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, :4], masks[1, 4:] = True, True
    answers = ask(clf, image, masks, "black")
    assert answers.tolist() == [pytest.approx([0.25, 0.75], abs=0.05), pytest.approx([0.5, 0.5], abs=0.05)]
    assert answers.dtype == np.float64 and len(ask(clf, image, masks[:0], "black")) == 0
    assert float(seen[-1][:, 7].max()) == 0 and torch.equal(seen[-1][:, 0], image[:, 0])
