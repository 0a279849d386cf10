"""From what was seen, found and confirmed to the frozen Explanation: records only, no classifier is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import saywhy
from saywhy.errors import UsageError
from saywhy.explanation import (
    Cost,
    Explanation,
    ImageRecord,
    ModelRecord,
    Prediction,
    Provenance,
    Run,
    SaliencyRecord,
    Statement,
)
from saywhy.image import framing_notes, thumbnail
from saywhy.parts import Confirmed
from saywhy.passes import Meter
from saywhy.saliency import display
from saywhy.seen import Seen

TOP = 5


def to_explanation(
    seen: Seen,
    confirmed: Mapping[str, Confirmed],
    statements: Sequence[Statement],
    skipped: int,
    runs: Iterable[Run],
    *,
    meter: Meter,
    seconds: float,
    seed: int,
) -> Explanation:
    """The Explanation of what was seen, of what each part has confirmed by name, and of what is said.

    Raises:
        UsageError: two parts fill one field, or one a field that there is not, or its record is not JSON.
    """
    clf, method = seen.tap.clf, seen.attention.method
    own = {
        "image": _image(seen),
        "model": ModelRecord(
            name=clf.name or type(clf.net).__name__,
            fingerprint=clf.fingerprint,
            layer=seen.tap.point().path if clf.white_box else None,
            layer_reason="; ".join(filter(None, (clf.layer_reason, seen.attention.why))),
            notes=clf.notes,
        ),
        "prediction": _prediction(seen),
        "target": seen.score(seen.target),
        "versus": None if seen.versus is None else seen.score(seen.versus),
        "saliency": _saliency(seen.attention.raw, method),
        "statements": tuple(statements),
        "skipped_claims": skipped,
        "text": "\n".join(s.text for s in statements),
        "cost": Cost(forward_passes=meter.forward_passes, tail_passes=meter.tail_passes, seconds=round(seconds, 3)),
        "provenance": Provenance(
            saywhy=saywhy.__version__,
            torch=torch.__version__,
            seed=seed,
            parts=(f"saliency:{method}", *(what for c in confirmed.values() for what in c.made)),
        ),
        "thumbnail": thumbnail(seen.picture),
        "runs": tuple(runs),
        "parts": {name: _checked(name, c.record) for name, c in confirmed.items() if c.record is not None},
        "pictures": {name: c.pictures for name, c in confirmed.items() if c.pictures},
    }
    return Explanation(**_together(own, confirmed))


def _together(own: dict[str, Any], confirmed: Mapping[str, Confirmed]) -> dict[str, Any]:
    fields = own
    for name, part in confirmed.items():
        if twice := sorted(fields.keys() & part.fields.keys()):
            raise UsageError(f"the part {name} fills {', '.join(twice)}, which is filled already; use its `record`")
        if strange := sorted(part.fields.keys() - Explanation.model_fields.keys()):
            raise UsageError(f"the part {name} fills {', '.join(strange)}, which no Explanation has; use its `record`")
        fields = {**fields, **part.fields}
    return fields


def _checked(name: str, record: Any) -> Any:
    """The record of a part, if it is JSON: told here, where the part is known, and not by whoever writes it."""
    try:
        json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise UsageError(f"the record of the part {name} is not JSON: {e}") from e
    return record


def _prediction(seen: Seen) -> Prediction:
    order = seen.probabilities.argsort(descending=True)[:TOP]
    top = tuple(seen.score(int(c)) for c in order)
    return Prediction(**top[0].model_dump(), top=top, exclusive=seen.tap.clf.exclusive)


def _image(seen: Seen) -> ImageRecord:
    p = seen.picture
    notes = (*p.notes, *framing_notes(p, seen.box, seen.tap.clf.preprocess))
    return ImageRecord(path=p.path, sha256=p.sha256, width=p.width, height=p.height, seen=seen.box, notes=notes)


def _saliency(raw: Tensor, method: str) -> SaliencyRecord:
    h, w = raw.shape
    _, (status,) = display(raw[None], (h, w))
    values = torch.nan_to_num(raw.double(), posinf=0.0, neginf=0.0)
    if max(values.shape) > 64:  # perturbation methods answer per pixel; the record keeps what a page can show
        values = F.interpolate(values[None, None], scale_factor=56 / max(values.shape), mode="area")[0, 0]
    return SaliencyRecord(
        method=method,
        status=status,
        grid=(int(values.shape[0]), int(values.shape[1])),
        minimum=float(values.min()),
        maximum=float(values.max()),
        values=tuple(tuple(float(f"{v:.6g}") for v in row) for row in values.tolist()),
    )
