"""Several classes of one picture in one call: each as if asked alone, at little cost, with files of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import saywhy
import tiny
from saywhy import cli
from saywhy.cli.writer import queries
from saywhy.collection import Item
from test_cli import MODEL, place  # noqa: F401  a fixture
from test_labels_that_exclude_nothing import model, photo
from test_next_steps import commands_of, records_of


def explain(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["explain", *MODEL, *words])


@pytest.mark.parametrize("black_box", [False, True])
def test_each_class_is_explained_as_if_alone_and_the_second_costs_little(black_box: bool) -> None:
    clf = model(3.0, 2.0)
    if black_box:
        net, how = clf.net, clf.preprocess
        clf = saywhy.Classifier(
            lambda x: net(x), classes=clf.classes, preprocess=how, activation="sigmoid", name="spots"
        )
    alone = [saywhy.explain(clf, photo(), name) for name in ("fish", "shark")]
    both = saywhy.explain_each(clf, photo(), ["fish", "shark"])
    for one, other in zip(alone, both, strict=True):
        assert other.model_copy(update={"cost": one.cost}) == one
    assert both[0].cost.forward_passes == alone[0].cost.forward_passes
    assert both[1].cost.forward_passes < 0.5 * alone[1].cost.forward_passes


def test_it_takes_what_explain_takes() -> None:
    clf = tiny.classifier(tiny.build("cnn"))
    found = saywhy.Explainer(clf).explain_each(photo(), [0, "predicted"], versus=3, fast=True, unit="log-odds", seed=4)
    assert [e.provenance.seed for e in found] == [4, 4] and found[0].versus.class_index == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("targets", "versus", "says"),
    [
        ([], None, "several classes in a list"),
        ("fish", None, "several classes in a list"),
        (["fish", 0], None, "'fish' is asked for twice"),
        (["shark", "shark"], None, "'shark' is asked for twice"),
        (["fish", "shark"], "shark", "target and versus are both 'shark'"),
        (["fish", "whale"], None, "unknown class 'whale'"),
    ],
)
def test_lists_that_make_no_sense_are_refused(targets: list[str], versus: str | None, says: str) -> None:
    with pytest.raises(saywhy.UsageError, match=re.escape(says)):
        saywhy.explain_each(model(3.0, 2.0), photo(), targets, versus)


def test_a_list_in_explain_names_the_call_for_several() -> None:
    with pytest.raises(saywhy.UsageError, match="explain_each"):
        saywhy.explain(model(3.0, 2.0), photo(), ["fish", "shark"])  # type: ignore[arg-type]


def test_files_of_several_classes_lie_beside_each_other_and_an_index_shows_them(place: Path) -> None:  # noqa: F811
    (place / "photo-red.png").write_bytes((place / "photo.png").read_bytes())
    words = ["photo.png", "photo-red.png", "--target", "red", "--target", "green", "-o", "out", "--fast"]
    done = explain(*words)
    assert done.exit_code == 0, done.output
    stems = ["photo-green", "photo-red", "photo-red-green", "photo-red-red"]
    assert sorted(p.stem for p in (place / "out").glob("*.json")) == stems
    for stem in stems:
        record = json.loads((place / "out" / f"{stem}.json").read_text())
        assert stem.endswith(record["target"]["class_name"])
        assert record["image"]["path"] == stem.removesuffix("-" + record["target"]["class_name"]) + ".png"
    page = (place / "out" / "index.html").read_text()
    assert "2 photos" in page and "<th>asked about</th>" in page and page.count("<tr><td>") == 4
    assert len(re.findall(r"<td>green \([^)]*%\)</td>", page)) == 2
    (place / "out" / "photo-green.png").unlink()
    again = explain(*words, "--skip-existing")
    assert "as their files are there: 3" in re.sub(r"\s+", " ", again.stderr)
    assert (place / "out" / "photo-green.png").is_file()


def test_what_the_page_of_each_class_advises_asks_about_that_class(place: Path) -> None:  # noqa: F811
    explain("photo.png", "--target", "red", "--target", "green", "-o", "out", "--fast", "-q")
    for name in ("red", "green"):
        (command,) = [c for c in commands_of(place / "out" / f"photo-{name}.html") if "--seed" in c]
        (record,) = records_of(command[1:])
        assert record["target"]["class_name"] == name


def test_several_classes_are_printed_one_after_another(place: Path) -> None:  # noqa: F811
    both = ["photo.png", "--target", "green", "--target", "predicted", "--fast", "-q"]
    assert [r["target"]["class_name"] for r in json.loads(explain(*both, "--format", "json").stdout)] == [
        "green",
        "red",
    ]
    assert len(explain(*both, "--format", "jsonl").stdout.splitlines()) == 2
    assert re.findall(r"^photo.png: (\w+)", explain(*both).stdout, re.MULTILINE) == ["green", "red"]


def test_a_broken_photo_fails_once_for_all_classes(place: Path) -> None:  # noqa: F811
    done = explain("broken.jpg", "photo.png", "--target", "green", "--target", "red", "--format", "json", "--fast")
    rows = json.loads(done.stdout)
    assert done.exit_code == 1 and len(rows) == 3 and done.stderr.count("failed:") == 1
    assert rows[0]["image"] == "broken.jpg" and "error" in rows[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "red", "--target", "red"], "'red' is asked for twice"),
        (["--target", "red", "--target", "0"], "'red' is asked for twice"),
        (["--target", "red", "--target", "green", "--versus", "green"], "both 'green'"),
        (["--target", "red", "--target", "pink"], "unknown class 'pink'"),
    ],
)
def test_targets_that_make_no_sense_are_refused_before_anything_is_written(
    place: Path,  # noqa: F811
    words: list[str],
    says: str,
) -> None:
    done = explain("photo.png", *words, "-o", "out")
    assert isinstance(done.exception, saywhy.UsageError) and says in str(done.exception)
    assert not (place / "out").exists()


def test_names_of_files_never_meet() -> None:
    paths = ["a/x.png", "b/x.png", "x-cat.png", "x.jpg", "index.png", "x.v2.png"]
    targets = ["cat", "Cat", "c/a:t", "../../etc", "großer Hund", "?!", "n" * 300]
    asked = queries([Item(Path(p)) for p in paths], targets)
    names = [q.name.casefold() for q in asked]
    assert len(set(names)) == len(paths) * len(targets) and "index" not in names
    assert not any("/" in name or ".." in name or len(name) > 100 for name in names)
    assert [(q.item.path.as_posix(), q.target) for q in asked] == [(p, t) for p in paths for t in targets]
    assert [q.name for q in queries([Item(Path("a/x.png"))], [None])] == ["x"]
    assert [q.name for q in queries([Item(Path("a/x.png"))], ["cat"])] == ["x"]
    assert queries([], ["cat"]) == []
