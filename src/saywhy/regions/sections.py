"""How regions are shown, and what is said of them."""

from __future__ import annotations

from saywhy.explanation import Explanation
from saywhy.parts import Sections
from saywhy.regions.kinds import KINDS
from saywhy.regions.page import page
from saywhy.regions.panel import panel
from saywhy.render.wording import clean, label_of, points, together, unit_name, unit_of


def text(explanation: Explanation) -> str:
    """A table of regions and what hiding each takes away, and what all that count do together."""
    if not explanation.concepts:
        return ""
    unit, versus = unit_of(explanation), explanation.versus
    heads = ["", "region", f"for {_short(explanation.target.class_name)}"]
    rows = [[c.id, label_of(c), points(c.contribution, unit)] for c in explanation.concepts]
    if versus is not None:
        heads.append(f"vs {_short(versus.class_name)}")
        for row, c in zip(rows, explanation.concepts, strict=True):
            row.append("" if c.contrast is None else points(c.contrast, unit))
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join([*lines, f"What hiding each takes away, in {unit_name(unit)}. {together(explanation)}".rstrip()])


def _short(name: str, longest: int = 24) -> str:
    name = clean(name)
    return name if len(name) <= longest else name[: longest - 1] + "…"


SECTIONS = Sections(text=text, panel=panel, page=page, kinds=KINDS)
