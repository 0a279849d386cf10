"""What is said of the model's answer to a blank picture."""

from __future__ import annotations

from saywhy.parts import Kind, Sections

SECTIONS = Sections(kinds={"default": Kind(("Of a blank picture the model says {class0} too ({percent0}).",), 8, 3)})
