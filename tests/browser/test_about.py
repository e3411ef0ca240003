from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_the_about_tab_shows_the_card_the_sources_and_the_licences(visit: Any) -> None:
    page = visit.page
    page.get_by_role("tab", name="About").click()
    page.wait_for_selector("#card h2", timeout=60_000)
    card = page.inner_text("#card")
    assert "Limits" in card
    assert "license:" not in card  # the header is for machines
    page.wait_for_selector("#software table")
    assert "CC BY 3.0" in page.inner_text("#sources")
    assert page.inner_text("#software th[scope=col] >> nth=2") == "licence"
    assert "Apache" in page.inner_text("#software")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    heights = page.locator("#card tbody tr").evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().height)")
    assert max(heights) < 60  # words are not broken into letters: the table scrolls by itself
    assert visit.console == []


def test_the_about_tab_speaks_chinese(visit: Any) -> None:
    visit.page.goto(visit.page.url + "?lang=zh")
    visit.page.get_by_role("tab", name="关于").click()
    visit.page.wait_for_selector("#software table")
    assert "第三方软件" in visit.page.inner_text("#software")
