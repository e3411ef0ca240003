"""Who is who: cookies that scripts cannot use, and sessions and files that are one visitor's."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from medmm.errors import NoImageError
from medmm.ui.visitor import COOKIE, VisitorCookie, Visitors, visitor_of

Come = Callable[[], httpx.Client]


async def who(request: Request) -> Response:
    return PlainTextResponse(visitor_of(request.cookies))


def app(visitors: Visitors, framed: bool = False) -> Starlette:
    return Starlette(routes=[Route("/{path:path}", who)], middleware=[Middleware(VisitorCookie, visitors=visitors, framed=framed)])


@pytest.fixture
def come(serve: Callable[[Any], Come]) -> Come:
    return serve(app(Visitors()))


def test_each_browser_gets_a_name_of_its_own_and_keeps_it(come: Come) -> None:
    anna, ben = come(), come()
    for browser in (anna, ben):
        assert browser.get("/").text == ""
        assert "set-cookie" not in browser.get("/").headers
    names = {browser.get("/call").text for browser in (anna, ben)}
    assert len(names) == 2
    assert all(len(name) == 32 for name in names)


@pytest.mark.parametrize(("framed", "site"), [(False, "Strict"), (True, "None")])
def test_scripts_and_other_sites_cannot_use_the_cookie(serve: Callable[[Any], Come], framed: bool, site: str) -> None:
    come = serve(app(Visitors(), framed))
    cookie = SimpleCookie(come().get("/").headers["set-cookie"].replace("; Partitioned", ""))[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, site, framed)


@pytest.mark.parametrize("value", ["", "a" * 31, "a" * 33, "a" * 31 + "!", "é" * 32, '"; HttpOnly'])
def test_a_made_up_cookie_is_nobody(value: str) -> None:
    assert visitor_of({COOKIE: value}) == ""


@pytest.mark.parametrize("path", ["/gradio_api/queue/data?session_hash=abc", "/gradio_api/heartbeat/abc"])
def test_a_session_is_heard_by_its_browser_alone(come: Come, path: str) -> None:
    anna, ben = come(), come()
    for browser in (anna, ben):
        browser.get("/")
    assert [anna.get(path).status_code, ben.get(path).status_code, come().get(path).status_code] == [200, 404, 404]
    assert ben.get(path.replace("abc", "def")).status_code == 200
    assert anna.get(path).status_code == 200


def test_a_session_is_met_once_and_stays_with_its_visitor() -> None:
    visitors = Visitors()
    visitors.meet("s", "anna")
    visitors.meet("s", "anna")
    with pytest.raises(NoImageError, match="Load the page again"):
        visitors.meet("s", "ben")
    assert (visitors.of_session("s"), visitors.of_session("unknown")) == ("anna", "")


def test_a_file_is_its_visitors_and_an_unknown_one_nobodys() -> None:
    visitors = Visitors()
    visitors.give("a.wav", "anna")
    visitors.give(Path("tool.txt"), "")
    assert [visitors.may_have("a.wav", who) for who in ("anna", "ben", "")] == [True, False, False]
    assert [visitors.may_have("tool.txt", who) for who in ("anna", "")] == [False, True]
    assert not visitors.may_have("other.wav", "")
    assert [visitors.files_of(who) for who in ("anna", "ben", "")] == [["a.wav"], [], ["tool.txt"]]
    visitors.forget("a.wav")
    visitors.forget("never given.wav")
    assert not visitors.may_have("a.wav", "anna")


def test_only_so_many_sessions_and_files_are_remembered() -> None:
    visitors = Visitors()
    for index in range(10_001):
        visitors.meet(f"s{index}", "anna")
    for index in range(100_001):
        visitors.give(f"f{index}", "anna")
    assert not visitors.may_have("f0", "anna")
    assert visitors.may_have("f1", "anna")
    assert (visitors.of_session("s0"), visitors.of_session("s1")) == ("", "anna")
