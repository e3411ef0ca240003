"""What every response carries and every request must satisfy, whatever the framework's defaults are."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass

from medmm.ui.asgi import App, Headers, Message, Receive, Scope, Send, headers_of, refuse

UPLOAD = "/gradio_api/upload"
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
_METHODS = ("GET", "HEAD", "POST")
_BLOCKED = (
    "/gradio_api/file=http", "/gradio_api/file/", "/gradio_api/proxy=", "/gradio_api/deep_link", "/gradio_api/runs",
    "/gradio_api/run-history", "/gradio_api/stream/", "/gradio_api/mcp/sse", "/gradio_api/mcp/messages",
    "/gradio_api/process_recording", "/gradio_api/profiling", "/gradio_api/dev/", "/gradio_api/vibe", "/gradio_api/undo-vibe",
    "/gradio_api/monitoring", "/monitoring", "/custom_component/",
)  # fmt: skip
_DESCRIPTION = "/gradio_api/openapi.json"
_LASTING = ("/assets/", "/static/", "/svelte/", "/gradio_api/medmm/viewer/", "/theme.css", "/gradio_api/theme.css", "/favicon.ico")
# Gradio's components compile templates at run time, so 'unsafe-eval' cannot be left out.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "media-src 'self' blob: data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),  # a note can be dictated
)
_WORDS = {
    403: "Expected a request from this page itself; it came from another site.",
    404: "Expected an address of this page; there is nothing here.",
    405: "Expected GET, HEAD or POST; got another method.",
    408: "Expected the rest of the request sooner. Send it again.",
    413: "Expected a smaller request. Upload less at a time.",
    421: "Expected a host name that this page is known by; name others in MEDMM_HOSTS, separated by commas.",
    500: "Something went wrong here; the study is not the reason to worry. Try again.",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a request is taken, and how slowly.

    Attributes:
        upload_bytes: Of a body that brings files.
        body_bytes: Of any other body.
        patience: Seconds that a body may take whatever it brings.
        bytes_a_second: Every so many bytes buy a second more.
    """

    upload_bytes: int = 1 << 30
    body_bytes: int = 4 << 20
    patience: float = 30.0
    bytes_a_second: float = 16_384.0


class Guard:
    """ASGI middleware: refuses other hosts, other sites, large and slow bodies and unused routes, and adds headers.

    Args:
        app: The application behind.
        hosts: Names, without port, that the page is known by beside those of this machine.
        bounds: Of request bodies.
        described: Whether the OpenAPI document of the public endpoints is handed out.
    """

    def __init__(self, app: App, hosts: Collection[str] = (), bounds: Bounds | None = None, described: bool = False) -> None:
        self._app = app
        self._blocked = _BLOCKED if described else (*_BLOCKED, _DESCRIPTION)
        self._hosts = frozenset(name.lower() for name in hosts)
        self._bounds = bounds or Bounds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the page has none
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        longest = self._bounds.upload_bytes if scope["path"].rstrip("/") == UPLOAD else self._bounds.body_bytes
        body = _Body(receive, longest, self._bounds)
        reply = _Reply(send, scope["path"])
        blocked = any(path in scope["path"] for path in self._blocked)
        status = _refusal(scope, headers_of(scope), self._hosts, longest, blocked)
        try:
            if not status:
                await self._app(scope, body.receive, reply.send)
        except Exception as error:  # whatever the application throws: its words may hold what a visitor sent
            status = body.refused or 500
            if not body.refused:
                _report(error)
        if (status := status or body.refused) and not reply.started:
            await refuse(reply.send, status, _WORDS[status])


@dataclass(slots=True)
class _Body:
    """A request's body, which ends as soon as it is too long or too slow."""

    whole: Receive
    longest: int
    bounds: Bounds
    refused: int = 0
    _seen: int = 0
    _waited: float = 0.0
    _ended: bool = False

    async def receive(self) -> Message:
        if self._ended:
            return await self.whole()  # waits for the visitor to go
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.bounds.patience + self._seen / self.bounds.bytes_a_second - self._waited):
                message = await self.whole()
        except TimeoutError:
            return self._refuse(408)
        self._waited += time.monotonic() - began
        self._seen += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return self._refuse(413) if self._seen > self.longest else message

    def _refuse(self, status: int) -> Message:
        self.refused, self._ended = status, True
        return {"type": "http.disconnect"}


@dataclass(slots=True)
class _Reply:
    """A response that gets its headers on the way out."""

    whole: Send
    path: str
    started: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            kept = message.get("headers", [])
            if not self.path.startswith(_LASTING):
                kept = [(k, v) for k, v in kept if k.lower() != b"cache-control"] + [(b"cache-control", b"no-store")]
            message["headers"] = [*_HEADERS, *kept]  # of two policies on referrers the last holds: the login's form needs its own
        await self.whole(message)


def _refusal(scope: Scope, headers: Headers, hosts: frozenset[str], longest: int, blocked: bool) -> int:
    """HTTP status to refuse with, 0 to let pass."""
    if not _is_known(scope, headers, hosts):
        return 421
    if scope["method"] not in _METHODS:
        return 405
    if blocked:
        return 404
    if not _is_from_here(headers):
        return 403
    length = headers.get(b"content-length", b"0")
    return 0 if length.isdigit() and int(length) <= longest else 413


def _is_known(scope: Scope, headers: Headers, hosts: frozenset[str]) -> bool:
    """Whether the page is asked for under a name it is known by: a foreign name that leads here is another site's trick."""
    own = (scope.get("server") or ("",))[0]
    known = _HERE | hosts | {own}
    host = headers.get(b"host", b"")
    names = (host, headers.get(b"x-forwarded-host", host))
    return all(_name(host) in known or _name(host).endswith(tuple(h for h in hosts if h.startswith("."))) for host in names)


def _name(host: bytes) -> str:
    """Host name of a Host header, in lower case, without port and brackets."""
    text = host.decode("latin-1").lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _is_from_here(headers: Headers) -> bool:
    """Browsers state where a request comes from; another site must neither act nor read here."""
    origin = headers.get(b"origin")
    if origin is not None:
        return origin.partition(b"://")[2] == headers.get(b"x-forwarded-host", headers.get(b"host", b""))
    return headers.get(b"sec-fetch-site") != b"cross-site" or headers.get(b"sec-fetch-mode") == b"navigate"


def _report(error: Exception) -> None:
    """Say on stderr what failed and where, without a word of what was in it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    sys.stderr.write(f"medmm: {type(error).__name__} in {last.name}, line {last.lineno}; the request got no answer.\n")
