"""The lexicon of each edition whose captions `talk` makes and `reading` reads."""

from __future__ import annotations

from saywhy.aviary.cell_words import CELLS
from saywhy.aviary.lexicon import BIRDS, Lexicon

_KNOWN = {x.edition: x for x in (BIRDS, CELLS)}


def lexicon(edition: str) -> Lexicon:
    """The lexicon of an edition."""
    return _KNOWN[edition]
