"""Text spaces: the table, and the one that ships, which was trained on captions of painted birds."""

import json
import shutil

import pytest
import torch
from sklearn.metrics import average_precision_score

from saywhy.aviary import captions_of, render, sample
from saywhy.errors import UsageError
from saywhy.spaces import TEXT_SPACES, SpaceRow, TextSpace, text_space
from saywhy.spaces.towers import LONGEST, load_own, weights_folder
from saywhy.train import textspace
from saywhy.train.pictures import Pictures, _chunk, paint

SEED = 771  # not the one that it was trained with


def images_of(scenes):
    return torch.stack([torch.from_numpy(paint(s)[0].transpose(2, 0, 1).copy()).float() / 255 for s in scenes])


@pytest.fixture(scope="module")
def own():
    return text_space("own")


@pytest.fixture(scope="module")
def birds():
    """Sixty birds that it has not seen: images, and what is said of each."""
    said = [textspace.spoken(n, SEED) for n in range(60)]
    return images_of([sample(SEED, n).scene for n in range(60)]), said


def test_vectors_have_length_one_and_do_not_depend_on_what_is_asked_beside_them(own, birds):
    images, texts = birds[0][:5], ["a red breast", "bird", "a bird with a long curved beak and a blue crown."]
    seen, said = own.encode_images(images), own.encode_texts(texts)
    assert seen.shape == (5, 128) and said.shape == (3, 128)
    for vectors in (seen, said):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    torch.testing.assert_close(own.encode_images(images[3:4]), seen[3:4], atol=1e-5, rtol=0)
    torch.testing.assert_close(own.encode_texts(texts[:1]), said[:1], atol=1e-5, rtol=0)
    torch.testing.assert_close(own.encode_texts("a red breast"), said[:1], atol=1e-5, rtol=0)


def test_case_and_stops_do_not_matter_and_pictures_of_any_size_are_taken(own, birds):
    torch.testing.assert_close(own.encode_texts(["A Red Breast."]), own.encode_texts(["a red breast"]))
    large = torch.nn.functional.interpolate(birds[0][:2], (96, 80), mode="bilinear")
    likeness = (own.encode_images(large) * own.encode_images(birds[0][:2])).sum(1)
    assert likeness.min() > 0.8


def test_phrases_sort_new_pictures_and_the_log_odds_are_right_more_often_than_not(own, birds):
    images, said = birds
    named = textspace.phrases()
    assert list(named) == list(own.phrases)
    odds = own.log_odds(own.encode_images(images), own.encode_texts(own.phrases)).numpy()
    truth = torch.tensor([[name in one.facts for name in named.values()] for one in said]).numpy()
    judged = [j for j in range(len(named)) if 5 <= truth[:, j].sum() <= 55]
    precision = sum(average_precision_score(truth[:, j], odds[:, j]) for j in judged) / len(judged)
    assert precision > truth[:, judged].mean() + 0.3
    assert ((odds > 0) == truth).mean() > 0.78


def test_a_caption_is_nearer_to_its_own_picture_than_to_others(own, birds):
    images = birds[0][:40]
    texts = [captions_of(render(sample(SEED, n).scene), seed=SEED, index=n)[1].text for n in range(40)]
    likeness = own.encode_texts(texts) @ own.encode_images(images).T
    place = (likeness > likeness.diagonal()[:, None]).sum(1).float()
    assert place.mean() < 10, "by chance it is 19.5"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["a red headlight"], "painted birds alone.*'headlight'"),
        (["red braest"], "did you mean 'breast'"),
        ([], "at least one phrase"),
        (["  "], "at least one phrase"),
        ([7], "at least one phrase"),
        (["..."], "reads 1 to"),
        (["red " * (LONGEST + 1)], f"not the {LONGEST + 1}"),
    ],
)
def test_what_it_cannot_read_is_refused_and_says_why(own, texts, says):
    with pytest.raises(UsageError, match=says):
        own.encode_texts(texts)


@pytest.mark.parametrize("bad", [torch.zeros(3, 64, 64), torch.full((1, 3, 64, 64), 2.0), torch.zeros(1, 1, 64, 64)])
def test_what_is_no_image_is_refused(own, bad):
    with pytest.raises(UsageError, match="images must"):
        own.encode_images(bad)


def test_the_card_is_of_these_weights_and_the_file_is_small(own):
    file = weights_folder() / "own.safetensors"
    card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert own.fingerprint == card["fingerprint"] and file.stat().st_size <= 1.5e6
    assert card["licence"] == "Apache-2.0" and card["command"] == "python -m saywhy.train.textspace"
    assert card["test"]["phrases"]["mean_average_precision"] > card["test"]["phrases"]["chance"]
    assert not own.own_features


@pytest.mark.parametrize("broken", ["weights", "card", "gone"])
def test_a_broken_space_is_refused(broken, tmp_path):
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder(), folder)
    if broken == "weights":
        (folder / "own.safetensors").write_bytes(b"no weights")
    elif broken == "card":
        card = json.loads((folder / "own.json").read_text(encoding="utf-8"))
        (folder / "own.json").write_text(json.dumps(card | {"fingerprint": "0" * 16}))
    else:
        (folder / "own.json").unlink()
    with pytest.raises(UsageError, match=r"python -m saywhy\.train\.textspace"):
        load_own(folder)


def test_a_space_is_one_row_and_takes_what_follows_its_name(monkeypatch):
    def load(rest, clf):
        return TextSpace(f"toy:{rest}", lambda x: x.flatten(1), lambda t: torch.ones(len(t), 2), 1.0, 0.0, "f", "toys")

    monkeypatch.setitem(TEXT_SPACES, "toy", SpaceRow("a space of the tests", load))
    assert text_space("toy:small").name == "toy:small"
    with pytest.raises(UsageError, match="unknown text space 'clap'"):
        text_space("clap")
    with pytest.raises(UsageError, match="of the first edition"):
        text_space("own:large")


# --------------------------------------------------------------------------------------------------
# How it is trained.


def test_what_is_said_of_a_picture_is_true_of_it_and_a_text_is_true_where_all_it_claims_is(birds):
    _, said = birds
    known = sorted({name for one in said for name in (*one.facts, *(n for _, c in one.texts for n in c))})
    pairs = textspace.Pairs.__new__(textspace.Pairs)
    pairs.column = {name: n for n, name in enumerate(known)}
    some = said[:12]
    claims = [claims for one in some for _, claims in one.texts]
    true = pairs.true(some, claims)
    assert true.shape == (12, len(claims))
    for i, one in enumerate(some):
        assert true[i].tolist() == [set(c) <= set(one.facts) for c in claims]
        assert all(set(c) <= set(one.facts) for _, c in one.texts)
        assert one.captions and one.phrases and len(one.captions) + len(one.phrases) == len(one.texts)


def test_training_writes_weights_that_load_with_a_card(tmp_path, monkeypatch):
    monkeypatch.setenv("SAYWHY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(textspace, "weights_folder", lambda: tmp_path)
    drawn = _chunk(0, count=120, seed=textspace.SEED, fault=None, edition="1", side=64)
    monkeypatch.setattr(textspace, "pictures", lambda count, **how: Pictures(**drawn))
    steps = textspace.Config(epochs=1, batch_size=24, lr=1e-3)
    card = textspace.build(lambda text: None, count=120, configs=(steps,))
    net, again = load_own(tmp_path)
    assert again == json.loads((tmp_path / "own.json").read_text()) and again["fingerprint"] == card["fingerprint"]
    assert net.texts(["red breast"]).shape == (1, 128) and card["training"]["epochs"] == 1
    shipped = load_own()[1]
    assert shipped.keys() == card.keys() and shipped["test"].keys() == card["test"].keys()
    for key in ("name", "what", "speaks_of", "licence", "command", "seed", "labels", "phrases"):
        assert shipped[key] == card[key]
