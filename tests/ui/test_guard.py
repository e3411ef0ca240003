"""The guard in front of a real server, spoken to as any client can."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from medmm.ui.guard import Guard

LIMIT = 1000
GUARDED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}


class Behind:
    """The application behind the guard; remembers what reached it."""

    def __init__(self) -> None:
        self.started = False
        self.paths: list[str] = []
        self.longest = 0

    async def answer(self, request: Request) -> Response:
        self.paths.append(request.url.path)
        if request.url.path == "/broken":
            msg = "SECRET"
            raise RuntimeError(msg)
        length = 0
        async for chunk in request.stream():
            length += len(chunk)
            self.longest = max(self.longest, length)
        return PlainTextResponse(str(length), headers={"x-of-app": "kept"})

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> Any:
        self.started = True
        yield


@pytest.fixture(scope="module")
def behind() -> Behind:
    return Behind()


@pytest.fixture(scope="module")
def port(behind: Behind) -> Iterator[int]:
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
    app = Starlette(
        routes=[Route("/{path:path}", behind.answer, methods=methods)],
        middleware=[Middleware(Guard, max_body=LIMIT)],
        lifespan=behind.lifespan,
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def ask(port: int) -> Any:
    """Send one request; answers with status, headers by lower-case name, and body."""

    def send(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # the server may refuse before it has read all
                connection.request(method, path, body, names, encode_chunked=hasattr(body, "__next__"))
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()

    return send


def chunks(*sizes: int) -> Iterator[bytes]:
    return (b"x" * size for size in sizes)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"host": "here:1", "origin": "http://here:1"}, 200),
        ("POST", {"host": "here", "origin": "https://here"}, 200),  # a proxy ends TLS
        ("POST", {"host": "inside", "x_forwarded_host": "here", "origin": "https://here"}, 200),
        ("POST", {"host": "here"}, 200),  # not a browser
        ("GET", {"host": "here", "origin": "http://evil.example"}, 200),
        ("HEAD", {"host": "here", "origin": "http://evil.example"}, 200),
        ("POST", {"host": "here", "origin": "http://evil.example"}, 403),
        ("POST", {"host": "here:1", "origin": "http://here:2"}, 403),
        ("POST", {"host": "here", "origin": "http://here.evil.example"}, 403),
        ("POST", {"host": "here", "origin": "null"}, 403),
        ("POST", {"host": "inside", "x_forwarded_host": "here", "origin": "https://inside"}, 403),
        ("PUT", {"host": "here", "origin": "http://evil.example"}, 403),
        ("DELETE", {"host": "here", "origin": "http://evil.example"}, 403),
        ("OPTIONS", {"host": "here", "origin": "http://evil.example"}, 403),
    ],
)
def test_another_site_may_look_but_not_act(ask: Any, behind: Behind, method: str, headers: dict[str, str], status: int) -> None:
    behind.paths.clear()
    assert ask(method, "/call", **headers)[0] == status
    assert behind.paths == (["/call"] if status == 200 else [])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://evil.example/a",
        "/gradio_api/file%3Dhttps://evil.example/a",
        "/gradio_api/proxy=http://evil.example",
        "/gradio_api/deep_link?session_hash=1",
        "/gradio_api/runs",
        "/gradio_api/run-history/connect",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/monitoring/summary",
        "/gradio_api/vibe-edit/",
        "/%67radio_api/runs",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_routes_the_page_does_not_need_are_not_there(ask: Any, behind: Behind, method: str, path: str) -> None:
    behind.paths.clear()
    assert ask(method, path)[0] == 404
    assert behind.paths == []


@pytest.mark.parametrize("path", ["/", "/gradio_api/file=/tmp/a.png", "/gradio_api/upload", "/gradio_api/queue/data", "/config"])
def test_routes_the_page_needs_pass_with_their_own_headers(ask: Any, path: str) -> None:
    status, headers, _ = ask("GET", path)
    assert (status, headers["x-of-app"]) == (200, "kept")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("PATCH", "/", {}, 405),
        ("GET", "/gradio_api/runs", {}, 404),
        ("POST", "/", {"origin": "http://evil.example"}, 403),
        ("POST", "/", {"content_length": str(LIMIT + 1)}, 413),
        ("GET", "/broken", {}, 500),
    ],
)
def test_every_response_carries_the_security_headers(
    ask: Any, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found, sent, body = ask(method, path, **headers)
    assert found == status
    assert {name: sent.get(name) for name in GUARDED} == GUARDED
    policy = dict(rule.split(" ", 1) for rule in sent["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' data: blob:"
    assert policy["object-src"] == "'none'"
    assert "*" not in policy["script-src"]
    assert b"SECRET" not in body


@pytest.mark.parametrize(
    ("path", "stored"), [("/gradio_api/medmm/volume/abc", False), ("/gradio_api/file=/tmp/a.png", False), ("/theme.css", True)]
)
def test_what_came_from_a_visitor_is_not_kept_by_caches(ask: Any, path: str, stored: bool) -> None:
    assert ask("GET", path)[1].get("cache-control") == (None if stored else "no-store")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * LIMIT, 200),
        (b"x" * (LIMIT + 1), 413),
        (chunks(LIMIT), 200),
        (chunks(LIMIT // 2, LIMIT // 2), 200),
        (chunks(LIMIT + 1), 413),
        (chunks(LIMIT // 2, LIMIT // 2, 1), 413),
        (chunks(*[LIMIT // 4] * 40), 413),
    ],
    ids=["stated", "stated+1", "one chunk", "two chunks", "one chunk+1", "three chunks+1", "many chunks"],
)
def test_a_body_over_the_limit_is_refused_and_never_reaches_the_page(ask: Any, behind: Behind, body: Any, status: int) -> None:
    behind.longest = 0
    found, _, reply = ask("POST", "/upload", body)
    assert found == status
    assert behind.longest <= LIMIT
    assert (reply == str(LIMIT).encode()) == (status == 200)


@pytest.mark.parametrize("length", ["-1", "1e3", ""])
def test_a_length_that_is_no_number_is_refused(ask: Any, length: str) -> None:
    assert ask("POST", "/upload", b"", content_length=length)[0] in (400, 413)


def test_what_is_not_a_request_passes(port: int, behind: Behind) -> None:
    assert behind.started
