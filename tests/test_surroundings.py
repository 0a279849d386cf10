"""What is said before other backgrounds is what the classifier said, and only where it tells object from background."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import saywhy
import tiny
from saywhy import Explainer
from saywhy.errors import InputError, UsageError
from saywhy.explanation import json_schema
from saywhy.image import Preprocess, read
from saywhy.intervene import remembering
from saywhy.language import write
from saywhy.language.sentences import parse
from saywhy.parts import PARTS, Request
from saywhy.passes import counting
from saywhy.seen import look
from saywhy.surroundings.decision import Tried, agreeing, decided
from saywhy.surroundings.grounds import PLAIN, of_user, plain
from saywhy.surroundings.part import before, confirm, find, surroundings

SIDE = 32
INSIDE = slice(10, 22)
PLAINLY = Preprocess((SIDE, SIDE), None, (0, 0, 0), (1, 1, 1))


def scene(around=(0.1, 0.3, 0.9), inside=(0.9, 0.1, 0.1)):
    """A square before a background."""
    pixels = np.empty((SIDE, SIDE, 3))
    pixels[:] = around
    pixels[INSIDE, INSIDE] = inside
    return read((pixels * 255).round().astype(np.uint8))


def red(images):
    """Sees the square alone."""
    inner = images[:, :, INSIDE, INSIDE].mean((2, 3))
    return torch.stack([20 * (inner[:, 0] - inner[:, 2] - 0.5), torch.zeros(len(images))], 1)


def blue(images):
    """Sees the edge of the picture alone."""
    edge = images[:, :, [0, -1]].mean((2, 3))
    return torch.stack([20 * (edge[:, 2] - edge[:, 0] - 0.4), torch.zeros(len(images))], 1)


def constant(images):
    return torch.tensor([[3.0, 0.0]]).repeat(len(images), 1)


def box(answer):
    return saywhy.Classifier(answer, classes=("it", "other"), preprocess=PLAINLY)


def regions(counting=None, leaves=None):
    """What the part `regions` would have found: the square is a leaf, and nothing counts."""
    if leaves is None:
        leaves = np.zeros((SIDE, SIDE), dtype=np.int64)
        leaves[:16], leaves[INSIDE, INSIDE] = 2, 1
    masks = torch.from_numpy(np.stack([leaves == i for i in range(int(leaves.max()) + 1)]))
    return SimpleNamespace(tree=SimpleNamespace(leaves=leaves), regions=masks, fors=counting or [])


def outcome(answer, picture=None, *, found=None, part=None, asked=None, target=None):
    seen = look(box(answer) if callable(answer) and not isinstance(answer, saywhy.Classifier) else answer,
                picture or scene(), target)  # fmt: skip
    return confirm(find(part, seen, {"regions": found or regions()}, asked or Request()), seen, ())


def told(confirmed):
    return [write(f.claim) for f in confirmed.said]


# --------------------------------------------------------------------------------------------------
# What is said.


def test_a_model_that_sees_the_background_alone_is_said_to_depend_on_it():
    out = outcome(blue)
    assert out.record["decide"] is True and out.record["why"] is None
    assert told(out) == [
        "Before four other backgrounds the model no longer says it: it gets under 1 %, at most 2 %, "
        "and before its own background, blurred, over 99 %."
    ]


def test_a_model_that_sees_the_object_alone_is_said_to_say_it_still():
    out = outcome(red)
    assert out.record["decide"] is False
    assert told(out) == [
        "Before four other backgrounds the model still says it: it gets over 99 %, at least over 99 %."
    ]


def test_of_a_constant_model_nothing_is_said():
    out = outcome(constant)
    assert not out.said and out.record["decide"] is None
    assert out.record["why"] == "the other backgrounds alone give the class too"


def test_an_object_that_is_cut_by_the_exchange_is_not_said_to_depend_on_the_background():
    def texture(images):  # sees stripes at the border, which no blurred background has
        rough = (images[:, :, :4, 1:] - images[:, :, :4, :-1]).abs().mean((1, 2, 3))
        return torch.stack([200 * (rough - 0.05), torch.zeros(len(images))], 1)

    pixels = scene().pixels.copy()
    pixels[:, ::2] //= 3
    out = outcome(texture, read(pixels))
    assert not out.said and "blurred, do not keep the class either" in out.record["why"]


def test_where_a_part_at_the_border_counts_the_object_alone_is_not_said_to_be_enough():
    out = outcome(red, found=regions([2]))
    assert not out.said and "stays in place" in out.record["why"]
    assert out.record["exchanged"] == pytest.approx(0.5 - 6 * 12 / SIDE**2)


@pytest.mark.parametrize(
    ("tried", "verdict"),
    [
        (Tried(0.8, (0.1, 0.1, 0.1, 0.7), (False, False, False, True), (0,) * 4, (False,) * 4, 0.8), True),
        (Tried(0.8, (0.1, 0.1, 0.7, 0.7), (False, False, True, True), (0,) * 4, (False,) * 4, 0.8), None),
        (Tried(0.8, (0.3, 0.3, 0.3, 0.3), (True,) * 4, (0,) * 4, (False,) * 4, 0.8), None),
        (Tried(0.8, (0.5, 0.5, 0.5, 0.5), (False,) * 4, (0,) * 4, (False,) * 4, 0.8), None),
        (Tried(0.8, (0.7, 0.7, 0.7, 0.1), (True, True, True, False), (0,) * 4, (False,) * 4, 0.0), False),
        (Tried(0.8, (0.7, 0.7, 0.7, 0.1), (True, True, True, False), (0, 0, 0.5, 0), (False,) * 4, 0.0), None),
        (Tried(0.8, (0.8,) * 4, (True,) * 4, (0.1,) * 4, (True, True, False, False), 0.8), None),
        (Tried(0.8, (0.1,) * 4, (False,) * 4, (0,) * 4, (False,) * 4, 0.39), None),
        (Tried(0.8, (0.1,) * 4, (False,) * 4, (0,) * 4, (False,) * 4, 0.41), True),
        (Tried(0.8, (0.1,) * 4, (False,) * 4, (0,) * 4, (False,) * 4, 0.4), True),
        (Tried(0.8, (0.7,) * 4, (True, True, False, False), (0,) * 4, (False,) * 4, 0.8), None),
        (Tried(0.8, (0.7,) * 4, (True, True, True, False), (0,) * 4, (False,) * 4, 0.8), False),
        (Tried(0.8, (0.4,) * 4, (True,) * 4, (0,) * 4, (False,) * 4, 0.8), False),
        (Tried(0.8, (0.39,) * 4, (True,) * 4, (0,) * 4, (False,) * 4, 0.8), None),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0,) * 4, (False,) * 4, 0.8, 0.049), False),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0,) * 4, (False,) * 4, 0.8, 0.05), None),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0.39, 0.39, 0.39, 0.4), (False,) * 4, 0.8), False),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0.39, 0.39, 0.4, 0.4), (False,) * 4, 0.8), None),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0,) * 4, (True, False, False, False), 0.8), False),
        (Tried(0.8, (0.7,) * 4, (True, True, True, False), (0,) * 4, (True, False, False, False), 0.8), None),
    ],
)
def test_nothing_is_said_in_between(tried, verdict):
    decide, why = decided(tried)
    assert decide is verdict and (why is None) == (verdict is not None)


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (Tried(0.8, (0.1,) * 4, (False,) * 4, (0,) * 4, (False,) * 4, 0.1), "its own surroundings, blurred"),
        (Tried(0.8, (0.7,) * 4, (True, True, False, False), (0,) * 4, (False,) * 4, 0.8), "differ"),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0,) * 4, (False,) * 4, 0.8, 0.2), "at the border"),
        (Tried(0.8, (0.7,) * 4, (True,) * 4, (0.8,) * 4, (True,) * 4, 0.8), "alone give the class too"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is_told(tried, said):
    decide, why = decided(tried)
    assert decide is None and said in why


def test_the_backgrounds_that_agree_are_those_that_it_loses_or_wins_before():
    tried = Tried(0.8, (0.1, 0.7, 0.1, 0.7), (False, True, False, True), (0,) * 4, (False,) * 4, 0.8)
    assert (agreeing(tried, True), agreeing(tried, False)) == ([0, 2], [1, 3])


def test_where_three_of_four_agree_the_sentence_says_so_and_its_numbers_are_theirs(monkeypatch):
    tried = Tried(0.8, (0.1, 0.2, 0.3, 0.7), (False, False, False, True), (0,) * 4, (False,) * 4, 0.75)
    assert agreeing(tried, decide=True) == [0, 1, 2]
    seen = look(box(blue), scene())
    found = find(None, seen, {"regions": regions()}, Request())
    out = confirm(SimpleNamespace(**{**vars(found), "tried": tried}), seen, ())
    assert told(out) == [
        "Before three of four other backgrounds the model no longer says it: it gets 20 %, at most 30 %, "
        "and before its own background, blurred, 75 %."
    ]
    effect = out.said[0].effect
    assert (effect.runs, effect.fill) == (3, "meadow, sand, stone")
    assert (effect.change, effect.low, effect.high) == pytest.approx((-0.6, -0.7, -0.5))


def test_every_sentence_reads_back_into_its_claim():
    from saywhy.language import Claim
    from saywhy.surroundings.kinds import KINDS

    assert len(KINDS) == 8
    for kind in KINDS:
        claim = Claim(kind, classes=("tiger cat",), percents=(12, 40, 93) if "decide" in kind else (88, 70))
        assert parse(write(claim)) == claim


# --------------------------------------------------------------------------------------------------
# Where nothing is tried, and why.


def test_without_surroundings_or_without_an_object_nothing_is_asked():
    whole = np.zeros((SIDE, SIDE), dtype=np.int64)
    with counting() as meter:
        seen = look(box(red), scene())
        start = meter.forward_passes
        none = find(None, seen, {"regions": regions([0], whole)}, Request())
        nothing = find(None, seen, {"regions": regions([], whole)}, Request())
    assert meter.forward_passes == start
    for found, says in ((none, "no surroundings"), (nothing, "no object")):
        out = confirm(found, seen, ())
        assert not out.said and says in out.record["why"] and out.record["kept"] == []


def test_a_class_that_the_model_does_not_say_and_the_fast_way_are_left_out():
    assert outcome(red, target="other").record["why"] == "the model does not say this class"
    assert outcome(red, asked=Request(fast=True)).record["why"] == "the fast way leaves this out"


def test_without_regions_there_is_nothing_to_exchange():
    assert find(None, look(box(red), scene()), {}, Request()) is None


# --------------------------------------------------------------------------------------------------
# What is measured.


def test_the_shares_are_those_of_pictures_pasted_by_hand():
    clf = tiny.classifier(tiny.build("cnn"))
    picture = read((tiny.images(1, seed=5, side=SIDE)[0] * 255).byte().permute(1, 2, 0).numpy())
    seen = look(clf, picture)
    out = confirm(find(None, seen, {"regions": regions()}, Request()), seen, ())
    full = float(clf.probabilities(seen.image[None])[0, seen.target])
    for i, name in enumerate(PLAIN):
        pasted = plain((SIDE, SIDE)).pictures[i].clone()
        for y in range(SIDE):
            for x in range(SIDE):
                if 10 <= y < 22 and 10 <= x < 22:
                    pasted[:, y, x] = seen.image[:, y, x]
        got = clf.probabilities(torch.stack([pasted, plain((SIDE, SIDE)).pictures[i]]))[:, seen.target].tolist()
        assert out.record["names"][i] == name
        assert out.record["kept"][i] == pytest.approx(got[0] / full, abs=1e-5)
        assert out.record["alone"][i] == pytest.approx(got[1], abs=1e-5)


def test_only_leaves_at_the_border_that_do_not_count_are_exchanged():
    found = regions([2])
    around = surroundings(found)
    assert not around[:16].any() and not around[INSIDE, INSIDE].any() and around[22:].all()


def test_nine_passes_a_photo_whatever_was_asked_before_and_none_for_the_same_again():
    clf = box(red)
    seen = look(clf, scene())
    costs = []
    for photo in (seen, seen, look(clf, scene(around=(0.2, 0.8, 0.2)))):
        with counting() as meter, remembering():
            find(None, photo, {"regions": regions()}, Request())
        costs.append(meter.forward_passes)
    assert costs == [9, 9, 9]
    with counting() as meter, remembering():
        find(None, seen, {"regions": regions()}, Request())
        find(None, seen, {"regions": regions()}, Request())
    assert meter.forward_passes == 9


def test_the_batch_size_changes_nothing():
    images = tiny.images(1, seed=2, side=SIDE)[0]
    keep = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    keep[INSIDE, INSIDE] = True
    answers = []
    for size in (1, 3, 32):
        clf = tiny.classifier(tiny.build("cnn"), batch_size=size)
        answers.append(before(clf, images, keep, plain((SIDE, SIDE)).pictures))
    assert torch.allclose(answers[0], answers[1], atol=1e-6) and torch.allclose(answers[0], answers[2], atol=1e-6)


def test_the_plain_grounds_are_always_the_same_and_lie_in_range():
    state = torch.random.get_rng_state()
    one, two = plain((SIDE, 48)), plain((SIDE, 48))
    assert torch.equal(one.pictures, two.pictures) and one.pictures.shape == (4, 3, SIDE, 48)
    assert float(one.pictures.min()) >= 0 and float(one.pictures.max()) <= 1
    assert torch.equal(state, torch.random.get_rng_state())


# --------------------------------------------------------------------------------------------------
# Pictures of the user's.


@pytest.fixture
def folder(tmp_path):
    for n in range(6):
        Image.new("RGB", (40, 50), (200 - 20 * n, 90, 20 * n)).save(tmp_path / f"{n}.png")
    return tmp_path


def test_a_folder_of_the_user_s_is_named_as_such(folder):
    grounds = of_user(box(blue), folder)
    out = outcome(blue, part=grounds)
    assert out.record["kind"] == "folder" and out.record["names"] == list(grounds.names[:4])
    assert told(out)[0].startswith("Before four backgrounds of yours the model no longer says it")


def test_the_seed_draws_the_four(folder):
    clf = box(red)
    assert of_user(clf, folder, 1).names == of_user(clf, folder, 1).names
    assert len({of_user(clf, folder, seed).names for seed in range(6)}) > 1


def test_the_photo_itself_is_no_other_background(folder):
    clf = box(red)
    grounds = of_user(clf, folder)
    itself = read(folder / grounds.names[1])
    assert grounds.for_photo(itself.sha256).names == (grounds.names[0], *grounds.names[2:5])
    for extra in sorted(folder.iterdir())[4:]:
        extra.unlink()
    few = of_user(clf, folder).for_photo(read(folder / "0.png").sha256)
    assert len(few.names) == 3
    found = find(of_user(clf, folder), look(clf, folder / "0.png" and read(folder / "0.png")), {"regions": regions()},
                 Request())  # fmt: skip
    assert found.why is not None and "3 other backgrounds" in found.why


def test_a_folder_that_cannot_be_used_is_an_error_that_says_why(folder, tmp_path):
    clf = box(red)
    with pytest.raises(InputError, match="no such folder"):
        of_user(clf, tmp_path / "nowhere")
    with pytest.raises(InputError, match="one file; give a folder"):
        of_user(clf, folder / "0.png")
    for n in range(3):
        (folder / f"{n}.png").unlink()
    with pytest.raises(InputError, match="3 pictures; at least 4"):
        of_user(clf, folder)
    (folder / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png"):
        of_user(clf, folder)


def test_given_surroundings_are_read_once_for_all_photos(folder, monkeypatch):
    clf = box(red)
    ready = Explainer(clf).given(surroundings=folder)
    for file in folder.iterdir():
        file.unlink()
    found = ready.explain(scene())
    assert found.parts["surroundings"]["kind"] == "folder"
    with pytest.raises(UsageError, match="regions"):
        Explainer(clf).given(regions=3)
    with pytest.raises(UsageError, match="nothing to save"):
        ready.save(folder / "explainer")


# --------------------------------------------------------------------------------------------------
# The whole way.


@pytest.fixture(scope="module")
def explained():
    return saywhy.explain(box(red), scene())


def test_what_was_shown_stands_in_every_rendering(explained):
    found = explained.parts["surroundings"]
    assert set(found) == {"kind", "names", "exchanged", "kept", "alone", "own", "decide", "why"}
    shown = {name: saywhy.RENDERERS[name].function(explained) for name in saywhy.RENDERERS}
    for name in PLAIN:
        assert name in shown["text"].decode() and name in shown["html"].decode()
    assert len(explained.pictures["surroundings"]) == 4
    page = shown["html"].decode()
    assert page.count("as the model saw it") == 5 and page.count("data:image/jpeg") >= 4
    bare = explained.model_copy(update={"parts": {}})
    assert saywhy.RENDERERS["png"].function(bare) != shown["png"]


def test_the_json_holds_no_picture_and_the_page_of_a_record_without_them_shows_the_numbers(explained):
    record = explained.to_dict()
    assert "pictures" not in record and "pictures" not in json_schema()["properties"]
    json.dumps(record["parts"]["surroundings"], allow_nan=False)
    again = saywhy.Explanation.from_dict(record)
    page = saywhy.RENDERERS["html"].function(again).decode()
    assert again.pictures == {} and "Before other backgrounds" in page and "meadow <b>" in page


def test_a_folder_given_by_name_and_the_four_that_are_drawn_follow_the_seed(folder):
    one = saywhy.explain(box(red), scene(), surroundings=folder, seed=3)
    assert one.parts["surroundings"]["names"] == list(of_user(box(red), folder, 3).names[:4])
    assert one.provenance.parts[-1] == "surroundings:folder" or not one.parts["surroundings"]["kept"]


def test_the_part_is_a_row_that_brings_its_kinds():
    row = PARTS["surroundings"]
    assert list(PARTS).index("regions") < list(PARTS).index("surroundings") and not row.presets
    assert all(kind.startswith("surroundings_") for kind in row.sections().kinds)
