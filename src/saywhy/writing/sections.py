"""How captions of near pictures are shown."""

from __future__ import annotations

from saywhy.explanation import Explanation
from saywhy.parts import Sections
from saywhy.render.wording import clean


def text(explanation: Explanation) -> str:
    """The nearest captions, with what they are."""
    found = explanation.parts.get("language")
    if not found:
        return ""
    head = "What people said of pictures like this one, by the classifier's own features (not checked):"
    return "\n".join([head, *(f"  {clean(said)} ({likeness:.2f})" for said, likeness in found["nearest"])])


SECTIONS = Sections(text=text)
