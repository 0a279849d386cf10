"""Ordinary words have no section of their own: regions are called by them."""

from __future__ import annotations

from saywhy.parts import Sections

SECTIONS = Sections()
