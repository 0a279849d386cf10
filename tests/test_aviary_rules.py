"""Species, their rules, and the games that say what each part is worth."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import factorial

import pytest

from saywhy import aviary
from saywhy.aviary import CLASSES, NULL_PARTS, SPECIES, sample
from saywhy.errors import UsageError


def bird_of(name: str, seed: int = 0):
    return next(s for s in (sample(seed, i) for i in range(200)) if s.species == name).scene.birds[0]


def test_there_are_24_species_of_at_most_three_atoms():
    assert len(CLASSES) == 24
    assert all(2 <= len(s.rule) <= 3 for s in SPECIES.values())


def test_any_two_species_disagree_on_an_atom_that_both_fix():
    for a, b in combinations(SPECIES.values(), 2):
        assert any(
            (x.part, x.key, x.other) == (y.part, y.key, y.other) and x.value != y.value for x in a.rule for y in b.rule
        ), (a.name, b.name)


def test_some_pairs_differ_in_one_part_and_some_in_a_relation_only():
    one_part, one_relation = 0, 0
    for a, b in combinations(SPECIES.values(), 2):
        differ = set(a.rule) ^ set(b.rule)
        if len(differ) == 2 and len({x.part for x in differ}) == 1:
            if next(iter(differ)).other is None:
                one_part += 1
            else:
                one_relation += 1
    assert one_part >= 8
    assert one_relation == 4


def test_every_value_of_a_rule_can_also_be_drawn_freely():
    for s in SPECIES.values():
        for atom in s.rule:
            if atom.other is None:
                assert atom.value in aviary.DOMAINS[atom.part, atom.key]


def test_no_rule_names_a_null_part():
    assert not {p for s in SPECIES.values() for p in s.parts} & set(NULL_PARTS)


def test_every_drawn_bird_fulfils_its_own_rule_and_no_other():
    for index in range(240):
        one = sample(5, index)
        bird = one.scene.birds[0]
        assert aviary.identify(bird) == one.species == bird.species
        assert aviary.consistent(bird) == (one.species,)


def test_null_parts_look_the_same_in_every_class():
    seen: dict[str, Counter[str]] = {}
    for index in range(960):
        one = sample(2, index)
        part = one.scene.birds[0].part("legs")
        assert part is not None
        seen.setdefault(one.species, Counter())[part.colour] += 1
    total = sum(seen.values(), Counter())
    assert all(len(c) == 4 for c in seen.values())
    # 40 of each class over four colours: no colour takes over anywhere, and all are even on the whole.
    assert max(max(c.values()) / c.total() for c in seen.values()) < 0.6
    assert max(total.values()) < 1.25 * min(total.values())


def test_every_block_of_24_holds_every_species_once():
    for block in range(4):
        assert sorted(sample(1, i).species for i in range(24 * block, 24 * block + 24)) == sorted(CLASSES)


def slow_shapley(game):
    """The Shapley value as its definition says, over all coalitions."""
    n = len(game.players)
    out = {}
    for i in game.players:
        rest = [p for p in game.players if p != i]
        out[i] = sum(
            factorial(k) * factorial(n - k - 1) / factorial(n) * (game.value({*S, i}) - game.value(S))
            for k in range(n)
            for S in combinations(rest, k)
        )
    return out


@pytest.mark.parametrize("name", ["cinder robin", "courier finch", "jester lark", "sleet pipit"])
def test_shapley_values_follow_the_definition(name):
    for game in (aviary.rule_game, aviary.observer_game):
        played = game(bird_of(name), name)
        assert aviary.shapley(played) == pytest.approx(slow_shapley(played), abs=1e-12)


@pytest.mark.parametrize("name", CLASSES)
def test_values_add_up_to_the_whole_rule(name):
    bird = bird_of(name)
    for game in (aviary.rule_game, aviary.observer_game):
        played = game(bird, name)
        gain = played.values[-1] - played.values[0]
        assert played.values[-1] == 1
        assert sum(aviary.shapley(played).values()) == pytest.approx(gain)
        assert sum(aviary.taylor(played).values()) == pytest.approx(gain)


@pytest.mark.parametrize("name", CLASSES)
def test_in_the_rule_game_the_parts_of_the_rule_alone_are_worth_something(name):
    values = aviary.shapley(aviary.rule_game(bird_of(name), name))
    for part, value in values.items():
        if part in SPECIES[name].parts:
            assert value > 0.05, part
        else:
            assert value == 0, part


def test_a_relation_is_worth_nothing_by_halves():
    game = aviary.rule_game(bird_of("courier finch"), "courier finch")
    assert game.value(["bar"]) == game.value([]) == game.value(["patch"])
    assert game.value(["bar", "patch"]) == 2 * game.value([])
    assert aviary.interactions(game)["bar", "patch"] > 0
    assert aviary.taylor(game)["bar",] == 0


def test_the_rule_game_has_the_published_values():
    game = aviary.rule_game(bird_of("cinder robin"), "cinder robin")
    # Three attributes of four looks each: 1/64 with nothing seen, and four times that with each atom.
    assert game.value([]) == 1 / 64
    assert game.value(["beak"]) == 1 / 16
    assert game.value(["beak", "crown"]) == 1 / 4
    assert game.value(["beak", "crown", "breast"]) == 1
    assert aviary.rule_game(bird_of("cinder robin"), "forge robin").value(["beak", "crown", "breast"]) == 0


def test_the_observer_game_has_the_published_values():
    game = aviary.observer_game(bird_of("cinder robin"), "cinder robin")
    assert game.value([]) == 1 / 24
    assert game.value(game.players) == 1
    # A red breast leaves the four species with a red breast and the eight whose rules leave the breast free.
    assert game.value(["breast"]) == 1 / sum(
        all(a.value == "red" for a in s.rule if (a.part, a.key) == ("breast", "colour")) for s in SPECIES.values()
    )


def test_rather_this_than_that_is_the_difference_of_two_games():
    bird = bird_of("cinder robin")
    mine, other = (aviary.observer_game(bird, n) for n in ("cinder robin", "forge robin"))
    contrast = aviary.shapley(mine.minus(other))
    # The two species share all but the beak, which is therefore all that speaks for one against the other.
    assert max(contrast, key=lambda p: contrast[p]) == "beak"
    assert sum(contrast.values()) == pytest.approx(1.0)


def test_games_of_different_players_cannot_be_compared():
    bird = bird_of("cinder robin")
    with pytest.raises(UsageError, match="different players"):
        aviary.rule_game(bird, "cinder robin").minus(aviary.rule_game(bird, "cinder robin", parts=["beak"]))


@pytest.mark.parametrize("index", range(6))
def test_removal_and_replacement_agree_with_the_rule(index):
    one = sample(0, index)
    rule = SPECIES[one.species]
    truths = aviary.part_truths(one.scene)
    for name, truth in truths.items():
        if name in rule.parts:
            assert truth.necessity > 0
            assert truth.replaced > 0
        else:
            assert (truth.necessity, truth.sufficiency, truth.replaced, truth.carries) == (0, 0, 0, 0)
    for name, scene in aviary.removals(one.scene).items():
        assert (scene.birds[0].species is None) == (name in rule.parts)


def test_a_bird_of_no_species_has_no_truth_of_its_own():
    with pytest.raises(UsageError, match="fulfils no rule"):
        aviary.part_truths(aviary.remove(sample(0, 0).scene, *SPECIES[sample(0, 0).species].parts[:1]))


def test_unknown_species_is_an_error_with_a_hint():
    with pytest.raises(UsageError, match="did you mean 'cinder robin'"):
        aviary.rule_game(bird_of("cinder robin"), "cinder robbin")
