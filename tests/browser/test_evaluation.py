"""The Evaluation tab in Chromium: kept results, a point of a diagram, two compared, an upload shown or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medmm.ui.measured import committed

pytestmark = pytest.mark.browser


def test_results_are_looked_into_compared_and_uploaded(visit: Any, tmp_path: Path) -> None:
    page = visit.page
    page.get_by_role("tab", name="Evaluation").click()
    page.wait_for_selector("#evaluation table", timeout=30_000)
    first = page.inner_text("#evaluation")
    assert "separates the classes" in first.replace("\n", " ")
    page.hover(".mm-bin >> nth=6 >> .mm-reach")  # away from the crowd near 0
    shown = [page.locator(f".mm-bin >> nth={i} >> text >> nth=0").is_visible() for i in range(page.locator(".mm-bin").count())]
    assert [i for i, seen in enumerate(shown) if seen] == [6]

    upload = "#evaluation-upload input[type=file]"
    wrong, right = tmp_path / "notes.json", tmp_path / "metrics.json"
    wrong.write_text('{"schema_version": "other"}')
    page.set_input_files(upload, [str(wrong)])
    page.wait_for_selector("#evaluation-refused .mm-error", timeout=30_000)
    assert "E_PREDICTIONS" in page.inner_text("#evaluation-refused")
    shown = next(m for m in committed().values() if m.results.task == "lung_metastases")
    right.write_text(shown.results.to_json())
    page.set_input_files(upload, [str(right)])
    page.wait_for_selector(f"#evaluation h2:has-text('{shown.results.question}')", timeout=30_000)
    assert page.inner_text("#evaluation-refused") == ""

    page.click("#evaluation-other input")
    page.get_by_role("option", name="lung_metastases").last.click()
    page.wait_for_selector("text=Of one there are only numbers", timeout=60_000)
    assert visit.console == []
