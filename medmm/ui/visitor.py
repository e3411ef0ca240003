"""Who is who: each browser has a cookie of its own, and what one visitor sent or was given is nobody else's."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from medmm.errors import NoImageError
from medmm.ui.asgi import App, Message, Receive, Scope, Send, cookie, refuse, set_cookie

COOKIE = "medmm_visitor"
_LIFE = 24 * 3600
_SHAPE = re.compile(r"[A-Za-z0-9_-]{32}")
_HEARTBEAT = "/heartbeat/"
_SESSIONS, _FILES = 10_000, 100_000  # remembered


class Visitors:
    """Which visitor each of the page's sessions and stored files belongs to.

    A program that keeps no cookies is the visitor ''; what tells such programs apart is that sessions
    and files have names that cannot be guessed.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._lock = threading.Lock()

    def meet(self, session: str, visitor: str) -> None:
        """Note whose session this is, the first time.

        Raises:
            NoImageError: If it is another visitor's.
        """
        if not self.is_met(session, visitor):
            msg = "Expected a session of this browser; it belongs to another. Load the page again."
            raise NoImageError(msg)

    def is_met(self, session: str, visitor: str) -> bool:
        """Note whose session this is, the first time; whether it is this visitor's."""
        with self._lock:
            owner = self._sessions.setdefault(session, visitor)
            _forget_first(self._sessions, _SESSIONS)
        return owner == visitor

    def of_session(self, session: str) -> str:
        """Visitor of a session."""
        with self._lock:
            return self._sessions.get(session, "")

    def give(self, file: str | os.PathLike[str], visitor: str) -> None:
        """Note whose file this is."""
        with self._lock:
            self._files[os.fspath(file)] = visitor
            _forget_first(self._files, _FILES)

    def files_of(self, visitor: str) -> list[str]:
        """Files that were sent by this visitor, or made for it; they may be gone."""
        with self._lock:
            return [file for file, owner in self._files.items() if owner == visitor]

    def may_have(self, file: str | os.PathLike[str], visitor: str) -> bool:
        """Whether a file was sent by this visitor, or made for it."""
        with self._lock:
            return self._files.get(os.fspath(file)) == visitor

    def forget(self, file: str | os.PathLike[str]) -> None:
        """Note that a file is no longer there."""
        with self._lock:
            self._files.pop(os.fspath(file), None)


class VisitorCookie:
    """ASGI middleware: a browser without the cookie gets one, and the session of another is refused.

    Args:
        app: The application behind.
        visitors: Told whose each session is.
        framed: Whether the page stands in a frame of another site.
    """

    def __init__(self, app: App, visitors: Visitors, framed: bool = False) -> None:
        self._app, self._visitors, self._framed = app, visitors, framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        known = cookie(scope, COOKIE) if scope["type"] == "http" else ""
        session = _session(scope) if scope["type"] == "http" else ""
        if session and not self._visitors.is_met(session, visitor_of({COOKIE: known})):
            await refuse(send, 404, "Expected a session of this browser. Load the page again.")
        elif scope["type"] != "http" or scope["path"] != "/" or _SHAPE.fullmatch(known):
            await self._app(scope, receive, send)
        else:
            header = set_cookie(scope, COOKIE, secrets.token_urlsafe(24), seconds=_LIFE, framed=self._framed)
            await self._app(scope, receive, _introducing(send, header))


def _introducing(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def introduced(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), header]
        await send(message)

    return introduced


def _session(scope: Scope) -> str:
    """Session whose events a request wants to hear; empty when it wants none."""
    path = str(scope["path"])
    if _HEARTBEAT in path:
        return path.partition(_HEARTBEAT)[2].partition("/")[0]
    return parse_qs(str(scope["query_string"], "latin-1")).get("session_hash", [""])[0]


def visitor_of(cookies: Mapping[str, Any]) -> str:
    """Visitor that a request comes from; empty for one without the cookie."""
    value = str(cookies.get(COOKIE, ""))
    return value if _SHAPE.fullmatch(value) else ""


def _forget_first(entries: dict[str, str], most: int) -> None:
    if len(entries) > most:
        entries.pop(next(iter(entries)))
