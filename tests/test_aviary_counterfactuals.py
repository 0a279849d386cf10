"""Counterfactual scenes change what they say and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywhy import aviary
from saywhy.aviary import SPECIES, render, sample
from saywhy.errors import UsageError

some_pictures = given(seed=st.integers(0, 50), index=st.integers(0, 5000))
few = settings(max_examples=20, deadline=None)


def reach(picture, part):
    """Where the paint of a part and the rim around it can be."""
    out = np.zeros(picture.owner.shape, dtype=bool)
    patch = picture.patches.get((0, part))
    if patch is not None:
        y, x = max(patch.y - 1, 0), max(patch.x - 1, 0)
        h, w = patch.alpha.shape
        out[y : patch.y + h + 1, x : patch.x + w + 1] = True
    return out


def changed(a, b):
    return (a.pixels != b.pixels).any(axis=2)


@few
@some_pictures
def test_removing_a_part_changes_its_place_alone(seed, index):
    scene = sample(seed, index).scene
    before = render(scene)
    for name, after_scene in aviary.removals(scene).items():
        after = render(after_scene)
        assert not (changed(before, after) & ~reach(before, name)).any(), name
        assert not after.visible(name).any()
        patch = before.patches[0, name]
        painted = np.zeros(before.owner.shape, dtype=bool)
        if patch is not None:
            painted[patch.where] = patch.alpha > 0
        assert np.array_equal(before.owner[~painted], after.owner[~painted]), name


@few
@some_pictures
def test_moving_a_part_changes_where_it_was_and_where_it_is(seed, index):
    scene = sample(seed, index).scene
    before = render(scene)
    for name, dx, dy in (("tail", -0.1, 0.2), ("beak", 0.0, -0.15), ("wing", 0.1, 0.1)):
        after = render(aviary.displace(scene, name, dx, dy))
        assert not (changed(before, after) & ~(reach(before, name) | reach(after, name))).any(), name
        assert changed(before, after).any()


@few
@some_pictures
def test_swapping_the_background_leaves_the_bird_alone(seed, index):
    scene = sample(seed, index).scene
    before = render(scene)
    for kind in aviary.BACKGROUNDS:
        after = render(aviary.swap_background(scene, kind))
        assert np.array_equal(before.owner, after.owner)
        inside = before.bird_mask()
        solid = ~changed(before, after)[inside]
        assert solid.mean() > 0.85  # what is left is the bird's anti-aliased edge


@few
@some_pictures
def test_another_species_part_makes_a_bird_of_that_species_or_of_none(seed, index):
    one = sample(seed, index)
    for part in SPECIES[one.species].parts:
        for donor, scene in aviary.replacements(one.scene, part):
            now = scene.birds[0].species
            assert now in (None, donor, one.species) or now in SPECIES
            atoms = [a for a in SPECIES[donor].rule if part in a.parts]
            assert all(aviary.holds(scene.birds[0], a) for a in atoms)


def test_species_that_differ_in_one_part_become_each_other_by_it():
    pairs = (("cinder robin", "forge robin", "beak"), ("meadow tit", "barley tit", "tail"),
             ("harlequin lark", "jester lark", "crest"), ("courier finch", "herald finch", "bar"),
             ("sleet pipit", "frost pipit", "breast"))  # fmt: skip
    scenes = {s.species: s.scene for s in (sample(4, i) for i in range(24))}
    for a, b, part in pairs:
        for mine, theirs in ((a, b), (b, a)):
            assert aviary.transplant(scenes[mine], part, theirs).birds[0].species == theirs


def test_every_bird_can_become_every_species():
    for index in range(6):
        for donor in SPECIES:
            scene = aviary.become(sample(0, index).scene, donor)
            assert scene.birds[0].species == donor
            assert render(scene).bird_mask().any()


def test_changing_a_relation_moves_the_two_parts_alone():
    scene = next(s.scene for s in (sample(0, i) for i in range(24)) if s.species == "harlequin lark")
    below = aviary.set_relation(scene, "crest", "band", "below")
    assert below.birds[0].species == "jester lark"
    assert aviary.set_relation(below, "crest", "band", "below") == below
    before, after = render(scene), render(below)
    allowed = np.logical_or.reduce([reach(p, n) for p in (before, after) for n in ("crest", "band")])
    assert not (changed(before, after) & ~allowed).any()


def test_keeping_some_parts_removes_the_others_but_not_the_body():
    scene = aviary.keep_only(sample(0, 0).scene, ["beak", "crown"])
    assert scene.birds[0].names == ("body", "crown", "beak")


def test_noise_is_the_same_before_and_after_a_change():
    scene = aviary.degrade(sample(0, 0).scene, aviary.Degradation(noise=20.0, seed=5))
    before, after = render(scene), render(aviary.remove(scene, "tail"))
    assert not (changed(before, after) & ~reach(before, "tail")).any()


def test_the_scene_that_is_changed_stays_as_it_was():
    scene = sample(0, 0).scene
    twin = sample(0, 0).scene
    aviary.remove(scene, "beak")
    aviary.become(scene, "abbey dove")
    assert scene == twin


def test_wrong_parts_colours_and_donors_are_usage_errors():
    scene = sample(0, 0).scene
    with pytest.raises(UsageError, match=r"unknown part 'beek'; did you mean .*'beak'"):
        aviary.remove(scene, "beek")
    with pytest.raises(UsageError, match="cannot be removed"):
        aviary.remove(scene, "body")
    with pytest.raises(UsageError, match="this bird has no beak"):
        aviary.remove(aviary.remove(scene, "beak"), "beak")
    with pytest.raises(UsageError, match="unknown colour"):
        aviary.recolour(scene, "beak", "ultraviolet")
    with pytest.raises(UsageError, match="does not name the legs"):
        aviary.transplant(scene, "legs", "abbey dove")
    with pytest.raises(UsageError, match="unknown relation"):
        aviary.set_relation(scene, "crest", "band", "behind")
    with pytest.raises(UsageError, match="unknown background"):
        aviary.swap_background(scene, "moon")
