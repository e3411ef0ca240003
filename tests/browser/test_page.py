"""The page in Chromium, used as a visitor would."""

from __future__ import annotations

import json
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from medmm import open_study
from medmm.shelf import examples

pytestmark = pytest.mark.browser


def test_an_example_is_seen_scrolled_and_answered(visit: Any) -> None:
    visit.open_example(0)
    assert examples()[0].note in visit.page.input_value("#note textarea")
    before = visit.drawn()
    visit.page.focus(".mm-canvas")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("3")
    plane, slice_, width, level = visit.drawn().split(":")
    assert (plane, int(slice_)) == ("axial", int(before.split(":")[1]) + 1)
    assert (width, level) == ("2000", "400")  # bone
    text = visit.run()
    assert "Calibrated probability from image and text" in text
    assert text.count("%") > 4
    assert "Research use only" in text
    assert visit.console == []


def pixels(visit: Any) -> np.ndarray:
    """(rows, columns) grey levels on the canvas."""
    columns, rows, values = visit.page.evaluate(
        "() => { const c = document.querySelector('.mm-canvas'), all = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        " return [c.width, c.height, Array.from(all.data)]; }"
    )
    return np.array(values).reshape(rows, columns, 4)[..., 0]


def windowed(hu: np.ndarray, width: str, level: str) -> np.ndarray:
    """Grey levels of Hounsfield units in a window."""
    return np.clip((hu.astype(float) - (int(level) - int(width) / 2)) * (255 / int(width)), 0, 255).astype(int)


def test_the_canvas_shows_the_hounsfield_units_of_the_file_the_right_way_round(visit: Any) -> None:
    volume = open_study(examples()[0].path).volumes[0]
    assert volume.grid.orientation == "LPS"  # as the page shows it: to the left, down to posterior, up to superior
    visit.open_example(0)
    _, slice_, width, level = visit.drawn().split(":")
    np.testing.assert_array_equal(pixels(visit), windowed(volume.array[0][:, :, int(slice_) - 1].T, width, level))
    visit.page.select_option(".mm-plane", "coronal")
    _, slice_, width, level = visit.drawn().split(":")
    np.testing.assert_array_equal(pixels(visit), windowed(volume.array[0][:, int(slice_) - 1, ::-1].T, width, level))


def test_an_uploaded_zip_is_read_answered_and_leaves_nothing_behind(
    visit: Any, server: Any, patient_zip: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "CANARY_NAME.zip"
    mine.write_bytes(patient_zip.read_bytes())
    of_others = set(server.files())
    visit.upload(mine)
    visit.wait_for_scan()
    uploaded = mine.stat().st_size
    assert [f for f in server.files() if f.stat().st_size == uploaded] == []
    assert [f for f in server.temp.rglob("*") if "CANARY" in f.name] == []
    visit.page.fill("#note textarea", "CANARY note about a soft-tissue sarcoma")
    assert "from image and text" in visit.run()
    visit.page.wait_for_timeout(300)
    assert visit.hosts == {server.url.split("/")[2]}
    kept = visit.page.evaluate(
        "async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, await indexedDB.databases()])"
    )
    assert "CANARY" not in kept
    assert json.loads(kept)[0] == {}
    assert visit.console == []
    visit.page.context.close()
    deadline = time.monotonic() + 30
    while set(server.files()) - of_others and time.monotonic() < deadline:
        time.sleep(0.5)
    assert [(f.name, f.stat().st_size) for f in server.files() if f not in of_others] == []


def test_only_a_note_is_answered_and_said_to_be_alone(visit: Any) -> None:
    visit.page.fill("#note textarea", "70-year-old female with a soft-tissue sarcoma of the left thigh. Grade: high.")
    text = visit.run()
    assert "from text" in text
    assert "W_NO_IMAGE" in text


def test_nothing_at_all_is_refused_calmly(visit: Any) -> None:
    assert "E_MISSING_MODALITY" in visit.run()


def test_a_broken_upload_is_refused_by_name_and_the_page_goes_on(visit: Any, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.zip", tmp_path / "notes.txt"
    zipfile.ZipFile(empty, "w").close()
    text.write_text("no image")
    for file in (empty, text):
        visit.upload(file)
        visit.page.wait_for_selector("#facts .mm-error:not([data-seen])", timeout=30_000)
        assert "E_NO_IMAGE" in visit.page.inner_text("#facts")
        visit.page.evaluate("document.querySelector('#facts .mm-error').dataset.seen = 1")
    visit.open_example(0)
    assert "Calibrated" in visit.run()


@pytest.mark.parametrize(("stop", "command"), [(signal.SIGTERM, ["app.py"]), (signal.SIGINT, [])])
def test_a_stopped_server_leaves_no_file(
    stop: signal.Signals, command: list[str], serve: Callable[..., Any], chromium: Any, tmp_path: Path
) -> None:
    running = serve(tmp_path / "server", *command)
    page = chromium.new_page()
    page.goto(running.url)
    page.click(".mm-example >> nth=0")
    page.wait_for_selector(".mm-viewer[data-state=open]", timeout=60_000)
    assert running.files()
    running.stop(stop)
    page.close()
    assert running.files() == []


def test_a_path_that_a_visitor_makes_up_is_not_opened(server: Any, patient_zip: Path, tmp_path: Path) -> None:
    mine = tmp_path / "somebody_elses.zip"
    mine.write_bytes(patient_zip.read_bytes())
    with httpx.Client(base_url=server.url, timeout=60) as client:
        handlers = {d["api_name"]: d["id"] for d in client.get("/config").json()["dependencies"]}
        file = {"path": str(mine), "meta": {"_type": "gradio.FileData"}}
        asked = {"data": [[file]], "fn_index": handlers["open_upload"], "session_hash": "visitor"}
        assert client.post("/gradio_api/queue/join", json=asked).status_code == 200
        told = client.get("/gradio_api/queue/data", params={"session_hash": "visitor"}).text
    assert '"success":false' in told
    assert str(tmp_path) not in told
    assert mine.exists()  # an opened upload is moved
