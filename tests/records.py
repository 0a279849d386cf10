"""Explanations made up for tests of renderers: real photo where scikit-image is there, numbers that add up."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np

from saywhy.explanation import (
    ClassScore,
    ColourShare,
    ConceptRecord,
    Cost,
    EdgeRecord,
    Effect,
    Explanation,
    GameRecord,
    GraphRecord,
    ImageRecord,
    Mask,
    ModelRecord,
    Prediction,
    Provenance,
    Run,
    SaliencyRecord,
    Span,
    Statement,
    place_word,
)
from saywhy.image import Bools, Picture, Pixels, mask_box, thumbnail

FILLS = ("inpaint", "mean")
NAMES = ("tiger cat", "Egyptian cat", "lynx", "tabby", "red fox")
LOOKS = (
    ("large orange-brown", {"orange": 0.48, "brown": 0.31}, "large"),
    ("brown", {"brown": 0.71}, None),
    ("white-and-pink", {"white": 0.44, "pink": 0.22}, None),
    ("small pink", {"pink": 0.66}, "small"),
    ("black-and-white", {"black": 0.40, "white": 0.35}, None),
    ("grey", {"grey": 0.80}, None),
)


def photo(size: tuple[int, int] | None = None) -> Pixels:
    """Chelsea the cat (451 x 300), or a gradient of another size (width, height)."""
    if size is None:
        try:
            from skimage.data import chelsea

            return np.asarray(chelsea(), dtype=np.uint8)
        except ImportError:
            size = (451, 300)
    w, h = size
    y, x = np.mgrid[0:h, 0:w]
    rows = [x * 255 // max(1, w - 1), y * 255 // max(1, h - 1), (x + y) * 127 // max(1, w + h - 2)]
    return np.stack(rows, axis=-1).astype(np.uint8)


def cells(rng: np.random.Generator, size: tuple[int, int], seen: tuple[int, int, int, int], k: int) -> list[Bools]:
    """k wavy cells that fill an ellipse inside the crop, the largest first."""
    w, h = size
    x0, y0, x1, y1 = seen
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    u, v = (x + 0.5 - (x0 + x1) / 2) / (x1 - x0), (y + 0.5 - (y0 + y1) / 2) / (y1 - y0)
    u, v = u + 0.02 * np.sin(14 * v), v + 0.02 * np.sin(11 * u)
    inside = (u / 0.44) ** 2 + (v / 0.46) ** 2 < 1
    angle = np.arange(k) * 2 * np.pi / max(1, k) + rng.uniform(0, 6)
    reach = rng.uniform(0.18, 0.3, k) if k > 1 else np.zeros(1)
    centres = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    nearest = np.argmin([(u - cx) ** 2 + (v - cy) ** 2 for cx, cy in centres], axis=0) if k else np.zeros((h, w))
    return sorted((inside & (nearest == i) for i in range(k)), key=lambda m: -int(m.sum()))


def record(
    seed: int = 0,
    *,
    regions: int = 4,
    versus: bool = True,
    saliency: str | None = "ok",
    size: tuple[int, int] | None = None,
    names: tuple[str, ...] = NAMES,
    path: str | None = "photos/chelsea.png",
    empty: float = 0.03,
    skipped: int = 2,
    bare: bool = False,
    whole: bool = False,
    unit: str = "probability",
) -> Explanation:
    """One explanation; `bare` leaves out the thumbnail and the runs, `whole` lets the model see all of the photo."""
    rng = np.random.default_rng(seed)
    pixels = photo(size)
    h, w = pixels.shape[:2]
    side = round(0.875 * min(w, h))
    x, y = (w - side) // 2, (h - side) // 2
    seen = (0, 0, w, h) if whole else (x, y, x + side, y + side)
    full = 0.39
    gains = np.sort(rng.uniform(-0.1, 1.0, regions))[::-1]
    gains = gains * (full - empty) / (gains.sum() if regions else 1.0)
    contrasts = gains - rng.uniform(-0.05, 0.25, regions)
    top = tuple(
        ClassScore(class_index=280 + i, class_name=name, probability=p)
        for i, (name, p) in enumerate(zip(names, _falling(full, len(names)), strict=True))
    )
    concepts, runs = [], []
    for i, mask in enumerate(cells(rng, (w, h), seen, regions)):
        concepts.append(_concept(rng, i, mask, float(gains[i]), float(contrasts[i]) if versus else None, full))
        runs += _runs(rng, str(i + 1), float(gains[i]), full, empty)
    edges = tuple(_edge(rng, a, b, versus) for a, b in itertools.combinations([c.id for c in concepts], 2))
    graph = GraphRecord(class_index=280, nodes=tuple(c.id for c in concepts), edges=edges, fidelity={"spearman": 0.9})
    statements = _statements(concepts, names, full)
    picture = Picture(pixels, path, "")
    return Explanation(
        image=ImageRecord(path=path, sha256=hashlib.sha256(pixels.tobytes()).hexdigest(), width=w, height=h, seen=seen),
        model=ModelRecord(
            name="efficientnet-lite0",
            fingerprint="9f2c51d07ab3",
            layer="blocks.15",
            layer_reason="the last layer that still has a grid (7 x 7)",
        ),
        prediction=Prediction(**top[0].model_dump(), top=top),
        target=top[0],
        versus=top[1] if versus else None,
        saliency=_saliency(rng, saliency),
        concepts=tuple(concepts),
        game=GameRecord(unit=unit, full=full, empty=empty, fills=FILLS) if regions else None,
        graph=graph if regions else None,
        graphs=(graph,) if regions else (),
        attributes=(),
        statements=statements,
        skipped_claims=skipped,
        text="\n".join(s.text for s in statements),
        cost=Cost(forward_passes=97, tail_passes=12, seconds=2.345),
        provenance=Provenance(saywhy="0.1.0", torch="2.13.0", seed=seed, parts=()),
        thumbnail=b"" if bare else thumbnail(picture),
        runs=() if bare else tuple(runs),
    )


def _falling(first: float, n: int) -> list[float]:
    return [max(0.0, min(1.0, first * f)) for f in (1.0, 0.93, 0.2, 0.06, 0.004)[:n]]


def _concept(
    rng: np.random.Generator, i: int, mask: Bools, gain: float, contrast: float | None, full: float
) -> ConceptRecord:
    spread = float(rng.uniform(0.005, 0.03))
    lost = gain + float(rng.uniform(0, 0.05))
    look, shares, large_or_small = LOOKS[i % len(LOOKS)]
    return ConceptRecord(
        id=str(i + 1),
        name=None,
        name_confidence=None,
        hypothesis=280,
        present=True,
        look=look,
        colours=tuple(ColourShare(term=term, share=share) for term, share in shares.items()),
        size=large_or_small,
        beside=None,
        mask=Mask.of(mask),
        box=mask_box(mask),
        place=place_word(mask),
        score=float(mask.mean()),
        contribution=gain,
        contrast=contrast,
        importance=min(1.0, max(0.0, lost / full)),
        effect=Effect(change=-lost, low=-lost - spread, high=-lost + spread, runs=8, passes=8, fill="blur, mean"),
    )


def _runs(rng: np.random.Generator, region: str, gain: float, full: float, empty: float) -> list[Run]:
    rows = []
    for n, (act, fill, seed) in enumerate(itertools.product(("hide", "keep"), FILLS, (1, 2))):
        middle = full - gain if act == "hide" else empty + gain
        score = min(1.0, max(0.0, middle + float(rng.normal(0, 0.01))))
        rows.append(
            Run(id=f"r{region}-{n}", act=act, regions=(region,), fill=fill, seed=seed, score=score, contrast=None)
        )
    return rows


def _edge(rng: np.random.Generator, a: str, b: str, versus: bool) -> EdgeRecord:
    return EdgeRecord(
        id=f"{a}-{b}",
        source=a,
        target=b,
        relation="next to",
        distance=float(rng.uniform(0.1, 0.6)),
        contribution=float(rng.normal(0, 0.05)),
        contrast=float(rng.normal(0, 0.03)) if versus else None,
    )


def _saliency(rng: np.random.Generator, status: Any) -> SaliencyRecord | None:
    if status is None:
        return None
    y, x = np.mgrid[0:7, 0:7]
    values = np.exp(-((x - 3.4) ** 2 + (y - 3.8) ** 2) / 5) + rng.normal(0, 0.05, (7, 7))
    values = {"ok": values, "flat": values * 0, "all_negative": -abs(values), "not_finite": values * 0}[status]
    return SaliencyRecord(
        method="grad-cam",
        status=status,
        grid=(7, 7),
        minimum=float(values.min()),
        maximum=float(values.max()),
        values=tuple(tuple(float(v) for v in row) for row in values),
    )


def _statements(concepts: list[ConceptRecord], names: tuple[str, ...], full: float) -> tuple[Statement, ...]:
    target = (names[0], {"class_index": 280})
    told = [said("prediction", ("prediction",), None, "The model says ", target, f" ({100 * full:.0f} %).")]
    for c, kind in zip(concepts, ("counted most for", "counted for"), strict=False):
        value, low, high = (round(-100 * v) for v in (c.effect.change, c.effect.high, c.effect.low))
        where = "in the centre" if c.place == "centre" else f"at the {c.place}"
        told.append(
            said(
                "counted_most",
                (c.id,),
                c.effect,
                *("Region ", (c.id, {"region": c.id}), f", the {c.look} patch {where}, {kind} ", target),
                f": hiding it lowers the probability by {value} points ({low} to {high} in {c.effect.runs} runs).",
            )
        )
    if len(concepts) > 2:
        a, b = concepts[0], concepts[2]
        one, other = (a.id, {"region": a.id}), (b.id, {"region": b.id})
        tail = " need each other: seen together they add 6 points more than one by one."
        evidence = (a.id, b.id, f"{a.id}-{b.id}")
        told.append(said("needs", evidence, a.effect, "Region ", one, " and region ", other, tail))
    return tuple(told)


def said(
    kind: str, evidence: tuple[str, ...], effect: Effect | None, *pieces: str | tuple[str, dict[str, Any]]
) -> Statement:
    """A statement of pieces: plain text, or text with what it names, ("1", {"region": "1"})."""
    text, spans = "", []
    for piece in pieces:
        letters, named = (piece, None) if isinstance(piece, str) else piece
        if named:
            spans.append(Span(start=len(text), end=len(text) + len(letters), **named))
        text += letters
    return Statement(text=text, kind=kind, spans=tuple(spans), evidence=evidence, effect=effect, verified=True)
