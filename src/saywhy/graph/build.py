"""From regions and a coalition game to the structural concept graph of one class (US 2025/0259436 A1, [0015], [0021]).

k regions as boolean masks (H, W) over the photo; contributions are pairwise interactions (k, k).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from saywhy.explanation import EdgeRecord, GraphRecord
from saywhy.image import Bools

Reals = NDArray[np.floating]


def spatial_relation(one: Bools, other: Bools) -> tuple[str, float]:
    """How `one` stands to `other`: a word for the direction of its centroid, and the distance over the diagonal.

    The larger of the two offsets decides; where both are small against the regions' own size, they overlap in place
    and the word is "at".
    """
    (y0, x0), (y1, x1) = _centroid(one), _centroid(other)
    dy, dx = y0 - y1, x0 - x1
    h, w = one.shape
    distance = float(np.hypot(dy, dx) / np.hypot(h, w))
    if distance < 0.02:
        return "at", distance
    if abs(dx) >= abs(dy):
        return ("right of" if dx > 0 else "left of"), distance
    return ("below" if dy > 0 else "above"), distance


def _centroid(mask: Bools) -> tuple[float, float]:
    ys, xs = np.nonzero(mask)
    return float(ys.mean()), float(xs.mean())


def region_graph(
    class_index: int,
    ids: Sequence[str],
    places: Sequence[tuple[tuple[str, float], ...]],
    interactions: Reals,
    contrasts: Reals | None,
    fidelity: dict[str, float],
    confirmed: frozenset[str] = frozenset(),
) -> GraphRecord:
    """The graph of one class: every pair of regions is an edge with its relation and its interaction.

    `places[i][j]` is `spatial_relation` of region i to region j; `confirmed` names the edges whose sign is known.
    """
    edges = [
        EdgeRecord(
            id=f"{ids[i]}-{ids[j]}",
            source=ids[i],
            target=ids[j],
            relation=places[i][j][0],
            distance=places[i][j][1],
            contribution=float(interactions[i, j]),
            contrast=None if contrasts is None else float(contrasts[i, j]),
            confirmed=f"{ids[i]}-{ids[j]}" in confirmed,
        )
        for i, j in combinations(range(len(ids)), 2)
    ]
    return GraphRecord(class_index=class_index, nodes=tuple(ids), edges=tuple(edges), fidelity=fidelity)
