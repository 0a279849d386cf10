"""Where the axes of a layer's output lie in the picture, seen from what the layer answers to four pictures.

Two noise pictures A and B, one of A's top half over B's bottom half, and one of A's left half beside B's right half.
Along an axis of rows the answer to the third is A's at the start and B's at the end; along columns the fourth's is.
Channels, queries, latents and tokens in another order do neither, however many there are of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saywhy.grid import Grid

LEAST = 0.04  # of 1: by how much an axis must follow the picture,
TIMES = 3  # and how many times as much as it follows the cut across it,
CLEAR = 0.2  # more than what a deep layer, which sees the whole picture everywhere, gives by chance
ERRORS = 4  # and how many standard errors of what it does besides
MOST_AROUND = 16  # class, distillation and register tokens around a grid

Profile = NDArray[np.floating[Any]]


def pictures(size: tuple[int, int], planes: int = 3) -> Tensor:
    """The four pictures (4, planes, H, W) in [0, 1]: A, B, A over B, A beside B."""
    H, W = size
    g = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(2, planes, 8, 8, generator=g), size, mode="bilinear", align_corners=False)
    a, b = 0.6 * coarse + 0.4 * torch.rand(2, planes, H, W, generator=g)
    over = torch.cat([a[:, : H // 2], b[:, H // 2 :]], dim=1)
    beside = torch.cat([a[:, :, : W // 2], b[:, :, W // 2 :]], dim=2)
    return torch.stack([a, b, over, beside])


@dataclass(frozen=True, eq=False)
class Echo:
    """How a layer answered the four pictures: its shape, its axis of images, and for each other axis two profiles.

    A profile is -1 where the answer is as for A and 1 where it is as for B: for A over B, for A beside B.
    """

    shape: tuple[int, ...]
    batch: int
    over: tuple[Profile, ...]
    beside: tuple[Profile, ...]

    @property
    def one_sided(self) -> bool:
        """Whether an axis follows the picture's rows or columns, and none the other: rows, or attention over tokens."""
        down, across = (max(map(_halves, profiles)) for profiles in (self.over, self.beside))
        return max(down, across) > CLEAR and min(down, across) < LEAST


def read_echo(output: Tensor, batch: int) -> Echo | None:
    """What is kept of a layer's output for the four pictures; None where its form can be no grid."""
    if output.dim() not in (3, 4) or output.shape[batch] != 4 or not output.is_floating_point():
        return None
    a, b, over, beside = output.detach().movedim(batch, 0).float()
    return Echo(tuple(output.shape), batch, tuple(_profiles(over, a, b)), tuple(_profiles(beside, a, b)))


def _profiles(mixed: Tensor, a: Tensor, b: Tensor) -> Iterator[Profile]:
    to_a, to_b = (mixed - a).abs(), (mixed - b).abs()
    for axis in range(mixed.dim()):
        others = [i for i in range(mixed.dim()) if i != axis]
        d, e = to_a.mean(others), to_b.mean(others)
        yield np.asarray(torch.nan_to_num((d - e) / (d + e)).cpu())


@dataclass(frozen=True)
class Given:
    """What the user said of a layer's grid: rows and columns, how many tokens come before it and after it."""

    shape: tuple[int, int] | None = None
    prefix: int | None = None
    suffix: int | None = None

    def __bool__(self) -> bool:
        return (self.shape, self.prefix, self.suffix) != (None, None, None)

    def __str__(self) -> str:
        told = (
            ("x".join(map(str, self.shape or ())), ""),
            (self.prefix, " tokens before it"),
            (self.suffix, " after it"),
        )
        return ", ".join(f"{value}{what}" for value, what in told if value not in (None, ""))

    def allows(self, grid: Grid) -> bool:
        """Whether a grid is as it was said."""
        pairs = ((self.shape, grid.shape), (self.prefix, grid.prefix), (self.suffix, grid.suffix))
        return all(said in (None, seen) for said, seen in pairs)


def find_grid(answer: Echo, given: Given = Given(), likely: Grid | None = None) -> Grid | None:
    """The grid of a layer's output that follows the picture best, if it is as `given`; None where none does.

    `likely` is the one that outputs of this form have on average: a deep layer may follow the picture too little to be
    told from a neighbour by itself.
    """
    known = (given.prefix or 0) + (given.suffix or 0)
    if len(answer.shape) == 4:
        found = _of_maps(answer)
    else:
        found = _of_tokens(answer, known) if likely is None else likely if _agrees(answer, likely) else None
    return found if found is not None and given.allows(found) else None


def on_average(answers: Sequence[Echo]) -> Echo:
    """What outputs of one form answer on average."""
    over, beside = zip(*(a.over for a in answers), strict=True), zip(*(a.beside for a in answers), strict=True)
    means = [tuple(np.mean(profiles, axis=0) for profiles in side) for side in (over, beside)]
    return Echo(answers[0].shape, answers[0].batch, means[0], means[1])


def _agrees(answer: Echo, grid: Grid) -> bool:
    axis = grid.axes.replace("n", "").index("t")
    (h, w), p = grid.shape, grid.prefix
    rows, columns = _templates(h, w)
    down, across = answer.over[axis][p : p + h * w], answer.beside[axis][p : p + h * w]
    return _follows(down, rows, columns) and _follows(across, columns, rows)


def _of_maps(answer: Echo) -> Grid | None:
    """Rows are the axis that follows A over B most, columns the one that follows A beside B most."""
    down, across = ([_halves(p) for p in profiles] for profiles in (answer.over, answer.beside))
    h, w = (int(np.argmax([_halves(p) if _steady(p) else 0.0 for p in ps])) for ps in (answer.over, answer.beside))
    if h == w:
        return None
    if down[h] < max(LEAST, TIMES * abs(across[h])) or across[w] < max(LEAST, TIMES * abs(down[w])):
        return None
    axes = "".join("h" if i == h else "w" if i == w else "c" for i in range(3))
    return grid_of(answer.batch, axes, _others(answer))


def _others(answer: Echo) -> list[int]:
    """The sizes of the axes but the batch's."""
    return [n for i, n in enumerate(answer.shape) if i != answer.batch]


def grid_of(batch: int, axes: str, sizes: Sequence[int]) -> Grid:
    """The grid of maps, from what the axes but the batch's are, and their sizes."""
    return Grid(axes[:batch] + "n" + axes[batch:], (sizes[axes.index("h")], sizes[axes.index("w")]))


def _halves(profile: Profile) -> float:
    """Half of what the second half of a profile has more than the first: 1 for a perfect step."""
    k = len(profile) // 2
    return float(profile[-k:].mean() - profile[:k].mean()) / 2 if k else 0.0


def _steady(profile: Profile) -> bool:
    """Whether a profile takes its step by more than chance; of fewer than four places nobody can say."""
    found, n = _halves(profile), len(profile)
    rest = profile - found * np.sign(np.arange(n) - (n - 1) / 2)
    return bool(n < 4 or found * n**0.5 >= ERRORS * rest.std())


def _of_tokens(answer: Echo, known: int) -> Grid | None:
    sizes = _others(answer)
    found: list[tuple[float, Grid]] = []
    for axis, axes in enumerate(("tc", "ct")):
        if sizes[1 - axis] == 1:  # (N, K, 1) is a pooled vector
            continue
        whole = axes[: answer.batch] + "n" + axes[answer.batch :]
        for score, (h, w), prefix in _placed(answer.over[axis], answer.beside[axis], known):
            found.append((score, Grid(whole, (h, w), prefix, sizes[axis] - prefix - h * w)))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _placed(over: Profile, beside: Profile, known: int) -> Iterator[tuple[float, tuple[int, int], int]]:
    """Every grid that a sequence of tokens could hold and that follows the picture: its score, shape and prefix."""
    for h, w in _shapes(len(over), known):
        n = h * w
        rows, columns = _templates(h, w)
        for p in range(len(over) - n + 1):
            down, across = over[p : p + n], beside[p : p + n]
            if _follows(down, rows, columns) and _follows(across, columns, rows):
                yield (
                    float(down @ rows + across @ columns) * n / len(over),
                    (h, w),
                    p,
                )  # what is left out explains nothing


def _shapes(tokens: int, known: int) -> Iterator[tuple[int, int]]:
    """Every h x w that leaves few of the tokens over, besides those that are known to be around."""
    for n in range(tokens, max(tokens - known - MOST_AROUND, 4) - 1, -1):
        yield from ((h, n // h) for h in range(2, n // 2 + 1) if n % h == 0)


def _follows(profile: Profile, along: Profile, across: Profile) -> bool:
    """Whether a profile takes the steps of one axis, and not those of the other, nor any steps by chance."""
    found = float(profile @ along)
    if found < max(LEAST, TIMES * abs(float(profile @ across))):
        return False
    rest = profile - found * np.sign(along)
    return bool(found * len(profile) ** 0.5 >= ERRORS * rest.std())


def _templates(h: int, w: int) -> tuple[Profile, Profile]:
    """What tokens of a grid answer that follow its rows, and its columns, perfectly; each gives 1 with itself."""
    rows, columns = _steps(h)[:, None].repeat(w, 1), _steps(w)[None].repeat(h, 0)
    return rows.ravel() / (h * w), columns.ravel() / (h * w)


def _steps(n: int) -> Profile:
    """-1 in the first half, 1 in the second, 0 between; scaled so that a perfect step correlates as 1."""
    steps = np.sign(np.arange(n) - (n - 1) / 2)
    return np.asarray(steps * (n / np.abs(steps).sum()), np.float32)
