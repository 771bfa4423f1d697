"""The page of a text, looked at in a browser; HYPERREC_BROWSER is its path, or that of chromium or chrome is looked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_text import KITCHEN, SPACE, model, story

import hyperrec as hr

__all__ = ["model"]  # a fixture
FOUND = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
BROWSER = os.environ.get("HYPERREC_BROWSER") or next(FOUND, "")
TOLD = f"{story(SPACE, 50, 1)}\n<b>Unknown</b> & words.\n{story(KITCHEN, 50, 2)}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not BROWSER or not shutil.which("chromedriver"):
        pytest.skip("no chromium with chromedriver on this machine: pages are not looked at")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    quiet = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update")
    for one in (*quiet, "disable-sync", "disable-quic", "disable-dev-shm-usage", "window-size=1000,900"):
        options.add_argument(f"--{one}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def test_the_page_holds_the_text_and_nothing_from_elsewhere(model: hr.TopicModel, tmp_path: Path) -> None:
    page = hr.report.text(model, TOLD, tmp_path / "page.html", title="Moon & <soup>")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert "<title>Moon &amp; &lt;soup&gt;</title>" in page
    assert "&lt;b&gt;Unknown&lt;/b&gt; &amp; words." in page
    assert page.count("<b ") == 100
    assert "http" not in page
    assert page.count("<h2>") == 2


def test_the_page_in_a_browser(model: hr.TopicModel, browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    def css(selector: str) -> list[Any]:
        return list(browser.find_elements("css selector", selector))

    hr.report.text(model, TOLD, tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    words = css("article b")
    assert len(words) == 100
    assert words[0].text.lower() in SPACE.split()
    hover = css("#hover")[0]
    assert "Point at a word" in hover.text
    ActionChains(browser).move_to_element(words[0]).perform()
    topic, _, rest = hover.text.removeprefix(f"{words[0].text}: ").partition(" (")
    assert topic == f"topic {words[0].get_attribute('data-c')}"
    assert rest.endswith(" %")
    assert len({word.value_of_css_property("background-color").rpartition(",")[0] for word in words}) == 2  # but for their strength
    own = next(one for one in css("#topics li") if one.get_attribute("data-c") == words[0].get_attribute("data-c"))
    own.click()
    assert words[0].value_of_css_property("background-color") == "rgba(0, 0, 0, 0)"
    assert words[-1].value_of_css_property("background-color") != "rgba(0, 0, 0, 0)"
    own.click()
    assert words[0].value_of_css_property("background-color") != "rgba(0, 0, 0, 0)"
    assert len(css("svg line")) == 2  # the threshold, and one boundary
    assert css("svg polyline")[0].size["width"] > 500
    assert [one for one in browser.get_log("browser") if "favicon" not in one["message"]] == []
