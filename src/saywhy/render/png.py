"""The explanation as one picture: photo, saliency, contributions and sentences on a panel. Pillow only."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from saywhy.explanation import Explanation
from saywhy.heat import ramp
from saywhy.parts import PARTS
from saywhy.render import palette, wording
from saywhy.render.canvas import (
    FINER,
    LONGEST_NAME,
    MARGIN,
    PAPER,
    SLOT,
    SOFT,
    TALLEST,
    WIDTH,
    badge,
    font,
    paragraph,
    short,
    wrap,
    write,
)
from saywhy.render.layout import Layout, layout_of
from saywhy.render.outline import chaikin

PICTURE_HEIGHT = 520
LINE, FRAME = "#dde1e6", "#ffffff"


def png(explanation: Explanation) -> bytes:
    """A PNG of 1360 pixels width; the same explanation gives the same bytes."""
    canvas = Image.new("RGB", (WIDTH, TALLEST), PAPER)
    y = _header(canvas, explanation)
    photo_end, sentences_start = _pictures(canvas, explanation, layout_of(explanation), y + 20)
    bottoms = (_sections(canvas, explanation, photo_end), _sentences(canvas, explanation, sentences_start))
    y = _foot(canvas, explanation, _below(canvas, explanation, max(bottoms)) + 24)
    out = io.BytesIO()
    canvas.crop((0, 0, WIDTH, min(TALLEST, y + MARGIN))).save(out, "PNG")
    return out.getvalue()


def _sections(canvas: Image.Image, e: Explanation, y: int) -> int:
    """What the parts draw below the photo, in the order of the table; gives the y below."""
    for part in PARTS.values():
        panel = part.sections().panel
        y = y if panel is None else panel(canvas, e, y + 28)
    return y


def _below(canvas: Image.Image, e: Explanation, y: int) -> int:
    """What the parts draw under both columns; gives the y below."""
    for part in PARTS.values():
        draw = part.sections().below
        y = y if draw is None else draw(canvas, e, y)
    return y


def _header(canvas: Image.Image, e: Explanation) -> int:
    name, rest = wording.title(e)
    y = MARGIN - 6
    lines = wrap(f"{short(name)} {wording.percent(e.target.probability)}", 36, WIDTH - 2 * MARGIN)
    width = 0.0
    for line in lines:
        # Aileron comes in one weight: a second stroke half a pixel beside the first makes it bolder.
        width = write(canvas, (MARGIN, y), line, 36)
        write(canvas, (MARGIN + 0.7, y), line, 36)
        y += 46
    if rest:
        rest = short(rest, 2 * LONGEST_NAME)
        if width + font(36).getlength(f", {rest}") <= WIDTH - 2 * MARGIN:
            write(canvas, (MARGIN + width, y - 46), f", {rest}", 36, SOFT)
        else:
            y = paragraph(canvas, (MARGIN, y), rest, 22, WIDTH - 2 * MARGIN, SOFT)
    sub = f"What {short(e.model.name)} saw in {short(wording.file_name(e))}, and what each part counted"
    return paragraph(canvas, (MARGIN, y + 2), sub, 17, WIDTH - 2 * MARGIN, SOFT)


def _pictures(canvas: Image.Image, e: Explanation, layout: Layout, y: int) -> tuple[int, int]:
    """Draws the photo and, where there is one, the saliency beside it; gives the y below and that of the sentences."""
    right = 2 * MARGIN + SLOT
    scale = min(SLOT / layout.view[0], PICTURE_HEIGHT / layout.view[1])
    plain = _photo(layout, scale, None)
    aside = (SLOT - plain.width) // 2
    canvas.paste(plain, (MARGIN + aside, y))
    below = y + plain.height + 10
    if not (e.saliency and palette.is_drawn(e.saliency)):
        end = paragraph(canvas, (MARGIN, below), f"{_photo_caption(e, layout)} {_no_saliency(e)}", 15, SLOT, SOFT)
        return end, y - 4
    canvas.paste(_photo(layout, scale, palette.heat(e.saliency, _crop_size(layout, scale))), (right + aside, y))
    end = paragraph(canvas, (MARGIN, below), _photo_caption(e, layout), 15, SLOT, SOFT)
    write(canvas, (right, below), f"Saliency by {short(e.saliency.method)}", 15, SOFT)
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
    return f"The saliency map by {short(e.saliency.method)} {wording.status_of(e.saliency)}."


def _ramp_key(canvas: Image.Image, x: int, y: int) -> None:
    write(canvas, (x - 8, y + 6), "little", 14, SOFT, "rm")
    row = np.repeat(np.linspace(0, 1, 120, dtype=np.float32)[None], 12, axis=0)
    canvas.paste(Image.fromarray(ramp(row)[..., :3]), (x, y))
    write(canvas, (x + 128, y + 6), "much", 14, SOFT, "lm")


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
        ImageDraw.Draw(image).text(top, "the photo is not in the record", font=font(16 * FINER), fill=SOFT, anchor="mm")
    _regions(image, layout, k, numbered=heat is None)
    return image.resize((max(1, size[0] // FINER), max(1, size[1] // FINER)), Image.Resampling.LANCZOS)


def _regions(image: Image.Image, layout: Layout, k: float, *, numbered: bool) -> None:
    draw = ImageDraw.Draw(image)
    for colour, width in (("#20262c", 4), ("#ffffff", 2)):
        for shape in layout.shapes:
            for ring in shape.rings:
                line = [(x * k, y * k) for x, y in chaikin(ring).tolist()]
                draw.line([*line, *line[:2]], fill=colour, width=width * FINER, joint="curve")
    for shape in layout.shapes if numbered else ():
        badge(draw, (shape.at[0] * k, shape.at[1] * k), shape.concept.id, 13 * FINER)


def _sentences(canvas: Image.Image, e: Explanation, y: int) -> int:
    x = 2 * MARGIN + SLOT
    write(canvas, (x, y), "In words", 17, SOFT)
    y += 30
    for line in wording.told(e):
        y = paragraph(canvas, (x, y), line, 18, SLOT) + 10
    if e.skipped_claims:
        y = paragraph(canvas, (x, y + 4), wording.not_said(e)[0], 15, SLOT, SOFT)
    return y


def _foot(canvas: Image.Image, e: Explanation, y: int) -> int:
    ImageDraw.Draw(canvas).line((MARGIN, y, WIDTH - MARGIN, y), fill=LINE)
    return paragraph(canvas, (MARGIN, y + 12), wording.cost_line(e), 14, WIDTH - 2 * MARGIN, SOFT)
