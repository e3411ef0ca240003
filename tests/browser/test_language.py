"""The page in the visitor's language."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_chinese_browser_gets_a_chinese_page_and_can_switch(chromium: Any, server: Any) -> None:
    context = chromium.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#run")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.inner_text("#run") == "运行"
    page.wait_for_selector("#about .mm-about", timeout=60_000)
    assert "模型" in page.inner_text("#about")
    with page.expect_navigation():
        page.click(".mm-languages >> text=English")
    page.wait_for_selector("#run")
    assert page.inner_text("#run") == "Run"
    assert page.evaluate("document.documentElement.lang") == "en"
    context.close()


def test_a_browser_of_another_language_gets_one_language_not_two(chromium: Any, server: Any) -> None:
    context = chromium.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#run")
    assert page.inner_text("#run") == "Run"
    assert "Click to Upload" in page.inner_text("#upload")
    context.close()
