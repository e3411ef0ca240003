"""A dictated note in Chromium: uploaded or spoken, written down, read over, answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser

from tests.recognisers import wav2vec2

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sound") / "CANARY_NAME.wav"
    soundfile.write(file, np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.1, 16_000)
    return file


@pytest.fixture(scope="module")
def hearing(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page with a recogniser."""
    folder = tmp_path_factory.mktemp("hearing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDMM_ASR", str(wav2vec2(folder / "asr")))
        return serve(folder / "temp")


def test_an_uploaded_recording_is_written_down_to_be_read_over(
    visitor: Callable[[str], Any], hearing: Any, recording: Path
) -> None:
    visit = visitor(hearing.url)
    page = visit.page
    page.fill("#note textarea", "A mass of the thigh.")
    assert "W_DICTATED" not in visit.run()
    page.click("#dictation button")
    page.set_input_files("#recording input[type=file]", str(recording))
    page.wait_for_selector("#heard:has-text('Written down')", timeout=60_000)
    written = page.input_value("#note textarea")
    assert written.removeprefix("A mass of the thigh.").strip()
    page.fill("#edited-note textarea", written)
    page.wait_for_selector("#moved:has-text('W_DICTATED')")  # the same words are as uncertain there
    page.click("#run")
    page.wait_for_selector("#answer .mm-result:has-text('W_DICTATED')", timeout=60_000)
    page.click("#note textarea")
    page.keyboard.type("Read over. ")
    page.wait_for_timeout(500)
    page.click("#run")
    page.wait_for_selector("#answer .mm-result:not(:has-text('W_DICTATED'))", timeout=60_000)
    assert visit.console == []
    assert [f for f in hearing.files() if "CANARY" in f.name or f.stat().st_size == recording.stat().st_size] == []


def test_words_that_nobody_read_over_stay_uncertain_whatever_is_heard_next(
    visitor: Callable[[str], Any], hearing: Any, recording: Path, tmp_path: Path
) -> None:
    page = visitor(hearing.url).page
    page.click("#dictation button")
    page.set_input_files("#recording input[type=file]", str(recording))
    page.wait_for_selector("#heard:has-text('Written down')", timeout=60_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    page.set_input_files("#recording input[type=file]", str(tmp_path / "broken.wav"))
    page.wait_for_selector("#heard .mm-error:has-text('E_AUDIO')", timeout=60_000)
    page.click("#run")
    page.wait_for_selector("#answer .mm-result:has-text('W_DICTATED')", timeout=60_000)


def test_without_a_recogniser_the_page_says_how_to_get_one(visit: Any, recording: Path) -> None:
    visit.page.click("#dictation button")
    visit.page.set_input_files("#recording input[type=file]", str(recording))
    visit.page.wait_for_selector("#heard:has-text('MEDMM_ASR')", timeout=60_000)
    assert visit.page.input_value("#note textarea") == ""
    assert visit.console == []


def test_what_is_no_recording_is_refused_by_name(visit: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    visit.page.click("#dictation button")
    visit.page.set_input_files("#recording input[type=file]", str(tmp_path / "broken.wav"))
    visit.page.wait_for_selector("#heard .mm-error:has-text('E_AUDIO')", timeout=60_000)


def test_the_microphone_is_heard(chromium: Browser, hearing: Any) -> None:
    context = chromium.new_context(permissions=["microphone"])  # Chromium's own stand-in, which beeps
    page = context.new_page()
    page.goto(hearing.url)
    page.click("#dictation button")
    page.click("#recording button[aria-label='Record audio']")
    page.wait_for_timeout(500)
    page.click("#recording button:has-text('Record')")
    page.wait_for_timeout(2500)
    page.click("#recording button.stop-button:visible")
    page.wait_for_selector("#heard:has-text('Written down')", timeout=60_000)
    assert page.input_value("#note textarea").strip()
    context.close()
