"""What is known of one image before anything in it is hidden: the answer, the activations, and where the class is seen.

h x w is the map's own grid, H x W the model's view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.errors import ModelError, UsageError
from saywhy.explanation import PRESENT, ClassScore
from saywhy.image import Bools, Box, Picture, for_people
from saywhy.saliency import METHODS, saliency_of
from saywhy.tap import Tap
from saywhy.targets import Class, Targets

WHITE_BOX_METHOD, CLASS_TOKEN_METHOD, BLACK_BOX_METHOD = "grad-cam", "attention-rollout", "rise"
BLACK_BOX_MASKS = 400
NOTHING = -1  # no class

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Seen:
    """One image (3, H, W), which part of the picture it is (`box`), the one forward pass (`tap`) and its probabilities
    (C,), the class asked for and the one it is compared with, and where the first is seen."""

    picture: Picture
    image: Tensor
    box: Box
    tap: Tap
    probabilities: Tensor
    target: int
    versus: int | None
    attention: Attended

    def says(self, probabilities: Tensor) -> Tensor:
        """What the classifier says in each row (m, C): the class with the most, (m,). Where classes are labels that
        exclude nothing, the target where it is present, else NOTHING."""
        if self.tap.clf.exclusive:
            return probabilities.argmax(dim=1)
        return torch.where(probabilities[:, self.target] >= PRESENT, self.target, NOTHING)

    @cached_property
    def colours(self) -> Tensor:
        """The image as people see it (3, H, W), in [0, 1]: what parts are called by."""
        how = self.tap.clf.preprocess
        if how.planes == 3:
            return self.image
        return torch.from_numpy(for_people(self.picture, how)).to(self.image.device)

    @property
    def said(self) -> bool:
        """Whether the classifier says the target of this image."""
        return int(self.says(self.probabilities[None])) == self.target

    def score(self, index: int) -> ClassScore:
        """A class with its name and its probability."""
        name = self.tap.clf.class_names[index]
        return ClassScore(class_index=index, class_name=name, probability=float(self.probabilities[index]))

    def on_photo(self, region: Tensor) -> Bools:
        """A region (H, W) of the model's view as a mask over the whole photo."""
        x0, y0, x1, y1 = self.box
        soft = F.interpolate(region[None, None].float(), (y1 - y0, x1 - x0), mode="bilinear", align_corners=False)
        mask = np.zeros((self.picture.height, self.picture.width), dtype=bool)
        left, top = max(x0, 0), max(y0, 0)  # the view reaches beyond the photo where the model adds bars
        part = (soft[0, 0] > 0.5).numpy()[top - y0 :, left - x0 :][: mask.shape[0] - top, : mask.shape[1] - left]
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask


@dataclass(frozen=True, eq=False)
class Attended:
    """The saliency `method` and its raw map (h, w) of the target; `why` it is not the one that would have led."""

    method: str
    raw: Tensor
    why: str = ""


def look(
    clf: Classifier,
    picture: Picture,
    target: Class | None = None,
    versus: Class | None = None,
    *,
    method: str | None = None,
    options: Options | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda step: None,
) -> Seen:
    """Looks at a picture once. `method` leads attention (by default the first of `leading_methods` that can), `options`
    are those of saliency methods by name; `tell` hears each step.

    Raises:
        UsageError: an unknown class or method, or target and versus are the same class.
        ModelError: the classifier fails, or gives something else than a score for each class.
    """
    tell("asking the classifier")
    images, boxes = clf.prepare([picture])
    tap = tapped(clf, images)
    _check_probabilities(clf, clf.to_probabilities(tap.logits))
    probabilities = clf.fine_probabilities(tap.logits)[0]
    asked, other = _classes(clf, probabilities, target, versus)
    attention = attend(tap, asked, method=method, options=options, seed=seed, tell=tell)
    return Seen(picture, tap.images[0], boxes[0], tap, probabilities, asked, other, attention)


def tapped(clf: Classifier, images: Tensor) -> Tap:
    """One forward pass of images (N, 3, H, W), tapped at the classifier's layer and at a finer one where it has one.

    Raises:
        ModelError: the answer is not one score for each class.
    """
    fine = clf.fine_point() if clf.white_box else None
    tap = clf.tap(images, None if not clf.white_box else [clf.point] if fine is None else [fine, clf.point])
    if tap.logits.dim() != 2:
        raise ModelError(
            f"the model gives scores of shape {tuple(tap.logits.shape)}; to explain a segmentation decision, wrap it: "
            "saywhy.RegionScores(net, mask) gives the classes' scores inside a region"
        )
    return tap


def _check_probabilities(clf: Classifier, probabilities: Tensor) -> None:
    low, high = float(probabilities.min()), float(probabilities.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise UsageError(
            f'with activation "none" scores are probabilities, and this model gives {low:.3g} to {high:.3g}. Say '
            'activation="softmax" (or "sigmoid") if they are logits; a measured quantity is no class: '
            "saywhy.saliency(clf, images, lambda scores: scores[:, 0]) shows where it comes from"
        )


def _classes(
    clf: Classifier, probabilities: Tensor, target: Class | None, versus: Class | None
) -> tuple[int, int | None]:
    """The class asked for (the predicted one by default) and the one to compare it with (the runner-up, if classes
    exclude each other: a label that is there beside another one is no rival)."""
    predicted = int(probabilities.argmax())
    asked = predicted if target in (None, "predicted") else clf.class_index(target)
    if versus is not None:
        other = clf.class_index(versus)
        if other == asked:
            raise UsageError(f"target and versus are both {clf.class_names[asked]!r}; name another class for versus")
        return asked, other
    if not clf.exclusive:
        return asked, None
    ranking = [int(c) for c in probabilities.argsort(descending=True) if int(c) != asked]
    return asked, ranking[0] if ranking else None


def leading_methods(tap: Tap) -> tuple[str, ...]:
    """The saliency methods that may say where a class is seen, where none is asked for: the first that can leads.

    In front of a class-token transformer's last block, gradients rank the parts of a bird worse than chance
    (docs/aviary-benchmark.md): there the attention itself leads, if the network's attention can be recorded.
    """
    if not tap.points:
        return (BLACK_BOX_METHOD,)
    gradients = (WHITE_BOX_METHOD, BLACK_BOX_METHOD)
    return (CLASS_TOKEN_METHOD, *gradients) if tap.point().grid.prefix else gradients


def attend(
    tap: Tap,
    target: int,
    *,
    method: str | None = None,
    options: Options | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda step: None,
) -> Attended:
    """Where a class is seen in the first image of a tap: by the method that is asked for, or the first that can.

    Raises:
        UsageError: the network cannot be served by the method that is asked for.
    """
    names = leading_methods(tap) if method is None else (method,)
    refused: list[str] = []
    for name in names:
        tell(f"looking where: {name}")
        led = {"masks": BLACK_BOX_MASKS} if name == BLACK_BOX_METHOD and (method is None or not tap.points) else {}
        try:
            raw = _map(tap, target, name, led | dict((options or {}).get(name, {})), seed)
        except (UsageError, ModelError) as e:
            if name == names[-1]:
                raise
            refused.append(f"{name} cannot serve this network ({str(e).split('; ')[0].split('. ')[0]})")
        else:
            return Attended(name, raw, "".join(f"{no}, so {name} leads" for no in refused[-1:]))
    raise AssertionError("one of the names is the last")


def _map(tap: Tap, index: int, method: str, given: Mapping[str, Any], seed: int) -> Tensor:
    """The raw map (h, w) of one class."""
    known = METHODS[method].options if method in METHODS else {}
    options: dict[str, object] = {"seed": seed} if "seed" in known else {}
    return saliency_of(tap, Targets(torch.tensor([index]), ()), method, **(options | dict(given)))[0]


def as_jpeg(picture: Tensor, side: int) -> bytes:
    """A picture (3, H, W) in [0, 1] for a page, with this longest side."""
    image = Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "JPEG", quality=86)
    return out.getvalue()
