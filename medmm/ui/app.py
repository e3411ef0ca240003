"""Layout and events of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from medmm.errors import MedmmError
from medmm.ui import pack, views
from medmm.ui.blocks import HIDDEN, STATIC, GuardedBlocks
from medmm.ui.page import PACK_ROUTE, Page

_NOTE_CHARS = 32_768


def layout(page: Page) -> GuardedBlocks:
    """The page as Blocks."""
    models = page.models()
    blocks = GuardedBlocks("medmm", page.close, ["page.css"], [_volume_route(page)], lambda: _be_public(page))
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
            button.click(_example(page, index), None, [*opened, note, chosen], api_name=f"example_{index}", **HIDDEN)
        upload.upload(_upload(page), upload, opened, api_name="open_upload", **HIDDEN)
        run.click(
            _run(page), [token, note, chosen], answer, api_name="answer", concurrency_limit=1, concurrency_id="model", **HIDDEN
        )
        chosen.change(page.describe, chosen, about, api_name="describe", **HIDDEN)
        blocks.load(page.describe, chosen, about, api_name="describe_first", **HIDDEN)
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


def _be_public(page: Page) -> None:
    page.public = True


def _volume_route(page: Page) -> Route:
    async def volume(request: Request) -> Response:
        try:
            file = page.sessions.find(request.path_params["token"]) / pack.FILE
        except MedmmError:
            return Response(status_code=404)
        return FileResponse(file, media_type="application/octet-stream") if file.is_file() else Response(status_code=404)

    return Route(f"/{PACK_ROUTE}{{token}}", volume)


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
