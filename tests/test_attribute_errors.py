"""Why a classifier errs, in people's words: errors of three kinds are planted, and each is told for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saywhy
from saywhy.attributes.diagnosing import PATTERNS, Telltale, diagnosed, marks, pattern, summed_up
from saywhy.attributes.phrases import Attribute
from test_attributes_of_pictures import classifier, colours_of, painted

WORDS = [Attribute("wing", f"mark {j}") for j in range(12)]


def planted(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Pictures of three classes with four marks each, of which captions say three in four; 30 errors of each kind: what
    is said of it is of the class that was predicted; of none; of the true class."""
    random = np.random.default_rng(seed)
    true = np.arange(390) % 3
    predicted, kinds = true.copy(), ["right"] * 390
    for i, kind in enumerate([k for k in PATTERNS for _ in range(30)]):
        predicted[i], kinds[i] = (true[i] + 1) % 3, kind
    said = np.zeros((390, 12))
    for i, kind in enumerate(kinds):
        shown = {"label in doubt": predicted[i], "no mark tells": None}.get(kind, true[i])
        said[i] = random.random(12) < 0.03
        if shown is not None:
            said[i, 4 * shown : 4 * shown + 4] = random.random(4) < 0.75
    return said, predicted, true, kinds


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_of_three_kinds_are_told_apart(seed: int) -> None:
    said, predicted, true, kinds = planted(seed)
    found = diagnosed(WORDS, said, predicted, true, np.linspace(0, 1, 390), 3)
    assert [e.picture for e in found] == list(range(90))
    scores = []
    for kind in PATTERNS:
        told, own = (np.array([p == kind for p in rows]) for rows in ([e.pattern for e in found], kinds[:90]))
        scores.append(2 * (told & own).sum() / max(told.sum() + own.sum(), 1))
    assert np.mean(scores) > 0.85
    first = found[0]
    assert {m.attribute for m in first.of_true} == set(WORDS[4 * first.true : 4 * first.true + 4])
    assert [m.seen for m in first.of_predicted] == [bool(said[0, WORDS.index(m.attribute)]) for m in first.of_predicted]
    surest = [max(i for i in range(390) if true[i] == predicted[i] == c) for c in (first.predicted, first.true)]
    assert first.typical == tuple(surest)


def test_a_class_without_pictures_has_no_marks_and_none_that_is_typical() -> None:
    found = diagnosed(WORDS[:1], np.array([[1.0], [1.0]]), np.array([1, 0]), np.array([0, 0]), np.ones(2), 2)
    assert (
        found[0].typical == (None, 1)
        and found[0].of_predicted == ()
        and found[0].of_true == (Telltale(WORDS[0], True),)
    )
    assert diagnosed(WORDS, np.zeros((0, 12)), np.zeros(0, int), np.zeros(0, int), np.zeros(0), 2) == []


def test_marks_and_patterns_by_hand() -> None:
    assert marks(np.array([0.9, 0.5, 0.1, 0.3]), np.array([0.1, 0.4, 0.0, 0.6])) == [0, 1]
    assert [pattern(*v) for v in ((4, 0, 1), (0, 0.5, 0.5), (0, 0.2, 0.5))] == list(PATTERNS)
    assert summed_up(["not robust", "not robust", "no mark tells"]) == (
        "3 pictures are named wrongly (1: no mark tells, 2: not robust)"
    )


def test_a_fit_tells_the_errors_among_its_pictures(tmp_path: Path) -> None:
    """One blue picture is said to be of rubies: the label is in doubt, and typical pictures of both are named."""
    rows = []
    for n in range(60):
        colours = colours_of(n)
        Image.fromarray(painted(colours, n)).save(tmp_path / f"{n:02d}.png")
        of = "sapphire" if "blue" in colours else "ruby" if "red" in colours else "none"
        said = [f"a dark picture with a {c} dot" for c in colours] or ["a dark picture"]
        rows.append({"file": f"{n:02d}.png", "captions": said, "class_name": "ruby" if n == 1 else of})
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = saywhy.Explainer.fit(classifier(), tmp_path, ["attributes"])
    (error,) = made.parts["attributes"].card["errors"]
    assert (Path(error["picture"]).name, error["predicted"], error["true"]) == ("01.png", 1, 0)
    assert error["pattern"] == "label in doubt" and ["blue dot", True] in error["of_predicted"]
    assert [rows[int(Path(p).stem)]["class_name"] for p in error["typical"]] == ["sapphire", "ruby"]
    assert "1 pictures are named wrongly (1: label in doubt)" in made.made["attributes"].summary
