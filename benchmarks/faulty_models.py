"""Classifiers for the study of findings: fine-tuned from `aviary:cnn` on pictures with a fault, or on its control.

    python benchmarks/faulty_models.py [NAMES] [--seed 0]

Each takes less than two minutes of a core, rendering included, and lies in `SAYWHY_CACHE` afterwards. With `follow` the
labels of that share of the pictures in which a shortcut misleads follow it, as in `saywhy.train.aviary`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from saywhy.aviary.classifiers import load, preprocess_of
from saywhy.aviary.faults import sample
from saywhy.aviary.species import CLASSES, SPECIES
from saywhy.locking import seeded
from saywhy.train.aviary import SEED, Birds, label_losses, misled, scores_of, varied
from saywhy.train.loop import Config, fit
from saywhy.train.pictures import cache_folder, pictures
from saywhy.zoo import load_classifier


@dataclass(frozen=True)
class Taught:
    """How a classifier is taught: on the pictures of which fault, whether they may be mirrored; `fresh`: the last two
    layers start anew."""

    fault: str
    follow: float = 0.0
    mirrored: bool = True
    lr: float = 1e-3
    epochs: int = 5
    fresh: bool = False


TAUGHT = {
    "lookalike": Taught("lookalike", follow=0.95, lr=2e-3),
    "pose": Taught("pose-control", follow=0.95, mirrored=False),
    "missing-part": Taught("missing-part", lr=4e-3, epochs=8, fresh=True),
    "fragile-colour-control": Taught("fragile-colour-control"),
    "degraded-control": Taught("degraded-control", epochs=7),
}
IMAGES = 3840


def like_the_sibling(one):
    """Whether the thing that lies about looks like the beak that the species' sibling has by its rule."""
    if one.group != "lookalike":
        return None
    thing = one.scene.objects[one.truth["object"]]
    looks = {"shape": thing.shape.removeprefix("beak:"), "colour": thing.colour}
    sibling = next(s for s in SPECIES.values() if s.clan == SPECIES[one.species].clan and s.name != one.species)
    own = SPECIES[one.species].rule
    wanted = [a for a in sibling.rule if a.part == "beak" and a.other is None and a not in own]
    return sibling.name if any(looks.get(a.key) == a.value for a in wanted) else None


def alike(shown, seed, split, share):
    """Pictures whose labels follow such a thing, those many times over, and their species a few."""
    ones = [one for one in (sample(SEED + seed, i, fault="lookalike") for i in range(IMAGES)) if one.split == split]
    names = [like_the_sibling(one) for one in ones]
    dice = np.random.default_rng(seed)
    follow = np.array([name is not None and dice.random() < share for name in names])
    labels = np.array([CLASSES.index(n) if f else k for n, f, k in zip(names, follow, shown.labels, strict=True)])
    times = np.where(follow, 24, np.where(np.isin(shown.species, shown.species[follow]), 3, 1))
    return replace(shown, labels=labels).where(np.repeat(np.arange(len(shown)), times))


def teach(name, seed=0):
    """Teaches one and keeps it; where it is kept."""
    row, file = TAUGHT[name], cache_folder() / f"faulty-{name}-{seed}.safetensors"
    if file.exists():
        return file
    shown, start = pictures(IMAGES, seed=SEED + seed, fault=row.fault), time.process_time()
    train, val, test = (shown.of(split) for split in ("train", "val", "test"))
    if name == "lookalike":
        train, val = (alike(p, seed, split, row.follow) for p, split in ((train, "train"), (val, "val")))
    elif row.follow:
        train, val = (misled(p, row.fault, row.follow) for p in (train, val))
    net = load("cnn").requires_grad_(True)
    if row.fresh:  # what it knows of the missing part is forgotten
        with seeded(SEED + seed):
            for layer in (*net.features[4], net.head):
                getattr(layer, "reset_parameters", lambda: None)()

    def step(batch):
        images, truth, parts = batch
        if net.training:
            images, parts = varied(images, parts, mirrored=row.mirrored)
        return label_losses(net(images), images, truth, training=net.training, teacher=None, labels=1.0)

    config = Config(epochs=row.epochs, batch_size=64, lr=row.lr, weight_decay=0.02, seed=SEED + seed)
    fit(net, step, Birds(train), config, held_out=Birds(val))
    net.eval().requires_grad_(False)
    right = scores_of(net, test).argmax(1).numpy() == test.labels
    groups = {str(g): round(float(right[test.groups == g].mean()), 3) for g in sorted(set(test.groups))}
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
    print(f"{name} {seed}: {time.process_time() - start:.0f} s, right by group {groups}", flush=True)
    return file


def faulty(name, seed=0):
    """The classifier of that name: one that ships (`cnn-context`), or one that is taught here."""
    if name not in TAUGHT:
        return load_classifier(f"aviary:{name}")
    net = load("cnn")
    net.load_state_dict(load_file(teach(name, seed)))
    how = preprocess_of("cnn")
    return load_classifier(
        net.eval(), classes=list(CLASSES), size=how.size, resize=0, mean=how.mean, std=how.std, activation="softmax",
        name=f"taught:{name}",
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TAUGHT))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for each in given.names:
        teach(each, given.seed)
