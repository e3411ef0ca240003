"""The page of measured runs in Chromium, used as its reader would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(serve: Any, measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return serve(tmp_path_factory.mktemp("view"), "-m", "medmm", "eval", "view", str(measured), "--port", "{port}")


@pytest.fixture
def page(chromium: Any, server: Any) -> Iterator[Any]:
    """The open page; at its end nothing was complained of and no other host was asked."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, heard = context.new_page(), []
    page.on("console", lambda m: heard.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: heard.append(f"pageerror: {e}"))
    page.on("request", lambda r: heard.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else None)
    page.goto(server.url)
    page.wait_for_selector("#runs table")
    yield page
    context.close()
    assert heard == []


def test_runs_are_found_opened_and_searched_down_to_a_sample(page: Any) -> None:
    assert page.locator("#runs tbody tr").count() == 2
    page.fill("#find-run textarea, #find-run input", "poor")
    page.wait_for_function("document.querySelectorAll('#runs tbody tr').length === 1")
    page.get_by_role("tab", name="One run").click()
    page.wait_for_selector("#details svg[role=img]")
    assert "AUROC of" in page.inner_text("#details")
    page.wait_for_selector("#cases table")
    page.uncheck("#only-wrong input")
    page.wait_for_function("document.querySelectorAll('#cases tbody tr').length === 40")
    page.fill("#sample textarea, #sample input", "<b>s3")
    page.wait_for_selector("#case table")
    assert "<b>s3" in page.inner_text("#case")
    assert page.locator("#case b").count() == 0


def test_two_runs_are_compared_and_nothing_is_wider_than_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_role("tab", name="Two runs").click()
    page.click("#compare")
    page.wait_for_selector("#comparison table", timeout=60_000)
    assert "nested/poor" in page.inner_text("#comparison")
    assert "good is better than poor in auroc" in page.inner_text("#comparison")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_it_listens_here_alone_refuses_others_and_leaves_nothing(server: Any, page: Any) -> None:
    refused = page.request.post(f"{server.url}gradio_api/queue/join", headers={"Origin": "https://elsewhere.example"}, data={})
    assert refused.status == 403
    assert "content-security-policy" in page.request.get(server.url).headers
    assert re.match(r"http://127\.0\.0\.1:\d+/$", server.url)
