"""Captions say what is visible, in many ways, and can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywhy import aviary
from saywhy.aviary import captions_of, parse, render, sample
from saywhy.aviary.vocabulary import ADJECTIVES, NOUNS, PLURAL, RELATION_WORDS, SETTINGS, said_of
from saywhy.errors import InputError

some_pictures = given(
    seed=st.integers(0, 50), index=st.integers(0, 5000), fault=st.sampled_from([None, "degraded", "missing-part"])
)
few = settings(max_examples=30, deadline=None)


@few
@some_pictures
def test_captions_parse_back_into_what_they_mention(seed, index, fault):
    picture = render(sample(seed, index, fault=fault).scene)
    for one in captions_of(picture, seed=seed, index=index):
        parsed = parse(one.text)
        assert parsed.mentions == one.mentions, one.text
        for phrase in parsed.phrases:
            assert one.text[phrase.start : phrase.end] == phrase.text


@few
@some_pictures
def test_captions_say_only_what_is_visible(seed, index, fault):
    picture = render(sample(seed, index, fault=fault).scene)
    scene, shown = picture.scene, picture.shown()
    true = set(said_of(scene.birds[0], shown)) | {f"{scene.background.kind} background"}
    true.add("facing left" if scene.birds[0].mirror else "facing right")
    if "branch" in aviary.mask_names(picture):
        true.add("on a branch")
    for one in captions_of(picture, seed=seed, index=index):
        assert set(one.mentions) <= true, one.text
        for phrase in parse(one.text).phrases:
            assert aviary.mask_of(picture, phrase.mask).any(), (one.text, phrase)


@few
@some_pictures
def test_ten_different_captions_name_most_of_the_bird(seed, index, fault):
    picture = render(sample(seed, index, fault=fault).scene)
    said = captions_of(picture, seed=seed, index=index)
    assert len({c.text for c in said}) == len(said)
    assert len(said) == 10 or len(picture.shown()) < 4
    assert said == captions_of(picture, seed=seed, index=index)


def test_captions_vary_in_words_order_and_length():
    texts = [c.text for i in range(120) for c in captions_of(render(sample(0, i).scene), index=i)]
    assert len({t.split()[0] for t in texts}) > 25
    assert len(set(texts)) > 0.95 * len(texts)
    assert min(len(t.split()) for t in texts) < 6
    assert max(len(t.split()) for t in texts) > 25
    spoken = " ".join(texts).lower()
    every = [w for row in (NOUNS, RELATION_WORDS) for words in row.values() for w in words]
    every += [w for key in ADJECTIVES.values() for words in key.values() for w in words]
    every += [w.replace("|", "") for words in SETTINGS.values() for w in words]
    assert [w for w in every if w not in spoken] == []


def test_a_hidden_part_is_never_mentioned():
    scene = aviary.remove(sample(0, 0).scene, "beak", "crown")
    for i in range(10):
        for one in captions_of(render(scene), index=i):
            assert not any(m.endswith(("beak", "crown")) for m in one.mentions)


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("A bird with a long curved orange beak.", ("curved beak", "long beak", "orange beak")),
        ("Its bill is stubby and purple; the legs are pink.", ("pink legs", "short beak", "violet beak")),
        ("A green crest above its black eye band: a bird.", ("black band", "crest above the band", "green crest")),
        ("The white eye stripe beneath its tuft.", ("crest above the band", "white band")),
        ("Its wing spot is rosy and sits ahead of the wing bar.", ("bar behind the patch", "pink patch")),
        ("By the water, a bird shows a red cap.", ("red crown", "water background")),
        ("This bird, facing left.", ("facing left",)),
    ],
)
def test_sentences_are_understood(text, mentions):
    assert parse(text).mentions == mentions


def test_every_noun_phrase_has_its_mask_and_attributes():
    phrases = parse("On a branch, a bird shows a red cap and a green crest above its black eye band.").phrases
    assert [(p.text, p.mask) for p in phrases] == [
        ("a branch", "branch"),
        ("a bird", "bird"),
        ("a red cap", "crown"),
        ("a green crest", "crest"),
        ("its black eye band", "band"),
    ]
    assert phrases[3].attributes == ("crest above the band", "green crest")


def test_words_that_the_grammar_does_not_know_are_an_error():
    with pytest.raises(InputError, match="'helicopter"):
        parse("A bird with a helicopter.")


def test_a_relation_without_a_part_is_an_error():
    with pytest.raises(InputError, match="no part before it"):
        parse("Above the band.")
    with pytest.raises(InputError, match="no relation between"):
        parse("A red crown above the tail.")


def test_synonyms_are_not_shared_between_words():
    flat = [w for words in NOUNS.values() for w in words]
    flat += [w for key in ADJECTIVES.values() for words in key.values() for w in words]
    assert len(flat) == len(set(flat))
    assert set(PLURAL) <= set(NOUNS)
