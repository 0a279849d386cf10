"""Trains the joint space `own:2`: `python -m saywhy.train.jointspace`.

Three steps, each resumed where it was interrupted: the eye learns which facts a picture shows and where each part is;
the text tower learns which facts a text claims; then both meet in pairs of pictures and captions, with captions in
which one fact is wrong as hard negatives. Close-ups of single parts learn beside the pictures. No classifier takes
part, and no picture of theirs. Pictures, captions and checkpoints lie in `SAYWHY_CACHE`.

N pictures, T texts, F facts, Q queries: the whole and every part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as serialised
from torch import Tensor, nn

from saywhy import files
from saywhy.aviary.birds import ORDERS
from saywhy.aviary.classifiers import fingerprint_of
from saywhy.aviary.facts import Fact, facts
from saywhy.aviary.faults import sample
from saywhy.aviary.lexicons import lexicon
from saywhy.aviary.scene import render
from saywhy.aviary.scenery import generator
from saywhy.aviary.talk import Speaker, caption, captions_of
from saywhy.aviary.world import world
from saywhy.spaces.joint import FILE, NAME, SIDE, Joint, close_ups, untaught
from saywhy.spaces.towers import weights_folder, words_of
from saywhy.train.aviary import varied
from saywhy.train.contrasting import gathered, gathered_rows, info_nce
from saywhy.train.loop import Config, Step, fit
from saywhy.train.pictures import SPLIT_NAMES, Pictures, cache_folder, pictures

EDITION = "2"
SEED = 2029  # of the pictures: not the one of the classifiers
PICTURES = 4800
PARTS = ORDERS[EDITION]
SEE = Config(epochs=12, batch_size=48, lr=3e-3, weight_decay=0.02, seed=SEED, amp=True)
READ = replace(SEE, epochs=24, batch_size=96, lr=3e-3, seed=SEED + 1)
MEET = replace(SEE, epochs=2, batch_size=96, lr=5e-4, seed=SEED + 2)
WRONG = 4  # captions of a picture in which a fact is wrong
PHRASES = 2  # noun phrases of a picture in a batch
Text = tuple[str, tuple[str, ...]]  # and the facts that it claims


@dataclass(frozen=True)
class SaidOf:
    """What is said of one picture: captions, wrong captions and noun phrases by part, each with what it claims, and all
    that is true of the picture."""

    captions: tuple[Text, ...]
    wrong: tuple[Text, ...]
    phrases: tuple[tuple[str, Text], ...]
    facts: tuple[str, ...]


def heard(index: int, seed: int = SEED) -> SaidOf:
    """Of the picture of that number."""
    rendered = render(sample(seed, index, edition=EDITION, size=SIDE).scene)
    known, rng, words = facts(rendered), generator(77, seed, index), lexicon(EDITION)
    looks = [f for f in known if f.kind == "look"]
    wrong = []
    for _ in range(WRONG):
        chosen = [known[int(u * len(known))] for u in rng.random(3)]
        chosen = list(dict.fromkeys([*chosen, _turned(looks[int(rng.random() * len(looks))], rng.random())]))
        wrong.append(caption([chosen[i] for i in rng.permutation(len(chosen))], known, rng, words))
    speaker = Speaker(rng, known, words)
    said = [(f.part, (speaker.noun_phrase(f.part, [f], article=""), (f.name,))) for f in looks for _ in range(2)]
    phrases = [(part, (text.strip(), claims)) for part, (text, claims) in said]
    return SaidOf(
        tuple((c.text, c.mentions) for c in captions_of(rendered, seed=seed, index=index)),
        tuple((c.text, c.mentions) for c in wrong), tuple(phrases), tuple(all_true(known)),
    )  # fmt: skip


def all_true(known: Sequence[Fact]) -> list[str]:
    """The names of facts, and of what they exclude: a curved beak is "not straight"."""
    nots = [replace(f, kind="not", value=v).name for f in known if f.kind == "look" for v in _values(f) if v != f.value]
    return sorted({*(f.name for f in known), *nots})


def _values(fact: Fact) -> tuple[str, ...]:
    return world(EDITION).domains["collar" if fact.part == "collars" else fact.part, fact.key]


def _turned(fact: Fact, number: float) -> Fact:
    """The look with another value."""
    others = [v for v in _values(fact) if v != fact.value]
    return replace(fact, value=others[int(number * len(others))])


def all_heard(count: int, seed: int = SEED) -> list[SaidOf]:
    """What is said of the pictures 0 to count - 1; kept in the cache."""
    file = cache_folder() / f"heard-{EDITION}-{seed}-{count}.json"
    if not file.exists():
        rows = [heard(n, seed) for n in range(count)]
        files.write(file, json.dumps([[h.captions, h.wrong, h.phrases, h.facts] for h in rows]))
    return [
        SaidOf(_texts(c), _texts(w), tuple((part, (t, tuple(k))) for part, (t, k) in p), tuple(f))
        for c, w, p, f in json.loads(file.read_text(encoding="utf-8"))
    ]


def _texts(rows: Sequence[Sequence[Any]]) -> tuple[Text, ...]:
    return tuple((text, tuple(claims)) for text, claims in rows)


# --------------------------------------------------------------------------------------------------
# Batches.


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures and close-ups (n + m, 3, S, S) with their parts (n + m, S, S); which picture each close-up is of (m,)
    and which part it shows."""

    images: Tensor
    parts: Tensor
    of: Tensor
    part: tuple[str, ...]


class Album:
    """Pictures with what is said of them; `known` are the facts that have an anchor."""

    def __init__(self, shown: Pictures, said: Sequence[SaidOf], known: Sequence[str]) -> None:
        self.pixels = torch.from_numpy(shown.pixels.transpose(0, 3, 1, 2).copy())
        self.parts, self.species, self.said = torch.from_numpy(shown.parts), shown.species, said
        self.known, self.column = tuple(known), {name: n for n, name in enumerate(known)}
        self.nots = torch.tensor([" not " in name for name in known])
        self.of_part = {p: self.marked([[f for f in known if part_of(f) == p]])[0].bool() for p in (*PARTS, "collars")}

    def __len__(self) -> int:
        return len(self.said)

    def __getitem__(self, rows: Tensor) -> tuple[Shown, list[SaidOf]]:
        return self.shown(rows, varied_too=True), [self.said[i] for i in rows.tolist()]

    def shown(self, rows: Tensor, *, varied_too: bool) -> Shown:
        """The pictures of these rows, and a close-up of one part of every second one."""
        images, parts = self.pixels[rows].float().div_(255), self.parts[rows]
        if varied_too:  # not mirrored: texts say left and right
            images, parts = varied(images, parts, mirrored=False)
            images = images.clamp(0, 1)
        some = torch.arange(0, len(rows), 2)
        chosen = [_any_part(parts[i]) for i in some.tolist()]
        masks = torch.stack([parts[i] == 1 + PARTS.index(p) for i, p in zip(some.tolist(), chosen, strict=True)])
        closer = close_ups(images[some], masks, 0.15 + 0.4 * torch.rand(len(some)))
        inside = close_ups(masks[:, None].expand(-1, 3, -1, -1).float(), masks)[:, 0] > 0.5
        own = torch.tensor([1 + PARTS.index(p) for p in chosen])[:, None, None] * inside
        return Shown(torch.cat([images, closer]), torch.cat([parts, own.to(parts.dtype)]), some, tuple(chosen))

    def marked(self, names: Sequence[Sequence[str]]) -> Tensor:
        """Rows of 0 and 1 (n, F); names without an anchor count for nothing."""
        out = torch.zeros(len(names), len(self.column))
        for row, some in zip(out, names, strict=True):
            row[[self.column[name] for name in some if name in self.column]] = 1
        return out


def part_of(fact: str) -> str:
    """The part that the plain name of a look is of, "" for anything else."""
    last = fact.split(" ")[-1]
    return last if last in (*PARTS, "collars") and len(fact.split(" ")) == 2 and not fact.startswith("no ") else ""


def _any_part(parts: Tensor) -> str:
    """A part that has some pixels; small ones as often as large ones."""
    there = torch.bincount(parts.flatten().long(), minlength=1 + len(PARTS))[1:] >= 6
    options = there.nonzero()[:, 0].tolist() or [PARTS.index("body")]
    return str(PARTS[options[int(torch.randint(len(options), ()))]])


def _any(options: Sequence[Text]) -> Text:
    return options[int(torch.randint(len(options), ()))]


# --------------------------------------------------------------------------------------------------
# Learning.


def see_step(net: Joint, album: Album) -> Step:
    """The eye alone: which facts hold, and each part's query looks at that part."""

    def step(batch: tuple[Shown, list[SaidOf]]) -> dict[str, Tensor]:
        shown, said = batch
        return eye_losses(net, album, net.looked(shown.images.to(memory_format=torch.channels_last)), shown, said)

    return step


def eye_losses(
    net: Joint, album: Album, looked: tuple[Tensor, Tensor], shown: Shown, said: Sequence[SaidOf]
) -> dict[str, Tensor]:
    """Of what the eye saw: cross-entropy of the facts that are known, and how far its queries look past their parts."""
    added, where = looked
    right, asked = _truth(album, shown, said)
    odds = net.told(added.sum(1))
    loss = F.binary_cross_entropy_with_logits(odds, right, reduction="none")[asked & ~album.nots].mean()
    aimed = aim(where, shown.parts)
    return {"loss": 4 * loss + 0.3 * aimed, "facts": loss, "aim": aimed}


def _truth(album: Album, shown: Shown, said: Sequence[SaidOf]) -> tuple[Tensor, Tensor]:
    """Which facts hold (n + m, F), and which of them are known: of a close-up those of parts alone."""
    whole = album.marked([h.facts for h in said])
    names = [_spoken_of(said[i], p) for i, p in zip(shown.of.tolist(), shown.part, strict=True)]
    own = torch.stack([whole[i] * album.of_part[p] for i, p in zip(shown.of.tolist(), names, strict=True)])
    looks = torch.stack(list(album.of_part.values())).any(0)
    known = torch.cat([torch.ones_like(whole, dtype=torch.bool), looks.expand(len(own), -1)])
    return torch.cat([whole, own]), known


def _spoken_of(said: SaidOf, part: str) -> str:
    """What captions call the part: two collars are "collars", and a second one alone is the collar."""
    if part not in ("collar", "collar2"):
        return part
    return "collars" if any(f.endswith(" collars") and " not " not in f for f in said.facts) else "collar"


def aim(where: Tensor, parts: Tensor) -> Tensor:
    """How far queries look past the parts that they are of: -log of the share (N, Q, h, w) that falls on it."""
    size = where.shape[2:]
    masks = torch.stack([parts == 1 + p for p in range(len(PARTS))], dim=1).float()
    share = F.adaptive_avg_pool2d(masks, (size[0], size[1]))
    seen = masks.sum(dim=(2, 3)) >= 6
    hit = (where[:, 1:] * (share > 0.02)).sum(dim=(2, 3)).clamp_min(1e-4)
    return -hit[seen].log().mean()


def read_step(net: Joint, album: Album) -> Step:
    """The text tower alone: which facts a text claims."""

    def step(batch: tuple[Shown, list[SaidOf]]) -> dict[str, Tensor]:
        said = batch[1]
        texts = [_any((*h.captions, *h.wrong)) for h in said]
        texts += [_any([t for _, t in h.phrases]) for h in said]
        n = len(said)
        odds = torch.cat([net.claimed([t for t, _ in some]) for some in (texts[:n], texts[n:])])
        loss = F.binary_cross_entropy_with_logits(odds, album.marked([claims for _, claims in texts]))
        return {"loss": 10 * loss}

    return step


class Quiet(Album):
    """An album of which the texts alone are asked."""

    def __getitem__(self, rows: Tensor) -> tuple[Shown, list[SaidOf]]:
        nothing = torch.empty(0)
        return Shown(nothing, nothing, nothing, ()), [self.said[i] for i in rows.tolist()]


def meet_step(net: Joint, album: Album) -> Step:
    """Both towers: InfoNCE of pictures and captions with hard negatives, close-ups and noun phrases as pairs that are
    true or false (so that log-odds mean something), and a share of what each learned alone, lest it forgets."""

    def step(batch: tuple[Shown, list[SaidOf]]) -> dict[str, Tensor]:
        shown, said = batch
        looked = net.looked(shown.images.to(memory_format=torch.channels_last))
        seen, closer = torch.split(net.held(looked[0].sum(1)), [len(said), len(shown.of)])
        seen = gathered(seen)
        captions, wrong = [_any(h.captions) for h in said], [_any(h.wrong) for h in said]
        told, false = (gathered(net.texts([t for t, _ in some])) for some in (captions, wrong))
        phrases = [_any([t for _, t in said[i].phrases]) for i in range(len(said))]
        short = net.texts([t for t, _ in phrases])
        claims = [*gathered_rows([c for _, c in captions]), *gathered_rows([c for _, c in wrong])]
        true = holds(album, gathered_rows([h.facts for h in said]), claims)
        loss = info_nce(seen, torch.cat([told, false]), (-net.scale).exp(), true)
        facts_of = _truth(album, shown, said)[0][len(said) :]
        pairs = _pairs(net, seen, short, true_of(album, album.marked([h.facts for h in said]), phrases))
        pairs = pairs + _pairs(net, closer, short, true_of(album, facts_of, phrases))
        alone = eye_losses(net, album, looked, shown, said)["loss"]
        return {"loss": loss + 4 * pairs + alone, "pairs": pairs, "alone": alone, "info_nce": loss}

    return step


def holds(album: Album, known: Sequence[Sequence[str]], claims: Sequence[Sequence[str]]) -> Tensor:
    """Whether all that each text claims is true of each picture, (N, T); exactly, by names."""
    sets = [set(one) for one in known]
    return torch.tensor([[one.issuperset(some) for some in claims] for one in sets])


def true_of(album: Album, known: Tensor, texts: Sequence[Text]) -> Tensor:
    """The same (N, T) where what is known are marks (N, F)."""
    claimed = album.marked([claims for _, claims in texts])
    return known @ claimed.T == claimed.sum(1)


def _pairs(net: Joint, seen: Tensor, said: Tensor, true: Tensor) -> Tensor:
    odds = net.scale.exp() * F.normalize(seen.float(), dim=1) @ F.normalize(said.float(), dim=1).T + net.bias
    return F.binary_cross_entropy_with_logits(odds, true.float())


@dataclass(frozen=True)
class TrainingStage:
    """A row of STAGES: its name, the step, how, and what it is asked with."""

    name: str
    step: Callable[[Joint, Album], Step]
    config: Config
    album: type[Album]


STAGES = (
    TrainingStage("see", see_step, SEE, Album),
    TrainingStage("read", read_step, READ, Quiet),
    TrainingStage("meet", meet_step, MEET, Album),
)


def albums(told: Callable[[str], None] = print, *, count: int = PICTURES) -> dict[str, Album]:
    """The pictures 0 to count - 1 with what is said of them, by split: train, val and test."""
    shown = pictures(count, seed=SEED, edition=EDITION, side=SIDE, told=told)
    said = all_heard(len(shown))
    known = sorted({name for one in said for name in one.facts})
    rows = {split: np.flatnonzero(shown.splits == n) for n, split in enumerate(SPLIT_NAMES)}
    return {split: Album(shown.where(of), [said[n] for n in of], known) for split, of in rows.items()}


def taught(
    sets: dict[str, Album], words: Sequence[str], told: Callable[[str], None], stages: Sequence[TrainingStage] = STAGES
) -> tuple[Joint, list[dict[str, float]]]:
    """The space after all stages, and the history of each."""
    net = untaught(words, PARTS, sets["train"].known, SEED).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.usual.data.copy_(usual(sets["train"]))
    history: list[dict[str, float]] = []
    for stage in stages:
        album = _as(stage.album, sets["train"])
        _only(net, stage.name)
        ended = fit(
            net, stage.step(net, album), album, stage.config,
            checkpoint=cache_folder() / f"{FILE}.checkpoint.{stage.name}.safetensors",
            told=partial(_say, told, stage.name),
        )  # fmt: skip
        history += ended.history
    return net.requires_grad_(True), history


def _say(told: Callable[[str], None], name: str, epoch: int, row: dict[str, float]) -> None:
    told(f"{name} {epoch + 1} " + " ".join(f"{k} {v:.4f}" for k, v in row.items()) + time.strftime(" %H:%M:%S"))


def _as(kind: type[Album], album: Album) -> Album:
    """The same album, asked in another way."""
    other = kind.__new__(kind)
    other.__dict__.update(album.__dict__)
    return other


TEXTS = ("word", "place", "read", "said", "claim_sure", "claim_rare")


def usual(album: Album) -> Tensor:
    """The logarithm of how often each fact holds (F,), rare ones as often as one in a hundred."""
    return album.marked([h.facts for h in album.said]).mean(0).clamp_min(0.01).log()


def _only(net: nn.Module, stage: str) -> None:
    """What a stage trains: the eye without the text tower, the text tower without the eye (and its anchors), or all."""
    for name, value in net.named_parameters():
        text = name.split(".")[0] in TEXTS
        value.requires_grad_(stage == "meet" or (name != "usual" and text == (stage == "read")))


def build(told: Callable[[str], None] = print, *, count: int = PICTURES) -> dict[str, Any]:
    """Trains the space, and writes its weights and card; the card."""
    sets = albums(told, count=count)
    words = vocabulary(sets.values())
    net, history = taught(sets, words, told)
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    card = {
        "name": NAME,
        "what": "a joint space of pictures and texts, trained on painted birds and their captions; no classifier took "
        "part. It is no CLIP: it knows these birds and the words of their captions, and nothing else",
        "speaks_of": "painted birds of the aviary's second edition",
        "edition": EDITION,
        "fingerprint": fingerprint_of(state),
        "licence": "Apache-2.0",
        "command": "python -m saywhy.train.jointspace",
        "seed": SEED,
        "labels": "which caption is true of which picture, and where each part is",
        "training": {"pictures": len(sets["train"]), "epochs": [s.config.epochs for s in STAGES], "last": history[-1]},
        "parameters": sum(p.numel() for p in net.parameters()),
        "phrases": list(named_phrases()),
        "parts": list(PARTS),
        "facts": list(sets["train"].known),
        "words": words,
    }
    file = weights_folder() / f"{FILE}.safetensors"
    files.write(file, serialised({k: v.contiguous() for k, v in state.items()}, {"fingerprint": card["fingerprint"]}))
    files.write(file.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


def vocabulary(sets: Any) -> list[str]:
    """All words that texts of these albums have, and all of the lexicon."""
    known = lexicon(EDITION)
    listed = [w for some in (known.nouns, *known.adjectives.values()) for said in some.values() for w in said]
    texts = [t for one in sets for h in one.said for t, _ in (*h.captions, *h.wrong, *(p for _, p in h.phrases))]
    return sorted({word for text in (*listed, *texts) for word in words_of(text)})


def named_phrases() -> dict[str, str]:
    """A phrase of plain words for every look of a part, with the plain name of the fact."""
    known = lexicon(EDITION)
    return {
        f"{known.adjectives[key][value][0]} {known.nouns[part][0]}": f"{value} {part}"
        for (part, key), values in world(EDITION).domains.items()
        for value in values
    }


if __name__ == "__main__":
    build(lambda text: print(text, flush=True))
