"""What an explanation claims, read from its public record: kinds, regions, stated losses; and whether another
explanation of the same picture, or of one hardly changed, says it again."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from saywhy.evaluate.scene_truth import Told
from saywhy.explanation import Effect, Explanation, Mask, Statement
from saywhy.image import Bools, Pixels

Overlap = list[list[float]]

SAME = 0.5  # IoU from which two regions are one
QUALITY = 95  # of the JPEG that a picture is written as again

# What each kind of sentence claims, a row of `scene_truth.JUDGES`; None for what is read from the model's output or
# says that there is nothing to say. Every kind of the package stands here, so that none escapes its judge.
CLAIMED: dict[str, str | None] = {
    "prediction": None,
    "asked": None,
    **dict.fromkeys(("present", "hardly_present", "hardly_absent", "absent", "compared")),
    "absent_without": "no-longer",
    "nothing": None,
    "unconfirmed": None,
    "counted_most": "counts",
    "came_next": "counts",
    "counted": "counts",
    "against": "against",
    "alone": "alone",
    "contrast": "rather",
    "flip": "flip",
    "no_longer": "no-longer",
    "needs": "needs",
    "stands_in": "stands-in",
    "context_suffices": "suffices",
    "context_part": "part",
    "context_little": "little",
    "counted_too": "counts",
    "text": None,
    "default": None,
    "unsteady": None,
    **dict.fromkeys((f"relation_{name}" for name in ("above", "below", "left", "right", "near", "far")), "relation"),
    **{
        f"{name}{whose}{how_many}": row
        for name, row in (("surroundings_decide", "decides"), ("surroundings_spared", "does-not-decide"))
        for whose in ("", "_yours")
        for how_many in ("", "_mostly")
    },
}


def claims_of(e: Explanation) -> tuple[Told, ...]:
    """The claims of all sentences; one that names several regions which count is as many claims."""
    numbers = {c.id: i for i, c in enumerate(e.concepts)}
    return tuple(told for s in e.statements for told in _claims(e, s, numbers))


def _claims(e: Explanation, s: Statement, numbers: Mapping[str, int]) -> list[Told]:
    kind = CLAIMED[s.kind]
    if kind is None:
        return []
    if kind == "relation":
        return [_related(e, s)]
    regions = tuple(dict.fromkeys(numbers[i] for i in s.evidence if i in numbers))
    classes = [span.class_index for span in s.spans if span.class_index is not None]
    if kind in ("counts", "against"):
        alone = len(regions) == 1 and s.effect is not None
        return [_counting(kind, i, s.effect if alone and s.effect else e.concepts[i].effect) for i in regions]
    if kind == "rather" and classes[0] != e.target.class_index:
        kind = "rather-other"
    return [Told(kind, regions, winner=classes[-1] if kind == "flip" else None)]


def _related(e: Explanation, s: Statement) -> Told:
    """The two pieces, the moved one first, and the shift that ends the relation."""
    found = e.parts["relations"]
    numbers = {piece["id"]: i for i, piece in enumerate(found["pieces"])}
    row = next(r for r in found["tried"] if r["confirmed"] and [r["moved"], r["kept"]] == list(s.evidence[:2]))
    return Told("relation", pieces=(numbers[row["moved"]], numbers[row["kept"]]), by=tuple(row["shift"]))


def _counting(kind: str, region: int, effect: Effect) -> Told:
    return Told(kind, (region,), -effect.high, -effect.low, effect.unit)


def masks_of(e: Explanation) -> Bools:
    """The regions (k, H, W) over the picture."""
    size = (e.image.height, e.image.width)
    return np.array([c.mask.array() for c in e.concepts], dtype=bool).reshape(-1, *size)


def pieces_of(e: Explanation) -> Bools:
    """The pieces (m, H, W) of its relations over the picture."""
    rows = (e.parts.get("relations") or {"pieces": []})["pieces"]
    masks = [Mask.model_validate(row["mask"]).array() for row in rows]
    return np.array(masks, dtype=bool).reshape(-1, e.image.height, e.image.width)


# --------------------------------------------------------------------------------------------------
# Is it said again?


@dataclass(frozen=True)
class Disturbance:
    """A change of a picture that hardly changes it, and where its masks lie in the picture as it was."""

    changed: Callable[[Pixels], Pixels]
    back: Callable[[Bools], Bools]
    summary: str


def _compressed(pixels: Pixels) -> Pixels:
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(kept).convert("RGB"))


def _shifted(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels[:, :1], pixels[:, :-1]], axis=1)


DISTURBANCES: dict[str, Disturbance] = {
    "seed": Disturbance(lambda p: p, lambda m: m, "another seed"),
    "jpeg": Disturbance(_compressed, lambda m: m, f"written as a JPEG of quality {QUALITY}"),
    "shift": Disturbance(_shifted, lambda m: np.roll(m, -1, -1), "moved by one pixel"),
    "flip": Disturbance(lambda p: np.ascontiguousarray(p[:, ::-1]), lambda m: m[..., ::-1], "mirrored"),
    "light": Disturbance(
        lambda p: np.clip(np.rint(p * 1.02), 0, 255).astype(np.uint8), lambda m: m, "two per cent brighter"
    ),
}


def said_again(before: Explanation, after: Explanation, how: Disturbance) -> list[bool]:
    """Of each claim of `before` whether `after` makes it: the kind, the winner, and regions that match by IoU."""
    regions, others = masks_of(before), how.back(masks_of(after))
    same = before.target.class_index == after.target.class_index
    overlap = _overlap(regions, others), _overlap(pieces_of(before), how.back(pieces_of(after)))
    found = claims_of(after)
    return [same and any(_alike(told, other, overlap) for other in found) for told in claims_of(before)]


def _alike(told: Told, other: Told, overlap: tuple[Overlap, Overlap]) -> bool:
    of_regions, of_pieces = overlap
    if (told.kind, told.winner, len(told.regions)) != (other.kind, other.winner, len(other.regions)):
        return False
    return all(max(of_regions[i][j] for j in other.regions) >= SAME for i in told.regions) and all(
        max(of_pieces[i][j] for j in other.pieces) >= SAME for i in told.pieces
    )


def _overlap(a: Bools, b: Bools) -> Overlap:
    """IoU of each region of one explanation with each of the other."""
    return [[float((p & q).sum() / max(1, (p | q).sum())) for q in b] for p in a]
