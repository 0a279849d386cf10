"""How tokens are chosen: by the decoder that was trained here, or by a language model of the hub. Both may choose among
what the grammar allows for the account, and nothing else; the decoder can also write without it, to be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.writing.grammar import Copy, Stack, State, Token, allowed, begun, step
from saywhy.writing.proof import joined
from saywhy.writing.scribe import LONGEST, Desk, Scribe, Source

WARMTH = 0.8  # of 1: choices between patterns as often as in training; towards 0 always the likeliest


@dataclass(frozen=True, eq=False)
class Draft:
    """Tokens, and for each the share of its attention that lay on the picture, on every thing, and on the rest."""

    tokens: tuple[Token, ...]
    looked: tuple[tuple[float, ...], ...] = ()


Hand = Callable[[Source, Stack, int], Draft]  # what to write about, all ways to write it, a seed


def first(source: Source, stack: Stack, seed: int) -> Draft:
    """The first pattern of every clause."""
    out, todo = list[Token](), list(stack)
    while todo:
        head = todo.pop(0)
        if isinstance(head, tuple):
            todo[:0] = head[0]
        else:
            out.append(head)
    return Draft(tuple(out))


# --------------------------------------------------------------------------------------------------
# The decoder.


@torch.no_grad()
def decoded(
    net: Scribe, sources: Sequence[Source], stacks: Sequence[Stack | None], seeds: Sequence[int], warmth: float = WARMTH
) -> list[Draft]:
    """Texts of several sources at once, each as it would be alone; where a stack is None, nothing is forbidden."""
    desk, vocabulary = Desk(net, sources), net.vocabulary
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    states: list[State | None] = [None if s is None else begun(s) for s in stacks]
    out: list[list[Token]] = [[] for _ in sources]
    open_, last = set(range(len(sources))), torch.zeros(len(sources), dtype=torch.long)
    while open_ and desk.length < LONGEST:
        scores = desk.after(last)
        for n in sorted(open_):
            state = states[n]
            options = None if state is None else list(allowed(state))
            if options == []:
                open_.discard(n)
                continue
            token = _chosen(net, scores[n], options, dice[n], warmth)
            if token == "<end>" or token == "<start>":
                open_.discard(n)
                continue
            out[n].append(token)
            last[n] = vocabulary.numbers[token]
            states[n] = None if state is None else step(state, token)
    looked = torch.stack(desk.looked, dim=1)  # (B, L, M)
    return [
        Draft(tuple(some), tuple(map(tuple, _shares(looked[n, : len(some)], len(sources[n].order)))))
        for n, some in enumerate(out)
    ]


def _chosen(net: Scribe, scores: Tensor, options: list[Token] | None, dice: torch.Generator, warmth: float) -> Token:
    numbers = range(len(scores)) if options is None else net.vocabulary.of(options)
    if len(numbers) == 1:
        return net.vocabulary.tokens[numbers[0]]
    some = scores[list(numbers)].double() / max(warmth, 1e-6)
    noise = -torch.empty_like(some).exponential_(generator=dice).log() if warmth else torch.zeros_like(some)
    return net.vocabulary.tokens[numbers[int((some + noise).argmax())]]


def _shares(looked: Tensor, things: int) -> list[list[float]]:
    """Attention (L, M) to the picture, to each thing, and to the rest together."""
    rest = looked[:, 1 + things :].sum(1, keepdim=True)
    return [[round(v, 4) for v in row] for row in torch.cat([looked[:, : 1 + things], rest], dim=1).tolist()]


# --------------------------------------------------------------------------------------------------
# A language model of transformers.


def of_the_hub(name: str) -> Hand:
    """A causal language model by hub id or folder: at every fork of the grammar it takes the branch that it finds
    likeliest. It reads placeholders ("name 1") where names, numbers and places stand, so that none of them can tell it
    what to do.

    Raises:
        UsageError: transformers is not installed, or there is no such model of safetensors.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as e:
        raise UsageError("the writer 'hf' needs transformers: pip install transformers") from e
    try:
        tokens = AutoTokenizer.from_pretrained(name)
        net = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True).eval()
    except Exception as e:
        raise UsageError(f"the writer hf:{name} cannot be loaded ({type(e).__name__}: {e}): a folder or id of a causal "
                         "language model with safetensors is expected") from e  # fmt: skip

    def hand(source: Source, stack: Stack, seed: int) -> Draft:
        state, out = begun(stack), list[Token]()
        while options := list(allowed(state)):
            token = options[0] if len(options) == 1 else _likeliest(net, tokens, source.style, out, options)
            out.append(token)
            state = step(state, token)
        return Draft(tuple(out))

    return hand


@torch.no_grad()
def _likeliest(net: Any, tokens: Any, style: str, so_far: Sequence[Token], options: Sequence[Token]) -> Token:
    before = tokens(f"An explanation, {style}: " + joined(map(placeholder, so_far)))["input_ids"]
    scores = []
    for option in options:
        own = tokens(" " + placeholder(option), add_special_tokens=False)["input_ids"]
        logits = net(torch.tensor([before + own])).logits[0].log_softmax(1)
        places = range(len(before) - 1, len(before) + len(own) - 1)
        scores.append(sum(float(logits[p, t]) for p, t in zip(places, own, strict=True)) / len(own))
    return options[max(range(len(options)), key=lambda n: scores[n])]


def placeholder(token: Token) -> str:
    """A token as a language model sees it: a name is "name 1"."""
    return f"{token.slot} {token.number + 1}" if isinstance(token, Copy) else token
