"""A joint space of a classifier's own features and captions of its pictures: a linear map beside a small text
transformer, trained on pairs. Small data make a small space: it knows the words of its captions and leaves out others.

N pictures with features (N, K), T texts, d dimensions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.errors import UsageError
from saywhy.locking import seeded
from saywhy.spaces.towers import LONGEST, TextTower, words_of
from saywhy.train.contrasting import gathered, info_nce
from saywhy.train.loop import Config, Fitted, Step, fit

SPACE, TEXT = 96, 96
FEWEST, SEEN = 20, 2  # pictures with captions; times that a word must occur
DROPPED = 0.15  # of words, in training
CONFIG = Config(epochs=30, batch_size=48, lr=2e-3, weight_decay=0.05)
NOTHING = "<nothing>"  # stands in a text of which no word is known


class CaptionSpace(nn.Module):
    """The map of features and the text tower; `mean` and `spread` (K,) scale features first."""

    def __init__(self, words: Sequence[str], mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.words = tuple(words)
        self.reader = TextTower([NOTHING, *words], TEXT, SPACE, "the captions' text tower")
        self.map = nn.Linear(len(mean), SPACE)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def pictures(self, features: Tensor) -> Tensor:
        """Vectors (N, d) of features (N, K)."""
        return self.map((features - self.mean) / self.spread)  # type: ignore[no-any-return, operator]

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (T, d); words that it does not know are left out."""
        return self.reader.texts([" ".join(self.known(text)) or NOTHING for text in texts])

    def known(self, text: str) -> list[str]:
        """The words of a text that it knows, as many as it reads."""
        return [w for w in words_of(text) if w in self.reader.numbers][:LONGEST]


def vocabulary(captions: Sequence[Sequence[str]]) -> list[str]:
    """Words that occur often enough."""
    count = Counter(w for some in captions for text in some for w in words_of(text))
    return sorted(w for w, n in count.items() if n >= SEEN)


def strange(words: Sequence[str], captions: Sequence[Sequence[str]]) -> float:
    """The share of the words of captions that are not among these: out of vocabulary."""
    every = [w for some in captions for text in some for w in words_of(text)]
    known = set(words)
    return sum(w not in known for w in every) / max(1, len(every))


@dataclass(frozen=True, eq=False)
class CaptionPairs:
    """Features (N, K) and the captions of each picture."""

    features: Tensor
    captions: tuple[tuple[str, ...], ...]
    varied: bool = True

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, list[str]]:
        said = [self.captions[i] for i in rows.tolist()]
        texts = [some[int(torch.randint(len(some), ()))] for some in said]
        return self.features[rows], [_dropped(t) for t in texts] if self.varied else texts


def _dropped(text: str) -> str:
    words = words_of(text)
    kept = [w for w, u in zip(words, torch.rand(len(words)).tolist(), strict=True) if u >= DROPPED]
    return " ".join(kept or words)


def pairs_step(net: CaptionSpace) -> Step:
    """Symmetric InfoNCE of pictures and their captions."""

    def step(batch: tuple[Tensor, list[str]]) -> dict[str, Tensor]:
        seen, said = gathered(net.pictures(batch[0])), gathered(net.texts(batch[1]))
        return {"loss": info_nce(seen, said, (-net.reader.scale).exp())}

    return step


def learned(
    pairs: CaptionPairs, config: Config = CONFIG, checkpoint: Path | None = None, tell: Any = None
) -> tuple[CaptionSpace, Fitted]:
    """The space of these pairs, and how training ended. Same pairs and seed, same space.

    Raises:
        UsageError: too few pictures with captions.
    """
    if len(pairs) < FEWEST:
        raise UsageError(f"a joint space is learned from {FEWEST} pictures with captions at least, not {len(pairs)}")
    mean, spread = pairs.features.mean(0), pairs.features.std(0).clamp_min(1e-6)
    with seeded(config.seed):
        net = CaptionSpace(vocabulary(pairs.captions), mean, spread)
    told = (lambda n, row: tell(f"pairs, epoch {n + 1}: loss {row['loss']:.3f}")) if tell else (lambda n, row: None)
    ended = fit(net, pairs_step(net), pairs, config, checkpoint=checkpoint, told=told)
    return net.eval().requires_grad_(False), ended


def recall(likeness: Tensor, true: Tensor, ks: Sequence[int] = (1, 5, 10)) -> Mapping[int, float]:
    """The share of rows (N, T) of which a true column is among the first k."""
    order = likeness.argsort(1, descending=True)
    found = true.gather(1, order)
    return {k: float(found[:, :k].any(1).float().mean()) for k in ks}


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1."""
    return F.normalize(vectors, dim=1)
