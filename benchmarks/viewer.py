"""How fast the page's viewer is on a CT of 300 x 512 x 512 with an overlay, in headless Chromium without a GPU.

`python benchmarks/viewer.py`. Prints the time from the study being read to its first image, and for moves through the
slices of three planes the time to draw, beside that of three bare `putImageData` of as many pixels in the same run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from playwright.sync_api import Page, sync_playwright
from scipy.ndimage import gaussian_filter

from medmm.ui.pack import write_overlay

MOVES = 200
_WATCH = """() => {
  const root = document.querySelector('.mm-viewer');
  window.times = {};
  new MutationObserver(() => {
    const state = root.dataset.drawn ? 'drawn' : root.dataset.state, { level } = root.dataset;
    for (const name of [state, level]) if (name && !(name in window.times)) window.times[name] = performance.now();
  }).observe(root, { attributes: true });
}"""
_MOVE = """async (moves) => {
  const { viewer } = document.querySelector('.mm-viewer'), frame = () => new Promise(requestAnimationFrame), draws = [];
  const note = (list) => draws.push(...list.getEntriesByName('mm-draw').map((e) => e.duration));
  new PerformanceObserver(note).observe({ type: 'measure' });
  for (let n = 0; n < moves; n++) { viewer.lookAt([50 + n * 2, 450 - n * 2, 20 + n]); await frame(); await frame(); }
  await new Promise((done) => setTimeout(done, 500));
  const bare = [], inks = viewer.panes.map(({ canvas }) => [canvas.getContext('2d'), canvas.image]);
  for (let n = 0; n < moves; n++) {
    const start = performance.now();
    for (const [ink, image] of inks) ink.putImageData(image, 0, 0);
    bare.push(performance.now() - start);
    await frame();
  }
  return { draws, bare, level: document.querySelector('.mm-viewer').dataset.level };
}"""


def write_scan(path: Path) -> None:
    """Noise as grainy as a CT's, so that it compresses like one."""
    rng = np.random.default_rng(0)
    slices = [gaussian_filter(rng.normal(0, 160, (512, 512)), 0.8) + 40 for _ in range(8)]
    scan = np.stack([slices[k % 8] for k in range(300)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan, np.diag([-0.7, -0.7, 1.0, 1.0])), path)


def serve(temp: Path) -> tuple[subprocess.Popen[str], str]:
    """The page and its address."""
    command = [sys.executable, "-m", "medmm", "demo", "--port", "7893"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temp)})
    assert process.stdout is not None
    assert any("being served" in line for line in process.stdout)
    return process, "http://127.0.0.1:7893/"


def cover(page: Page, temp: Path) -> None:
    """Lay an overlay over the open scan."""
    names = ("url", "shape", "spacing", "affine", "unit", "low", "high", "levels", "whole")
    read = f"() => Object.fromEntries({json.dumps(names)}.map(n => [n, document.querySelector('.mm-viewer').viewer.study[n]]))"
    spec: dict[str, Any] = page.evaluate(read)
    values = np.zeros((128, 128, 100), np.uint8)
    values[30:90, 40:100, 20:80] = 1
    folder = next(temp.rglob("pack")).parent
    write_overlay("mask", values, np.diag([-2.8, -2.8, 3.0, 1.0]), folder, spec, ["lesion"])
    page.evaluate("spec => { document.querySelector('.mm-viewer').viewer.open([spec]); }", spec)
    page.wait_for_selector(".mm-overlay")
    page.wait_for_function("!document.querySelector('.mm-level').textContent.includes('%')", timeout=120_000)


def main() -> None:
    """Measure and print."""
    temp = Path(tempfile.mkdtemp())
    write_scan(temp / "scan.nii")
    process, url = serve(temp)
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            page.wait_for_selector("#run")
            page.evaluate(_WATCH)
            start = time.perf_counter()
            page.set_input_files("#upload input[type=file]", str(temp / "scan.nii"))
            page.wait_for_selector("[data-level=full]", timeout=120_000)
            times = page.evaluate("window.times")
            print(f"upload to full resolution of the slice in view {time.perf_counter() - start:.2f} s, of that after reading:")
            for name in ("coarse", "full"):
                print(f"  {name:7s} {times[name] - times['loading']:6.0f} ms")
            page.wait_for_function("!document.querySelector('.mm-level').textContent.includes('%')", timeout=120_000)
            cover(page, temp)
            found = page.evaluate(_MOVE, MOVES)
            for name in ("draws", "bare"):
                middle, high = np.percentile(found[name], [50, 95])
                print(f"{name:6s} n {len(found[name])}, median {middle:.1f} ms, p95 {high:.1f} ms")
            print(f"ratio of medians {np.median(found['draws']) / np.median(found['bare']):.1f}")
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(temp, ignore_errors=True)


if __name__ == "__main__":
    main()
