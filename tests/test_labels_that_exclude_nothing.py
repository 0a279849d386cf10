"""Multi-label and one-logit models: a label is present or absent whatever the others are, and no label is a rival."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saywhy
from records import record
from saywhy.classifier import Classifier
from saywhy.explanation import ClassScore
from saywhy.image import Preprocess
from saywhy.language import labelled, parse, write
from saywhy.render import RENDERERS, wording

SIDE = 64
SPOTS = {"fish": (slice(8, 28), slice(8, 28)), "shark": (slice(36, 56), slice(36, 56))}


class Spots(nn.Module):
    """A label for each corner: how red the first one is, how green the second; `high` is its logit at full colour."""

    def __init__(self, high: tuple[float, ...]) -> None:
        super().__init__()
        self.high = high
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5]])[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x).relu()
        own = [seen[:, i][:, rows, columns].mean((1, 2)) for i, (rows, columns) in enumerate(SPOTS.values())]
        return torch.stack([2 * h * v - h for h, v in zip(self.high, own, strict=False)], dim=1)


def photo() -> np.ndarray:
    pixels = np.full((SIDE, SIDE, 3), 110, dtype=np.uint8)
    for channel, (rows, columns) in enumerate(SPOTS.values()):
        pixels[rows, columns] = 10
        pixels[rows, columns, channel] = 250
    return pixels


def model(*high: float, names: tuple[str, ...] = ("fish", "shark")) -> Classifier:
    how = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(Spots(high).eval(), classes=names[: max(len(high), len(names) - 2)], preprocess=how,
                      activation="sigmoid", name="spots")  # fmt: skip


def test_two_labels_that_are_both_there_are_present_and_no_rivals() -> None:
    clf = model(3.0, 3.0)
    assert not clf.exclusive
    for name in SPOTS:
        e = saywhy.explain(clf, photo(), name)
        assert e.target.class_name == name and e.target.probability > 0.85 and e.versus is None
        assert e.statements[0].text.startswith(f"The model says: {name} is present (9")
        assert {s.kind for s in e.statements}.isdisjoint({"prediction", "asked", "flip", "no_longer", "contrast"})
        other = next(n for n in SPOTS if n != name)
        assert other not in e.text and not e.prediction.exclusive
        assert f"Without region {e.concepts[0].id}, {name} would be absent." in e.text
        told = RENDERERS["text"].function(e).decode()
        assert f"{name} {wording.percent(e.target.probability)}, present".replace("\u00a0", " ") in told
        assert "ahead of" not in told


@pytest.mark.parametrize(("high", "says"), [(3.0, "is present ("), (0.1, "is present, next to the threshold of 50 % ("),
                                            (-0.1, "is absent, next to the threshold of 50 % ("),
                                            (-3.0, "is absent (")])  # fmt: skip
def test_one_logit_is_present_absent_or_next_to_the_threshold(high: float, says: str) -> None:
    clf = model(high, names=("fish",))
    e = saywhy.explain(clf, photo(), fast=True)
    assert says in e.statements[0].text and e.versus is None
    assert not any(s.kind in ("flip", "no_longer", "default") for s in e.statements)
    absent = "absent_without" in {s.kind for s in e.statements}
    assert absent <= (e.target.probability >= 0.5)


def test_one_logit_with_two_names_is_two_classes_that_exclude_each_other() -> None:
    clf = replace(model(3.0, names=("fish",)), classes=("no fish", "fish"), _points={})
    assert clf.exclusive
    e = saywhy.explain(clf, photo(), fast=True)
    assert e.statements[0].kind == "prediction" and e.versus is not None and e.prediction.exclusive


@pytest.mark.parametrize(("activation", "last", "exclusive"), [
    ("softmax", nn.Identity(), True), ("sigmoid", nn.Identity(), False),
    ("none", nn.Softmax(1), True), ("none", nn.Sigmoid(), False),
])  # fmt: skip
def test_whether_classes_exclude_each_other_is_seen_of_every_kind_of_scores(
    activation: str, last: nn.Module, exclusive: bool
) -> None:
    clf = replace(model(3.0, 2.0), net=nn.Sequential(Spots((3.0, 2.0)), last).eval(), activation=activation, _points={})
    assert clf.exclusive is exclusive


@pytest.mark.parametrize("p", [0.0, 0.05, 0.449, 0.451, 0.499, 0.5, 0.549, 0.551, 0.88, 1.0])
@pytest.mark.parametrize("versus", [None, 0.3])
def test_what_is_said_of_a_label_reads_back(p: float, versus: float | None) -> None:
    rival = None if versus is None else ClassScore(class_index=1, class_name="shark", probability=versus)
    found = labelled(ClassScore(class_index=0, class_name="fish", probability=p), rival)
    texts = [write(f.claim) for f in found]
    assert [parse(t) for t in texts] == [f.claim for f in found] and len(texts) == (1 if versus is None else 2)
    assert ("present" in texts[0]) is (p >= 0.5) and ("absent" in texts[0]) is (p < 0.5)
    assert ("next to the threshold" in texts[0]) is (0.45 < p < 0.55)


def test_the_page_advises_other_labels_and_no_race() -> None:
    e = record(regions=1).asked_by({})
    labels = e.model_copy(update={"prediction": e.prediction.model_copy(update={"exclusive": False}), "versus": None})
    steps = dict(wording.next_steps(labels))
    assert "saywhy explain photos/chelsea.png --target 'Egyptian cat'" in steps.values()
    assert not any("--versus" in step or "race" in told for told, step in steps.items())
