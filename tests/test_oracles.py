"""Every row of METHODS and METRICS against its oracle: the paper again, slow and plain, by another hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import metric_oracles
import oracles
import tiny
from saywhy.intervene import content_seed
from saywhy.lcam.heads import LCam, Rows
from saywhy.metrics import METRICS, Case, values_of
from saywhy.saliency import METHODS, saliency
from test_metrics import CLASSES, COUNT, NET, cam, offered, probabilities

CLASS = 2


@pytest.mark.parametrize(
    ("table", "known"), [(METHODS, oracles.ORACLES), (METRICS, metric_oracles.ORACLES)], ids=["saliency", "metrics"]
)
def test_every_row_names_its_oracle_and_every_oracle_its_row(table, known):
    assert [name for name in table if name not in known] == [], "without an oracle"
    assert [name for name in known if name not in table] == [], "of no row"


# --------------------------------------------------------------------------------------------------
# Saliency.


class Plain(nn.Module):
    """A network that all of captum's methods can explain: a module of its own for every activation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(8 * 64, tiny.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


def plain() -> nn.Module:
    torch.manual_seed(4)
    return Plain().eval()


def wide() -> nn.Module:
    """Forty channels of which many are active in the same places: a group is a tenth of them, or eight."""
    torch.manual_seed(3)
    return tiny.lively(tiny.Cnn(40)).eval()


def written_vit() -> nn.Module:
    torch.manual_seed(2)
    return tiny.lively(tiny.Vit(2, "token", "written")).eval()


NETS = {"cnn": lambda: tiny.build("cnn", seed=3), "wide": wide, "vit": written_vit, "plain": plain}


def cut(model: str, net: nn.Module, image: Tensor, **given: object) -> oracles.Photo:
    """The photo and the network's two halves, cut by hand behind its last maps (none where no oracle asks)."""
    if model not in ("cnn", "wide"):
        return oracles.Photo(net, image, CLASS, net, net, image[0], image[0], given)

    def head(y: Tensor) -> Tensor:
        return net.features(y).detach()

    def tail(A: Tensor) -> Tensor:
        return net.head(A.mean(dim=(2, 3)))

    A, G = oracles.maps_and_gradients(head, tail, oracles.normal(image), CLASS)
    return oracles.Photo(net, image, CLASS, head, tail, A, G, given)


@pytest.mark.parametrize("method", METHODS)
def test_a_saliency_method_equals_its_paper(method):
    oracle = oracles.ORACLES[method]
    if METHODS[method].needs == "extra:captum":
        pytest.importorskip("captum")
    net = NETS[oracle.model]()
    clf, x, options = tiny.classifier(copy.deepcopy(net)), tiny.images(2), dict(oracle.options)
    given: dict[str, object] = {}
    if METHODS[method].needs == "head":
        g = torch.Generator().manual_seed(5)
        head = Rows(torch.randn(tiny.CLASSES, 8, generator=g))
        head.bias.data = torch.randn(tiny.CLASSES, generator=g)
        options["head"] = LCam(head.eval(), "rows", (clf.point.path,), clf.fingerprint, {})
        given = {"weight": head.weight.detach(), "bias": head.bias.detach()}
    got = saliency(clf, x, CLASS, method=method, **options).raw
    for i in range(len(x)):
        photo = cut(oracle.model, net, x[i : i + 1], seed=content_seed(x[i], int(options.get("seed", 0))), **given)
        expected = oracle.function(photo).detach().float()
        assert got[i].shape == expected.shape
        if oracle.correlation is None:
            scale = float(expected.abs().max())
            assert scale > 0
            assert torch.allclose(got[i], expected, rtol=oracle.tolerance, atol=oracle.tolerance * scale)
        else:
            assert METHODS[method].approximate
            assert not torch.allclose(got[i], expected, rtol=1e-4), "as exact as this, it needs no bound"
            assert spearmanr(got[i].flatten(), expected.flatten()).statistic >= oracle.correlation


def test_only_approximate_methods_have_a_bound_in_the_place_of_equality():
    for name, row in METHODS.items():
        assert (oracles.ORACLES[name].correlation is not None) == row.approximate, name


# --------------------------------------------------------------------------------------------------
# Metrics.


def half_marked() -> dict[str, object]:
    """Inputs of six samples; every other map is high on its mask and at its keypoint: hits and misses."""
    inputs = offered()
    maps, masks = inputs["maps"], inputs["masks"]
    assert isinstance(maps, Tensor) and isinstance(masks, Tensor)
    marked = torch.arange(COUNT) % 2 == 0
    raised = torch.where(marked[:, None, None], (maps + masks.float()) / 2, maps)
    highest = raised.flatten(1).argmax(dim=1)
    spot = torch.stack([highest % raised.shape[2] + 0.8, highest // raised.shape[2] + 0.4], dim=1)
    points = torch.where(marked[:, None], spot.float(), inputs["keypoints"])
    return {**inputs, "maps": raised, "keypoints": points}


def sample(inputs: dict[str, object], i: int) -> metric_oracles.Sample:
    image, target = inputs["images"][i], int(inputs["targets"][i])

    def explain(picture: np.ndarray, c: int) -> np.ndarray:
        return cam(NET, torch.from_numpy(picture)[None].float(), torch.tensor([c]))[0].double().numpy()

    def score(picture: np.ndarray) -> float:
        with torch.no_grad():
            return float(probabilities(torch.from_numpy(picture)[None].float())[0, target].double())

    def explain_with(net: nn.Module) -> np.ndarray:
        return cam(net, image[None], torch.tensor([target]))[0].double().numpy()

    x, y = inputs["keypoints"][i].tolist()
    return metric_oracles.Sample(
        image.double().numpy(), inputs["maps"][i].double().numpy(), score, inputs["masks"][i].numpy(), (x, y),
        float(inputs["sizes"][i]), target, CLASSES, explain, explain_with, NET,
    )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_equals_its_paper(metric):
    oracle, inputs = metric_oracles.ORACLES[metric], half_marked()
    got = values_of([metric], Case(inputs))[metric].tolist()
    for i, value in enumerate(got):
        assert value == pytest.approx(oracle.function(sample(inputs, i)), abs=oracle.tolerance), i
    assert len(set(got)) > 1, "samples that all have one value tell no formula from another"
