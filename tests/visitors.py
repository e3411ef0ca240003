"""A visitor of a served page without a browser: what Gradio's own page sends, over HTTP."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx


class Visitor:
    """One session of one browser, with its cookie.

    Args:
        url: Of the page.
        cookies: Of a browser that came before; a new one without.
        address: Of this machine to come from.
    """

    def __init__(self, url: str, cookies: httpx.Cookies | None = None, address: str | None = None) -> None:
        transport = httpx.HTTPTransport(local_address=address)
        self.http = httpx.Client(base_url=url, timeout=120, transport=transport, cookies=cookies)
        self._here = ExitStack()
        self.session = secrets.token_hex(8)
        if cookies is None:
            self.http.get("/").raise_for_status()
        self._events: dict[str, dict[str, Any]] = {d["api_name"]: d for d in self.http.get("/config").json()["dependencies"]}

    def stay(self) -> None:
        """Hold the line that tells the page somebody is there; `close` or the end of the process tells that he left."""
        self._here.enter_context(self.http.stream("GET", f"/gradio_api/heartbeat/{self.session}"))

    def close(self) -> None:
        """Leave."""
        self._here.close()
        self.http.close()

    def upload(self, *files: tuple[str, bytes]) -> list[str]:
        """Send files; where they are."""
        reply = self.http.post("/gradio_api/upload", files=[("files", file) for file in files])
        reply.raise_for_status()
        found: list[str] = reply.json()
        return found

    def join(self, event: str, *data: Any) -> httpx.Response:
        """Trigger an event; State inputs are None."""
        body = {"data": data, "fn_index": self._events[event]["id"], "session_hash": self.session, "event_data": None}
        return self.http.post("/gradio_api/queue/join", json=body)

    def told(self) -> Iterator[dict[str, Any]]:
        """What the page says, until it has said all."""
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as events:
            events.raise_for_status()
            for line in events.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def ask(self, event: str, *data: Any) -> Any:
        """Trigger an event and wait; the values of its last message, which must be one of success."""
        self.join(event, *data).raise_for_status()
        done = [message for message in self.told() if message["msg"] == "process_completed"]
        assert done
        assert done[-1]["success"], done[-1]
        return done[-1]["output"]["data"]

    def open(self, name: str, content: bytes) -> Any:
        """Upload one file and have it read; values of the viewer and what stands beside it."""
        files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in self.upload((name, content))]
        return self.ask("open_upload", files)


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Look again and again; it must hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
