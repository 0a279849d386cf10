"""Words: what regions look like, what may be said about them, and the sentences that say it."""

from saywhy.language.appearance import Appearance, appearance, look
from saywhy.language.claims import Claim, Region, kinds
from saywhy.language.sentences import parse, parse_all, write, write_all, written_all
from saywhy.language.telling import Found, labelled, prediction, tell
from saywhy.language.verify import Confirming

__all__ = [
    "Appearance",
    "Claim",
    "Confirming",
    "Found",
    "Region",
    "appearance",
    "kinds",
    "labelled",
    "look",
    "parse",
    "parse_all",
    "prediction",
    "tell",
    "write",
    "write_all",
    "written_all",
]
