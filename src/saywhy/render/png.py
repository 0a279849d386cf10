"""The explanation as one picture: photo, saliency, contributions and sentences on a panel. Pillow only."""

from __future__ import annotations

import io
import unicodedata
from bisect import bisect_right
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from saywhy.explanation import ConceptRecord, Explanation
from saywhy.render import palette, wording
from saywhy.render.layout import Layout, layout_of
from saywhy.render.outline import chaikin

WIDTH, MARGIN, TALLEST = 1360, 40, 6000
SLOT = (WIDTH - 3 * MARGIN) // 2
PICTURE_HEIGHT = 520
INK, SOFT, LINE, PAPER, BADGE, FRAME = "#1a1f24", "#57616b", "#dde1e6", "#ffffff", "#1a1f24", "#ffffff"
LONGEST_NAME = 60
# No line of the panel holds more letters than this, however narrow they are.
LONGEST_LINE = 600
# Outlines are drawn this much larger and shrunk: Pillow's lines have jagged edges.
FINER = 2

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Place = tuple[float, float]


def png(explanation: Explanation) -> bytes:
    """A PNG of 1360 pixels width; the same explanation gives the same bytes."""
    canvas = Image.new("RGB", (WIDTH, TALLEST), PAPER)
    y = _header(canvas, explanation)
    photo_end, sentences_start = _pictures(canvas, explanation, layout_of(explanation), y + 20)
    bottoms = (_bars(canvas, explanation, photo_end + 28), _sentences(canvas, explanation, sentences_start))
    y = _foot(canvas, explanation, max(bottoms) + 24)
    out = io.BytesIO()
    canvas.crop((0, 0, WIDTH, min(TALLEST, y + MARGIN))).save(out, "PNG")
    return out.getvalue()


@cache
def _font(size: int) -> Font:
    # Aileron comes with Pillow; letters that it lacks are drawn as boxes.
    return ImageFont.load_default(size)


def lettered(text: str) -> str:
    """The text in letters that the font has: minus signs and accents are spelt plainer, the rest stays a box."""
    return "".join(_letter(c) for c in text)


@cache
def _letter(c: str) -> str:
    plain = {"\u2212": "-", "\u00a0": " ", "\u00d7": "x", "\u2013": "-", "\u2014": "-"}.get(c, c)
    if plain != c or _has(c):
        return plain
    base = unicodedata.normalize("NFKD", c)[:1]
    return base if base and _has(base) else c


def _has(c: str) -> bool:
    # A letter that the font lacks has the picture of one that no font has.
    return bytes(_font(20).getmask(c)) != bytes(_font(20).getmask("\uffff"))


def _write(canvas: Image.Image, at: Place, text: str, size: int, colour: str = INK, anchor: str = "la") -> float:
    """Writes one line and gives its width."""
    text = lettered(text)
    ImageDraw.Draw(canvas).text(at, text, font=_font(size), fill=colour, anchor=anchor)
    return _font(size).getlength(text)


def wrap(text: str, size: int, width: float) -> list[str]:
    """The text in lines that fit the width; a word that is too long is broken."""
    font, lines, line, text = _font(size), [], "", lettered(text)
    for word in text.split(" "):
        trial = f"{line} {word}" if line else word
        if font.getlength(trial) <= width:
            line = trial
            continue
        if line:
            lines.append(line)
        while font.getlength(word[:LONGEST_LINE]) > width:
            n = _fitting(word, font, width)
            lines.append(word[:n])
            word = word[n:]
        line = word
    return [*lines, line] if line else lines


def _fitting(word: str, font: Font, width: float) -> int:
    """How many letters of a word fit the width, at least one; by halving, for a name may have thousands."""
    return max(1, bisect_right(range(1, LONGEST_LINE), width, key=lambda n: font.getlength(word[:n])))


def _paragraph(canvas: Image.Image, at: Place, text: str, size: int, width: float, colour: str = INK) -> int:
    """Writes wrapped lines and gives the y below them; what does not fit on the panel is left out."""
    x, y = at
    step = round(size * 1.42)
    for line in wrap(text, size, width):
        if y + step > TALLEST - 400:
            _write(canvas, (x, y), "…", size, colour)
            return int(y + step)
        _write(canvas, (x, y), line, size, colour)
        y += step
    return int(y)


def _short(text: str, longest: int = LONGEST_NAME) -> str:
    text = wording.clean(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _header(canvas: Image.Image, e: Explanation) -> int:
    name, rest = wording.title(e)
    y = MARGIN - 6
    lines = wrap(f"{_short(name)} {wording.percent(e.target.probability)}", 36, WIDTH - 2 * MARGIN)
    width = 0.0
    for line in lines:
        # Aileron comes in one weight: a second stroke half a pixel beside the first makes it bolder.
        width = _write(canvas, (MARGIN, y), line, 36)
        _write(canvas, (MARGIN + 0.7, y), line, 36)
        y += 46
    if rest:
        rest = _short(rest, 2 * LONGEST_NAME)
        if width + _font(36).getlength(f", {rest}") <= WIDTH - 2 * MARGIN:
            _write(canvas, (MARGIN + width, y - 46), f", {rest}", 36, SOFT)
        else:
            y = _paragraph(canvas, (MARGIN, y), rest, 22, WIDTH - 2 * MARGIN, SOFT)
    sub = f"What {_short(e.model.name)} saw in {_short(wording.file_name(e))}, and what each part counted"
    return _paragraph(canvas, (MARGIN, y + 2), sub, 17, WIDTH - 2 * MARGIN, SOFT)


def _pictures(canvas: Image.Image, e: Explanation, layout: Layout, y: int) -> tuple[int, int]:
    """Draws the photo and, where there is one, the saliency beside it; gives the y below and that of the sentences."""
    right = 2 * MARGIN + SLOT
    scale = min(SLOT / layout.view[0], PICTURE_HEIGHT / layout.view[1])
    plain = _photo(layout, scale, None)
    aside = (SLOT - plain.width) // 2
    canvas.paste(plain, (MARGIN + aside, y))
    below = y + plain.height + 10
    if not (e.saliency and palette.is_drawn(e.saliency)):
        end = _paragraph(canvas, (MARGIN, below), f"{_photo_caption(e, layout)} {_no_saliency(e)}", 15, SLOT, SOFT)
        return end, y - 4
    canvas.paste(_photo(layout, scale, palette.heat(e.saliency, _crop_size(layout, scale))), (right + aside, y))
    end = _paragraph(canvas, (MARGIN, below), _photo_caption(e, layout), 15, SLOT, SOFT)
    _write(canvas, (right, below), f"Saliency by {_short(e.saliency.method)}", 15, SOFT)
    _ramp_key(canvas, right + SLOT - 170, below + 3)
    return end, end + 28


def _crop_size(layout: Layout, scale: float) -> tuple[int, int]:
    x0, y0, x1, y1 = layout.crop
    return max(1, round(FINER * scale * (x1 - x0))), max(1, round(FINER * scale * (y1 - y0)))


def _photo_caption(e: Explanation, layout: Layout) -> str:
    n = len(layout.shapes)
    said = (
        "No regions were measured."
        if not n
        else "One region."
        if n == 1
        else f"{n} regions, numbered by how much they count."
    )
    if layout.photo is None:
        said = f"The photo is not in the record. {said}"
    return said if layout.seen is None else f"{said} The model saw only what is inside the frame."


def _no_saliency(e: Explanation) -> str:
    if e.saliency is None:
        return "No saliency map was asked for."
    return f"The saliency map by {_short(e.saliency.method)} {wording.status_of(e.saliency)}."


def _ramp_key(canvas: Image.Image, x: int, y: int) -> None:
    _write(canvas, (x - 8, y + 6), "little", 14, SOFT, "rm")
    row = np.repeat(np.linspace(0, 1, 120, dtype=np.float32)[None], 12, axis=0)
    canvas.paste(Image.fromarray(palette.ramp(row)[..., :3]), (x, y))
    _write(canvas, (x + 128, y + 6), "much", 14, SOFT, "lm")


def _photo(layout: Layout, scale: float, heat: Image.Image | None) -> Image.Image:
    """The photo with the frame, and the regions over it: drawn twice as large, then shrunk."""
    k = FINER * scale
    size = (max(1, round(layout.view[0] * k)), max(1, round(layout.view[1] * k)))
    image = layout.photo.resize(size, Image.Resampling.BICUBIC) if layout.photo else Image.new("RGB", size, "#cfd4d9")
    x0, y0, x1, y1 = (round(v * k) for v in layout.crop)
    if heat:
        image = ImageEnhance.Brightness(ImageEnhance.Color(image).enhance(0.1)).enhance(0.75)
        image.paste(heat, (x0, y0), heat)
    if layout.seen:
        dark = ImageEnhance.Brightness(image).enhance(0.5)
        dark.paste(image.crop((x0, y0, x1, y1)), (x0, y0))
        image = dark
        ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), outline=FRAME, width=FINER)
    if not layout.photo:
        top = (size[0] / 2, 0.05 * size[1])
        ImageDraw.Draw(image).text(
            top, "the photo is not in the record", font=_font(16 * FINER), fill=SOFT, anchor="mm"
        )
    _regions(image, layout, k, numbered=heat is None)
    return image.resize((max(1, size[0] // FINER), max(1, size[1] // FINER)), Image.Resampling.LANCZOS)


def _regions(image: Image.Image, layout: Layout, k: float, *, numbered: bool) -> None:
    draw = ImageDraw.Draw(image)
    for colour, width in (("#20262c", 4), ("#ffffff", 2)):
        for shape in layout.shapes:
            for ring in shape.rings:
                line = [(float(x * k), float(y * k)) for x, y in chaikin(ring)]
                draw.line([*line, *line[:2]], fill=colour, width=width * FINER, joint="curve")
    for shape in layout.shapes if numbered else ():
        _badge(draw, (shape.at[0] * k, shape.at[1] * k), shape.concept.id, 13 * FINER)


def _badge(draw: ImageDraw.ImageDraw, at: Place, name: str, radius: float) -> None:
    x, y = at
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BADGE, outline="#ffffff", width=FINER)
    draw.text(at, name, font=_font(round(radius * 1.15)), fill="#ffffff", anchor="mm")


def _small_badge(canvas: Image.Image, at: tuple[int, int], name: str) -> None:
    tile = Image.new("RGB", (26 * FINER, 26 * FINER), PAPER)
    _badge(ImageDraw.Draw(tile), (13 * FINER, 13 * FINER), name, 12 * FINER)
    canvas.paste(tile.resize((26, 26), Image.Resampling.LANCZOS), at)


def _bars(canvas: Image.Image, e: Explanation, y: int) -> int:
    unit = wording.unit_of(e)
    _write(canvas, (MARGIN, y), f"Contribution, in {wording.unit_name(unit)}", 17, SOFT)
    if not e.concepts:
        return _paragraph(canvas, (MARGIN, y + 30), "No regions were measured.", 16, SLOT)
    heads = [f"for {_short(e.target.class_name)}"]
    if e.versus is not None:
        heads.append(f"rather than {_short(e.versus.class_name)}")
    columns = [MARGIN + 235 + i * 205 for i in range(len(heads))]
    width = 150 if len(heads) == 2 else 355
    top = y + 28
    ends = [_paragraph(canvas, (x, top), h, 14, width + 45, SOFT) for x, h in zip(columns, heads, strict=True)]
    low, high = wording.bar_limits(e)
    y = max(ends) + 6
    for concept in e.concepts:
        y = _bar_row(canvas, concept, wording.label_of(concept), y, columns, width, (low, high), unit)
    y = _paragraph(canvas, (MARGIN, y + 10), wording.game_sum(e), 15, SLOT, SOFT)
    return _bar_key(canvas, y + 4, len(e.concepts))


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
    lines = wrap(_short(label), 15, 192)[:3]
    height = max(34, 20 * len(lines) + 8)
    middle = y + height // 2
    _small_badge(canvas, (MARGIN, middle - 13), c.id)
    for i, line in enumerate(lines):
        _write(canvas, (MARGIN + 34, middle + 20 * (i - (len(lines) - 1) / 2)), line, 15, anchor="lm")
    values = [(c.contribution, (-c.effect.high, -c.effect.low)), (c.contrast, None)]
    for x, (value, span) in zip(columns, values, strict=False):
        if value is not None:
            _bar(canvas, (x, middle), width, value, span, limits)
            _write(canvas, (x + width + 44, middle), wording.points(value, unit), 15, anchor="rm")
    return y + height


def _bar(
    canvas: Image.Image,
    at: tuple[int, int],
    width: int,
    value: float,
    span: tuple[float, float] | None,
    limits: tuple[float, float],
) -> None:
    x, middle = at
    low, high = limits

    def place(v: float) -> int:
        return round(x + width * (v - low) / (high - low))

    a, b = sorted((place(0), place(value)))
    _fill(canvas, (a, middle - 7, max(b, a + 1), middle + 7), value)
    draw = ImageDraw.Draw(canvas)
    draw.line((place(0), middle - 12, place(0), middle + 12), fill=SOFT)
    if span:
        ends = place(span[0]), max(place(span[1]), place(span[0]) + 1)
        draw.rectangle((ends[0] - 1, middle - 2, ends[1] + 1, middle + 2), fill=PAPER)
        draw.rectangle((ends[0], middle - 1, ends[1], middle + 1), fill=INK)


def _fill(canvas: Image.Image, box: tuple[int, int, int, int], value: float) -> None:
    """A plain bar for what speaks for, a hatched one for what speaks against."""
    x0, y0, x1, y1 = box
    bar = Image.new("RGB", (x1 - x0, y1 - y0), palette.sign_colour(value))
    if value < 0:
        y, x = np.mgrid[y0:y1, x0:x1]
        stripes = Image.fromarray((((x + y) % 6) >= 4).astype(np.uint8) * 170)
        bar.paste(Image.new("RGB", bar.size, PAPER), (0, 0), stripes)
    canvas.paste(bar, (x0, y0))


def _bar_key(canvas: Image.Image, y: int, regions: int) -> int:
    x = MARGIN
    for value, what in ((1.0, "speaks for"), (-1.0, "speaks against")):
        _fill(canvas, (x, y + 4, x + 28, y + 16), value)
        x += 36 + round(_write(canvas, (x + 34, y + 10), what, 15, SOFT, "lm")) + 22
    ImageDraw.Draw(canvas).rectangle((x, y + 9, x + 28, y + 11), fill=INK)
    _write(canvas, (x + 34, y + 10), "hiding it alone, all runs", 15, SOFT, "lm")
    return _paragraph(canvas, (MARGIN, y + 26), wording.bars_are(regions), 15, SLOT, SOFT)


def _sentences(canvas: Image.Image, e: Explanation, y: int) -> int:
    x = 2 * MARGIN + SLOT
    _write(canvas, (x, y), "In words", 17, SOFT)
    y += 30
    for line in [s.text for s in e.statements] or e.text.splitlines():
        y = _paragraph(canvas, (x, y), wording.clean(line), 18, SLOT) + 10
    if e.skipped_claims:
        y = _paragraph(canvas, (x, y + 4), wording.not_said(e)[0], 15, SLOT, SOFT)
    return y


def _foot(canvas: Image.Image, e: Explanation, y: int) -> int:
    ImageDraw.Draw(canvas).line((MARGIN, y, WIDTH - MARGIN, y), fill=LINE)
    return _paragraph(canvas, (MARGIN, y + 12), wording.cost_line(e), 14, WIDTH - 2 * MARGIN, SOFT)
