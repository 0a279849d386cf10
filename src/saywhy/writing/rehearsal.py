"""Accounts made up, and texts of them drawn from the grammar: what the decoder learns from.

What is learned is how an account becomes words, so that made-up accounts do; the features of pictures, regions and
phrases are real ones of the joint space (a `Bank`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import get_args

import torch
from torch import Tensor

from saywhy.explanation import Place
from saywhy.language.appearance import at
from saywhy.writing.account import RELATIONS, STYLES, Account, Link, Role, Thing
from saywhy.writing.grammar import Stack, Token, allowed, begun, step, ways
from saywhy.writing.scribe import MODES, MOST_CLASSES, Scribe, Source

MOST = 20  # things of an account
_PLACES = tuple(at(place) for place in get_args(Place))


@dataclass(frozen=True, eq=False)
class Bank:
    """Vectors of the joint space: of pictures (P, d), of regions (R, d) with the phrase that each is nearest to, and of
    all phrases."""

    pictures: Tensor
    regions: Tensor
    nearest: tuple[str, ...]
    texts: dict[str, Tensor]


def drawn(stack: Stack, rng: Random) -> tuple[Token, ...]:
    """One of the texts of a stack, each pattern as likely as any other."""
    state, out = begun(stack), list[Token]()
    while options := list(allowed(state)):
        out.append(rng.choice(options))
        state = step(state, out[-1])
    return tuple(out)


def roles(count: int, rng: Random) -> list[Role]:
    """How so many things count, in order."""
    against = rng.randint(1, min(3, count)) if count and rng.random() < 0.4 else 0
    helping = count - against
    first: list[Role] = ["most" if rng.random() < 0.7 else "counts"] if helping else []
    if helping > 2 and first == ["counts"] and rng.random() < 0.3:
        first = ["counts", "counts"]
    rest = helping - len(first)
    nexts = 1 if rest and first == ["most"] and rng.random() < 0.7 else 0
    out: list[Role] = [*first, *["next"] * nexts, *["too"] * (rest - nexts), *["against"] * against]  # type: ignore
    return out


def account(rng: Random, likes: Sequence[str] = (), most: int = MOST, names: Sequence[str] = ("patch",)) -> Account:
    """An account of 0 to `most` things; `likes` are phrases for some of them, `names` for all."""
    count = min(most, rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8, rng.randint(0, most))))
    things = [
        Thing(str(n + 1), rng.choice(names), rng.choice(_PLACES), role, f"{rng.randint(2, 98)} points",
              rng.choice(likes) if likes and rng.random() < 0.6 else "")
        for n, role in enumerate(roles(count, rng))
    ]  # fmt: skip
    if rng.random() < 0.3:  # numbers need not follow the order
        ids = rng.sample(range(1, count + 3), count)
        things = [replace(t, id=str(i)) for t, i in zip(things, ids, strict=True)]
    ids_ = [t.id for t in things]
    pairs = [tuple(rng.sample(ids_, 2)) for _ in range(rng.choice((0, 0, 1, 1, 2)) if count > 1 else 0)]
    links = tuple(
        Link(rng.choice(("need", "spare")), a, b, rng.choice(list(RELATIONS))) for a, b in dict.fromkeys(pairs)
    )
    helping = [t.id for t in things if t.role != "against"]
    versus = rng.random() < 0.8
    return Account(
        rng.choice(names), rng.randint(20, 100), rng.choice(names) if versus else "", rng.randint(0, 49) * versus,
        tuple(things), links,
        tuple(rng.sample(helping, min(len(helping), rng.choice((0, 1, 1, 2))))) if versus else (),
        tuple(((i,), f"class {n}") for n, i in enumerate(rng.sample(helping, min(len(helping), rng.choice((0, 0, 1))))))
        [:MOST_CLASSES],
    )  # fmt: skip


def source(rng: Random, bank: Bank, style: str = "", most: int = MOST) -> tuple[Source, Stack]:
    """Something to write about, with features of the bank, and all ways to write it."""
    style = style or rng.choice(list(STYLES))
    rows = [rng.randrange(len(bank.nearest)) for _ in range(MOST + 3)]
    made = account(rng, ("*",), most)
    of = {t.id: rows[n] for n, t in enumerate(made.things)}
    things = tuple(replace(t, like=bank.nearest[of[t.id]]) if t.like else t for t in made.things)
    made = replace(made, things=things)
    telling, stack = ways(made, style)
    told = tuple(telling.described)
    return Source(
        made, style, told, bank.pictures[rng.randrange(len(bank.pictures))],
        {id: bank.regions[of[id]] for id in told}, {id: bank.texts[bank.nearest[of[id]]] for id in told},
    ), stack  # fmt: skip


def without(one: Source, *modes: str) -> Source:
    """The same with inputs left out: rows of MODES. Without the graph no link is told to the decoder."""
    unknown = set(modes) - set(MODES)
    assert not unknown, unknown
    cut = replace(one.account, links=()) if "graph" in modes else one.account
    return Source(
        cut, one.style, one.order, None if "picture" in modes else one.picture,
        {} if "regions" in modes else one.regions, {} if "texts" in modes else one.texts,
    )  # fmt: skip


class Lessons:
    """Any number of accounts with a text of each, drawn anew whenever they are asked for."""

    def __init__(self, net: Scribe, bank: Bank, count: int, seed: int | None = None) -> None:
        self.net, self.bank, self.count, self.seed = net, bank, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Tensor) -> tuple[list[Source], Tensor]:
        sources, texts = list[Source](), list[Tensor]()
        for row in rows.tolist():
            rng = Random(int(torch.randint(2**31, ())) if self.seed is None else self.seed * 1_000_003 + row)
            one, stack = source(rng, self.bank, most=MOST if rng.random() < 0.04 else 6)
            left = [m for m in ("picture", "regions") if rng.random() < 0.25]
            sources.append(without(one, *left))
            texts.append(torch.tensor(self.net.vocabulary.of(["<start>", *drawn(stack, rng), "<end>"])))
        return sources, nn_pad(texts)


def nn_pad(texts: Sequence[Tensor]) -> Tensor:
    """Rows of tokens (B, L), -1 where there are none."""
    return torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=-1)
