"""Threads that share networks get what they would get one after another, and leave everything as found."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saywhy
import tiny
from saywhy import classifier as classifiers
from saywhy.classifier import Classifier
from saywhy.errors import ModelError, UsageError
from saywhy.image import Preprocess
from saywhy.lcam import heads as lcam
from saywhy.passes import counting
from saywhy.saliency import METHODS, saliency
from test_contract import SMALL, TRANSFORMERS, same, snapshot

THREADS = 8
CAPTUM = {"input-x-gradient", "guided-backprop"}  # the others are slow, and go the same way


class Drawn(tiny.Cnn):
    """Draws random numbers in every pass, in eval mode too."""

    def forward(self, x):
        return self.head(F.dropout(self.features(x).mean(dim=(2, 3)), 0.3, training=True))


class Dropped(tiny.Cnn):
    """Batch norm and dropout; what it says in train mode is random and moves its statistics."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.drop(self.features(x).mean(dim=(2, 3))))


def cnn(kind, *, train):
    torch.manual_seed(3)
    return tiny.lively(kind()).train(train)


NETWORKS = {
    "in train mode": lambda: cnn(Dropped, train=True),
    "random in eval mode": lambda: cnn(Drawn, train=False),
    "transformer": lambda: tiny.build("vit"),
}


@pytest.fixture(autouse=True)
def _hasty():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work, count=THREADS):
    """What `count` threads make of work(number), all started at the same moment; an error of one is an error."""
    gate = threading.Barrier(count)

    def wait_and(number):
        gate.wait(60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [f.result(120) for f in [pool.submit(wait_and, n) for n in range(count)]]


def methods_for(name):
    known = {m for m, row in METHODS.items() if not row.needs.startswith("extra")}
    if "transformer" in name:
        return sorted(known - {"cam", "l-cam"})
    return sorted((known | CAPTUM) - TRANSFORMERS - ({"cam"} if "random" in name else set()))


def maps(clf, method, image, head):
    options = dict(SMALL.get(method, {})) | ({"head": head} if method == "l-cam" else {})
    return saliency(clf, image, [2], method=method, **options).raw


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_threads_over_every_method_get_the_maps_of_one(name):
    if CAPTUM & set(methods_for(name)):
        pytest.importorskip("captum")
    net, x = NETWORKS[name](), tiny.images(THREADS)
    named = {"layer": "relu"} if "random" in name else {}  # what draws at random has no tail that could be tested
    clf = tiny.classifier(net, **named)
    head = lcam.start(clf.tap(x)) if "l-cam" in methods_for(name) else None
    jobs = [(m, i) for m in methods_for(name) for i in range(THREADS)]
    torch.manual_seed(11)
    expected = {(m, i): maps(clf, m, x[i : i + 1], head) for m, i in jobs}
    # Every second thread has a Classifier of its own around the same network, and none has found its layers yet.
    fresh = [tiny.classifier(net, **named), tiny.classifier(net, **named)]
    before = snapshot(net)

    def work(number):
        mine = [(m, (i + number) % THREADS) for m, i in jobs[number:] + jobs[:number]][number % 2 :: 2]
        return {job: maps(fresh[number % 2], job[0], x[job[1] : job[1] + 1], head) for job in mine}

    for got in at_once(work):
        wrong = [job for job, raw in got.items() if not torch.allclose(raw, expected[job], rtol=1e-5, atol=1e-6)]
        assert not wrong
    assert same(before, snapshot(net))


def test_eight_threads_of_explain_tell_the_same_stories():
    net = cnn(Dropped, train=True)
    clf = replace(tiny.classifier(net), preprocess=Preprocess(size=(32, 32), resize=None))
    photos = [(p.permute(1, 2, 0) * 255).byte().numpy() for p in tiny.images(THREADS)]

    def story(number):
        found = saywhy.explain(clf, photos[number % 3], regions=3, seed=1).to_dict()
        found["cost"].pop("seconds")
        return found

    expected = [story(n) for n in range(3)]
    clf, before = replace(clf, _points={}), snapshot(net)
    assert at_once(story) == [expected[n % 3] for n in range(THREADS)]
    assert same(before, snapshot(net))


def test_networks_that_share_a_part_are_asked_one_after_another():
    part = cnn(Dropped, train=True)
    clfs = [tiny.classifier(nn.Sequential(part)), tiny.classifier(nn.Sequential(part))]
    x = tiny.images(1)
    expected = saliency(clfs[0], x, 1, method="ablation-cam").raw

    def work(number):
        return [saliency(clfs[number % 2], x, 1, method="ablation-cam").raw for _ in range(5)]

    assert all(torch.equal(raw, expected) for got in at_once(work) for raw in got)


def test_the_users_own_pass_beside_ours_is_right():
    net = tiny.build("cnn")
    clf, x = tiny.classifier(net), tiny.images(1)
    clf.point  # noqa: B018
    with torch.no_grad():
        expected = net(x)
    stop = threading.Event()

    def ask():
        got = []
        while not stop.is_set():
            with torch.no_grad():
                got.append(net(x))
        return got

    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(ask)
        for _ in range(30):
            saliency(clf, x, 1, method="ablation-cam", chunk=1)
        stop.set()
        got = theirs.result(60)
    assert len(got) > 5 and all(torch.equal(scores, expected) for scores in got)


def test_the_layers_are_searched_once_however_many_come_first(monkeypatch):
    searched = []

    class Counted(classifiers.Layers):
        def __init__(self, *given):
            searched.append(1)
            super().__init__(*given)

    monkeypatch.setattr(classifiers, "Layers", Counted)
    clf = tiny.classifier(tiny.build("cnn"))
    points = at_once(lambda _: (clf.point, clf.fine_point(), clf.fingerprint, clf.class_names))
    assert len(searched) == 1  # for the layer and the finer one
    assert all(p[0] is points[0][0] and p[1] is points[0][1] and p[2:] == points[0][2:] for p in points)


@pytest.mark.parametrize("method", ["grad-cam", "ablation-cam", "rise", "score-cam"])
def test_a_target_that_asks_the_classifier_itself_waits_for_nobody(method):
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)

    def target(scores):
        saliency(clf, x, 1, method="ablation-cam")
        return scores[:, 2] * float(clf.probabilities(x).sum())

    def work(_):
        with counting():
            return saliency(clf, x, target, method=method, **SMALL.get(method, {})).raw

    expected = work(0)
    assert all(torch.allclose(raw, expected, rtol=1e-5, atol=1e-6) for raw in at_once(work))


def test_passes_are_counted_where_they_are_asked_for():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(3)
    clf.point  # noqa: B018

    def work(number):
        with counting() as meter:
            for _ in range(number + 1):
                clf.logits(x)
        return meter.forward_passes

    with counting() as outside:
        assert at_once(work) == [3 * (n + 1) for n in range(THREADS)]
    assert outside.forward_passes == 0


def test_a_network_that_raises_lets_the_others_go_on():
    class Moody(tiny.Cnn):
        def forward(self, x):
            if float(x.mean()) > 1:
                raise RuntimeError("no")
            return super().forward(x)

    clf, x = tiny.classifier(tiny.lively(Moody()).train()), tiny.images(1)
    before, expected = snapshot(clf.net), saliency(clf, x, 1).raw

    def work(number):
        if number % 2:
            with pytest.raises(ModelError, match="no"):
                saliency(clf, torch.ones(1, 3, 32, 32), 1)
        return saliency(clf, x, 1).raw

    assert all(torch.equal(raw, expected) for raw in at_once(work))
    assert same(before, snapshot(clf.net))


def test_threads_with_networks_of_their_own_leave_the_random_numbers_as_found():
    clfs = [tiny.classifier(cnn(Drawn, train=False)) for _ in range(THREADS)]
    x = tiny.images(1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    expected = clfs[0].logits(x)

    def work(number):
        return [clfs[number].logits(x) for _ in range(20)]

    assert all(torch.equal(scores, expected) for got in at_once(work) for scores in got)
    assert torch.equal(torch.get_rng_state(), before)


def test_black_boxes_are_asked_side_by_side():
    together = threading.Barrier(2)

    def scores(images):
        together.wait(30)  # comes back only when two threads ask at the same moment
        return np.ones((len(images), 2), np.float32)

    clf = Classifier(scores)
    assert [tuple(s.shape) for s in at_once(lambda _: clf.logits(tiny.images(1)), 2)] == [(1, 2), (1, 2)]
    with pytest.raises(UsageError, match="black-box"):
        clf.point  # noqa: B018
