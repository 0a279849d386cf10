"""The tap: grids, the chosen layer, replay of the tail, attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tiny
from saywhy.attention_capture import recording_attention
from saywhy.errors import ModelError, UsageError
from saywhy.grid import Grid
from saywhy.passes import counting

ROWS = torch.tensor([1, 0, 1, 1, 0])


@pytest.mark.parametrize("model", tiny.MODELS)
def test_tapping_does_not_change_the_scores(model):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(2)
    assert torch.allclose(clf.tap(x).logits, clf.logits(x), atol=1e-6)


@pytest.mark.parametrize("model", tiny.MODELS)
def test_replay_of_the_own_maps_gives_the_own_scores_at_any_batch_size(model):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(2)
    tap = clf.tap(x)
    assert clf.point.tail.clean
    with counting() as meter:
        assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-5)
        many = tap.replay(tap.maps()[ROWS], rows=ROWS)
    assert torch.allclose(many, tap.logits[ROWS], atol=1e-5)
    assert (meter.forward_passes, meter.tail_passes) == (0, 7)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("cnn", "norm"),
        ("cnn", "conv2"),
        ("dense", "norm"),
        ("dense", "layers.0"),
        ("vit", "blocks.0"),
        ("swin", "patch"),
    ],
)
def test_replay_is_exact_at_every_layer_and_never_writes_into_its_maps(model, layer):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(2)
    tap = clf.tap(x, [layer])
    changed = (tap.maps() * torch.tensor([1.0, 0.3])[:, None, None, None])[ROWS]
    before = changed.clone()
    got = tap.replay(changed, rows=ROWS)
    assert torch.equal(changed, before)
    assert torch.allclose(got[[1, 4]], tap.logits[[0, 0]], atol=1e-5)
    assert not torch.allclose(got[0], tap.logits[1], atol=1e-3)
    assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-5)
    assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-5)  # the tap's own maps are as they were


def test_a_layer_with_a_way_around_it_is_replayed_by_the_whole_network_and_counted_so():
    clf, x = tiny.classifier(tiny.build("dense"), layer="layers.0"), tiny.images(2)
    assert not clf.point.tail.clean and "whole network" in clf.layer_reason
    tap = clf.tap(x)
    with counting() as meter:
        tap.replay(tap.maps())
    assert (meter.forward_passes, meter.tail_passes) == (2, 0)


def test_gradients_equal_autograd_through_the_whole_network():
    net = tiny.build("cnn")
    clf, x = tiny.classifier(net), tiny.images(2)
    tap = clf.tap(x)
    got = tap.grads(tap.resolve([3, 5]))
    A = net.features(clf.inputs(x)).detach().requires_grad_()
    scores = net.head(A.mean(dim=(2, 3)))
    (expected,) = torch.autograd.grad(scores[0, 3] + scores[1, 5], A)
    assert torch.allclose(got, expected, atol=1e-7)


def test_several_layers_are_tapped_in_one_pass():
    clf, x = tiny.classifier(tiny.build("vit")), tiny.images(2)
    with counting() as meter:
        tap = clf.tap(x, ["blocks.0", "blocks.1"])
        targets = tap.resolve(None)
        first, second = tap.grads(targets, "blocks.0"), tap.grads(targets, "blocks.1")
    assert meter.forward_passes == 2  # one an image
    assert first.shape == second.shape == (2, 16, 4, 4) and not torch.allclose(first, second)
    assert torch.allclose(second, clf.tap(x, ["blocks.1"]).grads(targets), atol=1e-7)
    with pytest.raises(UsageError, match="was not tapped"):
        tap.maps("norm")


def test_replay_builds_a_graph_only_when_the_caller_asks():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    tap = clf.tap(x)
    with torch.no_grad():
        assert not tap.replay(tap.maps()).requires_grad
    with torch.inference_mode():
        assert not tap.replay(tap.maps().clone()).requires_grad
    leaf = tap.maps().clone().requires_grad_()
    tap.replay(leaf).sum().backward()
    assert leaf.grad is not None and float(leaf.grad.abs().max()) > 0


def test_a_class_token_network_is_tapped_before_its_last_block_and_says_why():
    clf = tiny.classifier(tiny.build("vit"))
    assert clf.point.path == "blocks.1"
    assert clf.point.grid.prefix == 3
    assert "the scores read no position of it" in clf.layer_reason


def test_a_network_that_averages_its_tokens_is_tapped_at_its_last_layer():
    torch.manual_seed(0)
    clf = tiny.classifier(tiny.lively(tiny.Vit(2, "mean")).eval())
    assert clf.point.path == "norm" and clf.point.grid.prefix == 2


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("axes", ["nchw", "nhwc", "cnhw", "ntc", "tnc", "nct"])
def test_maps_go_there_and_back(axes, prefix):
    tokens = "t" in axes
    grid = Grid(axes, (5, 4), prefix, 1) if tokens else Grid(axes, (5, 4))
    sizes = {"n": 3, "c": 6, "h": 5, "w": 4, "t": prefix + 20 + 1}
    raw = torch.randn([sizes[axis] for axis in axes])
    maps = grid.to_maps(raw)
    assert maps.shape == (3, 6, 5, 4)
    assert torch.equal(grid.from_maps(maps, raw, torch.arange(3)), raw)
    rows = torch.tensor([2, 0])
    assert torch.equal(grid.from_maps(maps[rows], raw, rows), raw.index_select(grid.batch, rows))


def test_tokens_of_images_of_another_size_are_refused():
    with pytest.raises(UsageError, match="size that the classifier was loaded with"):
        Grid("ntc", (4, 4), 1).to_maps(torch.zeros(2, 26, 8))


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [None, "bool", "float", "causal"])
@pytest.mark.parametrize("grouped", [False, True])
def test_fused_attention_is_recorded_and_computes_the_same(masked, grouped):
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 6, 8, generator=g)
    k, v = (torch.randn(2, 2 if grouped else 4, 6, 8, generator=g) for _ in range(2))
    mask = {"bool": torch.rand(6, 6, generator=g) > 0.3, "float": torch.randn(6, 6, generator=g)}.get(masked or "")
    if masked == "bool":
        mask.fill_diagonal_(True)

    def run():
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=masked == "causal", scale=0.2, enable_gqa=grouped
        )

    with torch.no_grad():
        expected = run()
        with recording_attention() as weights:
            got = run()
    assert torch.allclose(got, expected, atol=1e-5)
    assert len(weights) == 1 and weights[0].shape == (2, 4, 6, 6)
    assert torch.allclose(weights[0].sum(dim=3), torch.ones(2, 4, 6), atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need", [True, False])
def test_torch_attention_is_recorded_with_its_graph(batch_first, need):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        expected, shown = layer(x, x, x, need_weights=need)
        with recording_attention() as weights:
            got, again = layer(x, x, x, need_weights=need)
    assert torch.allclose(got, expected, atol=1e-5)
    assert (again is None) == (shown is None) and (shown is None or torch.allclose(again, shown, atol=1e-5))
    (grad,) = torch.autograd.grad(got.square().sum(), weights[0])
    assert float(grad.abs().max()) > 0


def test_attention_of_pooling_queries_passes_as_it_is_and_is_not_taken_for_the_tokens():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    queries, tokens = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    with torch.no_grad():
        plain = layer(queries, tokens, tokens)[0]
        with recording_attention() as weights:
            found = layer(queries, tokens, tokens)[0]
    assert weights == [] and torch.allclose(found, plain, atol=1e-6)


def test_torch_encoder_layers_are_recorded_though_they_have_a_fast_path():
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected = net(x)
        with recording_attention() as weights:
            got = net(x)
    assert torch.allclose(got, expected, atol=1e-5)
    assert [w.shape for w in weights] == [(2, 2, 5, 5)] * 2


def test_other_softmaxes_are_left_alone():
    with recording_attention() as weights:
        torch.randn(2, 6).softmax(dim=1)
        torch.randn(2, 3, 4, 4).softmax(dim=1)
        F.softmax(torch.randn(2, 3, 4, 5), dim=-1)
    assert weights == []


def test_a_layer_skipped_in_a_later_pass_is_a_model_error():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.skip = tiny.build("cnn"), False

        def forward(self, x):
            return x.mean(dim=(2, 3)) @ torch.ones(3, tiny.CLASSES) if self.skip else self.inner(x)

    net = Fickle().eval()
    clf = tiny.classifier(net)
    assert clf.point
    net.skip = True
    with pytest.raises(ModelError, match="another path"):
        clf.tap(tiny.images(1))
