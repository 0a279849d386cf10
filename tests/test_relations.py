"""A relation is named where moving a piece confirms it: if a classifier reads an order or a distance, and not else."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import oracles
import saywhy
from saywhy import cli
from saywhy.errors import UsageError
from saywhy.explanation import Explanation
from saywhy.image import Preprocess, read
from saywhy.intervene import CONFIRMING, displaced, displaced_probabilities, fits, hide, remembering, shifted
from saywhy.language import Claim, Region, parse, write
from saywhy.passes import counting
from saywhy.relations.holding import Lost, holds, may
from saywhy.relations.kinds import KINDS, WORDS, kind_of
from saywhy.relations.pieces import MOST, pieces
from saywhy.relations.trial import Movable, search
from saywhy.relations.turns import RELATIONS, turns
from saywhy.render import RENDERERS

SIDE, SQUARE = 96, 10
PLAINLY = Preprocess((SIDE, SIDE), None, (0, 0, 0), (1, 1, 1))
RED, BLUE = (0.85, 0.1, 0.1), (0.1, 0.15, 0.85)


def scene(red=(36, 40), blue=(52, 40)):
    """A red and a blue square (top, left) on grey that is not quite even."""
    rows = np.linspace(0.48, 0.56, SIDE)[:, None, None]
    pixels = np.broadcast_to(rows, (SIDE, SIDE, 3)).copy()
    for (y, x), colour in ((red, RED), (blue, BLUE)):
        pixels[y : y + SQUARE, x : x + SQUARE] = colour
    return read((pixels * 255).round().astype(np.uint8))


def masks(red=(36, 40), blue=(52, 40)):
    out = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    for one, (y, x) in zip(out, (red, blue), strict=True):
        one[y : y + SQUARE, x : x + SQUARE] = True
    return out


def found(images, channel):
    """How much of the square is seen, 0 to 1, and its middle (y, x), of each image."""
    others = [c for c in range(3) if c != channel]
    seen = (images[:, channel] - images[:, others].amax(1) > 0.4).double()
    mass = seen.sum((1, 2))
    at = torch.arange(SIDE, dtype=torch.float64)
    y, x = (seen.sum(axis) @ at / mass.clamp_min(1) for axis in (2, 1))
    return (mass / SQUARE**2).clamp(0, 1), y, x


def both_seen(images):
    (red, yr, xr), (blue, yb, xb) = found(images, 0), found(images, 2)
    return torch.minimum(red, blue), yb - yr, torch.hypot(yb - yr, xb - xr), yr, yb, xb - xr


def scored(value):
    return torch.stack([value, torch.zeros_like(value)], 1).float()


def order(images):
    there, down, *_ = both_seen(images)
    return scored(-3 + 6 * there * torch.sigmoid(down / 2))


def sideways(images):
    there, *_, right = both_seen(images)
    return scored(-3 + 6 * there * torch.sigmoid(right / 2))


def closeness(images):
    there, _, apart, *_ = both_seen(images)
    return scored(-3 + 6 * there * torch.sigmoid((28 - apart) / 2))


def places(images):
    """Each square by its own height: nothing between them."""
    *_, yr, yb, _ = both_seen(images)
    red, blue = found(images, 0)[0], found(images, 2)[0]
    return scored(1.5 * red * torch.tanh((43 - yr) / 3) + 1.5 * blue * torch.tanh((yb - 43) / 3))


def presence(images):
    return scored(-3 + 6 * both_seen(images)[0])


def mass(images):
    """How much of each is seen, by itself."""
    return scored(3 * found(images, 0)[0] + 3 * found(images, 2)[0] - 3)


def one_place(images):
    """The red square's height alone."""
    seen, y, _ = found(images, 0)
    return scored(-3 + 6 * seen * torch.sigmoid((43 - y) / 2))


def constant(images):
    return torch.tensor([[3.0, 0.0]]).repeat(len(images), 1)


def box(answer):
    return saywhy.Classifier(answer, classes=("it", "other"), preprocess=PLAINLY)


def told(answer, picture=None, **how) -> Explanation:
    return saywhy.explain(box(answer), picture or scene(), "it", relations=True, **how)


def named(e):
    return [s for s in e.statements if s.kind.startswith("relation_")]


# --------------------------------------------------------------------------------------------------
# What is named.


@pytest.mark.parametrize(
    ("answer", "red", "blue", "kinds"),
    [
        (order, (36, 40), (52, 40), {"above", "below"}),
        (order, (30, 22), (46, 58), {"above", "below"}),
        (order, (36, 58), (54, 32), {"above", "below"}),
        (sideways, (40, 32), (40, 48), {"left", "right"}),
        (closeness, (40, 34), (40, 54), {"near"}),
    ],
)
def test_the_relation_that_decides_is_named_and_the_sentence_reads_back(answer, red, blue, kinds):
    e = told(answer, scene(red, blue))
    (statement,) = named(e)
    assert statement.kind.removeprefix("relation_") in kinds
    claim = parse(statement.text) if "the" in statement.text.split(" lies ")[0] else None
    assert claim is None or write(claim) == statement.text
    tried = [row for row in e.parts["relations"]["tried"] if row["confirmed"]]
    assert [r["relation"] for r in tried] == [statement.kind.removeprefix("relation_")]
    assert e.parts["relations"]["passes"] <= 200
    assert statement.effect.low <= statement.effect.change <= statement.effect.high < 0


@pytest.mark.parametrize("answer", [places, presence, mass, one_place, constant], ids=lambda f: f.__name__)
@pytest.mark.parametrize("at", [((36, 40), (52, 40)), ((26, 30), (44, 56)), ((22, 60), (56, 34))])
def test_what_counts_by_its_own_place_or_presence_is_no_relation(answer, at):
    e = told(answer, scene(*at))
    assert not named(e)
    assert not any(row["confirmed"] for row in e.parts["relations"]["tried"])


def test_nothing_is_tried_unless_asked_and_asking_changes_nothing_else():
    plain = saywhy.explain(box(order), scene(), "it")
    asked = told(order)
    assert "relations" not in plain.parts and asked.cost.forward_passes > plain.cost.forward_passes
    assert [s.text for s in plain.statements] == [s.text for s in asked.statements if s not in named(asked)]


def test_the_batch_size_changes_nothing_and_what_was_asked_costs_nothing():
    picture, records = scene(), []
    for rows in (1, 3, 64):
        clf = saywhy.Classifier(order, classes=("it", "other"), preprocess=PLAINLY, batch_size=rows)
        records.append(saywhy.explain(clf, picture, "it", relations=True).parts["relations"])
    assert records[0] == records[1] == records[2]
    clf = box(order)
    with remembering():
        first = saywhy.explain(clf, picture, "it", relations=True)
        with counting() as meter:
            again = saywhy.explain(clf, picture, "it", relations=True)
    assert again.parts["relations"]["passes"] == 0 < first.parts["relations"]["passes"]
    assert meter.forward_passes < 5 and again.text == first.text


# --------------------------------------------------------------------------------------------------
# Displacing, against a slow plain oracle.


def plain(image, regions, moves, fill, seed):
    gone = torch.stack([regions[i] for i, _, _ in moves]).any(0)
    return oracles.displaced(image, hide(image, ~gone[None], fill, seed)[0], regions, moves)


@pytest.mark.parametrize(("fill", "seed"), CONFIRMING)
@pytest.mark.parametrize("moves", [[(0, 12, 0)], [(0, -7, 5), (1, -7, 5)], [(1, 3, -20), (0, 20, 0)]])
def test_a_displaced_picture_is_the_plain_one(fill, seed, moves):
    image, regions = torch.rand(3, 48, 40, generator=torch.Generator().manual_seed(1)), torch.zeros(2, 48, 40)
    regions[0, 10:18, 12:20], regions[1, 20:26, 22:34] = 1, 1
    part = displaced(image, regions.bool(), [tuple(moves)], fill, seed)
    shown = part.pictures(torch.arange(1), part.make(0, 1))[0]
    assert torch.allclose(shown, plain(image, regions.bool(), moves, fill, seed), atol=1e-5)


def test_what_moves_both_ways_is_back_where_it_was():
    values = torch.rand(3, 9, 7)
    there = shifted(shifted(values, 2, -3), -2, 3)
    assert torch.equal(there[:, :7, 3:], values[:, :7, 3:]) and not there[:, 7:].any() and not there[..., :3].any()
    assert not shifted(values, 9, 0).any() and not shifted(values, 0, -40).any()


@pytest.mark.parametrize(
    ("regions", "moves", "why"),
    [
        (masks(), [((0, SIDE, 0),)], "leaves the picture"),
        (masks(), [((0, 0, -41),)], "leaves the picture"),
        (torch.zeros(1, SIDE, SIDE, dtype=torch.bool), [((0, 1, 1),)], "is empty"),
        (torch.ones(1, SIDE, SIDE, dtype=torch.bool), [((0, 1, 0),)], "leaves the picture"),
        (masks(), [], "at least one region"),
        (masks(), [()], "at least one region"),
        (masks().float(), [((0, 1, 1),)], "boolean masks"),
        (masks()[:, 1:], [((0, 1, 1),)], "boolean masks"),
    ],
)
def test_what_cannot_be_displaced_is_refused(regions, moves, why):
    with pytest.raises(UsageError, match=why):
        displaced(torch.zeros(3, SIDE, SIDE), regions, moves)


def test_answers_are_those_of_the_displaced_pictures():
    clf, regions = box(order), masks()
    image = clf.prepare([scene()])[0][0]
    moves = [((0, 30, 0),), ((0, 10, 0), (1, 10, 0))]
    got = displaced_probabilities(clf, image, regions, moves, ways=CONFIRMING[:2])
    for w, (fill, seed) in enumerate(CONFIRMING[:2]):
        for m, move in enumerate(moves):
            picture = plain(image, regions, move, fill, seed)
            assert torch.allclose(got[w, m], clf.probabilities(picture[None])[0].double(), atol=1e-5)


# --------------------------------------------------------------------------------------------------
# Moves, pieces, verdict.


def test_every_relation_is_ended_by_its_move_and_kept_by_the_others():
    def lies(name, a, b):
        (ya, xa), (yb, xb) = (np.argwhere(m.numpy()).mean(0) for m in (a, b))
        order = {"above": ya < yb, "below": ya > yb, "left": xa < xb, "right": xa > xb}
        return order.get(name, float(np.hypot(ya - yb, xa - xb)))

    for red, blue in (((32, 32), (52, 52)), ((50, 56), (34, 32))):
        pair = masks(red, blue)
        seen = {t.relation: t for t in turns(pair, 0, 1)}
        assert {"near", "far"} < set(seen) and len(seen) >= 3 and set(seen) <= set(RELATIONS)
        for name, turn in seen.items():
            before = lies(name, *pair)
            ended = lies(name, shifted(pair[0], *turn.shift), pair[1])
            both = lies(name, *(shifted(m, *turn.shift) for m in pair))
            free = lies(name, shifted(pair[0], *turn.elsewhere), pair[1])
            if name in ("near", "far"):
                assert both == pytest.approx(before) and abs(ended / before - (2 if name == "near" else 0.5)) < 0.05
                assert free == pytest.approx(before, rel=0.05) if name == "near" else free > before
            else:
                assert before and both and free and not ended


def test_no_move_leaves_the_picture_or_covers_the_other_piece():
    corner = masks((0, 0), (0, SQUARE))
    for pair in (corner, masks((40, 40), (44, 44)), masks((2, 2), (80, 84))):
        for one, other in ((0, 1), (1, 0)):
            for t in turns(pair, one, other):
                assert fits(pair[one], *t.shift) and fits(pair[other], *t.shift) and fits(pair[one], *t.elsewhere)
                for s in (t.shift, t.elsewhere):
                    assert not (shifted(pair[one], *s) & pair[other]).any()


def test_pieces_are_small_regions_and_patches_that_stand_out_in_regions():
    image = torch.from_numpy(scene().pixels.copy()).permute(2, 0, 1) / 255
    large = np.zeros((1, SIDE, SIDE), dtype=bool)
    large[0, 20:70, 20:70] = True
    cut = pieces(image.float(), large)
    assert not any(cut.whole) and set(cut.parents) == {0} and 2 <= len(cut.masks) <= MOST
    for square in masks().numpy():
        assert max((m & square).sum() / (m | square).sum() for m in cut.masks) > 0.6
    small = pieces(image.float(), masks().numpy())
    assert small.whole[:2] == (True, True) and small.parents[:2] == (0, 1)
    assert np.array_equal(small.masks[:2], masks().numpy())
    everything = np.ones((1, SIDE, SIDE), dtype=bool)
    assert not any(m.all() for m in pieces(image.float(), everything).masks)
    assert len(pieces(image.float(), everything[:0]).masks) == 0


def test_with_fewer_than_two_pieces_nothing_is_asked():
    clf = box(order)
    image = clf.prepare([scene()])[0][0]
    for few in (masks()[:0], masks()[:1]):
        with counting() as meter:
            assert search(Movable(clf, image, few, 0, 0.9), mirror=False).tried == []
        assert meter.forward_passes == 0


def lost(one, other=0.0, both=0.0, elsewhere=0.0):
    return Lost(*(np.broadcast_to(np.asarray(v, dtype=float), (5,)).copy() for v in (one, other, both, elsewhere)))


@pytest.mark.parametrize(
    ("points", "odds", "right"),
    [
        (lost(0.4), lost(2.0), True),
        (lost(0.04), lost(2.0), False),  # less than 5 points
        (lost(0.4), lost(0.8), False),  # less than a unit of log-odds
        (lost(0.4, both=0.3), lost(2.0, both=0.2), False),  # keeping it costs points
        (lost(0.4, both=0.1), lost(2.0, both=1.1), False),  # or evidence
        (lost(0.4, elsewhere=0.3), lost(2.0), False),  # moving it anywhere does
        (lost(0.4), lost(2.0, other=-1.5), False),  # it is the other piece that gains
        (lost(0.4), lost([2, 2, 2, 2, -0.1]), False),  # one way has another sign
        (lost(0.4), lost([3, 3, 3, 3, 1], both=[0, 0, 0, 0, 0.9]), True),  # no single way decides
        (lost(0.4), lost([3, 3, 3, 1, 1], both=[0, 0, 0, 0.9, 0.9]), False),
        (lost(0.4), lost([3, 3, 3, 3, 1], both=[0, 0, 0, 0, 1.2]), False),  # in one way moving both costs more
        (lost(0.4), lost(3.0, other=[0, 0, 0, -2.8, -2.8]), False),  # in two ways it is the other piece's gain
    ],
)
def test_a_relation_holds_where_ending_it_costs_and_keeping_it_does_not(points, odds, right):
    assert holds(points, odds, 0.05) is right
    assert not right or may(points.mean(), odds.mean(), 0.05)


# --------------------------------------------------------------------------------------------------
# How it is told.


@pytest.mark.parametrize("name", WORDS)
def test_every_relation_has_a_sentence_that_reads_back(name):
    one = Region("1a", "small red", "top left")
    claims = [
        Claim(kind_of(name), (one, Region("2", "black", "centre", None, "")), ("great “auk”",), (83,), 62, 51, 73),
        Claim(kind_of(name), (Region("1a"), Region("2")), ("wren",), (0,), 100, 90, 110),
        Claim(kind_of(name), (Region("3", "", "top", None, "eye patch"), Region("2b")), ("wren",), (100,), 1, 0, 2),
    ]
    assert set(KINDS) == {kind_of(n) for n in WORDS} and set(WORDS) == set(RELATIONS)
    for claim in claims:
        assert parse(write(claim)) == claim
    assert write(claims[0]).startswith(
        f"Region 1a, the small red patch at the top left, lies {WORDS[name].lies} region 2,"
    )


def test_text_page_panel_and_record_tell_what_was_tried():
    e = told(order)
    found = e.parts["relations"]
    (row,) = [r for r in found["tried"] if r["confirmed"]]
    assert len(row["runs"]) in (5, 10) and {r["mirrored"] for r in row["runs"]} == {False, True}
    assert row["lost"]["one"] == pytest.approx(e.target.probability - np.mean([r["one"] for r in row["runs"][:5]]))
    assert {p["id"] for p in found["pieces"]} >= {row["moved"], row["kept"]}
    assert json.loads(json.dumps(found)) == found and len(e.pictures["relations"]) == 2
    text = RENDERERS["text"].function(e).decode()
    assert "Relations: " in text and f"{found['passes']} passes" in text and "(confirmed)" in text
    html = RENDERERS["html"].function(e).decode()
    assert (
        html.count("both moved as far") >= 1
        and "moved elsewhere" in html
        and named(e)[0].text.split(":")[1][:20] in html
    )
    assert RENDERERS["png"].function(e) != RENDERERS["png"].function(saywhy.explain(box(order), scene(), "it"))
    nothing = RENDERERS["text"].function(told(constant)).decode()
    assert "Relations: not tried, no region counts." in nothing


def test_the_command_line_asks_for_relations(tmp_path, monkeypatch):
    from PIL import Image

    Image.fromarray(scene().pixels).save(tmp_path / "a.png")
    args = ["explain", str(tmp_path / "a.png"), "--model", "aviary:cnn", "--format", "json", "-q"]
    plain, asked = (CliRunner().invoke(cli.app, [*args, *more]) for more in ([], ["--relations"]))
    assert plain.exit_code == asked.exit_code == 0
    assert "relations" not in json.loads(plain.stdout)["parts"] and "relations" in json.loads(asked.stdout)["parts"]
