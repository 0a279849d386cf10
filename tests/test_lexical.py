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
from saywhy.explanation import RegionName
from saywhy.image import Preprocess, read
from saywhy.language import parse_all
from saywhy.lexical.part import LEAST, Calling, alone, find, narrowest
from saywhy.parts import Request
from saywhy.passes import counting
from saywhy.regions.part import _names
from saywhy.seen import look
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
                    self.head.weight[c] = (40 - n) * (2 * torch.tensor(colour) - 1)

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


# --------------------------------------------------------------------------------------------------
# Names of regions.


def photo_of(
    colour: tuple[float, float, float], pieces: list[tuple[slice, slice, tuple[float, float, float]]]
) -> torch.Tensor:
    image = torch.tensor(colour).float()[:, None, None].expand(3, 32, 32).clone()
    for ys, xs, c in pieces:
        image[:, ys, xs] = torch.tensor(c)[:, None, None]
    return image


def calling(clf: Classifier, image: torch.Tensor) -> Calling:
    seen = look(clf, read((image * 255).round().byte().permute(1, 2, 0).numpy()))
    found = find(None, seen, {}, Request())
    assert found is not None
    return found


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Red, with a green and a blue piece; three regions: red, the green one, the blue one."""
    pieces = [(slice(2, 10), slice(2, 10), (0, 1, 0)), (slice(20, 30), slice(20, 30), (0, 0, 1))]
    regions = torch.zeros(3, 32, 32, dtype=torch.bool)
    regions[0, 12:20, 2:30] = True
    for region, (ys, xs, _) in zip(regions[1:], pieces, strict=True):
        region[ys, xs] = True
    return photo_of((1, 0, 0), pieces), regions


def test_a_piece_is_called_by_its_kind_only_if_the_whole_picture_says_so_too(dogs: Classifier, scene: tuple) -> None:
    image, regions = scene
    found = calling(dogs, image)
    told = found.of(regions)
    dog = found.kinds.index("dog")
    p = dogs.probabilities(torch.stack([image, *alone(image, regions)])).double()[:, DOGS].sum(1)
    assert told[0] is not None and told[0].text == "part of the dog" and told[0].route == "lexical"
    assert told[0].confidence == pytest.approx(min(p[0], p[1]).item(), abs=1e-6) and found.member[DOGS, dog].all()
    assert p[0] > 0.5 and told[1] is None, "green alone is a car, and the picture is of a dog"
    assert told[2] is None, "nothing is said of blue"
    assert found.of(regions[:0]) == []


def test_the_classes_may_come_in_any_order(dogs: Classifier, scene: tuple) -> None:
    turned = Names(reversed(imagenet_classes()))
    turned.ids = tuple(reversed(imagenet_classes().ids))
    other = named(Loud({(1, 0, 0): [999 - c for c in DOGS], (0, 1, 0): [999 - c for c in CARS]}), turned)
    a, b = (calling(clf, scene[0]).of(scene[1])[0] for clf in (dogs, other))
    assert (
        a is not None and b is not None and a.text == b.text and a.confidence == pytest.approx(b.confidence, abs=1e-5)
    )


def test_a_region_alone_is_closer_and_before_a_blur(scene: tuple) -> None:
    image, regions = scene
    shown = alone(image, regions)
    assert shown.shape == (3, *image.shape) and shown.min() >= 0 and shown.max() <= 1
    green = shown[1].mean((1, 2))
    assert green[1] > 0.5 > image.mean((1, 2))[1]
    everything = alone(image, torch.ones(1, 32, 32))
    torch.testing.assert_close(everything[0], image, atol=1e-4, rtol=0)
    assert alone(image, torch.zeros(1, 32, 32)).std() < image.std()
    torch.testing.assert_close(alone(image, regions[1:2])[0], shown[1])


@pytest.mark.parametrize(
    ("sure", "kind"),
    [([0.9, 0.85, 0.2], 1), ([0.9, 0.7, 0.2], 0), ([0.52, 0.48, 0.2], 0), ([0.3, 0.29, 0.0], 1), ([0.6, 0.6, 0.6], 2)],
)
def test_the_narrowest_kind_of_the_surest_is_said_and_never_one_that_is_not_sure(sure: list[float], kind: int) -> None:
    member = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    assert narrowest(torch.tensor(sure), member) == kind


def test_other_classes_labels_and_haste_get_no_words_and_cost_nothing(dogs: Classifier, scene: tuple) -> None:
    pixels = (scene[0] * 255).byte().permute(1, 2, 0).numpy()
    plain = named(Loud({(1, 0, 0): DOGS}), [f"thing {n}" for n in range(1000)])
    for clf, asked in ((plain, Request()), (dogs, Request(fast=True))):
        assert find(None, look(clf, read(pixels)), {}, asked) is None


def test_explain_says_the_name_its_route_and_its_certainty_for_a_pass_a_region(scene: tuple) -> None:
    clf = saywhy.load_classifier("efficientnet-lite0")
    g = torch.Generator().manual_seed(3)
    image = (scene[0] + 0.1 * torch.rand(3, 32, 32, generator=g)).clamp(0, 1)
    seen = look(clf, read((image * 255).byte().permute(1, 2, 0).numpy()))
    found = find(None, seen, {}, Request())
    assert found is not None
    regions = torch.nn.functional.interpolate(scene[1][:, None].float(), seen.image.shape[1:])[:, 0] > 0.5
    with counting() as meter:
        found.of(regions)
    assert meter.forward_passes == len(regions)


def test_words_are_guesses_on_the_page_and_in_the_record_and_in_no_sentence(
    dogs: Classifier,
) -> None:
    image = photo_of((0, 0, 0), [(slice(4, 20), slice(4, 22), (1, 0, 0))])
    big = torch.nn.functional.interpolate(image[None], (64, 64))[0]
    e = saywhy.explain(dogs, (big * 255).byte().permute(1, 2, 0).numpy())
    assert e.parts["lexical"] == {"route": "lexical", "words": len(load_words().kinds[0]), "least": LEAST}
    called = [c for c in e.concepts if c.name]
    assert called and {(c.name, c.name_route) for c in called} == {("part of the dog", "lexical")}
    assert all(c.name_confidence is not None and c.name_confidence >= LEAST for c in called)
    assert "part of the dog" not in e.text and parse_all(e.text), "a guess stands in no sentence"
    page = e._repr_html_()
    assert "Perhaps part of the dog: " in page and "by what the model makes of it alone" in page
    assert saywhy.Explanation.from_dict(e.to_dict()).to_dict() == e.to_dict()


def test_names_that_were_given_or_shown_go_first_and_are_not_asked_about() -> None:
    asked = []

    class Known:
        def __init__(self, *names: RegionName | None) -> None:
            self.names = names

        def of(self, regions: torch.Tensor) -> list[RegionName | None]:
            asked.append(len(regions))
            return [self.names[int(r.sum())] for r in regions]

    given, shown, word = (RegionName("a", 1, "given"), RegionName("b", 1, "shown"), RegionName("c", 1, "lexical"))
    regions = torch.tensor([[[0]], [[1]], [[2]]]).expand(-1, 1, 1)
    earlier = {
        "lexical": Known(word, word, word), "concepts": Known(given, None, None), "names": Known(None, shown, None)
    }  # fmt: skip
    assert _names(earlier, regions) == [given, shown, word] and asked == [3, 2, 1]
    assert _names({}, regions) == [None] * 3
