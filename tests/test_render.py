"""Contract of every renderer, and what each promises on its own."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from records import record, said
from saywhy.errors import InputError
from saywhy.explanation import Explanation, Span, Statement, json_schema
from saywhy.heat import ramp
from saywhy.render import RENDERERS, wording
from saywhy.render.html import fragment
from saywhy.render.palette import AGAINST, FOR

NASTY = ("<script>alert('1')</script> " + "x" * 90, "汉字 \" onload='x'", "\x1b[31mred\x07", "{{ 7*7 }}", "&amp;")
CASES: dict[str, dict[str, object]] = {
    "usual": {},
    "six regions": {"seed": 3, "regions": 6},
    "one region, flat map": {"seed": 1, "regions": 1, "saliency": "flat", "skipped": 0},
    "no region, no map": {"regions": 0, "saliency": None, "versus": False},
    "all-negative map": {"saliency": "all_negative", "regions": 2},
    "map not finite": {"saliency": "not_finite", "regions": 2},
    "very wide": {"size": (1500, 60)},
    "very tall": {"size": (60, 1500)},
    "tiny": {"size": (9, 8), "regions": 2},
    "bare": {"bare": True, "whole": True},
    "no path": {"path": None, "empty": 0.3},
    "log-odds": {"unit": "log-odds", "versus": False},
    "names from outside": {"names": NASTY, "path": 'a/"><img src=x onerror=alert(1)>.png'},
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> Explanation:
    return made(request.param)


@cache
def made(name: str) -> Explanation:
    return record(**CASES[name])


@cache
def drawn(name: str, case: str) -> bytes:
    return RENDERERS[name].function(made(case))


def draw(name: str, explanation: Explanation) -> bytes:
    """Draws it; the cases of the table once for all tests of a process."""
    case = next((c for c in CASES if made(c) is explanation), None)
    return drawn(name, case) if case else RENDERERS[name].function(explanation)


class Page(HTMLParser):
    """What a page holds: its tags, its texts, and the texts by class."""

    VOID = frozenset(("meta", "img", "input", "br", "link"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[dict[str, str]] = []
        self.text = ""
        self.by_class: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        row = {key: value or "" for key, value in attrs}
        self.tags.append((tag, row))
        if tag not in self.VOID:
            self.open.append(row | {"tag": tag, "at": str(len(self.text))})

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        row = self.open.pop()
        assert row["tag"] == tag, f"</{tag}> closes <{row['tag']}>"
        for name in row.get("class", "").split():
            self.by_class.setdefault(name, []).append(self.text[int(row["at"]) :])

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1]["tag"] not in ("style", "script"):
            self.text += data


def page(explanation: Explanation) -> Page:
    return Page(draw("html", explanation).decode())


def flat(text: str) -> str:
    return " ".join(text.split())


# --------------------------------------------------------------------------------------------------
# Every renderer.


@pytest.mark.parametrize("name", RENDERERS)
def test_every_renderer_gives_the_same_bytes_twice(name: str, case: Explanation) -> None:
    row = RENDERERS[name]
    first = draw(name, case)
    assert len(first) > 100
    assert row.function(case) == first
    assert row.suffix.startswith(".") and "/" in row.media_type and row.summary


@pytest.mark.parametrize("name", [name for name in RENDERERS if name != "json"])
def test_every_renderer_draws_a_record_that_was_read_back_from_json(name: str) -> None:
    again = Explanation.from_dict(json.loads(RENDERERS["json"].function(record())))
    assert not again.thumbnail and not again.runs
    assert len(RENDERERS[name].function(again)) > 100


def test_renderers_do_not_import_torch() -> None:
    code = "import sys, saywhy.render; sys.exit(int('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_gives_back_the_record(case: Explanation) -> None:
    assert Explanation.from_dict(json.loads(RENDERERS["json"].function(case))).to_dict() == case.to_dict()


def test_a_record_of_another_schema_is_refused_in_one_sentence() -> None:
    old = record().to_dict() | {"schema": 1}
    with pytest.raises(InputError, match=r"of schema 1, .* reads schema 3: explain the photo again, or read") as caught:
        Explanation.from_dict(old)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="schema None"):
        Explanation.from_dict({})


def test_json_has_appearance_in_words_beside_its_fields() -> None:
    row = record().to_dict()["concepts"][0]
    assert row["appearance"] == ["orange 48 %", "brown 31 %", "large"]
    assert row["colours"] == [{"term": "orange", "share": 0.48}, {"term": "brown", "share": 0.31}]
    assert (row["look"], row["size"], row["beside"]) == ("large orange-brown", "large", None)


@pytest.mark.parametrize("places", [[(3, 2)], [(0, 99)], [(4, 6), (5, 7)], [(4, 6), (0, 2)], [(-1, 2)]])
def test_spans_outside_the_text_or_over_each_other_are_refused(places: list[tuple[int, int]]) -> None:
    spans = tuple(Span(start=a, end=b, region="1") for a, b in places)
    with pytest.raises(ValueError, match="one after the other"):
        Statement(text="region 1.", kind="needs", spans=spans, evidence=(), effect=None, verified=True)


def test_no_renderer_searches_text() -> None:
    # What a sentence points to is a field of the record; a pattern over prose would be a second, worse source of it.
    sources = sorted((Path(__file__).parents[1] / "src" / "saywhy" / "render").glob("*.py"))
    assert sources
    imported = [
        name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]
    assert "re" not in imported


def test_schema_file_is_up_to_date() -> None:
    path = Path(__file__).parents[1] / "docs" / "explanation.schema.json"
    assert json.loads(path.read_text("utf-8")) == json_schema(), "run make docs"


# --------------------------------------------------------------------------------------------------
# Numbers are the same everywhere.


def test_text_and_page_tell_the_same_contributions(case: Explanation) -> None:
    unit = wording.unit_of(case)
    expected = [wording.points(v, unit) for c in case.concepts for v in (c.contribution, c.contrast) if v is not None]
    told = RENDERERS["text"].function(case).decode()
    table = [line for line in told.splitlines() if re.match(r"\d+ +\S", line)]
    assert [cell for line in table for cell in line.split()[-1 - (case.versus is not None) :]] == expected
    assert re.findall(r'<a class="num"[^>]*>([^<]*)</a>', draw("html", case).decode()) == expected


def test_sentences_stand_in_order_and_word_for_word(case: Explanation) -> None:
    expected = [wording.clean(s.text) for s in case.statements]
    told, shown = RENDERERS["text"].function(case).decode(), flat(page(case).text)
    for text in (told, shown):
        places = [text.find(sentence) for sentence in expected]
        assert -1 not in places and places == sorted(places)


def test_page_and_text_say_what_all_that_counts_does_together() -> None:
    found = {"alone": {"value": 0.71, "low": 0.5, "high": 0.9}, "without": {"value": 0.04, "low": 0, "high": 0.1}}
    e = record().model_copy(update={"parts": {"regions": {"sufficiency": {"regions": ["1"], **found}}}})
    line = "All that counts for tiger cat together: 71 % when it alone is seen, 4 % without it."
    assert line in flat(page(e).text) and line in flat(RENDERERS["text"].function(e).decode())
    assert line not in flat(page(record()).text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.13, "+13"), (-0.04, "−4"), (0.0, "0"), (0.004, "+0.4"), (-0.0004, "0"), (0.0093, "+1"), (1.0, "+100")],
)
def test_points_are_whole_and_keep_their_sign(value: float, text: str) -> None:
    assert wording.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.39, "39 %"), (0.004, "under 1 %"), (0.9999, "over 99 %"), (0.0, "under 1 %")]
)
def test_percentages_are_never_certain(value: float, text: str) -> None:
    assert wording.percent(value).replace("\u00a0", " ") == text


def test_evidence_names_regions_and_the_ends_of_edges() -> None:
    e = record(regions=3)
    assert wording.regions_of(("1-3", "2"), e) == ["1", "3", "2"]
    assert wording.regions_of(("prediction",), e) == []
    assert wording.regions_of(("1", "2"), record(regions=0)) == []


def test_an_edge_is_what_the_graph_says_and_not_how_its_id_is_spelt() -> None:
    e = record(regions=3)
    assert e.graph is not None
    edges = (e.graph.edges[0].model_copy(update={"id": "2-3"}), *e.graph.edges[1:2])
    renamed = e.model_copy(update={"graph": e.graph.model_copy(update={"edges": edges})})
    assert wording.regions_of(("2-3",), renamed) == ["1", "2"]
    assert wording.regions_of(("1-2",), renamed) == []


# --------------------------------------------------------------------------------------------------
# The page.


def test_page_loads_nothing_and_runs_nothing(case: Explanation) -> None:
    html = draw("html", case).decode()
    assert "default-src 'none'" in html
    for tag, attributes in Page(html).tags:
        assert tag not in ("script", "iframe", "object", "link", "base", "form")
        for key, value in attributes.items():
            assert not key.startswith("on"), f"<{tag} {key}>"
            if key in ("src", "href"):
                assert value.startswith(("data:image/", "#")), value[:80]
    style = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.S))
    assert "url(" not in style and "@import" not in style


def test_names_from_outside_stay_text() -> None:
    e = record(**CASES["names from outside"])
    shown = page(e)
    assert "<script>alert('1')</script>" in shown.text and "汉字 \" onload='x'" in shown.text
    assert "{{ 7*7 }}" in shown.text and "&amp;" in shown.text
    assert "\x1b" not in RENDERERS["text"].function(e).decode()
    assert "\x1b" not in RENDERERS["html"].function(e).decode()
    commands = [shlex.split(command) for _, command in wording.next_steps(e.asked_by({})) if command]
    assert commands and all(command[2] == e.image.path for command in commands)


REGION, TARGET, RIVAL, OTHER = {"region": "1"}, {"class_index": 280}, {"class_index": 281}, {"class_index": 7}


def sentence(*pieces: str | tuple[str, dict[str, object]]) -> str:
    """The page's HTML of one sentence made of these pieces."""
    e = record(regions=2).model_copy(update={"statements": (said("flip", ("1",), None, *pieces),)})
    return re.findall(r"<li[^>]*>\s*<p>(.*?)</p>", draw("html", e).decode(), flags=re.S)[0]


def test_regions_are_badges_and_the_two_classes_bold() -> None:
    told = sentence(
        "Without region ", ("1", REGION), ", ", ("cat", TARGET), ", ", ("lynx", RIVAL), ", ", ("fox", OTHER), "."
    )
    assert told == ('Without region <span class="badge">1</span>, <strong>cat</strong>, <strong>lynx</strong>, fox.')


@pytest.mark.parametrize("name", ["region 2", "Region 1, the brown patch", "regions 1 and 2", "1"])
def test_a_class_that_is_called_like_a_region_gets_no_badge(name: str) -> None:
    told = sentence("Without region ", ("1", REGION), ", the model would say ", (name, OTHER), ".")
    assert told == f'Without region <span class="badge">1</span>, the model would say {name}.'
    assert sentence("The model says ", (name, TARGET), ".") == f"The model says <strong>{name}</strong>."


@pytest.mark.parametrize("named", [REGION, TARGET, OTHER, None])
def test_every_piece_of_a_sentence_is_escaped(named: dict[str, object] | None) -> None:
    evil, safe = "<img src=x onerror=alert(1)>&amp;", "&lt;img src=x onerror=alert(1)&gt;&amp;amp;"
    told = sentence("A ", (evil, named) if named else evil, " and ", ("1", REGION), f", {evil}")
    assert safe in told and told.endswith(f"</span>, {safe}")
    assert "<img" not in told
    assert told.replace(safe, "").count("<") == told.count('<span class="badge">') * 2 + told.count("<strong>") * 2


def test_letters_that_are_not_printed_leave_every_mark_in_its_place() -> None:
    told = sentence("A\x1b\x07  b\t region ", ("1", REGION), " is ", ("c\x00t", TARGET), ".")
    assert told == 'A\ufffd\ufffd  b  region <span class="badge">1</span> is <strong>c\ufffdt</strong>.'


@pytest.mark.parametrize("name", ["text", "png", "html"])
def test_a_region_is_called_by_its_look_whatever_the_sentences_say(name: str) -> None:
    e = record(regions=2)
    changed = e.model_copy(update={"text": "Region 1, the golden patch at the top.", "statements": e.statements[:1]})
    other = changed.model_copy(update={"text": "Region 1, the silver patch at the top."})
    assert draw(name, changed).replace(_uid(changed), b"") == draw(name, other).replace(_uid(other), b"")
    assert [wording.label_of(c) for c in e.concepts] == [f"{c.look} patch, {c.place}" for c in e.concepts]


def _uid(e: Explanation) -> bytes:
    """What tells the ids of one page from those of another: made of the whole record."""
    return next(a["id"].rsplit("-", 1)[0] for _, a in page(e).tags if "id" in a).encode()


def test_page_has_unique_ids_and_every_link_has_its_place(case: Explanation) -> None:
    tags = page(case).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for tag, a in tags if tag == "a"]
    assert links or not case.concepts
    assert set(links) <= set(ids)


def test_page_is_told_to_screen_readers(case: Explanation) -> None:
    tags = page(case).tags
    assert ("html", {"lang": "en"}) in tags
    assert all(a.get("alt") for tag, a in tags if tag == "img")
    assert all("aria-label" in a for tag, a in tags if tag == "section")
    assert all(a.get("aria-label") for _, a in tags if a.get("role") in ("img", "group"))
    assert sum("mark" in a.get("class", "").split() for _, a in tags) == len(case.concepts)


def test_bars_point_and_are_coloured_by_their_sign(case: Explanation) -> None:
    values = [v for c in case.concepts for v in (c.contribution, c.contrast) if v is not None]
    bars = [a for tag, a in page(case).tags if tag == "b" and a.get("class") in ("for", "against")]
    assert [bar["class"] for bar in bars] == ["for" if v >= 0 else "against" for v in values]
    zeros = [float(a["style"].split(":")[1].rstrip("%")) for tag, a in page(case).tags if tag == "u"]
    for bar, value, zero in zip(bars, values, zeros, strict=True):
        left, width = (float(n) for n in re.findall(r"[\d.]+", bar["style"]))
        edge = left if value >= 0 else left + width
        assert edge == pytest.approx(zero, abs=0.02)


def test_page_without_a_photo_says_so_and_keeps_its_proportions() -> None:
    shown = page(record(bare=True))
    assert "The photo is not in the record" in shown.text
    assert next(a["viewbox"] for tag, a in shown.tags if tag == "svg") == "0 0 640 426"


def test_saliency_is_off_until_it_is_switched_on_and_absent_where_there_is_none() -> None:
    tags = page(record()).tags
    assert [a for tag, a in tags if tag == "input"] == [{"type": "checkbox"}]
    assert any(a.get("class") == "heat" for _, a in tags)
    for status in (None, "flat", "all_negative", "not_finite"):
        assert not any(tag == "input" or a.get("class") == "heat" for tag, a in page(record(saliency=status)).tags)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skipped": 3}, "3 parts were tried and not confirmed"),
        ({"skipped": 0}, "No claim was dropped"),
        ({"saliency": "flat"}, "the map is flat"),
        ({}, "the model saw 51 % of the photo"),
        ({"regions": 0}, "none is known to"),
    ],
)
def test_page_says_what_it_does_not_say(options: dict[str, object], said: str) -> None:
    assert said in flat(page(record(**options)).text)


def test_cut_regions_are_those_at_a_side_where_the_photo_goes_on() -> None:
    e = record()
    x0, y0 = e.image.seen[:2]
    first = e.concepts[0].model_copy(update={"box": (x0, y0 + 50, x0 + 60, y0 + 90)})
    cut = e.model_copy(update={"concepts": (first, *e.concepts[1:])})
    assert wording.cut_regions(cut) == ["1"]
    whole = cut.model_copy(update={"image": e.image.model_copy(update={"seen": (0, 0, 451, 300)})})
    assert wording.cut_regions(whole) == []


def test_page_about_another_class_names_the_answer() -> None:
    e = record()
    asked = e.model_copy(update={"target": e.prediction.top[2], "versus": e.prediction.top[0]})
    assert wording.headline(asked) == "lynx 8\u00a0%, the model's answer is tiger cat 39\u00a0%"
    assert wording.headline(e) == "tiger cat 39\u00a0%, ahead of Egyptian cat 36\u00a0%"


def test_runs_stand_behind_the_numbers() -> None:
    e = record()
    shown = page(e)
    assert f"Every run behind the sentences ({len(e.runs)})" in flat(shown.text)
    assert flat(shown.text).count("8 runs with this region") == len(e.concepts)


def test_fragments_share_a_page_without_touching_it_or_each_other() -> None:
    both = fragment(record(0)) + fragment(record(1, names=("dog", "wolf", "fox", "cat", "elk")))
    shown = Page(both)
    assert not any(tag in ("html", "head", "body", "meta") for tag, _ in shown.tags)
    ids = [a["id"] for _, a in shown.tags if "id" in a]
    assert len(ids) == len(set(ids))
    style = re.sub(r"/\*.*?\*/", "", "".join(re.findall(r"<style>(.*?)</style>", both, flags=re.S)), flags=re.S)
    assert {s.split("{")[0].split(":")[0].split(".")[1].strip() for s in _outer_rules(style)} == {"saywhy"}


def _outer_rules(style: str) -> list[str]:
    """Rules at the top of a style sheet, and those directly in an @media."""
    rules, depth, start = [], 0, 0
    for i, c in enumerate(style):
        depth += (c == "{") - (c == "}")
        if c == "}" and depth == 0:
            rule = style[start : i + 1].strip()
            inner = rule[rule.index("{") + 1 : -1]
            rules += _outer_rules(inner) if rule.startswith("@media") else [rule]
            start = i + 1
    return rules


def test_notebooks_show_the_fragment() -> None:
    e = record()
    assert e._repr_html_() == fragment(e)


def test_a_notebook_that_imported_no_renderer_shows_the_fragment(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(json.dumps(record().to_dict()))
    code = (
        "import json, sys\nfrom saywhy.explanation import Explanation\n"
        "e = Explanation.from_dict(json.load(open(sys.argv[1])))\n"
        "assert 'saywhy.render' not in sys.modules\nassert 'class=\"saywhy\"' in e._repr_html_()\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "e.json")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# --------------------------------------------------------------------------------------------------
# The panel.


def panel(explanation: Explanation) -> Image.Image:
    image = Image.open(io.BytesIO(draw("png", explanation)))
    image.load()
    return image


def has(image: Image.Image, colour: str) -> bool:
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return bool((np.asarray(image) == rgb).all(axis=-1).sum() > 100)


def test_panel_is_a_picture_of_one_width(case: Explanation) -> None:
    image = panel(case)
    assert image.format == "PNG" and image.mode == "RGB"
    assert image.width == 1360 and 300 < image.height < 6000


def test_panel_shows_for_in_blue_and_against_in_orange() -> None:
    e = record(regions=3, versus=False)
    for sign, shown, hidden in ((1, FOR, AGAINST), (-1, AGAINST, FOR)):
        rows = tuple(c.model_copy(update={"contribution": sign * 0.5}) for c in e.concepts)
        bars = panel(e.model_copy(update={"concepts": rows, "thumbnail": b""}))
        # The key at the foot has a small bar of either colour; the bars are much more.
        count = {
            colour: int((np.asarray(bars) == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(-1).sum())
            for colour in (FOR, AGAINST)
        }
        assert count[shown] > 2000 > 500 > count[hidden] > 0


def test_panel_draws_the_saliency_only_where_there_is_some() -> None:
    bright = ramp(np.ones((1, 1), dtype=np.float32))[0, 0, :3]
    for status, there in (("ok", True), ("flat", False), (None, False)):
        pixels = np.asarray(panel(record(saliency=status, bare=True)), dtype=int)
        near = (np.abs(pixels - bright).sum(axis=-1) < 60).sum()
        assert (near > 500) == there


def test_panel_breaks_long_words_and_survives_long_texts() -> None:
    e = record(names=("w" * 4000, "b", "c", "d", "e"))
    assert panel(e).height <= 6000


def test_the_heading_of_the_page_tells_the_probability_as_a_percentage():
    page = RENDERERS["html"].function(record()).decode()
    heading = page[page.index("<h1") : page.index("</h1>")]
    assert "39\u00a0%" in heading and "0.39" not in heading
