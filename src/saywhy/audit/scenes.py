"""Pictures as the classifier sees them, each with its object, kept while they are likely to be asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from saywhy.audit.objects import emptied, object_mask
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.evaluate.truth import truth_of
from saywhy.image import read
from saywhy.language.appearance import appearance, look

KEPT = 64  # pictures in memory: as donors of surroundings the same ones come back


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (3, H, W) in [0, 1] and the mask (H, W) of its object."""

    image: Tensor
    mask: Tensor

    @cached_property
    def surroundings(self) -> Tensor:
        """The picture (3, H, W) without its object."""
        return emptied(self.image, self.mask)

    @cached_property
    def colour(self) -> str:
        """What the surroundings look like in a word or two: "blue", "grey-brown", "multicoloured"."""
        seen = ~self.mask if bool((~self.mask).any()) else self.mask
        pixels = (self.image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        return look(replace(appearance(np.ascontiguousarray(pixels), seen.numpy()), size=None))


class Scenes:
    """Scenes of the items by number; the object is what `objects` name in the listing, or else it is estimated.

    Raises:
        InputError: a picture or mask that cannot be read.
    """

    def __init__(self, clf: Classifier, items: Sequence[Item], objects: Sequence[str] = ()) -> None:
        self.clf, self.items, self.objects = clf, items, objects
        self._kept: OrderedDict[int, Scene] = OrderedDict()

    def __getitem__(self, number: int) -> Scene:
        if number not in self._kept:
            self._kept[number] = self._made(self.items[number])
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _made(self, item: Item) -> Scene:
        picture = read(item.path)
        images, seen = self.clf.prepare([picture])
        if self.objects:
            given = truth_of([item], [picture], seen, self.clf.preprocess, self.objects).masks[0]
            if bool(given.any()):
                return Scene(images[0], given)
        return Scene(images[0], object_mask(images[0]))
