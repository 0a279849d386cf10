"""The part `relations`: how two pieces of what counts lie to each other, said where moving one of them confirms it.

It looks only if asked (`explain --relations`). A piece is moved so that a relation ends; the other one as far, both as
far, and the piece as far elsewhere are the controls. H x W is the model's view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import torch
from torch import Tensor

from saywhy.explanation import Mask, place_word
from saywhy.image import Bools, Pixels, mask_box
from saywhy.intervene import CONFIRMING, displaced, seeded
from saywhy.language import Claim, Confirming, Found, Region, appearance, look
from saywhy.language.verify import Measured, points
from saywhy.parts import Confirmed, Face, Request
from saywhy.passes import counting
from saywhy.relations.kinds import kind_of
from saywhy.relations.pieces import Pieces, pieces
from saywhy.relations.trial import SCREEN, Movable, Search, Settled, moves_of, search
from saywhy.relations.turns import Turn
from saywhy.seen import Seen, as_jpeg

SIDE = 160
MOVES = ("one", "other", "both", "elsewhere")  # the columns of what was asked, as they stand in the record


@dataclass(frozen=True, eq=False)
class RelationsFound:
    """The pieces, what was tried on them, what each is called, in which ways, and the passes that it cost; or `why`
    nothing was tried."""

    pieces: Pieces
    search: Search
    words: Mapping[int, Region]
    ways: Sequence[tuple[str, int]]
    passes: int
    why: str | None = None


def find(part: None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> RelationsFound | None:
    """Relations of pieces that may speak for the target, each tried in five ways; None where nobody asked for them."""
    if not asked.relations or "regions" not in earlier:
        return None
    asked.tell("moving pieces of what counts")
    of = earlier["regions"]
    cut = pieces(seen.image, of.regions[list(of.fors)].cpu().numpy())
    masks = torch.from_numpy(cut.masks)
    side = Movable(seen.tap.clf, seen.image, masks, seen.target, float(seen.probabilities[seen.target]))
    least = of.evidence.noise.floor(len(CONFIRMING), "probability")
    with counting() as meter:
        found = search(side, mirror=of.evidence.mirror, least=least, seed=asked.seed)
    words = _named(seen, cut, of, found)
    why = "no region counts" if not of.fors else "fewer than two pieces can be moved" if len(masks) < 2 else None
    return RelationsFound(cut, found, words, seeded(CONFIRMING, asked.seed), meter.forward_passes, why)


def _named(seen: Seen, cut: Pieces, of: Any, found: Search) -> dict[int, Region]:
    """What each tried piece is called: the region that it is, or a letter after the number of the region it lies in."""
    pixels = (seen.colours * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    out: dict[int, Region] = {}
    letters = {parent: iter(ascii_lowercase) for parent in cut.parents}
    for i in dict.fromkeys(n for tried in found.tried for n in tried.turn.pair):
        words = of.evidence.regions[of.fors[cut.parents[i]]]
        if cut.whole[i]:
            seen_as = "" if words.spoken else look(words.appearance, words.shade)
            out[i] = Region(words.id, seen_as, words.place, words.beside, words.spoken)
        else:
            out[i] = _patch(f"{words.id}{next(letters[cut.parents[i]])}", pixels, cut.masks[i], seen)
    return out


def _patch(id: str, pixels: Pixels, mask: Bools, seen: Seen) -> Region:
    return Region(id, look(appearance(pixels, mask)), place_word(seen.on_photo(torch.from_numpy(mask))))


# --------------------------------------------------------------------------------------------------
# What is said, and the record.


def confirm(found: RelationsFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """Says each relation that holds."""
    said = [t for t in found.search.tried if t.holds]
    record = {
        "why": found.why,
        "pieces": [_piece(found, seen, i) for i in found.words],
        "looked_at": len(found.pieces.masks),
        "screened": found.search.screened,
        "tried": [_tried(found, seen, t) for t in found.search.tried],
        "passes": found.passes,
    }
    shown = tuple(jpeg for t in said for jpeg in before_and_after(seen, found.search.pieces, t.turn))
    claims = [_found(found, seen, t) for t in said]
    return Confirmed(claims, len(found.search.tried) - len(said), {}, record, ("relations",), shown)


def _found(found: RelationsFound, seen: Seen, t: Settled) -> Found:
    regions = (found.words[t.turn.moved], found.words[t.turn.kept])
    lost = _measured(found, t)
    left = float(t.picture[:, MOVES.index("both")].mean())
    claim = Claim(
        kind_of(t.turn.relation), regions, (seen.score(seen.target).class_name,), (points(left),),
        points(lost.value), points(lost.low), points(lost.high),
    )  # fmt: skip
    parents = dict.fromkeys(str(_parent(found, i)) for i in (t.turn.moved, t.turn.kept))
    evidence = tuple(dict.fromkeys((*(r.id for r in regions), *parents)))
    return Found(claim, evidence, lost.effect(), (seen.target,))


def _parent(found: RelationsFound, i: int) -> str:
    """The id of the region that a piece lies in."""
    return found.words[i].id.rstrip(ascii_lowercase)


def _measured(found: RelationsFound, t: Settled) -> Measured:
    """What ending the relation costs in the picture itself, in each way."""
    values = t.here["probability"].one
    return Measured(tuple(values.tolist()), tuple(found.ways), len(values), most=float(seen_whole(t)))


def seen_whole(t: Settled) -> float:
    """The target's probability in the picture as it is."""
    return float(t.picture[0, 0] + t.here["probability"].one[0])


def _piece(found: RelationsFound, seen: Seen, i: int) -> dict[str, Any]:
    mask = seen.on_photo(torch.from_numpy(found.pieces.masks[i]))
    word = found.words[i]
    return {
        "id": word.id,
        "region": _parent(found, i),
        "called": word.name or f"{word.look} patch",
        "place": word.place,
        "mask": Mask.of(mask).model_dump(mode="json"),
        "box": list(mask_box(mask)),
        "lost_by_hiding": float(found.search.lost[i]),
    }


def _tried(found: RelationsFound, seen: Seen, t: Settled) -> dict[str, Any]:
    runs = [
        {"fill": fill, "seed": s, "mirrored": mirrored, **dict(zip(MOVES, row.tolist(), strict=True))}
        for mirrored, rows in ((False, t.picture), (True, t.mirror))
        if rows is not None
        for (fill, s), row in zip(found.ways, rows, strict=True)
    ]
    lost = t.here["probability"]
    return {
        "moved": found.words[t.turn.moved].id,
        "kept": found.words[t.turn.kept].id,
        "relation": t.turn.relation,
        "shift": _on_photo(seen, t.turn.shift),
        "elsewhere": _on_photo(seen, t.turn.elsewhere),
        "lost": {name: float(getattr(lost, name).mean()) for name in MOVES},
        "confirmed": t.holds,
        "runs": runs,
    }


def _on_photo(seen: Seen, shift: tuple[int, int]) -> list[float]:
    """A shift (down, right) of the model's view in pixels of the photo."""
    x0, y0, x1, y1 = seen.box
    H, W = seen.image.shape[1:]
    return [shift[0] * (y1 - y0) / H, shift[1] * (x1 - x0) / W]


def before_and_after(seen: Seen, pieces: Tensor, turn: Turn) -> list[bytes]:
    """The picture with the relation ended, and with both pieces moved as far, as people see them: two JPEGs."""
    ended, _, both, _ = moves_of(turn)
    part = displaced(seen.colours, pieces, [ended, both], *SCREEN)
    rows = torch.arange(part.count)
    return [as_jpeg(picture, SIDE) for picture in part.pictures(rows, part.make(0, part.count))]


FACE = Face(find=find, confirm=confirm)
