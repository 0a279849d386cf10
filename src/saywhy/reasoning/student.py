"""The graph reasoning network: a student that reads graphs of concepts, one for each class, and decides.

k concepts of a bank, m classes, S slots a class (the concepts it looks for), B pictures, D channels. Scores are of the
m classes, and of all others together where the classifier has more.
Source: US 2025/0259436 A1, [0015], [0016]: GRN(h) = E(concat of G^i(h_i)); see docs/graphs.md for what differs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH, EDGE, GEOMETRY, SHARED, ROUNDS = 24, 4, 8, 4, 2
RELATIONS = ("relative", "absolute", "none")


@dataclass(frozen=True, eq=False)
class Graphs:
    """The embeddings of all hypotheses: of nodes (B, m, S, d) and of edges (B, m, S, S, e), to the first from the
    second; and what each concept, and what is none, says by itself: `evidence` (B, k + 1, scores)."""

    nodes: Tensor
    edges: Tensor
    evidence: Tensor


class Student(nn.Module):
    """Message passing with shared weights and edge weights of each class; a linear layer fuses all hypotheses.

    `slots` (m, S) are the concepts of each class. Every node and edge has a gate: what is gated away sends nothing and
    is nowhere in the embedding, so that a contribution is what changes when it is taken away.
    """

    slots: Tensor
    mean: Tensor
    std: Tensor
    correction: Tensor

    def __init__(self, slots: Tensor, concepts: int, channels: int, scores: int, relations: str = "relative") -> None:
        super().__init__()
        m, S = slots.shape
        self.relations, self.concepts = relations, concepts
        self.register_buffer("slots", slots)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("correction", torch.zeros(concepts + 1, scores), persistent=False)  # of one picture alone
        self.first = nn.Linear(2 * channels, WIDTH)
        self.identity = nn.Parameter(torch.randn(concepts + 1, WIDTH) / WIDTH**0.5)
        self.own = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(ROUNDS))
        self.sent = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(ROUNDS))
        self.lies = nn.ModuleList(nn.Linear(GEOMETRY, WIDTH, bias=False) for _ in range(ROUNDS))
        self.of_class = nn.Parameter(torch.full((m, S, S), 1.0 / S))
        self.source, self.target = nn.Linear(WIDTH, EDGE), nn.Linear(WIDTH, EDGE, bias=False)
        self.geometry = nn.Linear(GEOMETRY, EDGE, bias=False)
        size = S * WIDTH + S * S * EDGE
        self.fuse_own = nn.Parameter(torch.zeros(m, size))
        self.fuse_shared = nn.Parameter(torch.randn(m, size, SHARED) / size**0.5)
        self.fuse = nn.Linear(m * SHARED, scores)
        self.alone = nn.Linear(channels, scores, bias=False)
        self.rest = nn.Sequential(nn.Linear(channels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, scores, bias=False))
        for part in (self.fuse.weight, self.alone.weight):
            nn.init.zeros_(part)

    def corrected(self, evidence: Tensor) -> Student:
        """Another one, to which each concept, and what is of none, says so much more: evidence (k + 1, scores)."""
        made = deepcopy(self)
        made.correction = self.correction + evidence.to(self.correction)
        return made

    def read(self, features: Tensor, shares: Tensor, concept: Tensor) -> tuple[Tensor, Tensor]:
        """What nodes are by themselves: states (R, d) and evidence (R, scores) of features (R, D), shares of the
        picture (R,) and which concept each is of (R,), k for what is of none."""
        x, weighed = (features - self.mean) / self.std, features / self.std * shares[:, None]
        states = torch.relu(self.first(torch.cat([x, 8 * weighed], dim=1)) + self.identity[concept])
        evidence = self.alone(weighed) + self.rest(x) * (concept == self.concepts)[:, None]
        return states, evidence + self.correction[concept]

    def forward(
        self, states: Tensor, evidence: Tensor, places: Tensor, left: Tensor, edges: Tensor | None = None
    ) -> Tensor:
        """Scores (B, scores) of what was read: states (B, k + 1, d), evidence (B, k + 1, scores), with places (B, k, 3)
        and what is left of each concept (B, k); `edges` (B, k, k) gates pairs of concepts, all open if None."""
        return self.fused(self.graphs(states, evidence, places, left, edges))

    def evident(self, evidence: Tensor, left: Tensor) -> Tensor:
        """Scores (B, scores) by what nodes say by themselves, evidence (B, k + 1, scores), without any graph."""
        return (evidence * _with_rest(left)).sum(dim=1) + self.fuse.bias

    def graphs(
        self, states: Tensor, evidence: Tensor, places: Tensor, left: Tensor, edges: Tensor | None = None
    ) -> Graphs:
        """The embeddings of all hypotheses."""
        own = left[:, self.slots][..., None]
        f = initial = states[:, self.slots] * own
        gates, lie = self._gates(left, edges), self._geometry(places)
        weights = self.of_class * gates
        around = torch.einsum("bcij,bcijg->bcig", weights, lie)
        for own_way, sent, lies in zip(self.own, self.sent, self.lies, strict=True):
            f = torch.relu(own_way(f) + weights @ sent(f) + lies(around)) * own
        pairs = self.target(initial)[:, :, :, None] + self.source(initial)[:, :, None] + self.geometry(lie)
        return Graphs(f, torch.relu(pairs) * gates[..., None], evidence * _with_rest(left))

    def _gates(self, left: Tensor, edges: Tensor | None) -> Tensor:
        """How open each edge of each class is (B, m, S, S)."""
        own = left[:, self.slots]
        apart = 1 - torch.eye(own.shape[2]).to(own)
        gates = own[..., :, None] * own[..., None, :] * apart * (self.relations != "none")
        return gates if edges is None else gates * edges[:, self.slots[:, :, None], self.slots[:, None, :]]

    def _geometry(self, places: Tensor) -> Tensor:
        """How the first node of each edge lies to the second (B, m, S, S, 8): offsets, distance, direction, scale,
        and on which side; or where both are in the picture ("absolute", an ablation)."""
        own = torch.cat([places[..., :2], places[..., 2:].clamp_min(1e-4).log()], dim=-1)[:, self.slots]
        one, other = own[:, :, :, None], own[:, :, None]
        if self.relations == "absolute":
            one, other = (v.expand(-1, -1, own.shape[2], own.shape[2], -1) for v in (one, other))
            return torch.cat([one, other, torch.zeros_like(one[..., :2])], dim=-1)
        offset = one - other
        far = offset[..., :2].norm(dim=-1, keepdim=True)
        sides = torch.tanh(offset[..., :2] / 0.02)
        return torch.cat([4 * offset[..., :2], (far + 0.02).log(), offset[..., :2] / (far + 1e-3), offset[..., 2:] / 2,
                          sides], dim=-1)  # fmt: skip

    def fused(self, graphs: Graphs) -> Tensor:
        """Scores of all hypotheses together: linear in the embeddings."""
        z = torch.cat([graphs.nodes.flatten(2), graphs.edges.flatten(2)], dim=2)
        scores = z.flatten(1) @ self._to_scores().flatten(0, 1)
        return scores + graphs.evidence.sum(dim=1) + self.fuse.bias

    def slices(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """What each node (B, m, S, scores) and edge (B, m, S, S, scores) of each hypothesis adds to each score:
        gradient times embedding, which is exact because the fusion is linear."""
        m, S = self.slots.shape
        to = self._to_scores()
        of_nodes, of_edges = to[:, : S * WIDTH].reshape(m, S, WIDTH, -1), to[:, S * WIDTH :].reshape(m, S, S, EDGE, -1)
        return (
            torch.einsum("bcsd,csdo->bcso", graphs.nodes, of_nodes),
            torch.einsum("bcstd,cstdo->bcsto", graphs.edges, of_edges),
        )

    def _to_scores(self) -> Tensor:
        """The fusion as one matrix a class (m, size, scores)."""
        m = len(self.slots)
        shared = self.fuse.weight.reshape(-1, m, SHARED)
        to = torch.einsum("czr,ocr->czo", self.fuse_shared, shared)
        own = torch.zeros_like(to)
        own[torch.arange(m), :, torch.arange(m)] = self.fuse_own
        return to + own


def _with_rest(left: Tensor) -> Tensor:
    """What is left of each concept (B, k), and all of what is of none: (B, k + 1, 1)."""
    return torch.cat([left, left.new_ones(len(left), 1)], dim=1)[..., None]
