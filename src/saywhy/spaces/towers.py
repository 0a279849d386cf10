"""The text space `own`: two small towers, trained on captions of painted birds and on nothing of any classifier.

`weights/own.safetensors` holds the weights as float16, `weights/own.json` the card with its words, both with the
fingerprint of the weights. N images (N, 3, H, W) in [0, 1], T texts of L words, d dimensions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from saywhy.aviary.classifiers import fingerprint_of
from saywhy.errors import UsageError, unknown
from saywhy.locking import seeded

NAME = "own"
SIDE = 64  # of the images that it sees
WIDTH = 128  # d
LONGEST = 80  # words
_WORD = re.compile(r"[^\s,;:.]+")
_NO_WORD = 0


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.lower())


class TextTower(nn.Module):
    """A transformer for texts of known words; `scale` (its logarithm) and `bias` make log-odds of cosines.
    Zhai et al. 2023 (SigLIP)."""

    def __init__(self, words: Sequence[str], width: int, out: int, known: str) -> None:
        super().__init__()
        self.known = known  # what it speaks of, in an error
        self.numbers = {word: n for n, word in enumerate(words, start=1)}
        self.word = nn.Embedding(len(words) + 1, width, padding_idx=_NO_WORD)
        self.place = nn.Parameter(torch.randn(LONGEST, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.read = nn.TransformerEncoder(block, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.said = nn.Linear(width, out)
        self.scale, self.bias = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(-3.0))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (T, d) of texts.

        Raises:
            UsageError: a word that it does not know, or a text that is too long.
        """
        rows = [torch.tensor([self._number(word, text) for word in words_of(text)]) for text in texts]
        for row, text in zip(rows, texts, strict=True):
            if not 1 <= len(row) <= LONGEST:
                raise UsageError(f"{self.known} reads 1 to {LONGEST} words, not the {len(row)} of {text!r}")
        numbers = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_NO_WORD)  # (T, L)
        nothing = numbers == _NO_WORD
        out = self.read(self.word(numbers) + self.place[: numbers.shape[1]], src_key_padding_mask=nothing)
        there = (~nothing).to(out.dtype)[:, :, None]
        return self.said((out * there).sum(1) / there.sum(1))  # type: ignore[no-any-return]

    def _number(self, word: str, text: str) -> int:
        if word not in self.numbers:
            error = unknown("word", word, self.numbers)
            raise UsageError(f"{self.known} speaks of painted birds alone, and not of {text!r}: {error}")
        return self.numbers[word]


class Towers(TextTower):
    """A CNN for pictures beside it."""

    def __init__(self, words: Sequence[str], width: int = 96) -> None:
        super().__init__(words, width, WIDTH, f"the text space {NAME!r}")
        widths = (3, 24, 48, 64, 96, 160)
        strides = (2, 2, 1, 2, 1)
        self.see = nn.Sequential(*map(conv_layer, widths[:-1], widths[1:], strides))  # (N, 160, 8, 8)
        self.seen = nn.Linear(2 * widths[-1], WIDTH)

    def images(self, images: Tensor) -> Tensor:
        """Vectors (N, d) of images of any size: the mean and the most of every channel, so that small parts count."""
        if images.shape[2:] != (SIDE, SIDE):
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        cells = self.see(((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last))
        return self.seen(torch.cat([cells.mean(dim=(2, 3)), cells.amax(dim=(2, 3))], dim=1))  # type: ignore[no-any-return]


def conv_layer(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A convolution of 3 x 3 with its norm and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def untrained(words: Sequence[str], seed: int = 0) -> Towers:
    """Towers with random weights, the same for the same seed."""
    with seeded(seed):
        return Towers(words)


def weights_folder() -> Path:
    """Where the weights and the card are."""
    return Path(str(resources.files("saywhy.spaces") / "weights"))


@cache
def load_own(folder: Path | None = None) -> tuple[Towers, dict[str, Any]]:
    """The trained towers, in eval mode and without gradients, and their card.

    Raises:
        UsageError: a broken file, or weights that are not those of the card.
    """
    file = (folder or weights_folder()) / f"{NAME}.safetensors"
    return read_weights(file, lambda card: untrained(card["words"]), "python -m saywhy.train.textspace")


Net = TypeVar("Net", bound=nn.Module)


def read_weights(file: Path, make: Callable[[dict[str, Any]], Net], command: str) -> tuple[Net, dict[str, Any]]:
    """A network that `make` makes of its card, with the weights of a file, in eval mode and without gradients.

    Raises:
        UsageError: a broken file, or weights that are not those of the card.
    """
    again = f"install again or run: {command}"
    try:
        card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        with safe_open(file, "pt") as saved:
            state = {k: saved.get_tensor(k) for k in saved.keys()}  # noqa: SIM118
        net = make(card)
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except Exception as e:
        raise UsageError(f"{file}: cannot be read as a text space ({type(e).__name__}: {e}); {again}") from e
    if fingerprint_of(state) != card.get("fingerprint"):
        raise UsageError(f"{file}: these weights are not the ones that the card describes; {again}")
    return net.eval().requires_grad_(False), card
