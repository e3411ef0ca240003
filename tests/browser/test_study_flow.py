"""What is said before anything runs, what can be chosen, stopped, changed and taken away, in Chromium."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

pytestmark = pytest.mark.browser


@pytest.fixture
def two_series(patient_zip: Path, tmp_path: Path) -> Path:
    """A patient's CT, and the same again as a series of fewer slices with one missing."""
    both = tmp_path / "both.zip"
    uid = generate_uid()
    with zipfile.ZipFile(patient_zip) as given, zipfile.ZipFile(both, "w") as out:
        slices = sorted((dcmread(given.open(n)) for n in given.namelist()), key=lambda s: float(s.ImagePositionPatient[2]))
        for i, s in enumerate(slices):
            s.save_as(tmp_path / "s.dcm", enforce_file_format=True)
            out.write(tmp_path / "s.dcm", f"a/{i}.dcm")
        for i, s in enumerate(slices[:10]):
            if i == 4:
                continue
            s.SeriesInstanceUID, s.SOPInstanceUID, s.SeriesDescription = uid, generate_uid(), "<b>short</b>"
            s.file_meta.MediaStorageSOPInstanceUID = s.SOPInstanceUID
            s.save_as(tmp_path / "s.dcm", enforce_file_format=True)
            out.write(tmp_path / "s.dcm", f"b/{i}.dcm")
    return both


def test_series_are_listed_before_reading_and_another_can_be_chosen_and_mended(visit: Any, two_series: Path) -> None:
    page = visit.page
    visit.upload(two_series)
    visit.wait_for_scan()
    verdict = page.inner_text("#verdict")
    assert "E_MISSING_SLICES" in verdict
    assert "is read" in verdict
    assert page.locator("#verdict tbody tr").count() == 2
    whole = page.inner_text("#facts")
    page.click("#series input")
    page.click("[role=option]:has-text('of 9 slices')")
    page.wait_for_selector("#facts .mm-error:has-text('E_MISSING_SLICES')")
    page.click("#repair-fill input")
    page.wait_for_selector("#facts:has-text('repaired')")
    visit.wait_for_scan()
    assert page.inner_text("#facts") != whole
    assert visit.console == []


def test_an_answer_can_be_changed_and_taken_away(visit: Any, tmp_path: Path) -> None:
    page = visit.page
    visit.open_example(0)
    page.wait_for_selector("#note-facts:has-text('characters')")
    assert "from image and text" in visit.run()
    with page.expect_download() as taken:
        page.click("a[download='medmm-answer.json']")
    taken.value.save_as(tmp_path / "answer.json")
    document = json.loads((tmp_path / "answer.json").read_text())
    assert document["note"]["text_used"]
    page.click("#use-image input")
    page.wait_for_selector("#moved table")
    assert "from text" in page.inner_text("#moved")
    before = page.inner_text("#moved")
    page.click("#edited-note textarea")
    page.keyboard.type(" No metastases.")
    page.wait_for_function(
        "before => document.querySelector('#moved table') && document.querySelector('#moved').innerText !== before", arg=before
    )
    assert visit.console == []


def test_stop_ends_an_answer_and_the_page_goes_on(visit: Any, server: Any) -> None:
    page = visit.page
    visit.open_example(0)
    visit.run()
    assert page.is_disabled("#stop")
    children = psutil.Process(server.process.pid).children(recursive=True)
    model = next(child for child in children if child.cmdline()[-2:] == ["medmm.ui.tasks", "model"])
    model.suspend()  # certainly at work when it is stopped
    page.click("#run")
    page.click("#stop:not([disabled])")
    page.wait_for_selector("#answer .mm-error:has-text('E_CANCELLED')")
    page.wait_for_selector("#stop[disabled]", state="attached")
    page.click("#run")
    page.wait_for_selector("#answer .mm-result:has-text('Calibrated probability')", timeout=60_000)
