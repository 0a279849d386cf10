"""Trains the text space `own` on captions of painted birds: `python -m saywhy.train.textspace`.

No classifier takes part, and the pictures are of a seed that no classifier was trained with. Captions and their noun
phrases are learned as pairs of picture and text; a text that is true of other pictures of the batch too counts as true
of them, since what captions say is known. Rendered pictures, captions and the checkpoint lie in `SAYWHY_CACHE`.

N pictures, T texts, A plain names of attributes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as serialised
from sklearn.metrics import average_precision_score
from torch import Tensor

from saywhy import files
from saywhy.aviary import DOMAINS, captions_of, parse, render, sample
from saywhy.aviary.captions import settings
from saywhy.aviary.classifiers import fingerprint_of
from saywhy.aviary.vocabulary import ADJECTIVES, NOUNS, name_of, said_of
from saywhy.spaces.towers import NAME, Towers, untrained, weights_folder, words_of
from saywhy.train.aviary import varied
from saywhy.train.loop import Config, Step, fit
from saywhy.train.pictures import SPLIT_NAMES, Pictures, cache_folder, pictures

SEED = 2027  # of the pictures: not the one of the classifiers
PICTURES = 9600
FIRST = Config(epochs=20, batch_size=64, lr=3e-3, weight_decay=0.02, seed=SEED, amp=True)
CONFIGS = (FIRST, replace(FIRST, epochs=24, seed=SEED + 1))  # one after the other
PHRASES = 3  # noun phrases of a picture in a batch, beside one caption
RETRIEVED = 240  # test pictures among which a caption's own is looked for
FEWEST = 5  # pictures that a phrase is true of, to be judged


@dataclass(frozen=True)
class Spoken:
    """What is said of one picture: texts, each with the plain names that it claims, and all that is true of it."""

    texts: tuple[tuple[str, tuple[str, ...]], ...]
    facts: tuple[str, ...]

    @property
    def captions(self) -> list[tuple[str, tuple[str, ...]]]:
        """The whole captions."""
        return [one for one in self.texts if one[0].endswith(".")]

    @property
    def phrases(self) -> list[tuple[str, tuple[str, ...]]]:
        """Their noun phrases."""
        return [one for one in self.texts if not one[0].endswith(".")]


def spoken(index: int, seed: int = SEED) -> Spoken:
    """The captions of a picture and their noun phrases, with what each claims."""
    rendered = render(sample(seed, index).scene)
    said: dict[str, tuple[str, ...]] = {}
    for caption in captions_of(rendered, seed=seed, index=index):
        found = parse(caption.text)
        said[caption.text] = tuple(sorted({*found.mentions, *(p.mask for p in found.phrases)}))
        said |= {p.text.lower(): tuple(sorted({*p.attributes, p.mask})) for p in found.phrases}
    shown = rendered.shown()
    facts = {*said_of(rendered.scene.birds[0], shown), *settings(rendered), *shown, "bird", "background"}
    branch = {"branch"} if "on a branch" in facts else set()
    return Spoken(tuple(said.items()), tuple(sorted(facts | branch)))


def all_spoken(count: int, seed: int = SEED) -> list[Spoken]:
    """What is said of the pictures 0 to count - 1; kept in the cache."""
    file = cache_folder() / f"spoken-{seed}-{count}.json"
    if not file.exists():
        rows = [spoken(n, seed) for n in range(count)]
        files.write(file, json.dumps([[one.texts, one.facts] for one in rows]))
    return [
        Spoken(tuple((text, tuple(claims)) for text, claims in texts), tuple(facts))
        for texts, facts in json.loads(file.read_text(encoding="utf-8"))
    ]


def phrases() -> dict[str, str]:
    """Phrases of two words for every look of a part, with the plain name of each, and of the parts that may lack."""
    looks = [(part, key, value) for (part, key), values in DOMAINS.items() for value in values]
    looks += [("beak", "length", value) for value in ADJECTIVES["length"]]
    named = {f"{ADJECTIVES[key][value][0]} {NOUNS[part][0]}": name_of(part, value) for part, key, value in looks}
    return named | {NOUNS[part][0]: part for part in ("crest", "band", "bar", "patch")}


# --------------------------------------------------------------------------------------------------
# Learning.


class Pairs:
    """Pictures with what is said of them: images (n, 3, S, S), n captions and then `PHRASES` noun phrases of each, and
    which text is true of which picture (n, T)."""

    def __init__(self, shown: Pictures, said: Sequence[Spoken], known: Sequence[str]) -> None:
        self.pixels = torch.from_numpy(shown.pixels.transpose(0, 3, 1, 2).copy())
        self.parts, self.said = torch.from_numpy(shown.parts), said
        self.column = {name: n for n, name in enumerate(known)}

    def __len__(self) -> int:
        return len(self.said)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor, list[str], Tensor]:
        some = [self.said[i] for i in rows.tolist()]
        both = [_any(one.captions) for one in some]
        both += [_any(one.phrases) for one in some for _ in range(PHRASES)]
        images = self.pixels[rows].float().div_(255)
        return images, self.parts[rows], [text for text, _ in both], self.true(some, [claims for _, claims in both])

    def true(self, some: Sequence[Spoken], claims: Sequence[Sequence[str]]) -> Tensor:
        """Whether all that each text claims is true of each picture, (n, T)."""
        facts, claimed = self.marked([one.facts for one in some]), self.marked(claims)
        return facts @ claimed.T == claimed.sum(1)

    def marked(self, names: Sequence[Sequence[str]]) -> Tensor:
        """Rows of 0 and 1 (n, A)."""
        out = torch.zeros(len(names), len(self.column))
        for row, some in zip(out, names, strict=True):
            row[[self.column[name] for name in some]] = 1
        return out


def _any(options: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    return options[int(torch.randint(len(options), ()))]


def pair_step(net: Towers) -> Step:
    """Every pair of a picture and a text alone is true or false: cross-entropy with the log-odds of its cosine."""

    def step(batch: tuple[Tensor, Tensor, list[str], Tensor]) -> dict[str, Tensor]:
        images, parts, texts, true = batch
        if net.training:  # not mirrored: texts say left and right
            images = varied(images, parts, mirrored=False)[0].clamp(0, 1)
        n = len(images)  # captions, then phrases: read apart, since phrases are short
        said = F.normalize(torch.cat([net.texts(some) for some in (texts[:n], texts[n:])]).float(), dim=1)
        seen = F.normalize(net.images(images).float(), dim=1)
        odds = net.scale.exp() * seen @ said.T + net.bias
        loss = F.binary_cross_entropy_with_logits(odds, true.float())
        return {"loss": loss, "right": ((odds > 0) == true).float().mean()}

    return step


def build(
    told: Callable[[str], None] = print, *, count: int = PICTURES, configs: Sequence[Config] = CONFIGS
) -> dict[str, Any]:
    """Trains the towers, and writes their weights and card; the card."""
    start = time.process_time()
    sets = pairs(told, count=count)
    vocabulary = sorted({word for some in sets.values() for one in some.said for text, _ in one.texts
                         for word in words_of(text)})  # fmt: skip
    net = untrained(vocabulary, SEED).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    history: list[dict[str, float]] = []
    best = 0.0
    for n, config in enumerate(configs):
        ended = fit(
            net, pair_step(net), sets["train"], config, held_out=sets["val"],
            checkpoint=cache_folder() / f"{NAME}.checkpoint{n or ''}.safetensors",
            told=lambda epoch, row: told(f"epoch {epoch + 1} " + " ".join(f"{k} {v:.4f}" for k, v in row.items())),
        )  # fmt: skip
        history, best = [*history, *ended.history], ended.best
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    card = _card(vocabulary, state, measured(net.eval(), sets["test"])) | {
        "training": {"pictures": len(sets["train"]), "epochs": len(history), "held_out_loss": round(best, 4)},
        "parameters": sum(p.numel() for p in net.parameters()),
        "processor_seconds": round(time.process_time() - start),
    }  # fmt: skip
    file = weights_folder() / f"{NAME}.safetensors"
    files.write(file, serialised({k: v.contiguous() for k, v in state.items()}, {"fingerprint": card["fingerprint"]}))
    files.write(file.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    told(json.dumps(card["test"]))
    return card


def pairs(told: Callable[[str], None] = print, *, count: int = PICTURES) -> dict[str, Pairs]:
    """The pictures 0 to count - 1 with what is said of them, by split: train, val and test."""
    shown = pictures(count, seed=SEED, told=told)
    said = all_spoken(len(shown))
    known = sorted({name for one in said for claims in (one.facts, *(c for _, c in one.texts)) for name in claims})
    rows = {split: np.flatnonzero(shown.splits == n) for n, split in enumerate(SPLIT_NAMES)}
    return {split: Pairs(shown.where(of), [said[n] for n in of], known) for split, of in rows.items()}


def _card(words: Sequence[str], state: dict[str, Tensor], test: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": NAME,
        "what": "two small towers, trained on captions of painted birds; no classifier took part",
        "speaks_of": "painted birds of the aviary's first edition",
        "fingerprint": fingerprint_of(state),
        "licence": "Apache-2.0",
        "command": "python -m saywhy.train.textspace",
        "seed": SEED,
        "labels": "which caption is true of which picture, by what captions say",
        "words": list(words),
        "phrases": list(phrases()),
        "test": test,
    }


# --------------------------------------------------------------------------------------------------
# Measuring.


@torch.no_grad()
def measured(net: Towers, test: Pairs) -> dict[str, Any]:
    """On held-out pictures: how often a caption finds its own picture and a picture one of its captions among those of
    others, and how well phrases sort the pictures that they are true of from the others (average precision)."""
    images = test.pixels.float().div(255)
    seen = F.normalize(torch.cat([net.images(x) for x in torch.split(images, 64)]), dim=1)
    captions = [one.captions[0] for one in test.said[:RETRIEVED]]
    said = F.normalize(net.texts([text for text, _ in captions]), dim=1)
    likeness, own = seen[: len(captions)] @ said.T, torch.arange(len(captions))
    true = test.true(test.said[: len(captions)], [claims for _, claims in captions])
    named = phrases()
    told = F.normalize(net.texts(list(named)), dim=1)
    truth = test.true(test.said, [[name] for name in named.values()]).numpy()
    scores = (seen @ told.T).numpy()
    judged = [j for j in range(len(named)) if FEWEST <= truth[:, j].sum() <= len(truth) - FEWEST]
    precision = {list(named)[j]: float(average_precision_score(truth[:, j], scores[:, j])) for j in judged}
    return {
        "pictures": len(test),
        "among": len(captions),
        "caption_finds_its_picture": _found(likeness.T, own),
        "picture_finds_its_caption": _found(likeness, own),
        "first_is_true": {
            "caption": round(float(true.T.float().gather(1, likeness.T.argmax(1)[:, None]).mean()), 4),
            "picture": round(float(true.float().gather(1, likeness.argmax(1)[:, None]).mean()), 4),
            "chance": round(float(true.float().mean()), 4),
            "captions_that_are_first": len(set(likeness.argmax(1).tolist())),
        },
        "phrases": {
            "mean_average_precision": round(float(np.mean(list(precision.values()))), 4),
            "chance": round(float(truth[:, judged].mean()), 4),
            "worst": {k: round(precision[k], 4) for k in sorted(precision, key=lambda k: precision[k])[:8]},
        },
    }


def _found(likeness: Tensor, own: Tensor) -> dict[str, float]:
    """The share of rows whose own column is first, and among the first five and ten."""
    place = (likeness > likeness.gather(1, own[:, None])).sum(1)
    return {f"first {k}": round(float((place < k).float().mean()), 4) for k in (1, 5, 10)}


if __name__ == "__main__":
    build(lambda text: print(text, flush=True))
