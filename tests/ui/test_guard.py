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

from medmm.ui.guard import Bounds, Guard

LIMIT = 1000
PATIENCE = 0.5  # seconds
UPLOAD = "/gradio_api/upload"
GUARDED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "cross-origin-resource-policy": "same-origin",
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
        middleware=[Middleware(Guard, hosts={"here", "inside", ".known.example"}, bounds=Bounds(LIMIT, LIMIT // 2, PATIENCE, 1e3))],
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
        ("POST", {"host": "here", "sec_fetch_site": "same-origin"}, 200),
        ("GET", {"host": "here", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),  # a link from elsewhere
        ("GET", {"host": "here", "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ("POST", {"host": "here", "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}, 403),
        ("GET", {"host": "here", "origin": "http://evil.example"}, 403),
        ("GET", {"host": "here", "origin": "null"}, 403),
        ("HEAD", {"host": "here", "origin": "http://evil.example"}, 403),
        ("POST", {"host": "here", "origin": "http://evil.example"}, 403),
        ("POST", {"host": "here:1", "origin": "http://here:2"}, 403),
        ("POST", {"host": "here", "origin": "http://here.evil.example"}, 403),
        ("POST", {"host": "here", "origin": "null"}, 403),
        ("POST", {"host": "inside", "x_forwarded_host": "here", "origin": "https://inside"}, 403),
        ("PUT", {"host": "here", "origin": "http://evil.example"}, 405),
        ("DELETE", {"host": "here", "origin": "http://evil.example"}, 405),
        ("OPTIONS", {"host": "here", "origin": "http://evil.example"}, 405),
        ("OPTIONS", {"host": "here"}, 405),
        ("TRACE", {"host": "here"}, 405),
    ],
)
def test_another_site_can_neither_act_nor_look(ask: Any, behind: Behind, method: str, headers: dict[str, str], status: int) -> None:
    behind.paths.clear()
    assert ask(method, "/call", **headers)[0] == status
    assert behind.paths == (["/call"] if status == 200 else [])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:80", 200),
        ("localhost", 200),
        ("LOCALHOST:7860", 200),
        ("[::1]:7860", 200),
        ("HERE", 200),
        ("a.known.example", 200),
        ("evil.example", 421),  # a name of another site that leads to this machine: DNS rebinding
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:7860", 421),
        ("here.evil.example", 421),
        ("evilknown.example", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_names_that_the_page_is_known_by_are_answered(ask: Any, behind: Behind, host: str, status: int) -> None:
    for headers in ({"host": host}, {"host": "here", "x_forwarded_host": host}):
        behind.paths.clear()
        assert ask("GET", "/call", **headers)[0] == status
        assert behind.paths == (["/call"] if status == 200 else [])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/openapi.json",
        "/gradio_api/file/tmp/a",
        "/gradio_api/process_recording",
        "/gradio_api/stream/1/2/3/playlist.m3u8",
        "/gradio_api/dev/reload",
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
        ("GET", "/", {"host": "evil.example"}, 421),
        ("GET", "/gradio_api/runs", {}, 404),
        ("POST", "/", {"origin": "http://evil.example"}, 403),
        ("POST", UPLOAD, {"content_length": str(LIMIT + 1)}, 413),
        ("POST", "/", {"content_length": str(LIMIT // 2 + 1)}, 413),
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
    ("path", "stored"),
    [
        ("/", False),
        ("/config", False),
        ("/gradio_api/queue/data", False),
        ("/gradio_api/medmm/volume/abc", False),
        ("/gradio_api/file=/tmp/a.png", False),
        ("/theme.css", True),
        ("/assets/index.js", True),
    ],
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
    found, _, reply = ask("POST", UPLOAD, body)
    assert found == status
    assert behind.longest <= LIMIT
    assert (reply == str(LIMIT).encode()) == (status == 200)


@pytest.mark.parametrize("length", ["-1", "1e3", ""])
def test_a_length_that_is_no_number_is_refused(ask: Any, length: str) -> None:
    assert ask("POST", "/upload", b"", content_length=length)[0] in (400, 413)


def test_a_body_that_is_no_upload_has_a_smaller_limit(ask: Any) -> None:
    assert [ask("POST", "/call", b"x" * count)[0] for count in (LIMIT // 2, LIMIT // 2 + 1)] == [200, 413]


def drip(pause: float, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x"
        time.sleep(pause)


def test_a_body_that_drips_is_ended(ask: Any, behind: Behind) -> None:
    began = time.monotonic()
    assert ask("POST", UPLOAD, drip(0.1, 20))[0] == 408
    assert time.monotonic() - began < 10


def test_a_body_may_rest_for_a_moment(ask: Any) -> None:
    assert ask("POST", UPLOAD, drip(PATIENCE / 5, 3))[::2] == (200, b"3")


def test_what_an_error_says_is_not_logged(ask: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask("GET", "/broken")[0] == 500
    told = capfd.readouterr()
    assert "SECRET" not in told.out + told.err
    assert "RuntimeError in answer" in told.err


def test_what_is_not_a_request_passes(port: int, behind: Behind) -> None:
    assert behind.started
