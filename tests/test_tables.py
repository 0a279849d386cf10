"""Whatever grows is a table: a row from outside is enough, and every name in the package says one thing."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import saywhy
import tiny
from saywhy import zoo
from saywhy.cli import app
from saywhy.render import RENDERERS, Renderer
from saywhy.zoo.config import Found

ROOT = Path(__file__).parents[1]
STRUCTURE = runpy.run_path(str(ROOT / "benchmarks" / "structure.py"))
COVERED = {"num_statements": 1000, "covered_lines": 950, "num_branches": 100, "covered_branches": 90}


def reference():
    return runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["page"]()


def told():
    return json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray((tiny.images(1)[0] * 255).byte().permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def toy(name, options):
    plain = saywhy.Preprocess(size=(32, 32), resize=None)
    return Found(tiny.build(name), f"toy:{name}", classes=tuple("abcdef"), preprocess=plain)


def test_a_loader_is_one_row_and_is_then_in_the_command_line_the_lists_and_the_messages(photo, monkeypatch):
    row = zoo.Loader("toy:NAME", r"toy:(.*)", toy, "a network of the tests", weights=False)
    monkeypatch.setattr(zoo, "LOADERS", (row, *zoo.LOADERS))
    clf = saywhy.load_classifier("toy:cnn", name="mine")
    assert isinstance(clf.net, nn.Module) and clf.name == "mine" and clf.class_names[0] == "a"
    run = CliRunner().invoke(app, ["explain", str(photo), "--model", "toy:cnn", "--regions", "2"])
    assert run.exit_code == 0 and "toy:cnn" in run.output
    with pytest.raises(saywhy.UsageError, match="toy:NAME takes no separate weights"):
        saywhy.load_classifier("toy:cnn", weights="random")
    with pytest.raises(saywhy.UsageError, match="Known forms: toy:NAME"):
        saywhy.load_classifier("no such model")
    assert "a network of the tests" in reference()
    assert "toy:NAME" in json.dumps(told())


def test_a_renderer_is_one_row_and_is_then_in_the_command_line_the_lists_and_the_reference(photo, monkeypatch):
    row = Renderer(lambda e: f"<{e.target.class_name}>".encode(), ".toy", "text/x-toy", "the name alone")
    monkeypatch.setitem(RENDERERS, "toy", row)
    out = photo.parent / "out"
    run = CliRunner().invoke(
        app, ["explain", str(photo), "--model", "aviary:cnn", "--regions", "2", "--format", "toy", "-o", str(out)]
    )
    assert run.exit_code == 0, run.output
    assert (out / "photo.toy").read_bytes().startswith(b"<")
    assert "`toy`" in reference() and "the name alone" in reference() and "toy" in json.dumps(told())


def test_a_file_name_a_class_name_and_a_way_in_occur_once():
    found = STRUCTURE["figures"](ROOT / "src" / "saywhy")
    # `part.py` and `sections.py` are what the table looks for in a part's folder, `kinds.py` is what the part says.
    # `aviary.py` is what its caller is, for the birds: a command, a training. Everything else has a name of its own.
    assert set(found["file_names_twice"]) <= {"part.py", "sections.py", "kinds.py", "aviary.py"}
    # The two parts of an explainer and of a bird are told apart in docs/glossary.md.
    assert set(found["class_names_twice"]) <= {"Bird", "Case", "Found", "Part", "Recipe", "Row"}
    assert found["circles"] == []
    assert found["typed"] == 1


@pytest.mark.parametrize(("changed", "code"), [({}, 0), ({"covered_lines": 949}, 1), ({"covered_branches": 89}, 1)])
def test_the_gate_of_coverage_is_shut_by_one_line_or_branch_too_few(changed, code, tmp_path):
    (tmp_path / "coverage.json").write_text(json.dumps({"totals": COVERED | changed}))
    gate = [sys.executable, str(ROOT / "tests" / "coverage_gate.py"), str(tmp_path / "coverage.json")]
    assert subprocess.run(gate, capture_output=True).returncode == code
