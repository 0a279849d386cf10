"""Substitution: whose piece lies where, how it is put down, what the classifier then says, what kind of error it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import oracles
from saywhy import Classifier, Explainer, Preprocess
from saywhy.cli import app
from saywhy.collection import find_images
from saywhy.concepts.making import make_bank
from saywhy.errors import InputError, UsageError
from saywhy.intervene import hide
from saywhy.parts import Fitting
from saywhy.passes import counting
from saywhy.reasoning.reasoner import digest
from saywhy.render.html import html
from saywhy.render.text import text as text_of
from saywhy.substitution import gathering, part, sections, stock
from saywhy.substitution.error_types import EXPECTED, STRANGE, kind_of
from saywhy.substitution.matching import FAR, LARGEST, SMALLEST, Instance, Laid, apart, instances_of, laid
from saywhy.substitution.pasting import pasted
from saywhy.substitution.stock import Donor, Stock, stocked
from saywhy.substitution.trying import FIRST, WORTH, Asking, Attempt, Exchange, expected, gifts_for, substituted
from test_concepts import SMALL

SIDE = 48
COLOURS = {
    "blue": (20, 20, 230),
    "green": (20, 230, 20),
    "red": (230, 20, 20),
    "cyan": (20, 230, 230),
    "none": (12,) * 3,
}
CONCEPTS = ["blue", "green", "red", "cyan"]
PLACES = [(6, 8), (30, 10), (18, 30)]  # blue, green, and what decides: row and column
PLAIN = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Squares(nn.Module):
    """Red or cyan decides; blue and green speak as much for both, and without any of it a third class is said."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        weights = torch.tensor([[-1.0, -1, 1], [-1, 1, -1], [1, -1, -1], [-1, 0.8, 0.8]])
        self.conv.weight.data, self.conv.bias.data = weights[:, :, None, None], torch.tensor([0.0, 0, 0, -0.7])
        self.relu, self.pool, self.head = nn.ReLU(), nn.AvgPool2d(2), nn.Linear(4, 3)
        self.head.weight.data = torch.tensor([[4.0, 4, 160, 0], [4, 4, 0, 220], [0, 0, 0, 0]])
        self.head.bias.data = torch.tensor([0.0, 0.0, 3.0])

    def forward(self, x):
        return self.head(self.pool(self.relu(self.conv(x))).mean(dim=(2, 3)))


def squares(decides, seed=0, *, mirror=False, more=()):
    """A picture with blue, green and what decides, each a little elsewhere by the seed, and `more` (colour, row,
    column); and the concept of each pixel."""
    random = np.random.default_rng(seed)
    pixels, labels = np.full((SIDE, SIDE, 3), 12, dtype=np.uint8), np.full((SIDE, SIDE), -1)
    dy, dx = random.integers(-3, 4, 2)
    rows = [(name, y + dy, x + dx) for name, (y, x) in zip(("blue", "green", decides), PLACES, strict=True)]
    bright = random.choice([0.85, 0.92, 1.0])
    for name, y, x in [*rows, *more]:
        if name != "none":
            pixels[y : y + 9, x : x + 9] = np.multiply(COLOURS[name], bright)
            labels[y : y + 9, x : x + 9] = CONCEPTS.index(name)
    return (pixels[:, ::-1].copy(), labels[:, ::-1].copy()) if mirror else (pixels, labels)


def view_of(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def clf():
    return Classifier(Squares().eval(), classes=("red", "cyan", "neither"), preprocess=PLAIN, layer="pool")


def asking(clf, pixels, labels, said=1, wanted=0, seed=0):
    return Asking(clf, view_of(pixels), tuple(instances_of(torch.from_numpy(labels))), said, wanted, seed)


def lender(clf, decides, seed, **how):
    pixels, labels = squares(decides, seed, **how)
    found = tuple(instances_of(torch.from_numpy(labels)))
    picture = view_of(pixels)
    pictures = [picture, *(hide(picture, ~s.mask[None], "inpaint")[0] for s in found)]
    told = clf.fine_probabilities(clf.logits(torch.stack(pictures))).clamp_min(1e-6).log().float()
    return Donor(f"{decides}{seed}.png", int(told[0].argmax()), picture, torch.from_numpy(labels), found, told)


@pytest.fixture(scope="module")
def lent(clf):
    """Donors of both colours, some of them mirrored, with made-up features: colours."""
    more = [("green", 2, 36)]  # two of a concept in one picture
    donors = [lender(clf, c, s, mirror=bool(s % 2)) for c in ("red", "cyan") for s in range(1, 6)]
    donors += [lender(clf, "cyan", 6, more=more)]
    features = [torch.eye(4)[[s.concept for s in d.instances]] + 0.01 * n for n, d in enumerate(donors)]
    return stocked(donors, features, clf.fingerprint, "bank", {})


# --------------------------------------------------------------------------------------------------
# Whose piece lies where.


def test_instances_are_the_connected_pieces_of_concepts_that_are_neither_tiny_nor_ground():
    labels = torch.full((50, 50), -1)
    labels[2:12, 2:12], labels[2:12, 30:40] = 3, 3  # two of one concept
    labels[20:23, 20:21] = 1  # three pixels
    labels[30:50] = 0  # ground
    labels[20:24, 40:46] = 2
    found = instances_of(labels)
    assert [(s.concept, s.area) for s in found] == [(3, 100), (3, 100), (2, 24)]
    assert found[0].middle == (6.5, 6.5) and found[1].middle == (34.5, 6.5)
    assert all(bool((labels[s.mask] == s.concept).all()) and int(s.mask.sum()) == s.area for s in found)
    assert 3 < SMALLEST * labels.numel() < 24 and LARGEST * labels.numel() < 1000
    assert instances_of(torch.full((8, 8), -1)) == []


def dot(concept, x, y, area=81):
    return Instance(concept, torch.zeros(0), (x, y), area)


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("seed", range(3))
def test_a_donor_is_laid_over_the_picture_as_it_was_moved_scaled_and_mirrored(mirror, scale, seed):
    random = np.random.default_rng(seed)
    there = [dot(j, *random.uniform(5, 60, 2)) for j in range(5)]
    shift = tuple(random.uniform(-10, 10, 2))
    here = [
        dot(s.concept, scale * mirror * s.middle[0] + shift[0], scale * s.middle[1] + shift[1], round(81 * scale**2))
        for s in there
    ]
    strangers = [dot(2, *random.uniform(-50, 90, 2)), dot(9, 3.0, 4.0)]  # one more of a concept, and another concept
    how = laid(here + strangers, there[::-1])
    assert how.mirror == mirror and how.scale == pytest.approx(scale, abs=0.01)
    assert how.shift == pytest.approx(shift, abs=1.0) and how.agrees > 4
    for a, b in zip(here, there, strict=True):
        assert how.here(b.middle) == pytest.approx(a.middle, abs=1.0) and apart(a, b, how) < 0.2


def test_nothing_is_laid_over_each_other_that_shares_less_than_two_pieces_or_lies_otherwise():
    assert laid([dot(0, 1, 1), dot(1, 9, 9)], [dot(0, 1, 1), dot(2, 9, 9)]) is None
    assert laid([], []) is None
    assert laid([dot(0, 10, 10), dot(1, 20, 10)], [dot(0, 10, 10), dot(1, 90, 10)]) is None, "eight times as far apart"


def test_how_far_apart_pieces_are_is_told_in_sides_and_in_size():
    how = Laid(1, 1.0, (0.0, 0.0))
    assert apart(dot(0, 0, 0), dot(1, 9, 0), how) == pytest.approx(1)
    assert apart(dot(0, 0, 0), dot(1, 0, 0, round(81 * np.e)), how) == pytest.approx(1, abs=0.01)
    assert apart(dot(0, 0, 0), dot(1, 0, 0, 81), replace(how, scale=2.0)) == pytest.approx(np.log(4))


# --------------------------------------------------------------------------------------------------
# How it is put down.


@pytest.mark.parametrize(
    ("mirror", "bad", "good"), [(1, (20, 20, 8, 8), (5, 9, 8, 8)), (-1, (10, 30, 6, 12), (25, 4, 10, 14))]
)
def test_a_piece_is_put_down_as_by_hand(mirror, bad, good):
    random = torch.Generator().manual_seed(1)
    picture, donor = torch.rand(3, 40, 48, generator=random), torch.rand(3, 40, 48, generator=random)
    masks = []
    for y, x, h, w in (bad, good):
        masks.append(torch.zeros(40, 48, dtype=torch.bool))
        masks[-1][y : y + h, x : x + w] = True
    found = pasted(picture, masks[0], donor, masks[1], mirror)
    holed = hide(picture, ~masks[0][None], "inpaint")[0]
    expected = oracles.pasted(holed.numpy(), masks[0].numpy(), donor.numpy(), masks[1].numpy(), mirror)
    assert np.abs(found.numpy() - expected).max() < 1e-4
    far = torch.ones(40, 48, dtype=torch.bool)
    y, x, h, w = bad
    far[max(0, y - 8) : y + h + 8, max(0, x - 8) : x + w + 8] = False
    assert torch.equal(found[:, far], picture[:, far])


def test_what_is_put_down_has_the_place_and_the_size_of_what_was_there(clf):
    pixels, labels = squares("cyan")
    big = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    big[10:34, 10:34] = True
    donor = torch.zeros(3, SIDE, SIDE)
    donor[0] = 0.9
    bad = torch.from_numpy(labels == 3)
    red = pasted(view_of(pixels), bad, donor, big)
    inside = bad & (torch.nn.functional.avg_pool2d(bad[None].float(), 3, 1, 1)[0] > 0.99)
    assert bool((red[0][inside] > 0.85).all()) and bool((red[1][inside] < 0.1).all())
    assert int((red[0] > 0.45).sum()) == pytest.approx(81, rel=0.2)


# --------------------------------------------------------------------------------------------------
# The test itself.


def test_the_worst_piece_is_exchanged_and_the_class_said_and_controls_do_not_do_it(clf, lent):
    pixels, labels = squares("cyan", 20)
    asked = asking(clf, pixels, labels)
    out = substituted(asked, lent)
    worst = asked.instances[out.worst]
    assert CONCEPTS[worst.concept] == "cyan" and out.corrected == "exchanged" and out.why is None
    by = {t.what: t for t in out.trials}
    assert list(by) == ["exchanged", "deleted", "random"]
    assert by["exchanged"].flips(0) and len(by["exchanged"].froms) == 3
    assert set(by["exchanged"].froms) <= {f"red{s}.png" for s in range(1, 6)}
    assert not by["deleted"].flips(0) and not by["random"].flips(0), "without cyan neither class is said"
    first = [g.donor.file for g in gifts_for(asked, out.worst, lent.of(0))[:FIRST]]
    assert not set(first) & set(by["exchanged"].froms), "who led to the worst piece does not speak again"
    assert out.speaks[out.worst] == out.speaks.min() < 0
    assert not out.again
    few = substituted(asked, replace(lent, donors=tuple(d for d in lent.donors if d.of == 1 or d.file in first)))
    assert few.again and few.corrected == "exchanged" and set(few.trial("exchanged").froms) <= set(first)
    again = substituted(asked, lent)
    assert all(torch.equal(a.answers, b.answers) for a, b in zip(out.trials, again.trials, strict=True))


def test_what_a_trial_says_is_what_the_classifier_says_of_its_picture(clf, lent):
    pixels, labels = squares("cyan", 21)
    asked = asking(clf, pixels, labels)
    out = substituted(asked, lent)
    for t in out.trials:
        told = clf.fine_probabilities(clf.logits(t.picture[None]))[0]
        assert torch.allclose(t.answers[0], told, atol=1e-5), t.what
    hidden = hide(asked.picture, ~asked.instances[out.worst].mask[None], "inpaint")[0]
    assert torch.equal(out.trial("deleted").picture, hidden)


def test_gifts_lie_where_the_piece_lies_and_come_best_first(clf, lent):
    pixels, labels = squares("cyan", 22)
    asked = asking(clf, pixels, labels)
    n = next(i for i, s in enumerate(asked.instances) if CONCEPTS[s.concept] == "cyan")
    gifts = gifts_for(asked, n, lent.of(0))
    assert len(gifts) == 5 and {g.how.mirror for g in gifts} == {1, -1}
    assert {CONCEPTS[g.donor.instances[g.instance].concept] for g in gifts} == {"red"}
    worth = [g.donor.speaks(g.instance, 0, 1) for g in gifts]
    assert worth == sorted(worth, reverse=True) and worth[0] > worth[-1] > WORTH
    turned = gifts_for(asked, n, lent.of(0)[::-1])
    assert [g.donor.speaks(g.instance, 0, 1) for g in turned] == worth
    assert all(apart(asked.instances[n], g.donor.instances[g.instance], g.how) <= FAR for g in gifts)


def test_a_piece_that_speaks_no_more_for_the_class_is_no_gift(clf):
    more = [("green", 2, 36)]
    asked = asking(clf, *squares("cyan", 22, more=more))
    donor = lender(clf, "red", 24, more=more)
    blue = next(i for i, s in enumerate(asked.instances) if CONCEPTS[s.concept] == "blue")
    how = laid([s for i, s in enumerate(asked.instances) if i != blue], donor.instances)
    assert any(apart(asked.instances[blue], s, how) <= FAR for s in donor.instances), "blue lies there too"
    assert gifts_for(asked, blue, [donor]) == []


def test_what_the_class_has_nothing_for_is_painted_over_instead(clf, lent):
    pixels, labels = squares("red", 23, more=[("cyan", 2, 36), ("cyan", 36, 36)][:1])
    whole = clf.fine_probabilities(clf.logits(view_of(pixels)[None]))[0]
    assert int(whole.argmax()) == 1, "a piece of cyan beside all of red"
    asked = asking(clf, pixels, labels)
    out = substituted(asked, lent)
    assert CONCEPTS[asked.instances[out.worst].concept] == "cyan" and out.corrected == "deleted"
    assert [t.what for t in out.trials][:2] == ["deleted", "elsewhere"]
    assert out.trial("deleted").flips(0) and not out.trial("elsewhere").flips(0)
    assert out.trial("exchanged") is None is out.trial("random") and not out.again
    assert kind_of(out, 0, 0.1) == "false alarm"


def test_without_donors_or_pieces_nothing_is_tried(clf, lent):
    pixels, labels = squares("cyan")
    assert "no picture is clearly" in substituted(asking(clf, pixels, labels, wanted=2), lent).why
    assert "no concept is found" in substituted(asking(clf, pixels, np.full_like(labels, -1)), lent).why


def test_where_no_donor_can_be_laid_over_the_picture_nothing_is_known_to_be_expected(clf, lent):
    asked = asking(clf, *squares("cyan", 22))
    n = next(i for i, s in enumerate(asked.instances) if CONCEPTS[s.concept] == "cyan")
    assert expected(asked, n, lent.donors) == 1 and expected(asked, n, []) is None
    alone = replace(asked, instances=(asked.instances[n],))
    assert expected(alone, 0, lent.donors) is None
    trials = (told_as("exchanged", True), told_as("deleted", True))
    assert kind_of(Exchange(torch.zeros(1), 0, "exchanged", trials, None), 0, 0.0) == "confused"
    assert kind_of(Exchange(torch.zeros(1), 0, "deleted", trials, None), 0, 0.0) is None


def told_as(what, flips):
    answers = torch.tensor([[0.9, 0.1] if flips else [0.1, 0.9]] * 3)
    return Attempt(what, ("a", "b", "c"), answers, torch.zeros(3, 1, 1))


@pytest.mark.parametrize(
    ("exchanged", "deleted", "strange", "expected", "kind"),
    [(True, False, 0.5, 1.0, "confused"), (True, False, 1.5, 1.0, "unseen"), (True, True, 0.5, 1.0, "confused"),
     (True, True, 1.5, 0.0, "false alarm"), (None, True, 0.5, 0.0, "false alarm"), (None, True, 0.5, 1.0, None),
     (False, True, 1.5, 1.0, None), (False, False, 1.5, 0.0, None), (True, False, 0.5, 0.0, "confused"),
     (None, False, 1.5, 0.0, None)],
)  # fmt: skip
def test_a_kind_of_error_is_named_only_where_its_correction_makes_the_class_be_said(
    exchanged, deleted, strange, expected, kind
):
    trials = [] if exchanged is None else [told_as("exchanged", exchanged)]
    corrected = "deleted" if exchanged is None else "exchanged"
    out = Exchange(torch.zeros(1), 0, corrected, (*trials, told_as("deleted", deleted)), 2 * EXPECTED * expected)
    assert kind_of(out, 0, strange * STRANGE) == kind


def test_most_of_the_ways_have_to_say_the_class():
    two = Attempt("exchanged", ("a", "b"), torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.zeros(3, 1, 1))
    assert not two.flips(0) and not two.flips(1)


# --------------------------------------------------------------------------------------------------
# What is kept.


def test_strange_is_what_is_further_from_all_donors_than_their_own_kind_commonly_is(lent):
    assert lent.strange(lent.features[3]) == 0
    assert lent.strange(lent.features[3] + 10) > STRANGE
    near = [min(float((a - b).norm()) for j, b in enumerate(scaled(lent)) if owner(lent)[j] != owner(lent)[i])
            for i, a in enumerate(scaled(lent))]  # fmt: skip
    concepts = [s.concept for d in lent.donors for s in d.instances]
    for i, j in enumerate(concepts):
        own = [v for v, k in zip(near, concepts, strict=True) if k == j]
        known = own if len(own) >= stock.FEW else near
        assert float(lent.usual[i]) == pytest.approx(float(np.quantile(known, 0.95)), rel=1e-4)


def test_usual_is_told_by_other_pictures_alone():
    features, owners = torch.tensor([[0.0], [0.1], [5.0], [5.1]]), torch.tensor([0, 0, 1, 1])
    usual = stock._usual(features, owners, torch.zeros(4, dtype=torch.long))
    assert float(usual[0]) == pytest.approx(float(np.quantile([5.0, 4.9, 4.9, 5.0], 0.95)), abs=1e-5)


def scaled(lent):
    return (lent.features - lent.mean) / lent.std


def owner(lent):
    return [n for n, d in enumerate(lent.donors) for _ in d.instances]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty pictures, half of them red, half cyan."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(30):
        Image.fromarray(squares(("red", "cyan")[n % 2], n)[0]).save(folder / f"{n:02}.png")
    return folder


@pytest.fixture(scope="module")
def fitted(clf, photos):
    bank = make_bank(clf, find_images(photos), replace(SMALL, counts=(4,)))[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "DONORS", 9)
        made = part.fit(clf, find_images(photos), Fitting("clearest", parts={"concepts": bank}))
    return Explainer(clf, {"concepts": bank, "substitution": made.part}), made


def test_the_clearest_pictures_of_each_class_are_kept_with_what_their_pieces_count(clf, fitted):
    made: Stock = fitted[1].part
    assert {d.of for d in made.donors} == {0, 1} and all(len(made.of(c)) == 9 for c in (0, 1))
    for c in (0, 1):
        clear = [float(d.told[0, c].exp()) for d in made.of(c)]
        assert clear == sorted(clear, reverse=True) and clear[0] > clear[-1]
    one = made.of(0)[0]
    best = max(range(len(one.instances)), key=lambda n: one.speaks(n, 0, 1))
    n = next(n for n, s in enumerate(one.instances) if bool((one.picture[0][s.mask] > 0.6).any()))
    assert best == n and one.speaks(n, 0, 1) > 1, "of a red picture red speaks for red"
    hidden = hide(one.picture, ~one.instances[n].mask[None], "inpaint")
    after = clf.fine_probabilities(clf.logits(hidden))[0].clamp_min(1e-6).log()
    assert torch.allclose(one.told[n + 1].double(), after, atol=1e-3)
    assert "of 2 classes" in fitted[1].summary and made.card["donors"] == 18


def test_saved_pieces_are_the_same_and_others_are_refused(clf, fitted, tmp_path):
    explainer, _ = fitted
    explainer.save(tmp_path / "mine")
    again = Explainer.load(tmp_path / "mine", clf)
    picture = squares("cyan", 40)[0]
    one, two = (x.explain(picture, versus="red", substitute=True).parts["substitution"] for x in (explainer, again))
    assert {k: v for k, v in one.items() if k != "passes"} == {k: v for k, v in two.items() if k != "passes"}
    row = json.loads((tmp_path / "mine" / "explainer.json").read_text())["parts"]["substitution"]
    with pytest.raises(UsageError, match="not for another"):
        stock.load(tmp_path / "mine", row, "another")
    with pytest.raises(InputError, match="cannot be read as pieces"):
        stock.load(tmp_path / "mine", row | {"donors": row["donors"][:1]}, clf.fingerprint)
    (tmp_path / "mine" / "substitution.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as pieces"):
        Explainer.load(tmp_path / "mine", clf)


# --------------------------------------------------------------------------------------------------
# One picture.


def test_the_record_text_and_page_tell_what_was_done_and_what_came_of_it(clf, fitted):
    explainer, _ = fitted
    picture = squares("cyan", 41)[0]
    e = explainer.explain(picture, versus="red", substitute=True)
    found = e.parts["substitution"]
    assert json.loads(json.dumps(found)) == found
    assert found["said"]["class_name"] == "cyan" and found["wanted"]["class_name"] == "red"
    x0, y0, x1, y1 = found["worst"]["box"]
    assert found["worst"]["speaks"] < 0 and x1 - x0 <= 14 and (picture[y0:y1, x0:x1].mean(axis=(0, 1))[1:] > 120).all()
    first = found["trials"][0]
    assert first["what"] == "exchanged" and first["flips"] and first["named"] == ["red"] * 3 and first["wanted"] > 0.7
    assert found["error"] == "confused" and found["strange"] < STRANGE
    assert len(e.pictures["substitution"]) == 1 + len(found["trials"])
    told, page = text_of(e).decode(), html(e).decode()
    assert (
        "Substitution for red: of " in told
        and "red in 3 of 3 ways" in told
        and "kind of error, if red is right: confused" in told
        and "Kind of error, if red is right: confused" in page
    )
    assert "what it takes for red" in page and page.count("data:image/jpeg") >= len(found["trials"])
    assert "measured on the classifier itself" in page


@pytest.mark.parametrize(
    ("kind", "correction", "flips", "also"),
    [("confused", "exchanged", {"exchanged"}, ""),
     ("confused", "exchanged", {"exchanged", "deleted"}, "; painting it over makes it say so too"),
     ("unseen", "exchanged", {"exchanged", "deleted", "random"},
      "; painting it over and a random patch in its place make it say so too"),
     ("false alarm", "deleted", {"deleted"}, ""),
     ("false alarm", "exchanged", {"deleted", "good"}, "; exchanging another piece makes it say so too")],
)  # fmt: skip
def test_a_kind_of_error_is_told_with_the_controls_that_do_the_same(kind, correction, flips, also):
    trials = [{"what": what, "flips": what in flips} for what in ("exchanged", "deleted", "random", "good")]
    found = {"error": kind, "correction": correction, "trials": trials, "wanted": {"class_name": "red"}}
    assert sections.kind(found) == sections.ERRORS[kind].format(wanted="red") + also


def test_the_text_tells_where_those_who_led_to_the_worst_piece_correct_it(clf, fitted):
    explainer, made = fitted
    picture = squares("cyan", 41)[0]
    few = (*made.part.of(0)[:2], *made.part.of(1))
    one = Explainer(clf, {**explainer.parts, "substitution": replace(made.part, donors=few)})
    for some, same in ((explainer, False), (one, True)):
        e = some.explain(picture, versus="red", substitute=True)
        assert e.parts["substitution"]["same_donors"] == same
        assert ("by the pictures that led to it" in text_of(e).decode()) == same


def test_only_who_asks_pays_and_what_it_costs_is_told(fitted):
    explainer, _ = fitted
    picture = squares("cyan", 42)[0]
    with counting() as plain:
        without = explainer.explain(picture, versus="red")
    with counting() as meter:
        e = explainer.explain(picture, versus="red", substitute=True)
    assert "substitution" not in without.parts
    spent = meter.forward_passes - plain.forward_passes
    assert 0 < spent <= e.parts["substitution"]["passes"] <= 60, "what others ask too costs nothing again"


def test_what_is_said_as_it_is_is_not_tried(fitted):
    e = fitted[0].explain(squares("red", 43)[0], target="cyan", versus="red", substitute=True)
    assert e.parts["substitution"]["trials"] == [] and e.parts["substitution"]["error"] is None
    assert "not tried, it is given that class" in text_of(e).decode() and "Not tried" in html(e).decode()


def test_what_cannot_be_substituted_is_refused_with_the_way_out(clf, fitted, photos):
    explainer, items, picture = fitted[0], find_images(photos), squares("cyan", 44)[0]
    with pytest.raises(UsageError, match="--parts concepts,substitution"):
        Explainer(clf).explain(picture, substitute=True)
    with pytest.raises(UsageError, match="--parts concepts,substitution"):
        Explainer(clf, {"concepts": explainer.parts["concepts"]}).explain(picture, substitute=True)
    strange = replace(explainer.parts["substitution"], bank="another")
    with pytest.raises(UsageError, match="another bank"):
        Explainer(clf, {**explainer.parts, "substitution": strange}).explain(picture, substitute=True)
    bank = explainer.parts["concepts"]
    assert strange.bank != digest(bank) == explainer.parts["substitution"].bank
    with pytest.raises(UsageError, match="there are no concepts"):
        part.fit(clf, items, Fitting("clearest"))
    with pytest.raises(UsageError, match="exclude nothing"):
        part.fit(replace(clf, activation="sigmoid"), items, Fitting("clearest", parts={"concepts": bank}))
    with pytest.raises(UsageError, match="two classes"):
        part.fit(clf, items, Fitting("clearest", parts={"concepts": replace(bank, classes={0: "red"})}))
    with pytest.raises(InputError, match="none of 1 pictures"):
        part.fit(clf, [replace(items[0], path=items[0].path / "no")], Fitting("clearest", parts={"concepts": bank}))


def test_the_command_line_fits_and_substitutes(photos, tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "from test_substitution import Squares\n\ndef make():\n    return Squares().eval()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = ["--model", "nets:make", "--size", str(SIDE), "--resize", "0", "--mean", "0", "--std", "1",
             "--layer", "pool", "--activation", "softmax"]  # fmt: skip
    folder = str(tmp_path / "mine")
    made = CliRunner().invoke(app, ["fit", str(photos), "--parts", "concepts,substitution", "-o", folder, *model])
    assert made.exit_code == 0, made.output
    Image.fromarray(squares("cyan", 45)[0]).save(tmp_path / "one.png")
    args = ["explain", str(tmp_path / "one.png"), "--explainer", folder, "--versus", "0", "--format", "json", *model]
    plain, asked = (CliRunner().invoke(app, [*args, *more]) for more in ([], ["--substitute"]))
    assert plain.exit_code == asked.exit_code == 0, asked.output
    assert "substitution" not in json.loads(plain.stdout)["parts"]
    assert json.loads(asked.stdout)["parts"]["substitution"]["wanted"]["class_index"] == 0
