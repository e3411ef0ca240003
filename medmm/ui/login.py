"""An optional login in front of everything the page answers.

`python -m medmm.ui.login NAME` asks for a password and prints the line for the environment variable
`MEDMM_USERS`, which holds one such line a person, separated by white space.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import hmac
import os
import secrets
import sys
import time
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qs

from starlette.middleware import Middleware

from medmm.errors import MedmmError
from medmm.prediction import DISCLAIMER
from medmm.ui.asgi import App, Headers, Receive, Scope, Send, cookie, headers_of, refuse, set_cookie
from medmm.ui.rate import Lock, address_of

VARIABLE = "MEDMM_USERS"
COOKIE = "medmm_login"
_LIFE = 12 * 3600
_STARTS = "/gradio_api/startup-events"  # Gradio asks itself for it when it starts; it says nothing but whether it runs
_FORM_BYTES = 4096
_SHORTEST = 10
_SAYS_WHENCE = (b"referrer-policy", b"same-origin")  # under the guard's a browser sends the form with no origin, which it refuses
_COST = {"n": 1 << 14, "r": 8, "p": 1}

_FREE_TRIES = {"pair": 5, "address": 20, "user": 100}
"""Failures before waiting begins: of a name from an address, of an address, and of a name wherever from."""


def hashed(password: str, salt: str) -> str:
    """Scrypt of a password, as hexadecimal digits."""
    return hashlib.scrypt(password.encode(), salt=salt.encode(), **_COST).hex()


def users_of(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """(salt, hash) by user name from `MEDMM_USERS`; empty when it is not set.

    Raises:
        MedmmError: If a line in it is not of the form name:salt:hash.
    """
    lines = [line.split(":") for line in environment.get(VARIABLE, "").split()]
    if any(len(parts) != 3 or not all(parts) or len(parts[2]) != 128 for parts in lines):
        msg = f"Expected {VARIABLE} to hold NAME:SALT:HASH for each user; make a line with `python -m medmm.ui.login NAME`."
        raise MedmmError(msg)
    return {name: (salt, digest) for name, salt, digest in lines}


class Login:
    """ASGI middleware: nothing is answered before a name and its password were given.

    Args:
        app: The application behind.
        users: (salt, hash) by name.
        framed: Whether the page stands in a frame of another site.
    """

    def __init__(self, app: App, users: Mapping[str, tuple[str, str]], framed: bool = False) -> None:
        self._app, self._users, self._framed = app, users, framed
        self._known: dict[str, tuple[str, float]] = {}  # name and end of each login
        self._locks = {kind: Lock(free) for kind, free in _FREE_TRIES.items()}
        self._dummy = (secrets.token_hex(16), "0" * 128)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"].rstrip("/") == "/login" and scope["method"] == "POST":
            await self._log_in(scope, receive, send)
        elif scope["path"].rstrip("/") == "/logout" and scope["method"] == "POST":
            self._known.pop(cookie(scope, COOKIE), None)
            await _go(send, "/", set_cookie(scope, COOKIE, "", seconds=0, framed=self._framed))
        elif self._user(scope) or scope["path"] == _STARTS:
            await self._app(scope, receive, send)
        elif scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            await _form(send, 401, "")
        else:
            await refuse(send, 401, "Expected a login first; open the page and log in.")

    def _user(self, scope: Scope) -> str:
        name, end = self._known.get(cookie(scope, COOKIE), ("", 0.0))
        return name if time.monotonic() < end else ""

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, password = await _fields(receive)
        keys = {"pair": f"{address_of(scope)} {name}", "address": address_of(scope), "user": name}
        wait = max(lock.wait(keys[kind]) for kind, lock in self._locks.items())
        if wait:
            await _form(send, 429, f"Too many failures. Wait {int(wait) + 1} s and try again.", wait)
            return
        for kind, lock in self._locks.items():  # before the answer is known, so that tries at the same moment all count
            lock.fail(keys[kind])
        if not await asyncio.to_thread(self._is_right, name, password):
            await _form(send, 401, "This name and password do not belong together.")
            return
        for kind, lock in self._locks.items():
            lock.forgive(keys[kind])
        now, ticket = time.monotonic(), secrets.token_urlsafe(32)
        self._known = {t: (who, end) for t, (who, end) in self._known.items() if now < end} | {ticket: (name, now + _LIFE)}
        header = set_cookie(scope, COOKIE, ticket, seconds=_LIFE, framed=self._framed)
        if _wants_a_page(headers_of(scope)):
            await _go(send, "/", header)
        else:
            await refuse(send, 200, "Logged in.", [header])

    def _is_right(self, name: str, password: str) -> bool:
        """As slow for a name that nobody has."""
        salt, digest = self._users.get(name, self._dummy)
        return hmac.compare_digest(hashed(password, salt), digest)


async def _fields(receive: Receive) -> tuple[str, str]:
    body = b""
    while len(body) <= _FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    found = parse_qs(body[:_FORM_BYTES].decode("utf-8", "replace"))
    return found.get("username", [""])[0], found.get("password", [""])[0]


def _wants_a_page(headers: Headers) -> bool:
    return b"text/html" in headers.get(b"accept", b"")


async def _go(send: Send, where: str, header: tuple[bytes, bytes]) -> None:
    await refuse(send, 303, "", [(b"location", where.encode()), header])


async def _form(send: Send, status: int, words: str, wait: float = 0.0) -> None:
    alert = f'<p role="alert">{escape(words)}</p>' if words else ""
    body = _FORM.format(alert=alert, disclaimer=escape(DISCLAIMER)).encode()
    retry = [(b"retry-after", str(int(wait) + 1).encode())] if wait else []
    head = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode()), _SAYS_WHENCE, *retry]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>medmm: log in</title>
<style>:root{{color-scheme:light dark;font:16px system-ui}}main{{max-width:20rem;margin:15vh auto;padding:1rem}}
label,input,button{{display:block;width:100%;box-sizing:border-box}}input,button{{font:inherit;padding:.5rem;margin:.25rem 0 1rem}}
</style></head><body><main><h1>medmm</h1>{alert}<form method="post" action="login">
<label for="u">Name</label><input id="u" name="username" autocomplete="username" required autofocus>
<label for="p">Password</label><input id="p" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button></form><p>{disclaimer}</p></main></body></html>
"""


def _print_line(name: str) -> None:
    password = getpass.getpass(f"Password of {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < _SHORTEST or ":" in name or not name.strip():
        raise SystemExit(f"Expected a name without colon and a password of {_SHORTEST} characters or more; choose others.")
    salt = secrets.token_hex(16)
    sys.stdout.write(f"{name}:{salt}:{hashed(password, salt)}\n")


def login_of() -> Middleware | None:
    """The middleware that the environment asks for; None when there are no users in it."""
    users = users_of(os.environ)
    return Middleware(Login, users=users, framed=bool(os.environ.get("SPACE_ID"))) if users else None


if __name__ == "__main__":
    _print_line(sys.argv[1])
