"""Classes by words: what describes each is scored phrase by phrase in a text space, and may be edited.

The decision is that of the text space and its words, and of no classifier. Menon & Vondrick 2023.
N images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.spaces import TextSpace


@dataclass(frozen=True, eq=False)
class ByWords:
    """Scores (N, C), the class of each image, and of each class the log-odds (N, D) of its D descriptors."""

    classes: tuple[str, ...]
    scores: Tensor
    said: tuple[str, ...]
    odds: Mapping[str, Tensor]

    def reasons(self, n: int, descriptors: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
        """The descriptors of the class of image n with their log-odds, the likeliest first."""
        name = self.said[n]
        rows = zip(descriptors[name], self.odds[name][n].tolist(), strict=True)
        return sorted(rows, key=lambda row: -row[1])


def by_words(space: TextSpace, images: Tensor, descriptors: Mapping[str, Sequence[str]]) -> ByWords:
    """Which class's descriptors are likeliest all together: the mean log-probability of each class's.

    Raises:
        UsageError: a class without descriptors, or words that the space does not know.
    """
    empty = [name for name, words in descriptors.items() if not words]
    if empty or len(descriptors) < 2:
        raise UsageError("at least two classes are told apart, each by at least one phrase"
                         + (f"; {empty[0]!r} has none" if empty else ""))  # fmt: skip
    seen = space.encode_images(images)
    odds = {name: space.log_odds(seen, space.encode_texts(list(words))) for name, words in descriptors.items()}
    scores = torch.stack([F.logsigmoid(some).mean(1) for some in odds.values()], dim=1)
    classes = tuple(descriptors)
    return ByWords(classes, scores, tuple(classes[i] for i in scores.argmax(1).tolist()), odds)
