"""The explanation as plain text for a terminal: the answer, the sentences, the numbers, the cost."""

from __future__ import annotations

from saywhy.explanation import Explanation
from saywhy.parts import PARTS
from saywhy.render.wording import clean, cost_line, file_name, headline, not_rewritten, read_as, told


def text(explanation: Explanation) -> bytes:
    """UTF-8 text: prediction, statements in order, a table of regions, what was dropped, the cost."""
    blocks = [f"{file_name(explanation)}: {headline(explanation)}", "\n".join(told(explanation))]
    blocks += [section(explanation) for part in PARTS.values() if (section := part.sections().text)]
    blocks.append("\n".join(_last_lines(explanation)))
    return ("\n\n".join(block for block in blocks if block) + "\n").replace("\u00a0", " ").encode()


def _last_lines(explanation: Explanation) -> list[str]:
    lines = []
    if explanation.skipped_claims:
        parts = "1 part" if explanation.skipped_claims == 1 else f"{explanation.skipped_claims} parts"
        lines.append(f"Not said to count, because the runs did not confirm it: {parts}.")
    if explanation.saliency and explanation.saliency.status != "ok":
        lines.append(
            f"Saliency ({clean(explanation.saliency.method)}): {explanation.saliency.status.replace('_', ' ')}."
        )
    lines += [why] if (why := not_rewritten(explanation)) else []
    return [*lines, *(f"Read as: {note}." for note in read_as(explanation)), cost_line(explanation)]
