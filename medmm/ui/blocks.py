"""Blocks with the settings that a page with patient data needs, which no caller can forget."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from medmm.errors import InputError, MedmmError
from medmm.optional import require
from medmm.prediction import DISCLAIMER
from medmm.ui.connection import rest, tighten
from medmm.ui.guard import Guard
from medmm.ui.login import VARIABLE, login_of
from medmm.ui.rate import RateLimit
from medmm.ui.speech import IN_BROWSER, Greeting, Speaker
from medmm.ui.uploads import MAX_FILE, Uploads
from medmm.ui.visitor import VisitorCookie, Visitors, visitor_of

STATIC = Path(__file__).parent / "static"
HIDDEN: dict[str, Any] = {"api_visibility": "private"}  # hides, does not protect: every handler is public
MOST_FILE_MB = MAX_FILE >> 20
"""Of one upload."""

_FONT, _MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # what the machine has: no font is fetched

_HERE = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - behind the Space's proxy
HOSTS = "MEDMM_HOSTS"


class GuardedBlocks(gr.Blocks):
    """Blocks that are served to this machine alone, behind the guard, without analytics, history or other hosts.

    Args:
        title: Of the browser's tab.
        close: Called when serving ends.
        styles: Style sheets among the static files.
        routes: Beside those of Gradio.
        exposed: Called when the page is about to listen to other machines.
        visitors: Told whose each session and file is.
        greet: As for `Speaker`.
    """

    def __init__(
        self,
        title: str,
        close: Callable[[], None],
        styles: Sequence[str],
        routes: Sequence[BaseRoute] = (),
        exposed: Callable[[], None] = lambda: None,
        visitors: Visitors | None = None,
        greet: Greeting = lambda _: "",
    ) -> None:
        super().__init__(title=title, analytics_enabled=False, delete_cache=(300, 900))
        self._at_end, self._when_exposed, self._greet = close, exposed, greet
        self._visitors = visitors or Visitors()
        uploads = Uploads(Path(os.environ["GRADIO_TEMP_DIR"]), self._visitors)
        self._launch_settings = _settings(styles, [*routes, *uploads.routes()])

    def launch(  # type: ignore[override]  # fewer choices on purpose
        self, *, server_name: str | None = None, server_port: int | None = None, without_login: bool = False,
        mcp: bool = False, openapi: bool = False, **more: Any,
    ) -> Any:  # fmt: skip
        """Serve until interrupted; prints the address once it answers.

        Args:
            server_name: Address to listen on; this machine only, except on a hosted Space.
            server_port: Port.
            without_login: Whether other machines may use the page without logging in.
            mcp: Whether the public endpoints are tools of an MCP server too.
            openapi: Whether the OpenAPI document of the public endpoints is handed out.
            **more: Passed on to Gradio.

        Raises:
            MedmmError: If other machines are let in and nobody has to log in, unless that was said to be meant; or if an
                MCP server is asked for behind a login, which no MCP client passes.
            DependencyError: If the package that the MCP server needs is not installed.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploads are removed then too
        in_space, login = bool(os.environ.get("SPACE_ID")), login_of()
        address = server_name or (_EVERYWHERE if in_space else _HERE[0])
        if address not in _HERE:
            if not (in_space or login or without_login):
                self._at_end()
                msg = f"Expected users in {VARIABLE} for a page that others can open; found none. Set it, or say --without-login."
                raise MedmmError(msg)
            self._when_exposed()
        if mcp:
            try:
                check_mcp(login is not None)
            except MedmmError:
                self._at_end()
                raise
        self._launch_settings["app_kwargs"]["middleware"] = [
            Middleware(Guard, hosts=_hosts(address), described=openapi),
            Middleware(RateLimit),
            *([login] if login else []),
            Middleware(VisitorCookie, visitors=self._visitors, framed=in_space),
            Middleware(Speaker, greet=self._greet),
        ]
        hold = not more.pop("prevent_thread_lock", False)
        found = super().launch(
            server_name=address,
            server_port=server_port,
            prevent_thread_lock=True,
            **(self._launch_settings | {"mcp_server": mcp} | more),
        )
        tighten(self.server)
        rest(self._queue)
        if mcp:
            assert self.mcp_server_obj is not None, self.mcp_error
            self.mcp_server_obj.postprocess_output_data = _as_json  # type: ignore[assignment, method-assign]  # not Python's repr
        print(f"medmm is being served at {self.local_url} - {DISCLAIMER}", flush=True)  # noqa: T201 - the user asked for it
        if hold:
            try:
                self.block_thread()
            finally:
                self._at_end()
        return found

    async def process_api(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Answer an event to the visitor whose session it is; of what goes wrong nothing but its kind is said or logged."""
        request, session = more.get("request"), more.get("session_hash")
        visitor = visitor_of(dict(request.cookies)) if isinstance(request, gr.Request) else ""
        try:
            if session:
                self._visitors.meet(session, visitor)
            _refuse_addresses(more.get("inputs"))
            answer: dict[str, Any] = await super().process_api(*arguments, **more)
        except MedmmError as error:
            raise gr.Error(f"{error.code}: {error.message}", print_exception=False) from None
        except Exception as error:  # of Gradio or of ours: its words may hold what the visitor sent
            sys.stderr.write(f"medmm: an event failed with {type(error).__name__}.\n")
            raise gr.Error(MedmmError.code, print_exception=False) from None
        for file in _files_in(answer.get("data")):
            self._visitors.give(file, visitor)
        return answer


def check_mcp(login: bool) -> None:
    """Refuse an MCP server that could not work.

    Raises:
        DependencyError: If its package is not installed.
        MedmmError: If people must log in, which no MCP client can.
    """
    require("mcp", "The MCP server", "mcp")
    if login:
        msg = f"Expected no login for an MCP server, as its clients cannot log in; found users in {VARIABLE}. Unset it."
        raise MedmmError(msg)


def _as_json(answer: list[Any], _address: str) -> list[Any]:
    """What an MCP client is told."""
    from mcp.types import TextContent

    return [TextContent(type="text", text=json.dumps(part, ensure_ascii=False)) for part in answer]


def _refuse_addresses(inputs: Any) -> None:
    """Refuse a file that this server would have to fetch from somewhere.

    Raises:
        InputError: If there is one.
    """
    if any("://" in path for path in _files_in(inputs)):
        msg = "Expected an uploaded file; got an address. Download it, and upload that."
        raise InputError(msg)


def _files_in(answer: Any) -> Iterator[str]:
    """Paths of the files that an answer hands to its visitor."""
    if isinstance(answer, dict):
        if isinstance(path := answer.get("path"), str):
            yield path
        answer = list(answer.values())
    if isinstance(answer, (list, tuple)):
        for part in answer:
            yield from _files_in(part)


def _hosts(address: str) -> set[str]:
    """Names the page is known by beside those of this machine; one that begins with a dot stands for all that end so."""
    named = {name.strip() for name in os.environ.get(HOSTS, "").split(",")} | {os.environ.get("SPACE_HOST", "")}
    if os.environ.get("SPACE_ID"):
        named.add(".hf.space")
    if address not in _HERE:
        named |= {address, socket.gethostname(), socket.getfqdn()}
    return named - {""}


def _theme() -> gr.themes.Base:
    """Gradio's own, with words on buttons and tabs at least 4.5 : 1 against what is behind them."""
    base = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=_FONT, font_mono=_MONO)
    return base.set(
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600", button_primary_background_fill_hover_dark="*primary_700",
    )  # fmt: skip


def _settings(styles: Sequence[str], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """What `launch` must be told, against Gradio's defaults."""
    return {
        "share": False,
        "inbrowser": False,
        "quiet": True,
        "run_history": False,
        "footer_links": [],
        "enable_monitoring": False,
        "pwa": False,
        "ssr_mode": False,
        "show_error": False,
        "max_file_size": MAX_FILE,
        "max_threads": 16,
        "state_session_capacity": 100,
        "strict_cors": True,
        "allowed_paths": [],
        "i18n": IN_BROWSER,
        "theme": _theme(),
        "css_paths": [STATIC / name for name in styles],
        "app_kwargs": {
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "routes": list(routes),
        },
    }
