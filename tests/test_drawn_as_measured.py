"""What is drawn is what was measured: bars, ranges, graphs, maps and advice against the numbers of the record."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from records import record
from saywhy.explanation import Explanation
from saywhy.heat import MOST_OPAQUE, RAMP, ramp
from saywhy.render import RENDERERS, palette, wording
from saywhy.render.layout import hidden, layout_of
from test_render import Page, flat


def page(e: Explanation) -> Page:
    return Page(RENDERERS["html"].function(e).decode())


def raw(e: Explanation) -> str:
    return RENDERERS["html"].function(e).decode()


def with_first(e: Explanation, **fields: Any) -> Explanation:
    return e.model_copy(update={"concepts": (e.concepts[0].model_copy(update=fields), *e.concepts[1:])})


def advice(e: Explanation) -> str:
    return " | ".join(text for text, _ in wording.next_steps(e))


def style(text: str) -> dict[str, float]:
    return {k: float(v) for k, v in re.findall(r"(left|width):(-?[\d.]+)%", text)}


# --------------------------------------------------------------------------------------------------
# Numbers.


@pytest.mark.parametrize(
    ("value", "text"), [(1.25, "+1.25"), (-0.5, "−0.50"), (0.004, "0"), (0.0, "0"), (-0.006, "−0.01"), (12.0, "+12.00")]
)
def test_log_odds_have_two_decimals_and_a_sign(value: float, text: str) -> None:
    assert wording.points(value, "log-odds") == text


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["1"], "1"), (["1", "2"], "1 and 2"), (["1", "2", "3"], "1, 2 and 3")]
)
def test_lists_are_joined_by_commas_and_one_and(words: list[str], text: str) -> None:
    assert wording.listed(words) == text


@pytest.mark.parametrize(("unit", "end"), [("probability", 1.0), ("log-odds", 10.0)])
def test_every_picture_has_the_same_axis_so_that_a_small_number_looks_small(unit: str, end: float) -> None:
    for seed in range(3):
        e = record(seed, regions=5)
        effect = e.concepts[0].effect.model_copy(update={"unit": unit})
        limits = wording.bar_limits(with_first(e, effect=effect))
        assert limits == (-end, end)
        assert [wording.on_axis(v, limits) for v in (-3 * end, -end, 0, end / 2, end, 2 * end)] == [
            0,
            0,
            0.5,
            0.75,
            1,
            1,
        ]


def test_a_bar_is_as_long_as_its_number_and_its_range_lies_where_the_runs_lie() -> None:
    e = record(2, regions=3, versus=False)
    low, high = wording.bar_limits(e)
    bars = [a for tag, a in page(e).tags if tag == "b" and a.get("class") in ("for", "against")]
    assert len(bars) == 3
    for bar, c in zip(bars, e.concepts, strict=True):
        assert style(bar["style"])["width"] == pytest.approx(100 * abs(c.contribution) / (high - low), abs=0.02)
    spans = [style(a["style"]) for tag, a in page(e).tags if tag == "i" and "left" in a.get("style", "")]
    widths = [100 * (c.effect.high - c.effect.low) / (high - low) for c in e.concepts]
    lefts = [100 * (-c.effect.high - low) / (high - low) for c in e.concepts]
    assert [s["width"] for s in spans] == pytest.approx(widths, abs=0.02)
    assert [s["left"] for s in spans] == pytest.approx(lefts, abs=0.02)


def test_the_mean_of_runs_is_their_mean_and_of_none_there_is_none() -> None:
    runs = record().runs
    assert wording.mean_score(runs) == pytest.approx(sum(r.score for r in runs) / len(runs))
    assert wording.mean_score([]) is None


def test_a_card_tells_the_mean_score_with_the_region_hidden() -> None:
    e = record(1, regions=2)
    text = flat(page(e).text)
    for c in e.concepts:
        mean = np.mean([r.score for r in e.runs if r.regions == (c.id,) and r.act == "hide"])
        assert wording.percent(float(mean)).replace("\u00a0", " ") in text


def test_every_run_is_listed_with_its_act_its_score_and_its_seed() -> None:
    e = record(1, regions=2)
    text = flat(page(e).text)
    for r in e.runs:
        assert f"{100 * r.score:.1f} %" in text
    assert "kept alone" in text and "hidden" in text


def test_the_first_five_classes_are_shown_with_their_share_and_the_two_in_question_are_marked() -> None:
    e = record()
    text = flat(page(e).text)
    for c in e.prediction.top:
        assert wording.percent(c.probability).replace("\u00a0", " ") in text and c.class_name in text
        assert f"{100 * c.probability:.1f}%" in raw(e)


def test_the_cost_names_the_tail_only_where_it_was_used() -> None:
    e = record()
    assert wording.cost_line(e).startswith(
        "efficientnet-lite0, 97 forward passes and 12 of the tail alone, 2.3 s, seed 0"
    )
    none = e.model_copy(update={"cost": e.cost.model_copy(update={"tail_passes": 0})})
    assert "tail" not in wording.cost_line(none)


def test_the_layer_is_named_once() -> None:
    e = record()
    assert wording.layer_line(e.model) == "blocks.15: the last layer that still has a grid (7 x 7)"
    named = e.model.model_copy(update={"layer_reason": "blocks.15 was asked for"})
    assert wording.layer_line(named) == "blocks.15 was asked for"
    assert (
        wording.layer_line(e.model.model_copy(update={"layer": None, "layer_reason": "a black box"}))
        == "none: a black box"
    )


# --------------------------------------------------------------------------------------------------
# What is not said, and what to do next.


def enough(e: Explanation, without: float) -> Explanation:
    """With what is left without all that counts."""
    found = {"alone": {"value": 0.2, "low": 0.1, "high": 0.3}, "without": {"value": without, "low": 0, "high": 1}}
    return e.model_copy(update={"parts": {"regions": {"sufficiency": {"regions": ["1"], **found}}}})


def test_the_surroundings_suffice_from_half_of_the_probability_on() -> None:
    e = record()
    for without, suffices in ((0.195, True), (0.194, False), (0.38, True)):
        assert wording.surroundings_suffice(enough(e, without)) is suffices
        assert ("still has" in " ".join(wording.not_said(enough(e, without)))) is suffices
    assert not wording.surroundings_suffice(e) and not wording.together(e)
    assert wording.together(enough(e, 0.1)).endswith("20\u00a0% when it alone is seen, 10\u00a0% without it.")


@pytest.mark.parametrize("side", range(4))
def test_a_region_is_cut_at_each_side_where_the_photo_goes_on(side: int) -> None:
    e = record(regions=2)
    x0, y0, x1, y1 = e.image.seen
    seen = (x0, y0 + 10, x1, y1 - 10)
    e = e.model_copy(update={"image": e.image.model_copy(update={"seen": seen})})
    inner = (x0 + 60, y0 + 70, x1 - 60, y1 - 70)
    e = e.model_copy(update={"concepts": tuple(c.model_copy(update={"box": inner}) for c in e.concepts)})
    assert wording.cut_regions(e) == []
    box = list(inner)
    box[side] = seen[side]
    cut = with_first(e, box=tuple(box))
    assert wording.cut_regions(cut) == ["1"]
    assert "Crop the photo so that" in advice(cut) and "Crop the photo so that" not in advice(e)
    edges = [0, 0, e.image.width, e.image.height]
    whole = list(seen)
    whole[side] = edges[side]
    box[side] = edges[side]
    ends = with_first(e.model_copy(update={"image": e.image.model_copy(update={"seen": tuple(whole)})}), box=tuple(box))
    assert wording.cut_regions(ends) == [], "where the photo ends, nothing is cut off"
    assert "region 1 ends: it reaches the frame" in " ".join(wording.not_said(cut))


def test_a_close_race_is_told_below_ten_points() -> None:
    e = record()
    assert e.versus is not None
    for gap, close in ((0.05, True), (0.11, False), (-0.05, True), (-0.2, False)):
        versus = e.versus.model_copy(update={"probability": e.target.probability - gap})
        assert ("close race" in advice(e.model_copy(update={"versus": versus}))) is close
    assert "close race" not in advice(record(versus=False))


def test_the_next_step_swaps_the_classes_asks_for_the_third_and_takes_another_seed() -> None:
    e = record(regions=2).asked_by({"--model": ("birds:make",), "--seed": ("0",)})
    steps = dict(wording.next_steps(e))
    swapped = next(c for t, c in steps.items() if "close race" in t)
    assert swapped.endswith("--model birds:make --seed 0 --target 'Egyptian cat' --versus 'tiger cat'")
    third = next(c for t, c in steps.items() if "why it is not" in t)
    assert third.endswith("--target 'tiger cat' --versus lynx") and "not lynx" in " ".join(steps)
    assert any(c.endswith("--model birds:make --seed 1") for c in steps.values())
    assert len(wording.next_steps(enough(record(saliency="flat"), 0.39))) <= 4


def test_a_map_that_is_not_drawn_is_explained_and_another_method_is_advised() -> None:
    for status in ("flat", "all_negative", "not_finite"):
        e = record(saliency=status)
        assert e.saliency is not None
        assert (
            wording.STATUS[status] in " ".join(wording.not_said(e))
            and wording.status_of(e.saliency) == wording.STATUS[status]
        )
        assert "another saliency method" in advice(e)
    assert "another saliency method" not in advice(record())
    assert "so it is not drawn" not in " ".join(wording.not_said(record()))


def test_the_share_of_the_photo_that_was_seen_is_told_only_where_some_was_not() -> None:
    e = record()
    x0, y0, x1, y1 = e.image.seen
    share = wording.percent((x1 - x0) * (y1 - y0) / (451 * 300))
    assert f"the model saw {share} of the photo" in " ".join(wording.not_said(e))
    assert not any("frame" in line for line in wording.not_said(record(whole=True)))


def test_one_claim_is_one_and_more_are_counted() -> None:
    for n, told in ((0, "No claim was dropped"), (1, "1 part was tried"), (2, "2 parts were tried")):
        assert wording.not_said(record(skipped=n))[0].startswith(told)
    text = RENDERERS["text"].function
    assert "it: 1 part." in text(record(skipped=1)).decode() and "it: 3 parts." in text(record(skipped=3)).decode()
    assert "Not said" not in text(record(skipped=0)).decode()


def test_what_was_not_confirmed_is_marked_in_text_page_and_panel() -> None:
    e = record(regions=3)
    unsure = with_first(e, confirmed=False)
    assert "not confirmed" not in RENDERERS["text"].function(e).decode() + "".join(
        wording.label_of(c) for c in e.concepts
    )
    assert RENDERERS["text"].function(unsure).decode().count("(not confirmed)") == 1
    assert "Grey: not confirmed." in wording.bars_are(unsure) and "Grey" not in wording.bars_are(e)
    greys = [a for tag, a in page(unsure).tags if tag == "b" and "unsure" in a.get("class", "")]
    assert len(greys) == 2, "the bars of one region, for and rather than"
    assert RENDERERS["png"].function(unsure) != RENDERERS["png"].function(e)
    assert e.graph is not None
    loose = e.graph.model_copy(
        update={"edges": tuple(x.model_copy(update={"confirmed": False}) for x in e.graph.edges)}
    )
    edges = [
        a["class"]
        for tag, a in page(e.model_copy(update={"graph": loose})).tags
        if tag == "g" and "edge" in a.get("class", "")
    ]
    assert edges and all("unsure" in c for c in edges)


# --------------------------------------------------------------------------------------------------
# The graph.


def test_edges_of_the_graph_have_the_width_and_the_sign_of_their_interaction() -> None:
    e = record(4, regions=4)
    assert e.graph is not None
    shown = sorted((e for e in e.graph.edges if abs(e.contribution) >= 0.005), key=lambda e: abs(e.contribution))
    assert 0 < len(shown) < len(e.graph.edges) + 1
    widths = [float(a["stroke-width"]) for tag, a in page(e).tags if tag == "line" and "stroke-width" in a]
    assert widths == pytest.approx([2 + 8 * abs(edge.contribution) for edge in shown], abs=0.051)
    sides = [a["class"].split()[1] for tag, a in page(e).tags if tag == "g" and a.get("class", "").startswith("edge")]
    assert sides == ["for" if edge.contribution >= 0 else "against" for edge in shown]
    for edge in e.graph.edges:
        assert wording.points(edge.contribution) in flat(page(e).text)


def test_one_region_makes_no_graph() -> None:
    assert not [a for tag, a in page(record(regions=1)).tags if tag == "line"]
    assert [a for tag, a in page(record(regions=2)).tags if tag == "line"]


# --------------------------------------------------------------------------------------------------
# Pictures.


def test_heat_lies_where_the_map_is_high_and_is_clear_where_it_is_not() -> None:
    e = record()
    assert e.saliency is not None
    values = np.full((4, 6), -1.0)
    values[0, 5], values[3, 0] = 2.0, 1.0
    rows = tuple(tuple(map(float, row)) for row in values)
    heat = np.asarray(
        palette.heat(e.saliency.model_copy(update={"values": rows, "maximum": 2.0, "minimum": -1.0}), (60, 40))
    )
    assert heat.shape == (40, 60, 4)
    alpha = heat[..., 3].astype(int)
    assert alpha[2, 57] > alpha[37, 2] > 80 > 3 > alpha[20, 30] - 1 >= -1
    assert alpha.max() <= round(255 * MOST_OPAQUE)


def test_the_ramp_grows_lighter_and_more_opaque() -> None:
    steps = ramp(np.linspace(0, 1, 9, dtype=np.float32)[None])[0].astype(int)
    assert tuple(steps[0]) == (*RAMP[0], 0) and tuple(steps[-1][:3]) == RAMP[-1]
    assert steps[-1, 3] == round(255 * MOST_OPAQUE) == 217 and steps[4, 3] > 1.1 * steps[-1, 3] / 2
    assert (np.diff(steps[:, 3]) > 0).all() and (np.diff(steps[:, :3].sum(1)) > 0).all()


def test_blue_is_for_and_orange_against_and_nothing_is_for() -> None:
    assert [palette.sign_colour(v) for v in (0.1, 0.0, -0.1)] == [palette.FOR, palette.FOR, palette.AGAINST]


def test_only_a_measured_positive_map_is_drawn() -> None:
    assert palette.is_drawn(record().saliency) and not palette.is_drawn(None)
    assert not any(palette.is_drawn(record(saliency=s).saliency) for s in ("flat", "all_negative", "not_finite"))
    saliency = record().saliency
    assert saliency is not None and not palette.is_drawn(saliency.model_copy(update={"maximum": 0.0}))
    assert not palette.is_drawn(saliency.model_copy(update={"status": "not_finite", "maximum": 1.0}))


def test_the_layout_scales_photo_crop_and_regions_alike() -> None:
    e = record()
    layout = layout_of(e)
    assert (
        layout.view == (640, round(300 * 640 / 451)) and layout.photo is not None and layout.photo.size == layout.view
    )
    assert layout.crop == pytest.approx([v * 640 / 451 for v in e.image.seen], rel=0.01)
    assert layout.seen == layout.crop and layout_of(record(whole=True)).seen is None
    for shape in layout.shapes:
        mask = shape.concept.mask.array()
        x, y = (round(v * 451 / 640) for v in shape.at)
        assert mask[y, x] and shape.soft.shape == layout.view[::-1]
    absent = with_first(e, present=False)
    assert len(layout_of(absent).shapes) == len(layout.shapes) - 1


def test_hiding_blurs_the_region_alone() -> None:
    layout = layout_of(record())
    assert layout.photo is not None
    shape = layout.shapes[0]
    before = np.asarray(layout.photo, dtype=int)
    inside, outside = shape.soft > 0.99, shape.soft < 0.01
    without = hidden(layout, shape, 640)
    assert without is not None
    changed = np.abs(np.asarray(without, dtype=int) - before).mean(axis=-1)
    assert changed[outside].max() <= 3 and changed[inside].mean() > 5
    small = hidden(layout, shape, 100)
    assert small is not None and max(small.size) == 100
    bare = layout_of(record(bare=True))
    assert hidden(bare, bare.shapes[0], 100) is None


def test_the_panel_frames_what_was_seen_and_darkens_the_rest() -> None:
    def brightness(e: Explanation) -> float:
        pixels = np.asarray(Image.open(io.BytesIO(RENDERERS["png"].function(e))), dtype=float)
        return float(pixels[140:400, 40:200].mean())

    cropped = record(saliency=None, regions=0, versus=False)
    image = cropped.image.model_copy(update={"seen": (0, 0, cropped.image.width, cropped.image.height)})
    assert brightness(cropped) < 0.9 * brightness(cropped.model_copy(update={"image": image}))
