"""Pictures of the aviary: the same everywhere, and masks that are what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywhy import aviary
from saywhy.aviary import PARTS, render, sample
from saywhy.errors import InputError, UsageError

# SHA-256 of the pixels of (seed, index, fault, size): a picture that changes by one grey level shows up here.
GOLDEN = {
    (0, 0, None, 128): "80d24e3e1c6f029184efb7871e82c669411b21b32eb54cf93e9477a52f89408e",
    (0, 1, None, 64): "32d6069234d9ac042e24f02d4ada6193eea1a84e11c9ba0c86f7e792b2004c7b",
    (7, 1234, None, 128): "cd0df987ec2b0e13209277ef25d18f9493d18df5f22d136ed3ccf68320964dfc",
    (1, 5, "degraded", 96): "8c81ac8bd1f55350a63184d1a59bc64adc6e6e0d4f75f6f6c44369578d7dccad",
    (3, 96, "degraded", 128): "867ec377f0e0fd799272b5615026410d0315070fd514ea0a0281b0701a267dbf",
    (3, 0, "two-species", 128): "2f9b978fa705fe7d7b61f9ba6a432a63955352c4c2a3358db7a950306e2fb644",
}

some_pictures = given(seed=st.integers(0, 50), index=st.integers(0, 5000))
few = settings(max_examples=25, deadline=None)


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """The mask and all pixels at most `by` away from it, diagonally too."""
    for _ in range(by):
        wide = np.pad(mask, ((1, 1), (0, 0)))
        mask = wide[1:-1] | wide[:-2] | wide[2:]
        wide = np.pad(mask, ((0, 0), (1, 1)))
        mask = wide[:, 1:-1] | wide[:, :-2] | wide[:, 2:]
    return mask


def touched(picture: aviary.Rendered, *parts: str) -> np.ndarray:
    """Where the paint of the parts (default: all) reaches at all, also where it wins no pixel."""
    out = np.zeros(picture.owner.shape, dtype=bool)
    for (_, name), patch in picture.patches.items():
        if patch is not None and (name in parts or not parts):
            out[patch.where] |= patch.alpha > 0
    return out


@pytest.mark.parametrize("key", sorted(GOLDEN, key=str))
def test_the_same_seed_gives_the_same_bytes(key):
    seed, index, fault, size = key
    assert aviary.digest(render(sample(seed, index, fault=fault, size=size).scene).pixels) == GOLDEN[key]


def test_a_picture_does_not_depend_on_the_pictures_before_it():
    alone = render(sample(3, 7).scene).pixels
    in_line = [r.pixels for _, r in aviary.stream(8, seed=3)][7]
    started_late = next(iter(aviary.stream(8, seed=3, start=7)))[1].pixels
    assert np.array_equal(alone, in_line)
    assert np.array_equal(alone, started_late)


def test_other_seeds_and_other_indices_give_other_pictures():
    digests = {aviary.digest(render(sample(s, i).scene).pixels) for s in range(3) for i in range(6)}
    assert len(digests) == 18


@few
@some_pictures
def test_masks_of_parts_are_disjoint_and_make_up_the_bird(seed, index):
    picture = render(sample(seed, index).scene)
    masks = np.stack([picture.visible(n) for n in PARTS])
    assert masks.sum(axis=0).max() == 1
    assert np.array_equal(masks.any(axis=0), picture.bird_mask())
    assert np.array_equal(picture.bird_mask(), ~picture.background_mask)
    assert not (masks & np.stack([picture.object_mask(k) for k in range(len(picture.scene.objects))]).any(axis=0)).any()


@few
@some_pictures
def test_the_bird_mask_is_where_the_picture_changes_without_the_bird(seed, index):
    scene = sample(seed, index).scene
    picture, empty = render(scene), render(aviary.remove_bird(scene))
    changed = (picture.pixels != empty.pixels).any(axis=2)
    assert not (changed & ~grown(touched(picture), 1)).any()  # one pixel for the dark rim
    assert changed[picture.bird_mask()].mean() > 0.97


@few
@some_pictures
def test_a_part_mask_is_where_the_picture_changes_with_the_colour_of_the_part(seed, index):
    scene = sample(seed, index).scene
    picture = render(scene)
    for name in picture.shown():
        own = scene.birds[0].part(name)
        assert own is not None
        new = "turquoise" if own.colour != "turquoise" else "orange"
        other = render(aviary.recolour(scene, name, new))
        changed = (picture.pixels != other.pixels).any(axis=2)
        # The eye is mostly pupil, and patterns keep their ink.
        assert changed[picture.visible(name)].mean() > (0.3 if name == "eye" else 0.75), name
        assert not (changed & ~touched(picture, name)).any(), name
        assert np.array_equal(picture.owner, other.owner)


@few
@some_pictures
def test_what_shows_of_a_part_lies_in_the_whole_part(seed, index):
    picture = render(sample(seed, index, fault="degraded").scene)
    for name in picture.scene.birds[0].names:
        assert not (picture.visible(name) & ~picture.whole(name)).any()
        assert 0 <= picture.shares[0, name] <= 1


@few
@some_pictures
def test_in_clean_pictures_every_part_of_the_rule_shows_and_the_bird_is_whole(seed, index):
    one = sample(seed, index)
    picture = render(one.scene)
    assert set(aviary.SPECIES[one.species].parts) <= set(picture.shown())
    mask = picture.bird_mask()
    assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    assert len(one.scene.birds) == 1
    assert one.scene.degradation == aviary.Degradation()


@few
@some_pictures
def test_keypoints_lie_on_their_parts(seed, index):
    picture = render(sample(seed, index).scene)
    for name, (x, y) in picture.keypoints().items():
        if name not in ("body", "legs") and picture.shares[0, name] > 0.5:
            near = grown(picture.whole(name), 3)
            assert near[int(y), int(x)], (name, x, y)


@few
@some_pictures
def test_boxes_are_tight(seed, index):
    picture = render(sample(seed, index).scene)
    for name, (x0, y0, x1, y1) in picture.boxes().items():
        mask = picture.bird_mask() if name == "bird" else picture.visible(name)
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert mask[y0].any() and mask[y1 - 1].any() and mask[:, x0].any() and mask[:, x1 - 1].any()


@few
@some_pictures
def test_relations_hold_in_the_coordinates_of_the_masks(seed, index):
    one = sample(seed, index)
    picture, bird = render(one.scene), one.scene.birds[0]
    at = {n: np.argwhere(picture.whole(n)).mean(axis=0)[::-1] for n in picture.shown()}
    for (part, other), (yes, _) in aviary.RELATIONS.items():
        answer = aviary.relation(bird, part, other)
        if answer is None or part not in at or other not in at:
            continue
        points = np.stack([at[part], at[other]]) / one.scene.size
        (ax, ay), (bx, by) = aviary.forward(bird, points)
        assert (ay < by if part == "crest" else ax > bx) == (answer == yes)


@few
@some_pictures
def test_relations_of_the_picture_hold_in_its_coordinates(seed, index):
    picture = render(sample(seed, index).scene)
    middle = {n: np.argwhere(picture.visible(n)).mean(axis=0)[::-1] for n in picture.shown()}
    for a, answer, b in aviary.part_relations(picture):
        (ax, ay), (bx, by) = middle[a], middle[b]
        assert {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}[answer]


def test_mirroring_a_bird_keeps_its_relations_and_species():
    one = sample(0, 3)
    bird = one.scene.birds[0]
    from dataclasses import replace

    turned = replace(bird, mirror=not bird.mirror)
    assert aviary.identify(turned) == one.species


@few
@some_pictures
def test_a_scene_survives_json(seed, index):
    scene = sample(seed, index, fault="degraded").scene
    again = aviary.scene_from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    assert np.array_equal(render(again).pixels, render(scene).pixels)


def test_a_broken_scene_record_is_an_input_error():
    values = sample(0, 0).scene.to_dict()
    del values["background"]
    with pytest.raises(InputError, match="not a scene"):
        aviary.scene_from_dict(values)


def test_unknown_backgrounds_and_objects_are_usage_errors():
    scene = sample(0, 0).scene
    from dataclasses import replace

    with pytest.raises(UsageError, match="unknown background 'watr'; did you mean 'water'"):
        render(replace(scene, background=aviary.Background("watr")))
    with pytest.raises(UsageError, match="unknown object"):
        render(replace(scene, objects=(aviary.Object("sofa", 0.5, 0.5, 0.1),)))


@pytest.mark.parametrize("size", [48, 64, 128, 256])
def test_every_size_shows_the_same_bird(size):
    scene = sample(1, 1, size=size).scene
    picture = render(scene)
    assert picture.pixels.shape == (size, size, 3)
    share = picture.bird_mask().mean()
    assert share == pytest.approx(render(sample(1, 1).scene).bird_mask().mean(), abs=0.01)


def test_two_birds_do_not_share_pixels():
    found = 0
    for index in range(20):
        one = sample(0, index, fault="two-species")
        if one.group != "two birds":
            continue
        found += 1
        picture = render(one.scene)
        assert not (picture.bird_mask(0) & picture.bird_mask(1)).any()
        assert picture.bird_mask(1).any()
    assert found > 1
