"""Where the axes of a layer's output lie in the picture, seen from what the layer answers to four pictures.

Two noise pictures A and B, one of A's top half over B's bottom half, and one of A's left half beside B's right half.
Along an axis of rows the answer to the third is A's at the start and B's at the end; along columns the fourth's is.
Channels, queries, latents and tokens in another order do neither, however many there are of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.grid import Grid

LEAST = 0.04  # of 1: by how much an axis must follow the picture,
TIMES = 3  # and how many times as much as it follows the cut across it,
ERRORS = 4  # and how many standard errors of what it does besides
MOST_AROUND = 16  # class, distillation and register tokens around a grid
PER_TOKEN = 0.01  # of a grid's score for each token that it leaves out: with a row less it fits as well, and means less

Profile = NDArray[np.float32]


def pictures(size: tuple[int, int]) -> Tensor:
    """The four pictures (4, 3, H, W) in [0, 1]: A, B, A over B, A beside B."""
    H, W = size
    g = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(2, 3, 8, 8, generator=g), size, mode="bilinear", align_corners=False)
    a, b = 0.6 * coarse + 0.4 * torch.rand(2, 3, H, W, generator=g)
    over = torch.cat([a[:, : H // 2], b[:, H // 2 :]], dim=1)
    beside = torch.cat([a[:, :, : W // 2], b[:, :, W // 2 :]], dim=2)
    return torch.stack([a, b, over, beside])


@dataclass(frozen=True, eq=False)
class Answer:
    """How a layer answered the four pictures: its shape, its axis of images, and for each other axis two profiles.

    A profile is -1 where the answer is as for A and 1 where it is as for B: for A over B, for A beside B.
    """

    shape: tuple[int, ...]
    batch: int
    over: tuple[Profile, ...]
    beside: tuple[Profile, ...]

    @property
    def differs(self) -> bool:
        """Whether the answers to the pictures differ at all; those of weights that are all zero do not."""
        return any(p.any() for p in (*self.over, *self.beside))


def read_answer(output: Tensor, batch: int) -> Answer | None:
    """What is kept of a layer's output for the four pictures; None where its form can be no grid."""
    if output.dim() not in (3, 4) or output.shape[batch] != 4 or not output.is_floating_point():
        return None
    a, b, over, beside = output.detach().movedim(batch, 0).float()
    return Answer(tuple(output.shape), batch, tuple(_profiles(over, a, b)), tuple(_profiles(beside, a, b)))


def _profiles(mixed: Tensor, a: Tensor, b: Tensor) -> Iterator[Profile]:
    to_a, to_b = (mixed - a).abs(), (mixed - b).abs()
    for axis in range(mixed.dim()):
        others = [i for i in range(mixed.dim()) if i != axis]
        d, e = to_a.mean(others), to_b.mean(others)
        yield torch.nan_to_num((d - e) / (d + e)).cpu().numpy()


@dataclass(frozen=True)
class Given:
    """What the user said of a layer's grid: rows and columns, how many tokens come before it and after it."""

    shape: tuple[int, int] | None = None
    prefix: int | None = None
    suffix: int | None = None

    def __bool__(self) -> bool:
        return (self.shape, self.prefix, self.suffix) != (None, None, None)


def find_grid(answer: Answer, given: Given = Given()) -> Grid | None:
    """The grid of a layer's output, as `given` where something is, or None where it has none that follows the picture."""
    found = (_of_maps if len(answer.shape) == 4 else _of_tokens)(answer, given)
    return found if found is None or given.shape in (None, found.shape) else None


def _of_maps(answer: Answer, given: Given) -> Grid | None:
    """Rows are the axis that follows A over B most, columns the one that follows A beside B most."""
    down, across = ([_halves(p) for p in profiles] for profiles in (answer.over, answer.beside))
    h, w = int(np.argmax(down)), int(np.argmax(across))
    if h == w or given.prefix or given.suffix:
        return None
    if down[h] < max(LEAST, TIMES * abs(across[h])) or across[w] < max(LEAST, TIMES * abs(down[w])):
        return None
    return grid_of(answer.batch, {h: "h", w: "w"}, [n for i, n in enumerate(answer.shape) if i != answer.batch])


def grid_of(batch: int, places: Mapping[int, str], sizes: Sequence[int]) -> Grid:
    """The grid of maps, from which of the axes but the batch's are rows and columns."""
    shape = {name: sizes[i] for i, name in places.items()}
    return Grid(_axes(batch, places, 3), (shape["h"], shape["w"]))


def _axes(batch: int, places: Mapping[int, str], count: int) -> str:
    names = [places.get(i, "c") for i in range(count)]
    names.insert(batch, "n")
    return "".join(names)


def _halves(profile: Profile) -> float:
    """Half of what the second half of a profile has more than the first: 1 for a perfect step."""
    k = len(profile) // 2
    return float(profile[-k:].mean() - profile[:k].mean()) / 2 if k else 0.0


def _of_tokens(answer: Answer, given: Given) -> Grid | None:
    sizes = [n for i, n in enumerate(answer.shape) if i != answer.batch]
    best: tuple[float, Grid] | None = None
    for axis in (0, 1):
        if sizes[1 - axis] == 1:  # (N, K, 1) is a pooled vector
            continue
        for score, shape, prefix in _placed(answer.over[axis], answer.beside[axis], given):
            if best is None or score > best[0]:
                suffix = sizes[axis] - prefix - shape[0] * shape[1]
                best = score, Grid(_axes(answer.batch, {axis: "t"}, 2), shape, prefix, suffix)
    return best[1] if best else None


def _placed(over: Profile, beside: Profile, given: Given) -> Iterator[tuple[float, tuple[int, int], int]]:
    """Every grid that a sequence of tokens could hold and that follows the picture: its score, shape and prefix."""
    T = len(over)
    for h, w in [given.shape] if given.shape else _shapes(T, (given.prefix or 0) + (given.suffix or 0)):
        n = h * w
        rows, columns = (_steps(h)[:, None].repeat(w, 1) / n).ravel(), (_steps(w)[None].repeat(h, 0) / n).ravel()
        prefixes = [p for p in range(T - n + 1) if given.prefix in (None, p) and given.suffix in (None, T - n - p)]
        for p in prefixes:
            down, across = over[p : p + n], beside[p : p + n]
            if _follows(down, rows, columns) and _follows(across, columns, rows):
                yield float(down @ rows + across @ columns) * (1 - PER_TOKEN * (T - n)), (h, w), p


def _shapes(tokens: int, around: int) -> Iterator[tuple[int, int]]:
    """Every h x w that leaves few of the tokens over, besides those `around` that are known."""
    for n in range(tokens - around, max(tokens - around - MOST_AROUND, 4) - 1, -1):
        yield from ((h, n // h) for h in range(2, n // 2 + 1) if n % h == 0)


def _follows(profile: Profile, along: Profile, across: Profile) -> bool:
    """Whether a profile takes the steps of one axis, and not those of the other, nor any steps by chance."""
    found = float(profile @ along)
    if found < max(LEAST, TIMES * abs(float(profile @ across))):
        return False
    rest = profile - found * np.sign(along)
    return found >= ERRORS * float(rest.std()) / len(profile) ** 0.5


def _steps(n: int) -> Profile:
    """-1 in the first half, 1 in the second, 0 between; scaled so that a perfect step correlates as 1."""
    steps = np.sign(np.arange(n) - (n - 1) / 2).astype(np.float32)
    return steps * np.float32(n / np.abs(steps).sum())
