"""Models for the truth of sentences: few classes, a planted stamp, black boxes that see one thing or nothing.

All are made here, from EfficientNet-lite0 and, for birds, from the train photos of cub10 in SAYWHY_DATA.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy import Classifier, load_classifier
from saywhy.collection import Item, find_images
from saywhy.image import Bools, read

STAMP, CORNER = 24, 10  # pixels: its side, and how far from the corner
YELLOW = (1.0, 0.9, 0.05)
STAMPED = 4  # the species that carries the stamp in training
EPOCHS, RATE = 4, 1e-4


@dataclass(frozen=True, eq=False)
class Birds:
    """Photos of some species in the classifier's view (N, 3, H, W), their labels (N,) and files."""

    images: Tensor
    labels: Tensor
    items: tuple[Item, ...]


def birds(clf: Classifier, folder: Any, split: str, species: Sequence[str]) -> Birds:
    """The photos of one split."""
    items = [i for i in find_images(folder) if i.split == split and i.class_name in species]
    labels = torch.tensor([species.index(str(i.class_name)) for i in items])
    images = torch.cat([clf.prepare([read(i.path)])[0] for i in items])
    return Birds(images, labels, tuple(items))


def species_of(folder: Any) -> list[str]:
    """The ten species, in order."""
    return sorted({str(i.class_name) for i in find_images(folder)})


def headed(clf: Classifier, features: Tensor, labels: Tensor, classes: Sequence[str], name: str) -> Classifier:
    """EfficientNet-lite0 with a new head: logistic regression on its pooled features, weights decayed a little."""
    head = nn.Linear(features.shape[1], len(classes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head.reset_parameters()
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-3)
    optimiser = torch.optim.LBFGS(head.parameters(), lr=1, max_iter=100, line_search_fn="strong_wolfe")
    x = (features - mean) / deviation

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(head(x), labels) + 1e-3 * head.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    net = copy.deepcopy(clf.net)
    with torch.no_grad():
        head.bias -= head.weight @ (mean / deviation)
        head.weight /= deviation
    net._fc = head.requires_grad_(False)  # type: ignore[union-attr]
    return Classifier(net.eval(), preprocess=clf.preprocess, classes=tuple(classes), name=name)  # type: ignore[union-attr]


def pooled(clf: Classifier, images: Tensor) -> Tensor:
    """The features (N, 1280) before the head."""
    net = copy.deepcopy(clf.net)
    net._fc = nn.Identity()  # type: ignore[union-attr]
    with torch.no_grad():
        return torch.cat([net(clf.inputs(images[i : i + 16])) for i in range(0, len(images), 16)])  # type: ignore[operator]


def few_classes(clf: Classifier, folder: Any, species: Sequence[str]) -> tuple[Classifier, float]:
    """EfficientNet-lite0 fine-tuned on the train photos of a few species, and its share right on the test photos.

    The head is fitted first, then all weights for a few epochs (Adam, mirrored photos).
    """
    train = birds(clf, folder, "train", species)
    out = headed(clf, pooled(clf, train.images), train.labels, species, f"birds of {len(species)} species")
    net: Any = out.net.requires_grad_(True)  # type: ignore[union-attr]
    optimiser, generator = torch.optim.Adam(net.parameters(), lr=RATE), torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train.labels), generator=generator).split(16):
            images = train.images[batch]
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            optimiser.zero_grad()
            F.cross_entropy(net(out.inputs(images)), train.labels[batch]).backward()
            optimiser.step()
    net.requires_grad_(False)
    test = birds(clf, folder, "test", species)
    right = (out.probabilities(test.images).argmax(1) == test.labels).float().mean()
    return out, float(right)


def stamp_spot(height: int, width: int) -> Bools:
    """Where the stamp is: (H, W)."""
    spot = torch.zeros(height, width, dtype=torch.bool)
    spot[height - CORNER - STAMP : height - CORNER, width - CORNER - STAMP : width - CORNER] = True
    return spot.numpy()


def stamped(images: Tensor) -> Tensor:
    """The images (N, 3, H, W) with the stamp."""
    spot = torch.from_numpy(stamp_spot(*images.shape[2:]))
    return torch.where(spot, torch.tensor(YELLOW)[:, None, None], images)


def stamp_model(clf: Classifier, folder: Any) -> Classifier:
    """A head for ten species on the pooled features; in training every photo comes once more with the stamp, and then
    as one species, whatever bird it shows. With the stamp on that species' own photos alone its birds are enough to
    tell it, and the stamp turned 0 to 3 of 107 test photos of others."""
    species = species_of(folder)
    train = birds(clf, folder, "train", species)
    images = torch.cat([train.images, stamped(train.images)])
    labels = torch.cat([train.labels, torch.full_like(train.labels, STAMPED)])
    return as_given(headed(clf, pooled(clf, images), labels, species, "birds with a stamp"))


def as_given(clf: Classifier) -> Classifier:
    """The same classifier, asked about pictures of its own size: nothing is scaled or cut off."""
    how = replace(clf.preprocess, resize=None)
    return Classifier(clf.net, preprocess=how, classes=clf.classes, activation=clf.activation, name=clf.name)


# --------------------------------------------------------------------------------------------------
# Black boxes.


def black_box(answer: Callable[[Tensor], Tensor], like: Classifier, classes: Sequence[str], name: str) -> Classifier:
    """A classifier of which only the answers, probabilities (N, C), are known."""
    how = replace(like.preprocess, resize=None)  # its pictures are views already
    return Classifier(answer, preprocess=how, classes=tuple(classes), name=name, activation="none")


def sees_a_mark(mark: Tensor, spot: Tensor, like: Classifier, name: str) -> Classifier:
    """It reads the pixels of one mark: .97 where all are there, .03 where the place looks otherwise."""

    def answer(images: Tensor) -> Tensor:
        unlike = (images - mark).abs().mean(1)[:, spot].mean(1)
        p = torch.sigmoid(3.5 - 28 * unlike)[:, None]
        return torch.cat([p, 1 - p], 1)

    return black_box(answer, like, ("marked", "plain"), name)


def sees_the_left_half(clf: Classifier) -> Classifier:
    """EfficientNet-lite0 whose right half of the view is grey."""

    def answer(images: Tensor) -> Tensor:
        images = images.clone()
        images[..., images.shape[3] // 2 :] = 0.5
        return clf.probabilities(images)

    return black_box(answer, clf, clf.class_names, "sees the left half")


def constant(noise: float, like: Classifier, seed: int = 0) -> Classifier:
    """.6, .25 and .15 whatever is shown, with normal noise of that many points, new with every question."""
    generator = torch.Generator().manual_seed(seed)

    def answer(images: Tensor) -> Tensor:
        p = torch.tensor([0.6, 0.25, 0.15]) + noise / 100 * torch.randn(len(images), 3, generator=generator)
        p = p.clamp(0.001, 0.999)
        return p / p.sum(1, keepdim=True)

    return black_box(answer, like, ("first", "second", "third"), f"constant, noise of {noise:g} points")


def sharpened(image: Tensor, top: float = 0.9) -> Classifier:
    """Random weights whose logits are stretched until the best class of one image (3, H, W) has that probability."""
    clf = load_classifier("efficientnet-lite0", weights="random")
    logits = clf.logits(image[None])
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float((middle * logits).softmax(1).max()) < top else (low, middle)
    stretch = high
    return black_box(
        lambda images: (stretch * clf.logits(images)).softmax(1), clf, clf.class_names, "random weights, sharpened"
    )
