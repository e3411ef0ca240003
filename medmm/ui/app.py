"""Layout and events of the page, and the settings it is served with."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from medmm.errors import MedmmError
from medmm.prediction import DISCLAIMER
from medmm.ui import pack, views
from medmm.ui.guard import Guard
from medmm.ui.page import PACK_ROUTE, Page

_STATIC = Path(__file__).parent / "static"
_NOTE_CHARS = 32_768
_FONT, _MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # what the machine has: no font is fetched
_HIDDEN: dict[str, Any] = {"api_visibility": "private"}  # hides, does not protect: every handler is public

_HERE = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - behind the Space's proxy


class PageBlocks(gr.Blocks):
    """Blocks whose `launch` cannot forget a setting that a page with patient data needs.

    Args:
        page: The handlers.
    """

    def __init__(self, page: Page) -> None:
        super().__init__(title="medmm", analytics_enabled=False, delete_cache=(300, 900))
        self.handlers = page

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
        self.handlers.public |= address not in _HERE
        hold = not more.pop("prevent_thread_lock", False)
        found = super().launch(
            server_name=address,
            server_port=server_port,
            prevent_thread_lock=True,
            **(_settings(self.handlers) | more),
        )
        print(f"medmm is being served at {self.local_url} - {DISCLAIMER}", flush=True)  # noqa: T201 - the user asked for it
        if hold:
            try:
                self.block_thread()
            finally:
                self.handlers.close()
        return found


def layout(page: Page) -> PageBlocks:
    """The page as Blocks."""
    models = page.models()
    blocks = PageBlocks(page)
    with blocks:
        gr.Markdown("# medmm\nA CT and a clinical note in, one calibrated probability out, with the proof of how good it is.")
        gr.HTML(views.banner())
        token = gr.State("", time_to_live=1800)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                viewer = gr.HTML(html_template=_static("viewer.html"), js_on_load=_static("viewer.js"), elem_id="viewer")
                facts = gr.HTML(elem_id="facts")
            with gr.Column(scale=2, min_width=320):
                gr.Markdown("### Examples", visible=bool(page.examples))
                with gr.Row(elem_classes="mm-examples"):
                    buttons = [gr.Button(e.title, size="sm", min_width=0, elem_classes="mm-example") for e in page.examples]
                upload = gr.File(
                    label="Or upload DICOM (zip or files), NIfTI, PNG, JPEG", file_count="multiple", height=150, elem_id="upload"
                )
                upload.preprocess = _paths  # type: ignore[method-assign]  # Gradio's leaves an empty file beside each upload
                note = gr.Textbox(label="Clinical note", lines=4, max_length=_NOTE_CHARS, elem_id="note")
                chosen = gr.Dropdown(models, value=models[0] if models else None, label="Model", elem_id="model")
                about = gr.HTML(elem_id="about")
                run = gr.Button("Run", variant="primary", elem_id="run")
                answer = gr.HTML(elem_id="answer")
        opened = [viewer, facts, token, answer, upload]
        for index, button in enumerate(buttons):
            button.click(_example(page, index), None, [*opened, note, chosen], api_name=f"example_{index}", **_HIDDEN)
        upload.upload(_upload(page), upload, opened, api_name="open_upload", **_HIDDEN)
        run.click(
            _run(page), [token, note, chosen], answer, api_name="answer", concurrency_limit=1, concurrency_id="model", **_HIDDEN
        )
        chosen.change(page.describe, chosen, about, api_name="describe", **_HIDDEN)
        blocks.load(page.describe, chosen, about, api_name="describe_first", **_HIDDEN)
        blocks.unload(_wipe(page))
    blocks.queue(max_size=32, default_concurrency_limit=2, api_open=False)
    return blocks


def _example(page: Page, index: int) -> Any:
    def open_example(request: gr.Request) -> Any:
        opened, note, model = page.open_example(index, str(request.session_hash))
        return (*opened, "", None, note, model)

    return open_example


def _upload(page: Page) -> Any:
    def open_upload(files: list[str] | None, request: gr.Request) -> Any:
        return (*page.open_upload(files, str(request.session_hash)), "", None)

    return open_upload


def _paths(payload: Any) -> list[str] | None:
    return None if payload is None else [file.path for file in payload]


def _run(page: Page) -> Any:
    def answer(token: str, note: str, model: str, request: gr.Request) -> str:
        return page.run(token, note, model, str(request.session_hash))

    return answer


def _wipe(page: Page) -> Any:
    def wipe(request: gr.Request) -> None:
        page.sessions.wipe(str(request.session_hash))

    return wipe


def _settings(page: Page) -> dict[str, Any]:
    """What `launch` must be told, against Gradio's defaults."""

    async def volume(request: Request) -> Response:
        try:
            file = page.sessions.find(request.path_params["token"]) / pack.FILE
        except MedmmError:
            return Response(status_code=404)
        return FileResponse(file, media_type="application/octet-stream") if file.is_file() else Response(status_code=404)

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
        "max_file_size": "300mb",
        "max_threads": 16,
        "state_session_capacity": 100,
        "strict_cors": True,
        "allowed_paths": [],
        "theme": gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=_FONT, font_mono=_MONO),
        "css_paths": [_STATIC / "page.css"],
        "app_kwargs": {
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "middleware": [Middleware(Guard)],
            "routes": [Route(f"/{PACK_ROUTE}{{token}}", volume)],
        },
    }


def _static(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
