"""The joint space of pictures and captions: what it learns from, its close-ups, and what ships."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saywhy import aviary
from saywhy.aviary.facts import facts
from saywhy.errors import UsageError
from saywhy.spaces import text_space
from saywhy.spaces.descriptors import by_words
from saywhy.spaces.joint import FADED, GRID, SIDE, close_ups, load_joint, untaught
from saywhy.train import jointspace
from saywhy.train.jointspace import PARTS, Album, Quiet, aim, all_true, heard, holds, part_of, taught
from saywhy.train.loop import Config
from saywhy.train.pictures import Pictures, _chunk

SEED = 640


@pytest.fixture(scope="module")
def album():
    """Twelve pictures with what is said of them."""
    arrays = _chunk(0, count=12, seed=SEED, fault=None, edition="2", side=SIDE)
    said = [heard(n, SEED) for n in range(12)]
    return Album(Pictures(**arrays), said, sorted({f for h in said for f in h.facts}))


@pytest.mark.parametrize("index", range(6))
def test_what_is_said_of_a_picture_is_true_and_what_is_wrong_is_not(index):
    said = heard(index, SEED)
    rendered = aviary.render(aviary.sample(SEED, index, edition="2", size=SIDE).scene)
    known = set(said.facts)
    assert known >= {f.name for f in facts(rendered)}
    for text, claims in said.captions:
        assert known.issuperset(claims) and aviary.parse(text, edition="2").mentions == claims
    for text, claims in said.wrong:
        false = set(claims) - known
        assert len(false) >= 1 and aviary.parse(text, edition="2").mentions == claims
    for part, (_, claims) in said.phrases:
        assert len(claims) == 1 and known.issuperset(claims) and part_of(claims[0]) == part


def test_a_look_excludes_the_other_looks_of_its_part():
    rendered = aviary.render(aviary.sample(SEED, 1, edition="2", size=SIDE).scene)
    true = all_true(facts(rendered))
    breast = rendered.scene.birds[0].part("breast")
    assert f"breast not {breast.colour}" not in true and f"{breast.colour} breast" in true
    assert sum(f.startswith("breast not ") for f in true) == 3 + 5  # colours and patterns


def test_which_text_is_true_of_which_picture_is_told_by_names(album):
    said = album.said
    true = holds(album, [h.facts for h in said], [h.captions[0][1] for h in said])
    assert true.diagonal().all() and not true.all()
    wrong = holds(album, [h.facts for h in said], [h.wrong[0][1] for h in said])
    assert not wrong.diagonal().any()


def test_a_close_up_shows_the_region_large_and_fades_what_surrounds_it():
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 10:20, 30:40] = True
    closer = close_ups(images, mask, margin=0.0)
    assert closer.shape == (1, 3, SIDE, SIDE)
    own = F.interpolate(images[:, :, 10:20, 30:40], (SIDE, SIDE), mode="bilinear", align_corners=False)
    inner = slice(16, -16)
    torch.testing.assert_close(closer[:, :, inner, inner], own[:, :, inner, inner], atol=1e-4, rtol=0)
    wide = close_ups(torch.ones_like(images), mask, margin=1.0)
    assert wide[0, 0, 64, 64] == pytest.approx(1.0) and wide[0, 0, 4, 4] == pytest.approx(0.5 + FADED / 2, abs=1e-5)
    with pytest.raises(UsageError, match="at least one pixel"):
        close_ups(images, torch.zeros_like(mask))


def test_a_query_that_looks_at_its_part_misses_nothing():
    parts = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    parts[0, 32:64, 32:64] = 1 + PARTS.index("breast")
    where = torch.zeros(1, 1 + len(PARTS), GRID, GRID)
    where[0, :, 5, 5] = 1  # inside
    assert float(aim(where, parts)) == pytest.approx(0, abs=1e-6)
    assert float(aim(where.roll(8, 2), parts)) > 5


def test_a_space_without_training_runs_all_stages_and_the_same_twice(album, tmp_path, monkeypatch):
    monkeypatch.setenv("SAYWHY_CACHE", str(tmp_path / "a"))
    words = jointspace.vocabulary([album])
    short = Config(epochs=1, batch_size=8, lr=1e-3, seed=3)
    stages = [replace(stage, config=short) for stage in jointspace.STAGES]
    net, history = taught({"train": album}, words, lambda text: None, stages)
    assert len(history) == 3 and all(np.isfinite(row["loss"]) for row in history)
    monkeypatch.setenv("SAYWHY_CACHE", str(tmp_path / "b"))
    again, _ = taught({"train": album}, words, lambda text: None, stages[:2])  # broken off after two stages
    again, _ = taught({"train": album}, words, lambda text: None, stages)
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_each_stage_trains_its_own_tower_alone(album):
    net = untaught(["a"], PARTS, album.known)
    for stage, text, eye in (("see", False, True), ("read", True, False), ("meet", True, True)):
        jointspace._only(net, stage)
        assert all(p.requires_grad == text for p in net.read.parameters())
        assert all(p.requires_grad == eye for p in net.stem.parameters())


def test_an_album_of_texts_alone_gives_the_same_texts(album):
    quiet = jointspace._as(Quiet, album)
    rows = torch.tensor([3, 1])
    assert quiet[rows][1] == album[rows][1] and not len(quiet[rows][0].images)


# --------------------------------------------------------------------------------------------------
# What ships.


@pytest.fixture(scope="module")
def birds():
    scenes = [aviary.render(aviary.sample(SEED, n, edition="2", size=SIDE).scene) for n in range(30)]
    return scenes, torch.stack([torch.from_numpy(r.pixels.copy()).permute(2, 0, 1).float() / 255 for r in scenes])


def test_the_space_that_ships_is_a_row_and_refuses_words_that_it_does_not_know(birds):
    space = text_space("own:2")
    assert space.name == "own:2" and "second edition" in space.speaks_of and not space.own_features
    seen, said = space.encode_images(birds[1][:4]), space.encode_texts(space.phrases[:6])
    assert seen.shape == (4, len(load_joint()[1]["facts"])) and said.shape == (6, seen.shape[1])
    with pytest.raises(UsageError, match="headlight"):
        space.encode_texts(["red headlight"])


def test_true_captions_are_nearer_than_wrong_ones(birds):
    space = text_space("own:2")
    said = [heard(n, SEED) for n in range(30)]
    seen = space.encode_images(birds[1])
    true, wrong = (space.encode_texts([getattr(h, kind)[0][0] for h in said]) for kind in ("captions", "wrong"))
    assert space.log_odds(seen, true).diagonal().mean() > space.log_odds(seen, wrong).diagonal().mean() + 1


def test_a_phrase_points_at_its_part(birds):
    net, _ = load_joint()
    hits, chance = [], []
    for rendered, image in zip(*birds, strict=True):
        mask = torch.from_numpy(rendered.visible("breast"))
        said = f"{rendered.scene.birds[0].part('breast').colour} breast"
        where = net.pointing(image[None], net.texts([said]))[0, 0]
        cells = F.max_pool2d(mask[None, None].float(), SIDE // GRID)[0, 0]
        hits.append(bool(cells.flatten()[where.flatten().argmax()]))
        chance.append(float(cells.mean()))
    assert np.mean(hits) > 0.6 > 3 * np.mean(chance)


def test_classes_are_told_apart_by_words_and_other_words_decide_otherwise(birds):
    space = text_space("own:2")
    rules = {c: ["red breast"] if c == "red" else [f"{c} breast"] for c in ("red", "yellow", "blue", "white")}
    found = by_words(space, birds[1], rules)
    truth = [r.scene.birds[0].part("breast").colour for r in birds[0]]
    assert np.mean([a == b for a, b in zip(found.said, truth, strict=True)]) > 0.6
    n = found.said.index("red")
    assert found.reasons(n, rules) == [("red breast", pytest.approx(float(found.odds["red"][n, 0])))]
    edited = by_words(space, birds[1], {**rules, "red": ["blue breast"], "blue": ["red breast"]})
    assert edited.said[n] == "blue"
    torch.testing.assert_close(found.scores[:, 1], edited.scores[:, 1])


@pytest.mark.parametrize("rules", [{}, {"a": ["red breast"]}, {"a": ["red breast"], "b": []}])
def test_classes_without_words_are_refused(rules, birds):
    with pytest.raises(UsageError, match="at least"):
        by_words(text_space("own:2"), birds[1][:1], rules)
