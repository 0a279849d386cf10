"""The regions on the panel: a bar for what each counts, with the range of what hiding it alone takes away."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from saywhy.explanation import ConceptRecord, Explanation
from saywhy.render import palette, wording
from saywhy.render.canvas import INK, MARGIN, PAPER, SLOT, SOFT, paragraph, short, small_badge, wrap, write

UNSURE = "#b4bac0"


def panel(canvas: Image.Image, e: Explanation, y: int) -> int:
    """Draws below y; gives the y below the bars."""
    unit = wording.unit_of(e)
    write(canvas, (MARGIN, y), f"What hiding each takes away, in {wording.unit_name(unit)}", 17, SOFT)
    if not e.concepts:
        return paragraph(canvas, (MARGIN, y + 30), "No part of the picture is known to count.", 16, SLOT)
    heads = [f"for {short(e.target.class_name)}"]
    if e.versus is not None:
        heads.append(f"rather than {short(e.versus.class_name)}")
    columns = [MARGIN + 235 + i * 205 for i in range(len(heads))]
    width = 150 if len(heads) == 2 else 355
    top = y + 28
    ends = [paragraph(canvas, (x, top), h, 14, width + 45, SOFT) for x, h in zip(columns, heads, strict=True)]
    low, high = wording.bar_limits(e)
    y = max(ends) + 6
    for concept in e.concepts:
        y = _bar_row(canvas, concept, wording.label_of(concept), y, columns, width, (low, high), unit)
    y = paragraph(canvas, (MARGIN, y + 10), wording.together(e), 15, SLOT, SOFT)
    return _bar_key(canvas, y + 4, e)


def _bar_row(
    canvas: Image.Image,
    c: ConceptRecord,
    label: str,
    y: int,
    columns: list[int],
    width: int,
    limits: tuple[float, float],
    unit: str,
) -> int:
    lines = wrap(short(label), 15, 192)[:3]
    height = max(34, 20 * len(lines) + 8)
    middle = y + height // 2
    small_badge(canvas, (MARGIN, middle - 13), c.id)
    for i, line in enumerate(lines):
        write(canvas, (MARGIN + 34, middle + 20 * (i - (len(lines) - 1) / 2)), line, 15, anchor="lm")
    values = [(c.contribution, (-c.effect.high, -c.effect.low)), (c.contrast, None)]
    for x, (value, span) in zip(columns, values, strict=False):
        if value is not None:
            _bar(canvas, (x, middle), width, value, span, limits, c.confirmed)
            write(canvas, (x + width + 44, middle), wording.points(value, unit), 15, INK if c.confirmed else SOFT, "rm")
    return y + height


def _bar(
    canvas: Image.Image,
    at: tuple[int, int],
    width: int,
    value: float,
    span: tuple[float, float] | None,
    limits: tuple[float, float],
    known: bool,
) -> None:
    x, middle = at

    def place(v: float) -> int:
        return round(x + width * wording.on_axis(v, limits))

    a, b = sorted((place(0), place(value)))
    _fill(canvas, (a, middle - 7, max(b, a + 1), middle + 7), value, known)
    draw = ImageDraw.Draw(canvas)
    draw.line((place(0), middle - 12, place(0), middle + 12), fill=SOFT)
    if span:
        ends = place(span[0]), max(place(span[1]), place(span[0]) + 1)
        draw.rectangle((ends[0] - 1, middle - 2, ends[1] + 1, middle + 2), fill=PAPER)
        draw.rectangle((ends[0], middle - 1, ends[1], middle + 1), fill=INK)


def _fill(canvas: Image.Image, box: tuple[int, int, int, int], value: float, known: bool = True) -> None:
    """A plain bar for what speaks for, a hatched one for what speaks against, a grey one for what is not confirmed."""
    x0, y0, x1, y1 = box
    bar = Image.new("RGB", (x1 - x0, y1 - y0), palette.sign_colour(value) if known else UNSURE)
    if value < 0:
        y, x = np.mgrid[y0:y1, x0:x1]
        stripes = Image.fromarray((((x + y) % 6) >= 4).astype(np.uint8) * 170)
        bar.paste(Image.new("RGB", bar.size, PAPER), (0, 0), stripes)
    canvas.paste(bar, (x0, y0))


def _bar_key(canvas: Image.Image, y: int, e: Explanation) -> int:
    x = MARGIN
    for value, what in ((1.0, "speaks for"), (-1.0, "speaks against")):
        _fill(canvas, (x, y + 4, x + 28, y + 16), value)
        x += 36 + round(write(canvas, (x + 34, y + 10), what, 15, SOFT, "lm")) + 22
    ImageDraw.Draw(canvas).rectangle((x, y + 9, x + 28, y + 11), fill=INK)
    write(canvas, (x + 34, y + 10), "90 %, whichever way", 15, SOFT, "lm")
    return paragraph(canvas, (MARGIN, y + 26), wording.bars_are(e), 15, SLOT, SOFT)
