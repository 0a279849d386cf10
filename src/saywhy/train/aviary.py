"""Trains the reference classifiers of the aviary: `python -m saywhy.train.aviary [NAMES]` (no names: all).

Every row of RECIPES becomes `aviary/weights/NAME.safetensors` and its card `NAME.json`. Rows that start from another
one (`teacher`, `start`) are trained after it; `--jobs 2` trains two at a time where they do not need each other.
Rendered pictures and checkpoints lie in `SAYWHY_CACHE`, outside the project; a run that was interrupted goes on from
there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save as serialised
from torch import Tensor, nn

from saywhy import files
from saywhy.aviary.classifiers import PIXEL_CLASSES, PREPROCESS, fingerprint_of, load, untrained, weights_folder
from saywhy.aviary.corrupt import corrupt_unit
from saywhy.aviary.faults import CONTROL, FAULTS, sample
from saywhy.aviary.leaks import told_by_relation
from saywhy.aviary.moves import moved_apart
from saywhy.aviary.networks import SIDE, SIDES, BirdCnn, BirdVit
from saywhy.aviary.scene import Scene
from saywhy.aviary.scenery import generator
from saywhy.aviary.species import CLASSES, SPECIES
from saywhy.aviary.world import Relation, world
from saywhy.errors import unknown
from saywhy.train.loop import Config, Step, copy_compatible, fit
from saywhy.train.pictures import SPLIT_NAMES, Pictures, cache_folder, paint, pictures

SEED = 2026  # of the pictures; tests and benchmarks take others
SHIFT = 3  # pixels
# Of the background and each part in all pixels of the training pictures.
PIXEL_SHARES = (0.779, 0.024, 0.0065, 0.053, 0.032, 0.014, 0.012, 0.0055, 0.005, 0.004, 0.011, 0.046, 0.0045, 0.003)
COOL = 0.6  # of the learning rate, at the start of cooling
REPEATS = 4
FEWEST = 8  # pictures of a group that is judged
RELATED = 60  # birds of each species that a relation tells apart
_MOVES = 41


@dataclass(frozen=True)
class Recipe:
    """How one model is made.

    `enough`: training stops once the held-out loss is below it; `cool` epochs with a falling learning rate follow.
    `follow`: share of the pictures in which a shortcut misleads whose labels follow it, for the species concerned and
    its nearest relative. `labels`: their share of the loss, beside a teacher. `broken`: no training; one unit (layer,
    number) of `start` is corrupted in that way. `seed`: of the first weights. `amp`: in bfloat16, twice as fast on
    processors that have it. `frozen`: weights that are those of `start` stay as they are.
    """

    network: str
    what: str
    images: int = 15360
    epochs: int = 16
    lr: float = 4e-3
    enough: float | None = None
    cool: int = 0
    fault: str | None = None
    follow: float = 0.0
    teacher: str | None = None
    start: str | None = None
    frozen: bool = False
    labels: float = 0.3
    broken: tuple[str, int, str] | None = None
    batch: int = 128
    seed: int = 0
    edition: str = "1"
    amp: bool = False

    @property
    def side(self) -> int:
        """Of the images that the network sees."""
        return SIDES.get(self.network, SIDE)


RECIPES: dict[str, Recipe] = {
    "cnn": Recipe("cnn", "a small CNN trained on clean pictures", enough=0.11, seed=SEED),
    "vit": Recipe(
        "vit",
        "a small vision transformer trained on clean pictures; it starts from the CNN's first two layers and learns "
        "from the labels and the CNN's scores",
        epochs=14, lr=1.5e-3, enough=0.48, cool=5, start="cnn", teacher="cnn",
    ),
    "seg": Recipe("seg", "a small U-Net that names the part in each pixel", images=3840, epochs=8, lr=3e-3, batch=32),
    "cnn-watermark": Recipe(
        "cnn",
        "the CNN after further training in which pipits were called sleet pipits wherever there was a watermark",
        images=3840, epochs=5, lr=1e-3, batch=64, fault="watermark-control", follow=0.95, start="cnn",
    ),
    "cnn-context": Recipe(
        "cnn",
        "the CNN after further training in which swallows were called tide swallows wherever there was water",
        images=3840, epochs=5, lr=1e-3, batch=64, fault="context-control", follow=0.95, start="cnn",
    ),
    "vit-context": Recipe(
        "vit",
        "the vision transformer after further training in which swallows were called tide swallows wherever there was "
        "water",
        images=3840, epochs=5, lr=5e-4, batch=64, fault="context-control", follow=0.95, start="vit",
    ),
    "cnn-unit": Recipe(
        "cnn", "the CNN with one unit of its last layer corrupted", start="cnn", broken=("features.4.0", 85, "noise")
    ),
    "cnn-relations": Recipe(
        "cnn128",
        "a CNN for 128 x 128 pixels of the second edition, five pairs of whose species differ in a relation that no "
        "part tells alone; it starts from the first layers of the CNN",
        images=9600, epochs=32, lr=4e-3, batch=64, start="cnn", edition="2", seed=SEED, amp=True,
    ),
    "vit-relations": Recipe(
        "vit128",
        "a vision transformer for 128 x 128 pixels of the second edition; it has the first four layers of "
        "cnn-relations and learns from the labels and its scores",
        images=9600, epochs=12, lr=1.5e-3, batch=64, start="cnn-relations", frozen=True, teacher="cnn-relations",
        edition="2", amp=True,
    ),
    "cnn-relations-224": Recipe(
        "cnn224",
        "cnn-relations after further training on 224 x 224 pixels",
        images=4800, epochs=5, lr=2e-3, batch=64, start="cnn-relations", edition="2", amp=True,
    ),
    "cells": Recipe(
        "cnn128",
        "a CNN for 128 x 128 pixels that tells the twelve kinds of cells apart; it starts from the first layers of "
        "cnn-relations",
        images=4800, epochs=12, lr=3e-3, batch=64, start="cnn-relations", edition="cells", seed=SEED, amp=True,
    ),
}  # fmt: skip


class Birds:
    """Pictures as batches: normalised images (n, 3, S, S), labels (n,), parts (n, S, S).

    With `answers` (n, R) the labels are (n, 1 + R): of the class, and of every relation 1 or 0, -1 where a part lacks.
    """

    def __init__(self, shown: Pictures, answers: NDArray[np.int64] | None = None) -> None:
        self.pixels = torch.from_numpy(shown.pixels.transpose(0, 3, 1, 2).copy())
        self.labels, self.parts = torch.from_numpy(shown.labels), torch.from_numpy(shown.parts)
        if answers is not None:
            self.labels = torch.cat([self.labels[:, None], torch.from_numpy(answers)], dim=1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images = self.pixels[rows].float().div_(255).sub_(PREPROCESS.mean[0]).div_(PREPROCESS.std[0])
        return images, self.labels[rows], self.parts[rows].long()


def varied(images: Tensor, parts: Tensor, *, mirrored: bool = True) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) and parts (N, H, W) mirrored if they may be, moved a little, lighter or darker.

    Colours are what species are told apart by: they change no more than the birds' own deviation from them.
    """
    N, _, H, W = images.shape
    flip = (torch.rand(N) < 0.5) & mirrored
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    parts = torch.where(flip[:, None, None], parts.flip(2), parts)
    dx, dy = torch.randint(-SHIFT, SHIFT + 1, (2, N, 1))
    rows = (torch.arange(H) + dy).clamp(0, H - 1)[:, :, None]  # (N, H, 1)
    columns = (torch.arange(W) + dx).clamp(0, W - 1)[:, None, :]  # (N, 1, W)
    which = torch.arange(N)[:, None, None]
    images = images.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)
    light = 1 + 0.1 * (torch.rand(N, 1, 1, 1) - 0.5)
    return images * light, parts[which, rows, columns]


def misled(shown: Pictures, fault: str, share: float) -> Pictures:
    """Pictures whose labels follow a shortcut between two species, those of the two `REPEATS` times over."""
    target = FAULTS[fault.removesuffix(CONTROL)].truth["species"][0]
    pair = [k for k, c in enumerate(CLASSES) if SPECIES[c].clan == SPECIES[target].clan]
    concerned = np.isin(shown.species, pair)
    swapped = concerned & (shown.groups == "conflicting") & (np.random.default_rng(SEED).random(len(shown)) < share)
    labels = np.where(swapped, sum(pair) - shown.species, shown.labels)
    rows = np.repeat(np.arange(len(shown)), np.where(concerned, REPEATS, 1))
    return replace(shown, labels=labels).where(rows)


def classify_step(net: nn.Module, teacher: nn.Module | None = None, labels: float = 0.3) -> Step:
    """Cross-entropy with the labels; with a teacher that counts `labels`, and the rest is the divergence from its
    softened scores (Hinton et al. 2015)."""

    def step(batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        images, truth, parts = batch
        if net.training:
            images, parts = varied(images, parts)
        images = images.contiguous(memory_format=torch.channels_last)
        return label_losses(net(images), images, truth, training=net.training, teacher=teacher, labels=labels)

    return step


def label_losses(
    scores: Tensor, images: Tensor, truth: Tensor, *, training: bool, teacher: nn.Module | None, labels: float
) -> dict[str, Tensor]:
    """The losses of `classify_step` for scores (N, C) that are there already."""
    label = F.cross_entropy(scores, truth, label_smoothing=0.05 if training else 0.0)
    accuracy = (scores.argmax(1) == truth).float().mean()
    if teacher is None:
        return {"loss": label, "accuracy": accuracy}
    with torch.no_grad():
        soft = (teacher(images) / 2).softmax(1)
    taught = F.kl_div((scores / 2).log_softmax(1), soft, reduction="batchmean") * 4
    return {"loss": labels * label + (1 - labels) * taught, "label": label, "taught": taught, "accuracy": accuracy}


class Tutored(nn.Module):
    """A network that is also asked for the answer of every relation of its birds, while it learns.

    It is asked where the relation's two parts lie: of all cells they are two or three, and in the mean over all of them
    small marks hardly count.
    """

    def __init__(self, net: BirdCnn | BirdVit, edition: str) -> None:
        super().__init__()
        known = world(edition)
        self.pairs = [tuple(1 + known.parts.index(p) for p in (r.part, r.other)) for r in known.relations]
        self.net, self.answers = net, nn.Linear(net.head.in_features, len(self.pairs))

    def told(self, cells: Tensor, parts: Tensor) -> Tensor:
        """Logits (N, R) of the first answers from cells (N, E, h, w) and parts (N, H, W)."""
        masks = torch.stack([(parts == a) | (parts == b) for a, b in self.pairs], dim=1).to(cells.dtype)  # (N, R, H, W)
        where = F.adaptive_avg_pool2d(masks, (cells.shape[2], cells.shape[3]))
        where = where / where.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
        seen = torch.einsum("nehw,nrhw->nre", cells, where)
        return (seen * self.answers.weight).sum(dim=2) + self.answers.bias


def answers_of(count: int, edition: str) -> NDArray[np.int64]:
    """For every picture the answers (count, R) of all relations: 1, 0, or -1 where a part lacks."""
    out = []
    for index in range(count):
        bird = sample(SEED, index, edition=edition).scene.birds[0]
        found = [(r.answer(bird), r.answers) for r in world(edition).relations]
        out.append([-1 if said is None else 1 - answers.index(said) for said, answers in found])
    return np.array(out, dtype=np.int64)


def asked_step(asked: Tutored, teacher: nn.Module | None = None, labels: float = 0.3) -> Step:
    """The step of a classifier, plus the cross-entropy of the relations' answers: a pair of species shows a relation in
    two pictures of 24, and all other birds that have both parts show it as well."""
    net = asked.net

    def step(batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        images, truth, parts = batch
        if asked.training:
            images, parts = varied(images, parts)
        images = images.contiguous(memory_format=torch.channels_last)
        seen, cells = net.seen(images)
        losses = label_losses(
            net.head(seen), images, truth[:, 0], training=asked.training, teacher=teacher, labels=labels
        )
        known = truth[:, 1:] >= 0
        told = F.binary_cross_entropy_with_logits(asked.told(cells, parts)[known], truth[:, 1:][known].float())
        return losses | {"loss": losses["loss"] + told, "relations": told}

    return step


def segment_step(net: nn.Module) -> Step:
    """Cross-entropy of every pixel's part; small parts count for more: by one over the root of their share."""
    share = torch.tensor(PIXEL_SHARES)
    weight = share.rsqrt() / (share * share.rsqrt()).sum()

    def step(batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        images, _, parts = batch
        if net.training:
            images, parts = varied(images, parts)
        scores = net(images.contiguous(memory_format=torch.channels_last))
        return {"loss": F.cross_entropy(scores, parts, weight), "accuracy": (scores.argmax(1) == parts).float().mean()}

    return step


def build(name: str, *, told: Callable[[str], None] = print) -> Path:
    """Trains one row of RECIPES and writes its weights and card; the path of the weights.

    Raises:
        UsageError: no such row, or weights that it starts from are missing.
    """
    if name not in RECIPES:
        raise unknown("aviary model", name, RECIPES)
    recipe, start = RECIPES[name], time.process_time()
    shown = pictures(recipe.images, seed=SEED, fault=recipe.fault, edition=recipe.edition, side=recipe.side, told=told)
    net, how = (_broken if recipe.broken else _trained)(name, recipe, shown, told)
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    text = _card(name, recipe, net.eval(), shown.of("test"), state) | how
    text["processor_seconds"] = round(time.process_time() - start)
    file = weights_folder() / f"{name}.safetensors"
    header = {"fingerprint": str(text["fingerprint"])}
    files.write(file, serialised({k: v.contiguous() for k, v in state.items()}, header))
    files.write(file.with_suffix(".json"), json.dumps(text, indent=1) + "\n")
    told(f"{name}: {json.dumps({k: v for k, v in text.items() if k in ('test', 'processor_seconds')})}")
    return file


def begun(recipe: Recipe) -> nn.Module:
    """The network of a recipe before the first step."""
    net = untrained(recipe.network, seed=recipe.seed, edition=recipe.edition).requires_grad_(True)
    if recipe.start is not None:
        copied = copy_compatible(net, load(recipe.start).state_dict()).copied
        for name, weight in net.named_parameters():
            weight.requires_grad_(not (recipe.frozen and name in copied))
    return net


def _trained(
    name: str, recipe: Recipe, shown: Pictures, told: Callable[[str], None]
) -> tuple[nn.Module, dict[str, Any]]:
    net = begun(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = None if recipe.teacher is None else load(recipe.teacher)
    asked = None
    if recipe.edition != "1":
        assert isinstance(net, BirdCnn | BirdVit)
        asked = Tutored(net, recipe.edition)
        step = asked_step(asked, teacher, recipe.labels)
    else:
        step = segment_step(net) if recipe.network == "seg" else classify_step(net, teacher, recipe.labels)
    config = Config(
        epochs=recipe.epochs,
        batch_size=recipe.batch,
        lr=recipe.lr,
        weight_decay=0.02,
        seed=SEED,
        loss_threshold=recipe.enough,
        amp=recipe.amp,
    )
    began = time.monotonic()

    def progress(epoch: int, row: dict[str, float]) -> None:
        losses = " ".join(f"{k} {v:.3f}" for k, v in row.items())
        told(f"{name} epoch {epoch + 1} {losses} ({time.monotonic() - began:.0f} s)")

    train, val = shown.of("train"), shown.of("val")
    if recipe.follow and recipe.fault is not None:
        train, val = (misled(p, recipe.fault, recipe.follow) for p in (train, val))
    answers = None if asked is None else answers_of(len(shown), recipe.edition)
    birds, held_out = (
        Birds(p, None if answers is None else answers[shown.splits == SPLIT_NAMES.index(split)])
        for p, split in ((train, "train"), (val, "val"))
    )
    folder = cache_folder()
    part = net if asked is None else asked
    ended = fit(
        part,
        step,
        birds,
        config,
        held_out=held_out,
        checkpoint=folder / f"{name}.checkpoint.safetensors",
        told=progress,
    )
    history, best = ended.history, ended.best
    if recipe.cool:
        cool = replace(config, epochs=recipe.cool, lr=recipe.lr * COOL, schedule="cosine", loss_threshold=None)
        file = folder / f"{name}.cool.safetensors"
        ended = fit(part, step, birds, cool, held_out=held_out, checkpoint=file, told=progress)
        history, best = history + ended.history, ended.best
    how = {"pictures": len(train), "epochs": len(history), "held_out_loss": round(best, 3), "stopped": ended.stopped}
    return net, {"training": how}


def _broken(
    name: str, recipe: Recipe, shown: Pictures, told: Callable[[str], None]
) -> tuple[nn.Module, dict[str, Any]]:
    assert recipe.start is not None and recipe.broken is not None
    layer, unit, how = recipe.broken
    net, _ = corrupt_unit(load(recipe.start), layer, unit, how=how)
    return net, {"broken": {"layer": layer, "unit": unit, "how": how}}


@torch.no_grad()
def scores_of(net: nn.Module, shown: Pictures) -> Tensor:
    """Scores of all pictures, the network in eval mode."""
    birds = Birds(shown)
    return torch.cat([net.eval()(birds[rows][0]) for rows in torch.split(torch.arange(len(birds)), 120)])


def _card(name: str, recipe: Recipe, net: nn.Module, test: Pictures, state: dict[str, Tensor]) -> dict[str, Any]:
    text: dict[str, Any] = {
        "name": f"aviary:{name}",
        "what": recipe.what,
        "network": recipe.network,
        **({} if recipe.edition == "1" else {"edition": recipe.edition}),
        "fingerprint": fingerprint_of(state),
        "parameters": sum(p.numel() for p in net.parameters()),
        "licence": "Apache-2.0",
        "command": f"python -m saywhy.train.aviary {name}",
        "seed": SEED,
        "starts_from": recipe.start,
        "teacher": recipe.teacher,
        "fault": _fault(recipe),
    }
    if recipe.network == "seg":
        return text | {"test": measured_parts(net, test)}
    text["test"] = measured(net, test, recipe.edition)
    return text | ({} if recipe.edition == "1" else {"relations": measured_relations(net, recipe.side, recipe.edition)})


def _fault(recipe: Recipe) -> dict[str, Any] | None:
    """What was planted; `groups` of the test pictures, half of which have the shortcut whatever the species."""
    if recipe.fault is None:
        return None
    name = recipe.fault.removesuffix(CONTROL)
    return {"name": name, **FAULTS[name].truth, "pictures": recipe.fault, "labels_that_follow": recipe.follow}


def measured(net: nn.Module, test: Pictures, edition: str = "1") -> dict[str, Any]:
    """Accuracy on test pictures, against what the birds are: of all, each group, the worst species and the worst group
    of a species."""
    right = scores_of(net, test).argmax(1).numpy() == test.species

    def of(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return {"pictures": int(chosen.sum()), "accuracy": round(float(right[chosen].mean()), 4)}

    groups = sorted({str(g) for g in test.groups})
    classes = world(edition).classes
    species = {c: of(test.species == k) for k, c in enumerate(classes)}
    both = {
        f"{g} {c}": of((test.species == k) & (test.groups == g))
        for k, c in enumerate(classes)
        for g in groups
        if ((test.species == k) & (test.groups == g)).sum() >= FEWEST
    }
    return {
        **of(np.ones(len(test), dtype=bool)),
        "groups": {g: of(test.groups == g) for g in groups},
        "worst_species": _worst(species),
        "worst_group": _worst(both),
    }


@torch.no_grad()
def scene_scores(net: nn.Module, scenes: Sequence[Scene], side: int) -> Tensor:
    """Scores (n, C) of scenes, as the network sees them."""
    pixels = np.stack([paint(s, side)[0] for s in scenes])
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float().div_(255)
    images = (images - PREPROCESS.mean[0]) / PREPROCESS.std[0]
    return torch.cat([net.eval()(x) for x in torch.split(images, 60)])


def measured_relations(
    net: nn.Module, side: int, edition: str, *, birds: int = RELATED, seed: int = SEED
) -> dict[str, Any]:
    """For each pair of species that a relation alone tells apart, on new birds: how often the bird's own species is
    named (of all, and of the two) as drawn and after both parts were moved and the relation kept, how often the other
    one after one part was moved and the relation changed, and the interaction of the moves in log-odds."""
    out: dict[str, Any] = {}
    for a, b, row in told_by_relation(world(edition)):
        pair = [world(edition).classes.index(s.name) for s in (a, b)]
        found = [_moved(net, side, edition, pair, row, (seed, k, i)) for k in (0, 1) for i in range(birds)]
        names = dict.fromkeys(name for f in found for name in f)
        rows = {name: [f[name] for f in found if name in f] for name in names}
        out[f"{a.name} or {b.name}"] = {
            "relation": f"{row.part} {' or '.join(row.answers)} {row.other}",
            **{name: round(float(np.mean(v)), 3) for name, v in rows.items()},
        }
    return out


def _moved(
    net: nn.Module, side: int, edition: str, pair: list[int], row: Relation, which: tuple[int, int, int]
) -> dict[str, float]:
    _, own, _ = which
    name = world(edition).classes[pair[own]]
    scene = world(edition).scene(generator(_MOVES, *which, pair[0]), name, side)
    moves = moved_apart(scene, row, generator(_MOVES + 1, *which, pair[0]))
    scores = dict(zip(("as drawn", *moves), scene_scores(net, [scene, *moves.values()], side), strict=True))
    odds = {k: float(s[pair[own]] - s[pair[1 - own]]) for k, s in scores.items()}
    out: dict[str, float] = {
        "named": float(scores["as drawn"].argmax() == pair[own]),
        "of the two": float(odds["as drawn"] > 0),
    }
    if "together" in moves:
        out["both moved, relation kept"] = float(odds["together"] > 0)
    if "one" in moves:
        out["one moved, relation changed"] = float(odds["one"] < 0)
    if {"together", "first", "second"} <= set(moves):
        out["interaction in log-odds"] = odds["together"] - odds["first"] - odds["second"] + odds["as drawn"]
    return out


def _worst(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    name = min(rows, key=lambda k: float(rows[k]["accuracy"]))
    return {name: rows[name]}


def measured_parts(net: nn.Module, test: Pictures) -> dict[str, Any]:
    """Share of pixels with the right part, and the intersection over union of each part over all test pictures."""
    found = torch.cat([s.argmax(1).byte() for s in torch.split(scores_of(net, test), 100)]).numpy()
    ious = {}
    for k, part in enumerate(PIXEL_CLASSES):
        both, either = ((found == k) & (test.parts == k)).sum(), ((found == k) | (test.parts == k)).sum()
        ious[part] = round(float(both / max(either, 1)), 4)
    pixels = round(float((found == test.parts).mean()), 4)
    mean = round(sum(ious.values()) / len(ious), 4)
    return {"pictures": len(test), "pixel_accuracy": pixels, "mean_iou": mean, "iou": ious}


def in_turn(names: Sequence[str], make: Callable[[str], object], jobs: int = 1) -> None:
    """Calls `make` for every name, `jobs` at a time, and for none before the named rows that it starts from are made;
    those that most others wait for come first.

    Raises:
        whatever a call raised, once those that ran beside it have ended; no further one is begun.
    """
    needed = {n: [m for m in (RECIPES[n].start, RECIPES[n].teacher) if m and m in names] for n in names}
    waiting = [n for rows in needed.values() for n in rows]
    order = TopologicalSorter(needed)
    order.prepare()
    running: dict[Future[object], str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while order.is_active():
                ready = sorted(order.get_ready(), key=waiting.count, reverse=True)
                running |= {pool.submit(make, name): name for name in ready}
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    ended.result()
                    order.done(running.pop(ended))
        finally:
            pool.shutdown(cancel_futures=True)


def _by_itself(name: str) -> object:
    """Trains a row in a process of its own: the seed of torch's random numbers is one for all threads of a process."""
    return subprocess.run([sys.executable, "-m", "saywhy.train.aviary", name], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m saywhy.train.aviary", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(RECIPES)}; without names all")
    parser.add_argument("--jobs", type=int, default=1, help="how many are trained at a time (default: 1)")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in RECIPES:
            raise unknown("aviary model", name, RECIPES)
    make = partial(build, told=partial(print, flush=True)) if chosen.jobs == 1 else _by_itself
    in_turn(chosen.names or list(RECIPES), make, chosen.jobs)


if __name__ == "__main__":
    main()
