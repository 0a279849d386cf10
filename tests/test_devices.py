"""A classifier on another device: same answers, nothing made on the wrong one, no picture sent there twice."""

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import saywhy
import tiny
from saywhy.classifier import GPU_BATCH, Classifier
from saywhy.collection import Item
from saywhy.errors import ModelError
from saywhy.evaluate import evaluate
from saywhy.image import Preprocess
from saywhy.intervene import play
from saywhy.lcam.fitting import RECIPES, Recipe, fit_lcam
from saywhy.lcam.heads import load
from saywhy.metrics import METRICS
from saywhy.passes import counting
from saywhy.saliency import METHODS, saliency
from saywhy.train.loop import Config
from second_device import THERE, second_device
from test_contract import PAIRS, SMALL
from test_evaluate import photos as marked_photos

CAPTUM = [m for m, row in METHODS.items() if row.needs.startswith("extra") and m not in ("deep-lift", "lrp")]
CONFIG = Config(epochs=1, batch_size=4, lr=0.02, schedule="constant")
HEADS = {
    "shared": Recipe("small", CONFIG, rank=2, thresholded=True),
    "rows": Recipe("small", CONFIG, form="rows", mode="cross"),
    "fm": Recipe("small", CONFIG, rank=2, kind="fm"),
    "refined": replace(RECIPES["refined"], config=CONFIG, then=CONFIG, crops=1, masks=8),
}


def both(model: str, **settings: object) -> tuple[Classifier, Classifier]:
    """The same classifier here and there."""
    net = tiny.build(model)
    here, there = tiny.classifier(net, **settings), tiny.classifier(copy.deepcopy(net).to("lazy"), **settings)
    assert there.device == THERE
    return here, there


def pictures(shapes: list[tuple[int, ...]]) -> int:
    """How many of the tensors that travelled were pictures."""
    return sum(int(np.prod(s[:-3])) for s in shapes if len(s) > 2 and s[-3] == 3 and min(s[-2:]) >= tiny.SIDE)


@cache
def photo(n: int = 3) -> np.ndarray:
    return np.ascontiguousarray((tiny.images(1, seed=n, side=40)[0] * 255).byte().permute(1, 2, 0).numpy())


def test_the_second_device_answers_as_cuda_does_where_devices_meet():
    with second_device():
        x = torch.rand(3, 4).to("lazy")
        for mixed in (lambda: x + torch.rand(3, 4), lambda: torch.rand(4)[torch.arange(2).to("lazy")], x.numpy):
            with pytest.raises(RuntimeError, match=r"same device|not supported"):
                mixed()
        x[0] = 1.0
        assert float((x * torch.tensor(2.0))[torch.arange(1)].sum()) == 8


@pytest.mark.parametrize(
    ("method", "model"), [*[p for p in PAIRS if p[1] in ("cnn", "vit")], *((m, "cnn") for m in CAPTUM)]
)
def test_every_method_gives_the_same_map_there_and_sends_each_picture_once(method, model):
    if method in CAPTUM:
        pytest.importorskip("captum")
    with second_device() as travels:
        here, there = both(model)
        assert there.point.path == here.point.path and there.class_names == here.class_names
        travels.there.clear()
        asked = {"targets": [1, 2], "method": method, **SMALL.get(method, {})}
        x = tiny.images(2)
        found, expected = saliency(there, x, **asked).raw, saliency(here, x, **asked).raw
        assert pictures(travels.there) == len(x)
        assert found.device.type == "cpu"  # where the images are
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max() + 1))
        assert saliency(there, x.to("lazy"), **asked).raw.device == torch.device(THERE)


@pytest.mark.parametrize("model", ["cnn", "vit"])
def test_an_explanation_is_the_same_there_and_masks_are_laid_on_there(model):
    with second_device() as travels:
        here, there = both(model)
        there.point, there.fine_point(), there.class_names
        travels.there.clear()
        with counting() as meter:
            found = saywhy.explain(there, photo())
        assert found.text == saywhy.explain(here, photo()).text
        sent = pictures(travels.there)
        assert sent <= 8 < meter.forward_passes / 4  # the photo, three blanks, four other backgrounds


def test_the_game_is_played_there_and_read_here():
    regions = torch.zeros(2, tiny.SIDE, tiny.SIDE, dtype=torch.bool)
    regions[0, :8], regions[1, 8:20] = True, True
    with second_device():
        here, there = both("cnn")
        expected = play(here, tiny.images(1)[0], regions).values(1).numpy()
        for image in (tiny.images(1)[0], tiny.images(1)[0].to("lazy")):
            assert np.allclose(play(there, image, regions).values(1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_heads_are_fitted_saved_and_asked_there(kind, tmp_path):
    items = []
    for n in range(8):
        items.append(Item(tmp_path / f"{n}.png"))
        Image.fromarray(photo(n)).save(items[-1].path)
    with second_device():
        here, there = both("cnn")
        fitted, expected = (fit_lcam(clf, items, HEADS[kind]).lcam for clf in (there, here))
        for name, value in expected.head.state_dict().items():
            assert torch.allclose(fitted.head.state_dict()[name].cpu(), value, rtol=1e-3, atol=1e-4), name
        read = load(fitted.save(tmp_path / "head.safetensors"), there)
        maps = [saliency(there, photo(), method="l-cam", head=head).raw for head in (fitted, read)]
        assert torch.equal(*maps)


def test_metrics_have_the_same_values_there_and_pictures_are_masked_there(tmp_path):
    items = marked_photos(tmp_path, count=2)
    net = tiny.build("cnn")
    seen = Preprocess((tiny.SIDE, tiny.SIDE), 40)
    with second_device() as travels:
        here = Classifier(net, classes=["red", *"abcde"], preprocess=seen)
        there = Classifier(copy.deepcopy(net).to("lazy"), classes=["red", *"abcde"], preprocess=seen)
        there.point, there.class_names  # noqa: B018
        travels.there.clear()
        asked = {"methods": ["grad-cam"], "metrics": list(METRICS), "controls": ["random"]}
        found = evaluate(there, items, **asked)
        assert pictures(travels.there) <= 11  # each once; those of the layer searches on random weights
        for a, b in zip(found.rows, evaluate(here, items, **asked).rows, strict=True):
            assert a.cells.keys() == b.cells.keys() == set(METRICS)
            for metric, cell in a.cells.items():
                values = torch.tensor(cell.values), torch.tensor(b.cells[metric].values)
                assert torch.allclose(*values, rtol=1e-3, atol=1e-3, equal_nan=True), metric


def test_scores_lie_where_the_images_lie_and_batches_are_larger_on_a_gpu():
    with second_device():
        here, there = both("cnn")
        x = tiny.images(3)
        assert there.logits(x).device.type == "cpu" and there.logits(x.to("lazy")).device == torch.device(THERE)
        assert torch.allclose(there.logits(x), here.logits(x), atol=1e-5)
        assert there.probe_batch(x) in (4, 8, 16, 32, 64, 128, 256)
        large = replace(there, preprocess=Preprocess((1024, 1024)))
        assert 1 <= large.rows < there.rows == GPU_BATCH


class Looking(tiny.Cnn):
    """Remembers in which format torch would convolve on a GPU whenever it is asked."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(precision())
        return super().forward(x)


def precision():
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision if hasattr(cudnn, "conv") else cudnn.allow_tf32


def test_layers_are_looked_for_in_full_float32_and_torch_is_left_as_it_was_set():
    before, net = precision(), Looking().eval()
    clf = tiny.classifier(net)
    assert clf.point is not None and set(net.seen) == {"ieee" if hasattr(torch.backends.cudnn, "conv") else False}
    net.seen.clear()
    clf.logits(tiny.images(1))
    assert net.seen == [before] and precision() == before
    with pytest.raises(ModelError):
        tiny.classifier(nn.Sequential(nn.Flatten(), nn.Linear(1, 1))).point  # noqa: B018
    assert precision() == before
