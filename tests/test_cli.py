"""The command line as a program of its own: what it prints where, what it writes, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from saywhy import cli
from saywhy.explanation import SCHEMA

FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1), nn.AvgPool2d(4)
        with torch.no_grad():
            self.conv.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, x):
        return 40 * self.pool(self.conv(x).relu()).mean((2, 3))

def colours():
    return Net()

def broken():
    class Nan(Net):
        def forward(self, x):
            return super().forward(x) * float("nan")
    return Nan()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo, a broken photo, class names and a model."""
    pixels = np.full((96, 96, 3), 128, dtype=np.uint8)
    pixels[10:80, 8:50], pixels[50:90, 56:90] = (230, 20, 20), (20, 210, 20)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "paints.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MODEL = [
    "--model",
    "paints:colours",
    "--classes",
    "names.txt",
    "--size",
    "48",
    "--mean",
    "0",
    "--std",
    "1",
    "--resize",
    "0",
]


def run(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(cwd), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "saywhy", *words],
        cwd=cwd, env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_explain_prints_text_on_standard_output_and_nothing_else(place: Path) -> None:
    done = run("explain", "photo.png", *MODEL, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "The model says red" in done.stdout
    assert "Region 1" in done.stdout
    assert done.stderr == ""


def test_json_alone_is_one_document(place: Path) -> None:
    done = run("explain", "photo.png", *MODEL, "--format", "json", cwd=place)
    record = json.loads(done.stdout)
    assert record["prediction"]["class_name"] == "red"
    assert record["image"]["path"] == "photo.png"


def test_several_images_give_a_list_in_which_failures_are_rows(place: Path) -> None:
    done = run("explain", "photo.png", "broken.jpg", "missing.png", *MODEL, "--format", "json", cwd=place)
    assert done.returncode == 1
    first, *failed = json.loads(done.stdout)
    assert first["schema"] == SCHEMA
    assert [sorted(row) for row in failed] == [["error", "image"]] * 2
    assert [row["image"] for row in failed] == ["broken.jpg", "missing.png"]
    assert "broken.jpg" in done.stderr
    assert "missing.png: no such file" in done.stderr


def test_files_are_written_and_named_after_the_photo(place: Path) -> None:
    (place / "other").mkdir()
    (place / "other" / "photo.png").hardlink_to(place / "photo.png")
    done = run("explain", "photo.png", "other/photo.png", *MODEL, "-o", "out", "-q", cwd=place)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in (place / "out").iterdir())
    stems = ["photo", "photo-2"]
    assert names == sorted(["index.html", *(f"{s}.{e}" for s in stems for e in ("txt", "json", "png", "html"))])
    assert json.loads((place / "out" / "photo.json").read_text())["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photo.png", "--format", "png"], "-o DIR"),
        (["photo.png", "--format", "json,text"], "only one format"),
        (["photo.png", "--format", "jsn"], "did you mean 'json'"),
        (["photo.png", "--method", "gradcam"], "did you mean 'grad-cam'"),
        (["photo.png", "--target", "rad"], "did you mean 'red'"),
        (["photo.png", "--target", "7"], "out of range"),
        (["photo.png", "--layer", "convv"], "did you mean 'conv'"),
        (["photo.png", "--regions", "9"], "1 to 8"),
        (["photo.png", "--mean", "1,2"], "one for all, or one for each of R, G and B"),
        (["photo.png", "-o", "names.txt"], "is a file"),
        (["photo.png", "--nonsense"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_ends_with_2_says_why_and_writes_nothing(place: Path, words: list[str], says: str) -> None:
    before = sorted(place.rglob("*"))
    done = CliRunner().invoke(cli.app, ["explain", *MODEL, *words])
    message = done.output + (str(done.exception) if done.exception else "")
    assert says in message.replace("\n", " ")
    if not isinstance(done.exception, SystemExit):
        with pytest.raises(SystemExit) as stop:
            cli.stop_with(done.exception)  # type: ignore[arg-type]
        assert stop.value.code == 2
    else:
        assert done.exit_code == 2
    assert [p for p in sorted(place.rglob("*")) if "__pycache__" not in str(p)] == before


def test_an_unknown_model_ends_with_2(place: Path) -> None:
    done = run("explain", "photo.png", "--model", "resnet5000", cwd=place)
    assert done.returncode == 2
    assert "unknown model 'resnet5000'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_answers_nan_ends_with_1_and_is_named(place: Path) -> None:
    words = ["paints:broken" if w == "paints:colours" else w for w in MODEL]
    done = run("explain", "photo.png", *words, "-o", "out", cwd=place)
    assert done.returncode == 1
    assert "NaN" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "out").exists()


def test_an_unreachable_server_ends_with_1(place: Path) -> None:
    done = run("explain", "photo.png", "--model", "http://127.0.0.1:9", cwd=place)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr


def test_a_folder_without_pictures_ends_with_1(place: Path) -> None:
    (place / "empty").mkdir()
    done = run("explain", "empty", *MODEL, cwd=place)
    assert done.returncode == 1
    assert "no pictures" in done.stderr


def test_methods_lists_every_table_also_as_json() -> None:
    done = CliRunner().invoke(cli.app, ["methods", "--json"])
    tables = json.loads(done.output)
    assert {"models", "saliency", "metrics", "fills", "renderers"} <= set(tables)
    assert "grad-cam" in {row["name"] for row in tables["saliency"]}
    shown = CliRunner().invoke(cli.app, ["methods"], env={"COLUMNS": "200"})
    assert all(row["name"] in shown.output for row in tables["saliency"])


def test_help_is_fast_because_torch_is_not_imported() -> None:
    code = "import sys; import saywhy.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version() -> None:
    assert CliRunner().invoke(cli.app, ["--version"]).output.strip() == cli.saywhy.__version__


def test_surroundings_of_the_user_s_are_shown_and_read_once(place: Path) -> None:
    (place / "fields").mkdir()
    for n in range(5):
        Image.new("RGB", (50, 40), (90, 100, 60 + 30 * n)).save(place / "fields" / f"{n}.png")
    done = run("explain", "photo.png", *MODEL, "--surroundings", "fields", "--format", "json", cwd=place)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["parts"]["surroundings"]
    assert found["kind"] == "folder" and len(found["names"]) == 4


@pytest.mark.parametrize(
    ("given", "says"), [("nowhere", "no such folder"), ("photo.png", "one file"), ("few", "1 pictures; at least 4")]
)
def test_surroundings_that_cannot_be_used_end_with_1_before_any_photo(place: Path, given: str, says: str) -> None:
    (place / "few").mkdir()
    Image.new("RGB", (20, 20)).save(place / "few" / "0.png")
    done = run("explain", "photo.png", *MODEL, "--surroundings", given, cwd=place)
    assert done.returncode == 1 and says in done.stderr.replace("\n", " ") and done.stdout == ""


def test_equal_runs_of_two_processes_write_equal_files_if_asked_to(place: Path) -> None:
    words = ["explain", "photo.png", *MODEL, "--reproducible", "--method", "rise", "--fast", "-q"]
    written = []
    for n in ("1", "2"):  # sets and hashes have another order in each process
        done = run(*words, "-o", n, cwd=place, PYTHONHASHSEED=n)
        written.append({f.name: f.read_bytes() for f in (place / n).iterdir()} | {"told": done.stdout.encode()})
    assert written[0] == written[1] and len(written[0]) == 5
    assert json.loads(written[0]["photo.json"])["cost"]["seconds"] is None
    assert " s, seed 0" not in written[0]["photo.txt"].decode()
