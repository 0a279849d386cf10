"""How well pictures are found by words: painted birds, photos of ten species, and a million rows.

SAYWHY_DATA=DIR python benchmarks/search.py      # results/search.json, and the tables in docs/search.md

Attributes are learned from captions of some pictures and searched in others; what is relevant their own captions say.
Beside the search stand the attribute's frequency in the class that is said, and the prevalence, which is what a random
order has. As Guo et al. count (their table 2), a picture is also *returned* for an attribute if it is among its five
likeliest. Composed queries on painted birds: a bird, and "not OLD and NEW" of one part; relevant are birds with NEW and
without OLD that share at least six tenths of the bird's other attributes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from page import between, table
from saywhy import Classifier, Explainer, find_images, load_classifier
from saywhy.attributes.frequencies import joined, said
from saywhy.attributes.searching import Term, fits, ranked
from saywhy.attributes.synonyms import synonyms
from saywhy.audit import scan
from saywhy.aviary import captions_of, render, sample
from saywhy.collection import Item
from saywhy.metrics.statistics import bootstrap
from saywhy.search.answering import Answering, answering
from saywhy.search.composing import FUSIONS
from saywhy.search.seeking import _likeness

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "search.json", HERE.parent / "docs" / "search.md"
Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

TAUGHT, TESTED, SEED = 1000, 600, 4100
FEWEST, PAIRS, TOP, FIRST = 5, 200, 50, 5  # pictures that have it; pairs that are asked; attributes; of a picture
QUERIES, SHARED = 150, 0.6
WORDS, LIKENESS = "the words alone", "the picture alone"
PUBLISHED = {"recall": 0.309, "true negative": 0.929, "precision": 0.279}  # Guo et al., on CUB
PARTS = ("crown", "breast", "wing", "throat", "beak", "tail", "body")


def average_precision(scores: Reals, truth: Bools) -> float:
    """The mean of precisions at each picture that is right; ties in an order that is drawn."""
    order = np.lexsort((np.random.default_rng(0).random(len(scores)), -scores))
    hit = truth[order]
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())


def told(values: Sequence[float] | Reals) -> list[float]:
    found = bootstrap(np.asarray(values, dtype=np.float64))
    return [round(v, 4) for v in (found.mean, found.low, found.high)]


# --------------------------------------------------------------------------------------------------
# The two sets.


def birds(place: Path, seed: int, count: int) -> list[Item]:
    place.mkdir(parents=True, exist_ok=True)
    items = []
    for index in range(count):
        painted = render(sample(seed, index).scene)
        path = place / f"{index:05d}.png"
        if not path.exists():
            Image.fromarray(painted.pixels).save(path)
        captions = [c.text for c in captions_of(painted, seed=seed, index=index)]
        items.append(Item(path, truth={"captions": captions}))
    return items


def species(folder: Path, place: Path) -> tuple[Classifier, list[Item], list[Item]]:
    """Square crops about the birds of ten species, and EfficientNet-lite0 with a head for them, fitted on the half of
    them that teaches."""
    from sklearn.linear_model import LogisticRegression

    from cub_study import crop

    parts: dict[bool, list[Item]] = {True: [], False: []}
    names: dict[int, str] = {}
    place.mkdir(parents=True, exist_ok=True)
    for item in find_images(folder):
        path = place / f"{item.path.stem}.png"
        if not path.exists():
            image, _ = crop(item)
            Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(path)
        names[item.class_index or 0] = item.class_name or ""
        parts[item.split == "train"].append(Item(path, item.class_name, item.class_index, truth=item.truth))
    plain = load_classifier("efficientnet-lite0")
    assert isinstance(plain.net, nn.Module)
    pooled = []
    for item in parts[True]:
        maps = plain.tap(plain.prepare([plain.read(item.path)])[0]).maps()[0]
        pooled.append(maps.clamp(0, 6).mean((1, 2)).detach().numpy())
    x, y = np.array(pooled), np.array([i.class_index for i in parts[True]])
    spread, mean = x.std(0) + 1e-6, x.mean(0)
    fit: Any = LogisticRegression(C=0.003, max_iter=500).fit((x - mean) / spread, y)
    head = nn.Linear(x.shape[1], len(names))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(fit.coef_ / spread))
        head.bias.copy_(torch.from_numpy(fit.intercept_ - (fit.coef_ / spread) @ mean))
    plain.net._fc = head
    classes = [names[c] for c in sorted(names)]
    own = Classifier(
        plain.net, layer=plain.point.path, classes=classes, preprocess=plain.preprocess, name="ten species"
    )
    return own, parts[True], parts[False]


# --------------------------------------------------------------------------------------------------
# What is measured.


def one_set(name: str, clf: Classifier, taught: list[Item], tested: list[Item], place: Path) -> dict[str, Any]:
    explainer = Explainer.fit(clf, taught, ["attributes"])
    meaning = explainer.parts["attributes"]
    explainer.save(place / "explainer")
    listing = place / "images.jsonl"
    listing.write_text("".join(json.dumps({"file": str(i.path.resolve())}) + "\n" for i in tested), encoding="utf-8")
    run = scan(clf, [listing], place / "run", depth="attributes", explainer=place / "explainer")
    found = answering(run)
    names = [str(a) for a in meaning.attributes]
    likely = found.likely(names)
    truth = truths(taught, tested, names)
    images = [clf.prepare([clf.read(i.path)])[0] for i in tested]
    predicted = np.array([int(clf.logits(i).argmax()) for i in images])
    usual = meaning.usual[predicted]
    asked = [j for j in range(len(names)) if FEWEST <= truth[:, j].sum() < len(tested)]
    row = {
        "set": name, "pictures": len(tested), "attributes": len(asked), "one": one(likely, usual, truth, asked),
        "two": two(likely, usual, truth, asked), "returned": returned(likely, usual, truth, asked),
    }  # fmt: skip
    return row | ({"composed": composed(run, found, names, likely, truth)} if name == "painted birds" else {})


def truths(taught: list[Item], tested: list[Item], names: Sequence[str]) -> Bools:
    """Which attributes the captions of each searched picture say (N, L), in the words that the explainer knows."""
    same = synonyms([said(i.truth["captions"]).each for i in taught])
    out = np.zeros((len(tested), len(names)), dtype=bool)
    places = {n: j for j, n in enumerate(names)}
    for row, item in zip(out, tested, strict=True):
        for attribute in joined(said(item.truth["captions"]), same).counts:
            if str(attribute) in places:
                row[places[str(attribute)]] = True
    return out


def one(likely: Reals, usual: Reals, truth: Bools, asked: Sequence[int]) -> dict[str, Any]:
    ours, theirs = (np.array([average_precision(s[:, j], truth[:, j]) for j in asked]) for s in (likely, usual))
    return {
        "search": told(ours), "class frequency": told(theirs), "gain": told(ours - theirs),
        "random": round(float(truth[:, asked].mean()), 4), "queries": len(asked),
    }  # fmt: skip


def two(likely: Reals, usual: Reals, truth: Bools, asked: Sequence[int]) -> dict[str, Any]:
    every = [(i, j) for i in asked for j in asked if i < j and (truth[:, i] & truth[:, j]).sum() >= FEWEST]
    some = [every[k] for k in np.random.default_rng(0).permutation(len(every))[:PAIRS]]
    terms = [(Term(i), Term(j)) for i, j in some]
    both = [truth[:, i] & truth[:, j] for i, j in some]
    ours, theirs = (
        np.array([average_precision(fits(t, s), b) for t, b in zip(terms, both, strict=True)]) for s in (likely, usual)
    )
    return {
        "search": told(ours), "class frequency": told(theirs), "gain": told(ours - theirs),
        "random": round(float(np.mean([b.mean() for b in both])), 4), "queries": len(some),
    }  # fmt: skip


def returned(likely: Reals, usual: Reals, truth: Bools, asked: Sequence[int]) -> dict[str, dict[str, float]]:
    most = sorted(asked, key=lambda j: (-truth[:, j].sum(), j))[:TOP]
    out = {}
    for name, scores in (("search", likely), ("class frequency", usual)):
        got = np.zeros(truth.shape, dtype=bool)
        np.put_along_axis(got, np.argsort(-scores, axis=1, kind="stable")[:, :FIRST], True, 1)
        mine, right = got[:, most], truth[:, most]
        out[name] = {
            "recall": round(float(mine[right].mean()), 4), "true negative": round(float((~mine)[~right].mean()), 4),
            "precision": round(float(right[mine].mean()), 4),
        }  # fmt: skip
    return out


def composed(run: Path, found: Answering, names: Sequence[str], likely: Reals, truth: Bools) -> dict[str, Any]:
    """mAP of each fusion."""
    dice, rows = np.random.default_rng(0), {name: [] for name in (*FUSIONS, WORDS, LIKENESS)}
    prevalence: list[float] = []
    while len(prevalence) < QUERIES:
        n = int(dice.integers(len(truth)))
        old = [j for j in np.flatnonzero(truth[n]) if names[j].split()[-1] in PARTS]
        if not old:
            continue
        out = int(dice.choice(old))
        noun = names[out].split()[-1]
        new = [j for j, name in enumerate(names) if name.endswith(f" {noun}") and not truth[n, j]]
        put = int(dice.choice(new)) if new else out
        rest = truth[n].copy()
        rest[[j for j, name in enumerate(names) if name.endswith(f" {noun}")]] = False
        right = truth[:, put] & ~truth[:, out] & ((truth & rest).sum(1) >= SHARED * rest.sum())
        right[n] = False
        if put == out or not right.any():
            continue
        wanted = [(False, names[out]), (True, names[put])]
        words = fits([Term(out, False), Term(put)], likely)
        _, cosine = _likeness(run, n)
        edited = found.edited(n, wanted)
        kept = np.arange(len(truth)) != n
        scores = {name: fusion.score(words, cosine, edited) for name, fusion in FUSIONS.items()}
        for name, score in {**scores, WORDS: words, LIKENESS: cosine}.items():
            rows[name].append(average_precision(score[kept], right[kept]))
        prevalence.append(float(right[kept].mean()))
    return {"queries": QUERIES, "random": round(float(np.mean(prevalence)), 4), **{k: told(v) for k, v in rows.items()}}


def composed_again(work: Path) -> dict[str, Any]:
    """The composed queries, in the run of painted birds that an earlier call has left."""
    found = answering(work / "birds" / "run")
    names = [str(a) for a in Explainer.load(work / "birds" / "explainer").parts["attributes"].attributes]
    taught, tested = birds(work / "taught", SEED, TAUGHT), birds(work / "tested", SEED + 1, TESTED)
    return composed(work / "birds" / "run", found, names, found.likely(names), truths(taught, tested, names))


def million() -> dict[str, float]:
    """Seconds of a query of two phrases over a million rows of 32 attributes, once the columns lie side by side; what
    reads and ranks them, as `search` does."""
    from saywhy.search.columns import Columns

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "columns.npy"
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(32, 1_000_000))
        for row in range(32):
            out[row] = np.random.default_rng(row).random(1_000_000, dtype=np.float32)
        out.flush()
        columns = Columns(np.arange(1_000_000), np.load(file, mmap_mode="r"))
        start, clock = time.perf_counter(), time.process_time()
        likely = columns.values[[3, 17]].T.astype(np.float64)
        ranked(fits((Term(0), Term(1, False)), likely), 100)
        return {
            "seconds": round(time.perf_counter() - start, 2),
            "processor_seconds": round(time.process_time() - clock, 2),
        }


# --------------------------------------------------------------------------------------------------


def level(values: Sequence[float]) -> str:
    return f"{100 * values[0]:.1f} ({100 * values[1]:.1f} to {100 * values[2]:.1f})"


def pages(found: dict[str, Any]) -> str:
    rows = [
        (s["set"], {"one": "one", "two": "two, `and`"}[k], s[k]["queries"], f"{100 * s[k]['random']:.1f}",
         level(s[k]["class frequency"]), level(s[k]["search"]), level(s[k]["gain"]))
        for s in found["sets"] for k in ("one", "two")
    ]  # fmt: skip
    out = [
        "Average precision (%), mean over queries with the interval of a bootstrap over them:\n",
        table(("pictures", "attributes", "queries", "random", "frequency in the class said", "search", "gain"), rows),
    ]
    measures = ("recall", "true negative", "precision")
    counted: list[tuple[object, ...]] = [
        ("Guo et al., CUB", "published", *(f"{100 * PUBLISHED[m]:.1f}" for m in measures))
    ]
    for s in found["sets"]:
        for who, row in s["returned"].items():
            counted.append((s["set"], who, *(f"{100 * row[m]:.1f}" for m in measures)))
    out += [
        f"\nReturned if among the five likeliest of a picture, over the {TOP} most frequent attributes (%). The "
        "published row is of 200 species and other captions, and stands there for its size alone:\n",
        table(("pictures", "by", *measures), counted),
    ]  # fmt: skip
    composed = next(s["composed"] for s in found["sets"] if "composed" in s)
    out += [
        f"\nA painted bird and a change of one part, {composed['queries']} queries, mAP (%); random "
        f"{100 * composed['random']:.1f}:\n",
        table(
            ("`--fusion`", "mAP"),
            [*((f"`{n}`", level(composed[n])) for n in FUSIONS), *((n, level(composed[n])) for n in (WORDS, LIKENESS))],
        ),
        f"\nTwo phrases over a million rows: {found['million']['seconds']} s, {found['million']['processor_seconds']} "
        "s of processor, on a machine that had other work to do.",
    ]  # fmt: skip
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build") / "search")
    parser.add_argument("--composed", action="store_true", help="the composed queries alone, in the run that is there")
    parser.add_argument("--page", action="store_true", help="the tables alone, of what was measured")
    asked = parser.parse_args()
    if asked.composed:
        found = json.loads(RESULTS.read_text())
        found["sets"][0]["composed"] = composed_again(asked.work)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    elif not asked.page:
        torch.set_num_threads(1)
        taught, tested = birds(asked.work / "taught", SEED, TAUGHT), birds(asked.work / "tested", SEED + 1, TESTED)
        found = {
            "sets": [one_set("painted birds", load_classifier("aviary:cnn"), taught, tested, asked.work / "birds")]
        }
        if data := os.environ.get("SAYWHY_DATA"):
            found["sets"].append(
                one_set("ten species", *species(Path(data) / "cub10", asked.work / "crops"), asked.work / "cub")
            )
        found["million"] = million()
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    between(PAGE, pages(json.loads(RESULTS.read_text())), "<!-- measured -->", "<!-- end of measured -->")


if __name__ == "__main__":
    main()
