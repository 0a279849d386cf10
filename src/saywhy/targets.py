"""What is explained: a class, one class per image, a contrast of two, or any scalar of the scores.

N images, C classes, M rows (images repeated or masked), each row belonging to one image.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saywhy.errors import ModelError, UsageError, plain, unknown

Class = int | str | np.integer[Any]
Scalar = Callable[[Tensor], Tensor]
Target = int | str | Tensor | NDArray[np.integer[Any]] | np.integer[Any] | Scalar | Sequence[int | str | Scalar] | None


@dataclass(frozen=True, eq=False)
class Targets:
    """Resolved targets of N images: class indices (N,), or one callable an image giving (M,) of scores (M, C).

    `versus` (N,) subtracts a second class, `weight` times.
    """

    indices: Tensor | None
    scalars: tuple[Scalar, ...]
    versus: Tensor | None = None
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.scalars) if self.indices is None else len(self.indices)

    def of(self, scores: Tensor, rows: Tensor | None = None) -> Tensor:
        """The asked scalar (M,) of scores (M, ...); `rows` (M,) says which image each row belongs to."""
        rows = torch.arange(len(self)) if rows is None else rows
        if len(rows) != len(scores):
            raise UsageError(f"{len(scores)} rows of scores but {len(rows)} row indices")
        if self.indices is None:
            return self._scalars_of(scores, rows)
        picked = scores.gather(1, self.indices.to(scores.device)[rows][:, None])[:, 0]
        if self.versus is None:
            return picked
        return picked - self.weight * scores.gather(1, self.versus.to(scores.device)[rows][:, None])[:, 0]

    def _scalars_of(self, scores: Tensor, rows: Tensor) -> Tensor:
        first = self.scalars[0]
        if all(f is first for f in self.scalars):
            return _checked(first(scores), len(scores))
        parts = [_checked(self.scalars[int(r)](scores[i : i + 1]), 1) for i, r in enumerate(rows)]
        return torch.cat(parts)

    def at(self, image: int) -> Targets:
        """The target of one image."""
        if self.indices is None:
            return Targets(None, (self.scalars[image],))
        versus = None if self.versus is None else self.versus[image : image + 1]
        return Targets(self.indices[image : image + 1], (), versus, self.weight)


def _checked(values: Tensor, rows: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (rows,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UsageError(f"a target callable must turn scores into one number a row, a tensor ({rows},); it gave {got}")
    return values


def with_graph(values: Tensor) -> Tensor:
    """The asked scalars (M,), if gradients can be taken of them.

    Raises:
        UsageError: a target callable cuts them off from the scores.
    """
    if not values.requires_grad:
        raise UsageError(
            "the target callable cuts its result off from the scores (detach, numpy, no_grad, a new tensor), and this "
            "method needs its gradient: compute it from the scores with torch alone, or use a method that needs only "
            "scores (rise, occlusion)"
        )
    return values


def resolve(target: Target, scores: Tensor, classes: Sequence[str]) -> Targets:
    """Resolves what the user asked for into Targets, one for each of the N rows of `scores`.

    None and "predicted" mean the class with the highest score of each image.

    Raises:
        UsageError: a class that does not exist, or a list whose length is not N.
    """
    N = len(scores)
    if callable(target) and not isinstance(target, Tensor):
        return Targets(None, (target,) * N)
    if target is None or (isinstance(target, str) and target == "predicted" and "predicted" not in classes):
        return Targets(_flat(scores).argmax(dim=1).cpu(), ())
    if isinstance(target, np.ndarray):
        target = torch.as_tensor(target) if target.dtype.kind in "iu" else list(target)
    if isinstance(target, Tensor):
        if target.is_floating_point() or target.dim() > 1:
            raise UsageError(
                f"targets must be class indices, a 1-D integer tensor; got {tuple(target.shape)} {target.dtype}"
            )
        target = target.tolist()
    if isinstance(target, (int, str, np.integer)):
        index = class_index(target, classes, _flat(scores).shape[1])
        return Targets(torch.full((N,), index), ())
    items = list(target)
    if len(items) != N:
        raise UsageError(f"{len(items)} targets for {N} images; give one target for all, or one for each image")
    if any(callable(t) for t in items):
        if not all(callable(t) for t in items):
            raise UsageError("a list of targets must be all classes or all callables")
        return Targets(None, tuple(items))
    predicted = _flat(scores).argmax(dim=1)
    indices = [
        int(predicted[i]) if t == "predicted" else class_index(t, classes, _flat(scores).shape[1])
        for i, t in enumerate(items)
    ]
    return Targets(torch.tensor(indices, dtype=torch.long), ())


def _flat(scores: Tensor) -> Tensor:
    if scores.dim() != 2:
        raise ModelError(
            f"scores of shape {tuple(scores.shape)} are no list of classes; for a segmentation model give a callable "
            "target such as saywhy.region_target(class_index, mask)"
        )
    return scores


def class_index(name: object, classes: Sequence[str], count: int) -> int:
    """The index of a class given by index, name, or a number written as text.

    Raises:
        UsageError: out of range, unknown, or a name that several classes share.
    """
    if not isinstance(name, (bool, str)):
        with contextlib.suppress(TypeError):
            name = operator.index(name)  # type: ignore[arg-type]  # NumPy's and torch's integers, as argmax gives them
    if isinstance(name, bool) or not isinstance(name, (int, str)):
        raise UsageError(f"a class is an index or a name, not {name!r}")
    if isinstance(name, str):
        hits = [i for i, c in enumerate(classes) if c == name]
        hits = hits or [i for i, c in enumerate(classes) if plain(c) == plain(name)]
        # Names that came with their WordNet ids: `zoo.class_names.Names`.
        hits = hits or [i for i, wnid in enumerate(getattr(classes, "ids", ())) if wnid == name.strip().lower()]
        if len(hits) > 1:
            raise UsageError(f"{len(hits)} classes are called {name!r}: give the index, one of {hits[:5]}")
        if hits:
            return hits[0]
        if not name.strip().lstrip("-").isdigit():
            raise unknown("class", name, classes)
        name = int(name)
    if not 0 <= name < count:
        raise UsageError(f"class {name} is out of range: the model has {count} classes, 0 to {count - 1}")
    return name


def region_target(index: int, mask: Tensor) -> Scalar:
    """For a segmentation model: the sum of one class's logits (N, C, H, W) over a region.

    `mask` (H, W), boolean or weights, is scaled to the logits' size when it differs.
    """

    def score(scores: Tensor) -> Tensor:
        if scores.dim() != 4 or not 0 <= index < scores.shape[1]:
            raise UsageError(
                f"region_target({index}) needs logits (N, C, H, W) with C > {index}; got {tuple(scores.shape)}"
            )
        weights = mask.to(scores)[None, None]
        if weights.shape[-2:] != scores.shape[-2:]:
            weights = torch.nn.functional.interpolate(weights, scores.shape[-2:], mode="area")
        return (scores[:, index] * weights[0]).flatten(1).sum(dim=1)

    return score


class RegionScores(nn.Module):
    """A segmentation network (N, C, H, W) as a classifier of one region: the mean of each class's logits over it.

    Scores (N, C), so that "why is this region a wing?" is explained like any classification.
    `mask` (H, W), boolean or weights, is scaled to the logits' size when it differs.

    Raises:
        UsageError: a mask that is not (H, W), or holds nothing.
        ModelError: logits that are not (N, C, H, W).
    """

    mask: Tensor

    def __init__(self, net: nn.Module, mask: Tensor) -> None:
        super().__init__()
        if mask.dim() != 2 or not bool((mask > 0).any()) or bool((mask < 0).any()):
            raise UsageError(f"a region is a mask (H, W) with something in it, not {tuple(mask.shape)}")
        self.net = net
        self.register_buffer("mask", mask.float())

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, C)."""
        scores = self.net(x)
        if not isinstance(scores, Tensor) or scores.dim() != 4:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ModelError(f"RegionScores needs logits (N, C, H, W) of a segmentation network; it gave {got}")
        weights = self.mask.to(scores.dtype)[None, None]
        if weights.shape[-2:] != scores.shape[-2:]:
            weights = torch.nn.functional.interpolate(weights, scores.shape[-2:], mode="area")
        return (scores * weights).sum(dim=(2, 3)) / weights.sum()
