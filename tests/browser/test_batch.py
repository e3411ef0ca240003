"""A cohort in Chromium: predicted, taken away, found after a reload, and removed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_cohort_is_predicted_taken_away_found_again_and_removed(visit: Any, server: Any, tmp_path: Path) -> None:
    page = visit.page
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("text=No cohort yet")
    table = tmp_path / "CANARY cohort.csv"
    table.write_text("study_id,patient_id,image,note\nA,A,,A sarcoma of the thigh.\n<img src=x onerror=alert(1)>,B,gone.zip,\n")
    page.set_input_files("#batch-upload input[type=file]", [str(table)])
    page.wait_for_selector("text=2 studies, 0 of them with a label", timeout=30_000)
    page.click("#batch-run")
    page.wait_for_selector("text=1 of 2 studies answered, 1 failed", timeout=180_000)
    assert "E_NO_IMAGE" in page.inner_text("#batch")
    assert "<img src=x" in page.inner_text("#batch")
    with page.expect_download() as taken:
        page.click("text=predictions.csv")
    with Path(taken.value.path()).open(encoding="utf-8") as file:
        assert {row["sample_id"] for row in csv.DictReader(file)} == {"A", "<img src=x onerror=alert(1)>"}

    assert [f for f in server.files() if b"onerror" in f.read_bytes()] != []

    page.reload()
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("text=1 of 2 studies answered, 1 failed", timeout=30_000)
    link = page.get_attribute("text=predictions.csv", "href")
    assert page.request.get(server.url + link).ok
    page.click("#batch-forget")
    page.wait_for_selector("text=Nothing of the cohort is left")
    assert page.request.get(server.url + link).status == 404
    assert [f for f in server.files() if b"onerror" in f.read_bytes()] == []  # the row's name is in its table and its run
    assert visit.console == []


def test_no_visitor_sees_the_cohort_of_another(visitor: Any, server: Any) -> None:
    first, second = visitor(server.url).page, visitor(server.url).page
    first.get_by_role("tab", name="Batch").click()
    first.click("#batch-example")
    first.wait_for_selector("text=4 studies, 4 of them with a label", timeout=30_000)
    second.get_by_role("tab", name="Batch").click()
    second.wait_for_selector("text=No cohort yet")
    assert second.is_disabled("#batch-run")
    first.click("#batch-forget")
    first.wait_for_selector("text=Nothing of the cohort is left")
