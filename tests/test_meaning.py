"""What scores mean, for every kind of model with every last operator; and models that do not repeat themselves."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import test_black_box
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.zoo import load_classifier
from test_black_box import decoded, say, served

SIZE = 16
serve = test_black_box.serve  # a fixture


class Plain(nn.Module):
    """Logits that differ between images by several units."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(classes)
            self.conv, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, classes)
            nn.init.normal_(self.head.weight, std=6.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


class Ends(nn.Module):
    """Logits with an operator on top."""

    def __init__(self, last: Callable[[Tensor], Tensor], classes: int) -> None:
        super().__init__()
        self.body, self.last = Plain(classes), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


# The operator, and what the probabilities of logits z are: read rightly, or refused.
Right = Callable[[Tensor], Tensor]
OPERATORS: dict[str, tuple[Callable[[Tensor], Tensor], Right | None]] = {
    "none": (lambda z: z, lambda z: z.softmax(1) if z.shape[1] > 1 else z.sigmoid()),
    "identity": (nn.Identity(), lambda z: z.softmax(1) if z.shape[1] > 1 else z.sigmoid()),
    "softmax": (nn.Softmax(1), lambda z: z.softmax(1)),
    "softmax, a function": (lambda z: F.softmax(z, 1), lambda z: z.softmax(1)),
    "softmax by hand": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), lambda z: z.softmax(1)),
    "log-softmax": (nn.LogSoftmax(1), lambda z: z.softmax(1)),
    "sigmoid": (nn.Sigmoid(), lambda z: z.sigmoid()),
    "sigmoid, a function": (torch.sigmoid, lambda z: z.sigmoid()),
    "sigmoid by hand": (lambda z: 1 / (1 + (-z).exp()), lambda z: z.sigmoid()),
    "sigmoid, reshaped": (lambda z: z.sigmoid()[:, :, None].squeeze(2), lambda z: z.sigmoid()),
    "hard sigmoid": (nn.Hardsigmoid(), F.hardsigmoid),
    "two models' sigmoids": (
        lambda z: (z.sigmoid() + (z / 2).sigmoid()) / 2,
        lambda z: (z.sigmoid() + (z / 2).sigmoid()) / 2,
    ),
    "two models' softmax": (
        lambda z: torch.stack([z.softmax(1), (z / 2).softmax(1)]).mean(0),
        lambda z: (z.softmax(1) + (z / 2).softmax(1)) / 2,
    ),
    "tanh": (nn.Tanh(), None),
    "log-sigmoid": (nn.LogSigmoid(), None),
    "ten times sigmoid": (lambda z: 10 * z.sigmoid(), None),
}
# Softmax over one score is always 1; without its graph a tanh or ten times a sigmoid cannot be told from logits.
ONE_ONLY = ("softmax", "softmax, a function", "softmax by hand", "log-softmax", "two models' softmax")
HIDDEN = ("tanh", "log-sigmoid", "ten times sigmoid")
KINDS = ("module", "compiled away", "callable", "factory-like dict")


def model(kind: str, last: Callable[[Tensor], Tensor], classes: int) -> nn.Module | Callable[[Tensor], object]:
    net = Ends(last, classes).eval()
    if kind == "module":
        return net
    if kind == "compiled away":  # a module whose graph is not seen
        net.forward = torch.no_grad()(net.forward)  # type: ignore[method-assign]
        return net
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def scores(x: Tensor) -> object:
        with torch.no_grad():
            found = net((x - mean) / std)
        return found.numpy() if kind == "callable" else {"logits": found}

    return scores


CASES = [
    (operator, kind, classes)
    for operator, kind, classes in itertools.product(OPERATORS, KINDS, (1, 2, 5))
    if not (classes == 1 and operator in ONE_ONLY) and not (kind != "module" and operator in HIDDEN)
]


@pytest.mark.parametrize(("operator", "kind", "classes"), CASES)
def test_probabilities_are_the_models_own_or_the_option_is_named(operator: str, kind: str, classes: int) -> None:
    last, right = OPERATORS[operator]
    net = model(kind, last, classes)
    if right is None:
        with pytest.raises(UsageError, match="activation"):
            load_classifier(net, size=SIZE)
        return
    clf = load_classifier(net, size=SIZE)
    x = torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        z = Plain(classes)(Classifier(Plain(classes)).inputs(x))
    assert torch.allclose(clf.probabilities(x), right(z), atol=1e-5), clf.notes
    assert any("score" in note for note in clf.notes)


@pytest.mark.parametrize("decimals", [None, 3])
@pytest.mark.parametrize(("operator", "classes"), sorted({(o, c) for o, _, c in CASES if o not in HIDDEN}))
def test_a_servers_scores_are_read_as_the_same_networks_are(
    operator: str, classes: int, decimals: int | None, serve
) -> None:
    last, right = OPERATORS[operator]
    net = Ends(last, classes).eval()

    def scores(handler, body: bytes) -> None:
        with torch.no_grad():
            found = net(decoded(body)).tolist()
        rows = found if decimals is None else [[round(v, decimals) for v in row] for row in found]
        say(handler, {"scores": rows})

    clf = load_classifier(serve(served(answer=scores)), size=SIZE)
    x = (torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 255).round() / 255
    with torch.no_grad():
        z = Plain(classes)(x)
    assert torch.allclose(clf.probabilities(x), right(z), atol=1e-5 if decimals is None else 2e-3), clf.notes
    assert any("score" in note for note in clf.notes)


def test_two_names_for_a_probability_are_two_classes() -> None:
    clf = load_classifier(Ends(nn.Sigmoid(), 1), size=SIZE, classes=["healthy", "ill"])
    x = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        ill = clf.net(clf.inputs(x))[:, 0]
    assert torch.allclose(clf.probabilities(x), torch.stack([1 - ill, ill], 1), atol=1e-6)


class Several(nn.Module):
    """Features and scores under names that say nothing, in a dict."""

    def __init__(self, last: Callable[[Tensor], Tensor], classes: int) -> None:
        super().__init__()
        self.net = Ends(last, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"first": self.net.body.conv(x).mean((2, 3)), "second": self.net(x)}


@pytest.mark.parametrize(("operator", "classes", "names"), [
    ("none", 1, 2), ("sigmoid", 1, 2), ("none", 1, 1), ("sigmoid", 5, 5), ("softmax", 5, 5), ("none", 5, 5),
])  # fmt: skip
def test_scores_among_several_outputs_are_read_as_alone(operator: str, classes: int, names: int) -> None:
    last, right = OPERATORS[operator]
    assert right is not None
    said = [f"name {i}" for i in range(names)]
    alone = load_classifier(Ends(last, classes).eval(), size=SIZE, classes=said)
    among = load_classifier(Several(last, classes).eval(), size=SIZE, classes=said, scores_from="second")
    x = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = right(Plain(classes)(Classifier(Plain(classes)).inputs(x)))
    if names == 2:
        expected = torch.cat([1 - expected, expected], dim=1)
    for clf in (alone, among):
        assert torch.allclose(clf.probabilities(x), expected, atol=1e-5), clf.notes
        assert len(clf.class_names) == names
    assert alone.notes == among.notes and alone.activation == among.activation


@pytest.mark.parametrize("build", [lambda c: Ends(nn.Identity(), c), lambda c: Several(nn.Sigmoid(), c)])
@pytest.mark.parametrize(("classes", "names"), [(5, 4), (5, 2), (1, 3), (2, 1)])
def test_a_wrong_number_of_names_is_refused_when_the_model_is_loaded(
    build: Callable[[int], nn.Module], classes: int, names: int
) -> None:
    given = {"scores_from": "second"} if isinstance(build(1), Several) else {}
    with pytest.raises(UsageError, match=f"{names} class names for a model with {classes} score"):
        load_classifier(build(classes).eval(), size=SIZE, classes=[str(i) for i in range(names)], **given)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_what_would_be_applied_twice_is_refused(activation: str) -> None:
    with pytest.raises(UsageError, match="apply it twice"):
        load_classifier(Ends(nn.Sigmoid(), 4), size=SIZE, activation=activation)
    with pytest.raises(UsageError, match="says that scores are probabilities"):
        load_classifier(Plain(4), size=SIZE, activation="none")
    assert "as said" in load_classifier(Plain(4), size=SIZE, activation=activation).notes[-1]


def test_scores_in_per_cent_are_refused() -> None:
    with pytest.raises(UsageError, match="per cent"):
        load_classifier(model("callable", lambda z: 100 * z.softmax(1), 3), size=SIZE)


@pytest.mark.parametrize("operator", ["none", "softmax", "sigmoid", "log-softmax"])
def test_the_last_operator_of_an_onnx_file_counts(tmp_path: Path, operator: str) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["z"]),
    ]
    kind = {"softmax": "Softmax", "sigmoid": "Sigmoid", "log-softmax": "LogSoftmax"}.get(operator)
    nodes += [helper.make_node(kind, ["z"], ["y"])] if kind else [helper.make_node("Identity", ["z"], ["y"])]
    weights = np.random.default_rng(0).normal(0, 2, (3, 4)).astype(np.float32)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", types.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", types.FLOAT, ["N", 4])], [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    clf = load_classifier(f"onnx:{tmp_path / 'm.onnx'}")
    x = torch.rand(3, 3, SIZE, SIZE)
    mean, std = (torch.tensor(v)[:, None, None] for v in (clf.preprocess.mean, clf.preprocess.std))
    z = ((x - mean) / std).mean((2, 3)) @ torch.from_numpy(weights)
    right = z.sigmoid() if operator == "sigmoid" else z.softmax(1)
    assert torch.allclose(clf.probabilities(x), right, atol=1e-4), clf.notes


# -- models that do not repeat themselves ------------------------------------------------------------


class DropsOut(nn.Module):
    """Dropout that stays on."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Plain(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.body(x), 0.5, training=True)


def draws_torch(x: Tensor) -> Tensor:
    return torch.randn(len(x), 3)


def draws_numpy(x: Tensor) -> np.ndarray:
    return np.random.normal(size=(len(x), 3)).astype(np.float32)


def draws_python(x: Tensor) -> list[list[float]]:
    return [[random.random() for _ in range(3)] for _ in x]


UNSTEADY = {"dropout": DropsOut(), "torch": draws_torch, "numpy": draws_numpy, "python": draws_python}


@pytest.mark.parametrize("name", UNSTEADY)
def test_a_model_that_does_not_repeat_itself_is_refused_or_averaged_on_request(name: str) -> None:
    with pytest.raises(UsageError, match=r"does not repeat itself.*average=N"):
        load_classifier(UNSTEADY[name], size=SIZE)
    x = torch.rand(3, 3, SIZE, SIZE)
    clf = load_classifier(UNSTEADY[name], size=SIZE, average=5)
    first = clf.probabilities(x)
    torch.rand(7), np.random.rand(7), random.random()
    assert torch.equal(clf.probabilities(x), first)
    assert torch.equal(clf.probabilities(x[2:]), first[2:]), "no image hangs on its neighbours"
    assert any("mean of 5 answers" in note for note in clf.notes)
    assert not clf.white_box


def test_averaging_leaves_the_random_numbers_as_found() -> None:
    clf = load_classifier(draws_numpy, size=SIZE, average=3)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    clf.probabilities(torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all() and states[2] == random.getstate()


def normalised_over_the_batch(x: Tensor) -> Tensor:
    z = x.mean((2, 3)) * 5
    return (z - z.mean(0)) / (z.std(0, unbiased=False) + 1e-6)


@pytest.mark.parametrize("scores", [normalised_over_the_batch, lambda x: (x.mean((2, 3)) * 5).softmax(0)])
def test_an_answer_that_depends_on_the_other_images_is_refused(scores: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UsageError, match="beside others"):
        load_classifier(scores, size=SIZE)


def test_a_network_in_train_mode_is_asked_in_eval_mode_and_repeats_itself() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    assert load_classifier(net.train(), size=SIZE).activation == "softmax"
    assert net.training
