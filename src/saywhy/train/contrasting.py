"""Losses that bring pictures and what is said of them together in one space, and keep others apart.

N pictures and N texts as vectors (N, d) of any length, M texts more that are true of none; a temperature is learned
with the rest. With several processes each loss is that of the whole batch: `gathered`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from saywhy.errors import UsageError
from saywhy.train.distributed import together

T = TypeVar("T")


def info_nce(seen: Tensor, said: Tensor, temperature: Tensor | float, true: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; Radford et al. 2021): the mean over pictures of
    -log(the share of e^(s/temperature) over all texts that the true ones have), and the same over texts.

    `said` may have hard negatives after its first N rows. `true` (N, N + M) says which text is true of which picture;
    by default a picture's own alone.
    """
    own = torch.eye(len(seen), len(said), dtype=torch.bool, device=seen.device) if true is None else true
    scores = _cosines(seen, said) / temperature
    known = own.any(0)  # a text that is true of no picture has none to find
    return (_missed(scores, own).mean() + _missed(scores.T[known], own.T[known]).mean()) / 2


def nt_xent(seen: Tensor, said: Tensor, temperature: Tensor | float, true: Tensor | None = None) -> Tensor:
    """NT-Xent (Chen et al. 2020) with the picture and its text as two views: each of the 2 N vectors finds its partner
    among all others, those of its own kind too, itself left out. `true` (N, N): partners of more than one."""
    n = len(seen)
    if len(said) != n:
        raise UsageError(f"NT-Xent pairs every picture with one text: {n} and {len(said)} were given")
    own = torch.eye(n, dtype=torch.bool, device=seen.device) if true is None else true
    both = torch.cat([seen, said])
    scores = _cosines(both, both) / temperature
    scores = scores.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=seen.device), -torch.inf)
    none = torch.zeros_like(own)
    return _missed(scores, torch.cat([torch.cat([none, own], 1), torch.cat([own.T, none], 1)])).mean()


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    return F.normalize(one, dim=1) @ F.normalize(other, dim=1).T


def _missed(scores: Tensor, true: Tensor) -> Tensor:
    """-log of the share that the true ones have in each row."""
    return scores.logsumexp(1) - scores.masked_fill(~true, -torch.inf).logsumexp(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | float, Tensor | None], Tensor]] = {
    "info-nce": info_nce,
    "nt-xent": nt_xent,
}


def gathered(vectors: Tensor) -> Tensor:
    """The rows of all processes, in the order of a batch that `train.distributed.share` dealt out; gradients flow back
    to whoever has a row. Their own where there is one process.

    Raises:
        UsageError: the processes hold unequal shares.
    """
    if not together():
        return vectors
    from torch.distributed.nn.functional import all_gather

    count = torch.tensor([len(vectors), -len(vectors)])
    dist.all_reduce(count, dist.ReduceOp.MAX)
    if int(count[0]) != -int(count[1]):
        raise UsageError("a loss over all processes needs batches that they share equally: a multiple of their number")
    return torch.stack(all_gather(vectors), dim=1).flatten(0, 1)  # type: ignore[no-untyped-call]


def gathered_rows(rows: Sequence[T]) -> list[T]:
    """The same of anything else: what is known of the rows of all processes, in the order of `gathered`."""
    if not together():
        return list(rows)
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, list(rows))
    return [row for some in zip(*found, strict=True) for row in some]


def alignment(seen: Tensor, said: Tensor) -> float:
    """The mean squared distance of true pairs (N, d) of length 1; lower is better. Wang & Isola 2020."""
    return float((F.normalize(seen, dim=1) - F.normalize(said, dim=1)).square().sum(1).mean())


def uniformity(vectors: Tensor) -> float:
    """log of the mean of e^(-2 * squared distance) over pairs of vectors (N, d); lower is more spread out."""
    return float(torch.pdist(F.normalize(vectors, dim=1)).square().mul(-2).exp().mean().log())
