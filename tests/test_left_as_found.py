"""The user's random numbers, and who a classifier is: networks that draw, and everything a fingerprint must tell."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import saywhy
import tiny
from saywhy.classifier import Classifier
from saywhy.image import Preprocess
from saywhy.lcam import heads as lcam
from test_explainer import PLAIN, patches


class Drawing(nn.Module):
    """A network that draws random numbers each time it is asked: a dropout that is never off, and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny.build("cnn")

    def forward(self, x: Tensor) -> Tensor:
        z = F.dropout(self.net(x + 0.01 * torch.rand_like(x)), 0.1, training=True)
        return z + 0.01 * torch.randn(z.shape, device=z.device)


def clf() -> Classifier:
    # Named: a layer is found by its answers, which must not differ from one pass to the next.
    return tiny.classifier(Drawing(), layer="net.relu")


ATTENDING = tiny.classifier(tiny.build("vit"))
TAP = tiny.classifier(tiny.build("cnn")).tap(tiny.images(3))


CALLS: dict[str, Callable[[Classifier], object]] = {
    "class_names": lambda c: c.class_names,
    "logits": lambda c: c.logits(tiny.images(3)),
    "probabilities": lambda c: c.probabilities(tiny.images(3)),
    "point": lambda c: c.point,
    "fine_point": lambda c: c.fine_point(),
    "tap": lambda c: c.tap(tiny.images(2)).maps(),
    "explain": lambda c: saywhy.explain(c, patches(), regions=2),
    "explain by attention": lambda c: saywhy.explain(ATTENDING, patches(), regions=2),
    "rise": lambda c: saywhy.saliency(c, tiny.images(2), method="rise", masks=8),
    **{
        name: lambda c, name=name: saywhy.saliency(c, tiny.images(2), method=name)
        for name in ("grad-cam", "hires-cam", "ablation-cam", "score-cam", "occlusion")
    },
    "a refined head": lambda c: lcam.start(TAP, "refined"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_network_that_draws_leaves_the_users_random_numbers_as_found(call: str) -> None:
    asked = clf()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    CALLS[call](asked)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # type: ignore[index]
    assert before[2] == random.getstate()


def test_the_network_of_this_file_does_draw() -> None:
    net = Drawing()
    state = torch.random.get_rng_state()
    net(tiny.images(1))
    assert not torch.equal(state, torch.random.get_rng_state())


def test_heads_start_alike_whatever_the_user_drew_before() -> None:
    torch.manual_seed(1)
    one = lcam.start(TAP, "refined").head.state_dict()
    torch.manual_seed(2)
    other = lcam.start(TAP, "refined").head.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


# --------------------------------------------------------------------------------------------------
# Fingerprints.


def fingerprint(net: nn.Module | None = None, **given: object) -> str:
    return Classifier(net or tiny.build("cnn"), **{"preprocess": PLAIN, **given}).fingerprint  # type: ignore[arg-type]


def test_equal_classifiers_have_equal_fingerprints_and_names_and_speed_do_not_count() -> None:
    assert fingerprint() == fingerprint(name="another", batch_size=3, classes=tuple("abcdef"))


@pytest.mark.parametrize(
    "other",
    [
        {"activation": "sigmoid"},
        {"activation": "none"},
        {"preprocess": Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))},
        {"preprocess": Preprocess(size=(64, 64), resize=None, mean=(0, 0, 0.1), std=(1, 1, 1))},
        {"preprocess": Preprocess(size=(64, 64), resize=None, mean=(0, 0, 0), std=(1, 1, 2))},
        {"net": tiny.build("cnn", seed=1)},
        {"net": tiny.build("dense")},
    ],
)
def test_another_activation_preprocessing_or_weight_is_another_classifier(other: dict[str, object]) -> None:
    assert fingerprint(**other) != fingerprint()  # type: ignore[arg-type]


def test_one_weight_and_one_running_mean_are_enough_to_tell_two_classifiers_apart() -> None:
    for key in ("conv2.weight", "head.bias", "norm.running_mean"):
        net = tiny.build("cnn")
        with torch.no_grad():
            net.state_dict()[key].view(-1)[0] += 1e-3
        assert fingerprint(net) != fingerprint()


def test_activations_of_a_black_box_count_too() -> None:
    def scores(x: Tensor) -> Tensor:
        return x.mean((2, 3))

    one, other = (Classifier(scores, activation=a, preprocess=PLAIN).fingerprint for a in ("softmax", "none"))  # type: ignore[arg-type]
    assert one != other


def test_nothing_is_written_beside_the_photo(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(patches().pixels).save(tmp_path / "photo.png")
    saywhy.explain(clf(), tmp_path / "photo.png", regions=1)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]
