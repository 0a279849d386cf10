"""The claims of US 2025/0259436 A1, each with a test that names it; docs/language.md has the same table."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import saywhy
from saywhy import aviary
from saywhy.language import parse_all
from saywhy.spaces.joint import close_ups, load_joint
from saywhy.writing import account_of
from saywhy.writing.account import plan
from saywhy.writing.grammar import ways
from saywhy.writing.hands import decoded
from saywhy.writing.mapping import nearest, told_phrases
from saywhy.writing.proof import proved, spelled
from saywhy.writing.scribe import Scribe, Source, load_scribe
from saywhy.writing.teaching import CONFIG
from saywhy.writing.writers import WRITERS, steps

MODEL, EDITION, SEED = "aviary:cnn-relations", "2", 91
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def picture():
    return aviary.render(aviary.sample(SEED, 2, edition=EDITION, size=128).scene)


@pytest.fixture(scope="module")
def told(picture):
    """A prediction of the first model, its concepts and contributions, and the text of the second model."""
    return saywhy.explain(MODEL, picture.pixels, writer="own", seed=1)


def claim(*numbers):
    """The claims of the source that a test is about."""
    return pytest.mark.parametrize("claim", numbers)


@claim(1, 11)
def test_a_second_model_maps_image_features_of_concepts_to_text_features_and_writes_from_them(claim, told):
    clf = saywhy.load_classifier(MODEL)
    assert told.prediction.class_name in clf.class_names and told.model.fingerprint == clf.fingerprint
    counted = [c for c in told.concepts if c.confirmed]
    assert counted and all(c.contribution for c in counted)
    how = told.parts["writing"]
    assert how["writer"] == "own" and how["proved"] and how["switched"] is None
    for one in how["concepts"]:  # features -> the nearest text features -> what was written
        assert len(one["nearest"]) == 5 and one["told"][0] in told.text
        assert [odds for _, odds in one["nearest"]] == sorted((odds for _, odds in one["nearest"]), reverse=True)
        assert one["like"] in ("", one["nearest"][0][0]) and one["like"] in told.text
    assert len(steps(told)) == len(how["concepts"])


@claim(2, 12)
def test_the_second_model_was_trained_with_pairs_of_pictures_and_texts_and_tells_true_ones(claim):
    space, card = load_joint()
    assert card["labels"].startswith("which caption is true of which picture") and card["training"]["pictures"] > 1000
    scenes = [aviary.render(aviary.sample(SEED, n, edition=EDITION, size=128).scene) for n in range(24)]
    captions = [aviary.captions_of(r, seed=SEED, index=n)[0].text for n, r in enumerate(scenes)]
    seen = F.normalize(space.images(_images(scenes)), dim=1)
    said = F.normalize(space.texts(captions), dim=1)
    odds = space.scale.exp() * seen @ said.T + space.bias
    assert odds.diagonal().mean() > odds.roll(1, 0).diagonal().mean() + 2


@claim(3, 13)
def test_both_kinds_of_features_lie_in_one_joint_space_from_which_text_features_are_taken(claim, picture):
    space, card = load_joint()
    phrases, said = told_phrases(space, card)
    part = next(p for p in picture.shown() if p in ("breast", "wing", "crown"))
    mask = torch.from_numpy(picture.visible(part))[None]
    seen = F.normalize(space.images(close_ups(_images([picture]), mask)), dim=1)
    assert seen.shape[1] == said.shape[1]
    assert phrases[int((seen @ said.T).argmax())].endswith(part)


@claim(4, 14)
def test_a_concept_is_some_patches_of_the_picture(claim, told):
    for concept in told.concepts:
        mask = concept.mask.array()
        x0, y0, x1, y1 = concept.box
        assert mask.any() and mask.shape == (told.image.height, told.image.width)
        ys, xs = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@claim(5, 15)
def test_an_encoder_finds_the_features_and_a_decoder_writes_the_text(claim):
    net, card = load_scribe()
    assert isinstance(net, Scribe) and len(net.encoder) and len(net.decoder)
    assert card["training"]["texts"] == CONFIG.epochs * 6400
    assert card["space"] == load_joint()[1]["fingerprint"]  # what it learned from is what ships


@claim(6, 16)
def test_the_decoder_writes_from_text_features_another_feature_other_words(claim):
    net, _ = load_scribe()
    space, card = load_joint()
    phrases, said = told_phrases(space, card)
    for phrase in phrases[:: len(phrases) // 12]:
        found = nearest(space, "1", said[phrases.index(phrase)], phrases, said)
        source = _source(found.like, found.text)
        telling, stack = ways(source.account, "full")
        text = spelled(decoded(net, [source], [stack], [0])[0].tokens, source.account, source.order)
        assert found.like == phrase and phrase in text and proved(text, telling, "full")


def _source(phrase, feature):
    from saywhy.writing.account import Account, Thing

    one = Account("x", 90, "y", 5, (Thing("1", "patch", "in the centre", "most", "30 points", phrase),))
    return Source(one, "full", ("1",), None, {}, {"1": feature})


@claim(7, 17)
def test_contributions_are_told_by_a_graph(claim, told):
    nodes = {c.id: c.contribution for c in told.concepts}
    assert told.graph.class_index == told.target.class_index and set(told.graph.nodes) <= nodes.keys()
    assert all(np.isfinite(e.contribution) for e in told.graph.edges)


@claim(8, 18)
def test_nodes_are_concepts_and_each_edge_joins_two_of_them_by_a_relation(claim, told):
    known = set(told.graph.nodes)
    assert all({e.source, e.target} <= known and e.source != e.target and e.relation for e in told.graph.edges)


@claim(9, 19)
def test_the_graph_tells_how_concepts_lie_and_the_text_says_it_where_an_edge_counts(claim):
    clf = saywhy.load_classifier(MODEL)
    for n in range(40):
        pixels = aviary.render(aviary.sample(SEED, n, edition=EDITION, size=128).scene).pixels
        told = saywhy.explain(clf, pixels, writer="own", seed=n)
        account = account_of(told)
        if account.links:
            break
    counting = {(e.source, e.target): e.relation for e in told.graph.edges if e.confirmed}
    assert all(counting[link.one, link.other] == link.relation for link in account.links)
    clauses = [c for c in plan(account, "full").clauses if c.kind in ("need", "spare")]
    assert len(clauses) == len(account.links) and all(c.words[0] in told.text for c in clauses)


@claim(10)
def test_the_prediction_is_a_classification(claim, told):
    assert told.prediction.exclusive and told.prediction.class_index == told.target.class_index
    assert parse_all("\n".join(s.text for s in told.statements))[0].classes[0] == told.prediction.class_name


@claim(20)
def test_a_stored_program_carries_out_the_method_in_a_process_of_its_own(claim, picture, tmp_path):
    Image.fromarray(picture.pixels).save(tmp_path / "bird.png")
    asked = ["explain", "bird.png", "--model", MODEL, "--writer", "own", "--style", "layman", "--format", "json"]
    run = subprocess.run([sys.executable, "-m", "saywhy", *asked, "-q"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert record["parts"]["writing"]["proved"] and record["text"] == record["parts"]["writing"]["text"]


def _images(scenes):
    return torch.stack([torch.from_numpy(r.pixels.copy()).permute(2, 0, 1).float() / 255 for r in scenes])


def test_every_claim_has_a_test_that_the_documents_name():
    source = Path(__file__).read_text(encoding="utf-8")
    found = {
        int(n): name
        for numbers, name in re.findall(r"^@claim\(([\d, ]+)\)\ndef (\w+)", source, re.MULTILINE)
        for n in numbers.split(",")
    }
    assert sorted(found) == list(range(1, 21))
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\d, ]+) \|.*`(test_\w+)` \|$", page, re.MULTILINE))
    assert {int(n): name for numbers, name in rows.items() for n in numbers.split(",")} == found


def test_the_writer_of_the_second_model_is_a_row_and_reads_its_text_back(told):
    assert WRITERS["own"].looks
    how = told.parts["writing"]
    account = account_of(told, {c["id"]: c["like"] for c in how["concepts"]})
    assert proved(how["text"], plan(account, "full"), "full")
