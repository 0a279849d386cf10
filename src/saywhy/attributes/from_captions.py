"""Looks at pictures with captions one after the other, and keeps sums; from these it is known what filters mean.

K filters, L attributes, C classes, N pictures. Maps (K, h, w) of the classifier's layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.attributes.atlas import LEARNED_FROM, View, as_tensors, as_view, layers_of, learn_atlas, view_of
from saywhy.attributes.diagnosing import Mistake, diagnosed
from saywhy.attributes.frequencies import Said, Vocabulary, joined, said, vocabulary
from saywhy.attributes.meanings import Held, Meanings, Reals, meaning_of
from saywhy.attributes.posterior import POSTERIORS
from saywhy.attributes.sums import Activity, Sums, activity_of, sums_of, together
from saywhy.attributes.synonyms import synonyms
from saywhy.attributes.tagging import tagger
from saywhy.captioning import strings
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError, no_inside, unknown
from saywhy.tap import Tap
from saywhy.train.steps import Kept, Steps, mark

GROUPS = 10  # of pictures, for errors and for judging on others
FIRST = 500  # pictures, which say what a filter's activations are like
TWICE = 2000  # pictures at most that are looked at twice
ERRORS = 200  # errors at most that are told
AT_ONCE = 256  # pictures that are added to the sums

Tell = Callable[[str], None]
Having = Callable[[Sequence[int]], Reals]


@dataclass(frozen=True, eq=False)
class Read:
    """One picture: pooled activations (K,), the predicted class and how sure it is, the gradient (K,) of its score, and
    its number; the first ones with a view, from which places are learned."""

    pooled: Reals
    predicted: int
    sure: float
    weights: Reals
    number: int
    view: View | None


def spoken_of(items: Sequence[Item], tagged: str) -> list[Said]:
    """What is said of each picture, by its captions and its attributes."""
    tag = tagger(tagged)
    return [said(strings(i.truth.get("captions", ())), strings(i.truth.get("attributes", ())), tag) for i in items]


def learn(
    clf: Classifier, items: Sequence[Item], method: str = "nnls", *, tagged: str = "lexicon",
    tell: Tell = lambda step: None, checkpoint: Path | None = None,
) -> tuple[Meanings, tuple[tuple[str, str], ...]]:  # fmt: skip
    """What the filters of a classifier's layer mean, by pictures with captions or attributes in their `truth`, and the
    pictures that could not be read. The same pictures, the same meaning; with `checkpoint` an interrupted run goes on.

    Raises:
        UsageError: a black box, an unknown method or tagger, too few pictures with captions, or no English ones.
        InputError: none of the pictures can be read.
    """
    if method not in POSTERIORS:
        raise unknown("posterior", method, POSTERIORS)
    if not clf.white_box:
        raise no_inside("filters", "attributes are learned of a network")
    spoken = spoken_of(items, tagged)
    same = synonyms([one.each for one in spoken])
    every = [joined(one, same) for one in spoken]
    words = vocabulary(every)
    told = [n for n, one in enumerate(every) if one.counts]
    failures: list[tuple[str, str]] = []
    views: dict[int, View] = {}
    asked = [items[n] for n in told]
    answers: list[tuple[int, int, float]] = []
    pictures = _noting(look_at(clf, asked, failures, tell, Steps(checkpoint, _run(clf, asked))), answers)

    def having(numbers: Sequence[int]) -> Reals:
        return words.rows(every[told[n]].counts for n in numbers)

    groups, held, activity = add_up(pictures, having, len(clf.class_names), views)
    tell("learning where things are")
    atlas, why = learn_atlas(clf, list(views.values()), [every[told[n]] for n in views])
    card = _card(clf, len(items), len(told), words, failures, groups) | {"same": same, "no_places": why}
    card |= {"errors": _errors(asked, answers, having, words, clf.class_names)}
    named: dict[str, Any] = {"layer": clf.point.path, "fingerprint": clf.fingerprint, "classes": clf.class_names}
    tell("saying what filters mean")
    return meaning_of(groups, held, words, activity, method, **named, atlas=atlas, card=card), tuple(failures)


def _noting(reads: Iterator[Read], answers: list[tuple[int, int, float]]) -> Iterator[Read]:
    """The same, with each picture's number, class and how sure it is noted."""
    for one in reads:
        answers.append((one.number, one.predicted, one.sure))
        yield one


def _errors(
    items: Sequence[Item], answers: Sequence[tuple[int, int, float]], having: Having, words: Vocabulary,
    names: Sequence[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """The errors among pictures whose class is one of the classifier's by name, at most `ERRORS`, for JSON."""
    index = {name: c for c, name in enumerate(names)}
    known = [one for one in answers if items[one[0]].class_name in index]
    if not known:
        return []
    numbers, predicted, sure = zip(*known, strict=True)
    true = np.array([index[str(items[n].class_name)] for n in numbers])
    found = diagnosed(words.attributes, having(numbers), np.array(predicted), true, np.array(sure), len(names))
    paths = [str(items[n].path) for n in numbers]
    return [_told_error(one, paths) for one in found[:ERRORS]]


def _told_error(one: Mistake, paths: Sequence[str]) -> dict[str, Any]:
    marked = {k: [[str(m.attribute), m.seen] for m in getattr(one, k)] for k in ("of_predicted", "of_true")}
    typical = [None if n is None else paths[n] for n in one.typical]
    told = {"picture": paths[one.picture], "predicted": one.predicted, "true": one.true, "pattern": one.pattern}
    return {**told, "fit": one.fit, **marked, "typical": typical}


def _run(clf: Classifier, items: Sequence[Item]) -> dict[str, Any]:
    """What makes a run this run: other captions change nothing of what is looked at."""
    own = {"classifier": clf.fingerprint, "layer": clf.point.path}
    return {"part": "attributes", **own, "pictures": len(items), "of": mark(item.path for item in items)}


def add_up(
    pictures: Iterator[Read], having: Having, classes: int, views: dict[int, View]
) -> tuple[list[Sums], Held, Activity]:
    """The sums of each group, the pictures that are kept, and what activations are like; `having` says which attributes
    (n, L) pictures of some numbers have, and `views` is filled with the views that there are, by number.

    Raises:
        InputError: no picture, or fewer than there are groups.
    """
    first = list(islice(pictures, FIRST))
    if len(first) < GROUPS:
        raise InputError(f"{len(first)} pictures with captions can be read; at least {GROUPS} are needed")
    activity = activity_of(np.stack([one.pooled for one in first]))
    groups: list[Sums | None] = [None] * GROUPS
    kept: list[Read] = []
    every = chain(first, pictures)
    while some := list(islice(every, AT_ONCE)):
        kept += some[: TWICE - len(kept)]
        views |= {one.number: one.view for one in some if one.view is not None}
        for g in {one.number % GROUPS for one in some}:
            new = _sums([one for one in some if one.number % GROUPS == g], having, classes, activity)
            old = groups[g]
            groups[g] = new if old is None else old + new
    held = Held(
        activity.lifted(np.stack([one.pooled for one in kept])), having([one.number for one in kept]),
        np.array([one.predicted for one in kept]), np.array([one.number % GROUPS for one in kept]),
    )  # fmt: skip
    empty = _sums(first[:1], having, classes, activity).times(0.0)
    return [empty if g is None else g for g in groups], held, activity


def _sums(some: Iterable[Read], having: Having, classes: int, activity: Activity) -> Sums:
    rows = list(some)
    return sums_of(
        np.stack([one.pooled for one in rows]), having([one.number for one in rows]),
        np.array([one.predicted for one in rows]), np.stack([one.weights for one in rows]), classes, activity,
    )  # fmt: skip


def look_at(
    clf: Classifier, items: Sequence[Item], failures: list[tuple[str, str]], tell: Tell, steps: Steps
) -> Iterator[Read]:
    """Each picture that can be read; the others are added to `failures`. What was looked at before an interruption is
    taken from `steps`."""
    seen = 0
    for start in range(0, len(items), AT_ONCE):
        rows = range(start, min(start + AT_ONCE, len(items)))
        look = partial(_looked, clf, items, rows, LEARNED_FROM - seen, tell)
        tensors, told = steps.once(f"looked-{start}", look)
        failures += [(path, why) for path, why in told["failures"]]
        seen += len(told["numbers"])
        yield from _reads(tensors, told)


def _looked(clf: Classifier, items: Sequence[Item], rows: range, views: int, tell: Tell) -> Kept:
    """What is kept of some pictures, the first of them with their views."""
    layers = layers_of(clf)
    failures: list[tuple[str, str]] = []
    reads: list[Read] = []
    for n in rows:
        tell(f"looking at pictures: {n + 1} of {len(items)}")
        try:
            picture = clf.read(items[n].path)
            images, boxes = clf.prepare([picture])
        except InputError as e:
            failures.append((str(items[n].path), str(e)))
            continue
        wanted = len(reads) < views
        tap = clf.tap(images, layers if wanted else [clf.point])
        predicted = int(tap.logits.argmax())
        pooled = tap.maps(clf.point.path)[0].mean(dim=(1, 2)).cpu().double().numpy()
        view = view_of(tap, layers, boxes[0], (picture.width, picture.height)) if wanted else None
        sure = float(clf.fine_probabilities(tap.logits)[0, predicted])
        reads.append(Read(pooled, predicted, sure, gradient(tap, predicted, clf.point.path), n, view))
    keys = {"numbers": "number", "predicted": "predicted", "sure": "sure"}
    told = {name: [getattr(r, key) for r in reads] for name, key in keys.items()}
    tensors = {k: torch.from_numpy(np.array([getattr(r, k) for r in reads])) for k in ("pooled", "weights")}
    for r in reads:
        tensors |= {} if r.view is None else {f"{r.number}.{k}": v for k, v in as_tensors(r.view).items()}
    return tensors, {**told, "failures": failures}


def _reads(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> Iterator[Read]:
    pooled, weights = (tensors[k].numpy() for k in ("pooled", "weights"))
    for i, (n, predicted, sure) in enumerate(zip(*(told[k] for k in ("numbers", "predicted", "sure")), strict=True)):
        own = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{n}.")}
        yield Read(pooled[i], predicted, sure, weights[i], n, as_view(own) if own else None)


def gradient(tap: Tap, c: int, layer: str) -> Reals:
    """How a class's score changes with each filter (K,) of a tap's one image, were it stronger in all cells; where
    classes exclude each other, of the score beyond the mean of all. Of global pooling and a linear layer these are the
    classifier's weights."""
    with torch.inference_mode(False), torch.enable_grad():
        scores: Tensor = tap.scores_graph
        value = scores[:, c] - scores.mean(dim=1) if tap.clf.exclusive else scores[:, c]
        found = tap.grads_of(value, layer)[0].sum(dim=(1, 2))
    return np.asarray(found.detach().cpu().double().numpy())


def _card(
    clf: Classifier, given: int, told: int, words: Vocabulary,
    failures: Sequence[tuple[str, str]], groups: Sequence[Sums],
) -> dict[str, Any]:  # fmt: skip
    return {
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "pictures": told - len(failures),
        "without_captions": given - told,
        "unreadable": len(failures),
        "left_out": dict(words.left_out),
        "classes_seen": int(np.count_nonzero(together(groups).n)),
    }


def check_fits(meaning: Meanings, clf: Classifier) -> None:
    """Raises UsageError for what belongs to another classifier."""
    if meaning.fingerprint != clf.fingerprint:
        raise UsageError(
            f"these attributes are of the filters of the classifier {meaning.fingerprint}, not of {clf.fingerprint}; "
            "learn them anew: saywhy fit IMAGES --captions FILE --parts attributes"
        )
