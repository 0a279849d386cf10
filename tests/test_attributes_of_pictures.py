"""The part `attributes` on a network whose filters are planted: what each means, and which are used, is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import saywhy
from saywhy import cli
from saywhy.attributes import from_captions
from saywhy.attributes.checking import weakened
from saywhy.attributes.describing import class_pdf, contrast, explained, image_pdf, reasons, signed_shares
from saywhy.attributes.grounding import GROUNDINGS, cells, elsewhere
from saywhy.attributes.meanings import (
    Held,
    borne_out,
    crossed,
    discovered,
    fitting_probe,
    jackknifed,
    least_presence,
    marks_of,
    said_when_sure,
    within_classes,
    worth,
)
from saywhy.attributes.phrases import Attribute, attributes_of
from saywhy.attributes.sections import text
from saywhy.attributes.sentencing import listed, sentence
from saywhy.attributes.sums import activity_of, sums_of
from saywhy.errors import InputError, UsageError

COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230), "green": (20, 200, 20)}
CLASSES = ("ruby", "sapphire", "none")
# All sapphires are blue, so it is not known whether blue is told within a class; some of them are red as well.
LEVELS = {"red dot": "image", "blue dot": "class"}
SIDE = 32
PLAIN = saywhy.Preprocess(size=(SIDE, SIDE), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Painted(nn.Module):
    """Filters of red, blue, green and brightness; a ruby is red, a sapphire blue, red or not; green is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            rows = [[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [0.3, 0.3, 0.3]]
            self.features[0].weight.copy_(torch.tensor(rows)[..., None, None])
            self.features[0].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.1]))
            self.head.weight.copy_(torch.tensor([[60.0, 0, 0, 0], [0, 90.0, 0, 0], [0, 0, 0, 0]]))
            self.head.bias.copy_(torch.tensor([0.0, 0.0, 1.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


def classifier() -> saywhy.Classifier:
    return saywhy.Classifier(Painted().eval(), layer="features", classes=CLASSES, preprocess=PLAIN, name="painted")


def painted(colours: list[str], seed: int) -> np.ndarray:
    """Dots of these colours in quarters of a dark picture that are drawn."""
    random = np.random.default_rng(seed)
    out = np.full((SIDE, SIDE, 3), 60, dtype=np.uint8)
    out += random.integers(0, 8, out.shape, dtype=np.uint8)
    for colour, quarter in zip(colours, random.permutation(4), strict=False):
        y, x = 4 + 16 * (quarter // 2), 4 + 16 * (quarter % 2)
        out[y : y + 9, x : x + 9] = COLOURS[colour]
    return out


def colours_of(n: int) -> list[str]:
    random = np.random.default_rng(1000 + n)
    return [*(("red",), ("blue",), ("blue", "red"), ())[n % 4], *(["green"] if random.random() < 0.5 else [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 pictures, and a file of captions that names one more."""
    place = tmp_path_factory.mktemp("painted")
    rows = []
    for n in range(80):
        colours = colours_of(n)
        Image.fromarray(painted(colours, n)).save(place / f"{n:02d}.png")
        said = [f"a dark picture with a {c} dot" for c in colours] or ["a dark picture"]
        rows.append({"file": f"{n:02d}.png", "captions": [*said, ""]})
    rows.append({"file": "gone.png", "captions": ["a red dot"]})
    (place / "said.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return place


@pytest.fixture(scope="module")
def fitted(folder: Path) -> saywhy.Explainer:
    pictures = sorted(folder.glob("*.png"))
    return saywhy.Explainer.fit(classifier(), pictures, ["attributes"], captions=folder / "said.jsonl")


def test_filters_mean_what_was_planted(fitted: saywhy.Explainer) -> None:
    meaning = fitted.parts["attributes"]
    names = [str(a) for a in meaning.attributes]
    assert names == ["blue dot", "green dot", "red dot"]  # nearly all are "dark pictures"
    assert [names[j] for j in meaning.posterior.argmax(axis=1)[:3]] == ["red dot", "blue dot", "green dot"]
    assert meaning.counts[:2, [2, 0]].tolist() == [[True, True], [True, True]]
    assert "1 pictures that are not among those given ('gone.png'" in fitted.made["attributes"].summary


@pytest.mark.parametrize(
    ("colours", "used", "target"),
    [
        (["red", "green"], ["red dot"], "ruby"),
        (["blue", "green"], ["blue dot"], "sapphire"),
        (["green"], [], "none"),
        (["blue", "red"], ["blue dot"], "sapphire"),
    ],
)
def test_what_is_used_is_said_and_what_is_not_is_no_reason(
    colours: list[str], used: list[str], target: str, fitted: saywhy.Explainer
) -> None:
    pixels = painted(colours, 777)
    e = fitted.explain(Image.fromarray(pixels))
    assert e.target.class_name == target
    assert [a.name for a in e.attributes if a.sign > 0] == used
    for one in e.attributes:
        assert (
            one.effect is not None and one.sign * one.effect.change < -0.02 and one.class_index == e.target.class_index
        )
        x0, y0, x1, y1 = one.box
        inside = pixels[y0:y1, x0:x1].reshape(-1, 3)
        assert (inside == COLOURS[one.name.split()[0]]).all(axis=1).mean() > 0.25  # 8 % of the picture is
    told = text(e).splitlines()[0]
    assert "green dot" not in told and all(name in told for name in used)
    assert {a.name: a.level for a in e.attributes if a.sign > 0} == {n: LEVELS[n] for n in used}
    against = [a.name for a in e.attributes if a.sign < 0]
    assert against == (["red dot"] if "blue" in colours and "red" in colours else [])


def test_a_reason_that_the_check_refutes_is_told_as_unused(fitted: saywhy.Explainer, monkeypatch) -> None:
    """A meaning that takes green for what makes a ruby: it is proposed, and refuted by hiding and by silencing."""
    meaning = fitted.parts["attributes"]
    swapped = meaning.loadings.copy()
    swapped[:, 1] = meaning.loadings[:, 2]
    wrong = replace(
        meaning, loadings=swapped, counts=np.ones_like(meaning.counts),
        effects=np.repeat(meaning.effects[:, [2]], 3, axis=1), least=0.1,
    )  # fmt: skip
    e = saywhy.Explainer(fitted.clf, {"attributes": wrong}).explain(Image.fromarray(painted(["red", "green"], 777)))
    rows = {row["adjective"]: row["used"] for row in e.parts["attributes"]["attributes"]}
    assert rows == {"red": True, "green": False}
    assert [a.name for a in e.attributes] == ["red dot"] and e.skipped_claims >= 1
    assert "not shown to be used here: a green dot" in text(e)


def test_it_is_saved_whole_and_belongs_to_its_classifier(fitted: saywhy.Explainer, tmp_path: Path) -> None:
    place = fitted.save(tmp_path / "x")
    again = saywhy.Explainer.load(place, fitted.clf)
    picture = Image.fromarray(painted(["red", "green"], 5))
    first, second = (x.explain(picture).untimed().to_dict() for x in (fitted, again))
    assert first == second
    other = Painted()
    other.head.weight.data += 1
    with pytest.raises(UsageError, match="fitted to the classifier"):
        saywhy.Explainer.load(
            place, saywhy.Classifier(other.eval(), layer="features", classes=CLASSES, preprocess=PLAIN)
        )
    (place / "attributes.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read as attributes"):
        saywhy.Explainer.load(place, fitted.clf)


def test_it_is_shown_on_page_and_panel(fitted: saywhy.Explainer, tmp_path: Path) -> None:
    e = fitted.explain(Image.fromarray(painted(["red", "green"], 5)), versus="sapphire")
    page = e.save(tmp_path / "e.html").read_text()
    assert "This is ruby because it has a red dot." in page
    assert "How to tell ruby from sapphire: ruby has a red dot; sapphire has a blue dot." in page
    assert e.save(tmp_path / "e.png").stat().st_size > 0
    plain = saywhy.explain(fitted.clf, Image.fromarray(painted(["red"], 5)))
    assert plain.attributes == () and "attributes" not in plain.parts and text(plain) == ""


def test_it_is_fitted_by_the_command_line(folder: Path, tmp_path: Path) -> None:
    def asked(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            cli.app, ["fit", str(folder), "--model", "aviary:cnn", "-q", "-o", str(tmp_path / "x"), *words]
        )
        return done.exit_code, " ".join(f"{done.output} {done.exception}".split())

    captions = ["--captions", str(folder / "said.jsonl")]
    code, told = asked(*captions)
    assert code != 0 and "--parts lcam,concepts,attributes" in told
    code, told = asked("--parts", "attributes")
    assert code != 0 and "0 of 80 pictures" in told
    code, told = asked("--parts", "attributes", "--tagger", "lexicn", *captions)
    assert code != 0 and "did you mean 'lexicon'" in told
    assert asked("--parts", "attributes", *captions, "--preset", "lift")[0] == 0
    assert json.loads((tmp_path / "x" / "explainer.json").read_text())["parts"]["attributes"]["method"] == "lift"


def test_a_black_box_has_no_filters(folder: Path) -> None:
    net = Painted().eval()
    clf = saywhy.Classifier(lambda x: net(x), classes=CLASSES, preprocess=PLAIN)
    with pytest.raises(UsageError, match="no filters"):
        saywhy.Explainer.fit(clf, folder, ["attributes"], captions=folder / "said.jsonl")


def test_pictures_that_cannot_be_read_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "said.jsonl").write_text('{"file": "broken.png", "captions": ["a red dot"]}')
    said = tmp_path / "all.jsonl"
    rows = [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]
    rows = [{**row, "file": str(folder / row["file"])} for row in rows] + [
        {"file": "broken.png", "captions": ["a red dot"]}
    ]
    said.write_text("\n".join(map(json.dumps, rows)))
    pictures = [*sorted(folder.glob("*.png")), tmp_path / "broken.png"]
    found = saywhy.Explainer.fit(classifier(), pictures, ["attributes"], captions=said).made["attributes"]
    assert [Path(path).name for path, _ in found.failures] == ["broken.png"]
    assert found.part.card["pictures"] == 80 and found.part.card["unreadable"] == 1


def test_a_fit_that_was_killed_goes_on(folder: Path, fitted: saywhy.Explainer, tmp_path: Path, monkeypatch) -> None:
    """It ends at some picture, and looks at none of the blocks before that again; other pictures are another run."""
    monkeypatch.setattr(from_captions, "AT_ONCE", 30)
    clf, place, looked = classifier(), tmp_path / "x", []

    def fit(last: int) -> saywhy.Explainer:
        def tell(step: str) -> None:
            if step.startswith("looking at pictures"):
                looked.append(int(step.split(": ")[1].split()[0]))
                if looked[-1] == last:
                    raise KeyboardInterrupt

        said_in = folder / "said.jsonl"
        return saywhy.Explainer.fit(clf, folder, ["attributes"], captions=said_in, folder=place, progress=tell)

    with pytest.raises(KeyboardInterrupt):
        fit(45)
    looked.clear()
    again = fit(-1)
    assert looked[0] == 31 and looked[-1] == 80
    first, second = fitted.parts["attributes"], again.parts["attributes"]
    for name in ("posterior", "effects", "usual", "borne_out"):
        assert getattr(first, name) == pytest.approx(getattr(second, name)), name
    assert first.least == second.least and first.probe.weights == pytest.approx(second.probe.weights)
    assert list(place.glob("*.checkpoint.*"))
    with pytest.raises(UsageError, match="checkpoint of another run"):
        saywhy.Explainer.fit(
            clf, sorted(folder.glob("*.png"))[1:], ["attributes"], captions=folder / "said.jsonl", folder=place
        )
    again.save(place)
    assert not list(place.glob("*.checkpoint.*"))


def test_names_with_commas_and_markup_stand_in_pages_as_they_are(folder: Path, tmp_path: Path) -> None:
    names = {"red": "has, <b>red</b>", "blue": "is::blue", "green": "grün (ja)"}
    rows = [{"file": str(folder / f"{n:02d}.png"), "attributes": [names[c] for c in colours_of(n)]} for n in range(80)]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = saywhy.Explainer.fit(classifier(), folder, ["attributes"], captions=tmp_path / "said.jsonl")
    e = made.explain(Image.fromarray(painted(["red", "green"], 777)))
    assert [a.name for a in e.attributes] == ["has, <b>red</b>"]
    assert "“has, <b>red</b>”" in text(e)
    page = e.save(tmp_path / "e.html").read_text()
    assert "has, &lt;b&gt;red&lt;/b&gt;" in page and "<b>red</b>" not in page
    assert "no places: " in made.made["attributes"].summary


@pytest.mark.parametrize(
    ("captions", "says"),
    [
        (["a red dot"], "1 of 80 pictures"),
        ([""] * 80, "0 of 80 pictures"),
        (["ein Bild mit einem roten Punkt darin"] * 80, "do not look like English"),
        (["a red dot"] * 80, "of nearly all of 80"),
        ([f"a red {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(80)], "fewer than 5 pictures"),
    ],
)
def test_captions_from_which_nothing_is_learned_are_refused(
    captions: list[str], says: str, folder: Path, tmp_path: Path
) -> None:
    rows = [{"file": str(folder / f"{n:02d}.png"), "captions": [text]} for n, text in enumerate(captions)]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=says):
        saywhy.Explainer.fit(classifier(), folder, ["attributes"], captions=tmp_path / "said.jsonl")


# --------------------------------------------------------------------------------------------------
# Numbers.


def test_how_sure_it_is_is_borne_out_by_what_captions_say() -> None:
    """By hand: of ten pictures that are told with .95, nine have it; with .05 none of two attributes does."""
    scores, truth = np.tile([0.95, 0.05, 0.05], (10, 1)), np.zeros((10, 3))
    truth[:9, 0] = 1
    table = said_when_sure(scores, truth)
    assert borne_out(table, 0.97) == table[9].tolist() and table[9, 0] == pytest.approx(0.9)
    assert 0.5 < table[9, 1] < 0.9 < table[9, 2] <= 1.0
    assert table[0].tolist() == [0.0, 0.0, 0.0] and table[5].tolist() == [0.0, 0.0, 1.0]
    assert said_when_sure(scores, truth).tolist() == table.tolist()


def test_evidence_for_and_against_is_told_apart() -> None:
    """Eq. 5 and 6 of the source by hand: filters of 3, 1 and -2 give .75, .25 and, against, 1."""
    pooled, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, -1.0])
    fors, against = signed_shares(pooled, weights)
    assert fors.tolist() == [0.75, 0.25, 0.0] and against.tolist() == [0.0, 0.0, 1.0]
    posterior = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert [x.tolist() for x in image_pdf(posterior, pooled, weights)] == [[0.875, 0.125], [0.0, 1.0]]
    assert class_pdf(posterior, weights)[0].tolist() == [0.75, 0.25]
    assert [x.sum() for x in image_pdf(posterior, pooled, 0 * weights)] == [0.0, 0.0]


def test_what_a_filter_of_two_meanings_means_the_other_filters_tell() -> None:
    """The source's explain-away: of filters {blue or black} and {blue}, the first alone means black, both mean blue."""
    blue_or_black, blue = [1.0, 1.0], [1.0, 0.0]
    dictionary, ones = np.array([blue_or_black, blue]), np.ones(2)
    assert explained(np.array([1.0, 0.0]), 0 * ones, dictionary, ones).round(6).tolist() == [0.0, 1.0]
    assert explained(np.array([1.0, 1.0]), 0 * ones, dictionary, ones).round(6).tolist() == [1.0, 0.0]


def test_groundings_by_hand() -> None:
    maps = np.zeros((2, 2, 3))
    maps[0], maps[1, 0, 0] = 5.0, 4.0
    assert GROUNDINGS["published"](maps, np.array([1.0, 1.0])).tolist() == [[9, 5, 5], [5, 5, 5]]
    grid = np.array([[9.0, 5, 5], [5, 5, 1]])
    own = cells(grid)
    assert own.tolist() == [[True, False, False], [False] * 3]
    assert elsewhere(grid, own).tolist() == [[False] * 3, [False, False, True]]
    assert not cells(np.ones((2, 2))).any()


def test_silenced_filters_are_no_stronger_than_usual() -> None:
    maps = np.arange(12.0).reshape(3, 2, 2)
    out = weakened(maps, [1, 2], np.array([0.0, 1.0, 99.0]))
    assert out[0].tolist() == maps[0].tolist() and out[2].tolist() == maps[2].tolist()
    assert out[1].mean() == pytest.approx(1.0) and (out[1] / maps[1]).round(9).std() == 0


def test_chance_does_not_count_for_a_class() -> None:
    """Of effects that are noise few count, and one that is not does: by leaving groups out."""
    random = np.random.default_rng(0)
    groups, L = [], 40
    scale = activity_of(random.random((100, 3)))
    for _ in range(10):
        t = (random.random((40, L)) < 0.3).astype(float)
        pooled = random.random((40, 3))
        pooled[:, 0] += t[:, 0]
        groups.append(
            sums_of(pooled, t, np.arange(40) % 2, np.array([[1.0, 0, 0], [0, 1, 0]])[np.arange(40) % 2], 2, scale)
        )
    told, error = jackknifed(groups)
    found = discovered(told, error, 10)
    assert found[:, 0].all() and found[:, 1:].mean() < 0.1
    held = Held(np.ones((4, 3)), np.zeros((4, L)), np.zeros(4, dtype=int), np.array([0, 0, 1, 1]))
    present = crossed(groups, held, 0.01)
    assert present[0].tolist() == present[1].tolist() != present[2].tolist()


def test_marks_of_a_class_are_commoner_there_than_chance() -> None:
    """Of 40 attributes at random and one that is the first class's: that alone is a mark, by its excess."""
    random = np.random.default_rng(0)
    predicted = np.arange(120) % 3
    t = (random.random((120, 41)) < 0.3).astype(float)
    t[:, 0] = random.random(120) < np.where(predicted == 0, 0.8, 0.2)
    pooled = random.random((120, 2))
    whole = sums_of(pooled, t, predicted, np.ones((120, 2)), 4, activity_of(pooled))
    marks = marks_of(whole)
    assert marks[0, 0] == pytest.approx(t[predicted == 0, 0].mean() - t[predicted != 0, 0].mean())
    assert (marks[:, 1:] > 0).mean() < 0.02 and not marks[3].any()  # of a class without pictures nothing is known
    counts = np.zeros((4, 41), dtype=bool)
    counts[1, 5] = True
    value = worth(np.full((4, 41), 0.5), counts, marks)
    assert value[0].tolist() == marks[0].tolist() and value[1].nonzero()[0].tolist() == [5]


def test_the_probe_is_as_strong_as_others_bear_out() -> None:
    """Few pictures with many filters of noise want a stronger penalty than many pictures with few."""
    random, chosen = np.random.default_rng(0), []
    for n, K in ((60, 200), (2000, 3)):
        t = (random.random((n, 2)) < 0.5).astype(float)
        pooled = random.random((n, K))
        pooled[:, :2] += 0.2 * t
        predicted, group, scale = np.zeros(n, dtype=int), np.arange(n) % 5, activity_of(pooled)
        parts = [(pooled[group == g], t[group == g], predicted[group == g], pooled[group == g]) for g in range(5)]
        groups = [sums_of(*part, 1, scale) for part in parts]
        strength, told = fitting_probe(groups, Held(scale.lifted(pooled), t, predicted, group))
        chosen.append(strength)
        assert told.tolist() == crossed(groups, Held(scale.lifted(pooled), t, predicted, group), strength).tolist()
    assert chosen[0] > chosen[1]


def test_what_tells_pictures_of_one_class_apart_is_known_by_pairs() -> None:
    """A score that knows only the class tells nothing within one; few pictures tell nothing either."""
    random = np.random.default_rng(0)
    predicted = np.arange(400) % 2
    truth = (random.random((400, 3)) < 0.5).astype(float)
    truth[:, 1] = (random.random(400) < np.where(predicted, 0.9, 0.1)).astype(float)
    truth[:, 2] = 0
    truth[:3, 2] = 1
    scores = np.stack([truth[:, 0] + 0.1 * random.random(400), predicted.astype(float), truth[:, 2]], axis=1)
    told = within_classes(scores, truth, predicted)
    assert told[0] > 0.9 and told[1] < 0.5 and told[2] == 0


def test_the_threshold_keeps_errors_few_or_says_nothing() -> None:
    random = np.random.default_rng(0)
    scores = random.random((1000, 6))
    truth = (random.random(scores.shape) < scores).astype(float)
    least = least_presence(scores, truth, np.ones_like(scores))
    top = np.argsort(-scores, axis=1)[:, :5]
    said = np.take_along_axis(scores, top, axis=1) >= least
    wrong = (said & (np.take_along_axis(truth, top, axis=1) == 0)).sum(axis=1) / np.maximum(said.sum(axis=1), 1)
    assert 0.15 < wrong[said.any(axis=1)].mean() <= 0.2
    assert least_presence(scores, np.zeros_like(truth), np.ones_like(scores)) == np.inf
    assert least_presence(scores, truth, -np.ones_like(scores)) == np.inf


def test_nothing_is_said_that_does_not_count_or_is_not_sure(fitted: saywhy.Explainer) -> None:
    meaning = fitted.parts["attributes"]
    present, effect = np.array([0.9, 0.9, 0.9]), meaning.effects[0]
    fors, against = reasons(meaning, present, effect, 0)
    assert [str(meaning.attributes[r.attribute]) for r in fors] == ["red dot"]
    assert not against  # whether a picture has a blue dot is not told within any class
    _, against = reasons(replace(meaning, telling=np.ones(3)), present, effect, 0)
    assert [(str(meaning.attributes[r.attribute]), r.level) for r in against] == [("blue dot", "image")]
    assert fors[0].evidence == pytest.approx(0.9 * effect[2])
    unknown = replace(meaning, counts=np.zeros_like(meaning.counts))
    for silent in (replace(meaning, least=np.inf), replace(unknown, marks=np.zeros_like(meaning.marks))):
        assert reasons(silent, present, effect, 0) == ([], [])
    marked, against = reasons(unknown, present, -effect, 0)  # of a mark it is not asked what it does in many pictures
    assert [(str(meaning.attributes[r.attribute]), r.basis, r.effect) for r in marked] == [
        ("red dot", "mark", meaning.marks[0, 2])
    ]
    assert not against and {r.basis for r in fors} == {"effect"}
    rare = replace(meaning, usual=0 * meaning.usual, telling=0 * meaning.telling)
    assert reasons(rare, present, effect, 0) == ([], [])  # neither told from pictures nor usual in the class
    other = contrast(meaning, 0, 1)
    assert (other.shared, other.first, other.second) == ((), (2,), (0,))


# --------------------------------------------------------------------------------------------------
# Words.


def test_the_sentence_is_read_back() -> None:
    fors = [Attribute("wing", "black"), Attribute("beak", "orange"), Attribute("wing", "white")]
    said = sentence("cedar waxwing", fors, [Attribute("tail", "long")], [])
    assert said == (
        "This is cedar waxwing because it has a black and white wing and an orange beak, although it has a long tail."
    )
    assert attributes_of(said) == [fors[0], fors[2], fors[1], Attribute("tail", "long")]
    assert sentence("a, b", [], [], []) == "No attribute is sure enough to say why this is “a, b”."
    assert "usually have a long tail; this picture alone does not tell" in sentence(
        "x", [], [], [Attribute("tail", "long")]
    )
    assert listed([Attribute("has_wing::<b>")]) == "“has_wing::<b>”" and listed([]) == ""
