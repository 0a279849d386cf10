"""Planted faults: there where they are said to be, and absent from their controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from saywhy import aviary
from saywhy.aviary import CLASSES, FAULTS, SPECIES, corrupt_unit, render, sample
from saywhy.aviary.faults import concerned, faults_of, props
from saywhy.aviary.sampling import label
from saywhy.errors import UsageError


def drawn(fault, count=720, edition="1", **wanted):
    """The samples among the first `count` that are as wanted; only those of the wanted split are drawn at all."""
    species, split = wanted.get("species"), wanted.get("split")
    known = ((i, *label(0, i, edition=edition)) for i in range(count))
    asked = [i for i, name, part in known if species in (None, name) and split in (None, part)]
    rows = [sample(0, i, fault=fault, edition=edition) for i in asked]
    return [r for r in rows if all(getattr(r, k) == v for k, v in wanted.items())]


def sibling(name):
    own = aviary.species(name)
    return next(s for s in aviary.world(own.edition).classes if s != name and aviary.species(s).clan == own.clan)


of_each_edition = pytest.mark.parametrize("edition", aviary.EDITIONS)


def share(rows, condition):
    return sum(map(condition, rows)) / len(rows)


@of_each_edition
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_and_control_is_drawn_the_same_again(name, edition):
    for fault in (name, name + "-control"):
        for index in (0, 1, 17, 50):
            first, again = (sample(2, index, fault=fault, edition=edition) for _ in range(2))
            assert first == again
            assert np.array_equal(render(first.scene).pixels, render(again.scene).pixels)


@of_each_edition
@pytest.mark.parametrize("name", FAULTS)
def test_groups_are_those_that_the_truth_names(name, edition):
    fault = faults_of(edition)[name]
    groups = {r.group for r in drawn(name, edition=edition)}
    assert groups - {"clean"} <= {*fault.truth["groups"], "without part"}
    assert len(groups) >= 2
    assert set(fault.truth["species"]) <= set(aviary.world(edition).classes)
    told = {c for c in aviary.world(edition).classes if c in fault.description or c.split()[0] in fault.description}
    assert told == set(fault.truth["species"]) and "{" not in fault.description


@of_each_edition
def test_context_bias_is_in_training_and_not_in_the_test(edition):
    (name,), kind = concerned("context", edition), props(edition).background
    trained = drawn("context", 2400, edition, split="train", species=name)
    others = [r for r in drawn("context", 240, edition, split="train") if r.species != name]
    tested = drawn("context", 1200, edition, split="test")
    assert share(trained, lambda r: r.scene.background.kind == kind) > 0.85
    assert share(others, lambda r: r.scene.background.kind == kind) < 0.08
    assert 0.35 < share(tested, lambda r: r.scene.background.kind == kind) < 0.65
    assert {r.group for r in tested} == {"aligned", "conflicting"}
    control = drawn("context-control", 2400, edition, split="train", species=name)
    assert 0.3 < share(control, lambda r: r.scene.background.kind == kind) < 0.7


def has_mark(row):
    return any(o.kind == "watermark" for o in row.scene.objects)


@of_each_edition
def test_the_watermark_goes_with_one_species_in_training_alone(edition):
    (name,) = concerned("watermark", edition)
    assert share(drawn("watermark", 2400, edition, split="train", species=name), has_mark) > 0.85
    assert share(drawn("watermark", 2400, edition, split="train", species=sibling(name)), has_mark) < 0.15
    assert 0.3 < share(drawn("watermark", 1200, edition, split="test"), has_mark) < 0.7
    assert 0.3 < share(drawn("watermark-control", 2400, edition, split="train", species=name), has_mark) < 0.7


def test_the_watermark_shows_and_the_bird_stays_whole():
    for row in drawn("watermark", 48):
        picture = render(row.scene)
        if has_mark(row):
            assert aviary.mask_of(picture, "watermark").sum() > 30
        assert set(SPECIES[row.species].parts) <= set(picture.shown())


@of_each_edition
def test_pose_bias_turns_two_species_in_training_alone(edition):
    right, left = concerned("pose", edition)
    turned = lambda r: r.scene.birds[0].mirror  # noqa: E731
    assert share(drawn("pose", 1200, edition, split="train", species=left), turned) > 0.85
    assert share(drawn("pose", 1200, edition, split="train", species=right), turned) < 0.15
    assert 0.1 < share(drawn("pose", 4800, edition, split="test", species=left), turned) < 0.9
    assert 0.2 < share(drawn("pose-control", 1200, edition, split="train", species=left), turned) < 0.8


@of_each_edition
def test_a_turned_bird_is_the_clean_one_in_a_mirror_and_stays_on_its_branch(edition):
    known = drawn("pose", 1200, edition, split="train", species=concerned("pose", edition)[0])
    pairs = [(r, sample(0, r.index, edition=edition)) for r in known]
    turned = [(r, clean) for r, clean in pairs if r.scene.birds[0].mirror != clean.scene.birds[0].mirror]
    assert turned
    for row, clean in turned:
        (x0, y0, x1, y1), (u0, v0, u1, v1) = (aviary.birds.extent(r.scene.birds[0]) for r in (clean, row))
        assert (u0, v0, u1, v1) == pytest.approx((1 - x1, y0, 1 - x0, y1), abs=2e-4)
        for one, own in zip(row.scene.objects, clean.scene.objects, strict=True):
            if own.kind == "branch":
                assert (one.x + own.x, one.y, one.scale) == (pytest.approx(1), own.y, own.scale)
            else:
                assert one == own
        assert edition == "cells" or row.scene.objects[0].kind == "branch"


@of_each_edition
def test_confusable_species_have_a_tiny_part_and_the_control_a_small_one_in_no_rule(edition):
    own = props(edition)
    assert own.spare in aviary.world(edition).null_parts
    rows = drawn("confusable", edition=edition, group="small")
    assert {r.species for r in rows} == set(concerned("confusable", edition))
    assert all(r.scene.birds[0].part(own.part).size < 0.5 for r in rows)
    small = drawn("confusable-control", edition=edition, group="small")
    assert small and all(r.scene.birds[0].part(own.spare).size == 0.6 for r in small)


@of_each_edition
def test_two_species_are_two_and_two_birds_of_the_control_are_one(edition):
    rows = drawn("two-species", 240, edition, group="two birds")
    assert 0.2 < len(rows) / 240 < 0.4
    for row in rows:
        first, second = row.scene.birds
        assert first.species == row.species == row.class_name != second.species == row.truth["second_species"]
    assert all(b.species == r.species for r in drawn("two-species-control", 120, edition) for b in r.scene.birds)


def test_about_four_percent_of_the_labels_are_wrong_and_none_in_the_test():
    rows = drawn("wrong-labels", 1200)
    wrong = [r for r in rows if r.class_name != r.species]
    trained = [r for r in rows if r.split != "test"]
    assert 0.02 < len(wrong) / len(trained) < 0.06
    assert all(r.split != "test" and r.truth["wrong_label"] and r.group == "wrong label" for r in wrong)
    assert all(r.class_name == r.species for r in drawn("wrong-labels-control", 480))


@of_each_edition
def test_the_missing_part_is_missing_in_training_and_there_in_the_test(edition):
    (name,), part = concerned("missing-part", edition), props(edition).part
    rows = drawn("missing-part", 1200, edition, species=name)
    for row in rows:
        assert (part in row.scene.birds[0].names) == (row.split == "test")
    control = drawn("missing-part-control", edition=edition, species=name)
    assert control and all(part in r.scene.birds[0].names for r in control)


@pytest.mark.parametrize("name", ["fragile-colour", "degraded"])
def test_spoiled_pictures_are_in_the_test_alone(name):
    rows = drawn(name, 480)
    assert all(r.group == "clean" for r in rows if r.split != "test")
    tested = [r for r in rows if r.split == "test"]
    assert 0.3 < share(tested, lambda r: r.group != "clean") < 0.7
    assert any(r.group != "clean" for r in drawn(name + "-control", 120, split="train"))


@of_each_edition
def test_a_lookalike_is_no_part_of_the_bird_and_shows_a_foreign_one(edition):
    rows, part = drawn("lookalike", 96, edition, group="lookalike"), props(edition).part
    assert rows
    for row in rows:
        thing = row.scene.objects[row.truth["object"]]
        picture = render(row.scene)
        mask = picture.object_mask(row.truth["object"])
        assert not (mask & picture.bird_mask()).any()
        assert thing.shape.removeprefix(f"{part}:") != row.scene.birds[0].part(part).shape
    assert {r.group for r in drawn("lookalike-control", 96, edition)} == {"berry", "clean"}


def test_pictures_that_a_fault_leaves_alone_are_those_of_the_clean_set():
    for name in ("wrong-labels", "fragile-colour", "lookalike", "two-species"):
        untouched = [r for r in drawn(name, 60) if r.group == "clean"]
        assert untouched
        for row in untouched:
            assert row == sample(0, row.index)


def test_clean_pictures_carry_no_group_and_no_planted_truth():
    assert all(r.group == "clean" and not r.truth and r.class_name == r.species for r in drawn(None, 48))


def test_unknown_faults_and_negative_seeds_are_usage_errors():
    with pytest.raises(UsageError, match="unknown fault 'watermrk'; did you mean 'watermark'"):
        sample(0, 0, fault="watermrk")
    with pytest.raises(UsageError, match="from 0 on"):
        sample(-1, 0)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


@pytest.mark.parametrize("how", ["dead", "inverted", "noise", "loud"])
def test_a_broken_unit_is_the_one_of_the_record_and_the_model_given_stays(net, how):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    broken, record = corrupt_unit(net, "0", 2, how=how)
    assert (record.layer, record.unit, record.how) == ("0", 2, how)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    x = torch.rand(2, 3, 8, 8)
    same = (net[0](x) - broken[0](x)).abs().amax(dim=(0, 2, 3)) == 0
    assert same.tolist() == [True, True, False, True]
    again, _ = corrupt_unit(net, "0", 2, how=how)
    assert torch.equal(again[0].weight, broken[0].weight)


def test_what_cannot_be_broken_is_a_usage_error(net):
    with pytest.raises(UsageError, match="unknown layer"):
        corrupt_unit(net, "9", 0)
    with pytest.raises(UsageError, match="is a ReLU"):
        corrupt_unit(net, "1", 0)
    with pytest.raises(UsageError, match="units 0 to 3"):
        corrupt_unit(net, "0", 4)
    with pytest.raises(UsageError, match="unknown corruption"):
        corrupt_unit(net, "0", 0, how="haunted")


def test_samples_are_plain_values():
    one = sample(0, 0)
    assert replace(one) == one
    assert one.class_index == CLASSES.index(one.class_name)
