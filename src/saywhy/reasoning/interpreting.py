"""What each node and edge of a class's graph contributes, as the student has it, and how far it can be trusted here.

A class's graph has S slots, of which p concepts are in the picture; k concepts of the bank.
Source: US 2025/0259436 A1, [0016], [0022].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from saywhy.intervene import interaction_indices, shapley_values
from saywhy.reasoning.nodes import Nodes
from saywhy.reasoning.reasoner import Reasoner
from saywhy.reasoning.student import Student

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """The graph of one class, by number among the student's: its concepts that are `here` (p) and that are `absent`.

    `nodes` (p,) is what taking each away takes from the class's probability, `shares` (p,) its Shapley value among
    those here; `edges` what closing each pair's edges takes away, `together` (p, p) the pairs' Shapley interactions;
    `*_versus` the same of the class minus the one that it is compared with (None without). `slices` and `lines` are the
    patent's form, what each node (p,) and pair adds to the class's score: gradient times embedding.
    """

    number: int
    here: tuple[int, ...]
    absent: tuple[int, ...]
    probability: float
    nodes: Tensor
    shares: Tensor
    edges: dict[Pair, float]
    together: Tensor
    nodes_versus: Tensor | None
    edges_versus: dict[Pair, float] | None
    slices: Tensor
    lines: dict[Pair, float]


def probabilities(student: Student, nodes: Nodes, lefts: Tensor, edges: Tensor | None = None) -> Tensor:
    """The student's probabilities (B, scores) of one picture's nodes with other gates (B, k), (B, k, k)."""
    return scored(student, nodes, lefts, edges).softmax(dim=1).double()


def _read(student: Student, nodes: Nodes, count: int) -> tuple[Tensor, Tensor, Tensor]:
    k = len(nodes.left)
    shares = torch.cat([nodes.places[:, 2], (1 - nodes.places[:, 2].sum()).clamp_min(0)[None]])
    states, evidence = student.read(nodes.features, shares, torch.arange(k + 1))
    return states.expand(count, -1, -1), evidence.expand(count, -1, -1), nodes.places.expand(count, -1, -1)


@torch.no_grad()
def scored(student: Student, nodes: Nodes, lefts: Tensor, edges: Tensor | None = None) -> Tensor:
    """The student's scores (B, scores), as `probabilities`."""
    found: Tensor = student(*_read(student, nodes, len(lefts)), lefts, edges)
    return found


def interpreted(reasoner: Reasoner, nodes: Nodes, number: int, versus: int | None = None) -> Hypothesis:
    """The graph of a class, by its number among the student's classes, and what speaks in it for the class, and for it
    rather than another one."""
    student = reasoner.student
    slots = student.slots[number].tolist()
    here = tuple(j for j in slots if nodes.left[j] > 0)
    absent, pairs = tuple(j for j in slots if j not in here), list(combinations(here, 2))
    game = coalitions(nodes.left, here)
    closed = _closed(len(nodes.left), pairs)
    lefts = torch.cat([game, nodes.left.expand(len(pairs), -1)])
    gates = torch.cat([torch.ones(len(game), *closed.shape[1:]), closed])
    p = probabilities(student, nodes, lefts, gates)
    own = _taken(p[:, number], len(here), pairs)
    other = None if versus is None else _taken(p[:, number] - p[:, versus], len(here), pairs)
    values = p[: len(game), number]
    return Hypothesis(
        number, here, absent, float(values[-1]), own[0], shapley_values(values), own[1], interaction_indices(values),
        None if other is None else other[0], None if other is None else other[1],
        *_slices(student, nodes, number, here, pairs),
    )  # fmt: skip


def coalitions(left: Tensor, here: Sequence[int]) -> Tensor:
    """What is left (2^p, k) with every combination of some concepts kept; combination s keeps concept i of them where
    bit i is set."""
    out = left.repeat(2 ** len(here), 1)
    for s, row in enumerate(out):
        row[[j for i, j in enumerate(here) if not s >> i & 1]] = 0
    return out


def _closed(k: int, pairs: Sequence[Pair]) -> Tensor:
    """Gates (n, k, k), in each of which one pair's edges are closed."""
    gates = torch.ones(len(pairs), k, k)
    for gate, (i, j) in zip(gates, pairs, strict=True):
        gate[i, j] = gate[j, i] = 0
    return gates


def _taken(values: Tensor, p: int, pairs: Sequence[Pair]) -> tuple[Tensor, dict[Pair, float]]:
    """What is lost without each of p concepts (p,) and each pair's edges, by the values of all combinations and of
    those."""
    full = 2**p - 1
    nodes = torch.stack([values[full] - values[full & ~(1 << i)] for i in range(p)]) if p else values[:0]
    return nodes, {pair: float(values[full] - v) for pair, v in zip(pairs, values[full + 1 :], strict=True)}


@torch.no_grad()
def _slices(
    student: Student, nodes: Nodes, number: int, here: Sequence[int], pairs: Sequence[Pair]
) -> tuple[Tensor, dict[Pair, float]]:
    graphs = student.graphs(*_read(student, nodes, 1), nodes.left[None])
    of_nodes, of_edges = (found[0, ..., number].double() for found in student.slices(graphs))
    at = {j: s for s, j in enumerate(student.slots[number].tolist())}
    own, edges = of_nodes[number], of_edges[number]
    lines = {(i, j): float(edges[at[i], at[j]] + edges[at[j], at[i]]) for i, j in pairs}
    alone = graphs.evidence[0, list(here), number]
    return own[[at[j] for j in here]] + alone.double(), lines
