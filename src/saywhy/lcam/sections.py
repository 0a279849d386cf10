"""L-CAM has no section of its own: its map is drawn as the explanation's saliency."""

from __future__ import annotations

from saywhy.parts import Sections

SECTIONS = Sections()
