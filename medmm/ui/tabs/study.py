"""One study: open it, look at it, ask a model."""

from __future__ import annotations

from typing import Any

import gradio as gr

from medmm.settings import LIMITS
from medmm.ui.blocks import HIDDEN, STATIC
from medmm.ui.page import Page
from medmm.ui.speech import label, language


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    models = page.models()
    token = gr.State("", time_to_live=1800)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            viewer = gr.HTML(html_template=_static("viewer.html"), js_on_load=_static("viewer.js"), elem_id="viewer")
            facts = gr.HTML(elem_id="facts")
        with gr.Column(scale=2, min_width=320):
            if page.examples:
                gr.HTML(f'<h3 class="mm-heading">{label("examples")}</h3>')
            with gr.Row(elem_classes="mm-examples"):
                buttons = [gr.Button(e.title, size="sm", min_width=0, elem_classes="mm-example") for e in page.examples]
            upload = gr.File(label=label("upload"), file_count="multiple", height=150, elem_id="upload")
            upload.preprocess = _paths  # type: ignore[method-assign]  # Gradio's leaves an empty file beside each upload
            note = gr.Textbox(label=label("note"), lines=4, max_length=LIMITS.note_chars, elem_id="note")
            chosen = gr.Dropdown(models, value=models[0] if models else None, label=label("model"), elem_id="model")
            about = gr.HTML(elem_id="about")
            run = gr.Button(label("run"), variant="primary", elem_id="run")
            answer = gr.HTML(elem_id="answer")
    opened = [viewer, facts, token, answer, upload]
    for index, button in enumerate(buttons):
        button.click(_example(page, index), None, [*opened, note, chosen], api_name=f"example_{index}", **HIDDEN)
    upload.upload(_upload(page), upload, opened, api_name="open_upload", **HIDDEN)
    run.click(_run(page), [token, note, chosen], answer, api_name="answer", concurrency_limit=1, concurrency_id="model", **HIDDEN)
    gr.on([blocks.load, chosen.change], _describe(page), chosen, about, api_name="describe", **HIDDEN)


def _example(page: Page, index: int) -> Any:
    def open_example(request: gr.Request) -> Any:
        opened, note, model = page.open_example(index, str(request.session_hash), language(request))
        return (*opened, "", None, note, model)

    return open_example


def _upload(page: Page) -> Any:
    def open_upload(files: list[str] | None, request: gr.Request) -> Any:
        return (*page.open_upload(files, str(request.session_hash), language(request)), "", None)

    return open_upload


def _paths(payload: Any) -> list[str] | None:
    return None if payload is None else [file.path for file in payload]


def _run(page: Page) -> Any:
    def answer(token: str, note: str, model: str, request: gr.Request) -> str:
        return page.run(token, note, model, str(request.session_hash), language(request))

    return answer


def _describe(page: Page) -> Any:
    def describe(model: str, request: gr.Request) -> str:
        return page.describe(model, language(request))

    return describe


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
