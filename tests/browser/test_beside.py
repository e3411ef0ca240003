"""A mask over a study and an earlier study beside it, uploaded as a visitor does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.test_viewer import ON_SCREEN, SPACING, grey, pixels, save

pytestmark = pytest.mark.browser

MASK = np.zeros_like(ON_SCREEN)
MASK[10:20, 12:30, 5:25] = 1
MASK[12:18, 20:40, 20:35] = 4


@pytest.fixture
def visit(visit: Any, tmp_path: Path) -> Any:
    """A visitor who looks at `ON_SCREEN` in the lung window, with the boxes open."""
    visit.upload(save(ON_SCREEN, tmp_path / "scan.nii.gz"))
    visit.wait_for_scan()
    visit.page.focus(".mm-canvas")
    visit.page.keyboard.press("1")
    visit.page.keyboard.press("ArrowUp")
    visit.page.click("#beside button")
    return visit


def drop(visit: Any, box: str, file: Path) -> str:
    """Hand a file to a box; what is said when that is done."""
    visit.page.set_input_files(f"{box} input[type=file]", str(file))
    done = "#beside-facts [role=status]:not(.mm-working *), #beside-facts .mm-error"
    visit.page.wait_for_selector(done, timeout=30_000)
    return str(visit.page.inner_text("#beside-facts"))


def test_a_mask_lies_over_its_study_and_another_ones_is_refused(visit: Any, server: Any, tmp_path: Path) -> None:
    before = visit.drawn()
    assert "lies over" in drop(visit, "#mask", save(MASK, tmp_path / "CANARY.nii.gz"))
    visit.wait_for_scan()
    assert visit.drawn() == before  # slice and window are kept
    np.testing.assert_array_equal(pixels(visit, 0), grey(ON_SCREEN[14], 1500, -600))
    rgba = visit.page.locator(".mm-colours").first.evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    np.testing.assert_array_equal(np.array(rgba).reshape(*MASK[14].shape, 4)[..., 3] > 0, MASK[14] > 0)
    assert visit.page.inner_text(".mm-legend").split("\n") == ["mask", "1", "4"]
    visit.page.locator(".mm-overlay input[type=range]").fill("80")
    visit.drawn()
    assert visit.page.locator(".mm-colours").first.evaluate("c => c.style.opacity") == "0.8"
    visit.page.evaluate("document.querySelector('#beside-facts [role=status]').remove()")
    assert "E_MASK" in drop(visit, "#mask", save(MASK[1:], tmp_path / "other.nii.gz"))
    assert visit.page.locator(".mm-colours").first.is_visible()  # the one before stays
    assert [f for f in server.temp.rglob("*") if "CANARY" in f.name] == []
    assert visit.console == []


def test_an_earlier_study_stands_beside_and_goes_with_the_next(visit: Any, server: Any, tmp_path: Path) -> None:
    halved = np.ascontiguousarray(ON_SCREEN[::2])  # the same patient in slices of twice the distance
    assert "stands beside" in drop(visit, "#prior", save(halved, tmp_path / "prior.nii.gz", (SPACING[0], SPACING[1], 6.0)))
    visit.page.wait_for_selector(".mm-stage[data-layout=compare]")
    visit.wait_for_scan()
    visit.page.focus(".mm-canvas")
    for key in ("2", "Home", "PageDown"):
        visit.page.keyboard.press(key)
    visit.drawn()
    np.testing.assert_array_equal(pixels(visit, 0), grey(ON_SCREEN[10]))
    np.testing.assert_array_equal(pixels(visit, 1), grey(halved[5]))
    assert visit.page.locator(".mm-name").nth(1).inner_text() == "Axial, earlier study"
    spooled = {f.parent for f in server.temp.rglob("study.json")}
    visit.open_example(0)
    visit.page.wait_for_selector("#beside-facts .mm-facts", state="detached")
    visit.page.wait_for_selector(".mm-stage[data-layout=three]")
    assert visit.page.locator(".mm-plane option").count() == 4  # three planes and each of them
    assert len(spooled - {f.parent for f in server.temp.rglob("study.json")}) == 2
    assert visit.console == []
