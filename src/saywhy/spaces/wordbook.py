"""The text space `lexical`: the classes of ImageNet, what they are kinds of, their parts and what is said of them.

`weights/lexical.json` lists the phrases, from WordNet 3.0 (its licence lies beside it, in `WORDNET-LICENSE.txt`),
`weights/lexical.safetensors` has their vectors as float16: a sentence encoder's, of the phrase and what WordNet says of
it, in fewer dimensions. C classes of a classifier, V phrases, n kinds, N images, T texts, d dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from saywhy.aviary.classifiers import fingerprint_of
from saywhy.errors import UsageError, unknown
from saywhy.spaces.towers import weights_folder

if TYPE_CHECKING:
    from saywhy.classifier import Classifier

NAME = "lexical"
MIXED = 10  # classes that an image's vector is mixed of
PLAIN = "*"  # after the role of a kind: it is an ordinary word for a thing


@dataclass(frozen=True, eq=False)
class Words:
    """Phrases (V) with what each is (class, kind, part, look) and the classes that it is true of, by place among
    `classes`, WordNet ids; vectors (V, d), the first ones of the classes in their order."""

    classes: tuple[str, ...]
    phrases: tuple[str, ...]
    roles: tuple[str, ...]
    true_of: tuple[tuple[int, ...], ...]
    vectors: Tensor
    fingerprint: str

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each phrase in small letters; of two that differ in nothing else, the first."""
        return {phrase.lower(): n for n, phrase in reversed(list(enumerate(self.phrases)))}

    def order(self, clf: Classifier) -> list[int] | None:
        """The place among the classes here of each class of a classifier; None if it does not have just these."""
        ids = getattr(clf.classes, "ids", ())
        if sorted(ids) != sorted(self.classes):
            return None
        places = {one: n for n, one in enumerate(self.classes)}
        return [places[one] for one in ids]

    @cached_property
    def kinds(self) -> tuple[tuple[str, ...], Tensor]:
        """The kinds (n) that are ordinary words, and which classes each has (classes, n), as ones and zeros."""
        plain = [n for n, role in enumerate(self.roles) if role == "kind" + PLAIN]
        member = torch.zeros(len(self.classes), len(plain), dtype=torch.float64)
        for column, n in enumerate(plain):
            member[list(self.true_of[n]), column] = 1
        return tuple(self.phrases[n] for n in plain), member

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (T, d) of phrases.

        Raises:
            UsageError: one that it does not know.
        """
        return self.vectors[[self._number(text) for text in texts]]

    def _number(self, text: str) -> int:
        known = " ".join(text.lower().split())
        if known not in self.numbers:
            error = unknown("phrase", known, self.numbers)
            raise UsageError(
                f"the text space {NAME!r} knows {len(self.phrases)} phrases about ImageNet's classes: {error}"
            )
        return self.numbers[known]

    def mixed(self, probabilities: Tensor) -> Tensor:
        """Vectors (N, d) of images by the probabilities (N, classes) of the classes here: those of the most probable
        classes' names, mixed. Norouzi et al. 2014 (ConSE)."""
        most, which = probabilities.topk(MIXED, dim=1)
        return torch.einsum("nk,nkd->nd", (most / most.sum(1, keepdim=True)).float(), self.vectors[which])


@cache
def load_words(folder: Path | None = None) -> Words:
    """The phrases and their vectors.

    Raises:
        UsageError: a broken file, or vectors that are not those of the listing.
    """
    file = (folder or weights_folder()) / f"{NAME}.json"
    again = "install again or run: python -m saywhy.train.lexical"
    try:
        listing = json.loads(file.read_text(encoding="utf-8"))
        vectors = load_file(file.with_suffix(".safetensors"))
        phrases, roles, true_of = zip(*listing["phrases"], strict=True)
        words = Words(
            tuple(listing["classes"]), phrases, roles, tuple(map(tuple, true_of)),
            vectors["vectors"].float(), listing["fingerprint"],
        )  # fmt: skip
    except Exception as e:
        raise UsageError(f"{file}: cannot be read as a text space ({type(e).__name__}: {e}); {again}") from e
    if fingerprint_of(vectors) != words.fingerprint or len(words.vectors) != len(phrases):
        raise UsageError(f"{file}: these vectors are not the ones of the listing; {again}")
    return words


def seen_by(clf: Classifier, images: Tensor) -> Tensor:
    """The probabilities (N, C) of images of any size, scaled to the classifier's."""
    size = clf.preprocess.size
    if images.shape[2:] != size:
        images = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    return clf.to_probabilities(clf.logits(clf.at_home(images))).cpu()
