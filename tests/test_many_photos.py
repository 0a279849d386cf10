"""Folders of photos on the command line: an index, what is kept, what is left out, what is told before one loads."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import saywhy
from saywhy import cli
from saywhy.render.index_page import Row, index_page
from test_cli import MODEL, place, run  # noqa: F401  a fixture

LOUD = """
print("import speaks")
from paints import Net
def loud():
    print("factory speaks")
    class Loud(Net):
        def forward(self, x):
            print("forward speaks")
            return super().forward(x)
    return Loud()
"""


def explain(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["explain", *MODEL, "--fast", *words])


def said(done: Result) -> str:
    return (done.output + str(done.exception or "")).replace("\n", " ")


@pytest.fixture(name="labelled")
def _labelled(place: Path) -> Path:  # noqa: F811
    """Two photos of one name in class folders: the model says red to both, and one is called green."""
    for name in ("red", "green"):
        (place / "set" / name).mkdir(parents=True)
        shutil.copy(place / "photo.png", place / "set" / name / "photo.png")
    return place


def test_a_folder_gets_an_index_in_which_errors_come_first(labelled: Path) -> None:
    shutil.copy(labelled / "broken.jpg", labelled / "set" / "red" / "index.jpg")
    done = explain("set", "-o", "out")
    assert done.exit_code == 1
    page = (labelled / "out" / "index.html").read_text()
    rows = re.findall(r"<tr><td>(?:<a href=\"(.*?)\">)?(.*?)(?:</a>)?</td>", page)
    assert [path for _, path in rows] == ["set/green/photo.png", "set/red/photo.png", "set/red/index.jpg"]
    assert all((labelled / "out" / href).is_file() for href, _ in rows[:2]) and rows[2][0] == ""
    assert "1 of 3 labelled photos" in page
    assert sorted(p.name for p in (labelled / "out").glob("*.html")) == ["index.html", "photo-2.html", "photo.html"]


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        (["photo.png"], ["photo.html"]),
        (["single"], ["index.html", "photo.html"]),
        (["single/*.png"], ["index.html", "photo.html"]),
        (["photo.png", "photo.png"], ["index.html", "photo.html"]),
        (["photo.png", "--target", "red", "--target", "green"], ["index.html", "photo-green.html", "photo-red.html"]),
        (["index.png"], ["index.html"]),
        (["odd"], ["index-2.html", "index.html"]),
    ],
)
def test_whatever_is_more_than_one_photo_by_its_name_gets_an_index(
    labelled: Path,
    words: list[str],
    pages: list[str],
) -> None:
    for copy in ("single/photo.png", "odd/index.png", "index.png"):
        (labelled / copy).parent.mkdir(exist_ok=True)
        shutil.copy(labelled / "photo.png", labelled / copy)
    done = explain(*words, "-o", "out", "--format", "html")
    assert done.exit_code == 0 and sorted(p.name for p in (labelled / "out").iterdir()) == pages
    listed = "index.html" in pages and len(pages) > 1
    links = re.findall(r"<a href=\"(.*?)\">", (labelled / "out" / "index.html").read_text()) if listed else []
    assert sorted(links) == ([p for p in pages if p != "index.html"] if listed else [])
    assert ("look at out/index.html" in said(done)) == ("index.html" in pages)


def test_of_labelled_photos_it_is_told_why_not_the_label(labelled: Path) -> None:
    lines = [json.loads(line) for line in explain("set", "--format", "jsonl").stdout.splitlines()]
    versus = {r["image"]["path"]: r["versus"]["class_name"] for r in lines}
    assert versus["set/green/photo.png"] == "green"
    blue = explain("set/green/photo.png", "--versus", "blue", "--format", "json")
    assert json.loads(blue.stdout)["versus"]["class_name"] == "blue"


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ([Row("a", "", "x", "x", 0.9), Row("b", "", "x", "x", 0.3)], "ba"),
        ([Row("a", "", "x", "y", 0.6), Row("b", "", "x", "y", 0.9), Row("c", "", "x", "x", 0.1)], "bac"),
        ([Row("a", failed="broken"), Row("b", "", None, "y", 0.9)], "ba"),
        ([Row("a", failed="broken", label="x"), Row("b", "", "x", "y", 0.2), Row("c", "", "x", "x", 0.2)], "bca"),
    ],
)
def test_the_index_is_sorted_by_error_then_confidence(rows: list[Row], order: str) -> None:
    assert "".join(re.findall(r"<tr><td>(\w)</td>", index_page(rows).decode())) == order


def test_the_index_escapes_names() -> None:
    page = index_page([Row("<b>.png", 'a"b#.html', "<i>", "<u>", 0.5)]).decode()
    assert "<b>.png" not in page and "<i>" not in page and "<u>" not in page
    assert 'href="a%22b%23.html"' in page


def test_records_come_line_by_line_and_an_interruption_keeps_them(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked = saywhy.explain, []

    def interrupted(*args: object, **how: object) -> object:
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(*args, **how)  # type: ignore[arg-type]

    for form, read in (("jsonl", lambda t: [json.loads(line) for line in t.splitlines()]), ("json", json.loads)):
        asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(saywhy, "explain", interrupted, raising=False)
            done = explain("set", "--format", form)
        assert done.exit_code == 130
        found = read(done.stdout)
        kept = found[0] if form == "jsonl" else found
        assert kept["image"]["path"] == "set/green/photo.png" and len(asked) == 2


@pytest.mark.parametrize("at", range(1, 9))
def test_an_interruption_at_any_file_leaves_whole_files_and_an_index_of_what_is_done(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    move, moved = Path.replace, []

    def stopped(self: Path, target: Path) -> Path:
        moved.append(target)
        if len(moved) == at:
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped)
        done = explain("set", "-o", "out")
    assert done.exit_code == 130 and "what was done is kept" in said(done)
    files = sorted((labelled / "out").iterdir())
    assert [f.stem for f in files if f.stem not in ("photo", "photo-2", "index")] == [] and len(files) == at
    for file in files:
        if file.suffix == ".json":
            saywhy.Explanation.from_dict(json.loads(file.read_text()))
        elif file.suffix == ".png":
            Image.open(file).load()
        elif file.suffix == ".html":
            assert file.read_text().rstrip().endswith("</html>")
    index = (labelled / "out" / "index.html").read_text()
    assert all((labelled / "out" / link).is_file() for link in re.findall(r'<a href="(.*?)">', index))
    again = explain("set", "-o", "out", "--skip-existing")
    assert again.exit_code == 0 and len(list((labelled / "out").iterdir())) == 9


def test_what_is_there_already_is_left_out_and_half_of_it_is_not(labelled: Path) -> None:
    assert explain("set", "-o", "out").exit_code == 0
    out = labelled / "out"
    (out / "photo-2.png").unlink()
    first = {p: p.stat().st_mtime_ns for p in out.glob("photo.*")}
    done = explain("set", "-o", "out", "--skip-existing")
    assert "skipped, as their files are there: 1" in said(done)
    assert {p: p.stat().st_mtime_ns for p in out.glob("photo.*")} == first
    assert (out / "photo-2.png").is_file()
    assert (out / "index.html").read_text().count("<tr><td>") == 2, "what was left out is in the index too"
    (out / "photo.json").write_text("{")
    assert "as their files" not in said(explain("set/green/photo.png", "-o", "out", "--skip-existing"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photo.png", "--seed", "-1"], "--seed"),
        (["photo.png", "--skip-existing"], "-o DIR"),
        (["photo.png", "--format", "jsonl", "-o", "out"], "printed as it comes"),
        (["photo.png", "-o", "names.txt/deeper"], "names.txt is a file"),
        (["photo.png", "--surroundings", "nowhere"], "no such folder"),
        (["photo.png", "--explainer", "names.txt"], "is one file"),
        (["https://example.org/cat.jpg"], "an address"),
        (["-"], "standard input"),
        (["eval", "photo.png", "-o", "names.txt/deeper"], "names.txt is a file"),
        (["eval", "photo.png", "-o", "names.txt/eval.md"], "names.txt is a file"),
        (["eval", "photo.png", "-o", "folder.json"], "is a folder"),
        (["eval", "photo.png", "--explainer", "nowhere"], "no such folder"),
        (["audit", "photo.png", "-o", "names.txt"], "is a file"),
        (["missing.png"], "no such file"),
        (["missing.png", "gone.png"], "no such file"),
        (["photo.png", "--size", "224x"], "HEIGHTxWIDTH"),
        (["photo.png", "--size", "1x2x3"], "HEIGHTxWIDTH"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_loaded(
    place: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    says: str,
) -> None:
    def never(*args: object, **how: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("saywhy.zoo.load_classifier", never)
    (place / "folder.json").mkdir()
    verb = [] if words[0] in cli.VERBS else ["explain"]
    done = CliRunner().invoke(cli.app, [*verb, *words])
    assert says in said(done) and not isinstance(done.exception, AssertionError)
    assert not (place / "out").exists()


@pytest.mark.parametrize("verb", ["explain", "eval", "fit", "audit", "aviary"])
def test_every_verb_refuses_a_negative_seed_and_knows_h(verb: str) -> None:
    done = CliRunner().invoke(cli.app, [verb, "x", "--seed", "-1"])
    assert done.exit_code == 2 and "seed" in done.output
    assert CliRunner().invoke(cli.app, [verb, "-h"]).output == CliRunner().invoke(cli.app, [verb, "--help"]).output


def test_a_shell_can_be_taught_the_words() -> None:
    assert "--show-completion" in CliRunner().invoke(cli.app, ["-h"]).output


def test_height_comes_before_width(place: Path) -> None:  # noqa: F811
    words = [*MODEL, "--fast", "--format", "json"]
    words[words.index("--size") + 1] = "48x64"
    record = json.loads(CliRunner().invoke(cli.app, ["explain", "photo.png", *words]).stdout)
    assert record["saliency"]["grid"] == [12, 16]


def test_a_model_that_prints_breaks_no_json_and_a_file_gets_a_line_a_photo(labelled: Path) -> None:
    (labelled / "loud.py").write_text(LOUD)
    words = ["loud:loud" if w == "paints:colours" else w for w in MODEL]
    done = run("explain", "set", *words, "--fast", "--format", "json", cwd=labelled)
    assert len(json.loads(done.stdout)) == 2
    assert all(text in done.stderr for text in ("import speaks", "factory speaks", "forward speaks"))
    assert [line[:5] for line in done.stderr.splitlines() if line.startswith("[")] == ["[1/2]", "[2/2]"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_of_torchscript_is_a_black_box(place: Path) -> None:  # noqa: F811
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 9 * x.mean((2, 3))

    torch.jit.trace(Mean(), torch.rand(1, 3, 32, 32)).save(str(place / "m.pt"))
    clf = saywhy.load_classifier("torchscript:m.pt", size=32)
    x = torch.rand(2, 3, 32, 32)
    clf_mean = saywhy.load_classifier(Mean(), size=32)
    assert torch.allclose(clf.logits(x), clf_mean.logits(x), atol=1e-5)
    assert not clf.white_box
    for bad, says in (("gone.pt", "no such file"), ("names.txt", "no program of TorchScript")):
        with pytest.raises(saywhy.UsageError, match=says):
            saywhy.load_classifier(f"torchscript:{bad}")
    with pytest.raises(saywhy.UsageError, match=r"layer 'conv': a program of TorchScript.*leave it out"):
        saywhy.load_classifier("torchscript:m.pt", size=32, layer="conv")
