"""How regions are shown, and what is said of them."""

from __future__ import annotations

from saywhy.parts import Sections
from saywhy.regions.kinds import KINDS

SECTIONS = Sections(kinds=KINDS)
