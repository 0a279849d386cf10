"""Attributes against the birds: are captions read rightly, do filters mean what they do, is only said what is used?

    python benchmarks/attributes_aviary.py aviary:cnn aviary:vit

Birds of one seed with their captions teach; birds of a second seed are explained. What an attribute is worth is known:
the rule of each species names what makes it one. Planted filters are numbers that are drawn from the true attributes of
the same birds. Writes results/attributes_NAME.json and the tables in docs/attributes.md.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import saywhy
from page import between, table
from saywhy import aviary
from saywhy.attributes import describing
from saywhy.attributes.frequencies import said, vocabulary
from saywhy.attributes.from_captions import gradient, learn
from saywhy.attributes.grounding import GROUNDINGS
from saywhy.attributes.meanings import Meanings
from saywhy.attributes.part import find
from saywhy.attributes.phrases import Attribute, adjective_of, attributes_of, singular
from saywhy.attributes.posterior import POSTERIORS, dictionary
from saywhy.attributes.regressions import effects
from saywhy.attributes.sums import activity_of, sums_of
from saywhy.attributes.tagging import tagger
from saywhy.aviary import lexicon
from saywhy.aviary import vocabulary as plain
from saywhy.collection import Item
from saywhy.errors import ExtraMissing
from saywhy.image import framed_mask
from saywhy.parts import Request
from saywhy.seen import look
from sentence_measures import machine

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "attributes.md"
TAUGHT, TESTED = 31, 32  # seeds; what was chosen was chosen on others
SIZE = 64
Row = dict[str, Any]
WORDS = {"1": (plain.NOUNS, plain.ADJECTIVES), "2": (lexicon.NOUNS, lexicon.ADJECTIVES)}


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("models", nargs="*", default=["aviary:cnn", "aviary:vit"])
    parse.add_argument("--taught", type=int, default=1200)
    parse.add_argument("--tested", type=int, default=200)
    parse.add_argument("--head", action="store_true", help="only effects by what the last layer reads; the rest stays")
    asked = parse.parse_args()
    for name in asked.models:
        file = HERE / "results" / f"attributes_{name.partition(':')[2]}.json"
        if asked.head:
            birds = list(stream(TAUGHT, asked.taught))
            row = json.loads(file.read_text()) | {"by the head": of_head(saywhy.load_classifier(name), birds)}
        else:
            row = measured(name, asked.taught, asked.tested)
        file.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    write_page()


def measured(name: str, taught: int, tested: int) -> Row:
    clf = saywhy.load_classifier(name)
    start = time.process_time()
    birds, test = list(stream(TAUGHT, taught)), list(stream(TESTED, tested))
    with tempfile.TemporaryDirectory() as folder:
        items = [item(one, Path(folder)) for one in birds]
        meanings = {method: learn(clf, items, method)[0] for method in POSTERIORS}
        tables = [Item(i.path, truth={"attributes": looks_of(one)}) for i, one in zip(items, birds, strict=True)]
        of_tables = learn(clf, tables)[0]
    lead = meanings["nnls"]
    return {
        "machine": machine(), "model": name, "taught": taught, "tested": tested, "seeds": [TAUGHT, TESTED],
        "attributes": len(lead), "least": lead.least if np.isfinite(lead.least) else None,
        "extraction": [extraction(t, edition) for edition in WORDS for t in ("lexicon", "textblob")],
        "planted": planted(birds), "explained_away": explained_away(birds, test),
        "by the head": of_head(clf, birds),
        "classes": {m: class_tables(meaning) for m, meaning in meanings.items()},
        "contrast": {"captions": contrasts(lead), "tables": contrasts(of_tables)},
        "grounding": {m: grounded(clf, meaning, test) for m, meaning in meanings.items()},
        "check": {"captions": checked(clf, lead, test), "tables": checked(clf, of_tables, test)},
        "seconds": round(time.process_time() - start),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Birds, and what is true of them.


class One:
    """A bird with its picture, captions and what is true of it."""

    def __init__(self, seed: int, index: int, edition: str = "1") -> None:
        sample = aviary.sample(seed, index, edition=edition, size=SIZE if edition == "1" else 128)
        self.index, self.species = index, sample.species
        self.rendered = aviary.render(sample.scene)
        self.captions = [c.text for c in aviary.captions_of(self.rendered, seed=seed, index=index)]
        bird = sample.scene.birds[0]
        self.true = set(plain.said_of(bird, self.rendered.shown())) if edition == "1" else set()


def stream(seed: int, count: int) -> Iterator[One]:
    return (One(seed, index) for index in range(count))


def item(one: One, folder: Path) -> Item:
    path = folder / f"{one.index:05d}.png"
    Image.fromarray(one.rendered.pixels).save(path)
    return Item(path, truth={"captions": one.captions})


def looks_of(one: One) -> list[str]:
    """The plain names of what captions say of a bird's parts: a table of attributes."""
    said_of = {plain_name(a) for text in one.captions for a in attributes_of(text)}
    return sorted(name for name in said_of if name)


def plain_name(one: Attribute, edition: str = "1") -> str | None:
    """The aviary's plain name of an attribute in any synonyms; None of what is said of no part.

    Names of several phrases ("tick on the neck", "back and flanks", "flecked with short strokes") are known by the
    first of them, as the source has it: one adjective and one noun.
    """
    nouns, adjectives = WORDS[edition]
    parts = {name: p for p, ns in nouns.items() for n in ns for name in (one_thing(n), one_thing(first_phrase(n)))}
    looks = {adjective_of(w): v for values in adjectives.values() for v, ws in values.items() for w in heads(ws)}
    known = one.noun in parts and one.adjective in looks
    if not known and one.noun in {singular(p) for p in nouns} and one.adjective:  # a table's own plain name
        return f"{one.adjective} {next(p for p in nouns if singular(p) == one.noun)}"
    return f"{looks[one.adjective]} {parts[one.noun]}" if known else None


def one_thing(noun: str) -> str:
    return " ".join([*noun.split()[:-1], singular(noun.split()[-1])])


def first_phrase(words: str) -> str:
    return re.split(r" (?:on|and|with|at|across|off) ?", words)[0]


def heads(words: Sequence[str]) -> list[str]:
    return [*words, *map(first_phrase, words)]


def rules() -> dict[str, set[str]]:
    """The attributes that each species' rule names."""
    rows = aviary.world("1").species.values()
    return {s.name: {f"{a.value} {a.part}" for a in s.rule if a.other is None} for s in rows}


def rule_parts() -> dict[str, set[str]]:
    """The parts that each species' rule names, those of a relation too."""
    return {s.name: {p for a in s.rule for p in a.parts} for s in aviary.world("1").species.values()}


# --------------------------------------------------------------------------------------------------
# Captions.


def extraction(name: str, edition: str, count: int = 60) -> Row:
    """Precision and recall over captions, of what is said of parts; relations, settings and negations are not asked."""
    try:
        tag = tagger(name)
    except ExtraMissing:
        return {"tagger": name, "edition": edition, "captions": 0}
    right = wrong = missed = captions = 0
    looks = {v for values in WORDS[edition][1].values() for v in values}
    for index in range(count):
        one = One(21, index, edition)
        for text in one.captions:
            told, found = (
                {one_collar(n) for n in names if n and is_look(n, looks, edition)}
                for names in (
                    aviary.parse(text, edition=edition).mentions,
                    (plain_name(a, edition) for a in attributes_of(text, tag)),
                )
            )
            right, wrong = right + len(told & found), wrong + len(found - told)
            missed, captions = missed + len(told - found), captions + 1
    return {
        "tagger": name, "edition": edition, "captions": captions, "attributes": right + missed,
        "precision": right / max(right + wrong, 1), "recall": right / max(right + missed, 1),
    }  # fmt: skip


def one_collar(name: str) -> str:
    """Nouns are of one thing here, so one collar and two are told by the same name."""
    return name.replace("collars", "collar")


def is_look(mention: str, looks: set[str], edition: str) -> bool:
    words = mention.split()
    return len(words) == 2 and words[0] in looks and words[1] in WORDS[edition][0]


# --------------------------------------------------------------------------------------------------
# Planted filters.


def planted(birds: Sequence[One]) -> Row:
    """For filters that are on where one true attribute is: how high it stands in its row, as average precision, and how
    often it is the first, by its plain name."""
    texts = [said(one.captions) for one in birds]
    words = vocabulary(texts)
    t = words.rows(text.counts for text in texts)
    names = [plain_name(a) for a in words.attributes]
    wanted = sorted(set(filter(None, names)))
    random = np.random.default_rng(0)
    on = np.array([[n in one.true for n in wanted] for one in birds])
    pooled = on * random.uniform(0.5, 1.5, on.shape) + random.exponential(0.3, on.shape)
    sums = sums_of(pooled, t, np.zeros(len(birds), dtype=int), np.zeros_like(pooled), 1, activity_of(pooled))
    out = {}
    for method, row in POSTERIORS.items():
        posterior = row.make(sums, words.prior)
        ranks = [[names[j] == n for j in np.argsort(-posterior[k], kind="stable")] for k, n in enumerate(wanted)]
        precision = [float(np.mean((np.arange(sum(r)) + 1) / (np.flatnonzero(r) + 1))) for r in ranks]
        out[method] = {
            "filters": len(wanted),
            "ap": float(np.mean(precision)),
            "first": float(np.mean([r[0] for r in ranks])),
        }
    return out


def explained_away(birds: Sequence[One], test: Sequence[One]) -> Row:
    """Two planted filters, {blue or black crown} and {blue crown}: which crown a bird has, by both together, by the
    source's sum of posteriors, and by the first filter alone."""
    texts = [said(one.captions) for one in birds]
    words = vocabulary(texts)
    t = words.rows(text.counts for text in texts)
    random = np.random.default_rng(0)

    def filters(some: Sequence[One]) -> np.ndarray:
        blue, black = (np.array([f"{c} crown" in one.true for one in some], dtype=float) for c in ("blue", "black"))
        on = np.stack([np.maximum(blue, black), blue], axis=1)
        return on * random.uniform(0.8, 1.2, on.shape) + random.exponential(0.1, on.shape)

    pooled = filters(birds)
    activity = activity_of(pooled)
    sums = sums_of(pooled, t, np.zeros(len(birds), dtype=int), np.zeros_like(pooled), 1, activity)
    D, names = dictionary(sums), [plain_name(a) for a in words.attributes]
    own = [np.array([n == f"{c} crown" for n in names]) for c in ("blue", "black")]
    asked = [one for one in test if {"blue crown", "black crown"} & one.true]
    lifted, spread = activity.lifted(filters(asked)), np.sqrt(sums.variance)
    base = sums.mean - D @ (sums.having / len(birds))
    truth = ["blue crown" in one.true for one in asked]
    told: dict[str, list[bool]] = {"together": [], "published": [], "first alone": []}
    P = POSTERIORS["published"].make(sums, words.prior)
    for a in lifted:
        parts = describing.explained(a, base, D, spread)
        told["together"].append(bool(parts[own[0]].sum() > parts[own[1]].sum()))
        q = describing.image_pdf(P, a, np.ones(2))[0]
        told["published"].append(bool(q[own[0]].sum() > q[own[1]].sum()))
        told["first alone"].append(bool(D[0, own[0]].sum() > D[0, own[1]].sum()))
    return {"birds": len(asked), **{k: float(np.mean(np.array(v) == truth)) for k, v in told.items()}}


# --------------------------------------------------------------------------------------------------
# Classes.


def first_names(meaning: Meanings, worth: np.ndarray, count: int) -> list[str]:
    """The plain names of the attributes of most worth, each once."""
    return plain_firsts(meaning.attributes, worth, count)


def plain_firsts(attributes: Sequence[Attribute], worth: np.ndarray, count: int) -> list[str]:
    order = [int(j) for j in np.argsort(-worth, kind="stable") if worth[j] > 0]
    return list(dict.fromkeys(plain_name(attributes[j]) or str(attributes[j]) for j in order))[:count]


def class_tables(meaning: Meanings) -> Row:
    """The share of the first attributes of a class, as many as its rule names, that its rule names: of the source's
    p(t | c), of that less p(t | c) of the filters against it, and of effects; beside them mere frequency."""
    weights = saywhy.load_classifier(meaning.card["classifier"]["name"]).net
    W = [p.detach().numpy().astype(float) for p in weights.parameters() if p.dim() == 2][-1]
    known, rows = rules(), {"published": [], "for less against": [], "effects": [], "frequency": []}
    for c, name in enumerate(meaning.classes):
        raw, centred = W[c], W[c] - W.mean(axis=0)
        fors, against = np.maximum(centred, 0) @ meaning.posterior, np.maximum(-centred, 0) @ meaning.posterior
        worth = {
            "published": describing.class_pdf(meaning.posterior, raw)[0],
            "for less against": fors - against,
            "effects": meaning.effects[c],
            "frequency": meaning.usual[c],
        }
        for way, values in worth.items():
            first = first_names(meaning, values, len(known[name]))
            rows[way].append(len(known[name] & set(first)) / len(known[name]))
    return {way: float(np.mean(values)) for way, values in rows.items()}


def of_head(clf: saywhy.Classifier, birds: Sequence[One]) -> float:
    """The same share for effects by what the last layer reads, in the place of pooled maps: of a transformer that is
    its class token, which no map shows."""
    head = [m for m in clf.net.modules() if isinstance(m, torch.nn.Linear)][-1]
    read: list[np.ndarray] = []
    hook = head.register_forward_pre_hook(lambda _, given: read.append(given[0].detach().double().numpy()))
    answers = []
    for one in birds:
        images, _ = clf.prepare([clf.read(one.rendered.pixels)])
        with torch.no_grad():
            answers.append(int(clf.logits(images).argmax()))
    hook.remove()
    pooled, predicted = np.concatenate(read), np.array(answers)
    texts = [said(one.captions) for one in birds]
    words = vocabulary(texts)
    weights = head.weight.detach().double().numpy()[predicted]
    sums = sums_of(
        pooled, words.rows(t.counts for t in texts), predicted, weights, len(clf.class_names), activity_of(pooled)
    )
    told, known = effects(sums), rules()
    rows = [
        len(known[name] & set(plain_firsts(words.attributes, told[c], len(known[name])))) / len(known[name])
        for c, name in enumerate(clf.class_names)
    ]
    return float(np.mean(rows))


def contrasts(meaning: Meanings) -> Row:
    """Of every two species whose rules differ in attributes: how many of what is told to be the first's alone (at most
    three) its rule names and the other's does not."""
    known = rules()
    siblings = {s.name: s.clan for s in aviary.world("1").species.values()}
    right: dict[str, list[float]] = {"all pairs": [], "siblings": []}
    for a, first in enumerate(meaning.classes):
        for b, second in enumerate(meaning.classes):
            differ = known[first] - known[second]
            if a == b or not differ:
                continue
            alone = np.zeros(len(meaning))
            for n, j in enumerate(describing.contrast(meaning, a, b).first):
                alone[j] = 10 - n
            told = first_names(meaning, alone, 3)
            score = len(set(told) & differ) / max(len(told), 1)
            right["all pairs"].append(score)
            if siblings[first] == siblings[second]:
                right["siblings"].append(score)
    return {k: {"pairs": len(v), "precision": float(np.mean(v))} for k, v in right.items()}


# --------------------------------------------------------------------------------------------------
# Pictures.


def grounded(clf: saywhy.Classifier, meaning: Meanings, test: Sequence[One]) -> Row:
    """How near the strongest cell of a true attribute's map lies to its part's middle, for the bird's size (PCK), and
    how often it is on the part; beside them the middle of the picture, a map that is the same for all attributes, and
    the map of another noun."""
    far: dict[str, list[float]] = {}
    on: dict[str, list[bool]] = {}
    random = np.random.default_rng(0)
    for one in test[:100]:
        images, _ = clf.prepare([clf.read(one.rendered.pixels)])
        maps = clf.tap(images, [meaning.layer]).maps(meaning.layer)[0].double().numpy()
        side = images.shape[-1]
        size = extent(framed_mask(aviary.mask_of(one.rendered, "bird"), clf.preprocess) > 0.5)
        for j, word in enumerate(meaning.attributes):
            name = plain_name(word)
            if name not in one.true:
                continue
            mask = framed_mask(aviary.mask_of(one.rendered, name.split()[-1]), clf.preprocess) > 0.5
            if not mask.any():
                continue
            other = next(i for i in random.permutation(len(meaning)) if meaning.attributes[i].noun != word.noun)
            grids = {way: make(maps, meaning.posterior[:, j]) for way, make in GROUNDINGS.items()}
            grids["constant"] = maps.mean(axis=0)
            grids["wrong noun"] = GROUNDINGS["published"](maps, meaning.posterior[:, other])
            grids["random"] = random.random(maps.shape[1:])
            points = {way: peak(grid, side) for way, grid in grids.items()} | {"centre": (side / 2, side / 2)}
            middle = np.argwhere(mask).mean(axis=0)
            for way, point in points.items():
                far.setdefault(way, []).append(float(np.hypot(*(middle - point))) / size)
                on.setdefault(way, []).append(bool(mask[int(point[0]), int(point[1])]))
    return {
        way: {"pairs": len(d), "on the part": float(np.mean(on[way])),
              **{f"pck@{a}": float(np.mean(np.array(d) <= a)) for a in (0.1, 0.2, 0.3)}}
        for way, d in far.items()
    }  # fmt: skip


def peak(grid: np.ndarray, side: int) -> tuple[float, float]:
    y, x = np.unravel_index(int(grid.argmax()), grid.shape)
    return (float(y) + 0.5) * side / grid.shape[0], (float(x) + 0.5) * side / grid.shape[1]


def extent(mask: np.ndarray) -> float:
    """The longer side of a mask's box."""
    where = np.argwhere(mask)
    return float((where.max(axis=0) - where.min(axis=0) + 1).max())


def checked(clf: saywhy.Classifier, meaning: Meanings, test: Sequence[One]) -> Row:
    """What is said of birds that are named rightly: whether it is true, and whether the rule names it; before the check
    (all reasons that were tried) and after it; and of attributes that are proposed though no rule names them."""
    rule, parts = rules(), rule_parts()
    said_rows: list[Row] = []
    birds = silent = 0
    for one in test:
        seen = look(clf, clf.read(one.rendered.pixels))
        if clf.class_names[seen.target] != one.species:
            continue
        found = find(meaning, seen, {}, Request())
        birds += 1
        fors = [c for c in found.checked if c.reason.effect > 0]
        silent += not any(c.used for c in fors)
        for c in found.checked:
            own = {"used": c.used, "level": c.reason.level, "for": c.reason.effect > 0}
            said_rows.append(judged(meaning, one, c.reason.attribute, rule, parts) | own)
    fors = [r for r in said_rows if r["for"]]
    return {
        "birds": birds, "nothing is said of": silent,
        "before": shares(fors), "after": shares([r for r in fors if r["used"]]),
        "against": shares([r for r in said_rows if not r["for"] and r["used"]]),
        "of the rule, of which the check lost": float(np.mean([not r["used"] for r in fors if r["rule"]])),
        "planted": unused(clf, meaning, test, rule, parts),
    }  # fmt: skip


def judged(meaning: Meanings, one: One, j: int, rule: Row, parts: Row) -> Row:
    name = plain_name(meaning.attributes[j]) or ""
    return {
        "true": name in one.true, "rule": name in rule[one.species],
        "part": bool(name) and name.split()[-1] in parts[one.species],
    }  # fmt: skip


def shares(rows: Sequence[Row]) -> Row:
    """How many, and the share that is true of the bird, of its rule, of no part in its rule."""
    n = max(len(rows), 1)
    return {
        "said": len(rows), "true": sum(r["true"] for r in rows) / n, "of the rule": sum(r["rule"] for r in rows) / n,
        "present and not of the rule": sum(r["true"] and not r["rule"] for r in rows) / n,
        "of a part that no rule names": sum(not r["part"] for r in rows) / n,
        "of the image": sum(r.get("level") == "image" for r in rows) / n,
    }  # fmt: skip


def unused(clf: saywhy.Classifier, meaning: Meanings, test: Sequence[One], rule: Row, parts: Row) -> Row:
    """Attributes that a bird has and no part of its rule wears, checked as if they were reasons: three a bird."""
    from saywhy.attributes.checking import check

    random, tried, passed = np.random.default_rng(0), 0, 0
    for one in test:
        seen = look(clf, clf.read(one.rendered.pixels))
        if clf.class_names[seen.target] != one.species:
            continue
        idle = [
            j for j, word in enumerate(meaning.attributes)
            if (row := judged(meaning, one, j, rule, parts))["true"] and not row["part"] and word.noun
        ]  # fmt: skip
        some = random.permutation(idle)[:3]
        gained = gradient(seen.tap, seen.target, meaning.layer) @ meaning.loadings
        as_if = [describing.Reason(int(j), 1.0, abs(float(gained[j])) + 1e-6, "image") for j in some]
        found = check(meaning, seen, seen.tap, as_if, 0)
        tried, passed = tried + len(found), passed + sum(c.used for c in found)
    return {"tried": tried, "passed": passed, "share": passed / max(tried, 1)}


# --------------------------------------------------------------------------------------------------
# The page.


def write_page() -> None:
    files = [HERE / "results" / f"attributes_{name}.json" for name in ("cnn", "vit")]
    rows = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()]
    between(PAGE, "\n\n".join(tables(rows)), "<!-- painted -->", "<!-- end of painted -->")


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def tables(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0]
    asked = [r for r in first["extraction"] if r["captions"]]
    yield table(
        ("edition", "tagger", "captions", "attributes", "precision", "recall"),
        [
            (r["edition"], r["tagger"], r["captions"], r["attributes"], percent(r["precision"]), percent(r["recall"]))
            for r in asked
        ],
    )
    yield f"Planted filters ({first['planted']['nnls']['filters']}, of {first['taught']} birds):"
    yield table(
        ("posterior", "average precision of the true attribute", "it is the first"),
        [(m, f"{r['ap']:.2f}", percent(r["first"])) for m, r in first["planted"].items()],
    )
    away = first["explained_away"]
    yield (
        f"Two planted filters, one of blue or black crowns and one of blue ones; of {away['birds']} birds with either "
        "the crown is told rightly by non-negative least squares of both together in "
        f"{percent(away['together'])} %, by the source's sum in {percent(away['published'])} %, by the first filter "
        f"alone in {percent(away['first alone'])} %."
    )
    for row in rows:
        yield from of_model(row)


def of_model(row: Row) -> Iterator[str]:
    yield f"### {row['model']}"
    yield (
        f"{row['attributes']} attributes of {row['taught']} birds; {row['tested']} others are explained. What a "
        "class is told by, as many attributes as its rule names, of its rule (%):"
    )
    ways = list(next(iter(row["classes"].values())))
    yield table(("posterior", *ways), [(m, *(percent(r[w]) for w in ways)) for m, r in row["classes"].items()])
    read = percent(row["by the head"])
    yield f"Effects by what the last layer reads, in the place of pooled maps: {read} % of the rule."
    for words, both in row["contrast"].items():
        told = "; ".join(f"{k} {percent(v['precision'])} % of {v['pairs']}" for k, v in both.items())
        yield (
            f"Contrast by {words}, what is told to be the first's alone (at most three), of its rule and not of the "
            f"other's: {told}."
        )
    yield "Where a true attribute's map is strongest (PCK, %, distance to the part's middle for the bird's size):"
    yield table(
        ("posterior", "map", "pairs", "@.1", "@.2", "@.3", "on the part"),
        [
            (m, way, r["pairs"], *(percent(r[f"pck@{a}"]) for a in (0.1, 0.2, 0.3)), percent(r["on the part"]))
            for m, ways in row["grounding"].items() for way, r in ways.items()
            if m == "nnls" or way in GROUNDINGS
        ],
    )  # fmt: skip
    for words, check in row["check"].items():
        silent, planted = check["nothing is said of"], check["planted"]
        yield f"By {words}, what is said for the class, of {check['birds']} birds named rightly (of {silent} nothing):"
        columns = list(check["before"])
        yield table(
            ("", *columns),
            [
                (k, check[k]["said"], *(percent(check[k][c]) for c in columns[1:]))
                for k in ("before", "after", "against")
            ],
        )
        yield (
            "Attributes that a bird has on parts that no rule of it names, put to the check as if they were reasons: "
            f"{planted['passed']} of {planted['tried']} pass ({percent(planted['share'])} %). The check loses "
            f"{percent(check['of the rule, of which the check lost'])} % of what is of the rule."
        )


if __name__ == "__main__":
    main()
