"""Teaches a branch: frozen activations of several layers on one side, a text space's vectors on the other.

N pictures, V views of each, Z channels of all layers, d dimensions of the text space, T phrases, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.branch.hearing import Heard, patches_of
from saywhy.branch.imitation import Imitator, imitate_step
from saywhy.branch.levels import Level, fine, pooled, readings, shared_points, tapped_for
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError, unknown
from saywhy.intervene import Masked, content_seed, masked_answers
from saywhy.locking import seeded
from saywhy.spaces import TextSpace
from saywhy.train.loop import Config, fit
from saywhy.train.steps import Kept, Steps, drawn, mark

CROPS, SIDES = 3, (0.5, 1.0)  # beside the whole picture and its mirror; their sides as shares of the picture's
CELLS = 1024  # of a layer that are kept
PICTURES = 5000  # at most; of more a part is drawn
SAVED = 20  # pictures a step
HELD_OUT = 0.15
MASKED = 60  # pictures whose patches are hidden from the text space
FILL, BATCH = "blur", 32
TENTHS = 10
TRUE = 0.5  # probability from which on a phrase is taken to be true of a picture

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Teaching:
    """How a branch learns: how much the log-odds of the phrases count beside the vectors themselves."""

    summary: str
    likeness: float = 0.001
    config: Config = field(default_factory=lambda: Config(epochs=60, batch_size=64, lr=3e-3, weight_decay=0.05))


TEACHINGS = {
    "likeness": Teaching("the text space's vectors, and how like the phrases they are"),
    "vectors": Teaching("the text space's vectors alone", likeness=0.0),
}


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of one classifier: its network, the layers it shares, the text space it imitates, by name and
    fingerprint, its phrases with their vectors (T, d), and the share of each layer in a region (L,).

    `own_features`: what it imitates was computed from the classifier's own features.
    """

    net: Imitator
    levels: tuple[Level, ...]
    space: str
    space_fingerprint: str
    scale: float
    bias: float
    own_features: bool
    phrases: tuple[str, ...]
    texts: Tensor
    shares: Tensor
    fingerprint: str
    card: dict[str, Any] = field(default_factory=dict)

    def hear(self, read: Sequence[Tensor], texts: Tensor) -> Heard:
        """What it says of one picture's readings (K, h, w) and phrases (T, d)."""
        return Heard(self.net, self.levels, read, texts, self.scale, self.bias)


@dataclass(frozen=True, eq=False)
class Views:
    """What was read of the pictures: inputs (M, Z), the teacher's vectors (M, d), the picture of each (M,), and cells
    of every layer."""

    z: Tensor
    seen: Tensor
    owners: Tensor
    cells: list[Tensor]
    failures: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.z[rows], self.seen[rows]

    def where(self, chosen: Tensor) -> Views:
        """Some of the views (M,)."""
        return replace(self, z=self.z[chosen], seen=self.seen[chosen], owners=self.owners[chosen])


def teach(
    clf: Classifier, items: Sequence[Item], space: TextSpace, phrases: Sequence[str], way: str = "likeness", *,
    checkpoint: Path | None = None, seed: int = 0, tell: Tell = lambda step: None,
) -> tuple[Branch, tuple[tuple[str, str], ...]]:  # fmt: skip
    """A branch of a classifier, and the pictures that could not be read. Same seed, same branch.

    With `checkpoint` an interrupted run goes on where it was.

    Raises:
        UsageError: a black box, an unknown way, no phrase, or one that the text space does not know.
        InputError: none of the pictures can be read.
    """
    if way not in TEACHINGS:
        raise unknown("way to teach a branch", way, TEACHINGS)
    how, said = TEACHINGS[way], tuple(dict.fromkeys(p.strip() for p in phrases))
    if not said:
        raise UsageError(f"the text space {space.name!r} brings no phrases of its own; say which: --phrases FILE")
    texts, points = space.encode_texts(said), shared_points(clf)
    layers = tuple(Level(p.path, p.grid.kind == "tokens", torch.zeros(1, p.channels)) for p in points)
    chosen = drawn(items, PICTURES, seed)
    run = {"classifier": clf.fingerprint, "space": space.fingerprint, "phrases": mark(said), "way": way, "seed": seed}
    steps = Steps(checkpoint, run | {"pictures": mark(item.path for item in chosen)})
    views = look_at(clf, chosen, space, layers, seed, steps, tell)
    levels = tuple(replace(level, cells=cells) for level, cells in zip(layers, views.cells, strict=True))
    train, held = _split(views, seed)
    with seeded(seed):
        net = Imitator(views.z.shape[1], views.seen.shape[1])
    net.standardise(train.z)
    with torch.inference_mode(False), torch.enable_grad():
        fit(
            net, imitate_step(net, texts, space.scale, how.likeness), train, replace(how.config, seed=seed),
            held_out=held if len(held) else None, checkpoint=checkpoint,
            told=lambda n, row: tell(f"epoch {n + 1}: cosine {row['cosine']:.3f}"),
        )  # fmt: skip
    net.eval().requires_grad_(False)
    branch = Branch(
        net, levels, space.name, space.fingerprint, space.scale, space.bias, space.own_features, said, texts,
        torch.ones(len(levels)) / len(levels), clf.fingerprint,
    )  # fmt: skip
    pictures = torch.cat([_image(clf, chosen[n]) for n in torch.unique(views.owners)[:MASKED].tolist()])
    branch = replace(branch, shares=learned_shares(branch, clf, space, pictures, seed, tell, steps))
    return replace(branch, card=_card(branch, clf, space, way, views, train, held)), views.failures


def look_at(
    clf: Classifier,
    items: Sequence[Item],
    space: TextSpace,
    layers: Sequence[Level],
    seed: int,
    steps: Steps,
    tell: Tell,
) -> Views:
    """What both sides say of every picture, of its mirror and of crops; memory holds no maps but some cells."""
    found = steps.each("looking", len(items), SAVED, partial(_look_at_some, clf, items, space, layers, seed, tell))
    failures = tuple((path, why) for _, told in found for path, why in told["failures"])
    read = [tensors for tensors, _ in found if tensors]
    if not read:
        raise InputError(f"none of {len(items)} pictures can be read; the first: {failures[0][1] if failures else '-'}")
    z, seen = (torch.cat([tensors[name] for tensors in read]) for name in ("z", "seen"))
    cells = [torch.cat([tensors[f"cells.{n}"] for tensors in read]) for n in range(len(layers))]
    return Views(z, seen, torch.tensor([n for _, told in found for n in told["owners"]]), cells, failures)


def _look_at_some(
    clf: Classifier,
    items: Sequence[Item],
    space: TextSpace,
    layers: Sequence[Level],
    seed: int,
    tell: Tell,
    rows: range,
) -> Kept:
    """What both sides say of some of the pictures; nothing where none of them can be read."""
    z, seen, owners, failures = list[Tensor](), list[Tensor](), list[int](), list[tuple[str, str]]()
    cells: list[list[Tensor]] = [[] for _ in layers]
    each = max(1, CELLS // max(1, len(items)))
    for n in rows:
        tell(f"looking at pictures: {n + 1} of {len(items)}")
        try:
            image = _image(clf, items[n])
        except InputError as e:
            failures.append((str(items[n].path), str(e)))
            continue
        random = torch.Generator().manual_seed(content_seed(image[0], seed))
        views = around(image, random)
        read = readings(tapped_for(clf, views, layers), layers)
        z.append(pooled(read))
        seen.append(space.encode_images(views))
        owners += [n] * len(views)
        for kept, maps in zip(cells, read, strict=True):
            every = maps[:1].flatten(2)[0].T
            kept.append(every[torch.randint(len(every), (each,), generator=random)])
    told = {"owners": owners, "failures": failures}
    if not z:
        return {}, told
    return {"z": torch.cat(z), "seen": torch.cat(seen)} | {
        f"cells.{n}": torch.cat(c) for n, c in enumerate(cells)
    }, told


def _image(clf: Classifier, item: Item) -> Tensor:
    """A picture as the classifier sees it (1, 3, H, W)."""
    return clf.prepare([clf.read(item.path)])[0]


def around(images: Tensor, random: torch.Generator) -> Tensor:
    """A picture (1, 3, H, W), its mirror, and crops of it at its own size."""
    H, W = images.shape[2:]
    out = [images, images.flip(3)]
    for _ in range(CROPS):
        side, y, x = torch.rand(3, generator=random).tolist()
        side = SIDES[0] + side * (SIDES[1] - SIDES[0])
        h, w = max(1, round(side * H)), max(1, round(side * W))
        top, left = round(y * (H - h)), round(x * (W - w))
        out.append(fine(images[:, :, top : top + h, left : left + w], (H, W)))
    return torch.cat(out)


def _split(views: Views, seed: int) -> tuple[Views, Views]:
    """Views to train on, and those of pictures that are held out: none of fewer than seven."""
    every = torch.unique(views.owners)
    order = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))]
    held = torch.isin(views.owners, order[: round(HELD_OUT * len(every)) if len(every) >= 7 else 0])
    return views.where(~held), views.where(held)


# --------------------------------------------------------------------------------------------------
# Layers in one.


def learned_shares(
    branch: Branch, clf: Classifier, space: TextSpace, pictures: Tensor, seed: int, tell: Tell,
    steps: Steps | None = None,
) -> Tensor:  # fmt: skip
    """The share of each layer in a region (L,), in tenths. Nobody marks anything: of phrases that the text space finds
    true the patches are hidden one at a time, and the shares are those whose first patch costs it the most, measured by
    what the patch that costs most costs. Of equally good ones the most even.

    The pictures' own patches are what regions are made of; where no phrase is true, the layers count alike.
    """
    hide = partial(_hide_each, branch, clf, space, pictures, seed, tell)
    found = (steps or Steps()).each("hiding", len(pictures), SAVED, hide)
    told = [(tensors[f"regions.{n}"], tensors[f"costs.{n}"]) for tensors, known in found for n in known["asked"]]
    if not told:
        return branch.shares
    L = len(branch.levels)
    grid = [torch.tensor(g) / TENTHS for g in product(range(TENTHS + 1), repeat=L) if sum(g) == TENTHS]
    return max(grid, key=lambda shares: (round(_found(shares, told), 6), -float(shares.square().sum())))


@torch.no_grad()
def _hide_each(
    branch: Branch, clf: Classifier, space: TextSpace, pictures: Tensor, seed: int, tell: Tell, rows: range
) -> Kept:
    """Of some pictures of which a phrase is true: each layer's regions on the patches (L, T, P), and what hiding each
    patch costs each phrase (T, P), for its size."""
    told: dict[str, Tensor] = {}
    asked = []
    for n in rows:
        tell(f"hiding patches from the text space: {n + 1} of {len(pictures)}")
        picture = pictures[n]
        odds = space.log_odds(space.encode_images(picture[None]), branch.texts)[0]
        true = torch.nonzero(odds > 0)[:, 0].tolist()
        patches = patches_of(picture)
        if not true or len(patches) < 2:
            continue
        without = space.log_odds(_without_each(picture, patches, space, seed), branch.texts[true])
        read = readings(tapped_for(clf, picture[None], branch.levels), branch.levels)
        heard = branch.hear([maps[0] for maps in read], branch.texts[true])
        told[f"regions.{n}"] = heard.on_patches(patches)
        told[f"costs.{n}"] = (odds[true] - without).T / patches.sum(dim=(1, 2))
        asked.append(n)
    return told, {"asked": asked}


def _without_each(picture: Tensor, patches: Tensor, space: TextSpace, seed: int) -> Tensor:
    """The text space's vectors (P, d) of a picture (3, H, W) without each of its patches."""

    def kept(start: int, stop: int) -> Tensor:
        return ~patches[start:stop]

    return masked_answers([Masked(picture[None], len(patches), kept, FILL, seed)], space.encode_images, size=BATCH)


def _found(shares: Tensor, told: Sequence[tuple[Tensor, Tensor]]) -> float:
    """How much of what the most costly patch costs (T, P) is found by the first patch of the regions (L, T, P)."""
    rows = []
    for regions, costs in told:
        first = torch.einsum("l,ltp->tp", shares, regions).argmax(dim=1)
        most = costs.amax(dim=1)
        rows.append((costs.gather(1, first[:, None])[:, 0] / most)[most > 0])
    found = torch.cat(rows)
    return float(found.clamp_min(-1).mean()) if len(found) else 0.0


# --------------------------------------------------------------------------------------------------
# The card.


@torch.no_grad()
def _card(
    branch: Branch, clf: Classifier, space: TextSpace, way: str, views: Views, train: Views, held: Views
) -> dict[str, Any]:
    judged = held if len(held) else train
    own = F.normalize(branch.net(judged.z), dim=1)
    usual = F.normalize(train.seen.mean(dim=0), dim=0)
    agree = np.corrcoef((own @ branch.texts.T).flatten(), (judged.seen @ branch.texts.T).flatten())[0, 1]
    return {
        "kind": "branch",
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "way": way,
        "space": space.name,
        "speaks_of": space.speaks_of,
        "teacher_from_own_features": space.own_features,
        "phrases": len(branch.phrases),
        "layers": {level.path: round(float(s), 3) for level, s in zip(branch.levels, branch.shares, strict=True)},
        "pictures": len(torch.unique(views.owners)),
        "views": len(views),
        "unreadable": len(views.failures),
        "held_out_views": len(held),
        "cosine": round(float((own * judged.seen).sum(dim=1).mean()), 4),
        "cosine_of_the_mean": round(float((judged.seen @ usual).mean()), 4),
        "phrases_correlate": round(float(agree), 4),
        "labels": "none: what the text space says",
    }
