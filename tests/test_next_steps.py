"""What the page advises to do next is what a reader can copy, run, and have another answer of the same model by."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import saywhy
from records import record
from saywhy.cli import app
from saywhy.cli.explain import WRITTEN
from saywhy.cli.options import MODEL_OPTIONS, as_said
from saywhy.render import wording

COMMAND = typer.main.get_command(app).commands["explain"]  # type: ignore[attr-defined]
OPTIONS = {p.name: p for p in COMMAND.params if p.param_type_name == "option" and p.name != "help"}
FACTORY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 5, 1, bias=False), nn.AvgPool2d(4)
        with torch.no_grad():
            rows = torch.tensor([[2., -1, -1], [-1, 2, -1], [-1, -1, 2], [1, 1, -1], [1, -1, 1]])
            self.conv.weight.copy_(rows[:, :, None, None])

    def forward(self, x):
        return 9 * self.pool(self.conv(x).relu()).mean((2, 3))


def colours():
    return Net()


def called():
    net = Net()
    return lambda x: net(x).detach()
"""
# Names that a shell, an option parser or a class index would take for something else.
NAMES = ["it's; red", "-green", "predicted", "2", '$(b) `l` "ue"']


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo of an awkward name, a model, its weights and class names."""
    rng = np.random.default_rng(0)
    pixels = np.full((48, 64, 3), 90, dtype=np.uint8) + rng.integers(0, 9, (48, 64, 3), dtype=np.uint8)
    pixels[5:30, 5:30], pixels[20:45, 34:60] = (230, 30, 40), (190, 180, 30)
    for name in ("-it's a [photo] $1.png", "two.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "fields").mkdir()
    for n in range(4):
        Image.new("RGB", (64, 48), (60 * n, 90, 40)).save(tmp_path / "fields" / f"{n}.png")
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    (tmp_path / "paint_box.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def commands_of(page: Path) -> list[list[str]]:
    """The words of the commands that a page prints, as a shell reads them."""
    steps = re.findall(r"<code>(saywhy [^<]*)</code>", page.read_text())
    return [shlex.split(html.unescape(step)) for step in steps]


def records_of(words: list[str]) -> list[dict[str, Any]]:
    """The records of a run of `saywhy explain`."""
    done = CliRunner().invoke(app, [*words, "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]


BOX = ["--model", "paint_box:called", "--classes", "names.json", "--size", "32"]
MODEL = ["--model", "paint_box:colours", *BOX[2:], "--mean", "0", "--std", "1"]
ASKED = {
    "every frequent option": [*MODEL, "--resize", "0", "--regions", "2", "--fast", "--unit", "log-odds", "--seed", "5"],
    "a window, a target and a method": [*MODEL, "--range", "0", "128", "--target", "-green", "--method", "rise"],
    "a black box": [*BOX, "--activation", "softmax", "--fast"],
    "pixels as stored, surroundings": [*MODEL, "--exif", "stored", "--fast", "--surroundings", "fields"],
}


@pytest.mark.parametrize("how", ASKED)
def test_a_command_of_the_page_asks_the_same_model_in_the_same_way(place: Path, how: str) -> None:
    words = ["explain", "./-it's a [photo] $1.png", "two.png", *ASKED[how]]
    assert CliRunner().invoke(app, [*words, "-o", "out", "-q"], catch_exceptions=False).exit_code == 0
    for photo in ("-it's a [photo] $1", "two"):
        first = json.loads((place / "out" / f"{photo}.json").read_text())
        printed = commands_of(place / "out" / f"{photo}.html")
        assert any("--versus" in c for c in printed) and any("--seed" in c for c in printed)
        for command in printed:
            (again,) = records_of(command[1:])
            assert again["image"] == first["image"] and again["model"] == first["model"]
            assert again["provenance"]["asked"].keys() >= first["provenance"]["asked"].keys()
            if "--versus" in command:
                assert again["target"]["class_name"] == command[command.index("--target") + 1]
                assert again["versus"]["class_name"] == command[command.index("--versus") + 1]
            else:
                assert again["target"]["class_index"] == first["target"]["class_index"]
                assert again["prediction"] == first["prediction"]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_option_is_told_again_but_those_that_change_no_answer(name: str) -> None:
    option = OPTIONS[name]
    sample = [] if option.is_flag else ["-160", "240"][: option.nargs] if option.nargs > 1 else ["3"]
    said = as_said(COMMAND.make_context("explain", ["photo.png", option.opts[0], *sample]), WRITTEN)
    if name in WRITTEN:
        assert not said
        return
    words = [word for key, values in said.items() for word in (key, *values)]
    given = COMMAND.make_context("explain", ["photo.png", option.opts[0], *sample]).params
    assert words and COMMAND.make_context("explain", ["photo.png", *words]).params == given


def test_options_that_nobody_said_are_not_told() -> None:
    assert as_said(COMMAND.make_context("explain", ["photo.png"]), WRITTEN) == {}
    assert OPTIONS.keys() > set(MODEL_OPTIONS)


def test_what_python_asked_is_advised_as_a_call(place: Path) -> None:
    clf = saywhy.load_classifier("paint_box:colours", size=32, mean=0, std=1, classes=NAMES)
    first = saywhy.explain(clf, "two.png", regions=2)
    steps = [call for _, call in wording.next_steps(first) if call]
    assert steps and first.provenance.asked is None
    for call in steps:
        names = {"explain": saywhy.explain, "clf": clf}
        again = eval(call.replace("…", "clf, 'two.png', regions=2"), names)
        assert again.model == first.model and again != first


def test_a_class_whose_name_does_not_tell_it_is_asked_for_by_its_number() -> None:
    e = record(regions=1).asked_by({})
    for name in (e.prediction.top[0].class_name, "predicted", " ", "a\x1bb"):
        top = [c.model_copy(update={"class_name": name} if i == 2 else {}) for i, c in enumerate(e.prediction.top)]
        changed = e.model_copy(update={"prediction": e.prediction.model_copy(update={"top": tuple(top)})})
        assert any(c.endswith("--versus 282") for _, c in wording.next_steps(changed))


@pytest.mark.parametrize(("layer", "method", "other"), [
    ("conv", "grad-cam", "hires-cam"), ("conv", "hires-cam", "layer-cam"),
    (None, "rise", "occlusion"), (None, "occlusion", "rise"),
])  # fmt: skip
def test_the_method_that_is_advised_serves_the_model_and_is_another(layer: str, method: str, other: str) -> None:
    e = record(saliency="flat").asked_by({})
    assert e.saliency is not None
    e = e.model_copy(update={
        "model": e.model.model_copy(update={"layer": layer}),
        "saliency": e.saliency.model_copy(update={"method": method}),
    })  # fmt: skip
    assert any(c.endswith(f"--method {other}") for _, c in wording.next_steps(e))
