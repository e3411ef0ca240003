"""How soon the page is painted, against an empty Gradio app served by the same machine in the same minute.

    python benchmarks/first_paint.py [--visits 9]

Both are visited in turn by a browser with an empty cache. Prints medians in milliseconds and their ratio, for the
first paint with content, for the moment when a heading is there, and for the one when Gradio has put the page together.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright

EMPTY = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    gr.Markdown("# empty")
page.launch(server_port=int(sys.argv[1]), quiet=True, prevent_thread_lock=True, footer_links=[], run_history=False)
print("being served", flush=True)
page.block_thread()
"""
PAINT = "() => performance.getEntriesByType('paint').find((e) => e.name === 'first-contentful-paint')?.startTime"
WARM_UP = 2


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """The address of an app, stopped afterwards; `{port}` is filled in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TMPDIR": folder, "GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        arguments = [sys.executable, *(word.format(port=port) for word in command)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        assert process.stdout is not None
        assert any("being served" in line for line in process.stdout)
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait()


def visit(browser: Browser, url: str) -> dict[str, float]:
    """One visit with an empty cache, in milliseconds since it began."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page: Any = context.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("h1:visible")
    heading = page.evaluate("performance.now()")
    page.wait_for_selector("gradio-app h1")
    whole = page.evaluate("performance.now()")
    painted = page.wait_for_function(PAINT).json_value()
    context.close()
    return {"first paint with content": painted, "heading": heading, "page put together": whole}


def main() -> None:
    """Visit both in turn and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visits", type=int, default=9)
    visits = parser.parse_args().visits
    with (
        serving("-c", EMPTY, "{port}") as empty,
        serving("-m", "medmm", "demo", "--port", "{port}") as ours,
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        found = [(visit(browser, empty), visit(browser, ours)) for _ in range(visits + WARM_UP)][WARM_UP:]
        browser.close()
    for name in found[0][0]:
        peer, mine = (median(pair[side][name] for pair in found) for side in (0, 1))
        print(f"{name:26} empty {peer:7.0f} ms   medmm {mine:7.0f} ms   ratio {median(b[name] / a[name] for a, b in found):.2f}")


if __name__ == "__main__":
    main()
