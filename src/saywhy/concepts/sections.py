"""Concepts have no section of their own yet: `saywhy concepts` shows the bank."""

from __future__ import annotations

from saywhy.parts import Sections

SECTIONS = Sections()
