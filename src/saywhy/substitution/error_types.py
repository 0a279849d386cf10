"""What kind of error it is, from what was measured; none where nothing is clear.

Source of the three kinds: the published account of the structural concept graphs of US 2025/0259436 A1.
"""

from __future__ import annotations

from saywhy.substitution.trying import Exchange

STRANGE = 0.7  # distance from every donor's piece, where 95 % of the donors' own stay below 1
EXPECTED = 0.2  # of the donors of both classes have something there, at least, where a concept belongs


def kind_of(found: Exchange, wanted: int, strange: float) -> str | None:
    """The kind of error: "false alarm" where a concept is found that no class has there, and without which the wanted
    one is said; else, where exchanging the worst piece makes the classifier say it, "unseen" if that piece is unlike
    all donors' (`strange`, as `Stock.strange` has it), and "confused" if it is like them. None where neither is so."""
    deleted, corrected = found.trial("deleted"), found.trial(found.corrected)
    strays = found.expected is not None and found.expected <= EXPECTED
    if strays and deleted is not None and deleted.flips(wanted):
        return "false alarm"
    if corrected is None or corrected is deleted or not corrected.flips(wanted):
        return None
    return "unseen" if strange > STRANGE else "confused"
