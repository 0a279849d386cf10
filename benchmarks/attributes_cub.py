"""Attributes of real birds: where they are, which a picture has, and sentences, with all controls.

    SAYWHY_DATA=DIR python benchmarks/attributes_cub.py [--cache FILE]

EfficientNet-lite0 on cub10, with a head fitted on its train photos; everything is learned there and measured on the
test photos. Keypoints are used to measure alone. BLEU needs sacrebleu. Writes results/attributes_cub.json and the
tables of docs/attributes.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cub_study import AROUND, GRID, Birds, Head, gather, head
from lcam_rows import photos_folder
from page import table
from saywhy.attributes.describing import image_pdf
from saywhy.attributes.frequencies import Vocabulary, vocabulary
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.places import FINE, coloured, learn_places, of_colour, palette, smooth, spoken, squeeze
from saywhy.attributes.posterior import POSTERIORS
from saywhy.attributes.searching import Term, fits
from saywhy.attributes.sentencing import sentence
from saywhy.attributes.sums import Activity, Sums, activity_of, sums_of
from saywhy.language.colour_terms import TERMS, term_indices
from saywhy.metrics.statistics import bootstrap
from sentence_measures import machine

Reals = NDArray[np.float64]
HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "attributes_cub.json", HERE.parent / "docs" / "attributes.md"
START, STOP = "<!-- birds -->", "<!-- end of birds -->"
NEAR = (0.1, 0.2, 0.3)  # of the longer side of the bird's box
ASKED = 50  # attributes that are grounded, and that are searched for: the most frequent ones
WRONG = 20  # wrong nouns that are drawn for a pair
SAID = 5  # attributes of a sentence, as in the source
DRAWS = 2000
HARD, SOFT = "frequency in the predicted class", "frequency in all classes by their probabilities"
SHRUNK = 3.0  # penalty of what a picture tells beyond its class; chosen in five folds of the train photos
SAME = {"bill": "beak", "chest": "breast", "leg": "foot", "tarsus": "foot", "eyering": "eye"}
OF_PARTS = {
    "beak bill": ("beak",), "breast chest": ("breast",), "leg foot tarsus": ("left leg", "right leg"),
    "wing": ("left wing", "right wing"), "eye eyering": ("left eye", "right eye"), "crown": ("crown",),
    "belly": ("belly",), "tail": ("tail",), "throat": ("throat",), "nape": ("nape",), "back": ("back",),
    "forehead": ("forehead",),
}  # fmt: skip
PARTS = {noun: points for nouns, points in OF_PARTS.items() for noun in nouns.split()}
PAPER = {
    "random": (3.1, 12.6, 28.3), "constant posterior": (8.5, 28.1, 47.5), "posterior published": (12.2, 38.7, 60.9),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Study:
    """Birds with their head, the attributes (N, L), what filters mean, and the numbers of all train photos."""

    birds: Birds
    head: Head
    words: Vocabulary
    truth: NDArray[np.bool_]
    sums: Sums
    activity: Activity

    @property
    def train(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.birds.train)

    @property
    def test(self) -> NDArray[np.intp]:
        return np.flatnonzero(~self.birds.train)

    def most(self, which: Callable[[Attribute], bool]) -> list[int]:
        """The numbers of the most frequent attributes of a kind."""
        order = np.argsort(-self.words.having, kind="stable")
        return [int(j) for j in order if which(self.words.attributes[j])][:ASKED]


def study(birds: Birds) -> Study:
    words = vocabulary([s for s, t in zip(birds.said, birds.train, strict=True) if t])
    truth = words.rows([s.counts for s in birds.said])
    own = head(birds, birds.train)
    a, t, c = birds.pooled[birds.train], truth[birds.train], own.predicted[birds.train]
    activity = activity_of(a)
    return Study(birds, own, words, truth > 0, sums_of(a, t, c, own.weights[c], len(birds.names), activity), activity)


# --------------------------------------------------------------------------------------------------
# Where: the paper's table 1.


@dataclass(frozen=True)
class Pair:
    """An attribute (its number) that captions say of a photo, and the keypoints that it is at."""

    photo: int
    attribute: int
    part: str
    points: tuple[tuple[float, float], ...]


def pairs(of: Study, asked: Sequence[int]) -> list[Pair]:
    """Every asked attribute that captions say of a test photo in which its part was marked."""
    out = []
    for i in of.test:
        marked = of.birds.keypoints[i]
        for j in asked:
            names = PARTS[of.words.attributes[j].noun]
            points = tuple(marked[n] for n in names if n in marked)
            if of.truth[i, j] and points:
                out.append(Pair(int(i), j, names[0].split()[-1], points))
    return out


def distances(asked: Sequence[Pair], at: Callable[[Pair], Reals]) -> Reals:
    """How far the places (n, 2) that are given for a pair are from its nearest keypoint, at each: a row for a pair."""
    rows = []
    for pair in asked:
        places = np.atleast_2d(at(pair))
        far = np.hypot(*(places[:, None] - np.array(pair.points)[None]).transpose(2, 0, 1)).min(1)
        rows.append(far * AROUND)
    return np.array(rows)


def highest(maps: Tensor) -> Reals:
    """The middle of the highest cell of maps (..., S), as x and y in sides of the picture (..., 2)."""
    h, w = GRID
    best = maps.argmax(-1).numpy()
    return np.stack([(best % w + 0.5) / w, (best // w + 0.5) / h], -1)


def located(of: Study, asked: Sequence[int]) -> dict[str, Callable[[Pair], Reals]]:
    """Where each way says that an attribute is: one place, or several of equal right."""
    last, where = of.birds.last, {j: n for n, j in enumerate(asked)}
    rng = np.random.default_rng(0)
    anywhere = rng.random((1000, 2))
    constant = highest(last.sum(1))
    out: dict[str, Callable[[Pair], Reals]] = {
        "random": lambda p: anywhere,
        "centre": lambda p: np.array([0.5, 0.5]),
        "constant posterior": lambda p: constant[p.photo],
    }
    for name, row in POSTERIORS.items():
        weights = torch.from_numpy(row.make(of.sums, of.words.prior)[:, list(asked)]).float()
        spots = highest(torch.einsum("nks,kt->nts", last, weights))
        out[f"posterior {name}"] = lambda p, spots=spots: spots[p.photo, where[p.attribute]]
    return out | placed(of, asked)


def placed(of: Study, asked: Sequence[int]) -> dict[str, Callable[[Pair], Reals]]:
    """Places that were learned from colours, with and without the attribute's own colour, and of wrong nouns."""
    birds, train = of.birds, of.birds.train
    told = spoken([s.counts for s, t in zip(birds.said, train, strict=True) if t], SAME)
    seen = squeeze([layer[train] for layer in birds.layers], birds.inside[train])
    some = [slice(i, i + 50) for i in range(0, len(train), 50)]
    cells = torch.cat([seen(torch.cat([layer[k] for layer in birds.layers], -1)) for k in some])
    colours = palette(birds.images[train])
    shown = torch.cat([coloured(birds.images[k], colours, GRID) for k in some])
    mask = torch.from_numpy(train)
    places = learn_places(cells[mask], shown[mask], birds.inside[mask], told.counts, GRID)
    shares = places.shares(cells, birds.inside)
    spots = highest(smooth(shares, GRID))
    nouns = {n: k for k, n in enumerate(told.nouns)}
    at = {j: nouns.get(SAME.get(n := of.words.attributes[j].noun, n)) for j in asked}
    tinted = {
        j: highest(smooth(of_colour(shares[:, at[j]], shown, places, told.adjectives.index(a.adjective)), GRID))
        for j in asked
        if at[j] is not None and (a := of.words.attributes[j]).adjective in told.adjectives
    }
    usual = highest(of.birds.last.sum(1))

    def noun(p: Pair) -> Reals:
        return spots[p.photo, at[p.attribute]] if at[p.attribute] is not None else usual[p.photo]

    def wrong(p: Pair) -> Reals:
        own = PARTS[of.words.attributes[p.attribute].noun]
        others = [k for j in asked if (k := at[j]) is not None and PARTS[of.words.attributes[j].noun] != own]
        drawn = np.random.default_rng((p.photo, p.attribute)).choice(others, WRONG)
        return np.asarray(spots[p.photo, drawn])

    def tint(p: Pair) -> Reals:
        return tinted[p.attribute][p.photo] if p.attribute in tinted else noun(p)

    return {"place of the noun": noun, "place of noun and colour": tint, "place of a wrong noun": wrong}


def pck(asked: Sequence[Pair], far: Mapping[str, Reals]) -> dict[str, Any]:
    """Shares of pairs within each distance: all, without beaks, and the mean of parts; differences, by photo."""
    part, photo = np.array([p.part for p in asked]), np.array([p.photo for p in asked])
    rest = part != "beak"
    rows = {}
    for name, d in far.items():
        hit = [(d <= a).mean(1) for a in NEAR]
        rows[name] = {
            "all": [float(h.mean()) for h in hit], "not beak": [float(h[rest].mean()) for h in hit],
            "mean of parts": [float(np.mean([h[part == q].mean() for q in sorted(set(part))])) for h in hit],
            "parts": {str(q): float(hit[1][part == q].mean()) for q in sorted(set(part))},
        }  # fmt: skip
    best, gains = (far["place of the noun"] <= NEAR[1]).mean(1), {}
    for other in ("constant posterior", "place of a wrong noun", "posterior nnls"):
        less = best - (far[other] <= NEAR[1]).mean(1)
        gains[other] = {"all": over_photos(less, photo), "not beak": over_photos(less[rest], photo[rest])}
    counts = {"pairs": len(asked), "not beak": int(rest.sum()), "of": dict(Counter(part.tolist()))}
    return {**counts, "rows": rows, "gain at .2": gains}


def on_colour(of: Study, asked: Sequence[Pair], located: Mapping[str, Callable[[Pair], Reals]]) -> dict[str, Any]:
    """Of attributes that are colours: how often a tenth of the cell about the place has the colour, and is at the part.

    Colours are told by the borders of `colour_terms`, which nothing was learned from.
    """
    some = [p for p in asked if of.words.attributes[p.attribute].adjective in TERMS]
    small = F.interpolate(of.birds.images, (FINE * GRID[0], FINE * GRID[1]), mode="area")
    terms = term_indices((small * 255).round().byte().permute(0, 2, 3, 1).numpy())
    photo = np.array([p.photo for p in some])

    def has(p: Pair, place: Reals) -> bool:
        x, y = (min(int(v * g), g - 1) * FINE for v, g in zip(place, GRID[::-1], strict=True))
        cell = terms[p.photo, y : y + FINE, x : x + FINE]
        return bool((cell == TERMS.index(of.words.attributes[p.attribute].adjective)).mean() >= 0.1)

    rows = {}
    for name, at in located.items():
        near = (distances(some, at) <= NEAR[1]) & np.array([[has(p, q) for q in np.atleast_2d(at(p))] for p in some])
        rows[name] = over_photos(near.mean(1), photo)
    return {"pairs": len(some), "rows": rows}


def over_photos(values: Reals, photo: NDArray[np.int64]) -> list[float]:
    """The mean over pairs with its interval of a bootstrap over photos."""
    _, of = np.unique(photo, return_inverse=True)
    total, count = np.bincount(of, values), np.bincount(of)
    drawn = np.random.default_rng(0).integers(len(count), size=(DRAWS, len(count)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    return [float(values.mean()), *map(float, np.quantile(means, [0.025, 0.975]))]


# --------------------------------------------------------------------------------------------------
# Which: precision of what is said, search (the paper's table 2), and sentences (its table 3).


def frequencies(of: Study) -> Reals:
    """How often photos of each class have each attribute (C, L), in the train photos."""
    rows = [of.truth[of.birds.train & (of.birds.labels == c)].mean(0) for c in range(len(of.birds.names))]
    return np.array(rows)


def beyond_class(of: Study) -> Reals:
    """What each photo tells of attributes (N, L) beyond its class: ridge regression within classes."""
    birds, train = of.birds, of.birds.train
    x = (
        (birds.pooled - birds.pooled[train].mean(0))
        / (birds.pooled[train].std(0) + 1e-6)
        / birds.pooled.shape[1] ** 0.5
    )
    middle = np.array([x[train & (birds.labels == c)].mean(0) for c in range(len(birds.names))])
    own = x[train] - middle[birds.labels[train]]
    rest = of.truth[train] - frequencies(of)[birds.labels[train]]
    dual = np.linalg.solve(own @ own.T + SHRUNK * np.eye(len(own)), rest)
    return np.asarray((x - of.head.probabilities @ middle) @ own.T @ dual)


def rankings(of: Study) -> dict[str, Reals]:
    """How much each attribute is of each test photo (n, L)."""
    lifted = of.activity.lifted(of.birds.pooled)
    usual = frequencies(of)
    out = {
        HARD: usual[of.head.predicted],
        SOFT: of.head.probabilities @ usual,
    }
    out["class and picture"] = out[SOFT] + beyond_class(of)
    for name, row in POSTERIORS.items():
        meaning = row.make(of.sums, of.words.prior)
        out[f"posterior {name}"] = np.array(
            [image_pdf(meaning, a, of.head.weights[c])[0] for a, c in zip(lifted, of.head.predicted, strict=True)]
        )
    return {name: scores[of.test] for name, scores in out.items()}


def precision(scores: Reals, truth: NDArray[np.bool_]) -> Reals:
    """The share of the first five attributes of each photo (n, L) that its captions say (n,)."""
    first = np.argsort(-scores, axis=1, kind="stable")[:, :SAID]
    return np.asarray(np.take_along_axis(truth, first, 1).mean(1))


def average_precision(scores: Reals, truth: NDArray[np.bool_]) -> float:
    """The mean of precisions at each photo (n,) that is right; ties in an order that is drawn by a seed."""
    order = np.lexsort((np.random.default_rng(0).random(len(scores)), -scores))
    hit = truth[order]
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())


def which(of: Study) -> dict[str, Any]:
    truth, asked = of.truth[of.test], [j for j in of.most(lambda a: True) if of.truth[of.test, j].any()]
    found = rankings(of)
    first = {name: precision(s, truth) for name, s in found.items()}
    search = {name: np.array([average_precision(s[:, j], truth[:, j]) for j in asked]) for name, s in found.items()}
    return {
        "prevalence": float(truth[:, asked].mean()),
        "and": composite(of, found, True), "and not": composite(of, found, False),
        "rows": {
            name: {
                "precision at 5": interval(first[name]), "gain": interval(first[name] - first[HARD]),
                "average precision": interval(search[name]), "its gain": interval(search[name] - search[SOFT]),
                "its gain over the first": interval(search[name] - search[HARD]),
                **retrieved(found[name], truth, asked),
            } for name in found
        },
    }  # fmt: skip


def composite(of: Study, found: Mapping[str, Reals], wanted: bool) -> dict[str, Any]:
    """Searches for photos with one attribute and (not) another, in some 15 % of the train photos."""
    train, test = of.truth[of.birds.train], of.truth[of.test]
    first = of.most(lambda a: True)
    every = [(i, j) for i in first for j in first if i != j and (i < j or not wanted)]

    def both(truth: NDArray[np.bool_], i: int, j: int) -> NDArray[np.bool_]:
        return truth[:, i] & (truth[:, j] if wanted else ~truth[:, j])

    asked = sorted(every, key=lambda ij: (abs(both(train, *ij).mean() - 0.15), ij))[:ASKED]
    asked = [ij for ij in asked if both(test, *ij).any()]
    scores = {}
    for name in (SOFT, "class and picture"):
        likely = found[name].clip(0, 1)
        scores[name] = np.array(
            [average_precision(fits((Term(i), Term(j, wanted)), likely), both(test, i, j)) for i, j in asked]
        )
    gain = scores["class and picture"] - scores[SOFT]
    return {
        "queries": len(asked), "prevalence": float(np.mean([both(test, *ij).mean() for ij in asked])),
        **{name: interval(v) for name, v in scores.items()}, "gain": interval(gain),
    }  # fmt: skip


def retrieved(scores: Reals, truth: NDArray[np.bool_], asked: Sequence[int]) -> dict[str, float]:
    """The paper's table 2: photos whose first five attributes have the one asked for."""
    first = np.argsort(-scores, axis=1, kind="stable")[:, :SAID]
    got = np.zeros(truth.shape, dtype=bool)
    np.put_along_axis(got, first, True, 1)
    got, truth = got[:, asked], truth[:, asked]
    return {
        "recall": float(got[truth].mean()), "true negative": float((~got)[~truth].mean()),
        "precision": float(truth[got].mean()) if got.any() else float("nan"), "accuracy": float((got == truth).mean()),
    }  # fmt: skip


def interval(values: Reals) -> list[float]:
    found = bootstrap(values, draws=DRAWS)
    return [found.mean, found.low, found.high]


def captioned(attributes: Sequence[Attribute]) -> str:
    """The sentence with the words that captions begin with, so that BLEU compares what the bird has."""
    return sentence("a bird", attributes, [], []).replace("This is a bird because it has", "This bird has")


def sentences(of: Study) -> dict[str, Any]:
    """The paper's table 3: BLEU of sentences against captions, apart for right and wrong answers."""
    import sacrebleu

    right = of.head.predicted[of.test] == of.birds.labels[of.test]
    out = {}
    for name, scores in rankings(of).items():
        first = np.argsort(-scores, axis=1, kind="stable")[:, :SAID]
        made = [captioned([of.words.attributes[j] for j in row]) for row in first]
        bleu = np.array([
            sacrebleu.sentence_bleu(text.lower(), [c.lower() for c in of.birds.captions[i]]).score / 100
            for i, text in zip(of.test, made, strict=True)
        ])  # fmt: skip
        out[name] = {"right": interval(bleu[right]), "wrong": interval(bleu[~right]), "all": interval(bleu)}
    people = [
        sacrebleu.sentence_bleu(c[0].lower(), [x.lower() for x in c[1:]]).score / 100
        for c in (of.birds.captions[i] for i in of.test)
    ]
    return {"rows": out, "people": interval(np.array(people))}


# --------------------------------------------------------------------------------------------------
# Errors.


def errors(of: Study) -> list[dict[str, Any]]:
    """Every wrong answer: what marks either class, the most typical train photos of both, and which pattern."""
    usual, typical, names = frequencies(of), canonical(of), of.birds.names
    out = []
    for i in of.test[of.head.predicted[of.test] != of.birds.labels[of.test]]:
        ours, theirs, has = int(of.head.predicted[i]), int(of.birds.labels[i]), of.truth[i]
        fit = log_likelihood(usual, has)
        mine, other = marks(usual[ours], usual[theirs]), marks(usual[theirs], usual[ours])
        why = pattern(float(fit[ours] - fit[theirs]), float(has[mine].mean()), float(has[other].mean()))
        out.append({
            "photo": of.birds.files[i], "predicted": names[ours], "true": names[theirs],
            "probabilities": [float(of.head.probabilities[i, c]) for c in (ours, theirs)],
            "canonical": [typical[ours], typical[theirs]], "captions fit": names[int(fit.argmax())],
            "for the predicted": told(of, mine, has), "for the true": told(of, other, has), "pattern": why,
        })  # fmt: skip
    return out


def marks(first: Reals, second: Reals) -> NDArray[np.intp]:
    """What tells one class from another: attributes of a fifth of its photos or more, by how much commoner they are."""
    commoner = np.where(first > 0.2, np.log((first + 0.05) / (second + 0.05)), -9.0)
    return np.argsort(-commoner, kind="stable")[:SAID]


def told(of: Study, numbers: Sequence[int] | NDArray[np.intp], has: NDArray[np.bool_]) -> list[str]:
    return [f"{of.words.attributes[j]}{' (said)' if has[j] else ''}" for j in numbers]


def pattern(fit: float, ours: float, theirs: float) -> str:
    """Which of the source's patterns an error is of: `fit` is by how much people's words fit the predicted class better
    than the true one, in nats; the others the share of each class's marks that people saw."""
    if fit > 3:
        return "label in doubt: people's words fit the predicted class"
    if ours >= theirs:
        return "no mark that tells the classes apart: people saw as much of either"
    return "not robust: people saw the marks of the true class, the network did not"


def log_likelihood(usual: Reals, has: NDArray[np.bool_]) -> Reals:
    """How likely what captions say is in each class (C,), attributes apart from each other, up to the same sum."""
    p = np.clip(usual, 0.02, 0.98)
    return np.asarray((has * np.log(p) + ~has * np.log(1 - p)).sum(1))


def canonical(of: Study) -> list[str]:
    """The train photo of each class that the head is surest of."""
    sure = np.where(
        of.birds.train[:, None] & (of.birds.labels[:, None] == np.arange(len(of.birds.names))),
        of.head.probabilities,
        -1,
    )
    return [of.birds.files[i] for i in sure.argmax(0)]


# --------------------------------------------------------------------------------------------------
# The page.


def percent(values: Sequence[float]) -> str:
    return " / ".join(f"{100 * v:.0f}" for v in values)


def within(values: Sequence[float], sign: bool = False) -> str:
    mean, low, high = (f"{v:+.3f}" if sign else f"{v:.3f}" for v in values)
    return f"{mean} [{low}, {high}]"


def pages(found: Mapping[str, Any]) -> str:
    where, what, bleu = found["where"], found["which"], found["sentences"]
    ways = [
        (n, *(percent(r[k]) for k in ("all", "not beak", "mean of parts")), " / ".join(map(str, PAPER.get(n, ()))))
        for n, r in where["rows"].items()
    ]
    gains = [(n, within(g["all"], True), within(g["not beak"], True)) for n, g in where["gain at .2"].items()]
    shown = ("place of the noun", "place of a wrong noun", "constant posterior")
    each = [(p, n, *(percent([where["rows"][way]["parts"][p]]) for way in shown)) for p, n in where["of"].items()]
    both = (
        ("precision at 5", False),
        ("gain", True),
        ("average precision", False),
        ("its gain", True),
        ("its gain over the first", True),
    )
    ranked = [(n, *(within(r[k], sign) for k, sign in both)) for n, r in what["rows"].items()]
    four = ("recall", "true negative", "precision", "accuracy")
    searched = [(n, *(f"{100 * r[k]:.1f}" for k in four)) for n, r in what["rows"].items()]
    pairs_of = [
        (f"one {k} another", what[k]["queries"], f"{what[k]['prevalence']:.3f}", within(what[k][SOFT]),
         within(what[k]["class and picture"]), within(what[k]["gain"], True))
        for k in ("and", "and not")
    ]  # fmt: skip
    spoken_rows = [(n, *(within(r[k]) for k in ("right", "wrong", "all"))) for n, r in bleu["rows"].items()]
    doubts = Counter(e["pattern"] for e in found["errors"])
    wrong = [
        (
            e["photo"],
            e["predicted"],
            e["true"],
            *(", ".join(e[k]) for k in ("for the predicted", "for the true")),
            e["pattern"].split(":")[0],
        )
        for e in found["errors"]
    ]
    lines = (
        f"The head is right in {100 * found['accuracy']:.1f} % of {found['test']} test photos; "
        f"{found['attributes']} attributes.",
        f"PCK@.1 / .2 / .3 in %, over {where['pairs']} pairs of a test photo and one of the {ASKED} most frequent "
        f"attributes of a part that was marked; {where['not beak']} are not of beaks. Last column: Guo et al., other "
        "photos and another network.",
        table(("way", "all", "not beaks", "mean of parts", "the paper"), ways),
        "What the place of the noun gains at .2, paired, with the interval of a bootstrap over photos:",
        table(("over", "all", "not beaks"), gains),
        table(("part, at .2", "pairs", *shown), each),
        f"Part and colour: of {found['colours']['pairs']} pairs whose adjective is a colour, how often the place is "
        "within .2 of the part and a tenth of the cell there has the colour, by borders that nothing was learned from:",
        table(("way", "on the part and its colour"), [(n, within(v)) for n, v in found["colours"]["rows"].items()]),
        "Which attributes a photo has: the share of the first five that its captions say, and the mean average "
        f"precision of searches for the {ASKED} most frequent ones (prevalence {what['prevalence']:.3f}); gains are "
        "paired, of precision over the first row.",
        table(
            ("ranked by", "precision at 5", "gain", "average precision", "gain over the second row", "over the first"),
            ranked,
        ),
        "Search by the five attributes of the sentence, in % (the paper's table 2: recall 30.9, true negative 92.9, "
        '"accuracy" 27.9):',
        table(("ranked by", *four), searched),
        "Searches for two attributes, of which some 15 % of the train photos fit each, by the product:",
        table(("query", "queries", "prevalence", SOFT, "class and picture", "gain"), pairs_of),
        "BLEU of sentences against captions (the paper's table 3: right .415, wrong .381, all .409); a person's first "
        f"caption against the others has {within(bleu['people'])}.",
        table(("ranked by", "right answers", "wrong answers", "all"), spoken_rows),
        f"All {len(wrong)} wrong answers: " + "; ".join(f"{n} {p}" for p, n in doubts.most_common()) + ".",
        table(("photo", "predicted", "true", "marks of the predicted", "marks of the true", "pattern"), wrong),
    )
    return "\n\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="a file that keeps what the network says of the photos")
    given = parser.parse_args()
    torch.set_num_threads(1)
    of = study(gather(photos_folder() / "cub10", given.cache))
    asked = of.most(lambda a: bool(a.adjective) and a.noun in PARTS)
    every = pairs(of, asked)
    ways = located(of, asked)
    far = {name: distances(every, at) for name, at in ways.items()}
    four = ("constant posterior", "place of a wrong noun", "place of the noun", "place of noun and colour")
    right = of.head.predicted[of.test] == of.birds.labels[of.test]
    found = {
        **machine(), "train": len(of.train), "test": len(of.test), "accuracy": float(right.mean()),
        "attributes": len(of.words), "grounded": [str(of.words.attributes[j]) for j in asked],
        "where": pck(every, far), "colours": on_colour(of, every, {name: ways[name] for name in four}),
        "which": which(of), "sentences": sentences(of), "errors": errors(of),
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(STOP)[1]
    PAGE.write_text(f"{before}{START}\n\n{pages(found)}\n\n{STOP}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
