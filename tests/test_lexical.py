"""The text space `lexical`: its phrases, how images are placed among them, and how it is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import saywhy
from saywhy import Classifier
from saywhy.errors import UsageError
from saywhy.image import Preprocess
from saywhy.spaces import text_space
from saywhy.spaces.towers import weights_folder
from saywhy.spaces.wordbook import MIXED, load_words
from saywhy.train import lexical
from saywhy.zoo import imagenet_classes
from saywhy.zoo.class_names import Names

DOGS = [imagenet_classes().index(name) for name in ("beagle", "pug", "golden retriever", "collie")]
CARS = [imagenet_classes().index(name) for name in ("convertible", "sports car", "minivan", "jeep")]


class Loud(nn.Module):
    """Scores of `count` classes by the mean colour: `loud[(r, g, b)]` are raised where that colour fills the view."""

    def __init__(self, loud: dict[tuple[int, int, int], list[int]], count: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, count)
        with torch.no_grad():
            self.stem.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.zero_()
            self.head.bias.zero_()
            for colour, classes in loud.items():
                for n, c in enumerate(classes):
                    self.head.weight[c] = (12 - n) * (2 * torch.tensor(colour) - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(x)).mean(dim=(2, 3)))


def named(net: nn.Module, classes: object) -> Classifier:
    how = Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(net.eval(), preprocess=how, classes=classes, name="loud")


@pytest.fixture(scope="module")
def dogs() -> Classifier:
    """Red is dogs and green is cars, whatever else."""
    return named(Loud({(1, 0, 0): DOGS, (0, 1, 0): CARS}), imagenet_classes())


def colours(*which: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(which).float()[:, :, None, None].expand(-1, 3, 40, 48).contiguous()


# --------------------------------------------------------------------------------------------------
# The phrases.


def test_the_classes_come_first_and_kinds_have_the_classes_that_they_have() -> None:
    words, names = load_words(), imagenet_classes()
    assert words.phrases[:1000] == tuple(names) and words.classes == names.ids
    assert len(set(words.phrases)) == len(words.phrases) == len(words.vectors)
    of = {kind: {names[c] for c in words.true_of[words.numbers[kind]]} for kind in ("dog", "snake", "car", "furniture")}
    assert {"beagle", "pug"} <= of["dog"] and not {"timber wolf", "tabby"} & of["dog"]
    assert "convertible" in of["car"] and "garter snake" in of["snake"] and "rocking chair" in of["furniture"]
    kinds, member = words.kinds
    assert member.sum(0).min() >= lexical.FEWEST and member.sum(0).max() <= lexical.MOST
    assert "dog" in kinds and not {"artifact", "device", "animal"} & set(kinds)
    assert member[:, kinds.index("dog")].sum() == len(of["dog"])


def test_both_files_are_small_name_their_sources_and_have_wordnet_s_licence_beside_them() -> None:
    folder = weights_folder()
    assert sum((folder / f"lexical.{end}").stat().st_size for end in ("json", "safetensors")) <= 1.5e6
    listing = json.loads((folder / "lexical.json").read_text(encoding="utf-8"))
    assert "Princeton" in listing["sources"]["phrases"] and "Apache-2.0" in listing["sources"]["vectors"]
    licence = (folder / "WORDNET-LICENSE.txt").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence and "without fee or" in licence


# --------------------------------------------------------------------------------------------------
# Pictures and phrases.


def test_images_are_the_mix_of_the_names_of_their_most_probable_classes(dogs: Classifier) -> None:
    space, words, images = text_space("lexical", dogs), load_words(), colours((1, 0, 0), (0.2, 0.7, 0.1))
    assert space.own_features
    scaled = torch.nn.functional.interpolate(images, (32, 32))
    for row, p in zip(space.encode_images(images), dogs.probabilities(scaled), strict=True):
        best = p.topk(MIXED)
        want = sum(v * words.vectors[c] for v, c in zip(best.values.tolist(), best.indices.tolist(), strict=True))
        torch.testing.assert_close(row, want / want.norm(), atol=1e-4, rtol=0)


def test_red_is_a_dog_and_green_a_car_and_the_log_odds_say_so(dogs: Classifier) -> None:
    space = text_space("lexical", dogs)
    odds = space.log_odds(space.encode_images(colours((1, 0, 0), (0, 1, 0))), space.encode_texts(["Dog", " car "]))
    assert odds[0, 0] > odds[0, 1] and odds[1, 1] > odds[1, 0]


def test_the_order_of_the_classes_does_not_matter(dogs: Classifier) -> None:
    turned = Names(reversed(imagenet_classes()))
    turned.ids = tuple(reversed(imagenet_classes().ids))
    other = named(Loud({(1, 0, 0): [999 - c for c in DOGS], (0, 1, 0): [999 - c for c in CARS]}), turned)
    images = colours((1, 0.1, 0), (0, 1, 0.2))
    a, b = (text_space("lexical", c).encode_images(images) for c in (dogs, other))
    torch.testing.assert_close(a, b, atol=1e-2, rtol=0)  # of equally improbable classes others are mixed in


def test_what_it_is_not_for_is_refused(dogs: Classifier) -> None:
    for clf in (None, named(Loud({}, 3), ["a", "b", "c"]), named(Loud({}), [f"thing {n}" for n in range(1000)])):
        with pytest.raises(UsageError, match="ImageNet's 1000"):
            text_space("lexical", clf)
    with pytest.raises(UsageError, match="takes nothing after its name"):
        text_space("lexical:large", dogs)
    with pytest.raises(UsageError, match=r"phrases about ImageNet's classes.*did you mean.*'beagle'"):
        text_space("lexical", dogs).encode_texts(["beagel"])


@pytest.mark.parametrize("broken", ["vectors", "other vectors", "gone"])
def test_broken_files_are_refused(broken: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder(), folder)
    if broken == "gone":
        (folder / "lexical.json").unlink()
    elif broken == "vectors":
        (folder / "lexical.safetensors").write_bytes(b"none")
    else:
        listing = json.loads((folder / "lexical.json").read_text(encoding="utf-8"))
        (folder / "lexical.json").write_text(json.dumps(listing | {"fingerprint": "0" * 16}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"python -m saywhy\.train\.lexical"):
        load_words(folder)


# --------------------------------------------------------------------------------------------------
# How it is built.

DATA = """  1 a line of the licence
00000001 05 n 01 beast 0 000 | any animal
00000010 05 n 02 hound 0 Canis 0 003 @ 00000001 n 0000 %p 00000040 n 0000 + 00000050 v 0101 | a hunting dog; "good"
00000020 05 n 01 beagle 0 001 @ 00000010 n 0000 | a small hound with long ears (of England)
00000030 05 n 01 whippet 0 001 @ 00000010 n 0000 | a slender hound
00000040 08 n 01 paw 0 001 #p 00000010 n 0000 | a clawed foot
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(DATA, encoding="latin-1")
    (tmp_path / "index.noun").write_text("".join(f"{w} n\n" for w in ("hound", "ear", "foot")), encoding="latin-1")
    (tmp_path / "index.adj").write_text("".join(f"{w} a\n" for w in ("small", "long", "slender")), encoding="latin-1")
    (tmp_path / "cntlist.rev").write_text("hound%1:05:00:: 1 4\nbeagle%1:05:00:: 1 9\n", encoding="latin-1")
    return tmp_path


def test_phrases_are_classes_their_kinds_their_parts_and_what_is_said_of_them(wordnet: Path) -> None:
    found = lexical.phrases_of(lexical.read_wordnet(wordnet), ["beagle", "whippet"], ["n00000020", "n00000030"])
    assert [(p.text, p.role, p.classes, p.plain) for p in found] == [
        ("beagle", "class", (0,), False),
        ("whippet", "class", (1,), False),
        ("beast", "kind", (0, 1), False),  # in no running text
        ("hound", "kind", (0, 1), True),
        ("paw", "part", (0, 1), False),
        ("long ear", "look", (0,), False),
        ("slender hound", "look", (1,), False),
        ("small hound", "look", (0,), False),
    ]
    assert found[3].read == "hound: a hunting dog"


def test_vectors_in_fewer_dimensions_keep_who_is_near_whom() -> None:
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 60, generator=g)
    of = torch.arange(50) % 5
    vectors = nn.functional.normalize(centres[of] + 0.1 * torch.randn(50, 60, generator=g), dim=1)
    small = lexical.reduced(vectors, 8)
    torch.testing.assert_close(small.norm(dim=1), torch.ones(50))
    near = (small @ small.T - 2 * torch.eye(50)).argmax(1)
    assert (of[near] == of).all()


def test_the_shipped_files_are_what_the_recipe_writes(
    tmp_path: Path, wordnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(["beagle", "whippet"])
    names.ids = ("n00000020", "n00000030")
    monkeypatch.setattr(lexical, "imagenet_classes", lambda: names)
    monkeypatch.setattr(lexical, "encoded", lambda texts, folder: torch.eye(len(texts)))
    listing = lexical.build(wordnet, Path("none"), tmp_path)
    again = load_words(tmp_path)
    assert again.fingerprint == listing["fingerprint"] and again.kinds[0] == ("hound",)
    shipped = json.loads((weights_folder() / "lexical.json").read_text(encoding="utf-8"))
    assert shipped.keys() == listing.keys() and shipped["command"] == listing["command"]
    assert saywhy.spaces.TEXT_SPACES["lexical"]
