"""A server that speaks as much of the Hub's protocol as a push uses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.web import serving


@dataclass
class Hub:
    """What was asked of the server and what it holds.

    Attributes:
        url: Address.
        token: The one it takes.
        spaces: Settings of each Space, as it was created.
        files: Content by path.
        asked: Method and path of every request.
    """

    url: str = ""
    token: str = "hf_" + "t0ken" * 6
    spaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def _answer(self, how: Any) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        uploads = self.path.startswith("/objects/")
        if uploads or self.headers.get("authorization") == f"Bearer {self.hub.token}":
            status, content = how(body)
        else:
            status, content = 401, {"error": "Invalid credentials"}
        reply = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def _get(self, _: bytes) -> tuple[int, Any]:
        if "/tree/" in self.path:
            return 200, [{"type": "file", "path": name, "size": len(c), "oid": "0"} for name, c in self.hub.files.items()]
        if self.path.startswith("/api/spaces/"):
            return 200, {"id": "jane/ct", "sha": "0" * 40}
        return 404, {"error": "not found"}

    def _post(self, body: bytes) -> tuple[int, Any]:
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.hub.spaces:
                return 409, {"url": f"{self.hub.url}/spaces/{name}", "error": "exists"}
            self.hub.spaces[name] = asked
            return 200, {"url": f"{self.hub.url}/spaces/{name}"}
        if self.path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in self.path:
            return 200, {"files": [self._mode(file) for file in json.loads(body)["files"]]}
        if self.path.endswith("/info/lfs/objects/batch"):
            return 200, {"objects": [self._place(o) for o in json.loads(body)["objects"]]}
        if "/commit/" in self.path:
            return self._commit(body)
        return 404, {"error": "not found"}

    def _put(self, body: bytes) -> tuple[int, Any]:
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        return 200, {}

    @staticmethod
    def _mode(file: dict[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith((".safetensors", ".zip"))
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/objects/{wanted['oid']}"}}}

    def _commit(self, body: bytes) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.hub.files[value["path"]]
        return 200, {"commitUrl": f"{self.hub.url}/spaces/jane/ct/commit/1", "commitOid": "1" * 40, "success": True}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub with nothing on it, on this machine."""
    found = Hub()
    with serving(type("Serving", (Handler,), {"hub": found})) as found.url:
        yield found
