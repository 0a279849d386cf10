"""Where in a found picture a phrase is: by the filters that mean it, or by what its class is said by.

Grids (h, w), boxes (x0, y0, x1, y1) in pixels of the upright photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from saywhy.attributes.atlas import region, view_of
from saywhy.attributes.grounding import cells, published
from saywhy.audit.depths import meanings_of
from saywhy.audit.pipeline import default_method
from saywhy.classifier import Classifier
from saywhy.explainer import Explainer
from saywhy.explanation import place_word
from saywhy.image import Box, Picture
from saywhy.saliency import saliency
from saywhy.search.hits import SearchTerm
from saywhy.spaces.wordbook import load_words
from saywhy.zoo import imagenet_classes

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grounding:
    """What looks for phrases in pictures: the classifier of the run, and its explainer where words are attributes."""

    clf: Classifier
    explainer: Explainer | None

    def placed(self, picture: Picture, terms: tuple[SearchTerm, ...]) -> tuple[SearchTerm, ...]:
        """The terms with their boxes; what is not wanted has none."""
        images, (seen,) = self.clf.prepare([picture])
        out = []
        for term in terms:
            mask = self._cells(images, seen, picture, term.phrase) if term.wanted else None
            box = None if mask is None else _box(mask, seen, picture)
            place = None if box is None else _word(box, picture)
            out.append(term.model_copy(update={"box": box, "place": place}))
        return tuple(out)

    def _cells(self, images: torch.Tensor, seen: Box, picture: Picture, phrase: str) -> Bools | None:
        """The cells (h, w) of a phrase: of its noun's place where that is known, else of its filters or class."""
        meaning = meanings_of(self.explainer)
        if meaning is None:
            best = _class_of(phrase, self.clf.probabilities(images)[0])
            found = saliency(self.clf, images, [best], method=default_method(self.clf))
            return cells(found.raw[0].clamp_min(0).cpu().double().numpy()) if found.status[0] == "ok" else None
        number = [str(one) for one in meaning.attributes].index(phrase)
        layers = dict.fromkeys((*(meaning.atlas.layers if meaning.atlas else ()), meaning.layer))
        tap = self.clf.tap(images, list(layers))
        if meaning.atlas is not None:
            view = view_of(tap, meaning.atlas.layers, seen, (picture.width, picture.height))
            if (place := meaning.atlas.place(view, meaning.attributes[number])) is not None:
                return region(place)
        maps = tap.maps(meaning.layer)[0].detach().cpu().double().numpy()
        return cells(published(maps, meaning.posterior[:, number]))


def _class_of(phrase: str, p: torch.Tensor) -> int:
    """Of the classes that a phrase is true of the one that is most probable here."""
    words, ids = load_words(), imagenet_classes().ids
    own = {words.classes[i] for i in words.true_of[words.numbers[phrase]]}
    return max((i for i, one in enumerate(ids) if one in own), key=lambda i: float(p[i]))


def _box(mask: Bools, seen: Box, picture: Picture) -> Box | None:
    """What holds the cells (h, w) of what the classifier sees (`seen`), within the photo."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    (h, w), (x0, y0, x1, y1) = mask.shape, seen
    found = (
        x0 + columns[0] * (x1 - x0) / w, y0 + rows[0] * (y1 - y0) / h,
        x0 + (columns[-1] + 1) * (x1 - x0) / w, y0 + (rows[-1] + 1) * (y1 - y0) / h,
    )  # fmt: skip
    ends = (picture.width, picture.height, picture.width, picture.height)
    left, top, right, bottom = (int(np.clip(round(v), 0, end)) for v, end in zip(found, ends, strict=True))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _word(box: Box, picture: Picture) -> str:
    mask = np.zeros((picture.height, picture.width), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return place_word(mask)
