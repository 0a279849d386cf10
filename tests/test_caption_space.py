"""The part `language`: a joint space of a classifier's features and captions."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import saywhy
from saywhy import aviary
from saywhy.cli import app
from saywhy.errors import InputError, UsageError
from saywhy.train.loop import Config
from saywhy.writing import part
from saywhy.writing.captionspace import CaptionPairs, learned, recall, strange, unit, vocabulary

QUICK = Config(epochs=12, batch_size=16, lr=3e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty-four birds with three captions each."""
    place = tmp_path_factory.mktemp("birds")
    rows = []
    for n in range(24):
        rendered = aviary.render(aviary.sample(3, n, size=64).scene)
        Image.fromarray(rendered.pixels).save(place / f"{n}.png")
        said = aviary.captions_of(rendered, seed=3, index=n, count=3)
        rows.append({"file": f"{n}.png", "captions": [c.text for c in said]})
    (place / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


@pytest.fixture(scope="module")
def fitted(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "CONFIG", QUICK)
        said = folder / "said.jsonl"
        yield saywhy.Explainer.fit("aviary:cnn", [str(folder)], ["language"], captions=said, folder=folder / "ex")


def planted(count=40, seed=0):
    """Features that say which of five words a caption has."""
    kinds = torch.arange(count) % 5
    noise = 0.1 * torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    words = ("heron", "wren", "tit", "jay", "owl")
    said = tuple((f"a {words[k]}", f"one {words[k]} here") for k in kinds)
    return CaptionPairs(torch.eye(8)[kinds] + noise, said), kinds


def test_pairs_are_found_again_and_a_space_without_training_finds_none():
    pairs, kinds = planted()
    net, ended = learned(pairs, replace(QUICK, epochs=40))
    said = unit(net.texts(["a heron", "a wren", "a tit", "a jay", "a owl"]))
    likeness = unit(net.pictures(pairs.features)) @ said.T
    assert (likeness.argmax(1) == kinds).float().mean() > 0.95 and ended.stopped == "epochs"
    again, _ = learned(pairs, replace(QUICK, epochs=40))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_words_that_are_rare_or_unknown_are_left_out_and_counted():
    captions = [("a red bird", "the red bird"), ("a blue wren",)]
    assert vocabulary(captions) == ["a", "bird", "red"]
    assert strange(["a", "bird", "red"], [("a red wren",)]) == pytest.approx(1 / 3)
    net, _ = learned(planted()[0], replace(QUICK, epochs=1))
    assert net.known("A heron, or a stork?") == ["a", "heron", "a"]
    torch.testing.assert_close(net.texts(["stork"]), net.texts(["crane flies"]))
    torch.testing.assert_close(net.texts(["a stork"]), net.texts(["a"]))


def test_recall_counts_a_true_column_among_the_first():
    likeness = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    true = torch.tensor([[True, False, False], [False, False, True]])
    assert recall(likeness, true, (1, 2, 3)) == {1: 0.5, 2: 0.5, 3: 1.0}


def test_too_few_pictures_are_refused():
    pairs, _ = planted(10)
    with pytest.raises(UsageError, match="20 pictures with captions"):
        learned(pairs, QUICK)


def test_a_fitted_part_is_saved_read_again_and_shows_captions_of_near_pictures(fitted, folder):
    card = fitted.parts["language"].card
    assert card["pictures"] == 24 and card["own_features"] and 0 <= card["out_of_vocabulary"] < 0.2
    fitted.save(folder / "ex")
    again = saywhy.Explainer.load(folder / "ex")
    told = again.explain(str(folder / "3.png"), seed=1)
    near = told.parts["language"]["nearest"]
    assert len(near) == 3 and all(text in fitted.parts["language"].captions for text, _ in near)
    assert fitted.explain(str(folder / "3.png"), seed=1).parts["language"]["nearest"] == near
    page = saywhy.RENDERERS["text"].function(told).decode()
    assert "not checked" in page and near[0][0] in page
    assert not any(near[0][0] in s.text for s in told.statements)  # shown, and no claim
    assert "language" not in again.explain(str(folder / "3.png"), fast=True).parts


def test_the_command_line_says_what_it_needs(folder):
    asked = ["fit", str(folder), "--model", "aviary:cnn", "--parts", "language", "-o", str(folder / "no")]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code != 0
    assert "20 pictures with captions" in str(run.exception) + run.output


def test_a_broken_file_is_told(fitted, folder, tmp_path):
    fitted.save(tmp_path / "ex")
    (tmp_path / "ex" / "language.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read as a space of captions"):
        saywhy.Explainer.load(tmp_path / "ex")
