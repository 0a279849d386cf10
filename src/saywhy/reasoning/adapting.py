"""A student adapted to one picture, and whether it can be trusted there.

The classifier is asked about the picture without each of some concepts, and what nodes say by themselves is corrected
so that the student answers as it did. What concepts do together stays the student's own, and is tried on further edits
of the picture, which it was not told of.

k concepts of a bank, p of them tried; the student's `scores`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from saywhy.concepts.finding import ConceptsFound
from saywhy.intervene import Masked, content_seed, masked_probabilities
from saywhy.reasoning.distilling import grouped
from saywhy.reasoning.interpreting import probabilities, scored
from saywhy.reasoning.nodes import PUT_IN, Nodes
from saywhy.reasoning.reasoner import LIMIT, Reasoner
from saywhy.seen import Seen

PASSES = 10  # edits of a picture that the classifier is asked about
FLOOR = 1e-4  # of a class: what is less probable is not told apart
RAISED = 1e-2  # probability that this adds to all classes together, at most

Hidden = tuple[int, ...]  # concepts that are hidden together


@dataclass(frozen=True, eq=False)
class Trial:
    """What the classifier was asked about a picture: `answers` (p + 1, scores) to it and without each of the concepts
    `tried`, which the student was told; of `edits` (n) that it was not told, the probability of the class in question
    as the student has it (`told`) and as the classifier has it (`held`), (n,)."""

    tried: Hidden
    answers: Tensor
    edits: tuple[Hidden, ...]
    told: Tensor
    held: Tensor

    @property
    def error(self) -> float | None:
        """How far the student is from the classifier on what it was not told, on average; None of nothing."""
        return float((self.told - self.held).abs().mean()) if self.edits else None

    @property
    def faithful(self) -> bool:
        """Whether what the student says of this picture may stand for the classifier."""
        return self.error is not None and self.error <= LIMIT

    def lost(self, number: int) -> dict[int, float]:
        """What the classifier's probability of a class, by number, loses without each concept that was tried."""
        p = self.answers[:, number].double()
        return dict(zip(self.tried, (p[0] - p[1:]).tolist(), strict=True))


def adapted(
    reasoner: Reasoner, found: ConceptsFound, nodes: Nodes, seen: Seen, number: int, seed: int
) -> tuple[Reasoner, Trial]:
    """The student with what the classifier says of this picture, in at most `PASSES` passes, and how it did for a class
    by its number."""
    student = reasoner.student
    here = tuple(j for j in student.slots[number].tolist() if nodes.left[j] > 0)
    single, several = edits_to_ask(here, content_seed(seen.image.cpu(), seed))
    answers = asked_of(reasoner, found, seen, [*single, *several])
    lefts = torch.stack([nodes.without(some).left for some in [(), *single, *several]])
    p = 1 + len(single)
    student = student.corrected(correction(scored(student, nodes, lefts[:p]), answers[:p], nodes.left, here))
    told = probabilities(student, nodes, lefts[p:])[:, number] if several else answers.new_zeros(0).double()
    trial = Trial(here, answers[:p], tuple(several), told, answers[p:, number].double())
    return replace(reasoner, student=student), trial


def asked_of(reasoner: Reasoner, found: ConceptsFound, seen: Seen, edits: Sequence[Hidden]) -> Tensor:
    """The classifier's answers (1 + n, scores) to the picture and to n edits of it."""
    own = grouped(seen.probabilities[None].cpu().float(), reasoner.classes)
    if not edits:
        return own
    keep = torch.stack([~torch.isin(found.labels, torch.tensor(some)) for some in edits])
    hidden = Masked(seen.image[None], len(edits), lambda start, stop: keep[start:stop], PUT_IN)
    answers = masked_probabilities(seen.tap.clf, [hidden]).float()
    return torch.cat([own, grouped(answers, reasoner.classes)])


def edits_to_ask(here: Sequence[int], seed: int) -> tuple[list[Hidden], list[Hidden]]:
    """What is hidden: each of the concepts by itself, which the student is told of, and combinations of two and more,
    drawn, which it is judged by; `PASSES` in all."""
    single: list[Hidden] = [(j,) for j in here]
    several = [some for n in range(2, len(here) + 1) for some in combinations(here, n)]
    drawn = np.random.default_rng(seed).permutation(len(several))[: max(0, PASSES - len(single))]
    return single, [several[i] for i in drawn]


def correction(told: Tensor, answers: Tensor, left: Tensor, tried: Sequence[int]) -> Tensor:
    """What has to be added to the evidence (k + 1, scores) of nodes, the last of what is no concept, for a student to
    answer as the classifier does to a picture and without each of p concepts.

    `told` are the student's scores (p + 1, scores) and `answers` the classifier's probabilities, the picture's first;
    `left` (k,) is what there is of each concept in the picture, more than 0 of those `tried`. Of the probabilities
    those below `FLOOR` (less, of very many classes) are not told apart. There is one such correction that leaves other
    concepts alone.
    """
    off = answers.clamp_min(min(FLOOR, RAISED / answers.shape[1])).log().to(told) - told.log_softmax(dim=1)
    each = told.new_zeros(len(left) + 1, told.shape[1])
    each[list(tried)] = (off[0] - off[1:]) / left[list(tried), None]
    each[-1] = off[0] - left @ each[:-1]
    return each
