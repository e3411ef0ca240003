"""Blocks with the settings that a page with patient data needs, which no caller can forget."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from medmm.prediction import DISCLAIMER
from medmm.ui.guard import Guard
from medmm.ui.speech import IN_BROWSER, Speaker

STATIC = Path(__file__).parent / "static"
HIDDEN: dict[str, Any] = {"api_visibility": "private"}  # hides, does not protect: every handler is public
MOST_FILE_MB = 300
"""Of one upload."""

_FONT, _MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # what the machine has: no font is fetched

_HERE = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - behind the Space's proxy


class GuardedBlocks(gr.Blocks):
    """Blocks that are served to this machine alone, behind the guard, without analytics, history or other hosts.

    Args:
        title: Of the browser's tab.
        close: Called when serving ends.
        styles: Style sheets among the static files.
        routes: Beside those of Gradio.
        exposed: Called when the page is about to listen to other machines.
    """

    def __init__(
        self,
        title: str,
        close: Callable[[], None],
        styles: Sequence[str],
        routes: Sequence[BaseRoute] = (),
        exposed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(title=title, analytics_enabled=False, delete_cache=(300, 900))
        self._at_end, self._when_exposed = close, exposed
        self._launch_settings = _settings(styles, routes)

    def launch(  # type: ignore[override]  # fewer choices on purpose
        self, *, server_name: str | None = None, server_port: int | None = None, **more: Any
    ) -> Any:
        """Serve until interrupted; prints the address once it answers.

        Args:
            server_name: Address to listen on; this machine only, except on a hosted Space.
            server_port: Port.
            **more: Passed on to Gradio.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploads are removed then too
        address = server_name or (_EVERYWHERE if os.environ.get("SPACE_ID") else _HERE[0])
        if address not in _HERE:
            self._when_exposed()
        hold = not more.pop("prevent_thread_lock", False)
        found = super().launch(
            server_name=address,
            server_port=server_port,
            prevent_thread_lock=True,
            **(self._launch_settings | more),
        )
        print(f"medmm is being served at {self.local_url} - {DISCLAIMER}", flush=True)  # noqa: T201 - the user asked for it
        if hold:
            try:
                self.block_thread()
            finally:
                self._at_end()
        return found


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
        "mcp_server": False,
        "pwa": False,
        "ssr_mode": False,
        "show_error": False,
        "max_file_size": f"{MOST_FILE_MB}mb",
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
            "middleware": [Middleware(Guard), Middleware(Speaker)],
            "routes": list(routes),
        },
    }
