"""The panel's canvas: its measures, and what is written and stamped on it. Pillow only."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from saywhy.render import wording

WIDTH, MARGIN, TALLEST = 1360, 40, 6000
SLOT = (WIDTH - 3 * MARGIN) // 2
INK, SOFT, PAPER, BADGE = "#1a1f24", "#57616b", "#ffffff", "#1a1f24"
LONGEST_NAME = 60
# No line of the panel holds more letters than this, however narrow they are.
LONGEST_LINE = 600
# Outlines are drawn this much larger and shrunk: Pillow's lines have jagged edges.
FINER = 2

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Place = tuple[float, float]


@cache
def font(size: int) -> Font:
    """Aileron in a size in pixels."""
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
    return bytes(font(20).getmask(c)) != bytes(font(20).getmask("\uffff"))


def write(canvas: Image.Image, at: Place, text: str, size: int, colour: str = INK, anchor: str = "la") -> float:
    """Writes one line and gives its width."""
    text = lettered(text)
    ImageDraw.Draw(canvas).text(at, text, font=font(size), fill=colour, anchor=anchor)
    return font(size).getlength(text)


def wrap(text: str, size: int, width: float) -> list[str]:
    """The text in lines that fit the width; a word that is too long is broken."""
    face, lines, line, text = font(size), [], "", lettered(text)
    for word in text.split(" "):
        trial = f"{line} {word}" if line else word
        if face.getlength(trial) <= width:
            line = trial
            continue
        if line:
            lines.append(line)
        while face.getlength(word[:LONGEST_LINE]) > width:
            n = _fitting(word, face, width)
            lines.append(word[:n])
            word = word[n:]
        line = word
    return [*lines, line] if line else lines


def _fitting(word: str, face: Font, width: float) -> int:
    """How many letters of a word fit the width, at least one; by halving, for a name may have thousands."""
    return max(1, bisect_right(range(1, LONGEST_LINE), width, key=lambda n: face.getlength(word[:n])))


def paragraph(canvas: Image.Image, at: Place, text: str, size: int, width: float, colour: str = INK) -> int:
    """Writes wrapped lines and gives the y below them; what does not fit on the panel is left out."""
    x, y = at
    step = round(size * 1.42)
    for line in wrap(text, size, width):
        if y + step > TALLEST - 400:
            write(canvas, (x, y), "…", size, colour)
            return int(y + step)
        write(canvas, (x, y), line, size, colour)
        y += step
    return int(y)


def short(text: str, longest: int = LONGEST_NAME) -> str:
    """The text in one line, cut to this many letters."""
    text = wording.clean(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def badge(draw: ImageDraw.ImageDraw, at: Place, name: str, radius: float) -> None:
    """A region's number in a disc."""
    x, y = at
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BADGE, outline="#ffffff", width=FINER)
    draw.text(at, name, font=font(round(radius * 1.15)), fill="#ffffff", anchor="mm")


def small_badge(canvas: Image.Image, at: tuple[int, int], name: str) -> None:
    """A region's number in a disc of 26 pixels, for a row of text."""
    tile = Image.new("RGB", (26 * FINER, 26 * FINER), PAPER)
    badge(ImageDraw.Draw(tile), (13 * FINER, 13 * FINER), name, 12 * FINER)
    canvas.paste(tile.resize((26, 26), Image.Resampling.LANCZOS), at)
