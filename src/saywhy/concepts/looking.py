"""One picture as concepts are looked for in it, and what the classifier says when the activations are others.

Maps (K, h, w) of the concepts' layer, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.extraction import attended
from saywhy.layers import Point
from saywhy.seen import attend, tapped
from saywhy.tap import Tap


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A picture (3, H, W) that the classifier was asked about: its probabilities (C,), the class it predicts, the maps
    of the concepts' layer, and the cells (h, w) where that class is seen; all but the tap on the CPU."""

    picture: Tensor
    tap: Tap
    point: Point
    probabilities: Tensor
    predicted: int
    maps: Tensor
    mask: Tensor

    @property
    def vectors(self) -> Tensor:
        """The activations (h w, K), a row a cell."""
        return self.maps.flatten(1).T

    @property
    def layers(self) -> dict[str, Tensor]:
        """The maps (., ., .) of all layers that were looked at, by name: those of the concepts first."""
        names = dict.fromkeys([self.point.path, *self.tap.points])
        return {name: self.tap.maps(name)[0].cpu() for name in names}

    def answers(self, maps: Tensor) -> Tensor:
        """Probabilities (m, C) with other maps (m, K, h, w) in the place of the picture's own; m tail passes."""
        if not len(maps):
            return self.probabilities[None][:0]
        rows = torch.zeros(len(maps), dtype=torch.long)
        size = self.tap.clf.rows
        parts = [
            self.tap.replay(maps[i : i + size].to(self.tap.logits), self.point.path, rows[i : i + size])
            for i in range(0, len(maps), size)
        ]
        return self.tap.clf.to_probabilities(torch.cat(parts)).detach().cpu().double()


def bank_point(clf: Classifier) -> Point:
    """The layer of the concepts: a finer one than the classifier's where it has one, because parts are small."""
    return clf.fine_point() or clf.point


def looked_at(clf: Classifier, item: Item, seed: int = 0) -> Glimpse:
    """Asks the classifier about one picture.

    Raises:
        InputError: it cannot be read.
    """
    images, _ = clf.prepare([clf.read(item.path)])
    tap, point = tapped(clf, images), bank_point(clf)
    predicted = int(tap.logits.argmax())
    raw, maps = attend(tap, predicted, seed=seed).raw.cpu(), tap.maps(point.path)[0].cpu()
    mask = attended(raw, (int(maps.shape[1]), int(maps.shape[2])))
    probabilities = clf.to_probabilities(tap.logits)[0].detach().cpu().double()
    return Glimpse(images[0], tap, point, probabilities, predicted, maps, mask)
