"""A served page and a Chromium that listens to everything it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from medmm.shelf import examples
from medmm.training import TrainConfig, train
from tests.served import Server, start
from tests.visitors import Visitor


@dataclass
class Visit:
    """A page and what happened on it."""

    page: Page
    console: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open_example(self, index: int) -> None:
        """Click an example and wait until its scan is shown."""
        self.page.click(f".mm-example >> nth={index}")
        self.wait_for_scan()

    def upload(self, *files: Path) -> None:
        """Hand files to the upload box."""
        self.page.set_input_files("#upload input[type=file]", [str(f) for f in files])

    def wait_for_scan(self) -> None:
        """Until a slice is drawn as it was read."""
        self.page.wait_for_selector(".mm-viewer[data-state=open][data-level=full][data-drawn]", timeout=60_000)

    def run(self) -> str:
        """Press Run; the text of the answer."""
        self.page.click("#run")
        self.page.wait_for_selector("#answer .mm-result, #answer .mm-error", timeout=120_000)
        return self.page.inner_text("#answer")

    def drawn(self) -> str:
        """Plane, slice, width and level on the canvas."""
        self.page.wait_for_timeout(150)
        return str(self.page.evaluate("document.querySelector('[data-drawn]').dataset.drawn"))


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Server]]:
    """Starts pages: `serve(temp)` as `medmm demo`, `serve(temp, "app.py")` as a Space does; `{port}` is filled in."""
    started: list[Server] = []

    def keep(temp: Path, *command: str) -> Server:
        started.append(start(temp, *command))
        return started[-1]

    yield keep
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One page for all tests that do not stop it."""
    return serve(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function from the lines of a cohort table, its two labels and choices to the folder of a model trained on it."""

    def fit(lines: Sequence[str], labels: tuple[str, str], config: TrainConfig) -> Path:
        folder = tmp_path_factory.mktemp("model")
        (folder / "cohort.csv").write_text("\n".join(lines))
        return train(folder / "cohort.csv", folder / "model", config, labels=labels, device="cpu").folder

    return fit


@pytest.fixture(scope="session")
def scan() -> bytes:
    """A synthetic patient as a zip of DICOM slices."""
    return next(e.path for e in examples() if e.model == "phantom").read_bytes()


@pytest.fixture
def come() -> Iterator[Callable[[str], Visitor]]:
    """Fresh visitors of the page at an address, who use no browser."""
    came: list[Visitor] = []

    def visit(url: str) -> Visitor:
        came.append(Visitor(url))
        return came[-1]

    yield visit
    for visitor in came:
        visitor.close()


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Callable[[str], Visit]]:
    """Fresh visitors of the page at an address."""
    contexts = []

    def come(url: str) -> Visit:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        found = Visit(context.new_page())
        found.page.on("console", lambda m: found.console.append(f"{m.type}: {m.text}"))
        found.page.on("pageerror", lambda e: found.console.append(f"pageerror: {e}"))
        found.page.on("request", lambda r: found.hosts.add(r.url.split("/")[2]) if r.url.startswith(("http", "ws")) else None)
        found.page.goto(url)
        found.page.wait_for_selector("#run")
        return found

    yield come
    for context in contexts:
        for page in context.pages:
            page.evaluate("document.querySelector('#batch-forget:enabled')?.click()")  # cohorts outlive a visit
            page.wait_for_selector("#batch-forget:enabled", state="detached")
        context.close()


@pytest.fixture
def visit(visitor: Callable[[str], Visit], server: Server) -> Visit:
    """A fresh visitor of the served page."""
    return visitor(server.url)
