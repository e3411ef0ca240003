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
def test_no_tab_is_wider_than_the_screen(visit: Any, width: int) -> None:
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


WATCH = """window.shifts = []; new PerformanceObserver((list) => window.shifts.push(...list.getEntries()
  .filter((entry) => !entry.hadRecentInput).map((entry) => entry.value))).observe({type: 'layout-shift', buffered: true})"""
"""What Cumulative Layout Shift is summed over."""
GOOD = 0.1  # web.dev: at most this much is good


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_nothing_jumps_while_the_page_comes_or_a_study_is_opened(chromium: Any, server: Any, width: int, height: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(server.url)
    page.wait_for_selector("#about:has-text('AUROC')")
    page.wait_for_selector("#note-facts:has-text('No note yet')")
    assert page.evaluate("PerformanceObserver.supportedEntryTypes.includes('layout-shift')")
    assert sum(page.evaluate("window.shifts.splice(0)")) <= GOOD
    page.click(".mm-example >> nth=0")
    page.wait_for_selector(".mm-viewer[data-level=full]", timeout=60_000)
    page.wait_for_timeout(500)
    assert sum(page.evaluate("window.shifts.splice(0)")) <= GOOD
    page.evaluate("document.querySelector('#viewer').insertAdjacentHTML('beforebegin', '<p style=\"height: 400px\"></p>')")
    page.wait_for_timeout(100)
    assert sum(page.evaluate("window.shifts.splice(0)")) > GOOD  # it is seen when something does
    context.close()


def test_who_wants_less_motion_gets_less(visit: Any) -> None:
    page = visit.page
    page.evaluate("document.querySelector('#facts').insertAdjacentHTML('beforeend', '<span class=mm-spinner></span>')")
    turning = "getComputedStyle(document.querySelector('#facts > .mm-spinner')).animationName"
    assert page.evaluate(turning) == "mm-turn"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(turning) == "none"
    visit.open_example(0)
    page.evaluate(
        "() => { window.steps = 0; const { viewer } = document.querySelector('.mm-viewer'), go = viewer.go.bind(viewer);"
        " viewer.go = (slice) => { window.steps += 1; go(slice); }; }"
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("window.steps > 0")
    page.wait_for_timeout(1000)
    assert page.evaluate("window.steps") <= 5  # three a second; otherwise it is twelve


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
