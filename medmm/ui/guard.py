"""What every response carries and every request must satisfy, whatever the framework's defaults are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1 << 30
_BLOCKED = (
    "/gradio_api/file=http", "/gradio_api/proxy=", "/gradio_api/deep_link", "/gradio_api/runs", "/gradio_api/run-history",
    "/monitoring", "/gradio_api/monitoring", "/gradio_api/vibe",
)  # fmt: skip
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
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),  # a note can be dictated
)


class Guard:
    """ASGI middleware: refuses foreign origins and oversized bodies, blocks unused routes, adds headers.

    Args:
        app: The application behind.
        max_body: Bytes of the longest request body let through.
    """

    def __init__(self, app: App, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.lower(): v for k, v in scope["headers"]}
        status = _refusal(scope, headers, self._max_body)
        if status:
            await _reply(send, status)
            return

        seen, started = 0, False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > self._max_body else message

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_headers_for(scope["path"])]
            await send(message)

        try:
            await self._app(scope, limited, guarded)
        except Exception:  # whatever the application throws: the framework's own reply would lack the headers
            too_long = seen > self._max_body
            if not started:
                await _reply(send, 413 if too_long else 500)
            if not too_long:
                raise


def _refusal(scope: Scope, headers: dict[bytes, bytes], max_body: int) -> int:
    """HTTP status to refuse with, 0 to let pass."""
    if any(blocked in scope["path"] for blocked in _BLOCKED):
        return 404
    if scope["method"] not in ("GET", "HEAD") and not _same_origin(headers):
        return 403
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > max_body:
        return 413
    return 0


def _same_origin(headers: dict[bytes, bytes]) -> bool:
    """Browsers state where a request comes from; another site must not act here."""
    origin = headers.get(b"origin")
    if origin is None:
        return True
    host = headers.get(b"x-forwarded-host", headers.get(b"host", b""))
    return origin.partition(b"://")[2] == host


def _headers_for(path: str) -> list[tuple[bytes, bytes]]:
    private = "/file=" in path or "/medmm/" in path
    return [*_HEADERS, *([(b"cache-control", b"no-store")] if private else [])]


async def _reply(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *_HEADERS]})
    await send({"type": "http.response.body", "body": b""})
