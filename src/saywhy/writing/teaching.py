"""Trains the decoder of the writer `own`: `python -m saywhy.writing.teaching`, after the joint space.

Accounts are made up, texts drawn from the grammar; close-ups of painted parts, mapped to their nearest phrases in the
joint space, give the features. The checkpoint lies in `SAYWHY_CACHE`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.aviary.classifiers import fingerprint_of
from saywhy.spaces.joint import Joint, load_joint
from saywhy.train.jointspace import SEED as PICTURES_SEED
from saywhy.train.jointspace import Album, albums, named_phrases
from saywhy.train.loop import Config, Step, fit
from saywhy.train.pictures import cache_folder
from saywhy.writing.grammar import words
from saywhy.writing.rehearsal import Bank, Lessons
from saywhy.writing.scribe import Scribe, Source, scribe_folder, unwritten, words_of_likes

SEED = 2031
LESSONS = 6400
CONFIG = Config(epochs=4, batch_size=64, lr=2e-3, weight_decay=0.01, seed=SEED, amp=True)


def bank_of(space: Joint, album: Album, named: Mapping[str, str], *, seed: int = SEED, rounds: int = 1) -> Bank:
    """Vectors of the album's pictures and close-ups of their parts, and the phrase that each close-up is nearest to.
    Phrases are `named` with the fact that each claims: its text feature is the axis of that fact."""
    column = {fact: n for n, fact in enumerate(album.known)}
    said = torch.eye(len(column))[[column[fact] for fact in named.values()]]
    pictures, regions = list[Tensor](), list[Tensor]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for rows in torch.split(torch.arange(len(album)).repeat(rounds), 64):
            shown = album.shown(rows, varied_too=False)
            vectors = F.normalize(space.images(shown.images), dim=1)
            pictures.append(vectors[: len(rows)])
            regions.append(vectors[len(rows) :])
    found, phrases = torch.cat(regions), tuple(named)
    nearest = tuple(phrases[i] for i in (found @ said.T).argmax(1).tolist())
    return Bank(torch.cat(pictures), found, nearest, dict(zip(phrases, said, strict=True)))


@torch.no_grad()
def bank(told: Callable[[str], None] = print, split: str = "train") -> Bank:
    """The bank of the joint space that ships; kept in the cache."""
    space, card = load_joint()
    file = cache_folder() / f"bank-{split}-{PICTURES_SEED}-{card['fingerprint']}.safetensors"
    phrases = list(named_phrases())
    if not file.exists():
        made = bank_of(space, albums(told)[split], named_phrases())
        numbers = torch.tensor([phrases.index(p) for p in made.nearest])
        tensors = {"pictures": made.pictures, "regions": made.regions, "nearest": numbers,
                   "texts": torch.stack(list(made.texts.values()))}  # fmt: skip
        files.write(file, serialised({k: v.contiguous() for k, v in tensors.items()}))
    kept = load_file(file)
    nearest = tuple(phrases[i] for i in kept["nearest"].tolist())
    return Bank(kept["pictures"], kept["regions"], nearest, dict(zip(phrases, kept["texts"], strict=True)))


def writing_step(net: Scribe) -> Step:
    """Cross-entropy of every next token."""

    def step(batch: tuple[list[Source], Tensor]) -> dict[str, Tensor]:
        sources, tokens = batch
        scores = net(sources, tokens[:, :-1].clamp_min(0)).float()
        wanted = tokens[:, 1:]
        there = wanted >= 0
        loss = F.cross_entropy(scores[there], wanted[there])
        return {"loss": loss, "right": (scores.argmax(2) == wanted)[there].float().mean()}

    return step


def vocabulary(phrases: list[str]) -> list[str]:
    """The words of the grammar and of the space's phrases."""
    return sorted({*words(), *words_of_likes(phrases)})


def build(told: Callable[[str], None] = print) -> dict[str, Any]:
    """Trains the decoder, and writes its weights and card; the card."""
    start = time.process_time()
    known, (_, space) = bank(told), load_joint()
    net, last = taught(known, told)
    return write(net, space, last, round(time.process_time() - start))


def taught(known: Bank, told: Callable[[str], None]) -> tuple[Scribe, dict[str, float]]:
    """The decoder that learned from this bank, and the losses of its last epoch."""
    net = unwritten(vocabulary(list(known.texts)), len(known.pictures[0]), SEED)
    ended = fit(
        net, writing_step(net), Lessons(net, known, LESSONS), CONFIG,
        checkpoint=cache_folder() / "scribe.checkpoint.safetensors",
        told=lambda n, row: told(f"epoch {n + 1} " + " ".join(f"{k} {v:.4f}" for k, v in row.items())
                                 + time.strftime(" %H:%M:%S")),
    )  # fmt: skip
    return net, ended.history[-1]


def write(net: Scribe, space: Mapping[str, Any], last: Mapping[str, float], seconds: int) -> dict[str, Any]:
    """Writes weights and card beside the code; the card."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    card = {
        "name": "own",
        "what": "a decoder that writes explanations of accounts; it knows the patterns of its grammar and the phrases "
        "of the joint space, and is shown no name, number or place: these it points to",
        "space": space["fingerprint"],
        "features": len(space["facts"]),
        "fingerprint": fingerprint_of(state),
        "licence": "Apache-2.0",
        "command": "python -m saywhy.writing.teaching",
        "seed": SEED,
        "training": {"texts": CONFIG.epochs * LESSONS, "last": dict(last)},
        "parameters": sum(p.numel() for p in net.parameters()),
        "processor_seconds": seconds,
        "words": vocabulary(space["phrases"]),
    }
    file = scribe_folder() / "scribe.safetensors"
    files.write(file, serialised({k: v.contiguous() for k, v in state.items()}, {"fingerprint": card["fingerprint"]}))
    files.write(file.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


if __name__ == "__main__":
    build(lambda text: print(text, flush=True))
