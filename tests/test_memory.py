"""Inside a `remembering` block nothing is asked twice, and nothing is mistaken for something else."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

import saywhy
import tiny
from saywhy import explainer
from saywhy.classifier import Classifier
from saywhy.image import Preprocess
from saywhy.intervene import FILLS, Fill, Memory, experiment, masked_scores, play, remembering
from saywhy.passes import counting


@pytest.fixture
def clf():
    return tiny.classifier(tiny.build("cnn"))


IMAGE = tiny.images(1)[0]
MASKS = (torch.rand(6, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def ask(clf, image=IMAGE, masks=MASKS, fill="noise", **options):
    """Scores, and the passes that they cost."""
    with counting() as meter:
        got = masked_scores(clf, image, len(masks), lambda a, b: masks[a:b], lambda s: s[:, 1], fill=fill, **options)
    return got, meter.forward_passes


@pytest.mark.parametrize("fill", [*FILLS, torch.tensor([0.1, 0.5, 0.2]), tiny.images(1, seed=3)[0]], ids=str)
def test_the_same_question_costs_no_pass_and_has_the_same_answer_to_the_bit(clf, fill):
    outside, passes = ask(clf, fill=fill)
    with remembering():
        first, asked = ask(clf, fill=fill)
        again, free = ask(clf, image=IMAGE.clone(), masks=MASKS.clone(), fill=fill, batch_size=5)
    assert (passes, asked, free) == (6, 6, 0)
    assert torch.equal(first, outside) and torch.equal(again, first)


def rewired(net):
    """The same weights, so the same fingerprint; another function."""
    other = copy.deepcopy(net)
    other.pool = nn.MaxPool2d(2)
    return other


OTHERS = {
    "fill": lambda clf: ask(clf, fill="mean"),
    "row": lambda clf: ask(clf, fill=Fill(FILLS["noise"].make, "noise of another name", FILLS["noise"].needs)),
    "seed": lambda clf: ask(clf, seed=1),
    "image": lambda clf: ask(clf, image=IMAGE.flip(2)),
    "masks": lambda clf: ask(clf, masks=1 - MASKS),
    "softness": lambda clf: ask(clf, masks=MASKS * 0.9),
    "model": lambda clf: ask(tiny.classifier(tiny.build("cnn", seed=1))),
    "wiring": lambda clf: ask(tiny.classifier(rewired(clf.net))),
    "preprocessing": lambda clf: ask(Classifier(clf.net, preprocess=Preprocess(size=(32, 32)))),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_question_is_asked(clf, what):
    outside, _ = OTHERS[what](clf)
    with remembering():
        ask(clf)
        got, passes = OTHERS[what](clf)
    assert passes == 6 and torch.equal(got, outside)


def test_a_colour_is_not_mistaken_for_a_picture_nor_one_colour_for_another(clf):
    dark, light = torch.full((3,), 0.2), torch.full((3,), 0.8)
    with remembering():
        costs = [ask(clf, fill=fill)[1] for fill in (dark, light, dark[:, None, None].expand(3, 32, 32), dark)]
    assert costs == [6, 6, 6, 0]


def test_the_seed_of_a_fill_that_is_not_drawn_is_no_other_question(clf):
    with remembering():
        ask(clf, fill="inpaint")
        assert ask(clf, fill="inpaint", seed=1)[1] == 0


def test_what_is_new_is_asked_and_equal_questions_once(clf):
    new = 1 - MASKS[:2]
    mixed = torch.cat([MASKS[:1], new[:1], MASKS[3:4], new[1:], new[:1]])
    plain, _ = ask(clf, masks=mixed)
    with remembering():
        ask(clf)
        got, passes = ask(clf, masks=mixed, batch_size=8)
    assert passes == 2 and torch.allclose(got, plain, atol=1e-5) and got[1] == got[4]


def test_games_and_experiments_share_what_they_ask(clf):
    regions = torch.zeros(3, 32, 32, dtype=torch.bool)
    regions[0, :8], regions[1, 8:16], regions[2, 16:24] = True, True, True
    everything = torch.ones(1, 32, 32, dtype=torch.bool)
    with remembering(), counting() as meter:
        game = play(clf, IMAGE, regions, fills=("mean",), seed=1)
        assert meter.forward_passes == 8
        other = play(clf, IMAGE, regions[[2, 0, 1]], fills=("mean",), seed=1)
        assert meter.forward_passes == 8 and torch.equal(other.probabilities[0, 1], game.probabilities[0, 4])
        play(clf, IMAGE, regions[:2], fills=("mean",), seed=1)
        assert meter.forward_passes == 8
        hidden = play(clf, IMAGE, everything, fills=("mean",), seed=1).probabilities[0, 0]
        assert meter.forward_passes == 9, "everything shown is known, everything hidden is not"
        (kept_none,) = experiment(clf, IMAGE, everything, [("keep", ())], ways=(("mean", 1),))
        assert meter.forward_passes == 9 and torch.equal(kept_none.probabilities, hidden)


def test_a_second_explanation_of_the_same_photo_costs_one_look_and_the_same_again(clf):
    net = tiny.build("cnn")
    clf = tiny.classifier(net, classes=[f"c{i}" for i in range(tiny.CLASSES)])
    picture = (tiny.images(1, side=64)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    plain = saywhy.explain(clf, picture, regions=3)
    with remembering():
        first = saywhy.explain(clf, picture, regions=3)
        with counting() as meter:
            again = saywhy.explain(clf, picture, regions=3)
    assert meter.forward_passes == 2  # whether the model repeats itself is asked outside the memory
    assert first.game == again.game == plain.game and first.concepts == again.concepts == plain.concepts


def test_within_one_explanation_what_parts_ask_alike_is_asked_once(clf, monkeypatch):
    settle, passes = explainer.settle, []

    def twice(*given):
        for _ in range(2):
            with counting() as meter:
                found = settle(*given)
            passes.append(meter.forward_passes)
        return found

    monkeypatch.setattr(explainer, "settle", twice)
    picture = (tiny.images(1, side=64)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    for _ in range(2):
        saywhy.explain(clf, picture, regions=3)
    # The plain picture is asked once more on purpose: does the model repeat itself?
    assert passes[0] > 16 and passes == [passes[0], 1] * 2, "and the next explanation asks anew"


def test_a_memory_forgets_what_was_needed_least_recently_and_stays_small(clf):
    row = tiny.CLASSES * 4
    with remembering(Memory(most=4 * row)) as memory:
        ask(clf, masks=MASKS[:4])
        ask(clf, masks=MASKS[:1])
        ask(clf, masks=MASKS[4:5])
        assert len(memory) == 4 and memory.bytes == 4 * row
        assert ask(clf, masks=MASKS[:1])[1] == 0
        assert ask(clf, masks=MASKS[1:2])[1] == 1
    with remembering(Memory(most=1)) as memory:
        assert ask(clf)[1] == ask(clf)[1] == 6 and len(memory) == 0


def test_a_block_ends_an_inner_one_goes_on_and_a_memory_can_be_kept(clf):
    kept = Memory()
    with remembering(kept):
        ask(clf)
        with remembering() as inner:
            assert inner is kept and ask(clf)[1] == 0
        with remembering(Memory()):
            assert ask(clf)[1] == 6
    assert ask(clf)[1] == 6
    with remembering(kept):
        assert ask(clf)[1] == 0


def test_another_thread_has_its_own_block_and_can_share_a_memory(clf):
    costs = []
    with remembering() as memory:
        ask(clf)

        def work(shared):
            with remembering(shared):
                costs.append(ask(clf)[1])

        for shared in (None, memory):
            thread = threading.Thread(target=work, args=(shared,))
            thread.start()
            thread.join()
    assert costs == [6, 0]


def test_remembered_answers_serve_callers_in_inference_mode_and_outside_of_it(clf):
    with remembering():
        with torch.inference_mode():
            ask(clf)
        scores, passes = ask(clf)
        weight = torch.ones(6, requires_grad=True)
        (scores * weight).sum().backward()
    assert passes == 0 and torch.equal(weight.grad, scores)
