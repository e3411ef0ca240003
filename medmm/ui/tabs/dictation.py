"""Speaking instead of typing: a recording is written down into the note box, to be read over."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.ui import views
from medmm.ui.blocks import HIDDEN
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.words import say

Heard = dict[str, Any]
"""`text` and `confidence` of the last recording written down."""


def build(page: Page, note: gr.Textbox, held: float) -> gr.State:
    """Lay out the recorder above a note box and wire it; returns where the last transcript is.

    Args:
        page: Whose handlers are called.
        note: Gets the words.
        held: Seconds that the server remembers them.
    """
    heard = gr.State(None, time_to_live=held)
    with gr.Accordion(label("dictate"), open=False, elem_id="dictation"):
        recording = gr.Audio(
            sources=["upload", "microphone"], type="filepath", label=label("recording"), elem_id="recording", buttons=[],
            editable=False,
        )  # fmt: skip
        recording.preprocess = _path  # type: ignore[method-assign]  # nothing foreign is decoded in this process
        told = gr.HTML(elem_id="heard")
    written = [note, heard, told, recording]
    gr.on(
        [recording.stop_recording, recording.upload], _listen(page), [recording, note], written, api_name="dictate",
        show_progress="hidden", **HIDDEN,
    )  # fmt: skip
    return heard


def confidence_of(note: str | None, heard: Heard | None) -> float:
    """How far a note is trusted: as far as the recogniser was sure of it, fully once a person has changed anything."""
    return float(heard["confidence"]) if heard and heard["text"] == (note or "") else 1.0


def _listen(page: Page) -> Any:
    def listen(path: str | None, note: str | None, request: gr.Request) -> Any:
        spoken = language(request)
        if not path:
            yield gr.skip(), gr.skip(), "", gr.skip()
            return
        yield gr.skip(), None, views.working(say(spoken, "listening")), gr.skip()
        try:
            found = page.hear(path, str(request.session_hash))
        except MedmmError as error:
            yield gr.skip(), None, views.failure(error.code, error.message, spoken), None
            return
        if "text" not in found:
            told = f"{say(spoken, 'heard', seconds=found['seconds'])} {say(spoken, 'no_dictation')}"
            yield gr.skip(), None, f'<p class="mm-muted">{escape(told)}</p>', None
            return
        told = say(spoken, "transcribed", seconds=found["seconds"], sure=f"{found['confidence']:.0%}")
        text = f"{note.rstrip()}\n{found['text']}" if note and note.strip() else found["text"]
        yield text, {"text": text, "confidence": found["confidence"]}, f'<p class="mm-muted">{escape(told)}</p>', None

    return listen


def _path(payload: Any) -> str | None:
    return None if payload is None else str(payload.path)
