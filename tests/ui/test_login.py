"""The optional login: nothing is answered without it, guessing is made to wait, and no password is kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from medmm.errors import MedmmError
from medmm.ui.login import COOKIE, VARIABLE, Login, hashed, login_of, users_of

Come = Callable[[], httpx.Client]
PASSWORD = "correct horse battery"
PATHS = ["/config", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/medmm/volume/abc", "/theme.css", "//", "/login"]
USERS = {"anna": ("salt", hashed(PASSWORD, "salt"))}


async def inside(_: Request) -> Response:
    return PlainTextResponse("inside")


@pytest.fixture
def come(serve: Callable[[Any], Come]) -> Come:
    routes = [Route("/{path:path}", inside, methods=["GET", "POST"])]
    return serve(Starlette(routes=routes, middleware=[Middleware(Login, users=USERS)]))


def log_in(visitor: httpx.Client, name: str = "anna", password: str = PASSWORD, **headers: str) -> httpx.Response:
    return visitor.post("/login", data={"username": name, "password": password}, headers=headers)


@pytest.mark.parametrize(
    "path", ["/config", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/medmm/volume/abc", "/theme.css", "//", "/login"]
)
def test_nothing_is_answered_before_a_login(come: Come, path: str) -> None:
    found = come().get(path)
    assert (found.status_code, "inside" in found.text) == (401, False)


def test_the_page_asks_for_a_login_and_lets_in(come: Come) -> None:
    anna = come()
    asked = anna.get("/")
    assert asked.status_code == 401
    assert 'type="password"' in asked.text
    assert "research" in asked.text.lower()
    found = log_in(anna, accept="text/html")
    assert (found.status_code, found.headers["location"]) == (303, "/")
    assert [anna.get(path).text for path in ("/", "/config")] == ["inside", "inside"]
    assert come().get("/config").status_code == 401


def test_a_program_logs_in_and_out(come: Come) -> None:
    anna = come()
    assert log_in(anna).text == "Logged in."
    ticket = anna.cookies[COOKIE]
    assert anna.get("/config").text == "inside"
    assert anna.post("/logout").status_code == 303
    stolen = come()
    stolen.cookies.set(COOKIE, ticket)
    assert stolen.get("/config").status_code == 401


def test_scripts_and_other_sites_cannot_use_the_ticket(come: Come) -> None:
    cookie = SimpleCookie(log_in(come()).headers["set-cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
    assert len(cookie.value) == 43


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("anna", ""), ("ben", PASSWORD), ("", "")])
def test_a_wrong_pair_is_refused_in_the_same_words(come: Come, name: str, password: str) -> None:
    visitor = come()
    found = log_in(visitor, name, password)
    assert found.status_code == 401
    assert "do not belong together" in found.text
    assert visitor.get("/config").status_code == 401


def test_guessing_is_made_to_wait_also_with_the_right_password(come: Come) -> None:
    visitor = come()
    assert [log_in(visitor, password=f"guess {i}").status_code for i in range(5)] == [401] * 5
    found = log_in(visitor)
    assert found.status_code == 429
    assert int(found.headers["retry-after"]) >= 1


@pytest.mark.parametrize("body", [b"", b"\xff" * 100, b"username=anna", b"x" * 20_000, b"username=anna&password=" + b"a" * 5000])
def test_what_is_no_form_lets_nobody_in(come: Come, body: bytes) -> None:
    assert come().post("/login", content=body).status_code == 401


def test_passwords_are_kept_as_scrypt_with_salt() -> None:
    assert hashed("a", "b") == hashlib.scrypt(b"a", salt=b"b", n=16384, r=8, p=1).hex()
    assert hashed("a", "b") != hashed("a", "c")


def test_a_line_made_by_the_command_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "medmm.ui.login", "anna"]
    made = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, check=True, timeout=60)
    assert PASSWORD not in made.stdout
    salt, digest = users_of({VARIABLE: f" {made.stdout} ben:s:{'0' * 128}"})["anna"]
    assert digest == hashed(PASSWORD, salt)
    monkeypatch.setenv(VARIABLE, made.stdout)
    assert login_of() is not None
    monkeypatch.delenv(VARIABLE)
    assert login_of() is None


def test_a_short_password_is_refused() -> None:
    command = [sys.executable, "-m", "medmm.ui.login", "anna"]
    made = subprocess.run(command, input="short\n", capture_output=True, text=True, check=False, timeout=60)
    assert (made.returncode, made.stdout) == (1, "")


@pytest.mark.parametrize("value", ["SECRET", "anna:SECRET", "anna::" + "0" * 128, "anna:salt:SECRET", "a:b:c:SECRET"])
def test_a_broken_line_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(MedmmError, match="NAME:SALT:HASH") as caught:
        users_of({VARIABLE: value})
    assert "SECRET" not in caught.value.message
