"""The viewer in Chromium: what is seen is what the file says, where the file says."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from medmm.ui.pack import write_overlay

pytestmark = pytest.mark.browser

SPACING = (1.5, 1.0, 3.0)
ON_SCREEN = np.random.default_rng(5).integers(-1000, 1000, (30, 50, 40)).astype(np.int16)
"""(slices upwards, rows to Posterior, columns to Left)."""


def save(on_screen: np.ndarray, path: Path, spacing: tuple[float, ...] = SPACING) -> Path:
    """Write a scan that is to look like this as NIfTI, whose axes point to R, A, S."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -20, -30, 700
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(on_screen[:, ::-1, ::-1].transpose(2, 1, 0)), affine), path)
    return path


@pytest.fixture
def viewer(visit: Any, tmp_path: Path) -> Any:
    """A visitor who looks at `ON_SCREEN`, in the soft-tissue window."""
    visit.upload(save(ON_SCREEN, tmp_path / "scan.nii.gz"))
    visit.wait_for_scan()
    return visit


def pane(visit: Any, n: int) -> Any:
    return visit.page.locator(".mm-canvas").nth(n)


def pixels(visit: Any, n: int) -> np.ndarray:
    """(rows, columns) grey levels on the canvas of a pane."""
    columns, rows, values = pane(visit, n).evaluate(
        "c => [c.width, c.height, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]"
    )
    return np.array(values).reshape(rows, columns, 4)[..., 0]


def grey(hu: np.ndarray, width: float = 400, level: float = 40) -> np.ndarray:
    return np.clip((hu.astype(float) - (level - width / 2)) * (255 / width), 0, 255).astype(int)


def place(visit: Any, n: int, column: float, row: float) -> tuple[float, float]:
    """Where on the screen a voxel of a pane is."""
    box, (columns, rows) = pane(visit, n).bounding_box(), pane(visit, n).evaluate("c => [c.width, c.height]")
    return box["x"] + (column + 0.5) / columns * box["width"], box["y"] + (row + 0.5) / rows * box["height"]


def drag(visit: Any, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    mouse = visit.page.mouse
    mouse.move(*start)
    mouse.down(button=button)
    mouse.move(*end, steps=4)
    mouse.up(button=button)


def test_three_planes_show_their_voxels_the_right_way_round_in_true_proportions(viewer: Any) -> None:
    np.testing.assert_array_equal(pixels(viewer, 0), grey(ON_SCREEN[15]))
    np.testing.assert_array_equal(pixels(viewer, 1), grey(ON_SCREEN[::-1, 25]))
    np.testing.assert_array_equal(pixels(viewer, 2), grey(ON_SCREEN[::-1, :, 20]))
    for n, ratio in ((0, 40 * 1.5 / 50), (1, 40 * 1.5 / (30 * 3)), (2, 50 / (30 * 3))):
        box = pane(viewer, n).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)
    letters = [viewer.page.locator(".mm-pane").nth(n).locator(".mm-letter").all_inner_texts() for n in range(3)]
    assert letters == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]
    assert viewer.console == []


def test_a_click_in_one_plane_moves_the_others_there(viewer: Any) -> None:
    viewer.page.mouse.click(*place(viewer, 0, column=7, row=33))
    viewer.drawn()
    np.testing.assert_array_equal(pixels(viewer, 1), grey(ON_SCREEN[::-1, 33]))
    np.testing.assert_array_equal(pixels(viewer, 2), grey(ON_SCREEN[::-1, :, 7]))
    viewer.page.mouse.click(*place(viewer, 2, column=40, row=4))  # sagittal: to the back, four slices below the top
    assert viewer.drawn().startswith("sagittal:8:")
    np.testing.assert_array_equal(pixels(viewer, 0), grey(ON_SCREEN[25]))
    np.testing.assert_array_equal(pixels(viewer, 1), grey(ON_SCREEN[::-1, 40]))


def test_the_value_under_the_pointer_is_the_files(viewer: Any) -> None:
    for n, (column, row), value in ((0, (7, 33), ON_SCREEN[15, 33, 7]), (1, (39, 0), ON_SCREEN[29, 25, 39])):
        viewer.page.mouse.move(*place(viewer, n, column, row))
        assert viewer.page.locator(".mm-readout").nth(n).inner_text() == f"{value} HU"


def test_every_slice_is_reached_from_the_keyboard_and_named(viewer: Any) -> None:
    page = viewer.page
    page.focus(".mm-canvas")
    for key, slice_ in (("Home", 1), ("ArrowDown", 2), ("PageDown", 12), ("End", 30), ("ArrowLeft", 29), ("PageUp", 19)):
        page.keyboard.press(key)
        assert viewer.drawn().split(":")[1] == str(slice_)
    assert page.get_attribute(".mm-range", "aria-valuetext") == "slice 19 of 30, z 754 mm"
    assert page.get_attribute(".mm-canvas", "aria-label") == "Axial, slice 19 of 30, z 754 mm. W 400 L 40 HU"
    page.keyboard.press("Tab")  # the next plane
    page.keyboard.press("Home")
    assert viewer.drawn().startswith("coronal:1:")
    assert page.inner_text(".mm-position") == "slice 1 of 50, y -19 mm"
    for key, window in (
        ("4", "80:40"), ("Shift+ArrowRight", "130:40"), ("Control+ArrowUp", "130:45"), ("Control+ArrowLeft", "125:45"),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert viewer.drawn().endswith(window)


def test_dragging_does_what_was_chosen(viewer: Any) -> None:
    page = viewer.page
    page.get_by_role("button", name="Window", exact=True).click()
    start = place(viewer, 0, 20, 25)  # after the click, which may have scrolled the page
    drag(viewer, start, (start[0] + 50, start[1] - 20))
    width, level = map(int, viewer.drawn().split(":")[2:])
    assert (width, level) == (400 + 50 * 1.6, 40 - 20 * 1.6)
    np.testing.assert_array_equal(pixels(viewer, 0), grey(ON_SCREEN[15], width, level))
    page.get_by_role("button", name="Slice", exact=True).click()
    drag(viewer, start, (start[0], start[1] + 200))
    assert int(viewer.drawn().split(":")[1]) > 20
    before = pane(viewer, 0).bounding_box()
    page.get_by_role("button", name="Move", exact=True).click()
    drag(viewer, start, (start[0] + 30, start[1] + 12))
    viewer.drawn()
    after = pane(viewer, 0).bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, 12), abs=0.5)


def test_zooming_keeps_what_is_under_the_pointer_there(viewer: Any) -> None:
    page, before = viewer.page, place(viewer, 0, 10, 12)
    width = pane(viewer, 0).bounding_box()["width"]
    page.mouse.move(*before)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    viewer.drawn()
    assert pane(viewer, 0).bounding_box()["width"] == pytest.approx(width * np.exp(200 / 300), rel=0.01)
    assert place(viewer, 0, 10, 12) == pytest.approx(before, abs=1)
    assert page.evaluate("window.devicePixelRatio") == 1  # the page itself was not zoomed
    page.focus(".mm-canvas")
    page.keyboard.press("r")
    viewer.drawn()
    assert pane(viewer, 0).bounding_box()["width"] == pytest.approx(width)


def test_two_fingers_zoom_about_their_middle_and_one_leafs(viewer: Any) -> None:
    touch = viewer.page.context.new_cdp_session(viewer.page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    middle, width = place(viewer, 0, 20, 25), pane(viewer, 0).bounding_box()["width"]
    for n, apart in enumerate((30, 40, 60)):
        ends = [(middle[0] + side * apart, middle[1]) for side in (-1, 1)]
        if n == 0:
            fingers("touchStart", ends[0])
            fingers("touchStart", *ends)
        else:
            fingers("touchMove", *ends)
    fingers("touchEnd")
    before = viewer.drawn()
    assert pane(viewer, 0).bounding_box()["width"] == pytest.approx(2 * width, rel=0.02)
    assert place(viewer, 0, 20, 25) == pytest.approx(middle, abs=2)
    fingers("touchStart", middle)
    fingers("touchMove", (middle[0], middle[1] + 60))
    fingers("touchEnd")
    assert int(viewer.drawn().split(":")[1]) > int(before.split(":")[1])
    assert viewer.page.evaluate("window.visualViewport.scale") == 1  # the page itself was not zoomed


def test_playing_is_off_until_asked_for_and_ends_when_asked(viewer: Any) -> None:
    assert viewer.drawn() == viewer.drawn()
    viewer.page.focus(".mm-canvas")
    viewer.page.keyboard.press("Space")
    before = viewer.drawn()
    viewer.page.wait_for_function("d => document.querySelector('[data-drawn]').dataset.drawn !== d", arg=before)
    viewer.page.get_by_role("button", name="Play").click()
    assert viewer.drawn() == viewer.drawn()


def test_a_large_scan_is_refined_until_the_slice_in_view_is_the_files(visit: Any, tmp_path: Path) -> None:
    on_screen = np.random.default_rng(6).integers(-1000, 1000, (165, 260, 300)).astype(np.int16)
    visit.page.evaluate(
        "() => { window.levels = new Set(); new MutationObserver(() => {"
        "const { level } = document.querySelector('.mm-viewer').dataset; if (level) window.levels.add(level); })"
        ".observe(document.querySelector('.mm-viewer'), { attributes: true }); }"
    )
    visit.upload(save(on_screen, tmp_path / "scan.nii.gz", (1.0, 1.0, 1.0)))
    visit.wait_for_scan()
    np.testing.assert_array_equal(pixels(visit, 0), grey(on_screen[82]))
    assert re.fullmatch(r"coarse,(fit,)?full", visit.page.evaluate("[...window.levels].join()"))
    halves = on_screen.reshape(165, 130, 2, 150, 2).astype(float).mean(axis=(2, 4))
    visit.page.wait_for_function("!document.querySelector('.mm-level').textContent.includes('%')")
    visit.drawn()
    np.testing.assert_array_equal(pixels(visit, 1), grey(np.rint(halves)[::-1, 65]))
    visit.page.mouse.move(*place(visit, 1, 3, 40))
    assert visit.page.locator(".mm-readout").nth(1).inner_text() == f"{np.rint(halves)[124, 65, 3]:.0f} HU, mean of 4 voxels"
    visit.page.focus(".mm-canvas")
    visit.page.keyboard.press("Home")
    visit.page.wait_for_selector("[data-drawn^='axial:1:'][data-level=full]")
    np.testing.assert_array_equal(pixels(visit, 0), grey(on_screen[0]))
    assert [said for said in visit.console if "getImageData" not in said] == []  # which only these tests call


def test_a_ruler_measures_in_millimetres(viewer: Any) -> None:
    viewer.page.focus(".mm-canvas")
    viewer.page.keyboard.press("m")
    drag(viewer, place(viewer, 1, 5, 20), place(viewer, 1, 35, 10))
    viewer.drawn()
    length = float(viewer.page.get_attribute(".mm-pane >> nth=1", "data-ruler"))
    assert length == pytest.approx(np.hypot(30 * SPACING[0], 10 * SPACING[2]), rel=0.02)


def test_a_chinese_page_has_a_chinese_viewer(chromium: Any, server: Any) -> None:
    context = chromium.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector(".mm-plane:disabled", state="attached")
    assert "打开一个示例" in page.inner_text(".mm-empty")
    page.click(".mm-example >> nth=0")
    page.wait_for_selector(".mm-viewer[data-level=full]", timeout=60_000)
    assert "横断面" in page.inner_text(".mm-pane >> nth=0")
    context.close()


def reopen(visit: Any, specs: list[dict[str, Any]]) -> None:
    """Show these instead, as a page that hands them over would."""
    visit.page.evaluate("specs => document.querySelector('.mm-viewer').viewer.open(specs)", specs)
    visit.wait_for_scan()
    visit.drawn()


def spec_of(visit: Any) -> dict[str, Any]:
    """What the viewer was told of the open scan."""
    script = "() => { const { url, shape, spacing, affine, unit, low, high, levels, whole } = document.querySelector('.mm-viewer')"
    script += ".viewer.study; return { url, shape, spacing, affine, unit, low, high, levels, whole }; }"
    found: dict[str, Any] = visit.page.evaluate(script)
    return found


def test_an_overlay_on_a_grid_of_its_own_lies_where_its_affine_says(viewer: Any, server: Any) -> None:
    assert viewer.page.locator(".mm-overlay").is_hidden()
    values = np.random.default_rng(9).integers(0, 3, (9, 6, 8)).astype(np.uint8)
    affine = np.array([[0, -4.0, 0, 25], [2.5, 0, 0, -21], [0, 0.3, 7, 712], [0, 0, 0, 1]])  # turned, tilted, coarser
    folder = max(server.temp.rglob("pack"), key=lambda f: f.stat().st_mtime).parent
    spec = spec_of(viewer)
    write_overlay("Lesions", values, affine, folder, spec, ["<b>primary", "node"])
    reopen(viewer, [spec])
    viewer.page.wait_for_selector(".mm-overlay")
    assert viewer.page.inner_text(".mm-legend").split("\n") == ["Lesions", "<b>primary", "node"]
    scan = np.diag([*SPACING, 1.0])
    scan[:3, 3] = -20, -30, 700
    for n, (slices, rows, columns) in ((0, np.ix_([15], range(50), range(40))), (2, np.ix_(range(29, -1, -1), range(50), [20]))):
        index = np.stack(np.broadcast_arrays(39 - columns, 49 - rows, slices, 1), axis=-1).squeeze()
        where = np.floor(index @ (np.linalg.inv(affine) @ scan).T[:, :3] + 0.5).astype(int)
        inside = ((where >= 0) & (where < values.shape)).all(-1)
        expected = np.where(inside, values[tuple(np.clip(where, 0, np.array(values.shape) - 1).transpose(2, 0, 1))], 0)
        assert (expected > 0).mean() > 0.05
        canvas = viewer.page.locator(".mm-colours").nth(n)
        rgba = canvas.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)")
        colours = np.array(rgba).reshape(*expected.shape, 4)
        np.testing.assert_array_equal(colours[..., 3] > 0, expected > 0)
        np.testing.assert_array_equal(
            colours[expected == 2][:, :3], np.broadcast_to([0x56, 0xB4, 0xE9], ((expected == 2).sum(), 3))
        )
        assert canvas.bounding_box() == pytest.approx(pane(viewer, n).bounding_box())
    reopen(viewer, [spec | {"window": [350, 55]}])  # as a DICOM file suggests
    viewer.page.get_by_role("button", name="As stored").click()
    assert viewer.drawn().endswith(":350:55")
    viewer.page.focus(".mm-canvas")
    viewer.page.keyboard.press("o")
    viewer.drawn()
    assert viewer.page.locator(".mm-colours").first.is_hidden()


def test_two_studies_side_by_side_scroll_together_in_millimetres(viewer: Any, server: Any, tmp_path: Path) -> None:
    other = type(viewer)(viewer.page.context.new_page())  # of the same browser: a study is its visitor's
    other.page.goto(server.url)
    other.page.wait_for_selector("#run")
    halved = np.ascontiguousarray(ON_SCREEN[::2])  # the same patient in slices of twice the distance
    other.upload(save(halved, tmp_path / "prior.nii.gz", (1.5, 1.0, 6.0)))
    other.wait_for_scan()
    viewer.page.bring_to_front()  # a page behind another is not drawn
    reopen(viewer, [spec_of(viewer), spec_of(other) | {"title": "prior"}])
    viewer.page.select_option(".mm-plane", "compare")
    viewer.page.focus(".mm-canvas")
    viewer.page.keyboard.press("Home")
    viewer.page.keyboard.press("PageDown")
    viewer.drawn()
    np.testing.assert_array_equal(pixels(viewer, 0), grey(ON_SCREEN[10]))
    np.testing.assert_array_equal(pixels(viewer, 1), grey(halved[5]))
    assert viewer.page.locator(".mm-name").nth(1).inner_text() == "Axial, prior"


def test_a_saved_picture_says_what_it_is_not_for(viewer: Any) -> None:
    with viewer.page.expect_download() as download:
        viewer.page.get_by_role("button", name="Save picture").click()
    saved = np.asarray(Image.open(download.value.path()).convert("L"))
    assert download.value.suggested_filename == "medmm-view.png"
    stage = viewer.page.locator(".mm-stage").bounding_box()
    assert saved.shape == (round(stage["height"]) + 44, round(stage["width"]))
    assert (saved[-40:] > 150).sum() > 300  # words
    assert saved[:-44].std() > 30  # the picture
    box = pane(viewer, 0).bounding_box()
    middle = saved[int(box["y"] - stage["y"]) :, int(box["x"] - stage["x"]) :]
    step = box["width"] / 40
    seen = [middle[int(2.5 * step * 1.0), int((c + 0.5) * step)] for c in range(4, 16)]
    expected = grey(ON_SCREEN[15])[int(2.5 * step / (box["height"] / 50)), 4:16]
    assert np.corrcoef(seen, expected)[0, 1] > 0.9


def test_the_scan_handed_to_the_3d_view_lies_where_the_file_put_it(visit: Any, tmp_path: Path) -> None:
    on_screen = np.random.default_rng(7).integers(-1000, 1000, (20, 70, 300)).astype(np.int16)
    file = save(on_screen, tmp_path / "scan.nii.gz")
    visit.upload(file)
    visit.wait_for_scan()
    content = visit.page.evaluate(
        "async () => { const { niftiOf } = await import('/gradio_api/medmm/viewer/solid.js');"
        " return Array.from(new Uint8Array(niftiOf(document.querySelector('.mm-viewer').viewer.study))); }"
    )
    (tmp_path / "given.nii").write_bytes(bytes(content))
    given, read = nibabel.load(tmp_path / "given.nii"), nibabel.load(file)
    assert given.shape == (75, 70, 20)  # every second of the means of two
    assert given.header.get_zooms() == pytest.approx((6.0, 1.0, 3.0))
    assert "".join(nibabel.aff2axcodes(given.affine)) == "LPS"
    for index in ((0, 0, 0), (74, 69, 19), (11, 5, 7)):
        place = np.linalg.inv(read.affine) @ given.affine @ [*index, 1]
        assert place[0] % 1 == pytest.approx(0.5)  # between the two whose mean it is
        pair = [read.dataobj[tuple(np.rint(place[:3] + np.array([half, 0, 0])).astype(int))] for half in (-0.5, 0.5)]
        assert given.dataobj[index] == np.rint(np.mean(pair))


def test_a_scan_turns_in_three_dimensions_where_webgl_allows(chromium: Any, server: Any) -> None:
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = chromium.browser_type.launch(executable_path=shutil.which("chromium"), args=flags)
    page, heard = browser.new_page(), []
    page.on("console", lambda m: heard.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: heard.append(str(e)))
    page.on("request", lambda r: heard.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else None)
    page.goto(server.url)
    page.click(".mm-example >> nth=4")
    page.wait_for_selector(".mm-viewer[data-level=full]", timeout=60_000)
    page.get_by_role("button", name="3-D").click()
    page.wait_for_function("document.querySelector('.mm-viewer').viewer.solid.scene?.volumes.length", timeout=60_000)
    page.wait_for_timeout(1000)
    seen = np.asarray(Image.open(io.BytesIO(page.locator(".mm-solid").screenshot())).convert("L"))
    assert seen.std() > 10
    page.get_by_role("button", name="3-D").click()
    assert page.locator(".mm-solid").is_hidden()
    assert [said for said in heard if "GPU stall" not in said] == []  # Chromium's word on reading back what has no GPU
    browser.close()


def test_on_a_phone_the_axial_plane_is_as_wide_as_the_other_two_together(visit: Any) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 800})
    visit.open_example(0)
    axial, coronal, sagittal = (visit.page.locator(".mm-pane").nth(n).bounding_box() for n in range(3))
    assert axial["width"] == pytest.approx(coronal["width"] + sagittal["width"], abs=3)
    assert coronal["y"] == sagittal["y"] >= axial["y"] + axial["height"]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
