"""Text spaces: where pictures and phrases lie side by side, so that it can be told how well one fits the other.

N images (N, 3, H, W) in [0, 1], T texts, d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saywhy.classifier import check_images
from saywhy.errors import UsageError, unknown
from saywhy.spaces.joint import Joint, load_joint
from saywhy.spaces.pretrained import Pair, open_clip_pair, transformers_pair
from saywhy.spaces.towers import Towers, load_own
from saywhy.spaces.wordbook import NAME as LEXICAL
from saywhy.spaces.wordbook import load_words, seen_by

if TYPE_CHECKING:
    from saywhy.classifier import Classifier

BATCH = 64
SCALE, BIAS = 9.06, -6.30  # of `lexical`: that photos are of a kind (benchmarks/names_lexical.py)


@dataclass(frozen=True, eq=False)
class TextSpace:
    """A joint space of pictures and phrases.

    `images` and `texts` give vectors (N, d) and (T, d) of any length; `scale` and `bias` make log-odds of a cosine:
    that the text is true of the picture. `speaks_of` says in words which pictures it was made of, `phrases` are some to
    start from. `own_features`: it was computed from the features of the classifier that is to be explained, so it is no
    witness beside it.
    """

    name: str
    images: Callable[[Tensor], Tensor]
    texts: Callable[[Sequence[str]], Tensor]
    scale: float
    bias: float
    fingerprint: str
    speaks_of: str
    phrases: tuple[str, ...] = ()
    own_features: bool = False

    def encode_images(self, crops: Tensor) -> Tensor:
        """Crops (N, 3, H, W) in [0, 1], of any size, as vectors (N, d) of length 1.

        Raises:
            UsageError: they are no images.
        """
        check_images(crops)
        with torch.inference_mode(False), torch.no_grad():
            return _unit(torch.cat([self.images(some) for some in torch.split(crops, BATCH)]))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts as vectors (T, d) of length 1.

        Raises:
            UsageError: none is given, one is empty, or the space does not know its words.
        """
        said = [texts] if isinstance(texts, str) else list(texts)
        if not said or not all(isinstance(t, str) and t.strip() for t in said):
            raise UsageError(f"texts are at least one phrase of at least one word, not {texts!r}")
        with torch.inference_mode(False), torch.no_grad():
            return _unit(torch.cat([self.texts(said[i : i + BATCH]) for i in range(0, len(said), BATCH)]))

    def log_odds(self, images: Tensor, texts: Tensor) -> Tensor:
        """The log-odds (N, T) that each text (T, d) is true of each image (N, d), both of length 1."""
        return self.scale * images @ texts.T + self.bias


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=1)


@dataclass(frozen=True)
class SpaceRow:
    """A kind of text space: `load(rest, clf)` makes one, `rest` being what follows "NAME:" ("" where nothing does) and
    `clf` the classifier that is to be explained, for spaces that are computed from it."""

    summary: str
    load: Callable[[str, Classifier | None], TextSpace]


OWN: dict[str, Callable[[], tuple[Towers | Joint, dict[str, Any]]]] = {"": load_own, "2": load_joint}


def _own(rest: str, clf: Classifier | None) -> TextSpace:
    if rest not in OWN:
        raise UsageError(
            f'"own" is a text space of the first edition of the birds, "own:2" of the second; not {rest!r}'
        )
    net, card = OWN[rest]()
    return TextSpace(
        card["name"], net.images, net.texts, float(net.scale.exp()), float(net.bias), card["fingerprint"],
        card["speaks_of"], tuple(card["phrases"]),
    )  # fmt: skip


def _lexical(rest: str, clf: Classifier | None) -> TextSpace:
    if rest:
        raise UsageError(f"the text space {LEXICAL!r} takes nothing after its name, not {rest!r}")
    words = load_words()
    order = None if clf is None else words.order(clf)
    if clf is None or order is None:
        raise UsageError(
            f"the text space {LEXICAL!r} is computed from a classifier whose classes are ImageNet's 1000, with their "
            f"WordNet ids: text_space({LEXICAL!r}, load_classifier(...))"
        )
    own, back = clf, torch.tensor(order).argsort()

    def images(crops: Tensor) -> Tensor:
        return words.mixed(seen_by(own, crops)[:, back])

    return TextSpace(
        LEXICAL, images, words.texts, SCALE, BIAS, f"{words.fingerprint}-{clf.fingerprint}",
        "what ImageNet's 1000 classes are, their kinds and parts", words.kinds[0], own_features=True,
    )  # fmt: skip


def _pretrained(row: str, load: Callable[[str], Pair]) -> Callable[[str, Classifier | None], TextSpace]:
    def made(rest: str, clf: Classifier | None) -> TextSpace:
        pair = load(rest)
        return TextSpace(
            f"{row}:{rest}", pair.images, pair.texts, pair.scale, pair.bias, pair.fingerprint,
            "whatever it was trained on",
        )  # fmt: skip

    return made


TEXT_SPACES: dict[str, SpaceRow] = {
    "own": SpaceRow(
        'trained here on captions of painted birds; knows their words and no others ("own:2": of the second edition)',
        _own,
    ),
    LEXICAL: SpaceRow(
        "the names of ImageNet's classes, their kinds and parts, by the probabilities of the classifier itself",
        _lexical,
    ),
    "clip": SpaceRow(
        '"clip:MODEL/WEIGHTS": a model of open_clip, if that is installed', _pretrained("clip", open_clip_pair)
    ),
    "hf": SpaceRow(
        '"hf:ID": a CLIP or SigLIP of transformers, by hub id or folder', _pretrained("hf", transformers_pair)
    ),
}


def text_space(name: str, clf: Classifier | None = None) -> TextSpace:
    """The text space of that name: a row of TEXT_SPACES, or "ROW:what it takes".

    Raises:
        UsageError: no such space, or it cannot be had.
    """
    row, _, rest = name.partition(":")
    if row not in TEXT_SPACES:
        raise unknown("text space", row, TEXT_SPACES)
    return TEXT_SPACES[row].load(rest, clf)
