"""Everybody can use every tab: axe-core finds nothing serious in either theme and language, and keys reach everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN = """async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})).violations
  .filter((v) => ['serious', 'critical'].includes(v.impact))
  .flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 120)}`))"""
READY = {0: "[data-drawn]", 1: "#batch-forget:enabled", 2: "#evaluation .mm-bin", 3: "#software table"}
"""Tab by place, and what is there once it is filled."""


def open_tab(page: Any, place: int) -> None:
    """Go to a tab and fill it."""
    page.get_by_role("tab").nth(place).click()
    if place == 0:
        page.click(".mm-example >> nth=0")
    if place == 1:
        page.click("#batch-example")
    page.wait_for_selector(READY[place], timeout=60_000)


def serious(page: Any) -> list[str]:
    """What axe-core finds."""
    page.wait_for_timeout(100)
    page.wait_for_function("document.getAnimations().every((a) => !(a instanceof CSSTransition))")  # colours fade
    page.evaluate(AXE)
    found: list[str] = page.evaluate(RUN)
    return found


def test_axe_sees_what_is_wrong(visit: Any) -> None:
    visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<button></button><p style=\"color:#aaa\">pale</p>')")
    assert {found.partition(":")[0] for found in serious(visit.page)} >= {"button-name", "color-contrast"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_tab_has_a_serious_finding(visitor: Callable[[str], Any], server: Any, language: str, theme: str) -> None:
    visit = visitor(f"{server.url}?lang={language}&__theme={theme}")
    assert visit.page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert visit.page.evaluate("document.documentElement.lang").startswith(language)
    for place in READY:
        open_tab(visit.page, place)
        assert (place, serious(visit.page)) == (place, [])
    visit.page.get_by_role("tab").nth(0).click()
    visit.page.fill("#note textarea", "A soft-tissue sarcoma of the left thigh.")
    visit.run()
    assert serious(visit.page) == []
    assert visit.console == []


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_no_tab_is_wider_than_the_screen_and_none_jumps_when_it_is_filled(visit: Any, width: int) -> None:
    page = visit.page
    page.set_viewport_size({"width": width, "height": 800})
    for place in READY:
        tab = page.get_by_role("tab", include_hidden=True).nth(place)
        if not tab.is_visible():  # a phone has the last ones behind a button
            page.set_viewport_size({"width": 1280, "height": 800})
            open_tab(page, place)
            page.set_viewport_size({"width": width, "height": 800})
        else:
            open_tab(page, place)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_batch_is_started_and_a_bin_is_read_with_the_keyboard_alone(visit: Any) -> None:
    page = visit.page
    assert reach(page, "[role=tab]:nth-of-type(2)")
    page.keyboard.press("Enter")
    page.wait_for_selector("#batch-example", state="visible")
    assert reach(page, "#batch-example")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=4 studies, 4 of them", timeout=30_000)
    assert reach(page, "#batch-run")
    page.get_by_role("tab").nth(2).click()
    page.wait_for_selector(".mm-bin")
    assert reach(page, ".mm-bin")
    told = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert told.startswith("n = ")
    assert page.evaluate("getComputedStyle(document.activeElement.querySelector('text')).visibility") == "visible"


def reach(page: Any, selector: str) -> bool:
    """Whether the tab key comes to an element."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return True
    return False
