"""What every saliency method owes every network, over the whole table."""

import copy

import pytest
import torch
from torch import nn

import saywhy.saliency as folder
import tiny
from saywhy.classifier import Classifier
from saywhy.errors import ModelError, SaywhyError, UsageError
from saywhy.metrics import Row
from saywhy.saliency import METHODS, Method, saliency, saliency_of

SMALL = {"rise": {"masks": 12, "cells": 4}, "occlusion": {"window": 12, "stride": 10}}
OWN = [m for m, row in METHODS.items() if not row.needs.startswith(("extra", "head"))]  # heads: test_lcam
TRANSFORMERS = {"attention-rollout", "legrad"}
POOLED = {"cnn", "swin", "dict"}  # networks that end in pooling and one linear layer

PAIRS = [
    (method, model)
    for method in OWN
    for model in tiny.MODELS
    if not (method in TRANSFORMERS and model != "vit") and not (method == "cam" and model not in POOLED)
]
REFUSED = [(m, n) for m in OWN for n in tiny.MODELS if (m, n) not in PAIRS]


def ask(clf, x, method, **options):
    return saliency(clf, x, method=method, **{**SMALL.get(method, {}), **options})


@pytest.mark.parametrize(("method", "model"), PAIRS)
def test_maps_are_signed_finite_and_the_same_alone_in_a_batch_and_again(method, model):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(3)
    got = ask(clf, x, method, targets=[0, 1, 2])
    assert got.raw.dim() == 3 and len(got.raw) == 3 and got.raw.dtype == torch.float32
    assert torch.isfinite(got.raw).all() and not got.raw.requires_grad
    assert got.display.shape == (3, 32, 32)
    assert float(got.display.min()) >= 0 and float(got.display.max()) <= 1
    assert torch.equal(ask(clf, x, method, targets=[0, 1, 2]).raw, got.raw)
    alone = torch.cat([ask(clf, x[i : i + 1], method, targets=i).raw for i in range(3)])
    assert torch.allclose(alone, got.raw, rtol=1e-4, atol=1e-4 * float(got.raw.abs().max()))


@pytest.mark.parametrize(("method", "model"), REFUSED)
def test_a_method_that_a_network_cannot_serve_says_what_to_use(method, model):
    with pytest.raises(UsageError, match=r"[Uu]se"):
        ask(tiny.classifier(tiny.build(model)), tiny.images(1), method)


@pytest.mark.parametrize(("method", "model"), [(m, n) for m, n in PAIRS if METHODS[m].flip_equivariant and n != "dict"])
def test_the_map_of_a_flipped_photo_is_the_flipped_map(method, model):
    clf, x = tiny.classifier(tiny.symmetric(tiny.build(model))), tiny.images(2)
    options = {"window": 12, "stride": 5} if method == "occlusion" else {}
    there, back = ask(clf, x, method, targets=2, **options).raw, ask(clf, x.flip(3), method, targets=2, **options).raw
    assert torch.allclose(back.flip(2), there, rtol=1e-3, atol=1e-3 * float(there.abs().max()))
    if (method, model) != ("hires-cam", "vit"):  # flat there, see test_saliency
        assert not torch.allclose(back, there, rtol=1e-3, atol=1e-3 * float(there.abs().max()))


def snapshot(net):
    """Everything about a network that a visitor could have moved."""
    return {
        "weights": {k: v.clone() for k, v in net.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "asked": [p.requires_grad for p in net.parameters()],
        "modes": [m.training for m in net.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))
            for m in net.modules()
        ],
        "attributes": [sorted(m.__dict__) for m in net.modules()],
        "forwards": [m.__dict__.get("forward") for m in net.modules()],
        "rng": torch.get_rng_state(),
    }


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture
def visited():
    """Networks with odd modes, existing gradients, a frozen weight and the user's own hook."""

    def make(name):
        net = tiny.build(name)
        tiny.classifier(net)
        list(net.modules())[-1].train()
        first, *_, last = net.parameters()
        first.requires_grad_(False)
        last.grad = torch.ones_like(last)
        net.register_forward_hook(lambda m, i, o: None)
        return net

    return make


@pytest.mark.parametrize(("method", "model"), PAIRS)
def test_the_network_is_left_exactly_as_found(method, model, visited):
    net = visited(model)
    before = snapshot(net)
    ask(tiny.classifier(net), tiny.images(2), method)
    assert same(before, snapshot(net))


class Bomb(nn.Module):
    """Raises at the n-th image batch it sees."""

    def __init__(self):
        super().__init__()
        self.seen, self.limit = 0, 10**9

    def forward(self, x):
        self.seen += 1
        if self.seen > self.limit:
            raise RuntimeError("boom")
        return x


@pytest.mark.parametrize(("method", "model"), PAIRS)
@pytest.mark.parametrize("limit", [0, 1])
def test_a_network_that_raises_midway_is_a_model_error_and_left_as_found(method, model, limit, visited):
    net, bomb = visited(model), Bomb()
    net = nn.Sequential(bomb, net).eval()
    clf = tiny.classifier(net, batch_size=2)
    assert clf.point is not None
    bomb.seen, bomb.limit = 0, limit
    before = snapshot(net)
    try:
        ask(clf, tiny.images(2), method)
        assert bomb.seen <= limit
    except ModelError as error:
        assert "boom" in str(error)
    assert same(before, snapshot(net))


@pytest.mark.parametrize(("method", "model"), [(m, n) for m, n in PAIRS if m != "finer-cam" and n != "dict"])
def test_a_target_that_raises_leaves_the_network_as_found(method, model, visited):
    net = visited(model)
    calls = []

    def target(scores):
        calls.append(1)
        raise ZeroDivisionError("my target")

    before = snapshot(net)
    if method in ("eigen-cam", "attention-rollout"):
        ask(tiny.classifier(net), tiny.images(1), method, targets=target)
        assert not calls
    else:
        with pytest.raises(ZeroDivisionError, match="my target"):
            ask(tiny.classifier(net), tiny.images(1), method, targets=target)
    assert same(before, snapshot(net))


@pytest.mark.parametrize("model", tiny.MODELS)
@pytest.mark.parametrize("method", [m for m in OWN if m not in TRANSFORMERS and m != "cam"])
def test_frozen_weights_and_callers_without_gradients_change_nothing(method, model):
    net = tiny.build(model)
    clf, x = tiny.classifier(net), tiny.images(2)
    expected = ask(clf, x, method).raw
    with torch.no_grad():
        assert torch.equal(ask(clf, x, method).raw, expected)
    with torch.inference_mode():
        inside = ask(clf, x.clone(), method).raw
    assert torch.equal(inside, expected)
    frozen = tiny.classifier(copy.deepcopy(net).requires_grad_(False))
    assert torch.equal(ask(frozen, x, method).raw, expected)


@pytest.mark.parametrize("method", OWN)
def test_bfloat16_channels_last_and_train_mode_are_served(method):
    net = tiny.build("vit" if method in TRANSFORMERS else "cnn")
    x = tiny.images(2)
    expected = ask(tiny.classifier(net), x, method, targets=1).raw
    ours = ask(tiny.classifier(copy.deepcopy(net).train()), x, method, targets=1).raw
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5)
    ours = ask(tiny.classifier(net, channels_last=True), x, method, targets=1).raw
    assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    half = ask(tiny.classifier(copy.deepcopy(net).bfloat16()), x, method, targets=1).raw
    assert half.dtype == torch.float32 and torch.isfinite(half).all()


@pytest.mark.parametrize("method", OWN)
def test_a_black_box_is_served_or_told_what_serves_it(method):
    net = tiny.build("cnn")

    def scores(x):
        return net(((x - 0.5) / 0.25).to(tiny.DEVICE)).detach()

    clf = Classifier(scores, preprocess=tiny.classifier(net).preprocess)
    if METHODS[method].needs == "scores":
        assert torch.isfinite(ask(clf, tiny.images(2), method).raw).all()
    else:
        with pytest.raises(UsageError, match="rise"):
            ask(clf, tiny.images(2), method)


@pytest.mark.parametrize(
    "method", [m for m in OWN if METHODS[m].needs != "attention" and m not in ("cam", "finer-cam")]
)
def test_segmentation_networks_are_served_by_a_region_target(method):
    from saywhy.targets import region_target

    torch.manual_seed(0)
    clf, x = tiny.classifier(tiny.Segmenter().eval()), tiny.images(1)
    mask = torch.zeros(32, 32)
    mask[:8, :8] = 1
    got = ask(clf, x, method, targets=region_target(2, mask))
    assert torch.isfinite(got.raw).all() and float(got.raw.abs().max()) > 0
    with pytest.raises(SaywhyError, match="region_target"):
        ask(clf, x, method)


def test_every_method_has_a_summary_a_source_and_documented_equation():
    for name, row in METHODS.items():
        assert row.summary and row.source and row.passes, name
        assert row.cost in ("few", "many"), name
        assert "Source:" in (row.function.__doc__ or "") or row.needs.startswith("extra"), name


def test_no_row_can_be_made_without_its_cost():
    said = {"summary": "none", "source": "this test", "needs": "maps", "passes": "1 forward"}
    with pytest.raises(TypeError, match="cost"):
        Method(lambda tap, targets: tap.maps()[:, 0], **said)
    with pytest.raises(TypeError, match="passes"):
        Row(lambda maps: maps, "complexity", None, "map", ("maps",), {}, "none", "this test")


@pytest.mark.parametrize("method", OWN)
def test_a_method_that_costs_few_passes_sends_an_image_through_the_network_at_most_three_times(method):
    net = tiny.build("vit" if method in TRANSFORMERS else "cnn")
    passes = saliency(tiny.classifier(net), tiny.images(1), method=method).passes.forward_passes
    assert (passes <= 3) == (METHODS[method].cost == "few")


def test_a_tap_serves_several_methods_without_another_forward_pass():
    from saywhy.passes import counting

    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    tap = clf.tap(x)
    targets = tap.resolve(3)
    with counting() as meter:
        maps = [saliency_of(tap, targets, m) for m in ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "finer-cam")]
    assert meter.forward_passes == 0
    assert torch.equal(maps[0].cpu(), saliency(clf, x, 3).raw)


def test_the_folder_is_the_function():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    assert torch.equal(folder(clf, x, 1).raw, saliency(clf, x, 1).raw)
