"""The explanation as plain text for a terminal: the answer, the sentences, the numbers, the cost."""

from __future__ import annotations

from saywhy.explanation import Explanation
from saywhy.render.wording import clean, cost_line, file_name, game_sum, headline, label_of, points, unit_name, unit_of


def text(explanation: Explanation) -> bytes:
    """UTF-8 text: prediction, statements in order, a table of regions, what was dropped, the cost."""
    blocks = [f"{file_name(explanation)}: {headline(explanation)}", _said(explanation), _table(explanation)]
    blocks.append("\n".join(_last_lines(explanation)))
    return ("\n\n".join(block for block in blocks if block) + "\n").replace("\u00a0", " ").encode()


def _said(explanation: Explanation) -> str:
    if explanation.statements:
        return "\n".join(clean(s.text) for s in explanation.statements)
    return "\n".join(clean(line) for line in explanation.text.splitlines())


def _table(explanation: Explanation) -> str:
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
    return "\n".join([*lines, f"In {unit_name(unit)}. {game_sum(explanation)}".rstrip()])


def _short(name: str, longest: int = 24) -> str:
    name = clean(name)
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _last_lines(explanation: Explanation) -> list[str]:
    lines = []
    if explanation.skipped_claims:
        claims = "1 claim" if explanation.skipped_claims == 1 else f"{explanation.skipped_claims} claims"
        lines.append(f"Not said, because the runs did not confirm it: {claims}.")
    if explanation.saliency and explanation.saliency.status != "ok":
        lines.append(f"Saliency ({explanation.saliency.method}): {explanation.saliency.status.replace('_', ' ')}.")
    return [*lines, cost_line(explanation)]
