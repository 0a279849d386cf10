"""The page and the text tell the record: every cell, card, light and picture, and outlines that follow their masks."""

from __future__ import annotations

import base64
import io
import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from PIL import Image

from records import record
from saywhy.explanation import Beside, ConceptRecord, Explanation, Mask, Run
from saywhy.render import RENDERERS, palette, wording
from saywhy.render.html import fragment
from saywhy.render.layout import LONG_SIDE, apart, layout_of
from saywhy.render.outline import chaikin, deepest_point, resample, rings_of, soften, svg_path
from saywhy.render.pages import jpeg, png
from test_outline import VIEW, disc
from test_render import CASES, Page, draw, flat, made, page

HOSTILE = "a\x1b[31m\nb"
SHOWN = "a\ufffd[31m b"


def raw(e: Explanation) -> str:
    return draw("html", e).decode()


def text(e: Explanation) -> list[str]:
    return draw("text", e).decode().splitlines()


def cells(html: str) -> list[list[str]]:
    """The rows of a table's body, cell by cell."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, flags=re.S)
    each = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.S) for row in rows]
    return [[flat(unescape(re.sub(r"<[^>]+>", "", cell))) for cell in row] for row in each]


def within(html: str, start: str, end: str) -> str:
    at = html.index(start)
    return html[at : html.index(end, at)]


def images(html: str) -> list[Image.Image]:
    """Every picture of a page, decoded."""
    return [Image.open(io.BytesIO(base64.b64decode(data, validate=True))) for data in
            re.findall(r'"data:image/(?:png|jpeg);base64,([^"]*)"', html)]  # fmt: skip


def points(value: float, unit: str = "probability") -> str:
    return wording.points(value, unit).replace("\u00a0", " ")


def with_first(e: Explanation, **fields: Any) -> Explanation:
    return e.model_copy(update={"concepts": (e.concepts[0].model_copy(update=fields), *e.concepts[1:])})


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> Explanation:
    return made(request.param)


# --------------------------------------------------------------------------------------------------
# Runs, effects, statements.


def test_every_run_is_a_row_with_what_was_done_where_how_and_what_came_of_it() -> None:
    e = record(1, regions=3)
    more = (
        Run(
            id="x",
            act="hide",
            regions=("1", "2", "3"),
            fill=HOSTILE,
            seed=4,
            score=0.1234,
            contrast=-0.2,
            mirrored=True,
        ),
        Run(id="y", act="keep", regions=(), fill="noise", seed=9, score=0.9, contrast=None),
    )
    e = e.model_copy(update={"runs": (*e.runs, *more)})
    told = cells(within(raw(e), '<details class="runs"', "</details>"))
    assert told[0] == ["regions", "act", "fill", "seed", "score"]
    acts = {"hide": "hidden", "keep": "kept alone"}
    assert told[1:-2] == [
        [r.regions[0], acts[r.act], r.fill, str(r.seed), f"{100 * r.score:.1f} %"] for r in e.runs[:-2]
    ]
    assert told[-2] == ["1, 2 and 3", "hidden, mirrored", SHOWN, "4", "12.3 %"]
    assert told[-1] == ["none", "kept alone", "noise", "9", "90.0 %"]


def test_a_card_shows_the_region_hidden_its_effect_its_look_and_its_own_runs() -> None:
    e = record(2, regions=3)
    html = raw(e)
    cards = re.findall(r"<article.*?</article>", html, flags=re.S)
    assert len(cards) == 3
    for card, c, shape in zip(cards, e.concepts, layout_of(e).shapes, strict=True):
        (picture,) = images(card)
        assert max(picture.size) == 260 and picture.format == "JPEG"
        own = [r for r in e.runs if r.regions == (c.id,)]
        assert len(cells(card)) == len(own) + 1 and f"{len(own)} runs with this region" in card
        hidden = [r.score for r in own if r.act == "hide"]
        said = flat(Page(card).text)
        assert f"hidden {wording.percent(float(np.mean(hidden)))}".replace("\u00a0", " ") in said
        change, low, high = (points(v) for v in (c.effect.change, c.effect.low, c.effect.high))
        assert f"Hiding it: {change} points (between {low} and {high}), 8 runs with blur, mean." in said
        assert f"Its pixels: {', '.join(c.appearance)}." in said and wording.label_of(c) in said
        assert f'aria-label="Region {c.id}"' in card and "unsure" not in card.split(">")[0]
        assert shape.concept is c
    assert "unsure" in re.findall(r"<article[^>]*>", raw(with_first(e, confirmed=False)))[0]
    assert "The model was shown the fills inpaint and mean" in flat(Page(html).text)
    assert not re.findall(r"<img", raw(record(2, regions=3, bare=True)))


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"disagree": ("noise",)}, "8 runs with blur, mean; another sign with noise."),
        ({"disagree": ("noise", HOSTILE)}, f"8 runs with blur, mean; another sign with noise and {SHOWN}."),
        ({"runs": 1}, "1 run with blur, mean."),
        ({"fill": HOSTILE}, f"8 runs with {SHOWN}."),
        (
            {"unit": "log-odds", "change": -1.5, "low": -2.0, "high": -1.0},
            "−1.50 log-odds (between −2.00 and −1.00), 8",
        ),
    ],
)
def test_an_effect_says_its_runs_its_fills_and_which_of_them_disagree(update: dict[str, Any], said: str) -> None:
    e = record(2, regions=2)
    e = with_first(e, effect=e.concepts[0].effect.model_copy(update=update))
    card = re.findall(r"<article.*?</article>", raw(e), flags=re.S)[0]
    assert said in flat(Page(card).text)
    assert ("another sign" in card) == ("disagree" in update)


def test_a_sentence_says_by_what_it_was_checked_and_lights_up_what_it_speaks_of() -> None:
    e = record(1, regions=3)
    html = within(raw(e), '<ol class="says">', "</ol>")
    items = re.findall(r'<li class="([^"]*)"([^>]*)>(.*?)</li>', html, flags=re.S)
    assert [lights for lights, _, _ in items] == ["", "r1", "r2", "r1 r3"]
    assert ["tabindex" in rest for _, rest, _ in items] == [False, True, True, True]
    small = [flat(Page(re.findall(r"<small.*?</small>", body, flags=re.S)[0]).text) for _, _, body in items]
    assert small == ["read from the model's output", *["8 runs with blur, mean"] * 3]
    assert ["href" in body for _, _, body in items] == [False, True, True, True]
    unsure = e.model_copy(update={"statements": (e.statements[1].model_copy(update={"verified": False}),)})
    body = within(raw(unsure), '<ol class="says">', "</ol>")
    assert "not confirmed by a run" in body and 'class="open"' in body and 'class="ok"' not in body
    bare = within(raw(record(1, regions=3, bare=True)), '<ol class="says">', "</ol>")
    assert "href" not in bare, "without runs there is nothing to go to"


def test_without_statements_the_text_of_the_record_is_told_line_by_line() -> None:
    e = record(1, regions=1).model_copy(update={"statements": (), "text": f"One line.\n{'x' * 9}\x1b y."})
    shown = re.findall(r"<li><p>(.*?)</p></li>", within(raw(e), '<ol class="says">', "</ol>"))
    assert shown == ["One line.", "xxxxxxxxx\ufffd y."]
    assert "One line." in text(e) and "xxxxxxxxx\ufffd y." in text(e)
    loud = e.statements or (record().statements[0].model_copy(update={"text": "b\x1b[2Jx", "spans": ()}),)
    assert "b\ufffd[2Jx" in text(e.model_copy(update={"statements": loud}))


@pytest.mark.parametrize("renderer", ["html", "text"])
@pytest.mark.parametrize("status", ["ok", "flat"])
def test_no_control_character_of_any_name_reaches_a_terminal_or_a_page(renderer: str, status: str) -> None:
    e = record(2, regions=3, names=(HOSTILE,) * 5, path=f"photos/{HOSTILE}.png", saliency=status)
    effect = {"fill": HOSTILE, "disagree": (HOSTILE,)}
    assert e.graph is not None and e.saliency is not None
    edges = tuple(x.model_copy(update={"relation": HOSTILE}) for x in e.graph.edges)
    graph = e.graph.model_copy(update={"edges": edges, "fidelity": {HOSTILE: 0.5}})
    found = {"alone": {"value": 0.7, "low": 0.5, "high": 0.9}, "without": {"value": 0.3, "low": 0, "high": 0.4}}

    def hostile(c: ConceptRecord) -> ConceptRecord:
        colours = tuple(k.model_copy(update={"term": HOSTILE}) for k in c.colours)
        how = c.effect.model_copy(update=effect)
        return c.model_copy(update={"name": HOSTILE, "effect": how, "colours": colours})

    said = tuple(s.model_copy(update={"effect": s.effect and s.effect.model_copy(update=effect)}) for s in e.statements)
    e = e.model_copy(
        update={
            "model": e.model.model_copy(update={"name": HOSTILE, "layer": HOSTILE, "layer_reason": HOSTILE}),
            "saliency": e.saliency.model_copy(update={"method": HOSTILE}),
            "concepts": tuple(map(hostile, e.concepts)),
            "runs": tuple(r.model_copy(update={"fill": HOSTILE}) for r in e.runs),
            "statements": said,
            "graph": graph,
            "graphs": (graph,),
            "parts": {"regions": {"sufficiency": {"regions": ["1"], **found}}},
        }
    )
    told = RENDERERS[renderer].function(e).decode()
    assert [line for line in told.splitlines() if "\x1b" in line] == [] and SHOWN in told


# --------------------------------------------------------------------------------------------------
# Lights, classes, pictures.


def test_regions_light_up_wherever_they_are_shown(case: Explanation) -> None:
    html = raw(case)
    for i, c in enumerate(case.concepts, start=1):
        assert f".saywhy:has(.r{i}:hover,.r{i}:focus-visible) .r{i}{{--lit:1}}" in html
        label = f"Region {c.id}, {wording.label_of(c)}, {wording.points(c.contribution, wording.unit_of(case))}"
        marks = [a for _, a in page(case).tags if a.get("class") == f"mark r{i}"]
        assert [a["aria-label"] for a in marks] == [label]
        assert sum(f"r{i}" in a.get("class", "").split() for _, a in page(case).tags) >= 4
    assert f".r{len(case.concepts) + 1}:hover" not in html


def test_the_best_classes_have_bars_of_their_probability_and_the_two_in_question_are_marked() -> None:
    for versus in (True, False):
        e = record(regions=1, versus=versus)
        rows = re.findall(r"<li( class=\"chosen\")?>(.*?)</li>", within(raw(e), '<ol class="top"', "</ol>"), flags=re.S)
        assert [bool(chosen) for chosen, _ in rows] == [True, versus, False, False, False]
        for (_, row), c in zip(rows, e.prediction.top, strict=True):
            told = flat(Page(row).text)
            assert told == f"{c.class_name}{wording.percent(c.probability)}".replace("\u00a0", " ")
            assert f"width:{100 * c.probability:.1f}%" in row
    three = e.prediction.top[:1]
    over = three[0].model_copy(update={"probability": 1.0 + 1e-9}), three[0].model_copy(update={"probability": 0.0})
    e = e.model_copy(update={"prediction": e.prediction.model_copy(update={"top": over})})
    assert re.findall(r"width:([\d.]+)%\"></i></span>", raw(e)) == ["100.0", "0.0"]


def test_every_picture_of_a_page_can_be_read_and_has_its_size(case: Explanation) -> None:
    shown = images(raw(case))
    view = layout_of(case).view
    sizes = [im.size for im in shown]
    if case.thumbnail:
        assert sizes[0] == view
    if "Which regions need each other" in raw(case) and case.thumbnail:
        assert [max(im.size) for im in shown if im.mode == "L"] == [280], "the backdrop of the graph, in grey"
    heat = [im for im in shown if im.format == "PNG"]
    assert [im.mode for im in heat] == (["RGBA"] if palette.is_drawn(case.saliency) else [])
    assert all(im.size == (96, 96) for im in heat)


@pytest.mark.parametrize(("size", "side", "small"), [((90, 30), 45, (45, 15)), ((20, 40), 100, (20, 40))])
def test_a_picture_is_made_smaller_but_never_larger_and_is_left_as_it_was(
    size: tuple[int, int], side: int, small: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, "#336699")
    (shown,) = images(f'"{jpeg(image, side)}"')
    assert (shown.size, image.size) == (small, size)
    (kept,) = images(f'"{png(image)}"')
    assert (kept.size, kept.format, kept.getpixel((0, 0))) == (size, "PNG", (0x33, 0x66, 0x99))


def test_the_frame_and_the_veil_lie_around_what_the_model_saw() -> None:
    e = record(regions=1)
    x0, y0, x1, y1 = (round(v, 1) for v in layout_of(e).crop)
    w, h = layout_of(e).view
    frame = next(a for tag, a in page(e).tags if tag == "rect" and a.get("class") == "frame")
    assert [float(frame[k]) for k in ("x", "y", "width", "height")] == pytest.approx(
        [x0, y0, x1 - x0, y1 - y0], abs=0.06
    )
    veil = next(a for tag, a in page(e).tags if a.get("class") == "veil")
    assert veil["d"] == f"M0 0H{w}V{h}H0ZM{x0} {y0}H{x1}V{y1}H{x0}Z"
    heat = next(a for tag, a in page(e).tags if a.get("class") == "heat")
    assert [float(heat[k]) for k in ("x", "y", "width", "height")] == pytest.approx(
        [x0, y0, x1 - x0, y1 - y0], abs=0.06
    )
    assert heat["aria-label"] == "saliency by grad-cam"
    whole = page(record(regions=1, whole=True)).tags
    assert not any(a.get("class") in ("veil", "frame") for _, a in whole)


@pytest.mark.parametrize("unit", ["probability", "log-odds"])
def test_units_are_named_in_words_wherever_numbers_stand(unit: str) -> None:
    e = record(3, regions=3)
    e = e.model_copy(update={"concepts": tuple(
        c.model_copy(update={"effect": c.effect.model_copy(update={"unit": unit})}) for c in e.concepts)})  # fmt: skip
    name = {"probability": "points of probability", "log-odds": "log-odds"}[unit]
    assert f"What hiding each takes away, in {name}" in flat(page(e).text)
    assert f"What hiding each takes away, in {name}." in " ".join(text(e))
    rows = cells(within(raw(e), '<table role="table"', "</table>"))
    assert rows[0] == ["region", "for tiger cat", "rather than Egyptian cat"]
    ranges = re.findall(r'title="measured by (\d+) runs; between ([^"]*)"', raw(e))
    assert ranges == [("8", f"{wording.points(-c.effect.high, unit)} to {wording.points(-c.effect.low, unit)}")
                      for c in e.concepts]  # fmt: skip
    for c, row in zip(e.concepts, rows[1:], strict=True):
        assert row[0] == c.id + wording.label_of(c)
        assert row[1:] == [points(c.contribution, unit), points(c.contrast or 0, unit)]


def test_a_contrast_that_was_not_measured_is_left_blank() -> None:
    e = with_first(record(3, regions=2), contrast=None)
    assert cells(within(raw(e), '<table role="table"', "</table>"))[1][2] == ""
    line = next(line for line in text(e) if re.match(r"1 +\S", line))
    assert line.endswith(wording.points(e.concepts[0].contribution))


# --------------------------------------------------------------------------------------------------
# The text.


def test_the_table_of_the_text_is_aligned_and_cuts_long_names() -> None:
    names = ("a class with a very long name indeed", "b" * 24, "c", "d", "e")
    e = record(3, regions=4, names=names)
    lines = text(e)
    head = next(i for i, line in enumerate(lines) if line.split()[:1] == ["region"])
    assert "for a class with a very lon…" in lines[head] and f"vs {'b' * 24}" in lines[head]
    table = lines[head : head + 5]
    assert len({len(line) for line in table}) == 1, "numbers end in one column"
    first = lines[head].index("  vs") - 1
    for line, c in zip(table[1:], e.concepts, strict=True):
        assert line.startswith(f"{c.id}  {wording.label_of(c)}  ")
        assert line[: first + 1].endswith(wording.points(c.contribution))
    assert lines[head + 5].startswith("What hiding each takes away")
    assert not any(line.startswith("What hiding") for line in text(record(regions=0)))
    one = text(record(3, regions=1, versus=False, names=("x\x1by", "b", "c", "d", "e")))
    assert any(line.endswith("for x\ufffdy") for line in one)


def test_the_text_speaks_of_the_map_only_where_it_is_not_as_it_should_be() -> None:
    for status, told in (("ok", []), (None, []), ("all_negative", ["Saliency (grad-cam): all negative."])):
        assert [line for line in text(record(saliency=status)) if line.startswith("Saliency")] == told


def test_the_json_is_bytes_of_the_record() -> None:
    assert isinstance(RENDERERS["json"].function(record()), bytes)


# --------------------------------------------------------------------------------------------------
# Words about the frame.


@pytest.mark.parametrize("side", range(4))
def test_a_region_reaches_the_frame_from_two_percent_of_its_side_on(side: int) -> None:
    e = record(regions=1)
    x0, y0, x1, y1 = seen = (100, 40, 300, 140)  # 4 pixels of its width, 2 of its height
    e = e.model_copy(update={"image": e.image.model_copy(update={"seen": seen})})
    for off, cut in ((0, True), ((4, 2)[side % 2], True), ((4, 2)[side % 2] + 1, False)):
        box = [x0 + 30, y0 + 30, x1 - 30, y1 - 30]
        box[side] = seen[side] + (off if side < 2 else -off)
        assert wording.cut_regions(with_first(e, box=tuple(box))) == (["1"] if cut else []), off


def test_several_regions_that_are_cut_are_all_named() -> None:
    e = record(regions=3)
    x0, y0 = e.image.seen[:2]
    boxed = tuple(c.model_copy(update={"box": (x0, y0 + 9, x0 + 50, y0 + 90)}) for c in e.concepts)
    lines = " ".join(wording.not_said(e.model_copy(update={"concepts": boxed})))
    assert "Where regions 1, 2 and 3 end: they reach the frame" in lines


def test_the_page_ends_what_it_does_not_say_with_what_is_right(case: Explanation) -> None:
    assert wording.not_said(case)[-1].startswith("What is right: these are the model's reasons")
    assert ("Which part of the photo counted: none is known to." in wording.not_said(case)) == (not case.concepts)


def test_next_steps_are_the_first_four_that_apply_and_end_with_another_seed() -> None:
    e = record(regions=1, versus=False).asked_by({})
    assert [t for t, _ in wording.next_steps(e)] == [
        "Ask why it is not Egyptian cat.", "Explain it with another seed: what holds is no accident."
    ]  # fmt: skip
    for command in [c for _, c in wording.next_steps(e)]:
        assert command.startswith("saywhy explain photos/chelsea.png --")
    nameless = record(path=None, regions=1).asked_by({})
    assert wording.next_steps(nameless)[-1][1].startswith("saywhy explain PHOTO --")
    flat_map = record(regions=1, saliency="flat", versus=False).asked_by({})
    assert dict(wording.next_steps(flat_map))["Try another saliency method."].endswith(" --method hires-cam")
    two = e.model_copy(update={"prediction": e.prediction.model_copy(update={"top": e.prediction.top[:1]})})
    assert [t for t, _ in wording.next_steps(two)] == ["Explain it with another seed: what holds is no accident."]


def test_the_answer_and_the_other_class_stand_beside_the_target() -> None:
    e = record()
    top = e.prediction.top
    assert wording.title(e) == ("tiger cat", "ahead of Egyptian cat 36\u00a0%")
    asked = e.model_copy(update={"target": top[2], "versus": top[1]})
    assert wording.title(asked)[1] == "the model's answer is tiger cat 39\u00a0%, behind Egyptian cat 36\u00a0%"
    even = e.model_copy(update={"versus": top[1].model_copy(update={"probability": e.target.probability})})
    assert wording.title(even)[1].startswith("ahead of ")
    assert wording.title(record(versus=False)) == ("tiger cat", "")
    assert wording.file_name(record(path=None)) == "the photo"


def test_a_region_is_called_by_its_name_where_it_has_one_and_says_what_it_lies_beside() -> None:
    c = record(regions=2).concepts[0]
    named = c.model_copy(update={"name": HOSTILE, "beside": Beside(relation="left of", region="2")})
    assert wording.label_of(named) == f"{SHOWN}, {c.place}, left of region 2"
    assert wording.label_of(c.model_copy(update={"confirmed": False})) == f"{c.look} patch, {c.place} (not confirmed)"


def test_the_share_that_was_seen_is_of_the_photos_area() -> None:
    e = record()
    seen = (10, 20, 110, 220)
    e = e.model_copy(update={"image": e.image.model_copy(update={"seen": seen, "width": 400, "height": 250})})
    assert "the model saw 20\u00a0% of the photo" in " ".join(wording.not_said(e))


# --------------------------------------------------------------------------------------------------
# Outlines and places.


def along(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of an SVG path of one closed ring of quadratic curves; where it starts; where it ends."""
    start, *curves = re.findall(r"[MQ]([^MQZ]*)", path)
    at = first = np.array([float(v) for v in start.split()])
    out = []
    for curve in curves:
        (cx, cy, x, y) = (float(v) for v in curve.split())
        t = np.linspace(0, 1, 5)[:, None]
        out.append((1 - t) ** 2 * at + 2 * t * (1 - t) * np.array([cx, cy]) + t**2 * np.array([x, y]))
        at = np.array([x, y])
    return np.concatenate(out), first, at


@pytest.mark.parametrize(("x", "y", "r"), [(300, 200, 100), (320, 240, 30), (200, 300, 150)])
def test_the_path_runs_along_the_edge_of_its_mask_and_closes(x: float, y: float, r: float) -> None:
    path = svg_path(rings_of(disc(x, y, r), VIEW))
    assert all(re.fullmatch(r"-?\d+(\.[1-9])?", n) for n in re.sub("[MQZ]", " ", path).split()), "short numbers"
    points, first, last = along(path)
    assert first == pytest.approx(last, abs=0.11)
    assert np.hypot(*(points - [x, y]).T) == pytest.approx(np.full(len(points), r), abs=2)
    turned = np.unwrap(np.arctan2(points[:, 1] - y, points[:, 0] - x))
    assert abs(turned[-1] - turned[0]) == pytest.approx(2 * np.pi, abs=0.1), "once round"
    assert (np.diff(turned) * np.sign(turned[-1] - turned[0]) > -1e-3).all(), "and never back"


def test_cutting_corners_keeps_the_ring_and_halves_its_turns() -> None:
    square = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
    assert chaikin(square, 1).tolist() == [[2, 0], [6, 0], [8, 2], [8, 6], [6, 8], [2, 8], [0, 6], [0, 2]]
    assert chaikin(square, 0).tolist() == square.tolist()


@pytest.mark.parametrize("side", [3.0, 40.0, 400.0])
def test_a_ring_has_points_at_even_distances_and_eight_at_least(side: float) -> None:
    ring = resample(np.array([[0.0, 0], [side, 0], [side, side], [0, side]]))
    assert len(ring) == max(8, round(4 * side / 5))
    steps = np.hypot(*(np.roll(ring, -1, axis=0) - ring).T)
    assert steps.sum() == pytest.approx(4 * side, rel=0.03) and steps.max() <= 1.01 * 4 * side / len(ring)


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (64, 48)])
def test_a_soft_mask_covers_what_the_mask_covers(size: tuple[int, int]) -> None:
    mask = disc(1500, 900, 700, (2400, 3200))
    soft = soften(mask, size, blur=1.0)
    assert soft.shape == size[::-1] and soft.min() >= 0 and soft.max() == 1
    assert soft.mean() == pytest.approx(mask.mean(), rel=0.02)
    ys, xs = np.indices(soft.shape)
    assert (xs * soft).sum() / soft.sum() == pytest.approx(1500 * size[0] / 3200 - 0.5, abs=0.6)
    assert (ys * soft).sum() / soft.sum() == pytest.approx(900 * size[1] / 2400 - 0.5, abs=0.6)


def test_specks_are_left_out_and_the_largest_ring_comes_first() -> None:
    mask = disc(100, 100, 40) | disc(400, 300, 80) | disc(600, 30, 4)
    rings = rings_of(mask, VIEW)
    assert [round(float(ring[:, 0].mean())) for ring in rings] == [pytest.approx(400, abs=3), pytest.approx(100, abs=3)]
    assert len(rings_of(disc(600, 30, 5), VIEW)) == 1, "but never the only one"


@pytest.mark.parametrize("tall", [False, True])
def test_the_number_of_a_long_region_stands_in_its_middle(tall: bool) -> None:
    mask = np.zeros((480, 640), dtype=bool)
    mask[200:260, 100:500] = True
    want = (300.0, 230.0)
    if tall:
        mask, want = mask.T.copy(), want[::-1]
    view = VIEW[::-1] if tall else VIEW
    assert deepest_point(mask, view) == pytest.approx(want, abs=8)


def test_the_number_stands_in_the_thickest_part_and_in_the_middle_of_what_is_too_thin() -> None:
    club = np.zeros((480, 640), dtype=bool)
    club[230:250, 50:600] = True
    club |= disc(500, 240, 90)
    assert deepest_point(club, VIEW) == pytest.approx((500, 240), abs=10)
    hair = np.zeros((480, 640), dtype=bool)
    hair[100, 20:620] = True
    assert deepest_point(hair, VIEW) == pytest.approx((320, 100.5), abs=1)
    one = np.zeros((4, 4), dtype=bool)
    one[3, 0] = True
    assert deepest_point(one, (400, 400)) == pytest.approx((50, 350), abs=50)


@pytest.mark.parametrize("view", [(640, 480), (640, 40), (40, 640), (20, 20)])
def test_numbers_stay_in_any_view_and_alone_where_they_belong(view: tuple[int, int]) -> None:
    places = apart([(-50.0, 900.0), (5000.0, 3.0)], view)
    edge = [min(16, side / 2) for side in view]
    for place in places:
        assert all(e - 1e-6 <= v <= side - e + 1e-6 for v, e, side in zip(place, edge, view, strict=True))
    middle = (view[0] / 2, view[1] / 2)
    assert apart([middle], view) == [pytest.approx(middle)] and apart([], view) == []


def test_two_numbers_on_one_place_part_sideways_around_it_and_no_further_than_needed() -> None:
    one, other = apart([(300.0, 200.0), (300.0, 200.0)], VIEW)
    assert one[1] == other[1] == 200 and (one[0] + other[0]) / 2 == pytest.approx(300)
    assert 28 < abs(one[0] - other[0]) < 40
    far = [(100.0, 100.0), (100.0, 140.0)]
    assert apart(far, VIEW) == [pytest.approx(p) for p in far], "far enough as they are"


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (1500, 60), (9, 8)])
def test_a_view_is_640_long_and_keeps_the_proportions(size: tuple[int, int]) -> None:
    e = record(regions=1, size=size)
    view = layout_of(e).view
    assert max(view) == LONG_SIDE and view[0] / view[1] == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_line_thinner_than_the_view_shows_is_outlined_where_it_is() -> None:
    line = np.zeros((2000, 3000), dtype=bool)
    line[1000:1003, 200:2800] = True
    points = np.concatenate(rings_of(line, VIEW))
    assert np.abs(points[:, 1] - 1001.5 * 480 / 2000).max() < 3
    assert points[:, 0].min() == pytest.approx(200 * 640 / 3000, abs=4)
    assert points[:, 0].max() == pytest.approx(2800 * 640 / 3000, abs=4)


def test_a_region_without_a_pixel_is_not_drawn_and_nothing_breaks() -> None:
    e = record(regions=3)
    empty = with_first(e, mask=Mask.of(np.zeros((e.image.height, e.image.width), dtype=bool)))
    assert [s.concept.id for s in layout_of(empty).shapes] == ["2", "3"]
    assert len(re.findall(r"<article", raw(empty))) == 2 and RENDERERS["png"].function(empty)


def test_nothing_is_drawn_as_speaking_for() -> None:
    e = with_first(record(regions=2, versus=False), contribution=0.0)
    bars = [a["class"] for tag, a in page(e).tags if tag == "b" and "left" in a.get("style", "")]
    nodes = [a["class"] for _, a in page(e).tags if a.get("class", "").startswith("node")]
    assert bars[0] == "for" and nodes[0].split()[1] == "for"


def test_the_bars_say_in_how_many_ways_and_that_grey_is_not_confirmed() -> None:
    e = record(regions=2)
    fewer = with_first(e, effect=e.concepts[0].effect.model_copy(update={"runs": 3}))
    assert "the mean of 8 ways to hide it." in wording.bars_are(fewer)
    assert "the mean of 0 ways" in wording.bars_are(record(regions=0))


@pytest.mark.parametrize("how", ["page", "fragment"])
def test_the_style_sheet_is_in_the_page(how: str) -> None:
    e = record(regions=1)
    html = raw(e) if how == "page" else fragment(e)
    style = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.S))
    assert "& .badge{" in style and "--lit" in style and "@media" in style and "&lt;" not in style


@pytest.mark.parametrize("seen", [(20, 40, 420, 140), (100, 10, 200, 290), (0, 0, 451, 300)])
def test_the_graph_shows_the_crop_in_one_size_and_every_node_in_its_place(seen: tuple[int, int, int, int]) -> None:
    e = record(4, regions=3)
    e = e.model_copy(update={"image": e.image.model_copy(update={"seen": seen})})
    html = within(raw(e), '<section class="graph"', "</section>")
    x, y, w, h = (float(v) for v in re.findall(r'viewBox="([^"]*)"', html)[0].split())
    assert max(w, h) == pytest.approx(400, abs=0.1) and w / h == pytest.approx(
        (seen[2] - seen[0]) / (seen[3] - seen[1]), rel=0.02
    )
    k = w / (seen[2] - seen[0])
    assert (x, y) == pytest.approx((k * seen[0], k * seen[1]), rel=0.02, abs=0.1)
    layout = layout_of(e)
    nodes = re.findall(r'class="node[^>]*><circle cx="([^"]*)" cy="([^"]*)"', html)
    scale = k * 451 / layout.view[0]
    for (cx, cy), shape in zip(nodes, layout.shapes, strict=True):
        assert (float(cx), float(cy)) == pytest.approx((scale * shape.at[0], scale * shape.at[1]), abs=1.5)


@pytest.mark.parametrize("side", range(4))
def test_a_photo_is_seen_whole_only_if_no_side_is_cut(side: int) -> None:
    e = record(regions=1, whole=True)
    seen = list(e.image.seen)
    assert wording.crop_is_whole(e)
    seen[side] += 1 if side < 2 else -1
    cut = e.model_copy(update={"image": e.image.model_copy(update={"seen": tuple(seen)})})
    assert not wording.crop_is_whole(cut) and "the frame" in " ".join(wording.not_said(cut))
