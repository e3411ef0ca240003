"""What tests of the page share: a browser's reading of HTML, and a real server."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import uvicorn

from medmm.ui.session import Sessions


@dataclass
class Outline:
    """What a browser would make of a piece of HTML.

    Attributes:
        tags: How often each element, with the names of its attributes, occurs.
        text: All text, as shown.
    """

    tags: Counter[tuple[str, ...]] = field(default_factory=Counter)
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.outline = Outline()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outline.tags[(tag, *(name for name, _ in attrs))] += 1

    def handle_data(self, data: str) -> None:
        self.outline.text += data + " "


@pytest.fixture(scope="session")
def outline() -> Callable[[str], Outline]:
    """Read HTML as a browser does."""

    def read(html: str) -> Outline:
        reader = _Reader()
        reader.feed(html)
        reader.close()
        reader.outline.text = " ".join(reader.outline.text.split())
        return reader.outline

    return read


@pytest.fixture(scope="session")
def send() -> Callable[[Sessions, bytes, str], str]:
    """Put an upload of a program without cookies where the server does, under its own name in a folder of its own."""

    def put(sessions: Sessions, content: bytes, name: str) -> str:
        folder = sessions.uploads / os.urandom(8).hex()
        folder.mkdir()
        (folder / name).write_bytes(content)
        sessions.visitors.give(folder / name, "")
        return str(folder / name)

    return put


@pytest.fixture
def serve() -> Iterator[Callable[[Any], Callable[[], httpx.Client]]]:
    """Serve an ASGI application; what comes back makes visitors of it, each with cookies of its own."""
    ends: list[Callable[[], None]] = []

    def start(app: Any) -> Callable[[], httpx.Client]:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()

        def end() -> None:
            server.should_exit = True
            thread.join(10)

        ends.append(end)
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        def visitor() -> httpx.Client:
            client = httpx.Client(base_url=address, timeout=20, trust_env=False)
            ends.insert(0, client.close)
            return client

        return visitor

    yield start
    for end in ends:
        end()
