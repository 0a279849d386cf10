"""Networks with habits that nobody here chose: which layer is tapped, in which layout, and that nothing is hurt."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import saywhy
import tiny
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.passes import counting
from saywhy.probe import pictures
from test_contract import same, snapshot


class Net(nn.Module):
    """Three convolutions, 32 -> 16 -> 8 -> 4, and a head over the mean; subclasses have the habits."""

    def __init__(self, channels: int = 12, scores: int = tiny.CLASSES) -> None:
        super().__init__()
        sizes = (3, channels, channels, channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(sizes))
        self.head = nn.Linear(channels, scores)

    def body(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu()
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


class InPlace(Net):
    """Writes into the picture, into what its modules give, and adds in place."""

    def body(self, x):
        x = x.sub_(0.1)
        for conv in self.convs:
            x = conv(x)
            x += 0.1
            x[:, :1] *= 2
            x = F.relu(x, inplace=True)
        return x


class Residual(Net):
    """Adds in its own forward, where no module sees the sum."""

    def body(self, x):
        x = self.convs[0](x).relu()
        for conv in list(self.convs)[1:]:
            x = F.avg_pool2d(x, 2) + conv(x).relu()
        return x


class Once(Net):
    """Adds in its own forward, but not much comes after the last layer that everything flows through."""

    def body(self, x):
        x = self.convs[1](self.convs[0](x).relu()).relu()
        return F.avg_pool2d(x, 2) + self.convs[2](x).relu()


class Shortcut(Net):
    """Part of the score comes straight from the picture."""

    def forward(self, x):
        return super().forward(x) + x.mean(dim=(1, 2, 3))[:, None]


class Choosy(Net):
    """Takes a way around its layers for pictures that are bright; the dry run sees none."""

    def forward(self, x):
        z = super().forward(x)
        return z + x.amax(dim=(2, 3))[:, :1] * 5 if float(x.mean()) > 0.9 else z


class NoNan(Net):
    def forward(self, x):
        if not torch.isfinite(x).all() or float(x.std()) == 0:
            raise ValueError("a broken picture")
        return super().forward(x)


class Drops(Net):
    """Monte Carlo dropout: on in eval mode too."""

    def body(self, x):
        return F.dropout(super().body(F.dropout(x, 0.1, training=True)), 0.2, training=True)


class BatchStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(12, track_running_stats=False)

    def body(self, x):
        return self.norm(super().body(x))


class ConstantBest(Net):
    """A detector of one thing: where it is not seen, the score of `nothing` is the highest, and constant."""

    def forward(self, x):
        return torch.cat([torch.full((len(x), 1), 50.0), super().forward(x)], dim=1)


class Detached(Net):
    """A frozen stem under no_grad."""

    def body(self, x):
        with torch.no_grad():
            x = self.convs[0](x)
        return self.convs[2](self.convs[1](x).relu())


class Backbone(Net):
    """All but the head under no_grad, as in linear probing."""

    def body(self, x):
        with torch.no_grad():
            return super().body(x)


class Numpy(Net):
    """Leaves torch in its middle."""

    def body(self, x):
        return self.convs[2](torch.from_numpy(self.convs[1](self.convs[0](x)).numpy()))


class Probabilities(Net):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


class Table(Net):
    """A module that is called early and gives the same for every picture, in two rows as a batch of two would have."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 12)

    def forward(self, x):
        told = self.table(torch.arange(2))
        return self.head(self.body(x).mean(dim=(2, 3)) + told.sum(dim=0))


# what: its network, the layer that has to be tapped, what the reason says, whether the tail runs by itself
HABITS: dict[str, tuple[Callable[[], nn.Module], str, str, bool]] = {
    "none": (Net, "convs.2", "everything flows through", True),
    "in place": (InPlace, "convs.2", "everything flows through", True),
    "added by hand": (Residual, "convs.2", "other paths lead around it", False),
    "added by hand at the end": (Once, "convs.1", "convs.2 comes later, but other paths lead around it", True),
    "a shortcut from the picture": (Shortcut, "convs.2", "other paths lead around it", False),
    "a way for bright pictures": (Choosy, "convs.2", "everything flows through", True),
    "refuses NaN and plain pictures": (NoNan, "convs.2", "everything flows through", True),
    "dropout always": (Drops, "convs.2", "draws random numbers", True),
    "batch statistics": (BatchStatistics, "norm", "differently in another batch", True),
    "a constant highest score": (ConstantBest, "convs.2", "everything flows through", True),
    "one score": (lambda: Net(scores=1), "convs.2", "everything flows through", True),
    "a stem without gradients": (Detached, "convs.2", "everything flows through", True),
    "a backbone without gradients": (Backbone, "convs.2", "everything flows through", True),
    "numpy within": (Numpy, "convs.2", "everything flows through", True),
    "probabilities": (Probabilities, "convs.2", "everything flows through", True),
    "a table of its own": (Table, "convs.2", "everything flows through", True),
    "channels as many as rows": (lambda: Net(channels=4), "convs.2", "everything flows through", True),
    "two channels": (lambda: Net(channels=2), "convs.2", "everything flows through", True),
}


def made(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    net = build()
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.constant_(m.bias, 0.1)  # so that no ReLU of so few channels is silent
    return net.eval()


@pytest.mark.parametrize("habit", HABITS)
def test_the_last_layer_is_tapped_whatever_the_network_does_around_it(habit):
    build, path, said, clean = HABITS[habit]
    clf = tiny.classifier(made(build))
    assert clf.point.path == path, clf.layer_reason
    assert said in clf.layer_reason and clf.point.grid.axes == "nchw" and clf.point.tail.clean is clean


@pytest.mark.parametrize("habit", HABITS)
def test_the_own_maps_replayed_give_the_own_scores_and_leave_the_network_as_found(habit):
    net = made(HABITS[habit][0])
    before = snapshot(net)
    clf, x = tiny.classifier(net), tiny.images(2)
    tap = clf.tap(x)
    with counting() as meter:
        assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-5)
    assert (meter.tail_passes == 2) is HABITS[habit][3]
    assert float(tap.grads(tap.resolve(1 if tap.logits.shape[1] > 1 else 0)).abs().max()) > 0
    assert same(before, snapshot(net))


@pytest.mark.parametrize("layer", [None, "convs.2"])
def test_gradients_reach_a_layer_under_no_grad_and_equal_those_without_it(layer):
    net, plain = made(Backbone), made(Net)
    x = tiny.images(2)
    got, expected = (saywhy.saliency(tiny.classifier(n, layer=layer), x, 1).raw for n in (net, plain))
    assert torch.equal(got, expected) and float(got.abs().max()) > 0


@pytest.mark.parametrize("own_first", [True, False])
def test_a_way_around_the_layer_that_only_these_pictures_take_is_seen_and_the_whole_network_run(own_first):
    clf, x = tiny.classifier(made(Choosy)), torch.ones(2, 3, 32, 32)
    clf = Classifier(clf.net, preprocess=saywhy.Preprocess(size=(32, 32), mean=(0,) * 3, std=(1,) * 3))
    tap = clf.tap(x)
    halved = tap.maps() / 2
    with counting() as meter:
        if own_first:
            assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-5)
        got = tap.replay(halved)
    assert meter.forward_passes >= 2
    with torch.no_grad():
        expected = clf.net.head(halved.relu().mean(dim=(2, 3))) + 5
    assert torch.allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("broken", ["NaN", "negative after ReLU", "changed"])
def test_hooks_of_the_user_that_check_or_change_what_passes_are_stood(broken):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(net, nn.Linear(8 * 64, 6)).eval()

    def check(module: nn.Module, _: object, output: Tensor) -> Tensor | None:
        if torch.isnan(output).any() or (isinstance(module, nn.ReLU) and bool((output < 0).any())):
            raise FloatingPointError(broken)
        return output * 2 if broken == "changed" else None

    for module in net.modules():
        module.register_forward_hook(check)
    clf = tiny.classifier(net)
    assert clf.point.path == "0.3" and clf.point.tail.clean
    tap = clf.tap(tiny.images(2))
    assert torch.allclose(
        tap.replay(tap.maps()[[1, 0, 1]], rows=torch.tensor([1, 0, 1])), tap.logits[[1, 0, 1]], atol=1e-5
    )


# --------------------------------------------------------------------------------------------------
# Layouts.


class Laid(nn.Module):
    """Puts the map of a convolution (N, K, h, w) into some layout, for which `back` gives (N, K) features."""

    def __init__(
        self, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], kernel: tuple[int, int], K: int
    ):
        super().__init__()
        self.conv, self.laid, self.head = nn.Conv2d(3, K, kernel, kernel), nn.Identity(), nn.Linear(K, tiny.CLASSES)
        self.there, self.back = there, back

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.back(self.laid(self.there(self.conv(x)))))


def around(x: Tensor, before: int, after: int) -> Tensor:
    """Tokens (N, T, K) of maps, with others around them that hold the mean."""
    tokens = x.flatten(2).transpose(1, 2)
    mean = tokens.mean(dim=1, keepdim=True)
    return torch.cat([mean.expand(-1, before, -1), tokens, mean.expand(-1, after, -1)], dim=1)


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[str, int, int]]] = {
    "channels first": (lambda x: x, lambda y: y.mean((2, 3)), ("nchw", 0, 0)),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), lambda y: y.mean((1, 2)), ("nhwc", 0, 0)),
    "columns first": (lambda x: x.transpose(2, 3), lambda y: y.mean((2, 3)), ("ncwh", 0, 0)),
    "images last": (lambda x: x.permute(1, 2, 3, 0), lambda y: y.mean((1, 2)).T, ("chwn", 0, 0)),
    "tokens": (lambda x: around(x, 0, 0), lambda y: y.mean(1), ("ntc", 0, 0)),
    "a class token": (lambda x: around(x, 1, 0), lambda y: y.mean(1), ("ntc", 1, 0)),
    "registers after": (lambda x: around(x, 0, 4), lambda y: y.mean(1), ("ntc", 0, 4)),
    "tokens around": (lambda x: around(x, 2, 3), lambda y: y.mean(1), ("ntc", 2, 3)),
    "tokens first": (lambda x: around(x, 1, 0).transpose(0, 1), lambda y: y.mean(0), ("tnc", 1, 0)),
    "tokens last": (lambda x: x.flatten(2), lambda y: y.mean(2), ("nct", 0, 0)),
}
SHAPES = {(8, 8): (4, 4), (4, 4): (8, 8), (4, 8): (8, 4), (16, 2): (2, 16), (2, 2): (16, 16)}


@pytest.mark.parametrize("channels", [3, 8, 16, 13])
@pytest.mark.parametrize("kernel", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_seen_whatever_the_sizes_are(layout, kernel, channels):
    there, back, expected = LAYOUTS[layout]
    torch.manual_seed(0)
    net = Laid(there, back, kernel, channels).eval()
    clf, x = tiny.classifier(net, layer="laid"), tiny.images(2)
    grid = clf.point.grid
    assert (grid.axes, grid.prefix, grid.suffix) == expected and clf.point.size == SHAPES[kernel]
    tap = clf.tap(x)
    assert torch.allclose(tap.maps(), net.conv(clf.inputs(x)), atol=1e-6)
    rows = torch.tensor([1, 0, 1])
    assert torch.allclose(tap.replay(tap.maps()[rows], rows=rows), tap.logits[rows], atol=1e-5)


def shuffled(x: Tensor) -> Tensor:
    return around(x, 0, 0)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))]


def windows(x: Tensor) -> Tensor:
    return x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1).reshape(-1, 16, x.shape[1])


def queries(x: Tensor, count: int) -> Tensor:
    q = torch.randn(count, x.shape[1], generator=torch.Generator().manual_seed(0)).expand(len(x), -1, -1)
    return F.scaled_dot_product_attention(q, around(x, 0, 0), around(x, 0, 0)) + q


NO_GRIDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    **{f"{n} queries": (lambda x, n=n: queries(x, n), "no grid over the image") for n in (4, 16, 20, 64, 100)},
    "shuffled tokens": (shuffled, "no grid over the image"),
    "rows alone": (lambda x: x.mean(3).transpose(1, 2), "no grid over the image"),
    "pooled": (lambda x: x.mean((2, 3), keepdim=True), "no grid over the image"),
    "every third token": (lambda x: around(x, 0, 0)[:, :63:3], "no grid over the image"),
    "windows": (windows, "4 outputs for each image"),
    "one for the batch": (lambda x: x.mean(0, keepdim=True), "not one output for each image"),
}


@pytest.mark.parametrize("form", NO_GRIDS)
def test_what_is_no_grid_is_refused_by_name_and_passed_over_by_the_search(form):
    there, said = NO_GRIDS[form]
    torch.manual_seed(0)
    net = Laid(there, lambda y: y, (4, 4), 8).eval()
    net.register_forward_pre_hook(lambda m, x: setattr(net, "rows", len(x[0])))
    net.back = lambda y: y.reshape(-1)[:8].expand(net.rows, 8)  # of any form, something to score
    with pytest.raises(UsageError, match=said):
        _ = tiny.classifier(net, layer="laid").point


# --------------------------------------------------------------------------------------------------
# What the user says of a grid overrules the probe, and is checked.


def tokens_of(before: int, after: int) -> nn.Module:
    torch.manual_seed(0)
    return Laid(lambda x: around(x, before, after), lambda y: y.mean(1), (8, 4), 8).eval()


@pytest.mark.parametrize(
    ("said", "prefix", "suffix"),
    [
        ({"grid": (4, 8)}, 2, 1),
        ({"prefix_tokens": 2}, 2, 1),
        ({"suffix_tokens": 1}, 2, 1),
        ({"grid": (4, 8), "prefix_tokens": 3}, 3, 0),
        ({"grid": (4, 8), "suffix_tokens": 3}, 0, 3),
        ({"grid": (8, 4), "prefix_tokens": 2}, 2, 1),
        ({"grid": (5, 7), "prefix_tokens": 0, "suffix_tokens": 0}, 0, 0),
    ],
)
def test_what_is_said_of_tokens_is_taken(said, prefix, suffix):
    clf = tiny.classifier(tokens_of(2, 1), layer="laid", **said)
    assert (clf.point.grid.prefix, clf.point.grid.suffix) == (prefix, suffix)
    assert clf.point.size == said.get("grid", (4, 8))
    assert ("does not see" in clf.layer_reason) is ((prefix, clf.point.size) != (2, (4, 8)))


@pytest.mark.parametrize(
    "said",
    [
        {"grid": (6, 6)},
        {"grid": (3, 8)},
        {"grid": (5, 7), "prefix_tokens": 1},
        {"grid": (4, 8), "prefix_tokens": 2, "suffix_tokens": 2},
        {"prefix_tokens": 4},
    ],
)
def test_what_is_said_of_tokens_and_cannot_be_is_refused(said):
    with pytest.raises(UsageError, match="grid"):
        _ = tiny.classifier(tokens_of(2, 1), layer="laid", **said).point


@pytest.mark.parametrize("named", [{"layer": "convs.2"}, {}])
def test_a_grid_given_for_a_convolution_is_checked_and_scrambles_nothing(named):
    net = made(lambda: Net(channels=16))
    clf = tiny.classifier(net, grid=(4, 4), **named)
    plain = tiny.classifier(net).tap(tiny.images(2))
    assert clf.point.path == "convs.2" and torch.equal(clf.tap(tiny.images(2)).maps(), plain.maps())
    assert tiny.classifier(net, grid=(8, 8)).point.path == "convs.1"  # the last layer with such a grid
    for wrong in ({"grid": (8, 2)}, {"grid": (4, 4), "prefix_tokens": 1}):
        with pytest.raises(UsageError, match="grid"):
            _ = tiny.classifier(net, **wrong, **named).point


# --------------------------------------------------------------------------------------------------
# Nothing of the user's is changed.


class Merging(nn.Linear):
    """A layer that merges weights when it is told to evaluate, as loralib's do."""

    def train(self, mode: bool = True):
        super().train(mode)
        with torch.no_grad():
            self.weight.mul_(1.0 if mode else 2.0)
        return self


@pytest.mark.parametrize("method", ["grad-cam", "ablation-cam", "rise", "score-cam"])
def test_a_network_whose_train_does_something_is_left_as_found(method):
    net = made(Net)
    net.head = Merging(12, tiny.CLASSES)
    net.train()
    before, expected = snapshot(net), net(pictures((32, 32)) * 0)
    clf = tiny.classifier(net)
    saywhy.saliency(clf, tiny.images(2), method=method, **({"masks": 8} if method == "rise" else {}))
    assert same(before, snapshot(net)) and torch.equal(net(pictures((32, 32)) * 0), expected)


class Checkpointed(Net):
    """Runs its later layers again on the way back, with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.grad_checkpointing = True
        self.norm = nn.BatchNorm2d(12)

    def late(self, x: Tensor) -> Tensor:
        return self.norm(self.convs[2](self.convs[1](x))).relu()

    def body(self, x: Tensor) -> Tensor:
        x = self.convs[0](x).relu()
        again = self.grad_checkpointing or self.always
        return checkpoint(self.late, x, use_reentrant=False) if again else self.late(x)

    always = False


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("layer", ["convs.0", None])
def test_checkpointing_in_train_mode_moves_no_statistics_and_changes_no_map(layer, always):
    net = made(Checkpointed)
    net.grad_checkpointing, x = False, tiny.images(2)
    expected = saywhy.saliency(tiny.classifier(net, layer=layer), x, 1).raw
    net.grad_checkpointing, net.always = True, always
    net.train()
    before = snapshot(net)
    clf = tiny.classifier(net, layer=layer)
    if clf.point.path == "convs.0" or not always:
        assert torch.allclose(saywhy.saliency(clf, x, 1).raw, expected, atol=1e-6) or clf.point.path == "convs.0"
    assert same(before, snapshot(net))


def test_a_black_box_that_writes_into_its_pictures_changes_neither_them_nor_the_map():
    net = made(Net)

    def rude(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x.sub_(0.5).div_(0.25))

    def kind(x: Tensor) -> Tensor:
        return rude(x.clone())

    x = tiny.images(1)
    mine = x.clone()
    size = saywhy.Preprocess(size=(32, 32), resize=None)
    maps = [saywhy.saliency(Classifier(f, preprocess=size), mine, 0, method="rise", masks=20).raw for f in (rude, kind)]
    assert torch.equal(mine, x) and torch.equal(*maps)


def test_the_search_for_a_layer_keeps_no_output():
    net = nn.Sequential(*(nn.Conv2d(3 if i == 0 else 4, 4, 1) for i in range(40)), nn.Flatten())
    net = nn.Sequential(net, nn.Linear(4 * 32 * 32, 6)).eval()
    alive: list[weakref.ref[Tensor]] = []
    most = []

    def count(_: nn.Module, __: object, output: Tensor) -> None:
        most.append(sum(r() is not None for r in alive))
        alive.append(weakref.ref(output))

    for module in net[0][:40]:
        module.register_forward_hook(count)
    clf = tiny.classifier(net)
    assert clf.point.path == "0.39"
    assert max(most[:80]) <= 3  # in the two passes of the survey; then a few are cut at once
    assert all(t.is_meta for call in clf._layers.found.calls for t in [call.output])


def test_a_second_question_costs_no_pass():
    net = made(Net)
    clf, passes = tiny.classifier(net), []
    net.register_forward_pre_hook(lambda *_: passes.append(1))
    first = clf.point, clf.fine_point(6)
    count = len(passes)
    assert (clf.point, clf.fine_point(6)) == first and len(passes) == count > 0


# --------------------------------------------------------------------------------------------------
# Who a network is.


def fingerprint(net: nn.Module) -> str:
    return tiny.classifier(net).fingerprint


def small(act: nn.Module, heads: int = 2, **pool: int) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), act, nn.AvgPool2d(2, **pool), nn.Flatten(2), nn.Flatten())
    net.attention = nn.MultiheadAttention(8, heads)
    return net


class Functional(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act, self.seen = act, 0


@pytest.mark.parametrize(
    "others",
    [
        (
            small(nn.ReLU()),
            small(nn.GELU()),
            small(nn.GELU("tanh")),
            small(nn.LeakyReLU(0.1)),
            small(nn.LeakyReLU(0.2)),
        ),
        (small(nn.ReLU()), small(nn.ReLU(), stride=1), small(nn.ReLU(), heads=4)),
        (Functional(F.relu), Functional(F.gelu), Functional(torch.tanh)),
    ],
)
def test_what_a_network_does_with_the_same_weights_is_part_of_who_it_is(others):
    assert len({fingerprint(net) for net in others}) == len(others)


def test_a_fingerprint_is_that_of_the_weights_there_are_now_and_of_nothing_that_moves():
    net = made(Net)
    clf = tiny.classifier(net)
    first = clf.fingerprint
    clf.tap(tiny.images(1))
    net.seen = 3
    assert clf.fingerprint == first == fingerprint(made(Net)) == fingerprint(net.train())
    assert fingerprint(small(nn.ReLU())) == fingerprint(small(nn.ReLU(inplace=True)))
    net.head.weight.data.mul_(2)  # behind autograd's back
    assert clf.fingerprint != first
