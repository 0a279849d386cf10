"""Where attributes are in the fitted part: places of nouns on the layers of one pass, and words that mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import saywhy
from saywhy.attributes.atlas import Atlas, View, gains, region, view_of
from saywhy.attributes.frequencies import joined, said
from saywhy.attributes.part import summary
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.sections import place_of, text
from saywhy.attributes.synonyms import synonyms

# Caps are bright, boots are dark, and both have any colour: the filters know brightness, and so where which is.
CAPS = {"red": (255, 130, 130), "blue": (130, 130, 255), "green": (130, 255, 130)}
BOOTS = {"red": (110, 0, 0), "blue": (0, 0, 110), "green": (0, 110, 0)}
SIDE, CELL = 48, 4
PLAIN = saywhy.Preprocess(size=(SIDE, SIDE), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Dressed(nn.Module):
    """Filters of the three colours and of bright and dark; a dark red one makes the class."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, CELL, stride=CELL), nn.ReLU())
        self.head = nn.Linear(5, 2)
        with torch.no_grad():
            rows = torch.tensor([[1.0, -1, -1], [-1, 1.0, -1], [-1, -1, 1.0], [1, 1, 1], [-1, -1, -1]]) / CELL**2
            self.features[0].weight.copy_(rows[..., None, None].expand(5, 3, CELL, CELL))
            self.features[0].bias.copy_(torch.tensor([0.1, 0.1, 0.1, -1.9, 1.7]))
            self.head.weight.copy_(torch.tensor([[300.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]))
            self.head.bias.copy_(torch.tensor([0.0, 4.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


def classifier() -> saywhy.Classifier:
    return saywhy.Classifier(
        Dressed().eval(), layer="features", classes=("scarlet", "other"), preprocess=PLAIN, name="dressed"
    )


def dressed(cap: str, boot: str, seed: int) -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    """A cap somewhere and a boot somewhere else on grey, and their corners (row, column)."""
    random = np.random.default_rng(seed)
    out = np.full((SIDE, SIDE, 3), 160, dtype=np.uint8)
    quarters = random.permutation(4)[:2]
    corners = {}
    for name, colour, quarter in (("cap", CAPS[cap], quarters[0]), ("boot", BOOTS[boot], quarters[1])):
        y, x = 4 + 24 * int(quarter // 2), 4 + 24 * int(quarter % 2)
        out[y : y + 12, x : x + 12], corners[name] = colour, (y, x)
    return out, corners


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, rows, random = tmp_path_factory.mktemp("dressed"), [], np.random.default_rng(0)
    for n in range(90):
        cap, boot = random.choice(list(CAPS), 2)
        Image.fromarray(dressed(cap, boot, n)[0]).save(place / f"{n:02d}.png")
        said_of = [f"a {cap} cap and a {boot} boot"] * 3 + [f"a {cap} hat", f"a {boot} boot and a {cap} hat"]
        rows.append({"file": f"{n:02d}.png", "captions": said_of})
    (place / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


@pytest.fixture(scope="module")
def fitted(folder: Path) -> saywhy.Explainer:
    return saywhy.Explainer.fit(classifier(), folder, ["attributes"], captions=folder / "said.jsonl")


def test_places_are_learned_from_what_captions_call_things(fitted: saywhy.Explainer) -> None:
    meaning, clf = fitted.parts["attributes"], fitted.clf
    assert meaning.card["same"] == {"hat": "cap"} and set(meaning.atlas.known) == {"cap", "boot"}
    assert "'hat' is taken for 'cap'" in summary(meaning) and "places are known of" in summary(meaning)
    hits = []
    for seed in range(500, 520):
        colours = np.random.default_rng(seed).choice(list(CAPS), 2)
        pixels, corners = dressed(*colours, seed)
        images, boxes = clf.prepare([clf.read(pixels)])
        view = view_of(clf.tap(images, meaning.atlas.layers), meaning.atlas.layers, boxes[0], (SIDE, SIDE))
        for noun, colour in zip(corners, colours, strict=True):
            at = np.argwhere(region(meaning.atlas.place(view, Attribute(noun, str(colour))))) * CELL - corners[noun]
            hits.append(float(((at >= -CELL) & (at < 12 + CELL)).all(axis=1).mean()))
    assert np.mean(hits) > 0.95
    assert meaning.atlas.place(view, Attribute("glove", "red")) is None


def test_what_is_said_of_a_photo_has_its_place(fitted: saywhy.Explainer, tmp_path: Path) -> None:
    pixels, corners = dressed("blue", "red", 7)
    e = fitted.explain(Image.fromarray(pixels))
    row = next(r for r in e.parts["attributes"]["attributes"] if r["noun"] == "boot")
    assert (row["adjective"], row["located"], row["used"]) == ("red", "place", True)
    (y, x), (x0, y0, x1, y1) = corners["boot"], row["box"]
    assert x - CELL <= x0 < x1 <= x + 12 + CELL and y - CELL <= y0 < y1 <= y + 12 + CELL
    shown = np.asarray(place_of(e, row))
    assert (np.abs(shown.astype(int) - BOOTS["red"]).max(axis=2) < 30).mean() > 0.02
    page = e.save(tmp_path / "e.html").read_text()
    assert 'alt="where red boot is"' in page and e.save(tmp_path / "e.png").stat().st_size > 0
    assert "Pictures of scarlet usually have a red boot; this picture alone does not tell" in text(e)
    again = saywhy.Explainer.load(fitted.save(tmp_path / "x"), fitted.clf).explain(Image.fromarray(pixels))
    assert again.untimed().to_dict() == e.untimed().to_dict()


def test_without_colours_in_captions_nothing_is_known_of_places(folder: Path, tmp_path: Path) -> None:
    words, rows = {"red": "long", "blue": "short", "green": "old"}, []
    for line in (folder / "said.jsonl").read_text().splitlines():
        row = json.loads(line)
        first = " ".join(words.get(word, word) for word in row["captions"][0].split())
        rows.append({"file": str(folder / row["file"]), "captions": [first]})
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = saywhy.Explainer.fit(classifier(), folder, ["attributes"], captions=tmp_path / "plain.jsonl")
    assert made.parts["attributes"].atlas is None
    assert "no places: places are learned from colours of things" in made.made["attributes"].summary


def test_a_region_is_the_fewest_cells_that_hold_half() -> None:
    place = np.array([[0.1, 0.3], [0.25, 0.35]])
    assert region(place).tolist() == [[False, True], [False, True]]
    assert region(np.array([[1.0, 0.0]])).tolist() == [[True, False]]


def test_what_lies_beyond_the_photo_is_no_place() -> None:
    clf = classifier()
    images, _ = clf.prepare([clf.read(dressed("red", "red", 0)[0])])
    view = view_of(clf.tap(images, ["features"]), ["features"], (0, -12, SIDE, SIDE - 12), (SIDE, SIDE - 24))
    assert view.inside.reshape(12, 12).all(dim=1).tolist() == [False] * 3 + [True] * 6 + [False] * 3


def test_a_gain_is_counted_in_nats_by_hand() -> None:
    """Two pictures with one noun, red and blue: surely told, told as often as said, and told wrongly."""
    counts = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    told = {"right": [[0.8, 0.2], [0.2, 0.8]], "usual": [[0.5, 0.5]] * 2, "wrong": [[0.25, 0.75], [0.75, 0.25]]}
    found = {k: float(gains(torch.tensor(v)[:, None].log(), counts)[0]) for k, v in told.items()}
    assert found == pytest.approx({"right": np.log(1.6), "usual": 0.0, "wrong": np.log(0.5)})


def test_a_noun_that_colours_do_not_tell_has_no_place(fitted: saywhy.Explainer) -> None:
    atlas: Atlas = fitted.parts["attributes"].atlas
    blind = Atlas(
        atlas.layers, atlas.squeeze, atlas.palette, atlas.nouns, atlas.adjectives, atlas.places, 0 * atlas.gains
    )
    view = View((12, 12), (torch.zeros(144, 5),), torch.zeros(3, 96, 96), torch.ones(144, dtype=torch.bool))
    assert blind.place(view, Attribute("cap", "red")) is None and atlas.place(view, Attribute("cap", "red")) is not None


# --------------------------------------------------------------------------------------------------
# Words that mean the same.


def spoken(captions: list[list[str]]) -> list[tuple[tuple[Attribute, ...], ...]]:
    return [said(rows).each for rows in captions]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (lambda a, b: f"a {a} bill", {"bill": "beak"}),  # the same adjectives, never in one caption
        (lambda a, b: f"a {a} bill and a {a} beak", {}),  # in one caption: two things
        (lambda a, b: f"a {b} tail", {}),  # other adjectives
    ],
)
def test_words_are_the_same_by_their_company(second: object, expected: dict[str, str]) -> None:
    random, colours = np.random.default_rng(0), ["red", "blue", "green", "black", "white"]
    captions = []
    for _ in range(40):
        a, b = random.choice(colours, 2, replace=False)
        captions.append([f"a {a} beak"] * 2 + [second(a, b)])  # type: ignore[operator]
    assert synonyms(spoken(captions)) == expected


def test_few_captions_make_no_words_the_same() -> None:
    assert synonyms(spoken([["a red beak", "a red bill"]] * 4)) == {} and synonyms([]) == {}


def test_three_words_for_one_thing_are_joined_under_the_most_frequent() -> None:
    captions = [[f"a {c} {n}" for n in ("beak", "beak", "bill", "neb")] for c in ("red", "blue", "green") * 20]
    same = synonyms(spoken(captions))
    assert same == {"bill": "beak", "neb": "beak"}
    one = joined(said(["a red beak and a red bill", "a long neb"]), same)
    assert one.counts == {Attribute("beak", "red"): 2, Attribute("beak", "long"): 1}
