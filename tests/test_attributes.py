"""Attributes: from captions to words, from sums to posteriors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import oracles
from saywhy import aviary
from saywhy.attributes.frequencies import Said, said, tf_idf, vocabulary
from saywhy.attributes.phrases import Attribute, attributes_of, merged, named, phrase, singular
from saywhy.attributes.posterior import POSTERIORS, dictionary, uncertainty
from saywhy.attributes.regressions import effects, loadings, probe
from saywhy.attributes.sums import Activity, Sums, activity_of, resampled, sums_of, together
from saywhy.attributes.tagging import english, lexicon, split, tagger
from saywhy.aviary.vocabulary import ADJECTIVES, NOUNS
from saywhy.captioning import captioned, read
from saywhy.collection import Item
from saywhy.errors import ExtraMissing, InputError, UsageError

# --------------------------------------------------------------------------------------------------
# Captions to attributes.


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a bird with a long, curved orange beak", ["long beak", "curved beak", "orange beak"]),
        ("This bird has a black and white wing.", ["black wing", "white wing"]),
        ("its beak is long and orange, and it has a red crest", ["long beak", "orange beak", "red crest"]),
        ("the crown of the bird is white", ["white crown"]),
        ("a bird whose chest is plain and that has azure feet", ["plain chest", "azure foot"]),
        ("a flat bill that is black", ["flat bill", "black bill"]),
        ("it has a white wing bar above its eye", ["white wing bar"]),
        ("a violet plume higher than the black eye stripe", ["violet plume", "black eye stripe"]),
        ("the bill is very short and pointy", ["short bill", "pointed bill"]),
        ("gray, leaf-green and sickle-shaped wings", ["grey wing", "leaf-green wing", "sickle-shaped wing"]),
        ("no red wing and a tail that is not white but brown", ["brown tail"]),
        ("a grey/blue beak", ["grey beak", "blue beak"]),
        ("a red crown and a white throat", ["red crown", "white throat"]),
        ("its crown and throat are red", ["red crown", "red throat"]),
        ("the crown, which is red, and the tail", ["red crown"]),
        ("the wing of this bird, which is grey, stands out", ["grey wing"]),
        ("a bird with a beak that is long", ["long beak"]),
        ("its crown is red, its beak short and its tail forked", ["red crown", "short beak", "forked tail"]),
        ("Beak: long and orange; tail: black", ["long beak", "orange beak", "black tail"]),
        ("As for the tail, it is barred.", ["barred tail"]),
        ("the tip of the tail is white", ["white tip of the tail"]),
        ("a black top of the head", ["black top of the head"]),
        ("its eye is marigold", ["marigold eye"]),  # no word that is known: by its place behind "is"
        ("its eye is a marigold", []),
        ("the tail is royal blue", ["blue tail"]),
        ("a bluish grey wing", ["bluish grey wing"]),
        ("a finely dotted wing and a very long tail", ["dotted wing", "finely dotted wing", "long tail"]),
        ("the beak is longer than the crest", []),
        ("the wing is like a leaf and red", ["like a leaf wing", "red wing"]),
        ("the tail is rounded off and brown", ["rounded tail", "brown tail"]),
        ("a brown back, further back than the wing", ["brown back"]),
        ("Is the tail long? Yes. Is it barred?", ["long tail"]),
        ("Is the beak of this bird blue? No, red.", ["red beak"]),
        (
            "What colour is the crown? Cherry. Of what shape are the beak and crest? Curved.",
            ["cherry crown", "curved beak", "curved crest"],
        ),
        ("Does it have a red crest? No.", []),
        ("Does it have a red crest? Yes.", ["red crest"]),
        ("the bird", []),
        ("is red", []),
        ("...", []),
        ("", []),
        ("<b>red</b> wings & a {blue} tail", ["red wing", "blue tail"]),
    ],
)
def test_captions_are_read(caption: str, expected: list[str]) -> None:
    assert [str(a) for a in attributes_of(caption)] == expected


def test_what_a_second_grammar_says_is_found() -> None:
    """Of captions in many more ways (questions, labels, relatives, what is not so but so): nearly all, and no more."""
    words = aviary.lexicon
    nouns = {" ".join([*n.split()[:-1], singular(n.split()[-1])]): p for p, ns in words.NOUNS.items() for n in ns}
    looks = {a.replace("gray", "grey"): v for vs in words.ADJECTIVES.values() for v, ws in vs.items() for a in ws}
    parts, told_all, found_all, right = {*nouns.values(), "collar"}, 0, 0, 0
    for index in range(20):
        rendered = aviary.render(aviary.sample(4, index, edition="2", size=64).scene)
        for one in aviary.captions_of(rendered, seed=4, index=index):
            plain = {(looks.get(a.adjective), nouns.get(a.noun)) for a in attributes_of(one.text)}
            found = {f"{look} {part}".replace("collars", "collar") for look, part in plain if look and part}
            mentions = {m.replace("collars", "collar") for m in one.mentions if len(m.split()) == 2}
            told = {m for m in mentions if m.split()[0] in looks.values() and m.split()[1] in parts}
            told_all, found_all, right = told_all + len(told), found_all + len(found), right + len(told & found)
    assert right / found_all > 0.98 and right / told_all > 0.88  # names of several phrases are not asked for here


def test_what_a_grammar_says_is_found() -> None:
    """Every attribute of the aviary's captions, and nothing else of a part."""
    nouns = {" ".join([*n.split()[:-1], singular(n.split()[-1])]): p for p, ns in NOUNS.items() for n in ns}
    plain = {word.replace("gray", "grey"): v for rows in ADJECTIVES.values() for v, ws in rows.items() for word in ws}
    for index in range(12):
        rendered = aviary.render(aviary.sample(3, index).scene)
        for one in aviary.captions_of(rendered, seed=3, index=index):
            found = {(plain.get(a.adjective), nouns.get(a.noun)) for a in attributes_of(one.text)}
            told = {tuple(m.split()) for m in one.mentions if m.split()[-1] in NOUNS and len(m.split()) == 2}
            assert {f for f in found if all(f)} == told, one.text


@pytest.mark.parametrize(
    ("plural", "one"),
    [("legs", "leg"), ("feet", "foot"), ("bodies", "body"), ("glasses", "glass"), ("iris", "iris"), ("grass", "grass"),
     ("patches", "patch"), ("leaves", "leaf"), ("eyes", "eye"), ("gas", "gas"), ("boxes", "box")],
)  # fmt: skip
def test_nouns_are_of_one_thing(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_adjectives_are_merged_by_noun_with_the_right_article() -> None:
    found = merged([Attribute("wing", "black"), Attribute("beak", "orange"), Attribute("wing", "white")])
    assert [phrase(*one) for one in found] == ["a black and white wing", "an orange beak"]
    assert phrase(("long", "orange", "blunt"), "beak") == "a long, orange and blunt beak"
    assert (phrase(("uniform",), "wing"), phrase(("ugly",), "tail")) == ("a uniform wing", "an ugly tail")
    assert phrase((), "has_crest") == "has_crest"
    assert phrase(("like a leaf", "red"), "wing") == "a red wing like a leaf"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orange beaks", Attribute("beak", "orange")),
        ("has_wing_color::blue", Attribute("has_wing_color::blue")),
        ("red, or <i>rose</i>", Attribute("red, or <i>rose</i>")),
        (" two\nlines\x00 here ", Attribute("two lines here")),
        ("x" * 500, Attribute("x" * 60)),
        ("  ", Attribute("")),
    ],
)
def test_names_of_a_table(name: str, expected: Attribute) -> None:
    assert named(name) == expected


def test_textblob_stands_behind_the_same_function() -> None:
    pytest.importorskip("textblob")
    tag = tagger("textblob")
    assert [t.word for t in tag("a red bird sits on a branch")] == split("a red bird sits on a branch")
    assert attributes_of("a red bird sits on a green branch", tag) == [
        Attribute("bird", "red"),
        Attribute("branch", "green"),
    ]


def test_spacy_stands_behind_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in that tags as spaCy does; its models cannot be installed from an index."""
    tags = {"a": "DT", "red": "JJ", "barred": "VBN", "wing": "NN", "flies": "VBZ", "is": "VBZ", ".": "."}

    def model(text: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(text=word, tag_=tags[word]) for word in text.split()]

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=lambda name, disable: model))
    assert [t.kind for t in tagger("spacy")("a barred wing is red . flies")] == [
        "determiner", "adjective", "noun", "copula", "adjective", "stop", "verb",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [("lexicn", UsageError, "lexicon"), ("spacy", UsageError, "download"), ("textblob", ExtraMissing, "'text'")],
)
def test_taggers_that_are_not_there_say_so(
    name: str, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("spacy", "textblob", "textblob.en"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(error, match=says):
        tagger(name)


@pytest.mark.parametrize(
    ("text", "is_english"),
    [
        ("a small bird with a long beak", True),
        ("red bird", True),
        ("ein kleiner Vogel mit langem Schnabel und roter Brust", False),
        ("un pequeño pájaro amarillo", False),
        ("一只红色的鸟", False),
        ("1234", False),
    ],
)
def test_english_is_told(text: str, is_english: bool) -> None:
    assert english(text) is is_english


# --------------------------------------------------------------------------------------------------
# Which attributes are spoken of.


def test_frequencies_limit_the_vocabulary() -> None:
    """One that few pictures have is left out, one that nearly all have, and one that none has."""
    every = [said(["a bird with a red wing", "a small bird"] if i % 2 else ["a small bird"]) for i in range(20)]
    every[0] = said(["a small bird with a green tail"])
    every += [said([]), said(["  "])]
    found = vocabulary(every, fewest=3)
    assert [str(a) for a in found.attributes] == ["red wing"]
    assert found.left_out == {"rare": 1, "in nearly all": 1, "beyond the most": 0}
    assert (found.pictures, found.having.tolist()) == (20, [10.0])
    assert found.rows([{Attribute("wing", "red"): 3}, {}]).tolist() == [[1.0], [0.0]]


def test_captions_and_tables_are_of_equal_right() -> None:
    captions = [said(["a bird with a red wing"] if i % 3 else ["a blue tail"]) for i in range(30)]
    tables = [said([], ["red wing"] if i % 3 else ["blue tail"]) for i in range(30)]
    first, second = vocabulary(captions), vocabulary(tables)
    assert first.attributes == second.attributes
    assert first.prior.tolist() == second.prior.tolist()


def test_the_rare_say_more_than_the_frequent() -> None:
    """By the values of the formula: twice log(100 / 50), once log(100 / 5)."""
    prior = tf_idf(np.array([2.0, 1.0]), np.array([50.0, 5.0]), 100)
    weights = np.array([2 * np.log(2), np.log(20)])
    assert prior == pytest.approx(weights / weights.sum())
    assert tf_idf(np.ones(2), np.array([50.0, 5.0]), 100)[1] > 0.8


@pytest.mark.parametrize(
    ("every", "says"),
    [
        ([said(["a red bird"])], "1 of 1 pictures"),
        ([said([])] * 50, "0 of 50"),
        ([said(["ein Vogel mit rotem Schnabel und grauen Beinen"])] * 50, "English"),
        ([said(["a red bird"])] * 50, "no attribute is left"),
        ([said([f"a bird with a red {c}{d}"]) for c in "abcdefg" for d in "hij"], "no attribute is left"),
    ],
)
def test_what_says_nothing_is_refused(every: list[Said], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        vocabulary(every)


# --------------------------------------------------------------------------------------------------
# Captions from files.

PHOTOS = [Item(Path("photos") / name) for name in ("one/a.jpg", "two/a.jpg", "b.jpg")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "c.jsonl",
            '{"file": "photos/one/a.jpg", "captions": ["red"]}\n\n{"file": "b.jpg", "attributes": ["blue tail"]}',
        ),
        ("c.csv", 'file,caption,blue tail,size\none/a.jpg,red,0,12\n"photos\\b.jpg",,1,0\n'),
        ("c.tsv", "image\tcaption_1\tattributes\nphotos/one/a.jpg\tred\t\nb.jpg\t\tblue tail; \n"),
    ],
)  # fmt: skip
def test_captions_are_found_by_the_end_of_a_path(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = captioned(PHOTOS, tmp_path / name)
    truths = [dict(item.truth) for item in found.items]
    assert truths == [{"captions": ["red"], "attributes": []}, {}, {"captions": [], "attributes": ["blue tail"]}]
    assert not found.strangers


def test_coco_captions_add_up_and_the_missing_are_named(tmp_path: Path) -> None:
    rows = [{"image_id": 1, "caption": "red"}, {"image_id": 1, "caption": "big"}, {"image_id": 2, "caption": "blue"}]
    images = [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "gone.jpg"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": rows}))
    own = [*PHOTOS[:2], Item(PHOTOS[2].path, truth={"captions": "known", "file": "x"})]
    found = captioned(own, tmp_path / "c.json")
    assert found.items[2].truth == {"captions": ["known", "red", "big"], "attributes": [], "file": "x"}
    assert found.items[:2] == own[:2] and found.strangers == ("gone.jpg",)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("none.jsonl", '{"file": "gone.jpg", "captions": ["red"]}', "none of its 1 pictures"),
        ("twice.jsonl", '{"file": "a.jpg", "captions": ["red"]}', "none of its 1"),
        ("line.jsonl", "[1]", "line 1"),
        ("empty.jsonl", "", "names no picture"),
        ("table.csv", "caption,other\nred,1\n", "no column of files"),
        ("coco.json", '{"images": []}', "COCO"),
        ("text.json", '{"file": "b.jpg"}\n{"file": "a.jpg"}', "jsonl"),
    ],
)
def test_broken_files_of_captions_are_told(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        captioned(PHOTOS, tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "no-such-file.jsonl")


# --------------------------------------------------------------------------------------------------
# Posteriors.

K, L, N, CLASSES = 4, 3, 60, 2


def drawn(seed: int = 0, *, signed: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Activations (N, K) in which filter j speaks for attribute j, one of nothing; attributes, classes, weights."""
    random = np.random.default_rng(seed)
    t = (random.random((N, L)) < (0.5, 0.3, 0.2)).astype(float)
    pooled = np.abs(random.normal(size=(N, K)))
    pooled[:, :L] += 2 * t
    return pooled - (1.0 if signed else 0.0), t, random.integers(0, CLASSES, N), random.normal(size=(N, K))


def counted(seed: int = 0, *, signed: bool = False) -> tuple[Sums, Activity]:
    pooled, t, predicted, weights = drawn(seed, signed=signed)
    scale = activity_of(pooled)
    return sums_of(pooled, t, predicted, weights, CLASSES, scale), scale


PRIOR = np.array([0.5, 0.3, 0.2])
ORACLES: dict[str, Callable[..., np.ndarray]] = {
    "published": oracles.published_posterior,
    "lift": oracles.lift_posterior,
    "soft-wpmi": oracles.soft_wpmi_posterior,
    "nnls": oracles.nnls_posterior,
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", POSTERIORS)
def test_posteriors_are_what_their_equations_say(name: str, signed: bool) -> None:
    pooled, t, _, _ = drawn(signed=signed)
    whole, scale = counted(signed=signed)
    found = POSTERIORS[name].make(whole, PRIOR)
    expected = ORACLES[name](scale.lifted(pooled), t, PRIOR, scale.on(pooled))
    assert found == pytest.approx(expected, abs=2e-3 if name == "nnls" else 1e-9)
    assert found.min() >= 0 and found.sum(axis=1)[:L] == pytest.approx(np.ones(L))


@pytest.mark.parametrize("name", [n for n in POSTERIORS if n != "published"])
def test_a_filters_own_attribute_leads(name: str) -> None:
    whole, _ = counted()
    assert POSTERIORS[name].make(whole, np.full(L, 1 / L)).argmax(axis=1)[:L].tolist() == list(range(L))


def test_sums_of_parts_are_the_whole_in_any_order() -> None:
    pooled, t, predicted, weights = drawn()
    whole, scale = counted()
    parts = [sums_of(pooled[i::3], t[i::3], predicted[i::3], weights[i::3], CLASSES, scale) for i in (2, 0, 1)]
    for name in Sums.__dataclass_fields__:
        assert getattr(together(parts), name) == pytest.approx(getattr(whole, name)), name
    assert whole.pictures == N and whole.times(2).pictures == 2 * N
    again = resampled(parts, 5)
    assert again.at.tolist() == resampled(parts, 5).at.tolist()
    spread = uncertainty(parts, PRIOR, "lift")
    assert (
        spread.shape == (K, L) and (spread > 0).any() and spread.tolist() == uncertainty(parts, PRIOR, "lift").tolist()
    )


def test_two_that_go_together_are_explained_away() -> None:
    """A filter of "blue" alone, where most blue wings are long: lift gives "long" a share, regression does not."""
    random = np.random.default_rng(1)
    blue = random.random(400) < 0.4
    long = np.where(random.random(400) < 0.85, blue, ~blue)
    t = np.stack([blue, long], axis=1).astype(float)
    pooled = (2.0 * blue + 0.3 * random.random(400))[:, None]
    whole = sums_of(pooled, t, np.zeros(400, dtype=int), np.ones_like(pooled), 1, activity_of(pooled))
    share = {name: POSTERIORS[name].make(whole, np.full(2, 0.5))[0, 1] for name in ("nnls", "lift", "published")}
    assert share["nnls"] < 0.02 < 0.2 < share["lift"] < share["published"]


def test_dead_filters_and_attributes_speak_for_nothing() -> None:
    pooled, t, predicted, weights = drawn()
    pooled[:, 1], t[:, 2] = 0.0, 0.0
    whole = sums_of(pooled, t, predicted, weights, CLASSES, activity_of(pooled))
    for name, row in POSTERIORS.items():
        table = row.make(whole, PRIOR)
        assert np.isfinite(table).all(), name
        assert name == "soft-wpmi" or table[1].sum() == 0, name
    assert dictionary(whole)[:, 2].tolist() == [0.0] * K


def test_loadings_effects_and_the_probe_are_regressions() -> None:
    pooled, t, predicted, weights = drawn()
    whole, scale = counted()
    a = scale.lifted(pooled)
    expected = oracles.ridge(t, a, 0.03)
    assert loadings(whole) == pytest.approx(expected.T)
    mean = np.stack([weights[predicted == c].mean(axis=0) for c in range(CLASSES)])
    assert effects(whole) == pytest.approx((mean - mean.mean(axis=0)) @ expected.T)
    for strength in (0.001, 0.1):
        both = np.concatenate([a / np.sqrt(a.var(axis=0).sum()), np.eye(CLASSES)[predicted]], axis=1)
        told = t.mean(axis=0) + (both - both.mean(axis=0)) @ oracles.ridge(both, t, strength)
        assert probe(whole, strength)(a, predicted) == pytest.approx(np.clip(told, 0, 1))


def test_a_lexicon_has_one_kind_for_each_word() -> None:
    kinds = {t.word: t.kind for t in lexicon("the very red bird with its long-tailed friend is and , sits")}
    assert list(kinds.values()) == [
        "determiner", "adverb", "adjective", "noun", "preposition", "determiner", "adjective", "noun", "copula",
        "conjunction", "stop", "verb",
    ]  # fmt: skip
