"""Concepts: how they are found, what each counts, the bank and its files, and what bad pictures do to them."""

import base64
import io
import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.stats import ttest_1samp
from sklearn.linear_model import Ridge
from torch import nn
from typer.testing import CliRunner

import oracles
import saywhy
import tiny
from saywhy import Classifier, Explainer, Preprocess
from saywhy.cli import app
from saywhy.collection import Item, find_images
from saywhy.concepts import bank as banks
from saywhy.concepts import cell_head, discovery, making, relevance, studying
from saywhy.concepts import gather as gathering
from saywhy.concepts.cell_head import CellHead, learned, some_cells
from saywhy.concepts.discovery import ACTIVE, DISCOVERY, Basis, topk_sae
from saywhy.concepts.extraction import ALIKE, INSIDE, attended, segments, superpixels
from saywhy.concepts.fidelity import Fidelity, fewest, fidelities
from saywhy.concepts.finding import find_concepts, hypotheses, on_patches
from saywhy.concepts.gallery import gallery
from saywhy.concepts.likeness import carried, matched, stability
from saywhy.concepts.looking import looked_at
from saywhy.concepts.making import APPROACHES, Approach, make_bank
from saywhy.concepts.relevance import beyond, discoveries, separating, take_out, unpaired, without
from saywhy.errors import InputError, UsageError
from saywhy.image import read
from saywhy.parts import PARTS
from saywhy.passes import counting
from saywhy.seen import look
from saywhy.train.checkpoint import beside, unfinished

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}


class Patches(nn.Module):
    """Class 0 is how much red there is, class 1 that there is none; green and blue are seen and count for nothing."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.conv.weight.data = (torch.eye(3) * 2 - 1)[:, :, None, None]
        self.conv.bias.data = torch.zeros(3)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AvgPool2d(2), nn.Linear(3, 2)
        self.head.weight.data = torch.tensor([[60.0, 0, 0], [0, 0, 0]])
        self.head.bias.data = torch.tensor([0.0, 2.0])

    def tail(self, A):
        return self.head(A.mean(dim=(2, 3)))

    def forward(self, x):
        return self.tail(self.pool(self.relu(self.conv(x))))


def patchy(names, seed, side=32):
    """A dark picture with squares of these colours."""
    pixels = np.full((side, side, 3), 12, dtype=np.uint8)
    places = np.random.default_rng(seed).permutation(4)
    for name, at in zip(names, places, strict=False):
        y, x = divmod(int(at), 2)
        pixels[16 * y + 3 : 16 * y + 13, 16 * x + 3 : 16 * x + 13] = COLOURS[name]
    return pixels


@pytest.fixture
def clf():
    plain = Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(Patches().eval(), classes=("red", "other"), preprocess=plain, layer="pool")


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures, half of them of the class "red", the others with green, all with blue in them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):
        Image.fromarray(patchy([("red", "green")[n % 2], "blue"], n)).save(folder / f"{n:02}.png")
    return folder


SMALL = Approach("dense", "kmeans", counts=(2, 4))


def planted(n=400, k=3, K=8, signed=False, seed=0):
    """Vectors that are each one of k directions and a little noise, and the directions."""
    random = torch.Generator().manual_seed(seed)
    V = F.normalize(torch.eye(K)[:k] + 0.1 * torch.rand(k, K, generator=random), dim=1)
    V = V * (1 - 2 * (torch.arange(k) % 2))[:, None] if signed else V
    own = torch.randint(k, (n,), generator=random)
    size = 1 + torch.rand(n, 1, generator=random)
    return size * V[own] + 0.01 * torch.rand(n, K, generator=random), V


def cosines(a, b):
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(discovery, "STEPS", 60)


# --------------------------------------------------------------------------------------------------
# Ways to find concepts.


@pytest.mark.parametrize("name", DISCOVERY)
@pytest.mark.parametrize("signed", [False, True])
def test_every_way_tells_vectors_better_with_more_concepts_and_the_same_with_the_same_seed(name, signed):
    X, _ = planted(signed=signed, k=6)
    errors = []
    for k in (1, 6):
        basis = DISCOVERY[name].fit(X, k, 3)
        codes, near = basis.encode(X)
        assert codes.shape == near.shape == (400, k) and (codes >= 0).all()
        errors.append(float(((basis.told(codes) - X) ** 2).sum()))
        again = DISCOVERY[name].fit(X, k, 3)
        assert torch.equal(basis.vectors, again.vectors) and torch.equal(codes, again.encode(X)[0])
        order = torch.arange(k).flip(0)
        assert torch.allclose(basis.ordered(order).encode(X)[0], codes[:, order], atol=2e-2)
    assert errors[1] < 0.2 * errors[0]


def test_planted_directions_are_found_by_factors_that_add_up():
    X, V = planted()
    assert cosines(V, DISCOVERY["nmf"].fit(X, 3, 0).vectors).max(dim=1).values.min() > 0.98


@pytest.mark.parametrize("signed", [False, True])
def test_codes_are_those_of_slow_plain_versions(signed):
    X, _ = planted(n=40, k=4, signed=signed)
    o = X.mean(0)

    def arrays(*tensors):
        return [t.double().numpy() for t in tensors]

    clusters = DISCOVERY["kmeans"].fit(X, 4, 0)
    codes, near = clusters.encode(X)
    assert codes.argmax(1).tolist() == near.argmax(1).tolist()
    assert codes.argmax(1).tolist() == oracles.nearest_centre(*arrays(X, clusters.vectors, clusters.offset))
    assert codes.sum(1).tolist() == [1] * 40
    factors = Basis("nmf", F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1), o)
    expected = oracles.least_squares_above_zero(*arrays(X, factors.vectors, o))
    assert np.allclose(factors.encode(X)[0].numpy(), expected, atol=2e-3)
    sparse = topk_sae(X, 7, 0)
    inner = sparse.inner
    expected = oracles.top_units(*arrays(X, sparse.offset, inner["up"], inner["lift"]), float(inner["spread"]), ACTIVE)
    codes, near = sparse.encode(X)
    assert np.allclose(codes.numpy(), expected, atol=1e-4) and (near >= codes).all()
    assert int((codes > 0).sum(1).max()) <= ACTIVE < 7


def test_negative_activations_are_told_from_their_mean_and_positive_ones_from_zero():
    positive, signed = planted()[0], planted(signed=True)[0]
    assert not DISCOVERY["nmf"].fit(positive, 3, 0).offset.any()
    basis = DISCOVERY["nmf"].fit(signed, 3, 0)
    assert torch.allclose(basis.offset, signed.mean(0)) and (basis.vectors < 0).any()


# --------------------------------------------------------------------------------------------------
# Where they are looked for.


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [-9.0, -0.5, 0.0, 9.0])
def test_attended_is_what_is_positive_and_not_below_the_median(seed, shift):
    M = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) + shift
    assert attended(M, (6, 5)).tolist() == oracles.attended_cells(M.numpy()).tolist()


def test_superpixels_lie_where_the_class_is_seen_and_no_two_are_alike():
    pixels = tiny.images(1, side=48)[0].permute(1, 2, 0).double().numpy()
    mask = np.zeros((48, 48), dtype=bool)
    mask[:, 20:] = True
    found = segments(pixels, mask)
    assert len(found) > 20
    assert all(mask[one].mean() >= INSIDE for one in found)
    alike = [(a & b).sum() / (a | b).sum() for i, a in enumerate(found) for b in found[:i]]
    assert 0 < max(alike) <= ALIKE


def test_a_superpixel_s_vector_is_the_mean_of_its_cells_by_their_share():
    picture, maps = tiny.images(1)[0], torch.rand(4, 8, 8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:, :6] = True
    found = superpixels(picture, maps, mask)
    pixels = mask.repeat_interleave(4, 0).repeat_interleave(4, 1).numpy()
    own = segments(picture.permute(1, 2, 0).double().numpy(), pixels)
    for vector, segment in zip(found, own, strict=True):
        total, weights = torch.zeros(4), 0.0
        for y, x in np.argwhere(segment):
            total, weights = total + maps[:, y // 4, x // 4], weights + 1
        assert torch.allclose(vector, total / weights, atol=1e-5)


def test_the_number_of_concepts_is_the_smallest_within_a_standard_error_of_the_best():
    def lost(*values):
        return Fidelity(np.array(values), np.ones(len(values)))

    assert fewest({2: lost(0.5, 0.5, 0.5), 4: lost(0.1, 0.2, 0.3), 8: lost(0.09, 0.19, 0.29)}) == 4
    assert fewest({2: lost(0.5, 0.5), 4: lost(0.1, 0.1), 8: lost(0.09, 0.09)}) == 8
    assert fewest({2: lost(0.1, 0.1), 4: lost(0.1, 0.1)}) == 2
    assert fewest({1: lost(0.3), 2: lost(0.2)}) == 2


def test_fidelity_is_one_where_concepts_tell_everything_and_zero_where_they_tell_the_mean(clf, photos):
    items = find_images(photos)[:4]
    mean = torch.cat([looked_at(clf, i).maps.flatten(1) for i in items], 1).mean(1)
    whole, nothing = Basis("nmf", torch.eye(3), torch.zeros(3)), Basis("nmf", torch.zeros(1, 3), mean)
    found = fidelities({1: nothing, 3: whole}, items, mean, lambda item: looked_at(clf, item))
    assert found[3].value == pytest.approx(1) and found[1].value == pytest.approx(0, abs=1e-6)
    assert Fidelity(np.zeros(2), np.zeros(2)).value is None


# --------------------------------------------------------------------------------------------------
# What they count.


def test_taking_a_concept_out_is_asking_the_tail_about_activations_without_it(clf, photos):
    seen = looked_at(clf, find_images(photos)[0])
    basis = Basis("nmf", torch.eye(3), torch.zeros(3))
    codes, _ = basis.encode(seen.vectors)
    taken = take_out(seen, basis, codes, torch.tensor([True, False, True]), torch.rand(50, 3), 0, floor=True)
    p = float(clf.net.tail(seen.maps[None]).softmax(1)[0, 0].detach())
    for j in (0, 2):
        A = seen.maps.clone()
        for y in range(16):
            for x in range(16):
                A[:, y, x] -= codes[16 * y + x, j] * basis.vectors[j]
        q = float(clf.net.tail(A.clamp_min(0)[None]).softmax(1)[0, 0].detach())
        assert taken.lost[j] == pytest.approx(p - q, abs=1e-5)
        assert taken.odds[j] == pytest.approx(np.log(p / (1 - p)) - np.log(q / (1 - q)), abs=1e-3)
    assert taken.lost[0] > 0.3 and abs(taken.lost[2]) < 1e-6 and taken.lost[1] == taken.odds[1] == taken.control[1] == 0
    assert torch.allclose(taken.gradient, clf.net.head.weight[0].detach(), atol=1e-4)


def test_nothing_falls_below_what_the_layer_gives():
    X, codes, V = torch.tensor([[1.0, 0.5]]), torch.tensor([[2.0]]), torch.tensor([[1.0, 0.0]])
    assert without(X, codes, V, floor=False)[0].tolist() == [[-1.0, 0.5]]
    assert without(X, codes, V, floor=True)[0].tolist() == [[0.0, 0.5]]


def test_the_direction_between_two_sets_is_that_of_ridge_regression():
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(9, 5, generator=random) + 1, torch.randn(7, 5, generator=random)
    X = torch.cat([first, second]).double().numpy()
    penalty = relevance.RIDGE * float(((X - X.mean(0)) ** 2).sum(1).mean())
    slow = Ridge(alpha=penalty).fit(X, [1] * 9 + [-1] * 7).coef_
    assert np.allclose(separating(first, second).numpy(), slow / np.linalg.norm(slow), atol=1e-4)


def test_discoveries_are_those_of_the_plain_procedure():
    random = np.random.default_rng(0)
    for _ in range(20):
        p = (random.random(30) ** random.integers(1, 9)).tolist()
        assert discoveries(p) == oracles.false_discoveries(p, relevance.FALSE_DISCOVERIES)
    assert discoveries([]) == []


def test_what_never_differs_is_no_discovery():
    none = np.zeros(5)
    assert beyond(none, none) == beyond(np.array([3.0]), none[:1]) == unpaired(np.ones(4), np.ones(4)) == 1
    assert beyond(np.ones(5), none) == beyond(-np.ones(5), none) == 0
    effects = np.array([1.0, 1.1, 0.9, 1.0])
    assert beyond(effects, none[:4]) == pytest.approx(float(ttest_1samp(effects, 0).pvalue))
    assert beyond(effects, np.array([2.0, -2.0, 2.0, -2.0])) == 1, "controls count by their size"
    assert unpaired(np.zeros(20), np.ones(20)) < 1e-6


def concept_of(bank, name):
    """The concept whose vector, from nothing, is the most of a colour."""
    told = bank.basis.offset + bank.basis.vectors
    return int(told[:, list(COLOURS).index(name)].argmax())


@pytest.mark.parametrize("name", DISCOVERY)
def test_what_the_class_reads_counts_and_what_it_does_not_read_does_not(name, clf, photos):
    bank, failures = make_bank(clf, find_images(photos), Approach("dense", name, counts=(4,)))
    assert failures == () and set(bank.classes) == {0, 1}
    red = concept_of(bank, "red")
    assert red == 0, "what counts most comes first"
    rows = {r.class_index: r for r in bank.relevance if r.concept == red}
    assert rows[0].lost > 0.4 and rows[0].counts and rows[0].present == rows[0].pictures == 6
    assert rows[0].low <= rows[0].lost <= rows[0].high and rows[0].odds > 5 * rows[0].control
    assert rows[0].tcav == 1 and rows[0].tcav_counts
    # What is told from the mean goes to the mean where it is taken out, and the mean has red in it.
    assert name != "nmf" or not any(r.counts for r in bank.relevance if r.class_index == 1)


def test_a_concept_that_is_seen_and_not_read_loses_nothing(photos, clf):
    bank, _ = make_bank(clf, find_images(photos), Approach("dense", "nmf", counts=(3,)))
    blue = [r for r in bank.relevance if r.concept == concept_of(bank, "blue")]
    assert len(blue) == 2 and any(r.present for r in blue) and not any(r.counts for r in blue)
    assert all(abs(r.lost) < 0.01 and abs(r.odds) < 0.1 for r in blue)


# --------------------------------------------------------------------------------------------------
# Making a bank.


def same(a, b):
    return (
        torch.equal(a.basis.vectors, b.basis.vectors) and torch.equal(a.least, b.least)
        and a.relevance == b.relevance and a.exemplars == b.exemplars and a.card == b.card
    )  # fmt: skip


def test_the_same_seed_gives_the_same_bank_whatever_the_batch_size(clf, photos):
    items = find_images(photos)
    bank = make_bank(clf, items, SMALL)[0]
    assert same(bank, make_bank(clf, items, SMALL)[0])
    assert same(bank, make_bank(replace(clf, batch_size=2), items, SMALL)[0])
    assert not same(bank, make_bank(clf, items, SMALL, seed=1)[0])


def test_the_card_says_what_the_bank_was_made_of(clf, photos):
    for n, name in enumerate(("red", "other")):
        (photos / name).mkdir()
        for file in sorted(photos.glob("*.png"))[: 6 - 2 * n : 1]:
            file.rename(photos / name / file.name)
    (photos / "red" / "broken.png").write_bytes(b"no picture")
    bank, failures = make_bank(clf, [*find_images(photos), Item(photos / "none.png")], SMALL)
    card = bank.card
    assert [path.rsplit("/", 1)[1] for path, _ in failures] == ["broken.png", "none.png"]
    assert card["pictures"] == sum(card["pictures_of_class"].values()) and card["unreadable"] == 2
    assert card["concepts"] in (2, 4) and list(card["fidelity"]) == ["2", "4"] and card["held_out"] >= 1
    assert 0 < card["attended"] <= 1 and card["vectors"]["kept"] <= card["vectors"]["of"]
    assert card["given_labels_that_agree"] is not None
    assert set(card["stability"]) == {"reseeded", "halves"}
    assert 0.5 < card["cells"]["agrees"] <= 1 and card["cells"]["learned_from"] > 0 and card["cells"]["layers"]
    assert -1 <= card["stability"]["halves"]["mean_cosine"] <= 1


def killed_at(place):
    """Hears the steps of a run, and ends it at the first that starts so."""

    def tell(step):
        if step.startswith(place):
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize(
    ("place", "goes_on", "way"),
    [
        ("looking at pictures: 7", "looking at pictures: 5 of 12", SMALL),
        ("finding 4 concepts", "finding 4 concepts in ", SMALL),
        ("finding 4 concepts", "finding 4 concepts in ", Approach("dense", "topk-sae", counts=(2, 4))),
        ("telling held-out", "telling held-out pictures by concepts", SMALL),
        ("taking concepts out of pictures: 7", "taking concepts out of pictures: 5 of 12", SMALL),
        ("learning which", "learning which concept each cell is of", SMALL),
    ],
)
def test_an_interrupted_run_goes_on_where_it_was_to_the_same_bank(
    clf, photos, tmp_path, monkeypatch, place, goes_on, way
):
    monkeypatch.setattr(gathering, "SAVED", 4)
    monkeypatch.setattr(studying, "SAVED", 4)
    items, file, straight, again = find_images(photos), tmp_path / "concepts.checkpoint.safetensors", [], []
    whole = make_bank(clf, items, way, tell=straight.append)[0]
    with pytest.raises(KeyboardInterrupt):
        make_bank(clf, items, way, checkpoint=file, tell=killed_at(place))
    assert same(make_bank(clf, items, way, checkpoint=file, tell=again.append)[0], whole)
    assert again[0].startswith(goes_on) and again == straight[-len(again) :]


def test_steps_of_another_run_are_refused_and_those_of_a_run_that_ended_go(clf, photos, tmp_path):
    items, file = find_images(photos), tmp_path / "concepts.checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        make_bank(clf, items, SMALL, checkpoint=file, tell=killed_at("learning which"))
    for how in ({"seed": 1}, {"way": Approach("dense", "nmf", SMALL.counts)}, {"items": items[1:]}):
        with pytest.raises(UsageError, match=r"another run.*delete the"):
            make_bank(**{"clf": clf, "items": items, "way": SMALL, "checkpoint": file} | how)
    beside(file, "looking-0").write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="delete it"):
        make_bank(clf, items, SMALL, checkpoint=file)
    for left in unfinished(file):
        left.unlink()
    Explainer.fit(clf, photos, ["concepts"], folder=tmp_path).save(tmp_path)
    assert not unfinished(file)


def test_memory_is_bounded_by_a_sample_of_each_picture(clf, photos, monkeypatch):
    monkeypatch.setattr(gathering, "VECTORS", 60)
    found = gathering.gather(clf, find_images(photos), "dense", seed=0)
    assert set(Counter(found.owners.tolist()).values()) == {5} and found.offered > 60
    monkeypatch.setattr(gathering, "PICTURES", 7)
    assert len(gathering.gather(clf, find_images(photos), "dense", seed=0).items) == 7


@pytest.mark.parametrize("way", APPROACHES)
@pytest.mark.parametrize("net", ["cnn", "vit"])
def test_every_way_makes_a_bank_of_a_network_with_a_few_pictures(way, net, tmp_path):
    for n in range(3):
        pixels = (tiny.images(1, seed=n, side=40)[0] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"{n}.png")
    model = tiny.classifier(tiny.build(net))
    bank, _ = make_bank(model, find_images(tmp_path), replace(APPROACHES[way], counts=(3,)))
    assert 1 <= len(bank) <= 3 and len(bank.exemplars) == len(bank)
    assert bank.floor == (net == "cnn")
    assert all(np.isfinite([r.lost, r.odds, r.control, r.p]).all() for r in bank.relevance)


def test_one_picture_is_enough_for_a_bank_that_says_how_little_it_knows(clf, photos):
    bank, _ = make_bank(clf, find_images(photos)[:1], SMALL)
    assert bank.card["held_out"] == 0 and bank.card["stability"]["halves"] is None
    assert bank.card["cells"]["agrees"] is None, "nothing was held out"
    assert all(r.pictures == 1 and r.low is None and r.p == 1 and not r.counts for r in bank.relevance)
    assert "one picture" in gallery(bank)


class Blank(Patches):
    """The same everywhere in every picture."""

    def forward(self, x):
        return self.tail(self.pool(self.relu(self.conv(x) * 0 + 1)))


def test_what_no_concepts_can_be_found_in_is_refused(clf, photos):
    items = find_images(photos)
    with pytest.raises(UsageError, match="black-box"):
        make_bank(Classifier(lambda x: x.mean((2, 3)), name="box"), items, SMALL)
    with pytest.raises(UsageError, match="same in all"):
        make_bank(replace(clf, net=Blank().eval(), _points={}), items, SMALL)
    with pytest.raises(InputError, match="none of 1 pictures"):
        make_bank(clf, [Item(photos / "none.png")], SMALL)
    with pytest.raises(UsageError, match="preset"):
        make_bank(clf, items, "k-means")
    with pytest.raises(UsageError, match="extraction"):
        Approach("sparse", "kmeans")
    with pytest.raises(UsageError, match="find concepts"):
        Approach("dense", "pca")


def test_where_a_class_is_seen_nowhere_the_whole_picture_is_looked_at(clf, photos):
    clf.net.head.weight.data[0, 0] = -60.0
    clf.net.head.bias.data = torch.tensor([40.0, 0.0])
    bank, _ = make_bank(clf, find_images(photos)[::2], SMALL)
    assert bank.card["seen_nowhere"] == 6 and bank.card["attended"] == 1


def test_the_presets_are_the_ways():
    assert PARTS["concepts"].presets == tuple(APPROACHES)


# --------------------------------------------------------------------------------------------------
# Likeness, names and files.


def test_concepts_are_matched_whatever_their_order_and_size():
    _, V = planted(k=4)
    first = Basis("nmf", V, torch.zeros(8))
    second = Basis("nmf", 3 * V[[2, 0, 3, 1]], torch.zeros(8))
    assert {i: j for i, (j, _) in matched(first, second).items()} == {2: 0, 0: 1, 3: 2, 1: 3}
    assert stability(first, second) == pytest.approx({"mean_cosine": 1.0, "alike": 1.0})
    assert carried({"3": "beak"}, first, second) == ({"1": "beak"}, {})
    other = Basis("nmf", torch.cat([V[:1], -V[1:]]), torch.zeros(8))
    assert carried({"1": "eye", "3": "beak"}, first, other) == ({"1": "eye"}, {"3": "beak"})
    assert carried({"1": "eye"}, first, Basis("nmf", torch.eye(5), torch.zeros(5))) == ({}, {"1": "eye"})
    fewer = Basis("nmf", V[:1], torch.zeros(8))
    assert carried({"1": "eye", "4": "leg"}, first, fewer) == ({"1": "eye"}, {"4": "leg"})


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "STEPS", 100)
        return _bank(tmp_path_factory)


def _bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for n in range(8):
        Image.fromarray(patchy([("red", "green")[n % 2], "blue"], n)).save(folder / f"{n:02}.png")
    plain = Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    model = Classifier(Patches().eval(), classes=("red", "other"), preprocess=plain, layer="pool")
    return make_bank(model, find_images(folder), Approach("dense", "topk-sae", counts=(4,)))[0]


def test_a_bank_that_was_saved_is_read_as_it_was(bank, tmp_path):
    row = banks.save(bank.named({"2": "headlight"}), tmp_path)
    assert row["card"] == bank.card
    assert {f.name for f in tmp_path.iterdir()} == {row["file"], row["record"], row["names"]}
    again = banks.load(tmp_path, bank.fingerprint)
    assert same(again, bank) and again.names == {"2": "headlight"} and again.classes == bank.classes
    maps = torch.rand(3, 6, 5)
    for one, other in zip(again.encode(maps), bank.encode(maps), strict=True):
        assert torch.equal(one, other) and one.shape == (len(bank), 6, 5)


def test_exemplars_are_small_pictures_of_what_the_concept_is_of(bank):
    for row in bank.exemplars:
        assert 1 <= len(row) <= 6 and len({e.file for e in row}) == len(row)
        for one in row:
            assert Image.open(io.BytesIO(one.jpeg)).size == (96, 96)
            assert 0 <= one.box[0] < one.box[2] <= 1 and 0 <= one.box[1] < one.box[3] <= 1


def broken(folder, how):
    record = folder / banks.RECORD
    told = json.loads(record.read_text())
    record.write_text(json.dumps(how(told)))


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda f: (f / banks.TENSORS).write_bytes(b"x"), InputError, "no concept bank"),
        (lambda f: (f / banks.RECORD).unlink(), InputError, "no concept bank"),
        (lambda f: broken(f, lambda t: t | {"format": 99}), UsageError, "newer saywhy"),
        (lambda f: broken(f, lambda t: t | {"exemplars": {}}), InputError, "different banks"),
        (lambda f: broken(f, lambda t: t | {"method": "pca"}), UsageError, "find concepts"),
        (lambda f: (f / banks.NAMES).write_text("headlight"), InputError, "names by id"),
        (lambda f: (f / banks.NAMES).write_text('{"99": "headlight"}'), UsageError, "no concept '99'"),
    ],
)
def test_files_that_are_no_bank_are_refused(bank, tmp_path, spoil, error, match):
    banks.save(bank, tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=match):
        banks.load(tmp_path)


def test_a_bank_of_another_classifier_is_refused(bank, tmp_path):
    banks.save(bank, tmp_path)
    with pytest.raises(UsageError, match="of the classifier"):
        banks.load(tmp_path, "another")


@pytest.mark.parametrize("given", [{"9": "wheel"}, {"0": "wheel"}, {"x": "wheel"}, {"1": "two\nlines"},
                                   {"1": " "}, {"1": "long " * 40}])  # fmt: skip
def test_a_name_for_what_is_not_there_or_that_is_no_name_is_refused(bank, given):
    with pytest.raises(UsageError, match="concept"):
        bank.named(given)


def test_places_that_are_far_from_their_concept_are_of_none(bank):
    far = torch.full((len(bank), 1, 2), -1e9)
    near = bank.least[:, None, None] + torch.tensor([[0.0, 1.0]])[None]
    assert bank.labels(far).tolist() == [[-1, -1]]
    assert (bank.labels(near) >= 0).all()


# --------------------------------------------------------------------------------------------------
# The page and the command line.


def test_the_gallery_shows_every_class_and_every_exemplar_once_and_escapes_names(bank):
    page = gallery(bank.named({"1": "<b>beak</b>"}))
    assert "<b>beak" not in page and "&lt;b&gt;beak&lt;/b&gt;" in page
    assert page.count("data:image/jpeg;base64,") == sum(map(len, bank.exemplars))
    assert set(re.findall(r'id="concept-(\d+)"', page)) == set(bank.ids)
    for name in bank.classes.values():
        assert f"<h2>{name}</h2>" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_concepts_are_fitted_shown_and_named_and_names_live_on(tmp_path, monkeypatch):
    monkeypatch.setitem(making.APPROACHES, "kmeans", Approach("dense", "kmeans", counts=(6,)))
    from saywhy.aviary import render, sample

    for n in range(6):
        Image.fromarray(render(sample(4, n).scene).pixels).save(tmp_path / f"{n}.png")
    out, page = str(tmp_path / "mine"), tmp_path / "bank.html"

    def run(*words):
        return CliRunner().invoke(app, list(words))

    fit = ("fit", *map(str, sorted(tmp_path.glob("*.png"))), "--model", "aviary:cnn", "--parts", "concepts", "-o", out)
    made = run(*fit)
    assert made.exit_code == 0, made.output
    assert {"explainer.json", *(banks.TENSORS, banks.RECORD, banks.NAMES)} == {
        f.name for f in (tmp_path / "mine").iterdir()
    }
    shown = run("concepts", out, "--name", "3=red breast", "-o", str(page))
    assert shown.exit_code == 0 and "red breast" in shown.output and "red breast" in page.read_text()
    assert json.loads((tmp_path / "mine" / banks.NAMES).read_text()) == {"3": "red breast"}
    vector = banks.load(tmp_path / "mine").basis.vectors[2]
    again = run(*fit)
    assert again.exit_code == 0, again.output
    bank = Explainer.load(out).parts["concepts"]
    (id,) = bank.names
    assert bank.names[id] == "red breast" and cosines(bank.basis.vectors[[int(id) - 1]], vector[None]) > 0.9
    assert run("concepts", out, "--name", f"{id}=").exit_code == 0 and banks.read_names(tmp_path / "mine") == {}
    with pytest.raises(UsageError, match="no concept '77'"):
        app(["concepts", out, "--name", "77=wing"], standalone_mode=False)
    with pytest.raises(UsageError, match="ID=TEXT"):
        app(["concepts", out, "--name", "wing"], standalone_mode=False)
    with pytest.raises(UsageError, match=r"\.html"):
        app(["concepts", out, "-o", str(tmp_path / "bank.png")], standalone_mode=False)


def test_an_explainer_without_concepts_says_how_to_get_some(clf, tmp_path):
    Explainer(clf).save(tmp_path)
    with pytest.raises(UsageError, match="--parts concepts"):
        app(["concepts", str(tmp_path)], standalone_mode=False)


# --------------------------------------------------------------------------------------------------
# In one picture.


@pytest.fixture
def seeing(clf, photos):
    """An explainer whose concept of red has a name."""
    made = Explainer.fit(clf, photos, ["concepts"], presets={"concepts": "nmf"})
    bank = made.parts["concepts"]
    return replace(made, parts={"concepts": bank.named({bank.ids[concept_of(bank, "red")]: "red patch"})})


def test_a_concept_is_found_where_it_is_and_one_that_is_not_there_is_absent(seeing, clf):
    bank = seeing.parts["concepts"]
    red, green = (concept_of(bank, name) for name in ("red", "green"))
    pixels = patchy(["red", "blue"], 3)
    found = find_concepts(bank, look(clf, read(pixels)), range(len(bank)))
    truth = torch.from_numpy((pixels == COLOURS["red"]).all(2))
    mask = found.mask(red)
    assert (mask & truth).sum() > 0.8 * (mask | truth).sum()
    assert not found.mask(green).any()
    whole = clf.probabilities(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    assert float(whole[0] - found.after[red, 0]) > 0.4
    assert torch.allclose(found.after[green].float(), whole, atol=1e-5)
    assert found.of(torch.stack([truth, ~truth])) == [("red patch", pytest.approx(1, abs=0.2), "given"), None]


def test_patches_have_the_concept_that_is_likeliest_on_average():
    picture = torch.zeros(3, 32, 32)
    picture[0, :, 16:] = 0.9
    shares = torch.full((3, 8, 8), 0.1)
    shares[0, :, :4], shares[1, :, 4:] = 0.8, 0.8
    shares[1, 0, :3] = 0.9  # overruled within its patch
    labels = on_patches(shares, picture)
    assert (labels[:, :16] == 0).all() and (labels[:, 16:] == 1).all()
    shares[2, :, 4:] = 0.9
    assert (on_patches(shares, picture)[:, 16:] == -1).all(), "none of the concepts is likelier than each of them"


def test_a_head_says_what_its_layers_hold_at_each_cell():
    g = torch.Generator().manual_seed(0)
    maps = {"a": torch.randn(1, 3, 6, 6, generator=g), "b": torch.randn(1, 4, 2, 2, generator=g)}
    head = CellHead(("a", "b"), torch.randn(3, 7, generator=g), torch.randn(3, generator=g))
    got = head.shares(SimpleNamespace(maps=maps.__getitem__))
    b = F.interpolate(maps["b"], (6, 6), mode="bilinear", align_corners=False)[0]
    for y, x in ((0, 0), (2, 5), (4, 1)):
        one, other = maps["a"][0, :, y, x], b[:, y, x]
        v = torch.cat([one / one.norm(), other / other.norm()])
        assert torch.allclose(got[:, y, x], (head.weights @ v + head.bias).softmax(0), atol=1e-6)
    again = head.ordered([1, 0]).shares(SimpleNamespace(maps=maps.__getitem__))
    assert torch.allclose(again, got[[1, 0, 2]])


def test_a_head_learns_what_is_around_a_cell_and_says_how_often_it_agrees():
    """Two concepts that the finer layer cannot tell apart, and the deeper one can."""
    g = torch.Generator().manual_seed(1)

    def picture():
        where = torch.randint(0, 3, (2, 2), generator=g)
        deep = F.one_hot(where, 3).permute(2, 0, 1).float()
        fine = torch.randn(2, 8, 8, generator=g)
        labels = torch.where(where < 2, where, -1).repeat_interleave(4, 0).repeat_interleave(4, 1)
        return torch.rand(3, 32, 32, generator=g), [fine, deep], labels

    some = [picture() for _ in range(20)]
    cells = [some_cells(x, maps, labels, len(some), 0) for x, maps, labels in some]
    head, agrees = learned(("fine", "deep"), cells, 2, 0)
    assert agrees > 0.75 and head.weights.shape == (3, 5)
    alone, worse = learned(("fine",), [replace(c, features=c.features[:, :2]) for c in cells], 2, 0)
    assert worse < 0.6 and len(alone.bias) == 3
    again, _ = learned(("fine", "deep"), cells, 2, 0)
    assert torch.equal(again.weights, head.weights), "same seed, same head"


def test_the_cells_to_learn_from_are_bounded(monkeypatch):
    monkeypatch.setattr(cell_head, "CELLS", 100)
    x, maps, labels = torch.rand(3, 32, 32), [torch.rand(2, 16, 16)], torch.zeros(16, 16, dtype=torch.long)
    assert len(some_cells(x, maps, labels, 10, 0).labels) == 10
    assert len(some_cells(x, maps, labels, 500, 0).labels) == 1
    monkeypatch.setattr(cell_head, "BYTES", 4 * 2 * 30)
    assert len(some_cells(x, maps, labels, 10, 0).labels) == 3


def test_a_bank_of_another_format_is_refused(seeing, tmp_path):
    banks.save(seeing.parts["concepts"], tmp_path)
    told = json.loads((tmp_path / "concepts.json").read_text())
    for other, when in ((1, "an older"), (9, "a newer")):
        (tmp_path / "concepts.json").write_text(json.dumps(told | {"format": other}))
        with pytest.raises(UsageError, match=f"written by {when} saywhy"):
            banks.load(tmp_path)


def test_an_explanation_says_which_concepts_of_each_candidate_are_there_and_names_regions(seeing, clf):
    picture = read(patchy(["red", "blue"], 3))
    with counting() as bare:
        saywhy.explain(clf, picture)
    with counting() as meter:
        e = seeing.explain(picture)
    assert meter.forward_passes <= bare.forward_passes + 20 and meter.tail_passes - bare.tail_passes <= 20
    told = e.parts["concepts"]["hypotheses"]
    assert [h["class_index"] for h in told] == [0, 1]
    (red,) = [c for c in told[0]["concepts"] if c["name"] == "red patch"]
    assert red["present"] and red["lost"] > 0.4 and red["place"] and red["box"]
    named = [c for c in e.concepts if c.name == "red patch"]
    assert len(named) == 1 and named[0].place == red["place"] and 0.5 <= named[0].name_confidence <= 1
    assert named[0].name_route == "given"
    text, page = (saywhy.RENDERERS[name].function(e).decode() for name in ("text", "html"))
    assert f"red patch {red['id']} ({red['place']}; region {named[0].id})" in text and "red patch" in page
    assert "of it is of the concept that was given this name" in page and "certainty" not in page
    assert named[0].concept == red["id"] and f"It is of concept {red['id']}, which elsewhere" in page
    first, last = e.parts["concepts"]["pictures"][red["id"]]
    assert last > first
    own = e.pictures["concepts"][first:last]
    for one in own:
        assert page.count(base64.b64encode(one).decode()) == 2 * own.count(one), "beside the region and the concept"
    assert saywhy.Explanation.from_dict(e.to_dict()).parts == e.parts
    again = saywhy.RENDERERS["html"].function(e.model_copy(update={"pictures": {}})).decode()
    assert "an example of" not in again and "red patch" in again and f"It is of concept {red['id']}." in again


def test_what_is_absent_is_told(seeing, clf):
    e = seeing.explain(read(patchy(["green"], 1)), target="red")
    (red,) = [c for c in e.parts["concepts"]["hypotheses"][0]["concepts"] if c["name"] == "red patch"]
    assert red == {**red, "present": False, "place": None, "box": None, "share": 0.0, "lost": 0.0}
    assert f"absent: red patch {red['id']}" in saywhy.RENDERERS["text"].function(e).decode()
    assert "Absent here" in saywhy.RENDERERS["html"].function(e).decode()


def test_of_a_class_what_counts_is_told_there_or_not_and_of_the_rest_what_is_there(seeing, clf):
    bank = seeing.parts["concepts"]
    red, green, blue = (concept_of(bank, name) for name in ("red", "green", "blue"))
    rows = {r.concept: r for r in bank.of_class(0)}
    told = (
        replace(rows[red], counts=True, lost=0.5),
        *(replace(rows[j], counts=False, present=2) for j in (green, blue)),
    )
    found = find_concepts(replace(bank, relevance=told), look(clf, read(patchy(["blue"], 3))), range(len(bank)))
    (own,) = [h for h in hypotheses(found, look(clf, read(patchy(["blue"], 3)), "red")) if h["class_index"] == 0]
    assert [(c["id"], c["present"]) for c in own["concepts"]] == [(bank.ids[red], False), (bank.ids[blue], True)]


def test_without_a_bank_nothing_is_said_of_concepts(clf):
    e = saywhy.explain(clf, read(patchy(["red"], 1)))
    assert "concepts" not in e.parts and all(c.name is None for c in e.concepts)
