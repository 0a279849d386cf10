"""Pictures explained before and after an improvement: what is said, and where the score comes from.

Maps (h, w) in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from saywhy.audit.pipeline import default_method
from saywhy.classifier import Classifier
from saywhy.explainer import explain
from saywhy.heat import laid_on
from saywhy.improve.improved import Again
from saywhy.improve.judging import Bench, TwoAnswers
from saywhy.improve.lessons import Frames
from saywhy.saliency import saliency


@dataclass(frozen=True, eq=False)
class ExplainedTwice:
    """A picture that was explained twice, and the pictures with the map of the answer on them, before and after."""

    told: Again
    maps: tuple[Image.Image, Image.Image]


def explained_twice(
    before: Classifier, after: Classifier, frames: Frames, bench: Bench, answers: tuple[TwoAnswers, TwoAnswers],
    count: int, seed: int,
) -> list[ExplainedTwice]:  # fmt: skip
    """Some judged pictures: first those whose answer the improvement changed, of the classes that the finding names."""
    said = [a.p.argmax(axis=1) for a in answers]
    changed = said[0] != said[1]
    asked = np.zeros(len(bench.rows), dtype=bool)
    asked[bench.asked] = True
    order = np.lexsort((np.arange(len(bench.rows)), ~changed, ~asked))[:count]
    return [_one(before, after, frames, bench, answers, int(i), seed) for i in order]


def _one(
    before: Classifier, after: Classifier, frames: Frames, bench: Bench, answers: tuple[TwoAnswers, TwoAnswers], i: int,
    seed: int,
) -> ExplainedTwice:  # fmt: skip
    row, names = int(bench.rows[i]), before.class_names
    told, maps = [], []
    for clf, answer in zip((before, after), answers, strict=True):
        best = int(answer.p[i].argmax())
        told.append(
            (names[best], float(answer.p[i, best]), explain(clf, frames.picture(row), best, fast=True, seed=seed).text)
        )
        shown = saliency(clf, frames[[row]], [best], method=default_method(clf), seed=seed).display[0]
        pixels = (frames[[row]][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        maps.append(laid_on(pixels, shown.cpu().numpy(), (0, 0, pixels.shape[1], pixels.shape[0])))
    again = Again(
        path=frames.shots[row].entry.path, label=names[bench.labels[i]], before=told[0][0], p_before=told[0][1],
        said_before=told[0][2], after=told[1][0], p_after=told[1][1], said_after=told[1][2],
    )  # fmt: skip
    return ExplainedTwice(again, (maps[0], maps[1]))
