"""The page in a real browser: lights go both ways, nothing scrolls sideways, nothing is blocked or logged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright import sync_api as playwright

from records import record
from saywhy.explanation import Explanation
from saywhy.render import RENDERERS
from saywhy.render.html import fragment

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH, and CHROMIUM does not name one"),
]
LONG_NAMES = ("w" * 150, "a class with quite a long name, and a comma", "c", "d", "e")


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser: playwright.Browser, path: Path, html: bytes, *, width: int = 1200) -> playwright.Page:
    """The page, in a tab that fails the test on any console message, error or request."""
    path.write_bytes(html)
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.trouble = []
    tab.on("console", lambda message: tab.trouble.append(message.text))
    tab.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else tab.trouble.append(r.url))
    tab.goto(path.as_uri())
    return tab


def page_of(explanation: Explanation) -> bytes:
    return RENDERERS["html"].function(explanation)


def style(tab: playwright.Page, selector: str, name: str) -> str:
    tab.wait_for_timeout(250)  # the lights fade in
    return tab.eval_on_selector(selector, f"e => getComputedStyle(e).getPropertyValue('{name}')")


def test_sentence_lights_its_regions_and_a_region_its_sentences(browser: playwright.Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()))
    assert style(tab, ".glow.r1", "opacity") == "0"
    tab.hover(".says li.r1")
    assert style(tab, ".glow.r1", "opacity") == "1"
    assert style(tab, ".glow.r2", "opacity") == "0"
    tab.hover(".mark.r2")
    assert style(tab, ".glow.r1", "opacity") == "0"
    dark = style(tab, ".says li.r1", "background-color")
    assert style(tab, ".says li.r2", "background-color") != dark
    assert style(tab, ".bars tr.r2", "background-color") != dark
    assert style(tab, ".node.r2 circle", "stroke") != style(tab, ".node.r1 circle", "stroke")
    assert tab.trouble == []
    tab.close()


def test_keyboard_reaches_sentences_and_lights_regions(browser: playwright.Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()))
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.matches('.says li.r1')"):
            break
    assert tab.evaluate("document.activeElement.matches('.says li.r1')")
    assert style(tab, ".glow.r1", "opacity") == "1"
    tab.close()


def test_saliency_is_a_layer_that_can_be_switched_on(browser: playwright.Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()))
    assert style(tab, ".heat", "opacity") == "0"
    tab.click(".switch")
    tab.wait_for_timeout(300)
    assert style(tab, ".heat", "opacity") == "1"
    tab.close()


@pytest.mark.parametrize("width", [1200, 768, 390, 320])
@pytest.mark.parametrize("options", [{"regions": 6}, {"names": LONG_NAMES}, {"size": (3000, 100)}, {"bare": True}])
def test_nothing_scrolls_sideways(
    browser: playwright.Browser, tmp_path: Path, width: int, options: dict[str, object]
) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record(**options)), width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for details in tab.query_selector_all("summary"):
        details.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.trouble == []
    tab.close()


def test_phone_shows_photo_words_numbers_and_graph_in_this_order_with_both_columns(
    browser: playwright.Browser, tmp_path: Path
) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()), width=390)
    tops = [tab.locator(f"section.{name}").bounding_box()["y"] for name in ("photo", "words", "numbers", "graph")]
    assert tops == sorted(tops)
    assert tab.locator(".bars tbody td").count() == tab.locator(".bars tbody td:visible").count() == 8
    tab.close()


def test_numbers_lead_to_their_runs(browser: playwright.Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()))
    tab.click(".bars tr.r3 a.num >> nth=0")
    assert tab.evaluate("document.querySelector(':target').matches('article.r3')")
    tab.close()


def test_two_fragments_on_one_page_light_up_apart(browser: playwright.Browser, tmp_path: Path) -> None:
    both = "".join(f"<div id=n{i}>{fragment(record(i))}</div>" for i in range(2))
    html = f"<!doctype html><meta charset=utf-8><h1 id=own>mine</h1>{both}".encode()
    tab = opened(browser, tmp_path / "page.html", html)
    tab.hover("#n0 .says li.r1")
    assert style(tab, "#n0 .glow.r1", "opacity") == "1"
    assert style(tab, "#n1 .glow.r1", "opacity") == "0"
    assert style(tab, "#own", "font-size") == "32px"
    assert tab.trouble == []
    tab.close()


@pytest.mark.parametrize("width", [700, 1000, 1400])
def test_a_cell_of_a_notebook_is_compact(browser: playwright.Browser, tmp_path: Path, width: int) -> None:
    html = f"<!doctype html><meta charset=utf-8><div id=cell>{fragment(record())}</div>".encode()
    tab = opened(browser, tmp_path / "page.html", html, width=width)
    assert 300 < tab.eval_on_selector("#cell", "e => e.getBoundingClientRect().height") < 1300
    tab.close()


def test_dark_mode_has_light_words_on_dark_paper(browser: playwright.Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "page.html", page_of(record()))
    tab.emulate_media(color_scheme="dark")
    ink, paper = style(tab, ".words", "color"), style(tab, ".words", "background-color")
    assert ink == "rgb(233, 236, 239)" and paper == "rgb(27, 32, 37)"
    tab.emulate_media(media="print", color_scheme="dark")
    assert style(tab, ".words", "background-color") == "rgb(255, 255, 255)"
    tab.close()
