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
"""Of the last recording: `text` and `confidence` when it was written down, `recording` (a token) when it is kept."""


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
        forget = gr.Button(label("forget_recording"), size="sm", visible=False, elem_id="forget-recording")
    written = [note, heard, told, recording, forget]
    gr.on(
        [recording.stop_recording, recording.upload], _listen(page), [recording, note, heard], written, api_name="dictate",
        show_progress="hidden", **HIDDEN,
    )  # fmt: skip
    forget.click(_forget(page), heard, [heard, told, forget], api_name="forget_recording", **HIDDEN)
    return heard


def confidence_of(note: str | None, heard: Heard | None) -> float:
    """How far a note is trusted: as far as the recogniser was sure of it, fully once a person has changed anything."""
    return float(heard["confidence"]) if heard and heard.get("text") == (note or "") else 1.0


def recording_of(heard: Heard | None) -> str:
    """Token of the recording that is kept; empty without one."""
    return str(heard.get("recording", "")) if heard else ""


def _without_recording(heard: Heard | None) -> Heard:
    return {key: value for key, value in (heard or {}).items() if key != "recording"}


def _listen(page: Page) -> Any:
    def listen(path: str | None, note: str | None, before: Heard | None, request: gr.Request) -> Any:
        spoken, gone, words = language(request), gr.update(visible=False), _without_recording(before)
        if not path:
            yield gr.skip(), gr.skip(), "", gr.skip(), gr.skip()
            return
        yield gr.skip(), words, views.working(say(spoken, "listening")), gr.skip(), gone
        try:
            found = page.hear(path, str(request.session_hash), recording_of(before))
        except MedmmError as error:
            yield gr.skip(), words, views.failure(error.code, error.message, spoken), None, gone
            return
        heard = words | ({"recording": found["recording"]} if "recording" in found else {})
        text: Any = gr.skip()
        if "text" in found:
            told = [say(spoken, "transcribed", seconds=found["seconds"], sure=f"{found['confidence']:.0%}")]
            text = f"{note.rstrip()}\n{found['text']}" if note and note.strip() else found["text"]
            heard |= {"text": text, "confidence": min(found["confidence"], confidence_of(note, words))}
        else:
            told = [say(spoken, "heard", seconds=found["seconds"]), say(spoken, "no_dictation")]
        told += [say(spoken, "recording_kept")] if "recording" in heard else []
        yield text, heard, f'<p class="mm-muted">{escape(" ".join(told))}</p>', None, gr.update(visible="recording" in heard)

    return listen


def _forget(page: Page) -> Any:
    def forget(heard: Heard | None, request: gr.Request) -> tuple[Any, ...]:
        page.sessions.drop(recording_of(heard))
        told = say(language(request), "recording_removed")
        return _without_recording(heard), f'<p class="mm-muted" role="status">{escape(told)}</p>', gr.update(visible=False)

    return forget


def _path(payload: Any) -> str | None:
    return None if payload is None else str(payload.path)
