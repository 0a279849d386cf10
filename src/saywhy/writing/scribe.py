"""The decoder that writes: a transformer that looks at the picture, at each thing and at how things belong together.

Memory is one token for the picture and the style, one for each thing, one for each link, and one for each class that is
said without something. A thing's token holds where it is, how it counted, its region's feature in the joint space, and
the text feature that this was mapped to, from which its words come. Any of these may be missing. Names, numbers and
places are pointed at, never seen. B accounts, K things, M memory tokens, L tokens of text, V the vocabulary, E width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.errors import UsageError
from saywhy.explanation import Place
from saywhy.language.appearance import at
from saywhy.locking import seeded
from saywhy.spaces.towers import read_weights
from saywhy.writing.account import BANDS, RELATIONS, ROLES, STYLES, Account, band_of
from saywhy.writing.grammar import CLASS_SLOTS, THING_SLOTS, Copy, Token

MOST_THINGS, MOST_CLASSES, LONGEST = 24, 4, 640
WIDTH, HEADS = 128, 4
LOUD = 12.0  # length of features, which have many dimensions: else they are drowned by what is told in tables
MODES = ("picture", "regions", "texts", "graph")  # inputs that may be left out
_PLACES = tuple(at(place) for place in get_args(Place))
Features = Mapping[str, Tensor]  # by the number of a thing, (d,)


@dataclass(frozen=True, eq=False)
class Source:
    """What is written about: the account in a style, the order of its things, and, where they are known, the picture's
    vector in the joint space, that of each thing's region, and the text feature that this was mapped to."""

    account: Account
    style: str
    order: tuple[str, ...]
    picture: Tensor | None = None
    regions: Features = field(default_factory=dict)
    texts: Features = field(default_factory=dict)


class TokenTable:
    """Tokens and their numbers: words, then what is pointed at."""

    def __init__(self, words: Sequence[str]) -> None:
        copies = [Copy(s) for s in CLASS_SLOTS] + [Copy("class", n) for n in range(MOST_CLASSES)]
        self.fixed: tuple[Token, ...] = ("<start>", "<end>", *words, *copies)
        things = tuple(Copy(s, n) for s in THING_SLOTS for n in range(MOST_THINGS))
        self.tokens: tuple[Token, ...] = (*self.fixed, *things)
        self.numbers = {token: n for n, token in enumerate(self.tokens)}

    def of(self, tokens: Sequence[Token]) -> list[int]:
        """Their numbers.

        Raises:
            UsageError: one that it does not have.
        """
        unknown = [t for t in tokens if t not in self.numbers]
        if unknown:
            raise UsageError(f"the writer 'own' has no token for {unknown[0]!r}")
        return [self.numbers[t] for t in tokens]


class Looking(nn.Module):
    """Attention of tokens (B, L, E) to others (B, M, E), and its weights (B, H, L, M). Vaswani et al. 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.ask, self.tell = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def held(self, seen: Tensor) -> Tensor:
        """What is kept of the tokens that are looked at: keys and values (2, B, H, M, E / H)."""
        return self.tell(seen).unflatten(2, (2, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, held: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each token sees (B, L, E), and the weights; `hidden` is what it may not look at."""
        q = self.ask(x).unflatten(2, (HEADS, WIDTH // HEADS)).transpose(1, 2)
        scores = q @ held[0].transpose(2, 3) * (WIDTH // HEADS) ** -0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden, -torch.inf)
        weights = scores.softmax(3)
        return self.out((weights @ held[1]).transpose(1, 2).flatten(2)), weights


class Layer(nn.Module):
    """Tokens look at themselves (or at what came before them), then, in the decoder, at the memory."""

    def __init__(self, *, crossed: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if crossed else 2))
        self.own = Looking()
        self.cross = Looking() if crossed else None
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


class Scribe(nn.Module):
    """The encoder of the memory and the decoder of the text."""

    def __init__(self, words: Sequence[str], size: int) -> None:
        super().__init__()
        self.vocabulary = TokenTable(words)
        self.styles, self.bands = nn.Embedding(len(STYLES), WIDTH), nn.Embedding(len(BANDS), WIDTH)
        self.told = nn.Embedding(2, WIDTH)  # whether a second class is told
        self.order = nn.Embedding(MOST_THINGS, WIDTH)
        self.second = nn.Embedding(MOST_THINGS, WIDTH)
        self.roles, self.places = nn.Embedding(len(ROLES), WIDTH), nn.Embedding(len(_PLACES), WIDTH)
        self.rather = nn.Embedding(2, WIDTH)
        self.links = nn.Embedding(2 * len(RELATIONS), WIDTH)
        self.classes = nn.Embedding(MOST_CLASSES, WIDTH)
        self.features = nn.ModuleDict({m: nn.Linear(size, WIDTH) for m in ("picture", "regions", "texts")})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(WIDTH)) for m in ("picture", "regions", "texts")})
        self.encoder = nn.ModuleList(Layer(crossed=False) for _ in range(2))
        self.decoder = nn.ModuleList(Layer(crossed=True) for _ in range(2))
        self.heard, self.spoken = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.token = nn.Embedding(len(self.vocabulary.fixed), WIDTH)
        self.slot = nn.Embedding(len(THING_SLOTS), WIDTH)
        self.pointed = nn.Linear(WIDTH, WIDTH)
        self.place = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.02)
        self.point = nn.Linear(WIDTH, len(THING_SLOTS) * WIDTH)
        self.word = nn.Linear(WIDTH, len(self.vocabulary.fixed))

    # ---- the memory

    def memory(self, sources: Sequence[Source]) -> tuple[Tensor, Tensor]:
        """Tokens (B, M, E), the things first after the picture, and which are none (B, M)."""
        rows = [self._tokens(source) for source in sources]
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        none = torch.arange(x.shape[1]) >= torch.tensor([[len(r)] for r in rows])
        hidden = none[:, None, None, :]
        for layer in self.encoder:
            seen = layer.norms[0](x)  # type: ignore[index, operator]
            x = x + layer.own(seen, layer.own.held(seen), hidden)[0]  # type: ignore[operator, union-attr]
            x = x + layer.mlp(layer.norms[1](x))  # type: ignore[index, operator]
        return self.heard(x), none

    def _tokens(self, source: Source) -> Tensor:
        account, order = source.account, {id: n for n, id in enumerate(source.order)}
        head = self.styles.weight[list(STYLES).index(source.style)] + self.told.weight[int(bool(account.versus))]
        band = [said for _, said in BANDS].index(band_of(account.percent))
        head = head + self.bands.weight[band] + self._feature("picture", source.picture)
        rows = [head, *(self._thing(source, id, n) for id, n in order.items())]
        for link in account.links:
            kind = list(RELATIONS).index(link.relation) + len(RELATIONS) * (link.kind == "spare")
            if {link.one, link.other} <= order.keys():
                ends = self.order.weight[order[link.one]] + self.second.weight[order[link.other]]
                rows.append(self.links.weight[kind] + ends)
        for n, (ids, _) in enumerate(account.without[:MOST_CLASSES]):
            rows.append(self.classes.weight[n] + self.order.weight[[order[i] for i in ids if i in order]].sum(0))
        return torch.stack(rows)

    def _thing(self, source: Source, id: str, n: int) -> Tensor:
        thing = source.account.thing(id)
        out = self.order.weight[n] + self.roles.weight[ROLES.index(thing.role)]
        out = out + self.places.weight[_PLACES.index(thing.place)]
        out = out + self.rather.weight[int(id in source.account.rather)]
        out = out + self._feature("regions", source.regions.get(id))
        return out + self._feature("texts", source.texts.get(id) if thing.like else None)

    def _feature(self, mode: str, vector: Tensor | None) -> Tensor:
        known: Tensor = self.missing[mode] if vector is None else self.features[mode](LOUD * F.normalize(vector, dim=0))
        return known

    # ---- the text

    def forward(self, sources: Sequence[Source], tokens: Tensor) -> Tensor:
        """Scores (B, L, V) of the next token after each of the tokens (B, L)."""
        memory, none = self.memory(sources)
        past = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)[None, None]
        x = self._embedded(tokens, memory) + self.place[: tokens.shape[1]]
        for layer in self.decoder:
            seen = layer.norms[0](x)  # type: ignore[index, operator]
            x = self._layer(layer, x, layer.own.held(seen), past, layer.cross.held(memory), none)[0]  # type: ignore
        return self.scores(self.spoken(x), memory, none, [len(s.order) for s in sources])

    def _layer(
        self, layer: nn.Module, x: Tensor, own: Tensor, past: Tensor | None, held: Tensor, none: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = x + layer.own(layer.norms[0](x), own, past)[0]  # type: ignore[operator, index]
        looked, weights = layer.cross(layer.norms[1](x), held, none[:, None, None, :])  # type: ignore[operator, index]
        x = x + looked
        return x + layer.mlp(layer.norms[2](x)), weights  # type: ignore[operator, index]

    def _embedded(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Words by their table, what is pointed at by its slot and its thing's memory."""
        fixed = len(self.vocabulary.fixed)
        copied = tokens >= fixed
        slot, number = (tokens - fixed).clamp_min(0) // MOST_THINGS, (tokens - fixed).clamp_min(0) % MOST_THINGS
        where = (1 + number).clamp_max(memory.shape[1] - 1)[:, :, None].expand(-1, -1, WIDTH)
        things = self.slot(slot) + self.pointed(memory.gather(1, where))
        return torch.where(copied[:, :, None], things, self.token(tokens.clamp_max(fixed - 1)))

    def scores(self, x: Tensor, memory: Tensor, none: Tensor, things: Sequence[int]) -> Tensor:
        """Scores (B, L, V): of words by a table, of things by how they fit."""
        K = max([*things, 1])
        known = memory[:, 1 : 1 + K]
        if known.shape[1] < K:
            known = F.pad(known, (0, 0, 0, K - known.shape[1]))
        asked = self.point(x).unflatten(2, (len(THING_SLOTS), WIDTH))
        fit = torch.einsum("blse,bke->blsk", asked, known) * WIDTH**-0.5
        there = torch.arange(K) < torch.tensor(things)[:, None]
        fit = fit.masked_fill(~there[:, None, None, :], -1e4)
        fit = F.pad(fit, (0, MOST_THINGS - K), value=-1e4)
        return torch.cat([self.word(x), fit.flatten(2)], dim=2)


class Desk:
    """A batch of texts in the making: the memory, what was written so far, and where each word looked."""

    def __init__(self, net: Scribe, sources: Sequence[Source]) -> None:
        self.net, self.things = net, [len(s.order) for s in sources]
        self.memory, self.none = net.memory(sources)
        self.held = [layer.cross.held(self.memory) for layer in net.decoder]  # type: ignore[union-attr, operator]
        self.own: list[Tensor | None] = [None] * len(net.decoder)
        self.looked: list[Tensor] = []  # (B, M) for each token
        self.length = 0

    def after(self, tokens: Tensor) -> Tensor:
        """Scores (B, V) of what comes after one more token (B,)."""
        net = self.net
        x = net._embedded(tokens[:, None], self.memory) + net.place[self.length]
        for n, layer in enumerate(net.decoder):
            fresh = layer.own.held(layer.norms[0](x))  # type: ignore[union-attr, operator, index]
            old = self.own[n]
            both = fresh if old is None else torch.cat([old, fresh], dim=3)
            self.own[n] = both
            x, weights = net._layer(layer, x, both, None, self.held[n], self.none)
        self.looked.append(weights.mean(1)[:, 0])
        self.length += 1
        return net.scores(net.spoken(x), self.memory, self.none, self.things)[:, 0]


def words_of_likes(phrases: Sequence[str]) -> list[str]:
    """The words of phrases of the joint space, each once."""
    return sorted({w for p in phrases for w in re.split(r"\s+", p)})


def unwritten(words: Sequence[str], size: int, seed: int = 0) -> Scribe:
    """The decoder of features (size,) with random weights, the same for the same seed."""
    with seeded(seed):
        return Scribe(words, size)


def scribe_folder() -> Path:
    """Where its weights and its card are."""
    return Path(__file__).parent / "weights"


@cache
def load_scribe(folder: Path | None = None) -> tuple[Scribe, dict[str, Any]]:
    """The trained decoder, in eval mode and without gradients, and its card.

    Raises:
        UsageError: a broken file, or weights that are not those of the card.
    """
    file = (folder or scribe_folder()) / "scribe.safetensors"
    return read_weights(
        file, lambda card: unwritten(card["words"], card["features"]), "python -m saywhy.writing.teaching"
    )
