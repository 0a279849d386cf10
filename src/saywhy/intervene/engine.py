"""The engine: shows a classifier masked images, a batch at a time, and gathers what is read from its answers.

N images (N, 3, H, W) in [0, 1]; masks (m, H, W) in [0, 1], 1 keeps a pixel; M masked images in all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.intervene.fills import Choice, Fill, Filler, blend, filler, named, of
from saywhy.intervene.memory import content, in_use

Progress = Callable[[int, int], None]
Score = Callable[[Tensor], Tensor]  # answers (m, ...) -> (m, ...)
MaskMaker = Callable[[int, int], Tensor]


@dataclass(frozen=True, eq=False)
class Masked:
    """Masked images, made when they are asked for: `count` masks, which `make(start, stop)` gives in chunks (m, H, W).

    `owners` (count,) says which of the images (N, 3, H, W) each mask is laid on (all on the only one if None); `fill`
    and `seed` as in `hide`.
    """

    images: Tensor
    count: int
    make: MaskMaker
    fill: Choice = "black"
    seed: int = 0
    owners: Tensor | None = None

    def pictures(self, rows: Tensor, masks: Tensor) -> Tensor:
        """The masked images (m, 3, H, W) of these numbers (m,) and their masks (m, H, W)."""
        own = rows if self.owners is None else self.owners[rows]
        keep = masks.to(self.images.device).to(self.images.dtype)  # a boolean mask travels as a byte a pixel
        return blend(of(self.images, own), keep, self._behind(own, keep))

    def keys(self, rows: Tensor, masks: Tensor) -> list[Hashable]:
        """What tells each of these apart from all others."""
        own = [0] * len(rows) if self.owners is None else self.owners[rows].tolist()
        return [(self._contents[i], content(mask), *self._filled) for i, mask in zip(own, masks, strict=True)]

    @cached_property
    def _behind(self) -> Filler:
        return filler(self.images, self.fill, self.seed)

    @cached_property
    def _contents(self) -> list[bytes]:
        return [content(image) for image in self.images]

    @cached_property
    def _filled(self) -> tuple[Hashable, ...]:
        if isinstance(self.fill, Tensor):
            return (content(self.fill), tuple(self.fill.shape))
        row = self.fill if isinstance(self.fill, Fill) else named(self.fill)
        return (row, self.seed if "seed" in row.needs else None)


def masked_answers(
    parts: Sequence[Masked],
    ask: Callable[[Tensor], Tensor],
    *,
    size: int,
    read: Callable[[Tensor, Tensor], Tensor] | None = None,
    who: Hashable | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """What is read (M, ...) from the answers to the masked images of all parts, one part after the other.

    `ask(pictures (m, 3, H, W)) -> answers (m, ...)` is called for `size` images at a time; `read(answers, numbers)`
    says what to keep of the answers to the images of these numbers (m,) of all M (everything if None). Gradients pass
    through both and through the masks where the caller's mode has them. `who` names the one that answers: inside a
    `remembering` block it is not asked again what it was asked before.
    """
    memory = None if who is None else in_use()

    def chunk(start: int, stop: int) -> Tensor:
        pieces = [(part, rows, part.make(int(rows[0]), int(rows[-1]) + 1)) for part, rows in _spans(parts, start, stop)]
        if memory is None:
            answers = ask(_pictures(pieces))
        else:
            keys = [(who, key) for part, rows, masks in pieces for key in part.keys(rows, masks)]
            answers = memory.recall(keys, lambda places: ask(_pictures(_picked(pieces, places))))
        return answers if read is None else read(answers, torch.arange(start, stop))

    return in_batches(chunk, sum(part.count for part in parts), size, progress)


def masked_scores(
    clf: Classifier,
    image: Tensor,
    count: int,
    make: MaskMaker,
    score: Score,
    *,
    fill: Choice = "black",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Scores (M,) of one image (3, H, W) under `count` masks that `make(start, stop)` gives in chunks (m, H, W).

    `score` turns the classifier's scores (m, C) into (m,). The batch size changes the speed and nothing else.
    """
    size = batch_size or clf.rows
    return masked_answers(
        [Masked(clf.at_home(image[None]), count, make, fill, seed)],
        lambda pictures: clf.logits(pictures, batch_size=size),
        size=size,
        read=lambda answers, _: score(answers),
        who=clf,
        progress=progress,
    )


def masked_probabilities(clf: Classifier, parts: Sequence[Masked]) -> Tensor:
    """Probabilities (M, C), in double precision and on the host, of the masked images of all parts."""
    size = clf.rows
    return masked_answers(
        parts,
        lambda pictures: clf.logits(pictures, batch_size=size),
        size=size,
        read=lambda answers, _: clf.fine_probabilities(answers),
        who=clf,
    )


def plain_probabilities(clf: Classifier, images: Tensor) -> Tensor:
    """Probabilities (N, C) of images (N, 3, H, W) in which nothing is hidden, remembered like those of masked ones."""

    images = clf.at_home(images)

    def everything(start: int, stop: int) -> Tensor:
        return images.new_ones(stop - start, *images.shape[2:])

    return masked_probabilities(clf, [Masked(images, len(images), everything, owners=torch.arange(len(images)))])


def in_batches(chunk: Callable[[int, int], Tensor], count: int, size: int, progress: Progress | None = None) -> Tensor:
    """What `chunk(start, stop)` gives for 0 to count >= 1, `size` at a time, put together; `progress(done, count)`."""
    found = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        found.append(chunk(start, stop))
        if progress is not None:
            progress(stop, count)
    return torch.cat(found)


_Piece = tuple[Masked, Tensor, Tensor]  # a part, numbers (m,) within it, their masks (m, H, W)


def _spans(parts: Sequence[Masked], start: int, stop: int) -> Iterator[tuple[Masked, Tensor]]:
    """The parts that the numbers from start to stop fall into, and the numbers within each."""
    for part in parts:
        if start < part.count and stop > 0:
            yield part, torch.arange(max(start, 0), min(stop, part.count))
        start, stop = start - part.count, stop - part.count


def _picked(pieces: Sequence[_Piece], places: Sequence[int]) -> list[_Piece]:
    """Of the pieces, laid end to end, those places alone."""
    out, first = [], 0
    for part, rows, masks in pieces:
        at = [p - first for p in places if first <= p < first + len(rows)]
        if len(at) == len(rows):  # most often: nothing is known
            out.append((part, rows, masks))
        elif at:
            out.append((part, rows[at], masks[at]))
        first += len(rows)
    return out


def _pictures(pieces: Sequence[_Piece]) -> Tensor:
    made = [part.pictures(rows, masks) for part, rows, masks in pieces]
    return made[0] if len(made) == 1 else torch.cat(made)
