"""Which concepts of two bases are the same: how stable a bank is, and where names go when it is made anew."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from saywhy.concepts.discovery import Basis

ALIKE = 0.9  # cosine of two concepts' vectors, from which on they are taken for the same


def matched(first: Basis, second: Basis) -> dict[int, tuple[int, float]]:
    """For each concept of the first the one of the second that it is paired with, one to one so that the cosines of
    their vectors add up to the most, and that cosine. Where the second has fewer, some are paired with none.

    Source: Kuhn 1955.
    """
    cosines = (F.normalize(first.vectors, dim=1) @ F.normalize(second.vectors, dim=1).T).double().numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return {int(i): (int(j), float(cosines[i, j])) for i, j in zip(rows, columns, strict=True)}


def stability(first: Basis, second: Basis) -> dict[str, float]:
    """The mean cosine of matched concepts, and the share of them that are `ALIKE`."""
    cosines = np.array([cosine for _, cosine in matched(first, second).values()])
    return {"mean_cosine": float(cosines.mean()), "alike": float((cosines >= ALIKE).mean())}


def carried(names: Mapping[str, str], old: Basis, new: Basis) -> tuple[dict[str, str], dict[str, str]]:
    """Names by id of old concepts, as names of the new ones that are like them; and those that found none."""
    if old.vectors.shape[1] != new.vectors.shape[1]:
        return {}, dict(names)
    found = matched(old, new)
    goes = {id: found.get(int(id) - 1, (-1, 0.0)) for id in names}
    kept = {str(j + 1): names[id] for id, (j, cosine) in goes.items() if cosine >= ALIKE}
    return kept, {id: name for id, name in names.items() if goes[id][1] < ALIKE}
