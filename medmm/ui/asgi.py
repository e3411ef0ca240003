"""The words that the page's middleware shares: what a request is, and a short refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """Headers of a request by lower-case name; one sent twice says both, as whoever stands in between may believe either."""
    found: Headers = {}
    for name, value in scope["headers"]:
        key, between = name.lower(), b"; " if name.lower() == b"cookie" else b", "
        found[key] = found[key] + between + value if key in found else value
    return found


def cookie(scope: Scope, name: str) -> str:
    """Value of a cookie that a request brought; empty without one."""
    jar = SimpleCookie()
    try:
        jar.load(headers_of(scope).get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def set_cookie(scope: Scope, name: str, value: str, *, seconds: int, framed: bool = False) -> tuple[bytes, bytes]:
    """The header that sets a cookie which scripts and other sites cannot use.

    Args:
        scope: The request answered; the cookie is for https alone when it came by https.
        name: Of the cookie.
        value: Of the cookie.
        seconds: After which the browser forgets it; 0 removes it now.
        framed: Whether the page stands in a frame of another site, where a strict cookie is never sent.
    """
    secure = framed or scope.get("scheme") == "https"
    site = "None; Partitioned" if framed else "Strict"
    text = f"{name}={value}; Path=/; HttpOnly; SameSite={site}; Max-Age={seconds}{'; Secure' if secure else ''}"
    return b"set-cookie", text.encode("ascii")


async def refuse(send: Send, status: int, words: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a status and one sentence."""
    body = words.encode()
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
