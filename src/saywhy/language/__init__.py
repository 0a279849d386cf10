"""Words: what regions look like, what may be said about them, and the sentences that say it."""

from saywhy.language.appearance import Appearance, appearance, look
from saywhy.language.claims import CLAIMS, Claim, Region
from saywhy.language.describe import describe
from saywhy.language.propose import Evidence, RegionWords, wanted
from saywhy.language.sentences import parse, parse_all, write, write_all, written_all
from saywhy.language.verify import Confirming

__all__ = [
    "CLAIMS",
    "Appearance",
    "Claim",
    "Confirming",
    "Evidence",
    "Region",
    "RegionWords",
    "appearance",
    "describe",
    "look",
    "parse",
    "parse_all",
    "wanted",
    "write",
    "write_all",
    "written_all",
]
