"""What stands on the panel: every word once, in its place, readable and whole; bars, keys and outlines as measured."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from records import record
from saywhy import heat
from saywhy.explanation import Explanation
from saywhy.render import palette, wording
from saywhy.render.canvas import INK, MARGIN, PAPER, SLOT, SOFT, WIDTH, badge, lettered, paragraph, short, wrap, write
from saywhy.render.layout import layout_of
from saywhy.render.png import PICTURE_HEIGHT, png
from test_render import CASES, made

Box = tuple[float, float, float, float]
GREY = "#b4bac0"


@dataclass
class Panel:
    """A drawn panel, the texts on it with their boxes and colours, the lines, and what was pasted where."""

    pixels: np.ndarray
    texts: list[tuple[str, Box, str]] = field(default_factory=list)
    lines: list[tuple[Any, str]] = field(default_factory=list)
    pasted: list[tuple[Image.Image, tuple[int, int]]] = field(default_factory=list)
    badges: list[tuple[str, int, tuple[float, float]]] = field(default_factory=list)  # name, width of what it is on
    aside: dict[str, tuple[Box, str]] = field(default_factory=dict)  # what is written on the photo: box and colour

    def box(self, text: str, number: int = 0) -> Box:
        return [box for t, box, _ in self.texts if t == lettered(text)][number]

    def said(self) -> str:
        return " ".join(t for t, _, _ in self.texts)


def drawn(e: Explanation) -> Panel:
    """Draws the panel and watches."""
    out = Panel(np.zeros(()))
    with pytest.MonkeyPatch.context() as patch:
        text, line, paste = ImageDraw.ImageDraw.text, ImageDraw.ImageDraw.line, Image.Image.paste

        def watched(self: Any, xy: Any, said: str, **how: Any) -> None:
            if self._image.width == WIDTH:
                box = self.textbbox(xy, said, font=how["font"], anchor=how.get("anchor"))
                out.texts.append((said, box, how["fill"]))
            else:
                out.badges.append((said, self._image.width, xy))
                box = self.textbbox(xy, said, font=how.get("font"), anchor=how.get("anchor"))
                out.aside[said] = (box, how.get("fill", "#ffffff"))
            text(self, xy, said, **how)

        def ruled(self: Any, xy: Any, *, fill: str | None = None, **how: Any) -> None:
            if self._image.width == WIDTH:
                out.lines.append((xy, fill or PAPER))
            line(self, xy, fill=fill, **how)

        def put(self: Any, im: Any, box: Any = None, mask: Any = None) -> None:
            if self.width == WIDTH:
                out.pasted.append((im, box))
            paste(self, im, box, mask)

        patch.setattr(ImageDraw.ImageDraw, "text", watched)
        patch.setattr(ImageDraw.ImageDraw, "line", ruled)
        patch.setattr(Image.Image, "paste", put)
        out.pixels = np.asarray(Image.open(io.BytesIO(png(e))))
    return out


@cache
def of(name: str) -> Panel:
    return drawn(made(name))


@pytest.fixture(params=CASES, name="name")
def _name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rgb(colour: str) -> tuple[int, ...]:
    return ImageColor.getrgb(colour)


def there(pixels: np.ndarray, colour: str) -> np.ndarray:
    return np.asarray((pixels == rgb(colour)).all(axis=-1))


def luminance(colour: str) -> float:
    parts = [c / 255 for c in rgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    a, b = sorted((luminance(one), luminance(other)))
    return (b + 0.05) / (a + 0.05)


# --------------------------------------------------------------------------------------------------
# Words.


def assert_apart(panel: Panel) -> None:
    """Asserts that every text is whole, and that no two cover each other."""
    height, width = panel.pixels.shape[:2]
    assert panel.texts
    boxes = []
    for text, (x0, y0, x1, y1), _ in panel.texts:
        assert x0 >= MARGIN - 1 and x1 <= width - MARGIN + 2 and y0 >= 0 and y1 <= height, text
        # The name of the class is stroked twice to be bolder; half a pixel is no second text.
        if text.strip() and text not in [t for t, b in boxes if abs(b[0] - x0) < 1]:
            boxes.append((text, (x0, y0, x1, y1)))
    for i, (text, a) in enumerate(boxes):
        for other, b in boxes[:i]:
            apart = a[0] >= b[2] - 3 or b[0] >= a[2] - 3 or a[1] >= b[3] - 1 or b[1] >= a[3] - 1
            assert apart, f"{text!r} over {other!r}"


def test_nothing_is_cut_off_and_no_two_texts_cover_each_other(name: str) -> None:
    assert_apart(of(name))


@pytest.mark.parametrize("names", [("a cat", "b" * 59), ("a" * 59, "b cat"), ("a " * 29, "b " * 29)])
def test_long_names_of_classes_push_what_stands_below_them_down(names: tuple[str, str]) -> None:
    e = record(4, regions=3, names=(*names, "c", "d", "e"))
    panel = drawn(e)
    assert_apart(panel)
    ends = [b[3] for t, b, _ in panel.texts if b[1] < rows(panel)["1"][0] and b[0] >= MARGIN + 200 and b[2] < SLOT + 80]
    assert max(ends) <= rows(panel)["1"][0] + 4


def test_no_control_character_reaches_the_panel() -> None:
    hostile = "a\x1b[31m\nb"
    e = record(2, regions=2, names=(hostile,) * 5, path=f"{hostile}.png")
    loud = tuple(s.model_copy(update={"text": f"{s.text}\x1b", "spans": ()}) for s in e.statements)
    model = e.model.model_copy(update={"name": hostile})
    for status in ("ok", "flat"):
        saliency = record(saliency=status).saliency
        assert saliency is not None
        update = {"statements": loud, "model": model, "saliency": saliency.model_copy(update={"method": hostile})}
        assert all(t.isprintable() for t, _, _ in drawn(e.model_copy(update=update)).texts)


def test_no_text_stands_on_a_picture_or_a_bar(name: str) -> None:
    panel = of(name)
    for im, at in panel.pasted:
        w, h = im.size
        for text, (x0, y0, x1, y1), _ in panel.texts:
            assert x1 <= at[0] + 1 or x0 >= at[0] + w - 1 or y1 <= at[1] + 1 or y0 >= at[1] + h - 1, text


def test_every_letter_and_line_is_dark_enough_on_the_paper(name: str) -> None:
    panel = of(name)
    assert all(contrast(colour, PAPER) >= 4.5 for _, _, colour in panel.texts)
    assert all(colour != PAPER and contrast(colour, PAPER) > 1.2 for _, colour in panel.lines)


def test_the_panel_says_all_that_it_shows_in_reading_order(name: str) -> None:
    e, said = made(name), of(name).said()
    title, rest = wording.title(e)
    shown = e.concepts
    head = [f"{short(title)} {wording.percent(e.target.probability)}"]
    lines = [s.text for s in e.statements] or e.text.splitlines()
    for text in [*head, *([short(rest, 120)] if rest else []), *lines, wording.cost_line(e)]:
        assert lettered("".join(text.split())) in "".join(said.split()), text
    assert f"What {lettered(short(e.model.name))} saw in" in said and lettered(wording.file_name(e)) in said
    order = [lettered(wording.label_of(c))[:20] for c in shown]
    places = [said.find(o) for o in order]
    assert -1 not in places and places == sorted(places)
    assert ("Saliency by" in said) == palette.is_drawn(e.saliency)
    if e.saliency and not palette.is_drawn(e.saliency):
        assert f"The saliency map by grad-cam {wording.status_of(e.saliency)}." in said
    assert ("No saliency map was asked for." in said) == (e.saliency is None)
    assert ("parts were tried" in said) == bool(e.skipped_claims)
    assert ("The photo is not in the record." in said) == (not e.thumbnail)
    assert ("The model saw only what is inside the frame." in said) == (not wording.crop_is_whole(e))
    count = {0: "No regions were measured.", 1: "One region."}
    assert count.get(len(layout_of(e).shapes), f"{len(layout_of(e).shapes)} regions, numbered by how much") in said
    assert ("No part of the picture is known to count." in said) == (not shown)
    assert (f"What hiding each takes away, in {wording.unit_name(wording.unit_of(e))}") in said


def test_what_all_that_counts_does_together_stands_below_the_bars() -> None:
    found = {"alone": {"value": 0.71, "low": 0.5, "high": 0.9}, "without": {"value": 0.04, "low": 0, "high": 0.1}}
    e = record().model_copy(update={"parts": {"regions": {"sufficiency": {"regions": ["1"], **found}}}})
    assert lettered(wording.together(e)) in drawn(e).said()


def test_the_rest_of_the_title_stands_beside_it_where_it_fits_and_below_where_it_does_not() -> None:
    for names, beside in ((("cat", "dog", "c", "d", "e"), True), (("cat" * 18, "dog" * 15, "c", "d", "e"), False)):
        e = record(names=names)
        panel = drawn(e)
        title, _ = wording.title(e)
        head = panel.box(f"{title} {wording.percent(e.target.probability)}")
        tail = next(box for t, box, _ in panel.texts if t.lstrip(", ").startswith("ahead of"))
        assert (tail[0] >= head[2] - 3 and tail[1] < head[3]) == beside
        assert (tail[1] >= head[3]) != beside


def test_title_pictures_bars_and_foot_come_one_below_the_other(name: str) -> None:
    e, panel = made(name), of(name)
    title = panel.texts[0][1]
    sub = next(box for t, box, _ in panel.texts if t.startswith("What "))
    photo, at = panel.pasted[0]
    bars = next(b for t, b, _ in panel.texts if t.startswith("What hiding each takes away"))
    foot = next(b for t, b, _ in panel.texts if t.startswith(lettered(wording.cost_line(e))[:12]) and b is not sub)
    (rule, _) = next((xy, c) for xy, c in panel.lines if xy[2] - xy[0] == WIDTH - 2 * MARGIN)
    assert title[3] <= sub[3] <= at[1] < at[1] + photo.height <= bars[1]
    assert all(b[3] <= rule[1] for t, b, _ in panel.texts if b[1] < foot[1] - 1) and rule[1] <= foot[1]
    words = panel.box("In words")
    assert words[0] >= 2 * MARGIN + SLOT - 1, "sentences in the right half"
    assert panel.pixels.shape[0] - foot[3] <= 3 * MARGIN, "and the panel ends below the foot"


# --------------------------------------------------------------------------------------------------
# Bars.


def rows(panel: Panel) -> dict[str, tuple[int, int]]:
    """Where each region's row begins and ends: its disc."""
    names = [name for name, width, _ in panel.badges if width == 52]
    discs = [at for im, at in panel.pasted if im.size == (26, 26)]
    return {name: (at[1], at[1] + 26) for name, at in zip(names, discs, strict=True)}


@pytest.mark.parametrize("versus", [True, False])
@pytest.mark.parametrize("unit", ["probability", "log-odds"])
def test_numbers_and_bars_stand_in_the_row_of_their_region_on_one_scale(versus: bool, unit: str) -> None:
    e = record(5, regions=4, versus=versus)
    scale = 1 if unit == "probability" else 10
    values = ((0.5, -0.2), (0.25, 0.4), (-0.3, 0.0), (0.02, 0.9))
    e = e.model_copy(update={"concepts": tuple(
        c.model_copy(update={"contribution": scale * a, "contrast": scale * b if versus else None, "effect":
            c.effect.model_copy(update={"unit": unit, "change": -scale * a, "low": -scale * (a + 0.1),
                                        "high": -scale * (a - 0.1)})})
        for c, (a, b) in zip(e.concepts, values, strict=True))})  # fmt: skip
    panel = drawn(e)
    assert list(rows(panel)) == [c.id for c in e.concepts], "in the order of the record"
    zeros: dict[int, set[int]] = {}
    for c, (top, bottom) in zip(e.concepts, rows(panel).values(), strict=True):
        for column, value in enumerate((c.contribution, c.contrast)):
            if value is None:
                continue
            number = lettered(wording.points(value, unit))
            box = next(b for t, b, _ in panel.texts if t == number and b[1] < bottom and b[3] > top
                       and (b[2] > MARGIN + 400 if column or not versus else b[2] <= MARGIN + 440))  # fmt: skip
            left = MARGIN + 235 + 205 * column
            row = panel.pixels[top:bottom, left : int(box[0])]
            colour = there(row, palette.sign_colour(value))
            (zero,) = {xy[0] for xy, _ in panel.lines if xy[0] == xy[2] and top <= (xy[1] + xy[3]) / 2 <= bottom
                       and left <= xy[0] < box[0]}  # fmt: skip
            zeros.setdefault(column, set()).add(int(zero))
            width = 150 if versus else 355
            xs = left + np.flatnonzero(colour.any(axis=0))
            length = round(width * abs(value) / (2 * scale))
            if length > 3:
                assert (xs.min() >= zero - 1) if value > 0 else (xs.max() <= zero + 1)
                assert np.ptp(xs) == pytest.approx(length, abs=4), "as long as the number says"
            if length > 12:
                a, b = sorted((int(zero), int(zero) + (length if value > 0 else -length)))
                upper = panel.pixels[(top + bottom) // 2 - 6 : (top + bottom) // 2 - 3, a + 3 : b - 3]
                plain = there(upper, palette.sign_colour(value)).mean()
                assert plain == 1 if value > 0 else 0.4 < plain < 0.9, "what is against is hatched, it alone"
            if column == 0:  # the thin line of the range, ink framed by paper
                ink = left + np.flatnonzero(there(row, INK).any(axis=0))
                assert np.ptp(ink) == pytest.approx(width * 0.2 / 2, abs=4)
                middle = zero + width * value / (2 * scale)
                assert (ink.min() + ink.max()) / 2 == pytest.approx(middle, abs=3)
    assert all(len(of) == 1 for of in zeros.values()), "zero stands in one place"


def test_an_unconfirmed_bar_is_grey_and_its_number_soft() -> None:
    e = record(3, regions=3, versus=False)
    concepts = tuple(c.model_copy(update={"confirmed": i != 0}) for i, c in enumerate(e.concepts))
    panel = drawn(e.model_copy(update={"concepts": concepts}))
    (top, bottom) = rows(panel)["1"]
    assert there(panel.pixels[top:bottom, :SLOT], GREY).sum() > 50
    assert not there(panel.pixels[top:bottom, MARGIN + 60 : SLOT], palette.FOR).any()
    number = lettered(wording.points(e.concepts[0].contribution))
    assert next(c for t, b, c in panel.texts if t == number and b[1] < bottom and b[3] > top) == SOFT
    for c in e.concepts[1:]:
        top, bottom = rows(panel)[c.id]
        number = lettered(wording.points(c.contribution))
        assert next(k for t, b, k in panel.texts if t == number and b[1] < bottom and b[3] > top) == INK
        assert not there(panel.pixels[top:bottom, :SLOT], GREY).any()


def test_the_columns_name_their_classes_and_the_key_its_colours() -> None:
    panel = drawn(record(4, regions=3))
    of, rather = panel.box("for tiger cat"), panel.box("rather than Egyptian cat")
    assert of[2] <= rather[0] and of[1] == rather[1]
    assert "rather than" not in drawn(record(4, regions=3, versus=False)).said()
    for what, colour in (("speaks for", palette.FOR), ("speaks against", palette.AGAINST)):
        x0, y0, _, y1 = (round(v) for v in panel.box(what))
        assert there(panel.pixels[y0:y1, x0 - 40 : x0 - 2], colour).sum() > 100
    x0, y0, _, y1 = (round(v) for v in panel.box("90 %, whichever way"))
    assert there(panel.pixels[y0:y1, x0 - 40 : x0 - 2], INK).sum() >= 28, "the thin line"
    assert there(panel.pixels[y0:y1, x0 - 40 : x0 - 2], INK).sum() < 150
    e = record(4, regions=3)
    assert lettered(wording.bars_are(e)) in panel.said()
    long = drawn(record(4, regions=3, names=("a" * 90, "b" * 90, "c", "d", "e"))).said().replace(" ", "")
    assert f"for{'a' * 59}…" in long and f"ratherthan{'b' * 59}…" in long, "long names are cut"


@pytest.mark.parametrize("name", ["red", "word " * 14, "W" * 58])
def test_a_long_label_takes_more_lines_and_the_next_row_stands_below_it(name: str) -> None:
    e = record(6, regions=3)
    panel = drawn(e.model_copy(update={"concepts": tuple(c.model_copy(update={"name": name}) for c in e.concepts)}))
    lines = len(wrap(short(wording.label_of(e.concepts[0].model_copy(update={"name": name}))), 15, 192)[:3])
    starts = [top for top, _ in rows(panel).values()]
    assert len(starts) == 3 and min(np.diff(starts)) >= max(34, 20 * lines)
    for top, bottom in rows(panel).values():
        own = [b for t, b, _ in panel.texts if b[0] >= MARGIN + 33 and b[2] <= MARGIN + 230
               and top - 20 * lines / 2 < (b[1] + b[3]) / 2 < bottom + 20 * lines / 2 and b[3] - b[1] < 20]  # fmt: skip
        middle = (min(b[1] for b in own) + max(b[3] for b in own)) / 2
        assert len(own) == lines and middle == pytest.approx((top + bottom) / 2, abs=5), "centred on the disc"


# --------------------------------------------------------------------------------------------------
# Pictures.


@cache
def swatch(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (96, 96), colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def with_concepts(there: int, absent: int = 0, *, pictures: bool = True) -> Explanation:
    """A record whose target has concepts, those that cost least first, with two exemplars each in a grey of its own."""
    rows = [
        {"id": str(n + 1), "name": "headlight" if n == 0 else None, "present": n < there, "place": "centre",
         "box": None, "share": 0.1, "lost": 0.01 * n, "usual": 0.02}
        for n in range(there + absent)
    ]  # fmt: skip
    one = {"class_index": 281, "class_name": "tabby", "concepts": rows}
    told = {
        "layer": "l",
        "of": 64,
        "hypotheses": [one],
        "pictures": {r["id"]: [2 * n, 2 * n + 2] for n, r in enumerate(rows)},
    }
    greys = tuple(swatch(f"rgb({20 * n},{20 * n},{20 * n})") for n in range(there + absent) for _ in range(2))
    return record(3, regions=3).model_copy(
        update={"parts": {"concepts": told}, "pictures": {"concepts": greys} if pictures else {}}
    )


@pytest.mark.parametrize(
    ("there", "absent", "pictures"), [(1, 0, True), (3, 2, True), (10, 0, True), (3, 1, False), (0, 1, True)]
)
def test_concepts_stand_under_both_columns_with_what_they_look_like_elsewhere(
    there: int, absent: int, pictures: bool
) -> None:
    panel, plain = drawn(with_concepts(there, absent, pictures=pictures)), drawn(record(3, regions=3))
    assert_apart(panel)
    foot, height = plain.lines[-1][0][1], len(panel.pixels) - len(plain.pixels)
    assert height > 0 and (panel.pixels[: foot - 4] == plain.pixels[: foot - 4]).all(), "it stands below all else"
    said, tiles = panel.said(), [(im, at) for im, at in panel.pasted if at and at[1] > foot - 4]
    shown = list(range(there))[::-1][:8]
    assert len(tiles) == (2 * len(shown) if pictures else 0)
    assert ("in other pictures" in said) == (pictures and there > 0)
    names = [f"{'headlight' if n == 0 else 'unnamed pattern'} {n + 1} (centre)" for n in shown]
    for n, (name, k) in enumerate(zip(names, shown, strict=True)):
        x0, y0, *_ = panel.box(name)
        for im, (x, y) in tiles[2 * n : 2 * n + 2]:
            assert abs(int(np.asarray(im).mean()) - 20 * k) <= 2, "the most costly first, each with its own examples"
            assert y + im.height <= y0 + 2 and x0 - 2 <= x < x0 + SLOT // 2
    assert (f"{there - 8} more are here" in said) == (there > 8)
    assert all(
        f"unnamed pattern {n + 1}" in said.partition("Absent here:")[2] for n in range(max(1, there), there + absent)
    )
    assert ("None of them is here." in said) == (there == 0)


def test_a_bank_that_knows_none_of_the_classes_leaves_the_panel_as_it_is() -> None:
    e = record(3, regions=3)
    told = {"layer": "l", "of": 64, "hypotheses": [], "pictures": {}}
    assert png(e.model_copy(update={"parts": {"concepts": told}})) == png(e)


def test_the_ramp_runs_from_little_to_much_in_the_colours_of_the_map() -> None:
    panel = drawn(record())
    little, much = panel.box("little"), panel.box("much")
    assert little[2] < much[0]
    y = round((little[1] + little[3]) / 2)
    key = panel.pixels[y, round(little[2]) + 2 : round(much[0]) - 2].astype(int)
    coloured = key[(key != 255).any(axis=1)]
    assert tuple(coloured[0]) == heat.RAMP[0] and tuple(coloured[-1]) == heat.RAMP[-1]
    assert (np.diff(coloured.sum(axis=1)) >= 0).all() and len(coloured) > 100


def test_the_ramp_is_cividis() -> None:
    import matplotlib as mpl

    want = mpl.colormaps["cividis"](np.linspace(0, 1, len(heat.RAMP)))[:, :3]
    assert (want * 255).round().astype(int).tolist() == [list(colour) for colour in heat.RAMP]


def test_the_map_lies_over_the_grey_photo_beside_it_in_the_frame() -> None:
    e = record(versus=False)
    assert e.saliency is not None
    values = np.full((4, 4), -1.0)
    values[0, 0] = 1.0
    e = e.model_copy(update={"saliency": e.saliency.model_copy(
        update={"values": tuple(map(tuple, values.tolist())), "minimum": -1.0, "maximum": 1.0, "grid": (4, 4)}
    )})  # fmt: skip
    panel = drawn(e)
    (plain, at), (heat, beside) = panel.pasted[:2]
    assert plain.size == heat.size and at[1] == beside[1] and beside[0] - at[0] == MARGIN + SLOT
    layout = layout_of(e)
    k = plain.width / layout.view[0]
    x0, y0, x1, y1 = (round(v * k) for v in layout.crop)
    pixels = np.asarray(heat, dtype=int)
    spread = np.ptp(pixels, axis=-1)
    hot, cold = (slice(y0 + 5, y0 + 25), slice(x0 + 5, x0 + 25)), (slice(y1 - 60, y1 - 5), slice(x1 - 60, x1 - 5))
    assert np.median(spread[hot]) > 100 > 40 > np.median(spread[cold]), "yellow where it is high, grey where not"
    assert np.median(np.ptp(np.asarray(plain, dtype=int), axis=-1)[cold]) > np.median(spread[cold])
    assert pixels[: y0 - 5].mean() < 0.8 * pixels[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5].mean(), "dark outside the frame"
    frame = pixels[y0 : y0 + 2, x0 + 30 : x1 - 30].mean()
    assert frame > pixels[y0 + 4 : y0 + 8, x0 + 30 : x1 - 30].mean() + 30


def test_regions_are_outlined_on_both_and_numbered_on_the_photo_alone() -> None:
    e = record(regions=3)
    panel, layout = drawn(e), layout_of(e)
    numbers = [(name, xy) for name, width, xy in panel.badges if width != 52]
    k = panel.pasted[0][0].width / layout.view[0]
    assert [name for name, _ in numbers] == [s.concept.id for s in layout.shapes]
    for (_, (x, y)), s in zip(numbers, layout.shapes, strict=True):
        assert (x / 2, y / 2) == pytest.approx((s.at[0] * k, s.at[1] * k), abs=1)
    for im, _ in panel.pasted[:2]:
        pixels = np.asarray(im.convert("L"), dtype=int)
        for s in layout.shapes:
            for ring in s.rings:
                on = [pixels[max(0, int(y * k) - 1) : int(y * k) + 2, max(0, int(x * k) - 1) : int(x * k) + 2].max()
                      for x, y in ring]  # fmt: skip
                assert np.mean(np.array(on) > 180) > 0.75, "a white line all along, closed"
                beside = [pixels[max(0, int(y * k) - 3) : int(y * k) + 4, max(0, int(x * k) - 3) : int(x * k) + 4].min()
                          for x, y in ring]  # fmt: skip
                assert np.mean(np.array(beside) < 110) > 0.6, "with a dark rim"


def test_a_picture_keeps_its_proportions_and_fits_its_half(name: str) -> None:
    layout, (photo, at) = layout_of(made(name)), of(name).pasted[0]
    assert photo.width <= SLOT and photo.height <= PICTURE_HEIGHT
    assert photo.width == pytest.approx(photo.height * layout.view[0] / layout.view[1], abs=1.5 + 0.02 * photo.width)
    assert max(photo.width / SLOT, photo.height / PICTURE_HEIGHT) == pytest.approx(1, abs=0.01)
    assert at[0] + photo.width / 2 == pytest.approx(MARGIN + SLOT / 2, abs=1), "in the middle of it"


def test_a_photo_that_is_missing_is_told_on_its_place() -> None:
    panel = drawn(record(bare=True))
    (x0, y0, x1, y1), colour = panel.aside["the photo is not in the record"]
    width = 2 * panel.pasted[0][0].width
    assert x0 > 0 and x1 < width and (x0 + x1) / 2 == pytest.approx(width / 2, abs=3) and y0 > 0
    assert contrast(colour, "#cfd4d9") > 3.5 and y1 - y0 > 20
    assert "the photo is not in the record" not in [name for name, _, _ in drawn(record()).badges]


# --------------------------------------------------------------------------------------------------
# Letters.


def test_letters_are_kept_where_the_font_has_them_and_spelt_plainer_where_it_has_not() -> None:
    assert lettered("a\u2212b\u00a0c\u00d7d\u2013e\u2014f") == "a-b cxd-e-f"
    assert lettered("“it’s” … ™ 0°") == "“it’s” … ™ 0°"
    assert lettered("Café Ægir ő") == "Cafe Ægir o", "the base letter, where there is one"
    assert lettered("가汉") == "가汉", "no half of a letter, and none that is left out"


@pytest.mark.parametrize("width", [40, 120, 400])
def test_wrapped_lines_fit_and_lose_no_letter(width: int) -> None:
    canvas = Image.new("RGB", (WIDTH, 400), PAPER)
    text = "a few words and oneverylongwordthatdoesnotfitanywhereatall then more"
    lines = wrap(text, 15, width)
    assert all(0 < write(canvas, (0, 0), line, 15) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line, following in pairwise(lines):
        first = following.split(" ")[0]
        whole = f"{line} {first}"
        assert write(canvas, (0, 0), whole, 15) > width or whole not in text, "no line ends before it is full"
        assert write(canvas, (0, 0), line + first[0], 15) > width or line + first[0] not in text, "nor does a part"
    assert wrap("abc", 15, 1) == ["a", "b", "c"], "one letter at least"
    assert wrap("", 15, width) == []


def test_what_is_written_is_to_be_seen_in_its_colour_and_width() -> None:
    canvas = Image.new("RGB", (WIDTH, 100), PAPER)
    width = write(canvas, (10, 10), "Hill", 30, "#ff0000")
    ys, xs = np.nonzero((np.asarray(canvas) != 255).any(axis=-1))
    assert xs.min() == pytest.approx(12, abs=3) and xs.max() == pytest.approx(10 + width, abs=5) and ys.min() >= 10
    assert there(np.asarray(canvas), "#ff0000").any()


def test_a_paragraph_ends_below_its_last_line() -> None:
    canvas = Image.new("RGB", (WIDTH, 6000), PAPER)
    for text in ("one line", "many words " * 20):
        end = paragraph(canvas, (10, 10), text, 15, 200)
        ys = np.flatnonzero((np.asarray(canvas) != 255).any(axis=(1, 2)))
        assert 0 <= end - ys.max() <= 20
    assert paragraph(canvas, (10, 10), "", 15, 200) == 10
    end = paragraph(canvas, (10, 5500), "many words " * 200, 15, 100)
    assert end <= 5650, "what does not fit is left out"


@pytest.mark.parametrize(("text", "longest", "cut"), [("abcd", 4, "abcd"), ("abcde", 4, "abc…"), ("a\nb", 4, "a b")])
def test_short_texts_have_one_line_and_end_with_dots_where_they_were_cut(text: str, longest: int, cut: str) -> None:
    assert short(text, longest) == cut


@pytest.mark.parametrize(("name", "radius"), [("1", 12), ("8", 26), ("12", 26)])
def test_a_number_stands_white_in_the_middle_of_a_dark_disc_with_a_white_rim(name: str, radius: int) -> None:
    tile = Image.new("RGB", (100, 100), "#888888")
    badge(ImageDraw.Draw(tile), (50, 50), name, radius)
    pixels = np.asarray(tile, dtype=int)
    y, x = np.mgrid[0:100, 0:100]
    away = np.hypot(x - 50, y - 50)
    assert (pixels[away > radius + 2] == 0x88).all()
    assert np.median(pixels[(away < radius - 2) & (away > 0.7 * radius)]) < 80
    assert pixels[np.abs(away - radius + 1) < 1].mean() > 150
    ys, xs = np.nonzero((pixels.min(axis=-1) > 150) & (away < 0.85 * radius))
    assert (xs.min() + xs.max()) / 2 == pytest.approx(50, abs=2.5) and (ys.min() + ys.max()) / 2 == pytest.approx(
        50, abs=2.5
    )
    assert np.ptp(ys) > 0.6 * radius, "large enough to be read"


def test_long_names_of_files_and_models_are_cut_and_say_so() -> None:
    e = record(path=f"{'f' * 90}.png")
    said = drawn(e.model_copy(update={"model": e.model.model_copy(update={"name": "m" * 90})})).said().replace(" ", "")
    assert f"What{'m' * 59}…sawin{'f' * 59}…," in said
